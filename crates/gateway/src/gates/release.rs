//! The answer, judged before it leaves: declared status, declared media type, declared fields (contract.md § 15,
//! wire.md § 12).

mod stream;
mod whole;

use super::cors;
use super::forward::{Answered, Reply};
use super::identify::{Ended, Identified, Vigil};
use super::release_headers::{self, Proof, Release};
use super::route::Matched;
use crate::events::{self, Event};
use crate::passage::Passage;
use crate::respond;
use crate::services::Services;
use crate::wire::upgrade::{Accepted, TunnelLimits};
use crate::wire::upstream::UpstreamBody;
use crate::wire::{Cut, OutBody};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::Body as _;
use portcullis_contract::body::{Family, MediaType};
use portcullis_contract::json;
use portcullis_contract::model::{Response as Declared, ResponseContent};
use portcullis_contract::response::{Framing, Scrubber, Streamer, Strictness};
use portcullis_core::head::{Head, Method};
use portcullis_core::problem::Code;
use portcullis_core::trail::Gate;
use portcullis_core::verdict::{Fault, Refusal, Stop};
use portcullis_plan::access::Kinds;
use portcullis_plan::api::{Exchange, ResponseMode};
use std::pin::Pin;
use std::sync::OnceLock;
use whole::Unread;

pub use stream::{Ledger, Streamed};

/// An answer that may leave.
#[must_use]
pub struct Released {
    response: Response<OutBody>,
}

impl Released {
    /// With the fields that every answer of a limited operation has.
    pub fn into_response(self, passage: &Passage) -> Response<OutBody> {
        let mut response = self.response;
        respond::limits(response.headers_mut(), passage);
        response
    }
}

/// Cuts an answer to what is declared.
pub async fn filter(
    reply: Reply,
    caller: &Identified<'_>,
    matched: &Matched<'_>,
    passage: &Passage,
    services: &Services,
) -> Result<Released, Stop> {
    let Reply { answer: answered, head, under_way, graphql } = reply;
    let policy = matched.policy();
    let response = match answered {
        Answered::Response(response) => response,
        Answered::WebSocket(accepted) => {
            passage.note(Gate::Release, "websocket opened", Some(matched.operation().at));
            return Ok(websocket(*accepted, &head, caller, matched, under_way, passage, services));
        }
    };
    let (parts, body) = response.into_parts();
    let status = parts.status.as_u16();
    if status >= 500 {
        return Err(upstream_failed(status, &parts.headers, passage));
    }
    if policy.exchange == Exchange::Grpc {
        if status != 200 {
            // A call fails in its trailers; any other status comes from something in between, with a page of its own.
            return Err(violation(passage, "grpc-without-200"));
        }
        let headers = grpc_headers(&parts.headers, &head, caller, matched, passage)?;
        let held = Held::new(under_way, watch(caller, &policy.exchange, passage, services));
        return Ok(answer(parts.status, headers, held.body(OutBody::Upstream(body))));
    }
    if let Some(walk) = graphql {
        let limit = policy.response.max_bytes;
        let bytes = graphql_body(status, &parts.headers, body, limit, passage).await?;
        let out = walk.release(&bytes, passage).map_err(|reason| violation(passage, reason))?;
        let media = passage.read().graphql.as_ref().map(|seen| seen.media.clone());
        let headers = headers(&parts.headers, &[], true, media, &head, caller, matched, passage)?;
        passage.note(Gate::Release, "selected fields only", Some(matched.operation().at));
        return Ok(answer(parts.status, headers, OutBody::from(out)));
    }
    let declared = match matched.operation().response(status) {
        Some(declared) => Some(declared),
        None if status == 304 && matched.operation().response(200).is_some() => None,
        None if (400..500).contains(&status) => {
            return Err(upstream_refused(status, "status-undeclared", &parts.headers, passage));
        }
        None if policy.response.mode == ResponseMode::Open => None,
        None => return Err(violation(passage, "status-undeclared")),
    };
    let bodyless = head.method() == Method::Head || matches!(status, 204 | 304) || body.is_end_stream();
    let (out, content_type, judged) = match declared {
        // What a HEAD says about a body is about the one that a GET would have filtered.
        _ if bodyless => (OutBody::Empty, None, head.method() == Method::Head && matched.reads_answer()),
        None => (OutBody::Upstream(body), parts.headers.get(CONTENT_TYPE).cloned(), false),
        Some(declared) => judge(status, &parts.headers, body, declared, matched, passage).await?,
    };
    if passage.read().dropped_fields > 0 {
        events::tell(Event::ResponseDropped, None, passage, services);
    }
    let declared: Vec<HeaderName> = declared
        .map(|d| d.headers.iter().filter_map(|n| HeaderName::try_from(&**n).ok()).collect())
        .unwrap_or_default();
    let headers = headers(&parts.headers, &declared, judged, content_type, &head, caller, matched, passage)?;
    passage.note(
        Gate::Release,
        if judged { "declared fields only" } else { "streamed" },
        Some(matched.operation().at),
    );
    let held = Held::new(under_way, watch(caller, &policy.exchange, passage, services));
    Ok(answer(parts.status, headers, held.body(out)))
}

/// The text of an answer of GraphQL. With 4xx too: a server may say so that it has not executed the request.
async fn graphql_body(
    status: u16,
    headers: &HeaderMap,
    body: UpstreamBody,
    limit: u64,
    passage: &Passage,
) -> Result<Bytes, Stop> {
    let media =
        headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).and_then(|v| MediaType::parse(v).ok());
    let json = media.is_some_and(|media| media.family() == Family::Json);
    if !json || !(status == 200 || (400..500).contains(&status)) {
        return match status {
            400..500 => Err(upstream_refused(status, "graphql-refused", headers, passage)),
            _ => Err(violation(passage, "graphql-no-answer")),
        };
    }
    whole::collect(body, headers, limit).await.map_err(|unread| match unread {
        Unread::Violation(reason) => violation(passage, reason),
        Unread::Stop(stop) => stop,
    })
}

/// How a body ends before its end: as a stream of events may, or cut, so that it does not look as if it were complete.
fn watch(
    caller: &Identified<'_>,
    exchange: &Exchange,
    passage: &Passage,
    services: &Services,
) -> Option<Watch> {
    let cut = match exchange {
        Exchange::Events => false,
        Exchange::Plain if !caller.can_end() => return None,
        // Without its trailers a call must not look as if it were complete, and no download without its end.
        Exchange::Plain | Exchange::Grpc | Exchange::WebSocket { .. } => true,
    };
    Some(Watch { cut, vigil: Some(caller.vigil(passage, services)), end: None })
}

/// The credential of a body that may last. Watching begins when the body first lets itself be waited for: most are
/// there at once.
struct Watch {
    cut: bool,
    vigil: Option<Vigil>,
    end: Option<Pin<Box<dyn Future<Output = Ended>>>>,
}

/// Frames flow until a bound is hit, the program drains, or the credential ends (wire.md § 13).
fn websocket(
    accepted: Accepted,
    head: &Head,
    caller: &Identified<'_>,
    matched: &Matched<'_>,
    under_way: Option<portcullis_limits::Permit>,
    passage: &Passage,
    services: &Services,
) -> Released {
    let vigil = caller.vigil(passage, services);
    let end = async move {
        let _under_way = under_way;
        vigil.ended().await;
        POLICY_VIOLATION
    };
    let mut limits = TunnelLimits::default();
    if let Exchange::WebSocket { max_message, .. } = matched.policy().exchange {
        limits.frames.message = usize::try_from(max_message).unwrap_or(usize::MAX);
    }
    let mut response = accepted.tunnel(limits, end);
    let policy = &matched.api().headers.response;
    release_headers::of_our_own(response.headers_mut(), Some(policy), head.scheme(), passage.id);
    Released { response }
}

/// Close code 1008 (RFC 6455 § 7.4.1): the credential has ended, or the operation was withdrawn.
const POLICY_VIOLATION: u16 = 1008;

type Judged = (OutBody, Option<HeaderValue>, bool);

async fn judge(
    status: u16,
    headers: &HeaderMap,
    body: UpstreamBody,
    declared: &Declared,
    matched: &Matched<'_>,
    passage: &Passage,
) -> Result<Judged, Stop> {
    let rule = &matched.policy().response;
    if rule.mode == ResponseMode::Open {
        return Ok((OutBody::Upstream(body), headers.get(CONTENT_TYPE).cloned(), false));
    }
    if declared.contents.is_empty() {
        // The document says that there is no body: none leaves.
        passage.seen().dropped_fields += 1;
        return Ok((OutBody::Empty, None, true));
    }
    let media = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).map(MediaType::parse);
    let Some(Ok(media)) = media else { return undeclared(status, "content-type-missing", headers, passage) };
    let Some(content) = declared.content(&media) else {
        return undeclared(status, "media-type-undeclared", headers, passage);
    };
    let canonical = HeaderValue::try_from(media.essence()).ok();
    let whole = async |body, limit| {
        whole::collect(body, headers, limit).await.map_err(|unread| match unread {
            Unread::Violation(reason) => violation(passage, reason),
            Unread::Stop(stop) => stop,
        })
    };
    if let Some(framing) = Framing::of(media.family()) {
        if !matches!(whole::coding(headers), Ok(None)) {
            // Its events could not be told apart before the coding's window is full.
            return Err(violation(passage, "coded-stream"));
        }
        let strictness = match rule.mode {
            ResponseMode::Enforce => Strictness::Enforce,
            ResponseMode::Report => Strictness::Report,
            ResponseMode::Filter | ResponseMode::Open => Strictness::Filter,
        };
        let streamer = Streamer::new(framing, content.schema.clone(), strictness, passage.plan.hash_key());
        let (filtered, ledger) = stream::Filtered::new(body, streamer);
        passage.seen().streamed = Some(ledger);
        return Ok((OutBody::Stream(Box::pin(filtered)), canonical, true));
    }
    let error = (400..500).contains(&status);
    match (media.family(), &content.schema) {
        (Family::Json, Some(_)) => {
            let bytes = whole(body, rule.max_bytes).await?;
            let out = filtered(bytes, content, matched, passage)?;
            // What is left of an error is searched; what was dropped tells nobody anything.
            if error && tells(&out, passage) {
                return Err(upstream_refused(status, "internals-in-an-error", headers, passage));
            }
            Ok((OutBody::from(out), canonical, true))
        }
        // An error is searched whatever it is written in, and what cannot be read says too much.
        (Family::Json | Family::Text, _) if error => {
            let bytes = whole(body, rule.max_bytes.min(MOST_TEXT)).await?;
            let clean = std::str::from_utf8(&bytes)
                .is_ok_and(|text| scrubber().is_some_and(|s| s.search(text).is_none()));
            if !clean {
                return Err(upstream_refused(status, "internals-in-an-error", headers, passage));
            }
            Ok((OutBody::from(bytes), headers.get(CONTENT_TYPE).cloned(), true))
        }
        _ if error => Err(upstream_refused(status, "error-unreadable", headers, passage)),
        _ => Ok((OutBody::Upstream(body), headers.get(CONTENT_TYPE).cloned(), false)),
    }
}

/// Bytes of an error in plain text.
const MOST_TEXT: u64 = 64 << 10;

/// Whether a JSON text says how the inside is made; one that cannot be read may say anything.
fn tells(bytes: &Bytes, passage: &Passage) -> bool {
    let tape = json::scan(bytes.to_vec(), &json::Bounds::default().capped(), passage.plan.hash_key());
    match (tape, scrubber()) {
        (Ok(tape), Some(scrubber)) => scrubber.search_tape(&tape).is_some(),
        _ => true,
    }
}

fn filtered(
    bytes: Bytes,
    content: &ResponseContent,
    matched: &Matched<'_>,
    passage: &Passage,
) -> Result<Bytes, Stop> {
    let Some(schema) = &content.schema else { return Ok(bytes) };
    let mode = matched.policy().response.mode;
    let bounds = json::Bounds::default().capped();
    let Ok(tape) = json::scan(bytes.to_vec(), &bounds, passage.plan.hash_key()) else {
        return match mode {
            ResponseMode::Report => Ok(bytes),
            _ => Err(violation(passage, "json-unreadable")),
        };
    };
    if mode == ResponseMode::Enforce && !schema.is_valid(&tape) {
        return Err(violation(passage, "schema"));
    }
    let kept = schema.keep(&tape);
    if kept.violations > 0 {
        // Counted; the body goes out with what is declared (`filter`) or as it is (`report`).
        passage.seen().broke("schema");
    }
    if kept.dropped > 0 {
        passage.seen().dropped_fields += kept.dropped;
        let names: Vec<&str> = kept.names.iter().map(|name| loggable(name)).collect();
        passage.note(Gate::Release, format!("dropped: {}", names.join(", ")), Some(content.at));
    }
    if mode == ResponseMode::Report {
        return Ok(bytes);
    }
    match kept.keep {
        _ if kept.nothing_left => Err(violation(passage, "nothing-declared-in-it")),
        // Nothing dropped, and strict JSON: it is written as it is.
        None => Ok(bytes),
        Some(keep) => {
            let mut out = Vec::with_capacity(bytes.len());
            json::write(&tape, Some(&keep), &mut out);
            Ok(out.into())
        }
    }
}

/// A name that the upstream used, for the log: of an object that is a map, names are values, and may be secrets.
fn loggable(name: &str) -> &str {
    let word = name.len() <= 32
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.bytes().filter(u8::is_ascii_digit).count() <= 3;
    if word { name } else { "(not a plain name)" }
}

fn scrubber() -> Option<&'static Scrubber> {
    static SCRUBBER: OnceLock<Option<Scrubber>> = OnceLock::new();
    SCRUBBER.get_or_init(Scrubber::new).as_ref()
}

#[expect(clippy::too_many_arguments, reason = "what decides about header fields comes from everywhere")]
fn headers(
    upstream: &HeaderMap,
    declared: &[HeaderName],
    body_judged: bool,
    content_type: Option<HeaderValue>,
    head: &Head,
    caller: &Identified<'_>,
    matched: &Matched<'_>,
    passage: &Passage,
) -> Result<HeaderMap, Stop> {
    let allowed_origin = match &matched.api().headers.browsers {
        Some(browsers) => cors::allowed_origin(head, browsers, matched.is_anonymous()),
        None => None,
    };
    let proof = match caller.kinds() {
        Kinds::NONE => Proof::None,
        kinds if kinds.contains(Kinds::API_KEY) && head.authorization().is_none() => {
            Proof::Header(matched.api().authenticate.api_key.as_ref().map_or("x-api-key", |own| &*own.header))
        }
        _ => Proof::Authorization,
    };
    let policy = &matched.api().headers;
    let id = passage.id;
    let release = Release { head, policy, declared, proof, body_judged, content_type, allowed_origin, id };
    Ok(release_headers::release(upstream, release)?.headers)
}

fn grpc_headers(
    upstream: &HeaderMap,
    head: &Head,
    caller: &Identified<'_>,
    matched: &Matched<'_>,
    passage: &Passage,
) -> Result<HeaderMap, Stop> {
    const GRPC: [HeaderName; 3] = [
        HeaderName::from_static("grpc-status"),
        HeaderName::from_static("grpc-message"),
        HeaderName::from_static("grpc-status-details-bin"),
    ];
    let content_type = Some(HeaderValue::from_static("application/grpc"));
    headers(upstream, &GRPC, false, content_type, head, caller, matched, passage)
}

fn answer(status: StatusCode, headers: HeaderMap, body: OutBody) -> Released {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Released { response }
}

/// What lasts as long as a streamed body: its place among the exchanges under way, and the clock of its credential.
struct Held {
    under_way: Option<portcullis_limits::Permit>,
    watch: Option<Watch>,
}

impl Held {
    fn new(under_way: Option<portcullis_limits::Permit>, watch: Option<Watch>) -> Self {
        Self { under_way, watch }
    }

    fn body(self, body: OutBody) -> OutBody {
        match body {
            body @ (OutBody::Upstream(_) | OutBody::Stream(_))
                if self.under_way.is_some() || self.watch.is_some() =>
            {
                OutBody::Stream(Box::pin(HeldBody { body, held: self }))
            }
            body => body,
        }
    }
}

impl Watch {
    /// Whether it is over.
    fn poll(&mut self, cx: &mut std::task::Context<'_>, begin: bool) -> bool {
        if begin && let Some(vigil) = self.vigil.take() {
            self.end = Some(Box::pin(vigil.ended()));
        }
        self.end.as_mut().is_some_and(|end| end.as_mut().poll(cx).is_ready())
    }

    fn over(&mut self) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Cut>>> {
        self.end = Some(Box::pin(std::future::ready(Ended::Withdrawn)));
        let cut = std::mem::take(&mut self.cut);
        std::task::Poll::Ready(cut.then_some(Err(Cut("the credential has ended"))))
    }
}

struct HeldBody {
    body: OutBody,
    held: Held,
}

impl http_body::Body for HeldBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Cut>>> {
        let HeldBody { body, held } = &mut *self;
        if let Some(watch) = &mut held.watch
            && watch.poll(cx, false)
        {
            return watch.over();
        }
        let frame = Pin::new(body).poll_frame(cx);
        if frame.is_pending()
            && let Some(watch) = &mut held.watch
            && watch.poll(cx, true)
        {
            return watch.over();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// A 5xx of the upstream is always replaced (contract.md § 15.3).
fn upstream_failed(status: u16, headers: &HeaderMap, passage: &Passage) -> Stop {
    passage.note(Gate::Release, format!("upstream's {status} replaced"), None);
    let code = match status {
        503 => Code::UpstreamUnavailable,
        504 => Code::UpstreamTimeout,
        _ => Code::UpstreamError,
    };
    let mut fault = Fault::new(code, "upstream-5xx");
    if let Some(wait) = headers.get(RETRY_AFTER).filter(|_| status == 503) {
        fault.headers.insert(RETRY_AFTER, wait.clone());
    }
    fault.into()
}

/// The only problem that carries the upstream's own status.
fn upstream_refused(status: u16, reason: &'static str, headers: &HeaderMap, passage: &Passage) -> Stop {
    passage.note(Gate::Release, reason, None);
    let mut refusal = Refusal::new(Code::UpstreamRefused, reason);
    refusal.status = Some(status);
    for name in [RETRY_AFTER, http::header::WWW_AUTHENTICATE] {
        if let Some(value) = headers.get(&name).filter(|value| release_headers::may_accompany(&name, value)) {
            refusal.headers.insert(name, value.clone());
        }
    }
    refusal.into()
}

fn undeclared(
    status: u16,
    reason: &'static str,
    headers: &HeaderMap,
    passage: &Passage,
) -> Result<Judged, Stop> {
    if (400..500).contains(&status) {
        return Err(upstream_refused(status, reason, headers, passage));
    }
    Err(violation(passage, reason))
}

fn violation(passage: &Passage, reason: &'static str) -> Stop {
    passage.seen().broke(reason);
    passage.note(Gate::Release, reason, None);
    Fault::new(Code::ResponseViolation, reason).into()
}
