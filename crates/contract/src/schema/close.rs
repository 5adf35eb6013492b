//! What the parts of one value's schema declare together: the ground of the closed world (§ 8).

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::Direction;
use super::plan::{ALL, ARRAY, BOOLEAN, INTEGER, NULL, NUMBER, OBJECT, STRING};
use super::translate::{Part, Translator};
use crate::document::{Node, Version};

/// What is known about one value's place.
#[derive(Debug, Default)]
pub(super) struct Facts<'b> {
    /// Some part says something about members.
    pub(super) declares: bool,
    /// Some part says something about items.
    pub(super) items: bool,
    pub(super) prefix: bool,
    /// Some part lists the values themselves.
    pub(super) values: bool,
    /// An alternative that says nothing about members: any object fits.
    pub(super) shapeless_branch: bool,
    /// Properties by name, with every place that declares them.
    pub(super) declared: BTreeMap<Box<str>, Vec<Declared<'b>>>,
    /// Properties that the direction takes out; nobody can require them.
    pub(super) taken_out: BTreeSet<Box<str>>,
}

/// One declaration of a property.
#[derive(Clone, Debug)]
pub(super) struct Declared<'b> {
    pub(super) node: &'b Node,
    /// The alternatives on the way: the composition, and which of its branches.
    path: Vec<(usize, usize)>,
}

impl Declared<'_> {
    /// Not below an alternative.
    pub(super) fn certain(&self) -> bool {
        self.path.is_empty()
    }

    /// Never at work together: different alternatives of one composition.
    fn excludes(&self, other: &Self) -> bool {
        self.path.iter().any(|(at, branch)| other.path.iter().any(|(a, b)| a == at && b != branch))
    }
}

impl<'b> Facts<'b> {
    /// Properties whose value is an object that several parts describe together.
    pub(super) fn shared(&self, translator: &Translator<'b>) -> Vec<(Box<str>, Vec<Declared<'b>>)> {
        let mut found = Vec::new();
        for (name, places) in &self.declared {
            if places.len() < 2 {
                continue;
            }
            let objects: Vec<_> =
                places.iter().filter(|place| translator.describes_object(place.node)).collect();
            let together = objects.iter().enumerate().any(|(i, a)| {
                objects.iter().skip(i + 1).any(|b| !std::ptr::eq(a.node, b.node) && !a.excludes(b))
            });
            if together {
                found.push((name.clone(), objects.into_iter().cloned().collect()));
            }
        }
        found
    }
}

impl<'b> Translator<'b> {
    pub(super) fn facts(&self, parts: &[Part<'b>], direction: Direction) -> Facts<'b> {
        let mut facts = Facts::default();
        let mut seen = HashSet::new();
        for part in parts {
            self.gather(part.node, direction, &mut Vec::new(), &mut seen, &mut HashSet::new(), &mut facts);
        }
        facts
    }

    fn gather(
        &self,
        node: &'b Node,
        direction: Direction,
        path: &mut Vec<(usize, usize)>,
        seen: &mut HashSet<usize>,
        probed: &mut HashSet<usize>,
        facts: &mut Facts<'b>,
    ) {
        if !seen.insert(std::ptr::from_ref(node).addr()) {
            return;
        }
        if let Some(target) = self.target(node) {
            self.gather(target, direction, path, seen, probed, facts);
            if self.version == Version::V30 {
                return;
            }
        }
        for (key, value) in node.as_object().unwrap_or_default() {
            match &*key.text {
                "properties" => {
                    facts.declares = true;
                    for (name, property) in value.as_object().unwrap_or_default() {
                        if self.taken_out(property, direction) {
                            facts.taken_out.insert(name.text.clone());
                        }
                        let place = Declared { node: property, path: path.clone() };
                        facts.declared.entry(name.text.clone()).or_default().push(place);
                    }
                }
                "required"
                | "additionalProperties"
                | "patternProperties"
                | "unevaluatedProperties"
                | "propertyNames"
                | "dependentRequired" => facts.declares = true,
                "items" | "contains" | "unevaluatedItems" => facts.items = true,
                "prefixItems" => facts.prefix = true,
                "enum" | "const" => facts.values = true,
                "allOf" => {
                    for branch in value.as_array().unwrap_or_default() {
                        self.gather(branch, direction, path, seen, probed, facts);
                    }
                }
                "anyOf" | "oneOf" => {
                    for (i, branch) in value.as_array().unwrap_or_default().iter().enumerate() {
                        facts.shapeless_branch |= self.is_shapeless(branch, probed);
                        path.push((std::ptr::from_ref(value).addr(), i));
                        self.gather(branch, direction, path, seen, probed, facts);
                        path.pop();
                    }
                }
                "then" | "else" if self.version == Version::V31 => {
                    path.push((std::ptr::from_ref(node).addr(), usize::from(&*key.text == "else")));
                    self.gather(value, direction, path, seen, probed, facts);
                    path.pop();
                }
                "dependentSchemas" => {
                    facts.declares = true;
                    for (_, branch) in value.as_object().unwrap_or_default() {
                        path.push((std::ptr::from_ref(branch).addr(), 0));
                        self.gather(branch, direction, path, seen, probed, facts);
                        path.pop();
                    }
                }
                _ => {}
            }
        }
    }

    /// Takes objects or arrays and says nothing about what is in them.
    fn is_shapeless(&self, node: &'b Node, probed: &mut HashSet<usize>) -> bool {
        if node.as_bool() == Some(true) {
            return true;
        }
        // An alternative that leads back to itself adds nothing.
        if !probed.insert(std::ptr::from_ref(node).addr()) {
            return false;
        }
        let types = self.types(node, &mut HashSet::new());
        if types & (OBJECT | ARRAY) == 0 {
            return false;
        }
        let mut facts = Facts::default();
        self.gather(node, Direction::Request, &mut Vec::new(), &mut HashSet::new(), probed, &mut facts);
        facts.shapeless(types)
    }

    /// Says something about the members of an object.
    pub(super) fn describes_object(&self, node: &'b Node) -> bool {
        let types = self.types(node, &mut HashSet::new());
        types & OBJECT != 0 && self.facts(&[Part { node, certain: true }], Direction::Request).declares
    }

    /// The types that a value may have, as far as `type` and composition say.
    pub(super) fn types(&self, node: &'b Node, seen: &mut HashSet<usize>) -> u8 {
        match node.as_bool() {
            Some(true) => return ALL,
            Some(false) => return 0,
            None => {}
        }
        if !seen.insert(std::ptr::from_ref(node).addr()) {
            return ALL;
        }
        let mut types = ALL;
        if let Some(target) = self.target(node) {
            types &= self.types(target, seen);
            if self.version == Version::V30 {
                return types;
            }
        }
        types &= self.own_types(node).unwrap_or(ALL);
        for branch in node.get("allOf").and_then(Node::as_array).unwrap_or_default() {
            types &= self.types(branch, &mut seen.clone());
        }
        for alternatives in ["anyOf", "oneOf"] {
            if let Some(branches) = node.get(alternatives).and_then(Node::as_array) {
                types &= branches.iter().fold(0, |sum, branch| sum | self.types(branch, &mut seen.clone()));
            }
        }
        types
    }

    /// What `type` says, with what is inferred (§ 2.2) and `nullable`.
    pub(super) fn own_types(&self, node: &Node) -> Option<u8> {
        let has = |key: &str| node.get(key).is_some();
        let Some(declared) = node.get("type") else {
            let composed =
                ["$ref", "allOf", "anyOf", "oneOf", "not", "if", "enum", "const"].into_iter().any(has);
            let object = has("properties") || has("required") || has("additionalProperties");
            return match (self.options.infer && !composed, object, has("items")) {
                (true, true, false) => Some(OBJECT),
                (true, false, true) => Some(ARRAY),
                _ => None,
            };
        };
        let one = |name: &str| match name {
            "null" => NULL,
            "boolean" => BOOLEAN,
            "number" => NUMBER | INTEGER,
            "integer" => INTEGER,
            "string" => STRING,
            "array" => ARRAY,
            "object" => OBJECT,
            _ => 0,
        };
        let mut types = match (declared.as_str(), declared.as_array()) {
            (Some(name), _) => one(name),
            (_, Some(names)) => names.iter().filter_map(Node::as_str).fold(0, |bits, name| bits | one(name)),
            _ => return None,
        };
        if self.version == Version::V30 && node.get("nullable").and_then(Node::as_bool) == Some(true) {
            types |= NULL;
        }
        Some(types)
    }

    /// Whether the direction takes a property out: the request what the server alone sets, the response what it
    /// never shows.
    pub(super) fn taken_out(&self, property: &'b Node, direction: Direction) -> bool {
        let (keyword, extension) = match direction {
            Direction::Request => ("readOnly", "never_in_request"),
            Direction::Response => ("writeOnly", "never_in_response"),
        };
        let mut here = Some(property);
        for _ in 0..64 {
            let Some(node) = here else { return false };
            let says = |node: Option<&Node>| node.and_then(Node::as_bool) == Some(true);
            let sibling = self.version == Version::V30 && node.get("$ref").is_some();
            if !sibling && says(node.get(keyword))
                || says(node.get("x-portcullis").and_then(|extension_of| extension_of.get(extension)))
            {
                return true;
            }
            here = self.target(node);
        }
        false
    }
}

impl Facts<'_> {
    /// Of these types, and nothing is said about what is in the value.
    pub(super) fn shapeless(&self, types: u8) -> bool {
        let object = types & OBJECT != 0 && (!self.declares || self.shapeless_branch);
        let array = types & ARRAY != 0 && !self.items && !self.prefix;
        !self.values && (object || (array && types & OBJECT == 0))
    }
}
