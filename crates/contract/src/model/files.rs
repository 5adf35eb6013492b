//! Files inside JSON: strings of base64 that the document marks with `upload`.

use std::sync::Arc;

use super::reader::Reader;
use super::shape::target;
use super::upload;
use crate::body::MediaRange;
use crate::document::{Finding, Node};
use crate::json::{self, Kind};
use crate::upload::UploadRules;

/// Where a file may stand in a JSON body.
#[derive(Clone, Debug)]
pub struct FilePlace {
    path: Vec<Step>,
    /// What is asked of it.
    pub rules: Arc<UploadRules>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Member(Box<str>),
    AnyMember,
    AnyItem,
}

/// Schemas below one another that are looked into.
const DEPTH: usize = 64;
/// Places of one body.
const PLACES: usize = 1_000;

impl FilePlace {
    /// The strings at this place.
    pub fn strings<'t>(&self, root: json::Node<'t>) -> Vec<json::Node<'t>> {
        let mut nodes = vec![root];
        for step in &self.path {
            nodes = nodes
                .into_iter()
                .flat_map(|node| -> Vec<json::Node<'t>> {
                    match (step, node.kind()) {
                        (Step::Member(name), Kind::Object) => node.get(name).into_iter().collect(),
                        (Step::AnyMember, Kind::Object) => node.members().map(|(_, value)| value).collect(),
                        (Step::AnyItem, Kind::Array) => node.items().collect(),
                        _ => Vec::new(),
                    }
                })
                .collect();
        }
        nodes.retain(|node| node.as_str().is_some());
        nodes
    }
}

/// All places of files in a schema of a body. `read` says whether the body is one JSON text; elsewhere a marked string
/// would pass unlooked at, and that is an error. `parts` are the properties that are files by themselves.
pub(super) fn places<'d>(
    reader: &mut Reader<'d>,
    schema: &'d Node,
    operation: &str,
    read: bool,
    parts: &[&str],
) -> Vec<FilePlace> {
    let mut walk = Walk { found: Vec::new(), path: Vec::new(), above: Vec::new(), recursive: false };
    walk.schema(reader, schema);
    let Walk { found, recursive, .. } = walk;
    let mut places = Vec::new();
    for (path, node) in found {
        if let [Step::Member(name)] | [Step::Member(name), Step::AnyItem] = path.as_slice()
            && parts.contains(&&**name)
        {
            continue;
        }
        let base64 = node.get("contentEncoding").and_then(Node::as_str) == Some("base64")
            || node.get("format").and_then(Node::as_str) == Some("byte");
        if !base64 || !read || recursive {
            let (message, help) = if !base64 {
                (
                    "`upload` stands at a string of which nothing says how it holds bytes",
                    "add  contentEncoding: base64  (3.0: format: byte)",
                )
            } else if recursive {
                (
                    "a file in a schema that holds itself can stand anywhere",
                    "take it out of the schema that refers to itself",
                )
            } else {
                (
                    "files in base64 are looked at in bodies of application/json only",
                    "send the file as a part of its own",
                )
            };
            reader.findings.push(Finding::error("upload-unread", node.at, message).help(help));
            continue;
        }
        let media = node.get("contentMediaType").and_then(Node::as_str);
        let media: Vec<MediaRange> =
            media.and_then(|text| MediaRange::parse(text).ok()).into_iter().collect();
        if let Some(rules) = upload::rules(reader, node, &media, operation, node.at) {
            places.push(FilePlace { path, rules });
        }
    }
    places
}

struct Walk<'d> {
    found: Vec<(Vec<Step>, &'d Node)>,
    path: Vec<Step>,
    above: Vec<*const Node>,
    recursive: bool,
}

impl<'d> Walk<'d> {
    fn schema(&mut self, reader: &Reader<'d>, node: &'d Node) {
        let node = target(reader.document.bundle(), node);
        if self.above.contains(&std::ptr::from_ref(node)) || self.above.len() >= DEPTH {
            self.recursive = true;
            return;
        }
        if node.get("x-portcullis").is_some_and(|extension| extension.get("upload").is_some())
            && self.found.len() < PLACES
        {
            self.found.push((self.path.clone(), node));
        }
        self.above.push(std::ptr::from_ref(node));
        for keyword in ["properties", "patternProperties", "dependentSchemas"] {
            for (key, child) in node.get(keyword).and_then(Node::as_object).unwrap_or_default() {
                match keyword {
                    "properties" => self.below(reader, Step::Member(key.text.clone()), child),
                    "patternProperties" => self.below(reader, Step::AnyMember, child),
                    _ => self.schema(reader, child),
                }
            }
        }
        for (keyword, step) in [
            ("additionalProperties", Some(Step::AnyMember)),
            ("unevaluatedProperties", Some(Step::AnyMember)),
            ("items", Some(Step::AnyItem)),
            ("unevaluatedItems", Some(Step::AnyItem)),
            ("contains", Some(Step::AnyItem)),
            ("if", None),
            ("then", None),
            ("else", None),
            ("not", None),
        ] {
            match (node.get(keyword), step) {
                (Some(child), Some(step)) => self.below(reader, step, child),
                (Some(child), None) => self.schema(reader, child),
                (None, _) => {}
            }
        }
        for keyword in ["allOf", "anyOf", "oneOf", "prefixItems"] {
            for child in node.get(keyword).and_then(Node::as_array).unwrap_or_default() {
                if keyword == "prefixItems" {
                    self.below(reader, Step::AnyItem, child);
                } else {
                    self.schema(reader, child);
                }
            }
        }
        self.above.pop();
    }

    fn below(&mut self, reader: &Reader<'d>, step: Step, child: &'d Node) {
        self.path.push(step);
        self.schema(reader, child);
        self.path.pop();
    }
}
