//! Builds what is measured and what measures, and hands over to `bench/`.

use crate::process::{cargo, run};
use crate::{Result, root};

/// `cargo xtask bench --micro` runs the micro benches of the crates; else the options are those of `bench/`.
pub(crate) fn run_with(options: &[&str]) -> Result {
    if options == ["--micro"] {
        return run(&mut cargo(&["bench", "--workspace", "--bench", "*", "--locked", "--quiet"]));
    }
    run(&mut cargo(&[
        "build",
        "--release",
        "--locked",
        "--package",
        "portcullis",
        "--package",
        "portcullis-bench",
    ]))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    let release = target.join("release");
    let mut command = std::process::Command::new(release.join("portcullis-bench"));
    command.arg("compare").arg("--program").arg(release.join("portcullis")).args(options).current_dir(root());
    run(&mut command)
}
