//! Reads what a document says of files: `x-portcullis: { upload: … }` of a property, under what portcullis.yaml says.

use std::sync::Arc;

use super::extension;
use super::parameter::loosens;
use super::reader::Reader;
use super::terms::Word as _;
use crate::body::MediaRange;
use crate::document::{Finding, Node, Span};
use crate::upload::{FileType, Rename, UploadRules};
use portcullis_core::finding::did_you_mean;

const KEYS: [&str; 7] = ["types", "max_bytes", "max_pixels", "scan", "rename", "original_name", "archive"];

/// The rules of one file: of a part by its property, of a whole body by its media type. `media` is what
/// `encoding.contentType` or the body's key names.
pub(super) fn rules<'d>(
    reader: &mut Reader<'d>,
    schema: &'d Node,
    media: &[MediaRange],
    operation: &str,
    at: Span,
) -> Option<Arc<UploadRules>> {
    let terms = &reader.terms.uploads;
    let before = reader.errors();
    let own = schema.get("x-portcullis").and_then(|extension| extension.get("upload"));
    if let Some(own) = own {
        reader.strict(own, &KEYS, "`upload`");
    }
    let declared = own.and_then(|own| own.get("types")).map(|list| list_of(reader, list, "uploads.types"));
    let listed = declared.or_else(|| (!terms.types.is_empty()).then(|| terms.types.clone()));
    let types = by_media(listed, media);
    if types.is_empty() {
        let message = "nothing says of which types a file may be";
        let help =
            "add  x-portcullis: { upload: { types: [image/png] } }  or `uploads.types` in portcullis.yaml";
        reader.findings.push(Finding::error("upload-types-missing", at, message).help(help));
    }
    let mut rules = UploadRules::new(types, terms.max_bytes);
    rules.active_pdf = terms.active_pdf.iter().any(|loosened| loosened.covers(operation));
    rules.csv_formulas = terms.csv_formulas.iter().any(|loosened| loosened.covers(operation));
    if let Some(own) = own {
        properties(reader, own, &mut rules);
    }
    if rules.types.contains(&FileType::Zip) && rules.entries.is_empty() {
        let message = "every archive is refused here: nothing says what it may hold";
        let help =
            "add  archive: { allow: [image/png] }  to `upload`, or take application/zip from its types";
        reader.findings.push(Finding::warning("upload-archive-closed", at, message).help(help));
    }
    (reader.errors() == before).then(|| Arc::new(rules))
}

fn properties<'d>(reader: &mut Reader<'d>, own: &'d Node, rules: &mut UploadRules) {
    if let Some((bytes, at)) = extension::size(reader, own, "max_bytes") {
        if bytes > rules.max_bytes {
            loosens(reader, at, "upload.max_bytes", "uploads.max_bytes", rules.max_bytes.word());
        }
        rules.max_bytes = bytes.min(rules.max_bytes);
    }
    if let Some(value) = own.get("max_pixels") {
        match value.as_u64().filter(|pixels| (1..=rules.max_pixels).contains(pixels)) {
            Some(pixels) => rules.max_pixels = pixels,
            None => {
                let message = format!("`max_pixels` is a whole number from 1 to {}", rules.max_pixels);
                reader.error("extension-invalid", value.at, message);
            }
        }
    }
    if let Some(value) = own.get("scan") {
        match value.as_str() {
            Some("required") if reader.terms.uploads.scanner => rules.scan_required = true,
            Some("required") => {
                let message = "this file must be scanned, and portcullis.yaml names no scanner";
                let help = "add  uploads: { scan: { clamav: { address: 127.0.0.1:3310 } } }";
                reader.findings.push(Finding::error("upload-scanner-missing", value.at, message).help(help));
            }
            _ => reader.error("extension-invalid", value.at, "`scan` is `required`"),
        }
    }
    if let Some(value) = own.get("rename") {
        rules.rename = match value.as_str() {
            Some("uuid") => Rename::Uuid,
            Some("keep") => Rename::Keep,
            _ => {
                reader.error("extension-invalid", value.at, "`rename` is `uuid` or `keep`");
                Rename::Uuid
            }
        };
    }
    if let Some(value) = own.get("original_name") {
        let name = value.as_str().filter(|name| !name.is_empty() && name.len() <= 100);
        if name.is_none() {
            reader.error("extension-invalid", value.at, "`original_name` is the name of a form field");
        }
        rules.original_name = name.map(Into::into);
    }
    if let Some(archive) = own.get("archive") {
        reader.strict(archive, &["allow"], "`archive`");
        match archive.get("allow") {
            Some(list) => rules.entries = list_of(reader, list, "uploads.types"),
            None => reader.error(
                "extension-invalid",
                archive.at,
                "`archive` names types: `{ allow: [image/png] }`",
            ),
        }
        if rules.entries.iter().any(|kind| is_archive(*kind)) {
            reader.error("extension-invalid", archive.at, "an archive holds no archive");
        }
    }
}

const fn is_archive(kind: FileType) -> bool {
    matches!(
        kind,
        FileType::Zip
            | FileType::Docx
            | FileType::Xlsx
            | FileType::Pptx
            | FileType::Odt
            | FileType::Ods
            | FileType::Odp
    )
}

/// A list of types, each of them known and none of them beyond what portcullis.yaml lists.
fn list_of(reader: &mut Reader<'_>, list: &Node, place: &'static str) -> Vec<FileType> {
    let mut types = Vec::new();
    let one = std::slice::from_ref(list);
    for node in list.as_array().unwrap_or(one) {
        let Some(kind) = node.as_str().and_then(FileType::of_media) else {
            let text = node.as_str().unwrap_or_default();
            let message = format!("`{text}` is no type of a file that can be let in");
            let known = FileType::ALL.iter().map(|kind| kind.media());
            let help = match did_you_mean(text, known) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => {
                    "the guide to uploads lists them; what is not among them is refused always".to_owned()
                }
            };
            reader.findings.push(Finding::error("upload-type-unknown", node.at, message).help(help));
            continue;
        };
        let ceiling = &reader.terms.uploads.types;
        if !ceiling.is_empty() && !ceiling.contains(&kind) {
            let says = ceiling.iter().map(|kind| kind.media()).collect::<Vec<_>>().join(", ");
            loosens(reader, node.at, "upload.types", place, says);
        }
        if !types.contains(&kind) {
            types.push(kind);
        }
    }
    types
}

/// What is left of a list under declared media types; without a list, the types that these name.
fn by_media(listed: Option<Vec<FileType>>, media: &[MediaRange]) -> Vec<FileType> {
    let fits = |kind: FileType, range: &MediaRange| match range {
        MediaRange::Any => true,
        MediaRange::Exact(media) => media.essence() == "application/octet-stream" || kind.is(media.essence()),
        MediaRange::Kind(name) => kind.media().split('/').next() == Some(&**name),
    };
    match listed {
        Some(mut types) => {
            types.retain(|kind| media.is_empty() || media.iter().any(|range| fits(*kind, range)));
            types
        }
        None => {
            let named = media.iter().filter_map(|range| match range {
                MediaRange::Exact(media) => FileType::of_media(media.essence()),
                _ => None,
            });
            let mut types: Vec<FileType> = Vec::new();
            named.for_each(|kind| {
                if !types.contains(&kind) {
                    types.push(kind);
                }
            });
            types
        }
    }
}
