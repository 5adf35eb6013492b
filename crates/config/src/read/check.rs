//! Is the file made of known words in the right form? Every error is collected, with its place and a way out.
//!
//! The rules are the JSON Schema that editors use, made from the types in [`crate::words`]: what an editor accepts
//! is what the program accepts.

use crate::words::scalar::GRAMMARS;
use portcullis_contract::document::{Key, Node, Value as Tree};
use portcullis_core::finding::{Finding, Span, did_you_mean};
use serde_json::Value;

/// Compares a file with the schema of a type; `root` is the whole schema, with its `$defs`.
pub(crate) fn check(node: &Node, root: &Value) -> Checked {
    let mut walk = Walk { root, path: Vec::new(), found: Checked::default() };
    walk.value(node, root, node.at);
    walk.found
}

/// What [`check`] found.
#[derive(Default)]
pub(crate) struct Checked {
    /// What is wrong.
    pub(crate) findings: Vec<Finding>,
    /// Where a secret is written out: such text is never shown again.
    pub(crate) secrets: Vec<Span>,
}

struct Walk<'a> {
    root: &'a Value,
    path: Vec<String>,
    found: Checked,
}

impl<'a> Walk<'a> {
    /// `key` is where to point when the value itself has no extent.
    fn value(&mut self, node: &Node, schema: &'a Value, key: Span) {
        let schema = self.resolve(schema);
        if schema.get("x-secret").is_some() && node.scalar_text().is_some() {
            self.found.secrets.push(node.at);
            let message = format!("{} is a secret and cannot be written here", self.here());
            let help = "write { file: PATH } or { env: NAME }; a secret in a file of configuration ends up in a \
                        repository";
            self.error("secret-literal", key, message, help.to_owned());
            return;
        }
        let alternatives = self.alternatives(schema);
        if node.is_null() {
            let message = format!("{} has no value", self.here());
            let help = format!("write {}, or remove the key", expected(&alternatives));
            self.error("value-missing", key, message, help);
            return;
        }
        match &node.value {
            Tree::Object(members) => self.object(node, members, &alternatives),
            Tree::Array(items) => match alternatives.iter().find(|s| is_type(s, "array")) {
                Some(schema) => self.array(node, items, schema),
                None => self.misfit(node, &alternatives),
            },
            _ => self.scalar(node, &alternatives),
        }
    }

    fn object(&mut self, node: &Node, members: &[(Key, Node)], alternatives: &[&'a Value]) {
        let objects: Vec<&'a Value> = alternatives.iter().copied().filter(|s| is_type(s, "object")).collect();
        let known = |schema: &Value, key: &str| schema.get("properties").and_then(|p| p.get(key)).is_some();
        let chosen = match objects.as_slice() {
            [] => return self.misfit(node, alternatives),
            [only] => Some(*only),
            // Externally tagged: the key says which one is meant.
            several => members
                .iter()
                .find_map(|(key, _)| several.iter().copied().find(|schema| known(schema, &key.text))),
        };
        let Some(schema) = chosen else {
            let words: Vec<&str> = objects.iter().flat_map(|schema| keys(schema)).collect();
            match members.first() {
                Some((key, _)) => {
                    self.unknown(key, &words);
                }
                None => self.misfit(node, alternatives),
            }
            return;
        };
        let mut meant: Vec<&str> = Vec::new();
        for (key, value) in members {
            let property = schema.get("properties").and_then(|p| p.get(&*key.text));
            let rule =
                property.or_else(|| schema.get("additionalProperties").filter(|s| **s != Value::Bool(false)));
            match rule {
                Some(rule) => {
                    self.path.push(key.text.to_string());
                    self.value(value, rule, key.at);
                    self.path.pop();
                }
                None => meant.extend(self.unknown(key, &keys(schema))),
            }
        }
        for required in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            if let Some(name) = required.as_str()
                && node.get(name).is_none()
                && !meant.contains(&name)
            {
                let message = format!("{} needs `{name}`", self.here());
                let rule = schema.get("properties").and_then(|p| p.get(name)).unwrap_or(&Value::Null);
                let help = format!("add  {name}: {}", self.sample(rule));
                self.error("key-missing", head(node), message, help);
            }
        }
    }

    fn array(&mut self, node: &Node, items: &[Node], schema: &'a Value) {
        let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
        if u64::try_from(items.len()).unwrap_or(u64::MAX) < least {
            let message = format!("{} is an empty list", self.here());
            self.error(
                "value-missing",
                node.at,
                message,
                "write at least one item, or remove the key".to_owned(),
            );
        }
        if let Some(rule) = schema.get("items") {
            for item in items {
                self.value(item, rule, item.at);
            }
        }
    }

    fn scalar(&mut self, node: &Node, alternatives: &[&'a Value]) {
        let text = node.scalar_text().unwrap_or_default();
        let mut words: Vec<&str> = Vec::new();
        for schema in alternatives {
            let listed: Vec<&str> = words_of(schema);
            if listed.contains(&text) {
                return;
            }
            if !listed.is_empty() {
                words.extend(listed);
                continue;
            }
            if let Some(grammar) =
                GRAMMARS.iter().find(|g| schema.get("format").is_some_and(|f| f == g.format))
            {
                if (grammar.holds)(text) {
                    return;
                }
                let message = format!("`{}` is not {}, as {} needs", cut(text), grammar.noun, self.here());
                let help = format!("write it like `{}`", grammar.example);
                return self.error("value-form", node.at, message, help);
            }
            match &node.value {
                Tree::String(_) if is_type(schema, "string") => return,
                Tree::Bool(_) if is_type(schema, "boolean") => return,
                Tree::Number(_) if is_type(schema, "number") => return,
                Tree::Number(number) if is_type(schema, "integer") => {
                    return self.integer(node, number, schema);
                }
                _ => {}
            }
        }
        if words.is_empty() || !matches!(node.value, Tree::String(_) | Tree::Number(_)) {
            return self.misfit(node, alternatives);
        }
        let message = format!("`{}` is not a word for {}", cut(text), self.here());
        let help = match did_you_mean(text, words.iter().copied()) {
            Some(word) => format!("did you mean `{word}`?"),
            None => format!("write {}", expected(alternatives)),
        };
        self.error("word-unknown", node.at, message, help);
    }

    fn integer(&mut self, node: &Node, number: &str, schema: &Value) {
        let bound = |name: &str| schema.get(name).and_then(Value::as_i64);
        let (low, high) = match schema.get("format").and_then(Value::as_str) {
            Some("uint8") => (0, i64::from(u8::MAX)),
            Some("uint16") => (0, i64::from(u16::MAX)),
            Some("uint32") => (0, i64::from(u32::MAX)),
            Some("uint64" | "uint") => (0, i64::MAX),
            _ => (i64::MIN, i64::MAX),
        };
        let (low, high) =
            (bound("minimum").unwrap_or(low).max(low), bound("maximum").unwrap_or(high).min(high));
        let fits = number.parse::<i64>().is_ok_and(|n| (low..=high).contains(&n));
        if !fits {
            let message = format!("`{}` does not fit {}", cut(number), self.here());
            let help = if high == i64::MAX {
                format!("write a whole number of at least {low}")
            } else {
                format!("write a whole number from {low} to {high}")
            };
            self.error("value-range", node.at, message, help);
        }
    }

    fn misfit(&mut self, node: &Node, alternatives: &[&'a Value]) {
        let message = format!("{} cannot be {}", self.here(), kind(node));
        let mut help = format!("write {}", expected(alternatives));
        if node.as_number().is_some() && alternatives.iter().any(|s| is_type(s, "string")) {
            help.push_str("; put quotes around digits that are text");
        }
        self.error("value-type", head(node), message, help);
    }

    /// Reports a key; the word that was probably meant.
    fn unknown<'w>(&mut self, key: &Key, words: &[&'w str]) -> Option<&'w str> {
        let place = if self.path.is_empty() { "this file".to_owned() } else { self.here() };
        let message = format!("`{}` is not a key of {place}", cut(&key.text));
        let meant = did_you_mean(&key.text, words.iter().copied());
        let help = match meant {
            Some(word) => format!("did you mean `{word}`?"),
            None => format!("the keys here are {}", listed(words)),
        };
        self.error("key-unknown", key.at, message, help);
        meant
    }

    fn error(&mut self, code: &'static str, at: Span, message: String, help: String) {
        self.found.findings.push(Finding::error(code, at, message).help(help));
    }

    fn here(&self) -> String {
        if self.path.is_empty() { "the file".to_owned() } else { format!("`{}`", self.path.join(".")) }
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let mut here = schema;
        while let Some(name) = here.get("$ref").and_then(Value::as_str) {
            match self.root.pointer(name.trim_start_matches('#')) {
                Some(target) => here = target,
                None => return &Value::Bool(true),
            }
        }
        here
    }

    /// The members of `anyOf` and `oneOf`, all the way down.
    fn alternatives(&self, schema: &'a Value) -> Vec<&'a Value> {
        let schema = self.resolve(schema);
        match schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array) {
            Some(several) => several.iter().flat_map(|one| self.alternatives(one)).collect(),
            None => vec![schema],
        }
    }

    /// A value that would be right, for help.
    fn sample(&self, schema: &'a Value) -> String {
        if self.resolve(schema).get("x-secret").is_some() {
            return "{ file: PATH }".to_owned();
        }
        let alternatives = self.alternatives(schema);
        let Some(first) = alternatives.first() else { return "…".to_owned() };
        match first.get("examples").and_then(|e| e.get(0)) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => words_of(first).first().map_or("…", |word| word).to_owned(),
        }
    }
}

/// What may stand here, in words.
fn expected(alternatives: &[&Value]) -> String {
    let mut parts: Vec<String> = Vec::new();
    let words: Vec<&str> = alternatives.iter().flat_map(|schema| words_of(schema)).collect();
    if !words.is_empty() {
        parts.push(listed(&words));
    }
    let mut mapping: Vec<&str> = Vec::new();
    for schema in alternatives.iter().filter(|schema| words_of(schema).is_empty()) {
        if let Some(grammar) = GRAMMARS.iter().find(|g| schema.get("format").is_some_and(|f| f == g.format)) {
            parts.push(format!("{} such as `{}`", grammar.noun, grammar.example));
        } else if is_type(schema, "object") {
            mapping.extend(keys(schema));
            if keys(schema).is_empty() {
                parts.push("a mapping".to_owned());
            }
        } else {
            let example = schema.get("examples").and_then(|e| e.get(0)).and_then(Value::as_str);
            let noun = [
                ("array", "a list"),
                ("string", "text"),
                ("boolean", "true or false"),
                ("integer", "a whole number"),
                ("number", "a number"),
            ];
            let noun =
                noun.iter().find(|(name, _)| is_type(schema, name)).map_or("a value", |(_, noun)| noun);
            parts.push(example.map_or_else(|| noun.to_owned(), |text| format!("{noun} such as `{text}`")));
        }
    }
    if !mapping.is_empty() {
        parts.push(format!("a mapping with {}", listed(&mapping)));
    }
    parts.dedup();
    parts.join(", or ")
}

fn listed(words: &[&str]) -> String {
    let mut seen = Vec::new();
    for word in words {
        let word = format!("`{word}`");
        if !seen.contains(&word) {
            seen.push(word);
        }
    }
    seen.join(", ")
}

fn words_of(schema: &Value) -> Vec<&str> {
    let one = schema.get("const").and_then(Value::as_str);
    let several =
        schema.get("enum").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    one.into_iter().chain(several).collect()
}

fn keys(schema: &Value) -> Vec<&str> {
    schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, _)| key.as_str())
        .collect()
}

fn is_type(schema: &Value, name: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(one)) => one == name,
        Some(Value::Array(several)) => several.iter().any(|one| one == name),
        _ => false,
    }
}

/// The first line of a value that may be long.
fn head(node: &Node) -> Span {
    let mut at = node.at;
    if matches!(node.value, Tree::Object(_) | Tree::Array(_)) {
        at.end = at.start.saturating_add(1).min(at.end);
    }
    at
}

fn kind(node: &Node) -> &'static str {
    match node.value {
        Tree::Object(_) => "a mapping",
        Tree::Array(_) => "a list",
        Tree::String(_) => "text",
        _ => node.kind(),
    }
}

/// At most 60 characters, without controls.
fn cut(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(60).collect();
    if text.chars().nth(60).is_some() { format!("{clean}…") } else { clean }
}
