//! Tuples as they are written: `document:1#viewer@group:eng#member`.

use serde_json::{Map, Value};

use crate::model::{Model, Names, SubjectKind};

/// Longest object, `type:id`, in bytes.
pub const MAX_OBJECT: usize = 256;
/// Longest subject, in bytes.
pub const MAX_SUBJECT: usize = 512;
/// Longest context of a tuple, as JSON text, in bytes.
pub const MAX_CONTEXT: usize = 32 << 10;

/// A relation that somebody has to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuple {
    /// To what.
    pub object: Object,
    /// Which.
    pub relation: String,
    /// Who.
    pub subject: Subject,
    /// Under which condition.
    pub condition: Option<TupleCondition>,
}

/// `type:id`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object {
    /// The type.
    pub type_name: String,
    /// The id.
    pub id: String,
}

/// `type:id`, `type:id#relation` or `type:*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// The object; its id is `*` for everybody of the type.
    pub object: Object,
    /// The relation of a userset.
    pub relation: Option<String>,
}

/// A condition that a tuple carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TupleCondition {
    /// Its name.
    pub name: String,
    /// Values that are stored with the tuple, and win over those of a request.
    pub context: Map<String, Value>,
}

/// Why a tuple or a name in a query is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// Not `type:id`.
    Object,
    /// Not a subject.
    Subject,
    /// A type that the model lacks.
    Type,
    /// A relation that the type lacks.
    Relation,
    /// The relation does not take this subject directly, or not with this condition.
    NotAllowed,
    /// A condition whose context has a key that is no parameter, or a value that does not convert.
    Context,
    /// `document:1#viewer@document:1#viewer`: holds by itself.
    Implicit,
    /// Longer than is taken.
    TooLong,
}

impl Object {
    /// Reads `type:id`.
    ///
    /// # Errors
    /// [`Invalid::Object`], [`Invalid::TooLong`].
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() > MAX_OBJECT {
            return Err(Invalid::TooLong);
        }
        match text.split_once(':') {
            Some((type_name, id)) if is_name(type_name) && is_id(id) => {
                Ok(Self { type_name: type_name.to_owned(), id: id.to_owned() })
            }
            _ => Err(Invalid::Object),
        }
    }
}

impl Subject {
    /// Reads `type:id`, `type:id#relation` or `type:*`.
    ///
    /// # Errors
    /// [`Invalid::Subject`], [`Invalid::TooLong`].
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() > MAX_SUBJECT {
            return Err(Invalid::TooLong);
        }
        let (object, relation) = match text.split_once('#') {
            Some((object, relation)) if is_name(relation) => (object, Some(relation.to_owned())),
            Some(_) => return Err(Invalid::Subject),
            None => (text, None),
        };
        let (type_name, id) = object.split_once(':').ok_or(Invalid::Subject)?;
        let wildcard = id == "*" && relation.is_none();
        if !is_name(type_name) || !(wildcard || is_id(id)) {
            return Err(Invalid::Subject);
        }
        Ok(Self { object: Object { type_name: type_name.to_owned(), id: id.to_owned() }, relation })
    }

    /// Everybody of a type.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.object.id == "*"
    }
}

impl core::fmt::Display for Object {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}:{}", self.type_name, self.id)
    }
}

impl core::fmt::Display for Subject {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.object.fmt(f)?;
        self.relation.as_ref().map_or(Ok(()), |relation| write!(f, "#{relation}"))
    }
}

/// An object's id: letters, digits and `_ | * @ . + / -`, not empty, and not beginning with `*`.
#[must_use]
pub fn is_id(id: &str) -> bool {
    !id.is_empty()
        && !id.starts_with('*')
        && id.bytes().all(|b| {
            b.is_ascii_alphanumeric() || matches!(b, b'_' | b'|' | b'*' | b'@' | b'.' | b'+' | b'/' | b'-')
        })
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.chars().any(|c| matches!(c, ':' | '#' | '@' | '*') || c.is_whitespace() || c.is_control())
}

/// Whether the model takes the tuple.
///
/// # Errors
/// Why not.
pub fn validate(model: &Model, names: &Names, tuple: &Tuple) -> Result<(), Invalid> {
    let type_id =
        names.type_id(&tuple.object.type_name).filter(|id| model.has_type(*id)).ok_or(Invalid::Type)?;
    let relation_id = names.relation_id(&tuple.relation);
    let relation = relation_id.and_then(|id| model.relation(type_id, id)).ok_or(Invalid::Relation)?;
    let subject = &tuple.subject;
    let subject_type =
        names.type_id(&subject.object.type_name).filter(|id| model.has_type(*id)).ok_or(Invalid::Type)?;
    let kind = match &subject.relation {
        None if subject.is_wildcard() => SubjectKind::Wildcard,
        None => SubjectKind::Object,
        Some(name) => {
            let id = names.relation_id(name).ok_or(Invalid::Relation)?;
            model.relation(subject_type, id).ok_or(Invalid::Relation)?;
            SubjectKind::Userset(id)
        }
    };
    if subject.object == tuple.object && subject.relation.as_ref() == Some(&tuple.relation) {
        return Err(Invalid::Implicit);
    }
    let condition_id = match &tuple.condition {
        None => None,
        Some(condition) => Some(names.condition_id(&condition.name).ok_or(Invalid::NotAllowed)?),
    };
    if !relation.allows(subject_type, kind, condition_id) {
        return Err(Invalid::NotAllowed);
    }
    if let (Some(id), Some(carried)) = (condition_id, &tuple.condition) {
        let condition = model.condition(id).ok_or(Invalid::NotAllowed)?;
        if !condition.accepts(&carried.context) {
            return Err(Invalid::Context);
        }
    }
    Ok(())
}
