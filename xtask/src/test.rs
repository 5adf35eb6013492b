//! `cargo xtask test`: the whole of it, on a fresh machine.

use std::time::Instant;

use crate::process::{cargo, run, works};
use crate::{Result, note, schema, tidy};

type Step = (&'static str, fn() -> Result);

/// Everything. The tests themselves come last, so that the runner's summary ends the output.
pub(crate) fn all() -> Result {
    tools()?;
    let started = Instant::now();
    let steps: [Step; 6] = [
        ("format", || run(&mut cargo(&["fmt", "--all", "--check"]))),
        ("tidy", tidy::run),
        ("lints", || {
            run(&mut cargo(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--locked",
                "--quiet",
                "--",
                "-D",
                "warnings",
            ]))
        }),
        ("schema", schema::check),
        ("documentation examples", || {
            run(&mut cargo(&["test", "--workspace", "--doc", "--locked", "--quiet"]))
        }),
        ("tests", || runner(&[])),
    ];
    let count = steps.len();
    for (index, (name, step)) in steps.into_iter().enumerate() {
        note(&format!("[{}/{count}] {name} …", index + 1));
        let began = Instant::now();
        step().map_err(|why| format!("{name}: {why}"))?;
        if index + 1 < count {
            note(&format!("[{}/{count}] {name}: good ({} s)", index + 1, began.elapsed().as_secs()));
        }
    }
    note(&format!("all {count} steps good in {} s", started.elapsed().as_secs()));
    Ok(())
}

/// Only the tests whose name contains the filter.
pub(crate) fn some(filter: &str) -> Result {
    runner(&[filter])
}

fn runner(filter: &[&str]) -> Result {
    if works(&["nextest", "--version"]) {
        let mut command = cargo(&["nextest", "run", "--workspace", "--locked", "--no-fail-fast"]);
        if std::env::var_os("CI").is_some() {
            command.args(["--status-level", "slow", "--final-status-level", "fail", "--hide-progress-bar"]);
        }
        return run(command.args(filter));
    }
    note(
        "cargo-nextest is not installed: using `cargo test` (nicer and faster with `cargo install --locked cargo-nextest`)",
    );
    run(cargo(&["test", "--workspace", "--lib", "--bins", "--tests", "--locked", "--no-fail-fast"])
        .args(filter))
}

/// What the steps need beside cargo, with what to do when it is missing.
fn tools() -> Result {
    let mut missing = Vec::new();
    for (probe, advice) in [
        (["fmt", "--version"], "rustfmt: rustup component add rustfmt"),
        (["clippy", "--version"], "clippy: rustup component add clippy"),
    ] {
        if !works(&probe) {
            missing.push(advice);
        }
    }
    let compiler = ["cc", "gcc", "clang"].into_iter().find_map(crate::process::find);
    if compiler.is_none() && std::env::var_os("CC").is_none() {
        missing.push("a C compiler: apt-get install gcc libc6-dev (aws-lc and SQLite are written in C)");
    }
    if crate::process::find("git").is_none() {
        missing.push("git: apt-get install git (tidy looks at tracked files)");
    }
    if missing.is_empty() { Ok(()) } else { Err(format!("missing:\n  {}", missing.join("\n  "))) }
}
