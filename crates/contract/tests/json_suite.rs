//! nst/JSONTestSuite, read in place: what must be accepted, what must be refused, and what may be either.

#![expect(clippy::print_stdout, reason = "a skipped test says so")]

use std::path::PathBuf;

use portcullis_contract::json::{Bounds, JsonProblem, scan, write};

/// `y_` cases that are refused on purpose: grammatical, and beyond what may cross the gateway.
const REFUSED: &[(&str, JsonProblem)] = &[
    ("y_object_duplicated_key.json", JsonProblem::DuplicateKey),
    ("y_object_duplicated_key_and_value.json", JsonProblem::DuplicateKey),
    // U+0000 ends a string in half of the languages behind us.
    ("y_object_escaped_null_in_key.json", JsonProblem::Malformed),
    ("y_string_null_escape.json", JsonProblem::Malformed),
    // 80 characters; a number has at most 64.
    ("y_number_double_close_to_zero.json", JsonProblem::TooComplex),
];

fn vectors() -> Option<PathBuf> {
    let root = std::env::var_os("PORTCULLIS_VECTORS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"),
        PathBuf::from,
    );
    let folder = root.join("json/test_parsing");
    if !folder.is_dir() {
        println!("skipped: no test vectors at {}", folder.display());
        return None;
    }
    Some(folder)
}

#[test]
fn every_case_is_judged_as_named() {
    let Some(folder) = vectors() else { return };
    let mut counts = [0; 3];
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        let result = scan(std::fs::read(file.path()).unwrap(), &Bounds::default(), [1, 2]);
        match name.as_bytes().first() {
            Some(b'y') => {
                counts[0] += 1;
                let expected =
                    REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, problem)| *problem);
                assert_eq!(result.as_ref().err().map(|error| error.problem), expected, "{name}");
            }
            Some(b'n') => {
                counts[1] += 1;
                assert!(result.is_err(), "{name}");
            }
            _ => counts[2] += 1,
        }
        if let Ok(tape) = result {
            let mut once = Vec::new();
            write(&tape, None, &mut once);
            let mut twice = Vec::new();
            write(&scan(once.clone(), &Bounds::default(), [1, 2]).unwrap(), None, &mut twice);
            assert_eq!(once, twice, "{name}");
        }
    }
    assert!(counts[0] >= 95 && counts[1] >= 188 && counts[2] >= 35, "{counts:?}");
}
