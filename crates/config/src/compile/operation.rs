//! The policy of one operation.

use super::access::Rules;
use super::desk::{Desk, Terms};
use super::document::{MAX_ANSWER, MAX_BODY, MAX_UPLOAD, within};
use super::limits::{Top, closer, quota};
use super::object;
use crate::words::At;
use crate::words::api::{self as words, Api, Rule};
use http::HeaderName;
use portcullis_contract::model::{BodyPlan, Mode, Operation};
use portcullis_contract::violation::In;
use portcullis_core::finding::Severity;
use portcullis_core::head::Method;
use portcullis_limits::policy::{Layers, Quota};
use portcullis_plan::access::Access;
use portcullis_plan::api::Operation as Planned;
use portcullis_plan::api::{Exchange, Principal, ResponseMode, ResponseRule};

/// What all operations of an API share.
pub(crate) struct Shared<'w> {
    pub(crate) name: &'w str,
    pub(crate) api: &'w At<Api>,
    pub(crate) principal: &'w Principal,
    /// Issuers whose tokens the API takes.
    pub(crate) issuers: usize,
    /// Limits of the API and of its tags.
    pub(crate) layers: Layers,
    pub(crate) tags: Vec<(String, Layers)>,
    /// Bytes of a body with files.
    pub(crate) upload_bytes: u64,
    /// Seconds in which a body must have come.
    pub(crate) arrival_s: u32,
}

/// Makes the policy. An operation with an error is closed where the API says so: its id joins `failed`.
pub(crate) fn operation(
    desk: &mut Desk<'_>,
    rules: &mut Rules<'_>,
    top: &mut Top,
    shared: &Shared<'_>,
    operation: &Operation,
    failed: &mut Vec<String>,
) -> Option<Planned> {
    let mark = desk.findings.len();
    let access = rules.access(desk, operation);
    let made = policy(desk, top, shared, operation, access);
    let wrong = desk.findings.iter().skip(mark).any(|finding| finding.severity == Severity::Error);
    let close = shared.api.on_error == words::OnError::CloseOperation;
    if !wrong || !close {
        return made;
    }
    failed.push(operation.id.to_string());
    for finding in desk.findings.iter_mut().skip(mark).filter(|finding| finding.severity == Severity::Error) {
        finding.severity = Severity::Warning;
        finding.message.push_str("; the operation is closed");
    }
    made
}

fn policy(
    desk: &mut Desk<'_>,
    top: &mut Top,
    shared: &Shared<'_>,
    operation: &Operation,
    access: Option<Access>,
) -> Option<Planned> {
    let id = &*operation.id;
    let default = words::Operation::default();
    let settings = shared.api.operations.get(id);
    let own = settings.map_or(&default, |settings| &settings.value);
    let at = settings.map_or(operation.at, |settings| settings.at);
    let subject = format!("{}/{id}", shared.name);

    let binds = object::binds(desk, operation, shared.principal, shared.issuers);
    let anonymous = matches!(access, Some(Access::Anonymous { .. }));
    if anonymous && !(binds.is_empty() && operation.extension.scopes.is_empty()) {
        let message = format!("`{id}` is anonymous, and its `authorize` rule asks for a caller");
        desk.error("authorize-anonymous", operation.at, message, "remove one of the two");
    }
    if !anonymous && binds.is_empty() {
        unruled(desk, shared, operation);
    }
    let report_only = own.request.mode.as_ref().is_some_and(|mode| {
        let terms = Terms { because: &mode.because, until: &mode.until, at: mode.at };
        desk.loosen("report", subject.clone(), terms)
    });
    let mut max_bytes = operation.request.max_bytes;
    let of_api = shared.api.request.max_bytes.as_ref().map_or(1 << 20, |size| size.0);
    // What the document says of its own operation holds for files as well.
    let mut upload_bytes = if max_bytes < of_api { max_bytes } else { shared.upload_bytes };
    if let Some(size) = own.request.max_bytes {
        let hard = if takes_files(operation) { MAX_UPLOAD } else { MAX_BODY };
        let wanted = within(desk, "request.max_bytes", size.0, hard, at);
        upload_bytes = closest(max_bytes, of_api, wanted);
        max_bytes = closest(max_bytes, of_api, wanted.min(MAX_BODY));
    }
    let response = response(desk, shared, operation, own, &subject, at);
    let exchange = exchange(desk, shared, operation, own, &subject);
    let quota = limits(desk, top, shared, operation, own, &subject, at);
    let (quota, exchange) = (quota?, exchange?);
    // Without a word about who may call there is no policy; a closed operation lets nobody in.
    let lets_nobody_in = shared.api.on_error == words::OnError::CloseOperation || operation.closed;
    let access = access.or_else(|| lets_nobody_in.then(|| Access::AnyOf(Box::default())))?;
    Some(Planned {
        access,
        scopes: operation.extension.scopes.iter().map(|(scope, _)| scope.clone()).collect(),
        binds: binds.into(),
        limits: quota,
        concurrency: own.concurrency,
        exchange,
        response,
        idempotent: own.idempotent,
        declared_headers: headers(operation),
        max_bytes,
        upload_bytes,
        arrival_s: shared.arrival_s,
        report_only,
        graphql: None,
    })
}

/// Whether a body of the operation may be, or have, a file.
fn takes_files(operation: &Operation) -> bool {
    let contents = operation.body.iter().flat_map(|body| &body.contents);
    contents.into_iter().any(|content| match &content.plan {
        BodyPlan::Upload(_) => true,
        BodyPlan::Multipart(multipart) => multipart.takes_files(),
        _ => false,
    })
}

/// Closer words win, but never over what the document says of its own operation: it has said so where its bound is
/// below the API's.
fn closest(declared: u64, of_api: u64, wanted: u64) -> u64 {
    if declared < of_api { declared.min(wanted) } else { wanted }
}

/// Declared header parameters.
fn headers(operation: &Operation) -> Vec<HeaderName> {
    let declared = operation.parameters.iter().filter(|parameter| parameter.location == In::Header);
    declared.filter_map(|parameter| HeaderName::try_from(&*parameter.name).ok()).collect()
}

/// An id in the path, and nothing says whose object it is: the first entry of the OWASP API list.
fn unruled(desk: &mut Desk<'_>, shared: &Shared<'_>, operation: &Operation) {
    let ids = object::object_ids(operation);
    let Some(first) = ids.first() else { return };
    if operation.closed || loosened(shared.api, Rule::ObjectWithoutRule, &operation.id) {
        return;
    }
    let message = format!(
        "`{} {}` takes an object id; nothing says whose object it is",
        operation.method, operation.template
    );
    let help = format!(
        "add  x-portcullis: {{ authorize: {{ bind: {{ path.{first}: principal.id }} }} }}  where the id is the \
         caller's; `portcullis init --from-spec` lists all such operations; the loosening is `object_without_rule`"
    );
    desk.warning("object-rule-missing", operation.at, message, help);
}

fn loosened(api: &Api, rule: Rule, id: &str) -> bool {
    let covers = |loosen: &words::Loosen| {
        loosen.operations.is_empty() || loosen.operations.iter().any(|o| o.value == id)
    };
    api.loosen.iter().any(|loosen| loosen.allow.value == rule && covers(loosen))
}

fn response(
    desk: &mut Desk<'_>,
    shared: &Shared<'_>,
    operation: &Operation,
    own: &words::Operation,
    subject: &str,
    at: portcullis_core::finding::Span,
) -> ResponseRule {
    let mut mode = match operation.response.mode {
        Mode::Enforce => ResponseMode::Enforce,
        Mode::Filter => ResponseMode::Filter,
        Mode::Report => ResponseMode::Report,
    };
    if let Some(report) = &own.response.mode {
        let terms = Terms { because: &report.because, until: &report.until, at: report.at };
        if desk.loosen("report", format!("{subject} (responses)"), terms) {
            mode = ResponseMode::Report;
        }
    }
    if loosened(shared.api, Rule::UndeclaredFields, &operation.id) {
        mode = ResponseMode::Open;
    }
    let max_bytes = match own.response.max_bytes {
        Some(size) => {
            let wanted = within(desk, "response.max_bytes", size.0, MAX_ANSWER, at);
            let of_api = shared.api.response.max_bytes.as_ref().map_or(10 << 20, |size| size.0);
            closest(operation.response.max_bytes, of_api, wanted)
        }
        None => operation.response.max_bytes,
    };
    ResponseRule { mode, max_bytes }
}

fn exchange(
    desk: &mut Desk<'_>,
    shared: &Shared<'_>,
    operation: &Operation,
    own: &words::Operation,
    subject: &str,
) -> Option<Exchange> {
    if shared.api.grpc.is_some() {
        return Some(Exchange::Grpc);
    }
    let Some(socket) = &own.websocket else {
        let contents = operation.responses.iter().flat_map(|response| &response.contents);
        let events = contents.into_iter().any(|content| content.range.to_string() == "text/event-stream");
        return Some(if events { Exchange::Events } else { Exchange::Plain });
    };
    if operation.method != Method::Get {
        let message = format!("`{}` is no GET, and a WebSocket begins with one", operation.id);
        desk.error("websocket-method", socket.at, message, "declare the WebSocket as a GET");
        return None;
    }
    let Some(opaque) = &socket.opaque else {
        let help = "add  opaque: { allow: messages, because: \"…\", until: … }";
        desk.error("media-opaque", socket.at, "messages of a WebSocket pass unread", help);
        return None;
    };
    let terms = Terms { because: &opaque.because, until: &opaque.until, at: opaque.at };
    if !desk.loosen("opaque", subject, terms) {
        return None;
    }
    let max_message = match socket.max_message {
        Some(size) => within(desk, "websocket.max_message", size.0, MAX_BODY, socket.at),
        None => 256 << 10,
    };
    let mut subprotocols = Vec::new();
    for name in &socket.subprotocols {
        // RFC 6455 § 4.1: an RFC 9110 token.
        if name.is_empty()
            || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
        {
            let message = format!("`{}` is no name of a subprotocol", name.value);
            desk.error(
                "websocket-subprotocol",
                name.at,
                message,
                "a name is one word, such as graphql-transport-ws",
            );
        }
        subprotocols.push(name.as_str().into());
    }
    Some(Exchange::WebSocket { subprotocols, max_message })
}

fn limits(
    desk: &mut Desk<'_>,
    top: &mut Top,
    shared: &Shared<'_>,
    operation: &Operation,
    own: &words::Operation,
    subject: &str,
    at: portcullis_core::finding::Span,
) -> Option<Quota> {
    let mut near = closer(desk, &own.limits);
    // A document can only tighten: the larger cost counts.
    let stated = Some(operation.extension.cost).filter(|cost| *cost > 1);
    near.cost = near.cost.max(stated);
    let named = top.is_sensitive(&operation.id, operation.tags.iter().map(|tag| &**tag));
    let sensitive = named || operation.extension.sensitive;
    let tags: Vec<(String, &Layers)> = shared
        .tags
        .iter()
        .filter(|(tag, _)| operation.tags.iter().any(|known| **known == **tag))
        .map(|(tag, layers)| (format!("{}#{tag}", shared.name), layers))
        .collect();
    let mut levels: Vec<(&str, &Layers)> = vec![(shared.name, &shared.layers)];
    levels.extend(tags.iter().map(|(scope, layers)| (scope.as_str(), *layers)));
    levels.push((subject, &near));
    quota(desk, &top.layers, &levels, subject, sensitive, operation.extension.limits_at.unwrap_or(at))
}
