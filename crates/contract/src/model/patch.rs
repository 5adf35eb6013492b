//! `request: { patch_of: SCHEMA }`: what a JSON patch may reach.

use std::collections::HashMap;

use super::reader::Reader;
use super::shape::target;
use crate::body::patch::{Patch, Reach};
use crate::document::{Bundle, Finding, Key, Node, Span};
use crate::schema::Compiler;

/// Places of one patched value.
const PLACES: usize = 10_000;

/// Compiles what a patch may write; `None` with a finding.
pub(crate) fn patch<'d>(
    reader: &mut Reader<'d>,
    compiler: &mut Compiler<'d>,
    key: &Key,
    own: Option<&'d Node>,
) -> Option<Patch> {
    let Some((name, at)) = reader.patch_of.clone() else {
        reader.findings.push(
            Finding::error("patch-unbounded", key.at, "a JSON patch can write to any place")
                .help("say what it patches: x-portcullis: { request: { patch_of: Order } }; or use application/merge-patch+json"),
        );
        return None;
    };
    let bundle = reader.document.bundle();
    let reference = if name.contains(['#', '/', '.']) {
        name.to_string()
    } else {
        format!("#/components/schemas/{name}")
    };
    let schema = match bundle.resolve(at.file, &reference) {
        Ok((_, node)) => node,
        Err(error) => {
            reader.error("ref-unresolved", at, format!("`patch_of`: {error}"));
            return None;
        }
    };
    let mut walk = Walk { bundle, places: Vec::new(), nodes: Vec::new(), known: HashMap::new() };
    walk.place(vec![schema]);
    if walk.places.len() > PLACES {
        reader.error("document-bounds", at, "`patch_of` reaches more places than a patch is checked against");
        return None;
    }
    if walk.places.first().is_none_or(|root| root.members.is_empty() && root.others.is_none()) {
        reader.error("patch-unbounded", at, format!("`{name}` declares nothing that could be patched"));
        return None;
    }
    let mut whole = true;
    let Walk { mut places, nodes, .. } = walk;
    for (place, node) in places.iter_mut().zip(nodes) {
        match compiler.part(node, None) {
            Ok(schema) => place.schema = Some(schema),
            Err(findings) => {
                reader.findings.extend(findings);
                whole = false;
            }
        }
    }
    let own = match own.map(|schema| compiler.part(schema, None)).transpose() {
        Ok(own) => own,
        Err(findings) => {
            reader.findings.extend(findings);
            return None;
        }
    };
    whole.then_some(Patch { own, places })
}

/// Kept by the reader while an operation is read.
pub(crate) type PatchOf = Option<(Box<str>, Span)>;

struct Walk<'d> {
    bundle: &'d Bundle,
    places: Vec<Reach>,
    /// The first schema of each place: what a value written there is checked by.
    nodes: Vec<&'d Node>,
    known: HashMap<*const Node, usize>,
}

impl<'d> Walk<'d> {
    /// The index of the place that these schemas describe together.
    fn place(&mut self, schemas: Vec<&'d Node>) -> usize {
        let first = schemas.first().copied();
        let key = first.map(|node| std::ptr::from_ref(target(self.bundle, node)));
        if let Some(known) = key.and_then(|key| self.known.get(&key)) {
            return *known;
        }
        let index = self.places.len();
        let (Some(key), Some(first)) = (key, first) else { return index };
        self.known.insert(key, index);
        self.places.push(Reach::default());
        self.nodes.push(first);
        if index >= PLACES {
            return index;
        }
        let mut found = Found::default();
        for schema in schemas {
            self.gather(schema, 0, &mut found);
        }
        let mut reach = Reach::default();
        for (name, (own, nodes)) in found.members {
            // Written by the server alone, in any of its declarations.
            reach.members.insert(name, if own { None } else { Some(self.place(nodes)) });
        }
        reach.others = found.others.map(|node| self.place(vec![node]));
        reach.items = found.items.map(|node| self.place(vec![node]));
        if let Some(slot) = self.places.get_mut(index) {
            *slot = reach;
        }
        index
    }

    fn gather(&self, schema: &'d Node, depth: usize, found: &mut Found<'d>) {
        if depth > 32 {
            return;
        }
        let schema = target(self.bundle, schema);
        for (key, property) in schema.get("properties").and_then(Node::as_object).unwrap_or_default() {
            let slot = found.members.entry(key.text.clone()).or_default();
            slot.0 |= self.servers_own(property);
            slot.1.push(property);
        }
        let others = schema.get("additionalProperties").filter(|node| node.as_object().is_some());
        found.others = found.others.or(others);
        found.items = found.items.or(schema.get("items").filter(|node| node.as_object().is_some()));
        for keyword in ["allOf", "anyOf", "oneOf"] {
            for branch in schema.get(keyword).and_then(Node::as_array).unwrap_or_default() {
                self.gather(branch, depth + 1, found);
            }
        }
    }

    fn servers_own(&self, property: &Node) -> bool {
        let says = |node: &Node| {
            let marked = node.get("x-portcullis").and_then(|x| x.get("never_in_request"));
            [node.get("readOnly"), marked].into_iter().flatten().any(|value| value.as_bool() == Some(true))
        };
        says(property) || says(target(self.bundle, property))
    }
}

/// Members by name: whether one is the server's own, and all its declarations.
#[derive(Default)]
struct Found<'d> {
    members: std::collections::BTreeMap<Box<str>, (bool, Vec<&'d Node>)>,
    others: Option<&'d Node>,
    items: Option<&'d Node>,
}
