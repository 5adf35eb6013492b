//! Which of several schemas is meant: discriminators, heirs, and alternatives of a response.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::{Kind, Part, Role, Spot, Translator};
use crate::document::Node;

impl<'b> Translator<'b> {
    /// The alternatives of a loose `oneOf`, closed: `keep` asks them which one is meant.
    pub(super) fn closed_branches(&mut self, list: &'b Node, spot: Spot) -> Value {
        let closed = Spot { kind: Kind::Closed, role: Role::Nested, plain: false, context: 0, ..spot };
        let parts = list.as_array().unwrap_or_default().iter();
        Value::Array(parts.map(|node| self.refer(vec![Part { node, certain: true }], closed)).collect())
    }

    /// § 7.4: the property is there, and selects the one branch that is asked.
    pub(super) fn discriminator(
        &mut self,
        node: &'b Node,
        at: &'b Node,
        spot: Spot,
        map: &mut Map<String, Value>,
    ) {
        let Some(property) = at.get("propertyName").and_then(Node::as_str) else {
            self.error("discriminator-invalid", at, "`discriminator` needs `propertyName`");
            return;
        };
        let context = self.context_of(spot);
        if !context.taken_out.contains(property) {
            let required = map.entry("required").or_insert_with(|| json!([]));
            if let Some(names) = required.as_array_mut()
                && !names.iter().any(|name| name == property)
            {
                names.push(json!(property));
            }
        }
        let mapping = self.mapping(at);
        let Some((keyword, list)) =
            ["oneOf", "anyOf"].into_iter().find_map(|name| Some((name, node.get(name)?.as_array()?)))
        else {
            return;
        };
        let mut branches = Map::new();
        let branch = Spot { kind: spot.kind.branch(), role: Role::Nested, plain: false, ..spot };
        for item in list {
            let Some(target) = self.is_reference(item).then(|| self.target(item)).flatten() else {
                self.warning(
                    "discriminator-inline",
                    item,
                    "no value of the discriminator names this alternative",
                );
                continue;
            };
            let reference = item.get("$ref").and_then(Node::as_str).unwrap_or_default();
            let implicit = reference.rsplit('/').next().unwrap_or(reference);
            let value = self.referred(item, branch);
            for (name, mapped) in &mapping {
                if std::ptr::eq(*mapped, target) {
                    branches.insert((*name).to_owned(), value.clone());
                }
            }
            branches.entry(implicit).or_insert(value);
        }
        map.remove(keyword);
        map.remove("portcullisClosed");
        map.insert("portcullisSelect".into(), json!({ "property": property, "branches": branches }));
    }

    pub(super) fn mapping(&mut self, discriminator: &'b Node) -> Vec<(&'b str, &'b Node)> {
        let mut found = Vec::new();
        let bundle = self.bundle;
        for (value, target) in discriminator.get("mapping").and_then(Node::as_object).unwrap_or_default() {
            let reference = target.as_str().unwrap_or_default();
            let named = bundle.resolve(target.at.file, &format!("#/components/schemas/{reference}")).ok();
            let resolved = match named {
                Some((_, node)) if !reference.contains(['/', '#']) => Some(node),
                _ => bundle.resolve(target.at.file, reference).ok().map(|(_, node)| node),
            };
            match resolved {
                Some(node) if node.as_object().is_some() => found.push((&*value.text, node)),
                _ => self.error("discriminator-mapping", target, "the mapping names no schema"),
            }
        }
        found
    }

    /// A base schema with a discriminator and without alternatives of its own: those are its heirs, which name it in
    /// their `allOf`.
    pub(super) fn inherited(&mut self, node: &'b Node, spot: Spot) -> Option<Value> {
        let discriminator = node.get("discriminator")?;
        let property = discriminator.get("propertyName")?.as_str()?;
        if node.get("oneOf").is_some() || node.get("anyOf").is_some() {
            return None;
        }
        let mut named = self.mapping(discriminator);
        let mut queue = vec![node];
        let mut seen = HashSet::new();
        while let Some(base) = queue.pop() {
            for (name, heir) in self.heirs_of(base) {
                if seen.insert(std::ptr::from_ref(heir).addr()) {
                    queue.push(heir);
                    named.push((name, heir));
                }
            }
        }
        if named.iter().all(|(_, heir)| std::ptr::eq(*heir, node)) {
            return None;
        }
        if let Some(own) = self.name_of(node) {
            named.push((own, node));
        }
        let plain = Spot { role: Role::Nested, plain: true, ..spot };
        let mut branches = Map::new();
        for (name, heir) in named {
            if !branches.contains_key(name) {
                let value = self.refer(vec![Part { node: heir, certain: true }], plain);
                branches.insert(name.to_owned(), value);
            }
        }
        let null = self.own_types(node).is_some_and(|types| types & crate::schema::plan::NULL != 0);
        Some(json!({
            "type": if null { json!(["object", "null"]) } else { json!("object") },
            "required": [property],
            "portcullisSelect": { "property": property, "branches": branches },
            "portcullisAt": [node.at.file, node.at.line],
        }))
    }

    pub(super) fn heirs_of(&mut self, base: &Node) -> Vec<(&'b str, &'b Node)> {
        if self.heirs.is_none() {
            let mut heirs: HashMap<usize, Vec<(&'b str, &'b Node)>> = HashMap::new();
            for (name, schema) in self.components() {
                for parent in schema.get("allOf").and_then(Node::as_array).unwrap_or_default() {
                    if let Some(target) = self.target(parent) {
                        heirs.entry(std::ptr::from_ref(target).addr()).or_default().push((name, schema));
                    }
                }
            }
            self.heirs = Some(heirs);
        }
        let key = std::ptr::from_ref(base).addr();
        self.heirs.as_ref().and_then(|heirs| heirs.get(&key)).cloned().unwrap_or_default()
    }

    pub(super) fn name_of(&self, node: &Node) -> Option<&'b str> {
        self.components().into_iter().find(|(_, schema)| std::ptr::eq(*schema, node)).map(|(name, _)| name)
    }

    pub(super) fn components(&self) -> Vec<(&'b str, &'b Node)> {
        let mut found = Vec::new();
        for (_, root) in self.bundle.files() {
            let schemas = root.get("components").and_then(|components| components.get("schemas"));
            for (key, schema) in schemas.and_then(Node::as_object).unwrap_or_default() {
                found.push((&*key.text, schema));
            }
        }
        found
    }
}
