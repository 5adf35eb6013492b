//! A gate for partners: registered keys, an issuer, and a listener that asks for certificates.

use crate::world::BINARY;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_core::opaque::{Env, Id16, Kind};
use portcullis_jose::api_key::Dates;
use portcullis_store::keys::{KeyRow, Material};
use portcullis_store::ledger::By;
use portcullis_store::{Options, Place, Store};
use portcullis_testkit::certs::Authority;
use portcullis_testkit::idp::unix_now;
use portcullis_testkit::program::Signal;
use portcullis_testkit::{
    Algorithm, Answer, Key, Program, Response, TempDir, Token, Upstream, request, send,
};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;

/// What the gate is called by its clients.
pub(super) const HOST: &str = "api.example.com";
/// A key that signs by MAC.
pub(super) const HMAC: &str = "008j4ct4ank7f24s";
/// Its secret.
pub(super) const SECRET: [u8; 32] = [7; 32];
/// Another one, with a secret of its own.
pub(super) const OTHER: &str = "00000000000000zz";
/// The other's secret.
pub(super) const OTHER_SECRET: [u8; 32] = [9; 32];
/// Keys whose private halves are the partner's.
pub(super) const ED25519: &str = "0000000000000ed2";
pub(super) const P256: &str = "0000000000000p25";
/// Keys that are not as they should be.
pub(super) const EXPIRED: &str = "000000000000expr";
pub(super) const REVOKED: &str = "000000000000revk";
pub(super) const SUSPENDED: &str = "000000000000sspd";
pub(super) const PENDING: &str = "000000000000pend";
pub(super) const DEPRECATED: &str = "000000000000depr";
pub(super) const BEARER: &str = "000000000000bear";
pub(super) const TEST_ENV: &str = "000000000000test";
pub(super) const ELSEWHERE: &str = "000000000000e1se";
pub(super) const OTHER_API: &str = "000000000000ap10";
pub(super) const ONE_OPERATION: &str = "00000000000s1ng0";
pub(super) const NO_SCOPE: &str = "000000000000n0sc";

/// Of the tenants globex and initech.
pub(super) const GLOBEX: &str = "00000000000g10be";
pub(super) const INITECH: &str = "0000000000001n1t";

pub(super) const ISSUER: &str = "https://login.example.com/";

const SPEC: &str = r##"openapi: 3.0.3
info: { title: Partners, version: "1" }
servers: [{ url: "https://api.example.com/v1" }]
security: [{ partner: [] }]
paths:
  /transfers:
    post:
      operationId: createTransfer
      security: [{ partner: ["transfers.write"] }]
      parameters:
        - { name: dry, in: query, schema: { type: array, items: { type: string } }, explode: true }
        - { name: b, in: query, schema: { type: string } }
        - { name: X-Batch, in: header, schema: { type: string } }
      requestBody:
        required: true
        content: { application/json: { schema: { type: object, additionalProperties: true } } }
      responses: { "200": { description: ok, content: { application/json: { schema: { type: object, properties: { ok: { type: boolean } } } } } } }
  /items/{id}:
    get:
      operationId: getItem
      parameters:
        - { name: id, in: path, required: true, schema: { type: string } }
        - { name: dry, in: query, schema: { type: array, items: { type: string } }, explode: true }
        - { name: b, in: query, schema: { type: string } }
      responses: { "200": { description: ok, content: { application/json: { schema: { type: object, properties: { ok: { type: boolean } } } } } } }
  /files/{name}:
    put:
      operationId: putFile
      parameters: [{ name: name, in: path, required: true, schema: { type: string } }]
      requestBody: { required: true, content: { application/octet-stream: { schema: { type: string, format: binary } } } }
      responses: { "200": { description: ok, content: { application/json: { schema: { type: object, properties: { ok: { type: boolean } } } } } } }
  /public:
    get:
      operationId: getPublic
      security: []
      responses: { "200": { description: ok, content: { application/json: { schema: { type: object, properties: { ok: { type: boolean } } } } } } }
  /both:
    post:
      operationId: both
      security: [{ partner: [], bearer: [both] }]
      requestBody: { required: true, content: { application/json: { schema: { type: object, additionalProperties: true } } } }
      responses: { "200": { description: ok, content: { application/json: { schema: { type: object, properties: { ok: { type: boolean } } } } } } }
  /mine:
    get:
      operationId: mine
      security: [{ bearer: [read] }]
      responses: { "200": { description: ok, content: { application/json: { schema: { type: object, properties: { ok: { type: boolean } } } } } } }
  /certified:
    get:
      operationId: certified
      security: [{ certificate: [] }]
      responses: { "200": { description: ok, content: { application/json: { schema: { type: object, properties: { ok: { type: boolean } } } } } } }
  /token-and-certificate:
    get:
      operationId: tokenAndCertificate
      security: [{ bearer: [read], certificate: [] }]
      responses: { "200": { description: ok, content: { application/json: { schema: { type: object, properties: { ok: { type: boolean } } } } } } }
components:
  securitySchemes:
    partner: { type: http, scheme: signature }
    bearer: { type: oauth2, flows: { clientCredentials: { tokenUrl: https://login.example.com/token, scopes: { read: r, both: b } } } }
    certificate: { type: mutualTLS }
"##;

pub(super) const CONFIG: &str = r#"listen:
  - { address: "127.0.0.1:0" }
  - name: secure
    address: 127.0.0.1:0
    tls:
      cert: { file: cert.pem }
      key: { file: key.pem }
      clients: { ca: { file: ca.pem }, crl: { file: crl.pem }, mode: optional }
admin: 127.0.0.1:0
drain: { delay: 0s, timeout: 5s }
store: { folder: store }
issuers:
  corp: { url: "https://login.example.com/", discovery: { file: issuer.json }, algorithms: [ES256] }
limits: { global: off, address: off, key: off, user: off }
apis:
  partners:
    spec: openapi.yaml
    upstream: UPSTREAM/behind
    authenticate:
      jwt: { issuer: corp, audience: shop }
      signature: { schemes: [portcullis-v1, pc1] }
      mtls:
        clients:
          acme: { san_dns: orders.acme.example, scopes: [read] }
          twin-a: { san_dns: twin.example }
          twin-b: { san_uri: "spiffe://twin" }
          spiffe: { san_uri: "spiffe://acme/orders" }
          subject: { subject: "CN=billing,O=Acme\\, Inc.,C=DE" }
          printed: { thumbprint: THUMBPRINT }
      schemes: { partner: signature }
    operations:
      putFile:
        request: { opaque: { allow: [application/octet-stream], because: files, until: 2099-12-31 }, max_bytes: 1MiB }
    anonymous: [{ allow: getPublic, because: anybody may, until: 2099-12-31 }]
"#;

/// A running gate and everything around it.
pub(super) struct Gate {
    pub(super) program: Program,
    pub(super) upstream: Upstream,
    pub(super) issuer: Key,
    pub(super) authority: Authority,
    /// Of the clients' certificates.
    pub(super) clients: Authority,
    pub(super) ed25519: Key,
    pub(super) p256: Key,
    dir: Arc<TempDir>,
}

impl Gate {
    pub(super) async fn new() -> Self {
        Self::with(|config| config).await
    }

    /// With another configuration.
    pub(super) async fn with(change: impl Fn(String) -> String) -> Self {
        Self::certified(change, |_| (String::new(), Vec::new())).await
    }

    /// `certify` is given the clients' authority, and returns a thumbprint and revoked certificates.
    pub(super) async fn certified(
        change: impl Fn(String) -> String,
        certify: impl FnOnce(&Authority) -> (String, Vec<portcullis_testkit::certs::Certificate>),
    ) -> Self {
        let upstream = Upstream::start(|_| Answer::json(r#"{"ok":true}"#));
        let dir = Arc::new(TempDir::new("signed"));
        let issuer = Key::generate(Algorithm::Es256, "key-1");
        let (ed25519, p256) = (Key::generate(Algorithm::EdDsa, "ed"), Key::generate(Algorithm::Es256, "ec"));
        let (authority, clients) = (Authority::new(), Authority::new());
        let certificate = authority.server(&["localhost", HOST]);
        let (thumbprint, revoked) = certify(&clients);
        let thumbprint = if thumbprint.is_empty() { "A".repeat(43) } else { thumbprint };
        dir.write("cert.pem", certificate.cert_pem);
        dir.write("key.pem", certificate.key_pem);
        dir.write("ca.pem", clients.pem());
        dir.write("authority.pem", authority.pem());
        dir.write("crl.pem", clients.revoked(&revoked.iter().collect::<Vec<_>>()));
        dir.write("issuer.json", serde_json::json!({ "keys": [issuer.jwk()] }).to_string());
        dir.write("openapi.yaml", SPEC);
        let config = CONFIG.replace("UPSTREAM", &upstream.url()).replace("THUMBPRINT", &thumbprint);
        dir.write("portcullis.yaml", change(config));
        dir.write("billing.pch", Kind::SigningSecret.text(&SECRET).expose());
        register(&dir, &ed25519, &p256).await;
        let program = Program::serve_in(BINARY, Arc::clone(&dir)).unwrap();
        Self { program, upstream, issuer, authority, clients, ed25519, p256, dir }
    }

    pub(super) fn dir(&self) -> &TempDir {
        &self.dir
    }

    pub(super) fn public(&self) -> SocketAddr {
        self.program.public()
    }

    pub(super) fn secure(&self) -> SocketAddr {
        self.program.listener("secure")
    }

    /// Ends it without a chance to tidy up, and starts it again in the same folder.
    pub(super) fn kill_and_restart(&mut self) {
        self.program.signal(Signal::Kill).unwrap();
        self.program.finish().unwrap();
        self.start_again();
    }

    /// A second node on the same store.
    pub(super) fn second(&self) -> Program {
        let dir = Arc::new(TempDir::new("signed-second"));
        for entry in std::fs::read_dir(self.dir.path()).unwrap().flatten() {
            if entry.file_type().unwrap().is_file() {
                dir.write(entry.file_name().to_str().unwrap(), std::fs::read(entry.path()).unwrap());
            }
        }
        let store = self.dir.path().join("store").display().to_string();
        let config = std::fs::read_to_string(self.dir.path().join("portcullis.yaml")).unwrap();
        dir.write("portcullis.yaml", config.replace("folder: store", &format!("folder: {store}")));
        Program::serve_in(BINARY, dir).unwrap()
    }

    pub(super) fn start_again(&mut self) {
        self.program = Program::serve_in(BINARY, Arc::clone(&self.dir)).unwrap();
    }

    /// One plain request under the public name.
    pub(super) async fn ask(
        &self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let mut fields = fields.to_vec();
        if !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            fields.push(("Host", HOST));
        }
        send(self.public(), &request(method, target, &fields, body)).await.unwrap()
    }

    /// An honest token for five minutes.
    pub(super) fn token(&self, scope: &str) -> Token {
        let now = unix_now();
        Token::new()
            .header("typ", "at+jwt")
            .claim("iss", ISSUER)
            .claim("aud", "shop")
            .claim("sub", "alice")
            .claim("scope", scope)
            .claim("client_id", "app")
            .claim("iat", now)
            .claim("exp", now + 300)
    }

    /// The log line of an answer, once it is written.
    pub(super) fn line_of(&self, response: &Response) -> Value {
        let id = response.header("x-request-id").unwrap().to_owned();
        let text = self.program.stdout_until(|text| text.lines().any(|line| line.contains(&id))).unwrap();
        serde_json::from_str(text.lines().find(|line| line.contains(&id)).unwrap()).unwrap()
    }
}

/// What was said, for a failing test.
pub(super) fn told(response: &Response) -> (u16, String) {
    (response.status, response.problem().unwrap_or_default())
}

pub(super) fn b64u(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The keys that partners registered, in every state.
async fn register(dir: &TempDir, ed25519: &Key, p256: &Key) {
    let now = i64::try_from(unix_now()).unwrap();
    let place = Place::Folder(dir.path().join("store"));
    let store = Store::open(&place, Options::default(), now).unwrap();
    let keys = store.keys();
    let owner = keys.owner_named("acme".to_owned(), None, None).await.unwrap();
    let row = |id: &str, secret: &[u8; 32]| {
        let id = Id16::parse(id).unwrap();
        KeyRow {
            id,
            env: Env::Live,
            material: Material::Hmac { sealed: keys.seal_secret(id, secret).unwrap() },
            name: "billing".to_owned(),
            owner: owner.id.clone(),
            tenant: None,
            scopes: vec!["transfers.write".to_owned(), "both".to_owned()],
            attributes: r#"{"org_id":"acme"}"#.to_owned(),
            apis: vec!["partners".to_owned()],
            ip_allow: Vec::new(),
            dates: Dates::new(now - 10, 90 * 86_400, 48 * 3_600),
            predecessor: None,
            successor: None,
            on_first_use: false,
            first_used: None,
            last_used: None,
            revoked_reason: None,
            exposed_at: None,
        }
    };
    let jwk = |id: &str, key: &Key| {
        let material = Material::Jwk { jwk: key.jwk().to_string(), alg: key.algorithm.name().to_owned() };
        KeyRow { material, ..row(id, &SECRET) }
    };
    let dated = |id: &str, change: &dyn Fn(&mut Dates)| {
        let mut row = row(id, &SECRET);
        change(&mut row.dates);
        row
    };
    for row in [
        row(HMAC, &SECRET),
        row(OTHER, &OTHER_SECRET),
        jwk(ED25519, ed25519),
        jwk(P256, p256),
        dated(EXPIRED, &|dates| dates.expires_at = Some(now - 5)),
        dated(REVOKED, &|dates| dates.revoked_at = Some(now - 5)),
        dated(SUSPENDED, &|dates| dates.suspended_at = Some(now - 5)),
        dated(PENDING, &|dates| dates.activate_at = now + 900),
        dated(DEPRECATED, &|dates| dates.deprecated_at = Some(now - 5)),
        KeyRow { material: Material::Bearer { mac: [0; 32], pepper_version: 1 }, ..row(BEARER, &SECRET) },
        KeyRow { env: Env::Test, ..row(TEST_ENV, &SECRET) },
        KeyRow { ip_allow: vec!["192.0.2.0/24".to_owned()], ..row(ELSEWHERE, &SECRET) },
        KeyRow { apis: vec!["shop".to_owned()], ..row(OTHER_API, &SECRET) },
        KeyRow { apis: vec!["partners:createTransfer".to_owned()], ..row(ONE_OPERATION, &SECRET) },
        KeyRow { scopes: vec!["nothing".to_owned()], ..row(NO_SCOPE, &SECRET) },
        KeyRow { tenant: Some("globex".to_owned()), ..row(GLOBEX, &SECRET) },
        KeyRow { tenant: Some("initech".to_owned()), ..row(INITECH, &SECRET) },
    ] {
        keys.insert(row, By::job()).await.unwrap();
    }
    store.close();
}
