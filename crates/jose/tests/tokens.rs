//! Attacks on access tokens (callers.md § 22), and one test per private reason.
#![expect(clippy::string_slice, reason = "tests")]

mod common;

use common::{AUDIENCE, ISSUER, KEYS, NOW, SET, Signer, claims, header, key_set, policy, with};
use portcullis_core::caller::{Binding, ClaimSource as _};
use portcullis_jose::alg::{Algorithm, Algorithms};
use portcullis_jose::json::Pointer;
use portcullis_jose::reason::Reason;
use portcullis_jose::{b64u, jws, jwt};
use serde_json::{Value, json};

fn judge(token: &str) -> Result<jwt::Claims, Reason> {
    jwt::access_token(NOW, &policy(), &SET, token)
}

fn refused(token: &str) -> Option<Reason> {
    judge(token).err()
}

/// Refused with these claims changed, rightly signed.
fn claim(changes: Value) -> Option<Reason> {
    refused(&KEYS.ec.token(&header(), &with(claims(), changes)))
}

/// Refused with these header members changed, rightly signed.
fn head(changes: Value) -> Option<Reason> {
    refused(&KEYS.ec.token(&with(header(), changes), &claims()))
}

fn good() -> String {
    KEYS.ec.token(&header(), &claims())
}

fn wide() -> jwt::Policy {
    jwt::Policy { algorithms: Algorithms::ALL, ..policy() }
}

// ---- what passes ------------------------------------------------------------------------------

#[test]
fn a_good_token_gives_its_claims() {
    let claims = judge(&good()).unwrap();
    assert_eq!(claims.issuer(), ISSUER);
    assert_eq!((claims.subject(), claims.jti(), claims.sid()), (Some("usr_1"), Some("t-1"), None));
    assert_eq!(claims.client().map(|c| &**c), Some("cli_1"));
    assert_eq!(claims.scopes().iter().map(|s| &**s).collect::<Vec<_>>(), ["orders.read", "orders.write"]);
    assert_eq!((claims.exp(), claims.iat()), (NOW + 600, Some(NOW - 10)));
    assert_eq!(claims.binding(), &Binding::None);
    assert_eq!(claims.token_ref().jti.as_deref(), Some("t-1"));
    assert_eq!(claims.text_at("/sub").as_deref(), Some("usr_1"));
    assert_eq!(claims.text_at("/exp").unwrap(), (NOW + 600).to_string());
    assert!(claims.texts_at("/nothing").is_empty());
    assert!(!claims.expired(NOW + 629, 30) && claims.expired(NOW + 630, 30));
}

#[test]
fn every_algorithm_that_the_issuer_names() {
    for (alg, kid, key) in [
        ("RS256", "rsa", &KEYS.rsa),
        ("RS384", "rsa", &KEYS.rsa),
        ("RS512", "rsa", &KEYS.rsa),
        ("PS256", "rsa", &KEYS.rsa),
        ("PS384", "rsa", &KEYS.rsa),
        ("PS512", "rsa", &KEYS.rsa),
        ("ES256", "ec", &KEYS.ec),
        ("ES384", "ec384", &KEYS.ec384),
        ("EdDSA", "ed", &KEYS.ed),
        ("Ed25519", "ed", &KEYS.ed),
    ] {
        let token = key.token(&json!({"alg": alg, "kid": kid, "typ": "at+jwt"}), &claims());
        assert!(jwt::access_token(NOW, &wide(), &SET, &token).is_ok(), "{alg}");
        let named = Algorithms::DEFAULT.contains(Algorithm::parse(alg).unwrap());
        assert_eq!(judge(&token).is_ok(), named, "{alg} under the default");
    }
}

#[test]
fn every_spelling_of_at_jwt() {
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt"] {
        assert_eq!(head(json!({"typ": typ})), None, "{typ}");
    }
    assert_eq!(head(json!({"typ": "JWT"})), None);
    assert_eq!(head(json!({"typ": null})), None);
}

#[test]
fn peeks_at_the_issuer_and_the_kid() {
    assert_eq!(jwt::peek_issuer(&good()).unwrap(), ISSUER);
    assert_eq!(jws::kid_of(&good()).unwrap().as_deref(), Some("ec"));
    let token = KEYS.ec.token(&header(), &with(claims(), json!({"iss": 1})));
    assert_eq!(jwt::peek_issuer(&token).err(), Some(Reason::Issuer));
}

// ---- algorithms and signatures ----------------------------------------------------------------

#[test]
fn alg_none_in_every_spelling_with_and_without_a_third_part() {
    for alg in ["none", "None", "nOnE", "NONE", ""] {
        let input = jws::signing_input(
            &json!({"alg": alg, "typ": "at+jwt"}).to_string(),
            claims().to_string().as_bytes(),
        );
        assert_eq!(refused(&format!("{input}.")), Some(Reason::JwsShape), "{alg}");
        assert_eq!(refused(&input), Some(Reason::JwsShape), "{alg}");
        assert_eq!(refused(&format!("{input}.AAAA")), Some(Reason::HeaderAlg), "{alg}");
    }
}

#[test]
fn hmac_with_a_public_key_as_secret() {
    for jwk in [KEYS.rsa.jwk(), KEYS.ec.jwk()] {
        let text = jwk.to_string();
        let modulus = b64u::decode(jwk["n"].as_str().or(jwk["x"].as_str()).unwrap()).unwrap();
        for secret in [text.as_bytes(), modulus.as_slice()] {
            for alg in ["HS256", "hs256"] {
                let input = jws::signing_input(
                    &json!({"alg": alg, "kid": "rsa"}).to_string(),
                    claims().to_string().as_bytes(),
                );
                let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
                let mac = aws_lc_rs::hmac::sign(&key, input.as_bytes());
                assert_eq!(refused(&jws::compact(&input, mac.as_ref())), Some(Reason::HeaderAlg));
            }
        }
    }
}

#[test]
fn alg_absent_a_number_an_array() {
    for alg in [Value::Null, json!(256), json!(["ES256"]), json!({"ES256": 1}), json!(true)] {
        assert_eq!(head(json!({"alg": alg})), Some(Reason::HeaderAlg));
    }
}

#[test]
fn alg_of_another_key() {
    let token = KEYS.ec.token(&json!({"alg": "RS256", "kid": "ec"}), &claims());
    assert_eq!(refused(&token), Some(Reason::KeyUnusable));
    let token = KEYS.rsa.token(&json!({"alg": "ES256", "kid": "rsa"}), &claims());
    assert_eq!(refused(&token), Some(Reason::KeyUnusable));
}

#[test]
fn es256_signatures_that_are_none() {
    let input = jws::signing_input(&header().to_string(), claims().to_string().as_bytes());
    let right = KEYS.ec.sign("ES256", input.as_bytes());
    let order = common::hex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
    let mut one = [0; 32];
    one[31] = 1;
    let der = [&[0x30, 0x44, 0x02, 0x20], &right[..32], &[0x02, 0x20], &right[32..]].concat();
    for signature in [
        vec![0; 64],
        [&[0; 32][..], &right[32..]].concat(),
        [&right[..32], &[0; 32]].concat(),
        [&order[..], &right[32..]].concat(),
        [&right[..32], &order[..]].concat(),
        [&one[..], &one[..]].concat(),
        right[..63].to_vec(),
        [&right[..], &[0]].concat(),
        [&[0], &right[..]].concat(),
        der,
    ] {
        assert_eq!(refused(&jws::compact(&input, &signature)), Some(Reason::Signature));
    }
    assert!(judge(&jws::compact(&input, &right)).is_ok());
}

#[test]
fn rs256_signatures_that_are_none() {
    let header = json!({"alg": "RS256", "kid": "rsa", "typ": "at+jwt"}).to_string();
    let input = jws::signing_input(&header, claims().to_string().as_bytes());
    let right = KEYS.rsa.sign("RS256", input.as_bytes());
    assert_eq!(refused(&format!("{input}.")), Some(Reason::JwsShape), "empty");
    for signature in [
        right[..255].to_vec(),
        [&right[..], &[0]].concat(),
        [&[0], &right[..]].concat(),
        vec![0; 256],
        vec![0xff; 256],
        KEYS.rsa.sign("PS256", input.as_bytes()),
        KEYS.rsa.sign("RS512", input.as_bytes()),
    ] {
        assert_eq!(refused(&jws::compact(&input, &signature)), Some(Reason::Signature));
    }
    assert!(judge(&jws::compact(&input, &right)).is_ok());
    assert_eq!(
        refused(&format!("{input}.{}", "A".repeat(1_400))),
        Some(Reason::Signature),
        "longer than any key"
    );
}

// ---- header -----------------------------------------------------------------------------------

#[test]
fn kid_is_only_a_name() {
    for kid in ["../../dev/null", "' OR 1=1--", "http://attacker.example/", "\0", "", "EC"] {
        assert_eq!(head(json!({"kid": kid})), Some(Reason::KeyUnknown), "{kid:?}");
    }
    assert_eq!(head(json!({"kid": "k".repeat(256)})), Some(Reason::KeyUnknown));
    for kid in [json!("k".repeat(300)), json!(1), json!(["ec"])] {
        assert_eq!(head(json!({"kid": kid})), Some(Reason::HeaderKid));
    }
}

#[test]
fn the_kid_of_another_issuers_key() {
    let other = Signer::p256();
    let token = other.token(&with(header(), json!({"kid": "theirs"})), &claims());
    assert_eq!(refused(&token), Some(Reason::KeyUnknown));
    let token = other.token(&header(), &claims());
    assert_eq!(refused(&token), Some(Reason::Signature), "our kid, their key");
}

#[test]
fn header_members_that_choose_hosts_keys_or_meaning() {
    for member in [
        json!({"jku": "https://attacker.example/keys"}),
        json!({"x5u": "https://attacker.example/chain"}),
        json!({"crit": ["exp"]}),
        json!({"crit": []}),
        json!({"crit": "exp"}),
        json!({"b64": false}),
        json!({"b64": true}),
        json!({"zip": "DEF"}),
        json!({"enc": "A128GCM"}),
        json!({"cty": "JWT"}),
        json!({"cty": "jwt"}),
        json!({"cty": "application/JWT"}),
        json!({"cty": 1}),
        json!({"typ": 1}),
        json!({"typ": ["at+jwt"]}),
        json!({"jwk": KEYS.ec.jwk()}),
        json!({"jwk": 1}),
    ] {
        assert_eq!(head(member.clone()), Some(Reason::HeaderMember), "{member}");
    }
    let ignored = json!({"x5c": ["MIIB"], "x5t": "a", "x5t#S256": "b", "cty": "json", "made-up": {"a": 1}});
    assert_eq!(head(ignored), None);
}

#[test]
fn an_embedded_key_signs_for_nobody() {
    let own = Signer::p256();
    let token = own.token(&json!({"alg": "ES256", "typ": "at+jwt", "jwk": own.jwk()}), &claims());
    assert_eq!(refused(&token), Some(Reason::HeaderMember));
}

#[test]
fn without_a_kid_only_one_key_may_fit() {
    assert_eq!(head(json!({"kid": null})), None, "one key for ES256");
    let two = key_set(&[KEYS.ec.named("a"), Signer::p256().named("b")]);
    let token = KEYS.ec.token(&json!({"alg": "ES256", "typ": "at+jwt"}), &claims());
    assert_eq!(jwt::access_token(NOW, &policy(), &two, &token).err(), Some(Reason::KeyAmbiguous));
    let none = key_set(&[KEYS.rsa.named("a")]);
    assert_eq!(jwt::access_token(NOW, &policy(), &none, &token).err(), Some(Reason::KeyNone));
}

// ---- shape ------------------------------------------------------------------------------------

#[test]
fn base64url_has_one_spelling() {
    let token = good();
    let (input, signature) = token.rsplit_once('.').unwrap();
    let (head, body) = input.split_once('.').unwrap();
    for token in [
        format!("{head}=.{body}.{signature}"),
        format!("{head}.{body}=.{signature}"),
        format!("{head}.{body}.{signature}=="),
        format!("{head}.{body}.{signature}\r\n"),
        format!(" {head}.{body}.{signature}"),
        format!("{head}.{body}\n.{signature}"),
        format!("{head}.{}+{}.{signature}", &body[..8], &body[9..]),
        format!("{head}.{}/{}.{signature}", &body[..8], &body[9..]),
        format!("{head}.{body}.{}é{}", &signature[..8], &signature[10..]),
    ] {
        assert_eq!(refused(&token), Some(Reason::JwsBase64), "{token}");
    }
    // 64 bytes leave four unused bits in the last digit: sixteen spellings, one of them taken.
    let (rest, last) = signature.split_at(signature.len() - 1);
    let others =
        ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['-', '_']).filter(|c| !last.starts_with(*c));
    for digit in others {
        let reason = refused(&format!("{input}.{rest}{digit}"));
        assert!(matches!(reason, Some(Reason::JwsBase64 | Reason::Signature)), "{digit} {reason:?}");
    }
    assert_eq!(
        refused(&format!("{input}.{rest}{}", (last.as_bytes()[0] + 1) as char)),
        Some(Reason::JwsBase64)
    );
}

#[test]
fn not_three_parts() {
    let token = good();
    for token in [
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        "....".into(),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.AAAA"),
        format!("{token}.AAAA.AAAA"),
        token.replacen('.', "..", 1),
        token.replace('.', ""),
    ] {
        assert_eq!(refused(&token), Some(Reason::JwsShape), "{token}");
    }
}

#[test]
fn larger_than_allowed() {
    assert_eq!(refused(&"a".repeat(8_193)), Some(Reason::JwsSize));
    assert_eq!(refused(&"a".repeat(1 << 20)), Some(Reason::JwsSize));
    let header = json!({"alg": "ES256", "x5c": "x".repeat(2_100)});
    assert_eq!(refused(&KEYS.ec.token(&header, &json!({}))), Some(Reason::JwsSize));
    assert_eq!(claim(json!({"a": "x".repeat(3_000), "b": "x".repeat(3_000)})), Some(Reason::JwsSize));
    let nine = KEYS.ec.token(&common::header(), &with(claims(), json!({"a": "x".repeat(6_700)})));
    assert!(nine.len() > 9_000);
    assert_eq!(refused(&nine), Some(Reason::JwsSize));
}

#[test]
fn duplicates_in_header_and_payload() {
    for header in [
        r#"{"alg":"ES256","alg":"none","kid":"ec"}"#,
        r#"{"alg":"none","alg":"ES256","kid":"ec"}"#,
        r#"{"alg":"ES256","kid":"ec","\u0061lg":"ES256"}"#,
    ] {
        assert_eq!(refused(&KEYS.ec.token_of(header, claims().to_string().as_bytes())), Some(Reason::Json));
    }
    let text = claims().to_string();
    let rest = text.strip_prefix('{').unwrap();
    for extra in [
        r#""exp":9999999999"#,
        r#""\u0065xp":9999999999"#,
        r#""aud":"other""#,
        r#""sub":"usr_2""#,
        r#""cnf":{"jkt":"a","jkt":"b"}"#,
    ] {
        for payload in [format!("{{{extra},{rest}"), format!("{},{extra}}}", text.strip_suffix('}').unwrap())]
        {
            let token = KEYS.ec.token_of(&header().to_string(), payload.as_bytes());
            assert_eq!(refused(&token), Some(Reason::Json), "{payload}");
        }
    }
}

#[test]
fn payloads_that_are_not_the_strict_json() {
    let text = claims().to_string();
    for payload in [
        format!("\u{feff}{text}").into_bytes(),
        format!("{text}x").into_bytes(),
        format!("{text}{text}").into_bytes(),
        format!("{text}\0").into_bytes(),
        b"[]".to_vec(),
        b"foo".to_vec(),
        [b"{\"a\":\"".as_slice(), &[0xff], b"\"}"].concat(),
        format!("{{\"a\":{}{}}}", "[".repeat(3_000), "]".repeat(3_000)).into_bytes(),
        br#"{"exp":1e999}"#.to_vec(),
    ] {
        let token = KEYS.ec.token_of(&header().to_string(), &payload);
        assert_eq!(refused(&token), Some(Reason::Json), "{}", String::from_utf8_lossy(&payload));
    }
    let spaced = format!(" \n{text}\t ");
    assert!(judge(&KEYS.ec.token_of(&header().to_string(), spaced.as_bytes())).is_ok());
}

// ---- contexts ---------------------------------------------------------------------------------

#[test]
fn the_typ_of_another_kind() {
    for typ in [
        "logout+jwt",
        "dpop+jwt",
        "secevent+jwt",
        "id_token+jwt",
        "portcullis-id+jwt",
        "",
        "at+jwt ",
        "x/at+jwt",
    ] {
        let reason = head(json!({"typ": typ}));
        assert_eq!(reason.map(Reason::text), Some("typ-not-accepted"), "{typ}");
        assert_eq!(reason.and_then(Reason::giveaway), Some("typ"), "{typ}");
    }
}

#[test]
fn an_id_token_of_the_issuer_is_no_access_token() {
    for (name, value) in [
        ("nonce", json!("n")),
        ("at_hash", json!("h")),
        ("c_hash", json!("h")),
        ("s_hash", json!("h")),
        ("events", json!({})),
        ("token_use", json!("id")),
        ("token_use", json!("REFRESH")),
        ("typ", json!("ID")),
        ("typ", json!("Refresh")),
    ] {
        for typ in [json!("JWT"), Value::Null] {
            let changed = with(claims(), json!({name: value}));
            let token = KEYS.ec.token(&with(header(), json!({"typ": typ})), &changed);
            let reason = refused(&token);
            assert_eq!(reason.map(Reason::text), Some("typ-not-accepted"), "{name}");
            assert_eq!(reason.and_then(Reason::giveaway), Some(name));
            // And when its audience is the client, as an ID token's is, it is not "only" that.
            let token =
                KEYS.ec.token(&with(header(), json!({"typ": typ})), &with(changed, json!({"aud": "client"})));
            assert_eq!(refused(&token), Some(Reason::NotAccessToken));
        }
        assert_eq!(claim(json!({name: value})), None, "at+jwt says what it is: {name}");
    }
    assert_eq!(claim(json!({"typ": "Bearer", "token_use": "access"})), None);
}

#[test]
fn strict_takes_at_jwt_alone() {
    let strict = jwt::Policy { typ: jwt::Typ::Strict, ..policy() };
    for (typ, passes) in [(json!("at+jwt"), true), (json!("JWT"), false), (Value::Null, false)] {
        let token = KEYS.ec.token(&with(header(), json!({"typ": typ})), &claims());
        assert_eq!(jwt::access_token(NOW, &strict, &SET, &token).is_ok(), passes);
    }
}

// ---- claims -----------------------------------------------------------------------------------

#[test]
fn iss_is_compared_byte_for_byte() {
    for iss in [
        Value::Null,
        json!("https://login.example.com"),
        json!("https://login.example.com//"),
        json!("HTTPS://login.example.com/"),
        json!("https://login.example.com/x"),
        json!([ISSUER]),
        json!(1),
        json!(""),
    ] {
        assert_eq!(claim(json!({"iss": iss})), Some(Reason::Issuer), "{iss}");
    }
}

#[test]
fn aud_must_name_us_exactly() {
    for aud in [
        Value::Null,
        json!("sho"),
        json!("shop2"),
        json!("Shop"),
        json!(""),
        json!([]),
        json!(["other"]),
        json!({"shop": true}),
        json!(1),
        json!(["shop", 1]),
        json!([["shop"]]),
        json!((0..17).map(|i| if i == 0 { "shop".into() } else { format!("a{i}") }).collect::<Vec<_>>()),
        json!(vec!["shop"; 500]),
    ] {
        assert_eq!(claim(json!({"aud": aud})), Some(Reason::ClaimAud), "{aud}");
    }
    assert_eq!(claim(json!({"aud": ["other", "shop"]})), None);
    assert_eq!(claim(json!({"aud": vec!["shop"; 16]})), None);
    let nobody = jwt::Policy { audiences: Vec::new(), ..policy() };
    assert_eq!(
        jwt::access_token(NOW, &nobody, &SET, &good()).err(),
        Some(Reason::ClaimAud),
        "absence never allows"
    );
}

#[test]
fn exp_is_required_and_a_whole_number() {
    for exp in [
        Value::Null,
        json!((NOW + 600).to_string()),
        json!(-1),
        json!(1e300),
        json!(NOW as f64 + 600.5),
        json!([NOW + 600]),
        json!(true),
    ] {
        assert_eq!(claim(json!({"exp": exp})), Some(Reason::ClaimExp), "{exp}");
    }
    let raw = |exp: &str| {
        let payload = claims().to_string().replace(&(NOW + 600).to_string(), exp);
        refused(&KEYS.ec.token_of(&header().to_string(), payload.as_bytes()))
    };
    assert_eq!(raw("null"), Some(Reason::ClaimExp));
    assert_eq!(raw("1.7672262e9"), Some(Reason::ClaimExp));
    assert_eq!(raw("1767226200.0"), Some(Reason::ClaimExp));
    assert_eq!(raw("-0"), Some(Reason::ClaimExp));
    assert_eq!(raw("9007199254740992"), Some(Reason::Lifetime));
    assert_eq!(raw("9007199254740993"), Some(Reason::Json));
}

#[test]
fn expired_is_told_only_when_all_else_is_right() {
    assert_eq!(claim(json!({"exp": NOW - 29, "iat": NOW - 600})), None, "within the skew");
    assert_eq!(claim(json!({"exp": NOW - 30, "iat": NOW - 600})), Some(Reason::Expired));
    assert_eq!(claim(json!({"exp": NOW - 31, "iat": NOW - 600})), Some(Reason::Expired));
    assert_eq!(claim(json!({"exp": 0, "iat": 0})), Some(Reason::Expired));
    let old = json!({"exp": NOW - 31, "iat": NOW - 600});
    assert_eq!(claim(with(old.clone(), json!({"aud": "other"}))), Some(Reason::ClaimAud));
    assert_eq!(claim(with(old.clone(), json!({"scope": 1}))), Some(Reason::ClaimScope));
    assert_eq!(claim(with(old.clone(), json!({"cnf": {}}))), Some(Reason::Binding));
    let token = KEYS.ec.token(&with(header(), json!({"typ": "dpop+jwt"})), &with(claims(), old));
    assert_eq!(refused(&token), Some(Reason::NotAccessToken));
}

#[test]
fn times_in_the_future_or_of_another_type() {
    assert_eq!(claim(json!({"nbf": NOW + 30})), None);
    assert_eq!(claim(json!({"nbf": NOW + 31})), Some(Reason::ClaimNbf));
    assert_eq!(claim(json!({"nbf": "0"})), Some(Reason::ClaimNbf));
    assert_eq!(claim(json!({"iat": NOW + 30})), None);
    assert_eq!(claim(json!({"iat": NOW + 31})), Some(Reason::ClaimIat));
    assert_eq!(claim(json!({"iat": NOW.to_string()})), Some(Reason::ClaimIat));
    assert_eq!(claim(json!({"iat": -5})), Some(Reason::ClaimIat));
    assert_eq!(claim(json!({"iat": null})), None);
}

#[test]
fn a_skew_beyond_120_seconds_does_not_count() {
    let lax = jwt::Policy { skew: 1_000_000, ..policy() };
    let token = |nbf: i64| KEYS.ec.token(&header(), &with(claims(), json!({"nbf": nbf})));
    assert!(jwt::access_token(NOW, &lax, &SET, &token(NOW + 120)).is_ok());
    assert_eq!(jwt::access_token(NOW, &lax, &SET, &token(NOW + 121)).err(), Some(Reason::ClaimNbf));
}

#[test]
fn a_lifetime_of_ten_years() {
    assert_eq!(claim(json!({"exp": NOW + 315_360_000})), Some(Reason::Lifetime));
    assert_eq!(claim(json!({"iat": NOW, "exp": NOW + 86_400})), None);
    assert_eq!(claim(json!({"iat": NOW, "exp": NOW + 86_401})), Some(Reason::Lifetime));
    assert_eq!(claim(json!({"iat": null, "exp": NOW + 86_400})), None);
    assert_eq!(claim(json!({"iat": null, "exp": NOW + 86_401})), Some(Reason::Lifetime));
    assert_eq!(
        claim(json!({"iat": 0, "exp": NOW + 600})),
        Some(Reason::Lifetime),
        "an iat that shortens nothing"
    );
}

#[test]
fn max_age_demands_iat() {
    let policy = jwt::Policy { max_age: Some(300), ..policy() };
    let judge = |iat: Value| {
        let token = KEYS.ec.token(&header(), &with(claims(), json!({"iat": iat})));
        jwt::access_token(NOW, &policy, &SET, &token).err()
    };
    assert_eq!(judge(json!(NOW - 330)), None);
    assert_eq!(judge(json!(NOW - 331)), Some(Reason::ClaimIat));
    assert_eq!(judge(Value::Null), Some(Reason::ClaimIat));
}

#[test]
fn sub_jti_and_sid_are_strings_of_some_length() {
    for sub in [json!(1), json!(""), json!("x".repeat(256)), json!(["usr_1"]), json!({})] {
        assert_eq!(claim(json!({"sub": sub})), Some(Reason::ClaimSub), "{sub}");
    }
    assert_eq!(claim(json!({"sub": "é".repeat(255)})), None, "characters, not bytes");
    for jti in [json!(1), json!("x".repeat(256)), json!([])] {
        assert_eq!(claim(json!({"jti": jti})), Some(Reason::ClaimJti), "{jti}");
    }
    assert_eq!(claim(json!({"sid": 7})), Some(Reason::ClaimSid));
    assert_eq!(claim(json!({"sub": null, "jti": null})), None);
}

#[test]
fn scopes_that_cannot_be_read_are_not_no_scopes() {
    let many: Vec<_> = (0..65).map(|i| format!("s{i}")).collect();
    for scope in [
        json!(1),
        json!({}),
        json!(true),
        json!(["a", 1]),
        json!(["a b"]),
        json!([""]),
        json!("a  b"),
        json!(" a"),
        json!("a "),
        json!("a\tb"),
        json!("a\"b"),
        json!("a\\b"),
        json!("é"),
        json!(many),
        json!(many.join(" ")),
    ] {
        assert_eq!(claim(json!({"scope": scope})), Some(Reason::ClaimScope), "{scope}");
    }
    assert_eq!(claim(json!({"scope": ""})), None);
    assert_eq!(claim(json!({"scope": null})), None);
    assert_eq!(claim(json!({"scope": many[..64].join(" ")})), None);
}

#[test]
fn scope_and_client_stand_where_the_policy_says() {
    let policy = jwt::Policy {
        scope: Pointer::parse("/realm/scp").unwrap(),
        client: Pointer::parse("/azp").unwrap(),
        ..policy()
    };
    let judge = |changes: Value| {
        let token = KEYS.ec.token(&header(), &with(claims(), changes));
        jwt::access_token(NOW, &policy, &SET, &token)
    };
    let claims = judge(json!({"realm": {"scp": ["a", "b"]}, "azp": "app", "scope": "ignored"})).unwrap();
    assert_eq!(claims.scopes().len(), 2);
    assert_eq!(claims.client().map(|c| &**c), Some("app"));
    assert_eq!(judge(json!({"azp": 1})).err(), Some(Reason::ClaimClientId));
    assert_eq!(judge(json!({"realm": {"scp": 1}})).err(), Some(Reason::ClaimScope));
    assert_eq!(judge(json!({})).unwrap().scopes().len(), 0);
}

#[test]
fn cnf_with_an_unknown_or_additional_member() {
    let thumbprint = b64u::encode([7; 32]);
    for cnf in [
        json!({}),
        json!({"kid": "x"}),
        json!({"jwk": {}}),
        json!({"jkt": thumbprint, "kid": "x"}),
        json!({"jkt": thumbprint, "x5t#S256": thumbprint}),
        json!({"jkt": "short"}),
        json!({"jkt": 1}),
        json!("jkt"),
        json!([]),
        json!(0),
    ] {
        assert_eq!(claim(json!({"cnf": cnf})), Some(Reason::Binding), "{cnf}");
    }
    let bound = |name: &str| {
        let token = KEYS.ec.token(&header(), &with(claims(), json!({"cnf": {name: thumbprint}})));
        judge(&token).unwrap().binding().clone()
    };
    assert_eq!(bound("jkt"), Binding::Dpop(thumbprint.as_str().into()));
    assert_eq!(bound("x5t#S256"), Binding::Certificate(thumbprint.as_str().into()));
}

// ---- own tokens -------------------------------------------------------------------------------

#[test]
fn own_tokens_have_no_latitude() {
    let judge = |header: Value, changes: Value| {
        let token = KEYS.ec.token(&header, &with(claims(), changes));
        jwt::own_access_token(NOW, &wide(), &SET, &token).err()
    };
    assert_eq!(judge(header(), json!({})), None);
    for (name, reason) in [
        ("sub", Reason::ClaimSub),
        ("client_id", Reason::ClaimClientId),
        ("jti", Reason::ClaimJti),
        ("iat", Reason::ClaimIat),
        ("scope", Reason::ClaimScope),
        ("exp", Reason::ClaimExp),
        ("aud", Reason::ClaimAud),
    ] {
        assert_eq!(judge(header(), json!({name: null})), Some(reason), "{name}");
    }
    assert_eq!(judge(header(), json!({"scope": ["a"]})), Some(Reason::ClaimScope), "a string alone");
    assert_eq!(judge(header(), json!({"iat": NOW, "exp": NOW + 3_600})), None);
    assert_eq!(judge(header(), json!({"iat": NOW, "exp": NOW + 3_601})), Some(Reason::Lifetime));
    for typ in [json!("JWT"), Value::Null, json!("dpop+jwt")] {
        let reason = judge(with(header(), json!({"typ": typ})), json!({}));
        assert_eq!(reason.map(Reason::text), Some("typ-not-accepted"));
        assert_eq!(
            judge(with(header(), json!({"typ": typ})), json!({"jti": null})),
            Some(Reason::NotAccessToken)
        );
    }
    let token = KEYS.ed.token(&json!({"alg": "EdDSA", "kid": "ed", "typ": "at+jwt"}), &claims());
    assert_eq!(jwt::own_access_token(NOW, &wide(), &SET, &token).err(), Some(Reason::HeaderAlg));
}

#[test]
fn a_loose_audience_of_one_route_is_none_of_another() {
    let other = jwt::Policy::new(ISSUER, ["admin".to_owned()]);
    assert_eq!(jwt::access_token(NOW, &other, &SET, &good()).err(), Some(Reason::ClaimAud));
    assert_eq!(AUDIENCE, "shop");
}
