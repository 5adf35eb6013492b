//! Tokens in their contexts. There is one function per context and no generic "verify": a token of
//! one kind is never taken for another (RFC 8725 §§ 3.11, 3.12).
//!
//! Order, always: shape → header → issuer → key → signature → `typ` and context → claims. What only
//! the gateway knows (revocation, the proof or certificate that a token is bound to) comes after.

mod assertion;
mod claims;
mod identity;
mod introspection;
mod openid;

pub use assertion::{AssertionPolicy, client_assertion};
pub use claims::Claims;
pub use identity::{Carried, IdentityPolicy, identity};
pub use introspection::introspected;
pub use openid::{IdTokenPolicy, LogoutPolicy, id_token, logout_token};

use crate::alg::Algorithms;
use crate::json::{Json, Limits, Pointer, Value};
use crate::jwk::KeySet;
use crate::jws::{Compact, EmbeddedKey};
use crate::reason::{Giveaway, Reason};
use claims::{Audience, Rules};

/// The most that clocks may differ, in seconds, whatever a policy says.
pub const MAX_SKEW: i64 = 120;
/// Seconds that an own token may live.
pub const OWN_MAX_LIFETIME: i64 = 3_600;

/// Which `typ` an external issuer's access tokens may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Typ {
    /// `at+jwt`; and `JWT` or none, when nothing in the payload tells of an ID or refresh token.
    #[default]
    ByShape,
    /// `at+jwt` alone (RFC 9068).
    Strict,
}

/// What an API demands of an issuer's access tokens. Built once, when the plan is compiled.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Compared byte for byte with `iss`.
    pub issuer: String,
    /// `aud` must contain one of these exactly. Empty: nothing is accepted.
    pub audiences: Vec<String>,
    /// The issuer's algorithms.
    pub algorithms: Algorithms,
    /// Seconds that clocks may differ; at most 120 count.
    pub skew: i64,
    /// Seconds from `iat` (or now) to `exp`.
    pub max_lifetime: i64,
    /// Seconds since `iat`, which is then required.
    pub max_age: Option<i64>,
    /// Accepted `typ`.
    pub typ: Typ,
    /// Where the scopes stand: a string or an array of strings.
    pub scope: Pointer,
    /// Where the client's id stands.
    pub client: Pointer,
}

impl Policy {
    /// The defaults of an issuer: RS256 and ES256, 30 s of skew, 24 h of life, `/scope`, `/client_id`.
    pub fn new(issuer: impl Into<String>, audiences: impl IntoIterator<Item = String>) -> Self {
        Self {
            issuer: issuer.into(),
            audiences: audiences.into_iter().collect(),
            algorithms: Algorithms::DEFAULT,
            skew: 30,
            max_lifetime: 24 * 3_600,
            max_age: None,
            typ: Typ::ByShape,
            scope: Pointer::member("scope"),
            client: Pointer::member("client_id"),
        }
    }

    fn rules<'p>(&'p self, now: i64) -> Rules<'p> {
        Rules {
            now,
            skew: self.skew,
            max_lifetime: self.max_lifetime,
            exp_default: None,
            max_age: self.max_age,
            audience: Audience::OneOf(&self.audiences),
            iat_required: false,
            jti_required: false,
            sub_required: false,
        }
    }
}

/// A token whose shape, header and JSON are right, before any key is chosen: for an API with several
/// issuers, so that the payload is read once.
pub struct Unverified<'t> {
    compact: Compact<'t>,
    payload: Json,
}

impl<'t> Unverified<'t> {
    /// Reads header and payload.
    ///
    /// # Errors
    /// As [`Compact::open`], and [`Reason::Json`] for the payload.
    pub fn read(token: &'t str) -> Result<Self, Reason> {
        let mut compact = Compact::open(token, EmbeddedKey::Refused)?;
        let payload = Json::parse(compact.take_payload(), &Limits::PAYLOAD).map_err(|_| Reason::Json)?;
        Ok(Self { compact, payload })
    }

    /// `iss`, to select the issuer by byte equality and for nothing else.
    pub fn issuer(&self) -> Option<&str> {
        self.payload.root().get("iss").and_then(Value::as_str)
    }

    /// `kid`, to look for a key set that has it.
    pub fn kid(&self) -> Option<&str> {
        self.compact.header().kid()
    }

    /// Judges it as an access token of an external issuer.
    ///
    /// # Errors
    /// The first rule it breaks; [`Reason::Expired`] only when it breaks no other.
    pub fn access_token(self, now: i64, policy: &Policy, keys: &KeySet) -> Result<Claims, Reason> {
        self.signed(&policy.issuer, policy.algorithms, keys)?;
        let giveaway = giveaway(&self.compact, self.payload.root(), policy.typ);
        let claims =
            Claims::judge(self.payload, &policy.rules(now), Some(&policy.scope), Some(&policy.client));
        match giveaway {
            None => claims,
            // "Only its typ": then the operator is told which member it was.
            Some(giveaway) if claims.is_ok() => Err(Reason::TypNotAccepted(giveaway)),
            Some(_) => Err(Reason::NotAccessToken),
        }
    }

    /// Judges it as an access token of the own authorization server (RFC 9068): `at+jwt`, ES256 or
    /// RS256, at most an hour, and `sub`, `client_id`, `jti`, `iat`, `scope` required.
    ///
    /// # Errors
    /// The first rule it breaks; [`Reason::Expired`] only when it breaks no other.
    pub fn own_access_token(self, now: i64, policy: &Policy, keys: &KeySet) -> Result<Claims, Reason> {
        self.signed(&policy.issuer, policy.algorithms.and(Algorithms::DEFAULT), keys)?;
        let typ = self.compact.header().is_typ("at+jwt");
        let rules = Rules {
            max_lifetime: policy.max_lifetime.min(OWN_MAX_LIFETIME),
            iat_required: true,
            jti_required: true,
            sub_required: true,
            ..policy.rules(now)
        };
        let root = self.payload.root();
        let scope = root.get("scope").and_then(Value::as_str).is_some();
        let client = root.get("client_id").and_then(Value::as_str).is_some();
        let (scopes, clients) = (Pointer::member("scope"), Pointer::member("client_id"));
        let claims = Claims::judge(self.payload, &rules, Some(&scopes), Some(&clients));
        match claims {
            Ok(_) | Err(Reason::Expired) if typ && !scope => Err(Reason::ClaimScope),
            Ok(_) | Err(Reason::Expired) if typ && !client => Err(Reason::ClaimClientId),
            claims if typ => claims,
            Ok(_) if scope && client => Err(Reason::TypNotAccepted(Giveaway::Typ)),
            _ => Err(Reason::NotAccessToken),
        }
    }

    /// Issuer, key and signature.
    fn signed(&self, issuer: &str, algorithms: Algorithms, keys: &KeySet) -> Result<(), Reason> {
        let header = self.compact.header();
        if !algorithms.contains(header.alg()) {
            return Err(Reason::HeaderAlg);
        }
        if self.issuer() != Some(issuer) {
            return Err(Reason::Issuer);
        }
        self.compact.verify(keys.choose(header.alg(), header.kid())?)
    }
}

/// Judges an access token of an external issuer. `now` is in whole seconds since the Unix epoch.
///
/// # Errors
/// The first rule it breaks; [`Reason::Expired`] only when it breaks no other.
pub fn access_token(now: i64, policy: &Policy, keys: &KeySet, token: &str) -> Result<Claims, Reason> {
    Unverified::read(token)?.access_token(now, policy, keys)
}

/// Judges an access token of the own authorization server.
///
/// # Errors
/// The first rule it breaks; [`Reason::Expired`] only when it breaks no other.
pub fn own_access_token(now: i64, policy: &Policy, keys: &KeySet, token: &str) -> Result<Claims, Reason> {
    Unverified::read(token)?.own_access_token(now, policy, keys)
}

/// `iss` of a token that nobody believes yet.
///
/// # Errors
/// As [`Unverified::read`]; [`Reason::Issuer`] when there is none or it is not a string.
pub fn peek_issuer(token: &str) -> Result<String, Reason> {
    Unverified::read(token)?.issuer().map(str::to_owned).ok_or(Reason::Issuer)
}

/// What tells that an external issuer's token is not an access token.
fn giveaway(compact: &Compact<'_>, payload: Value<'_>, typ: Typ) -> Option<Giveaway> {
    let header = compact.header();
    if header.is_typ("at+jwt") {
        return None;
    }
    let plain = header.typ().is_none() || header.is_typ("jwt");
    if typ == Typ::Strict || !plain {
        return Some(Giveaway::Typ);
    }
    let of_others = ["nonce", "at_hash", "c_hash", "s_hash", "events"];
    if let Some(name) = of_others.into_iter().find(|name| payload.get(name).is_some()) {
        return Some(Giveaway::Claim(name));
    }
    let says = |name: &str| payload.get(name).and_then(Value::as_str);
    let of_kind = |kind: &str| kind.eq_ignore_ascii_case("id") || kind.eq_ignore_ascii_case("refresh");
    ["token_use", "typ"].into_iter().find(|name| says(name).is_some_and(of_kind)).map(Giveaway::Claim)
}
