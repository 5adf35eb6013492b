//! Administration against the real program: the admin API, and the audit ledger that nobody gets past.

mod attacks;
mod keys;
mod ledger;
mod tampering;

use crate::world::{BINARY, ISSUER};
use portcullis_testkit::idp::unix_now;
use portcullis_testkit::program::Finished;
use portcullis_testkit::{
    Algorithm, Answer, Key, Program, Response, TempDir, Token, Upstream, WebhookSink, request, send,
};
use serde_json::{Value, json};
use std::sync::Arc;

const SPEC: &str = r##"openapi: 3.0.3
info: { title: Shop, version: "1" }
security: [{ key: ["orders:read"] }]
paths:
  /orders:
    get:
      operationId: listOrders
      responses: { "200": { description: ok, content: { application/json: { schema: { type: object, properties: { ok: { type: boolean } } } } } } }
components:
  securitySchemes: { key: { type: apiKey, in: header, name: X-API-Key } }
"##;

const CONFIG: &str = r#"listen: { address: "127.0.0.1:0" }
admin:
  address: 127.0.0.1:0
  authenticate:
    jwt: { issuer: corp, audience: administration }
    api_key: { env: live }
audit: { checkpoints: { file: checkpoints.log, webhook: { url: "HOOK", secret: { file: hook.secret } } } }
drain: { delay: 0s, timeout: 5s }
store: { folder: store }
issuers:
  corp: { url: "https://login.example.com/", discovery: { file: issuer.json }, algorithms: [ES256], revocable: true }
limits: { global: off, address: off, key: off, user: off }
apis:
  shop: { spec: openapi.yaml, upstream: UPSTREAM, authenticate: { jwt: { issuer: corp, audience: shop }, api_key: { env: live } } }
"#;

const MANAGE: &str = "portcullis.keys.manage";
const READ: &str = "portcullis.keys.read";
const BOTH: &str = "portcullis.keys.read portcullis.keys.manage";

/// A gate with an admin API, and what is around it.
struct Office {
    gate: Program,
    dir: Arc<TempDir>,
    hook: WebhookSink,
    key: Key,
    _upstream: Upstream,
}

impl Office {
    fn new() -> Self {
        Self::with(|config| config)
    }

    fn with(change: impl Fn(String) -> String) -> Self {
        let upstream = Upstream::start(|_| Answer::json("{}"));
        let (hook, key) = (WebhookSink::start(), Key::generate(Algorithm::Es256, "key-1"));
        let dir = Arc::new(TempDir::new("office"));
        dir.write("issuer.json", json!({ "keys": [key.jwk()] }).to_string());
        dir.write("openapi.yaml", SPEC);
        dir.write("hook.secret", "whsec_ERERERERERERERERERERERERERERERERERERERERERE=\n");
        let config = CONFIG.replace("UPSTREAM", &upstream.url()).replace("HOOK", &hook.url());
        dir.write("portcullis.yaml", change(config));
        let gate = Program::serve_in(BINARY, Arc::clone(&dir)).unwrap();
        Self { gate, dir, hook, key, _upstream: upstream }
    }

    fn cli(&self, arguments: &[&str]) -> Finished {
        Program::run(BINARY, self.dir.path(), arguments).unwrap()
    }

    /// An honest administrator's token for five minutes.
    fn token(&self, scope: &str) -> Token {
        let now = unix_now();
        Token::new()
            .header("typ", "at+jwt")
            .claim("iss", ISSUER)
            .claim("aud", "administration")
            .claim("sub", "ann")
            .claim("scope", scope)
            .claim("client_id", "console")
            .claim("jti", format!("t-{now}"))
            .claim("iat", now)
            .claim("exp", now + 300)
    }

    fn bearer(&self, scope: &str) -> String {
        format!("Bearer {}", self.token(scope).sign(&self.key))
    }

    async fn raw(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Response {
        send(self.gate.admin(), &request(method, path, fields, body)).await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        let bearer = self.bearer(READ);
        self.raw("GET", path, &[("Authorization", &bearer)], b"").await
    }

    async fn post(&self, path: &str, body: &Value) -> Response {
        let bearer = self.bearer(MANAGE);
        let fields = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        self.raw("POST", path, &fields, body.to_string().as_bytes()).await
    }

    /// A key by the admin API: its text and its public id.
    async fn make(&self, more: &Value) -> (String, String) {
        let mut order = order();
        for (name, value) in more.as_object().unwrap() {
            order[name] = value.clone();
        }
        let made = self.post("/portcullis/v1/keys", &order).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let made = made.json();
        (made["secret"].as_str().unwrap_or_default().to_owned(), made["id"].as_str().unwrap().to_owned())
    }

    async fn orders(&self, key: &str) -> Response {
        send(self.gate.public(), &request("GET", "/orders", &[("X-API-Key", key)], b"")).await.unwrap()
    }

    /// The ledger's entries.
    fn ledger(&self) -> Vec<Value> {
        let end = self.cli(&["audit", "ledger", "--store", "store", "--format", "json"]);
        assert_eq!(end.code, Some(0), "{}", end.stderr);
        end.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What `audit verify-ledger` says, and its exit code.
    fn verify(&self, more: &[&str]) -> (Value, Option<i32>) {
        let end = self.cli(&[&["audit", "verify-ledger", "--format", "json"], more].concat());
        let said =
            serde_json::from_str(&end.stdout).unwrap_or_else(|_| panic!("{}{}", end.stdout, end.stderr));
        (said, end.code)
    }

    fn intact(&self) -> Value {
        let (said, code) = self.verify(&[]);
        assert_eq!((code, &said["intact"]), (Some(0), &Value::Bool(true)), "{said:#}");
        said
    }

    /// Starts the gate again on what the last one left behind.
    fn again(&mut self) {
        self.gate = Program::serve_in(BINARY, Arc::clone(&self.dir)).unwrap();
    }
}

/// A key for the shop.
fn order() -> Value {
    json!({ "name": "billing", "owner": "acme", "scopes": ["orders:read"], "apis": ["shop"] })
}

fn refused(response: &Response, status: u16, code: &str) {
    assert_eq!(response.problem().as_deref(), Some(code), "{}", response.text());
    assert_eq!(response.status, status);
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
}
