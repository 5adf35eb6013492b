//! Issuers that rotate, stall, die, or publish what they should not (callers.md §§ 6, 22, 23).

use super::{Gate, told};
use portcullis_testkit::idp::IdentityProvider;
use portcullis_testkit::{Algorithm, Answer, Connection, Key, PATIENCE, request};
use serde_json::json;
use std::time::{Duration, Instant};

/// Longest wait of a request for keys, and time to spare on a busy machine.
const WAIT: Duration = Duration::from_secs(4);

/// Between two fetches that unknown names of keys cause.
const PAUSE: Duration = Duration::from_secs(30);

fn unknown(gate: &Gate, number: usize) -> String {
    gate.token().header("kid", format!("random-{number}")).sign(&gate.issuer.key())
}

#[tokio::test]
async fn ten_thousand_unknown_kids_a_stalled_a_dead_and_a_rotated_issuer_under_load() {
    let gate = Gate::new(Algorithm::Es256);
    let old = gate.issuer.key();
    let good = gate.token().sign(&old);
    assert_eq!(told(&gate.bearer(&good).await), (200, String::new()));
    let began = Instant::now();

    // 10,000 kids on eight connections, good tokens between them.
    let mut connections = Vec::new();
    for _ in 0..8 {
        connections.push(Connection::open(gate.program.public()).await.unwrap());
    }
    let plain =
        |token: &str| request("GET", "/lax/mine", &[("Authorization", &format!("Bearer {token}"))], b"");
    let forged = unknown(&gate, 0);
    let (_, rest) = forged.split_once('.').unwrap();
    for number in 0..10_000 {
        // The signature is wrong anyway: only the header is made anew.
        use base64::Engine as _;
        let header = json!({"typ": "at+jwt", "alg": "ES256", "kid": format!("random-{number}")}).to_string();
        let head = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header);
        let connection = &mut connections[number % 8];
        if number % 800 >= 792 {
            *connection = Connection::open(gate.program.public()).await.unwrap();
        }
        connection.write(&plain(&format!("{head}.{rest}"))).await.unwrap();
        let refused = connection.response().await.unwrap();
        assert_eq!(told(&refused), (401, "token-invalid".to_owned()), "{number}");
        if number % 1_000 == 0 {
            assert_eq!(gate.bearer(&good).await.status, 200, "good tokens are served as before");
        }
    }
    let pauses = began.elapsed().as_secs() / PAUSE.as_secs();
    assert!(gate.issuer.key_fetches() as u64 <= 2 + pauses, "{} fetches", gate.issuer.key_fetches());
    assert!(gate.metric("portcullis_verify_cache_hits_total").await > 0, "good keys were not evicted");

    // Stalled: after the pause one unknown kid asks, and nobody waits longer than a second for it.
    let latch = gate.issuer.stall();
    let asked = gate.issuer.key_fetches() + gate.issuer.discoveries();
    let deadline = Instant::now() + PAUSE + PATIENCE;
    let mut number = 20_000;
    while gate.issuer.key_fetches() + gate.issuer.discoveries() == asked {
        let waited = Instant::now();
        assert_eq!(gate.bearer(&unknown(&gate, number)).await.status, 401);
        assert!(waited.elapsed() < WAIT, "{:?}", waited.elapsed());
        assert!(Instant::now() < deadline, "nobody asked the issuer");
        number += 1;
    }
    assert_eq!(gate.bearer(&good).await.status, 200, "the old keys serve");
    latch.release();
    gate.issuer.die();
    for _ in 0..20 {
        assert_eq!(gate.bearer(&good).await.status, 200, "the old keys serve while the issuer is dead");
    }
    gate.program.stderr_until(|text| text.contains("\"issuer.unavailable\"")).unwrap();

    // Rotated: the new key is accepted after one fetch, and what the old one signed ends, cached or not.
    gate.issuer.recover();
    let fetches = gate.issuer.key_fetches();
    let new = gate.issuer.rotate(Algorithm::Es256, "key-2");
    let deadline = Instant::now() + 4 * PAUSE + PATIENCE;
    loop {
        // A name that was refused is remembered for a minute: each try is another unknown one, until a fetch was made.
        if gate.issuer.key_fetches() > fetches {
            break;
        }
        let _ = gate.bearer(&unknown(&gate, number)).await;
        assert!(Instant::now() < deadline, "no fetch");
        number += 1;
    }
    let fresh = gate.token().sign(&new);
    let deadline = Instant::now() + PATIENCE;
    while gate.bearer(&fresh).await.status != 200 {
        assert!(Instant::now() < deadline, "the new key is not accepted");
    }
    assert_eq!(
        told(&gate.bearer(&good).await),
        (401, "token-invalid".to_owned()),
        "a removed key ends a cached token"
    );
    assert_eq!(told(&gate.bearer(&gate.token().sign(&old)).await), (401, "token-invalid".to_owned()));
    assert_eq!(gate.issuer.key_fetches(), fetches + 1);
    let metrics = gate.admin("/metrics").await;
    for name in [
        "portcullis_jwks_fetches_total",
        "portcullis_jwks_unknown_kids_total",
        "portcullis_jwks_keys",
        "portcullis_jwks_age_seconds",
    ] {
        assert!(
            metrics.lines().any(|line| line.starts_with(&format!("{name}{{issuer=\"corp\""))),
            "{name}\n{metrics}"
        );
    }
}

#[tokio::test]
async fn a_key_set_that_cannot_be_used_is_503_and_nobody_else_is_called() {
    let trap = portcullis_testkit::Upstream::start(|_| Answer::json("{}"));
    let private = json!({"kty": "oct", "k": "AAAA", "kid": "key-1"});
    let many: Vec<_> =
        (0..10_000).map(|n| json!({"kty": "oct", "k": "AAAA", "kid": n.to_string()})).collect();
    for (what, answer) in [
        (
            "a redirect to the metadata of the cloud",
            Answer::status(302).header("Location", "http://169.254.169.254/"),
        ),
        ("a redirect elsewhere", Answer::status(302).header("Location", &trap.url())),
        ("HTML", Answer::status(200).header("Content-Type", "text/html").body("<html>sign in</html>")),
        ("an empty set", Answer::json(r#"{"keys":[]}"#)),
        ("a set of secrets", Answer::json(json!({ "keys": [private] }).to_string())),
        ("10,000 keys", Answer::json(json!({ "keys": many }).to_string())),
        ("10 MiB", Answer::json(format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(10 << 20)))),
        ("an error", Answer::status(500)),
    ] {
        let issuer = IdentityProvider::start(Algorithm::Es256);
        issuer.say(answer);
        let gate = Gate::of(issuer);
        let began = Instant::now();
        let response = gate.bearer(&gate.token().sign(&gate.issuer.key())).await;
        assert_eq!(told(&response), (503, "issuer-unavailable".to_owned()), "{what}");
        assert!(response.header("retry-after").is_some() && began.elapsed() < WAIT, "{what}");
        assert_eq!(gate.ask("/lax/public", &[]).await.status, 200, "{what}: what needs no key is served");
        let said = gate.program.stderr_until(|text| text.contains("\"issuer.unavailable\"")).unwrap();
        assert!(!said.contains("AAAA"), "no key is in a note");
    }
    assert!(trap.requests().is_empty());
}

#[tokio::test]
async fn a_stalled_issuer_at_the_start_costs_a_second_and_is_503() {
    let issuer = IdentityProvider::start(Algorithm::Es256);
    let latch = issuer.stall();
    let gate = Gate::of(issuer);
    for _ in 0..3 {
        let began = Instant::now();
        let response = gate.bearer(&gate.token().sign(&gate.issuer.key())).await;
        assert_eq!(told(&response), (503, "issuer-unavailable".to_owned()));
        assert!(began.elapsed() < WAIT, "{:?}", began.elapsed());
    }
    assert!(gate.admin("/readyz").await.contains("keys of issuer corp"));
    latch.release();
}

#[tokio::test]
async fn keys_with_private_parts_and_doubles_are_told_of_and_not_used() {
    let issuer = IdentityProvider::start(Algorithm::Es256);
    let leaked = Key::generate(Algorithm::Es256, "leaked");
    issuer.publish(leaked.private_jwk().unwrap());
    let (one, two) = (Key::generate(Algorithm::Es256, "double"), Key::generate(Algorithm::Es256, "double"));
    issuer.publish(one.jwk());
    issuer.publish(two.jwk());
    let mut encrypts = Key::generate(Algorithm::Es256, "encrypts").jwk();
    encrypts["use"] = json!("enc");
    issuer.publish(encrypts);
    let gate = Gate::of(issuer);
    assert_eq!(gate.bearer(&gate.token().sign(&gate.issuer.key())).await.status, 200);
    for key in [&leaked, &one, &two] {
        assert_eq!(told(&gate.bearer(&gate.token().sign(key)).await), (401, "token-invalid".to_owned()));
    }
    for event in ["\"jwks.private_material\"", "\"jwks.duplicate_kid\"", "\"jwks.key_unusable\""] {
        gate.program.stderr_until(|text| text.contains(event)).unwrap();
    }
    let secret = leaked.private_jwk().unwrap()["d"].as_str().unwrap().to_owned();
    assert!(!gate.program.stderr().contains(&secret));
    let deadline = Instant::now() + PATIENCE;
    let wanted = "portcullis_jwks_unusable_keys{issuer=\"corp\",reason=\"duplicate-kid\"} 2";
    while !gate.admin("/metrics").await.contains(wanted) {
        assert!(Instant::now() < deadline, "{}", gate.admin("/metrics").await);
    }
}
