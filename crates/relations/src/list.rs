//! Which objects a subject reaches, and which subjects reach an object.
//!
//! Both walk the tuples for candidates, without regard to conditions, intersections and exclusions, and ask a check of
//! each: what a list says and what a check says cannot differ.

use std::collections::HashSet;

use serde_json::{Map, Value as Json};

use crate::check::{Checker, Code, Limits, Outcome, Refused, accept_contextual, counts, known_subject};
use crate::index::{Back, Index, Node};
use crate::model::{Expression, Model, Names, RelationId, SubjectKind, TypeId};
use crate::tuple::{Invalid, Object, Subject, Tuple};
use crate::view::View;

/// Results of one list.
pub const MAX_RESULTS: usize = 1_000;
/// Relations of objects that one list visits while it looks for candidates.
const MAX_VISITS: usize = 100_000;

/// Which objects of a type.
#[derive(Clone, Copy, Debug)]
pub struct ObjectsQuery<'q> {
    /// The type.
    pub type_name: &'q str,
    /// Which relation.
    pub relation: &'q str,
    /// Who.
    pub subject: &'q Subject,
    /// Tuples that hold for this question only.
    pub contextual: &'q [Tuple],
    /// Values for conditions.
    pub context: &'q Map<String, Json>,
}

/// Which subjects.
#[derive(Clone, Copy, Debug)]
pub struct UsersQuery<'q> {
    /// To what.
    pub object: &'q Object,
    /// Which relation.
    pub relation: &'q str,
    /// Subjects of this type,
    pub type_name: &'q str,
    /// and, for usersets, of this relation.
    pub userset: Option<&'q str>,
    /// Tuples that hold for this question only.
    pub contextual: &'q [Tuple],
    /// Values for conditions.
    pub context: &'q Map<String, Json>,
}

/// A list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// What was found, sorted; at most [`MAX_RESULTS`]. `complete` is false where there may be more.
    Found {
        /// `type:id`, `type:id#relation` or `type:*`.
        names: Vec<String>,
        /// Whether this is all.
        complete: bool,
    },
    /// One of the checks failed.
    Failed(Code),
}

/// The objects of a type to which a subject has a relation. `enough` is asked before each check: a deadline.
///
/// # Errors
/// [`Refused`], where the model does not know what is asked.
pub fn list_objects(
    model: &Model,
    names: &Names,
    index: &Index,
    query: &ObjectsQuery<'_>,
    limits: Limits,
    enough: &mut dyn FnMut() -> bool,
) -> Result<Listed, Refused> {
    let (target_type, target_relation) = known(model, names, query.type_name, query.relation)?;
    accept_contextual(model, names, query.contextual)?;
    let mut view = View::new(index, names, query.contextual);
    let (subject, subject_relation) = known_subject(model, &mut view, query.subject)?;
    let mut walk = Walk::default();
    if subject_relation != RelationId::NONE {
        walk.visit(subject, subject_relation);
    }
    let plain = view.type_of(subject).filter(|_| subject_relation == RelationId::NONE);
    let everybody = plain.and_then(|type_id| view.wildcard(type_id));
    view.backwards(subject, subject_relation, |back| walk.visit(back.object, back.relation));
    if let Some(everybody) = everybody {
        view.backwards(everybody, RelationId::NONE, |back| walk.visit(back.object, back.relation));
    }
    let mut candidates = Vec::new();
    while let Some((object, relation)) = walk.next() {
        let Some(type_id) = view.type_of(object) else { continue };
        if (type_id, relation) == (target_type, target_relation) {
            candidates.push(object);
        }
        for (owner, id, compiled) in model.all_relations() {
            if owner == type_id && ways_on(&compiled.expression).contains(&(relation, None)) {
                walk.visit(object, id);
            }
        }
        view.backwards(object, relation, |Back { object, relation }| walk.visit(object, relation));
        view.backwards(object, RelationId::NONE, |back| {
            for (owner, id, compiled) in model.all_relations() {
                if view.type_of(back.object) == Some(owner)
                    && ways_on(&compiled.expression).contains(&(relation, Some(back.relation)))
                {
                    walk.visit(back.object, id);
                }
            }
        });
    }
    if walk.full {
        return Ok(Listed::Failed(Code::TooComplex));
    }
    let mut checker = Checker::new(model, &view, query.context, limits, subject, subject_relation);
    let mut answers = Answers::default();
    for object in candidates {
        if answers.take(
            enough,
            || checker.outcome(object, target_relation),
            || format!("{}:{}", query.type_name, view.id(object)),
        ) {
            break;
        }
    }
    Ok(answers.listed())
}

/// The subjects of a kind that have a relation to an object. `enough` is asked before each check: a deadline.
///
/// # Errors
/// [`Refused`], where the model does not know what is asked.
pub fn list_users(
    model: &Model,
    names: &Names,
    index: &Index,
    query: &UsersQuery<'_>,
    limits: Limits,
    enough: &mut dyn FnMut() -> bool,
) -> Result<Listed, Refused> {
    let (object_type, relation) = known(model, names, &query.object.type_name, query.relation)?;
    let wanted_type = names
        .type_id(query.type_name)
        .filter(|id| model.has_type(*id))
        .ok_or(Refused::Query(Invalid::Type))?;
    let wanted_relation = match query.userset {
        None => RelationId::NONE,
        Some(name) => {
            let id = names.relation_id(name).ok_or(Refused::Query(Invalid::Relation))?;
            model.relation(wanted_type, id).ok_or(Refused::Query(Invalid::Relation))?;
            id
        }
    };
    accept_contextual(model, names, query.contextual)?;
    let mut view = View::new(index, names, query.contextual);
    let object = view.object(query.object).ok_or(Refused::Query(Invalid::Type))?;
    let (mut walk, mut candidates) = (Walk::default(), Candidates::default());
    if view.type_of(object) == Some(object_type) {
        walk.visit(object, relation);
    }
    while let Some((object, relation)) = walk.next() {
        let Some(type_id) = view.type_of(object) else { continue };
        let Some(compiled) = model.relation(type_id, relation) else { continue };
        if (type_id, relation) == (wanted_type, wanted_relation) {
            candidates.add(object);
        }
        let plain = wanted_relation == RelationId::NONE
            && compiled
                .allowed
                .iter()
                .any(|each| each.type_id == wanted_type && !matches!(each.kind, SubjectKind::Userset(_)));
        // A condition that cannot be judged fails the whole list, also where another way leads to the same subject.
        let mut edges = view.subjects(object, relation, false);
        if plain {
            edges.extend(view.subjects(object, relation, true));
        }
        for edge in edges {
            match counts(model, &view, query.context, edge, compiled) {
                Err(code) => return Ok(Listed::Failed(code)),
                Ok(false) => {}
                Ok(true) if edge.relation != RelationId::NONE => walk.visit(edge.subject, edge.relation),
                Ok(true) if view.type_of(edge.subject) == Some(wanted_type) => candidates.add(edge.subject),
                Ok(true) => {}
            }
        }
        for (asked, tupleset) in ways_on(&compiled.expression) {
            let Some(tupleset) = tupleset else {
                walk.visit(object, asked);
                continue;
            };
            let Some(leads) = model.relation(type_id, tupleset) else { continue };
            for edge in view.subjects(object, tupleset, true) {
                match counts(model, &view, query.context, edge, leads) {
                    Err(code) => return Ok(Listed::Failed(code)),
                    Ok(true) => walk.visit(edge.subject, asked),
                    Ok(false) => {}
                }
            }
        }
    }
    if walk.full {
        return Ok(Listed::Failed(Code::TooComplex));
    }
    let mut answers = Answers::default();
    for subject in candidates.all {
        let mut checker = Checker::new(model, &view, query.context, limits, subject, wanted_relation);
        let name = || {
            let suffix = query.userset.map_or_else(String::new, |relation| format!("#{relation}"));
            format!("{}:{}{suffix}", query.type_name, view.id(subject))
        };
        if answers.take(enough, || checker.outcome(object, relation), name) {
            break;
        }
    }
    Ok(answers.listed())
}

fn known(
    model: &Model,
    names: &Names,
    type_name: &str,
    relation: &str,
) -> Result<(TypeId, RelationId), Refused> {
    let type_id =
        names.type_id(type_name).filter(|id| model.has_type(*id)).ok_or(Refused::Query(Invalid::Type))?;
    let relation = names.relation_id(relation).ok_or(Refused::Query(Invalid::Relation))?;
    model.relation(type_id, relation).ok_or(Refused::Query(Invalid::Relation))?;
    Ok((type_id, relation))
}

/// Relations of objects to visit, each once.
#[derive(Default)]
struct Walk {
    seen: HashSet<(Node, RelationId)>,
    open: Vec<(Node, RelationId)>,
    full: bool,
}

impl Walk {
    fn visit(&mut self, object: Node, relation: RelationId) {
        if self.seen.len() >= MAX_VISITS {
            self.full = true;
        } else if self.seen.insert((object, relation)) {
            self.open.push((object, relation));
        }
    }

    fn next(&mut self) -> Option<(Node, RelationId)> {
        if self.full { None } else { self.open.pop() }
    }
}

#[derive(Default)]
struct Candidates {
    seen: HashSet<Node>,
    all: Vec<Node>,
}

impl Candidates {
    fn add(&mut self, node: Node) {
        if self.seen.insert(node) {
            self.all.push(node);
        }
    }
}

#[derive(Default)]
struct Answers {
    names: Vec<String>,
    failed: Option<Code>,
    cut: bool,
}

impl Answers {
    /// Asks for one candidate; true when there is no need for another.
    fn take(
        &mut self,
        enough: &mut dyn FnMut() -> bool,
        ask: impl FnOnce() -> Outcome,
        name: impl FnOnce() -> String,
    ) -> bool {
        if self.names.len() >= MAX_RESULTS || enough() {
            self.cut = true;
            return true;
        }
        match ask() {
            Outcome::Allowed => self.names.push(name()),
            Outcome::NotAllowed { .. } => {}
            Outcome::Failed(code) => self.failed = Some(self.failed.map_or(code, |known| known.min(code))),
        }
        false
    }

    fn listed(mut self) -> Listed {
        match self.failed {
            Some(code) if self.names.len() < MAX_RESULTS => Listed::Failed(code),
            _ => {
                self.names.sort();
                Listed::Found { names: self.names, complete: !self.cut }
            }
        }
    }
}

/// The relations that a relation is computed from, each with the relation that leads to other objects, if one does.
/// What is taken away is left out.
fn ways_on(expression: &Expression) -> Vec<(RelationId, Option<RelationId>)> {
    match expression {
        Expression::Direct | Expression::Usersets => Vec::new(),
        Expression::Computed(relation) => vec![(*relation, None)],
        Expression::From { relation, tupleset } => vec![(*relation, Some(*tupleset))],
        Expression::Union(operands) | Expression::Intersection(operands) => {
            operands.iter().flat_map(ways_on).collect()
        }
        Expression::Difference(base, _) => ways_on(base),
    }
}
