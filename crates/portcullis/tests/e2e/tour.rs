//! A tour of every refusal that a stranger or a caller with a token can meet, over every way in.

use crate::h2::H2;
use crate::world::{SPEC, World, items};
use portcullis_core::problem::Code;
use portcullis_testkit::idp::unix_now;
use portcullis_testkit::{Answer, Connection, Latch, Recorded, Response, Upstream, request};
use std::collections::BTreeSet;

/// Two APIs: one as it should be, and one whose upstream and issuer are gone.
pub(crate) const CONFIG: &str = r#"listen:
  - { address: "127.0.0.1:0" }
  - name: secure
    address: 127.0.0.1:0
    tls: { cert: { file: cert.pem }, key: { file: key.pem } }
admin: 127.0.0.1:0
drain: { delay: 0s, timeout: 5s }
bounds: { head: 1s }
issuers:
  corp: { url: "https://login.example.com/", discovery: { file: issuer.json }, algorithms: [ES256] }
  gone: { url: "https://gone.example.com/", discovery: { jwks: "http://127.0.0.1:1/jwks" }, algorithms: [ES256] }
limits:
  global: off
  address: off
  key: off
  user: off
  sensitive: { match: [{ tag: sensitive }], rate: 1/day, burst: 1 }
apis:
  shop:
    spec: openapi.yaml
    hosts: [localhost]
    upstream:
      servers: [{ url: UPSTREAM }]
      timeouts: { first_byte: 300ms }
    authenticate: { jwt: { issuer: corp, audience: shop } }
    request: { max_bytes: 2KiB, max_depth: 4 }
    return_headers: [X-Note]
    browsers: { origins: ["https://shop.example.com"], credentials: true, expose: [X-Note] }
    anonymous:
      - { allow: listItems, because: the catalogue is public, until: 2099-12-31 }
      - { allow: addNote, because: anybody may leave one, until: 2099-12-31 }
      - { allow: wait, because: it only waits, until: 2099-12-31 }
    operations: { wait: { concurrency: 1 } }
  strict:
    spec: openapi.yaml
    hosts: [strict.example.com]
    upstream: http://127.0.0.1:1
    authenticate: { jwt: { issuer: gone, audience: shop } }
    request: { require_length: true }
    anonymous:
      - { allow: listItems, because: the catalogue is public, until: 2099-12-31 }
      - { allow: addNote, because: anybody may leave one, until: 2099-12-31 }
      - { allow: wait, because: it only waits, until: 2099-12-31 }
"#;

/// Two more operations.
pub(crate) const MORE: &str = r#"  /notes:
    post:
      operationId: addNote
      security: []
      requestBody: { required: true, content: { text/plain: { schema: { type: string, maxLength: 100 } } } }
      responses: { "204": { description: noted } }
  /wait:
    get:
      operationId: wait
      security: []
      responses: { "204": { description: done } }
components:
"#;

/// Refusals that this tour does not meet, and who does.
const ELSEWHERE: [(&str, &[&str]); 9] = [
    ("`edge`: a plaintext listener", &["https-required"]),
    (
        "`administration`: the admin API, on its own listener",
        &[
            "administration-closed",
            "order-refused",
            "key-has-ended",
            "key-not-rotatable",
            "key-not-suspended",
            "key-rotation-in-progress",
        ],
    ),
    (
        "`graphql`: in GraphQL's own form",
        &["graphql-forbidden", "graphql-invalid", "graphql-malformed", "graphql-too-complex"],
    ),
    ("`uploads`", &["file-type-rejected", "malware-detected", "scanner-unavailable"]),
    ("`contract::urls`", &["url-not-allowed"]),
    (
        "the tests of keys, signatures, proofs and certificates",
        &[
            "credential-ambiguous",
            "credential-conflict",
            "dpop-proof-invalid",
            "dpop-nonce-required",
            "key-invalid",
            "key-expired",
            "key-not-allowed",
            "signature-missing",
            "signature-malformed",
            "signature-coverage",
            "signature-stale",
            "signature-replay",
            "signature-invalid",
            "signature-digest",
            "certificate-missing",
            "certificate-invalid",
            "key-store-unavailable",
            "replay-store-unavailable",
            "revocation-unavailable",
        ],
    ),
    ("the configuration, which lets nothing come so far", &["cost-exceeds-burst", "limits-unavailable"]),
    ("nobody, as long as there is no fault of ours", &["internal-error"]),
    ("concealed: told as not-found", &["object-not-yours"]),
];

/// Everything that may stand in an answer of the gate's own, or beside what the document declares.
const FIELDS: [&str; 27] = [
    "content-type",
    "content-length",
    "cache-control",
    "x-content-type-options",
    "x-frame-options",
    "content-security-policy",
    "referrer-policy",
    "permissions-policy",
    "cross-origin-resource-policy",
    "strict-transport-security",
    "x-request-id",
    "date",
    "connection",
    "vary",
    "allow",
    "retry-after",
    "www-authenticate",
    "accept-encoding",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "ratelimit-policy",
    "ratelimit",
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-expose-headers",
    "x-note",
];

/// One refusal: what is sent, and which code comes of it.
struct Stop {
    code: &'static str,
    status: u16,
    method: &'static str,
    target: String,
    fields: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

fn stop(code: &'static str, status: u16, method: &'static str, target: &str) -> Stop {
    Stop { code, status, method, target: target.to_owned(), fields: Vec::new(), body: Vec::new() }
}

impl Stop {
    fn field(mut self, name: &'static str, value: &str) -> Self {
        self.fields.push((name, value.to_owned()));
        self
    }

    fn json(self, body: &str) -> Self {
        let mut with = self.field("content-type", "application/json");
        with.body = body.as_bytes().to_vec();
        with
    }
}

/// What can be said over HTTP/1.1 and HTTP/2.
fn stops(world: &World) -> Vec<Stop> {
    let bearer = world.bearer("alice", "orders:read orders:write");
    let reader = world.bearer("alice", "orders:read");
    let now = unix_now();
    let claims = || world.claims("alice", "orders:read orders:write");
    let expired =
        format!("Bearer {}", claims().claim("iat", now - 900).claim("exp", now - 600).sign(&world.key));
    let unsigned = format!("Bearer {}", claims().unsigned());
    let key =
        portcullis_core::opaque::ApiKey::new(portcullis_core::opaque::Env::Live, [7; 10], [0x5a; 32]).text();
    let order =
        |code, body: &str| stop(code, 400, "POST", "/orders").field("authorization", &bearer).json(body);
    let big = format!("{{\"item\":\"{}\"}}", "a".repeat(3_000));
    let note = |code, status| stop(code, status, "POST", "/notes");
    let mut binary = note("malformed-body", 400).field("content-type", "text/plain");
    binary.body = b"caf\xe9".to_vec();
    let mut coded = note("unsupported-encoding", 415)
        .field("content-type", "text/plain")
        .field("content-encoding", "compress");
    coded.body = b"abc".to_vec();
    let mut unexpected = stop("body-unexpected", 400, "GET", "/items");
    unexpected.body = b"{}".to_vec();
    let tag = |code, status, tag: &str| stop(code, status, "GET", &format!("/items?tag={tag}"));
    vec![
        stop("path-refused", 400, "GET", "/items/../orders"),
        stop("path-refused", 400, "GET", "/items/%2e%2e/orders"),
        stop("path-refused", 400, "GET", "//items"),
        stop("path-refused", 400, "GET", "/users/a%2fb").field("authorization", &bearer),
        stop("header-refused", 400, "GET", "/items").field("x-http-method-override", "DELETE"),
        stop("header-refused", 400, "GET", "/items").field("x_forwarded_for", "1.2.3.4"),
        stop("duplicate-header", 400, "GET", "/items")
            .field("origin", "https://a.example")
            .field("origin", "https://b.example"),
        stop("duplicate-header", 400, "GET", "/items").field("x-region", "a").field("x-region", "b"),
        stop("secret-in-url", 400, "GET", "/items?access_token=abc"),
        stop("secret-in-url", 400, "GET", "/items?tag=4111111111111111"),
        stop("origin-refused", 403, "OPTIONS", "/items")
            .field("origin", "https://shop.example.com.attacker.example")
            .field("access-control-request-method", "GET"),
        stop("origin-refused", 403, "OPTIONS", "/items")
            .field("origin", "https://shop.example.com")
            .field("access-control-request-method", "DELETE"),
        stop("method-not-allowed", 405, "DELETE", "/items"),
        stop("method-not-allowed", 405, "TRACE", "/items"),
        stop("method-not-allowed", 405, "OPTIONS", "/items"),
        stop("operation-undeclared", 404, "GET", "/debug"),
        stop("operation-undeclared", 404, "GET", "/items/"),
        stop("header-too-large", 431, "GET", "/items").field("x-region", &"a".repeat(9 << 10)),
        stop("uri-too-long", 414, "GET", &format!("/items?tag={}", "a".repeat(9 << 10))),
        stop("expectation-failed", 417, "GET", "/items").field("expect", "200-ok"),
        stop("invalid-parameter", 400, "GET", "/items?limit=51"),
        stop("invalid-parameter", 400, "GET", "/items?limit=two"),
        stop("invalid-parameter", 400, "GET", "/items").field("x-region", "far-too-long"),
        stop("invalid-parameter", 400, "GET", "/orders/0?owner=alice").field("authorization", &bearer),
        stop("unknown-parameter", 400, "GET", "/items?admin=true"),
        stop("duplicate-parameter", 400, "GET", "/items?limit=1&limit=2"),
        stop("not-acceptable", 406, "GET", "/items").field("accept", "text/html"),
        stop("body-missing", 400, "POST", "/orders")
            .field("authorization", &bearer)
            .field("content-type", "application/json"),
        unexpected,
        stop("unsupported-media-type", 415, "POST", "/orders")
            .field("authorization", &bearer)
            .json("item=a")
            .field("x-none", "1"),
        coded,
        binary,
        order("payload-too-large", &big),
        order("malformed-json", "{\"item\":\"a\",}"),
        order("malformed-json", "{\"item\":NaN}"),
        order("duplicate-key", "{\"item\":\"a\",\"item\":\"b\"}"),
        order("json-too-complex", "{\"item\":[[[[[[1]]]]]]}"),
        order("schema-violation", "{\"item\":7}"),
        order("schema-violation", "{\"item\":\"a\",\"role\":\"admin\"}"),
        order("schema-violation", "{\"item\":\"a\",\"quantity\":10}"),
        stop("credential-missing", 401, "GET", "/users/alice"),
        stop("credential-unsupported", 401, "GET", "/users/alice").field("authorization", "Basic YTpi"),
        stop("credential-misplaced", 400, "GET", "/users/alice")
            .field("cookie", &format!("k={}", key.expose())),
        stop("token-invalid", 401, "GET", "/users/alice").field("authorization", &unsigned),
        stop("token-invalid", 401, "GET", "/users/alice").field("authorization", "Bearer garbage"),
        stop("token-expired", 401, "GET", "/users/alice").field("authorization", &expired),
        stop("scope-missing", 403, "POST", "/orders")
            .field("authorization", &reader)
            .json("{\"item\":\"a\"}"),
        stop("not-found", 404, "GET", "/users/bob").field("authorization", &bearer),
        stop("not-found", 404, "GET", "/orders/7?owner=bob").field("authorization", &bearer),
        stop("upstream-error", 502, "GET", "/items?tag=500"),
        tag("upstream-error", 502, "hang-up"),
        tag("upstream-error", 502, "both-lengths"),
        tag("upstream-timeout", 504, "held"),
        tag("upstream-unavailable", 503, "503"),
        tag("upstream-refused", 418, "418"),
        tag("upstream-refused", 404, "404"),
        tag("response-violation", 502, "202"),
        tag("response-violation", 502, "html"),
        tag("response-violation", 502, "no-json"),
    ]
    .into_iter()
    .map(|mut stop| {
        // Where the media type is what is wrong.
        if stop.code == "unsupported-media-type" {
            stop.fields
                .iter_mut()
                .filter(|(name, _)| *name == "content-type")
                .for_each(|(_, v)| *v = "application/x-www-form-urlencoded".to_owned());
            stop.fields.retain(|(name, _)| *name != "x-none");
        }
        if stop.code == "payload-too-large" {
            stop.status = 413;
        }
        stop
    })
    .collect()
}

pub(crate) fn script(latch: &Latch) -> impl Fn(&Recorded) -> Answer + Send + 'static {
    let latch = latch.clone();
    move |seen| {
        let tag = seen.target.split("tag=").nth(1).unwrap_or_default();
        if seen.target == "/wait" {
            return Answer::status(204).held_by(&latch);
        }
        match tag {
            "500" => Answer::status(500)
                .header("Content-Type", "text/html")
                .body("<h1>Traceback (most recent call last)</h1>"),
            "503" => Answer::status(503).header("Retry-After", "7"),
            "418" => Answer::status(418).header("Server", "teapot/1").body("short and stout"),
            "404" => Answer::status(404)
                .header("Content-Type", "application/json")
                .body(r#"{"error":"java.lang.NullPointerException at com.shop.Db.find(Db.java:17)"}"#),
            "202" => Answer::status(202),
            "html" => Answer::status(200).header("Content-Type", "text/html").body("<p>hello"),
            "no-json" => Answer::json("{\"items\":["),
            "hang-up" => Answer::hang_up(),
            "held" => items().held_by(&Latch::new()),
            "both-lengths" => Answer::raw(
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            ),
            _ => items()
                .header("X-Note", "kept")
                .header("X-Total-Count", "1")
                .header("X-Undeclared", "1")
                .header("Server", "shop/0.1")
                .header("X-Powered-By", "magic")
                .header("Access-Control-Allow-Origin", "*")
                .header("Set-Cookie", "a=b")
                .header("Cache-Control", "public, max-age=60"),
        }
    }
}

/// An answer over any protocol.
pub(crate) struct Told {
    pub(crate) status: u16,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Told {
    pub(crate) fn of(response: &Response) -> Self {
        let fields =
            response.message.headers.iter().map(|(n, v)| (n.to_ascii_lowercase(), v.clone())).collect();
        Self { status: response.status, fields, body: response.body.clone() }
    }

    pub(crate) fn one(&self, name: &str) -> Option<&str> {
        let all: Vec<&str> = self.fields.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
        assert!(all.len() <= 1, "{name} {} times", all.len());
        all.first().copied()
    }

    /// Every answer has these, whatever it says (wire.md, section 12).
    pub(crate) fn is_dressed(&self, secure: bool, what: &str) {
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(self.one(name), Some(value), "{what}");
        }
        assert!(
            self.one("permissions-policy").is_some_and(|value| value.contains("geolocation=()")),
            "{what}"
        );
        let hsts = self.one("strict-transport-security");
        assert_eq!(hsts, secure.then_some("max-age=63072000; includeSubDomains"), "{what}");
        assert_eq!(self.one("x-request-id").map(str::len), Some(36), "{what}");
        for (name, _) in &self.fields {
            let declared = self.status == 200 && name == "x-total-count";
            assert!(declared || FIELDS.contains(&name.as_str()), "{what}: {name} is on nobody's list");
        }
    }

    fn is_problem(&self, code: &str, status: u16, secure: bool, what: &str) {
        let text = String::from_utf8_lossy(&self.body);
        let json: serde_json::Value =
            serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{what}: {e}: {text}"));
        assert_eq!(json["type"], format!("urn:portcullis:problem:{code}"), "{what}: {text}");
        assert_eq!(
            (self.status, json["status"].as_u64()),
            (status, Some(u64::from(status))),
            "{what}: {text}"
        );
        assert_eq!(self.one("content-type"), Some("application/problem+json"), "{what}");
        let id = self.one("x-request-id").unwrap();
        assert_eq!(json["instance"], format!("urn:uuid:{id}"), "{what}");
        let known = Code::ALL.iter().find(|known| known.text() == code).unwrap();
        assert_eq!(json["title"], known.title(), "{what}");
        assert_eq!(self.one("cache-control"), Some("no-store"), "{what}");
        for member in json.as_object().unwrap().keys() {
            let known = ["type", "title", "status", "instance", "errors", "violated-policies"];
            assert!(known.contains(&member.as_str()), "{what}: member {member}");
        }
        if status == 401 {
            let mut challenges = self.fields.iter().filter(|(name, _)| name == "www-authenticate");
            assert!(challenges.any(|(_, value)| value.starts_with("Bearer")), "{what}: no challenge");
        }
        if status == 405 {
            assert!(self.one("allow").is_some(), "{what}: no Allow");
        }
        self.is_dressed(secure, what);
    }
}

#[tokio::test]
async fn every_problem_has_its_code_its_status_and_every_header_over_every_way_in() {
    let latch = Latch::new();
    let spec = SPEC.replace("components:\n", MORE);
    let world = World::behind(Upstream::start(script(&latch)), CONFIG, &[("openapi.yaml", &spec)]);
    let mut met: BTreeSet<&str> = BTreeSet::new();
    let h2 = H2::open(world.secure(), world.tls(&[b"h2"])).await.unwrap();
    for stop in stops(&world) {
        let fields: Vec<(&str, &str)> = stop.fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let bytes = request(stop.method, &stop.target, &fields, &stop.body);
        let what =
            format!("{} {} for {}", stop.method, stop.target.chars().take(60).collect::<String>(), stop.code);
        let plain = world.ask(stop.method, &stop.target, &fields, &stop.body).await;
        Told::of(&plain).is_problem(stop.code, stop.status, false, &what);
        assert_eq!(world.line_of(&plain)["error.code"], logged(stop.code, &stop.target), "{what}");
        let mut connection = world.tls_connection().await.unwrap();
        connection.write(&bytes).await.unwrap();
        Told::of(&connection.response().await.unwrap()).is_problem(stop.code, stop.status, true, &what);
        let answer = h2.send(stop.method, &stop.target, &fields, &stop.body).await.unwrap();
        let fields =
            answer.headers.iter().map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect();
        let told = Told { status: answer.status, fields, body: answer.body };
        told.is_problem(stop.code, stop.status, true, &format!("{what} over HTTP/2"));
        // HEAD is told the same without a body.
        if stop.method == "GET" && stop.code == "operation-undeclared" {
            let mut head = Connection::open(world.public()).await.unwrap();
            head.head_request = true;
            head.write(&request("HEAD", &stop.target, &[], b"")).await.unwrap();
            let answer = head.response().await.unwrap();
            assert_eq!((answer.status, answer.body.len()), (404, 0));
        }
        met.insert(stop.code);
    }
    met.extend(raw_stops(&world).await);
    met.extend(stateful_stops(&world, &latch).await);
    let elsewhere: BTreeSet<&str> = ELSEWHERE.iter().flat_map(|(_, codes)| codes.iter().copied()).collect();
    let all: BTreeSet<&str> = Code::ALL.iter().map(|code| code.text()).collect();
    let missing: Vec<&&str> =
        all.iter().filter(|code| !met.contains(*code) && !elsewhere.contains(*code)).collect();
    assert!(missing.is_empty(), "nobody shows {missing:?}");
    let twice: Vec<&&str> = met.intersection(&elsewhere).collect();
    assert!(twice.is_empty(), "not only elsewhere: {twice:?}");
}

fn logged(code: &'static str, target: &str) -> &'static str {
    // The log has the verdict; the client is told that there is no such object.
    if code == "not-found" && !target.contains("tag=") { "object-not-yours" } else { code }
}

/// What only bytes can say, over HTTP/1.1.
async fn raw_stops(world: &World) -> Vec<&'static str> {
    let strict = "Host: strict.example.com\r\n";
    let chunked = format!(
        "POST /notes HTTP/1.1\r\n{strict}Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
    );
    let token = world.claims("alice", "").claim("iss", "https://gone.example.com/").sign(&world.key);
    let gone = format!("GET /users/alice HTTP/1.1\r\n{strict}Authorization: Bearer {token}\r\n\r\n");
    let mut met = Vec::new();
    for (code, status, bytes) in [
        ("malformed-request", 400, "GET /items HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n".to_owned()),
        ("http-version-unsupported", 505, "GET /items HTTP/1.0\r\nHost: localhost\r\n\r\n".to_owned()),
        ("method-not-allowed", 405, "CONNECT localhost:1 HTTP/1.1\r\nHost: localhost:1\r\n\r\n".to_owned()),
        ("misdirected-request", 421, "GET /items HTTP/1.1\r\nHost: other.example.com\r\n\r\n".to_owned()),
        ("request-timeout", 408, "GET /items HTTP/1.1\r\nHost: localh".to_owned()),
        ("length-required", 411, chunked),
        ("issuer-unavailable", 503, gone),
        ("upstream-unavailable", 503, format!("GET /items HTTP/1.1\r\n{strict}\r\n")),
    ] {
        let mut connection = Connection::open(world.public()).await.unwrap();
        connection.write(bytes.as_bytes()).await.unwrap();
        let told = Told::of(&connection.response().await.unwrap_or_else(|e| panic!("{code}: {e}")));
        if status == 405 {
            assert_eq!(told.status, 405);
            told.is_dressed(false, "CONNECT");
        } else {
            told.is_problem(code, status, false, code);
        }
        met.push(code);
    }
    met
}

/// What needs a history: a limit that is spent, a place that is taken, a proxy that is ourselves.
async fn stateful_stops(world: &World, latch: &Latch) -> Vec<&'static str> {
    let bearer = world.bearer("alice", "");
    let body = br#"{"from":"alice","to":"bob"}"#;
    let fields = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
        ("Origin", "https://shop.example.com"),
    ];
    world.upstream.answer(|_| Answer::status(201));
    assert_eq!(world.ask("POST", "/transfers", &fields, body).await.status, 201);
    let spent = world.ask("POST", "/transfers", &fields, body).await;
    let told = Told::of(&spent);
    told.is_problem("quota-spent", 429, false, "a spent limit");
    let wait: u64 = told.one("retry-after").unwrap().parse().unwrap();
    assert!((86_390..=86_400).contains(&wait), "{wait}");
    assert_eq!(told.one("x-ratelimit-limit"), Some("1"));
    assert_eq!(told.one("x-ratelimit-remaining"), Some("0"));
    assert!(
        told.one("ratelimit-policy").is_some_and(|value| value.contains(";q=1;w=86400")),
        "{:?}",
        told.fields
    );
    assert_eq!(told.one("access-control-allow-origin"), Some("https://shop.example.com"));
    let exposed = told.one("access-control-expose-headers").unwrap().to_ascii_lowercase();
    assert!(exposed.contains("ratelimit") && exposed.contains("retry-after"), "{exposed}");

    world.upstream.answer(script(latch));
    let before = world.upstream.requests().len();
    let mut held = Connection::open(world.public()).await.unwrap();
    held.write(&request("GET", "/wait", &[], b"")).await.unwrap();
    world.upstream.received(before + 1).await.unwrap();
    let told = Told::of(&world.get("/wait").await);
    told.is_problem("overloaded", 503, false, "a place that is taken");
    assert_eq!(told.one("retry-after"), Some("1"));
    latch.release();
    assert!(held.response().await.is_ok());

    let through = CONFIG.replace("bounds:", "trusted_proxies: [127.0.0.0/8]\nbounds:");
    let spec = SPEC.replace("components:\n", MORE);
    let round = World::behind(Upstream::start(|_| items()), &through, &[("openapi.yaml", &spec)]);
    assert_eq!(round.get("/items").await.status, 200);
    let via = round.upstream.requests()[0].header("via").unwrap().to_owned();
    let again = round.ask("GET", "/items", &[("Via", &via), ("X-Forwarded-For", "192.0.2.1")], b"").await;
    Told::of(&again).is_problem("loop-detected", 508, false, "our own Via");
    vec!["quota-spent", "overloaded", "loop-detected"]
}
