//! Reads what a document says of files.

use std::sync::Arc;

use super::reader::Reader;
use crate::body::MediaRange;
use crate::document::{Finding, Node, Span};
use crate::upload::{Rename, UploadRules};

/// The rules of one file: of a part by its property, of a whole body by its media type. `media` is what
/// `encoding.contentType` or the body's key names.
pub(super) fn rules(
    reader: &mut Reader<'_>,
    _schema: &Node,
    media: &[MediaRange],
    _operation: &str,
    at: Span,
) -> Option<Arc<UploadRules>> {
    let types: Vec<Box<str>> = media
        .iter()
        .filter_map(|range| match range {
            MediaRange::Exact(media) => Some(media.essence().into()),
            _ => None,
        })
        .collect();
    if types.is_empty() {
        let message = "nothing says of which types a file may be";
        reader.findings.push(Finding::error("upload-types-missing", at, message).help(
            "add  x-portcullis: { upload: { types: [image/png] } }  or `uploads.types` in portcullis.yaml",
        ));
        return None;
    }
    let max_bytes = 25 << 20;
    Some(Arc::new(UploadRules { max_bytes, types, rename: Rename::Uuid, original_name: None }))
}
