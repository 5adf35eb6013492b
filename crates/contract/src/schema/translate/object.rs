//! One schema object: its keywords, those about members and items first.

use serde_json::{Map, Value, json};

use super::{Context, Kind, Role, Spot, Translator};
use crate::document::{Node, Version};
use crate::schema::plan::{ARRAY, INTEGER, NUMBER, OBJECT};
use crate::schema::{Direction, keywords};

impl<'b> Translator<'b> {
    /// The keywords of one schema object.
    pub(super) fn keywords(&mut self, node: &'b Node, spot: Spot) -> Map<String, Value> {
        let mut map = Map::new();
        self.met(node);
        let types = self.type_keyword(node, spot, &mut map);
        keywords::check(node, self.version, types, &mut self.findings);
        let context = self.context_of(spot);
        let mut required = Vec::new();
        for (key, value) in node.as_object().unwrap_or_default() {
            let name = &*key.text;
            let modern = self.version == Version::V31;
            match name {
                "$ref" if modern => {
                    let branch = Spot { kind: spot.kind.branch(), role: Role::Nested, plain: false, ..spot };
                    if let Some(target) = self.referred(node, branch).get("$ref") {
                        map.insert("$ref".into(), target.clone());
                    } else {
                        map.insert("not".into(), json!({}));
                    }
                }
                "properties" => {
                    let properties = self.properties(value, spot, &context, &mut required);
                    map.insert(name.into(), properties);
                }
                "required" => self.required(value, &mut required),
                "additionalProperties" | "unevaluatedProperties"
                    if modern || name == "additionalProperties" =>
                {
                    let open = value.as_bool() == Some(true)
                        || value
                            .as_object()
                            .is_some_and(|o| !o.iter().any(|(k, _)| keywords::constrains(&k.text)))
                            && value.get("$ref").is_none();
                    if open && spot.kind != Kind::Raw {
                        self.warning("object-open", value, "undeclared members pass here");
                    }
                    let below = match value.as_bool() {
                        Some(value) => Value::Bool(value),
                        None if open => Value::Bool(true),
                        None => self.below(value, spot),
                    };
                    if below != Value::Bool(false) && matches!(spot.kind, Kind::Closed | Kind::Open) {
                        map.insert("portcullisFold".into(), Value::Bool(true));
                    }
                    map.insert(name.into(), below);
                }
                "items" => {
                    if value.as_array().is_some() {
                        self.error(
                            "schema-invalid",
                            value,
                            "`items` is one schema; a list of them is `prefixItems`",
                        );
                    } else {
                        let below = self.below(value, spot);
                        map.insert(name.into(), below);
                    }
                }
                "unevaluatedItems" if modern => {
                    let below = value.as_bool().map(Value::Bool).unwrap_or_else(|| self.below(value, spot));
                    map.insert(name.into(), below);
                }
                "prefixItems" if modern => match value.as_array() {
                    Some(items) if !items.is_empty() => {
                        let items = items.iter().map(|item| self.below(item, spot)).collect();
                        map.insert(name.into(), Value::Array(items));
                    }
                    _ => self.error("schema-invalid", value, "`prefixItems` is a list of schemas"),
                },
                "allOf" | "anyOf" | "oneOf" => {
                    let branches = self.branches(value, spot);
                    map.insert(name.into(), branches);
                    if name == "oneOf" && matches!(spot.kind, Kind::Loose | Kind::LooseBranch) {
                        let closed = self.closed_branches(value, spot);
                        map.insert("portcullisClosed".into(), closed);
                    }
                }
                "not" => {
                    let raw = self.raw(value, spot);
                    map.insert(name.into(), raw);
                }
                "if" | "contains" | "propertyNames" if modern => {
                    let raw = self.raw(value, spot);
                    map.insert(name.into(), raw);
                }
                "then" | "else" if modern => {
                    let branch = self.branch(value, spot);
                    map.insert(name.into(), branch);
                }
                "dependentSchemas" | "patternProperties" if modern => {
                    let mut members = Map::new();
                    for (member, schema) in value.as_object().unwrap_or_default() {
                        let translated = if name == "dependentSchemas" {
                            self.branch(schema, spot)
                        } else {
                            self.pattern(&member.text, schema);
                            self.below(schema, spot)
                        };
                        members.insert(member.text.to_string(), translated);
                    }
                    map.insert(name.into(), Value::Object(members));
                }
                "dependentRequired" if modern => {
                    let mut members = Map::new();
                    for (member, needs) in value.as_object().unwrap_or_default() {
                        let mut names = Vec::new();
                        self.required(needs, &mut names);
                        members.insert(member.text.to_string(), json!(names));
                    }
                    map.insert(name.into(), Value::Object(members));
                }
                "$schema" if modern => {
                    const KNOWN: &[&str] = &[
                        "https://json-schema.org/draft/2020-12/schema",
                        "https://spec.openapis.org/oas/3.1/dialect/base",
                    ];
                    if !value.as_str().is_some_and(|uri| KNOWN.contains(&uri.trim_end_matches('#'))) {
                        self.error("dialect-unknown", value, "only JSON Schema 2020-12 is understood");
                    }
                }
                _ => {}
            }
        }
        required.retain(|name: &String| spot.kind == Kind::Raw || !context.taken_out.contains(name.as_str()));
        if !required.is_empty() {
            map.insert("required".into(), json!(required));
        }
        self.scalars(node, spot, types, &mut map);
        if spot.kind != Kind::Raw
            && let Some(discriminator) = node.get("discriminator")
        {
            self.discriminator(node, discriminator, spot, &mut map);
        }
        if spot.role == Role::Body && spot.direction == Direction::Request {
            self.guard(node, &mut map);
        }
        if spot.kind != Kind::Raw && spot.direction == Direction::Request {
            self.marks(node, &mut map);
        }
        if !map.is_empty() {
            map.insert("portcullisAt".into(), json!([node.at.file, node.at.line]));
        }
        map
    }

    pub(super) fn type_keyword(
        &mut self,
        node: &'b Node,
        spot: Spot,
        map: &mut Map<String, Value>,
    ) -> Option<u8> {
        let names: Vec<&str> = match node.get("type") {
            Some(declared) => {
                let names: Vec<&str> = match (declared.as_str(), declared.as_array()) {
                    (Some(name), _) => vec![name],
                    (_, Some(names)) => names.iter().filter_map(Node::as_str).collect(),
                    _ => Vec::new(),
                };
                const KNOWN: &[&str] = &["null", "boolean", "number", "integer", "string", "array", "object"];
                if names.contains(&"file") {
                    self.error("schema-invalid", declared, "`type: file` is Swagger 2.0");
                    if let Some(finding) = self.findings.last_mut() {
                        finding.help = Some(
                            "convert the document to OpenAPI 3, for instance with swagger2openapi".into(),
                        );
                    }
                } else if names.is_empty()
                    || names.iter().any(|name| !KNOWN.contains(name))
                    || declared.as_array().is_some_and(|all| all.len() != names.len())
                {
                    self.error("schema-invalid", declared, "`type` is one of the seven types of JSON");
                } else if self.version == Version::V30
                    && (declared.as_array().is_some() || names.contains(&"null"))
                {
                    self.warning(
                        "type-list",
                        declared,
                        "lists of types and `null` are OpenAPI 3.1; read as there",
                    );
                }
                names
            }
            None => {
                let inferred = (spot.kind != Kind::Raw).then(|| self.own_types(node)).flatten();
                let name = match inferred {
                    Some(OBJECT) => "object",
                    Some(ARRAY) => "array",
                    _ => {
                        if self.version == Version::V30 && node.get("nullable").is_some() {
                            self.remark("nullable-idle", node, "`nullable` without `type` has no effect");
                        }
                        return None;
                    }
                };
                self.remark("type-inferred", node, format!("read as `type: {name}`"));
                vec![name]
            }
        };
        let mut names: Vec<&str> = names;
        if self.version == Version::V30
            && node.get("nullable").and_then(Node::as_bool) == Some(true)
            && !names.contains(&"null")
            && node.get("type").is_some()
        {
            names.push("null");
        }
        map.insert("type".into(), if let [one] = *names { json!(one) } else { json!(names) });
        if node.get("type").is_some() { self.own_types(node) } else { None }
    }

    pub(super) fn required(&mut self, value: &Node, required: &mut Vec<String>) {
        match value.as_array() {
            Some(names) => {
                for name in names {
                    match name.scalar_text() {
                        Some(name) if !required.iter().any(|known| known == name) => {
                            required.push(name.to_owned())
                        }
                        Some(_) => {}
                        None => self.error("schema-invalid", name, "`required` is a list of names"),
                    }
                }
            }
            // `required: true` in a property is read where the property stands.
            None if value.as_bool().is_some() => {}
            None => self.error("schema-invalid", value, "`required` is a list of names"),
        }
    }

    pub(super) fn properties(
        &mut self,
        value: &'b Node,
        spot: Spot,
        context: &Context,
        required: &mut Vec<String>,
    ) -> Value {
        let Some(members) = value.as_object() else {
            self.error("schema-invalid", value, "`properties` is an object");
            return json!({});
        };
        let mut properties = Map::new();
        for (name, property) in members {
            if let Some(flag) = property.get("required").filter(|flag| flag.as_bool().is_some()) {
                let message = "`required` in a property; read as an entry of its parent's `required`";
                self.warning("required-misplaced", flag, message);
                if flag.as_bool() == Some(true) && !required.iter().any(|known| **known == *name.text) {
                    required.push(name.text.to_string());
                }
            }
            let translated = if spot.kind == Kind::Raw {
                self.raw(property, spot)
            } else if context.taken_out.contains(&name.text) && self.taken_out(property, spot.direction) {
                let strips = match spot.direction {
                    Direction::Request => self.options.strip_read_only,
                    Direction::Response => matches!(spot.kind, Kind::Loose | Kind::LooseBranch),
                };
                if strips { json!({ "portcullisDrop": true }) } else { Value::Bool(false) }
            } else if context.shared.contains(&name.text) && spot.kind != Kind::Loose {
                // Closed once, at the place, by all who declare it.
                self.below(property, Spot { kind: Kind::Loose, ..spot })
            } else {
                self.below(property, spot)
            };
            properties.insert(name.text.to_string(), translated);
        }
        Value::Object(properties)
    }

    /// Bounds by name for integers at the root of a request (§ 9).
    pub(super) fn guard(&mut self, node: &'b Node, map: &mut Map<String, Value>) {
        let properties = node.get("properties").and_then(Node::as_object).unwrap_or_default();
        for (name, property) in properties {
            let Some(maximum) = self.options.guards.maximum(&name.text) else { continue };
            let mut target = property;
            for _ in 0..64 {
                match self.target(target) {
                    Some(next) => target = next,
                    None => break,
                }
            }
            let types = self.own_types(target);
            let slot = map.get_mut("properties").and_then(|properties| properties.get_mut(&*name.text));
            let Some(slot) = slot else { continue };
            if target.get("maximum").is_some()
                || target.get("enum").is_some()
                || target.get("const").is_some()
            {
                continue;
            }
            if let Some(inline) = slot.as_object_mut().filter(|inline| !inline.contains_key("$ref")) {
                bound(inline, types, maximum);
            } else if types.is_some_and(|types| types & (INTEGER | NUMBER) == INTEGER) {
                *slot = json!({ "allOf": [slot.take()], "minimum": 0, "maximum": maximum });
            }
        }
    }
}

/// Bounds of a page size or offset, where the schema has none.
pub(super) fn bound(map: &mut Map<String, Value>, types: Option<u8>, maximum: i64) {
    let integer = types.is_some_and(|types| types & (INTEGER | NUMBER) == INTEGER);
    // What a format gave is no bound that somebody chose.
    let chosen = |map: &Map<String, Value>, name: &str| {
        const FORMATS: &[i64] = &[i32::MAX as i64, i64::MAX, i32::MIN as i64, i64::MIN];
        map.get(name).is_some_and(|value| !value.as_i64().is_some_and(|value| FORMATS.contains(&value)))
    };
    if !integer || map.contains_key("enum") || map.contains_key("const") {
        return;
    }
    if !chosen(map, "maximum") && !map.contains_key("exclusiveMaximum") {
        map.insert("maximum".into(), json!(maximum));
    }
    if !chosen(map, "minimum") && !map.contains_key("exclusiveMinimum") {
        map.insert("minimum".into(), json!(0));
    }
}
