//! Client assertions (RFC 7523 § 3, identity.md § 7): how an OAuth client with keys of its own proves itself.

use super::Unverified;
use super::claims::{Audience, Claims, Rules};
use crate::alg::Algorithms;
use crate::json::Value;
use crate::jwk::KeySet;
use crate::reason::{Giveaway, Reason};

/// Seconds that an assertion may still be good for.
const MAX_LIFETIME: i64 = 300;

/// What the token endpoint demands of a client's assertion.
#[derive(Clone, Debug)]
pub struct AssertionPolicy<'p> {
    /// The client, which is `iss` and `sub`.
    pub client_id: &'p str,
    /// Our issuer: `aud` is this string, or an array of only this.
    pub audience: &'p str,
    /// Seconds that clocks may differ; at most 120 count.
    pub skew: i64,
}

/// Judges a client assertion with the client's own keys. Its `jti` is single use until `exp`, which
/// the caller sees to.
///
/// # Errors
/// The first rule it breaks.
pub fn client_assertion(
    now: i64,
    policy: &AssertionPolicy<'_>,
    keys: &KeySet,
    token: &str,
) -> Result<Claims, Reason> {
    let token = Unverified::read(token)?;
    token.signed(policy.client_id, Algorithms::PROOF, keys)?;
    let header = token.compact.header();
    let known = ["client-authentication+jwt", "jwt"].into_iter().any(|typ| header.is_typ(typ));
    if header.typ().is_some() && !known {
        return Err(Reason::TypNotAccepted(Giveaway::Typ));
    }
    let root = token.payload.root();
    if root.get("sub").and_then(Value::as_str) != Some(policy.client_id) {
        return Err(Reason::ClaimSub);
    }
    let rules = Rules {
        now,
        skew: policy.skew,
        max_lifetime: i64::MAX,
        exp_default: None,
        max_age: None,
        audience: Audience::Only(policy.audience),
        iat_required: false,
        jti_required: true,
        sub_required: true,
    };
    let claims = Claims::judge(token.payload, &rules, None, None)?;
    if claims.exp() > now.saturating_add(MAX_LIFETIME) {
        return Err(Reason::Lifetime);
    }
    Ok(claims)
}
