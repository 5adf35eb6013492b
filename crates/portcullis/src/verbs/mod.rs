//! The verbs, one file each.

pub(crate) mod audit;
pub(crate) mod check;
pub(crate) mod detect;
pub(crate) mod explain;
pub(crate) mod init;
pub(crate) mod keys;
mod pins;
mod remembered;
pub(crate) mod revoke;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod sign;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

/// Writes to standard output. A reader that has gone (`| head`) is no error of ours.
pub(crate) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Writes to standard error.
pub(crate) fn tell(text: &str) {
    let mut err = std::io::stderr().lock();
    let _ = err.write_all(text.as_bytes());
}

/// An error that ends the program.
pub(crate) fn fail(why: &str) -> ExitCode {
    tell(&format!("portcullis: {why}\n"));
    ExitCode::FAILURE
}

/// Colour only where a person reads.
pub(crate) fn colour_of_errors() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Colour only where a person reads.
pub(crate) fn colour_of_output() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
