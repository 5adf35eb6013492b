//! Is it declared? An undeclared path or method goes nowhere.

use super::cors::{self, Offer, Preflight};
use super::{identify, metadata};
use crate::passage::Passage;
use crate::services::Services;
use http::header::{ALLOW, AUTHORIZATION};
use http::{HeaderName, HeaderValue};
use portcullis_contract::model::{Found, Operation, Segments};
use portcullis_core::head::{Head, Method, Version};
use portcullis_core::problem::Code;
use portcullis_core::trail::Gate;
use portcullis_core::verdict::{Answer, Fault, Refusal, Stop};
use portcullis_limits::Key;
use portcullis_plan::access::{Access, Kinds};
use portcullis_plan::api::{self, Api, Exchange, ResponseMode};
use smallvec::SmallVec;
use std::net::IpAddr;

/// Evidence: the request is for a declared operation.
#[must_use]
pub struct Matched<'p> {
    api: &'p Api,
    operation: &'p Operation,
    policy: &'p api::Operation,
    segments: Segments,
    preflight: Option<Preflight>,
    certificate: bool,
    client: IpAddr,
}

impl<'p> Matched<'p> {
    /// The API.
    pub(super) fn api(&self) -> &'p Api {
        self.api
    }

    /// The operation as the document declares it.
    pub(super) fn operation(&self) -> &'p Operation {
        self.operation
    }

    /// What is asked of it besides.
    pub(super) fn policy(&self) -> &'p api::Operation {
        self.policy
    }

    /// The path's variables.
    pub(super) fn segments(&self) -> &Segments {
        &self.segments
    }

    /// The answer to a preflight, if the request is one.
    pub(super) fn preflight(&self) -> Option<&Preflight> {
        self.preflight.as_ref()
    }

    /// Credentials of the connection: a verified client certificate.
    pub(super) fn ambient(&self) -> Kinds {
        if self.certificate { Kinds::CERTIFICATE } else { Kinds::NONE }
    }

    /// Whether anything that could prove a caller is presented.
    pub(super) fn presents_credential(&self, head: &Head) -> bool {
        let headers = head.headers();
        let key = |p: &portcullis_plan::access::ApiKeyPolicy| headers.contains_key(&*p.header);
        headers.contains_key(AUTHORIZATION)
            || self.api.authenticate.api_key.as_ref().is_some_and(key)
            || (self.api.authenticate.signature.is_some() && identify::is_signed(head))
            || self.certificate
    }

    /// Whether nobody is welcome here, by name.
    pub(super) fn is_anonymous(&self) -> bool {
        matches!(self.policy.access, Access::Anonymous { .. })
    }

    /// Header parameters that go on to the upstream.
    pub(super) fn declared_headers(&self) -> &'p [HeaderName] {
        &self.policy.declared_headers
    }

    /// Whether the body of an answer is read here.
    pub(super) fn reads_answer(&self) -> bool {
        self.policy.response.mode != ResponseMode::Open
    }

    /// Under which the operation's requests in flight are counted.
    pub(super) fn concurrency_key(&self, services: &Services) -> Key {
        let name = self.api.name.as_bytes();
        services.shared.limits.key(&services.shared.flight, &[name, self.operation.id.as_bytes()])
    }

    /// The client's address as bytes: whom to count when nobody is known.
    pub(super) fn client_network(&self) -> SmallVec<[u8; 16]> {
        match self.client.to_canonical() {
            IpAddr::V4(v4) => SmallVec::from_slice(&v4.octets()),
            IpAddr::V6(v6) => SmallVec::from_slice(v6.octets().get(..8).unwrap_or_default()),
        }
    }
}

/// Finds the one operation for authority, path and method.
///
/// # Errors
/// 421, 404 or 405; 403 for a preflight that is not welcome.
pub fn find<'p>(head: &Head, passage: &'p Passage) -> Result<Matched<'p>, Stop> {
    let Some(candidates) = passage.hosts().apis(head.authority().host()) else {
        return Err(refuse(passage, Code::MisdirectedRequest, "host-unknown"));
    };
    look(head, candidates, passage).map_err(|stop| {
        // A refusal depends on the page that asks as much as an answer does (wire.md § 11).
        let mut apis = candidates.iter().filter_map(|index| passage.plan.api(*index));
        match stop {
            Stop::Refusal(mut refusal) if apis.any(|api| api.headers.browsers.is_some()) => {
                cors::vary(&mut refusal.headers, "Origin");
                Stop::Refusal(refusal)
            }
            stop => stop,
        }
    })
}

fn look<'p>(head: &Head, candidates: &[u16], passage: &'p Passage) -> Result<Matched<'p>, Stop> {
    let preflight = cors::is_preflight(head);
    let mut allowed: Option<(u16, &'p Api, &'p str)> = None;
    let mut marked = false;
    let mut closed: Option<(u16, u32)> = None;
    for index in candidates {
        let Some(api) = passage.plan.api(*index) else { continue };
        match api.contract.find(head.method(), head.path()) {
            Found::Operation { operation, index: at, path } => {
                return matched(head, passage, (*index, api), (operation, at, path), None);
            }
            Found::MethodNotAllowed { allow } => {
                allowed.get_or_insert((*index, api, allow));
            }
            Found::Marked => marked = true,
            Found::Closed { index: at } => {
                closed.get_or_insert((*index, u32::try_from(at).unwrap_or(u32::MAX)));
            }
            Found::Undeclared => {}
        }
    }
    match allowed {
        Some((index, api, allow)) if preflight => offer(head, passage, (index, api), allow),
        Some((_, _, allow)) => {
            passage.note(Gate::Route, "method-undeclared", None);
            let mut refusal = Refusal::new(Code::MethodNotAllowed, "method-undeclared");
            if let Ok(value) = HeaderValue::try_from(allow) {
                refusal.headers.insert(ALLOW, value);
            }
            Err(refusal.into())
        }
        None if !marked && let Some(answer) = told(head, candidates, passage) => Err(answer.into()),
        // The client learns no more than of a path that is not declared; the log says why.
        None if let Some(place) = closed => {
            passage.seen().closed = Some(place);
            Err(refuse(passage, Code::OperationUndeclared, "operation-closed"))
        }
        None if marked => Err(refuse(passage, Code::PathRefused, "encoded-delimiter-in-segment")),
        None => Err(refuse(passage, Code::OperationUndeclared, "path-undeclared")),
    }
}

fn matched<'p>(
    head: &Head,
    passage: &'p Passage,
    (index, api): (u16, &'p Api),
    (operation, at, segments): (&'p Operation, usize, Segments),
    preflight: Option<Preflight>,
) -> Result<Matched<'p>, Stop> {
    let Some(policy) = api.operations.get(at) else {
        return Err(Fault::new(Code::Internal, "operation-without-policy").into());
    };
    // RFC 8441: the stream of an extended CONNECT is no GET. Over HTTP/1.1 the wish to upgrade may be left unanswered.
    let connect = head.websocket() && head.version() == Version::Http2;
    if connect && !matches!(policy.exchange, Exchange::WebSocket { .. }) {
        passage.note(Gate::Route, "connect-without-websocket", None);
        let mut refusal = Refusal::new(Code::MethodNotAllowed, "connect-without-websocket");
        refusal.headers.insert(ALLOW, HeaderValue::from_static(operation.method.text()));
        return Err(refusal.into());
    }
    let place = (index, u32::try_from(at).unwrap_or(u32::MAX));
    let anonymous = matches!(policy.access, Access::Anonymous { .. });
    let origin = api.headers.browsers.as_ref().and_then(|b| cors::allowed_origin(head, b, anonymous));
    {
        let mut seen = passage.seen();
        seen.matched = Some(place);
        seen.origin = origin;
    }
    passage.note(Gate::Route, "declared", Some(operation.at));
    let certificate = passage.certificate().is_some();
    Ok(Matched { api, operation, policy, segments, preflight, certificate, client: head.client().address })
}

/// A preflight is for the operation that it asks about (wire.md § 11).
fn offer<'p>(
    head: &Head,
    passage: &'p Passage,
    (index, api): (u16, &'p Api),
    allow: &str,
) -> Result<Matched<'p>, Stop> {
    let Some(browsers) = &api.headers.browsers else {
        return Err(refuse(passage, Code::OriginRefused, "browsers-not-configured"));
    };
    let mut methods: SmallVec<[(Method, bool); 7]> = SmallVec::new();
    let mut asked = None;
    let wanted = head.header("access-control-request-method").unwrap_or_default();
    let mut names: Vec<&HeaderName> = Vec::new();
    let mut tokens = false;
    for method in allow.split(", ").filter_map(|m| Method::parse(m.as_bytes())) {
        let Found::Operation { operation, index, path } = api.contract.find(method, head.path()) else {
            continue;
        };
        let Some(policy) = api.operations.get(index) else { continue };
        methods.push((method, matches!(policy.access, Access::Anonymous { .. })));
        names.extend(&policy.declared_headers);
        tokens |= matches!(&policy.access, Access::AnyOf(any) if any.iter().any(|a| a.kinds.contains(Kinds::TOKEN)));
        if method.text() == wanted {
            asked = Some((operation, index, path));
        }
    }
    let header = |name: &str| {
        name == "content-type"
            || (name == "authorization" && tokens)
            || names.iter().any(|n| n.as_str() == name)
            || api.headers.forward.iter().any(|n| n.as_str() == name)
            || api.authenticate.api_key.as_ref().is_some_and(|k| &*k.header == name)
    };
    let preflight = cors::preflight(head, &Offer { browsers, methods: &methods, header: &header })?;
    match asked {
        Some(found) => matched(head, passage, (index, api), found, Some(preflight)),
        None => Err(refuse(passage, Code::OriginRefused, "preflight-for-undeclared-method")),
    }
}

/// What the gateway itself tells of an API on this host.
fn told(head: &Head, candidates: &[u16], passage: &Passage) -> Option<Answer> {
    metadata::answer(head, candidates.iter().filter_map(|index| passage.plan.api(*index)), passage)
}

fn refuse(passage: &Passage, code: Code, reason: &'static str) -> Stop {
    passage.note(Gate::Route, reason, None);
    Refusal::new(code, reason).into()
}
