//! Tokens and their issuers against the real program (callers.md §§ 4–7, 22).

mod attacks;
mod issuers;

use crate::world::BINARY;
use portcullis_testkit::idp::IdentityProvider;
use portcullis_testkit::{Algorithm, Answer, Program, Response, TempDir, Token, Upstream, request, send};
use serde_json::Value;
use std::sync::Arc;

const SPEC: &str = r##"openapi: 3.0.3
info: { title: Tokens, version: "1" }
security: [{ bearer: [] }]
x-portcullis: { principal: { id: token.sub } }
paths:
  /mine:
    get:
      operationId: mine
      responses: { "200": { description: ok, content: { application/json: { schema: { type: object, properties: { ok: { type: boolean } } } } } } }
  /public:
    get:
      operationId: public
      security: []
      responses: { "200": { description: ok, content: { application/json: { schema: { type: object, properties: { ok: { type: boolean } } } } } } }
components:
  securitySchemes:
    bearer: { type: http, scheme: bearer }
"##;

const CONFIG: &str = r#"listen: { address: "127.0.0.1:0" }
admin: 127.0.0.1:0
drain: { delay: 0s, timeout: 5s }
issuers:
  corp: { url: "ISSUER", algorithms: [ES256, RS256] }
  other: { url: "https://other.example/", discovery: { file: other.json }, algorithms: [ES256] }
limits: { global: off, address: off, key: off, user: off }
apis:
  lax:
    spec: openapi.yaml
    base_path: /lax
    upstream: UPSTREAM
    identity: { sign: true, audience: behind }
    authenticate: { jwt: [{ issuer: corp, audience: [shop, bank] }, { issuer: other, audience: shop }] }
    anonymous: [{ allow: public, because: anybody may, until: 2099-12-31 }]
  strict:
    spec: openapi.yaml
    base_path: /strict
    upstream: UPSTREAM
    authenticate: { jwt: { issuer: corp, audience: bank } }
    anonymous: [{ allow: public, because: anybody may, until: 2099-12-31 }]
"#;

/// A gate that believes an issuer, and one with a key in a file.
struct Gate {
    program: Program,
    upstream: Upstream,
    issuer: IdentityProvider,
    other: portcullis_testkit::Key,
}

impl Gate {
    fn new(algorithm: Algorithm) -> Self {
        Self::of(IdentityProvider::start(algorithm))
    }

    fn of(issuer: IdentityProvider) -> Self {
        let upstream = Upstream::start(|_| Answer::json(r#"{"ok":true}"#));
        let other = portcullis_testkit::Key::generate(Algorithm::Es256, "other-1");
        let dir = Arc::new(TempDir::new("tokens"));
        dir.write("openapi.yaml", SPEC);
        dir.write("other.json", serde_json::json!({ "keys": [other.jwk()] }).to_string());
        let config = CONFIG.replace("ISSUER", &issuer.issuer()).replace("UPSTREAM", &upstream.url());
        dir.write("portcullis.yaml", config);
        let program = Program::serve_in(BINARY, dir).unwrap();
        Self { program, upstream, issuer, other }
    }

    /// An honest token.
    fn token(&self) -> Token {
        self.issuer.token("shop", "alice").claim("client_id", "app").claim("scope", "read")
    }

    async fn bearer(&self, token: &str) -> Response {
        self.ask("/lax/mine", &[("Authorization", &format!("Bearer {token}"))]).await
    }

    async fn ask(&self, target: &str, fields: &[(&str, &str)]) -> Response {
        send(self.program.public(), &request("GET", target, fields, b"")).await.unwrap()
    }

    /// The private reason, in the log alone.
    fn reason(&self, response: &Response) -> String {
        let id = response.header("x-request-id").unwrap().to_owned();
        let text = self.program.stdout_until(|text| text.lines().any(|line| line.contains(&id))).unwrap();
        let line: Value =
            serde_json::from_str(text.lines().find(|line| line.contains(&id)).unwrap()).unwrap();
        line["portcullis.reason"].as_str().unwrap_or_default().to_owned()
    }

    async fn admin(&self, path: &str) -> String {
        send(self.program.admin(), &request("GET", path, &[], b"")).await.unwrap().text()
    }

    async fn metric(&self, name: &str) -> u64 {
        let text = self.admin("/metrics").await;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name}\n{text}"))
    }
}

fn told(response: &Response) -> (u16, String) {
    (response.status, response.problem().unwrap_or_default())
}
