//! What the program prints about itself and what is committed for readers and editors: a difference fails the tests.

use std::fs;

use crate::process::{cargo, output};
use crate::{Result, note, root};

/// File, and the arguments of the program that print it.
const GENERATED: [(&str, &[&str]); 3] = [
    ("portcullis.schema.json", &["schema"]),
    ("docs/reference/configuration.md", &["schema", "--reference"]),
    ("docs/reference/problems.md", &["schema", "--problems"]),
];

/// Writes the files anew.
pub(crate) fn write() -> Result {
    for (file, arguments) in GENERATED {
        fs::write(root().join(file), printed(arguments)?).map_err(|error| format!("{file}: {error}"))?;
        note(&format!("wrote {file}"));
    }
    Ok(())
}

/// Compares the files with what the program prints.
pub(crate) fn check() -> Result {
    let mut stale = Vec::new();
    for (file, arguments) in GENERATED {
        if fs::read(root().join(file)).ok() != Some(printed(arguments)?) {
            stale.push(file);
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!("not what the program prints: {}; run `cargo xtask schema` and commit", stale.join(", ")))
}

fn printed(arguments: &[&str]) -> Result<Vec<u8>> {
    let command = ["run", "--quiet", "--locked", "--package", "portcullis", "--"];
    output(&mut cargo(&[&command[..], arguments].concat()))
}
