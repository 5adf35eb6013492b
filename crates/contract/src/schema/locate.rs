//! Where a value is wrong, and by which rule. Our own walk and our own words: what a validator says about itself
//! prints names of the client and text of the schema.

use std::collections::HashSet;

use portcullis_core::finding::Span;

use super::check::{
    Check, NESTED, array_counts, declares, folds, has_type, is_one_of, is_unique, missing_dependent, number,
    object_counts,
};
use super::plan::{Compose, Id, Schema};
use crate::json::{Kind, Node, Tape};
use crate::violation::{MOST, Rule, Violation, shown};

/// Questions that the walk may ask.
const QUESTIONS: u32 = 1_000;
/// Entries of the tape under the questions asked.
const NODES: u32 = 200_000;

/// At most [`MOST`] violations of an invalid value, in the order of the tape; at least one.
pub(super) fn violations(schemas: &[Schema], id: Id, tape: &Tape) -> Vec<Violation> {
    let mut walk = Walk {
        check: Check::remembering(schemas),
        found: Vec::new(),
        seen: HashSet::new(),
        questions: 0,
        nodes: 0,
        depth: 0,
    };
    if walk.check.is_valid(id, tape.root()) {
        return Vec::new();
    }
    walk.locate(id, tape.root());
    if walk.found.is_empty() {
        let private = if walk.check.exceeded() {
            "a pattern or the nesting reached its limit"
        } else {
            "stopped looking"
        };
        walk.found.push(Violation::pointer(Rule::Schema, String::new(), private));
    }
    walk.found
}

/// The first rule that one node breaks.
pub(super) fn first(schemas: &[Schema], id: Id, node: Node<'_>) -> Option<Rule> {
    let mut walk = Walk {
        check: Check::remembering(schemas),
        found: Vec::new(),
        seen: HashSet::new(),
        questions: 0,
        nodes: 0,
        depth: 0,
    };
    if walk.check.is_valid(id, node) {
        return None;
    }
    walk.locate(id, node);
    Some(walk.found.first().map_or(Rule::Schema, |violation| violation.rule))
}

struct Walk<'s> {
    check: Check<'s>,
    found: Vec<Violation>,
    seen: HashSet<(u32, Rule, bool)>,
    questions: u32,
    nodes: u32,
    depth: u32,
}

impl<'s> Walk<'s> {
    fn spent(&self) -> bool {
        self.found.len() >= MOST || self.questions >= QUESTIONS || self.nodes >= NODES
    }

    fn is_wrong(&mut self, id: Id, node: Node<'_>) -> bool {
        self.questions += 1;
        self.nodes = self.nodes.saturating_add(node.weight());
        !self.check.valid(id, node)
    }

    /// Goes to what is wrong in a node that is.
    fn locate(&mut self, id: Id, node: Node<'_>) {
        if self.spent() || self.depth >= NESTED / 2 {
            return;
        }
        self.depth += 1;
        self.locate_here(id, node);
        self.depth -= 1;
    }

    fn locate_here(&mut self, id: Id, node: Node<'_>) {
        let Some(schema) = self.check.schema(id) else { return };
        if schema.always.is_some() {
            self.report(schema, node, Rule::NotAllowed);
            return;
        }
        if !has_type(schema.types, node) {
            self.report(schema, node, Rule::Type);
            return;
        }
        let mut rest = Vec::new();
        match node.kind() {
            Kind::Number => {
                if let Some(rule) = schema.number.as_deref().and_then(|rules| number(rules, node)) {
                    self.report(schema, node, rule);
                }
            }
            Kind::String => {
                if let Some(rule) = schema.string.as_deref().and_then(|rules| self.check.string(rules, node))
                {
                    self.report(schema, node, rule);
                }
            }
            Kind::Object => self.object(schema, node, &mut rest),
            Kind::Array => self.array(schema, node, &mut rest),
            Kind::Null | Kind::Bool => {}
        }
        if !schema.values.iter().all(|values| is_one_of(values, node)) {
            self.report(schema, node, Rule::Enum);
        }
        let failed = schema.compose.as_deref().is_some_and(|compose| self.compose(schema, compose, node));
        if !rest.is_empty() && !self.spent() {
            self.unevaluated(schema, node, &rest, failed);
        }
    }

    fn object<'n>(&mut self, schema: &'s Schema, node: Node<'n>, rest: &mut Vec<Node<'n>>) {
        let Some(rules) = schema.object.as_deref() else { return };
        if let Some(rule) = object_counts(rules, node) {
            self.report(schema, node, rule);
        }
        for property in rules.properties.iter().filter(|property| property.required) {
            if !self.spent() && node.get(&property.name).is_none() {
                self.missing(schema, node, &property.name);
            }
        }
        if let Some(name) = missing_dependent(rules, node) {
            self.missing(schema, node, name);
        }
        for (name, value) in node.members() {
            if self.spent() {
                return;
            }
            let property = rules.find(name).and_then(|property| property.schema);
            let patterns =
                rules.patterns.iter().filter(|(p, _)| p.search(name) == super::pattern::Matched::Yes);
            let mut covered = false;
            for id in property.into_iter().chain(patterns.map(|(_, id)| *id)) {
                covered = true;
                if self.is_wrong(id, value) {
                    self.locate(id, value);
                }
            }
            if !covered {
                if rules.fold && folds(rules, name) {
                    self.report(schema, value, Rule::AmbiguousName);
                }
                match rules.additional {
                    Some(id) if self.check.schema(id).is_some_and(|s| s.always == Some(false)) => {
                        self.report(schema, value, Rule::UnknownProperty);
                    }
                    Some(id) => {
                        if self.is_wrong(id, value) {
                            self.locate(id, value);
                        }
                    }
                    None => rest.push(value),
                }
            }
            if let Some(id) = rules.names
                && node.tape().node(value.index() - 1).is_some_and(|name| self.is_wrong(id, name))
            {
                self.report(schema, value, Rule::PropertyName);
            }
        }
        for (name, id) in &rules.dependent_schemas {
            if node.get(name).is_some() && self.is_wrong(*id, node) {
                self.locate(*id, node);
            }
        }
    }

    fn array<'n>(&mut self, schema: &'s Schema, node: Node<'n>, rest: &mut Vec<Node<'n>>) {
        let Some(rules) = schema.array.as_deref() else { return };
        if let Some(rule) = array_counts(rules, node) {
            self.report(schema, node, rule);
        }
        for (i, item) in node.items().enumerate() {
            if self.spent() {
                return;
            }
            match rules.prefix.get(i).copied().or(rules.items) {
                Some(id) if self.check.schema(id).is_some_and(|s| s.always == Some(false)) => {
                    self.report(schema, item, Rule::UnknownItem);
                }
                Some(id) => {
                    if self.is_wrong(id, item) {
                        self.locate(id, item);
                    }
                }
                None => rest.push(item),
            }
        }
        if !self.check.contains(rules, node) {
            self.report(schema, node, Rule::Contains);
        }
        if rules.unique && !is_unique(node) {
            self.report(schema, node, Rule::UniqueItems);
        }
    }

    /// `failed`: the composition did, so what it declares was not evaluated and is not unknown either.
    fn unevaluated(&mut self, schema: &'s Schema, node: Node<'_>, rest: &[Node<'_>], failed: bool) {
        let (id, rule) = match node.kind() {
            Kind::Object => {
                (schema.object.as_ref().and_then(|rules| rules.unevaluated), Rule::UnknownProperty)
            }
            _ => (schema.array.as_ref().and_then(|rules| rules.unevaluated), Rule::UnknownItem),
        };
        let refused = id.and_then(|id| self.check.schema(id)).is_some_and(|s| s.always == Some(false));
        self.questions += 1;
        self.nodes = self.nodes.saturating_add(node.weight());
        for value in self.check.unevaluated(schema, node, rest) {
            match id {
                _ if refused && failed && self.named_by_a_branch(schema, node, value, 0) => {}
                _ if refused => self.report(schema, value, rule),
                Some(id) => self.locate(id, value),
                None => {}
            }
        }
    }

    /// Whether any part of the schema, valid or not, declares the member.
    fn named_by_a_branch(&self, schema: &'s Schema, node: Node<'_>, value: Node<'_>, depth: u32) -> bool {
        let Some(name) = value.name().filter(|_| node.kind() == Kind::Object && depth < 64) else {
            return false;
        };
        schema.in_place().any(|id| {
            self.check.schema(id).is_some_and(|part| {
                part.object.as_deref().is_some_and(|rules| declares(rules, name))
                    || self.named_by_a_branch(part, node, value, depth + 1)
            })
        })
    }

    /// Whether anything in the composition fails.
    fn compose(&mut self, schema: &'s Schema, compose: &'s Compose, node: Node<'_>) -> bool {
        let mut failed = false;
        for id in &compose.all {
            if !self.spent() && self.is_wrong(*id, node) {
                failed = true;
                self.locate(*id, node);
            }
        }
        if !compose.any.is_empty() {
            self.questions += compose.any.len() as u32;
            if compose.any.iter().all(|id| !self.check.valid(*id, node)) {
                failed = true;
                self.report(schema, node, Rule::Branch);
            }
        }
        if !compose.one.is_empty() {
            self.questions += compose.one.len() as u32;
            let count = compose.one.iter().filter(|id| self.check.valid(**id, node)).count();
            failed |= count != 1;
            match count {
                0 => self.report(schema, node, Rule::Branch),
                1 => {}
                _ => self.report(schema, node, Rule::SeveralBranches),
            }
        }
        if compose.not.is_some_and(|id| !self.is_wrong(id, node)) {
            self.report(schema, node, Rule::Not);
        }
        if let Some(condition) = &compose.condition {
            let branch =
                if self.is_wrong(condition.when, node) { condition.otherwise } else { condition.then };
            if let Some(id) = branch
                && self.is_wrong(id, node)
            {
                failed = true;
                self.locate(id, node);
            }
        }
        if let Some(select) = &compose.select
            && node.kind() == Kind::Object
        {
            let property = node.get(&select.property);
            match (property, property.and_then(Node::as_str).and_then(|value| select.branch(value))) {
                (_, Some(id)) => {
                    if self.is_wrong(id, node) {
                        failed = true;
                        self.locate(id, node);
                    }
                }
                (Some(property), None) => {
                    failed = true;
                    self.report(schema, property, Rule::Discriminator);
                }
                (None, None) => {
                    failed = true;
                    self.missing(schema, node, &select.property);
                }
            }
        }
        failed
    }

    fn missing(&mut self, schema: &Schema, node: Node<'_>, name: &str) {
        let pointer = format!("{}/{}", shown_pointer(node), token(name));
        if self
            .found
            .iter()
            .all(|v| v.rule != Rule::Required || v.at != crate::violation::Place::Pointer(pointer.clone()))
        {
            self.push(schema, Rule::Required, pointer);
        }
    }

    fn report(&mut self, schema: &Schema, node: Node<'_>, rule: Rule) {
        if self.seen.insert((node.index(), rule, true)) {
            self.push(schema, rule, node.location());
        }
    }

    fn push(&mut self, schema: &Schema, rule: Rule, pointer: String) {
        if self.found.len() < MOST {
            let private = format!("file {} line {}", schema.file, schema.line);
            let declared = Span { file: schema.file, line: schema.line, column: 1, ..Span::default() };
            self.found.push(Violation::pointer(rule, pointer, private).declared(declared));
        }
    }
}

/// The pointer as it may be shown: each name cut and cleaned.
fn shown_pointer(node: Node<'_>) -> String {
    node.location().split('/').map(shown).collect::<Vec<_>>().join("/")
}

fn token(name: &str) -> String {
    shown(&name.replace('~', "~0").replace('/', "~1"))
}
