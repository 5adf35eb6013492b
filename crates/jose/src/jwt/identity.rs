//! `Portcullis-Identity` (wire.md § 9.4): what the gateway tells an upstream, verified by the upstream and never accepted
//! from a client.

use super::Unverified;
use super::claims::{Audience, Claims, Rules};
use crate::alg::{Algorithm, Algorithms};
use crate::b64u;
use crate::json::Value;
use crate::jwk::KeySet;
use crate::reason::{Giveaway, Reason};
use aws_lc_rs::digest::{Context, SHA256};
use portcullis_core::secret::constant_time_eq;

/// Seconds that an identity may live.
const MAX_LIFETIME: i64 = 30;

/// What an upstream demands of the header.
#[derive(Clone, Debug)]
pub struct IdentityPolicy<'p> {
    /// The deployment: `iss`, byte for byte.
    pub issuer: &'p str,
    /// The upstream's own name: `aud` is this and nothing else.
    pub audience: &'p str,
    /// Seconds that clocks may differ; at most 120 count.
    pub skew: i64,
}

/// The request that the header came with, as the upstream received it.
#[derive(Clone, Copy, Debug)]
pub struct Carried<'r> {
    /// Method.
    pub method: &'r str,
    /// `Host`.
    pub authority: &'r str,
    /// Path and query.
    pub target: &'r str,
}

/// Judges the header: EdDSA, `typ: portcullis-id+jwt`, and `req` of this very request, so that one that was recorded is
/// of no use for another.
///
/// # Errors
/// The first rule it breaks; [`Reason::Binding`] when it is of another request.
pub fn identity(
    now: i64,
    policy: &IdentityPolicy<'_>,
    keys: &KeySet,
    carried: Carried<'_>,
    token: &str,
) -> Result<Claims, Reason> {
    let token = Unverified::read(token)?;
    token.signed(policy.issuer, Algorithms::EMPTY.with(Algorithm::EdDsa), keys)?;
    if !token.compact.header().is_typ("portcullis-id+jwt") {
        return Err(Reason::TypNotAccepted(Giveaway::Typ));
    }
    let mut hash = Context::new(&SHA256);
    for (at, part) in [carried.method, carried.authority, carried.target].into_iter().enumerate() {
        if at > 0 {
            hash.update(b"\n");
        }
        hash.update(part.as_bytes());
    }
    let own = b64u::encode(hash.finish().as_ref());
    let req = token.payload.root().get("req").and_then(Value::as_str);
    if !req.is_some_and(|req| constant_time_eq(req.as_bytes(), own.as_bytes())) {
        return Err(Reason::Binding);
    }
    let rules = Rules {
        now,
        skew: policy.skew,
        max_lifetime: MAX_LIFETIME,
        exp_default: None,
        max_age: None,
        audience: Audience::Only(policy.audience),
        iat_required: true,
        jti_required: true,
        sub_required: false,
    };
    Claims::judge(token.payload, &rules, None, None)
}
