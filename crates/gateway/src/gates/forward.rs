//! To the upstream: written anew from checked values, under the proof of authorization (wire.md § 9).

use super::authorize::ObjectPermit;
use super::headers::{self, Admission, Ours};
use super::identify::Identified;
use super::intake::{Carry, Input};
use super::route::Matched;
use crate::passage::Passage;
use crate::services::Services;
use crate::wire::upgrade::{Accepted, Answer as Handshake};
use crate::wire::upstream::{How, PerServer, SendBody, UpstreamBody, UpstreamError};
use http::{HeaderName, HeaderValue, Request, Response, Uri};
use portcullis_core::head::{Head, TraceParent};
use portcullis_core::problem::Code;
use portcullis_core::trail::Gate;
use portcullis_core::verdict::{Answer, Fault, Refusal, Stop};
use portcullis_limits::Permit as UnderWay;
use portcullis_plan::access::Kinds;
use portcullis_plan::api::Exchange;
use std::sync::Arc;

/// Evidence: the upstream has answered an authorized request.
#[must_use]
pub struct Reply {
    pub(super) answer: Answered,
    pub(super) head: Head,
    pub(super) under_way: Option<UnderWay>,
    /// What an answer of GraphQL is walked with.
    pub(super) graphql: Option<super::graphql::Answer>,
}

/// What the upstream answered.
#[expect(clippy::large_enum_variant, reason = "nearly every answer is the large one, and moves once")]
pub(super) enum Answered {
    /// A response.
    Response(Response<UpstreamBody>),
    /// It agreed to a WebSocket.
    WebSocket(Box<Accepted>),
}

/// Sends the request. Consumes the permit, the head and the input: one proof, one forwarding.
pub async fn send(
    permit: ObjectPermit,
    head: Head,
    mut input: Input<'_>,
    caller: &Identified<'_>,
    matched: &Matched<'_>,
    passage: &Passage,
    services: &Services,
) -> Result<Reply, Stop> {
    let api = matched.api();
    let Some(upstream) = passage.plan.upstream(api.upstream) else {
        return Err(Fault::new(Code::Internal, "upstream-missing-in-plan").into());
    };
    if services.dry {
        passage.note(
            Gate::Forward,
            format!("would go to the upstream {}", upstream.plan().name),
            Some(api.at),
        );
        let reason = "explained";
        return Err(Answer { status: 200, headers: http::HeaderMap::new(), body: Vec::new(), reason }.into());
    }
    let target = input.target(&api.upstream_base);
    let trace = span(&head, services);
    passage.seen().trace = Some(trace.trace_id.to_be_bytes());
    let (identity, per_server) = sign_identity(&head, caller, matched, passage, services, &target)?;
    let cookie = input.cookie();
    let declared = input.headers();
    let credential = credential_header(caller, matched);
    let policy = matched.policy();
    let graphql = input.take_answer();
    let (content_type, carry, upgrade) = input.into_body();
    let host =
        api.headers.preserve_host.then(|| HeaderValue::try_from(head.authority().to_string()).ok()).flatten();
    let admitted = headers::admit_request_headers(Admission {
        head: &head,
        policy: &api.headers,
        declared: matched.declared_headers(),
        credential: credential.as_ref(),
        ours: Ours {
            id: passage.id,
            trace,
            via: &passage.plan.edge.via,
            host,
            reads_answer: matched.reads_answer(),
            content_type,
            cookie,
            identity,
        },
    });
    let stream = policy.exchange != Exchange::Plain;
    // Only where the document declares the key: a client's word does not make a POST repeatable behind us.
    let keyed = |name: &&HeaderName| name.as_str() == "idempotency-key" && head.headers().contains_key(*name);
    let how = How {
        repeatable: policy.idempotent || matched.declared_headers().iter().any(|name| keyed(&name)),
        stream,
        trailers: policy.exchange == Exchange::Grpc,
    };
    // A body that is still on its way when its credential ends goes no further.
    let vigil =
        (matches!(carry, Carry::Stream(_)) && caller.can_end()).then(|| caller.vigil(passage, services));
    let mut request = Request::new(match carry {
        Carry::Nothing => SendBody::Empty,
        Carry::Buffered(bytes) => SendBody::from(bytes),
        Carry::Stream(body) => SendBody::Client(body),
        Carry::Pieces(pieces) => SendBody::Stream(Box::pin(pieces)),
    });
    *request.method_mut() = head.method().to_http();
    *request.uri_mut() = Uri::try_from(target).map_err(|_| Fault::new(Code::Internal, "target-not-a-uri"))?;
    *request.headers_mut() = admitted.headers;
    if let Some(per_server) = per_server {
        request.extensions_mut().insert(per_server);
    }
    for (name, value) in declared {
        // Only what was admitted as the client's own: a reserved name or a field of ours does not become his by being
        // declared.
        let raw = head.headers().get(&name);
        if raw.is_some() && request.headers().get(&name) == raw {
            request.headers_mut().insert(name, value);
        }
    }
    let asked = services.ticks();
    let sent = match upgrade {
        None => {
            let ended = async {
                match vigil {
                    Some(vigil) => vigil.ended().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                sent = services.pool.send(upstream, request, how) => sent.map(Answered::Response),
                ended = ended => {
                    passage.note(Gate::Forward, "the credential has ended", Some(api.at));
                    return Err(ended.refusal().into());
                }
            }
        }
        Some(offer) => {
            let handshake =
                offer.pass_on(&services.pool, upstream, request, &subprotocols(&policy.exchange)).await;
            handshake.map(|answer| match answer {
                Handshake::Accepted(accepted) => Answered::WebSocket(Box::new(accepted)),
                Handshake::Other(response) => Answered::Response(response),
            })
        }
    };
    passage.seen().upstream_us = Some(services.ticks().saturating_sub(asked));
    match sent {
        Ok(answer) => {
            passage.note(Gate::Forward, "the upstream answered", Some(api.at));
            Ok(Reply { answer, head, under_way: permit.into_under_way(), graphql })
        }
        Err(error) => {
            passage.note(Gate::Forward, error.name(), Some(api.at));
            Err(stop(error))
        }
    }
}

fn subprotocols(exchange: &Exchange) -> Vec<&str> {
    match exchange {
        Exchange::WebSocket { subprotocols, .. } => subprotocols.iter().map(|s| &**s).collect(),
        Exchange::Plain | Exchange::Events | Exchange::Grpc => Vec::new(),
    }
}

/// A fault of the upstream, or of the client's body while it was streamed.
fn stop(error: UpstreamError) -> Stop {
    if let UpstreamError::Body(body) = error {
        return Refusal::new(body.code(), "body-while-streaming").close().into();
    }
    let fault = Fault::new(error.code(), error.name());
    match error.retry_after() {
        Some(secs) => fault.retry_after(secs).into(),
        None => fault.into(),
    }
}

/// Our span; the client's as its parent only from a trusted proxy (wire.md § 9.2).
fn span(head: &Head, services: &Services) -> TraceParent {
    let parent_id = u64::from_le_bytes(services.random()) | 1;
    match head.trace().filter(|_| head.client().through_proxy) {
        Some(parent) => TraceParent { parent_id, ..parent },
        None => {
            let trace_id = u128::from_le_bytes(services.random()) | 1;
            TraceParent { trace_id, parent_id, flags: 0 }
        }
    }
}

fn sign_identity(
    head: &Head,
    caller: &Identified<'_>,
    matched: &Matched<'_>,
    passage: &Passage,
    services: &Services,
    target: &str,
) -> Result<(Option<HeaderValue>, Option<PerServer>), Stop> {
    let Some(identity) = &matched.api().identity else { return Ok((None, None)) };
    let Some(signer) = &services.shared.signer else {
        return Err(Fault::new(Code::Internal, "identity-signer-missing").into());
    };
    let Some(upstream) = passage.plan.upstream(matched.api().upstream) else {
        return Err(Fault::new(Code::Internal, "upstream-missing-in-plan").into());
    };
    let servers = &upstream.plan().servers;
    let authority = match (matched.api().headers.preserve_host, servers.as_slice()) {
        (true, _) => Some(head.authority().to_string()),
        (false, [only]) => Some(only.authority()),
        // Which of several is known when one is chosen, and again when another one is tried.
        (false, _) => None,
    };
    let bind = {
        let (method, target) = (head.method().text(), target.to_owned());
        move |authority: &str| -> [u8; 32] {
            let bound = headers::binding(method, authority, &target);
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bound);
            digest.as_ref().first_chunk().copied().unwrap_or_default()
        }
    };
    let claims = headers::Claims {
        issuer: &services.shared.deployment,
        audience: &identity.audience,
        now: passage.now.secs(),
        jti: services.random(),
        caller,
        roles: &[],
        operation: &matched.operation().id,
        objects: &[],
        revision: None,
        request: authority.as_deref().map_or([0; 32], &bind),
    };
    let json = claims.to_json().ok_or_else(|| Fault::new(Code::Internal, "identity-too-large"))?;
    if authority.is_some() {
        let token =
            signer.sign(&json, passage.now).map_err(|_| Fault::new(Code::Internal, "identity-not-signed"))?;
        return Ok((HeaderValue::try_from(token).ok(), None));
    }
    let (shared, now) = (services.shared.clone(), passage.now);
    let per_server = move |authority: &str| {
        let json = headers::rebound(&json, bind(authority))?;
        let token = shared.signer.as_ref()?.sign(&json, now).ok()?;
        Some((headers::IDENTITY, HeaderValue::try_from(token).ok()?))
    };
    Ok((None, Some(PerServer(Arc::new(per_server)))))
}

/// The header whose verified credential goes on. Keys that Portcullis issued, proofs and signatures never do.
fn credential_header(caller: &Identified<'_>, matched: &Matched<'_>) -> Option<HeaderName> {
    let pass = matched.api().pass_credentials && caller.kinds().contains(Kinds::TOKEN);
    pass.then_some(http::header::AUTHORIZATION)
}
