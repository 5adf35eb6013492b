//! Attacks on DPoP proofs (callers.md § 22), and the examples of RFC 9449.

mod common;

use common::{KEYS, NOW, Signer, with};
use portcullis_jose::dpop::{self, Demand, Place};
use portcullis_jose::mac::MacKey;
use portcullis_jose::reason::Reason;
use portcullis_jose::{alg::Algorithms, b64u, jwk};
use serde_json::{Value, json};
use std::sync::LazyLock;

const TOKEN: &str = "the.access.token";
const URL: &str = "https://api.example.com/orders/7";

fn hash(text: &str) -> String {
    b64u::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()))
}

fn thumbprint(key: &Signer) -> String {
    let policy = jwk::KeyPolicy { algorithms: Algorithms::ALL, ..jwk::KeyPolicy::default() };
    let key = jwk::VerifyKey::parse(key.jwk().to_string().as_bytes(), &policy);
    key.map(|key| key.thumbprint().to_owned()).unwrap_or_default()
}

static JKT: LazyLock<String> = LazyLock::new(|| thumbprint(&KEYS.ec));

fn demand() -> Demand<'static> {
    let place = Place::Resource { token: TOKEN, jkt: &JKT };
    Demand { method: "GET", url: URL, place, nonce: None, remembered_since: None }
}

fn header() -> Value {
    json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": KEYS.ec.jwk()})
}

fn claims() -> Value {
    json!({"jti": "e1j3V_bKic8-LAEB", "htm": "GET", "htu": URL, "iat": NOW, "ath": hash(TOKEN)})
}

fn refused(proof: &str) -> Option<Reason> {
    dpop::proof(NOW, &demand(), proof).err()
}

fn claim(changes: Value) -> Option<Reason> {
    refused(&KEYS.ec.token(&header(), &with(claims(), changes)))
}

fn head(changes: Value) -> Option<Reason> {
    refused(&KEYS.ec.token(&with(header(), changes), &claims()))
}

#[test]
fn a_good_proof() {
    let proof = dpop::proof(NOW, &demand(), &KEYS.ec.token(&header(), &claims()));
    let proof = proof.ok().map(|p| (p.jkt, p.jti));
    assert_eq!(proof, Some((JKT.clone(), "e1j3V_bKic8-LAEB".to_owned())));
}

#[test]
fn by_every_key_that_proofs_may_use() {
    for (alg, key, passes) in [
        ("ES256", &KEYS.ec, true),
        ("EdDSA", &KEYS.ed, true),
        ("Ed25519", &KEYS.ed, true),
        ("RS256", &KEYS.rsa, true),
        ("PS256", &KEYS.rsa, true),
        ("RS512", &KEYS.rsa, false),
        ("ES384", &KEYS.ec384, false),
    ] {
        let jkt = thumbprint(key);
        let demand = Demand { place: Place::Resource { token: TOKEN, jkt: &jkt }, ..demand() };
        let proof = key.token(&json!({"typ": "dpop+jwt", "alg": alg, "jwk": key.jwk()}), &claims());
        assert_eq!(dpop::proof(NOW, &demand, &proof).is_ok(), passes, "{alg}");
    }
}

#[test]
fn typ_missing_or_another() {
    for typ in [Value::Null, json!("JWT"), json!("at+jwt"), json!("dpop")] {
        assert_eq!(head(json!({"typ": typ})).map(Reason::text), Some("typ-not-accepted"), "{typ}");
    }
    assert_eq!(head(json!({"typ": "application/DPoP+JWT"})), None);
}

#[test]
fn alg_none_or_symmetric() {
    for alg in [json!("none"), json!("HS256"), Value::Null, json!(1)] {
        assert_eq!(head(json!({"alg": alg})), Some(Reason::HeaderAlg), "{alg}");
    }
}

#[test]
fn jwk_private_absent_or_not_the_one_that_signed() {
    assert_eq!(head(json!({"jwk": null})), Some(Reason::DpopKey));
    assert_eq!(head(json!({"jwk": "x"})), Some(Reason::DpopKey));
    assert_eq!(head(json!({"jwk": with(KEYS.ec.jwk(), json!({"d": "AA"}))})), Some(Reason::DpopKey));
    assert_eq!(head(json!({"jwk": {"kty": "oct", "k": "AA"}})), Some(Reason::DpopKey));
    assert_eq!(head(json!({"jwk": KEYS.rsa.jwk()})), Some(Reason::DpopKey), "a key for another algorithm");
    assert_eq!(head(json!({"jwk": Signer::p256().jwk()})), Some(Reason::Signature));
    let own = Signer::p256();
    let proof = own.token(&json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": own.jwk()}), &claims());
    assert_eq!(refused(&proof), Some(Reason::Binding), "the token of key A with a proof by key B");
    assert_eq!(head(json!({"crit": ["jwk"]})), Some(Reason::HeaderMember));
    assert_eq!(head(json!({"x5u": "https://attacker.example"})), Some(Reason::HeaderMember));
}

#[test]
fn two_proofs_in_one_header() {
    let one = KEYS.ec.token(&header(), &claims());
    for joined in [format!("{one},{one}"), format!("{one}, {one}"), format!("{one},")] {
        assert!(matches!(refused(&joined), Some(Reason::JwsShape | Reason::JwsBase64)), "{joined}");
    }
}

#[test]
fn another_method_port_scheme_or_path() {
    for htm in [json!("POST"), json!("get"), Value::Null, json!(1), json!("")] {
        assert_eq!(claim(json!({"htm": htm})), Some(Reason::DpopMethod), "{htm}");
    }
    for htu in [
        json!("http://api.example.com/orders/7"),
        json!("https://api.example.com:8443/orders/7"),
        json!("https://api.example.com/orders/8"),
        json!("https://api.example.com/orders/7/"),
        json!("https://api.example.com/orders%2F7"),
        json!("https://evil.example/orders/7"),
        json!("/orders/7"),
        json!(""),
        Value::Null,
        json!(["https://api.example.com/orders/7"]),
    ] {
        assert_eq!(claim(json!({"htu": htu})), Some(Reason::DpopUrl), "{htu}");
    }
    for same in [
        "https://API.example.com:443/orders/7",
        "https://api.example.com/%6Frders/7?x=1#y",
        "https://api.example.com/x/../orders/./7",
    ] {
        assert_eq!(claim(json!({"htu": same})), None, "{same}");
    }
    let with_query = Demand { url: "https://api.example.com/orders/7?page=2", ..demand() };
    assert!(dpop::proof(NOW, &with_query, &KEYS.ec.token(&header(), &claims())).is_ok());
}

#[test]
fn iat_on_either_side() {
    for (iat, passes) in [(NOW - 60, true), (NOW + 60, true), (NOW - 61, false), (NOW + 61, false)] {
        assert_eq!(claim(json!({"iat": iat})), (!passes).then_some(Reason::ClaimIat));
    }
    for iat in [Value::Null, json!(NOW.to_string()), json!(1.5), json!(-1), json!(0)] {
        assert_eq!(claim(json!({"iat": iat})), Some(Reason::ClaimIat), "{iat}");
    }
    assert_eq!(claim(json!({"exp": NOW - 30})), Some(Reason::ClaimExp));
    assert_eq!(claim(json!({"exp": "x"})), Some(Reason::ClaimExp));
    assert_eq!(claim(json!({"nbf": NOW + 31})), Some(Reason::ClaimNbf));
    assert_eq!(claim(json!({"exp": NOW + 5, "nbf": NOW - 5})), None);
}

#[test]
fn a_proof_from_before_what_is_remembered() {
    let since = |moment| {
        let demand = Demand { remembered_since: Some(moment), ..demand() };
        dpop::proof(NOW, &demand, &KEYS.ec.token(&header(), &claims())).err()
    };
    assert_eq!(since(NOW), Some(Reason::ClaimIat));
    assert_eq!(since(NOW - 60), Some(Reason::ClaimIat));
    assert_eq!(since(NOW - 61), None, "new proofs are served again after 60 seconds");
}

#[test]
fn jti_missing_or_too_long() {
    for jti in [Value::Null, json!(""), json!(7), json!("j".repeat(129)), json!("j".repeat(4_000))] {
        assert_eq!(claim(json!({"jti": jti})), Some(Reason::ClaimJti));
    }
    let proof = KEYS.ec.token(&header(), &with(claims(), json!({"jti": "j".repeat(10_240)})));
    assert_eq!(refused(&proof), Some(Reason::JwsSize), "10 KiB");
    assert_eq!(claim(json!({"jti": "j".repeat(128)})), None);
}

#[test]
fn ath_missing_wrong_or_of_another_token() {
    for ath in [
        Value::Null,
        json!(""),
        json!(hash("another.access.token")),
        json!(1),
        json!(format!("{}=", hash(TOKEN))),
    ] {
        assert_eq!(claim(json!({"ath": ath})), Some(Reason::DpopAth), "{ath}");
    }
}

#[test]
fn at_the_token_endpoint_ath_is_absent() {
    let demand = Demand { place: Place::TokenEndpoint, ..demand() };
    let judge = |changes| dpop::proof(NOW, &demand, &KEYS.ec.token(&header(), &with(claims(), changes)));
    assert_eq!(judge(json!({"ath": null})).map(|p| p.jkt), Ok(JKT.clone()));
    assert_eq!(
        judge(json!({})).err(),
        Some(Reason::DpopAth),
        "there is no token that it could be the hash of"
    );
}

#[test]
fn a_nonce_if_demanded() {
    let secret = MacKey::new(&[5; 32]);
    let demand = Demand { nonce: Some(&secret), ..demand() };
    let judge = |nonce: Value| {
        let proof = KEYS.ec.token(&header(), &with(claims(), json!({"nonce": nonce})));
        dpop::proof(NOW, &demand, &proof).err()
    };
    assert_eq!(judge(json!(dpop::nonce(&secret, NOW))), None);
    assert_eq!(judge(json!(dpop::nonce(&secret, NOW - 120))), None, "the previous one");
    for nonce in [
        json!(dpop::nonce(&secret, NOW - 240)),
        json!(dpop::nonce(&secret, NOW + 120)),
        json!(dpop::nonce(&MacKey::new(&[6; 32]), NOW)),
        Value::Null,
        json!(""),
        json!(1),
    ] {
        assert_eq!(judge(nonce), Some(Reason::DpopNonce));
    }
    let both = KEYS.ec.token(&header(), &with(claims(), json!({"htm": "PUT"})));
    assert_eq!(dpop::proof(NOW, &demand, &both).err(), Some(Reason::DpopMethod), "told last");
}

#[test]
fn duplicates_in_a_proof() {
    let payload = claims().to_string().replacen('{', r#"{"htm":"POST","#, 1);
    assert_eq!(refused(&KEYS.ec.token_of(&header().to_string(), payload.as_bytes())), Some(Reason::Json));
}

// RFC 9449 § 4.1 (token request) and § 7.1 (resource request).
const RFC_TOKEN_REQUEST: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjY1Mjk2fQ.pAqut2IRDm_De6PR93SYmGBPXpwrAk90e8cP2hjiaG5QsGSuKDYW7_X620BxqhvYC8ynrrvZLTk41mSRroapUA";
const RFC_RESOURCE: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";

#[test]
fn the_examples_of_rfc_9449() {
    let place = Place::TokenEndpoint;
    let token = Demand { method: "POST", url: "https://server.example.com/token", place, ..demand() };
    assert_eq!(
        dpop::proof(1_562_265_296, &token, RFC_TOKEN_REQUEST).map(|p| p.jti),
        Ok("-BwC3ESc6acc2lTc".to_owned())
    );
    assert_eq!(dpop::proof(1_562_265_357, &token, RFC_TOKEN_REQUEST).err(), Some(Reason::ClaimIat));
    let place = Place::Resource {
        token: "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU",
        jkt: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
    };
    let resource = Demand { url: "https://resource.example.org/protectedresource", place, ..demand() };
    assert_eq!(
        dpop::proof(1_562_262_618, &resource, RFC_RESOURCE).map(|p| p.jti),
        Ok("e1j3V_bKic8-LAEB".to_owned())
    );
}
