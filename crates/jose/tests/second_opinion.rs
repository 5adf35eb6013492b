//! The crate jsonwebtoken as a second opinion. It is laxer than we are (it is no model for `crit`,
//! `typ` or duplicates), so the law is one-sided: what we accept, it accepts too, and reads the same.

mod common;

use common::{AUDIENCE, ISSUER, KEYS, NOW, SET, claims, header, with};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, TokenData, Validation, decode};
use portcullis_jose::alg::Algorithms;
use portcullis_jose::jwt;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Times are left to ours: theirs reads the clock.
fn theirs(token: &str, alg: &str, jwk: &Value) -> Option<Value> {
    let jwk: Jwk = serde_json::from_value(jwk.clone()).ok()?;
    let mut rules = Validation::new(alg.parse::<Algorithm>().ok()?);
    rules.validate_exp = false;
    rules.set_audience(&[AUDIENCE]);
    rules.set_issuer(&[ISSUER]);
    let data: TokenData<Value> = decode(token, &DecodingKey::from_jwk(&jwk).ok()?, &rules).ok()?;
    Some(data.claims)
}

fn ours(token: &str) -> Option<jwt::Claims> {
    let policy = jwt::Policy { algorithms: Algorithms::ALL, ..common::policy() };
    jwt::access_token(NOW, &policy, &SET, token).ok()
}

#[test]
fn both_accept_the_same_tokens() {
    let keys = [
        ("ES256", "ec", &KEYS.ec),
        ("ES384", "ec384", &KEYS.ec384),
        ("EdDSA", "ed", &KEYS.ed),
        ("RS256", "rsa", &KEYS.rsa),
        ("RS384", "rsa", &KEYS.rsa),
        ("RS512", "rsa", &KEYS.rsa),
        ("PS256", "rsa", &KEYS.rsa),
        ("PS384", "rsa", &KEYS.rsa),
        ("PS512", "rsa", &KEYS.rsa),
    ];
    for (alg, kid, key) in keys {
        let token = key.token(&with(header(), json!({"alg": alg, "kid": kid})), &claims());
        assert!(ours(&token).is_some(), "{alg}");
        assert_eq!(theirs(&token, alg, &key.jwk()), Some(claims()), "{alg}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_we_accept_they_accept(
        aud in prop_oneof![
            Just(json!(AUDIENCE)), Just(json!("other")), Just(json!([AUDIENCE, "x"])), Just(json!([])), Just(json!(1))
        ],
        iss in prop_oneof![Just(json!(ISSUER)), Just(json!("https://login.example.com")), Just(Value::Null)],
        sub in any::<String>(),
        exp in NOW - 100..NOW + 100,
        at in any::<prop::sample::Index>(),
        byte in prop::option::of(0..128_u8),
    ) {
        let claims = with(claims(), json!({"aud": aud, "iss": iss, "sub": sub, "exp": exp}));
        let mut token = KEYS.ec.token(&header(), &claims).into_bytes();
        let at = at.index(token.len());
        if let (Some(byte), Some(slot)) = (byte, token.get_mut(at)) {
            *slot = byte;
        }
        let token = String::from_utf8(token).unwrap_or_default();
        if let Some(ours) = ours(&token) {
            let theirs = theirs(&token, "ES256", &KEYS.ec.jwk());
            prop_assert!(theirs.is_some());
            prop_assert_eq!(theirs.as_ref().and_then(|t| t["sub"].as_str()), ours.subject());
            prop_assert_eq!(theirs.as_ref().and_then(|t| t["exp"].as_i64()), Some(ours.exp()));
        }
    }
}
