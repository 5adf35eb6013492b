//! The strict JSON reader for everything that decides who calls.
//!
//! One pass, one answer. Where parsers in the wild differ (duplicates, lone surrogates, large
//! numbers, trailing bytes) this one refuses, so that no other reader of the same bytes can see
//! something else. Numbers stay text. The tree is flat: one text, one list of nodes.

mod reader;

use std::fmt;

/// Bounds of a document. All of them are counted while reading, before memory is spent.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the document.
    pub bytes: usize,
    /// Nesting of objects and arrays; the top-level object is 1.
    pub depth: usize,
    /// Members of all objects together.
    pub members: usize,
    /// Bytes of one string or name, unescaped.
    pub string: usize,
}

impl Limits {
    /// The header of a JWS.
    pub const HEADER: Self = Self { bytes: 2_048, depth: 8, members: 128, string: 4_096 };
    /// The payload of a JWS.
    pub const PAYLOAD: Self = Self { bytes: 6_144, depth: 8, members: 128, string: 4_096 };
    /// A JWK set: longer, because of certificate chains that nobody here reads.
    pub const KEY_SET: Self = Self { bytes: 256 << 10, depth: 8, members: 4_096, string: 32 << 10 };
    /// The answer of an introspection endpoint or a discovery document.
    pub const ANSWER: Self = Self { bytes: 64 << 10, depth: 8, members: 512, string: 8 << 10 };
}

/// Why a document was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// More bytes than allowed.
    Size,
    /// Not UTF-8.
    Utf8,
    /// Not the grammar of RFC 8259, or bytes after the end, or a byte order mark.
    Syntax,
    /// The top level is not an object.
    NotAnObject,
    /// A name twice in one object, compared after unescaping.
    Duplicate,
    /// Nested too deep.
    Depth,
    /// Too many members.
    Members,
    /// A string longer than allowed.
    String,
    /// An escaped surrogate without its other half.
    Surrogate,
    /// An integer beyond ±2^53, or a decimal that is not finite.
    Number,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Size => "too large",
            Self::Utf8 => "not UTF-8",
            Self::Syntax => "not JSON",
            Self::NotAnObject => "not an object",
            Self::Duplicate => "a name twice in one object",
            Self::Depth => "nested too deep",
            Self::Members => "too many members",
            Self::String => "a string too long",
            Self::Surrogate => "half a surrogate pair",
            Self::Number => "a number out of range",
        })
    }
}

impl std::error::Error for Fault {}

/// A document that was read. No `Debug`: tokens and claims are in it.
#[derive(Clone)]
pub struct Json {
    /// The document, and after it every string that had escapes, unescaped.
    text: Box<str>,
    nodes: Box<[Node]>,
}

#[derive(Clone, Copy)]
struct Span {
    start: u32,
    len: u32,
}

/// In document order; an object is followed by key, value, key, value.
#[derive(Clone, Copy)]
enum Node {
    Null,
    Bool(bool),
    Number(Span),
    String(Span),
    Array { end: u32 },
    Object { end: u32 },
}

impl Json {
    /// Reads a document.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn parse(bytes: Vec<u8>, limits: &Limits) -> Result<Self, Fault> {
        if bytes.len() > limits.bytes.min(u32::MAX as usize / 2) {
            return Err(Fault::Size);
        }
        let mut source = String::from_utf8(bytes).map_err(|_| Fault::Utf8)?;
        let (unescaped, nodes) = reader::read(&source, limits)?;
        source.push_str(&unescaped);
        Ok(Self { text: source.into_boxed_str(), nodes: nodes.into_boxed_slice() })
    }

    /// The top-level object.
    pub const fn root(&self) -> Value<'_> {
        Value { json: self, at: 0 }
    }

    fn node(&self, at: usize) -> Node {
        self.nodes.get(at).copied().unwrap_or(Node::Null)
    }

    fn str(&self, span: Span) -> &str {
        let start = span.start as usize;
        self.text.get(start..start + span.len as usize).unwrap_or_default()
    }

    /// The index behind the value at `at`.
    fn skip(&self, at: usize) -> usize {
        match self.node(at) {
            Node::Array { end } | Node::Object { end } => end as usize,
            _ => at + 1,
        }
    }
}

/// A value inside a document.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    json: &'a Json,
    at: usize,
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// a number
    Number,
    /// a string
    String,
    /// an array
    Array,
    /// an object
    Object,
}

impl<'a> Value<'a> {
    /// Its type.
    pub fn kind(self) -> Kind {
        match self.json.node(self.at) {
            Node::Null => Kind::Null,
            Node::Bool(_) => Kind::Bool,
            Node::Number(_) => Kind::Number,
            Node::String(_) => Kind::String,
            Node::Array { .. } => Kind::Array,
            Node::Object { .. } => Kind::Object,
        }
    }

    /// The text of a string, unescaped.
    pub fn as_str(self) -> Option<&'a str> {
        match self.json.node(self.at) {
            Node::String(span) => Some(self.json.str(span)),
            _ => None,
        }
    }

    /// A boolean.
    pub fn as_bool(self) -> Option<bool> {
        match self.json.node(self.at) {
            Node::Bool(b) => Some(b),
            _ => None,
        }
    }

    /// The text of a number, as written.
    pub fn as_number(self) -> Option<&'a str> {
        match self.json.node(self.at) {
            Node::Number(span) => Some(self.json.str(span)),
            _ => None,
        }
    }

    /// A number written without fraction or exponent, so within ±2^53.
    pub fn as_integer(self) -> Option<i64> {
        self.as_number()?.parse().ok()
    }

    /// A time of JWT: a non-negative integer without fraction or exponent (narrower than RFC 7519).
    pub fn as_time(self) -> Option<i64> {
        self.as_number().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
    }

    /// The member of that name, if this is an object that has it.
    pub fn get(self, name: &str) -> Option<Value<'a>> {
        self.members().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The members of an object in order; nothing for other types.
    pub fn members(self) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        let (mut at, end) = match self.json.node(self.at) {
            Node::Object { end } => (self.at + 1, end as usize),
            _ => (0, 0),
        };
        let json = self.json;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let Node::String(key) = json.node(at) else { return None };
            let value = Value { json, at: at + 1 };
            at = json.skip(at + 1);
            Some((json.str(key), value))
        })
    }

    /// The items of an array in order; nothing for other types.
    pub fn items(self) -> impl Iterator<Item = Value<'a>> {
        let (mut at, end) = match self.json.node(self.at) {
            Node::Array { end } => (self.at + 1, end as usize),
            _ => (0, 0),
        };
        let json = self.json;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let value = Value { json, at };
            at = json.skip(at);
            Some(value)
        })
    }

    /// The value that a pointer leads to.
    pub fn pointer(self, pointer: &Pointer) -> Option<Value<'a>> {
        pointer.0.iter().try_fold(self, |value, name| match value.kind() {
            Kind::Object => value.get(name),
            Kind::Array => {
                // RFC 6901 § 4: digits alone, without leading zeros.
                let digits =
                    name.bytes().all(|b| b.is_ascii_digit()) && (name.len() == 1 || !name.starts_with('0'));
                value.items().nth(digits.then(|| name.parse().ok())??)
            }
            _ => None,
        })
    }
}

/// A compiled JSON pointer (RFC 6901), as `claims: { scope: /scp }` writes them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pointer(Box<[Box<str>]>);

impl Pointer {
    /// From its text: `/a/b`, with `~1` for `/` and `~0` for `~`.
    ///
    /// # Errors
    /// `None` when it does not begin with `/` (the whole document is no claim) or has another `~`.
    pub fn parse(text: &str) -> Option<Self> {
        let names = text.strip_prefix('/')?.split('/').map(|name| {
            let stray = name.split('~').skip(1).any(|after| !after.starts_with(['0', '1']));
            (!stray).then(|| name.replace("~1", "/").replace("~0", "~").into_boxed_str())
        });
        names.collect::<Option<_>>().map(Self)
    }

    /// A pointer to one top-level member.
    pub fn member(name: &str) -> Self {
        Self(Box::new([name.into()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Json, Fault> {
        Json::parse(text.as_bytes().to_vec(), &Limits::PAYLOAD)
    }

    fn fault(text: &str) -> Option<Fault> {
        read(text).err()
    }

    #[test]
    fn reads_what_is_there() {
        let json =
            read(r#" {"a":"x","b":[1,-2.5e3,true,null,{"c":"é\u00e9\n\ud83d\ude00"}],"d":{}} "#).unwrap();
        let root = json.root();
        assert_eq!(root.get("a").unwrap().as_str(), Some("x"));
        let items: Vec<_> = root.get("b").unwrap().items().collect();
        assert_eq!(items.len(), 5);
        assert_eq!((items[0].as_integer(), items[0].as_time()), (Some(1), Some(1)));
        assert_eq!(items[1].as_number(), Some("-2.5e3"));
        assert_eq!((items[1].as_integer(), items[1].as_time()), (None, None));
        assert_eq!(items[2].as_bool(), Some(true));
        assert_eq!(items[3].kind(), Kind::Null);
        assert_eq!(items[4].get("c").unwrap().as_str(), Some("éé\n😀"));
        assert_eq!(root.get("d").unwrap().kind(), Kind::Object);
        assert_eq!(root.members().map(|(k, _)| k).collect::<Vec<_>>(), ["a", "b", "d"]);
        assert!(root.get("e").is_none());
        assert!(root.get("a").unwrap().get("x").is_none());
    }

    #[test]
    fn a_duplicate_at_any_depth_in_any_spelling_is_refused() {
        assert_eq!(fault(r#"{"exp":1,"exp":2}"#), Some(Fault::Duplicate));
        assert_eq!(fault(r#"{"exp":1,"\u0065xp":2}"#), Some(Fault::Duplicate));
        assert_eq!(fault(r#"{"\u0065xp":1,"exp":2}"#), Some(Fault::Duplicate));
        assert_eq!(fault(r#"{"cnf":{"jkt":"a","x":{},"jkt":"b"}}"#), Some(Fault::Duplicate));
        assert_eq!(fault(r#"{"a":[{"b":1,"b":1}]}"#), Some(Fault::Duplicate));
        assert!(read(r#"{"a":{"a":{"a":1}},"b":{"a":1}}"#).is_ok(), "other objects, same name");
    }

    #[test]
    fn what_parsers_disagree_about_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "}",
            "{}x",
            "{}{}",
            "{},",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "{a:1}",
            "{'a':1}",
            "{\"a\":01}",
            "{\"a\":+1}",
            "{\"a\":.5}",
            "{\"a\":1.}",
            "{\"a\":1e}",
            "{\"a\":NaN}",
            "{\"a\":-}",
            "{\"a\":[1,]}",
            "{\"a\":[1 2]}",
            "{\"a\":\"\t\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12\"}",
            "{\"a\":tru}",
            "\u{feff}{}",
            "{\"a\":1}\0",
            "/**/{}",
            "{\"a\":\"\\u00e\"}",
            "{\u{a0}}",
            "{\"a\":\"",
            "{\"a\":\"\\",
            "{\"a\":\"\\u+123\"}",
        ] {
            assert_eq!(fault(text), Some(Fault::Syntax), "{text:?}");
        }
        for text in ["[]", "1", "\"a\"", "null"] {
            assert_eq!(fault(text), Some(Fault::NotAnObject), "{text:?}");
        }
        for text in [
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\udc00\"}",
            "{\"a\":\"\\ud800\\u0041\"}",
            "{\"a\":\"\\ud800x\"}",
        ] {
            assert_eq!(fault(text), Some(Fault::Surrogate), "{text:?}");
        }
        let bytes = |b: &[u8]| Json::parse(b.to_vec(), &Limits::PAYLOAD).err();
        assert_eq!(bytes(b"{\"a\":\"\xff\"}"), Some(Fault::Utf8));
        assert_eq!(bytes(b"{\"a\":\"\xc0\x80\"}"), Some(Fault::Utf8), "overlong");
        assert_eq!(bytes(b"{\"a\":\"\xed\xa0\x80\"}"), Some(Fault::Utf8), "surrogate in UTF-8");
    }

    #[test]
    fn numbers_stay_exact_or_are_refused() {
        assert!(read(r#"{"a":9007199254740992}"#).is_ok());
        assert_eq!(fault(r#"{"a":9007199254740993}"#), Some(Fault::Number));
        assert_eq!(fault(r#"{"a":-9007199254740993}"#), Some(Fault::Number));
        assert_eq!(fault(r#"{"a":1e400}"#), Some(Fault::Number));
        assert!(read(r#"{"a":1e300}"#).is_ok());
        let json = read(r#"{"a":-1,"b":-0,"c":1.0,"d":1e3,"e":0}"#).unwrap();
        let time = |name| json.root().get(name).unwrap().as_time();
        assert_eq!(["a", "b", "c", "d", "e"].map(time), [None, None, None, None, Some(0)]);
    }

    #[test]
    fn bounds() {
        assert_eq!(
            fault(&format!("{{\"a\":{}", "[".repeat(6_000))),
            Some(Fault::Depth),
            "no recursion without end"
        );
        assert!(read(&format!("{{\"a\":{}{}}}", "[".repeat(7), "]".repeat(7))).is_ok());
        assert_eq!(fault(&format!("{{\"a\":{}{}}}", "[".repeat(8), "]".repeat(8))), Some(Fault::Depth));
        let many =
            |n: usize| format!("{{{}}}", (0..n).map(|i| format!("\"m{i}\":0")).collect::<Vec<_>>().join(","));
        assert!(read(&many(128)).is_ok());
        assert_eq!(fault(&many(129)), Some(Fault::Members));
        assert!(read(&format!("{{\"a\":\"{}\"}}", "x".repeat(4_096))).is_ok());
        assert_eq!(fault(&format!("{{\"a\":\"{}\"}}", "x".repeat(4_097))), Some(Fault::String));
        assert_eq!(fault(&format!("{{\"a\":\"\\n{}\"}}", "x".repeat(4_096))), Some(Fault::String));
        assert_eq!(fault(&" ".repeat(6_145)), Some(Fault::Size));
    }

    #[test]
    fn pointers() {
        let json = read(r#"{"a":{"b/c":{"~":["x","y"]}},"":{"":1},"scope":"s"}"#).unwrap();
        let at = |text: &str| json.root().pointer(&Pointer::parse(text).unwrap());
        assert_eq!(at("/a/b~1c/~0/1").unwrap().as_str(), Some("y"));
        assert_eq!(at("/scope").unwrap().as_str(), Some("s"));
        assert_eq!(at("//").unwrap().as_integer(), Some(1));
        for missing in [
            "/a/b~1c/~0/2",
            "/a/b~1c/~0/01",
            "/a/b~1c/~0/-1",
            "/a/b~1c/~0/+1",
            "/scope/0",
            "/x",
            "/a/b~1c/~0/",
        ] {
            assert!(at(missing).is_none(), "{missing}");
        }
        for bad in ["", "scope", "/a~", "/a~2", "#/a"] {
            assert!(Pointer::parse(bad).is_none(), "{bad}");
        }
        assert_eq!(Pointer::member("a/b"), Pointer::parse("/a~1b").unwrap());
    }
}
