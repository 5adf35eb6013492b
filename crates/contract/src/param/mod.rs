//! Parameters: from text in a request to checked values, and from values to the one text that goes on.

pub(crate) mod check;
pub(crate) mod encode;
pub(crate) mod grammar;
pub(crate) mod query;
pub(crate) mod read;
pub(crate) mod style;

use crate::json::{Builder, Tape};

/// The value of a parameter, decoded, checked and canonical.
#[derive(Clone, Debug)]
pub enum Value {
    /// One scalar.
    Scalar(Scalar),
    /// Items in the order received.
    Array(Vec<Scalar>),
    /// Members in the order received, names distinct.
    Object(Vec<(Box<str>, Scalar)>),
    /// The JSON text of a `content` parameter, written again.
    Json(Box<str>),
}

/// A scalar: how it was read, and its canonical text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scalar {
    /// The type that it has by the schema.
    pub kind: ScalarKind,
    /// Canonical: integers have one spelling, UUIDs are in lower case.
    pub text: Box<str>,
}

/// Types of scalars. `null` does not exist in parameters: absent is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScalarKind {
    /// `0` or `-?[1-9][0-9]*`.
    Integer,
    /// A JSON number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// Text.
    String,
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Scalar(a), Self::Scalar(b)) => a == b,
            (Self::Array(a), Self::Array(b)) => a == b,
            (Self::Object(a), Self::Object(b)) => a == b,
            (Self::Json(a), Self::Json(b)) => a == b,
            _ => false,
        }
    }
}

impl Value {
    /// The text of a scalar.
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Scalar(scalar) = self { Some(&scalar.text) } else { None }
    }

    /// The scalars in it, in order; none for JSON.
    pub fn scalars(&self) -> impl Iterator<Item = &Scalar> {
        type Parts<'v> = (Option<&'v Scalar>, &'v [Scalar], &'v [(Box<str>, Scalar)]);
        let (one, list, members): Parts<'_> = match self {
            Self::Scalar(scalar) => (Some(scalar), &[], &[]),
            Self::Array(items) => (None, items, &[]),
            Self::Object(members) => (None, &[], members),
            Self::Json(_) => (None, &[], &[]),
        };
        one.into_iter().chain(list).chain(members.iter().map(|(_, scalar)| scalar))
    }

    /// As JSON, for the schema. `None` for JSON that does not scan, which was refused before.
    pub(crate) fn tape(&self) -> Option<Tape> {
        let mut builder = Builder::new();
        match self {
            Self::Scalar(scalar) => scalar.build(&mut builder),
            Self::Array(items) => {
                builder.begin_array();
                items.iter().for_each(|item| item.build(&mut builder));
                builder.end();
            }
            Self::Object(members) => {
                builder.begin_object();
                for (name, scalar) in members {
                    builder.key(name);
                    scalar.build(&mut builder);
                }
                builder.end();
            }
            Self::Json(text) => return grammar::json(text).ok(),
        }
        builder.finish().ok()
    }
}

impl Scalar {
    pub(crate) fn build(&self, builder: &mut Builder) {
        match self.kind {
            ScalarKind::Integer | ScalarKind::Number => builder.number(&self.text),
            ScalarKind::Boolean => builder.bool(&*self.text == "true"),
            ScalarKind::String => builder.string(&self.text),
        };
    }
}

/// The values of one request, by the parameters of its operation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters {
    /// In the order of `Operation::parameters`.
    pub(crate) values: Vec<Option<Value>>,
    /// Undeclared query parameters that were let through, decoded.
    pub(crate) others: Vec<(Box<str>, Box<str>)>,
    /// Undeclared query parameters that were removed.
    pub(crate) stripped: u16,
}

impl Parameters {
    /// How many undeclared query parameters were removed.
    pub fn stripped(&self) -> u16 {
        self.stripped
    }
}
