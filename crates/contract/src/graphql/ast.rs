//! An executable document as it was parsed. Names and numbers stay the text that they were.

use std::borrow::Cow;

/// A document: operations and fragments, in the order written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Document<'t> {
    pub(super) operations: Vec<Operation<'t>>,
    pub(super) fragments: Vec<Fragment<'t>>,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperationKind {
    /// `query`.
    Query,
    /// `mutation`.
    Mutation,
    /// `subscription`.
    Subscription,
}

impl OperationKind {
    /// The keyword.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Mutation => "mutation",
            Self::Subscription => "subscription",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Operation<'t> {
    pub(super) kind: OperationKind,
    pub(super) name: Option<&'t str>,
    pub(super) variables: Vec<Variable<'t>>,
    pub(super) directives: Vec<Directive<'t>>,
    pub(super) selection: Vec<Selection<'t>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variable<'t> {
    pub(super) name: &'t str,
    pub(super) ty: Type<'t>,
    pub(super) default: Option<Value<'t>>,
    pub(super) directives: Vec<Directive<'t>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fragment<'t> {
    pub(super) name: &'t str,
    pub(super) on: &'t str,
    pub(super) directives: Vec<Directive<'t>>,
    pub(super) selection: Vec<Selection<'t>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection<'t> {
    Field(Field<'t>),
    Spread { name: &'t str, directives: Vec<Directive<'t>> },
    Inline { on: Option<&'t str>, directives: Vec<Directive<'t>>, selection: Vec<Selection<'t>> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field<'t> {
    /// Its number in the document: what a decision about it is kept under.
    pub(super) id: u32,
    pub(super) alias: Option<&'t str>,
    pub(super) name: &'t str,
    pub(super) arguments: Vec<(&'t str, Value<'t>)>,
    pub(super) directives: Vec<Directive<'t>>,
    pub(super) selection: Vec<Selection<'t>>,
}

impl<'t> Field<'t> {
    pub(super) fn key(&self) -> &'t str {
        self.alias.unwrap_or(self.name)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directive<'t> {
    pub(super) name: &'t str,
    pub(super) arguments: Vec<(&'t str, Value<'t>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value<'t> {
    Null,
    Variable(&'t str),
    Int(&'t str),
    Float(&'t str),
    Str(Cow<'t, str>),
    Bool(bool),
    Enum(&'t str),
    List(Vec<Value<'t>>),
    Object(Vec<(&'t str, Value<'t>)>),
}

/// A type as it is written; the flag is `!`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type<'t> {
    Named(&'t str, bool),
    List(Box<Type<'t>>, bool),
}
