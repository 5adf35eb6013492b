//! `docs/past-failures.md` tells the truth: every test that it names is there.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every function of the crates' sources and tests.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let names = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
            found.extend(names.map(str::to_owned));
        }
    }
}

/// The names of the cases of a table.
fn cases(table: &str) -> Vec<String> {
    let path = root().join("crates/gateway/vectors").join(format!("{table}.yaml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let cases: Vec<serde_json::Value> = serde_saphyr::from_str(&text).unwrap();
    cases.iter().map(|case| case["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_test_that_the_page_of_past_failures_names_exists() {
    let page = std::fs::read_to_string(root().join("docs/past-failures.md")).unwrap();
    let mut known = BTreeSet::new();
    functions(&root().join("crates"), &mut known);
    let (mut checked, mut wrong) = (0, Vec::new());
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let Some(shown) = line.trim_end_matches([' ', '|']).rsplit(" | ").next() else { continue };
        for name in shown.split('`').skip(1).step_by(2).filter(|name| !name.starts_with("cargo ")) {
            checked += 1;
            let there = match name.split_once('#') {
                Some((table, case)) => {
                    let fits = |known: &String| match case.strip_suffix('*') {
                        Some(start) => known.starts_with(start),
                        None => known == case,
                    };
                    cases(table).iter().any(fits)
                }
                None => known.contains(name),
            };
            if !there {
                wrong.push(name.to_owned());
            }
        }
    }
    assert!(wrong.is_empty(), "not there: {wrong:?}");
    assert!(checked > 50, "{checked} names");
}
