//! Why a GraphQL request is refused.

/// A refusal: what the client is told by kind, and a private reason that holds nothing of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The public part.
    pub kind: Kind,
    /// For the operator.
    pub reason: &'static str,
}

/// Which problem the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `graphql-malformed`: no request, or no document by the grammar.
    Malformed,
    /// `graphql-too-complex`, with the kind of bound and no number.
    TooComplex(Bound),
    /// `graphql-invalid`: not by the schema; one generic message, never a suggestion.
    Invalid,
    /// `graphql-forbidden`.
    Forbidden,
    /// `graphql-invalid` with the message that clients of persisted queries know: `PersistedQueryNotFound`.
    NotFound,
}

/// The bounds of contract.md § 16.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bound {
    /// Bytes of a document.
    QueryBytes,
    /// Tokens of a document.
    Tokens,
    /// Bytes of one string, before escapes are read.
    StringBytes,
    /// Braces, brackets and parentheses inside one another.
    Nesting,
    /// Bytes of the variables.
    VariablesBytes,
    /// Nesting of the variables.
    VariablesDepth,
    /// Operations of a document.
    Operations,
    /// Fragments of a document.
    Fragments,
    /// Directives, of a document and of one node.
    Directives,
    /// Aliases, expanded.
    Aliases,
    /// Root fields, expanded.
    RootFields,
    /// Fields inside one another, expanded.
    Depth,
    /// Fields, expanded.
    Fields,
    /// Cost.
    Cost,
    /// Size of one list.
    ListSize,
    /// Operations of a batch.
    Batch,
}

impl Bound {
    /// The word that the client is told.
    pub const fn word(self) -> &'static str {
        match self {
            Self::QueryBytes => "query-bytes",
            Self::Tokens => "tokens",
            Self::StringBytes => "string-bytes",
            Self::Nesting => "nesting",
            Self::VariablesBytes => "variables-bytes",
            Self::VariablesDepth => "variables-depth",
            Self::Operations => "operations",
            Self::Fragments => "fragments",
            Self::Directives => "directives",
            Self::Aliases => "aliases",
            Self::RootFields => "root-fields",
            Self::Depth => "depth",
            Self::Fields => "fields",
            Self::Cost => "cost",
            Self::ListSize => "list-size",
            Self::Batch => "batch",
        }
    }
}

pub(super) type Judged<T> = Result<T, Refused>;

pub(super) const fn malformed(reason: &'static str) -> Refused {
    Refused { kind: Kind::Malformed, reason }
}

pub(super) const fn invalid(reason: &'static str) -> Refused {
    Refused { kind: Kind::Invalid, reason }
}

pub(super) const fn forbidden(reason: &'static str) -> Refused {
    Refused { kind: Kind::Forbidden, reason }
}

pub(super) const fn too_complex(bound: Bound) -> Refused {
    Refused { kind: Kind::TooComplex(bound), reason: bound.word() }
}
