//! The demo's token issuer: one key, made when the demo starts, never written anywhere but in its public half.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// As in `examples/shop/portcullis.yaml`.
const ISSUER: &str = "https://issuer.shop.example/";

/// How a token is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forgery {
    /// `alg: none` and no signature.
    Unsigned,
    /// HS256 with the public key as its secret.
    PublicKeyAsSecret,
    /// Honest, but it ended an hour ago.
    Expired,
    /// Honest, but meant for another API.
    OtherAudience,
    /// The right `kid`, a stranger's key.
    StrangersKey,
}

/// Makes tokens, honest and otherwise.
pub(super) struct Issuer {
    key: EcdsaKeyPair,
    stranger: EcdsaKeyPair,
}

impl Issuer {
    /// With fresh keys.
    pub(super) fn new() -> io::Result<Self> {
        let fresh = || EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(io::Error::other);
        Ok(Self { key: fresh()?, stranger: fresh()? })
    }

    /// The public keys (RFC 7517).
    pub(super) fn jwks(&self) -> String {
        // 0x04, x, y (SEC 1 §2.3.3).
        let point = self.key.public_key().as_ref();
        let part = |range: std::ops::Range<usize>| b64(point.get(range).unwrap_or_default());
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "demo",
                           "x": part(1..33), "y": part(33..65) }] })
        .to_string()
    }

    /// An honest token of one of the demo's people, valid for an hour.
    pub(super) fn token(&self, person: &str) -> io::Result<String> {
        self.sign(&self.key, &claims(person, "shop", 3_600))
    }

    /// A token in the name of `person` that must not be accepted.
    pub(super) fn forged(&self, person: &str, how: Forgery) -> io::Result<String> {
        let honest = claims(person, "shop", 3_600);
        match how {
            Forgery::Unsigned => Ok(format!("{}.", input(&json!({ "alg": "none", "typ": "JWT" }), &honest))),
            Forgery::PublicKeyAsSecret => {
                let input = input(&json!({ "alg": "HS256", "typ": "JWT", "kid": "demo" }), &honest);
                let secret = hmac::Key::new(hmac::HMAC_SHA256, self.key.public_key().as_ref());
                Ok(format!("{input}.{}", b64(hmac::sign(&secret, input.as_bytes()).as_ref())))
            }
            Forgery::Expired => self.sign(&self.key, &claims(person, "shop", -3_600)),
            Forgery::OtherAudience => self.sign(&self.key, &claims(person, "newsletter", 3_600)),
            Forgery::StrangersKey => self.sign(&self.stranger, &honest),
        }
    }

    fn sign(&self, key: &EcdsaKeyPair, claims: &Value) -> io::Result<String> {
        let input = input(&json!({ "alg": "ES256", "typ": "at+jwt", "kid": "demo" }), claims);
        let signature = key.sign(&SystemRandom::new(), input.as_bytes()).map_err(io::Error::other)?;
        Ok(format!("{input}.{}", b64(signature.as_ref())))
    }
}

fn claims(person: &str, audience: &str, seconds: i64) -> Value {
    let scope = match person {
        "admin" => "profile admin",
        "vendor" => "profile catalog:write",
        _ => "profile orders:read orders:write reports:read",
    };
    #[expect(clippy::disallowed_methods, reason = "an issuer of its own, beside the program")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |past| past.as_secs());
    let now = i64::try_from(now).unwrap_or(i64::MAX / 2);
    let issued = now + seconds.min(0) - 60;
    json!({ "iss": ISSUER, "aud": audience, "sub": person, "client_id": "demo", "scope": scope,
            "iat": issued, "exp": now + seconds, "jti": format!("{person}-{audience}-{now}") })
}

fn input(header: &Value, claims: &Value) -> String {
    format!("{}.{}", b64(header.to_string().as_bytes()), b64(claims.to_string().as_bytes()))
}

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
