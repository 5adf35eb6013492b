mod closed;
mod laws;
mod suite;
mod translation;

use std::path::PathBuf;

use portcullis_core::finding::Finding;

use super::{CompiledSchema, Compiler, Options};
use crate::document::{self, Bundle, Node, Version, parse};
use crate::json::{Bounds, Tape, scan};
use crate::violation::Place;

/// A document of one file: `components.schemas` as given.
pub(super) struct Doc {
    pub(super) bundle: Bundle,
    version: Version,
}

impl Doc {
    /// `schemas` is YAML, the members of `components.schemas`.
    pub(super) fn new(version: Version, schemas: &str) -> Self {
        let indented: String = schemas.lines().map(|line| format!("    {line}\n")).collect();
        Self::whole(version, "a.yaml", &format!("components:\n  schemas:\n{indented}"))
    }

    pub(super) fn whole(version: Version, name: &str, text: &str) -> Self {
        let root = parse(0, name, text.as_bytes(), &document::Bounds::default()).unwrap();
        let mut bundle = Bundle::default();
        bundle.add(0, name, root);
        Self { bundle, version }
    }

    pub(super) fn schema(&self, name: &str) -> &Node {
        self.bundle.resolve(0, &format!("#/components/schemas/{name}")).unwrap().1
    }

    pub(super) fn compiler(&self, options: Options) -> Compiler<'_> {
        Compiler::new(&self.bundle, self.version, options)
    }

    pub(super) fn request(&self, name: &str) -> CompiledSchema {
        self.compiler(Options::default()).request(self.schema(name)).unwrap()
    }

    pub(super) fn part(&self, name: &str) -> CompiledSchema {
        self.compiler(Options::default()).part(self.schema(name), None).unwrap()
    }

    pub(super) fn response(&self, name: &str) -> CompiledSchema {
        self.compiler(Options::default()).response(self.schema(name)).unwrap()
    }

    /// All findings about one request body.
    pub(super) fn findings(&self, name: &str) -> Vec<Finding> {
        let mut compiler = self.compiler(Options::default());
        let result = compiler.request(self.schema(name));
        let mut findings = compiler.take_findings();
        findings.extend(result.err().unwrap_or_default());
        findings
    }

    pub(super) fn codes(&self, name: &str) -> Vec<&'static str> {
        let mut codes: Vec<_> = self.findings(name).iter().map(|finding| finding.code).collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }
}

pub(super) fn tape(text: &str) -> Tape {
    scan(text, &Bounds::HARD_MAXIMUM, [5, 6]).unwrap()
}

/// `pointer rule` for each violation; nothing when it is valid.
pub(super) fn wrong(schema: &CompiledSchema, text: &str) -> Vec<String> {
    let tape = tape(text);
    let found = schema.violations(&tape);
    assert_eq!(found.is_empty(), schema.is_valid(&tape), "{text}: {found:?}");
    found
        .iter()
        .map(|violation| match &violation.at {
            Place::Pointer(pointer) => format!("{pointer} {}", violation.rule),
            Place::Parameter { .. } => unreachable!(),
        })
        .collect()
}

pub(super) fn vectors(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("PORTCULLIS_VECTORS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"),
        PathBuf::from,
    );
    let found = root.join(folder);
    if !found.is_dir() {
        println!("skipped: no test vectors at {}", found.display());
        return None;
    }
    Some(found)
}
