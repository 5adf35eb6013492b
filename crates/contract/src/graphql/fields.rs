//! The selected operation, checked by the schema: every field, argument and condition; who may see it; and the form
//! that its answer has.

use std::collections::{BTreeMap, HashMap};

use super::ast::{Directive, Document, Field, Operation, OperationKind, Selection, Value};
use super::print::RESERVED;
use super::refused::{Judged, forbidden, invalid};
use super::schema::{InputDef, OnDenied, Schema, Shape, Ty, TypeId};
use super::value::{self, Place};

/// Which scopes the caller has.
pub type Scopes<'a> = dyn Fn(&str) -> bool + 'a;

/// The form of an answer: for each object, the keys that were selected.
#[derive(Debug, Default)]
pub(super) struct Form {
    pub(super) nodes: Vec<FormNode>,
}

#[derive(Debug, Default)]
pub(super) struct FormNode {
    pub(super) keys: Vec<(Box<str>, Selected)>,
    /// Places whose field was not sent: the number in the reserved alias, and the key that becomes null.
    pub(super) cut: Vec<(u32, Box<str>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Selected {
    pub(super) what: What,
    /// Of an object: its node.
    pub(super) below: Option<usize>,
}

/// What is selected under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// `__typename`.
    TypeName,
    /// A field, by its parent and index.
    Field(TypeId, u32),
}

impl FormNode {
    pub(super) fn get(&self, key: &str) -> Option<Selected> {
        self.keys.iter().find(|(known, _)| **known == *key).map(|(_, selected)| *selected)
    }
}

impl Form {
    /// Whether a name is a key anywhere in it: only those may stand in the path of an error.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.nodes
            .iter()
            .any(|node| node.get(name).is_some() || node.cut.iter().any(|(_, key)| **key == *name))
    }
}

/// What came of the check.
pub(super) struct Checked {
    pub(super) form: Form,
    /// Fields by number that are not sent, each with the number of its mark.
    pub(super) cut: HashMap<u32, u32>,
    /// The types of the declared variables.
    pub(super) variables: Vec<Ty>,
}

pub(super) fn check<'t>(
    schema: &Schema,
    document: &Document<'t>,
    operation: &Operation<'t>,
    scopes: &Scopes<'_>,
) -> Judged<Checked> {
    let root = schema.root(operation.kind).ok_or(invalid("root-undeclared"))?;
    let mut variables = Vec::new();
    for (at, variable) in operation.variables.iter().enumerate() {
        if operation.variables.iter().take(at).any(|other| other.name == variable.name) {
            return Err(invalid("variable-twice"));
        }
        let ty = value::declared(schema, &variable.ty)?;
        if let Some(default) = &variable.default {
            let place = Place { ty: &ty, has_default: false };
            value::literal(schema, default, &place, &mut |_, _| Err(invalid("variable-in-a-default")))?;
        }
        variables.push(ty);
    }
    let mut walk = Walk {
        schema,
        document,
        operation,
        scopes,
        variables: &variables,
        used: vec![false; variables.len()],
        form: Form { nodes: vec![FormNode::default()] },
        variants: HashMap::new(),
        cut: HashMap::new(),
    };
    for variable in &operation.variables {
        walk.directives(&variable.directives, "VARIABLE_DEFINITION")?;
    }
    let location = match operation.kind {
        OperationKind::Query => "QUERY",
        OperationKind::Mutation => "MUTATION",
        OperationKind::Subscription => "SUBSCRIPTION",
    };
    walk.directives(&operation.directives, location)?;
    walk.selection(&operation.selection, root, 0)?;
    if walk.used.contains(&false) {
        return Err(invalid("variable-unused"));
    }
    if operation.kind == OperationKind::Subscription
        && walk.form.nodes.first().is_none_or(|n| n.keys.len() != 1)
    {
        return Err(invalid("subscription-with-several-roots"));
    }
    let Walk { form, cut, .. } = walk;
    Ok(Checked { form, cut, variables })
}

struct Walk<'a, 't> {
    schema: &'a Schema,
    document: &'a Document<'t>,
    operation: &'a Operation<'t>,
    scopes: &'a Scopes<'a>,
    variables: &'a [Ty],
    used: Vec<bool>,
    form: Form,
    /// The fields that were met under one key of one node: what another field of that key must agree with.
    variants: HashMap<(usize, &'t str), Vec<(TypeId, &'a Field<'t>)>>,
    cut: HashMap<u32, u32>,
}

impl<'a, 't> Walk<'a, 't> {
    fn selection(&mut self, selection: &'a [Selection<'t>], parent: TypeId, node: usize) -> Judged<()> {
        for selection in selection {
            match selection {
                Selection::Field(field) => self.field(field, parent, node)?,
                Selection::Spread { name, directives } => {
                    self.directives(directives, "FRAGMENT_SPREAD")?;
                    let document = self.document;
                    let fragment = document.fragments.iter().find(|fragment| fragment.name == *name);
                    let fragment = fragment.ok_or(invalid("fragment-undefined"))?;
                    self.directives(&fragment.directives, "FRAGMENT_DEFINITION")?;
                    let on = self.condition(fragment.on, parent)?;
                    self.selection(&fragment.selection, on, node)?;
                }
                Selection::Inline { on, directives, selection } => {
                    self.directives(directives, "INLINE_FRAGMENT")?;
                    let on = match on {
                        Some(on) => self.condition(on, parent)?,
                        None => parent,
                    };
                    self.selection(selection, on, node)?;
                }
            }
        }
        Ok(())
    }

    fn condition(&self, on: &str, parent: TypeId) -> Judged<TypeId> {
        let id = self.schema.find(on).filter(|id| self.schema.is_composite(*id));
        let id = id.ok_or(invalid("condition-on-an-unknown-type"))?;
        if self.schema.overlap(id, parent) { Ok(id) } else { Err(invalid("condition-never-met")) }
    }

    fn field(&mut self, field: &'a Field<'t>, parent: TypeId, node: usize) -> Judged<()> {
        if field.key().starts_with(RESERVED) {
            return Err(invalid("reserved-alias"));
        }
        self.directives(&field.directives, "FIELD")?;
        if field.name == "__typename" {
            if !(field.arguments.is_empty() && field.selection.is_empty()) {
                return Err(invalid("typename-with-more"));
            }
            return self.enter(field, parent, node, What::TypeName, false).map(|_| ());
        }
        let schema = self.schema;
        let (index, def) = schema.field(parent, field.name).ok_or(invalid("field-unknown"))?;
        self.arguments(&field.arguments, &def.arguments)?;
        let id = def.ty.named();
        let composite = schema.is_composite(id);
        if composite == field.selection.is_empty() {
            return Err(invalid(if composite { "selection-missing" } else { "selection-on-a-leaf" }));
        }
        let mut denied = false;
        for rule in def.rules.iter().filter_map(|rule| schema.rules.get(usize::try_from(*rule).ok()?)) {
            let met = rule.scopes.iter().any(|all| all.iter().all(|scope| (self.scopes)(scope)));
            if met {
                continue;
            }
            if rule.on_denied == OnDenied::Reject || def.ty.required() {
                return Err(forbidden("field-denied"));
            }
            denied = true;
        }
        let what = What::Field(parent, index);
        if denied {
            let next = u32::try_from(self.cut.len()).unwrap_or(u32::MAX);
            let number = *self.cut.entry(field.id).or_insert(next);
            let key: Box<str> = field.key().into();
            if let Some(node) = self.form.nodes.get_mut(node)
                && !node.cut.iter().any(|(known, _)| *known == number)
            {
                node.cut.push((number, key));
            }
            if composite {
                // Judged as well, but it has no place in the answer.
                let aside = self.node();
                return self.selection(&field.selection, id, aside);
            }
            return Ok(());
        }
        match self.enter(field, parent, node, what, composite)? {
            Some(below) => self.selection(&field.selection, id, below),
            None => Ok(()),
        }
    }

    fn node(&mut self) -> usize {
        self.form.nodes.push(FormNode::default());
        self.form.nodes.len() - 1
    }

    /// Puts a field under its key. What was there before must be the same field with the same arguments, or one of
    /// another object type, and of the same form (GraphQL § 5.3.2).
    fn enter(
        &mut self,
        field: &'a Field<'t>,
        parent: TypeId,
        node: usize,
        what: What,
        composite: bool,
    ) -> Judged<Option<usize>> {
        let known = self.form.nodes.get(node).and_then(|node| node.get(field.key()));
        let variants = self.variants.entry((node, field.key())).or_default();
        let mut new = true;
        for (other_parent, other) in variants.iter() {
            let same = other.name == field.name && same_arguments(&other.arguments, &field.arguments);
            if same {
                new &= *other_parent != parent;
                continue;
            }
            let objects = [*other_parent, parent]
                .iter()
                .all(|id| self.schema.ty(*id).is_some_and(|ty| ty.shape == Shape::Object));
            if !(objects && *other_parent != parent) {
                return Err(invalid("fields-conflict"));
            }
        }
        if new {
            variants.push((parent, field));
        }
        let Some(known) = known else {
            let below = composite.then(|| self.node());
            if let Some(node) = self.form.nodes.get_mut(node) {
                node.keys.push((field.key().into(), Selected { what, below }));
            }
            return Ok(below);
        };
        if !self.same_form(known.what, what) {
            return Err(invalid("fields-conflict"));
        }
        Ok(known.below)
    }

    fn same_form(&self, a: What, b: What) -> bool {
        let ty = |what| match what {
            What::TypeName => None,
            What::Field(parent, index) => self.schema.field_at(parent, index).map(|def| &def.ty),
        };
        match (ty(a), ty(b)) {
            (None, None) => true,
            (Some(a), Some(b)) => self.same_type(a, b),
            // `__typename` is a string that is never null.
            (Some(other), None) | (None, Some(other)) => {
                matches!(other, Ty::Named(id, true) if self.schema.find("String") == Some(*id))
            }
        }
    }

    fn same_type(&self, a: &Ty, b: &Ty) -> bool {
        match (a, b) {
            (Ty::List(a, x), Ty::List(b, y)) => x == y && self.same_type(a, b),
            (Ty::Named(a, x), Ty::Named(b, y)) => {
                x == y && (a == b || (self.schema.is_composite(*a) && self.schema.is_composite(*b)))
            }
            _ => false,
        }
    }

    fn arguments(&mut self, given: &'a [(&'t str, Value<'t>)], defs: &'a [InputDef]) -> Judged<()> {
        for (at, (name, value)) in given.iter().enumerate() {
            if given.iter().take(at).any(|(other, _)| other == name) {
                return Err(invalid("argument-twice"));
            }
            let def = defs.iter().find(|def| *def.name == **name).ok_or(invalid("argument-unknown"))?;
            let place = Place { ty: &def.ty, has_default: def.has_default };
            let (operation, variables, used) = (self.operation, self.variables, &mut self.used);
            value::literal(self.schema, value, &place, &mut |name, place| {
                let at = operation.variables.iter().position(|variable| variable.name == name);
                let at = at.ok_or(invalid("variable-undeclared"))?;
                let (Some(variable), Some(ty)) = (operation.variables.get(at), variables.get(at)) else {
                    return Err(invalid("variable-undeclared"));
                };
                if let Some(used) = used.get_mut(at) {
                    *used = true;
                }
                if value::usable(variable, ty, place) {
                    Ok(())
                } else {
                    Err(invalid("variable-of-another-type"))
                }
            })?;
        }
        for def in defs {
            if def.ty.required() && !def.has_default && !given.iter().any(|(name, _)| **name == *def.name) {
                return Err(invalid("argument-missing"));
            }
        }
        Ok(())
    }

    fn directives(&mut self, given: &'a [Directive<'t>], location: &str) -> Judged<()> {
        let schema = self.schema;
        for (at, directive) in given.iter().enumerate() {
            let def = schema.directives.iter().find(|def| *def.name == *directive.name);
            let def = def.ok_or(invalid("directive-unknown"))?;
            if !def.locations.iter().any(|known| **known == *location) {
                return Err(invalid("directive-misplaced"));
            }
            if !def.repeatable && given.iter().take(at).any(|other| other.name == directive.name) {
                return Err(invalid("directive-twice"));
            }
            self.arguments(&directive.arguments, &def.arguments)?;
        }
        Ok(())
    }
}

fn same_arguments(a: &[(&str, Value<'_>)], b: &[(&str, Value<'_>)]) -> bool {
    a.len() == b.len() && {
        let a: BTreeMap<&str, &Value<'_>> = a.iter().map(|(name, value)| (*name, value)).collect();
        b.iter().all(|(name, value)| a.get(name) == Some(&value))
    }
}
