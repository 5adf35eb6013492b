//! What `portcullis.yaml` says for one API. The document can only tighten it.

use crate::document::Span;

/// What becomes of what the contract does not declare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Unknown {
    /// Refused.
    #[default]
    Reject,
    /// Removed and counted.
    Strip,
    /// Passed on (a loosening).
    Allow,
}

/// What becomes of a `readOnly` property in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum ReadOnly {
    /// Refused.
    #[default]
    Reject,
    /// Removed.
    Strip,
}

/// What is done with a response that does not fit its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Mode {
    /// 502 for any violation.
    Enforce,
    /// What is undeclared is dropped; other violations are counted.
    #[default]
    Filter,
    /// Nothing is changed (a loosening).
    Report,
}

/// Whether callers are told what is wrong with their request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Errors {
    /// Whoever has not proved who they are gets the problem without its list.
    None,
    /// Everybody gets the list of violations.
    #[default]
    List,
}

/// Markup in strings of a request, strictest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum TextRule {
    /// No markup, and only http, https and mailto in URLs.
    Plain,
    /// Source code: no markup rule.
    Code,
    /// No markup rule.
    #[default]
    None,
}

/// What an error in one operation does to the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnError {
    /// The API is refused; the last good plan stays.
    #[default]
    Refuse,
    /// That operation is closed: it answers as if it were not declared.
    CloseOperation,
}

/// What is done with a page size or offset over its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Over {
    /// Refused.
    #[default]
    Reject,
    /// The bound is written into the forwarded value.
    Clamp,
}

/// Bounds of pagination where the schema has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pagination {
    /// Of `limit` and its like.
    pub maximum: i64,
    /// Of `offset` and its like.
    pub offset: i64,
    /// A document's own `maximum` above this is a warning.
    pub ceiling: i64,
    /// Beyond the bound.
    pub over: Over,
}

impl Default for Pagination {
    fn default() -> Self {
        Self { maximum: 100, offset: 1_000_000, ceiling: 10_000, over: Over::Reject }
    }
}

/// Defaults for requests of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestTerms {
    /// Bytes of a body; at most 10 MiB.
    pub max_bytes: u64,
    /// Nesting of a JSON body; at most 128.
    pub max_depth: u32,
    /// Values of a JSON body; at most 1,000,000.
    pub max_values: u32,
    /// Undeclared properties.
    pub unknown: Unknown,
    /// Undeclared query parameters.
    pub unknown_parameters: Unknown,
    /// `readOnly` properties.
    pub read_only: ReadOnly,
    /// Markup in strings.
    pub text: TextRule,
    /// Bidirectional controls pass (loosening `bidi_controls`).
    pub bidi_controls: bool,
    /// Chunked bodies are refused.
    pub require_length: bool,
    /// Bounds of pagination.
    pub pagination: Pagination,
    /// The checked bytes are forwarded as received (loosening `verbatim_body`).
    pub verbatim: bool,
}

impl Default for RequestTerms {
    fn default() -> Self {
        Self {
            max_bytes: 1 << 20,
            max_depth: 32,
            max_values: 50_000,
            unknown: Unknown::Reject,
            unknown_parameters: Unknown::Reject,
            read_only: ReadOnly::Reject,
            text: TextRule::None,
            bidi_controls: false,
            require_length: false,
            pagination: Pagination::default(),
            verbatim: false,
        }
    }
}

/// Defaults for responses of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseTerms {
    /// What is done with violations.
    pub mode: Mode,
    /// Undeclared fields: `Reject` makes one a violation, also where other violations are only counted.
    pub unknown: Unknown,
    /// Who is told what is wrong with a request.
    pub errors: Errors,
    /// Status of `schema-violation`: 400 or 422.
    pub violation_status: u16,
    /// Bytes of a body that is read.
    pub max_bytes: u64,
    /// Responses pass with undeclared fields (loosening `undeclared_fields`).
    pub undeclared_fields: bool,
}

impl Default for ResponseTerms {
    fn default() -> Self {
        Self {
            mode: Mode::Filter,
            unknown: Unknown::Strip,
            errors: Errors::List,
            violation_status: 400,
            max_bytes: 10 << 20,
            undeclared_fields: false,
        }
    }
}

/// A loosening for some operations: by `operationId`; `*` is all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loosened {
    /// Operation ids, or `*`.
    pub operations: Vec<String>,
    /// What it lets through: media types, parameter names; empty where the loosening has no list.
    pub names: Vec<String>,
}

impl Loosened {
    /// Whether it holds for this operation.
    pub fn covers(&self, operation: &str) -> bool {
        self.operations.iter().any(|id| id == "*" || id == operation)
    }

    /// Whether it holds for this operation and name (any case).
    pub fn names(&self, operation: &str, name: &str) -> bool {
        self.covers(operation) && self.names.iter().any(|n| n.eq_ignore_ascii_case(name))
    }
}

/// What `portcullis.yaml` says of files.
#[derive(Clone, Debug)]
pub struct UploadTerms {
    /// Types that a file may have; empty: the document says.
    pub types: Vec<crate::upload::FileType>,
    /// Bytes of a body with files in it.
    pub max_bytes: u64,
    /// Whether there is a scanner.
    pub scanner: bool,
    /// Operations whose PDF files may be active (loosening `active_pdf`).
    pub active_pdf: Vec<Loosened>,
    /// Operations whose CSV files may hold formulas (loosening `csv_formulas`).
    pub csv_formulas: Vec<Loosened>,
}

impl Default for UploadTerms {
    fn default() -> Self {
        Self {
            types: Vec::new(),
            max_bytes: 25 << 20,
            scanner: false,
            active_pdf: Vec::new(),
            csv_formulas: Vec::new(),
        }
    }
}

/// What `portcullis.yaml` says for one API.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// In place of the path of the document's `servers`.
    pub base_path: Option<String>,
    /// Defaults for requests.
    pub request: RequestTerms,
    /// Defaults for responses.
    pub response: ResponseTerms,
    /// What an error in one operation does.
    pub on_error: OnError,
    /// Warnings are errors.
    pub strict: bool,
    /// HEAD answers wherever GET is declared.
    pub head_from_get: bool,
    /// Operations that answer as if they were not declared, by id.
    pub closed: Vec<String>,
    /// Media types that pass unparsed (loosening `opaque`).
    pub opaque: Vec<Loosened>,
    /// Operations whose body may have any shape (loosening `shapeless`).
    pub shapeless: Vec<Loosened>,
    /// Query parameters with the name of a secret (loosening `secret_parameter`).
    pub secret_parameter: Vec<Loosened>,
    /// Header parameters with a reserved name (loosening `reserved_header`).
    pub reserved_header: Vec<Loosened>,
    /// Integers may be written as `1.0` or `1e2` in bodies (loosening `lenient_integers`).
    pub lenient_integers: bool,
    /// Operations whose undeclared query parameters pass (loosening `unknown_parameters`).
    pub unknown_parameters: Vec<Loosened>,
    /// Operations whose undeclared properties pass (loosening `unknown_properties`).
    pub unknown_properties: Vec<Loosened>,
    /// Operations whose checked JSON bodies are forwarded as the bytes that came (loosening `verbatim_body`).
    pub verbatim: Vec<Loosened>,
    /// Files.
    pub uploads: UploadTerms,
    /// Further names that no response shows unless they are declared (`response.never_leak`).
    pub never_leak: Vec<String>,
    /// Policies for URLs that the document may name; none: the built-in ones.
    pub url_policies: Vec<Box<str>>,
    /// Where `portcullis.yaml` says what, by name (`request.max_bytes`); defaults stand nowhere.
    pub places: Vec<(&'static str, Span)>,
}

impl Terms {
    /// Where `portcullis.yaml` says this; no line when it says nothing.
    pub fn place(&self, name: &str) -> Span {
        self.places.iter().find(|(known, _)| *known == name).map(|(_, at)| *at).unwrap_or_default()
    }
}

/// How a value is written in `portcullis.yaml`.
pub(crate) trait Word {
    /// The word.
    fn word(&self) -> String;
}

impl Word for u64 {
    fn word(&self) -> String {
        for (shift, unit) in [(20, "MiB"), (10, "KiB")] {
            if *self > 0 && self.trailing_zeros() >= shift {
                return format!("{}{unit}", self >> shift);
            }
        }
        self.to_string()
    }
}

impl Word for u32 {
    fn word(&self) -> String {
        self.to_string()
    }
}

impl Word for bool {
    fn word(&self) -> String {
        self.to_string()
    }
}

macro_rules! words {
    ($($type:ident),+) => {$(
        impl Word for $type {
            fn word(&self) -> String {
                format!("{self:?}").to_ascii_lowercase()
            }
        }
    )+};
}

words!(Unknown, ReadOnly, Mode, TextRule, Errors);
