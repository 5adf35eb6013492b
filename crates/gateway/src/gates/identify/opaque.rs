//! Tokens that only their issuer understands (RFC 7662; callers.md § 7).

use super::extract::Token;
use super::token;
use super::vigil::Standing;
use super::{Failure, Proof, possession, unpaid};
use crate::passage::Passage;
use crate::services::Services;
use portcullis_core::head::Head;
use portcullis_core::problem::Code;
use portcullis_core::verdict::Fault;
use portcullis_jose::reason::Reason;
use portcullis_plan::access::OpaquePolicy;
use portcullis_plan::api::Api;
use portcullis_vault::introspection::Answer;
use std::rc::Rc;

/// The longest token that an issuer is asked about, in bytes.
const MAX: usize = 4_096;

/// Asks the issuer, or remembers what it said.
pub(super) async fn verify(
    presented: Token<'_>,
    policy: &OpaquePolicy,
    api: &Api,
    head: &Head,
    passage: &Passage,
    services: &Services,
) -> Result<Proof, Failure> {
    let text = presented.text;
    if text.len() > MAX || !is_b64token(text) {
        return Err(Failure::token("opaque-shape"));
    }
    let introspector = passage.plan.introspector(policy.introspection).ok_or_else(unavailable)?;
    let (issuer, _) = passage.plan.issuer(policy.issuer).ok_or_else(unavailable)?;
    let rules = (policy.policy_id, &policy.policy);
    if !introspector.remembers(text, policy.policy_id, passage.now) {
        // The issuer is not asked on behalf of an address that guesses.
        unpaid(head, passage, services)?;
    }
    let claims = match introspector.ask(text, rules, passage.now).await {
        Ok(Answer::Active(claims)) => claims,
        Ok(Answer::Inactive) => return Err(Failure::token("not-active")),
        Ok(Answer::Refused(reason)) => return Err(token::refused(reason)),
        Err(_) => return Err(unavailable()),
    };
    // What was remembered is judged again by the clock.
    if claims.expired(passage.now.secs(), policy.policy.skew) {
        return Err(token::refused(Reason::Expired));
    }
    token::not_revoked(issuer, &claims, None, passage, services)?;
    possession::check(claims.binding(), presented, passage, services).await?;
    let caller = token::caller(&claims, &api.principal, issuer.url.clone())?;
    let hash = caller.subject.as_ref().map(|subject| services.shared.hash_subject(subject));
    let standing = Standing::Opaque(claims, policy.issuer);
    Ok(Proof { caller: Rc::new(caller), hash, decision: "opaque token", standing })
}

/// RFC 6750 § 2.1.
fn is_b64token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    !body.is_empty() && body.bytes().all(good)
}

/// It is our fault, or the issuer's, that nobody knows: clients must not throw good tokens away for it.
fn unavailable() -> Failure {
    Failure::Stop(Fault::new(Code::IssuerUnavailable, "introspection-unavailable").retry_after(5).into())
}

#[cfg(test)]
mod tests {
    use super::is_b64token;

    #[test]
    fn shapes_of_bearer_texts() {
        for good in ["a", "2YotnFZFEjr1zCsicMWpAA", "a-b._~+/c==", "v1.local.x.y"] {
            assert!(is_b64token(good), "{good}");
        }
        for bad in ["", "=", "a=b", "a b", "a\"b", "é", "a&b", "a\0"] {
            assert!(!is_b64token(bad), "{bad}");
        }
    }
}
