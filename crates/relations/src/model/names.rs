//! Small numbers for the names of types, relations and conditions.
//!
//! Names outlive models: a store's tuples stay when its model changes, so one table, which only grows, serves both.

use std::collections::HashMap;

/// A type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub(crate) u16);

/// A relation's name, whatever the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelationId(pub(crate) u16);

impl RelationId {
    /// No relation: a plain subject.
    pub(crate) const NONE: Self = Self(u16::MAX);
}

/// A condition's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConditionId(pub(crate) u16);

/// The names of a store.
#[derive(Clone, Debug, Default)]
pub struct Names {
    types: Table,
    relations: Table,
    conditions: Table,
}

/// The table is full: 65,535 names of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyNames;

impl Names {
    /// The number of a type that is known.
    #[must_use]
    pub fn type_id(&self, name: &str) -> Option<TypeId> {
        self.types.get(name).map(TypeId)
    }

    /// The number of a relation that is known.
    #[must_use]
    pub fn relation_id(&self, name: &str) -> Option<RelationId> {
        self.relations.get(name).map(RelationId)
    }

    /// The number of a condition that is known.
    #[must_use]
    pub fn condition_id(&self, name: &str) -> Option<ConditionId> {
        self.conditions.get(name).map(ConditionId)
    }

    /// The name of a type.
    #[must_use]
    pub fn type_name(&self, id: TypeId) -> &str {
        self.types.name(id.0)
    }

    /// The name of a relation; empty for none.
    #[must_use]
    pub fn relation_name(&self, id: RelationId) -> &str {
        self.relations.name(id.0)
    }

    /// The name of a condition.
    #[must_use]
    pub fn condition_name(&self, id: ConditionId) -> &str {
        self.conditions.name(id.0)
    }

    pub(crate) fn intern_type(&mut self, name: &str) -> Result<TypeId, TooManyNames> {
        self.types.intern(name).map(TypeId)
    }

    pub(crate) fn intern_relation(&mut self, name: &str) -> Result<RelationId, TooManyNames> {
        self.relations.intern(name).map(RelationId)
    }

    pub(crate) fn intern_condition(&mut self, name: &str) -> Result<ConditionId, TooManyNames> {
        self.conditions.intern(name).map(ConditionId)
    }
}

#[derive(Clone, Debug, Default)]
struct Table {
    names: Vec<Box<str>>,
    ids: HashMap<Box<str>, u16>,
}

impl Table {
    fn get(&self, name: &str) -> Option<u16> {
        self.ids.get(name).copied()
    }

    fn name(&self, id: u16) -> &str {
        self.names.get(usize::from(id)).map_or("", |name| name)
    }

    fn intern(&mut self, name: &str) -> Result<u16, TooManyNames> {
        if let Some(id) = self.get(name) {
            return Ok(id);
        }
        let id = u16::try_from(self.names.len()).ok().filter(|id| *id < u16::MAX).ok_or(TooManyNames)?;
        self.names.push(name.into());
        self.ids.insert(name.into(), id);
        Ok(id)
    }
}
