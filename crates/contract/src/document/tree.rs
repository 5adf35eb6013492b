//! What both readers build: the tree, under its bounds, without recursion.

use std::collections::HashMap;

use super::{Bounds, Finding, Key, Node, Span, Value};

/// Builds one tree from the events of a reader.
pub(super) struct Tree {
    open: Vec<Open>,
    done: Option<Node>,
    findings: Vec<Finding>,
    nodes: usize,
    limit: usize,
    depth: usize,
    /// Bytes of text that aliases may copy: the tree stays in proportion to the file.
    copies: usize,
    anchors: HashMap<usize, Option<(Node, usize, usize)>>,
}

struct Open {
    at: Span,
    body: Body,
    anchor: usize,
    /// Nodes and text bytes before it was opened.
    nodes: usize,
}

enum Body {
    Array(Vec<Node>),
    Object(Vec<(Key, Node)>, Option<Key>),
}

/// The reader stops here; what it says is the last finding.
pub(super) type Stop = Finding;

impl Tree {
    pub(super) fn new(bounds: &Bounds) -> Self {
        Self {
            open: Vec::new(),
            done: None,
            findings: Vec::new(),
            nodes: 0,
            limit: bounds.nodes,
            depth: bounds.depth,
            copies: bounds.bytes,
            anchors: HashMap::new(),
        }
    }

    pub(super) fn begin_array(&mut self, at: Span, anchor: usize) -> Result<(), Stop> {
        self.begin(at, Body::Array(Vec::new()), anchor)
    }

    pub(super) fn begin_object(&mut self, at: Span, anchor: usize) -> Result<(), Stop> {
        self.begin(at, Body::Object(Vec::new(), None), anchor)
    }

    /// Whether the next scalar is a key.
    pub(super) fn expects_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { body: Body::Object(_, None), .. }))
    }

    pub(super) fn key(&mut self, text: &str, at: Span) {
        if let Some(Open { body: Body::Object(_, key), .. }) = self.open.last_mut() {
            *key = Some(Key { text: text.into(), at });
        }
    }

    pub(super) fn scalar(&mut self, at: Span, value: Value, anchor: usize) -> Result<(), Stop> {
        self.count(1, at)?;
        let node = Node { at, value };
        self.anchor(anchor, &node, 1)?;
        self.place(node);
        Ok(())
    }

    /// Ends the innermost container, which ends at byte `end`.
    pub(super) fn end(&mut self, end: u32) -> Result<(), Stop> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let mut at = open.at;
        at.end = end.max(at.end);
        let value = match open.body {
            Body::Array(items) => Value::Array(items),
            Body::Object(members, _) => {
                self.duplicates(&members);
                Value::Object(members)
            }
        };
        let node = Node { at, value };
        self.anchor(open.anchor, &node, self.nodes.saturating_sub(open.nodes))?;
        self.place(node);
        Ok(())
    }

    /// Puts a copy of what anchor `id` names here.
    pub(super) fn alias(&mut self, id: usize, at: Span) -> Result<(), Stop> {
        match self.anchors.get(&id) {
            Some(Some((node, nodes, bytes))) => {
                let (node, nodes, bytes) = (node, *nodes, *bytes);
                // Counted before it is copied: expansion stops at the bound, not at the end of memory.
                self.copies = self.copies.checked_sub(bytes).ok_or_else(|| too_many_copies(at))?;
                self.nodes = self.nodes.saturating_add(nodes);
                if self.nodes > self.limit {
                    return Err(too_many(at, self.limit));
                }
                let copy = node.clone();
                if self.open.len() + height(&copy) > self.depth {
                    return Err(too_deep(at, self.depth));
                }
                self.place(copy);
                Ok(())
            }
            _ => Err(Finding::error("document-syntax", at, "the alias stands inside its own anchor")),
        }
    }

    /// The finished tree; `None` when there was no value.
    pub(super) fn finish(self) -> Result<Option<Node>, Vec<Finding>> {
        if self.findings.is_empty() { Ok(self.done) } else { Err(self.findings) }
    }

    /// The findings so far and the one that stopped the reader.
    pub(super) fn stopped(mut self, stop: Stop) -> Vec<Finding> {
        self.findings.push(stop);
        self.findings
    }

    fn begin(&mut self, at: Span, body: Body, anchor: usize) -> Result<(), Stop> {
        let nodes = self.nodes;
        self.count(1, at)?;
        if self.open.len() >= self.depth {
            return Err(too_deep(at, self.depth));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, None);
        }
        self.open.push(Open { at, body, anchor, nodes });
        Ok(())
    }

    fn count(&mut self, nodes: usize, at: Span) -> Result<(), Stop> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > self.limit { Err(too_many(at, self.limit)) } else { Ok(()) }
    }

    fn anchor(&mut self, id: usize, node: &Node, nodes: usize) -> Result<(), Stop> {
        if id != 0 {
            let bytes = weight(node);
            self.copies = self.copies.checked_sub(bytes).ok_or_else(|| too_many_copies(node.at))?;
            self.anchors.insert(id, Some((node.clone(), nodes, bytes)));
        }
        Ok(())
    }

    fn place(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.done = Some(node),
            Some(Open { body: Body::Array(items), .. }) => items.push(node),
            Some(Open { body: Body::Object(members, key), .. }) => {
                if let Some(key) = key.take() {
                    members.push((key, node));
                }
            }
        }
    }

    /// Two equal keys are two readings (the first, the last), so neither is taken.
    fn duplicates(&mut self, members: &[(Key, Node)]) {
        let mut keys: Vec<&Key> = members.iter().map(|(key, _)| key).collect();
        keys.sort_by(|a, b| a.text.cmp(&b.text).then(a.at.start.cmp(&b.at.start)));
        for pair in keys.windows(2) {
            if let [first, second] = pair
                && first.text == second.text
            {
                let message = format!("the key `{}` stands here a second time", second.text);
                let help = format!("the first is on line {}; keep one of them", first.at.line);
                self.findings.push(Finding::error("document-duplicate-key", second.at, message).help(help));
            }
        }
    }
}

fn too_many(at: Span, limit: usize) -> Stop {
    Finding::error(
        "document-bounds",
        at,
        format!("the document has more than {limit} nodes, aliases expanded"),
    )
}

fn too_many_copies(at: Span) -> Stop {
    Finding::error("document-bounds", at, "the aliases of the document copy more text than a file may hold")
}

fn too_deep(at: Span, depth: usize) -> Stop {
    Finding::error("document-bounds", at, format!("the document is nested deeper than {depth}"))
}

/// Bytes of text and structure below a node, roughly.
fn weight(node: &Node) -> usize {
    match &node.value {
        Value::Null | Value::Bool(_) => 1,
        Value::Number(text) | Value::String(text) => text.len().saturating_add(1),
        Value::Array(items) => items.iter().fold(1, |sum, n| sum.saturating_add(weight(n))),
        Value::Object(members) => {
            members.iter().fold(1, |sum, (k, n)| sum.saturating_add(k.text.len()).saturating_add(weight(n)))
        }
    }
}

fn height(node: &Node) -> usize {
    match &node.value {
        Value::Array(items) => 1 + items.iter().map(height).max().unwrap_or(0),
        Value::Object(members) => 1 + members.iter().map(|(_, n)| height(n)).max().unwrap_or(0),
        _ => 0,
    }
}
