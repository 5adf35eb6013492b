//! Keywords about numbers, strings, counts and values.

use serde_json::{Map, Value, json};

use super::{Kind, Spot, Translator};
use crate::document::{Node, Version};
use crate::model::TextRule;
use crate::schema::format::Meaning;
use crate::schema::pattern::PatternError;
use crate::schema::plan::{INTEGER, NUMBER, STRING};

impl<'b> Translator<'b> {
    /// Constraints of numbers, strings, counts and values.
    pub(super) fn scalars(
        &mut self,
        node: &'b Node,
        spot: Spot,
        types: Option<u8>,
        map: &mut Map<String, Value>,
    ) {
        const COUNTS: &[&str] = &[
            "minLength",
            "maxLength",
            "minItems",
            "maxItems",
            "minProperties",
            "maxProperties",
            "minContains",
            "maxContains",
        ];
        for (key, value) in node.as_object().unwrap_or_default() {
            let name = &*key.text;
            if COUNTS.contains(&name) && (self.version == Version::V31 || !name.ends_with("Contains")) {
                let whole = value.as_u64().or_else(|| {
                    let float: f64 = value.as_number()?.parse().ok()?;
                    (float >= 0.0 && float.fract() == 0.0 && float < 9e15).then_some(float as u64)
                });
                match whole {
                    Some(count) => drop(map.insert(name.into(), json!(count))),
                    None => self.error(
                        "schema-invalid",
                        value,
                        format!("`{name}` is a whole number, not negative"),
                    ),
                }
            }
        }
        match node.get("uniqueItems").map(|value| (value, value.as_bool())) {
            Some((_, Some(unique))) => drop(map.insert("uniqueItems".into(), json!(unique))),
            Some((value, None)) => self.error("schema-invalid", value, "`uniqueItems` is true or false"),
            None => {}
        }
        self.numbers(node, map);
        self.values(node, types, map);
        if let Some(pattern) = node.get("pattern") {
            match pattern.as_str() {
                Some(source) => {
                    self.pattern(source, pattern);
                    map.insert("pattern".into(), json!(source));
                }
                None => self.error("schema-invalid", pattern, "`pattern` is a string"),
            }
        }
        self.format(node, types, map);
        for (low, high) in [
            ("minLength", "maxLength"),
            ("minItems", "maxItems"),
            ("minProperties", "maxProperties"),
            ("minContains", "maxContains"),
            ("minimum", "maximum"),
        ] {
            let number = |name: &str| {
                map.get(name).map(|value| crate::schema::decimal::Decimal::parse(&value.to_string()))
            };
            if let (Some(a), Some(b)) = (number(low), number(high))
                && a.compare(b) == std::cmp::Ordering::Greater
                && (node.get(low).is_some() || node.get(high).is_some())
            {
                let at = node.get(low).or_else(|| node.get(high)).unwrap_or(node);
                self.error("schema-invalid", at, format!("`{low}` is above `{high}`: no value is valid"));
            }
        }
        self.number_guard(spot, types, map);
    }

    /// The literal of a number, if it may be compared exactly (§ 7.3).
    pub(super) fn number(&mut self, node: &Node, name: &str) -> Option<Value> {
        let literal = node.as_number();
        let Some(value) = literal.and_then(|literal| serde_json::from_str::<Value>(literal).ok()) else {
            self.error("schema-invalid", node, format!("`{name}` is a number"));
            return None;
        };
        let literal = literal.unwrap_or_default();
        if !crate::schema::decimal::Decimal::parse(literal).is_precise(literal) {
            let message = format!("`{name}` has more digits than can be compared exactly");
            self.error("number-precision", node, message);
            return None;
        }
        Some(value)
    }

    pub(super) fn numbers(&mut self, node: &'b Node, map: &mut Map<String, Value>) {
        for (name, exclusive) in [("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")] {
            let bound = node.get(name).and_then(|value| self.number(value, name));
            match node.get(exclusive) {
                Some(flag) if flag.as_bool().is_some() && self.version == Version::V30 => {
                    match (flag.as_bool(), bound) {
                        (Some(true), Some(bound)) => drop(map.insert(exclusive.into(), bound)),
                        (Some(true), None) => {
                            self.warning(
                                "keyword-idle",
                                flag,
                                format!("`{exclusive}` without `{name}` has no effect"),
                            );
                        }
                        (_, Some(bound)) => drop(map.insert(name.into(), bound)),
                        (_, None) => {}
                    }
                    continue;
                }
                Some(value) if value.as_number().is_some() => {
                    if self.version == Version::V30 {
                        self.warning(
                            "keyword-idle",
                            value,
                            format!("a number in `{exclusive}` is OpenAPI 3.1; read as there"),
                        );
                    }
                    if let Some(value) = self.number(value, exclusive) {
                        map.insert(exclusive.into(), value);
                    }
                }
                Some(value) => self.error("schema-invalid", value, format!("`{exclusive}` is a number")),
                None => {}
            }
            if let Some(bound) = bound {
                map.insert(name.into(), bound);
            }
        }
        if let Some(step) = node.get("multipleOf")
            && let Some(value) = self.number(step, "multipleOf")
        {
            let decimal = crate::schema::decimal::Decimal::parse(step.as_number().unwrap_or_default());
            if decimal.is_positive() && decimal.digits() <= 20 {
                map.insert("multipleOf".into(), value);
            } else {
                self.error("schema-invalid", step, "`multipleOf` is above zero");
            }
        }
    }

    pub(super) fn values(&mut self, node: &'b Node, types: Option<u8>, map: &mut Map<String, Value>) {
        if let Some(list) = node.get("enum") {
            match list.as_array() {
                Some(values) if !values.is_empty() => {
                    let values: Vec<Value> = values.iter().map(|value| self.value(value, types)).collect();
                    map.insert("enum".into(), Value::Array(values));
                }
                _ => self.error("schema-invalid", list, "`enum` is a list of at least one value"),
            }
        }
        if let Some(value) = node.get("const")
            && self.version == Version::V31
        {
            let value = self.value(value, types);
            map.insert("const".into(), value);
        }
    }

    /// A value of `enum` or `const`. Unquoted YAML where strings are declared is its text.
    pub(super) fn value(&mut self, node: &Node, types: Option<u8>) -> Value {
        let scalar = node.as_number().is_some() || node.as_bool().is_some();
        if scalar
            && types.is_some_and(|types| {
                types & STRING != 0 && types & (NUMBER | INTEGER | crate::schema::plan::BOOLEAN) == 0
            })
        {
            let text = node.scalar_text().unwrap_or_default().to_owned();
            self.remark("enum-text", node, format!("read as the string \"{text}\""));
            return Value::String(text);
        }
        plain(node)
    }

    pub(super) fn pattern(&mut self, source: &str, at: &Node) {
        match self.with.0.get(source) {
            Ok(pattern) if pattern.backtracks() => {
                let message = "the pattern needs look-around or back-references: values of more than 4 KiB, \
                               and those that take too long, are refused";
                self.warning("pattern-backtracks", at, message);
            }
            Ok(_) => {}
            Err(PatternError::Invalid) => self.error("pattern-invalid", at, "not a regular expression"),
            Err(PatternError::TooLarge) => {
                self.error("pattern-too-large", at, "the pattern takes more than 1 MiB when compiled");
            }
            Err(PatternError::TooMany) => self.error("document-bounds", at, "too many distinct patterns"),
        }
    }

    pub(super) fn format(&mut self, node: &'b Node, types: Option<u8>, map: &mut Map<String, Value>) {
        let Some(at) = node.get("format") else { return };
        let Some(name) = at.as_str() else {
            self.error("schema-invalid", at, "`format` is a string");
            return;
        };
        let may = |bits: u8| types.is_none_or(|types| types & bits != 0);
        match self.with.1.get(name) {
            Meaning::Text(_) => {
                if may(STRING) {
                    map.insert("format".into(), json!(name));
                } else {
                    self.warning(
                        "keyword-idle",
                        at,
                        format!("`format: {name}` says nothing about the declared type"),
                    );
                }
            }
            Meaning::Integer(low, high) if may(NUMBER | INTEGER) => {
                for (name, limit, keep) in [
                    ("minimum", low, std::cmp::Ordering::Greater),
                    ("maximum", high, std::cmp::Ordering::Less),
                ] {
                    let limit_exact = crate::schema::decimal::Decimal::parse(limit);
                    let own =
                        map.get(name).map(|own| crate::schema::decimal::Decimal::parse(&own.to_string()));
                    if own.is_none_or(|own| own.compare(limit_exact) != keep) {
                        map.insert(name.into(), serde_json::from_str(limit).unwrap_or_default());
                    }
                }
            }
            Meaning::Float { single } if may(NUMBER | INTEGER) => {
                map.insert(
                    "portcullisNumber".into(),
                    json!({ "float": if single { "single" } else { "double" } }),
                );
            }
            Meaning::Integer(..) | Meaning::Float { .. } => {
                self.warning(
                    "keyword-idle",
                    at,
                    format!("`format: {name}` says nothing about the declared type"),
                );
            }
            Meaning::Annotation => {}
            Meaning::Unknown => self.remark("format-unknown", at, format!("`format: {name}` is not checked")),
        }
    }

    /// `text` and `url` of `x-portcullis`: rules about single strings (§ 10, § 12).
    pub(super) fn marks(&mut self, node: &'b Node, map: &mut Map<String, Value>) {
        let Some(extension) = node.get("x-portcullis") else { return };
        if let Some(at) = extension.get("text") {
            let rule = match at.as_str() {
                Some("plain") => Some((TextRule::Plain, "plain")),
                Some("code") => Some((TextRule::Code, "code")),
                Some("none") => Some((TextRule::None, "none")),
                Some("html") => {
                    self.error("extension-unsupported", at, "`text: html` is not built into this version");
                    None
                }
                _ => {
                    self.error("extension-invalid", at, "`text` is `plain`, `code` or `none`");
                    None
                }
            };
            match rule {
                Some((rule, _)) if rule > self.options.text => {
                    self.error("extension-loosens", at, "`text` is looser than `request.default_text`");
                }
                Some((_, word)) => drop(map.insert("portcullisText".into(), json!(word))),
                None => {}
            }
        }
        if let Some(url) = extension.get("url") {
            let known = |name: &&str| self.options.url_policies.iter().any(|policy| **policy == **name);
            let policy = url.get("policy");
            let alone = url.as_object().is_some_and(|members| members.len() == 1);
            match policy.and_then(Node::as_str).filter(known).filter(|_| alone) {
                Some(name) => drop(map.insert("portcullisUrl".into(), json!(name))),
                None => {
                    let all = self.options.url_policies.join(", ");
                    let message = format!("`url` names a policy for URLs of requests: {all}");
                    self.error("extension-invalid", policy.unwrap_or(url), message);
                }
            }
        }
    }

    /// What the literal of a number must be like (§ 7.3).
    pub(super) fn number_guard(&mut self, spot: Spot, types: Option<u8>, map: &mut Map<String, Value>) {
        const BOUNDED: &[&str] =
            &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];
        let numeric = |name: &str| match map.get(name) {
            Some(Value::Array(values)) => values.iter().any(Value::is_number),
            Some(value) => value.is_number(),
            None => false,
        };
        let precise =
            BOUNDED.iter().any(|name| map.contains_key(*name)) || numeric("enum") || numeric("const");
        let integer = types.is_some_and(|types| types & INTEGER != 0 && types & NUMBER == 0)
            && !self.options.lenient_integers
            && spot.kind != Kind::Raw;
        if !precise && !integer {
            return;
        }
        let guard = map.entry("portcullisNumber").or_insert_with(|| json!({}));
        if let Some(guard) = guard.as_object_mut() {
            guard.insert("precise".into(), json!(precise));
            guard.insert("integer".into(), json!(integer));
        }
    }
}

fn plain(node: &Node) -> Value {
    use crate::document::Value as Written;
    match &node.value {
        Written::Null => Value::Null,
        Written::Bool(value) => Value::Bool(*value),
        Written::Number(literal) => serde_json::from_str(literal).unwrap_or_default(),
        Written::String(text) => Value::String(text.to_string()),
        Written::Array(items) => Value::Array(items.iter().map(plain).collect()),
        Written::Object(members) => {
            members.iter().map(|(key, value)| (key.text.to_string(), plain(value))).collect()
        }
    }
}
