//! From the text of `portcullis.yaml` to its words.

mod check;
pub(crate) mod de;

use crate::words::Document;
use crate::words::detect::Detection;
use portcullis_contract::document::{Bounds, Node, parse};
use portcullis_core::finding::{Finding, Span};
use serde::Deserialize;

/// What was read.
pub(crate) struct Reading {
    /// The words, when the file has the right form.
    pub(crate) document: Option<Document>,
    /// What is wrong with it.
    pub(crate) findings: Vec<Finding>,
    /// Where a secret is written out.
    pub(crate) secrets: Vec<Span>,
}

/// A file of configuration is small: these bounds stop a billion laughs early.
const BOUNDS: Bounds = Bounds {
    bytes: 4 << 20,
    files: 1,
    nodes: 200_000,
    depth: 32,
    schemas: 0,
    operations: 0,
    parameters: 0,
    patterns: 0,
};

/// Reads the configuration; `file` is its index in the source map.
pub(crate) fn document(file: u16, name: &str, text: &str) -> Reading {
    let none = |findings| Reading { document: None, findings, secrets: Vec::new() };
    let node = match parse(file, name, text.as_bytes(), &BOUNDS) {
        Ok(node) if node.is_null() => {
            let at = Span { file, ..Span::default() };
            let help = "write at least `apis`, or run `portcullis init --from-spec FILE`";
            return none(vec![Finding::error("configuration-empty", at, "the file says nothing").help(help)]);
        }
        Ok(node) => node,
        Err(findings) => return none(findings),
    };
    let mut checked = check::check(&node, crate::schema::root());
    if !checked.findings.is_empty() {
        return Reading { document: None, findings: checked.findings, secrets: checked.secrets };
    }
    let document = match words::<Document>(&node) {
        Ok(document) => Some(document),
        Err(finding) => {
            checked.findings.push(*finding);
            None
        }
    };
    Reading { document, findings: checked.findings, secrets: checked.secrets }
}

/// Reads a file of rules of detection; `file` is its index in the source map.
pub(crate) fn detection(file: u16, name: &str, text: &str) -> (Option<Detection>, Vec<Finding>) {
    let node = match parse(file, name, text.as_bytes(), &BOUNDS) {
        Ok(node) => node,
        Err(findings) => return (None, findings),
    };
    let checked = check::check(&node, crate::schema::detection());
    if !checked.findings.is_empty() {
        return (None, checked.findings);
    }
    match words(&node) {
        Ok(detection) => (Some(detection), Vec::new()),
        Err(finding) => (None, vec![*finding]),
    }
}

fn words<T: for<'de> Deserialize<'de>>(node: &Node) -> Result<T, Box<Finding>> {
    T::deserialize(de::De(node)).map_err(|misfit| {
        let at = misfit.at.unwrap_or(node.at);
        Box::new(Finding::error("value-form", at, misfit.message))
    })
}
