//! From the schemas of OpenAPI 3.0 and 3.1 to JSON Schema 2020-12, closed and in one direction.

use std::collections::{BTreeSet, HashMap, HashSet};

use portcullis_core::finding::Finding;
use serde_json::{Map, Value, json};

use super::close::{Declared, Facts};
use super::format::{Formats, Meaning};
use super::pattern::{PatternError, Patterns};
use super::plan::{ARRAY, INTEGER, Id, NEVER, NUMBER, OBJECT, Planner, STRING, Schema};
use super::{Direction, Options, keywords};
use crate::document::{Bundle, Node, Version};

/// How a schema is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// The place of a value: what is not declared is refused.
    Closed,
    /// A part of a closed place; the places below it are closed.
    Open,
    /// The place of a value, nothing closed, here or below: what `keep` walks.
    Loose,
    /// A part of a loose place.
    LooseBranch,
    /// As written: under `not`, `if`, `contains`, `propertyNames`.
    Raw,
}

impl Kind {
    const fn below(self) -> Self {
        match self {
            Self::Closed | Self::Open => Self::Closed,
            Self::Loose | Self::LooseBranch => Self::Loose,
            Self::Raw => Self::Raw,
        }
    }

    const fn branch(self) -> Self {
        match self {
            Self::Closed | Self::Open => Self::Open,
            Self::Loose | Self::LooseBranch => Self::LooseBranch,
            Self::Raw => Self::Raw,
        }
    }
}

/// What a root schema is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Role {
    /// Below a root.
    Nested,
    /// A whole body.
    Body,
    /// A parameter or another part, with the bound that its name gives.
    Part(Option<i64>),
}

/// One of the schemas that describe one value together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'b> {
    pub(super) node: &'b Node,
    /// Not below an alternative.
    pub(super) certain: bool,
}

/// Where a schema is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Spot {
    direction: Direction,
    kind: Kind,
    role: Role,
    /// Not dispatched by a discriminator any more.
    plain: bool,
    /// Of a part: what its place says about it; index of [`Context`].
    context: u32,
}

/// What the place of a value says to its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Context {
    /// Properties whose value several parts describe; closed once at the place.
    shared: BTreeSet<Box<str>>,
    /// Properties that the direction takes out.
    taken_out: BTreeSet<Box<str>>,
}

/// Identity of a definition: the nodes by address (the bundle lives as long), and where it is used.
type Key = (Vec<(usize, bool)>, Spot);

struct Definition<'b> {
    parts: Vec<Part<'b>>,
    spot: Spot,
    value: Value,
    /// Definitions that it refers to.
    uses: Vec<u32>,
    findings: Vec<Finding>,
}

/// Makes definitions, each once, as they are reached.
pub(super) struct Translator<'b> {
    bundle: &'b Bundle,
    pub(super) version: Version,
    pub(super) options: Options,
    with: (Patterns, Formats),
    definitions: Vec<Definition<'b>>,
    by_key: HashMap<Key, u32>,
    contexts: Vec<Context>,
    planner: Planner,
    /// Up to here definitions are translated.
    done: usize,
    /// Of the definition at work.
    uses: Vec<u32>,
    findings: Vec<Finding>,
    /// Schemas whose `allOf` names the key: how inheritance is written.
    heirs: Option<HashMap<usize, Vec<(&'b str, &'b Node)>>>,
}

/// Schemas asked about one value, through `$ref` and composition.
const IN_PLACE_DEPTH: u32 = 64;
/// … and how many in all.
const IN_PLACE_SIZE: u64 = 10_000;

impl<'b> Translator<'b> {
    pub(super) fn new(bundle: &'b Bundle, version: Version, options: Options) -> Self {
        let patterns = Patterns::new(options.patterns);
        Self {
            bundle,
            version,
            options,
            with: (patterns, Formats::default()),
            definitions: Vec::new(),
            by_key: HashMap::new(),
            contexts: vec![Context::default()],
            planner: Planner::new(),
            done: 0,
            uses: Vec::new(),
            findings: Vec::new(),
            heirs: None,
        }
    }

    /// Translates a schema and all that it reaches; the index of its definition.
    pub(super) fn root(&mut self, node: &'b Node, direction: Direction, role: Role, loose: bool) -> u32 {
        let kind = if loose { Kind::Loose } else { Kind::Closed };
        let spot = Spot { direction, kind, role, plain: false, context: 0 };
        let root = self.definition(vec![Part { node, certain: true }], spot);
        while let Some(next) = self.definitions.get(self.done) {
            let (parts, spot) = (next.parts.clone(), next.spot);
            let value = self.place(&parts, spot);
            let mut uses = std::mem::take(&mut self.uses);
            uses.sort_unstable();
            uses.dedup();
            let findings = std::mem::take(&mut self.findings);
            self.planner.define(self.done as u32, &value, &mut self.with);
            if let Some(definition) = self.definitions.get_mut(self.done) {
                definition.value = value;
                definition.uses = uses;
                definition.findings = findings;
            }
            self.done += 1;
        }
        root
    }

    /// What was found in these definitions and all that they reach.
    pub(super) fn findings(&self, roots: impl Iterator<Item = u32>) -> Vec<Finding> {
        let mut found: Vec<Finding> = Vec::new();
        let reached = self.reached(roots);
        for index in &reached {
            found.extend(
                self.definitions.get(*index as usize).into_iter().flat_map(|d| d.findings.iter().cloned()),
            );
        }
        self.circles(&reached, &mut found);
        let mut seen = HashSet::new();
        found.retain(|finding| seen.insert((finding.code, finding.at, finding.message.clone())));
        found
    }

    /// Whether values of the definition may hold what no schema describes.
    pub(super) fn holds_data(&self, root: u32) -> bool {
        // `additionalProperties` counts: never-leak names are looked for among what it lets through.
        fn open(value: &Value) -> bool {
            match value {
                Value::Object(map) => map.iter().any(|(key, value)| match key.as_str() {
                    "portcullisOpen" => true,
                    "additionalProperties" | "unevaluatedProperties" => *value != Value::Bool(false),
                    "patternProperties" => true,
                    "enum" | "const" | "required" => false,
                    _ => open(value),
                }),
                Value::Array(values) => values.iter().any(open),
                _ => false,
            }
        }
        self.reached(std::iter::once(root))
            .iter()
            .any(|index| self.definitions.get(*index as usize).is_some_and(|d| open(&d.value)))
    }

    /// The arena's index of a definition.
    pub(super) fn planned(&self, definition: u32) -> Id {
        self.planner.definitions.get(definition as usize).copied().unwrap_or(NEVER)
    }

    /// The arena.
    pub(super) fn take_schemas(&mut self) -> Vec<Schema> {
        std::mem::take(&mut self.planner.schemas)
    }

    /// All definitions as one 2020-12 document.
    #[cfg(test)]
    pub(super) fn document(&self, root: u32) -> Value {
        let definitions: Map<String, Value> = self
            .reached(std::iter::once(root))
            .iter()
            .map(|index| (index.to_string(), self.definitions[*index as usize].value.clone()))
            .collect();
        json!({ "$ref": format!("#/$defs/{root}"), "$defs": definitions })
    }

    fn reached(&self, roots: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut reached: Vec<u32> = roots.collect();
        let mut seen: HashSet<u32> = reached.iter().copied().collect();
        let mut at = 0;
        while let Some(index) = reached.get(at) {
            if let Some(definition) = self.definitions.get(*index as usize) {
                reached.extend(definition.uses.iter().copied().filter(|used| seen.insert(*used)));
            }
            at += 1;
        }
        reached
    }

    /// Schemas that ask themselves about the same value, and compositions too large to ask.
    fn circles(&self, reached: &[u32], found: &mut Vec<Finding>) {
        let mut known: HashMap<Id, (u32, u64)> = HashMap::new();
        for index in reached {
            let Some(definition) = self.definitions.get(*index as usize) else { continue };
            let Some(at) = definition.parts.first().map(|part| part.node.at) else { continue };
            match self.extent(self.planned(*index), &mut known, &mut Vec::new()) {
                Some((depth, size)) if depth <= IN_PLACE_DEPTH && size <= IN_PLACE_SIZE => {}
                Some(_) => {
                    let message = "too many schemas describe one value here";
                    found.push(Finding::error("schema-bounds", at, message));
                    return;
                }
                None => {
                    let message = "the schema contains itself without a property or item between";
                    found.push(Finding::error("ref-cycle", at, message));
                    return;
                }
            }
        }
    }

    fn extent(&self, id: Id, known: &mut HashMap<Id, (u32, u64)>, path: &mut Vec<Id>) -> Option<(u32, u64)> {
        if let Some(extent) = known.get(&id) {
            return Some(*extent);
        }
        if path.contains(&id) {
            return None;
        }
        if path.len() > 4 * IN_PLACE_DEPTH as usize {
            return Some((u32::MAX, u64::MAX));
        }
        path.push(id);
        let mut extent = (0, 1u64);
        for part in self.planner.schemas.get(id as usize).into_iter().flat_map(Schema::in_place) {
            let (depth, size) = self.extent(part, known, path)?;
            extent = (extent.0.max(depth.saturating_add(1)), extent.1.saturating_add(size));
        }
        path.pop();
        known.insert(id, extent);
        Some(extent)
    }

    fn definition(&mut self, parts: Vec<Part<'b>>, spot: Spot) -> u32 {
        let nodes = parts.iter().map(|part| (std::ptr::from_ref(part.node).addr(), part.certain)).collect();
        let next = self.definitions.len() as u32;
        let index = *self.by_key.entry((nodes, spot)).or_insert(next);
        if index == next {
            self.planner.reserve();
            let (value, uses, findings) = (Value::Bool(false), Vec::new(), Vec::new());
            self.definitions.push(Definition { parts, spot, value, uses, findings });
        }
        self.uses.push(index);
        index
    }

    fn refer(&mut self, parts: Vec<Part<'b>>, spot: Spot) -> Value {
        json!({ "$ref": format!("#/$defs/{}", self.definition(parts, spot)) })
    }

    /// What `$ref` names, where there is one that leads somewhere.
    pub(super) fn target(&self, node: &Node) -> Option<&'b Node> {
        let reference = node.get("$ref")?.as_str()?;
        self.bundle.resolve(node.at.file, reference).ok().map(|(_, target)| target)
    }

    /// A reference and nothing else that counts.
    fn is_reference(&self, node: &Node) -> bool {
        node.get("$ref").is_some()
            && (self.version == Version::V30
                || !node
                    .as_object()
                    .unwrap_or_default()
                    .iter()
                    .any(|(key, _)| keywords::constrains(&key.text)))
    }

    fn error(&mut self, code: &'static str, node: &Node, message: impl Into<String>) {
        self.findings.push(Finding::error(code, node.at, message));
    }

    fn warning(&mut self, code: &'static str, node: &Node, message: impl Into<String>) {
        self.findings.push(Finding::warning(code, node.at, message));
    }

    fn remark(&mut self, code: &'static str, node: &Node, message: impl Into<String>) {
        self.findings.push(Finding::remark(code, node.at, message));
    }

    fn referred(&mut self, node: &'b Node, spot: Spot) -> Value {
        if self.version == Version::V30 {
            for (key, _) in node.as_object().unwrap_or_default() {
                if keywords::constrains(&key.text) {
                    let message = format!("`{}` beside `$ref` has no effect in OpenAPI 3.0", key.text);
                    self.findings.push(
                        Finding::warning("ref-sibling-ignored", key.at, message)
                            .help("put the reference into `allOf`"),
                    );
                }
            }
        }
        let Some(reference) = node.get("$ref").and_then(Node::as_str) else {
            self.error("schema-invalid", node, "`$ref` is a string");
            return Value::Bool(false);
        };
        match self.bundle.resolve(node.at.file, reference) {
            Ok((_, target)) => self.refer(vec![Part { node: target, certain: true }], spot),
            Err(error) => {
                let at = node.get("$ref").unwrap_or(node);
                self.error("ref-broken", at, error.to_string());
                Value::Bool(false)
            }
        }
    }

    /// A schema at the place of a value.
    fn place(&mut self, parts: &[Part<'b>], spot: Spot) -> Value {
        let [Part { node, .. }] = *parts else { return self.united(parts, spot) };
        if matches!(spot.kind, Kind::Open | Kind::LooseBranch) {
            return self.part(node, spot);
        }
        if let Some(value) = self.boolean(node) {
            if value == Value::Bool(true) && spot.kind != Kind::Raw {
                return self.data(node, spot);
            }
            return value;
        }
        if self.is_reference(node) {
            return self.referred(node, spot);
        }
        if spot.kind == Kind::Raw {
            return self.part(node, spot);
        }
        if !spot.plain
            && let Some(value) = self.inherited(node, spot)
        {
            return value;
        }
        let facts = self.facts(parts, spot.direction);
        let shared = facts.shared(self);
        let context = self.context(&facts, &shared);
        let mut map = self.keywords(node, Spot { context, ..spot });
        self.close(node, spot, &facts, shared, &mut map);
        if let Role::Part(Some(maximum)) = spot.role {
            bound(&mut map, self.own_types(node), maximum);
        }
        Value::Object(map)
    }

    /// Closes the place (§ 8, rules 1, 2 and 4), or marks it as data (rules 5 and 6).
    fn close(
        &mut self,
        node: &'b Node,
        spot: Spot,
        facts: &Facts<'b>,
        shared: Vec<(Box<str>, Vec<Declared<'b>>)>,
        map: &mut Map<String, Value>,
    ) {
        let types = self.types(node, &mut HashSet::new());
        if facts.shapeless(types) {
            let Value::Object(open) = self.data(node, spot) else { return };
            map.extend(open);
        }
        if spot.kind != Kind::Closed {
            return;
        }
        for (name, places) in shared {
            let parts = places.iter().map(|p| Part { node: p.node, certain: p.certain() }).collect();
            let below = Spot { role: Role::Nested, plain: false, context: 0, ..spot };
            let value = self.refer(parts, below);
            let closer = json!({ "properties": { &*name: value } });
            match map.get_mut("allOf").and_then(Value::as_array_mut) {
                Some(all) => all.push(closer),
                None => drop(map.insert("allOf".into(), json!([closer]))),
            }
        }
        let says = map.contains_key("additionalProperties") || map.contains_key("unevaluatedProperties");
        if types & OBJECT != 0 && facts.declares && !facts.shapeless_branch && !says {
            map.insert("unevaluatedProperties".into(), Value::Bool(false));
        }
        if types & ARRAY != 0
            && facts.prefix
            && !facts.items
            && spot.direction == Direction::Request
            && !map.contains_key("unevaluatedItems")
        {
            map.insert("unevaluatedItems".into(), Value::Bool(false));
        }
    }

    /// The place of a value that several parts describe: each open, closed by the union of what they declare.
    fn united(&mut self, parts: &[Part<'b>], spot: Spot) -> Value {
        let facts = self.facts(parts, spot.direction);
        let shared = facts.shared(self);
        let context = self.context(&facts, &shared);
        let branch = Spot { kind: spot.kind.branch(), context, ..spot };
        let mut all: Vec<Value> = Vec::new();
        for part in parts {
            let value = self.refer(vec![Part { certain: true, ..*part }], branch);
            all.push(if part.certain { value } else { json!({ "anyOf": [value, true] }) });
        }
        for (name, places) in shared {
            let parts = places.iter().map(|p| Part { node: p.node, certain: p.certain() }).collect();
            let value = self.refer(parts, Spot { role: Role::Nested, plain: false, context: 0, ..spot });
            all.push(json!({ "properties": { &*name: value } }));
        }
        json!({ "allOf": all, "unevaluatedProperties": false })
    }

    /// A schema that says nothing about what is in a value.
    fn data(&mut self, node: &'b Node, spot: Spot) -> Value {
        if spot.role == Role::Body && !self.options.shapeless {
            self.findings.push(
                Finding::error(
                    "body-shapeless",
                    node.at,
                    "the body may be any object; nothing could be checked",
                )
                .help("declare its properties"),
            );
        } else if spot.role == Role::Nested {
            self.warning(
                "object-shapeless",
                node,
                "nothing is declared about what this holds: it passes as data",
            );
        }
        json!({ "portcullisOpen": true })
    }

    fn context(&mut self, facts: &Facts<'b>, shared: &[(Box<str>, Vec<Declared<'b>>)]) -> u32 {
        let context = Context {
            shared: shared.iter().map(|(name, _)| name.clone()).collect(),
            taken_out: facts.taken_out.clone(),
        };
        if let Some(known) = self.contexts.iter().position(|known| *known == context) {
            return known as u32;
        }
        self.contexts.push(context);
        self.contexts.len() as u32 - 1
    }

    /// A schema that describes a value together with others.
    fn part(&mut self, node: &'b Node, spot: Spot) -> Value {
        if let Some(value) = self.boolean(node) {
            return value;
        }
        if self.is_reference(node) {
            return self.referred(node, spot);
        }
        Value::Object(self.keywords(node, spot))
    }

    /// A boolean schema, or what is none at all.
    fn boolean(&mut self, node: &'b Node) -> Option<Value> {
        if node.as_object().is_some() {
            return None;
        }
        match (node.as_bool(), self.version) {
            (Some(value), Version::V31) => Some(Value::Bool(value)),
            _ => {
                self.error("schema-invalid", node, format!("a schema is an object, not {}", node.kind()));
                Some(Value::Bool(false))
            }
        }
    }

    fn below(&mut self, node: &'b Node, spot: Spot) -> Value {
        let spot = Spot { kind: spot.kind.below(), role: Role::Nested, plain: false, context: 0, ..spot };
        // Inline: nothing else refers to it, and references become definitions of their own.
        self.place(&[Part { node, certain: true }], spot)
    }

    fn branch(&mut self, node: &'b Node, spot: Spot) -> Value {
        let spot = Spot { kind: spot.kind.branch(), role: Role::Nested, plain: false, ..spot };
        self.part(node, spot)
    }

    fn raw(&mut self, node: &'b Node, spot: Spot) -> Value {
        let spot = Spot { kind: Kind::Raw, role: Role::Nested, plain: false, context: 0, ..spot };
        self.part(node, spot)
    }

    fn branches(&mut self, list: &'b Node, spot: Spot) -> Value {
        match list.as_array() {
            Some(items) if !items.is_empty() => {
                Value::Array(items.iter().map(|item| self.branch(item, spot)).collect())
            }
            _ => {
                self.error("schema-invalid", list, "at least one schema is needed");
                json!([false])
            }
        }
    }

    fn context_of(&self, spot: Spot) -> Context {
        self.contexts.get(spot.context as usize).cloned().unwrap_or_default()
    }

    /// The keywords of one schema object.
    fn keywords(&mut self, node: &'b Node, spot: Spot) -> Map<String, Value> {
        let mut map = Map::new();
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
        if !map.is_empty() {
            map.insert("portcullisAt".into(), json!([node.at.file, node.at.line]));
        }
        map
    }

    fn type_keyword(&mut self, node: &'b Node, spot: Spot, map: &mut Map<String, Value>) -> Option<u8> {
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

    fn required(&mut self, value: &Node, required: &mut Vec<String>) {
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

    fn properties(
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

    /// Constraints of numbers, strings, counts and values.
    fn scalars(&mut self, node: &'b Node, spot: Spot, types: Option<u8>, map: &mut Map<String, Value>) {
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
            let number =
                |name: &str| map.get(name).map(|value| super::decimal::Decimal::parse(&value.to_string()));
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
    fn number(&mut self, node: &Node, name: &str) -> Option<Value> {
        let literal = node.as_number();
        let Some(value) = literal.and_then(|literal| serde_json::from_str::<Value>(literal).ok()) else {
            self.error("schema-invalid", node, format!("`{name}` is a number"));
            return None;
        };
        let literal = literal.unwrap_or_default();
        if !super::decimal::Decimal::parse(literal).is_precise(literal) {
            let message = format!("`{name}` has more digits than can be compared exactly");
            self.error("number-precision", node, message);
            return None;
        }
        Some(value)
    }

    fn numbers(&mut self, node: &'b Node, map: &mut Map<String, Value>) {
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
            let decimal = super::decimal::Decimal::parse(step.as_number().unwrap_or_default());
            if decimal.is_positive() && decimal.digits() <= 20 {
                map.insert("multipleOf".into(), value);
            } else {
                self.error("schema-invalid", step, "`multipleOf` is above zero");
            }
        }
    }

    fn values(&mut self, node: &'b Node, types: Option<u8>, map: &mut Map<String, Value>) {
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
    fn value(&mut self, node: &Node, types: Option<u8>) -> Value {
        let scalar = node.as_number().is_some() || node.as_bool().is_some();
        if scalar
            && types.is_some_and(|types| {
                types & STRING != 0 && types & (NUMBER | INTEGER | super::plan::BOOLEAN) == 0
            })
        {
            let text = node.scalar_text().unwrap_or_default().to_owned();
            self.remark("enum-text", node, format!("read as the string \"{text}\""));
            return Value::String(text);
        }
        plain(node)
    }

    fn pattern(&mut self, source: &str, at: &Node) {
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

    fn format(&mut self, node: &'b Node, types: Option<u8>, map: &mut Map<String, Value>) {
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
                    let limit_exact = super::decimal::Decimal::parse(limit);
                    let own = map.get(name).map(|own| super::decimal::Decimal::parse(&own.to_string()));
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

    /// What the literal of a number must be like (§ 7.3).
    fn number_guard(&mut self, spot: Spot, types: Option<u8>, map: &mut Map<String, Value>) {
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

    /// Bounds by name for integers at the root of a request (§ 9).
    fn guard(&mut self, node: &'b Node, map: &mut Map<String, Value>) {
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

    /// The alternatives of a loose `oneOf`, closed: `keep` asks them which one is meant.
    fn closed_branches(&mut self, list: &'b Node, spot: Spot) -> Value {
        let closed = Spot { kind: Kind::Closed, role: Role::Nested, plain: false, context: 0, ..spot };
        let parts = list.as_array().unwrap_or_default().iter();
        Value::Array(parts.map(|node| self.refer(vec![Part { node, certain: true }], closed)).collect())
    }

    /// § 7.4: the property is there, and selects the one branch that is asked.
    fn discriminator(&mut self, node: &'b Node, at: &'b Node, spot: Spot, map: &mut Map<String, Value>) {
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

    fn mapping(&mut self, discriminator: &'b Node) -> Vec<(&'b str, &'b Node)> {
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
    fn inherited(&mut self, node: &'b Node, spot: Spot) -> Option<Value> {
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
        let null = self.own_types(node).is_some_and(|types| types & super::plan::NULL != 0);
        Some(json!({
            "type": if null { json!(["object", "null"]) } else { json!("object") },
            "required": [property],
            "portcullisSelect": { "property": property, "branches": branches },
            "portcullisAt": [node.at.file, node.at.line],
        }))
    }

    fn heirs_of(&mut self, base: &Node) -> Vec<(&'b str, &'b Node)> {
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

    fn name_of(&self, node: &Node) -> Option<&'b str> {
        self.components().into_iter().find(|(_, schema)| std::ptr::eq(*schema, node)).map(|(name, _)| name)
    }

    fn components(&self) -> Vec<(&'b str, &'b Node)> {
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

/// Bounds of a page size or offset, where the schema has none.
fn bound(map: &mut Map<String, Value>, types: Option<u8>, maximum: i64) {
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
