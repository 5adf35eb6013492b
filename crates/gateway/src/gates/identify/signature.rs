//! Requests signed by a registered key (callers.md §§ 9–11): `portcullis-v1` (RFC 9421) and PC1.
//!
//! The order of the steps is the promise: nothing is looked up for what cannot be read, is stale or covers too little;
//! an unknown key costs and says what a wrong MAC does; a nonce is spent only by whoever has the key.

use super::extract::Signed as Scheme;
use super::{Failure, Proof, current, dpop, key};
use crate::events::{self, Event};
use crate::gates::route::Matched;
use crate::passage::{Passage, Sealed};
use crate::services::Services;
use portcullis_core::head::Head;
use portcullis_core::opaque::Id16;
use portcullis_core::problem::Code;
use portcullis_jose::api_key::{State, partner_key};
use portcullis_jose::digest::{DigestFault, Digests};
use portcullis_jose::jwk::VerifyKey;
use portcullis_jose::mac::MacKey;
use portcullis_jose::message::{Demands, Key, Refusal, Signed};
use portcullis_jose::pc1::Pc1;
use portcullis_plan::access::SignaturePolicy;
use portcullis_store::keys::{KeyRow, Material};
use portcullis_store::replay::{Presented, ReplayKey, ReplayKind};
use std::collections::HashMap;
use std::rc::Rc;

/// Seconds for which a nonce is remembered: both sides of the window, twice its length at most.
const REMEMBERED: i64 = 630;

/// Verifies the signature of a request. The digests that it signs are a duty: nothing has been read of the body.
pub(super) async fn verify(
    scheme: Scheme,
    head: &Head,
    matched: &Matched<'_>,
    passage: &Passage,
    services: &Services,
) -> Result<(Proof, Option<Digests>), Failure> {
    let api = matched.api();
    let (Some(policy), Some(sealed)) = (&api.authenticate.signature, passage.sealed()) else {
        return Err(Failure::refused(Code::CredentialUnsupported, "signature-not-accepted"));
    };
    let now = passage.now.secs();
    let replay = services.shared.store.replay();
    let claim = Claim::read(scheme, head, policy)?;
    claim.fresh(now, replay.lost_at()).map_err(refused)?;
    claim.covers(sealed, policy).map_err(refused)?;
    let known = key::registered(claim.key_id(), head, passage, services).await?;
    let known = known.filter(|known| can_verify(&known.row, policy, now) && key::of_tenant(known, api));
    let verifier = known.as_ref().and_then(|known| verifier(&known.row, services));
    claim.verify(verifier.as_deref(), sealed).map_err(refused)?;
    // No row never verifies: the dummy is always wrong.
    let Some(known) = known else { return Err(refused(Refusal::Invalid)) };
    let state = known.row.dates.state(now);
    if !state.works() {
        return Err(Failure::refused(Code::KeyExpired, "key-expired"));
    }
    current(passage, services)?;
    key::allowed(&known, head.client().address, matched)?;
    if !services.dry {
        let parts = [&*known.id, claim.nonce()];
        let spent = ReplayKey::new(ReplayKind::Signature, &parts);
        let expires = now.saturating_add(REMEMBERED);
        let seen = replay.put_if_absent(ReplayKind::Signature, spent, expires, now).await;
        services.shared.metrics.replay(ReplayKind::Signature.text(), seen.text());
        match seen {
            Presented::Fresh => {}
            Presented::Seen => {
                events::tell(Event::SignatureReplay, Some(&known.id), passage, services);
                return Err(refused(Refusal::Replay));
            }
            Presented::Unavailable => return Err(dpop::unavailable()),
        }
    }
    let duty = claim.duty(head, sealed.body)?;
    key::used(&known, state, head, passage, services);
    Ok((key::proof(&known, state, &api.principal, claim.decision(), services), duty))
}

/// What the request says of itself; not believed yet.
enum Claim<'h> {
    Message(Box<Signed>),
    Pc1(Pc1<'h>),
}

impl<'h> Claim<'h> {
    fn read(scheme: Scheme, head: &'h Head, policy: &SignaturePolicy) -> Result<Self, Failure> {
        let line = |name: &str| head.header(name).map(str::as_bytes);
        match scheme {
            Scheme::Message if policy.portcullis_v1 => {
                let input: Vec<&[u8]> = line("signature-input").into_iter().collect();
                let signature: Vec<&[u8]> = line("signature").into_iter().collect();
                Signed::read(&input, &signature).map(Box::new).map(Self::Message).map_err(refused)
            }
            Scheme::Pc1 if policy.pc1 => {
                let lines: Vec<&[u8]> = line("x-pc-signature").into_iter().collect();
                Pc1::read(&lines).map(Self::Pc1).map_err(refused)
            }
            Scheme::Message | Scheme::Pc1 => {
                Err(Failure::refused(Code::CredentialUnsupported, "signature-scheme"))
            }
        }
    }

    fn fresh(&self, now: i64, remembered_since: Option<i64>) -> Result<(), Refusal> {
        match self {
            Self::Message(signed) => signed.fresh(now, remembered_since),
            Self::Pc1(pc1) => pc1.fresh(now, remembered_since),
        }
    }

    fn covers(&self, sealed: &Sealed, policy: &SignaturePolicy) -> Result<(), Refusal> {
        match self {
            Self::Message(signed) => {
                let fields: Vec<&str> = policy.cover.iter().map(|name| &**name).collect();
                signed.covers(&sealed.received, &Demands { body: sealed.body, fields: &fields })
            }
            // The scheme covers a fixed list of things, and these are not among them.
            Self::Pc1(_) if !policy.cover.is_empty() => Err(Refusal::Coverage("cover")),
            Self::Pc1(pc1) => pc1.covers(&sealed.received, sealed.body),
        }
    }

    /// Nothing for what cannot be an id: no look-up for a stranger's text.
    fn key_id(&self) -> Option<Id16> {
        match self {
            Self::Message(signed) => Id16::parse(signed.key_id()).ok(),
            Self::Pc1(pc1) => Some(pc1.key_id()),
        }
    }

    fn nonce(&self) -> &str {
        match self {
            Self::Message(signed) => signed.nonce(),
            Self::Pc1(pc1) => pc1.nonce(),
        }
    }

    fn verify(&self, verifier: Option<&Verifier>, sealed: &Sealed) -> Result<(), Refusal> {
        match self {
            Self::Message(signed) => {
                let base = signed.base(&sealed.received)?;
                let key = match verifier {
                    Some(Verifier::Mac(key)) => Key::Mac(key),
                    Some(Verifier::Public(key)) => Key::Public(key),
                    None => Key::Dummy,
                };
                signed.verify(key, &base)
            }
            Self::Pc1(pc1) => {
                let key = match verifier {
                    Some(Verifier::Mac(key)) => Some(&**key),
                    Some(Verifier::Public(_)) | None => None,
                };
                pc1.verify(key, &sealed.received)
            }
        }
    }

    /// The digests that the body must have. A body always has one: coverage saw to that.
    fn duty(&self, head: &Head, body: bool) -> Result<Option<Digests>, Failure> {
        match self {
            Self::Message(_) => match head.header("content-digest") {
                Some(value) => Digests::read([value.as_bytes()]).map(Some).map_err(|fault| {
                    let reason = match fault {
                        DigestFault::Malformed => "digest-malformed",
                        DigestFault::NoneKnown => "digest-of-no-known-algorithm",
                    };
                    Failure::refused(Code::SignatureDigest, reason)
                }),
                None if body => Err(refused(Refusal::Coverage("body"))),
                None => Ok(None),
            },
            Self::Pc1(pc1) => Ok(pc1.digests()),
        }
    }

    const fn decision(&self) -> &'static str {
        match self {
            Self::Message(_) => "signature, portcullis-v1",
            Self::Pc1(_) => "signature, pc1",
        }
    }
}

/// Keys of the other environment, and keys that do not work, are verified by a dummy. An expired one is not: its owner
/// is told.
fn can_verify(row: &KeyRow, policy: &SignaturePolicy, now: i64) -> bool {
    let live = row.env == portcullis_core::opaque::Env::Live;
    let state = row.dates.state(now);
    live == policy.live && (state.works() || state == State::Expired)
}

/// What a key's signatures are verified with, made once.
pub(crate) enum Verifier {
    /// Of a key of kind `hmac`.
    Mac(Box<MacKey>),
    /// Of a key of kind `jwk`.
    Public(Box<VerifyKey>),
}

/// Keys that one worker has prepared. What they were made of is compared at each use, so that nothing outlives a row.
#[derive(Default)]
pub(crate) struct Verifiers(HashMap<Id16, (Material, Rc<Verifier>)>);

const MAX_VERIFIERS: usize = 4_096;

fn verifier(row: &KeyRow, services: &Services) -> Option<Rc<Verifier>> {
    if let Some((material, verifier)) = services.verifiers.borrow().0.get(&row.id)
        && *material == row.material
    {
        return Some(verifier.clone());
    }
    let made = match &row.material {
        Material::Hmac { sealed } => {
            let secret = services.shared.store.keys().open_secret(row.id, sealed).ok()?;
            Verifier::Mac(Box::new(MacKey::new(secret.expose())))
        }
        Material::Jwk { jwk, .. } => Verifier::Public(Box::new(partner_key(jwk.as_bytes()).ok()?)),
        Material::Bearer { .. } | Material::Purged { .. } => return None,
    };
    let made = Rc::new(made);
    let mut known = services.verifiers.borrow_mut();
    if known.0.len() >= MAX_VERIFIERS {
        known.0.clear();
    }
    known.0.insert(row.id, (row.material.clone(), made.clone()));
    Some(made)
}

fn refused(refusal: Refusal) -> Failure {
    let code = match refusal {
        Refusal::Missing => Code::SignatureMissing,
        Refusal::Malformed(_) => Code::SignatureMalformed,
        Refusal::Coverage(_) => Code::SignatureCoverage,
        Refusal::Stale => Code::SignatureStale,
        Refusal::Invalid => Code::SignatureInvalid,
        Refusal::Replay => Code::SignatureReplay,
        Refusal::Digest => Code::SignatureDigest,
    };
    Failure::refused(code, refusal.detail().unwrap_or(refusal.text()))
}
