//! From a document to a contract.

use std::collections::{HashMap, HashSet};

use portcullis_core::finding::Severity;
use portcullis_core::head::{CanonicalPath, Marks, Method};

use super::compile::Compile;
use super::operation::Operation;
use super::paths::{self, Segments, Tree};
use super::security::SecurityScheme;
use super::terms::{OnError, Terms};
use crate::document::{Document, Finding, Span};
use crate::param::style::Style;

/// What a document lets in and out, ready to judge requests.
#[derive(Debug)]
pub struct Contract {
    pub(crate) base_path: Box<str>,
    pub(crate) operations: Vec<Operation>,
    pub(crate) by_id: HashMap<Box<str>, u32>,
    pub(crate) tree: Tree<Route>,
    pub(crate) schemes: Vec<SecurityScheme>,
}

/// A contract with what was found on the way.
#[derive(Debug)]
pub struct Compiled {
    /// The contract.
    pub contract: Contract,
    /// Warnings and remarks, and under `on_error: close_operation` the errors of closed operations; each once, in
    /// the order of the files.
    pub findings: Vec<Finding>,
}

/// The operations of one path.
#[derive(Debug, Default)]
pub(crate) struct Route {
    pub(crate) methods: [Option<u32>; Method::ALL.len()],
    pub(crate) allow: String,
}

/// What a method and path are.
#[derive(Debug)]
pub enum Found<'c> {
    /// A declared operation.
    Operation {
        /// It.
        operation: &'c Operation,
        /// Its index in [`Contract::operations`].
        index: usize,
        /// What the variables of its path were filled with.
        path: Segments,
    },
    /// The path is declared, but not with this method.
    MethodNotAllowed {
        /// For `Allow`.
        allow: &'c str,
    },
    /// The path would fit, but for an encoded slash or a semicolon that its parameter does not allow
    /// (`wire.md`, section 6.2, step 7).
    Marked,
    /// Declared, and closed by `on_error: close_operation` or by `closed: true`: refused as if it were not declared.
    Closed {
        /// Its index in [`Contract::operations`].
        index: usize,
    },
    /// Not declared: refused.
    Undeclared,
}

/// Compiles a document under the terms of `portcullis.yaml`.
///
/// # Errors
/// All findings, when one of them is an error that refuses the API.
pub fn compile(document: &Document, terms: &Terms) -> Result<Compiled, Vec<Finding>> {
    let (contract, fatal, mut findings) = Compile::new(document, terms).run();
    if terms.strict {
        for finding in &mut findings {
            if finding.severity == Severity::Warning {
                finding.severity = Severity::Error;
            }
        }
    }
    let mut told = HashSet::new();
    findings.retain(|finding| told.insert((finding.code, finding.at, finding.message.clone())));
    findings.sort_by_key(|finding| (finding.at.file, finding.at.start));
    let errors = findings.iter().any(|finding| finding.severity == Severity::Error);
    match contract {
        Some(contract)
            if !errors || (terms.on_error == OnError::CloseOperation && !fatal && !terms.strict) =>
        {
            Ok(Compiled { contract, findings })
        }
        _ => Err(findings),
    }
}

impl Contract {
    /// The operation that a method and a canonical path are: literal segments before mixed ones before variables.
    pub fn find(&self, method: Method, path: &CanonicalPath) -> Found<'_> {
        let Some((route, segments)) = self.tree.find(path) else { return Found::Undeclared };
        let index = route.methods.get(usize::from(method as u8)).copied().flatten();
        let open =
            index.and_then(|i| usize::try_from(i).ok()).and_then(|i| Some((i, self.operations.get(i)?)));
        match (open, index) {
            (Some((index, operation)), _) if operation.closed => Found::Closed { index },
            (Some((index, operation)), _) => {
                if paths::marked(path, &segments, |variable| operation.allowed_marks(variable)) {
                    return Found::Marked;
                }
                Found::Operation { operation, index, path: segments }
            }
            (None, _) if route.allow.is_empty() => Found::Undeclared,
            (None, _) => Found::MethodNotAllowed { allow: &route.allow },
        }
    }

    /// All operations, closed ones too, in the order of the document.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// An operation by its id.
    pub fn operation(&self, id: &str) -> Option<&Operation> {
        self.by_id.get(id).and_then(|i| usize::try_from(*i).ok()).and_then(|i| self.operations.get(i))
    }

    /// The security schemes of the document.
    pub fn schemes(&self) -> &[SecurityScheme] {
        &self.schemes
    }

    /// What stands in front of every path: empty, or `/v1` without a slash behind.
    pub fn base_path(&self) -> &str {
        &self.base_path
    }
}

impl Operation {
    /// Marks that the parameter which fills a variable allows: a matrix one holds semicolons.
    fn allowed_marks(&self, variable: usize) -> Marks {
        let matrix = self.parameters.iter().any(|parameter| {
            parameter.location == crate::violation::In::Path
                && usize::from(parameter.slot) == variable
                && parameter.style == Style::Matrix
        });
        if matrix { Marks::SEMICOLON } else { Marks::default() }
    }

    /// Where a finding about the whole operation belongs.
    pub fn place(&self) -> Span {
        self.at
    }
}
