//! What a request (or response) did that its contract does not allow.

use std::fmt;

use portcullis_core::finding::Span;

/// One violation. `rule` and `at` may be shown to the client; `private` is for the operator, and holds neither a
/// value of the request nor anything secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What is wrong.
    pub rule: Rule,
    /// Where in the request.
    pub at: Place,
    /// Which part of the contract says so.
    pub private: String,
    /// Where in the documents that stands, as far as it is one place.
    pub declared: Option<Span>,
}

/// At most this many violations are reported together.
pub const MOST: usize = 20;

impl Violation {
    /// At a place in a JSON body.
    pub fn pointer(rule: Rule, pointer: String, private: impl Into<String>) -> Self {
        // Names of the client: each is cut and cleaned.
        let pointer = pointer.split('/').map(shown).collect::<Vec<_>>().join("/");
        Self { rule, at: Place::Pointer(pointer), private: private.into(), declared: None }
    }

    /// At a parameter.
    pub fn parameter(rule: Rule, name: &str, within: In, private: impl Into<String>) -> Self {
        let at = Place::Parameter { name: shown(name), within };
        Self { rule, at, private: private.into(), declared: None }
    }

    /// With the place in the documents that says so.
    #[must_use]
    pub fn declared(mut self, at: Span) -> Self {
        self.declared = (at.line > 0).then_some(at);
        self
    }
}

/// Where a violation is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// RFC 6901 pointer into the body; names of the client are cut at 64 characters, their controls replaced.
    Pointer(String),
    /// A parameter, by its name.
    Parameter {
        /// Cut at 64 characters, controls replaced.
        name: String,
        /// Which part of the request.
        within: In,
    },
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum In {
    /// In the path.
    Path,
    /// In the query.
    Query,
    /// A header.
    Header,
    /// A cookie.
    Cookie,
}

impl In {
    /// As `in` has it in OpenAPI.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
            Self::Cookie => "cookie",
        }
    }
}

macro_rules! rules {
    ($($name:ident = $code:literal, $message:literal;)*) => {
        /// The kinds of violation. One stable name and one text each; no text holds a value, a limit, a pattern or a
        /// name from the schema.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Rule { $(#[doc = $message] $name,)* }

        impl Rule {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable name, kebab-case.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What is said to the client.
            pub const fn message(self) -> &'static str {
                match self { $(Self::$name => $message,)* }
            }
        }
    };
}

rules! {
    Type = "type", "is not of the declared type";
    Enum = "enum", "is not one of the declared values";
    Minimum = "minimum", "must not be smaller than allowed";
    Maximum = "maximum", "must not be larger than allowed";
    MultipleOf = "multiple-of", "is not a multiple of the declared step";
    IntegerForm = "integer-form", "must be written as an integer, without point, exponent or leading zero";
    NumberPrecision = "number-precision", "has more digits than can be compared exactly";
    NumberRange = "number-range", "is beyond the declared number format";
    MinLength = "min-length", "is too short";
    MaxLength = "max-length", "is too long";
    Pattern = "pattern", "does not have the declared form";
    Format = "format", "is not in the declared format";
    MinItems = "min-items", "has too few items";
    MaxItems = "max-items", "has too many items";
    UniqueItems = "unique-items", "has an item twice";
    Contains = "contains", "does not contain the declared items";
    UnknownItem = "unknown-item", "is not part of the contract";
    MinProperties = "min-properties", "has too few members";
    MaxProperties = "max-properties", "has too many members";
    Required = "required", "is missing";
    PropertyName = "property-name", "has a name that is not allowed";
    UnknownProperty = "unknown-property", "is not part of the contract";
    NotAllowed = "not-allowed", "is not allowed here";
    AmbiguousName = "ambiguous-name", "differs from a declared name in case or composition only";
    Branch = "branch", "matches none of the declared alternatives";
    SeveralBranches = "several-branches", "matches more than one of the declared alternatives";
    Discriminator = "discriminator", "names no declared alternative";
    Not = "not", "has a form that is not allowed";
    Schema = "schema", "does not match the contract";
    Syntax = "syntax", "is not written in the declared grammar";
    Encoding = "encoding", "is not encoded correctly";
    Characters = "characters", "holds characters that are not allowed";
    Markup = "markup", "holds markup";
    UnknownParameter = "unknown-parameter", "is not part of the contract";
    DuplicateParameter = "duplicate-parameter", "is given more than once";
    TooMany = "too-many", "is one of too many";
    MediaType = "media-type", "is not of a declared media type";
    Empty = "empty", "must not be empty";
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A name of the client as it may be shown: at most 64 characters, controls and bidi controls replaced.
pub fn shown(name: &str) -> String {
    let hidden = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    name.chars().take(64).map(|c| if hidden(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_kebab() {
        let mut codes: Vec<_> = Rule::ALL.iter().map(|rule| rule.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Rule::ALL.len());
        assert!(codes.iter().all(|code| code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')));
    }

    #[test]
    fn names_are_cut_and_cleaned() {
        assert_eq!(shown("a\nb\u{202e}c\u{0}"), "a\u{fffd}b\u{fffd}c\u{fffd}");
        assert_eq!(shown(&"é".repeat(100)).chars().count(), 64);
    }
}
