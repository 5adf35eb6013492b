//! The OpenAPI document of an API: its files are gathered, then `contract` judges it.

use super::desk::{Desk, Terms as Why};
use crate::words::api::{self as words, Api, Coding, OnError, Rule};
use crate::words::observe::Documents;
use crate::words::{At, Loosening};
use portcullis_contract::document::{Bounds, Document, Files, Loading, load};
use portcullis_contract::model::{
    self as terms, Contract, Loosened, Operation, Pagination, RequestTerms, ResponseTerms, Terms,
};
use portcullis_contract::violation::In;
use portcullis_core::finding::{Severity, Span};
use portcullis_plan::api::Bodies;
use std::path::Path;

/// How large documents may be.
pub(crate) fn bounds(desk: &mut Desk<'_>, words: &At<Documents>) -> Bounds {
    let mut made = Bounds::default();
    let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    let hard = Bounds::HARD;
    let fields = [
        (&mut made.bytes, words.max_bytes.map(|s| size(s.0)), hard.bytes, "max_bytes"),
        (&mut made.files, words.files.map(|n| size(n.into())), hard.files, "files"),
        (&mut made.nodes, words.nodes.map(|n| size(n.into())), hard.nodes, "nodes"),
        (&mut made.depth, words.depth.map(|n| size(n.into())), hard.depth, "depth"),
        (&mut made.schemas, words.schemas.map(|n| size(n.into())), hard.schemas, "schemas"),
        (&mut made.patterns, words.patterns.map(|n| size(n.into())), hard.patterns, "patterns"),
    ];
    for (slot, value, hard, name) in fields {
        let Some(value) = value else { continue };
        if (1..=hard).contains(&value) {
            *slot = value;
        } else {
            let message = format!("`documents.{name}` is outside its hard limit");
            desk.error("bound-too-large", words.at, message, format!("it is at least 1 and at most {hard}"));
        }
    }
    made
}

/// Gathers the files of a document.
pub(crate) fn gather(
    desk: &mut Desk<'_>,
    path: &Path,
    at: Span,
    overlay: Option<&At<String>>,
    bounds: Bounds,
) -> Option<Document> {
    let mut files = Files::new(bounds);
    let max = u64::try_from(bounds.bytes).unwrap_or(u64::MAX);
    if let Some(overlay) = overlay {
        let path = desk.files.path(overlay);
        match desk.files.text(&path, max, overlay.at) {
            Ok((id, text)) => files.overlay(id, overlay, text.as_bytes()),
            Err(finding) => desk.findings.push(*finding),
        }
    }
    let (id, text) = match desk.files.text(path, max, at) {
        Ok(read) => read,
        Err(finding) => {
            desk.findings.push(*finding);
            return None;
        }
    };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    files.add(id, &name, text.as_bytes());
    loop {
        match load(&mut files) {
            Loading::Needs(names) => {
                for name in names {
                    match desk.files.beside(path, &name, max) {
                        Some((id, text)) => files.add(id, &name, text.as_bytes()),
                        None => files.missing(&name),
                    }
                }
            }
            Loading::Loaded(document) => return Some(document),
            Loading::Refused(findings) => {
                desk.findings.extend(findings);
                return None;
            }
        }
    }
}

/// Lets `contract` judge the document.
pub(crate) fn contract(desk: &mut Desk<'_>, document: &Document, terms: &Terms) -> Option<Contract> {
    match terms::compile(document, terms) {
        Ok(compiled) => {
            // There are errors only under `on_error: close_operation`: what needs them is closed, and the rest stands.
            desk.findings.extend(compiled.findings.into_iter().map(|mut finding| {
                if finding.severity == Severity::Error {
                    finding.severity = Severity::Warning;
                    finding.message.push_str("; what needs it is closed");
                }
                finding
            }));
            Some(compiled.contract)
        }
        Err(findings) => {
            desk.findings.extend(findings);
            None
        }
    }
}

/// The places in the path, from 0, that whole integer parameters fill: digits there are no card number.
pub(crate) fn integer_segments(base: &str, operation: &Operation) -> Vec<usize> {
    let is_integer = |segment: &str| {
        let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let mut path = operation.parameters.iter().filter(|p| p.location == In::Path && p.is_integer());
        name.is_some_and(|name| path.any(|parameter| *parameter.name == *name))
    };
    let before = base.split('/').filter(|part| !part.is_empty()).count();
    let segments = operation.template.split('/').skip(1).enumerate();
    segments
        .filter(|(_, segment)| is_integer(segment))
        .map(|(index, _)| before.saturating_add(index))
        .collect()
}

/// The document of a gRPC service: each method is an opaque POST.
pub(crate) fn grpc(
    desk: &mut Desk<'_>,
    name: &str,
    grpc: &At<words::Grpc>,
    bounds: Bounds,
) -> Option<Document> {
    let mut good = true;
    let mut paths = serde_json::Map::new();
    for method in &grpc.methods {
        let part = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_'))
        };
        match method.split_once('/') {
            Some((service, call)) if part(service) && part(call) => {
                let content = serde_json::json!({ "application/grpc": {} });
                let operation = serde_json::json!({ "post": {
                    "operationId": method.value,
                    "requestBody": { "required": true, "content": content },
                    "responses": { "200": { "description": "gRPC", "content": content } },
                } });
                if paths.insert(format!("/{}", method.value), operation).is_some() {
                    desk.error("grpc-method", method.at, "this method stands here twice", "keep one of them");
                    good = false;
                }
            }
            _ => {
                let message = format!("`{}` is not a gRPC method", method.value);
                desk.error("grpc-method", method.at, message, "write package.Service/Method");
                good = false;
            }
        }
    }
    let allowed = grpc.opaque.as_ref().is_some_and(|opaque| {
        let terms = Why { because: &opaque.because, until: &opaque.until, at: opaque.at };
        desk.loosen("opaque", name, terms)
    });
    if grpc.opaque.is_none() {
        let help = "add  opaque: { allow: [application/grpc], because: \"…\", until: … }";
        desk.error("media-opaque", grpc.at, "gRPC messages pass unread", help);
    }
    if !good || !allowed {
        return None;
    }
    let document = serde_json::json!({
        "openapi": "3.0.3", "info": { "title": name, "version": "grpc" }, "paths": paths,
    });
    let text = serde_json::to_string_pretty(&document).unwrap_or_default();
    load_made(desk, &format!("{name} (grpc)"), "grpc.json", &text, bounds)
}

/// Loads a document that the program makes or brings along: one text, which refers to no other. `shown` names it in
/// findings; the end of `file` says which language it is.
pub(crate) fn load_made(
    desk: &mut Desk<'_>,
    shown: &str,
    file: &str,
    text: &str,
    bounds: Bounds,
) -> Option<Document> {
    let id = desk.files.sources.add(shown, text);
    let mut files = Files::new(bounds);
    files.add(id, file, text.as_bytes());
    match load(&mut files) {
        Loading::Loaded(document) => Some(document),
        Loading::Refused(findings) => {
            desk.findings.extend(findings);
            None
        }
        Loading::Needs(_) => None,
    }
}

/// What the configuration says to the contract.
pub(crate) fn terms(desk: &mut Desk<'_>, name: &str, api: &At<Api>) -> Terms {
    let mut made = Terms {
        base_path: api.base_path.as_ref().map(|path| path.trim_end_matches('/').to_owned()),
        request: request(desk, &api.request),
        response: response(desk, api),
        on_error: match api.on_error {
            OnError::Refuse => terms::OnError::Refuse,
            OnError::CloseOperation => terms::OnError::CloseOperation,
        },
        strict: api.strict,
        head_from_get: api.head == words::Head::FromGet,
        places: places(api),
        uploads: super::uploads::terms(desk, api),
        ..Terms::default()
    };
    if let Some(path) = &api.base_path
        && !(path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#')))
    {
        let message = format!("`{}` is not a path", path.value);
        desk.error("base-path", path.at, message, "it begins with `/`, such as /v1");
    }
    for (id, operation) in api.operations.iter() {
        let subject = format!("{name}/{}", id.value);
        if operation.closed {
            made.closed.push(id.value.clone());
        }
        if let Some(opaque) = &operation.request.opaque
            && loosened(desk, "opaque", &subject, opaque)
        {
            let names = opaque.allow.iter().map(|media| media.value.clone()).collect();
            made.opaque.push(Loosened { operations: vec![id.value.clone()], names });
        }
    }
    if let Some(grpc) = &api.grpc
        && grpc.opaque.is_some()
    {
        made.opaque
            .push(Loosened { operations: vec!["*".to_owned()], names: vec!["application/grpc".to_owned()] });
    }
    for loosen in &api.loosen {
        loosening(desk, name, loosen, &mut made);
    }
    made
}

fn loosened<T>(desk: &mut Desk<'_>, name: &'static str, subject: &str, words: &At<Loosening<T>>) -> bool {
    let terms = Why { because: &words.because, until: &words.until, at: words.at };
    desk.loosen(name, subject, terms)
}

fn loosening(desk: &mut Desk<'_>, api: &str, words: &At<words::Loosen>, made: &mut Terms) {
    let rule = words.allow.value;
    let named = matches!(rule, Rule::HeaderNames | Rule::ReservedHeader | Rule::SecretParameter);
    if named == words.of.is_empty() {
        let (message, help) = if named {
            (format!("`{}` is about names, and names none", rule.name()), "add  of: [NAME]")
        } else {
            (format!("`{}` is not about names", rule.name()), "remove `of`")
        };
        desk.error("loosening-names", words.at, message, help);
        return;
    }
    let whole = matches!(
        rule,
        Rule::PlaintextUpstream | Rule::HeaderNames | Rule::LenientIntegers | Rule::BidiControls
    );
    if whole && !words.operations.is_empty() {
        let message = format!("`{}` holds for the whole API", rule.name());
        desk.error("loosening-operations", words.at, message, "remove `operations`");
        return;
    }
    // `plaintext_upstream` is entered where the upstream is made.
    let terms = Why { because: &words.because, until: &words.until, at: words.at };
    if rule == Rule::PlaintextUpstream || !desk.loosen(rule.name(), subject(api, words), terms) {
        return;
    }
    let operations = if words.operations.is_empty() {
        vec!["*".to_owned()]
    } else {
        words.operations.iter().map(|id| id.value.clone()).collect()
    };
    let list = Loosened { operations, names: words.of.iter().map(|name| name.value.clone()).collect() };
    match rule {
        Rule::ReservedHeader => made.reserved_header.push(list),
        Rule::SecretParameter => made.secret_parameter.push(list),
        Rule::Shapeless => made.shapeless.push(list),
        Rule::UnknownParameters => made.unknown_parameters.push(list),
        Rule::UnknownProperties => made.unknown_properties.push(list),
        Rule::VerbatimBody => made.verbatim.push(list),
        Rule::LenientIntegers => made.lenient_integers = true,
        Rule::BidiControls => made.request.bidi_controls = true,
        // These are not the contract's.
        Rule::PlaintextUpstream
        | Rule::HeaderNames
        | Rule::UndeclaredFields
        | Rule::ObjectWithoutRule
        | Rule::Unscanned => {}
        Rule::ActivePdf => made.uploads.active_pdf.push(list),
        Rule::CsvFormulas => made.uploads.csv_formulas.push(list),
    }
}

fn subject(api: &str, words: &words::Loosen) -> String {
    let list =
        |words: &[At<String>]| words.iter().map(|word| word.value.as_str()).collect::<Vec<_>>().join(", ");
    let mut text = api.to_owned();
    if !words.operations.is_empty() {
        text.push('/');
        text.push_str(&list(&words.operations));
    }
    if !words.of.is_empty() {
        text.push_str(": ");
        text.push_str(&list(&words.of));
    }
    text
}

/// The hard maximum of a body without uploads (contract.md § 11.3).
pub(crate) const MAX_BODY: u64 = 10 << 20;
/// The hard maximum of a body with files in it.
pub(crate) const MAX_UPLOAD: u64 = 1 << 30;
/// The largest answer that is read into memory.
pub(crate) const MAX_ANSWER: u64 = 256 << 20;

/// A size within its hard maximum.
pub(crate) fn within(desk: &mut Desk<'_>, name: &str, size: u64, hard: u64, at: Span) -> u64 {
    if size == 0 || size > hard {
        let message = format!("`{name}` is outside its hard limit");
        desk.error(
            "bound-too-large",
            at,
            message,
            format!("it is at least 1B and at most {}MiB", hard >> 20),
        );
    }
    size.clamp(1, hard)
}

/// Bytes of a body with files in it.
pub(crate) fn upload_bytes(desk: &mut Desk<'_>, api: &Api) -> u64 {
    match &api.uploads.max_bytes {
        Some(size) => within(desk, "uploads.max_bytes", size.0, MAX_UPLOAD, size.at),
        None => 25 << 20,
    }
}

/// How bodies arrive.
pub(crate) fn bodies(desk: &mut Desk<'_>, api: &Api) -> Bodies {
    let codings = api.request.codings.as_deref().unwrap_or(&[Coding::Gzip, Coding::Br]);
    let max_ratio = match &api.request.max_ratio {
        Some(ratio) if !(1..=1000).contains(&ratio.value) => {
            let message = "`request.max_ratio` is outside its hard limit";
            desk.error("bound-too-large", ratio.at, message, "it is at least 1 and at most 1000");
            1
        }
        Some(ratio) => ratio.value,
        None => 100,
    };
    let spool = match &api.uploads.spool {
        Some(folder) => {
            let path = crate::files::folder_of(&desk.files.path(folder)).to_owned();
            if !path.is_dir() {
                let message = format!("there is no folder `{}`", folder.value);
                desk.error("spool-missing", folder.at, message, "make it, for the user that runs Portcullis");
            }
            path
        }
        None => std::env::temp_dir(),
    };
    Bodies {
        gzip: codings.contains(&Coding::Gzip),
        brotli: codings.contains(&Coding::Br),
        zstd: codings.contains(&Coding::Zstd),
        max_ratio,
        spool: spool.into(),
        scan: super::uploads::scan(desk, api),
    }
}

fn request(desk: &mut Desk<'_>, words: &At<words::Request>) -> RequestTerms {
    let default = RequestTerms::default();
    let pages = &words.pagination;
    let usual = Pagination::default();
    RequestTerms {
        max_bytes: match &words.max_bytes {
            Some(size) => within(desk, "request.max_bytes", size.0, MAX_BODY, size.at),
            None => default.max_bytes,
        },
        max_depth: words.max_depth.as_deref().copied().unwrap_or(default.max_depth),
        max_values: words.max_values.as_deref().copied().unwrap_or(default.max_values),
        unknown: match words.unknown.value {
            words::Unknown::Reject => terms::Unknown::Reject,
            words::Unknown::Strip => terms::Unknown::Strip,
        },
        read_only: match words.read_only.value {
            words::ReadOnly::Reject => terms::ReadOnly::Reject,
            words::ReadOnly::Strip => terms::ReadOnly::Strip,
        },
        text: match words.default_text.value {
            words::Text::None => terms::TextRule::None,
            words::Text::Code => terms::TextRule::Code,
            words::Text::Plain => terms::TextRule::Plain,
        },
        require_length: words.require_length.value,
        pagination: Pagination {
            maximum: pages.maximum.unwrap_or(usual.maximum),
            offset: pages.offset.unwrap_or(usual.offset),
            ceiling: pages.ceiling.unwrap_or(usual.ceiling),
            over: match pages.over {
                words::Over::Reject => terms::Over::Reject,
                words::Over::Clamp => terms::Over::Clamp,
            },
        },
        ..default
    }
}

fn response(desk: &mut Desk<'_>, api: &At<Api>) -> ResponseTerms {
    let default = ResponseTerms::default();
    let words = &api.response;
    ResponseTerms {
        mode: match words.mode.value {
            words::Mode::Filter => terms::Mode::Filter,
            words::Mode::Enforce => terms::Mode::Enforce,
        },
        unknown: match words.unknown.value {
            words::Undeclared::Strip => terms::Unknown::Strip,
            words::Undeclared::Reject => terms::Unknown::Reject,
        },
        errors: match words.errors.value {
            words::Errors::List => terms::Errors::List,
            words::Errors::None => terms::Errors::None,
        },
        violation_status: match &words.violation_status {
            Some(status) if matches!(status.value, 400 | 422) => status.value,
            Some(status) => {
                let message = format!("`{}` is no status of a violation", status.value);
                desk.error("status-invalid", status.at, message, "it is 400 or 422");
                default.violation_status
            }
            None => default.violation_status,
        },
        max_bytes: match &words.max_bytes {
            Some(size) => within(desk, "response.max_bytes", size.0, MAX_ANSWER, size.at),
            None => default.max_bytes,
        },
        ..default
    }
}

/// Where the configuration says what a document may be compared with.
fn places(api: &Api) -> Vec<(&'static str, Span)> {
    let (request, response) = (&api.request, &api.response);
    let nowhere = Span::default();
    vec![
        ("request.max_bytes", request.max_bytes.as_ref().map_or(nowhere, |size| size.at)),
        ("request.max_depth", request.max_depth.as_ref().map_or(nowhere, |depth| depth.at)),
        ("request.max_values", request.max_values.as_ref().map_or(nowhere, |values| values.at)),
        ("request.unknown", request.unknown.at),
        ("request.read_only", request.read_only.at),
        ("request.text", request.default_text.at),
        ("request.default_text", request.default_text.at),
        ("request.require_length", request.require_length.at),
        ("request.pagination", request.pagination.at),
        ("uploads.max_bytes", api.uploads.max_bytes.as_ref().map_or(nowhere, |size| size.at)),
        ("uploads.types", api.uploads.types.first().map_or(nowhere, |word| word.at)),
        ("response.mode", response.mode.at),
        ("response.unknown", response.unknown.at),
        ("response.errors", response.errors.at),
        ("response.max_bytes", response.max_bytes.as_ref().map_or(nowhere, |size| size.at)),
    ]
}
