//! Operations that are known beforehand (contract.md § 16.5).

use std::collections::HashMap;

use super::lexer::lex;
use super::limits::Limits;
use super::refused::{Judged, Kind, Refused, forbidden, invalid, malformed};
use super::request::Request;
use super::{parse, print};
use crate::json::{self, Bounds, Kind as JsonKind};

/// What is asked of the text of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Off,
    /// Nothing; what is not listed is told to the operator.
    Log,
    /// It is listed, or an id of the list stands for it.
    Safelist,
    /// An id of the list stands for it.
    RequireId,
}

/// The list.
#[derive(Debug)]
pub struct Persisted {
    mode: Mode,
    by_id: HashMap<Box<str>, Box<str>>,
    /// Bodies as they are, or in the form that white space does not change.
    bodies: HashMap<Box<str>, ()>,
    normalised: bool,
}

impl Persisted {
    /// No list.
    pub fn off() -> Self {
        Self { mode: Mode::Off, by_id: HashMap::new(), bodies: HashMap::new(), normalised: false }
    }

    /// Reads a manifest in Apollo's form. Each id is the SHA-256 of its body, in hexadecimal digits; `sha256` makes it.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn manifest(
        mode: Mode,
        normalised: bool,
        text: &str,
        sha256: &dyn Fn(&[u8]) -> [u8; 32],
    ) -> Result<Self, String> {
        let bounds = Bounds { values: u32::MAX, elements: u32::MAX, ..Bounds::default() };
        let tape =
            json::scan(text, &bounds, [0, 0]).map_err(|error| format!("it is no JSON: {}", error.reason))?;
        let root = tape.root();
        let string = |node: json::Node<'_>, name: &str| node.get(name)?.as_str().map(str::to_owned);
        if string(root, "format").as_deref() != Some("apollo-persisted-query-manifest") {
            return Err("its `format` is not `apollo-persisted-query-manifest`".to_owned());
        }
        let Some(operations) = root.get("operations").filter(|node| node.kind() == JsonKind::Array) else {
            return Err("it has no list `operations`".to_owned());
        };
        let mut made = Self { mode, by_id: HashMap::new(), bodies: HashMap::new(), normalised };
        for operation in operations.items() {
            let (Some(id), Some(body)) = (string(operation, "id"), string(operation, "body")) else {
                return Err("an operation has no `id` or no `body`".to_owned());
            };
            let name = string(operation, "name").unwrap_or_default();
            let hash: String = sha256(body.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
            if !hash.eq_ignore_ascii_case(&id) {
                return Err(format!("the id of `{name}` is not the SHA-256 of its body"));
            }
            let Some(normal) = normal(&body) else {
                return Err(format!("the body of `{name}` is no document"));
            };
            made.bodies.insert(if normalised { normal.into() } else { body.as_str().into() }, ());
            made.by_id.insert(id.to_ascii_lowercase().into(), body.into());
        }
        Ok(made)
    }

    /// How many operations are listed.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The text that a request is about, and whether it is listed. Nothing of a request is ever stored.
    pub(super) fn text<'a>(&'a self, request: &Request<'a>) -> Judged<(&'a str, bool)> {
        let strict = matches!(self.mode, Mode::Safelist | Mode::RequireId);
        let by_id = request.id.map(|id| self.by_id.get(&*id.to_ascii_lowercase()).map(|body| &**body));
        match (by_id, request.query) {
            (Some(Some(body)), None) => Ok((body, true)),
            (Some(Some(body)), Some(query)) => {
                if body == query {
                    Ok((body, true))
                } else {
                    Err(invalid("id-with-another-text"))
                }
            }
            // Whoever sends both wants the text to be remembered.
            (Some(None), Some(_)) if strict => Err(NOT_FOUND),
            (Some(None), None) => Err(NOT_FOUND),
            (_, Some(query)) => {
                let listed = self.lists(query);
                match self.mode {
                    Mode::RequireId => Err(forbidden("id-required")),
                    Mode::Safelist if !listed => Err(forbidden("not-listed")),
                    _ => Ok((query, listed || self.mode != Mode::Log)),
                }
            }
            (None, None) => Err(malformed("query-missing")),
        }
    }

    fn lists(&self, query: &str) -> bool {
        if self.mode == Mode::Off {
            return false;
        }
        if self.normalised {
            return normal(query).is_some_and(|normal| self.bodies.contains_key(&*normal));
        }
        self.bodies.contains_key(query)
    }
}

const NOT_FOUND: Refused = Refused { kind: Kind::NotFound, reason: "persisted-query-not-found" };

/// A document in the form that ignored characters do not change.
fn normal(text: &str) -> Option<String> {
    let tokens = lex(text, &Limits::HARD).ok()?;
    Some(print::whole(&parse::document(&tokens).ok()?))
}
