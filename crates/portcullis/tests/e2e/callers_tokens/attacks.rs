//! Forged tokens, each refused for its own reason, and none of them causing anything.

use super::{Gate, told};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as B64U};
use portcullis_jose::alg::Algorithms;
use portcullis_jose::jwk::{KeyPolicy, KeySet};
use portcullis_jose::jwt::{self, Carried, IdentityPolicy};
use portcullis_testkit::idp::unix_now;
use portcullis_testkit::{Algorithm, Answer, Key, Token, Upstream};
use serde_json::{Value, json};

#[tokio::test]
async fn a_good_token_gives_a_signed_identity_and_one_of_the_client_does_not_arrive() {
    let gate = Gate::new(Algorithm::Es256);
    let token = format!("Bearer {}", gate.token().sign(&gate.issuer.key()));
    let forged = "eyJhbGciOiJFZERTQSJ9.e30.AAAA";
    let fields = [("Authorization", token.as_str()), ("Portcullis-Identity", forged)];
    assert_eq!(told(&gate.ask("/lax/mine", &fields).await), (200, String::new()));
    let seen = gate.upstream.received(1).await.unwrap().remove(0);
    let told = seen.message.values("portcullis-identity").into_iter().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(!String::from_utf8_lossy(&seen.message.raw).contains(forged));
    assert!(!String::from_utf8_lossy(&seen.message.raw).contains("Bearer"), "the token stays here");
    let published = gate.admin("/identity.jwks").await;
    let policy = KeyPolicy { algorithms: Algorithms::ALL, ..KeyPolicy::default() };
    let (keys, refused) = KeySet::parse(published.as_bytes(), &policy).unwrap();
    assert!(refused.is_empty());
    let carried = Carried { method: "GET", authority: seen.header("host").unwrap(), target: &seen.target };
    let policy = IdentityPolicy { issuer: "portcullis", audience: "behind", skew: 30 };
    let now = i64::try_from(unix_now()).unwrap();
    let claims = jwt::identity(now, &policy, &keys, carried, &told[0]).ok().unwrap();
    assert_eq!(claims.subject(), Some("alice"));
    // Recorded, it is of no use for another request.
    let other = Carried { target: "/lax/other", ..carried };
    assert!(jwt::identity(now, &policy, &keys, other, &told[0]).is_err());
    // And it is no token here.
    assert_eq!(super::told(&gate.bearer(&told[0]).await), (401, "token-invalid".to_owned()));
}

/// What, the token, and the private reason (several where it depends on the key).
type Forgery = (&'static str, String, &'static [&'static str]);

fn forgeries(gate: &Gate, key: &Key, trap: &str) -> Vec<Forgery> {
    let now = unix_now();
    let good = || gate.token();
    let signed = |token: Token| token.sign(key);
    let jwk = key.jwk().to_string();
    let whole = signed(good());
    let (input, signature) = whole.rsplit_once('.').unwrap();
    let raw = B64U.decode(signature).unwrap();
    let stranger = Key::generate(Algorithm::Es256, "key-1");
    let changed = |at: usize, byte: u8| {
        let mut all = raw.clone();
        all[at] ^= byte;
        format!("{input}.{}", B64U.encode(all))
    };
    let claims = |name: &str, value: Value| signed(good().claim(name, value));
    let header = |name: &str, value: Value| signed(good().header(name, value));
    let padded = format!("{}=", input);
    let mut all: Vec<Forgery> = vec![
        ("alg none", good().unsigned(), &["header-alg", "jws-shape"]),
        ("alg None", format!("{}.AA", good().header("alg", "None").signing_input()), &["header-alg"]),
        ("alg nOnE", format!("{}.AA", good().header("alg", "nOnE").signing_input()), &["header-alg"]),
        ("alg empty", format!("{}.AA", good().header("alg", "").signing_input()), &["header-alg"]),
        ("HS256 with the SPKI", good().hmac(&key.public_der()), &["header-alg"]),
        ("HS256 with the JWK", good().hmac(jwk.as_bytes()), &["header-alg"]),
        (
            "HS256 with the PEM",
            good().hmac(
                format!(
                    "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
                    STANDARD.encode(key.public_der())
                )
                .as_bytes(),
            ),
            &["header-alg"],
        ),
        ("alg a number", header("alg", json!(256)), &["header-alg"]),
        ("alg an array", header("alg", json!(["ES256"])), &["header-alg"]),
        ("alg of another key", header("alg", json!("PS256")), &["header-alg", "key-unknown"]),
        ("kid a path", header("kid", json!("../../dev/null")), &["key-unknown"]),
        ("kid SQL", header("kid", json!("' OR 1=1--")), &["key-unknown"]),
        ("kid a URL", header("kid", json!(trap)), &["key-unknown"]),
        ("kid of 300", header("kid", json!("k".repeat(300))), &["header-kid"]),
        ("kid with NUL", header("kid", json!("key\0-1")), &["key-unknown", "header-kid"]),
        ("kid of another issuer", header("kid", json!("other-1")), &["key-unknown"]),
        ("another issuer's key", good().header("kid", "other-1").sign(&gate.other), &["key-unknown"]),
        ("jku", header("jku", json!(format!("{trap}/keys"))), &["header-member"]),
        ("x5u", header("x5u", json!(format!("{trap}/chain"))), &["header-member"]),
        ("jwk", good().header("jwk", stranger.jwk()).sign(&stranger), &["header-member"]),
        ("crit unknown", header("crit", json!(["x"])), &["header-member"]),
        ("crit empty", header("crit", json!([])), &["header-member"]),
        ("crit no array", header("crit", json!("exp")), &["header-member"]),
        ("b64 false", header("b64", json!(false)), &["header-member"]),
        ("nested", header("cty", json!("JWT")), &["header-member"]),
        ("zip", header("zip", json!("DEF")), &["header-member"]),
        ("a stranger's signature", good().sign(&stranger), &["signature", "key-unusable"]),
        ("a bit of the signature", changed(3, 1), &["signature"]),
        ("a bit of its end", changed(raw.len() - 1, 0x10), &["signature"]),
        ("signature shorter", format!("{input}.{}", B64U.encode(&raw[1..])), &["signature"]),
        ("signature longer", format!("{input}.{}", B64U.encode([&raw[..], &[0]].concat())), &["signature"]),
        (
            "signature with a zero in front",
            format!("{input}.{}", B64U.encode([&[0], &raw[..]].concat())),
            &["signature"],
        ),
        ("signature all zero", format!("{input}.{}", B64U.encode(vec![0; raw.len()])), &["signature"]),
        ("signature empty", format!("{input}."), &["jws-shape"]),
        ("exp a string", claims("exp", json!("9999999999")), &["claim-exp"]),
        ("exp past", claims("exp", json!(now - 31)), &["expired"]),
        (
            "exp 1e300",
            signed(good().raw_claims(&format!(
                r#"{{"iss":"{}","aud":"shop","sub":"a","exp":1e300}}"#,
                gate.issuer.issuer()
            ))),
            &["claim-exp", "json"],
        ),
        ("exp negative", claims("exp", json!(-1)), &["claim-exp", "expired"]),
        ("exp null", claims("exp", Value::Null), &["claim-exp"]),
        (
            "exp with a fraction",
            signed(good().raw_claims(&format!(
                r#"{{"iss":"{}","aud":"shop","sub":"a","exp":{}.5}}"#,
                gate.issuer.issuer(),
                now + 60
            ))),
            &["claim-exp"],
        ),
        ("exp missing", signed(good().without("exp")), &["claim-exp"]),
        ("nbf in the future", claims("nbf", json!(now + 90)), &["claim-nbf"]),
        ("iat in the future", claims("iat", json!(now + 90)), &["claim-iat"]),
        ("iat a string", claims("iat", json!("now")), &["claim-iat"]),
        ("a lifetime of ten years", claims("exp", json!(now + 315_360_000)), &["lifetime"]),
        ("aud missing", signed(good().without("aud")), &["claim-aud"]),
        ("aud wrong", claims("aud", json!("club")), &["claim-aud"]),
        ("aud a prefix", claims("aud", json!("sho")), &["claim-aud"]),
        ("aud in another case", claims("aud", json!("Shop")), &["claim-aud"]),
        ("aud without us", claims("aud", json!(["a", "b"])), &["claim-aud"]),
        ("aud an object", claims("aud", json!({"shop": 1})), &["claim-aud"]),
        ("aud of 1,000", claims("aud", json!(vec!["s"; 1_000])), &["claim-aud", "json", "jws-size"]),
        ("aud with a number", claims("aud", json!(["shop", 1])), &["claim-aud"]),
        ("iss with a slash more", claims("iss", json!(format!("{}/", gate.issuer.issuer()))), &["issuer"]),
        ("iss of nobody", claims("iss", json!("https://nobody.example/")), &["issuer"]),
        (
            "duplicate alg",
            signed(good().raw_header(r#"{"alg":"none","alg":"ES256","kid":"key-1"}"#)),
            &["json"],
        ),
        (
            "duplicate alg, turned",
            signed(good().raw_header(r#"{"alg":"ES256","alg":"none","kid":"key-1"}"#)),
            &["json"],
        ),
        ("duplicate spelled otherwise", signed(good().raw_claims(r#"{"exp":1,"\u0065xp":2}"#)), &["json"]),
        ("duplicates in cnf", signed(good().raw_claims(r#"{"cnf":{"jkt":"a","jkt":"b"}}"#)), &["json"]),
        ("padding", format!("{padded}.{signature}"), &["jws-base64"]),
        (
            "the other alphabet",
            format!("{}.{}.+/+/", input.split('.').next().unwrap(), input.split('.').nth(1).unwrap()),
            &["jws-base64"],
        ),
        ("a third dot", format!("{whole}.AA"), &["not-a-jwt", "jws-shape"]),
        ("a JWE", format!("{whole}.AA.AA"), &["not-a-jwt", "jws-shape"]),
        ("a BOM", signed(good().raw_claims("\u{feff}{}")), &["json"]),
        ("bytes after the JSON", signed(good().raw_claims("{}x")), &["json"]),
        (
            "depth",
            signed(good().raw_claims(&format!("{}{}", "[".repeat(2_000), "]".repeat(2_000)))),
            &["json"],
        ),
        (
            "an ID token by shape",
            signed(good().header("typ", "JWT").claim("nonce", "n-1")),
            &["typ-not-accepted"],
        ),
        ("a logout token", header("typ", json!("logout+jwt")), &["typ-not-accepted"]),
        ("a DPoP proof", header("typ", json!("dpop+jwt")), &["typ-not-accepted"]),
        ("a security event", header("typ", json!("secevent+jwt")), &["typ-not-accepted"]),
        (
            "bound to a key, as a bearer",
            claims("cnf", json!({"jkt": B64U.encode(digest(&SHA256, b"k"))})),
            &["binding"],
        ),
        ("bound to something unknown", claims("cnf", json!({"x": "y"})), &["claim-cnf", "binding"]),
        ("scope a number", claims("scope", json!(7)), &["claim-scope"]),
        ("sub missing", signed(good().without("sub").without("client_id")), &["claim-sub"]),
        (
            "of another issuer, by name",
            gate.other_token().claim("iss", gate.issuer.issuer()).sign(&gate.other),
            &["key-unknown"],
        ),
    ];
    if key.algorithm == Algorithm::Es256 {
        let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
        let n: Vec<u8> = (0..32).map(|i| u8::from_str_radix(&order[2 * i..2 * i + 2], 16).unwrap()).collect();
        let with_r = |r: &[u8]| format!("{input}.{}", B64U.encode([r, &raw[32..]].concat()));
        let der = [&[0x30, 0x44, 2, 0x20][..], &raw[..32], &[2, 0x20], &raw[32..]].concat();
        all.extend([
            ("r = 0", with_r(&[0; 32]), &["signature"][..]),
            ("r = n", with_r(&n), &["signature"][..]),
            ("a DER signature", format!("{input}.{}", B64U.encode(der)), &["signature"][..]),
        ]);
    }
    all
}

impl Gate {
    fn other_token(&self) -> Token {
        self.token().claim("iss", "https://other.example/")
    }
}

async fn refuses_them_all(algorithm: Algorithm) {
    let trap = Upstream::start(|_| Answer::json("{}"));
    let gate = Gate::new(algorithm);
    let key = gate.issuer.key();
    assert_eq!(told(&gate.bearer(&gate.token().sign(&key)).await), (200, String::new()));
    // A token that is longer than a header may be is refused before anybody looks for one in it.
    let long = gate.token().claim("note", "n".repeat(9 << 10)).sign(&key);
    assert_eq!(told(&gate.bearer(&long).await), (431, "header-too-large".to_owned()));
    let mut other_reasons = Vec::new();
    for (what, token, reasons) in forgeries(&gate, &key, &trap.url()) {
        let response = gate.bearer(&token).await;
        let expected = if reasons == ["expired"] { "token-expired" } else { "token-invalid" };
        assert_eq!(told(&response), (401, expected.to_owned()), "{what}: {token}");
        let reason = gate.reason(&response);
        if !reasons.iter().any(|one| reason.starts_with(one)) {
            other_reasons.push(format!("{what}: {reason} and not {reasons:?}"));
        }
        let challenge = response.message.values("www-authenticate").join("\n");
        assert!(challenge.contains("error=\"invalid_token\""), "{what}: {challenge}");
        // Nothing of it is echoed: neither a claim, nor a key's name, nor the reason.
        let said = format!("{challenge}{}", response.text());
        assert!(
            !said.contains("alice") && !said.contains("key-1") && !said.contains(&format!("\"{reason}\"")),
            "{said}"
        );
    }
    assert!(other_reasons.is_empty(), "{other_reasons:#?}");
    for typ in ["AT+JWT", "application/at+jwt", "JWT"] {
        let token = gate.token().header("typ", typ).sign(&key);
        assert_eq!(told(&gate.bearer(&token).await), (200, String::new()), "{typ}");
    }
    assert!(trap.requests().is_empty(), "nobody was called");
    assert!(gate.issuer.key_fetches() <= 2, "unknown kids fetch nothing within the pause");
    for text in [gate.program.stdout(), gate.program.stderr()] {
        assert!(!text.contains("eyJhbGciOi"), "no token is in a log");
    }
}

#[tokio::test]
async fn forged_es256_tokens_are_refused_each_for_its_reason_and_nobody_is_called() {
    refuses_them_all(Algorithm::Es256).await;
}

#[tokio::test]
async fn forged_rs256_tokens_are_refused_each_for_its_reason_and_nobody_is_called() {
    refuses_them_all(Algorithm::Rs256).await;
}

#[tokio::test]
async fn forms_of_the_header_that_are_none() {
    let gate = Gate::new(Algorithm::Es256);
    let token = gate.token().sign(&gate.issuer.key());
    for (value, code) in [
        (format!("Bearer  {token}"), "token-invalid"),
        (format!("Bearer {token} "), "200"),
        (format!("Bearer {token}, Bearer {token}"), "token-invalid"),
        ("Bearer".to_owned(), "token-invalid"),
        (format!("Basic {}", STANDARD.encode("a:b")), "credential-unsupported"),
        ("Digest username=\"a\"".to_owned(), "credential-unsupported"),
        ("Negotiate AAAA".to_owned(), "credential-unsupported"),
        (token.clone(), "credential-unsupported"),
        (format!("bEaReR {token}"), "200"),
    ] {
        let response = gate.ask("/lax/mine", &[("Authorization", &value)]).await;
        let got = response.problem().unwrap_or_else(|| response.status.to_string());
        assert_eq!(got, code, "{value}");
        if response.status == 401 {
            // Refused or unreadable, the client is told what would be accepted, and nothing else.
            let challenge = response.message.values("www-authenticate").join("\n");
            assert!(
                challenge.contains("Bearer realm=\"lax\"") && !challenge.contains("Basic"),
                "{challenge}"
            );
            assert!(!gate.reason(&response).is_empty());
        }
    }
    let twice = [("Authorization", "Bearer a"), ("Authorization", "Bearer b")];
    assert_eq!(told(&gate.ask("/lax/mine", &twice).await), (400, "duplicate-header".to_owned()));
}

#[tokio::test]
async fn an_authorization_header_of_a_mebibyte_costs_no_memory() {
    let gate = Gate::new(Algorithm::Es256);
    let token = gate.token().sign(&gate.issuer.key());
    assert_eq!(gate.bearer(&token).await.status, 200);
    let before = gate.program.resident_bytes().unwrap();
    let long = "a".repeat(1 << 20);
    for _ in 0..30 {
        let bytes = portcullis_testkit::request(
            "GET",
            "/lax/mine",
            &[("Authorization", &format!("Bearer {long}"))],
            b"",
        );
        // The answer may come before everything is written, and the connection end under the writer.
        if let Ok(response) = portcullis_testkit::send(gate.program.public(), &bytes).await {
            assert_eq!(response.status, 431, "{}", response.text());
        }
    }
    let grown = gate.program.resident_bytes().unwrap().saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} bytes");
    assert_eq!(gate.bearer(&token).await.status, 200);
}

#[tokio::test]
async fn a_lax_api_warms_no_strict_one() {
    let gate = Gate::new(Algorithm::Es256);
    let token = format!("Bearer {}", gate.token().sign(&gate.issuer.key()));
    let fields = [("Authorization", token.as_str())];
    for _ in 0..4 {
        assert_eq!(gate.ask("/lax/mine", &fields).await.status, 200);
        assert_eq!(told(&gate.ask("/strict/mine", &fields).await), (401, "token-invalid".to_owned()));
    }
    assert!(gate.metric("portcullis_verify_cache_hits_total").await > 0);
    let both =
        format!("Bearer {}", gate.token().claim("aud", json!(["shop", "bank"])).sign(&gate.issuer.key()));
    for target in ["/strict/mine", "/lax/mine"] {
        assert_eq!(gate.ask(target, &[("Authorization", &both)]).await.status, 200);
    }
    // With several issuers the right one is chosen by `iss`, and the other's key is not tried.
    let other = format!("Bearer {}", gate.other_token().sign(&gate.other));
    assert_eq!(gate.ask("/lax/mine", &[("Authorization", &other)]).await.status, 200);
    assert_eq!(
        told(&gate.ask("/strict/mine", &[("Authorization", &other)]).await),
        (401, "token-invalid".to_owned())
    );
}
