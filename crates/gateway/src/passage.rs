//! What travels with a request: id, time, plan, and what was seen on the way.

use crate::live::InForce;
use crate::wire::{ClientCert, Handshake};
use portcullis_core::caller::{Caller, KeyRef, Kind};
use portcullis_core::finding::Span;
use portcullis_core::id::RequestId;
use portcullis_core::opaque::ApiKey;
use portcullis_core::problem::Code;
use portcullis_core::time::Now;
use portcullis_core::trail::{Gate, Trail};
use portcullis_jose::message::Received;
use portcullis_limits::Decision;
use portcullis_plan::HostTable;
use portcullis_plan::api::{Api, Operation};
use portcullis_vault::api_keys::Place;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::cell::{OnceCell, Ref, RefCell, RefMut};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

/// One request's companion. Gates append to the trail and to what was seen; none reads them.
pub struct Passage {
    /// Correlation id.
    pub id: RequestId,
    /// The one reading of the clock.
    pub now: Now,
    /// The plan that this request began with.
    pub plan: InForce,
    /// The TLS handshake's facts.
    pub handshake: Rc<Handshake>,
    administrative: bool,
    received: OnceCell<Sealed>,
    told: OnceCell<Option<Rc<ClientCert>>>,
    trail: RefCell<Trail>,
    seen: RefCell<Seen>,
}

/// What proofs over the request are compared with. Nothing of it can be read: it only makes bases (RFC 9421) and judges
/// DPoP proofs, so that matching, logs and forwarding still see nothing raw.
pub struct Sealed {
    /// Target, authority and field lines as received.
    pub(crate) received: Received,
    /// A body follows the head.
    pub(crate) body: bool,
}

/// What the log line and the answer's headers need to know.
#[derive(Default)]
pub struct Seen {
    /// API and operation, once routed.
    pub matched: Option<(u16, u32)>,
    /// The derived client address and how it was derived.
    pub client: Option<(IpAddr, &'static str)>,
    /// The client's own `X-Request-Id`, cleaned.
    pub client_request_id: Option<Box<str>>,
    /// W3C trace id.
    pub trace: Option<[u8; 16]>,
    /// Whether any credential was presented.
    pub credentialed: bool,
    /// `Origin`, if the API allows it.
    pub origin: Option<http::HeaderValue>,
    /// Who, as far as it is known.
    pub caller: Option<SeenCaller>,
    /// What the limits said, for the answer's fields and the log.
    pub decisions: SmallVec<[Decision; 6]>,
    /// Lifecycle fields for the answer (deprecated keys).
    pub lifecycle_headers: Vec<(http::HeaderName, http::HeaderValue)>,
    /// A whole API key that stood where it must not be.
    pub exposed: Option<(ApiKey, Place)>,
    /// `DPoP-Nonce` for the answer.
    pub dpop_nonce: Option<http::HeaderValue>,
    /// A body of GraphQL has been read: refusals have its form.
    pub graphql: Option<SeenGraphQl>,
    /// Microseconds spent waiting for the upstream.
    pub upstream_us: Option<u64>,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Rules of the contract that the request broke, each once.
    pub violations: SmallVec<[&'static str; 4]>,
    /// Rules that it broke and that were only reported (loosening `report`), each once.
    pub reported: SmallVec<[&'static str; 4]>,
    /// Rules of the contract that the answer broke, each once.
    pub response_violations: SmallVec<[&'static str; 4]>,
    /// How many undeclared members of the request were left out.
    pub stripped: u32,
    /// The operation is declared, and closed.
    pub closed: Option<(u16, u32)>,
    /// How many response fields were dropped.
    pub dropped_fields: u32,
    /// What a stream released, once it has ended.
    pub streamed: Option<crate::gates::release::Ledger>,
    /// Problem and private reason, when it was refused.
    pub problem: Option<(Code, Cow<'static, str>)>,
}

impl Seen {
    /// A rule of the contract that the answer broke.
    pub fn broke(&mut self, rule: &'static str) {
        if !self.response_violations.contains(&rule) {
            self.response_violations.push(rule);
        }
    }

    /// Whether somebody proved who they are.
    pub fn knows_caller(&self) -> bool {
        self.caller.as_ref().is_some_and(|caller| caller.kind != Kind::Anonymous)
    }
}

/// What the answer and the counters need to know of a request of GraphQL.
#[derive(Clone)]
pub struct SeenGraphQl {
    /// The media type that the client is answered with.
    pub media: http::HeaderValue,
    /// What the request costs.
    pub cost: u64,
}

/// What of the caller may be logged.
#[derive(Clone)]
pub struct SeenCaller {
    /// Kind.
    pub kind: Kind,
    /// Keyed hash of (issuer, subject).
    pub hash: Option<[u8; 8]>,
    /// OAuth client id.
    pub client: Option<Arc<str>>,
    /// Tenant.
    pub tenant: Option<Arc<str>>,
    /// API key.
    pub key: Option<KeyRef>,
}

impl Passage {
    /// At arrival.
    pub fn new(id: RequestId, now: Now, plan: InForce, handshake: Rc<Handshake>) -> Self {
        Self {
            id,
            now,
            plan,
            handshake,
            administrative: false,
            received: OnceCell::new(),
            told: OnceCell::new(),
            trail: RefCell::new(Trail::new()),
            seen: RefCell::new(Seen::default()),
        }
    }

    /// On an admin listener: the admin API alone answers there, and nowhere else.
    #[must_use]
    pub fn administrative(self) -> Self {
        Self { administrative: true, ..self }
    }

    /// What answers on the listener.
    pub(crate) fn hosts(&self) -> &HostTable {
        if self.administrative { &self.plan.administration } else { &self.plan.hosts }
    }

    /// Keeps the request as received; `canonical` alone does, and only for a request that carries a proof over it.
    pub(crate) fn keep(&self, sealed: Sealed) {
        // There is one request: a second one would be ignored.
        let _ = self.received.set(sealed);
    }

    /// What proofs over the request are compared with, if it carries one.
    pub(crate) fn sealed(&self) -> Option<&Sealed> {
        self.received.get()
    }

    /// What a trusted proxy tells of the client's certificate; from then on the handshake's is that of the proxy, and says
    /// nothing of the client. `canonical` alone calls this.
    pub(crate) fn certify(&self, told: Option<Rc<ClientCert>>) {
        let _ = self.told.set(told);
    }

    /// The client's certificate.
    pub(crate) fn certificate(&self) -> Option<&Rc<ClientCert>> {
        self.told.get().unwrap_or(&self.handshake.client_cert).as_ref()
    }

    /// Appends a decision.
    pub fn note(&self, gate: Gate, decision: impl Into<Cow<'static, str>>, rule: Option<Span>) {
        self.trail.borrow_mut().note(gate, decision, rule);
    }

    /// For writing down what was seen. The borrow must not be held across an await.
    pub fn seen(&self) -> RefMut<'_, Seen> {
        self.seen.borrow_mut()
    }

    /// For the log line and the answer, after the gates.
    pub fn read(&self) -> Ref<'_, Seen> {
        self.seen.borrow()
    }

    /// The decisions, after the gates.
    pub fn trail(&self) -> Ref<'_, Trail> {
        self.trail.borrow()
    }

    /// The decisions, for the log line; none are left here.
    pub fn take_trail(&self) -> Trail {
        std::mem::take(&mut *self.trail.borrow_mut())
    }

    /// The API and operation policy, once routed.
    pub fn matched(&self) -> Option<(&Api, &Operation)> {
        let (api, operation) = self.seen.borrow().matched?;
        let api = self.plan.api(api)?;
        Some((api, api.operations.get(usize::try_from(operation).ok()?)?))
    }

    /// The operation as the document declares it, once routed.
    pub fn operation(&self) -> Option<&portcullis_contract::Operation> {
        let (api, operation) = self.seen.borrow().matched?;
        self.plan.api(api)?.contract.operations().get(usize::try_from(operation).ok()?)
    }

    /// Where the operation stands in its document, once routed.
    pub fn operation_at(&self) -> Option<Span> {
        self.operation().map(|operation| operation.at)
    }

    /// Writes down who calls.
    pub fn saw_caller(&self, caller: &Caller, hash: Option<[u8; 8]>) {
        self.seen().caller = Some(SeenCaller {
            kind: caller.kind,
            hash,
            client: caller.client.clone(),
            tenant: caller.tenant.clone(),
            key: caller.key.clone(),
        });
    }
}
