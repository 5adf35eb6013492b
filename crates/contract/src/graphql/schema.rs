//! A schema as requests and answers are judged by it.

use std::collections::HashMap;

use super::ast::OperationKind;
use crate::document::{Finding, Span};

/// A compiled schema.
#[derive(Debug)]
pub struct Schema {
    pub(super) types: Vec<TypeDef>,
    pub(super) by_name: HashMap<Box<str>, u32>,
    pub(super) roots: [Option<u32>; 3],
    pub(super) directives: Vec<DirectiveDef>,
    pub(super) rules: Vec<AccessRule>,
}

/// Index of a type.
pub(super) type TypeId = u32;

#[derive(Debug)]
pub(super) struct TypeDef {
    pub(super) name: Box<str>,
    pub(super) shape: Shape,
    /// Fields of an object or interface, input fields of an input object.
    pub(super) fields: Vec<FieldDef>,
    pub(super) by_name: HashMap<Box<str>, u32>,
    /// Object types that a value of this type can be; sorted.
    pub(super) possible: Vec<TypeId>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Scalar(Scalar),
    Object,
    Interface,
    Union,
    Enum(Vec<Box<str>>),
    /// The flag is `@oneOf`.
    Input(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Int,
    Float,
    String,
    Boolean,
    Id,
    /// Opaque JSON.
    Custom,
}

#[derive(Debug)]
pub(super) struct FieldDef {
    pub(super) name: Box<str>,
    pub(super) ty: Ty,
    pub(super) arguments: Vec<InputDef>,
    /// Of an input field.
    pub(super) has_default: bool,
    /// In place of 1 or 0.
    pub(super) cost: Option<u64>,
    pub(super) list: Option<ListRule>,
    /// Indices into [`Schema::rules`]: all of them must be met.
    pub(super) rules: Vec<u32>,
}

#[derive(Debug)]
pub(super) struct InputDef {
    pub(super) name: Box<str>,
    pub(super) ty: Ty,
    pub(super) has_default: bool,
    /// It is one `Int`: the guard of contract.md § 9 is about those.
    pub(super) is_int: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ty {
    Named(TypeId, bool),
    List(Box<Ty>, bool),
}

impl Ty {
    pub(super) fn named(&self) -> TypeId {
        match self {
            Self::Named(id, _) => *id,
            Self::List(inner, _) => inner.named(),
        }
    }

    pub(super) const fn required(&self) -> bool {
        match self {
            Self::Named(_, required) | Self::List(_, required) => *required,
        }
    }

    pub(super) const fn is_list(&self) -> bool {
        matches!(self, Self::List(..))
    }
}

/// `@portcullis(list: …)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListRule {
    pub(super) slicing: Vec<Box<str>>,
    pub(super) assumed: u64,
    pub(super) max: Option<u64>,
}

/// `@portcullis(authorize: …)`: any of the inner lists, and of it all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AccessRule {
    pub(super) scopes: Vec<Vec<Box<str>>>,
    pub(super) on_denied: OnDenied,
}

/// What becomes of a field that the caller may not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnDenied {
    Reject,
    Null,
}

#[derive(Debug)]
pub(super) struct DirectiveDef {
    pub(super) name: Box<str>,
    pub(super) arguments: Vec<InputDef>,
    pub(super) repeatable: bool,
    /// `QUERY`, `FIELD`, …
    pub(super) locations: Vec<Box<str>>,
}

impl Schema {
    /// Compiles SDL. `span` says where a byte of it stands.
    ///
    /// # Errors
    /// All findings, when one of them is an error.
    pub fn compile(
        text: &str,
        span: &dyn Fn(usize, usize) -> Span,
    ) -> Result<(Self, Vec<Finding>), Vec<Finding>> {
        super::sdl::compile(text, span)
    }

    pub(super) fn ty(&self, id: TypeId) -> Option<&TypeDef> {
        self.types.get(usize::try_from(id).ok()?)
    }

    pub(super) fn find(&self, name: &str) -> Option<TypeId> {
        self.by_name.get(name).copied()
    }

    pub(super) fn root(&self, kind: OperationKind) -> Option<TypeId> {
        self.roots.get(kind as usize).copied().flatten()
    }

    pub(super) fn field(&self, parent: TypeId, name: &str) -> Option<(u32, &FieldDef)> {
        let parent = self.ty(parent)?;
        let index = *parent.by_name.get(name)?;
        Some((index, parent.fields.get(usize::try_from(index).ok()?)?))
    }

    pub(super) fn field_at(&self, parent: TypeId, index: u32) -> Option<&FieldDef> {
        self.ty(parent)?.fields.get(usize::try_from(index).ok()?)
    }

    pub(super) fn is_composite(&self, id: TypeId) -> bool {
        self.ty(id).is_some_and(|ty| matches!(ty.shape, Shape::Object | Shape::Interface | Shape::Union))
    }

    pub(super) fn is_input(&self, id: TypeId) -> bool {
        self.ty(id).is_some_and(|ty| matches!(ty.shape, Shape::Scalar(_) | Shape::Enum(_) | Shape::Input(_)))
    }

    /// Whether a value can be of both types.
    pub(super) fn overlap(&self, a: TypeId, b: TypeId) -> bool {
        let (Some(a), Some(b)) = (self.ty(a), self.ty(b)) else { return false };
        a.possible.iter().any(|id| b.possible.binary_search(id).is_ok())
    }

    /// How many types it has, its own of introspection not counted.
    pub fn len(&self) -> usize {
        self.types.iter().filter(|ty| !ty.name.starts_with("__")).count()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Fields of the root that tell about the schema, or about everything at once; refused unless allowed.
pub(super) fn is_introspection(name: &str) -> bool {
    matches!(name, "__schema" | "__type" | "_service" | "_entities")
}
