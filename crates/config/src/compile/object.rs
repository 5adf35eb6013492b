//! Whose object is it: the rules that the document states, and the ids that nobody's rule covers.

use super::desk::Desk;
use portcullis_contract::document::node::escape;
use portcullis_contract::document::{Document, Node};
use portcullis_contract::model::{Operation, Source};
use portcullis_contract::violation::In;
use portcullis_plan::api::{Bind, BindSource, Principal};

/// `x-portcullis: principal`; what is wrong with it the contract has reported.
pub(crate) fn principal(document: &Document) -> Principal {
    let default = Principal::default();
    let root = document.bundle().root().and_then(|root| root.get("x-portcullis"));
    let Some(node) = root.and_then(|root| root.get("principal")) else { return default };
    let attributes = node.get("attributes").and_then(Node::as_object).unwrap_or_default();
    Principal {
        id: node.get("id").and_then(claim).unwrap_or(default.id),
        tenant: node.get("tenant").and_then(claim),
        attributes: attributes
            .iter()
            .filter_map(|(name, node)| Some((name.text.clone(), claim(node)?)))
            .collect(),
    }
}

/// `token.org_id` is the claim `/org_id`.
fn claim(node: &Node) -> Option<Box<str>> {
    Some(format!("/{}", escape(node.as_str()?.strip_prefix("token.")?)).into())
}

/// The `bind` rules of an operation.
pub(crate) fn binds(
    desk: &mut Desk<'_>,
    operation: &Operation,
    principal: &Principal,
    issuers: usize,
) -> Vec<Bind> {
    let mut made = Vec::new();
    for rule in &operation.extension.binds {
        if issuers > 1 && rule.claim == principal.id {
            // authorization.md § 2.1: two issuers may use the same `sub`.
            let message = "this API takes tokens of several issuers, and two of them may use the same id";
            let help = "bind to a claim that only one of them sets, or split the API by issuer";
            desk.error("principal-ambiguous", rule.at, message, help);
        }
        let source = match &rule.from {
            Source::Parameter { location: In::Path, name } => BindSource::Path(name.clone()),
            Source::Parameter { location: In::Query, name } => BindSource::Query(name.clone()),
            Source::Parameter { location: In::Header, name } => {
                BindSource::Header(name.to_ascii_lowercase().into())
            }
            Source::Parameter { location: In::Cookie, name } => {
                let message = format!("the cookie `{name}` cannot be bound to the caller");
                desk.error("bind-source", rule.at, message, "bind a path, query, header or body value");
                continue;
            }
            Source::Body { pointer } => BindSource::Body(pointer.clone()),
        };
        made.push(Bind { source, claim: rule.claim.clone(), at: rule.at });
    }
    made
}

/// Path parameters that look like the id of an object: `id`, `orderId`, `order_id`, `uuid`.
pub(crate) fn object_ids(operation: &Operation) -> Vec<&str> {
    let path = operation.parameters.iter().filter(|parameter| parameter.location == In::Path);
    path.map(|parameter| &*parameter.name).filter(|name| is_object_id(name)).collect()
}

pub(crate) fn is_object_id(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let ends = |suffix: &str| lower.ends_with(suffix);
    let camel = name.len() > 2 && (name.ends_with("Id") || name.ends_with("ID"));
    matches!(lower.as_str(), "id" | "uuid" | "guid" | "ulid")
        || camel
        || ends("_id")
        || ends("-id")
        || ends("uuid")
}

#[cfg(test)]
mod tests {
    use super::is_object_id;

    #[test]
    fn names_that_look_like_ids() {
        for name in ["id", "ID", "orderId", "order_id", "order-id", "uuid", "userUuid", "accountID"] {
            assert!(is_object_id(name), "{name}");
        }
        for name in ["name", "paid", "valid", "grid", "slug", "void", "Id3"] {
            assert!(!is_object_id(name), "{name}");
        }
    }
}
