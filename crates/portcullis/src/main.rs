//! `portcullis`: commands, and `assemble.rs`, the only place where parts are wired.

mod assemble;
mod beside;
mod certificates;
mod cli;
mod demo;
mod jobs;
mod scribe;
mod verbs;

use clap::Parser as _;
use cli::{Cli, Verb};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Serve(serve) => verbs::serve::run(serve),
        Verb::Check(check) => verbs::check::run(&check),
        Verb::Explain(explain) => verbs::explain::run(&explain),
        Verb::Init(init) => verbs::init::run(&init),
        Verb::Schema(schema) => verbs::schema::run(&schema),
        Verb::Sign(sign) => verbs::sign::run(&sign),
        Verb::Keys(keys) => verbs::keys::run(keys),
        Verb::Audit(audit) => verbs::audit::run(audit),
        Verb::Revoke(revoke) => verbs::revoke::run(&revoke),
        Verb::Detect(detect) => verbs::detect::run(detect),
        Verb::Demo(demo) => {
            let json = demo.format == cli::Format::Json;
            match demo::run(demo::Options { json, serve: demo.serve }) {
                Ok(code) => code,
                Err(error) => verbs::fail(&format!("demo: {error}")),
            }
        }
    }
}
