//! The tree of a YAML or JSON document: values as written, each with its place.

use std::fmt;

use portcullis_core::finding::Span;

/// One value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it stands. The copy that an alias makes keeps the place of the anchor.
    pub at: Span,
    /// What it is.
    pub value: Value,
}

/// A value of the JSON data model. Objects keep the order of the document; their keys are distinct.
#[derive(Clone, Debug)]
pub enum Value {
    /// `null`, and an empty plain scalar in YAML.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// The digits as written, always in the grammar of a JSON number. What YAML calls a number and JSON cannot
    /// spell (`0x1F`, `007`, `.5`, `.inf`) is a [`Value::String`] with its source text.
    Number(Box<str>),
    /// Text.
    String(Box<str>),
    /// A sequence.
    Array(Vec<Node>),
    /// A mapping.
    Object(Vec<(Key, Node)>),
}

/// A key of an object and where it stands. YAML scalars such as `200:` or `true:` are their source text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub text: Box<str>,
    /// Where it stands.
    pub at: Span,
}

impl Node {
    /// The member `key` of an object.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, node)| node)
    }

    /// The member `key` of an object, with the key as written.
    pub fn entry(&self, key: &str) -> Option<(&Key, &Node)> {
        self.as_object()?.iter().find(|(k, _)| &*k.text == key).map(|(k, node)| (k, node))
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Value::String(text) = &self.value { Some(text) } else { None }
    }

    /// The literal of a number (JSON grammar).
    pub fn as_number(&self) -> Option<&str> {
        if let Value::Number(text) = &self.value { Some(text) } else { None }
    }

    /// A number that is a whole number from 0 to 2^64 − 1, written without fraction or exponent.
    pub fn as_u64(&self) -> Option<u64> {
        self.as_number()?.parse().ok()
    }

    /// A number that is a whole number of 64 bits, written without fraction or exponent.
    pub fn as_i64(&self) -> Option<i64> {
        self.as_number()?.parse().ok()
    }

    /// `true` or `false`.
    pub fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(value) = self.value { Some(value) } else { None }
    }

    /// The members of an object.
    pub fn as_object(&self) -> Option<&[(Key, Node)]> {
        if let Value::Object(members) = &self.value { Some(members) } else { None }
    }

    /// The elements of an array.
    pub fn as_array(&self) -> Option<&[Node]> {
        if let Value::Array(items) = &self.value { Some(items) } else { None }
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The text of a string, number or boolean, as written.
    pub fn scalar_text(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) | Value::Number(text) => Some(text),
            Value::Bool(true) => Some("true"),
            Value::Bool(false) => Some("false"),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// What it is, in words for a message: `a string`.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        }
    }

    /// The value that a JSON pointer (RFC 6901, not percent-encoded) names.
    pub fn pointer(&self, pointer: &str) -> Option<&Node> {
        if pointer.is_empty() {
            return Some(self);
        }
        pointer.strip_prefix('/')?.split('/').try_fold(self, |node, token| node.child(&unescape(token)?))
    }

    /// The member of an object or element of an array that a decoded pointer token names.
    pub fn child(&self, token: &str) -> Option<&Node> {
        match &self.value {
            Value::Object(_) => self.get(token),
            Value::Array(items) => array_index(token).and_then(|i| items.get(i)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        }
    }
}

/// Equality of values; places do not count, nor does the order of keys.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Number(a), Value::Number(b)) | (Value::String(a), Value::String(b)) => a == b,
            (Value::Array(a), Value::Array(b)) => a == b,
            (Value::Object(a), Value::Object(b)) => {
                a.len() == b.len() && a.iter().all(|(key, value)| other.get(&key.text) == Some(value))
            }
            _ => false,
        }
    }
}

impl fmt::Display for Node {
    /// Scalars as written, containers by kind.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scalar_text().unwrap_or_else(|| self.kind()))
    }
}

/// One token of a JSON pointer, unescaped once (RFC 6901 § 4): `~1` is `/`, `~0` is `~`, another `~` is nothing.
pub fn unescape(token: &str) -> Option<String> {
    let mut out = String::with_capacity(token.len());
    let mut rest = token.chars();
    while let Some(c) = rest.next() {
        out.push(match c {
            '~' => match rest.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            c => c,
        });
    }
    Some(out)
}

/// One token of a JSON pointer, escaped.
pub fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

fn array_index(token: &str) -> Option<usize> {
    let digits = token.bytes().all(|b| b.is_ascii_digit());
    if !digits || (token.len() > 1 && token.starts_with('0')) { None } else { token.parse().ok() }
}
