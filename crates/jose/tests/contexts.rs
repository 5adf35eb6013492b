//! ID tokens, logout tokens and client assertions: each in its own context, and none in another's.

mod common;

use common::{KEYS, NOW, SET, with};
use portcullis_jose::alg::Algorithms;
use portcullis_jose::jwt::{self, AssertionPolicy, IdTokenPolicy, LogoutPolicy, Policy};
use portcullis_jose::reason::Reason;
use serde_json::{Value, json};

const PROVIDER: &str = "https://provider.example";
const CLIENT: &str = "client-1";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

fn signed(header: &Value, claims: &Value) -> String {
    KEYS.ec.token(header, claims)
}

fn header(typ: Value) -> Value {
    with(json!({"alg": "ES256", "kid": "ec"}), json!({"typ": typ}))
}

// ---- ID token ---------------------------------------------------------------------------------

fn id_claims() -> Value {
    json!({
        "iss": PROVIDER, "aud": CLIENT, "sub": "person", "iat": NOW - 5, "exp": NOW + 300,
        "nonce": "n-0S6_WzA2Mj", "auth_time": NOW - 60
    })
}

fn id_policy() -> IdTokenPolicy<'static> {
    IdTokenPolicy {
        issuer: PROVIDER,
        client_id: CLIENT,
        algorithms: Algorithms::ALL,
        skew: 30,
        max_lifetime: 86_400,
        nonce: "n-0S6_WzA2Mj",
        max_age: None,
        access_token: None,
    }
}

fn id(policy: &IdTokenPolicy<'_>, changes: Value) -> Option<Reason> {
    jwt::id_token(NOW, policy, &SET, &signed(&header(json!("JWT")), &with(id_claims(), changes))).err()
}

#[test]
fn an_id_token_for_us() {
    let token = signed(&header(Value::Null), &id_claims());
    let claims = jwt::id_token(NOW, &id_policy(), &SET, &token).ok();
    assert_eq!(claims.as_ref().and_then(|c| c.subject()), Some("person"));
    assert_eq!(id(&id_policy(), json!({})), None);
}

#[test]
fn an_id_token_for_another_sign_in_or_client() {
    let refused = |changes| id(&id_policy(), changes);
    for nonce in [json!("other"), Value::Null, json!(1), json!("")] {
        assert_eq!(refused(json!({"nonce": nonce})), Some(Reason::ClaimNonce));
    }
    let no_nonce = IdTokenPolicy { nonce: "", ..id_policy() };
    assert_eq!(id(&no_nonce, json!({"nonce": ""})), Some(Reason::ClaimNonce), "an empty nonce is no nonce");
    assert_eq!(refused(json!({"aud": "client-2"})), Some(Reason::ClaimAud));
    assert_eq!(refused(json!({"aud": [CLIENT, "client-2"]})), Some(Reason::ClaimAzp));
    assert_eq!(refused(json!({"aud": [CLIENT, "client-2"], "azp": CLIENT})), None);
    assert_eq!(refused(json!({"aud": [CLIENT, "client-2"], "azp": "client-2"})), Some(Reason::ClaimAzp));
    assert_eq!(refused(json!({"azp": "client-2"})), Some(Reason::ClaimAzp));
    assert_eq!(refused(json!({"azp": 1})), Some(Reason::ClaimAzp));
    assert_eq!(refused(json!({"iss": "https://provider.example/"})), Some(Reason::Issuer));
    assert_eq!(refused(json!({"sub": null})), Some(Reason::ClaimSub));
    assert_eq!(refused(json!({"iat": null})), Some(Reason::ClaimIat));
    assert_eq!(refused(json!({"exp": NOW - 30, "iat": NOW - 600})), Some(Reason::Expired));
}

#[test]
fn at_hash_is_verified_if_present() {
    // OpenID Connect Core A.3: the access token and its hash under SHA-256.
    let with_token =
        IdTokenPolicy { access_token: Some("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"), ..id_policy() };
    assert_eq!(id(&with_token, json!({"at_hash": "77QmUPtjPfzWtF2AnpK9RQ"})), None);
    assert_eq!(id(&with_token, json!({"at_hash": "77QmUPtjPfzWtF2AnpK9RR"})), Some(Reason::ClaimAtHash));
    assert_eq!(id(&with_token, json!({"at_hash": 1})), Some(Reason::ClaimAtHash));
    assert_eq!(id(&with_token, json!({})), None);
    assert_eq!(id(&id_policy(), json!({"at_hash": "77QmUPtjPfzWtF2AnpK9RQ"})), Some(Reason::ClaimAtHash));
    // The hash belongs to the algorithm: SHA-512 for Ed25519.
    let token = |at_hash: &str| {
        let claims = with(id_claims(), json!({"at_hash": at_hash}));
        KEYS.ed.token(&json!({"alg": "EdDSA", "kid": "ed"}), &claims)
    };
    let sha512 =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, b"jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y");
    let half: Vec<u8> = sha512.as_ref().iter().take(32).copied().collect();
    assert!(jwt::id_token(NOW, &with_token, &SET, &token(&portcullis_jose::b64u::encode(half))).is_ok());
    let wrong = jwt::id_token(NOW, &with_token, &SET, &token("77QmUPtjPfzWtF2AnpK9RQ")).err();
    assert_eq!(wrong, Some(Reason::ClaimAtHash));
}

#[test]
fn auth_time_against_max_age() {
    let policy = IdTokenPolicy { max_age: Some(300), ..id_policy() };
    assert_eq!(id(&policy, json!({"auth_time": NOW - 330})), None);
    for auth_time in [json!(NOW - 331), Value::Null, json!("1"), json!(1.5)] {
        assert_eq!(id(&policy, json!({"auth_time": auth_time})), Some(Reason::ClaimAuthTime), "{auth_time}");
    }
    assert_eq!(
        id(&id_policy(), json!({"auth_time": "1"})),
        Some(Reason::ClaimAuthTime),
        "a wrong type is not absent"
    );
}

#[test]
fn another_typ_is_no_id_token() {
    for typ in ["at+jwt", "logout+jwt", "dpop+jwt"] {
        let token = signed(&header(json!(typ)), &id_claims());
        let reason = jwt::id_token(NOW, &id_policy(), &SET, &token).err();
        assert_eq!(reason.map(Reason::text), Some("typ-not-accepted"), "{typ}");
    }
}

// ---- logout token -----------------------------------------------------------------------------

fn logout_claims() -> Value {
    json!({
        "iss": PROVIDER, "aud": CLIENT, "iat": NOW - 5, "exp": NOW + 120, "jti": "l-1", "sid": "s-1",
        "events": {EVENT: {}}
    })
}

fn logout_policy() -> LogoutPolicy<'static> {
    LogoutPolicy {
        issuer: PROVIDER,
        client_id: CLIENT,
        algorithms: Algorithms::DEFAULT,
        skew: 30,
        untyped: false,
    }
}

fn logout(changes: Value) -> Option<Reason> {
    let token = signed(&header(json!("logout+jwt")), &with(logout_claims(), changes));
    jwt::logout_token(NOW, &logout_policy(), &SET, &token).err()
}

#[test]
fn a_logout_token() {
    assert_eq!(logout(json!({})), None);
    assert_eq!(logout(json!({"sid": null, "sub": "person"})), None);
    assert_eq!(logout(json!({"sid": null})), Some(Reason::ClaimSid));
    assert_eq!(logout(json!({"sid": 1})), Some(Reason::ClaimSid));
    assert_eq!(logout(json!({"nonce": "n"})), Some(Reason::ClaimNonce), "an ID token has one");
    for events in
        [Value::Null, json!({}), json!([EVENT]), json!({EVENT: true}), json!(EVENT), json!({"x": {}})]
    {
        assert_eq!(logout(json!({"events": events})), Some(Reason::ClaimEvents), "{events}");
    }
    assert_eq!(logout(json!({"jti": null})), Some(Reason::ClaimJti));
    assert_eq!(logout(json!({"jti": ""})), Some(Reason::ClaimJti), "single use needs a name");
    assert_eq!(logout(json!({"iat": NOW - 150})), None);
    assert_eq!(logout(json!({"iat": NOW - 151})), Some(Reason::ClaimIat));
    assert_eq!(logout(json!({"aud": "client-2"})), Some(Reason::ClaimAud));
}

#[test]
fn a_logout_token_without_typ_by_a_loosening() {
    let lax = LogoutPolicy { untyped: true, ..logout_policy() };
    for (typ, strict, loose) in
        [(json!("logout+jwt"), true, true), (Value::Null, false, true), (json!("JWT"), false, false)]
    {
        let token = signed(&header(typ), &logout_claims());
        assert_eq!(jwt::logout_token(NOW, &logout_policy(), &SET, &token).is_ok(), strict);
        assert_eq!(jwt::logout_token(NOW, &lax, &SET, &token).is_ok(), loose);
    }
}

// ---- client assertion -------------------------------------------------------------------------

fn assertion_claims() -> Value {
    json!({"iss": CLIENT, "sub": CLIENT, "aud": PROVIDER, "exp": NOW + 60, "iat": NOW, "jti": "a-1"})
}

fn assertion_of(token: &str) -> Option<Reason> {
    let policy = AssertionPolicy { client_id: CLIENT, audience: PROVIDER, skew: 30 };
    jwt::client_assertion(NOW, &policy, &SET, token).err()
}

fn assertion(changes: Value) -> Option<Reason> {
    assertion_of(&signed(&header(Value::Null), &with(assertion_claims(), changes)))
}

#[test]
fn a_client_assertion() {
    for typ in [json!("client-authentication+jwt"), json!("JWT"), Value::Null] {
        assert_eq!(assertion_of(&signed(&header(typ), &assertion_claims())), None);
    }
    for typ in ["at+jwt", "dpop+jwt", "logout+jwt"] {
        let reason = assertion_of(&signed(&header(json!(typ)), &assertion_claims()));
        assert_eq!(reason.map(Reason::text), Some("typ-not-accepted"));
    }
    for (alg, kid, key) in
        [("EdDSA", "ed", &KEYS.ed), ("PS256", "rsa", &KEYS.rsa), ("RS256", "rsa", &KEYS.rsa)]
    {
        assert_eq!(
            assertion_of(&key.token(&json!({"alg": alg, "kid": kid}), &assertion_claims())),
            None,
            "{alg}"
        );
    }
    for (alg, kid, key) in [("RS512", "rsa", &KEYS.rsa), ("ES384", "ec384", &KEYS.ec384)] {
        let reason = assertion_of(&key.token(&json!({"alg": alg, "kid": kid}), &assertion_claims()));
        assert_eq!(reason, Some(Reason::HeaderAlg), "{alg}");
    }
}

#[test]
fn an_assertion_for_somebody_else() {
    for aud in [
        json!("https://provider.example/token"),
        json!([PROVIDER, "https://provider.example/token"]),
        json!([PROVIDER, PROVIDER]),
        json!("https://other.example"),
        json!([]),
        Value::Null,
    ] {
        assert_eq!(assertion(json!({"aud": aud})), Some(Reason::ClaimAud), "{aud}");
    }
    assert_eq!(assertion(json!({"aud": [PROVIDER]})), None);
    assert_eq!(assertion(json!({"iss": "client-2"})), Some(Reason::Issuer));
    assert_eq!(assertion(json!({"sub": "client-2"})), Some(Reason::ClaimSub));
    assert_eq!(assertion(json!({"sub": null})), Some(Reason::ClaimSub));
    assert_eq!(assertion(json!({"exp": NOW + 300})), None);
    assert_eq!(assertion(json!({"exp": NOW + 301})), Some(Reason::Lifetime));
    assert_eq!(assertion(json!({"exp": NOW + 600})), Some(Reason::Lifetime));
    assert_eq!(assertion(json!({"exp": null})), Some(Reason::ClaimExp));
    assert_eq!(assertion(json!({"iat": NOW + 31})), Some(Reason::ClaimIat));
    assert_eq!(assertion(json!({"jti": null})), Some(Reason::ClaimJti));
}

// ---- identity for upstreams -------------------------------------------------------------------

mod identity {
    use super::*;
    use common::{Signer, key_set};
    use jwt::{Carried, IdentityPolicy};
    use portcullis_jose::b64u;
    use portcullis_jose::jwk::KeySet;
    use std::sync::LazyLock;

    static GATE: LazyLock<Signer> = LazyLock::new(Signer::ed25519);
    static PUBLISHED: LazyLock<KeySet> = LazyLock::new(|| key_set(&[GATE.named("gate-1")]));
    const HERE: Carried<'static> =
        Carried { method: "POST", authority: "shop.internal:8443", target: "/v1/orders?dry=1" };
    const POLICY: IdentityPolicy<'static> =
        IdentityPolicy { issuer: "portcullis", audience: "shop", skew: 30 };

    fn req(carried: Carried<'_>) -> String {
        let text = [carried.method, carried.authority, carried.target].join("\n");
        b64u::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()).as_ref())
    }

    fn told() -> Value {
        json!({
            "iss": "portcullis", "aud": "shop", "iat": NOW, "exp": NOW + 30, "jti": "r-1", "sub": "ann",
            "act": "createOrder", "req": req(HERE)
        })
    }

    fn judge(header: Value, changes: Value, carried: Carried<'_>) -> Result<String, Reason> {
        let header = with(json!({"alg": "EdDSA", "typ": "portcullis-id+jwt", "kid": "gate-1"}), header);
        let token = GATE.token(&header, &with(told(), changes));
        let claims = jwt::identity(NOW, &POLICY, &PUBLISHED, carried, &token)?;
        Ok(claims.subject().unwrap_or_default().to_owned())
    }

    #[test]
    fn an_identity_is_of_this_gate_for_this_upstream_and_this_request() {
        assert_eq!(judge(json!({}), json!({}), HERE), Ok("ann".to_owned()));
        for other in [
            Carried { method: "PUT", ..HERE },
            Carried { authority: "shop.internal", ..HERE },
            Carried { target: "/v1/orders", ..HERE },
            Carried { method: "POST\nshop.internal:8443", authority: "/v1/orders?dry=1", target: "" },
        ] {
            assert_eq!(judge(json!({}), json!({}), other), Err(Reason::Binding), "{other:?}");
        }
        for (changes, reason) in [
            (json!({"iss": "somebody"}), Reason::Issuer),
            (json!({"aud": "bank"}), Reason::ClaimAud),
            (json!({"aud": ["shop", "bank"]}), Reason::ClaimAud),
            (json!({"req": null}), Reason::Binding),
            (json!({"req": 7}), Reason::Binding),
            (json!({"exp": NOW + 120}), Reason::Lifetime),
            (json!({"iat": NOW - 120, "exp": NOW - 90}), Reason::Expired),
            (json!({"iat": null}), Reason::ClaimIat),
            (json!({"jti": null}), Reason::ClaimJti),
        ] {
            assert_eq!(judge(json!({}), changes.clone(), HERE), Err(reason), "{changes}");
        }
    }

    #[test]
    fn an_identity_is_no_other_token_and_no_other_token_is_one() {
        for typ in [json!("JWT"), json!("at+jwt"), json!("dpop+jwt"), Value::Null] {
            let refused = judge(json!({"typ": typ}), json!({}), HERE);
            assert!(matches!(refused, Err(Reason::TypNotAccepted(_))), "{typ}");
        }
        let access = Policy { algorithms: Algorithms::ALL, ..Policy::new("portcullis", ["shop".to_owned()]) };
        let header = json!({"alg": "EdDSA", "typ": "portcullis-id+jwt", "kid": "gate-1"});
        let token = GATE.token(&header, &told());
        let refused = jwt::access_token(NOW, &access, &PUBLISHED, &token).err();
        assert!(matches!(refused, Some(Reason::TypNotAccepted(_))), "{refused:?}");
        // A key of another kind in the set signs nothing here.
        let set = key_set(&[KEYS.ec.named("gate-1")]);
        let header = json!({"alg": "ES256", "typ": "portcullis-id+jwt", "kid": "gate-1"});
        let token = KEYS.ec.token(&header, &told());
        assert_eq!(jwt::identity(NOW, &POLICY, &set, HERE, &token).err(), Some(Reason::HeaderAlg));
    }
}
