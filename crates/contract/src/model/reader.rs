//! What every reader of the document shares: following references, checking keys, collecting findings.

use std::cell::Cell;
use std::collections::HashSet;

use portcullis_core::finding::{Severity, did_you_mean};

use super::keys::{self, Kind};
use super::terms::Terms;
use crate::document::{Document, Finding, Key, Node, RefError, Span, Version};

/// Reads objects of one document and keeps what it finds.
pub(crate) struct Reader<'d> {
    pub(crate) document: &'d Document,
    pub(crate) terms: &'d Terms,
    pub(crate) findings: Vec<Finding>,
    checked: HashSet<(*const Node, Kind)>,
    broken: HashSet<*const Node>,
    counted: Cell<(usize, usize)>,
    /// Something with an error that was told before was met again.
    pub(crate) met_broken: bool,
    /// What the patches of the operation at work are patches of.
    pub(crate) patch_of: super::patch::PatchOf,
}

impl<'d> Reader<'d> {
    pub(crate) fn new(document: &'d Document, terms: &'d Terms) -> Self {
        Self {
            document,
            terms,
            findings: Vec::new(),
            checked: HashSet::new(),
            broken: HashSet::new(),
            counted: Cell::default(),
            met_broken: false,
            patch_of: None,
        }
    }

    pub(crate) fn version(&self) -> Version {
        self.document.version
    }

    /// How many errors there are so far.
    pub(crate) fn errors(&self) -> usize {
        // Findings only grow, and each is counted once.
        let (seen, mut errors) = self.counted.get();
        let new = self.findings.get(seen..).unwrap_or_default();
        errors += new.iter().filter(|finding| finding.severity == Severity::Error).count();
        self.counted.set((self.findings.len(), errors));
        errors
    }

    pub(crate) fn error(&mut self, code: &'static str, at: Span, message: impl Into<String>) {
        self.findings.push(Finding::error(code, at, message));
    }

    pub(crate) fn warning(&mut self, code: &'static str, at: Span, message: impl Into<String>) {
        self.findings.push(Finding::warning(code, at, message));
    }

    pub(crate) fn remark(&mut self, code: &'static str, at: Span, message: impl Into<String>) {
        self.findings.push(Finding::remark(code, at, message));
    }

    /// The object that `node` is or refers to, its keys checked as those of `kind`. `None` with a finding when the
    /// reference leads nowhere or it is no object.
    pub(crate) fn object(&mut self, node: &'d Node, kind: Kind) -> Option<&'d Node> {
        let target = self.follow(node, kind)?;
        if target.as_object().is_none() {
            let message = format!("expected {}, found {}", kind.name(), target.kind());
            self.error("shape-unexpected", target.at, message);
            return None;
        }
        // What many operations share is checked once.
        if self.checked.insert((std::ptr::from_ref(target), kind)) {
            let before = self.errors();
            keys::check(target, kind, self.version(), &mut self.findings);
            if self.errors() > before {
                self.broken.insert(target);
            }
        }
        self.met_broken |= self.broken.contains(&std::ptr::from_ref(target));
        Some(target)
    }

    /// Where a chain of `$ref` ends.
    fn follow(&mut self, node: &'d Node, kind: Kind) -> Option<&'d Node> {
        let Some(reference) = node.get("$ref") else { return Some(node) };
        if reference.as_str().is_none() {
            self.error(
                "ref-unresolved",
                reference.at,
                format!("`$ref` is text; this is {}", reference.kind()),
            );
            return None;
        }
        for (key, _) in node.as_object().unwrap_or_default() {
            let annotation =
                matches!(&*key.text, "$ref" | "summary" | "description") || key.text.starts_with("x-");
            if !annotation {
                let message = format!("`{}` beside `$ref` has no effect", key.text);
                self.warning("ref-sibling-ignored", key.at, message);
            } else if &*key.text == "x-portcullis" {
                self.error("extension-unknown", key.at, "`x-portcullis` beside `$ref` has no effect");
            }
        }
        match self.document.bundle.follow(node) {
            Ok(target) => Some(target),
            Err(error) => {
                let finding = unresolved(reference, &error);
                self.findings.push(finding.help(format!("{} was expected here", kind.name())));
                None
            }
        }
    }

    /// The members of an optional map from names to objects.
    pub(crate) fn members(&mut self, node: &'d Node, key: &str) -> &'d [(Key, Node)] {
        match node.get(key) {
            None => &[],
            Some(map) => match map.as_object() {
                Some(members) => members,
                None => {
                    self.error(
                        "shape-unexpected",
                        map.at,
                        format!("`{key}` is an object; this is {}", map.kind()),
                    );
                    &[]
                }
            },
        }
    }

    /// The elements of an optional array.
    pub(crate) fn items(&mut self, node: &'d Node, key: &str) -> &'d [Node] {
        match node.get(key) {
            None => &[],
            Some(list) => match list.as_array() {
                Some(items) => items,
                None => {
                    self.error(
                        "shape-unexpected",
                        list.at,
                        format!("`{key}` is an array; this is {}", list.kind()),
                    );
                    &[]
                }
            },
        }
    }

    /// An optional string.
    pub(crate) fn text(&mut self, node: &'d Node, key: &str) -> Option<&'d str> {
        let value = node.get(key)?;
        let text = value.as_str();
        if text.is_none() {
            self.error("shape-unexpected", value.at, format!("`{key}` is text; this is {}", value.kind()));
        }
        text
    }

    /// An optional boolean.
    pub(crate) fn flag(&mut self, node: &'d Node, key: &str) -> Option<bool> {
        let value = node.get(key)?;
        // Documents of the wild write "true".
        let flag = value.as_bool().or(match value.as_str() {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => None,
        });
        if flag.is_none() {
            self.error(
                "shape-unexpected",
                value.at,
                format!("`{key}` is true or false; this is {}", value.kind()),
            );
        } else if value.as_bool().is_none() {
            self.warning("shape-unexpected", value.at, format!("`{key}` is text and read as a boolean"));
        }
        flag
    }

    /// Errors for every member of an extension object that is not in `known`.
    pub(crate) fn strict(&mut self, node: &'d Node, known: &[&'static str], what: &str) -> &'d [(Key, Node)] {
        let Some(members) = node.as_object() else {
            self.error("extension-unknown", node.at, format!("{what} is an object; this is {}", node.kind()));
            return &[];
        };
        for (key, _) in members {
            if !known.contains(&&*key.text) {
                let finding = Finding::error(
                    "extension-unknown",
                    key.at,
                    format!("`{}` is no key of {what}", key.text),
                );
                self.findings.push(match did_you_mean(&key.text, known.iter().copied()) {
                    Some(meant) => finding.help(format!("did you mean `{meant}`?")),
                    None => finding.help(format!("known are {}", known.join(", "))),
                });
            }
        }
        members
    }
}

/// The finding for a reference that leads nowhere.
pub(crate) fn unresolved(reference: &Node, error: &RefError) -> Finding {
    let code = match error {
        RefError::Remote | RefError::Absolute | RefError::Outside => "ref-forbidden",
        _ => "ref-unresolved",
    };
    Finding::error(code, reference.at, error.to_string())
}
