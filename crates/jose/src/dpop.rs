//! DPoP proofs (RFC 9449): a token is worth nothing without the key that it is bound to.
//!
//! This is all of § 4.3 but the single use of `jti`, which needs a memory and comes after.

use crate::alg::Algorithms;
use crate::b64u;
use crate::json::{Json, Limits, Value};
use crate::jwk::{KeyPolicy, VerifyKey};
use crate::jws::{Compact, EmbeddedKey};
use crate::mac::MacKey;
use crate::message::Received;
use crate::reason::{Giveaway, Reason};
use portcullis_core::secret::constant_time_eq;
use std::borrow::Cow;

/// Seconds that `iat` may lie on either side of now.
pub const WINDOW: i64 = 60;
/// Seconds that `exp` and `nbf` may be off, where a proof has them.
const SKEW: i64 = 30;
/// Seconds that a nonce is current; then it is the previous one for as long again.
const NONCE_BUCKET: i64 = 120;
const MAX_JTI: usize = 128;

/// What a proof must prove.
#[derive(Clone, Copy)]
pub struct Demand<'d> {
    /// The request's method, compared by case.
    pub method: &'d str,
    /// The external URL: scheme, authority and path as received. Query and fragment do not count.
    pub url: &'d str,
    /// Where the proof is shown.
    pub place: Place<'d>,
    /// The system secret of nonces, where the API demands a nonce.
    pub nonce: Option<&'d MacKey>,
    /// The moment since which single use is remembered, if that memory was lost: older proofs may
    /// have been seen (unix seconds).
    pub remembered_since: Option<i64>,
}

/// Where a proof is shown.
#[derive(Clone, Copy)]
pub enum Place<'d> {
    /// At an API, with an access token bound to `jkt`.
    Resource {
        /// The token, as it came.
        token: &'d str,
        /// Its `cnf.jkt`.
        jkt: &'d str,
    },
    /// At the token endpoint, where there is no access token yet; `ath` may be absent.
    TokenEndpoint,
}

/// A proof that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The thumbprint of the key that signed (RFC 7638).
    pub jkt: String,
    /// Single use per `jkt`, for 130 s: the caller's duty.
    pub jti: String,
}

/// Judges a proof. `now` is in whole seconds since the Unix epoch.
///
/// # Errors
/// The first rule it breaks; [`Reason::DpopNonce`] only when it breaks no other.
pub fn proof(now: i64, demand: &Demand<'_>, proof: &str) -> Result<Proof, Reason> {
    let mut compact = Compact::open(proof, EmbeddedKey::Required)?;
    let policy = KeyPolicy { algorithms: Algorithms::PROOF, ..KeyPolicy::default() };
    let jwk = compact.header().jwk().ok_or(Reason::DpopKey)?;
    let key = VerifyKey::from_jwk(jwk, &policy).map_err(|_| Reason::DpopKey)?;
    if !key.algorithms().contains(compact.header().alg()) {
        return Err(Reason::DpopKey);
    }
    compact.verify(&key)?;
    if !compact.header().is_typ("dpop+jwt") {
        return Err(Reason::TypNotAccepted(Giveaway::Typ));
    }
    let payload = Json::parse(compact.take_payload(), &Limits::PAYLOAD).map_err(|_| Reason::Json)?;
    let root = payload.root();
    let text = |name: &str| root.get(name).and_then(Value::as_str);

    let jti =
        text("jti").filter(|jti| (1..=MAX_JTI).contains(&jti.chars().count())).ok_or(Reason::ClaimJti)?;
    if text("htm") != Some(demand.method) {
        return Err(Reason::DpopMethod);
    }
    let htu = text("htu").and_then(normalise).ok_or(Reason::DpopUrl)?;
    if normalise(demand.url).is_none_or(|url| url != htu) {
        return Err(Reason::DpopUrl);
    }
    times(now, root, demand.remembered_since)?;
    let ath = match demand.place {
        Place::Resource { token, .. } => Some(b64u::sha256(token.as_bytes())),
        Place::TokenEndpoint => None,
    };
    match (root.get("ath").map(Value::as_str), ath) {
        (Some(Some(told)), Some(right)) if constant_time_eq(told.as_bytes(), right.as_bytes()) => {}
        (None, None) => {}
        _ => return Err(Reason::DpopAth),
    }
    if let Place::Resource { jkt, .. } = demand.place
        && !constant_time_eq(jkt.as_bytes(), key.thumbprint().as_bytes())
    {
        return Err(Reason::Binding);
    }
    if let Some(secret) = demand.nonce {
        let told = text("nonce").unwrap_or_default().as_bytes();
        let fits = |at: i64| constant_time_eq(told, nonce(secret, at).as_bytes());
        if !fits(now) && !fits(now.saturating_sub(NONCE_BUCKET)) {
            return Err(Reason::DpopNonce);
        }
    }
    Ok(Proof { jkt: key.thumbprint().to_owned(), jti: jti.to_owned() })
}

/// Judges a proof for a request as it was received: method and URL are those on the wire, before normalisation.
///
/// # Errors
/// As [`proof`].
pub fn proof_for(
    now: i64,
    received: &Received,
    place: Place<'_>,
    nonce: Option<&MacKey>,
    remembered_since: Option<i64>,
    proof: &str,
) -> Result<Proof, Reason> {
    let demand = Demand { method: received.method(), url: &received.url(), place, nonce, remembered_since };
    self::proof(now, &demand, proof)
}

/// The nonce that is current at `now`: nobody has to remember which were given out.
pub fn nonce(secret: &MacKey, now: i64) -> String {
    b64u::encode(secret.sign(&now.div_euclid(NONCE_BUCKET).to_be_bytes()))
}

fn times(now: i64, root: Value<'_>, remembered_since: Option<i64>) -> Result<(), Reason> {
    let iat = root.get("iat").and_then(Value::as_time).ok_or(Reason::ClaimIat)?;
    if now.abs_diff(iat) > WINDOW.unsigned_abs() {
        return Err(Reason::ClaimIat);
    }
    if remembered_since.is_some_and(|moment| iat <= moment.saturating_add(WINDOW)) {
        return Err(Reason::ClaimIat);
    }
    if let Some(nbf) = root.get("nbf")
        && nbf.as_time().is_none_or(|nbf| nbf > now.saturating_add(SKEW))
    {
        return Err(Reason::ClaimNbf);
    }
    if let Some(exp) = root.get("exp")
        && exp.as_time().is_none_or(|exp| exp <= now.saturating_sub(SKEW))
    {
        return Err(Reason::ClaimExp);
    }
    Ok(())
}

/// RFC 3986 § 6.2.2–6.2.3, without query and fragment: scheme and host in lower case, default port
/// removed, unreserved characters decoded, hex in upper case, dot segments removed. `None` for what
/// is not an http URL.
fn normalise(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "https" => ":443",
        "http" => ":80",
        _ => return None,
    };
    let rest = rest.split(['?', '#']).next()?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let authority = authority.to_ascii_lowercase();
    let authority = authority.strip_suffix(default_port).unwrap_or(&authority);
    let authority = authority.strip_suffix(':').unwrap_or(authority);
    if authority.is_empty() || authority.contains('@') {
        return None;
    }
    let path = without_dots(&decode_unreserved(path)?);
    Some(format!("{scheme}://{authority}{path}"))
}

fn decode_unreserved(path: &str) -> Option<Cow<'_, str>> {
    if !path.contains('%') {
        return Some(Cow::Borrowed(path));
    }
    let mut parts = path.split('%');
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let (hex, rest) = part.split_at_checked(2)?;
        let byte = hex.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u8::from_str_radix(hex, 16).ok())??;
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&hex.to_ascii_uppercase());
        }
        out.push_str(rest);
    }
    Some(Cow::Owned(out))
}

/// RFC 3986 § 5.2.4 for a path that is empty or begins with `/`.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_are_one_and_urls_that_are_not() {
        let one = normalise("https://api.example.com/a/b").unwrap();
        for same in [
            "HTTPS://API.example.COM/a/b",
            "https://api.example.com:443/a/b",
            "https://api.example.com:/a/b",
            "https://api.example.com/a/b?x=1",
            "https://api.example.com/a/b#frag",
            "https://api.example.com/%61/b",
            "https://api.example.com/a/./b",
            "https://api.example.com/a/c/../b",
            "https://api.example.com/../a/b",
            "https://api.example.com/%2E%2e/a/b",
        ] {
            assert_eq!(normalise(same).as_ref(), Some(&one), "{same}");
        }
        for other in [
            "http://api.example.com/a/b",
            "https://api.example.com:8443/a/b",
            "https://api.example.com/A/b",
            "https://api.example.com/a/b/",
            "https://api.example.com//a/b",
            "https://api.example.com/a%2Fb",
            "https://api.example.com/a/b/..",
            "https://api.example.com.evil.example/a/b",
        ] {
            assert_ne!(normalise(other).as_ref(), Some(&one), "{other}");
        }
        assert_eq!(normalise("https://a").as_deref(), Some("https://a/"));
        assert_eq!(normalise("https://a/b/.").as_deref(), Some("https://a/b/"));
        assert_eq!(normalise("https://a/b/..").as_deref(), Some("https://a/"));
        assert_eq!(normalise("https://a/%2f").as_deref(), Some("https://a/%2F"));
        assert_eq!(normalise("http://a:80/").as_deref(), Some("http://a/"));
        for none in [
            "",
            "/a",
            "a.example/b",
            "ftp://a/b",
            "https://",
            "https:///a",
            "https://u@a/",
            "https://a/%4",
            "https://a/%zz",
            "https://a/%+1",
        ] {
            assert_eq!(normalise(none), None, "{none}");
        }
    }

    #[test]
    fn nonces_turn_every_two_minutes() {
        let secret = MacKey::new(&[1; 32]);
        let at = |now| nonce(&secret, now);
        assert_eq!(at(1_767_225_600), at(1_767_225_719));
        assert_ne!(at(1_767_225_600), at(1_767_225_720));
        assert_ne!(at(1_767_225_600), nonce(&MacKey::new(&[2; 32]), 1_767_225_600));
        assert_eq!(at(0).len(), 43);
    }
}
