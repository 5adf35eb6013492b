//! Who is calling, beyond doubt (callers.md).
//!
//! A credential that was presented and is invalid fails the request; it never falls through to another alternative
//! or to anonymous.

mod api_key;
mod cache;
mod chain;
mod challenge;
mod dpop;
mod duty;
mod extract;
mod key;
mod mtls;
mod opaque;
mod possession;
mod signature;
mod token;
mod vigil;

pub(crate) use cache::{Cache, hash};
pub(crate) use challenge::insufficient_scope;
pub use duty::Provisional;
pub(in crate::gates) use duty::{Digesting, unread};
pub(crate) use extract::is_signed;
pub(crate) use signature::Verifiers;
pub(crate) use token::Verified;
pub(in crate::gates) use vigil::{Ended, Vigil};

use super::flood::{self, Calm};
use super::route::Matched;
use crate::events::{self, Event};
use crate::passage::Passage;
use crate::services::Services;
use chain::Choice;
use extract::{Presented, Unreadable};
use http::HeaderValue;
use http::header::DATE;
use portcullis_core::caller::{Caller, Kind};
use portcullis_core::head::Head;
use portcullis_core::problem::Code;
use portcullis_core::trail::Gate;
use portcullis_core::verdict::{Fault, Refusal, Stop};
use portcullis_plan::access::{Access, Alternative, Kinds};
use portcullis_telemetry::metrics::Credential;
use portcullis_vault::api_keys::Place;
use smallvec::SmallVec;
use std::ops::Deref;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};
use vigil::Standing;

/// Evidence: a caller whose proof was checked, or nobody where nobody is welcome by name.
#[must_use]
pub struct Identified<'p> {
    caller: Rc<Caller>,
    alternative: Option<&'p Alternative>,
    kinds: Kinds,
    standing: SmallVec<[Standing; 1]>,
}

impl Identified<'_> {
    /// The kinds of credentials that were verified.
    pub(super) fn kinds(&self) -> Kinds {
        self.kinds
    }
}

impl Deref for Identified<'_> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

/// A verified member of an alternative.
pub(crate) struct Proof {
    caller: Rc<Caller>,
    hash: Option<[u8; 8]>,
    decision: &'static str,
    standing: Standing,
}

/// Why a member was not verified.
pub(crate) enum Failure {
    /// A verdict on the credential: charged to the address.
    Refused(Code, &'static str),
    /// Anything else, a fault of ours above all: passed on as it is.
    Stop(Stop),
}

impl Failure {
    fn refused(code: Code, reason: &'static str) -> Self {
        Self::Refused(code, reason)
    }

    fn token(reason: &'static str) -> Self {
        Self::Refused(Code::TokenInvalid, reason)
    }

    /// For the metrics.
    fn word(&self) -> &'static str {
        match self {
            Self::Refused(_, reason) => reason,
            Self::Stop(Stop::Fault(fault)) => fault.code.text(),
            Self::Stop(Stop::Refusal(refusal)) => refusal.code.text(),
            Self::Stop(Stop::Answer(_)) => "answered",
        }
    }
}

/// Checks the proof of who sends the request. What a signature says of the body is a duty that `intake` discharges.
pub async fn who<'p>(
    _calm: Calm,
    head: &Head,
    matched: &Matched<'p>,
    passage: &Passage,
    services: &Services,
) -> Result<Provisional<'p>, Stop> {
    let api = matched.api();
    let access = &matched.policy().access;
    if api.authenticate.dpop_nonce {
        dpop::offer_nonce(passage, services);
    }
    let presented = match Presented::take(head, &api.authenticate) {
        Ok(presented) => presented,
        Err(Unreadable::Refused(code, reason)) => {
            in_cookie(code, head, passage, services);
            return refuse(code, reason, head, matched, passage, services);
        }
        Err(Unreadable::Stop(stop)) => {
            return Err(flood::unreadable(stop, passage, services, head.client().address));
        }
    };
    if presented.unsupported {
        return refuse(Code::CredentialUnsupported, "authorization-scheme", head, matched, passage, services);
    }
    let (alternative, kinds) =
        match chain::choose(access, presented.kinds(), matched.ambient(), accepted(matched)) {
            Choice::Anonymous => return Ok(Provisional::new(nobody(access, passage), None)),
            Choice::Verify(alternative, kinds) => (Some(alternative), kinds),
            Choice::VerifyAny(kinds) => (None, kinds),
            Choice::Refuse(code, reason) => return refuse(code, reason, head, matched, passage, services),
        };
    let mut proofs: SmallVec<[Proof; 1]> = SmallVec::new();
    let mut duty = None;
    for kind in [Kinds::TOKEN, Kinds::API_KEY, Kinds::SIGNATURE, Kinds::CERTIFICATE] {
        if !kinds.contains(kind) {
            continue;
        }
        let (credential, began) = (credential(kind, &presented), services.ticks());
        let result = match (kind, presented.token, presented.signature) {
            (Kinds::TOKEN, Some(token), _) => match &api.authenticate.opaque {
                // The shape decides, and nothing is tried twice. Four dots are a JWE, which is refused outright.
                Some(policy) if !matches!(dots(token.text), 2 | 4) => {
                    opaque::verify(token, policy, api, head, passage, services).await
                }
                _ if dots(token.text) == 2 => token::verify(token, api, passage, services).await,
                _ => Err(Failure::token("not-a-jwt")),
            },
            (Kinds::API_KEY, ..) => {
                let text = presented.api_key.unwrap_or_default();
                api_key::verify(text, head, matched, passage, services).await
            }
            (Kinds::SIGNATURE, _, Some(scheme)) => {
                signature::verify(scheme, head, matched, passage, services).await.map(|(proof, digests)| {
                    duty = digests;
                    proof
                })
            }
            (Kinds::CERTIFICATE, ..) => mtls::verify(api, passage, services),
            _ => Err(Failure::refused(Code::CredentialUnsupported, "kind-not-verifiable")),
        };
        match &result {
            Ok(_) => services.counters.identified(credential, services.ticks().saturating_sub(began)),
            Err(failure) => services.shared.metrics.unproved(credential, failure.word()),
        }
        match result {
            Ok(proof) => proofs.push(proof),
            Err(Failure::Stop(stop)) => return Err(stop),
            Err(Failure::Refused(code, reason)) => {
                return refuse(code, reason, head, matched, passage, services);
            }
        }
    }
    let Combined { caller, hash, decision, standing } = match combine(proofs) {
        Ok(combined) => combined,
        Err((code, reason)) => return refuse(code, reason, head, matched, passage, services),
    };
    if let (Some(tenant), Some(own)) = (&api.tenant, &caller.tenant)
        && tenant != own
    {
        return refuse(Code::CredentialConflict, "tenant-of-another-api", head, matched, passage, services);
    }
    if api.tenant.is_some() && caller.tenant.is_none() && api.principal.tenant.is_some() {
        return refuse(Code::CredentialConflict, "tenant-missing", head, matched, passage, services);
    }
    passage.note(Gate::Identify, decision, alternative.map(|a| a.at));
    passage.saw_caller(&caller, hash);
    Ok(Provisional::new(Identified { caller, alternative, kinds, standing }, duty))
}

/// Before anything is looked up that is not known here. What addresses cause whose failures have emptied their buckets is
/// a trickle, and beyond it they are answered without: a guesser burdens neither store nor issuer. What was good a while
/// ago is still known, and the trickle lets a new neighbour in, so that nobody locks out others behind one address.
fn unpaid(head: &Head, passage: &Passage, services: &Services) -> Result<(), Failure> {
    flood::spent(passage, services, head.client().address).map_err(Failure::Stop)
}

/// Own credentials are worth nothing while this node might not know that they were revoked (callers.md § 7).
fn current(passage: &Passage, services: &Services) -> Result<(), Failure> {
    let patience = passage.plan.keys.revocation_max_staleness_s;
    if services.shared.revoked.is_fresh(passage.now, patience) {
        return Ok(());
    }
    let fault = Fault::new(Code::RevocationUnavailable, "revocation-feed-stale");
    Err(Failure::Stop(fault.retry_after(5).into()))
}

fn dots(token: &str) -> usize {
    token.bytes().filter(|b| *b == b'.').count()
}

fn credential(kind: Kinds, presented: &Presented<'_>) -> Credential {
    match kind {
        Kinds::API_KEY => Credential::ApiKey,
        Kinds::SIGNATURE => Credential::Signature,
        Kinds::CERTIFICATE => Credential::Certificate,
        _ if presented.token.is_some_and(|token| dots(token.text) != 2) => Credential::Opaque,
        _ => Credential::Jwt,
    }
}

/// A key in a cookie is looked at beside the request: if there is such a key, its owner is told.
fn in_cookie(code: Code, head: &Head, passage: &Passage, services: &Services) {
    if code != Code::CredentialMisplaced {
        return;
    }
    events::tell(Event::SecretInCookie, None, passage, services);
    let key = head.cookies().find_map(|(_, value)| portcullis_core::opaque::find_key(value.as_bytes()));
    passage.seen().exposed = key.map(|key| (key, Place::Cookie));
}

fn nobody<'p>(access: &'p Access, passage: &Passage) -> Identified<'p> {
    let at = match access {
        Access::Anonymous { at, .. } => Some(*at),
        Access::AnyOf(_) => None,
    };
    passage.note(Gate::Identify, "anonymous, by name", at);
    let caller = Rc::new(Caller::anonymous());
    passage.saw_caller(&caller, None);
    Identified { caller, alternative: None, kinds: Kinds::NONE, standing: SmallVec::new() }
}

/// All kinds that the API is configured for.
fn accepted(matched: &Matched<'_>) -> Kinds {
    let authenticate = &matched.api().authenticate;
    let mut kinds = Kinds::NONE;
    if !authenticate.jwt.is_empty() || authenticate.opaque.is_some() {
        kinds = kinds.with(Kinds::TOKEN);
    }
    if authenticate.api_key.is_some() {
        kinds = kinds.with(Kinds::API_KEY);
    }
    if authenticate.signature.is_some() {
        kinds = kinds.with(Kinds::SIGNATURE);
    }
    kinds
}

/// What several proofs say together.
struct Combined {
    caller: Rc<Caller>,
    hash: Option<[u8; 8]>,
    decision: &'static str,
    standing: SmallVec<[Standing; 1]>,
}

/// Several members: tenants must agree, scopes are the intersection, the subject is the token's, else the key's
/// (callers.md § 15, step 4).
fn combine(proofs: SmallVec<[Proof; 1]>) -> Result<Combined, (Code, &'static str)> {
    let mut proofs = proofs.into_iter();
    let Some(Proof { mut caller, hash, decision, standing }) = proofs.next() else {
        return Err((Code::CredentialUnsupported, "nothing-verified"));
    };
    let mut standing = SmallVec::from_buf([standing]);
    for Proof { caller: other, standing: also, .. } in proofs {
        if let (Some(a), Some(b)) = (&caller.tenant, &other.tenant)
            && a != b
        {
            return Err((Code::CredentialConflict, "tenants-disagree"));
        }
        let mut both = (*caller).clone();
        // A certificate that grants nothing is a proof beside the others and takes nothing from them.
        if other.kind != Kind::Certificate || !other.scopes.is_empty() {
            both.scopes = both.scopes.iter().filter(|s| other.has_scope(s)).cloned().collect();
        }
        both.tenant = both.tenant.or_else(|| other.tenant.clone());
        both.key = both.key.or_else(|| other.key.clone());
        caller = Rc::new(both);
        standing.push(also);
    }
    Ok(Combined { caller, hash, decision, standing })
}

/// A failed credential is charged to the address it came from; nothing presented was charged by `flood`.
fn refuse<'p>(
    code: Code,
    reason: &'static str,
    head: &Head,
    matched: &Matched<'_>,
    passage: &Passage,
    services: &Services,
) -> Result<Provisional<'p>, Stop> {
    passage.note(Gate::Identify, reason, None);
    if passage.read().credentialed {
        flood::charge_failure(passage, services, head.client().address)?;
    }
    let mut refusal = Refusal::new(code, reason);
    if code == Code::SignatureStale {
        // So that a client can see that its clock is wrong.
        let now = passage.now.secs();
        refusal.members.push(("server_time", now.to_string()));
        let since = Duration::from_secs(u64::try_from(now).unwrap_or(0));
        let date = httpdate::fmt_http_date(UNIX_EPOCH + since);
        refusal.headers.extend(HeaderValue::try_from(date).ok().map(|date| (DATE, date)));
    }
    if code.status() == 401 {
        challenge::add(&mut refusal, head, matched.api(), &matched.policy().access);
    }
    Err(refusal.into())
}
