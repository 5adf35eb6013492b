//! A plan from files.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;

use common::*;

#[test]
fn the_smallest_configuration_compiles() {
    let (folder, outcome) = shop(CONFIG);
    println!("{}", folder.shown(&outcome));
    let plan = outcome.plan.unwrap();
    println!("{plan:#?}");
}

#[test]
fn the_example_compiles() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/shop/portcullis.yaml");
    let outcome = portcullis_config::compile(&path, given());
    println!("{}", outcome.render(false));
}
