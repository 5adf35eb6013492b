//! JSON Patch (RFC 6902) against what a schema declares (contract.md § 8): a patch writes to any place that it names, so
//! each place must be declared, and none may be the server's own.

use std::collections::HashMap;

use crate::json::{Kind, Node, Tape};
use crate::schema::CompiledSchema;
use crate::violation::{MOST, Rule, Violation};

/// Operations of one patch.
const OPERATIONS: u32 = 100;

/// What a patch may reach.
#[derive(Debug)]
pub struct Patch {
    /// The schema of the patch document itself, where the document declares one.
    pub(crate) own: Option<CompiledSchema>,
    /// The places of the patched value; the first is its root.
    pub(crate) places: Vec<Reach>,
}

/// One place of the patched value, with what stands below it.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// What may be written here; `None` while it is made.
    pub(crate) schema: Option<CompiledSchema>,
    /// Declared members; `None` for those that no request may write.
    pub(crate) members: HashMap<Box<str>, Option<usize>>,
    /// Members of a map.
    pub(crate) others: Option<usize>,
    /// Items of a list.
    pub(crate) items: Option<usize>,
}

impl Patch {
    /// What is wrong with a patch, each at its place in the body.
    pub fn violations(&self, tape: &Tape) -> Vec<Violation> {
        let root = tape.root();
        let mut found = Vec::new();
        if root.kind() != Kind::Array {
            return vec![told(root, Rule::Type)];
        }
        if root.len() > OPERATIONS {
            return vec![told(root, Rule::MaxItems)];
        }
        if let Some(own) = self.own.as_ref().filter(|own| !own.is_valid(tape)) {
            found = own.violations(tape);
        }
        for operation in root.items() {
            if found.len() >= MOST {
                break;
            }
            if let Err(violation) = self.operation(operation)
                && found.iter().all(|known| known.at != violation.at)
            {
                found.push(violation);
            }
        }
        found
    }

    fn operation(&self, operation: Node<'_>) -> Result<(), Violation> {
        if operation.kind() != Kind::Object {
            return Err(told(operation, Rule::Type));
        }
        let op = text(operation, "op")?;
        let needs: &[&str] = match op.as_str() {
            Some("add" | "replace" | "test") => &["op", "path", "value"],
            Some("remove") => &["op", "path"],
            Some("move" | "copy") => &["op", "path", "from"],
            _ => return Err(told(op, Rule::Enum)),
        };
        for (name, member) in operation.members() {
            if !needs.contains(&name) {
                return Err(told(member, Rule::UnknownProperty));
            }
        }
        let place = self.reach(text(operation, "path")?)?;
        if needs.contains(&"from") {
            self.reach(text(operation, "from")?)?;
        }
        if needs.contains(&"value") {
            let value = operation.get("value").ok_or_else(|| missing(operation, "value"))?;
            // Whole objects are written at once, too: nothing undeclared inside them.
            if let Some(rule) = place.schema.as_ref().and_then(|schema| schema.broken_at(value)) {
                return Err(told(value, rule));
            }
        }
        Ok(())
    }

    /// The place that a pointer leads to; the empty one would replace the whole value.
    fn reach(&self, pointer: Node<'_>) -> Result<&Reach, Violation> {
        let text = pointer.as_str().unwrap_or_default();
        let Some(rest) = text.strip_prefix('/') else {
            return Err(told(pointer, if text.is_empty() { Rule::NotAllowed } else { Rule::Syntax }));
        };
        let mut here = self.places.first().ok_or_else(|| told(pointer, Rule::NotAllowed))?;
        for token in rest.split('/') {
            let name = crate::document::node::unescape(token).ok_or_else(|| told(pointer, Rule::Syntax))?;
            let next = match here.members.get(&*name) {
                Some(Some(next)) => Some(*next),
                Some(None) => return Err(told(pointer, Rule::NotAllowed)),
                None if is_index(&name) && here.items.is_some() => here.items,
                None => here.others,
            };
            here = next
                .and_then(|next| self.places.get(next))
                .ok_or_else(|| told(pointer, Rule::UnknownProperty))?;
        }
        Ok(here)
    }
}

/// RFC 6901 § 4: digits without a leading zero, or `-` for the one behind the last.
fn is_index(text: &str) -> bool {
    text == "-"
        || text == "0"
        || (!text.starts_with('0') && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
}

fn text<'t>(operation: Node<'t>, name: &str) -> Result<Node<'t>, Violation> {
    let value = operation.get(name).ok_or_else(|| missing(operation, name))?;
    if value.as_str().is_none() { Err(told(value, Rule::Type)) } else { Ok(value) }
}

fn told(node: Node<'_>, rule: Rule) -> Violation {
    Violation::pointer(rule, node.location(), "JSON patch")
}

fn missing(operation: Node<'_>, name: &str) -> Violation {
    Violation::pointer(Rule::Required, format!("{}/{name}", operation.location()), "JSON patch")
}
