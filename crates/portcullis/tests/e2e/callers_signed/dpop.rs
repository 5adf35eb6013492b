//! DPoP (RFC 9449, callers.md § 12), attack by attack.

use super::draft::nonce;
use super::gate::{Gate, HOST, b64u, told};
use aws_lc_rs::digest::{SHA256, digest};
use portcullis_testkit::idp::unix_now;
use portcullis_testkit::{Algorithm, Key, Response, Token, request, send};
use serde_json::{Value, json};

const OK: (u16, &str) = (200, "");

/// RFC 7638.
fn thumbprint(key: &Key) -> String {
    let jwk = key.jwk();
    let text = match key.algorithm {
        Algorithm::Es256 => {
            format!("{{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":{},\"y\":{}}}", jwk["x"], jwk["y"])
        }
        Algorithm::EdDsa => format!("{{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":{}}}", jwk["x"]),
        Algorithm::Rs256 | Algorithm::Ps256 => {
            format!("{{\"e\":{},\"kty\":\"RSA\",\"n\":{}}}", jwk["e"], jwk["n"])
        }
    };
    b64u(digest(&SHA256, text.as_bytes()).as_ref())
}

/// The public half as a proof carries it.
fn public(key: &Key) -> Value {
    let mut jwk = key.jwk();
    let members = jwk.as_object_mut().unwrap();
    for name in ["kid", "use", "alg"] {
        members.remove(name);
    }
    jwk
}

/// A client with its key and a token bound to it.
struct Client {
    key: Key,
    token: String,
}

impl Client {
    fn new(gate: &Gate) -> Self {
        Self::with(gate, Key::generate(Algorithm::Es256, "client"))
    }

    fn with(gate: &Gate, key: Key) -> Self {
        let token = gate.token("read").claim("cnf", json!({ "jkt": thumbprint(&key) })).sign(&gate.issuer);
        Self { key, token }
    }

    /// An honest proof for GET /v1/mine.
    fn proof(&self) -> Token {
        Token::new()
            .header("typ", "dpop+jwt")
            .header("jwk", public(&self.key))
            .claim("jti", nonce())
            .claim("htm", "GET")
            .claim("htu", format!("http://{HOST}/v1/mine"))
            .claim("iat", unix_now())
            .claim("ath", b64u(digest(&SHA256, self.token.as_bytes()).as_ref()))
    }

    async fn send(&self, gate: &Gate, proof: &str) -> Response {
        let token = format!("DPoP {}", self.token);
        gate.ask("GET", "/v1/mine", &[("Authorization", &token), ("DPoP", proof)], b"").await
    }

    async fn told(&self, gate: &Gate, proof: Token) -> (u16, String) {
        told(&self.send(gate, &proof.sign(&self.key)).await)
    }
}

fn is(told: (u16, String), expected: (u16, &str), what: &str) {
    assert_eq!((told.0, told.1.as_str()), expected, "{what}");
}

const INVALID: (u16, &str) = (401, "dpop-proof-invalid");

#[tokio::test]
async fn a_bound_token_passes_with_its_proof_and_the_proof_goes_no_further() {
    let gate = Gate::new().await;
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256, Algorithm::Ps256] {
        let client = Client::with(&gate, Key::generate(algorithm, "client"));
        is(client.told(&gate, client.proof()).await, OK, algorithm.name());
        is(client.told(&gate, client.proof()).await, OK, "again, the token from the cache");
    }
    for one in gate.upstream.received(8).await.unwrap() {
        assert_eq!(one.header("dpop"), None);
    }
}

#[tokio::test]
async fn a_bound_token_is_no_bearer_and_a_bearer_is_not_bound() {
    let gate = Gate::new().await;
    let client = Client::new(&gate);
    let bearer = format!("Bearer {}", client.token);
    let response = gate.ask("GET", "/v1/mine", &[("Authorization", &bearer)], b"").await;
    is(told(&response), (401, "token-invalid"), "a token with cnf.jkt as Bearer");
    let proof = client.proof().sign(&client.key);
    let response = gate.ask("GET", "/v1/mine", &[("Authorization", &bearer), ("DPoP", &proof)], b"").await;
    is(told(&response), (401, "token-invalid"), "the Bearer scheme beside a proof");

    let plain =
        Client { token: gate.token("read").sign(&gate.issuer), key: Key::generate(Algorithm::Es256, "c") };
    is(plain.told(&gate, plain.proof()).await, (401, "token-invalid"), "DPoP with a token that is not bound");
    for cnf in [
        json!({ "jkt": thumbprint(&client.key), "x5t#S256": "a" }),
        json!({ "jkt": thumbprint(&client.key), "kid": "a" }),
        json!({ "unknown": "a" }),
        json!({}),
        json!("jkt"),
        json!({ "jkt": 1 }),
    ] {
        let token = gate.token("read").claim("cnf", cnf.clone()).sign(&gate.issuer);
        let odd = Client { token, key: Key::generate(Algorithm::Es256, "c") };
        is(odd.told(&gate, odd.proof()).await, (401, "token-invalid"), &cnf.to_string());
    }
}

#[tokio::test]
async fn proofs_that_are_none() {
    let gate = Gate::new().await;
    let client = Client::new(&gate);
    let (other, now) = (Key::generate(Algorithm::Es256, "other"), unix_now());
    let url = |text: &str| client.proof().claim("htu", text);
    let mut private = public(&client.key);
    private["d"] = json!("AAAA");
    for (what, proof) in [
        ("typ missing", client.proof().without("typ")),
        ("typ of another kind", client.proof().header("typ", "JWT")),
        ("no jwk", client.proof().without("jwk")),
        ("a private jwk", client.proof().header("jwk", private)),
        ("a jwk that did not sign", client.proof().header("jwk", public(&other))),
        ("jwk is no object", client.proof().header("jwk", "x")),
        ("crit", client.proof().header("crit", json!(["x"]))),
        ("another method", client.proof().claim("htm", "POST")),
        ("the method in lower case", client.proof().claim("htm", "get")),
        ("another port", url("http://api.example.com:8080/v1/mine")),
        ("another scheme", url("https://api.example.com/v1/mine")),
        ("another path", url("http://api.example.com/v1/yours")),
        ("a path below", url("http://api.example.com/v1/mine/x")),
        ("another host", url("http://evil.example.com/v1/mine")),
        ("no URL", url("/v1/mine")),
        ("iat 61 s in the past", client.proof().claim("iat", now - 62)),
        ("iat 61 s ahead", client.proof().claim("iat", now + 63)),
        ("iat missing", client.proof().without("iat")),
        ("iat a string", client.proof().claim("iat", now.to_string())),
        ("expired", client.proof().claim("exp", now - 40)),
        ("not yet", client.proof().claim("nbf", now + 40)),
        ("no jti", client.proof().without("jti")),
        ("an empty jti", client.proof().claim("jti", "")),
        ("a jti of 129 characters", client.proof().claim("jti", "j".repeat(129))),
        ("ath missing", client.proof().without("ath")),
        ("ath wrong", client.proof().claim("ath", b64u(&[0; 32]))),
        ("ath of another token", client.proof().claim("ath", b64u(digest(&SHA256, b"other").as_ref()))),
    ] {
        is(client.told(&gate, proof).await, INVALID, what);
    }
    let unsigned = client.proof().unsigned();
    is(told(&client.send(&gate, &unsigned).await), INVALID, "alg none");
    let hmac = client.proof().hmac(&client.key.public_der());
    is(told(&client.send(&gate, &hmac).await), INVALID, "alg HS256 with the public key");
    let huge = client.proof().claim("jti", "j".repeat(10 << 10)).sign(&client.key);
    assert!(matches!(told(&client.send(&gate, &huge).await).0, 401 | 431), "a jti of 10 KiB");
    for text in ["", "x", "a.b.c", "..."] {
        is(told(&client.send(&gate, text).await), INVALID, text);
    }
    let one = client.proof().sign(&client.key);
    let list = format!("{one}, {}", client.proof().sign(&client.key));
    is(told(&client.send(&gate, &list).await), INVALID, "two in one line");
    let token = format!("DPoP {}", client.token);
    let twice = [("Authorization", token.as_str()), ("DPoP", &one), ("DPoP", &one)];
    is(told(&gate.ask("GET", "/v1/mine", &twice, b"").await), (400, "duplicate-header"), "two lines");
    let none = gate.ask("GET", "/v1/mine", &[("Authorization", &token)], b"").await;
    is(told(&none), INVALID, "no proof");
    assert!(gate.upstream.requests().is_empty());

    let challenges = none.message.values("www-authenticate").join("\n");
    assert!(
        challenges.contains(
            "DPoP realm=\"partners\", algs=\"ES256 EdDSA PS256 RS256\", error=\"invalid_dpop_proof\""
        ),
        "{challenges}"
    );
}

#[tokio::test]
async fn one_url_has_many_spellings() {
    let gate = Gate::new().await;
    let client = Client::new(&gate);
    for url in [
        "http://API.Example.com/v1/mine",
        "HTTP://api.example.com:80/v1/mine",
        "http://api.example.com/v1/%6Dine",
        "http://api.example.com/v1/x/../mine",
        "http://api.example.com/v1/mine?ignored=1",
        "http://api.example.com/v1/mine#ignored",
    ] {
        is(client.told(&gate, client.proof().claim("htu", url)).await, OK, url);
    }
    let token = format!("DPoP {}", client.token);
    let proof = client.proof().sign(&client.key);
    let fields = [("Authorization", token.as_str()), ("DPoP", &proof), ("Host", "api.example.com:80")];
    is(told(&gate.ask("GET", "/v1/min%65", &fields, b"").await), OK, "encoded on the wire");
    // An untrusted header says nothing about the URL.
    let proof = client.proof().claim("htu", "https://evil.example/v1/mine").sign(&client.key);
    let fields = [
        ("Authorization", token.as_str()),
        ("DPoP", &proof),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil.example"),
    ];
    is(told(&gate.ask("GET", "/v1/mine", &fields, b"").await), INVALID, "X-Forwarded-Host");
}

#[tokio::test]
async fn a_proof_is_used_once_also_after_kill_9_and_restart() {
    let mut gate = Gate::new().await;
    let client = Client::new(&gate);
    let proof = client.proof().sign(&client.key);
    is(told(&client.send(&gate, &proof).await), OK, "first");
    is(told(&client.send(&gate, &proof).await), INVALID, "again");
    // The same jti in a new proof, and of another key.
    let jti = "a-jti-of-its-own";
    is(client.told(&gate, client.proof().claim("jti", jti)).await, OK, "its own jti");
    is(
        client.told(&gate, client.proof().claim("jti", jti).claim("iat", unix_now() + 1)).await,
        INVALID,
        "reused",
    );
    let second = Client::new(&gate);
    is(second.told(&gate, second.proof().claim("jti", jti)).await, OK, "another key's jti");
    let other = gate.second();
    let token = format!("DPoP {}", client.token);
    let fields = [("Host", HOST), ("Authorization", token.as_str()), ("DPoP", proof.as_str())];
    let again = send(other.public(), &request("GET", "/v1/mine", &fields, b"")).await.unwrap();
    is(told(&again), INVALID, "on another node");
    other.stderr_until(|text| text.contains("\"dpop.replay\"")).unwrap();
    gate.kill_and_restart();
    is(told(&client.send(&gate, &proof).await), INVALID, "after a restart");
}

#[tokio::test]
async fn the_key_is_the_one_that_the_token_is_bound_to() {
    let gate = Gate::new().await;
    let (a, b) = (Client::new(&gate), Client::new(&gate));
    let proof = b.proof().claim("ath", b64u(digest(&SHA256, a.token.as_bytes()).as_ref())).sign(&b.key);
    is(told(&a.send(&gate, &proof).await), INVALID, "the token of A with a proof by B");
}

#[tokio::test]
async fn a_nonce_where_the_api_demands_one() {
    let gate = Gate::with(|config| {
        config.replace("      schemes: { partner", "      dpop_nonce: required\n      schemes: { partner")
    })
    .await;
    let client = Client::new(&gate);
    let response = client.send(&gate, &client.proof().sign(&client.key)).await;
    is(told(&response), (401, "dpop-nonce-required"), "without");
    let challenges = response.message.values("www-authenticate").join("\n");
    assert!(challenges.contains("error=\"use_dpop_nonce\""), "{challenges}");
    let nonce = response.header("dpop-nonce").unwrap().to_owned();
    let passed = client.send(&gate, &client.proof().claim("nonce", nonce.as_str()).sign(&client.key)).await;
    is(told(&passed), OK, "with it");
    assert!(passed.header("dpop-nonce").is_some(), "every answer carries the current one");
    is(client.told(&gate, client.proof().claim("nonce", "x")).await, (401, "dpop-nonce-required"), "made up");
    let wrong = client.proof().claim("nonce", nonce).claim("htm", "POST");
    is(client.told(&gate, wrong).await, INVALID, "a nonce mends nothing");
    let missing = gate.ask("GET", "/v1/mine", &[], b"").await;
    assert!(missing.header("dpop-nonce").is_some());
}
