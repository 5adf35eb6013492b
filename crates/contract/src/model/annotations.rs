//! Objects without effect on purpose: their keys are looked at all the same, for a slip in one may be a constraint
//! that went astray.

use super::keys::Kind;
use super::reader::Reader;
use crate::document::Node;

/// `info`, `tags` and `externalDocs` of the document.
pub(crate) fn root<'d>(reader: &mut Reader<'d>, root: &'d Node) {
    if let Some(info) = object(reader, root, "info", Kind::Info) {
        object(reader, info, "contact", Kind::Contact);
        object(reader, info, "license", Kind::License);
    }
    external_docs(reader, root);
    for tag in reader.items(root, "tags") {
        if let Some(tag) = reader.object(tag, Kind::Tag) {
            external_docs(reader, tag);
        }
    }
}

/// `externalDocs` of an object.
pub(crate) fn external_docs<'d>(reader: &mut Reader<'d>, node: &'d Node) {
    object(reader, node, "externalDocs", Kind::ExternalDocs);
}

/// Components, reached by an operation or not; schemas are their compiler's.
pub(crate) fn components<'d>(reader: &mut Reader<'d>, components: Option<&'d Node>) {
    let Some(components) = components else { return };
    for (key, kind) in [
        ("parameters", Kind::Parameter),
        ("headers", Kind::Header),
        ("requestBodies", Kind::RequestBody),
        ("responses", Kind::Response),
        ("examples", Kind::Example),
        ("links", Kind::Link),
        ("pathItems", Kind::PathItem),
    ] {
        for (_, node) in reader.members(components, key) {
            let node = reader.object(node, kind);
            if let (Some(node), Kind::Response) = (node, kind) {
                links(reader, node);
            }
        }
    }
}

/// `links` of a response.
pub(crate) fn links<'d>(reader: &mut Reader<'d>, response: &'d Node) {
    for (_, link) in reader.members(response, "links") {
        reader.object(link, Kind::Link);
    }
}

fn object<'d>(reader: &mut Reader<'d>, node: &'d Node, key: &str, kind: Kind) -> Option<&'d Node> {
    let child = node.get(key)?;
    reader.object(child, kind)
}
