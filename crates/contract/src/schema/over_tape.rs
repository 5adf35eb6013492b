//! The tape as the crate `jsonschema` reads JSON: for its formats, and in tests as the oracle of our own evaluator.

use std::borrow::Cow;

use jsonschema::JsonType;
use jsonschema::json::{Array, Json, JsonNumber, Node as JsonNode, NodeIdentity, Object};
use serde_json::Value;

use super::decimal::Decimal;
use crate::json::{Builder, Items, Kind, Members, Node, Tape};

impl Json for Tape {
    type Node<'a> = Node<'a>;
    type PreparedKey = Box<str>;
    type StringBuffer = Option<Tape>;
    // No entry of a tape lies below itself.
    const ACYCLIC: bool = true;
    const KEYS_PER_LOOKUP: usize = 8;

    fn prepare_key(key: &str) -> Box<str> {
        key.into()
    }

    fn with_string_node<T>(
        buffer: &mut Option<Tape>,
        string: &str,
        f: impl FnOnce(Self::Node<'_>) -> T,
    ) -> T {
        f(buffer.insert(Builder::one_string(string)).root())
    }
}

impl<'a> JsonNode<'a, Tape> for Node<'a> {
    type Object = Container<'a>;
    type Array = Container<'a>;
    type Number = Literal<'a>;

    fn as_object(&self) -> Option<Container<'a>> {
        (self.kind() == Kind::Object).then_some(Container(*self))
    }

    fn as_array(&self) -> Option<Container<'a>> {
        (self.kind() == Kind::Array).then_some(Container(*self))
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        self.as_str().map(Cow::Borrowed)
    }

    fn as_number(&self) -> Option<Literal<'a>> {
        self.number_text().map(Literal)
    }

    fn as_boolean(&self) -> Option<bool> {
        self.as_bool()
    }

    fn is_null(&self) -> bool {
        self.kind() == Kind::Null
    }

    fn json_type(&self) -> JsonType {
        match self.kind() {
            Kind::Null => JsonType::Null,
            Kind::Bool => JsonType::Boolean,
            Kind::Number => JsonType::Number,
            Kind::String => JsonType::String,
            Kind::Array => JsonType::Array,
            Kind::Object => JsonType::Object,
        }
    }

    fn to_value(&self) -> Cow<'a, Value> {
        Cow::Owned(value(*self))
    }

    /// The tape and the index: distinct for every node, and the same for two handles on one.
    fn identity(&self) -> Option<NodeIdentity> {
        Some(NodeIdentity::tagged(std::ptr::from_ref(self.tape()).addr(), self.index()))
    }
}

/// An array or object.
pub struct Container<'a>(Node<'a>);

impl<'a> Object<'a, Tape> for Container<'a> {
    type Node = Node<'a>;
    type MemberName = &'a str;
    type MembersIter = Members<'a>;

    fn len(&self) -> usize {
        self.0.len() as usize
    }

    fn get(&self, key: &Box<str>) -> Option<Node<'a>> {
        self.0.get(key)
    }

    fn members(&self) -> Members<'a> {
        self.0.members()
    }
}

impl<'a> Array<'a, Tape> for Container<'a> {
    type Node = Node<'a>;
    type ElementsIter = Items<'a>;

    fn len(&self) -> usize {
        self.0.len() as usize
    }

    fn elements(&self) -> Items<'a> {
        self.0.items()
    }
}

/// A number by its text.
pub struct Literal<'a>(&'a str);

impl JsonNumber for Literal<'_> {
    fn as_u64(&self) -> Option<u64> {
        self.0.parse().ok()
    }

    fn as_i64(&self) -> Option<i64> {
        self.0.parse().ok()
    }

    fn as_f64(&self) -> Option<f64> {
        self.0.parse().ok()
    }

    fn as_str(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.0)
    }

    fn to_number(&self) -> Cow<'_, serde_json::Number> {
        Cow::Owned(number(self.0))
    }

    fn is_integer(&self) -> bool {
        Decimal::parse(self.0).is_whole()
    }
}

/// As `serde_json` would hold it; recursion is bounded by the tape's depth.
fn value(node: Node<'_>) -> Value {
    match node.kind() {
        Kind::Null => Value::Null,
        Kind::Bool => Value::Bool(node.as_bool().unwrap_or_default()),
        Kind::Number => Value::Number(number(node.number_text().unwrap_or("0"))),
        Kind::String => Value::String(node.as_str().unwrap_or_default().to_owned()),
        Kind::Array => Value::Array(node.items().map(value).collect()),
        Kind::Object => Value::Object(node.members().map(|(name, v)| (name.to_owned(), value(v))).collect()),
    }
}

fn number(literal: &str) -> serde_json::Number {
    // Beyond f64 the nearest finite value stands in; only the oracle looks at it.
    literal.parse().unwrap_or_else(|_| {
        let largest = if literal.starts_with('-') { f64::MIN } else { f64::MAX };
        serde_json::Number::from_f64(largest).unwrap_or_else(|| 0.into())
    })
}
