//! A gate between clients and an upstream that keeps raw bytes, with a document that has one of everything.

use portcullis_testkit::certs::Authority;
use portcullis_testkit::idp::unix_now;
use portcullis_testkit::{
    Algorithm, Answer, Connection, Key, Program, Recorded, Response, TempDir, Token, Upstream, request, send,
};
use serde_json::Value;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// The program under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_portcullis");
/// Whose tokens are believed.
pub(crate) const ISSUER: &str = "https://login.example.com/";
/// The only host that is served.
pub(crate) const HOST: &str = "api.example.com";

/// An API with one of everything.
pub(crate) const SPEC: &str = r##"openapi: 3.0.3
info: { title: Shop, version: "1" }
security: [{ bearer: [] }]
x-portcullis: { principal: { id: token.sub } }
paths:
  /items:
    get:
      operationId: listItems
      security: []
      parameters:
        - { name: limit, in: query, schema: { type: integer, minimum: 1, maximum: 50 } }
        - { name: tag, in: query, schema: { type: string, maxLength: 40 } }
        - { name: X-Region, in: header, schema: { type: string, maxLength: 8 } }
      responses:
        "200":
          description: ok
          headers: { X-Total-Count: { schema: { type: integer } } }
          content: { application/json: { schema: { $ref: "#/components/schemas/Items" } } }
        "404": { description: none, content: { application/json: { schema: { $ref: "#/components/schemas/Error" } } } }
  /orders:
    post:
      operationId: createOrder
      security: [{ bearer: ["orders:write"] }]
      requestBody:
        required: true
        content:
          application/json:
            schema:
              type: object
              required: [item]
              properties:
                item: { type: string, maxLength: 40 }
                quantity: { type: integer, minimum: 1, maximum: 9 }
      responses:
        "201": { description: made, content: { application/json: { schema: { $ref: "#/components/schemas/Order" } } } }
  /orders/{number}:
    get:
      operationId: getOrder
      security: [{ bearer: ["orders:read"] }]
      x-portcullis: { authorize: { bind: { query.owner: principal.id } } }
      parameters:
        - { name: number, in: path, required: true, schema: { type: integer, minimum: 1, maximum: 999999 } }
        - { name: owner, in: query, required: true, schema: { type: string, maxLength: 40 } }
      responses:
        "200": { description: ok, content: { application/json: { schema: { $ref: "#/components/schemas/Order" } } } }
  /users/{userId}:
    get:
      operationId: getUser
      x-portcullis: { authorize: { bind: { path.userId: principal.id } } }
      parameters: [{ name: userId, in: path, required: true, schema: { type: string, maxLength: 40 } }]
      responses:
        "200": { description: ok, content: { application/json: { schema: { $ref: "#/components/schemas/User" } } } }
  /transfers:
    post:
      operationId: createTransfer
      tags: [sensitive]
      x-portcullis: { authorize: { bind: { body./from: principal.id } } }
      requestBody:
        required: true
        content:
          application/json:
            schema:
              type: object
              required: [from, to]
              properties: { from: { type: string, maxLength: 40 }, to: { type: string, maxLength: 40 } }
      responses:
        "201": { description: made }
components:
  securitySchemes:
    bearer:
      type: oauth2
      flows: { clientCredentials: { tokenUrl: https://login.example.com/token, scopes: { "orders:read": r, "orders:write": w } } }
  schemas:
    Items:
      type: object
      properties:
        items: { type: array, items: { type: object, properties: { id: { type: integer }, name: { type: string } } } }
    Order: { type: object, properties: { number: { type: integer }, item: { type: string } } }
    User: { type: object, properties: { id: { type: string }, name: { type: string } } }
    Error: { type: object, properties: { error: { type: string } } }
"##;

/// Three listeners, no limits, one API: see [`World::with`].
pub(crate) const CONFIG: &str = r#"listen:
  - { address: "127.0.0.1:0" }
  - name: secure
    address: 127.0.0.1:0
    tls: { cert: { file: cert.pem }, key: { file: key.pem } }
admin: 127.0.0.1:0
drain: { delay: 1s, timeout: 20s }
issuers:
  corp: { url: "https://login.example.com/", discovery: { file: issuer.json }, algorithms: [ES256] }
limits: { global: off, address: off, key: off, user: off }
apis:
  shop:
    spec: openapi.yaml
    upstream: UPSTREAM
    authenticate: { jwt: { issuer: corp, audience: shop } }
    anonymous: [{ allow: listItems, because: the catalogue is public, until: 2099-12-31 }]
"#;

/// A running gate and everything around it.
pub(crate) struct World {
    /// The gate.
    pub(crate) program: Program,
    /// Behind it.
    pub(crate) upstream: Upstream,
    /// Signs tokens.
    pub(crate) key: Key,
    /// Signs certificates.
    pub(crate) authority: Authority,
}

impl World {
    /// [`CONFIG`] as it is, with an upstream that answers 200 with one item.
    pub(crate) fn new() -> Self {
        Self::with(CONFIG, |_| items())
    }

    /// Another configuration; `UPSTREAM` in it is the upstream's URL.
    pub(crate) fn with(config: &str, script: impl Fn(&Recorded) -> Answer + Send + 'static) -> Self {
        Self::behind(Upstream::start(script), config, &[])
    }

    /// Another upstream, and files beside the usual ones (or in their place).
    pub(crate) fn behind(upstream: Upstream, config: &str, files: &[(&str, &str)]) -> Self {
        let dir = Arc::new(TempDir::new("e2e"));
        let key = Key::generate(Algorithm::Es256, "key-1");
        let authority = Authority::new();
        let certificate = authority.server(&["localhost", HOST, "strict.example.com"]);
        dir.write("both.pem", format!("{}{}", certificate.cert_pem, certificate.key_pem));
        dir.write("cert.pem", certificate.cert_pem);
        dir.write("key.pem", certificate.key_pem);
        dir.write("issuer.json", serde_json::json!({ "keys": [key.jwk()] }).to_string());
        dir.write("openapi.yaml", SPEC);
        dir.write("portcullis.yaml", config.replace("UPSTREAM", &upstream.url()));
        for (name, text) in files {
            dir.write(name, text);
        }
        let program = Program::serve_in(BINARY, dir).unwrap();
        Self { program, upstream, key, authority }
    }

    /// The plain listener.
    pub(crate) fn public(&self) -> SocketAddr {
        self.program.public()
    }

    /// The TLS listener.
    pub(crate) fn secure(&self) -> SocketAddr {
        self.program.listener("secure")
    }

    /// A client's TLS setting that trusts the gate, offering these protocols.
    pub(crate) fn tls(&self, alpn: &[&[u8]]) -> Arc<rustls::ClientConfig> {
        let mut config = self.authority.client_config();
        config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
        Arc::new(config)
    }

    /// Claims of an honest token, valid for five minutes.
    pub(crate) fn claims(&self, subject: &str, scope: &str) -> Token {
        let now = unix_now();
        Token::new()
            .header("typ", "at+jwt")
            .claim("iss", ISSUER)
            .claim("aud", "shop")
            .claim("sub", subject)
            .claim("scope", scope)
            .claim("client_id", "app")
            .claim("iat", now)
            .claim("exp", now + 300)
            .claim("jti", format!("{subject}-{now}"))
    }

    /// `Bearer …` for a subject.
    pub(crate) fn bearer(&self, subject: &str, scope: &str) -> String {
        format!("Bearer {}", self.claims(subject, scope).sign(&self.key))
    }

    /// One plain request on a connection of its own.
    pub(crate) async fn ask(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        send(self.public(), &request(method, target, headers, body)).await.unwrap()
    }

    /// GET without anything.
    pub(crate) async fn get(&self, target: &str) -> Response {
        self.ask("GET", target, &[], b"").await
    }

    /// A TLS connection that speaks HTTP/1.1.
    pub(crate) async fn tls_connection(&self) -> io::Result<Connection> {
        Connection::open_tls(self.secure(), "localhost", self.tls(&[b"http/1.1"])).await
    }

    /// What the admin listener says at a path.
    pub(crate) async fn admin(&self, path: &str) -> Response {
        send(self.program.admin(), &request("GET", path, &[], b"")).await.unwrap()
    }

    /// The log line of an answer, once it is written.
    pub(crate) fn line_of(&self, response: &Response) -> Value {
        let id = response.header("x-request-id").unwrap().to_owned();
        let text = self.program.stdout_until(|text| text.lines().any(|line| line.contains(&id))).unwrap();
        let line = text.lines().find(|line| line.contains(&id)).unwrap();
        serde_json::from_str(line).unwrap()
    }
}

/// What the upstream says to [`World::get`] of `/items`.
pub(crate) fn items() -> Answer {
    Answer::json(r#"{"items":[{"id":1,"name":"lamp"}]}"#)
}

/// Every line of a log as JSON; a line that is none fails the test.
pub(crate) fn lines(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}
