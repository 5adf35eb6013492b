//! The allow-list: of a value, what its schema declares (§ 15.2).

use std::collections::HashSet;

use super::NeverLeak;
use crate::json::{Keep, Kind, Node, Tape};
use crate::schema::{Checker, Rules, SchemaId};

/// At most so many dropped names are told.
pub const MOST_NAMES: usize = 20;

/// What may be written of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// For [`crate::json::write`]; None when all of it is kept.
    pub keep: Option<Keep>,
    /// Names of members that are dropped: distinct, at most [`MOST_NAMES`], each cut at 64 characters. Never values.
    pub names: Vec<String>,
    /// Members and items that are dropped.
    pub dropped: u32,
    /// Places where the body does not fit the schema in another way.
    pub violations: u32,
    /// Nothing is left at the root.
    pub nothing_left: bool,
}

impl Kept {
    /// The whole body.
    pub fn everything() -> Self {
        Self::default()
    }

    /// No byte of it.
    pub fn nothing() -> Self {
        Self { nothing_left: true, violations: 1, ..Self::default() }
    }
}

/// Walks schema and tape together.
pub(crate) fn keep(schemas: &[Rules], id: SchemaId, never_leak: &NeverLeak, tape: &Tape) -> Kept {
    let mut walk = Walk {
        check: Checker::new(schemas),
        never_leak,
        kept: vec![false; tape.len()],
        seen: HashSet::new(),
        violations: 0,
        depth: 0,
    };
    let root = tape.root();
    walk.value(id, root);
    let mut result = Kept { violations: walk.violations, ..Kept::default() };
    // A root of another kind than declared, or one whose alternatives all failed, shows nothing.
    result.nothing_left = walk.violations > 0
        && match root.kind() {
            Kind::Object => !root.is_empty() && root.members().all(|(_, value)| !walk.is_kept(value)),
            Kind::Array => !root.is_empty() && root.items().all(|item| !walk.is_kept(item)),
            _ => true,
        };
    let mut keep = Keep::all(tape);
    walk.drop_rest(root, &mut keep, &mut result.names);
    result.dropped = keep.dropped();
    result.keep = (result.dropped > 0).then_some(keep);
    result
}

struct Walk<'s> {
    check: Checker<'s>,
    never_leak: &'s NeverLeak,
    /// By entry of the value.
    kept: Vec<bool>,
    seen: HashSet<(SchemaId, u32)>,
    violations: u32,
    depth: u32,
}

impl<'s> Walk<'s> {
    fn is_kept(&self, node: Node<'_>) -> bool {
        self.kept.get(node.index() as usize).copied().unwrap_or(false)
    }

    fn mark(&mut self, node: Node<'_>) {
        if let Some(kept) = self.kept.get_mut(node.index() as usize) {
            *kept = true;
        }
    }

    /// A value at its place: kept, and below it what the schema declares.
    fn value(&mut self, id: SchemaId, node: Node<'_>) {
        let Some(schema) = self.check.schema(id) else { return };
        if schema.dropped || schema.always == Some(false) {
            return;
        }
        self.mark(node);
        if schema.always == Some(true) {
            self.data(node);
            return;
        }
        if matches!(node.kind(), Kind::Object | Kind::Array) {
            self.part(id, schema, node);
        } else if !self.check.valid(id, node) {
            self.violations += 1;
        }
    }

    /// What one part of the schema declares below a value.
    fn part(&mut self, id: SchemaId, schema: &'s Rules, node: Node<'_>) {
        if !self.seen.insert((id, node.index())) || self.depth > 500 {
            return;
        }
        self.depth += 1;
        if !crate::schema::has_type(schema.types, node) {
            self.violations += 1;
        } else if schema.open {
            self.data(node);
        } else {
            match node.kind() {
                Kind::Object => self.members(schema, node),
                Kind::Array => self.items(schema, node),
                _ => {}
            }
            self.composed(schema, node);
            self.unevaluated(schema, node);
        }
        self.depth -= 1;
    }

    fn members(&mut self, schema: &'s Rules, node: Node<'_>) {
        let Some(rules) = schema.object.as_deref() else { return };
        for (name, value) in node.members() {
            let property = rules.find(name).and_then(|property| property.schema);
            if let Some(id) = property {
                self.value(id, value);
            }
            let mut covered = property.is_some();
            for (pattern, id) in &rules.patterns {
                if pattern.search(name) == crate::schema::Matched::Yes {
                    covered = true;
                    self.undeclared(*id, name, value);
                }
            }
            if !covered && let Some(id) = rules.additional {
                self.undeclared(id, name, value);
            }
        }
        for (name, id) in &rules.dependent_schemas {
            if node.get(name).is_some() {
                self.branch(*id, node);
            }
        }
        self.violations +=
            u32::from(rules.properties.iter().any(|p| p.required && node.get(&p.name).is_none()));
    }

    /// A member that the schema lets through without its name.
    fn undeclared(&mut self, id: SchemaId, name: &str, value: Node<'_>) {
        if !self.never_leak.matches(name) {
            self.value(id, value);
        }
    }

    fn items(&mut self, schema: &'s Rules, node: Node<'_>) {
        let Some(rules) = schema.array.as_deref() else { return };
        for (i, item) in node.items().enumerate() {
            if let Some(id) = rules.prefix.get(i).copied().or(rules.items) {
                self.value(id, item);
            }
        }
    }

    fn branch(&mut self, id: SchemaId, node: Node<'_>) {
        let Some(schema) = self.check.schema(id) else { return };
        if schema.always.is_none() {
            self.part(id, schema, node);
        }
    }

    fn composed(&mut self, schema: &'s Rules, node: Node<'_>) {
        let Some(compose) = schema.compose.as_deref() else { return };
        for id in &compose.all {
            self.branch(*id, node);
        }
        if !compose.any.is_empty() {
            let valid: Vec<SchemaId> =
                compose.any.iter().copied().filter(|id| self.check.valid(*id, node)).collect();
            self.violations += u32::from(valid.is_empty());
            for id in valid {
                self.branch(id, node);
            }
        }
        if !compose.one.is_empty() {
            self.one(&compose.one, &compose.one_closed, node);
        }
        if let Some(condition) = &compose.condition {
            let branch =
                if self.check.valid(condition.when, node) { condition.then } else { condition.otherwise };
            if let Some(id) = branch {
                self.branch(id, node);
            }
        }
        if let Some(select) = &compose.select
            && node.kind() == Kind::Object
        {
            let value = node.get(&select.property);
            match value.and_then(Node::as_str).and_then(|value| select.branch(value)) {
                Some(id) => self.branch(id, node),
                None => self.violations += 1,
            }
            if let Some(value) = value.filter(|value| value.kind() == Kind::String) {
                self.mark(value);
            }
        }
    }

    fn one(&mut self, open: &[SchemaId], closed: &[SchemaId], node: Node<'_>) {
        let valid: Vec<usize> =
            (0..open.len()).filter(|i| open.get(*i).is_some_and(|id| self.check.valid(*id, node))).collect();
        let exact: Vec<usize> = match *valid {
            [_] => valid.clone(),
            _ => valid
                .iter()
                .copied()
                .filter(|i| closed.get(*i).is_some_and(|id| self.check.valid(*id, node)))
                .collect(),
        };
        let meant = if exact.len() == 1 { exact } else { valid };
        self.violations += u32::from(meant.len() != 1);
        for id in meant.iter().filter_map(|i| open.get(*i)) {
            self.branch(*id, node);
        }
    }

    /// What `unevaluatedProperties` and `unevaluatedItems` let through beside what is kept by now.
    fn unevaluated(&mut self, schema: &'s Rules, node: Node<'_>) {
        if let Some(id) = schema.object.as_deref().and_then(|rules| rules.unevaluated) {
            let rest: Vec<(&str, Node<'_>)> =
                node.members().filter(|(_, value)| !self.is_kept(*value)).collect();
            for (name, value) in rest {
                if !self.names(schema, name, 0) {
                    self.undeclared(id, name, value);
                }
            }
        }
        if let Some(id) = schema.array.as_deref().and_then(|rules| rules.unevaluated) {
            for item in node.items() {
                if !self.is_kept(item) {
                    self.value(id, item);
                }
            }
        }
    }

    /// Whether a part declares the name, and so chose not to keep it.
    fn names(&self, schema: &'s Rules, name: &str, depth: u32) -> bool {
        depth < 64
            && (schema
                .object
                .as_deref()
                .is_some_and(|rules| rules.find(name).is_some_and(|p| p.schema.is_some()))
                || schema
                    .in_place()
                    .any(|id| self.check.schema(id).is_some_and(|part| self.names(part, name, depth + 1))))
    }

    /// All below a value of which nothing is declared, but for names that never leak.
    fn data(&mut self, node: Node<'_>) {
        let mut open = vec![node];
        while let Some(node) = open.pop() {
            for (name, value) in node.members() {
                if !self.never_leak.matches(name) {
                    self.mark(value);
                    open.push(value);
                }
            }
            for item in node.items() {
                self.mark(item);
                open.push(item);
            }
        }
    }

    /// Turns what is not marked into what is not written.
    fn drop_rest(&self, root: Node<'_>, keep: &mut Keep, names: &mut Vec<String>) {
        let mut open = vec![root];
        while let Some(node) = open.pop() {
            for (name, value) in node.members() {
                if self.is_kept(value) {
                    open.push(value);
                    continue;
                }
                keep.drop_value(node.tape(), value.index());
                if names.len() < MOST_NAMES {
                    let name = crate::violation::shown(name);
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
            }
            for item in node.items() {
                if self.is_kept(item) {
                    open.push(item);
                } else {
                    keep.drop_value(node.tape(), item.index());
                }
            }
        }
    }
}
