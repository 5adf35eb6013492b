//! What an evaluation sees: a snapshot, and what one request adds to it.

use serde_json::{Map, Value};
use smallvec::SmallVec;

use crate::index::{Back, Edge, Index, Node};
use crate::model::{ConditionId, Names, RelationId, TypeId};
use crate::tuple::{Object, Subject, Tuple};

/// Tuples that one request may add.
pub const MAX_CONTEXTUAL: usize = 100;

/// A snapshot with the objects and tuples of one request.
#[derive(Debug)]
pub(crate) struct View<'a> {
    index: &'a Index,
    names: &'a Names,
    /// Objects that the index does not know, numbered behind its own.
    extra: SmallVec<[(TypeId, &'a str); 2]>,
    contextual: Vec<Contextual<'a>>,
    count: u32,
}

#[derive(Clone, Copy, Debug)]
struct Contextual<'a> {
    object: Node,
    relation: RelationId,
    subject: Node,
    subject_relation: RelationId,
    tuple: &'a Tuple,
}

/// Conditions of contextual tuples are numbered from here.
const CONTEXTUAL: u32 = 1 << 31;

/// A condition's name, where it is known, and the values that are stored with its tuple.
pub(crate) type Condition<'v> = (Option<ConditionId>, Option<&'v Map<String, Value>>);

pub(crate) type Edges = SmallVec<[Edge; 8]>;

impl<'a> View<'a> {
    /// `contextual` must have been validated against the model: names that are not known are left out.
    pub(crate) fn new(index: &'a Index, names: &'a Names, contextual: &'a [Tuple]) -> Self {
        let count = u32::try_from(index.node_count()).unwrap_or(u32::MAX);
        let mut view = Self { index, names, extra: SmallVec::new(), contextual: Vec::new(), count };
        for tuple in contextual {
            let object = view.object(&tuple.object);
            let subject = view.object(&tuple.subject.object);
            let relation = names.relation_id(&tuple.relation);
            let subject_relation = view.subject_relation(&tuple.subject);
            if let (Some(object), Some(subject), Some(relation), Some(subject_relation)) =
                (object, subject, relation, subject_relation)
            {
                view.contextual.push(Contextual { object, relation, subject, subject_relation, tuple });
            }
        }
        view
    }

    /// The node of an object, known or not; nothing where no model knows its type.
    pub(crate) fn object(&mut self, object: &'a Object) -> Option<Node> {
        self.node(self.names.type_id(&object.type_name)?, &object.id)
    }

    pub(crate) fn subject_relation(&self, subject: &Subject) -> Option<RelationId> {
        match &subject.relation {
            None => Some(RelationId::NONE),
            Some(name) => self.names.relation_id(name),
        }
    }

    pub(crate) fn type_of(&self, node: Node) -> Option<TypeId> {
        match node.0.checked_sub(self.count) {
            None => self.index.type_of(node),
            Some(at) => self.extra.get(at as usize).map(|(type_id, _)| *type_id),
        }
    }

    pub(crate) fn id(&self, node: Node) -> &str {
        match node.0.checked_sub(self.count) {
            None => self.index.id(node),
            Some(at) => self.extra.get(at as usize).map_or("", |(_, id)| id),
        }
    }

    pub(crate) fn is_wildcard(&self, node: Node) -> bool {
        self.id(node) == "*"
    }

    /// Everybody of a type, if any tuple speaks of them.
    pub(crate) fn wildcard(&self, type_id: TypeId) -> Option<Node> {
        let extra = || self.extra.iter().position(|(each, id)| *each == type_id && *id == "*");
        self.index
            .node(type_id, "*")
            .or_else(|| extra().and_then(|at| u32::try_from(at).ok()).map(|at| Node(self.count + at)))
    }

    pub(crate) fn find(
        &self,
        object: Node,
        relation: RelationId,
        subject: Node,
        subject_relation: RelationId,
    ) -> Edges {
        let mut found = Edges::new();
        if object.0 < self.count && subject.0 < self.count {
            found.extend(self.index.find(object, relation, subject, subject_relation));
        }
        for (at, each) in self.contextual.iter().enumerate() {
            if (each.object, each.relation, each.subject, each.subject_relation)
                == (object, relation, subject, subject_relation)
            {
                found.push(each.edge(at));
            }
        }
        found
    }

    pub(crate) fn subjects(&self, object: Node, relation: RelationId, plain: bool) -> Edges {
        let mut found = Edges::new();
        if object.0 < self.count {
            self.index.subjects(object, relation, plain, |edge| found.push(edge));
        }
        for (at, each) in self.contextual.iter().enumerate() {
            let kind = each.subject_relation == RelationId::NONE;
            if each.object == object && each.relation == relation && kind == plain {
                found.push(each.edge(at));
            }
        }
        found
    }

    pub(crate) fn backwards(&self, subject: Node, subject_relation: RelationId, mut take: impl FnMut(Back)) {
        if subject.0 < self.count {
            self.index.backwards(subject, subject_relation, &mut take);
        }
        for each in &self.contextual {
            if each.subject == subject && each.subject_relation == subject_relation {
                take(Back { object: each.object, relation: each.relation });
            }
        }
    }

    /// The condition of an edge and its stored values.
    pub(crate) fn condition(&self, number: u32) -> Option<Condition<'_>> {
        if number == 0 {
            return None;
        }
        let Some(at) = number.checked_sub(CONTEXTUAL) else {
            let carried = self.index.carried(number);
            return Some((
                carried.map(|carried| carried.condition),
                carried.and_then(|carried| carried.context.as_ref()),
            ));
        };
        let condition = self.contextual.get(at as usize)?.tuple.condition.as_ref()?;
        Some((self.names.condition_id(&condition.name), Some(&condition.context)))
    }

    fn node(&mut self, type_id: TypeId, id: &'a str) -> Option<Node> {
        if let Some(known) = self.index.node(type_id, id) {
            return Some(known);
        }
        let known = self.extra.iter().position(|each| *each == (type_id, id));
        let at = known.unwrap_or_else(|| {
            self.extra.push((type_id, id));
            self.extra.len() - 1
        });
        u32::try_from(at).ok().and_then(|at| self.count.checked_add(at)).map(Node)
    }
}

impl Contextual<'_> {
    fn edge(&self, at: usize) -> Edge {
        let numbered = u32::try_from(at).map_or(0, |at| CONTEXTUAL + at);
        let condition = if self.tuple.condition.is_some() { numbered } else { 0 };
        Edge { subject: self.subject, relation: self.subject_relation, condition }
    }
}
