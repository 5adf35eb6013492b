//! The place of a value, and the parts that describe it together.

use std::collections::HashSet;

use portcullis_core::finding::Finding;
use serde_json::{Map, Value, json};

use super::{Context, Kind, Part, Role, Spot, Translator};
use crate::document::{Node, Version};
use crate::schema::Direction;
use crate::schema::close::{Declared, Facts};
use crate::schema::plan::{ARRAY, OBJECT};

impl<'b> Translator<'b> {
    /// A schema at the place of a value.
    pub(super) fn place(&mut self, parts: &[Part<'b>], spot: Spot) -> Value {
        let [Part { node, .. }] = *parts else { return self.united(parts, spot) };
        if matches!(spot.kind, Kind::Open | Kind::LooseBranch) {
            return self.part(node, spot);
        }
        if let Some(value) = self.boolean(node) {
            if value == Value::Bool(true) && spot.kind != Kind::Raw {
                return self.data(node, spot);
            }
            return value;
        }
        if self.is_reference(node) {
            return self.referred(node, spot);
        }
        if spot.kind == Kind::Raw {
            return self.part(node, spot);
        }
        if !spot.plain
            && let Some(value) = self.inherited(node, spot)
        {
            return value;
        }
        let facts = self.facts(parts, spot.direction);
        let shared = facts.shared(self);
        let context = self.context(&facts, &shared);
        let mut map = self.keywords(node, Spot { context, ..spot });
        self.close(node, spot, &facts, shared, &mut map);
        if let Role::Part(Some(maximum)) = spot.role {
            super::object::bound(&mut map, self.own_types(node), maximum);
        }
        Value::Object(map)
    }

    /// Closes the place (§ 8, rules 1, 2 and 4), or marks it as data (rules 5 and 6).
    pub(super) fn close(
        &mut self,
        node: &'b Node,
        spot: Spot,
        facts: &Facts<'b>,
        shared: Vec<(Box<str>, Vec<Declared<'b>>)>,
        map: &mut Map<String, Value>,
    ) {
        let types = self.types(node, &mut HashSet::new());
        if facts.shapeless(types) {
            let Value::Object(open) = self.data(node, spot) else { return };
            map.extend(open);
        }
        if spot.kind != Kind::Closed {
            return;
        }
        for (name, places) in shared {
            let parts = places.iter().map(|p| Part { node: p.node, certain: p.certain() }).collect();
            let below = Spot { role: Role::Nested, plain: false, context: 0, ..spot };
            let value = self.refer(parts, below);
            let closer = json!({ "properties": { &*name: value } });
            match map.get_mut("allOf").and_then(Value::as_array_mut) {
                Some(all) => all.push(closer),
                None => drop(map.insert("allOf".into(), json!([closer]))),
            }
        }
        let says = map.contains_key("additionalProperties") || map.contains_key("unevaluatedProperties");
        if types & OBJECT != 0 && facts.declares && !facts.shapeless_branch && !says {
            map.insert("unevaluatedProperties".into(), Value::Bool(false));
        }
        if types & ARRAY != 0
            && facts.prefix
            && !facts.items
            && spot.direction == Direction::Request
            && !map.contains_key("unevaluatedItems")
        {
            map.insert("unevaluatedItems".into(), Value::Bool(false));
        }
    }

    /// The place of a value that several parts describe: each open, closed by the union of what they declare.
    pub(super) fn united(&mut self, parts: &[Part<'b>], spot: Spot) -> Value {
        let facts = self.facts(parts, spot.direction);
        let shared = facts.shared(self);
        let context = self.context(&facts, &shared);
        let branch = Spot { kind: spot.kind.branch(), context, ..spot };
        let mut all: Vec<Value> = Vec::new();
        for part in parts {
            let value = self.refer(vec![Part { certain: true, ..*part }], branch);
            all.push(if part.certain { value } else { json!({ "anyOf": [value, true] }) });
        }
        for (name, places) in shared {
            let parts = places.iter().map(|p| Part { node: p.node, certain: p.certain() }).collect();
            let value = self.refer(parts, Spot { role: Role::Nested, plain: false, context: 0, ..spot });
            all.push(json!({ "properties": { &*name: value } }));
        }
        json!({ "allOf": all, "unevaluatedProperties": false })
    }

    /// A schema that says nothing about what is in a value.
    pub(super) fn data(&mut self, node: &'b Node, spot: Spot) -> Value {
        if spot.role == Role::Body && !self.options.shapeless {
            self.findings.push(
                Finding::error(
                    "body-shapeless",
                    node.at,
                    "the body may be any object; nothing could be checked",
                )
                .help("declare its properties"),
            );
        } else if spot.role == Role::Nested {
            self.warning(
                "object-shapeless",
                node,
                "nothing is declared about what this holds: it passes as data",
            );
        }
        json!({ "portcullisOpen": true })
    }

    pub(super) fn context(&mut self, facts: &Facts<'b>, shared: &[(Box<str>, Vec<Declared<'b>>)]) -> u32 {
        let context = Context {
            shared: shared.iter().map(|(name, _)| name.clone()).collect(),
            taken_out: facts.taken_out.clone(),
        };
        if let Some(known) = self.by_context.get(&context) {
            return *known;
        }
        let index = self.contexts.len() as u32;
        self.by_context.insert(context.clone(), index);
        self.contexts.push(context);
        index
    }

    /// A schema that describes a value together with others.
    pub(super) fn part(&mut self, node: &'b Node, spot: Spot) -> Value {
        if let Some(value) = self.boolean(node) {
            return value;
        }
        if self.is_reference(node) {
            return self.referred(node, spot);
        }
        Value::Object(self.keywords(node, spot))
    }

    /// A boolean schema, or what is none at all.
    pub(super) fn boolean(&mut self, node: &'b Node) -> Option<Value> {
        if node.as_object().is_some() {
            return None;
        }
        match (node.as_bool(), self.version) {
            (Some(value), Version::V31) => Some(Value::Bool(value)),
            _ => {
                self.error("schema-invalid", node, format!("a schema is an object, not {}", node.kind()));
                Some(Value::Bool(false))
            }
        }
    }

    pub(super) fn below(&mut self, node: &'b Node, spot: Spot) -> Value {
        let spot = Spot { kind: spot.kind.below(), role: Role::Nested, plain: false, context: 0, ..spot };
        // Inline: nothing else refers to it, and references become definitions of their own.
        self.place(&[Part { node, certain: true }], spot)
    }

    pub(super) fn branch(&mut self, node: &'b Node, spot: Spot) -> Value {
        let spot = Spot { kind: spot.kind.branch(), role: Role::Nested, plain: false, ..spot };
        self.part(node, spot)
    }

    pub(super) fn raw(&mut self, node: &'b Node, spot: Spot) -> Value {
        let spot = Spot { kind: Kind::Raw, role: Role::Nested, plain: false, context: 0, ..spot };
        self.part(node, spot)
    }

    pub(super) fn branches(&mut self, list: &'b Node, spot: Spot) -> Value {
        match list.as_array() {
            Some(items) if !items.is_empty() => {
                Value::Array(items.iter().map(|item| self.branch(item, spot)).collect())
            }
            _ => {
                self.error("schema-invalid", list, "at least one schema is needed");
                json!([false])
            }
        }
    }

    pub(super) fn context_of(&self, spot: Spot) -> Context {
        self.contexts.get(spot.context as usize).cloned().unwrap_or_default()
    }
}
