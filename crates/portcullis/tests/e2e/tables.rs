//! The tables of the edge (`crates/gateway/vectors/`) once more, through the running program and to an upstream that keeps
//! raw bytes: what the gates say by themselves is what the program does.

use crate::world::{BINARY, World};
use base64::Engine as _;
use portcullis_testkit::certs::{Authority, Certificate};
use portcullis_testkit::{Answer, Connection, Program, Recorded, Response, TempDir, Upstream};
use rustls::pki_types::ServerName;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;

/// Targets of `forward.yaml`, and header parameters of `headers.yaml`; everything for anybody.
const DOCUMENT: &str = r#"openapi: 3.1.0
info: { title: Shop, version: "1" }
components:
  securitySchemes:
    key: { type: apiKey, in: header, name: X-API-Key }
    bearer: { type: http, scheme: bearer }
paths:
  /orders/{id}:
    get:
      operationId: getOrder
      security: []
      parameters:
        - { name: id, in: path, required: true, schema: { type: string } }
        - { name: q, in: query, schema: { type: string } }
        - { name: page, in: query, schema: { type: integer } }
        - { name: X-Declared, in: header, schema: { type: string } }
        - { name: Content-Type-Hint, in: header, schema: { type: string } }
      responses: { "200": { description: ok, content: { application/json: { schema: { type: object, properties: { ok: { type: boolean } } } } } } }
    post:
      operationId: postOrder
      security: [{ bearer: [] }]
      parameters: [{ name: id, in: path, required: true, schema: { type: string } }]
      responses: { "200": { description: ok, content: { application/json: { schema: { type: object, properties: { ok: { type: boolean } } } } } } }
  /lists/{items}:
    get:
      operationId: getList
      security: []
      parameters:
        - { name: items, in: path, required: true, schema: { type: array, items: { type: string } } }
      responses: { "200": { description: ok, content: { application/json: { schema: { type: object, properties: { ok: { type: boolean } } } } } } }
  /colors/{c}:
    get:
      operationId: getColors
      security: []
      parameters:
        - { name: c, in: path, required: true, style: matrix, schema: { type: array, items: { type: string } } }
      responses: { "200": { description: ok, content: { application/json: { schema: { type: object, properties: { ok: { type: boolean } } } } } } }
"#;

/// The listener believes a PROXY header, so that a request can come from anywhere.
fn config(extra: &str, api: &str) -> String {
    format!(
        "listen:\n\
         \x20 - {{ name: public, address: \"127.0.0.1:0\", public_port: 443, proxy_protocol: {{ from: [127.0.0.1/32] }}, tls: {{ cert: {{ file: cert.pem }}, key: {{ file: key.pem }} }} }}\n\
         admin: 127.0.0.1:0\n\
         drain: {{ delay: 0s, timeout: 5s }}\n\
         store: {{ folder: store }}\n\
         limits: {{ global: off, address: off, key: off, user: off }}\n\
         issuers:\n\
         \x20 corp: {{ url: \"https://login.example.com/\", discovery: {{ file: issuer.json }}, algorithms: [ES256] }}\n\
         {extra}\
         apis:\n\
         \x20 shop:\n\
         \x20   spec: openapi.yaml\n\
         \x20   hosts: [api.example.com]\n\
         \x20   upstream: UPSTREAM/base\n\
         \x20   identity: {{ sign: true }}\n\
         \x20   forward_headers: [X-Shop-Region]\n\
         \x20   authenticate: {{ jwt: {{ issuer: corp, audience: shop }}, api_key: {{ env: live }} }}\n\
         \x20   anonymous:\n\
         \x20     - {{ allow: getOrder, because: a test, until: 2099-12-31 }}\n\
         \x20     - {{ allow: getList, because: a test, until: 2099-12-31 }}\n\
         \x20     - {{ allow: getColors, because: a test, until: 2099-12-31 }}\n\
         {api}"
    )
}

fn world(extra: &str, api: &str) -> World {
    let upstream = Upstream::start(|_: &Recorded| Answer::json("{}"));
    World::behind(upstream, &config(extra, api), &[("openapi.yaml", DOCUMENT)])
}

/// A TLS connection behind a PROXY header that names `source`.
async fn from(world: &World, source: &str, name: &str) -> Connection {
    let mut tcp = tokio::net::TcpStream::connect(world.public()).await.unwrap();
    let family = if source.contains(':') { ("TCP6", "::1") } else { ("TCP4", "127.0.0.1") };
    tcp.write_all(format!("PROXY {} {source} {} 4711 443\r\n", family.0, family.1).as_bytes()).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream =
        tokio_rustls::TlsConnector::from(world.tls(&[b"http/1.1"])).connect(name, tcp).await.unwrap();
    Connection::over(stream)
}

/// Vectors write bytes as the characters U+0000 to U+00FF.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

fn head(method: &str, target: &str, fields: &[(String, String)]) -> Vec<u8> {
    let mut bytes = format!("{method} {target} HTTP/1.1\r\nHost: api.example.com\r\n").into_bytes();
    for (name, value) in fields {
        bytes.extend([latin1(name), b": ".to_vec(), latin1(value), b"\r\n".to_vec()].concat());
    }
    bytes.extend(b"\r\n");
    bytes
}

/// What is sent, and what came of it: the answer, and what the upstream saw.
async fn ask(world: &World, source: &str, bytes: &[u8]) -> (Response, Option<Recorded>) {
    let before = world.upstream.requests().len();
    let mut connection = from(world, source, "api.example.com").await;
    connection.write(bytes).await.unwrap();
    let answer = connection.response().await.unwrap();
    let seen = world.upstream.requests();
    assert!(seen.len() <= before + 1, "one request is one request");
    (answer, seen.into_iter().nth(before))
}

fn list(wrong: &[String], checked: usize) {
    assert!(wrong.is_empty(), "\n{}\n({} of {checked})", wrong.join("\n"), wrong.len());
}

#[derive(Deserialize)]
struct Case {
    name: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    peer: Option<String>,
    #[serde(default)]
    trusted: Vec<String>,
    #[serde(default)]
    client_header: String,
    #[serde(default)]
    websocket: bool,
    #[serde(default)]
    proxy_protocol: bool,
    expect: Expect,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Expect {
    code: Option<String>,
    client: Option<String>,
    #[serde(default)]
    upstream: BTreeMap<String, Option<String>>,
}

/// Each case of `headers.yaml` that HTTP/1.1 can say: the same problem, or the same fields at the upstream; and of what is
/// reserved nothing there but ours.
#[tokio::test]
async fn every_case_of_the_table_of_headers_is_the_same_through_the_program() {
    let world = world("", "");
    let cases: Vec<Case> =
        serde_saphyr::from_str(include_str!("../../../gateway/vectors/headers.yaml")).unwrap();
    let (mut wrong, mut refused, mut fields) = (Vec::new(), 0, 0);
    // Cases that another gate of the program stops, before or behind the one that the table is about.
    let elsewhere = BTreeMap::from([
        ("name-too-long", "malformed-request"),
        ("multi-content-length", "malformed-request"),
        ("bytes-tab-is-fine", "invalid-parameter"),
        ("multi-list-is-joined", "not-acceptable"),
        ("admission-fixed-list", "not-acceptable"),
        ("admission-credentials-are-stripped", "credential-ambiguous"),
    ]);
    for case in &cases {
        // What frames a body at HTTP/1.1, or needs a caller, is in other tables.
        let names: BTreeSet<String> =
            case.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        let framing =
            ["transfer-encoding", "content-length", "upgrade"].iter().any(|name| names.contains(*name));
        if case.version.as_deref() == Some("2") || case.websocket || (framing && case.expect.code.is_none()) {
            continue;
        }
        let (method, target) =
            (case.method.as_deref().unwrap_or("GET"), case.target.as_deref().unwrap_or("/orders/1"));
        let (answer, seen) = ask(&world, "203.0.113.9", &head(method, target, &case.headers)).await;
        let problem = answer.problem();
        if let Some(code) = elsewhere.get(case.name.as_str()) {
            if problem.as_deref() != Some(*code) || seen.is_some() {
                wrong.push(format!("headers#{}: {} {problem:?}, not {code}", case.name, answer.status));
            }
            continue;
        }
        if let Some(code) = &case.expect.code {
            refused += 1;
            if problem.as_ref() != Some(code) || seen.is_some() {
                wrong.push(format!("headers#{}: {} {problem:?}, not {code}", case.name, answer.status));
            }
            continue;
        }
        let Some(seen) = seen else {
            // A credential that proves nothing is refused one gate later, also where nobody needs one.
            let credential = ["authorization", "x-api-key", "dpop"].iter().any(|name| names.contains(*name));
            if !(credential && answer.status == 401) && method == "GET" {
                wrong.push(format!("headers#{}: {} {problem:?}, not forwarded", case.name, answer.status));
            }
            continue;
        };
        if !seen.message.anomalies.is_empty() {
            wrong.push(format!("headers#{}: {:?}", case.name, seen.message.anomalies));
        }
        for (name, wanted) in &case.expect.upstream {
            fields += 1;
            let got = seen.message.values(name);
            let fits = match (name.as_str(), wanted.as_deref()) {
                // Made for the request: there is one, and it is not what the client said.
                ("portcullis-identity", Some("ours")) => got.len() == 1 && got[0].split('.').count() == 3,
                ("x-request-id" | "traceparent" | "via" | "host", Some(_)) => {
                    got.len() == 1 && !case.headers.iter().any(|(_, theirs)| theirs == got[0])
                }
                (_, wanted) => got == wanted.into_iter().collect::<Vec<_>>(),
            };
            if !fits {
                wrong.push(format!("headers#{}: {name} is {got:?}, not {wanted:?}", case.name));
            }
        }
    }
    list(&wrong, refused + fields);
    assert!(refused > 40 && fields > 50, "{refused} refused, {fields} fields looked at");
}

/// Who the client is: the address at the upstream, for each case and each setting of trusted proxies.
#[tokio::test]
async fn every_case_of_the_table_of_forwarded_is_the_same_through_the_program() {
    let cases: Vec<Case> =
        serde_saphyr::from_str(include_str!("../../../gateway/vectors/forwarded.yaml")).unwrap();
    let mut settings: BTreeMap<String, Vec<&Case>> = BTreeMap::new();
    for case in cases.iter().filter(|case| case.expect.client.is_some() && !case.proxy_protocol) {
        let header = if case.client_header.is_empty() { "x_forwarded_for" } else { &case.client_header };
        let quoted: Vec<String> = case.trusted.iter().map(|net| format!("\"{net}\"")).collect();
        let setting = format!("trusted_proxies: [{}]\nclient_address: {header}\n", quoted.join(", "));
        settings.entry(setting).or_default().push(case);
    }
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for (setting, cases) in &settings {
        let world = world(setting, "");
        for case in cases {
            let peer = case.peer.as_deref().unwrap_or("203.0.113.9");
            // The PROXY header says an IPv4 address as one.
            let peer = peer.strip_prefix("::ffff:").unwrap_or(peer);
            let (answer, seen) = ask(&world, peer, &head("GET", "/orders/1", &case.headers)).await;
            let wanted = case.expect.client.as_deref().unwrap();
            let got = seen.as_ref().map(|seen| seen.message.values("x-forwarded-for"));
            if got.as_deref() != Some(&[wanted]) {
                wrong.push(format!("forwarded#{}: {} {got:?}, not {wanted}", case.name, answer.status));
            }
            checked += 1;
        }
    }
    list(&wrong, checked);
    assert!(checked > 30, "{checked} cases");
}

#[derive(Deserialize)]
struct Way {
    name: String,
    #[serde(default)]
    method: Option<String>,
    target: String,
    expect: End,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum End {
    Target(String),
    Code(String),
    Rule(String),
    Route(String),
}

/// What a target becomes: the exact text in the upstream's request line, or the refusal.
#[tokio::test]
async fn every_case_of_the_table_of_targets_is_the_same_at_the_upstream() {
    let world = world("", "");
    let cases: Vec<Way> =
        serde_saphyr::from_str(include_str!("../../../gateway/vectors/forward.yaml")).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let method = case.method.as_deref().unwrap_or("GET");
        // A target with a space or a line break in it is not one any more: the table of framing has those.
        let (answer, seen) = ask(&world, "203.0.113.9", &head(method, &case.target, &[])).await;
        let problem = answer.problem();
        let fits = match (&case.expect, &seen) {
            (End::Target(wanted), Some(seen)) => seen.target == *wanted && answer.status == 200,
            (End::Code(code), None) => problem.as_ref() == Some(code),
            (End::Rule(rule), None) => {
                let rules = answer.json()["errors"].to_string();
                answer.status == 400 && rules.contains(rule.as_str())
            }
            (End::Route(route), None) => match route.as_str() {
                "undeclared" => problem.as_deref() == Some("operation-undeclared"),
                "marked" => problem.as_deref() == Some("path-refused"),
                _ => answer.status == 405,
            },
            _ => false,
        };
        if !fits {
            let target = seen.map(|seen| seen.target);
            let text = answer.text();
            wrong.push(format!(
                "forward#{}: {} {target:?} {text}, not {:?}",
                case.name, answer.status, case.expect
            ));
        }
    }
    list(&wrong, cases.len());
    assert!(cases.len() > 25);
}

#[derive(Deserialize)]
struct Page {
    name: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    any: bool,
    #[serde(default)]
    cookie_caller: bool,
    #[serde(default)]
    websocket: bool,
    expect: Shown,
}

#[derive(Deserialize)]
struct Shown {
    code: Option<String>,
    status: Option<u16>,
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
}

const PAGES: &str = r#"openapi: 3.1.0
info: { title: Pages, version: "1" }
components: { securitySchemes: { bearer: { type: http, scheme: bearer } } }
paths:
  /orders/1:
    get:
      operationId: getOne
      security: []
      responses: { "200": { description: ok, content: { application/json: { schema: { type: object, properties: { ok: { type: boolean } } } } } } }
    post:
      operationId: postOne
      security: [{ bearer: [] }]
      requestBody: { content: { application/json: { schema: { type: object, properties: { ok: { type: boolean } } } } } }
      responses: { "200": { description: ok, content: { application/json: { schema: { type: object, properties: { ok: { type: boolean } } } } } } }
  /feed:
    get:
      operationId: feed
      security: []
      responses: { "200": { description: messages } }
"#;

/// What pages of other origins are told, and `Vary: Origin` on whatever is answered where pages may call.
#[tokio::test]
async fn every_case_of_the_table_of_pages_is_the_same_through_the_program() {
    let cases: Vec<Page> =
        serde_saphyr::from_str(include_str!("../../../gateway/vectors/cors.yaml")).unwrap();
    let api = |origins: &str| {
        let config = config("", &format!("    browsers: {{ {origins} }}\n"));
        let from = config.find("    anonymous:\n").unwrap();
        let to = config.find("    browsers:").unwrap();
        let open = "    anonymous:\n      - { allow: getOne, because: a test, until: 2099-12-31 }\n      - { allow: feed, because: a test, until: 2099-12-31 }\n    operations:\n      feed: { websocket: { subprotocols: [chat], opaque: { allow: messages, because: a test, until: 2099-12-31 } } }\n";
        let config = format!("{}{open}{}", &config[..from], &config[to..]);
        let upstream = Upstream::start(|_: &Recorded| Answer::json("{}"));
        World::behind(upstream, &config, &[("openapi.yaml", PAGES)])
    };
    let named =
        api("origins: [\"https://shop.example.com\", \"https://*.shop.example.com\"], credentials: true");
    let any = api("origins: [\"*\"]");
    let (mut wrong, mut checked) = (Vec::new(), 0);
    // A caller by cookie comes with the sign-in; the gate's own run has those cases.
    for case in cases.iter().filter(|case| !case.cookie_caller) {
        let world = if case.any { &any } else { &named };
        let (method, mut fields) = (case.method.as_deref().unwrap_or("GET"), case.headers.clone());
        let target = if case.websocket {
            for (name, value) in [
                ("Connection", "Upgrade"),
                ("Upgrade", "websocket"),
                ("Sec-WebSocket-Version", "13"),
                ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
                ("Sec-WebSocket-Protocol", "chat"),
            ] {
                fields.push((name.to_owned(), value.to_owned()));
            }
            "/feed"
        } else {
            "/orders/1"
        };
        let (answer, seen) = ask(world, "203.0.113.9", &head(method, target, &fields)).await;
        checked += 1;
        let mut say = |why: String| wrong.push(format!("cors#{}: {why}", case.name));
        let values = |name: &str| answer.message.values(name);
        if !values("vary").iter().any(|line| line.to_ascii_lowercase().contains("origin")) {
            say("no Vary: Origin".to_owned());
        }
        match (&case.expect.code, case.expect.status) {
            (Some(code), _) => {
                if answer.problem().as_ref() != Some(code) || seen.is_some() {
                    say(format!("{} {:?}, not {code}", answer.status, answer.problem()));
                }
                if answer
                    .message
                    .headers
                    .iter()
                    .any(|(name, _)| name.to_ascii_lowercase().starts_with("access-control"))
                {
                    say("a CORS header on a refusal".to_owned());
                }
                continue;
            }
            (None, Some(status)) => {
                if answer.status != status || seen.is_some() {
                    say(format!("{}, not {status}, or it reached the upstream", answer.status));
                }
            }
            // No preflight, and an operation that is not declared.
            (None, None) if method == "OPTIONS" => {
                if answer.status != 405 || seen.is_some() {
                    say(format!("{}, not 405", answer.status));
                }
                continue;
            }
            (None, None) => {
                // A caller without a credential is told so, with the same fields.
                let reached = seen.is_some() || (method != "GET" && answer.status == 401);
                if !reached {
                    say(format!("{} {:?}", answer.status, answer.problem()));
                }
            }
        }
        for (name, wanted) in &case.expect.headers {
            let got = values(name);
            let fits = match name.as_str() {
                "vary" => wanted.as_ref().is_none_or(|wanted| {
                    wanted.split(", ").all(|one| {
                        got.iter().any(|line| line.to_ascii_lowercase().contains(&one.to_ascii_lowercase()))
                    })
                }),
                "access-control-expose-headers" => wanted.is_none() == got.is_empty(),
                _ => got == wanted.as_deref().into_iter().collect::<Vec<_>>(),
            };
            if !fits {
                say(format!("{name} is {got:?}, not {wanted:?}"));
            }
        }
    }
    list(&wrong, checked);
    assert!(checked > 20, "{checked} cases");
}

#[derive(Deserialize)]
struct Switch {
    name: String,
    request: String,
    #[serde(default)]
    answer: Option<String>,
    status: u16,
}

/// Whoever wants another protocol gets it from a server that agreed, or not at all; what he sends too early reaches nobody.
#[tokio::test]
async fn every_case_of_the_table_of_upgrades_is_the_same_through_the_program() {
    const SECRET: &str = "GET /secret HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
    let cases: Vec<Switch> =
        serde_saphyr::from_str(include_str!("../../../gateway/vectors/upgrade.yaml")).unwrap();
    let said: Arc<Mutex<Option<String>>> = Arc::default();
    let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
    let upstream = sockets(said.clone(), seen.clone());
    let config = config("", "").replace("UPSTREAM/base", &format!("http://{upstream}"));
    let from = config.find("    anonymous:\n").unwrap();
    let config = format!(
        "{}    anonymous: [{{ allow: getOne, because: a test, until: 2099-12-31 }}, {{ allow: feed, because: a test, until: 2099-12-31 }}]\n    operations:\n      feed: {{ websocket: {{ subprotocols: [chat], opaque: {{ allow: messages, because: a test, until: 2099-12-31 }} }} }}\n",
        &config[..from]
    );
    // Each failure of a server is one: without this the later cases would meet an open circuit.
    let world = || {
        World::behind(Upstream::start(|_: &Recorded| Answer::json("{}")), &config, &[("openapi.yaml", PAGES)])
    };
    let mut wrong = Vec::new();
    for case in &cases {
        let world = world();
        *said.lock().unwrap() = case.answer.clone();
        seen.lock().unwrap().clear();
        let mut connection = self::from(&world, "203.0.113.9", "api.example.com").await;
        let _ = connection.write(format!("{}{SECRET}", case.request).as_bytes()).await;
        let answer = connection.response().await;
        let status = answer.as_ref().map_or(0, |answer| answer.status);
        if status != case.status {
            wrong.push(format!("upgrade#{}: {status}, not {}", case.name, case.status));
        }
        if status != 101 && !connection.rest().await.unwrap_or_default().is_empty() {
            wrong.push(format!("upgrade#{}: something follows", case.name));
        }
        let seen = seen.lock().unwrap();
        if seen.is_empty() == case.answer.is_some() {
            wrong.push(format!("upgrade#{}: who was asked: {}", case.name, String::from_utf8_lossy(&seen)));
        }
        if String::from_utf8_lossy(&seen).contains("/secret") {
            wrong.push(format!("upgrade#{}: the second request reached the server", case.name));
        }
    }
    list(&wrong, cases.len());
    assert!(cases.len() > 20);
}

/// A server that answers every head with what `said` says, and keeps every byte that comes.
fn sockets(said: Arc<Mutex<Option<String>>>, seen: Arc<Mutex<Vec<u8>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (said, seen) = (said.clone(), seen.clone());
            std::thread::spawn(move || {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                    head.push(byte[0]);
                }
                if head.is_empty() {
                    return;
                }
                seen.lock().unwrap().extend_from_slice(&head);
                let text = String::from_utf8_lossy(&head).into_owned();
                let key = text
                    .lines()
                    .find_map(|line| line.strip_prefix("sec-websocket-key: "))
                    .unwrap_or_default();
                let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
                let hash =
                    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
                let accept = base64::engine::general_purpose::STANDARD.encode(hash);
                let answer = said.lock().unwrap().clone().unwrap_or_default().replace("ACCEPT", &accept);
                let _ = stream.write_all(answer.as_bytes());
                if answer.is_empty() {
                    return;
                }
                let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
                let mut rest = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut rest) {
                    seen.lock().unwrap().extend_from_slice(&rest[..length]);
                }
            });
        }
    });
    address
}

#[derive(Deserialize)]
struct Hello {
    name: String,
    sni: String,
    #[serde(default)]
    serves: Option<usize>,
    #[serde(default)]
    clients: Option<String>,
    #[serde(default)]
    brings: Option<String>,
    #[serde(default)]
    offers: Vec<String>,
    #[serde(default)]
    version: Option<String>,
}

/// Which certificate a name gets, which clients' certificates are believed, and what gets no handshake.
#[tokio::test]
async fn every_case_of_the_table_of_handshakes_is_the_same_through_the_program() {
    let cases: Vec<Hello> =
        serde_saphyr::from_str(include_str!("../../../gateway/vectors/tls.yaml")).unwrap();
    let (server_ca, client_ca, stranger) = (Authority::new(), Authority::new(), Authority::new());
    let names = ["api.example.com", "*.shop.example.com", "www.shop.example.com"];
    let certificates = names.map(|name| server_ca.server(&[name]));
    let revoked = client_ca.client(&["client.example.com"]);
    let files = certificates.iter().enumerate().flat_map(|(number, one)| {
        [
            (format!("cert{number}.pem"), one.cert_pem.clone()),
            (format!("key{number}.pem"), one.key_pem.clone()),
        ]
    });
    let mut files: Vec<(String, String)> = files.collect();
    files.push(("ca.pem".to_owned(), client_ca.pem().to_owned()));
    files.push(("crl.pem".to_owned(), client_ca.revoked(&[&revoked])));
    files.push(("openapi.yaml".to_owned(), DOCUMENT.to_owned()));
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let start = |clients: &str| {
        let certificates =
            (0..3).map(|n| format!("{{ cert: {{ file: cert{n}.pem }}, key: {{ file: key{n}.pem }} }}"));
        let certificates = certificates.collect::<Vec<_>>().join(", ");
        let listen = format!(
            "listen:\n\x20 - {{ name: public, address: \"127.0.0.1:0\", tls: {{ certificates: [{certificates}]{clients} }} }}\n"
        );
        let config = config("", "");
        let rest = &config[config.find("admin:").unwrap()..];
        let config = format!(
            "{listen}{}",
            rest.replace(
                "hosts: [api.example.com]",
                "hosts: [api.example.com, a.shop.example.com, www.shop.example.com]"
            )
        );
        World::behind(Upstream::start(|_: &Recorded| Answer::json("{}")), &config, &files)
    };
    let clients = |mode: &str| {
        start(&format!(
            ", clients: {{ ca: {{ file: ca.pem }}, crl: {{ file: crl.pem }}, mode: {mode}, san: [client.example.com, \"spiffe://partner/*\"] }}"
        ))
    };
    let (open, required, optional) = (start(""), clients("required"), clients("optional"));
    let brings = |what: &str| match what {
        "none" => None,
        "good" => Some(client_ca.client(&["client.example.com"])),
        "uri" => Some(client_ca.client_uri("spiffe://partner/a")),
        "longer-uri" => Some(client_ca.client_uri("spiffe://partner/a/b")),
        "other-name" => Some(client_ca.client(&["other.example.com"])),
        "server" => Some(client_ca.server(&["client.example.com"])),
        "stranger" => Some(stranger.client(&["client.example.com"])),
        "expired" => Some(client_ca.expired_client(&["client.example.com"])),
        "revoked" => Some(revoked.clone()),
        other => panic!("{other}"),
    };
    let mut wrong = Vec::new();
    for case in &cases {
        let world = match case.clients.as_deref() {
            None => &open,
            Some("required") => &required,
            Some(_) => &optional,
        };
        let mut config = match case.brings.as_deref().and_then(brings) {
            Some(identity) => server_ca.client_config_with(&identity),
            None => server_ca.client_config(),
        };
        config.alpn_protocols = case.offers.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.enable_sni = !case.sni.is_empty();
        if let Some(version) = &case.version {
            let only = if version == "1.2" { &rustls::version::TLS12 } else { &rustls::version::TLS13 };
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let mut roots = rustls::RootCertStore::empty();
            roots
                .add(rustls::pki_types::pem::PemObject::from_pem_slice(server_ca.pem().as_bytes()).unwrap())
                .unwrap();
            config = rustls::ClientConfig::builder_with_provider(provider)
                .with_protocol_versions(&[only])
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
        }
        let name = if case.sni.is_empty() { "api.example.com" } else { &case.sni };
        let served = handshake(world.public(), name, config, &certificates).await;
        if served != case.serves {
            wrong.push(format!("tls#{}: {served:?}, not {:?}", case.name, case.serves));
        }
    }
    list(&wrong, cases.len());
    assert!(cases.len() > 25);
}

/// Which of the certificates was shown by a connection that then answers; none where there is no handshake.
async fn handshake(
    address: SocketAddr,
    name: &str,
    config: rustls::ClientConfig,
    certificates: &[Certificate],
) -> Option<usize> {
    let http2 = config.alpn_protocols.first().is_some_and(|first| first == b"h2");
    let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await.ok()?;
    let hello: &[u8] = if http2 {
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"
    } else {
        b"GET /nowhere HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n"
    };
    stream.write_all(hello).await.ok()?;
    // A client's certificate is refused after its own side of the handshake is done (TLS 1.3).
    let mut first = [0; 9];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut first).await.ok()?;
    assert!(if http2 { first[3] == 4 } else { first == *b"HTTP/1.1 " });
    let shown = stream.get_ref().1.peer_certificates()?.first()?.to_vec();
    certificates.iter().position(|one| one.leaf() == shown)
}

#[derive(Deserialize)]
struct Configuration {
    name: String,
    config: String,
    codes: Vec<String>,
}

/// What never becomes a plan: the program says why, and with an error it does not listen.
#[test]
fn every_case_of_the_table_of_plans_is_the_same_through_the_program() {
    let cases: Vec<Configuration> =
        serde_saphyr::from_str(include_str!("../../../gateway/vectors/plan.yaml")).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let dir = TempDir::new("plan");
        let config = case
            .config
            .replace(
                "API",
                "apis: { shop: { spec: openapi.yaml, upstream: 'http://127.0.0.1:9', AUTHENTICATE, PROBE } }",
            )
            .replace(
                "AUTHENTICATE",
                "authenticate: { jwt: { issuer: 'https://login.example.com/', audience: shop } }",
            )
            .replace("PROBE", "anonymous: [{ allow: getHealth, because: probe }]");
        dir.write("portcullis.yaml", config);
        dir.write("cert.pem", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n");
        dir.write("key.pem", "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n");
        dir.write(
            "openapi.yaml",
            "openapi: 3.0.3\ninfo: { title: Shop, version: \"1\" }\npaths:\n  /health:\n    get: { operationId: getHealth, security: [], responses: { \"200\": { description: ok } } }\n",
        );
        let checked = Program::run(BINARY, dir.path(), &["check", "--format", "json"]).unwrap();
        let said: serde_json::Value = serde_json::from_str(&checked.stdout).unwrap();
        let findings = said[0]["findings"].as_array().unwrap().iter().filter(|f| f["severity"] == "error");
        let mut codes: Vec<&str> = findings.map(|f| f["code"].as_str().unwrap()).collect();
        let mut wanted: Vec<&str> = case.codes.iter().map(String::as_str).collect();
        codes.sort_unstable();
        wanted.sort_unstable();
        if codes != wanted || checked.code != Some(i32::from(!wanted.is_empty())) {
            wrong.push(format!("plan#{}: {:?} {codes:?}, not {wanted:?}", case.name, checked.code));
        }
        if !wanted.is_empty() {
            let served = Program::run(BINARY, dir.path(), &["serve"]).unwrap();
            if served.code != Some(1) || !served.stderr.contains("nothing listens") {
                wrong.push(format!("plan#{}: {:?} {}", case.name, served.code, served.stderr));
            }
        }
    }
    list(&wrong, cases.len());
}
