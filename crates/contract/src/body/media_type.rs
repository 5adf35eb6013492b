//! Media types (RFC 9110 § 8.3) and media ranges as a document declares them.

use std::fmt;

/// A media type, `type/subtype` with parameters; all but values of parameters in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MediaType {
    text: Box<str>,
    slash: usize,
    end: usize,
    parameters: Vec<(Box<str>, Box<str>)>,
}

/// Why a `Content-Type` is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaTypeError {
    /// Longer than 256 bytes.
    TooLong,
    /// Not the grammar of RFC 9110 § 8.3.1.
    Syntax,
    /// A parameter given twice.
    DuplicateParameter,
}

impl fmt::Display for MediaTypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "a media type of more than 256 bytes",
            Self::Syntax => "not a media type",
            Self::DuplicateParameter => "a parameter of the media type is given twice",
        })
    }
}

impl std::error::Error for MediaTypeError {}

impl MediaType {
    /// Reads the value of a `Content-Type`.
    ///
    /// # Errors
    /// See [`MediaTypeError`]; two readers of an odd media type are two meanings of a body.
    pub fn parse(value: &str) -> Result<Self, MediaTypeError> {
        if value.len() > 256 {
            return Err(MediaTypeError::TooLong);
        }
        let (essence, mut rest) = match value.find(';') {
            Some(at) => value.split_at(at),
            None => (value, ""),
        };
        let essence = essence.trim_matches([' ', '\t']).to_ascii_lowercase();
        let slash = essence.find('/').ok_or(MediaTypeError::Syntax)?;
        let (kind, sub) = (essence.get(..slash).unwrap_or(""), essence.get(slash + 1..).unwrap_or(""));
        if !is_token(kind) || !is_token(sub) {
            return Err(MediaTypeError::Syntax);
        }
        let mut parameters: Vec<(Box<str>, Box<str>)> = Vec::new();
        loop {
            rest = rest.trim_start_matches([' ', '\t']);
            if rest.is_empty() {
                break;
            }
            let (name, value, after) = parameter(rest).ok_or(MediaTypeError::Syntax)?;
            if parameters.iter().any(|(known, _)| **known == *name) {
                return Err(MediaTypeError::DuplicateParameter);
            }
            parameters.push((name.into(), value.into()));
            rest = after;
        }
        let end = essence.len();
        Ok(Self { text: essence.into(), slash, end, parameters })
    }

    /// `type/subtype`.
    pub fn essence(&self) -> &str {
        self.text.get(..self.end).unwrap_or("")
    }

    /// What stands before the slash.
    pub fn kind(&self) -> &str {
        self.text.get(..self.slash).unwrap_or("")
    }

    /// What stands behind it.
    pub fn subtype(&self) -> &str {
        self.text.get(self.slash + 1..self.end).unwrap_or("")
    }

    /// A parameter; names in lower case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| **known == *name).map(|(_, value)| &**value)
    }

    /// Whether its `charset` is absent or UTF-8, the only one that is read.
    pub fn is_utf8(&self) -> bool {
        self.parameter("charset").is_none_or(|charset| charset.eq_ignore_ascii_case("utf-8"))
    }

    /// How a body of this type is read.
    pub fn family(&self) -> Family {
        Family::of(self.kind(), self.subtype())
    }
}

/// How bodies are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// One JSON text.
    Json,
    /// JSON texts by lines (`application/x-ndjson`, `application/jsonl`).
    NdJson,
    /// `application/json-seq`.
    JsonSeq,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `multipart/form-data`.
    Multipart,
    /// Text that is no markup.
    Text,
    /// `text/event-stream`.
    EventStream,
    /// Everything else.
    Opaque,
}

impl Family {
    fn of(kind: &str, subtype: &str) -> Self {
        match (kind, subtype) {
            ("application", "x-ndjson" | "ndjson" | "jsonl" | "x-jsonlines" | "json-lines") => Self::NdJson,
            ("application", "json-seq") => Self::JsonSeq,
            ("application" | "text", "json") => Self::Json,
            (_, sub) if sub.ends_with("+json") => Self::Json,
            ("application", "x-www-form-urlencoded") => Self::Form,
            ("multipart", "form-data") => Self::Multipart,
            ("text", "event-stream") => Self::EventStream,
            ("text", "html" | "xml" | "javascript" | "ecmascript") => Self::Opaque,
            ("text", sub) if !sub.ends_with("+xml") => Self::Text,
            _ => Self::Opaque,
        }
    }
}

/// A media type or range as the document declares it: `application/json`, `image/*`, `*/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaRange {
    /// One type.
    Exact(MediaType),
    /// Every subtype of a type.
    Kind(Box<str>),
    /// Every type.
    Any,
}

impl MediaRange {
    /// Reads a key of a `content` map.
    ///
    /// # Errors
    /// As [`MediaType::parse`].
    pub fn parse(text: &str) -> Result<Self, MediaTypeError> {
        let essence = text.split(';').next().unwrap_or("").trim();
        if essence == "*/*" || essence == "*" {
            return Ok(Self::Any);
        }
        if let Some(kind) = essence.strip_suffix("/*") {
            return if is_token(kind) {
                Ok(Self::Kind(kind.to_ascii_lowercase().into()))
            } else {
                Err(MediaTypeError::Syntax)
            };
        }
        MediaType::parse(text).map(Self::Exact)
    }

    /// How well `media` fits: 3 exactly, 2 by type, 1 by `*/*`. Parameters that the document names must be there;
    /// `charset` is judged apart.
    pub fn fits(&self, media: &MediaType) -> Option<u8> {
        match self {
            Self::Exact(own) => {
                let parameters = own.parameters.iter().all(|(name, value)| {
                    &**name == "charset"
                        || media.parameter(name).is_some_and(|v| v.eq_ignore_ascii_case(value))
                });
                (own.essence() == media.essence() && parameters).then_some(3)
            }
            Self::Kind(kind) => (**kind == *media.kind()).then_some(2),
            Self::Any => Some(1),
        }
    }
}

impl fmt::Display for MediaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(media) => f.write_str(media.essence()),
            Self::Kind(kind) => write!(f, "{kind}/*"),
            Self::Any => f.write_str("*/*"),
        }
    }
}

/// `; name=value` at the start of `rest`: name in lower case, value, and what stands behind.
fn parameter(rest: &str) -> Option<(String, String, &str)> {
    let rest = rest.strip_prefix(';')?.trim_start_matches([' ', '\t']);
    let (name, rest) = rest.split_once('=')?;
    if !is_token(name) {
        return None;
    }
    if let Some(quoted) = rest.strip_prefix('"') {
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        while let Some((i, c)) = chars.next() {
            match c {
                '"' => return Some((name.to_ascii_lowercase(), value, quoted.get(i + 1..)?)),
                '\\' => value.push(chars.next().map(|(_, c)| c).filter(|c| !c.is_control())?),
                c if c.is_control() && c != '\t' => return None,
                c => value.push(c),
            }
        }
        return None;
    }
    let end = rest.find([';', ' ', '\t']).unwrap_or(rest.len());
    let (value, rest) = (rest.get(..end)?, rest.get(end..)?);
    if is_token(value) { Some((name.to_ascii_lowercase(), value.to_owned(), rest)) } else { None }
}

/// RFC 9110 § 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_grammar_and_nothing_else() {
        let media = MediaType::parse("Application/JSON; Charset=\"UTF-8\" ; x=\"a;\\\"b\"").unwrap();
        assert_eq!(
            (media.essence(), media.kind(), media.subtype()),
            ("application/json", "application", "json")
        );
        assert_eq!(media.parameter("x"), Some("a;\"b"));
        assert!(media.is_utf8());
        assert!(!MediaType::parse("application/json;charset=utf-7").unwrap().is_utf8());
        for text in [
            "",
            "json",
            "application/",
            "/json",
            "application/json;",
            "application/json; charset",
            "a/b; c=",
            "application/json, text/html",
            "application/json charset=utf-8",
            "a/b; c=\"d",
            "a b/c",
            "a/b;c =d",
            "application/json\u{0}",
            "a/b; =c",
            "a/b/c",
        ] {
            assert!(MediaType::parse(text).is_err(), "{text}");
        }
        assert_eq!(MediaType::parse("a/b;c=1;C=2"), Err(MediaTypeError::DuplicateParameter));
        assert_eq!(MediaType::parse(&"a".repeat(257)), Err(MediaTypeError::TooLong));
    }

    #[test]
    fn families() {
        for (text, family) in [
            ("application/json", Family::Json),
            ("application/problem+json", Family::Json),
            ("application/vnd.api+json; version=1", Family::Json),
            ("application/x-ndjson", Family::NdJson),
            ("application/x-www-form-urlencoded", Family::Form),
            ("multipart/form-data; boundary=x", Family::Multipart),
            ("text/plain", Family::Text),
            ("text/csv", Family::Text),
            ("text/html", Family::Opaque),
            ("text/xml", Family::Opaque),
            ("application/xml", Family::Opaque),
            ("image/png", Family::Opaque),
            ("text/event-stream", Family::EventStream),
        ] {
            assert_eq!(MediaType::parse(text).unwrap().family(), family, "{text}");
        }
    }

    #[test]
    fn ranges_fit_exact_before_type_before_all() {
        let fits = |range: &str, media: &str| {
            MediaRange::parse(range).unwrap().fits(&MediaType::parse(media).unwrap())
        };
        assert_eq!(fits("application/json; charset=utf-8", "application/json"), Some(3));
        assert_eq!(fits("application/json;version=2", "application/json"), None);
        assert_eq!(fits("application/json;version=2", "application/json; version=2"), Some(3));
        assert_eq!(fits("image/*", "image/png"), Some(2));
        assert_eq!(fits("image/*", "text/png"), None);
        assert_eq!(fits("*/*", "text/png"), Some(1));
        assert!(
            MediaRange::parse("*/json")
                .is_ok_and(|r| r.fits(&MediaType::parse("text/json").unwrap()).is_none())
        );
    }
}
