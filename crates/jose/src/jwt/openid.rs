//! Tokens of OpenID providers that are not for an API: the ID token and the logout token.

use super::claims::{Audience, Claims, Rules, audiences, text, time};
use super::{MAX_SKEW, Unverified};
use crate::alg::{Algorithm, Algorithms};
use crate::b64u;
use crate::json::{Kind, Value};
use crate::jwk::KeySet;
use crate::reason::{Giveaway, Reason};
use aws_lc_rs::digest;
use portcullis_core::secret::constant_time_eq;

const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// Seconds that a logout token is good for.
const LOGOUT_MAX_AGE: i64 = 120;

/// What a sign-in with an OpenID provider demands of the ID token (OpenID Connect Core § 3.1.3.7).
#[derive(Clone, Debug)]
pub struct IdTokenPolicy<'p> {
    /// Compared byte for byte with `iss`.
    pub issuer: &'p str,
    /// Our client id at that provider.
    pub client_id: &'p str,
    /// The provider's algorithms.
    pub algorithms: Algorithms,
    /// Seconds that clocks may differ; at most 120 count.
    pub skew: i64,
    /// Seconds from `iat` to `exp`.
    pub max_lifetime: i64,
    /// The nonce of this sign-in.
    pub nonce: &'p str,
    /// Seconds since the person was asked for credentials, if the sign-in demanded that.
    pub max_age: Option<i64>,
    /// The access token that came along; `at_hash` is verified against it.
    pub access_token: Option<&'p str>,
}

/// Judges an ID token. `now` is in whole seconds since the Unix epoch.
///
/// # Errors
/// The first rule it breaks.
pub fn id_token(now: i64, policy: &IdTokenPolicy<'_>, keys: &KeySet, token: &str) -> Result<Claims, Reason> {
    let token = Unverified::read(token)?;
    token.signed(policy.issuer, policy.algorithms, keys)?;
    let header = token.compact.header();
    if header.typ().is_some() && !header.is_typ("jwt") {
        return Err(Reason::TypNotAccepted(Giveaway::Typ));
    }
    let root = token.payload.root();
    let nonce = root.get("nonce").and_then(Value::as_str).ok_or(Reason::ClaimNonce)?;
    if policy.nonce.is_empty() || !constant_time_eq(nonce.as_bytes(), policy.nonce.as_bytes()) {
        return Err(Reason::ClaimNonce);
    }
    let azp = text(root, "azp", 1, Reason::ClaimAzp)?;
    if azp.is_some_and(|azp| azp != policy.client_id) || (azp.is_none() && audiences(root)?.len() > 1) {
        return Err(Reason::ClaimAzp);
    }
    if let Some(at_hash) = root.get("at_hash") {
        let told = at_hash.as_str().ok_or(Reason::ClaimAtHash)?;
        let token = policy.access_token.ok_or(Reason::ClaimAtHash)?;
        if !constant_time_eq(told.as_bytes(), half_hash(header.alg(), token).as_bytes()) {
            return Err(Reason::ClaimAtHash);
        }
    }
    let auth_time = time(root, "auth_time", Reason::ClaimAuthTime)?;
    if let Some(max_age) = policy.max_age {
        let age = now.saturating_sub(auth_time.ok_or(Reason::ClaimAuthTime)?);
        if age > max_age.saturating_add(policy.skew.clamp(0, MAX_SKEW)) {
            return Err(Reason::ClaimAuthTime);
        }
    }
    let rules = Rules {
        now,
        skew: policy.skew,
        max_lifetime: policy.max_lifetime,
        exp_default: None,
        max_age: None,
        audience: Audience::Has(policy.client_id),
        iat_required: true,
        jti_required: false,
        sub_required: true,
    };
    Claims::judge(token.payload, &rules, None, None)
}

/// What a back-channel logout demands of the logout token (OpenID Connect Back-Channel Logout § 2.6).
#[derive(Clone, Debug)]
pub struct LogoutPolicy<'p> {
    /// Compared byte for byte with `iss`.
    pub issuer: &'p str,
    /// Our client id at that provider.
    pub client_id: &'p str,
    /// The provider's algorithms.
    pub algorithms: Algorithms,
    /// Seconds that clocks may differ; at most 120 count.
    pub skew: i64,
    /// A loosening: also take a token without `typ`.
    pub untyped: bool,
}

/// Judges a logout token. Its `jti` is single use, which the caller sees to.
///
/// # Errors
/// The first rule it breaks.
pub fn logout_token(
    now: i64,
    policy: &LogoutPolicy<'_>,
    keys: &KeySet,
    token: &str,
) -> Result<Claims, Reason> {
    let token = Unverified::read(token)?;
    token.signed(policy.issuer, policy.algorithms, keys)?;
    let header = token.compact.header();
    if !(header.is_typ("logout+jwt") || (policy.untyped && header.typ().is_none())) {
        return Err(Reason::TypNotAccepted(Giveaway::Typ));
    }
    let root = token.payload.root();
    // An ID token has a nonce: without this rule one could be shown as a logout token.
    if root.get("nonce").is_some() {
        return Err(Reason::ClaimNonce);
    }
    let event = root.get("events").and_then(|events| events.get(LOGOUT_EVENT));
    if event.is_none_or(|event| event.kind() != Kind::Object) {
        return Err(Reason::ClaimEvents);
    }
    if root.get("sid").is_none() && root.get("sub").is_none() {
        return Err(Reason::ClaimSid);
    }
    let rules = Rules {
        now,
        skew: policy.skew,
        max_lifetime: 24 * 3_600,
        exp_default: None,
        max_age: Some(LOGOUT_MAX_AGE),
        audience: Audience::Has(policy.client_id),
        iat_required: true,
        jti_required: true,
        sub_required: false,
    };
    Claims::judge(token.payload, &rules, None, None)
}

/// The left half of the hash that the algorithm uses, base64url (OpenID Connect Core § 3.1.3.6).
fn half_hash(algorithm: Algorithm, token: &str) -> String {
    let hash = match algorithm {
        Algorithm::Rs256 | Algorithm::Ps256 | Algorithm::Es256 => &digest::SHA256,
        Algorithm::Rs384 | Algorithm::Ps384 | Algorithm::Es384 => &digest::SHA384,
        Algorithm::Rs512 | Algorithm::Ps512 | Algorithm::EdDsa => &digest::SHA512,
    };
    let full = digest::digest(hash, token.as_bytes());
    b64u::encode(full.as_ref().iter().take(hash.output_len() / 2).copied().collect::<Vec<_>>())
}
