//! `portcullis keys`.

use super::fail;
use crate::cli::Keys;
use std::process::ExitCode;

pub(crate) fn run(_keys: Keys) -> ExitCode {
    fail("keys")
}
