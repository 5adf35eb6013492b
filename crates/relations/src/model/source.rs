//! A model as its author wrote it: names with their places, not yet judged.

/// Where a name stands in a model's text. Zero-based, in characters, as the errors of the model language count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Line.
    pub line: usize,
    /// First column.
    pub start: usize,
    /// Column after the last.
    pub end: usize,
}

/// A name and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub text: String,
    /// Its place; zero for a model that came as JSON.
    pub span: Span,
}

/// A model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// `1.1`; absent in a module.
    pub schema: Option<Name>,
    /// The module's name, in a file of a modular model.
    pub module: Option<Name>,
    /// Types, in the order written.
    pub types: Vec<TypeSource>,
    /// Conditions, in the order written.
    pub conditions: Vec<ConditionSource>,
}

/// A type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeSource {
    /// Its name.
    pub name: Name,
    /// `extend type` of a module.
    pub extends: bool,
    /// Its relations, in the order written.
    pub relations: Vec<RelationSource>,
}

/// A relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationSource {
    /// Its name.
    pub name: Name,
    /// Who holds it.
    pub rewrite: Rewrite,
    /// Subjects that may be assigned directly, where `rewrite` holds [`Rewrite::This`].
    pub restrictions: Vec<Restriction>,
}

/// Who holds a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// Those that are assigned directly: `[user]`.
    This,
    /// Those that hold another relation to the same object: `editor`.
    Computed(Name),
    /// Those that hold `relation` to an object that is related by `tupleset`: `viewer from parent`.
    From {
        /// The relation that is asked of the other object.
        relation: Name,
        /// The relation that leads there.
        tupleset: Name,
        /// The whole phrase.
        span: Span,
    },
    /// `a or b`.
    Union(Vec<Rewrite>),
    /// `a and b`.
    Intersection(Vec<Rewrite>),
    /// `a but not b`.
    Difference(Box<Rewrite>, Box<Rewrite>),
}

/// One entry of `[…]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restriction {
    /// The subject's type.
    pub type_name: Name,
    /// Which subjects of it.
    pub kind: RestrictionKind,
    /// The condition that a tuple must carry.
    pub condition: Option<Name>,
    /// The whole entry, without its condition.
    pub span: Span,
}

/// Which subjects of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestrictionKind {
    /// `user`.
    Object,
    /// `user:*`.
    Wildcard,
    /// `group#member`.
    Userset(Name),
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionSource {
    /// Its name.
    pub name: Name,
    /// The name inside the definition, where JSON says one that differs.
    pub nested_name: Option<String>,
    /// Its parameters, in the order written.
    pub parameters: Vec<(Name, ParameterType)>,
    /// The expression, as text.
    pub expression: String,
}

/// The type of a parameter of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParameterType {
    /// Truth.
    Bool,
    /// Text.
    String,
    /// 64 bits, signed.
    Int,
    /// 64 bits, unsigned.
    Uint,
    /// A finite double.
    Double,
    /// `1h30m`.
    Duration,
    /// RFC 3339.
    Timestamp,
    /// An IPv4 or IPv6 address.
    IpAddress,
    /// Whatever JSON can say.
    Any,
    /// An object whose values are of this type.
    Map(Box<ParameterType>),
    /// An array whose elements are of this type.
    List(Box<ParameterType>),
}

impl ParameterType {
    /// The type that the model language calls `name`, without its parameter.
    #[must_use]
    pub fn simple(name: &str) -> Option<Self> {
        Some(match name {
            "bool" => Self::Bool,
            "string" => Self::String,
            "int" => Self::Int,
            "uint" => Self::Uint,
            "double" => Self::Double,
            "duration" => Self::Duration,
            "timestamp" => Self::Timestamp,
            "ipaddress" => Self::IpAddress,
            "any" => Self::Any,
            _ => return None,
        })
    }

    /// The name in the model language, without its parameter.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::String => "string",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::Duration => "duration",
            Self::Timestamp => "timestamp",
            Self::IpAddress => "ipaddress",
            Self::Any => "any",
            Self::Map(_) => "map",
            Self::List(_) => "list",
        }
    }

    /// The parameter of a container.
    #[must_use]
    pub fn of(&self) -> Option<&Self> {
        match self {
            Self::Map(of) | Self::List(of) => Some(of),
            _ => None,
        }
    }
}

/// What is wrong with a model, by `OpenFGA`'s names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The text does not follow the grammar.
    Syntax,
    /// A relation that is named does not exist.
    MissingDefinition,
    /// Nobody can ever hold the relation.
    RelationNoEntryPoint,
    /// A relation that the named type does not have.
    InvalidRelationType,
    /// A type that does not exist.
    InvalidType,
    /// No type behind `from` has the relation.
    InvalidRelationOnTupleset,
    /// The relation behind `from` is not purely direct, or allows wildcards or usersets.
    TuplesetNotDirect,
    /// Said twice.
    Duplicated,
    /// A type named `self` or `this`.
    ReservedType,
    /// A relation named `self` or `this`.
    ReservedRelation,
    /// A name outside the naming rule.
    InvalidName,
    /// A condition that does not exist.
    ConditionNotDefined,
    /// A condition that no restriction names.
    ConditionNotUsed,
    /// No schema version.
    SchemaVersionRequired,
    /// A schema version that is not known.
    InvalidSchema,
    /// JSON: the name of a condition and the name inside it differ.
    DifferentNestedConditionName,
    /// JSON: one file named by several modules.
    MultipleModulesInFile,
    /// A direct assignment without types.
    AssignableWithoutTypes,
    /// A condition whose expression does not compile, or is not of type bool.
    InvalidCondition,
    /// More types, conditions or bytes than are taken.
    TooLarge,
}

impl Kind {
    /// `OpenFGA`'s name of the error.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::MissingDefinition => "missing-definition",
            Self::RelationNoEntryPoint => "relation-no-entry-point",
            Self::InvalidRelationType => "invalid-relation-type",
            Self::InvalidType => "invalid-type",
            Self::InvalidRelationOnTupleset => "invalid-relation-on-tupleset",
            Self::TuplesetNotDirect => "tupleuserset-not-direct",
            Self::Duplicated => "duplicated-error",
            Self::ReservedType => "reserved-type-keywords",
            Self::ReservedRelation => "reserved-relation-keywords",
            Self::InvalidName => "invalid-name",
            Self::ConditionNotDefined => "condition-not-defined",
            Self::ConditionNotUsed => "condition-not-used",
            Self::SchemaVersionRequired => "schema-version-required",
            Self::InvalidSchema => "invalid-schema",
            Self::DifferentNestedConditionName => "different-nested-condition-name",
            Self::MultipleModulesInFile => "multiple-modules-in-file",
            Self::AssignableWithoutTypes => "assignable-relation-must-have-type",
            Self::InvalidCondition => "invalid-condition",
            Self::TooLarge => "too-large",
        }
    }
}

/// One thing that is wrong with a model, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// What.
    pub kind: Kind,
    /// Where.
    pub span: Span,
    /// For the author: names from the model, nothing else.
    pub message: String,
}

impl Flaw {
    pub(crate) fn new(kind: Kind, span: Span, message: impl Into<String>) -> Self {
        Self { kind, span, message: message.into() }
    }
}
