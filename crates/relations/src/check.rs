//! Whether a subject holds a relation to an object.
//!
//! Four values, and the result never depends on the order of operands: true, false, undecided (a cycle was met) and
//! error. A cycle under an exclusion is undecided, hence not allowed, though two-valued logic would say "not
//! restricted, so yes". An error in one branch of a union is masked by a true in another.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};
use smallvec::SmallVec;

use crate::index::{Edge, Index, Node};
use crate::model::{Expression, Model, Names, Relation, RelationId, SubjectKind};
use crate::tuple::{self, Invalid, Object, Subject, Tuple};
use crate::view::{MAX_CONTEXTUAL, View};

/// A question.
#[derive(Clone, Copy, Debug)]
pub struct Query<'q> {
    /// To what.
    pub object: &'q Object,
    /// Which relation.
    pub relation: &'q str,
    /// Who.
    pub subject: &'q Subject,
    /// Tuples that hold for this question only.
    pub contextual: &'q [Tuple],
    /// Values for conditions.
    pub context: &'q Map<String, Json>,
}

/// Bounds of one check.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Relations on one path.
    pub depth: usize,
    /// Relations of objects that are visited in all.
    pub nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 25, nodes: 10_000 }
    }
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Yes.
    Allowed,
    /// No; `cycle` where the reason is that nothing decides.
    NotAllowed {
        /// A relation that leads back to itself was met.
        cycle: bool,
    },
    /// The question has no answer. Every gate treats it as no.
    Failed(Code),
}

/// `OpenFGA`'s codes of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// 2000: a condition that cannot be judged.
    Validation,
    /// 2002: too deep, or too many relations visited.
    TooComplex,
}

impl Code {
    /// The number.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Validation => 2000,
            Self::TooComplex => 2002,
        }
    }
}

/// Why a question is refused before it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The object, its type or its relation: 2000 in a check, 2021 or 2022 for types and relations of a list.
    Query(Invalid),
    /// The subject: 2000.
    Subject(Invalid),
    /// A contextual tuple: 2027.
    Contextual(Invalid),
    /// More than [`MAX_CONTEXTUAL`] contextual tuples.
    TooManyContextual,
}

/// Answers one question on one snapshot.
///
/// # Errors
/// [`Refused`], where the model does not know what is asked.
pub fn check(
    model: &Model,
    names: &Names,
    index: &Index,
    query: &Query<'_>,
    limits: Limits,
) -> Result<Outcome, Refused> {
    accept_contextual(model, names, query.contextual)?;
    let mut view = View::new(index, names, query.contextual);
    let object = view.object(query.object).ok_or(Refused::Query(Invalid::Type))?;
    let relation = names.relation_id(query.relation).ok_or(Refused::Query(Invalid::Relation))?;
    let type_id =
        view.type_of(object).filter(|id| model.has_type(*id)).ok_or(Refused::Query(Invalid::Type))?;
    model.relation(type_id, relation).ok_or(Refused::Query(Invalid::Relation))?;
    let (subject, subject_relation) = known_subject(model, &mut view, query.subject)?;
    let mut checker = Checker::new(model, &view, query.context, limits, subject, subject_relation);
    Ok(checker.outcome(object, relation))
}

/// The subject of a question, which the model must know.
pub(crate) fn known_subject<'q>(
    model: &Model,
    view: &mut View<'q>,
    subject: &'q Subject,
) -> Result<(Node, RelationId), Refused> {
    let node = view.object(&subject.object).ok_or(Refused::Subject(Invalid::Type))?;
    let relation = view.subject_relation(subject).ok_or(Refused::Subject(Invalid::Relation))?;
    let type_id =
        view.type_of(node).filter(|id| model.has_type(*id)).ok_or(Refused::Subject(Invalid::Type))?;
    if relation != RelationId::NONE {
        model.relation(type_id, relation).ok_or(Refused::Subject(Invalid::Relation))?;
    }
    Ok((node, relation))
}

pub(crate) fn accept_contextual(model: &Model, names: &Names, contextual: &[Tuple]) -> Result<(), Refused> {
    if contextual.len() > MAX_CONTEXTUAL {
        return Err(Refused::TooManyContextual);
    }
    contextual.iter().try_for_each(|each| tuple::validate(model, names, each).map_err(Refused::Contextual))
}

/// The four values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    True,
    False,
    Undecided,
    Failed(Code),
}

impl Value {
    const fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::True, _) | (_, Self::True) => Self::True,
            (Self::Failed(a), Self::Failed(b)) => Self::Failed(if a as u8 <= b as u8 { a } else { b }),
            (Self::Failed(code), _) | (_, Self::Failed(code)) => Self::Failed(code),
            (Self::Undecided, _) | (_, Self::Undecided) => Self::Undecided,
            (Self::False, Self::False) => Self::False,
        }
    }

    const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::False, _) | (_, Self::False) => Self::False,
            (Self::Undecided, _) | (_, Self::Undecided) => Self::Undecided,
            (Self::Failed(a), Self::Failed(b)) => Self::Failed(if a as u8 <= b as u8 { a } else { b }),
            (Self::Failed(code), _) | (_, Self::Failed(code)) => Self::Failed(code),
            (Self::True, Self::True) => Self::True,
        }
    }

    const fn but_not(self, other: Self) -> Self {
        self.and(match other {
            Self::True => Self::False,
            Self::False => Self::True,
            undecided => undecided,
        })
    }
}

/// Many usersets on an object are tested from the subject's side beyond this.
const MANY_USERSETS: usize = 32;

/// Answers questions about one subject. What it has found out it remembers, between questions too.
pub(crate) struct Checker<'c, 'v> {
    model: &'c Model,
    view: &'c View<'v>,
    context: &'c Map<String, Json>,
    limits: Limits,
    subject: Node,
    subject_relation: RelationId,
    kind: SubjectKind,
    wildcard: Option<Node>,
    path: SmallVec<[(Node, RelationId); 25]>,
    memory: Memory,
    visited: usize,
    cycles: usize,
}

impl<'c, 'v> Checker<'c, 'v> {
    pub(crate) fn new(
        model: &'c Model,
        view: &'c View<'v>,
        context: &'c Map<String, Json>,
        limits: Limits,
        subject: Node,
        subject_relation: RelationId,
    ) -> Self {
        let kind = match subject_relation {
            RelationId::NONE if view.is_wildcard(subject) => SubjectKind::Wildcard,
            RelationId::NONE => SubjectKind::Object,
            relation => SubjectKind::Userset(relation),
        };
        let wildcard = view.type_of(subject).filter(|_| kind == SubjectKind::Object);
        Self {
            model,
            view,
            context,
            limits,
            subject,
            subject_relation,
            kind,
            wildcard: wildcard.and_then(|type_id| view.wildcard(type_id)),
            path: SmallVec::new(),
            memory: Memory::default(),
            visited: 0,
            cycles: 0,
        }
    }

    pub(crate) fn outcome(&mut self, object: Node, relation: RelationId) -> Outcome {
        self.visited = 0;
        match self.relation(object, relation) {
            Value::True => Outcome::Allowed,
            Value::False => Outcome::NotAllowed { cycle: false },
            Value::Undecided => Outcome::NotAllowed { cycle: true },
            Value::Failed(code) => Outcome::Failed(code),
        }
    }

    fn relation(&mut self, object: Node, relation: RelationId) -> Value {
        if (object, relation) == (self.subject, self.subject_relation) {
            return Value::True;
        }
        let Some(type_id) = self.view.type_of(object) else { return Value::False };
        let model = self.model;
        let Some(compiled) = model.relation(type_id, relation) else { return Value::False };
        let reachable = self.view.type_of(self.subject).is_some_and(|id| compiled.reachable(id, self.kind));
        if !reachable {
            return Value::False;
        }
        if self.path.contains(&(object, relation)) {
            self.cycles += 1;
            return Value::Undecided;
        }
        if let Some(known) = self.memory.get(object, relation) {
            return if known { Value::True } else { Value::False };
        }
        self.visited += 1;
        if self.visited > self.limits.nodes || self.path.len() >= self.limits.depth {
            return Value::Failed(Code::TooComplex);
        }
        let cycles = self.cycles;
        self.path.push((object, relation));
        let found = self.expression(&compiled.expression, object, relation, compiled);
        self.path.pop();
        // What was found while a cycle was met depends on the path that led here.
        if self.cycles == cycles && matches!(found, Value::True | Value::False) {
            self.memory.put(object, relation, found == Value::True);
        }
        found
    }

    fn expression(
        &mut self,
        expression: &Expression,
        object: Node,
        relation: RelationId,
        compiled: &Relation,
    ) -> Value {
        match expression {
            Expression::Direct => self.direct(object, relation, compiled),
            Expression::Usersets => self.usersets(object, relation, compiled),
            Expression::Computed(other) => self.relation(object, *other),
            Expression::From { relation: asked, tupleset } => self.through(object, *asked, *tupleset),
            Expression::Union(operands) => {
                let mut found = Value::False;
                for operand in operands {
                    found = found.or(self.expression(operand, object, relation, compiled));
                    if found == Value::True {
                        break;
                    }
                }
                found
            }
            Expression::Intersection(operands) => {
                let mut found = Value::True;
                for operand in operands {
                    found = found.and(self.expression(operand, object, relation, compiled));
                    if found == Value::False {
                        break;
                    }
                }
                found
            }
            Expression::Difference(base, subtract) => {
                let base = self.expression(base, object, relation, compiled);
                if base == Value::False {
                    return base;
                }
                base.but_not(self.expression(subtract, object, relation, compiled))
            }
        }
    }

    fn direct(&mut self, object: Node, relation: RelationId, compiled: &Relation) -> Value {
        let mut found = Value::False;
        let subjects = [(Some(self.subject), self.subject_relation), (self.wildcard, RelationId::NONE)];
        for (subject, subject_relation) in subjects {
            let Some(subject) = subject else { continue };
            for edge in self.view.find(object, relation, subject, subject_relation) {
                found = found.or(self.edge(edge, compiled));
            }
        }
        found
    }

    fn usersets(&mut self, object: Node, relation: RelationId, compiled: &Relation) -> Value {
        if !compiled.allowed.iter().any(|allowed| matches!(allowed.kind, SubjectKind::Userset(_))) {
            return Value::False;
        }
        let edges = self.view.subjects(object, relation, false);
        if edges.len() > MANY_USERSETS
            && let Some(found) = self.by_the_subjects_side(object, relation, compiled)
        {
            return found;
        }
        let mut found = Value::False;
        for edge in edges {
            // The subject itself, as a userset, was looked for by `direct`.
            if (edge.subject, edge.relation) == (self.subject, self.subject_relation) {
                continue;
            }
            let value = self.edge(edge, compiled);
            if value == Value::True {
                found = found.or(self.relation(edge.subject, edge.relation));
            } else {
                found = found.or(value);
            }
            if found == Value::True {
                break;
            }
        }
        found
    }

    /// Where every userset that may stand here is of a relation that is only assigned directly to plain subjects, the
    /// subject's own groups are asked instead of the object's: the smaller side, for a document that is shared with ten
    /// thousand groups. Nothing where it does not apply.
    fn by_the_subjects_side(
        &mut self,
        object: Node,
        relation: RelationId,
        compiled: &Relation,
    ) -> Option<Value> {
        let usersets = compiled.allowed.iter().filter_map(|allowed| match allowed.kind {
            SubjectKind::Userset(of) => Some((allowed.type_id, of)),
            _ => None,
        });
        for (type_id, of) in usersets {
            let group = self.model.relation(type_id, of)?;
            let plain = group.allowed.iter().all(|each| !matches!(each.kind, SubjectKind::Userset(_)));
            let direct = matches!(&group.expression, Expression::Union(operands)
                if operands.as_slice() == [Expression::Direct, Expression::Usersets]);
            if !plain || !direct || self.kind != SubjectKind::Object {
                return None;
            }
        }
        let mut groups: SmallVec<[(Node, RelationId); 16]> = SmallVec::new();
        for subject in [Some(self.subject), self.wildcard].into_iter().flatten() {
            self.view.backwards(subject, RelationId::NONE, |back| groups.push((back.object, back.relation)));
        }
        let mut found = Value::False;
        for (group, of) in groups {
            for edge in self.view.find(object, relation, group, of) {
                let value = self.edge(edge, compiled);
                found = found.or(if value == Value::True { self.relation(group, of) } else { value });
            }
            if found == Value::True {
                break;
            }
        }
        Some(found)
    }

    fn through(&mut self, object: Node, asked: RelationId, tupleset: RelationId) -> Value {
        let model = self.model;
        let Some(leads) = self.view.type_of(object).and_then(|type_id| model.relation(type_id, tupleset))
        else {
            return Value::False;
        };
        let mut found = Value::False;
        for edge in self.view.subjects(object, tupleset, true) {
            let known = self.view.type_of(edge.subject).is_some_and(|id| model.relation(id, asked).is_some());
            if !known || self.view.is_wildcard(edge.subject) {
                continue;
            }
            let value = self.edge(edge, leads);
            found = found.or(if value == Value::True { self.relation(edge.subject, asked) } else { value });
            if found == Value::True {
                break;
            }
        }
        found
    }

    fn edge(&self, edge: Edge, relation: &Relation) -> Value {
        match counts(self.model, self.view, self.context, edge, relation) {
            Ok(true) => Value::True,
            Ok(false) => Value::False,
            Err(code) => Value::Failed(code),
        }
    }
}

/// Whether a tuple counts: the model still allows it, and its condition holds.
pub(crate) fn counts(
    model: &Model,
    view: &View<'_>,
    context: &Map<String, Json>,
    edge: Edge,
    relation: &Relation,
) -> Result<bool, Code> {
    let Some(type_id) = view.type_of(edge.subject) else { return Ok(false) };
    let kind = match edge.relation {
        RelationId::NONE if view.is_wildcard(edge.subject) => SubjectKind::Wildcard,
        RelationId::NONE => SubjectKind::Object,
        of => SubjectKind::Userset(of),
    };
    let Some((id, stored)) = view.condition(edge.condition) else {
        return Ok(relation.allows(type_id, kind, None));
    };
    let Some(id) = id.filter(|id| relation.allows(type_id, kind, Some(*id))) else { return Ok(false) };
    let condition = model.condition(id).ok_or(Code::Validation)?;
    condition.judge(context, stored).map_err(|_| Code::Validation)
}

/// What was found out. The first few without a table.
#[derive(Default)]
struct Memory {
    few: SmallVec<[(Node, RelationId, bool); 16]>,
    many: HashMap<(Node, RelationId), bool>,
}

impl Memory {
    fn get(&self, object: Node, relation: RelationId) -> Option<bool> {
        let few = self
            .few
            .iter()
            .find(|(node, id, _)| (*node, *id) == (object, relation))
            .map(|(_, _, known)| *known);
        few.or_else(|| if self.many.is_empty() { None } else { self.many.get(&(object, relation)).copied() })
    }

    fn put(&mut self, object: Node, relation: RelationId, known: bool) {
        if self.few.len() < 16 {
            self.few.push((object, relation, known));
        } else {
            self.many.insert((object, relation), known);
        }
    }
}
