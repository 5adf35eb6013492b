//! Models: as written ([`source`]), judged ([`validate`]), and compiled for evaluation.

mod dsl;
mod json;
mod lex;
mod names;
mod print;
pub mod source;
mod validate;

pub use dsl::parse;
pub use json::{from_json, to_json};
pub use names::{ConditionId, Names, RelationId, TooManyNames, TypeId};
pub use print::to_text;
pub use validate::validate;

use std::collections::BTreeSet;

use crate::condition::Condition;
use source::{Flaw, Kind, RestrictionKind, Rewrite, Source, Span};

/// Types of one model.
pub const MAX_TYPES: usize = 100;
/// Conditions of one model.
pub const MAX_CONDITIONS: usize = 25;
/// Bytes of one model's text.
pub const MAX_BYTES: usize = 256 << 10;

/// A model that is ready to be asked. Immutable; its numbers are those of the [`Names`] that it was compiled with.
#[derive(Clone, Debug)]
pub struct Model {
    types: Vec<Option<Type>>,
    conditions: Vec<Option<Condition>>,
}

#[derive(Clone, Debug, Default)]
struct Type {
    relations: Vec<Option<Relation>>,
}

/// A relation of a type.
#[derive(Clone, Debug)]
pub struct Relation {
    pub(crate) expression: Expression,
    pub(crate) allowed: Vec<Allowed>,
    /// Subjects that can ever reach this relation, usersets on the way included.
    pub(crate) reach: BTreeSet<(TypeId, SubjectKind)>,
}

/// A subject that may be assigned directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowed {
    pub(crate) type_id: TypeId,
    pub(crate) kind: SubjectKind,
    pub(crate) condition: Option<ConditionId>,
}

/// Which subjects of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum SubjectKind {
    Object,
    Wildcard,
    Userset(RelationId),
}

/// What a relation asks, in the order in which it is cheapest to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    /// Assigned directly, itself or by the wildcard.
    Direct,
    /// Assigned through a userset.
    Usersets,
    Computed(RelationId),
    From {
        relation: RelationId,
        tupleset: RelationId,
    },
    Union(Vec<Expression>),
    Intersection(Vec<Expression>),
    Difference(Box<Expression>, Box<Expression>),
}

impl Model {
    /// Compiles a model of schema 1.1.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(source: &Source, names: &mut Names) -> Result<Self, Vec<Flaw>> {
        let mut flaws = validate(source);
        if let Some(version) = source.schema.as_ref().filter(|version| version.text != "1.1") {
            flaws.push(Flaw::new(Kind::InvalidSchema, version.span, "only schema 1.1 can be evaluated"));
        }
        if source.types.len() > MAX_TYPES || source.conditions.len() > MAX_CONDITIONS {
            let text = format!("at most {MAX_TYPES} types and {MAX_CONDITIONS} conditions");
            flaws.push(Flaw::new(Kind::TooLarge, Span::default(), text));
        }
        if !flaws.is_empty() {
            return Err(flaws);
        }
        let mut model = Self { types: Vec::new(), conditions: Vec::new() };
        for condition in &source.conditions {
            match (Condition::compile(condition), names.intern_condition(&condition.name.text)) {
                (Ok(compiled), Ok(id)) => put(&mut model.conditions, usize::from(id.0), compiled),
                (Err(text), _) => flaws.push(Flaw::new(Kind::InvalidCondition, condition.name.span, text)),
                (_, Err(TooManyNames)) => flaws.push(too_many()),
            }
        }
        if model.relations(source, names).is_err() {
            flaws.push(too_many());
        }
        if !flaws.is_empty() {
            return Err(flaws);
        }
        model.close_reach();
        Ok(model)
    }

    /// Reads and compiles the text of a model.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_text(text: &str, names: &mut Names) -> Result<Self, Vec<Flaw>> {
        if text.len() > MAX_BYTES {
            let text = format!("a model has at most {MAX_BYTES} bytes");
            return Err(vec![Flaw::new(Kind::TooLarge, Span::default(), text)]);
        }
        Self::compile(&parse(text)?, names)
    }

    /// Whether the type is of this model.
    #[must_use]
    pub fn has_type(&self, type_id: TypeId) -> bool {
        self.type_of(type_id).is_some()
    }

    /// A relation of a type.
    #[must_use]
    pub fn relation(&self, type_id: TypeId, relation: RelationId) -> Option<&Relation> {
        self.type_of(type_id)?.relations.get(usize::from(relation.0))?.as_ref()
    }

    pub(crate) fn condition(&self, id: ConditionId) -> Option<&Condition> {
        self.conditions.get(usize::from(id.0))?.as_ref()
    }

    /// Every relation of the model, with its type.
    pub(crate) fn all_relations(&self) -> impl Iterator<Item = (TypeId, RelationId, &Relation)> {
        self.types.iter().zip(0u16..).filter_map(|(each, id)| Some((TypeId(id), each.as_ref()?))).flat_map(
            |(id, each)| {
                each.relations
                    .iter()
                    .zip(0u16..)
                    .filter_map(move |(it, relation)| Some((id, RelationId(relation), it.as_ref()?)))
            },
        )
    }

    fn type_of(&self, type_id: TypeId) -> Option<&Type> {
        self.types.get(usize::from(type_id.0))?.as_ref()
    }

    fn relations(&mut self, source: &Source, names: &mut Names) -> Result<(), TooManyNames> {
        for each in &source.types {
            let type_id = names.intern_type(&each.name.text)?;
            let mut compiled = Type::default();
            for relation in &each.relations {
                let id = names.intern_relation(&relation.name.text)?;
                let mut allowed = Vec::new();
                for restriction in &relation.restrictions {
                    allowed.push(Allowed {
                        type_id: names.intern_type(&restriction.type_name.text)?,
                        kind: match &restriction.kind {
                            RestrictionKind::Object => SubjectKind::Object,
                            RestrictionKind::Wildcard => SubjectKind::Wildcard,
                            RestrictionKind::Userset(name) => {
                                SubjectKind::Userset(names.intern_relation(&name.text)?)
                            }
                        },
                        condition: match &restriction.condition {
                            Some(name) => Some(names.intern_condition(&name.text)?),
                            None => None,
                        },
                    });
                }
                let expression = express(&relation.rewrite, names)?;
                let reach = allowed.iter().map(|allowed| (allowed.type_id, allowed.kind)).collect();
                put(&mut compiled.relations, usize::from(id.0), Relation { expression, allowed, reach });
            }
            put(&mut self.types, usize::from(type_id.0), compiled);
        }
        Ok(())
    }

    /// Carries what reaches a relation on to those that are computed from it, until nothing is new.
    fn close_reach(&mut self) {
        loop {
            let mut grown = Vec::new();
            for (type_id, id, relation) in self.all_relations() {
                let mut reach = relation.reach.clone();
                for (type_id, kind) in &relation.reach {
                    if let SubjectKind::Userset(through) = kind {
                        self.reach_of(*type_id, *through, &mut reach);
                    }
                }
                self.reach_by(type_id, &relation.expression, &mut reach);
                if reach.len() > relation.reach.len() {
                    grown.push((type_id, id, reach));
                }
            }
            if grown.is_empty() {
                return;
            }
            for (type_id, id, reach) in grown {
                let found = self.types.get_mut(usize::from(type_id.0)).and_then(Option::as_mut);
                if let Some(relation) =
                    found.and_then(|each| each.relations.get_mut(usize::from(id.0))).and_then(Option::as_mut)
                {
                    relation.reach = reach;
                }
            }
        }
    }

    fn reach_by(
        &self,
        type_id: TypeId,
        expression: &Expression,
        reach: &mut BTreeSet<(TypeId, SubjectKind)>,
    ) {
        match expression {
            Expression::Direct | Expression::Usersets => {}
            Expression::Computed(relation) => self.reach_of(type_id, *relation, reach),
            Expression::From { relation, tupleset } => {
                for allowed in self.relation(type_id, *tupleset).iter().flat_map(|leads| &leads.allowed) {
                    self.reach_of(allowed.type_id, *relation, reach);
                }
            }
            Expression::Union(operands) | Expression::Intersection(operands) => {
                for operand in operands {
                    self.reach_by(type_id, operand, reach);
                }
            }
            Expression::Difference(base, _) => self.reach_by(type_id, base, reach),
        }
    }

    fn reach_of(&self, type_id: TypeId, relation: RelationId, reach: &mut BTreeSet<(TypeId, SubjectKind)>) {
        if let Some(found) = self.relation(type_id, relation) {
            reach.extend(found.reach.iter().copied());
            reach.insert((type_id, SubjectKind::Userset(relation)));
        }
    }
}

impl Relation {
    /// Whether a tuple with this subject and condition may stand under the relation.
    pub(crate) fn allows(&self, type_id: TypeId, kind: SubjectKind, condition: Option<ConditionId>) -> bool {
        self.allowed.iter().any(|allowed| {
            allowed.type_id == type_id && allowed.kind == kind && allowed.condition == condition
        })
    }

    /// Whether a subject of the type and kind can hold the relation at all.
    pub(crate) fn reachable(&self, type_id: TypeId, kind: SubjectKind) -> bool {
        self.reach.contains(&(type_id, kind))
            || (kind == SubjectKind::Object && self.reach.contains(&(type_id, SubjectKind::Wildcard)))
    }
}

fn express(rewrite: &Rewrite, names: &mut Names) -> Result<Expression, TooManyNames> {
    Ok(match rewrite {
        Rewrite::This => Expression::Union(vec![Expression::Direct, Expression::Usersets]),
        Rewrite::Computed(name) => Expression::Computed(names.intern_relation(&name.text)?),
        Rewrite::From { relation, tupleset, .. } => Expression::From {
            relation: names.intern_relation(&relation.text)?,
            tupleset: names.intern_relation(&tupleset.text)?,
        },
        Rewrite::Union(operands) => {
            let mut flat = Vec::new();
            for operand in operands {
                match express(operand, names)? {
                    Expression::Union(inner) => flat.extend(inner),
                    other => flat.push(other),
                }
            }
            flat.sort_by_key(price);
            Expression::Union(flat)
        }
        Rewrite::Intersection(operands) => {
            let mut all =
                operands.iter().map(|operand| express(operand, names)).collect::<Result<Vec<_>, _>>()?;
            all.sort_by_key(price);
            Expression::Intersection(all)
        }
        Rewrite::Difference(base, subtract) => {
            Expression::Difference(Box::new(express(base, names)?), Box::new(express(subtract, names)?))
        }
    })
}

/// The order of operands: the result does not depend on it (`check`), the cost does.
const fn price(expression: &Expression) -> u8 {
    match expression {
        Expression::Direct => 0,
        Expression::Computed(_) => 1,
        Expression::Usersets => 2,
        Expression::From { .. } => 3,
        Expression::Union(_) | Expression::Intersection(_) | Expression::Difference(..) => 4,
    }
}

fn put<T>(list: &mut Vec<Option<T>>, at: usize, value: T) {
    if list.len() <= at {
        list.resize_with(at + 1, || None);
    }
    if let Some(slot) = list.get_mut(at) {
        *slot = Some(value);
    }
}

fn too_many() -> Flaw {
    Flaw::new(Kind::TooLarge, Span::default(), "too many different names")
}
