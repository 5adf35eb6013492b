//! The simple scheme PC1 (callers.md § 10).

use super::draft::{BODY, Draft, Request, mac, nonce};
use super::gate::{ED25519, EXPIRED, Gate, HMAC, HOST, REVOKED, SECRET, told};
use aws_lc_rs::digest::{SHA256, digest};
use portcullis_testkit::idp::unix_now;
use portcullis_testkit::send;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What is signed, and how it is told; each part may be wrong.
struct Pc1 {
    id: String,
    time: String,
    nonce: String,
    body: bool,
    kind: String,
    request: Request,
}

impl Pc1 {
    fn of(draft: &Draft) -> Self {
        let fields = draft.fields.iter().filter(|(name, _)| name != "Content-Digest").cloned().collect();
        let kind = draft.fields.iter().find(|(name, _)| name == "Content-Type");
        Self {
            id: HMAC.to_owned(),
            time: unix_now().to_string(),
            nonce: nonce(),
            body: !draft.body.is_empty(),
            kind: kind.map(|(_, value)| value.clone()).unwrap_or_default(),
            request: Request {
                method: draft.method.clone(),
                target: draft.target.clone(),
                fields,
                body: draft.body.clone(),
            },
        }
    }

    fn post() -> Self {
        Self::of(&Draft::post())
    }

    fn get(target: &str) -> Self {
        Self::of(&Draft::get(target))
    }

    fn header(&self, secret: &[u8]) -> String {
        let (path, query) = self.request.target.split_once('?').unwrap_or((&self.request.target, ""));
        let hash = hex(digest(&SHA256, &self.request.body).as_ref());
        let method = &self.request.method;
        let lines =
            ["PC1-HMAC-SHA256", &self.time, &self.nonce, method, HOST, path, query, &self.kind, &hash];
        let signature = hex(&mac(secret, lines.join("\n").as_bytes()));
        let b = if self.body { format!("b={hash};") } else { String::new() };
        format!("v1;k={};t={};n={};{b}s={signature}", self.id, self.time, self.nonce)
    }

    fn sign(&self) -> Request {
        self.request.clone().field("X-PC-Signature", &self.header(&SECRET))
    }
}

const OK: &str = "200";

#[tokio::test]
async fn pc1_passes_and_is_not_sent_on() {
    let gate = Gate::new().await;
    assert_eq!(Pc1::post().sign().told(&gate).await, OK);
    assert_eq!(Pc1::get("/v1/items/a?b=%2F").sign().told(&gate).await, OK);
    for one in gate.upstream.received(2).await.unwrap() {
        assert_eq!(one.header("x-pc-signature"), None);
    }
}

#[tokio::test]
async fn pc1_covers_method_target_type_and_body() {
    let gate = Gate::new().await;
    let signed = || Pc1::post().sign();
    assert_eq!(signed().body(br#"{"amount":9999,"to":"acct_7"}"#).told(&gate).await, "signature-digest");
    assert_eq!(signed().target("/v1/transfers?dry=0").told(&gate).await, "signature-invalid");
    assert_eq!(signed().target("/v1/transfers?dry=0&dry=%2Ftrue").told(&gate).await, "signature-invalid");
    let kind = signed().field("Content-Type", "application/json;charset=utf-8");
    assert_eq!(kind.told(&gate).await, "signature-invalid");
    assert_eq!(signed().field("Host", "other.example.com").told(&gate).await, "signature-invalid");
    let without_b = Pc1 { body: false, ..Pc1::post() };
    assert_eq!(without_b.sign().told(&gate).await, "signature-coverage");
    let token = signed().add("Authorization", "Bearer x");
    assert_eq!(told(&token.send(&gate).await).0, 400, "the document does not know both here");
    // PC1 covers no header that an API's `cover` may name.
    let strict =
        Gate::with(|c| c.replace("[portcullis-v1, pc1]", "[portcullis-v1, pc1], cover: [idempotency-key]"));
    assert_eq!(signed().told(&strict.await).await, "signature-coverage");
}

#[tokio::test]
async fn pc1_window_nonce_and_keys_are_those_of_portcullis_v1() {
    let mut gate = Gate::new().await;
    let now = unix_now();
    for (time, expected) in [
        ((now - 295).to_string(), OK),
        ((now - 301).to_string(), "signature-stale"),
        ((now + 33).to_string(), "signature-stale"),
        (format!("{now}.0"), "signature-malformed"),
        (format!("0{now}"), "signature-malformed"),
        (format!("-{now}"), "signature-malformed"),
        ("9223372036854775808".to_owned(), "signature-malformed"),
    ] {
        assert_eq!(Pc1 { time, ..Pc1::post() }.sign().told(&gate).await, expected);
    }
    for nonce in ["a".repeat(15), "a".repeat(65), "a b c d e f g h i".to_owned()] {
        assert_eq!(Pc1 { nonce, ..Pc1::post() }.sign().told(&gate).await, "signature-malformed");
    }
    for (id, expected) in [
        ("zzzzzzzzzzzzzzzz", "signature-invalid"),
        (REVOKED, "signature-invalid"),
        (ED25519, "signature-invalid"),
        (EXPIRED, "key-expired"),
        ("short", "signature-malformed"),
    ] {
        assert_eq!(Pc1 { id: id.to_owned(), ..Pc1::post() }.sign().told(&gate).await, expected, "{id}");
    }
    let nonce = "not-burnt-by-guess";
    let wrong = Pc1 { nonce: nonce.to_owned(), ..Pc1::post() };
    let guess = wrong.request.clone().field("X-PC-Signature", &wrong.header(&[1; 32]));
    assert_eq!(guess.told(&gate).await, "signature-invalid");
    let request = wrong.sign();
    assert_eq!(request.told(&gate).await, OK);
    assert_eq!(request.told(&gate).await, "signature-replay");
    gate.kill_and_restart();
    assert_eq!(request.told(&gate).await, "signature-replay");
}

#[tokio::test]
async fn pc1_has_one_form() {
    let gate = Gate::new().await;
    let good = Pc1::post();
    let value = good.header(&SECRET);
    let swapped =
        value.replacen(&format!("k={HMAC};t={}", good.time), &format!("t={};k={HMAC}", good.time), 1);
    for bad in [
        value.replacen("v1", "v2", 1),
        value.replacen("v1;", "", 1),
        value.to_uppercase(),
        format!("{value};"),
        format!("{value};x=1"),
        format!("{value}0"),
        value.replace(';', "; "),
        swapped,
    ] {
        let told = good.request.clone().field("X-PC-Signature", &bad).told(&gate).await;
        assert_eq!(told, "signature-malformed", "{bad}");
    }
    let twice = good.sign().add("X-PC-Signature", &value);
    assert_eq!(twice.told(&gate).await, "duplicate-header");
    let mut both = Draft::post().sign();
    both = both.add("X-PC-Signature", &value);
    assert_eq!(both.told(&gate).await, "credential-ambiguous");
    assert_eq!(good.sign().told(&gate).await, OK);
}

#[tokio::test]
async fn pc1_any_one_byte_change_fails() {
    let gate = Gate::new().await;
    let fresh = || {
        let draft = Draft::with_body("POST", "/v1/transfers?dry=ab", "application/json", b"{\"a\":1}");
        Pc1::of(&draft).sign()
    };
    let request = fresh();
    let text = String::from_utf8(request.bytes()).unwrap();
    for what in
        ["POST", "/v1/transfers?dry=ab", "application/json", "{\"a\":1}", request.value("x-pc-signature")]
    {
        let start = text.find(what).unwrap();
        for at in start..start + what.len() {
            let mut changed = fresh().bytes();
            changed[at] ^= 1;
            let Ok(response) = send(gate.public(), &changed).await else { continue };
            assert_ne!(response.status, 200, "{}", String::from_utf8_lossy(&changed));
        }
    }
    assert!(gate.upstream.requests().is_empty());
    assert_eq!(request.told(&gate).await, OK);
}

#[tokio::test]
async fn pc1_is_opt_in() {
    let gate = Gate::with(|config| config.replace("[portcullis-v1, pc1]", "[portcullis-v1]")).await;
    assert_eq!(Pc1::post().sign().told(&gate).await, "credential-unsupported");
    assert_eq!(BODY.len(), 29, "the known answer's body");
}
