//! Values that a schema allows, made from it or taken from the examples beside it. Knows nothing of the compiler: what it
//! makes is what a reader of the document would send.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_contract::document::{Bundle, Document, Node, Value as Written, Version};
use regex_syntax::hir::{Hir, HirKind};
use serde_json::{Map, Value, json};

/// Makes values for one document.
pub(crate) struct Maker<'d> {
    bundle: &'d Bundle,
    version: Version,
}

/// What the parts of a schema say together, with the first of each choice.
#[derive(Default)]
pub(crate) struct Flat<'d> {
    pub(crate) types: Vec<&'d str>,
    pub(crate) properties: BTreeMap<&'d str, Vec<&'d Node>>,
    pub(crate) required: BTreeSet<&'d str>,
    /// Something is said about members that are not declared.
    pub(crate) open: bool,
    /// Parts of it contradict one another.
    impossible: bool,
    /// A choice, a condition or a negation is part of it.
    pub(crate) composed: bool,
    /// Values of discriminators.
    fixed: BTreeMap<&'d str, String>,
    items: Option<&'d Node>,
    others: Option<&'d Node>,
    values: Option<Vec<&'d Node>>,
    texts: BTreeMap<&'static str, &'d str>,
    numbers: BTreeMap<&'static str, f64>,
    unique: bool,
    example: Option<&'d Node>,
}

const DEPTH: usize = 9;

impl<'d> Maker<'d> {
    pub(crate) fn new(document: &'d Document) -> Self {
        Self { bundle: document.bundle(), version: document.version() }
    }

    pub(crate) fn follow(&self, node: &'d Node) -> &'d Node {
        self.bundle.follow(node).unwrap_or(node)
    }

    /// Path item and operation.
    pub(crate) fn operation(&self, template: &str, method: &str) -> Option<(&'d Node, &'d Node)> {
        let item = self.follow(self.bundle.root()?.get("paths")?.get(template)?);
        Some((item, item.get(&method.to_ascii_lowercase())?))
    }

    pub(crate) fn flat(&self, schema: &'d Node) -> Flat<'d> {
        let mut flat = Flat::default();
        self.gather(schema, 0, &mut flat);
        flat
    }

    fn gather(&self, schema: &'d Node, depth: usize, flat: &mut Flat<'d>) {
        if depth > 24 {
            return;
        }
        if let Some(reference) = schema.get("$ref") {
            let target = self.follow(schema);
            if let Some(name) = reference.as_str().and_then(|text| text.rsplit('/').next())
                && let Some(property) = property_of(target)
                && target.get("oneOf").is_none()
                && target.get("anyOf").is_none()
            {
                flat.fixed.entry(property).or_insert_with(|| name.to_owned());
            }
            self.gather(target, depth + 1, flat);
            if self.version == Version::V30 {
                return;
            }
        }
        for (key, value) in schema.as_object().unwrap_or_default() {
            match &*key.text {
                "type" => match value.as_array() {
                    Some(list) => flat.types.extend(list.iter().filter_map(Node::as_str)),
                    None => flat.types.extend(value.as_str()),
                },
                "properties" => {
                    for (name, property) in value.as_object().unwrap_or_default() {
                        flat.properties.entry(&name.text).or_default().push(property);
                        if property.get("required").and_then(Node::as_bool) == Some(true) {
                            flat.required.insert(&name.text);
                        }
                    }
                }
                "required" => {
                    flat.required
                        .extend(value.as_array().unwrap_or_default().iter().filter_map(Node::as_str));
                }
                "additionalProperties" => {
                    flat.open |= value.as_bool() != Some(false);
                    flat.others = Some(value).filter(|v| v.as_object().is_some());
                }
                "patternProperties" | "unevaluatedProperties" => flat.open = true,
                "items" => flat.items = Some(value),
                "enum" => flat.values = Some(value.as_array().unwrap_or_default().iter().collect()),
                "const" if self.version == Version::V31 => flat.values = Some(vec![value]),
                "not" | "if" | "dependentSchemas" | "propertyNames" | "contains" | "prefixItems" => {
                    flat.composed = true;
                }
                "allOf" => {
                    let branches = value.as_array().unwrap_or_default();
                    for branch in branches {
                        // Each branch that is closed by itself refuses what the others declare.
                        let closed = self.follow(branch).get("additionalProperties").and_then(Node::as_bool);
                        flat.impossible |= closed == Some(false) && branches.len() > 1;
                        self.gather(branch, depth + 1, flat);
                    }
                }
                "oneOf" | "anyOf" => {
                    flat.composed = true;
                    if let Some(first) = value.as_array().and_then(<[Node]>::first) {
                        self.gather(first, depth + 1, flat);
                        self.choose(schema, first, flat);
                    }
                }
                "uniqueItems" => flat.unique = value.as_bool() == Some(true),
                "example" => flat.example = Some(value),
                "pattern" | "format" => {
                    let known = if &*key.text == "pattern" { "pattern" } else { "format" };
                    if let Some(text) = value.as_str()
                        && flat.texts.insert(known, text).is_some_and(|other| other != text)
                    {
                        flat.composed = true;
                    }
                }
                name => {
                    const NUMBERS: [&str; 11] = [
                        "minimum",
                        "maximum",
                        "exclusiveMinimum",
                        "exclusiveMaximum",
                        "multipleOf",
                        "minLength",
                        "maxLength",
                        "minItems",
                        "maxItems",
                        "minProperties",
                        "maxProperties",
                    ];
                    if let Some(known) = NUMBERS.iter().find(|known| **known == name) {
                        if let Some(number) = value.as_number().and_then(|text| text.parse::<f64>().ok()) {
                            flat.numbers.insert(known, number);
                        } else if value.as_bool() == Some(true) {
                            let bound = if *known == "exclusiveMinimum" { "minimum" } else { "maximum" };
                            let bound = schema.get(bound).and_then(Node::as_number);
                            if let Some(number) = bound.and_then(|text| text.parse::<f64>().ok()) {
                                flat.numbers.insert(known, number);
                            }
                        }
                    }
                }
            }
        }
    }

    /// The discriminator's value for a branch.
    fn choose(&self, schema: &'d Node, branch: &'d Node, flat: &mut Flat<'d>) {
        let Some(property) = property_of(schema) else { return };
        let Some(reference) = branch.get("$ref").and_then(Node::as_str) else { return };
        let own = reference.rsplit('/').next().unwrap_or(reference);
        let mapping = schema.get("discriminator").and_then(|d| d.get("mapping")).and_then(Node::as_object);
        let mapped = mapping
            .unwrap_or_default()
            .iter()
            .find(|(_, to)| to.as_str().is_some_and(|to| to == reference || to == own));
        flat.fixed.insert(property, mapped.map_or(own.to_owned(), |(key, _)| key.text.to_string()));
    }

    /// A value for a request; `None` when none could be made.
    pub(crate) fn value(&self, schema: &'d Node, examples: bool) -> Option<Value> {
        self.make(schema, examples, 0)
    }

    fn make(&self, schema: &'d Node, examples: bool, depth: usize) -> Option<Value> {
        if depth > DEPTH {
            return None;
        }
        if schema.as_bool() == Some(true) {
            return Some(json!("x"));
        }
        let flat = self.flat(schema);
        self.made(&flat, examples, depth)
    }

    pub(crate) fn made(&self, flat: &Flat<'d>, examples: bool, depth: usize) -> Option<Value> {
        if examples && let Some(example) = flat.example {
            return Some(plain(example));
        }
        if flat.impossible {
            return None;
        }
        if let Some(values) = &flat.values {
            // Lists of texts beside `type: array`.
            if flat.types.iter().all(|kind| matches!(*kind, "array" | "object" | "null"))
                && !flat.types.is_empty()
            {
                return None;
            }
            let text = flat.types == ["string"];
            let first = values.iter().find(|value| !value.is_null() && value.as_str() != Some(""))?;
            return Some(match first.scalar_text() {
                Some(scalar) if text => json!(scalar),
                _ => plain(first),
            });
        }
        let kind = flat.types.iter().find(|kind| **kind != "null").copied().unwrap_or_else(|| {
            match (flat.properties.is_empty() && flat.others.is_none(), flat.items) {
                (false, _) => "object",
                (true, Some(_)) => "array",
                _ if flat.texts.is_empty() && !flat.numbers.is_empty() => "integer",
                _ => "string",
            }
        });
        match kind {
            "object" => self.object(flat, examples, depth),
            "array" => self.array(flat, examples, depth),
            "boolean" => Some(json!(true)),
            "integer" | "number" => number(flat),
            _ => text(flat).map(Value::String),
        }
    }

    fn object(&self, flat: &Flat<'d>, examples: bool, depth: usize) -> Option<Value> {
        let mut map = Map::new();
        let most = flat.numbers.get("maxProperties").map_or(usize::MAX, |n| *n as usize);
        let least = flat.numbers.get("minProperties").map_or(0, |n| *n as usize);
        let mut optional = 0;
        for (name, schemas) in &flat.properties {
            if schemas.iter().any(|schema| self.servers_own(schema)) {
                continue;
            }
            if let Some(fixed) = flat.fixed.get(name) {
                // A base whose heirs have other names than the values that it lists: nothing here can be both.
                let mut listed = Flat::default();
                schemas.iter().for_each(|schema| self.gather(schema, 0, &mut listed));
                let values = listed.values.as_deref();
                if values
                    .is_some_and(|values| values.iter().all(|value| value.as_str() != Some(fixed.as_str())))
                {
                    return None;
                }
                map.insert((*name).to_owned(), json!(fixed));
                continue;
            }
            let required = flat.required.contains(name);
            if !required && (optional >= 4.max(least) || map.len() >= most) {
                continue;
            }
            // Declared in several parts: they hold together.
            let mut together = Flat::default();
            schemas.iter().for_each(|schema| self.gather(schema, 0, &mut together));
            let made = if depth + 1 > DEPTH { None } else { self.made(&together, examples, depth + 1) };
            match made {
                Some(value) => drop(map.insert((*name).to_owned(), value)),
                None if required => return None,
                None => continue,
            }
            optional += usize::from(!required);
        }
        for (name, fixed) in &flat.fixed {
            map.entry(*name).or_insert_with(|| json!(fixed));
        }
        for name in &flat.required {
            let own = flat.properties.get(name).is_some_and(|s| s.iter().any(|s| self.servers_own(s)));
            if !map.contains_key(*name) && !own {
                let others = flat.others.map(|schema| self.make(schema, examples, depth + 1));
                map.insert((*name).to_owned(), others.flatten().or_else(|| flat.open.then(|| json!("x")))?);
            }
        }
        for extra in 0.. {
            if map.len() >= least {
                break;
            }
            let value = self.make(flat.others?, examples, depth + 1)?;
            map.insert(format!("k{extra}"), value);
        }
        (map.len() <= most).then_some(Value::Object(map))
    }

    fn array(&self, flat: &Flat<'d>, examples: bool, depth: usize) -> Option<Value> {
        let least = flat.numbers.get("minItems").map_or(0, |n| *n as usize);
        let most = flat.numbers.get("maxItems").map_or(usize::MAX, |n| *n as usize);
        let items = flat.items?;
        let Some(item) = self.make(items, examples, depth + 1) else {
            return (least == 0).then(|| json!([]));
        };
        let count = least.max(1).min(most).min(1_000);
        if flat.unique && count > 1 {
            let values = self.flat(items).values?;
            let list: Vec<Value> = values.iter().take(count).map(|value| plain(value)).collect();
            return (list.len() == count).then_some(Value::Array(list));
        }
        (count >= least).then(|| Value::Array(vec![item; count]))
    }

    pub(crate) fn servers_own(&self, property: &'d Node) -> bool {
        let says = |node: &Node| node.get("readOnly").and_then(Node::as_bool) == Some(true);
        let mut here = property;
        for _ in 0..16 {
            if (here.get("$ref").is_none() || self.version == Version::V31) && says(here) {
                return true;
            }
            let Some(reference) = here.get("$ref").and_then(Node::as_str) else { return false };
            match self.bundle.resolve(here.at.file, reference) {
                Ok((_, next)) => here = next,
                Err(_) => return false,
            }
        }
        false
    }
}

fn property_of(schema: &Node) -> Option<&str> {
    schema.get("discriminator")?.get("propertyName")?.as_str()
}

fn number(flat: &Flat<'_>) -> Option<Value> {
    let get = |name: &str| flat.numbers.get(name).copied();
    let integer = flat.types.contains(&"integer") || flat.types.is_empty();
    let step = get("multipleOf").unwrap_or(if integer { 1.0 } else { 0.5 });
    let low = match (get("minimum"), get("exclusiveMinimum")) {
        (Some(a), Some(b)) if b >= a => Some(b + step.min(1.0)),
        (Some(a), _) => Some(a),
        (None, Some(b)) => Some(b + step.min(1.0)),
        _ => None,
    };
    let high = match (get("maximum"), get("exclusiveMaximum")) {
        (Some(a), Some(b)) if b <= a => Some(b - step.min(1.0)),
        (Some(a), _) => Some(a),
        (None, Some(b)) => Some(b - step.min(1.0)),
        _ => None,
    };
    let start = low.unwrap_or_else(|| high.map_or(1.0, |high| high.min(1.0)));
    let value = (start / step).ceil() * step;
    if high.is_some_and(|high| value > high) || value.abs() > 9e15 {
        return None;
    }
    if value.fract() == 0.0 {
        Some(json!(value as i64))
    } else if integer {
        None
    } else {
        Some(json!(value))
    }
}

fn text(flat: &Flat<'_>) -> Option<String> {
    let least = flat.numbers.get("minLength").map_or(0, |n| *n as usize);
    let most = flat.numbers.get("maxLength").map_or(usize::MAX, |n| *n as usize);
    let fits = |text: &String| (least..=most).contains(&text.chars().count());
    let formatted = flat.texts.get("format").and_then(|format| {
        Some(match *format {
            "uuid" => "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            "date" => "2024-02-29",
            "date-time" => "2024-02-29T12:00:00Z",
            "time" => "12:00:00Z",
            "duration" => "P1D",
            "email" | "idn-email" => "a@example.com",
            "hostname" => "example.com",
            "ipv4" => "192.0.2.1",
            "ipv6" => "2001:db8::1",
            "uri" | "uri-reference" => "https://example.com/a",
            "byte" => "TWFu",
            "json-pointer" => "/a",
            "regex" => "^a$",
            "int8" | "int32" | "int64" => return None,
            _ => return None,
        })
    });
    if let Some(pattern) = flat.texts.get("pattern") {
        let compiled = regex::Regex::new(pattern).ok()?;
        if let Some(text) = formatted.map(str::to_owned).filter(|text| compiled.is_match(text) && fits(text))
        {
            return Some(text);
        }
        if formatted.is_some() {
            return None;
        }
        let hir = regex_syntax::Parser::new().parse(pattern).ok()?;
        return (0..=40).chain([64, 100, 128, 255]).find_map(|extra| {
            let mut out = String::new();
            spell(&hir, extra, &mut out)?;
            // Where the pattern has no anchor, anything may follow.
            while out.chars().count() < least && !pattern.ends_with('$') {
                out.push('a');
            }
            (compiled.is_match(&out) && fits(&out) && !out.is_empty()).then_some(out)
        });
    }
    match formatted {
        Some(text) => Some(text.to_owned()).filter(fits),
        None => {
            Some("a".repeat(least.max(1).min(most).min(10_000))).filter(|text| fits(text) && !text.is_empty())
        }
    }
}

/// A text of the pattern, with so many repetitions more than needed.
fn spell(hir: &Hir, extra: u32, out: &mut String) -> Option<()> {
    if out.len() > 10_000 {
        return None;
    }
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Some(()),
        HirKind::Literal(literal) => {
            out.push_str(std::str::from_utf8(&literal.0).ok()?);
            Some(())
        }
        HirKind::Class(regex_syntax::hir::Class::Unicode(class)) => {
            // Letters and digits before what needs encoding.
            let has = |c: char| class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&c));
            let first = ['a', 'A', '1', '0', '-', '_', '.'].into_iter().find(|c| has(*c));
            out.push(first.or_else(|| class.ranges().first().map(|range| range.start()))?);
            Some(())
        }
        HirKind::Class(_) => None,
        HirKind::Repetition(repetition) => {
            let most = repetition.max.unwrap_or(u32::MAX);
            for _ in 0..repetition.min.saturating_add(extra).min(most) {
                spell(&repetition.sub, extra, out)?;
            }
            Some(())
        }
        HirKind::Capture(capture) => spell(&capture.sub, extra, out),
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| spell(part, extra, out)),
        HirKind::Alternation(parts) => spell(parts.first()?, extra, out),
    }
}

/// A node as a value.
pub(crate) fn plain(node: &Node) -> Value {
    match &node.value {
        Written::Null => Value::Null,
        Written::Bool(value) => json!(value),
        Written::Number(text) => serde_json::from_str(text).unwrap_or_default(),
        Written::String(text) => json!(**text),
        Written::Array(items) => items.iter().map(plain).collect(),
        Written::Object(members) => {
            members.iter().map(|(key, value)| (key.text.to_string(), plain(value))).collect()
        }
    }
}
