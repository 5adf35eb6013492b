//! What a proof costs: `cargo bench -p portcullis-jose`. One line a measure, in microseconds a call: the
//! median of 31 rounds, and the fastest.
#![expect(clippy::print_stdout, reason = "the result of a bench is what it prints")]

#[path = "../tests/common/mod.rs"]
mod common;

use common::{KEYS, NOW, SET, claims, header, policy};
use portcullis_core::opaque::{ApiKey, Env};
use portcullis_jose::message::{self, Demands, Draft, Key, Received, SignatureAlgorithm, Signed};
use portcullis_jose::{api_key, digest, dpop, jwt, mac::MacKey};
use std::hint::black_box;
use std::time::{Duration, Instant};

fn main() {
    let rs256 = serde_json::json!({"alg": "RS256", "kid": "rsa", "typ": "at+jwt"});
    let eddsa = serde_json::json!({"alg": "EdDSA", "kid": "ed", "typ": "at+jwt"});
    let all = jwt::Policy { algorithms: portcullis_jose::alg::Algorithms::ALL, ..policy() };
    for (name, token) in [
        ("access token, ES256", KEYS.ec.token(&header(), &claims())),
        ("access token, RS256", KEYS.rsa.token(&rs256, &claims())),
        ("access token, EdDSA", KEYS.ed.token(&eddsa, &claims())),
    ] {
        measure(name, || jwt::access_token(NOW, &all, &SET, black_box(&token)).is_ok());
    }

    let proof_header = serde_json::json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": KEYS.ec.jwk()});
    let proof_claims = serde_json::json!({"jti": "x", "htm": "GET", "htu": "https://a.example/", "iat": NOW});
    let proof = KEYS.ec.token(&proof_header, &proof_claims);
    let demand = dpop::Demand {
        method: "GET",
        url: "https://a.example/",
        place: dpop::Place::TokenEndpoint,
        nonce: None,
        remembered_since: None,
    };
    measure("DPoP proof, ES256", || dpop::proof(NOW, &demand, black_box(&proof)).is_ok());

    let body = vec![b'x'; 1_024];
    let secret = MacKey::new(&[7; 32]);
    let listed = digest::content_digest(&body);
    let fields = [("content-type", "application/json".to_owned()), ("content-digest", listed.clone())];
    let request = Received::new("POST", true, "api.example.com", "/v1/transfers?dry=0", fields);
    let algorithm = SignatureAlgorithm::HmacSha256;
    let draft = Draft {
        cover: Draft::BODY,
        created: NOW,
        key_id: "008j4ct4ank7f24s",
        nonce: "b3J1d2kzdzd0Zmo0",
        algorithm,
    };
    let Ok(label) = draft.label() else { return };
    let mac = secret.sign(&label.base(&request).unwrap_or_default());
    let (input, signature) = message::headers(&label, &mac);
    measure("signed request, HMAC, 1 KiB body with its digest", || {
        let signed = Signed::read(&[input.as_bytes()], &[signature.as_bytes()]).ok();
        let demands = Demands { body: true, fields: &[] };
        let right = signed.is_some_and(|signed| {
            signed.fresh(NOW, None).is_ok()
                && signed.covers(&request, &demands).is_ok()
                && signed.base(&request).is_ok_and(|base| signed.verify(Key::Mac(&secret), &base).is_ok())
        });
        let holds = digest::Digests::read([listed.as_bytes()]).is_ok_and(|digests| {
            let mut check = digests.check();
            check.update(black_box(&body));
            check.finish()
        });
        right && holds
    });

    let key = ApiKey::new(Env::Live, [1; 10], [2; 32]).text();
    let pepper = MacKey::new(&[3; 32]);
    let row = ApiKey::parse(key.expose()).map(|key| api_key::mac(&pepper, &key)).ok();
    measure("API key, parsed and its MAC compared", || {
        ApiKey::parse(black_box(key.expose())).is_ok_and(|key| api_key::mac_fits(&pepper, &key, row.as_ref()))
    });
}

fn measure(name: &str, mut work: impl FnMut() -> bool) {
    assert!(work(), "{name} does not hold");
    let calls = 1 + 10_000 / u32::try_from(once(&mut work, 100).as_micros().max(1)).unwrap_or(u32::MAX) * 100;
    let mut rounds: Vec<Duration> = (0..31).map(|_| once(&mut work, calls) / calls).collect();
    rounds.sort_unstable();
    let micros = |at: usize| rounds.get(at).map_or(0.0, |d| d.as_secs_f64() * 1e6);
    println!("{name:50} {:8.2} µs  (fastest {:.2})", micros(15), micros(0));
}

fn once(work: &mut impl FnMut() -> bool, calls: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..calls {
        black_box(work());
    }
    start.elapsed()
}
