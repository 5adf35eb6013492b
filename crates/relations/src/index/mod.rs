//! All tuples of a store in memory: immutable runs, sorted both ways, and a small overlay of changes.
//!
//! A reader takes one snapshot and sees exactly one state. A tuple costs 20 bytes, an object about 22 beside its id.

mod nodes;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::model::{ConditionId, Names, RelationId, TooManyNames, TypeId};
use crate::tuple::{Object, Subject, Tuple, TupleCondition};
use nodes::Nodes;

/// Changes that the overlay holds before [`Index::fold`] is due.
pub const OVERLAY: usize = 100_000;

/// An object, or everybody of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(pub(crate) u32);

/// A snapshot of tuples.
#[derive(Clone, Debug)]
pub struct Index {
    base: Arc<Base>,
    over: Arc<Overlay>,
}

/// A subject of some object's relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) subject: Node,
    /// [`RelationId::NONE`] for a plain subject.
    pub(crate) relation: RelationId,
    /// 0: none. Else see [`Index::carried`].
    pub(crate) condition: u32,
}

/// An object to which some subject is related.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Back {
    pub(crate) object: Node,
    pub(crate) relation: RelationId,
}

/// A tuple's condition: its name and its stored values.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) condition: ConditionId,
    pub(crate) context: Option<Map<String, Value>>,
}

/// More names, objects or bytes than the index can number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl From<TooManyNames> for Full {
    fn from(_: TooManyNames) -> Self {
        Self
    }
}

/// One change: a tuple that is there from now on, or is not.
#[derive(Clone, Debug)]
pub struct Change {
    /// The tuple. Its condition is not looked at when it goes.
    pub tuple: Tuple,
    /// Whether it is there.
    pub present: bool,
}

#[derive(Debug)]
struct Base {
    nodes: Nodes,
    /// Where the edges of each object begin.
    starts: Vec<u32>,
    edges: Vec<Stored>,
    back_starts: Vec<u32>,
    back: Vec<StoredBack>,
    carried: Vec<Arc<Carried>>,
}

#[derive(Clone, Debug)]
struct Overlay {
    /// Objects that the base does not know, numbered behind its own.
    nodes: Nodes,
    changes: Vec<Over>,
    back: Vec<OverBack>,
    carried: Vec<Arc<Carried>>,
}

#[derive(Clone, Copy, Debug)]
struct Stored {
    relation: RelationId,
    subject_relation: RelationId,
    subject: u32,
    condition: u32,
}

#[derive(Clone, Copy, Debug)]
struct StoredBack {
    object: u32,
    relation: RelationId,
    subject_relation: RelationId,
}

/// The order of edges within an object: by relation, usersets first, then by subject.
type Key = (RelationId, bool, u32, RelationId);

impl Stored {
    fn key(&self) -> Key {
        (self.relation, self.subject_relation == RelationId::NONE, self.subject, self.subject_relation)
    }

    const fn edge(self) -> Edge {
        Edge { subject: Node(self.subject), relation: self.subject_relation, condition: self.condition }
    }
}

#[derive(Clone, Copy, Debug)]
struct Over {
    object: u32,
    stored: Stored,
    present: bool,
}

#[derive(Clone, Copy, Debug)]
struct OverBack {
    subject: u32,
    back: StoredBack,
    present: bool,
}

impl StoredBack {
    const fn key(&self) -> (RelationId, RelationId, u32) {
        (self.subject_relation, self.relation, self.object)
    }
}

impl Index {
    /// Nothing. `key` is random and secret: it keeps chosen ids from meeting in one place.
    #[must_use]
    pub fn empty(key: u128) -> Self {
        let base = Base {
            nodes: Nodes::new(key),
            starts: vec![0],
            edges: Vec::new(),
            back_starts: vec![0],
            back: Vec::new(),
            carried: Vec::new(),
        };
        Self { base: Arc::new(base), over: Arc::new(Overlay::empty(key)) }
    }

    /// All of `tuples`. Of two equal ones the later counts.
    ///
    /// # Errors
    /// [`Full`].
    pub fn build<'t>(
        key: u128,
        names: &mut Names,
        tuples: impl IntoIterator<Item = &'t Tuple>,
    ) -> Result<Self, Full> {
        let mut builder = Builder { nodes: Nodes::new(key), carried: Vec::new(), rows: Vec::new() };
        for tuple in tuples {
            builder.add(names, tuple)?;
        }
        Ok(Self { base: Arc::new(builder.finish()?), over: Arc::new(Overlay::empty(key)) })
    }

    /// The index after `changes`, in their order.
    ///
    /// # Errors
    /// [`Full`].
    pub fn apply(&self, names: &mut Names, changes: &[Change]) -> Result<Self, Full> {
        let mut over = Overlay::clone(&self.over);
        for change in changes {
            let tuple = &change.tuple;
            let object = self.intern(&mut over, names, &tuple.object)?;
            let subject = self.intern(&mut over, names, &tuple.subject.object)?;
            let relation = names.intern_relation(&tuple.relation)?;
            let subject_relation = match &tuple.subject.relation {
                Some(name) => names.intern_relation(name)?,
                None => RelationId::NONE,
            };
            let condition = match tuple.condition.as_ref().filter(|_| change.present) {
                None => 0,
                Some(condition) => {
                    over.carried.push(Arc::new(carried(names, condition)?));
                    number(self.base.carried.len() + over.carried.len())?
                }
            };
            let stored = Stored { relation, subject_relation, subject, condition };
            put(&mut over.changes, Over { object, stored, present: change.present }, |each| {
                (each.object, each.stored.key())
            });
            let back = StoredBack { object, relation, subject_relation };
            put(&mut over.back, OverBack { subject, back, present: change.present }, |each| {
                (each.subject, each.back.key())
            });
        }
        Ok(Self { base: Arc::clone(&self.base), over: Arc::new(over) })
    }

    /// The same tuples without an overlay. Takes time in proportion to all of them: beside the hot path.
    ///
    /// # Errors
    /// [`Full`].
    pub fn fold(&self) -> Result<Self, Full> {
        let mut builder = Builder {
            nodes: self.base.nodes.clone(),
            carried: Vec::new(),
            rows: Vec::with_capacity(self.base.edges.len()),
        };
        for at in 0..self.over.nodes.len() {
            let at = number(at)?;
            let type_id = self.over.nodes.type_of(at).ok_or(Full)?;
            builder.nodes.intern(type_id, self.over.nodes.id(at)).ok_or(Full)?;
        }
        for object in 0..number(self.node_count())? {
            self.each_edge(Node(object), |mut stored| {
                if stored.condition != 0 {
                    if let Some(carried) = self.carried_arc(stored.condition) {
                        builder.carried.push(Arc::clone(carried));
                    }
                    stored.condition = u32::try_from(builder.carried.len()).unwrap_or(0);
                }
                builder.rows.push((object, stored));
            });
        }
        let base = builder.finish()?;
        Ok(Self { base: Arc::new(base), over: Arc::new(Overlay::emptied(&self.over.nodes)) })
    }

    /// Changes since the last fold.
    #[must_use]
    pub fn overlay_len(&self) -> usize {
        self.over.changes.len()
    }

    /// Tuples.
    #[must_use]
    pub fn len(&self) -> usize {
        (0..u32::try_from(self.node_count()).unwrap_or(0))
            .map(|object| {
                let mut count = 0;
                self.each_edge(Node(object), |_| count += 1);
                count
            })
            .sum()
    }

    /// Whether there is no tuple.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory, without those of ids and contexts.
    #[must_use]
    pub fn overhead(&self) -> usize {
        let base = &self.base;
        base.nodes.overhead()
            + self.over.nodes.overhead()
            + (base.starts.capacity() + base.back_starts.capacity()) * 4
            + base.edges.capacity() * size_of::<Stored>()
            + base.back.capacity() * size_of::<StoredBack>()
            + self.over.changes.capacity() * size_of::<Over>()
            + self.over.back.capacity() * size_of::<OverBack>()
            + (base.carried.capacity() + self.over.carried.capacity()) * size_of::<Arc<Carried>>()
    }

    /// Whether the tuple is there, whatever its condition.
    #[must_use]
    pub fn contains(&self, names: &Names, tuple: &Tuple) -> bool {
        let object = names.type_id(&tuple.object.type_name).and_then(|id| self.node(id, &tuple.object.id));
        let subject = &tuple.subject;
        let node = names.type_id(&subject.object.type_name).and_then(|id| self.node(id, &subject.object.id));
        let relation = match &subject.relation {
            Some(name) => names.relation_id(name),
            None => Some(RelationId::NONE),
        };
        match (object, names.relation_id(&tuple.relation), node, relation) {
            (Some(object), Some(asked), Some(node), Some(relation)) => {
                self.find(object, asked, node, relation).is_some()
            }
            _ => false,
        }
    }

    /// The tuples of one object, as written.
    #[must_use]
    pub fn tuples_of(&self, names: &Names, object: &Object) -> Vec<Tuple> {
        let mut found = Vec::new();
        let Some(node) = names.type_id(&object.type_name).and_then(|id| self.node(id, &object.id)) else {
            return found;
        };
        self.each_edge(node, |stored| {
            let subject_type = self.type_of(Node(stored.subject)).map_or("", |id| names.type_name(id));
            let named = |id: RelationId| (id != RelationId::NONE).then(|| names.relation_name(id).to_owned());
            found.push(Tuple {
                object: object.clone(),
                relation: names.relation_name(stored.relation).to_owned(),
                subject: Subject {
                    object: Object {
                        type_name: subject_type.to_owned(),
                        id: self.id(Node(stored.subject)).to_owned(),
                    },
                    relation: named(stored.subject_relation),
                },
                condition: self.carried(stored.condition).map(|carried| TupleCondition {
                    name: names.condition_name(carried.condition).to_owned(),
                    context: carried.context.clone().unwrap_or_default(),
                }),
            });
        });
        found
    }

    pub(crate) fn node_count(&self) -> usize {
        self.base.nodes.len() + self.over.nodes.len()
    }

    pub(crate) fn node(&self, type_id: TypeId, id: &str) -> Option<Node> {
        let behind = || self.over.nodes.get(type_id, id).map(|at| at + self.base_len());
        self.base.nodes.get(type_id, id).or_else(behind).map(Node)
    }

    pub(crate) fn type_of(&self, node: Node) -> Option<TypeId> {
        match node.0.checked_sub(self.base_len()) {
            None => self.base.nodes.type_of(node.0),
            Some(at) => self.over.nodes.type_of(at),
        }
    }

    pub(crate) fn id(&self, node: Node) -> &str {
        match node.0.checked_sub(self.base_len()) {
            None => self.base.nodes.id(node.0),
            Some(at) => self.over.nodes.id(at),
        }
    }

    pub(crate) fn carried(&self, condition: u32) -> Option<&Carried> {
        self.carried_arc(condition).map(|carried| &**carried)
    }

    /// One subject of an object's relation.
    pub(crate) fn find(
        &self,
        object: Node,
        relation: RelationId,
        subject: Node,
        subject_relation: RelationId,
    ) -> Option<Edge> {
        let key = (relation, subject_relation == RelationId::NONE, subject.0, subject_relation);
        if !self.over.changes.is_empty() {
            let found = self
                .over
                .changes
                .binary_search_by_key(&(object.0, key), |each| (each.object, each.stored.key()));
            if let Some(over) = found.ok().and_then(|at| self.over.changes.get(at)) {
                return over.present.then(|| over.stored.edge());
            }
        }
        let edges = self.base_edges(object);
        let at = edges.binary_search_by_key(&key, Stored::key).ok()?;
        edges.get(at).map(|stored| stored.edge())
    }

    /// Subjects of an object's relation: usersets, or plain ones.
    pub(crate) fn subjects(
        &self,
        object: Node,
        relation: RelationId,
        plain: bool,
        mut take: impl FnMut(Edge),
    ) {
        let all = self.base_edges(object);
        let from = all.partition_point(|each| {
            (each.relation, each.subject_relation == RelationId::NONE) < (relation, plain)
        });
        let to = all.partition_point(|each| {
            (each.relation, each.subject_relation == RelationId::NONE) <= (relation, plain)
        });
        let changes = &self.over.changes;
        let bound = |each: &Over| {
            (each.object, each.stored.relation, each.stored.subject_relation == RelationId::NONE)
        };
        let wanted = (object.0, relation, plain);
        let first = changes.partition_point(|each| bound(each) < wanted);
        let last = changes.partition_point(|each| bound(each) <= wanted);
        let over = changes.get(first..last).unwrap_or_default();
        for stored in all.get(from..to).unwrap_or_default() {
            let changed = !over.is_empty()
                && over.binary_search_by_key(&stored.key(), |each| each.stored.key()).is_ok();
            if !changed {
                take(stored.edge());
            }
        }
        for each in over.iter().filter(|each| each.present) {
            take(each.stored.edge());
        }
    }

    /// Objects to which a subject is related.
    pub(crate) fn backwards(&self, subject: Node, subject_relation: RelationId, mut take: impl FnMut(Back)) {
        let back = &self.base.back;
        let all =
            range(&self.base.back_starts, subject.0).and_then(|range| back.get(range)).unwrap_or_default();
        let from = all.partition_point(|each| each.subject_relation < subject_relation);
        let to = all.partition_point(|each| each.subject_relation <= subject_relation);
        let changes = &self.over.back;
        let wanted = (subject.0, subject_relation);
        let first = changes.partition_point(|each| (each.subject, each.back.subject_relation) < wanted);
        let last = changes.partition_point(|each| (each.subject, each.back.subject_relation) <= wanted);
        let over = changes.get(first..last).unwrap_or_default();
        for stored in all.get(from..to).unwrap_or_default() {
            let changed =
                !over.is_empty() && over.binary_search_by_key(&stored.key(), |each| each.back.key()).is_ok();
            if !changed {
                take(Back { object: Node(stored.object), relation: stored.relation });
            }
        }
        for each in over.iter().filter(|each| each.present) {
            take(Back { object: Node(each.back.object), relation: each.back.relation });
        }
    }

    fn each_edge(&self, object: Node, mut take: impl FnMut(Stored)) {
        let changes = &self.over.changes;
        let first = changes.partition_point(|each| each.object < object.0);
        let last = changes.partition_point(|each| each.object <= object.0);
        let over = changes.get(first..last).unwrap_or_default();
        for stored in self.base_edges(object) {
            if over.binary_search_by_key(&stored.key(), |each| each.stored.key()).is_err() {
                take(*stored);
            }
        }
        for each in over.iter().filter(|each| each.present) {
            take(each.stored);
        }
    }

    fn base_edges(&self, object: Node) -> &[Stored] {
        range(&self.base.starts, object.0).and_then(|range| self.base.edges.get(range)).unwrap_or_default()
    }

    fn base_len(&self) -> u32 {
        u32::try_from(self.base.nodes.len()).unwrap_or(u32::MAX)
    }

    fn carried_arc(&self, condition: u32) -> Option<&Arc<Carried>> {
        let at = (condition as usize).checked_sub(1)?;
        match at.checked_sub(self.base.carried.len()) {
            None => self.base.carried.get(at),
            Some(behind) => self.over.carried.get(behind),
        }
    }

    fn intern(&self, over: &mut Overlay, names: &mut Names, object: &Object) -> Result<u32, Full> {
        let type_id = names.intern_type(&object.type_name)?;
        if let Some(known) = self.base.nodes.get(type_id, &object.id) {
            return Ok(known);
        }
        let behind = over.nodes.intern(type_id, &object.id).ok_or(Full)?;
        behind.checked_add(self.base_len()).ok_or(Full)
    }
}

impl Overlay {
    fn empty(key: u128) -> Self {
        Self::emptied(&Nodes::new(key))
    }

    fn emptied(nodes: &Nodes) -> Self {
        Self { nodes: nodes.emptied(), changes: Vec::new(), back: Vec::new(), carried: Vec::new() }
    }
}

struct Builder {
    nodes: Nodes,
    carried: Vec<Arc<Carried>>,
    rows: Vec<(u32, Stored)>,
}

impl Builder {
    fn add(&mut self, names: &mut Names, tuple: &Tuple) -> Result<(), Full> {
        let object_type = names.intern_type(&tuple.object.type_name)?;
        let object = self.nodes.intern(object_type, &tuple.object.id).ok_or(Full)?;
        let subject_type = names.intern_type(&tuple.subject.object.type_name)?;
        let subject = self.nodes.intern(subject_type, &tuple.subject.object.id).ok_or(Full)?;
        let relation = names.intern_relation(&tuple.relation)?;
        let subject_relation = match &tuple.subject.relation {
            Some(name) => names.intern_relation(name)?,
            None => RelationId::NONE,
        };
        let condition = match &tuple.condition {
            None => 0,
            Some(condition) => {
                self.carried.push(Arc::new(carried(names, condition)?));
                number(self.carried.len())?
            }
        };
        self.rows.push((object, Stored { relation, subject_relation, subject, condition }));
        Ok(())
    }

    fn finish(mut self) -> Result<Base, Full> {
        self.nodes.shrink();
        let count = self.nodes.len();
        // The sort is stable and the last of equals is kept: the later tuple counts.
        self.rows.sort_by_key(|(object, stored)| (*object, stored.key()));
        let mut rows: Vec<(u32, Stored)> = Vec::with_capacity(self.rows.len());
        for row in self.rows {
            match rows.last_mut() {
                Some(last) if (last.0, last.1.key()) == (row.0, row.1.key()) => *last = row,
                _ => rows.push(row),
            }
        }
        let mut back: Vec<(u32, StoredBack)> = rows
            .iter()
            .map(|(object, stored)| {
                let (relation, subject_relation) = (stored.relation, stored.subject_relation);
                (stored.subject, StoredBack { object: *object, relation, subject_relation })
            })
            .collect();
        back.sort_unstable_by_key(|(subject, back)| (*subject, back.key()));
        Ok(Base {
            nodes: self.nodes,
            starts: starts(count, rows.iter().map(|(object, _)| *object))?,
            edges: rows.iter().map(|(_, stored)| *stored).collect(),
            back_starts: starts(count, back.iter().map(|(subject, _)| *subject))?,
            back: back.iter().map(|(_, back)| *back).collect(),
            carried: self.carried,
        })
    }
}

/// Where the rows of each of `count` owners begin, and one more: where the last one's end.
fn starts(count: usize, owners: impl Iterator<Item = u32>) -> Result<Vec<u32>, Full> {
    let mut starts = vec![0_u32; count + 1];
    for owner in owners {
        if let Some(next) = starts.get_mut(owner as usize + 1) {
            *next = next.checked_add(1).ok_or(Full)?;
        }
    }
    let mut total = 0_u32;
    for each in &mut starts {
        total = total.checked_add(*each).ok_or(Full)?;
        *each = total;
    }
    Ok(starts)
}

fn range(starts: &[u32], owner: u32) -> Option<core::ops::Range<usize>> {
    let at = owner as usize;
    Some(*starts.get(at)? as usize..*starts.get(at + 1)? as usize)
}

fn put<T, K: Ord>(list: &mut Vec<T>, item: T, key: impl Fn(&T) -> K) {
    match list.binary_search_by_key(&key(&item), &key) {
        Ok(at) => {
            if let Some(slot) = list.get_mut(at) {
                *slot = item;
            }
        }
        Err(at) => list.insert(at, item),
    }
}

fn carried(names: &mut Names, condition: &TupleCondition) -> Result<Carried, Full> {
    let context = (!condition.context.is_empty()).then(|| condition.context.clone());
    Ok(Carried { condition: names.intern_condition(&condition.name)?, context })
}

fn number(value: usize) -> Result<u32, Full> {
    u32::try_from(value).map_err(|_| Full)
}
