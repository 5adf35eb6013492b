//! From the schemas of OpenAPI 3.0 and 3.1 to JSON Schema 2020-12, closed and in one direction.

mod choice;
mod object;
mod place;
mod scalars;

use std::collections::{BTreeSet, HashMap, HashSet};

use portcullis_core::finding::Finding;
use serde_json::{Value, json};

use super::format::Formats;
use super::pattern::Patterns;
use super::plan::{Id, NEVER, Planner, Schema};
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
    /// Holds what no schema describes.
    open: bool,
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
    by_context: HashMap<Context, u32>,
    planner: Planner,
    /// Of schemas in the arena that are complete: how deep and how many are asked about one value.
    extents: HashMap<Id, (u32, u64)>,
    /// Up to here definitions are translated.
    done: usize,
    /// Of the definition at work.
    uses: Vec<u32>,
    findings: Vec<Finding>,
    /// Schema objects that were reached, in the order in which they were.
    met: HashMap<usize, usize>,
    /// Schemas whose `allOf` names the key: how inheritance is written.
    heirs: Option<HashMap<usize, Vec<(&'b str, &'b Node)>>>,
}

/// Schemas asked about one value, through `$ref` and composition.
const IN_PLACE_DEPTH: u32 = 48;
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
            by_context: HashMap::from([(Context::default(), 0)]),
            extents: HashMap::new(),
            planner: Planner::new(),
            done: 0,
            uses: Vec::new(),
            findings: Vec::new(),
            met: HashMap::new(),
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
                definition.open = is_open(&value);
                definition.value = value;
                definition.uses = uses;
                definition.findings = findings;
            }
            self.done += 1;
        }
        root
    }

    /// What was found in these definitions and all that they reach.
    pub(super) fn findings(&mut self, roots: impl Iterator<Item = u32>) -> Vec<Finding> {
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
        let reached = self.reached(std::iter::once(root));
        reached
            .iter()
            .any(|index| self.definitions.get(*index as usize).is_some_and(|definition| definition.open))
    }

    /// Whether something is said about single strings: rules about text, or URLs.
    pub(super) fn is_marked(&self, root: u32) -> bool {
        let reached = self.reached(std::iter::once(root));
        let of = |index: &u32| self.definitions.get(*index as usize);
        reached.iter().filter_map(of).any(|definition| is_marked(&definition.value))
    }

    /// The arena's index of a definition.
    pub(super) fn planned(&self, definition: u32) -> Id {
        self.planner.definitions.get(definition as usize).copied().unwrap_or(NEVER)
    }

    /// The arena.
    pub(super) fn take_schemas(&mut self) -> Vec<Schema> {
        std::mem::take(&mut self.planner.schemas)
    }

    #[cfg(test)]
    pub(super) fn definitions(&self) -> usize {
        self.definitions.len()
    }

    /// All definitions as one 2020-12 document.
    #[cfg(test)]
    pub(super) fn document(&self, root: u32) -> Value {
        let definitions: serde_json::Map<String, Value> = self
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
    fn circles(&mut self, reached: &[u32], found: &mut Vec<Finding>) {
        let mut known = std::mem::take(&mut self.extents);
        for index in reached {
            let first = self.definitions.get(*index as usize).and_then(|definition| definition.parts.first());
            let Some(at) = first.map(|part| part.node.at) else { continue };
            let (code, message) = match self.extent(self.planned(*index), &mut known, &mut Vec::new()) {
                Some((depth, size)) if depth <= IN_PLACE_DEPTH && size <= IN_PLACE_SIZE => continue,
                Some(_) => ("schema-bounds", "too many schemas describe one value here"),
                None => ("ref-cycle", "the schema contains itself without a property or item between"),
            };
            found.push(Finding::error(code, at, message));
            break;
        }
        self.extents = known;
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
            let (value, open, uses, findings) = (Value::Bool(false), false, Vec::new(), Vec::new());
            self.definitions.push(Definition { parts, spot, value, open, uses, findings });
        }
        self.uses.push(index);
        index
    }

    fn refer(&mut self, parts: Vec<Part<'b>>, spot: Spot) -> Value {
        json!({ "$ref": format!("#/$defs/{}", self.definition(parts, spot)) })
    }

    /// Counts a schema object: past the bound each further one is an error, wherever it is met.
    fn met(&mut self, node: &Node) {
        let next = self.met.len();
        let order = *self.met.entry(std::ptr::from_ref(node).addr()).or_insert(next);
        if order >= self.options.schemas {
            let message = format!("more than {} schemas are reached", self.options.schemas);
            self.findings.push(
                Finding::error("document-bounds", node.at, message)
                    .help("raise `documents.schemas` in portcullis.yaml"),
            );
        }
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
                    self.findings.push(keywords::sibling(key));
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
}

fn is_marked(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.iter().any(|(key, value)| match key.as_str() {
            "portcullisText" | "portcullisUrl" => true,
            "format" => value.as_str().is_some_and(|format| format.starts_with("uri")),
            "enum" | "const" | "required" => false,
            _ => is_marked(value),
        }),
        Value::Array(values) => values.iter().any(is_marked),
        _ => false,
    }
}

/// Whether a schema lets data through. `additionalProperties` counts: among what it lets through never-leak names
/// are looked for.
fn is_open(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.iter().any(|(key, value)| match key.as_str() {
            "portcullisOpen" | "patternProperties" => true,
            "additionalProperties" | "unevaluatedProperties" => *value != Value::Bool(false),
            "enum" | "const" | "required" => false,
            _ => is_open(value),
        }),
        Value::Array(values) => values.iter().any(is_open),
        _ => false,
    }
}
