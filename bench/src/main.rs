//! `portcullis-bench compare` measures what a request costs in Portcullis and in its peers: the same work, in one
//! run, interleaved, each proxy alone on one core. `ends` is what is at the two other ends of the wire.
//! `cargo xtask bench` calls this, and `cargo xtask conformance slow` its `slow`.

mod backend;
mod compare;
mod cost;
mod ends;
mod load;
mod peers;
mod report;
mod slow;
mod work;

use std::io::{self, Write as _};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["ends", address] => ends::run(address),
        ["compare", options @ ..] => compare::run(options),
        ["slow", options @ ..] => slow::run(options),
        _ => Err("compare --program PATH [--rounds N] [--seconds N] [--only NAME,…] [--dry]".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(io::stderr(), "bench: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What went wrong, for a person.
type Result<T = ()> = std::result::Result<T, String>;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
