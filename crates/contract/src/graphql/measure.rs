//! How large an operation becomes once its fragments are put in their places, without putting them there: one result
//! for each fragment, remembered, in saturating numbers. Linear in the document, and before any rule of the schema is
//! asked, because validators have been the exponential part elsewhere.

use std::collections::HashMap;

use super::ast::{Directive, Document, Field, OperationKind, Selection, Value, Variable};
use super::cost::{self, Sized};
use super::limits::Limits;
use super::refused::{Bound, Judged, invalid, malformed, too_complex};
use super::schema::{Schema, TypeId, is_introspection};
use crate::json::Node;

/// What an operation weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Fields, expanded.
    pub fields: u64,
    /// Aliases, expanded.
    pub aliases: u64,
    /// Fields inside one another.
    pub depth: u64,
    /// Fields of the root, expanded.
    pub root_fields: u64,
    /// Cost.
    pub cost: u64,
    /// Whether it asks about the schema.
    pub introspects: bool,
    /// Selections that were looked at: the work of measuring, never more than the document has.
    pub steps: u64,
}

/// What the values of a request are known to be.
pub(super) struct Given<'a, 't> {
    pub(super) variables: &'a [Variable<'t>],
    pub(super) values: Option<Node<'a>>,
}

/// A value that is known before anything is executed.
pub(super) enum Known<'a, 't> {
    /// Not given, or null.
    Absent,
    Literal(&'a Value<'t>),
    Json(Node<'a>),
}

impl<'a, 't> Given<'a, 't> {
    /// Follows a variable to what was given for it, or its default.
    pub(super) fn known(&self, value: &'a Value<'t>) -> Known<'a, 't> {
        match value {
            Value::Null => Known::Absent,
            Value::Variable(name) => match self.values.and_then(|values| values.get(name)) {
                Some(node) if node.is_null() => Known::Absent,
                Some(node) => Known::Json(node),
                None => {
                    let variable = self.variables.iter().find(|variable| variable.name == *name);
                    match variable.and_then(|variable| variable.default.as_ref()) {
                        None | Some(Value::Null) => Known::Absent,
                        Some(default) => Known::Literal(default),
                    }
                }
            },
            other => Known::Literal(other),
        }
    }

    /// Whether `@skip` or `@include` is known to leave this out.
    fn left_out(&self, directives: &'a [Directive<'t>]) -> bool {
        let condition = |directive: &'a Directive<'t>| {
            let (_, value) = directive.arguments.iter().find(|(name, _)| *name == "if")?;
            match self.known(value) {
                Known::Literal(Value::Bool(known)) => Some(*known),
                Known::Json(node) => node.as_bool(),
                _ => None,
            }
        };
        directives.iter().any(|directive| match directive.name {
            "skip" => condition(directive) == Some(true),
            "include" => condition(directive) == Some(false),
            _ => false,
        })
    }
}

/// Counts that need no expansion, and names: fragments defined, used, distinct and without circles.
pub(super) fn structure(document: &Document<'_>, limits: &Limits) -> Judged<()> {
    if document.operations.len() > limits.operations {
        return Err(too_complex(Bound::Operations));
    }
    if document.fragments.len() > limits.fragments {
        return Err(too_complex(Bound::Fragments));
    }
    let mut names = Vec::new();
    for operation in &document.operations {
        match operation.name {
            None if document.operations.len() > 1 => return Err(invalid("operation-without-name")),
            Some(name) if names.contains(&name) => return Err(invalid("operation-twice")),
            name => names.extend(name),
        }
    }
    let mut count = Count { limits, directives: 0 };
    for operation in &document.operations {
        for variable in &operation.variables {
            count.directives(&variable.directives)?;
        }
        count.directives(&operation.directives)?;
        count.selection(&operation.selection)?;
    }
    for fragment in &document.fragments {
        count.directives(&fragment.directives)?;
        count.selection(&fragment.selection)?;
    }
    order(document).map(|_| ())
}

struct Count<'l> {
    limits: &'l Limits,
    directives: usize,
}

impl Count<'_> {
    fn directives(&mut self, directives: &[Directive<'_>]) -> Judged<()> {
        self.directives += directives.len();
        if directives.len() > self.limits.directives_of_node || self.directives > self.limits.directives {
            return Err(too_complex(Bound::Directives));
        }
        Ok(())
    }

    fn selection(&mut self, selection: &[Selection<'_>]) -> Judged<()> {
        for selection in selection {
            match selection {
                Selection::Field(field) => {
                    self.directives(&field.directives)?;
                    self.selection(&field.selection)?;
                }
                Selection::Spread { directives, .. } => self.directives(directives)?,
                Selection::Inline { directives, selection, .. } => {
                    self.directives(directives)?;
                    self.selection(selection)?;
                }
            }
        }
        Ok(())
    }
}

/// The fragments, each after those that it spreads.
fn order(document: &Document<'_>) -> Judged<Vec<usize>> {
    let mut index: HashMap<&str, usize> = HashMap::new();
    for (at, fragment) in document.fragments.iter().enumerate() {
        if index.insert(fragment.name, at).is_some() {
            return Err(invalid("fragment-twice"));
        }
    }
    let edges = |selection: &[Selection<'_>]| -> Judged<Vec<usize>> {
        let mut names = Vec::new();
        spreads(selection, &mut names);
        let mut found: Vec<usize> = names
            .into_iter()
            .map(|name| index.get(name).copied().ok_or(invalid("fragment-undefined")))
            .collect::<Judged<_>>()?;
        found.sort_unstable();
        found.dedup();
        Ok(found)
    };
    let mut below: Vec<Vec<usize>> = Vec::new();
    for fragment in &document.fragments {
        below.push(edges(&fragment.selection)?);
    }
    // Depth first, with a stack of our own: a chain is as long as there are fragments.
    let mut state = vec![0u8; below.len()];
    let mut done = Vec::with_capacity(below.len());
    let mut reached = vec![false; below.len()];
    for start in 0..below.len() {
        let mut stack = vec![(start, 0usize)];
        while let Some((at, next)) = stack.pop() {
            let Some(mark) = state.get_mut(at) else { continue };
            if next == 0 {
                match *mark {
                    2 => continue,
                    1 => return Err(invalid("fragment-cycle")),
                    _ => *mark = 1,
                }
            }
            match below.get(at).and_then(|below| below.get(next)) {
                Some(child) => {
                    stack.push((at, next + 1));
                    stack.push((*child, 0));
                }
                None => {
                    *mark = 2;
                    done.push(at);
                }
            }
        }
    }
    let mut open: Vec<usize> = Vec::new();
    for operation in &document.operations {
        open.extend(edges(&operation.selection)?);
    }
    while let Some(at) = open.pop() {
        if let Some(reached) = reached.get_mut(at).filter(|reached| !**reached) {
            *reached = true;
            open.extend(below.get(at).into_iter().flatten());
        }
    }
    if reached.contains(&false) {
        return Err(invalid("fragment-unused"));
    }
    Ok(done)
}

fn spreads<'t>(selection: &[Selection<'t>], names: &mut Vec<&'t str>) {
    for selection in selection {
        match selection {
            Selection::Field(field) => spreads(&field.selection, names),
            Selection::Spread { name, .. } => names.push(name),
            Selection::Inline { selection, .. } => spreads(selection, names),
        }
    }
}

/// Measures one operation.
pub(super) fn operation(
    document: &Document<'_>,
    index: usize,
    given: &Given<'_, '_>,
    schema: Option<&Schema>,
    limits: &Limits,
) -> Judged<Weight> {
    let Some(operation) = document.operations.get(index) else { return Err(malformed("no-operation")) };
    let mut measure = Measure { given, schema, limits, known: HashMap::new(), steps: 0 };
    for at in order(document)? {
        if let Some(fragment) = document.fragments.get(at) {
            let parent = schema.and_then(|schema| schema.find(fragment.on));
            let part = measure.selection(&fragment.selection, parent)?;
            measure.known.insert(fragment.name, part);
        }
    }
    let root = schema.and_then(|schema| schema.root(operation.kind));
    let part = measure.selection(&operation.selection, root)?;
    let base = match operation.kind {
        OperationKind::Query => 0,
        OperationKind::Mutation | OperationKind::Subscription => 10,
    };
    Ok(Weight {
        fields: part.fields,
        aliases: part.aliases,
        depth: part.depth,
        root_fields: part.top,
        cost: part.cost.alone().saturating_add(base),
        introspects: part.introspects,
        steps: measure.steps,
    })
}

/// Compares a weight with its bounds.
pub(super) fn within(weight: &Weight, limits: &Limits) -> Judged<()> {
    for (value, limit, bound) in [
        (weight.aliases, limits.aliases, Bound::Aliases),
        (weight.root_fields, limits.root_fields, Bound::RootFields),
        (weight.depth, limits.depth, Bound::Depth),
        (weight.fields, limits.fields, Bound::Fields),
    ] {
        if value > limit {
            return Err(too_complex(bound));
        }
    }
    Ok(())
}

/// What a selection weighs: everything below it, expanded.
#[derive(Clone, Copy, Default)]
struct Part {
    fields: u64,
    aliases: u64,
    depth: u64,
    top: u64,
    cost: Sized,
    introspects: bool,
}

impl Part {
    fn add(&mut self, other: &Self) {
        self.fields = self.fields.saturating_add(other.fields);
        self.aliases = self.aliases.saturating_add(other.aliases);
        self.depth = self.depth.max(other.depth);
        self.top = self.top.saturating_add(other.top);
        self.cost = self.cost.plus(other.cost);
        self.introspects |= other.introspects;
    }
}

struct Measure<'a, 't> {
    given: &'a Given<'a, 't>,
    schema: Option<&'a Schema>,
    limits: &'a Limits,
    known: HashMap<&'a str, Part>,
    steps: u64,
}

impl<'a, 't> Measure<'a, 't> {
    fn selection(&mut self, selection: &'a [Selection<'t>], parent: Option<TypeId>) -> Judged<Part> {
        let mut whole = Part::default();
        for selection in selection {
            self.steps = self.steps.saturating_add(1);
            let (mut part, directives) = match selection {
                Selection::Field(field) => (self.field(field, parent)?, &field.directives),
                Selection::Spread { name, directives } => {
                    let known = self.known.get(name).copied();
                    (known.ok_or(invalid("fragment-undefined"))?, directives)
                }
                Selection::Inline { on, directives, selection } => {
                    let inner = match (on, self.schema) {
                        (Some(on), Some(schema)) => schema.find(on),
                        _ => parent,
                    };
                    (self.selection(selection, inner)?, directives)
                }
            };
            if self.given.left_out(directives) {
                part.cost = Sized::default();
            }
            whole.add(&part);
        }
        Ok(whole)
    }

    fn field(&mut self, field: &'a Field<'t>, parent: Option<TypeId>) -> Judged<Part> {
        let def = self.schema.and_then(|schema| Some(schema.field(parent?, field.name)?.1));
        let below = self.selection(&field.selection, def.map(|def| def.ty.named()))?;
        let introspects = is_introspection(field.name);
        let composite = !field.selection.is_empty();
        Ok(Part {
            fields: below.fields.saturating_add(1),
            aliases: below.aliases.saturating_add(u64::from(field.alias.is_some())),
            // How deep types are nested in the answer about them is nobody's doing.
            depth: if introspects { 1 } else { below.depth.saturating_add(1) },
            top: 1,
            cost: cost::of(field, def, composite, below.cost, self.given, self.limits)?,
            introspects: introspects || below.introspects,
        })
    }
}
