// What holds for every input. Shared, by `include!`, by the fuzz targets and by the replay of their
// corpora in `cargo test`.

use portcullis_core::opaque::{self, ApiKey, Found, Kind};
use portcullis_jose::alg::Algorithms;
use portcullis_jose::jwk::{KeyPolicy, KeySet};
use portcullis_jose::jwt::{self, AssertionPolicy, Carried, IdTokenPolicy, IdentityPolicy, LogoutPolicy};
use portcullis_jose::mac::MacKey;
use portcullis_jose::message::{Demands, Key, Label, Received, Signed};
use portcullis_jose::{b64u, digest, dpop, jws, pc1::Pc1};
use std::sync::LazyLock;

const NOW: i64 = 1_300_819_000;

/// The keys of RFC 7515 A.2 and A.3 and RFC 8037 A.2: the corpus holds tokens that they signed.
static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let set = br#"{"keys":[
        {"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
        {"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
        {"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}
    ]}"#;
    let policy = KeyPolicy { algorithms: Algorithms::ALL, ..KeyPolicy::default() };
    KeySet::parse(set, &policy).map(|(keys, _)| keys).unwrap_or_default()
});

/// A token: judged in every context. The private keys are public, so acceptance is no fault by itself;
/// what is accepted must be within the policy.
pub fn token(data: &[u8]) {
    let Ok(token) = std::str::from_utf8(data) else { return };
    let policy = jwt::Policy { algorithms: Algorithms::ALL, ..jwt::Policy::new("joe", ["shop".to_owned()]) };
    if let Ok(claims) = jwt::access_token(NOW, &policy, &KEYS, token) {
        assert_eq!(claims.issuer(), "joe");
        assert!(claims.exp() > NOW - 30 && claims.scopes().len() <= 64);
    }
    let _ = jwt::own_access_token(NOW, &policy, &KEYS, token);
    let id = IdTokenPolicy {
        issuer: "joe",
        client_id: "shop",
        algorithms: Algorithms::ALL,
        skew: 30,
        max_lifetime: 3_600,
        nonce: "n",
        max_age: Some(60),
        access_token: Some("t"),
    };
    let _ = jwt::id_token(NOW, &id, &KEYS, token);
    let logout = LogoutPolicy {
        issuer: "joe",
        client_id: "shop",
        algorithms: Algorithms::ALL,
        skew: 30,
        untyped: true,
    };
    let _ = jwt::logout_token(NOW, &logout, &KEYS, token);
    let assertion = AssertionPolicy { client_id: "joe", audience: "shop", skew: 30 };
    let _ = jwt::client_assertion(NOW, &assertion, &KEYS, token);
    let identity = IdentityPolicy { issuer: "joe", audience: "shop", skew: 30 };
    let carried = Carried { method: "GET", authority: "a.example", target: "/b" };
    if let Ok(claims) = jwt::identity(NOW, &identity, &KEYS, carried, token) {
        assert!(claims.issuer() == "joe" && claims.exp() > NOW - 30 && claims.exp() <= NOW + 90);
    }
    let secret = MacKey::new(&[1; 32]);
    let place = dpop::Place::Resource { token: "t", jkt: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" };
    let demand = dpop::Demand {
        method: "GET",
        url: "https://a.example/b",
        place,
        nonce: Some(&secret),
        remembered_since: None,
    };
    let _ = dpop::proof(1_562_262_618, &demand, token);
    if let Ok(compact) = jws::Compact::open(token, jws::EmbeddedKey::Refused) {
        assert!(token.len() <= jws::MAX_TOKEN && token.matches('.').count() == 2);
        let part = token.split('.').nth(1).unwrap_or_default();
        assert_eq!(b64u::encode(compact.payload()), part, "one spelling");
    }
}

/// A JWK set: what is usable has an algorithm and a name of bounded length.
pub fn key_set(data: &[u8]) {
    let policy = KeyPolicy { algorithms: Algorithms::ALL, ..KeyPolicy::default() };
    if let Ok((keys, _)) = KeySet::parse(data, &policy) {
        assert!(!keys.keys().is_empty() && keys.keys().len() <= 64);
        for key in keys.keys() {
            assert!(!key.algorithms().is_empty() && key.thumbprint().len() == 43);
            assert!(key.kid().is_none_or(|kid| kid.len() <= 256));
        }
    }
}

/// The three headers of signed requests, and `Content-Digest`. Nobody has the key.
pub fn signature(data: &[u8]) {
    let mut lines = data.splitn(3, |b| *b == b'\n');
    let (input, signature, simple) = (lines.next().unwrap_or(b""), lines.next().unwrap_or(b""), lines.next());
    let request =
        Received::new("GET", true, "a.example", "/b?c", [("content-digest", input), ("x", signature)]);
    let key = MacKey::new(&[1; 32]);
    if let Ok(labels) = Label::read_all(&[input]) {
        for label in labels {
            // Serialising and reading again changes nothing.
            let text = format!("{}={}", label.name(), label.text());
            let again = Label::read_all(&[text.as_bytes()]);
            if text.len() <= 4_096 {
                assert_eq!(again.map(|l| l.first().map(Label::text)), Ok(Some(label.text())));
            }
            let _ = label.base(&request);
        }
    }
    if let Ok(signed) = Signed::read(&[input], &[signature]) {
        assert!((16..=64).contains(&signed.nonce().len()));
        let _ =
            (signed.fresh(NOW, Some(NOW)), signed.covers(&request, &Demands { body: true, fields: &["x"] }));
        if let Ok(base) = signed.base(&request) {
            assert!(
                signed.verify(Key::Mac(&key), &base).is_err() && signed.verify(Key::Dummy, &base).is_err()
            );
        }
    }
    if let Ok(pc1) = Pc1::read(&[simple.unwrap_or(input)]) {
        assert!(pc1.verify(Some(&key), &request).is_err());
    }
    if let Ok(digests) = digest::Digests::read([input]) {
        let mut check = digests.check();
        check.update(data);
        assert!(!check.finish(), "a text that holds its own digest");
    }
}

/// Opaque texts: what is read writes back the same, and is found inside other text.
pub fn opaque_text(data: &[u8]) {
    let found = opaque::find(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(key) = ApiKey::parse(text) {
        assert_eq!(key.text().expose(), text);
        assert_eq!(found, Some(Found::ApiKey(key.id())));
    }
    for kind in [Kind::SigningSecret, Kind::ClientSecret, Kind::AuthorizationCode, Kind::RefreshToken] {
        if let Ok(secret) = kind.parse(text) {
            assert_eq!(kind.text(secret.expose()).expose(), text);
            assert_eq!(found, Some(Found::Other(kind)));
        }
    }
}
