//! Laws that hold for everything: no byte of a proof may change, and a key only grows older.

mod common;

use common::{KEYS, NOW, SET, claims, header, policy};
use portcullis_jose::api_key::{Dates, MAX_GRACE, MAX_ROTATE, State};
use portcullis_jose::json::{Json, Limits};
use portcullis_jose::mac::MacKey;
use portcullis_jose::message::{Demands, Draft, Key, Label, Received, SignatureAlgorithm, Signed, headers};
use portcullis_jose::pc1::{self, Pc1};
use portcullis_jose::{dpop, jwt};
use proptest::prelude::*;
use std::sync::LazyLock;

static TOKENS: LazyLock<[String; 2]> = LazyLock::new(|| {
    let rsa = serde_json::json!({"alg": "RS256", "kid": "rsa", "typ": "at+jwt"});
    [KEYS.ec.token(&header(), &claims()), KEYS.rsa.token(&rsa, &claims())]
});

static PROOF: LazyLock<String> = LazyLock::new(|| {
    let header = serde_json::json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": KEYS.ec.jwk()});
    KEYS.ec.token(
        &header,
        &serde_json::json!({"jti": "x", "htm": "GET", "htu": "https://a.example/", "iat": NOW}),
    )
});

fn proof_holds(proof: &str) -> bool {
    let place = dpop::Place::TokenEndpoint;
    let demand =
        dpop::Demand { method: "GET", url: "https://a.example/", place, nonce: None, remembered_since: None };
    dpop::proof(NOW, &demand, proof).is_ok()
}

fn secret() -> MacKey {
    MacKey::new(&[7; 32])
}

fn request(target: &str, body_type: &str) -> Received {
    Received::new("PUT", true, "api.example.com", target, [("content-type", body_type)])
}

fn changed(text: &str, at: usize, byte: u8) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    let at = at % bytes.len();
    let slot = bytes.get_mut(at)?;
    if *slot == byte {
        return None;
    }
    *slot = byte;
    String::from_utf8(bytes).ok()
}

fn signed(request: &Received) -> (String, String) {
    let draft = Draft {
        cover: &["@method", "@target-uri", "content-type"],
        created: NOW,
        key_id: "008j4ct4ank7f24s",
        nonce: "b3J1d2kzdzd0Zmo0",
        algorithm: SignatureAlgorithm::HmacSha256,
    };
    let label = draft.label().unwrap_or_else(|_| unreachable!());
    let base = label.base(request).unwrap_or_default();
    headers(&label, &secret().sign(&base))
}

/// `None` when refused; else what was read of it.
fn accepted(input: &str, signature: &str, request: &Received) -> Option<String> {
    let signed = Signed::read(&[input.as_bytes()], &[signature.as_bytes()]).ok()?;
    signed.fresh(NOW, None).ok()?;
    signed.covers(request, &Demands::default()).ok()?;
    signed.verify(Key::Mac(&secret()), &signed.base(request).ok()?).ok()?;
    Some(format!("{} {} {}", signed.key_id(), signed.nonce(), signed.created()))
}

fn rank(state: State) -> u8 {
    match state {
        State::Pending => 0,
        State::Active => 1,
        State::Due => 2,
        State::Deprecated => 3,
        State::Suspended => 4,
        State::Expired => 5,
        State::Purged => 6,
        State::Revoked => 7,
    }
}

fn dates() -> impl Strategy<Value = Dates> {
    let moment = -20_000_000_i64..20_000_000;
    let maybe = prop::option::of(moment.clone());
    (
        moment.clone(),
        moment.clone(),
        moment.clone(),
        maybe.clone(),
        -10_i64..500_000,
        maybe.clone(),
        maybe.clone(),
        maybe,
    )
        .prop_map(
            |(
                created,
                activate_at,
                rotate_at,
                expires_at,
                grace,
                deprecated_at,
                revoked_at,
                suspended_at,
            )| {
                Dates {
                    created,
                    activate_at,
                    rotate_at,
                    expires_at,
                    grace,
                    deprecated_at,
                    revoked_at,
                    suspended_at,
                }
            },
        )
}

#[test]
fn the_untouched_are_accepted() {
    assert!(TOKENS.iter().all(|token| jwt::access_token(NOW, &policy(), &SET, token).is_ok()));
    assert!(proof_holds(&PROOF));
    let request = request("/a?b=c", "text/plain");
    let (input, signature) = signed(&request);
    assert!(accepted(&input, &signature, &request).is_some());
}

/// All of the alphabet at every place of an ES256 token: 64 × its length.
#[test]
fn no_byte_of_a_token_may_change() {
    let token = &TOKENS[0];
    for at in 0..token.len() {
        for byte in [b'A', b'B', b'Q', b'_', b'-', b'9', b'.', b'=', b'+', b' ', 0] {
            if let Some(other) = changed(token, at, byte) {
                assert!(jwt::access_token(NOW, &policy(), &SET, &other).is_err(), "{at} {byte}");
            }
        }
    }
}

/// Every byte at every place. A change of the headers is refused, or was one that structured fields do
/// not see (white space): then what was read, and signed, is the same.
#[test]
fn a_change_of_a_signature_is_refused_or_nothing() {
    let request = request("/a/b?c=d", "text/plain");
    let (input, signature) = signed(&request);
    let right = accepted(&input, &signature, &request);
    let text = |t: &str| Label::read_all(&[t.as_bytes()]).ok().and_then(|l| Some(l.first()?.text()));
    for byte in 0x20..0x7f {
        for at in 0..input.len() {
            let Some(other) = changed(&input, at, byte) else { continue };
            let got = accepted(&other, &signature, &request);
            assert!(got.is_none() || (got == right && text(&other) == text(&input)), "{other}");
        }
        for at in 0..signature.len() {
            let Some(other) = changed(&signature, at, byte) else { continue };
            assert_eq!(accepted(&input, &other, &request), None, "{other}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_byte_of_any_token_or_proof_may_change(which in 0..2_usize, at: usize, byte in 0..128_u8) {
        if let Some(other) = changed(&TOKENS[which], at, byte) {
            prop_assert!(jwt::access_token(NOW, &policy(), &SET, &other).is_err());
        }
        if let Some(other) = changed(&PROOF, at, byte) {
            prop_assert!(!proof_holds(&other));
        }
    }

    #[test]
    fn no_byte_of_a_token_may_go_or_come(at: usize, byte in 0..128_u8) {
        let token = &TOKENS[0];
        let at = at % token.len();
        let (mut without, mut with) = (token.clone(), token.clone());
        without.remove(at);
        with.insert(at, char::from(byte));
        prop_assert!(jwt::access_token(NOW, &policy(), &SET, &without).is_err());
        prop_assert!(jwt::access_token(NOW, &policy(), &SET, &with).is_err());
    }

    #[test]
    fn a_change_of_the_request_is_refused(at: usize, byte in 0x21..0x7f_u8) {
        let (target, kind) = ("/a/b?c=d&e=%2F", "text/plain; charset=utf-8");
        let original = request(target, kind);
        let (input, signature) = signed(&original);
        let id = portcullis_core::opaque::Id16::from_random([1; 10]);
        let header = pc1::header(&original, &secret(), id, NOW, "b3J1d2kzdzd0Zmo0", None);
        let holds = |request: &Received| {
            let pc1 = Pc1::read(&[header.as_bytes()]);
            let pc1 = pc1.is_ok_and(|p| p.verify(Some(&secret()), request).is_ok());
            (accepted(&input, &signature, request).is_some(), pc1)
        };
        prop_assert_eq!(holds(&original), (true, true));
        if let Some(other) = changed(target, at, byte) {
            prop_assert_eq!(holds(&request(&other, kind)), (false, false));
        }
        if let Some(other) = changed(kind, at, byte) {
            prop_assert_eq!(holds(&request(target, &other)), (false, false));
        }
        if let Some(other) = changed(&header, at, byte) {
            let got = Pc1::read(&[other.as_bytes()]).is_ok_and(|p| {
                p.verify(Some(&secret()), &original).is_ok() && p.key_id() == id && p.created() == NOW
            });
            prop_assert!(!got);
        }
    }

    #[test]
    fn a_key_only_grows_older(dates in dates(), mut moments in prop::collection::vec(-30_000_000_i64..40_000_000, 2..40)) {
        moments.sort_unstable();
        let mut last = 0;
        for now in moments {
            // Suspension is by hand and can be lifted; it hides no more than what works.
            let now_rank = rank(dates.state(now));
            let lifted = rank(Dates { suspended_at: None, ..dates }.state(now));
            prop_assert!(lifted >= last || now_rank == 4);
            last = last.max(lifted);
            if dates.state(now).works() {
                prop_assert!(now < dates.created.saturating_add(MAX_ROTATE + MAX_GRACE));
                prop_assert!(now >= dates.activate_at && now < dates.ends_at());
            }
        }
    }

    #[test]
    fn rotation_and_first_use_only_tighten(dates in dates(), now in -20_000_000_i64..20_000_000) {
        prop_assert!(dates.deprecate(now).deprecated_from() <= dates.deprecated_from());
        prop_assert!(dates.deprecate(now).ends_at() <= dates.ends_at());
        for notice in dates.notices(now) {
            prop_assert!(notice.at <= now, "nothing is told before its moment");
        }
    }

    /// The strict reader takes nothing that another reader refuses, and reads the same.
    #[test]
    fn the_strict_reader_agrees_with_serde_json(text in "[{}\\[\\]:,\"a-c0-9.eE+\\-\\\\u\\n tfn]{0,40}") {
        let text = format!("{{\"k\":{text}");
        let strict = Json::parse(text.clone().into_bytes(), &Limits::PAYLOAD);
        if let Ok(strict) = strict {
            let lax: serde_json::Value = serde_json::from_str(&text).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert!(same(strict.root(), &lax), "{}", text);
        }
    }

    #[test]
    fn what_serde_json_writes_the_strict_reader_reads(value in any_json()) {
        let text = serde_json::json!({"v": value}).to_string();
        let strict = Json::parse(text.clone().into_bytes(), &Limits::ANSWER);
        prop_assert!(strict.is_ok_and(|s| s.root().get("v").is_some_and(|v| same(v, &value))), "{}", text);
    }
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        (-(1_i64 << 53)..=(1_i64 << 53)).prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::hash_map(any::<String>(), inner, 0..6)
                .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

fn same(strict: portcullis_jose::json::Value<'_>, lax: &serde_json::Value) -> bool {
    match lax {
        serde_json::Value::Null => strict.kind() == portcullis_jose::json::Kind::Null,
        serde_json::Value::Bool(b) => strict.as_bool() == Some(*b),
        serde_json::Value::String(s) => strict.as_str() == Some(s),
        serde_json::Value::Number(n) => {
            strict.as_number().and_then(|t| t.parse::<f64>().ok()) == n.as_f64()
                && (strict.as_integer().is_none() || strict.as_integer() == n.as_i64())
        }
        serde_json::Value::Array(all) => {
            strict.items().count() == all.len() && strict.items().zip(all).all(|(s, l)| same(s, l))
        }
        serde_json::Value::Object(all) => {
            strict.members().count() == all.len()
                && strict.members().all(|(name, s)| all.get(name).is_some_and(|l| same(s, l)))
        }
    }
}
