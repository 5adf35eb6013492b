//! What was opened lasts no longer than what opened it (wire.md § 13): streams and WebSockets end when the credential
//! expires or is revoked, and when the plan has no such operation any more.

use super::Identified;
use super::token::Verified;
use crate::live::{InForce, Live};
use crate::passage::Passage;
use crate::services::{Services, Shared};
use crate::wire::ClientCert;
use portcullis_core::caller::Binding;
use portcullis_core::problem::Code;
use portcullis_core::time::Now;
use portcullis_core::verdict::Refusal;
use portcullis_jose::jwt::Claims;
use portcullis_vault::api_keys::RegisteredKey;
use portcullis_vault::revocation::TokenFacts;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// However quiet it is, the clock and the age of the feed are looked at so often.
const LOOK: Duration = Duration::from_secs(10);

/// What a proof goes on standing on.
#[derive(Clone)]
pub(super) enum Standing {
    /// A JWT.
    Token(Rc<Verified>),
    /// A token that its issuer has vouched for; the issuer's place in the plan.
    Opaque(Arc<Claims>, usize),
    /// A registered key.
    Key(Arc<RegisteredKey>),
    /// The connection's certificate.
    Certificate,
}

/// Watches over what stays open.
pub(in crate::gates) struct Vigil {
    standing: Vec<Standing>,
    certificate: Option<Rc<ClientCert>>,
    plan: InForce,
    place: Option<(u16, u32)>,
    shared: Arc<Shared>,
}

impl Identified<'_> {
    /// For whatever lasts longer than an answer.
    pub(in crate::gates) fn vigil(&self, passage: &Passage, services: &Services) -> Vigil {
        let certified = matches!(self.caller.binding, Binding::Certificate(_))
            || self.standing.iter().any(|one| matches!(one, Standing::Certificate));
        Vigil {
            standing: self.standing.to_vec(),
            certificate: passage.certificate().filter(|_| certified).cloned(),
            plan: passage.plan.clone(),
            place: passage.read().matched,
            shared: services.shared.clone(),
        }
    }

    /// Whether there is a credential that could end.
    pub(in crate::gates) fn can_end(&self) -> bool {
        !self.standing.is_empty()
    }
}

/// How something that lasted has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gates) enum Ended {
    /// The credential has expired, was revoked, or cannot be known to be good any more.
    Credential(Code, &'static str),
    /// The plan has no such operation any more.
    Withdrawn,
}

impl Ended {
    /// Why a request is given up under way.
    pub(in crate::gates) fn refusal(self) -> Refusal {
        match self {
            Self::Credential(code, reason) => Refusal::new(code, reason).close(),
            Self::Withdrawn => Refusal::new(Code::OperationUndeclared, "operation-withdrawn").close(),
        }
    }
}

impl Vigil {
    /// Ready when it is over, and how.
    pub(in crate::gates) async fn ended(self) -> Ended {
        let Self { standing, certificate, plan, place, shared } = self;
        let facts: Vec<Facts> = standing.into_iter().filter_map(|one| Facts::of(one, &plan)).collect();
        let place = place.and_then(|place| Place::of(&plan, place));
        // A plan is not kept for as long as somebody listens to events.
        drop(plan);
        let (mut revoked, mut reloads) = (shared.revoked.changes(), shared.reloads.subscribe());
        let mut seen: Option<Arc<Live>> = None;
        loop {
            let (live, now) = (shared.live.load_full(), shared.clock.now());
            if seen.as_ref().is_none_or(|seen| !Arc::ptr_eq(seen, &live)) {
                if place.as_ref().is_some_and(|place| !place.is_in(&live)) {
                    return Ended::Withdrawn;
                }
                seen = Some(live.clone());
            }
            let mut until = i64::MAX;
            if let Some(certificate) = &certificate {
                until = certificate.not_after.saturating_add(1);
                if now.secs() >= until || !certificate.still_good(certificate.rules(&live.plan), now.secs()) {
                    return Ended::Credential(Code::CertificateInvalid, "certificate-ended");
                }
            }
            for one in &facts {
                match one.until(&shared, &live, now).await {
                    Ok(end) if now.secs() < end => until = until.min(end),
                    Ok(_) => return Ended::Credential(one.code(), "credential-expired"),
                    Err(reason) => return Ended::Credential(one.code(), reason),
                }
            }
            drop(live);
            let left =
                u64::try_from(until.saturating_mul(1_000_000).saturating_sub(now.micros())).unwrap_or(0);
            tokio::select! {
                () = tokio::time::sleep(Duration::from_micros(left).min(LOOK)) => {}
                _ = revoked.changed() => {}
                _ = reloads.changed() => {}
            }
        }
    }
}

/// What of a credential is looked at again and again.
enum Facts {
    Token { claims: Arc<Claims>, issuer: Arc<str>, kid: Option<Box<str>>, revocable: bool },
    Key(Arc<RegisteredKey>),
}

impl Facts {
    fn of(standing: Standing, plan: &InForce) -> Option<Self> {
        let (claims, issuer, kid) = match standing {
            Standing::Token(verified) => {
                (verified.claims.clone(), verified.issuer_index, verified.kid.clone())
            }
            Standing::Opaque(claims, issuer) => (claims, issuer, None),
            Standing::Key(key) => return Some(Self::Key(key)),
            Standing::Certificate => return None,
        };
        let (issuer, _) = plan.issuer(issuer)?;
        Some(Self::Token { claims, issuer: issuer.url.clone(), kid, revocable: issuer.revocable })
    }

    /// The second at which it ends by itself; an error when it has ended already.
    async fn until(&self, shared: &Shared, live: &Live, now: Now) -> Result<i64, &'static str> {
        let patience = live.plan.keys.revocation_max_staleness_s;
        let fresh = || shared.revoked.is_fresh(now, patience);
        match self {
            Self::Token { claims, issuer, kid, revocable } => {
                if *revocable && !fresh() {
                    return Err("revocation-feed-stale");
                }
                let token = token_facts(claims, issuer, kid.as_deref());
                if shared.revoked.names(&token) { Err("revoked") } else { Ok(claims.exp()) }
            }
            Self::Key(key) => {
                if !fresh() {
                    return Err("revocation-feed-stale");
                }
                match shared.keys.registered(key.row.id, now).await {
                    Ok(Some(row)) if row.row.dates.state(now.secs()).works() => Ok(row.row.dates.ends_at()),
                    Ok(_) => Err("key-ended"),
                    // Asked again soon; if it lasts, the feed of the same store is stale too.
                    Err(_) => Ok(key.row.dates.ends_at()),
                }
            }
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Token { .. } => Code::TokenInvalid,
            Self::Key(key) if key.signs() => Code::SignatureInvalid,
            Self::Key(_) => Code::KeyInvalid,
        }
    }
}

/// What of a token can be revoked.
pub(super) fn token_facts<'a>(claims: &'a Claims, issuer: &'a str, kid: Option<&'a str>) -> TokenFacts<'a> {
    TokenFacts {
        issuer,
        jti: claims.jti(),
        sid: claims.sid(),
        subject: claims.subject(),
        client: claims.client().map(|client| &**client),
        signing_key: kid,
        iat: claims.iat(),
    }
}

/// An operation by its names, which outlive a plan.
struct Place {
    api: Arc<str>,
    operation: Box<str>,
}

impl Place {
    fn of(plan: &InForce, (api, operation): (u16, u32)) -> Option<Self> {
        let api = plan.api(api)?;
        let operation = api.contract.operations().get(usize::try_from(operation).ok()?)?;
        Some(Self { api: api.name.clone(), operation: (*operation.id).into() })
    }

    fn is_in(&self, live: &Live) -> bool {
        let api = live.plan.apis.iter().find(|api| api.name == self.api);
        api.is_some_and(|api| {
            api.contract.operations().iter().any(|one| *one.id == *self.operation && !one.closed)
        })
    }
}
