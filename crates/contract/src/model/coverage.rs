//! Every key of a document in exactly one class: enforced, without effect on purpose, or a finding.
//!
//! The readers consume what they compile. This walk goes over all that is written, reached by an operation or not, with
//! the same closed lists, so that a key which no reader came to is a finding as well.

use std::collections::HashSet;

use super::keys::{self, Class, Kind};
use crate::document::{Bundle, Document, Finding, Key, Node, Span, Version};
use crate::schema::keywords;

/// Keys of one part of a document.
#[derive(Clone, Debug)]
pub struct Section {
    /// `GET /orders`, `components/schemas/Order`, `document`, or the reference that leads to another file.
    pub title: String,
    /// Where it stands.
    pub at: Span,
    /// Its keys, in the order of the text; keys below an annotation are data and are not listed.
    pub entries: Vec<Entry>,
}

/// One key.
#[derive(Clone, Debug)]
pub struct Entry {
    /// JSON pointer below the section's node.
    pub pointer: String,
    /// The key's place.
    pub at: Span,
    /// What becomes of it.
    pub class: Class,
}

/// Lists every key of a document.
pub fn coverage(document: &Document) -> Vec<Section> {
    let mut walk = Walk::new(document);
    walk.listing = true;
    walk.run();
    walk.sections.retain(|section| !section.entries.is_empty());
    walk.sections
}

/// Findings about keys at which nobody looked; `known` are the places of those that were found already.
pub(super) fn unread(document: &Document, known: &HashSet<Span>) -> Vec<Finding> {
    let mut walk = Walk::new(document);
    walk.run();
    walk.findings.retain(|finding| !known.contains(&finding.at));
    walk.findings
}

/// What stands under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Under {
    /// A scalar, or data.
    Data,
    /// An object with fixed keys, or a list of such, or a map from names to such.
    One(Kind),
    List(Kind),
    Map(Kind),
    /// A schema in the same three shapes.
    Schema,
    Schemas,
    SchemaMap,
    /// A map from names to something that holds no further keys of the specification.
    Names,
    /// Lists of maps from names.
    Requirements,
    Paths,
    Responses,
    Callbacks,
    /// `x-portcullis`: its readers refuse what they do not know.
    Extension,
}

struct Walk<'d> {
    bundle: &'d Bundle,
    version: Version,
    listing: bool,
    sections: Vec<Section>,
    /// Sections at work, by index, the innermost last.
    open: Vec<usize>,
    findings: Vec<Finding>,
    seen: HashSet<*const Node>,
    /// Objects of other files, reached by reference.
    elsewhere: Vec<(String, &'d Node, Under, bool)>,
    pointer: String,
}

impl<'d> Walk<'d> {
    fn new(document: &'d Document) -> Self {
        Self {
            bundle: document.bundle(),
            version: document.version(),
            listing: false,
            sections: Vec::new(),
            open: Vec::new(),
            findings: Vec::new(),
            seen: HashSet::new(),
            elsewhere: Vec::new(),
            pointer: String::new(),
        }
    }

    fn run(&mut self) {
        let Some(root) = self.bundle.root() else { return };
        self.section("document".to_owned(), root.at, |walk| walk.under(root, Under::One(Kind::Root), false));
        while let Some((title, node, under, idle)) = self.elsewhere.pop() {
            self.section(title, node.at, |walk| walk.under(node, under, idle));
        }
    }

    fn section(&mut self, title: String, at: Span, fill: impl FnOnce(&mut Self)) {
        if !self.listing {
            return fill(self);
        }
        let pointer = std::mem::take(&mut self.pointer);
        self.sections.push(Section { title, at, entries: Vec::new() });
        self.open.push(self.sections.len() - 1);
        fill(self);
        self.open.pop();
        self.pointer = pointer;
    }

    /// Writes a key down.
    fn key(&mut self, key: &Key, class: Class) {
        if let Some(section) = self.open.last().and_then(|index| self.sections.get_mut(*index)) {
            let pointer = format!("{}/{}", self.pointer, crate::document::node::escape(&key.text));
            section.entries.push(Entry { pointer, at: key.at, class });
        }
    }

    fn below(&mut self, key: &Key, fill: impl FnOnce(&mut Self)) {
        let length = self.pointer.len();
        if self.listing {
            self.pointer.push('/');
            self.pointer.push_str(&crate::document::node::escape(&key.text));
        }
        fill(self);
        self.pointer.truncate(length);
    }

    /// `idle`: without effect, so that an unknown key is no constraint that went astray.
    fn under(&mut self, node: &'d Node, under: Under, idle: bool) {
        match under {
            Under::Data => {}
            Under::One(kind) => self.object(node, kind, idle),
            Under::List(kind) => self.each(node, |walk, item| walk.object(item, kind, idle)),
            Under::Map(kind) => {
                let titled = (node.at.file == 0).then(|| component(kind)).flatten();
                self.members(node, |walk, key, value| match titled {
                    Some(map) if walk.pointer.starts_with("/components/") => {
                        let title = format!("components/{map}/{}", key.text);
                        walk.section(title, key.at, |walk| walk.object(value, kind, idle));
                    }
                    _ => walk.object(value, kind, idle),
                });
            }
            Under::Schema => self.schema(node, idle),
            Under::Schemas => self.each(node, |walk, item| walk.schema(item, idle)),
            Under::SchemaMap => self.members(node, |walk, key, value| {
                if walk.pointer.starts_with("/components/schemas/") {
                    let title = format!("components/schemas/{}", key.text);
                    walk.section(title, key.at, |walk| walk.schema(value, idle));
                } else {
                    walk.schema(value, idle);
                }
            }),
            Under::Names => self.members(node, |_, _, _| {}),
            Under::Requirements => self.each(node, |walk, item| walk.members(item, |_, _, _| {})),
            Under::Paths => {
                for (key, item) in node.as_object().unwrap_or_default() {
                    let path = key.text.starts_with('/');
                    let class = match path {
                        true => Class::Enforced,
                        false if key.text.starts_with("x-") => Class::Annotation,
                        false => Class::Finding,
                    };
                    self.key(key, class);
                    if path {
                        self.section(key.text.to_string(), key.at, |walk| {
                            walk.path_item(item, Some(&key.text), idle);
                        });
                    }
                }
            }
            Under::Responses => {
                for (key, response) in node.as_object().unwrap_or_default() {
                    if key.text.starts_with("x-") {
                        self.key(key, Class::Annotation);
                        continue;
                    }
                    let known = super::media::StatusRange::parse(&key.text).is_some();
                    self.key(key, if known { Class::Enforced } else { Class::Finding });
                    self.below(key, |walk| walk.object(response, Kind::Response, idle));
                }
            }
            Under::Callbacks => self.members(node, |walk, _, callback| {
                walk.members(callback, |walk, _, item| walk.path_item(item, None, true));
            }),
            Under::Extension => self.extension(node),
        }
    }

    fn each(&mut self, node: &'d Node, mut fill: impl FnMut(&mut Self, &'d Node)) {
        for (index, item) in node.as_array().unwrap_or_default().iter().enumerate() {
            let length = self.pointer.len();
            if self.listing {
                self.pointer.push_str(&format!("/{index}"));
            }
            fill(self, item);
            self.pointer.truncate(length);
        }
    }

    /// Names that somebody chose: each is read by whoever reads the map.
    fn members(&mut self, node: &'d Node, mut fill: impl FnMut(&mut Self, &'d Key, &'d Node)) {
        for (key, value) in node.as_object().unwrap_or_default() {
            let foreign = key.text.starts_with("x-") && value.as_object().is_none();
            self.key(key, if foreign { Class::Annotation } else { Class::Enforced });
            self.below(key, |walk| fill(walk, key, value));
        }
    }

    fn path_item(&mut self, node: &'d Node, path: Option<&str>, idle: bool) {
        let Some(path) = path else { return self.object(node, Kind::PathItem, idle) };
        if !self.seen.insert(node) {
            return;
        }
        if self.reference(node, Under::One(Kind::PathItem), idle) {
            return;
        }
        for (key, value) in node.as_object().unwrap_or_default() {
            let class = self.classed(key, Kind::PathItem, idle);
            if under(Kind::PathItem, &key.text) == Under::One(Kind::Operation) && class != Class::Finding {
                let title = format!("{} {path}", key.text.to_uppercase());
                let idle = idle || &*key.text == "trace";
                self.section(title, key.at, |walk| walk.object(value, Kind::Operation, idle));
            } else {
                self.below(key, |walk| walk.child(Kind::PathItem, key, value, class, idle));
            }
        }
    }

    fn object(&mut self, node: &'d Node, kind: Kind, idle: bool) {
        if !self.seen.insert(node) || self.reference(node, Under::One(kind), idle) {
            return;
        }
        for (key, value) in node.as_object().unwrap_or_default() {
            let class = self.classed(key, kind, idle);
            self.below(key, |walk| walk.child(kind, key, value, class, idle));
        }
    }

    fn child(&mut self, kind: Kind, key: &Key, value: &'d Node, class: Class, idle: bool) {
        match class {
            Class::Finding => {}
            _ if &*key.text == "x-portcullis" => self.extension(value),
            _ if key.text.starts_with("x-") => {}
            class => self.under(value, under(kind, &key.text), idle || class == Class::Annotation),
        }
    }

    /// The class of a key, with a finding where it has one.
    fn classed(&mut self, key: &Key, kind: Kind, idle: bool) -> Class {
        let class = kind.class(&key.text, self.version);
        self.key(key, class);
        if class == Class::Finding {
            self.findings.push(keys::finding(key, kind, self.version, idle));
        }
        class
    }

    /// Whether the object is a reference; what it leads to in another file is looked at later.
    fn reference(&mut self, node: &'d Node, under: Under, idle: bool) -> bool {
        let Some((at, reference)) = node.entry("$ref") else { return false };
        self.key(at, Class::Enforced);
        for (key, _) in node.as_object().unwrap_or_default() {
            if &*key.text == "x-portcullis" {
                self.key(key, Class::Finding);
            } else if &*key.text != "$ref" {
                let known = matches!(&*key.text, "summary" | "description") || key.text.starts_with("x-");
                self.key(key, if known { Class::Annotation } else { Class::Finding });
                if !known {
                    let message = format!("`{}` beside `$ref` has no effect", key.text);
                    self.findings.push(Finding::warning("ref-sibling-ignored", key.at, message));
                }
            }
        }
        self.follow(node, reference, under, idle);
        true
    }

    fn follow(&mut self, node: &'d Node, reference: &'d Node, under: Under, idle: bool) {
        if let Some(text) = reference.as_str()
            && let Ok((file, target)) = self.bundle.resolve(node.at.file, text)
            && (file != node.at.file || !text.starts_with("#/components/"))
            && !self.seen.contains(&std::ptr::from_ref(target))
        {
            self.elsewhere.push((text.to_owned(), target, under, idle));
        }
    }

    fn schema(&mut self, node: &'d Node, idle: bool) {
        if !self.seen.insert(node) {
            return;
        }
        if let Some((_, reference)) = node.entry("$ref") {
            self.follow(node, reference, Under::Schema, idle);
            if self.version == Version::V30 {
                for (key, _) in node.as_object().unwrap_or_default() {
                    let idle = &*key.text != "$ref" && keywords::constrains(&key.text);
                    let class = if idle { Class::Finding } else { keywords::class(&key.text, self.version) };
                    self.key(key, class);
                    if idle {
                        self.findings.push(keywords::sibling(key));
                    }
                }
                return;
            }
        }
        for (key, value) in node.as_object().unwrap_or_default() {
            let class = keywords::class(&key.text, self.version);
            self.key(key, class);
            match class {
                Class::Finding => self.findings.push(keywords::finding(key, self.version, idle)),
                _ if &*key.text == "x-portcullis" => self.below(key, |walk| walk.extension(value)),
                _ if key.text.starts_with("x-") => {}
                class => self.below(key, |walk| {
                    walk.under(value, keyword(&key.text), idle || class == Class::Annotation);
                }),
            }
        }
    }

    fn extension(&mut self, node: &'d Node) {
        match node.as_array() {
            Some(_) => self.each(node, |walk, item| walk.extension(item)),
            None => self.members(node, |walk, _, value| walk.extension(value)),
        }
    }
}

/// The map of `components` that holds objects of a kind.
fn component(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Response => "responses",
        Kind::Parameter => "parameters",
        Kind::Example => "examples",
        Kind::RequestBody => "requestBodies",
        Kind::Header => "headers",
        Kind::SecurityScheme => "securitySchemes",
        Kind::Link => "links",
        Kind::PathItem => "pathItems",
        _ => return None,
    })
}

/// What stands under a key of an object of the specification.
fn under(kind: Kind, key: &str) -> Under {
    match (kind, key) {
        (_, "externalDocs") => Under::One(Kind::ExternalDocs),
        (_, "x-portcullis") => Under::Extension,
        (Kind::Root, "info") => Under::One(Kind::Info),
        (Kind::Root | Kind::PathItem | Kind::Operation, "servers") => Under::List(Kind::Server),
        (Kind::Root, "paths") => Under::Paths,
        (Kind::Root, "components") => Under::One(Kind::Components),
        (Kind::Root | Kind::Operation, "security") => Under::Requirements,
        (Kind::Root, "tags") => Under::List(Kind::Tag),
        (Kind::Root, "webhooks") => Under::Map(Kind::PathItem),
        (Kind::Info, "contact") => Under::One(Kind::Contact),
        (Kind::Info, "license") => Under::One(Kind::License),
        (Kind::Server, "variables") => Under::Map(Kind::ServerVariable),
        (Kind::Components, "schemas") => Under::SchemaMap,
        (Kind::Components | Kind::Response, "headers") | (Kind::Encoding, "headers") => {
            Under::Map(Kind::Header)
        }
        (Kind::Components, "responses") => Under::Map(Kind::Response),
        (Kind::Components, "parameters") => Under::Map(Kind::Parameter),
        (Kind::Components, "requestBodies") => Under::Map(Kind::RequestBody),
        (Kind::Components, "securitySchemes") => Under::Map(Kind::SecurityScheme),
        (Kind::Components, "pathItems") => Under::Map(Kind::PathItem),
        (Kind::Components | Kind::Response, "links") => Under::Map(Kind::Link),
        (Kind::Components, "callbacks") | (Kind::Operation, "callbacks") => Under::Callbacks,
        (Kind::Components | Kind::Parameter | Kind::Header | Kind::MediaType, "examples") => {
            Under::Map(Kind::Example)
        }
        (Kind::PathItem, "parameters") | (Kind::Operation, "parameters") => Under::List(Kind::Parameter),
        (Kind::PathItem, "get" | "put" | "post" | "delete" | "options" | "head" | "patch" | "trace") => {
            Under::One(Kind::Operation)
        }
        (Kind::Operation, "requestBody") => Under::One(Kind::RequestBody),
        (Kind::Operation, "responses") => Under::Responses,
        (Kind::Parameter | Kind::Header | Kind::MediaType, "schema") => Under::Schema,
        (Kind::Parameter | Kind::Header | Kind::RequestBody | Kind::Response, "content") => {
            Under::Map(Kind::MediaType)
        }
        (Kind::MediaType, "encoding") => Under::Map(Kind::Encoding),
        (Kind::Link, "server") => Under::One(Kind::Server),
        (Kind::SecurityScheme, "flows") => Under::One(Kind::OAuthFlows),
        (Kind::OAuthFlows, "implicit" | "password" | "clientCredentials" | "authorizationCode") => {
            Under::One(Kind::OAuthFlow)
        }
        (Kind::OAuthFlow, "scopes") | (Kind::Discriminator, "mapping") => Under::Names,
        _ => Under::Data,
    }
}

/// What stands under a keyword of a schema.
fn keyword(key: &str) -> Under {
    match key {
        "properties" | "patternProperties" | "$defs" | "dependentSchemas" => Under::SchemaMap,
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => Under::Schemas,
        "items"
        | "additionalProperties"
        | "not"
        | "if"
        | "then"
        | "else"
        | "contains"
        | "propertyNames"
        | "unevaluatedItems"
        | "unevaluatedProperties"
        | "contentSchema" => Under::Schema,
        "dependentRequired" => Under::Names,
        "discriminator" => Under::One(Kind::Discriminator),
        "xml" => Under::One(Kind::Xml),
        "externalDocs" => Under::One(Kind::ExternalDocs),
        _ => Under::Data,
    }
}
