//! The JSON Schema of the configuration, committed for editors; a difference fails the tests.

use std::fs;

use crate::process::{cargo, output};
use crate::{Result, note, root};

const FILE: &str = "portcullis.schema.json";

/// Writes the file anew.
pub(crate) fn write() -> Result {
    fs::write(root().join(FILE), generated()?).map_err(|error| format!("{FILE}: {error}"))?;
    note(&format!("wrote {FILE}"));
    Ok(())
}

/// Compares the file with what the program prints.
pub(crate) fn check() -> Result {
    let committed = fs::read(root().join(FILE)).map_err(|error| format!("{FILE}: {error}"))?;
    if committed == generated()? {
        Ok(())
    } else {
        Err(format!("{FILE} is not what `portcullis schema` prints: run `cargo xtask schema` and commit it"))
    }
}

fn generated() -> Result<Vec<u8>> {
    output(&mut cargo(&["run", "--quiet", "--locked", "--package", "portcullis", "--", "schema"]))
}
