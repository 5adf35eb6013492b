//! Parameters and body: read once, checked against the contract, written anew (contract.md § 4).
//!
//! No body byte is asked for before the permit exists; the first failing step answers.

mod accept;

use super::authorize::OperationPermit;
use super::cors;
use super::identify::{Identified, Provisional};
use super::route::Matched;
use crate::passage::Passage;
use crate::wire::upgrade::Offer;
use crate::wire::{Arrival, InBody};
use bytes::Bytes;
use http::header::ACCEPT_ENCODING;
use http::{HeaderName, HeaderValue};
use portcullis_contract::body::MediaType;
use portcullis_contract::body::form::FormBody;
use portcullis_contract::body::text::{self, TextRules};
use portcullis_contract::json::{self, Bounds, JsonProblem, Keep, Tape};
use portcullis_contract::model::{BodyPlan, Operation, ReadOnly, TextRule, Unknown};
use portcullis_contract::param::Parameters;
use portcullis_contract::schema::CompiledSchema;
use portcullis_contract::violation::{In, Place, Rule, Violation};
use portcullis_core::head::Head;
use portcullis_core::problem::Code;
use portcullis_core::trail::Gate;
use portcullis_core::verdict::{ErrorItem, Refusal, Stop};
use portcullis_plan::api::{BindSource, Exchange};
use std::borrow::Cow;
use std::time::Duration;

/// What a request brings besides its head; nothing of it has been read.
pub struct Payload {
    /// The body.
    pub body: InBody,
    /// The offer to open a WebSocket.
    pub upgrade: Option<Offer>,
}

/// Evidence: values that were checked against the contract. All that goes on is written from them.
#[must_use]
pub struct Input<'p> {
    operation: &'p Operation,
    parameters: Parameters,
    media: Option<HeaderValue>,
    body: Judged,
}

enum Judged {
    Nothing,
    Json(Declared),
    Lines(Bytes),
    Form(FormBody),
    Text(Bytes),
    Opaque(InBody),
    Upgrade(Offer),
}

/// A JSON text and what of it is declared: under `unknown: strip` and `read_only: strip` the rest stays behind.
struct Declared {
    tape: Tape,
    keep: Option<Keep>,
}

impl Declared {
    fn write(&self, out: &mut Vec<u8>) {
        json::write(&self.tape, self.keep.as_ref(), out);
    }
}

/// What is sent to the upstream as a body.
pub(super) enum Carry {
    Nothing,
    Buffered(Bytes),
    Stream(InBody),
}

impl Input<'_> {
    /// Path and query under the upstream's base path, rebuilt from the checked values.
    pub(super) fn target(&self, base: &str) -> String {
        self.operation.target(base, &self.parameters)
    }

    /// The declared cookies, written anew.
    pub(super) fn cookie(&self) -> Option<HeaderValue> {
        self.operation.cookies(&self.parameters).and_then(|c| HeaderValue::try_from(c).ok())
    }

    /// The declared header parameters, written anew: upstreams get the values that were judged, not the client's
    /// spelling of them.
    pub(super) fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let written = self.operation.headers(&self.parameters);
        written
            .filter_map(|(name, value)| {
                Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
            })
            .collect()
    }

    /// Canonical media type, body, and the offer to upgrade.
    pub(super) fn into_body(self) -> (Option<HeaderValue>, Carry, Option<Offer>) {
        let carry = match self.body {
            Judged::Nothing => Carry::Nothing,
            Judged::Upgrade(upgrade) => return (None, Carry::Nothing, Some(upgrade)),
            Judged::Json(declared) => {
                let mut out = Vec::with_capacity(512);
                declared.write(&mut out);
                Carry::Buffered(out.into())
            }
            Judged::Form(form) => Carry::Buffered(Bytes::copy_from_slice(form.text().as_bytes())),
            Judged::Text(text) | Judged::Lines(text) => Carry::Buffered(text),
            Judged::Opaque(body) => Carry::Stream(body),
        };
        (self.media, carry, None)
    }

    /// The canonical text at a place that a rule compares; nothing when it is absent or no scalar.
    pub(super) fn text_at(&self, source: &BindSource) -> Option<Cow<'_, str>> {
        let parameter = |place, name: &str| {
            Some(Cow::Borrowed(self.operation.value(&self.parameters, place, name)?.as_text()?))
        };
        match source {
            BindSource::Path(name) => parameter(In::Path, name),
            BindSource::Query(name) => parameter(In::Query, name),
            BindSource::Header(name) => parameter(In::Header, name),
            BindSource::Body(pointer) => {
                let node = match &self.body {
                    Judged::Json(declared) => declared.tape.root().pointer(pointer)?,
                    Judged::Form(form) => form.tape().root().pointer(pointer)?,
                    _ => return None,
                };
                node.as_str()
                    .or_else(|| node.number_text().filter(|_| node.is_integer_form()))
                    .map(Cow::Borrowed)
            }
        }
    }
}

/// Reads what the operation declares, and nothing else. Consumes the provisional caller: whoever signed a digest is
/// only known once the body has it.
pub async fn read<'p>(
    _permit: &OperationPermit,
    caller: Provisional<'p>,
    head: &Head,
    payload: Payload,
    matched: &Matched<'p>,
    passage: &Passage,
) -> Result<(Input<'p>, Identified<'p>), Stop> {
    let operation = matched.operation();
    let parameters = operation
        .parameters(head, matched.segments())
        .map_err(|violations| violated(&violations, passage))?;
    if !accept::leaves_any(head.accept(), operation) {
        return Err(refuse(passage, Code::NotAcceptable, "accept"));
    }
    let Payload { body, upgrade } = payload;
    let input = |media, body| Input { operation, parameters, media, body };
    if let Exchange::WebSocket { .. } = matched.policy().exchange {
        let Some(upgrade) = upgrade else {
            return Err(refuse(passage, Code::HeaderRefused, "websocket-without-upgrade"));
        };
        cors::websocket(head, matched.api().headers.browsers.as_ref())?;
        passage.note(Gate::Intake, "websocket handshake", Some(operation.at));
        let caller = caller.without_body(passage)?;
        return Ok((input(None, Judged::Upgrade(upgrade)), caller));
    }
    let (media, judged, caller) = take_body(caller, head, body, operation, matched, passage).await?;
    passage.note(Gate::Intake, "keeps the contract", Some(operation.at));
    Ok((input(media, judged), caller))
}

async fn take_body<'p>(
    caller: Provisional<'p>,
    head: &Head,
    mut body: InBody,
    operation: &Operation,
    matched: &Matched<'p>,
    passage: &Passage,
) -> Result<(Option<HeaderValue>, Judged, Identified<'p>), Stop> {
    let declared = match (&operation.body, body.is_empty() && head.content_length().unwrap_or(0) == 0) {
        (None, true) => return Ok((None, Judged::Nothing, caller.without_body(passage)?)),
        (None, false) => return Err(refuse(passage, Code::BodyUnexpected, "body-not-declared")),
        (Some(declared), true) if declared.required => {
            return Err(refuse(passage, Code::BodyMissing, "body-required"));
        }
        (Some(_), true) => return Ok((None, Judged::Nothing, caller.without_body(passage)?)),
        (Some(declared), false) => declared,
    };
    if operation.request.require_length && head.content_length().is_none() {
        return Err(refuse(passage, Code::LengthRequired, "chunked"));
    }
    let media = head.content_type().map(MediaType::parse);
    let Some(Ok(media)) = media else {
        return Err(refuse(passage, Code::UnsupportedMediaType, "content-type-missing-or-malformed"));
    };
    let Some((content, plan)) = declared.plan(&media).filter(|_| media.is_utf8()) else {
        return Err(refuse(passage, Code::UnsupportedMediaType, "media-type-not-declared"));
    };
    if head.content_encoding().is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
        let refusal = note(passage, Code::UnsupportedEncoding, "content-encoding");
        return Err(refusal.header(ACCEPT_ENCODING, HeaderValue::from_static("identity")).into());
    }
    let limit = matched.policy().max_bytes;
    if head.content_length().is_some_and(|length| length > limit) {
        return Err(note(passage, Code::PayloadTooLarge, "content-length").close().into());
    }
    body.set_arrival(Some(Arrival {
        grace: Duration::from_secs(5),
        rate: 500,
        total: Duration::from_secs(u64::from(matched.policy().arrival_s)),
    }));
    let canonical = HeaderValue::try_from(media.essence()).ok();
    if let BodyPlan::Opaque = plan {
        passage.note(Gate::Intake, "opaque body, sizes only", Some(content.at));
        // With a signed digest it is read here, by the clock of bodies, and only then handed on.
        let (mut body, caller) = caller.stream(body, limit, passage).await?;
        if matched.policy().exchange == Exchange::Grpc {
            body.set_arrival(None);
        } else {
            body.set_limit(limit);
        }
        return Ok((canonical, Judged::Opaque(body), caller));
    }
    let (bytes, caller) = caller.collect(body, limit, passage).await?;
    passage.seen().request_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let judged = judge(bytes, &plan, operation, matched, passage)?;
    Ok((canonical, judged, caller))
}

fn judge(
    bytes: Bytes,
    plan: &BodyPlan,
    operation: &Operation,
    matched: &Matched<'_>,
    passage: &Passage,
) -> Result<Judged, Stop> {
    let rules = TextRules { markup: operation.request.text, bidi_controls: operation.request.bidi_controls };
    let bounds = bounds(operation);
    let parse = |bytes: Vec<u8>| {
        json::scan(bytes, &bounds, passage.plan.hash_key()).map_err(|error| {
            let code = match error.problem {
                JsonProblem::Malformed => Code::MalformedJson,
                JsonProblem::DuplicateKey => Code::DuplicateKey,
                JsonProblem::TooComplex => Code::JsonTooComplex,
            };
            refuse(passage, code, error.reason)
        })
    };
    match plan {
        BodyPlan::Json(schema) => {
            let harmless = is_harmless(&bytes, rules);
            let tape = parse(bytes.into())?;
            if !schema.is_valid(&tape) {
                report_or_refuse(schema.violations(&tape), matched, passage)?;
            }
            if !harmless {
                texts(&tape, rules, matched, passage)?;
            }
            Ok(Judged::Json(declared(tape, schema, operation, passage)))
        }
        BodyPlan::NdJson(schema) => {
            // Each line is written as it is judged: half a million tapes of two bytes are a hundred times the body.
            let mut lines = Vec::with_capacity(bytes.len());
            for line in bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
                let tape = parse(line.to_vec())?;
                if !schema.is_valid(&tape) {
                    report_or_refuse(schema.violations(&tape), matched, passage)?;
                }
                texts(&tape, rules, matched, passage)?;
                declared(tape, schema, operation, passage).write(&mut lines);
                lines.push(b'\n');
            }
            Ok(Judged::Lines(lines.into()))
        }
        BodyPlan::Form(form) => match form.read(&bytes) {
            Ok(body) => {
                texts(body.tape(), rules, matched, passage)?;
                Ok(Judged::Form(body))
            }
            // A form that was not read cannot be written anew: no reporting here.
            Err(violations) => Err(violated(&violations, passage)),
        },
        BodyPlan::Text(schema) => {
            let body = std::str::from_utf8(&bytes)
                .map_err(|_| refuse(passage, Code::MalformedBody, "text-not-utf-8"))?;
            text::check(body, rules)
                .map_err(|rule| violated(&[Violation::pointer(rule, String::new(), "text")], passage))?;
            let mut builder = json::Builder::new();
            builder.string(body);
            let tape = builder.finish().map_err(|_| refuse(passage, Code::MalformedBody, "text"))?;
            if !schema.is_valid(&tape) {
                report_or_refuse(schema.violations(&tape), matched, passage)?;
            }
            Ok(Judged::Text(bytes))
        }
        BodyPlan::ByType(_) | BodyPlan::Opaque => Err(refuse(passage, Code::UnsupportedMediaType, "no-plan")),
    }
}

/// Mass assignment is not stopped by a schema that lets unknown names pass in order to strip them: they are stripped
/// here, before anything is written.
fn declared(tape: Tape, schema: &CompiledSchema, operation: &Operation, passage: &Passage) -> Declared {
    let strips =
        operation.request.unknown == Unknown::Strip || operation.request.read_only == ReadOnly::Strip;
    if !strips {
        return Declared { tape, keep: None };
    }
    let kept = schema.keep(&tape);
    if kept.dropped > 0 {
        // Counted and not named: what a client calls its members may be anything, a secret too.
        passage.note(Gate::Intake, format!("stripped: {} members", kept.dropped), Some(operation.at));
    }
    Declared { tape, keep: kept.keep }
}

fn bounds(operation: &Operation) -> Bounds {
    Bounds { depth: operation.request.max_depth, values: operation.request.max_values, ..Bounds::default() }
}

/// Nothing that a rule about text could refuse: visible ASCII without an escape, and no rule about markup. Controls are
/// the scanner's to refuse.
fn is_harmless(bytes: &[u8], rules: TextRules) -> bool {
    rules.markup == TextRule::None && bytes.iter().fold(true, |fine, b| fine & (*b < 0x7f) & (*b != b'\\'))
}

/// Strings that no upstream should see (contract.md § 10).
fn texts(tape: &Tape, rules: TextRules, matched: &Matched<'_>, passage: &Passage) -> Result<(), Stop> {
    let nodes = (0..u32::try_from(tape.len()).unwrap_or(u32::MAX)).filter_map(|at| tape.node(at));
    for node in nodes {
        if let Some(Err(rule)) = node.as_str().map(|string| text::check(string, rules)) {
            return report_or_refuse(
                vec![Violation::pointer(rule, node.location(), "text")],
                matched,
                passage,
            );
        }
    }
    Ok(())
}

/// `request.mode: report` lets through what step 9 would have refused; parameters are never covered.
fn report_or_refuse(
    violations: Vec<Violation>,
    matched: &Matched<'_>,
    passage: &Passage,
) -> Result<(), Stop> {
    let body_only = violations.iter().all(|v| matches!(v.at, Place::Pointer(_)));
    if matched.policy().report_only && body_only {
        passage.note(Gate::Intake, "violations reported, not refused", Some(matched.operation().at));
        passage.seen().reported = true;
        return Ok(());
    }
    Err(violated(&violations, passage))
}

fn violated(violations: &[Violation], passage: &Passage) -> Stop {
    let code = match violations.first() {
        Some(Violation { at: Place::Pointer(_), .. }) | None => Code::SchemaViolation,
        Some(Violation { rule: Rule::UnknownParameter, .. }) => Code::UnknownParameter,
        Some(Violation {
            rule: Rule::DuplicateParameter,
            at: Place::Parameter { within: In::Header, .. },
            ..
        }) => Code::DuplicateHeader,
        Some(Violation { rule: Rule::DuplicateParameter, .. }) => Code::DuplicateParameter,
        Some(_) => Code::InvalidParameter,
    };
    let errors = violations
        .iter()
        .take(20)
        .map(|v| {
            let (pointer, parameter) = match &v.at {
                Place::Pointer(pointer) => (Some(pointer.clone()), None),
                Place::Parameter { name, within } => (None, Some((name.clone(), within.text()))),
            };
            ErrorItem { pointer, parameter, rule: v.rule.code(), message: v.rule.message() }
        })
        .collect();
    let reason = violations.first().map_or("schema", |v| v.rule.code());
    Stop::from(note(passage, code, reason).errors(errors))
}

fn note(passage: &Passage, code: Code, reason: &'static str) -> Refusal {
    passage.note(Gate::Intake, reason, passage.operation_at());
    Refusal::new(code, reason)
}

fn refuse(passage: &Passage, code: Code, reason: &'static str) -> Stop {
    note(passage, code, reason).into()
}
