//! Tokens in `Authorization`: JWTs of configured issuers (callers.md §§ 4–7).

use super::cache::{TTL_S, TokenHash, hash};
use super::extract::Token;
use super::vigil::{Standing, token_facts};
use super::{Failure, Proof, current, possession};
use crate::events::{self, Event};
use crate::passage::Passage;
use crate::services::Services;
use portcullis_core::caller::{Caller, ClaimSource, Kind, Subject};
use portcullis_core::problem::Code;
use portcullis_core::verdict::{Fault, Stop};
use portcullis_jose::jwt::{Claims, Unverified};
use portcullis_jose::reason::Reason;
use portcullis_plan::access::{Issuer, JwtPolicy};
use portcullis_plan::api::{Api, Principal};
use portcullis_vault::jwks::IssuerKeys;
use smallvec::SmallVec;
use std::rc::Rc;
use std::sync::Arc;

/// A token that was verified, and what must hold at every use of it.
pub(crate) struct Verified {
    caller: Rc<Caller>,
    hash: Option<[u8; 8]>,
    pub(super) claims: Arc<Claims>,
    issuer: Arc<IssuerKeys>,
    pub(super) issuer_index: usize,
    pub(super) kid: Option<Box<str>>,
    epoch: u64,
    skew: i64,
    until: i64,
}

/// Verifies a JWT against the issuers of the API.
pub(super) async fn verify(
    presented: Token<'_>,
    api: &Api,
    passage: &Passage,
    services: &Services,
) -> Result<Proof, Failure> {
    let token = presented.text;
    let now = passage.now.secs();
    let key = cache_key(token, api);
    let cached = services.verified.borrow_mut().get(&key);
    if let Some(verified) = cached {
        if now < verified.until
            && verified.keys_are_in_force(passage)
            && !verified.claims.expired(now, verified.skew)
        {
            services.counters.verify_cache_hit();
            return proof(&verified, presented, passage, services, true).await;
        }
        services.verified.borrow_mut().forget(&key);
    }
    let verified = Rc::new(judge(token, api, passage, services).await?);
    services.verified.borrow_mut().put(key, verified.clone());
    proof(&verified, presented, passage, services, false).await
}

async fn judge(token: &str, api: &Api, passage: &Passage, services: &Services) -> Result<Verified, Failure> {
    let now = passage.now.secs();
    let unverified = Unverified::read(token).map_err(refused)?;
    let policy = select(&unverified, &api.authenticate.jwt)?;
    let (issuer, keys) = passage.plan.issuer(policy.issuer).ok_or_else(unavailable)?;
    let mut loaded = keys.keys(passage.now).await.map_err(|_| unavailable())?;
    let kid = unverified.kid().map(str::to_owned);
    let mut result = unverified.access_token(now, &policy.policy, &loaded.set);
    if let (Err(Reason::KeyUnknown), Some(kid)) = (&result, &kid)
        && let Some(fresh) = keys.keys_for_unknown(kid, passage.now).await
    {
        loaded = fresh;
        result = portcullis_jose::jwt::access_token(now, &policy.policy, &loaded.set, token);
    }
    let claims = Arc::new(result.map_err(refused)?);
    let caller = caller(&claims, &api.principal, issuer.url.clone())?;
    let skew = policy.policy.skew;
    Ok(Verified {
        hash: caller.subject.as_ref().map(|s| services.shared.hash_subject(s)),
        until: claims.exp().saturating_add(skew).min(now.saturating_add(TTL_S)),
        caller: Rc::new(caller),
        claims,
        issuer: keys.clone(),
        issuer_index: policy.issuer,
        kid: kid.map(String::into_boxed_str),
        epoch: loaded.epoch,
        skew,
    })
}

/// One issuer needs no choice; among several, `iss` selects by byte equality and for nothing else.
fn select<'p>(unverified: &Unverified<'_>, policies: &'p [JwtPolicy]) -> Result<&'p JwtPolicy, Failure> {
    match policies {
        [only] => Ok(only),
        several => several
            .iter()
            .find(|p| unverified.issuer() == Some(p.policy.issuer.as_str()))
            .ok_or_else(|| refused(Reason::Issuer)),
    }
}

/// Whom the claims of a token name.
pub(super) fn caller(
    claims: &Arc<Claims>,
    principal: &Principal,
    issuer: Arc<str>,
) -> Result<Caller, Failure> {
    let id = claims.text_at(&principal.id).map(|id| Arc::<str>::from(&*id));
    let client = claims.client().cloned();
    if id.is_none() && client.is_none() {
        // Nobody could be counted, bound to an object, or found again in the log.
        return Err(refused(Reason::ClaimSub));
    }
    let kind =
        if client.is_some() && client.as_deref() == claims.subject() { Kind::Client } else { Kind::User };
    Ok(Caller {
        kind,
        subject: id.map(|id| Subject { issuer, id }),
        client,
        tenant: principal.tenant.as_deref().and_then(|p| claims.text_at(p)).map(|t| Arc::from(&*t)),
        scopes: claims.scopes().clone(),
        claims: Some(claims.clone()),
        binding: claims.binding().clone(),
        key: None,
        token: Some(claims.token_ref()),
    })
}

/// Asked on every use of a token: revocation is in no cache. Tokens of an issuer that is `revocable` are not served while
/// this node might not know what was revoked.
pub(super) fn not_revoked(
    issuer: &Issuer,
    claims: &Claims,
    kid: Option<&str>,
    passage: &Passage,
    services: &Services,
) -> Result<(), Failure> {
    if issuer.revocable {
        current(passage, services)?;
    }
    let revoked = &services.shared.revoked;
    if revoked.is_empty() || !revoked.names(&token_facts(claims, &issuer.url, kid)) {
        return Ok(());
    }
    events::tell(Event::RevokedToken, None, passage, services);
    Err(refused(Reason::Revoked))
}

/// Revocation and binding are looked at on every use: a bound token is no bearer, and a bearer is not bound.
async fn proof(
    verified: &Rc<Verified>,
    presented: Token<'_>,
    passage: &Passage,
    services: &Services,
    cached: bool,
) -> Result<Proof, Failure> {
    let (issuer, _) = passage.plan.issuer(verified.issuer_index).ok_or_else(unavailable)?;
    not_revoked(issuer, &verified.claims, verified.kid.as_deref(), passage, services)?;
    possession::check(&verified.caller.binding, presented, passage, services).await?;
    Ok(Proof {
        caller: verified.caller.clone(),
        hash: verified.hash,
        decision: if cached { "token, cached" } else { "token" },
        standing: Standing::Token(verified.clone()),
    })
}

impl Verified {
    /// The issuer's keys are the very set that verified the token: a set that was replaced, in its cache or by a
    /// reload, ends what it verified.
    fn keys_are_in_force(&self, passage: &Passage) -> bool {
        self.issuer.epoch() == self.epoch
            && passage.plan.issuer(self.issuer_index).is_some_and(|(_, keys)| Arc::ptr_eq(keys, &self.issuer))
    }
}

/// The policies are in the key, so that a lax route cannot warm a strict one; and so is the reading of the claims, for
/// two APIs may call the same token by different names.
fn cache_key(token: &str, api: &Api) -> TokenHash {
    let mut policies = SmallVec::<[u8; 32]>::new();
    for policy in &api.authenticate.jwt {
        policies.extend_from_slice(&policy.policy_id.to_le_bytes());
    }
    let tenant = api.principal.tenant.as_deref().unwrap_or_default();
    hash(&[&policies, api.principal.id.as_bytes(), tenant.as_bytes(), token.as_bytes()])
}

pub(super) fn refused(reason: Reason) -> Failure {
    let code = if reason == Reason::Expired { Code::TokenExpired } else { Code::TokenInvalid };
    Failure::refused(code, reason.text())
}

fn unavailable() -> Failure {
    let fault = Fault::new(Code::IssuerUnavailable, "issuer-keys-unavailable").retry_after(5);
    Failure::Stop(Stop::from(fault))
}
