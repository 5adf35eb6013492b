//! The members of a request (contract.md § 16.1).

use super::refused::{Bound, Judged, malformed, too_complex};
use crate::json::{Kind, Node};

/// One request of a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'t> {
    pub(super) query: Option<&'t str>,
    pub(super) operation_name: Option<&'t str>,
    pub(super) variables: Option<Node<'t>>,
    /// `extensions.persistedQuery.sha256Hash`.
    pub(super) id: Option<&'t str>,
}

/// The requests of a body: one, or up to `batch` in an array.
pub(super) fn read(root: Node<'_>, batch: u32) -> Judged<Vec<Request<'_>>> {
    if root.kind() != Kind::Array {
        return Ok(vec![one(root)?]);
    }
    if root.len() > batch {
        return Err(too_complex(Bound::Batch));
    }
    if root.is_empty() {
        return Err(malformed("batch-empty"));
    }
    root.items().map(one).collect()
}

fn one(node: Node<'_>) -> Judged<Request<'_>> {
    if node.kind() != Kind::Object {
        return Err(malformed("no-object"));
    }
    let mut request = Request { query: None, operation_name: None, variables: None, id: None };
    for (name, value) in node.members() {
        match name {
            "query" => request.query = text(value)?,
            "operationName" => request.operation_name = text(value)?,
            "variables" => request.variables = object(value)?,
            // Clients add their own; all but one word of it ends here.
            "extensions" => {
                let persisted = object(value)?.and_then(|extensions| extensions.get("persistedQuery"));
                let Some(persisted) = persisted else { continue };
                let hash = object(persisted)?.and_then(|persisted| persisted.get("sha256Hash"));
                request.id = match hash {
                    Some(hash) => text(hash)?,
                    None => None,
                };
            }
            _ => return Err(malformed("member-unknown")),
        }
    }
    Ok(request)
}

fn text(value: Node<'_>) -> Judged<Option<&str>> {
    if value.is_null() { Ok(None) } else { value.as_str().map(Some).ok_or(malformed("member-not-a-string")) }
}

fn object(value: Node<'_>) -> Judged<Option<Node<'_>>> {
    match value.kind() {
        Kind::Null => Ok(None),
        Kind::Object => Ok(Some(value)),
        _ => Err(malformed("member-not-an-object")),
    }
}
