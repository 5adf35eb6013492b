//! What a schema lets a parameter be: which types, an array, an object. The schema itself is checked elsewhere.

use crate::document::{Bundle, Node};
use crate::param::ScalarKind;
use crate::param::check::Fast;
use crate::param::grammar::Types;
use crate::param::style::{Members, Shape};

/// Schemas looked at below one another; a cycle of references ends here.
const DEPTH: usize = 16;

/// The shape of a schema. A schema that says nothing about types may be any scalar.
pub(crate) fn shape(bundle: &Bundle, schema: &Node) -> Shape {
    let mut shape = read(bundle, schema, 0).unwrap_or_default();
    if shape.scalar.is_empty() && shape.array.is_none() && shape.object.is_none() && !shape.nested {
        shape.scalar = Types::ALL;
    }
    shape
}

/// The schema behind references, as long as there is nothing else to read beside them.
pub(crate) fn target<'b>(bundle: &'b Bundle, schema: &'b Node) -> &'b Node {
    bundle.follow(schema).unwrap_or(schema)
}

/// `None` when the schema says nothing.
fn read(bundle: &Bundle, schema: &Node, depth: usize) -> Option<Shape> {
    if depth > DEPTH {
        return None;
    }
    let schema = target(bundle, schema);
    let mut shape = Shape::default();
    let mut known = false;
    match schema.get("type") {
        Some(kind) if kind.as_str().is_some() => {
            known = true;
            add(bundle, schema, kind.as_str().unwrap_or(""), depth, &mut shape);
        }
        Some(kinds) => {
            for kind in kinds.as_array().unwrap_or_default().iter().filter_map(Node::as_str) {
                known = true;
                add(bundle, schema, kind, depth, &mut shape);
            }
        }
        None => {
            if ["properties", "additionalProperties", "patternProperties", "required"]
                .iter()
                .any(|k| schema.get(k).is_some())
            {
                known = true;
                add(bundle, schema, "object", depth, &mut shape);
            } else if ["items", "prefixItems"].iter().any(|k| schema.get(k).is_some()) {
                known = true;
                add(bundle, schema, "array", depth, &mut shape);
            }
        }
    }
    // A composition widens what `type` does not say, and completes the members of an object.
    for keyword in ["allOf", "anyOf", "oneOf"] {
        let mut all: Option<Shape> = None;
        for branch in schema.get(keyword).and_then(Node::as_array).unwrap_or_default() {
            let Some(branch) = read(bundle, branch, depth + 1) else { continue };
            all = Some(match all {
                None => branch,
                Some(shape) if keyword == "allOf" => narrow(shape, branch),
                Some(shape) => widen(shape, branch),
            });
        }
        if let Some(all) = all {
            shape = if !known {
                all
            } else {
                let mut members = shape.clone();
                members.object = match (members.object, all.object) {
                    (Some(a), Some(b)) => Some(join(a, b)),
                    (a, _) => a,
                };
                members
            };
            known = true;
        }
    }
    if !known {
        let values =
            schema.get("enum").and_then(Node::as_array).unwrap_or_default().iter().chain(schema.get("const"));
        for value in values {
            known = true;
            shape.scalar = shape.scalar.or(match &value.value {
                crate::document::Value::Bool(_) => Types::of(ScalarKind::Boolean),
                crate::document::Value::Number(text) if text.contains(['.', 'e', 'E']) => {
                    Types::of(ScalarKind::Number)
                }
                crate::document::Value::Number(_) => Types::of(ScalarKind::Integer),
                crate::document::Value::String(_) => Types::of(ScalarKind::String),
                _ => Types::NONE,
            });
        }
    }
    known.then_some(shape)
}

fn add(bundle: &Bundle, schema: &Node, kind: &str, depth: usize, shape: &mut Shape) {
    let scalars = |node: Option<&Node>, shape: &mut Shape| -> Types {
        let Some(inner) = node.and_then(|node| read(bundle, node, depth + 1)) else { return Types::ALL };
        shape.nested |= inner.nested || inner.array.is_some() || inner.object.is_some();
        inner.scalar
    };
    match kind {
        "string" => shape.scalar = shape.scalar.or(Types::of(ScalarKind::String)),
        "integer" => shape.scalar = shape.scalar.or(Types::of(ScalarKind::Integer)),
        "number" => shape.scalar = shape.scalar.or(Types::of(ScalarKind::Number)),
        "boolean" => shape.scalar = shape.scalar.or(Types::of(ScalarKind::Boolean)),
        "array" => {
            let types = scalars(schema.get("items"), shape);
            shape.array = Some(types);
        }
        "object" => {
            let mut members = Members::default();
            for (key, property) in schema.get("properties").and_then(Node::as_object).unwrap_or_default() {
                let types = scalars(Some(property), shape);
                members.properties.push((key.text.clone(), types));
            }
            members.others = match schema.get("additionalProperties") {
                Some(node) if node.as_bool() == Some(false) => None,
                Some(node) if node.as_bool() == Some(true) => Some(Types::ALL),
                Some(node) => Some(scalars(Some(node), shape)),
                None if schema.get("patternProperties").is_some() => Some(Types::ALL),
                // Nothing declared at all: a map of anything.
                None if members.properties.is_empty() && depth == 0 => Some(Types::ALL),
                None => None,
            };
            shape.object = Some(members);
        }
        _ => {}
    }
}

fn widen(a: Shape, b: Shape) -> Shape {
    Shape {
        scalar: a.scalar.or(b.scalar),
        array: match (a.array, b.array) {
            (Some(a), Some(b)) => Some(a.or(b)),
            (a, b) => a.or(b),
        },
        object: match (a.object, b.object) {
            (Some(a), Some(b)) => Some(join(a, b)),
            (a, b) => a.or(b),
        },
        nested: a.nested || b.nested,
    }
}

fn narrow(a: Shape, b: Shape) -> Shape {
    let numbers = Types::of(ScalarKind::Integer);
    let both = a.scalar.and(b.scalar);
    // An integer is a number.
    let mixed = (a.scalar.has(ScalarKind::Integer) && b.scalar.has(ScalarKind::Number))
        || (b.scalar.has(ScalarKind::Integer) && a.scalar.has(ScalarKind::Number));
    Shape {
        scalar: if mixed { both.or(numbers) } else { both },
        array: a.array.zip(b.array).map(|(a, b)| a.and(b)),
        object: a.object.zip(b.object).map(|(a, b)| join(a, b)),
        nested: a.nested || b.nested,
    }
}

fn join(mut a: Members, b: Members) -> Members {
    for (name, types) in b.properties {
        match a.properties.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = known.or(types),
            None => a.properties.push((name, types)),
        }
    }
    a.others = match (a.others, b.others) {
        (Some(a), Some(b)) => Some(a.or(b)),
        (a, b) => a.or(b),
    };
    a
}

/// Keys beside which a native check is complete.
const SIMPLE: [&str; 15] = [
    "type",
    "format",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "enum",
    "title",
    "description",
    "example",
    "examples",
    "default",
    "deprecated",
    "externalDocs",
    "$comment",
];

/// The native check of a schema that is one scalar with bounds, and `guard` where it has no bound of its own.
pub(crate) fn fast(bundle: &Bundle, schema: &Node, guard: Option<i64>) -> Option<Fast> {
    // In 3.1 siblings of a reference count, so only a bare one is followed.
    if schema.get("$ref").is_some() && schema.as_object().is_none_or(|members| members.len() != 1) {
        return None;
    }
    let schema = target(bundle, schema);
    let members = schema.as_object()?;
    if !members.iter().all(|(key, _)| {
        SIMPLE.contains(&&*key.text) || (key.text.starts_with("x-") && &*key.text != "x-portcullis")
    }) {
        return None;
    }
    let whole = |key: &str| match schema.get(key) {
        None => Some(None),
        Some(node) => node.as_i64().map(Some),
    };
    let format = schema.get("format").and_then(Node::as_str);
    let (minimum, maximum) = (whole("minimum")?, whole("maximum")?);
    let (least, most) = (whole("minLength")?, whole("maxLength")?);
    let among = schema.get("enum");
    match schema.get("type")?.as_str()? {
        "integer" if least.is_none() && most.is_none() && among.is_none() => {
            let (mut min, mut max) = match format {
                Some("int32") => (i64::from(i32::MIN), i64::from(i32::MAX)),
                Some("int64") => (i64::MIN, i64::MAX),
                // Without a format an integer may be larger than 64 bits, so both bounds must be there.
                None if (minimum.is_some() && maximum.is_some()) || guard.is_some() => (i64::MIN, i64::MAX),
                _ => return None,
            };
            min = min.max(minimum.unwrap_or(min));
            max = max.min(maximum.unwrap_or(max));
            if let Some(guard) = guard {
                max = max.min(guard);
                min = min.max(if minimum.is_some() { min } else { 0 });
            }
            Some(Fast::Integer { min, max })
        }
        "boolean" if members.len() == 1 || (among.is_none() && format.is_none()) => {
            (minimum.is_none() && maximum.is_none() && least.is_none() && most.is_none())
                .then_some(Fast::Boolean)
        }
        "string" if minimum.is_none() && maximum.is_none() => match format {
            Some("uuid") if least.is_none() && most.is_none() && among.is_none() => Some(Fast::Uuid),
            None | Some("password") => {
                let among = match among {
                    None => None,
                    Some(list) => {
                        let list = list.as_array()?.iter().map(|v| v.as_str().map(Box::from));
                        Some(list.collect::<Option<Vec<Box<str>>>>()?)
                    }
                };
                let count = |n: Option<i64>, other: usize| match n {
                    None => Some(other),
                    Some(n) => usize::try_from(n).ok(),
                };
                Some(Fast::Text { min: count(least, 0)?, max: count(most, usize::MAX)?, among })
            }
            _ => None,
        },
        _ => None,
    }
}

/// Whether a value of the schema may have something at a pointer: every token is a declared property, or `*` for
/// the items of an array.
pub(crate) fn declares(bundle: &Bundle, schema: &Node, tokens: &[&str], depth: usize) -> bool {
    if depth > DEPTH {
        return false;
    }
    let Some((first, rest)) = tokens.split_first() else { return true };
    let schema = target(bundle, schema);
    let name = crate::document::node::unescape(first);
    let next = match first {
        &"*" => schema.get("items"),
        _ => schema.get("properties").zip(name).and_then(|(properties, name)| properties.get(&name)),
    };
    next.is_some_and(|next| declares(bundle, next, rest, depth + 1))
        || ["allOf", "anyOf", "oneOf"].iter().any(|keyword| {
            let branches = schema.get(keyword).and_then(Node::as_array).unwrap_or_default();
            branches.iter().any(|branch| declares(bundle, branch, tokens, depth + 1))
        })
}

/// Whether the schema itself says where integers end.
pub(crate) fn has_maximum(bundle: &Bundle, schema: &Node) -> bool {
    says(bundle, schema, &["maximum", "exclusiveMaximum", "enum", "const"])
}

/// Whether the schema itself says where integers begin.
pub(crate) fn has_minimum(bundle: &Bundle, schema: &Node) -> bool {
    says(bundle, schema, &["minimum", "exclusiveMinimum", "enum", "const"])
}

fn says(bundle: &Bundle, schema: &Node, keys: &[&str]) -> bool {
    let schema = target(bundle, schema);
    let own = |schema: &Node| keys.iter().any(|key| schema.get(key).is_some());
    own(schema)
        || ["allOf", "anyOf", "oneOf"].iter().any(|key| {
            let branches = schema.get(key).and_then(Node::as_array).unwrap_or_default();
            branches.iter().any(|branch| own(target(bundle, branch)))
        })
}

/// Whether the schema names the empty text.
pub(crate) fn names_empty(bundle: &Bundle, schema: &Node) -> bool {
    let schema = target(bundle, schema);
    let empty = |node: &Node| node.as_str() == Some("");
    schema.get("minLength").and_then(Node::as_u64) == Some(0)
        || schema.get("const").is_some_and(empty)
        || schema.get("enum").and_then(Node::as_array).unwrap_or_default().iter().any(empty)
}

/// Whether the value, or each item, has the format.
pub(crate) fn has_format(bundle: &Bundle, schema: &Node, format: &str) -> bool {
    let schema = target(bundle, schema);
    let is = |node: &Node| node.get("format").and_then(Node::as_str) == Some(format);
    is(schema) || schema.get("items").is_some_and(|items| is(target(bundle, items)))
}
