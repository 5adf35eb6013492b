//! `cargo xtask conformance`: other people's implementations against the real program, through real sockets.

use std::path::Path;
use std::process::Command;

use crate::process::{self, cargo, find};
use crate::{Result, note, root};

/// Fetches the pinned packages into `target/conformance` and runs the tests there, so that nothing fetched stands in
/// the tree.
pub(crate) fn run() -> Result {
    for tool in ["node", "npm"] {
        if find(tool).is_none() {
            note(&format!("skipped: {tool} is not installed"));
            return Ok(());
        }
    }
    process::run(&mut cargo(&["build", "--package", "portcullis"]))?;
    let (from, to) = (root().join("conformance"), root().join("target/conformance"));
    let tests = copy(&from, &to)?;
    let flags = ["install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"];
    process::run(Command::new("npm").args(flags).current_dir(&to))?;
    let binary = root().join("target/debug/portcullis");
    process::run(
        Command::new("node").arg("--test").args(&tests).env("PORTCULLIS_BIN", binary).current_dir(&to),
    )
}

/// Copies what is ours, and names the tests among it.
fn copy(from: &Path, to: &Path) -> Result<Vec<String>> {
    let failed = |error: std::io::Error| format!("{}: {error}", from.display());
    std::fs::create_dir_all(to).map_err(failed)?;
    let mut tests = Vec::new();
    for entry in std::fs::read_dir(from).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".mjs") || name == "package.json" {
            std::fs::copy(from.join(&name), to.join(&name)).map_err(failed)?;
        }
        if name.ends_with(".test.mjs") {
            tests.push(name);
        }
    }
    tests.sort();
    if tests.is_empty() { Err("no tests in conformance/".to_owned()) } else { Ok(tests) }
}

/// Ten thousand slow connections beside ordinary ones (`bench/src/slow.rs`), with the program as it is released.
pub(crate) fn slow(options: &[&str]) -> Result {
    let packages = ["--package", "portcullis", "--package", "portcullis-bench"];
    process::run(&mut cargo(&[&["build", "--release", "--locked"], &packages[..]].concat()))?;
    let release = root().join("target/release");
    let mut command = Command::new(release.join("portcullis-bench"));
    command.arg("slow").arg("--program").arg(release.join("portcullis")).args(options).current_dir(root());
    process::run(&mut command)
}
