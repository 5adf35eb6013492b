//! API keys, revocation and opaque tokens against the real program: one gate or two on one store, and the command line
//! beside them.

mod attacks;
mod notices;
mod opaque;
mod revocation;
mod streams;
mod verbs;

use crate::world::BINARY;
use portcullis_testkit::idp::unix_now;
use portcullis_testkit::program::Finished;
use portcullis_testkit::{
    Algorithm, Answer, Key, PATIENCE, Program, Response, TempDir, Token, Upstream, WebhookSink, request, send,
};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ISSUER: &str = "https://login.example.com/";

const SPEC: &str = r##"openapi: 3.0.3
info: { title: Shop, version: "1" }
security: [{ key: [] }]
x-portcullis: { principal: { id: token.sub } }
paths:
  /orders:
    get:
      operationId: listOrders
      security: [{ key: ["orders:read"] }, { bearer: ["orders:read"] }]
      responses: { "200": { description: ok, content: { application/json: { schema: { type: object, properties: { ok: { type: boolean } } } } } } }
    delete:
      operationId: dropOrders
      security: [{ key: ["orders:admin"] }]
      responses: { "200": { description: ok, content: { application/json: { schema: { type: object, properties: { ok: { type: boolean } } } } } } }
  /orders/{number}:
    get:
      operationId: getOrder
      parameters: [{ name: number, in: path, required: true, schema: { type: string, maxLength: 100 } }]
      responses: { "200": { description: ok, content: { application/json: { schema: { type: object, properties: { ok: { type: boolean } } } } } } }
components:
  securitySchemes:
    key: { type: apiKey, in: header, name: X-API-Key }
    bearer: { type: oauth2, flows: { clientCredentials: { tokenUrl: https://login.example.com/token, scopes: { "orders:read": r } } } }
"##;

const CONFIG: &str = r#"listen: { address: "127.0.0.1:0" }
admin: 127.0.0.1:0
drain: { delay: 0s, timeout: 5s }
store: { folder: STORE }
issuers:
  corp: { url: "https://login.example.com/", discovery: { file: issuer.json }, algorithms: [ES256], revocable: true }
introspection:
  legacy: { url: "INTROSPECTION", client: { id: gate, secret: { file: introspection.secret } } }
keys:
  docs: https://developer.example.com/rotate
  notify:
    - webhook: { url: "HOOK", secret: { file: hook.secret } }
limits: { global: off, address: off, key: off, user: off }
apis:
  shop:
    spec: openapi.yaml
    upstream: UPSTREAM
    authenticate:
      jwt: { issuer: corp, audience: shop }
      opaque: { introspection: legacy, issuer: corp, audience: shop }
      api_key: { env: live }
"#;

/// Within this a revocation is in force everywhere (callers.md § 7).
const TWO_SECONDS: Duration = Duration::from_secs(2);

/// The secret of the webhook: `whsec_` and these bytes in base64.
const HOOK_SECRET: [u8; 32] = [0x11; 32];

struct Shop {
    gate: Program,
    dir: Arc<TempDir>,
    upstream: Upstream,
    /// Asked about opaque tokens.
    issuer: Upstream,
    hook: WebhookSink,
    key: Key,
    store: String,
}

impl Shop {
    fn new() -> Self {
        Self::with(|config| config)
    }

    fn with(change: impl Fn(String) -> String) -> Self {
        Self::with_files(&[], change)
    }

    /// Another configuration, and files beside the usual ones or in their place.
    fn with_files(files: &[(&str, &str)], change: impl Fn(String) -> String) -> Self {
        let upstream = Upstream::start(|_| Answer::json("{}"));
        let issuer = Upstream::start(|_| Answer::json(r#"{"active":false}"#));
        let (hook, key) = (WebhookSink::start(), Key::generate(Algorithm::Es256, "key-1"));
        let dir = Arc::new(TempDir::new("keys"));
        let store = dir.path().join("store").display().to_string();
        write(&dir, &key);
        for (name, text) in files {
            dir.write(name, text);
        }
        let config = CONFIG
            .replace("UPSTREAM", &upstream.url())
            .replace("INTROSPECTION", &format!("{}/introspect", issuer.url()))
            .replace("HOOK", &hook.url())
            .replace("STORE", &store);
        dir.write("portcullis.yaml", change(config));
        let gate = Program::serve_in(BINARY, Arc::clone(&dir)).unwrap();
        Self { gate, dir, upstream, issuer, hook, key, store }
    }

    /// A second node on the same store.
    fn second(&self) -> Program {
        let dir = Arc::new(TempDir::new("keys-second"));
        write(&dir, &self.key);
        dir.write("portcullis.yaml", std::fs::read(self.dir.path().join("portcullis.yaml")).unwrap());
        Program::serve_in(BINARY, dir).unwrap()
    }

    fn cli(&self, arguments: &[&str]) -> Finished {
        Program::run(BINARY, self.dir.path(), arguments).unwrap()
    }

    /// A key for everything of the shop, made by the command line: its text and public id.
    fn make(&self, more: &[&str]) -> (String, String) {
        let base = [
            "keys",
            "create",
            "--name",
            "billing",
            "--owner",
            "acme",
            "--scope",
            "orders:read",
            "--api",
            "shop",
        ];
        let end = self.cli(&[&base, more].concat());
        assert_eq!(end.code, Some(0), "{}", end.stderr);
        let key = end.stdout.trim_end().to_owned();
        let id = key.split('_').nth(2).unwrap().to_owned();
        (key, id)
    }

    fn row(&self, id: &str) -> Value {
        let end = self.cli(&["keys", "list", "--format", "json"]);
        let all: Value = serde_json::from_str(&end.stdout).unwrap();
        all.as_array().unwrap().iter().find(|row| row["id"] == id).unwrap().clone()
    }

    async fn ask(&self, fields: &[(&str, &str)]) -> Response {
        ask(&self.gate, "/orders", fields).await
    }

    async fn with_key(&self, key: &str) -> Response {
        self.ask(&[("X-API-Key", key)]).await
    }

    async fn metrics(&self) -> String {
        send(self.gate.admin(), &request("GET", "/metrics", &[], b"")).await.unwrap().text()
    }

    async fn metric(&self, name: &str) -> u64 {
        let text = self.metrics().await;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name}\n{text}"))
    }

    /// The log line of an answer, once it is written.
    fn line_of(&self, response: &Response) -> Value {
        line_of(&self.gate, response)
    }

    /// An honest token for five minutes.
    fn token(&self, subject: &str) -> Token {
        let now = unix_now();
        Token::new()
            .header("typ", "at+jwt")
            .claim("iss", ISSUER)
            .claim("aud", "shop")
            .claim("sub", subject)
            .claim("scope", "orders:read")
            .claim("client_id", format!("app-of-{subject}"))
            .claim("sid", format!("login-of-{subject}"))
            .claim("jti", format!("token-of-{subject}"))
            .claim("iat", now)
            .claim("exp", now + 300)
    }
}

fn write(dir: &TempDir, key: &Key) {
    dir.write("issuer.json", serde_json::json!({ "keys": [key.jwk()] }).to_string());
    dir.write("openapi.yaml", SPEC);
    dir.write("introspection.secret", "between us");
    dir.write("hook.secret", format!("whsec_{}", base64(&HOOK_SECRET)));
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

async fn ask(gate: &Program, target: &str, fields: &[(&str, &str)]) -> Response {
    send(gate.public(), &request("GET", target, fields, b"")).await.unwrap()
}

fn line_of(gate: &Program, response: &Response) -> Value {
    let id = response.header("x-request-id").unwrap().to_owned();
    let text = gate.stdout_until(|text| text.lines().any(|line| line.contains(&id))).unwrap();
    serde_json::from_str(text.lines().find(|line| line.contains(&id)).unwrap()).unwrap()
}

/// Status and code.
fn told(response: &Response) -> (u16, String) {
    (response.status, response.problem().unwrap_or_default())
}

fn is(response: &Response, status: u16, code: &str) {
    assert_eq!(told(response), (status, code.to_owned()), "{}", response.text());
}

/// Asks until the answer is as wanted; how long that took.
async fn until(gate: &Program, fields: &[(&str, &str)], wanted: (u16, &str)) -> Duration {
    let began = Instant::now();
    loop {
        let answer = ask(gate, "/orders", fields).await;
        if told(&answer) == (wanted.0, wanted.1.to_owned()) {
            return began.elapsed();
        }
        assert!(began.elapsed() < PATIENCE, "{:?} and not {wanted:?}", told(&answer));
        tokio::task::yield_now().await;
    }
}
