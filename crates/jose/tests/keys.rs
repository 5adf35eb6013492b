//! Attacks on key sets (callers.md § 22), and thumbprints.

mod common;

use aws_lc_rs::rsa::KeySize;
use common::{KEYS, Signer};
use portcullis_jose::alg::{Algorithm, Algorithms};
use portcullis_jose::b64u;
use portcullis_jose::jwk::{KeyFault, KeyPolicy, KeySet, KeySetError, KeyType, VerifyKey};
use serde_json::{Value, json};

/// 2,048 bits, a power of 65,537 modulo every prime up to 167, as Infineon's library made them.
const ROCA: &str = "gIGGAz1YvKQ-3fQtfL9_ywA2KIYOIf5GYjU4roKCv8gfVX4_8ruD9rEuaqJThaYDa_MsOYzaNKwm0bN8c-dIDooXxYXwGJpIz1nBDRN3Tvab5zzCWHvQPrj1YhNi5cSYyFCvhfKVTkVna6Mt8uRqhadv4Dn2XdhZQg-6FX3_BiBai-VkUlagWydHNdY_j5wkIlkImy_Pt7E2VtGLHaS5JT7KAEc3XlaQ8z2EA4oi1FHfh6HlyC_3cy_7XMc0uDJKzy2ZEfHBeeGqkyURsTa1cH7uE-uyiuyaPkSJcX9FB9v6vZFC8Q-EdqEF_Rfp3T0sgg5C7qX8ZPvq7oZqc8h93Q";

fn all() -> KeyPolicy {
    KeyPolicy { algorithms: Algorithms::ALL, ..KeyPolicy::default() }
}

fn import(jwk: &Value) -> Result<VerifyKey, KeyFault> {
    VerifyKey::parse(jwk.to_string().as_bytes(), &all())
}

fn refused(base: Value, changes: Value) -> Option<KeyFault> {
    import(&common::with(base, changes)).err()
}

fn ec() -> Value {
    KEYS.ec.named("ec")
}

fn rsa() -> Value {
    KEYS.rsa.named("rsa")
}

fn ed() -> Value {
    KEYS.ed.named("ed")
}

type Refused = Vec<(Option<String>, KeyFault)>;

fn set(keys: &[Value]) -> Result<(KeySet, Refused), KeySetError> {
    let (set, refused) = KeySet::parse(json!({"keys": keys}).to_string().as_bytes(), &all())?;
    Ok((set, refused.into_iter().map(|u| (u.kid.map(Into::into), u.fault)).collect()))
}

#[test]
fn good_keys_have_their_algorithms() {
    let algorithms =
        |jwk: Value| import(&jwk).map(|key| key.algorithms().iter().collect::<Vec<_>>()).unwrap_or_default();
    assert_eq!(algorithms(ec()), [Algorithm::Es256]);
    assert_eq!(algorithms(KEYS.ec384.jwk()), [Algorithm::Es384]);
    assert_eq!(algorithms(ed()), [Algorithm::EdDsa]);
    assert_eq!(algorithms(rsa()).len(), 6);
    assert_eq!(algorithms(common::with(rsa(), json!({"alg": "PS256"}))), [Algorithm::Ps256], "pinned");
    assert_eq!(algorithms(common::with(ed(), json!({"alg": "Ed25519"}))), [Algorithm::EdDsa]);
    assert_eq!(import(&ec()).map(|k| k.kty()), Ok(KeyType::Ec));
    let by_default = VerifyKey::parse(rsa().to_string().as_bytes(), &KeyPolicy::default());
    assert_eq!(by_default.map(|k| k.algorithms().iter().collect()), Ok(vec![Algorithm::Rs256]));
}

#[test]
fn rsa_exponents() {
    for (e, ok) in [
        (vec![1], false),
        (vec![3], false),
        (vec![17], false),
        (vec![1, 0, 0], false),
        (vec![1, 0, 1], true),
        (vec![1, 0, 2], false),
        (vec![0xff, 0xff, 0xff, 0xff], true),
        (vec![1, 0xff, 0xff, 0xff, 0xff], true),
        (vec![2, 0, 0, 0, 1], false),
        (vec![1; 9], false),
        (vec![1; 200], false),
    ] {
        let fault = refused(rsa(), json!({"e": b64u::encode(&e)}));
        assert_eq!(fault, (!ok).then_some(KeyFault::RsaExponent), "{e:?}");
    }
    assert_eq!(
        refused(rsa(), json!({"e": b64u::encode([0, 1, 0, 1])})),
        Some(KeyFault::Malformed),
        "leading zero"
    );
    assert_eq!(refused(rsa(), json!({"e": ""})), Some(KeyFault::Malformed));
    assert_eq!(refused(rsa(), json!({"e": 65537})), Some(KeyFault::Malformed));
    assert_eq!(refused(rsa(), json!({"e": null})), Some(KeyFault::Malformed));
}

#[test]
fn rsa_sizes() {
    let modulus = |bits: usize| {
        let mut n = vec![0xc5; bits / 8];
        n[0] |= 0x80;
        *n.last_mut().expect("not empty") |= 1;
        json!({"n": b64u::encode(&n)})
    };
    for (bits, fault) in [
        (1_024, Some(KeyFault::RsaSize)),
        (2_040, Some(KeyFault::RsaSize)),
        (2_048, None),
        (4_096, None),
        (4_104, Some(KeyFault::RsaSize)),
        (16_384, Some(KeyFault::RsaSize)),
    ] {
        assert_eq!(refused(rsa(), modulus(bits)), fault, "{bits}");
    }
    // One bit short: 256 bytes, of which the first begins with a zero bit.
    let mut n = vec![0xc5; 256];
    n[0] = 0x7f;
    assert_eq!(refused(rsa(), json!({"n": b64u::encode(&n)})), Some(KeyFault::RsaSize));
    let wide = KeyPolicy { rsa_max_bits: 1_000_000, ..all() };
    let sized =
        |bits| VerifyKey::parse(common::with(rsa(), modulus(bits)).to_string().as_bytes(), &wide).err();
    assert_eq!((sized(8_192), sized(8_200)), (None, Some(KeyFault::RsaSize)), "never more than 8,192");
}

#[test]
fn rsa_moduli_that_are_weak() {
    assert_eq!(refused(rsa(), json!({"n": ROCA})), Some(KeyFault::RsaModulus), "CVE-2017-15361");
    let mut even = b64u::decode(rsa()["n"].as_str().expect("text")).expect("base64url");
    *even.last_mut().expect("not empty") &= 0xfe;
    assert_eq!(refused(rsa(), json!({"n": b64u::encode(even)})), Some(KeyFault::RsaModulus));
    for size in [KeySize::Rsa2048, KeySize::Rsa3072] {
        assert!(import(&Signer::rsa(size).jwk()).is_ok(), "sound keys do not carry the fingerprint");
    }
}

#[test]
fn points_off_the_curve() {
    let mut y = b64u::decode(ec()["y"].as_str().expect("text")).expect("base64url");
    y[31] ^= 1;
    assert_eq!(refused(ec(), json!({"y": b64u::encode(&y)})), Some(KeyFault::Point));
    assert_eq!(
        refused(ec(), json!({"x": b64u::encode([0; 32]), "y": b64u::encode([0; 32])})),
        Some(KeyFault::Point)
    );
    assert_eq!(refused(ec(), json!({"x": b64u::encode([0xff; 32])})), Some(KeyFault::Point), "not below p");
    assert_eq!(refused(ec(), json!({"x": b64u::encode([1; 31])})), Some(KeyFault::Malformed));
    assert_eq!(refused(ec(), json!({"x": b64u::encode([1; 33])})), Some(KeyFault::Malformed));
    assert_eq!(refused(ec(), json!({"y": null})), Some(KeyFault::Malformed));
    assert_eq!(refused(ec(), json!({"crv": "P-384"})), Some(KeyFault::Malformed));
    assert_eq!(refused(ec(), json!({"crv": "P-521"})), Some(KeyFault::KeyType));
    assert_eq!(refused(ec(), json!({"crv": "secp256k1"})), Some(KeyFault::KeyType));
    assert_eq!(refused(ec(), json!({"alg": "ES384"})), Some(KeyFault::Algorithm), "the curve must fit");
    assert_eq!(refused(ec(), json!({"alg": "RS256"})), Some(KeyFault::Algorithm));
}

#[test]
fn ed25519_points_that_sign_everything() {
    let hex = |text: &str| b64u::encode(common::hex(text));
    let p = |low: &str, high: &str| format!("{low}{}{high}", "ff".repeat(30));
    for point in [
        "0000000000000000000000000000000000000000000000000000000000000000".to_owned(),
        "0000000000000000000000000000000000000000000000000000000000000080".to_owned(),
        "0100000000000000000000000000000000000000000000000000000000000000".to_owned(),
        "0100000000000000000000000000000000000000000000000000000000000080".to_owned(),
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05".to_owned(),
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85".to_owned(),
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a".to_owned(),
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa".to_owned(),
        p("ec", "7f"),
        p("ec", "ff"),
        p("ed", "7f"),
        p("ed", "ff"),
        p("ee", "7f"),
        p("ff", "7f"),
        p("ff", "ff"),
    ] {
        assert_eq!(refused(ed(), json!({"x": hex(&point)})), Some(KeyFault::Point), "{point}");
    }
    assert_eq!(refused(ed(), json!({"crv": "X25519"})), Some(KeyFault::KeyType));
    assert_eq!(refused(ed(), json!({"crv": "Ed448"})), Some(KeyFault::KeyType));
    assert_eq!(refused(ed(), json!({"x": b64u::encode([9; 31])})), Some(KeyFault::Malformed));
}

#[test]
fn private_and_symmetric_keys() {
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        for key in [ec(), rsa(), ed()] {
            assert_eq!(refused(key, json!({member: "AQAB"})), Some(KeyFault::PrivateMaterial), "{member}");
        }
    }
    assert_eq!(import(&json!({"kty": "oct", "k": "AQAB"})).err(), Some(KeyFault::PrivateMaterial));
    assert_eq!(import(&json!({"kty": "oct"})).err(), Some(KeyFault::KeyType));
    assert_eq!(import(&json!({"kty": "AKP"})).err(), Some(KeyFault::KeyType));
    assert_eq!(import(&json!({"kty": "rsa"})).err(), Some(KeyFault::KeyType));
}

#[test]
fn keys_for_something_else() {
    assert_eq!(refused(ec(), json!({"use": "enc"})), Some(KeyFault::Use));
    assert_eq!(refused(ec(), json!({"use": "sig"})), None);
    assert_eq!(refused(ec(), json!({"use": 1})), Some(KeyFault::Malformed));
    assert_eq!(refused(ec(), json!({"key_ops": ["sign"]})), Some(KeyFault::KeyOps));
    assert_eq!(refused(ec(), json!({"key_ops": []})), Some(KeyFault::KeyOps));
    assert_eq!(refused(ec(), json!({"key_ops": "verify"})), Some(KeyFault::Malformed));
    assert_eq!(refused(ec(), json!({"key_ops": ["sign", "verify"]})), None);
    assert_eq!(refused(rsa(), json!({"alg": "RSA-OAEP"})), Some(KeyFault::Algorithm));
    assert_eq!(refused(rsa(), json!({"alg": "HS256"})), Some(KeyFault::Algorithm));
    assert_eq!(refused(rsa(), json!({"alg": "none"})), Some(KeyFault::Algorithm));
    assert_eq!(refused(rsa(), json!({"alg": 1})), Some(KeyFault::Malformed));
    assert_eq!(refused(ec(), json!({"kid": 1})), Some(KeyFault::Malformed));
    assert_eq!(refused(ec(), json!({"kid": "k".repeat(257)})), Some(KeyFault::Malformed));
}

#[test]
fn a_duplicate_kid_makes_both_unusable() {
    let twin = Signer::p256().named("ec");
    let (keys, refused) = set(&[ec(), twin, rsa()]).expect("one is left");
    let duplicate = (Some("ec".to_owned()), KeyFault::DuplicateKid);
    assert_eq!(refused, [duplicate.clone(), duplicate]);
    assert_eq!(keys.keys().len(), 1);
    assert_eq!(keys.choose(Algorithm::Es256, Some("ec")).err().map(|r| r.text()), Some("key-unusable"));
    let (keys, refused) = set(&[ec(), KEYS.rsa.named("ec")]).expect("other types may share a name");
    assert!(refused.is_empty());
    assert_eq!(keys.choose(Algorithm::Rs256, Some("ec")).map(|k| k.kty()), Ok(KeyType::Rsa));
    let broken = common::with(Signer::p256().named("ec"), json!({"use": "enc"}));
    let (keys, _) = set(&[ec(), broken]).expect("among usable keys only");
    assert!(keys.choose(Algorithm::Es256, Some("ec")).is_ok());
    let (keys, refused) = set(&[KEYS.ec.jwk(), Signer::p256().jwk()]).expect("no names, no duplicates");
    assert_eq!((keys.keys().len(), refused.len()), (2, 0));
}

#[test]
fn one_bad_key_does_not_spoil_the_set() {
    let (keys, refused) = set(&[json!({"kty": "oct", "k": "AA", "kid": "hs"}), json!(1), json!({}), ec()])
        .expect("one is good");
    assert_eq!(keys.keys().len(), 1);
    assert_eq!(
        refused,
        [
            (Some("hs".to_owned()), KeyFault::PrivateMaterial),
            (None, KeyFault::Malformed),
            (None, KeyFault::Malformed)
        ]
    );
}

#[test]
fn sets_that_are_none() {
    let parse = |text: &[u8]| KeySet::parse(text, &all()).err();
    for text in ["", "<html>sign in</html>", "[]", "{\"keys\":[]}x", "{\"keys\":[],\"keys\":[]}"] {
        assert!(matches!(parse(text.as_bytes()), Some(KeySetError::Json(_))), "{text}");
    }
    for text in ["{}", "{\"keys\":{}}", "{\"keys\":1}", "{\"Keys\":[]}"] {
        assert_eq!(parse(text.as_bytes()), Some(KeySetError::Shape), "{text}");
    }
    assert_eq!(
        parse(b"{\"keys\":[]}"),
        Some(KeySetError::NoneUsable(Vec::new())),
        "empty: the old one stays"
    );
    assert!(matches!(parse(b"{\"keys\":[{}]}"), Some(KeySetError::NoneUsable(all)) if all.len() == 1));
    let many = |n: usize| format!("{{\"keys\":[{}]}}", vec!["{}"; n].join(","));
    assert_eq!(parse(many(65).as_bytes()), Some(KeySetError::TooMany(65)));
    assert_eq!(parse(many(10_000).as_bytes()), Some(KeySetError::TooMany(10_000)));
    let body = vec![b' '; 10 << 20];
    assert!(matches!(parse(&body), Some(KeySetError::Json(_))), "10 MiB");
    assert_eq!(KeySetError::TooMany(65).to_string(), "65 keys; at most 64 are taken");
}

#[test]
fn texts_of_faults_are_stable() {
    let all = [
        (KeyFault::Malformed, "malformed"),
        (KeyFault::PrivateMaterial, "private-material"),
        (KeyFault::KeyType, "key-type"),
        (KeyFault::Use, "use"),
        (KeyFault::KeyOps, "key-ops"),
        (KeyFault::Algorithm, "algorithm"),
        (KeyFault::RsaSize, "rsa-size"),
        (KeyFault::RsaExponent, "rsa-exponent"),
        (KeyFault::RsaModulus, "rsa-modulus"),
        (KeyFault::Point, "point"),
        (KeyFault::DuplicateKid, "duplicate-kid"),
    ];
    assert!(all.iter().all(|(fault, text)| fault.text() == *text && fault.to_string() == *text));
}

#[test]
fn thumbprint_of_rfc_7638_section_3_1() {
    let jwk = json!({
        "kty": "RSA", "alg": "RS256", "kid": "2011-04-29", "e": "AQAB",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    });
    assert_eq!(import(&jwk).expect("a key").thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

#[test]
fn thumbprint_of_rfc_8037_appendix_a_3() {
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    assert_eq!(import(&jwk).expect("a key").thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn thumbprint_of_rfc_9449() {
    let jwk = json!({
        "kty": "EC", "crv": "P-256",
        "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
        "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"
    });
    assert_eq!(import(&jwk).expect("a key").thumbprint(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
}
