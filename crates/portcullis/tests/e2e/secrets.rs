//! Secrets in every part of a request and of an answer, and in nothing that the program writes.

use crate::floods::client_hello;
use crate::frames::{END_HEADERS, END_STREAM, Frames, HEADERS, block, frame};
use crate::world::{CONFIG, World, lines};
use portcullis_core::opaque::{ApiKey, Env};
use portcullis_testkit::{Answer, Connection, Key, Recorded, send};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A secret, and the parts of it that must not be seen anywhere.
struct Secret {
    what: &'static str,
    text: String,
    needles: Vec<String>,
}

fn secret(what: &'static str, text: impl Into<String>) -> Secret {
    let text = text.into();
    Secret { what, needles: vec![text.clone()], text }
}

fn jwt(what: &'static str, text: String) -> Secret {
    let needles = text.split('.').skip(1).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    Secret { what, text, needles }
}

fn secrets(world: &World) -> Vec<Secret> {
    let key = ApiKey::new(Env::Live, [7; 10], [0x5a; 32]).text();
    let key = key.expose().clone();
    // Its public id may be seen; that is what it is for.
    let hidden = key.rsplit('_').next().unwrap().to_owned();
    let claims = world.claims("alice", "orders:read orders:write");
    let stranger = Key::generate(portcullis_testkit::Algorithm::Es256, "key-1");
    vec![
        jwt("a valid token", claims.clone().claim("jti", "valid").sign(&world.key)),
        jwt("somebody else's token", claims.clone().claim("jti", "forged").sign(&stranger)),
        jwt("an unsigned token", claims.claim("jti", "unsigned").unsigned()),
        Secret { what: "an API key", text: key, needles: vec![hidden] },
        secret("a password", "Tr0ub4dor-and-3-battery-horses"),
        secret("a card number", "4111111111111111"),
        secret("a card number with dashes", "4012-8888-8888-1881"),
        secret("an opaque token", "ory_at_9Zk3Qw8vN2xR7tLm4Yp6Bc1Df5Hg0Js"),
        secret("a session", "sess5f2c9b71d04e4a6e8c33"),
    ]
}

/// Every place of a request that takes text, with the text in it.
fn requests(text: &str, bearer: &str) -> Vec<(&'static str, String)> {
    let get = |target: &str, fields: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n")
    };
    let order = |body: &str, fields: &str| {
        format!(
            "POST /orders HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: {bearer}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n{fields}\r\n{body}",
            body.len()
        )
    };
    let mut all = vec![
        ("an undeclared path", get(&format!("/{text}"), "")),
        ("a path parameter", get(&format!("/users/{text}"), &format!("Authorization: {bearer}\r\n"))),
        ("a path parameter of another type", get(&format!("/orders/{text}?owner=alice"), "")),
        ("the name of a query parameter", get(&format!("/items?{text}=1"), "")),
        ("the value of a declared query parameter", get(&format!("/items?tag={text}"), "")),
        ("the value of an undeclared query parameter", get(&format!("/items?token={text}"), "")),
        ("a query without a name", get(&format!("/items?{text}"), "")),
        ("a query parameter of another type", get(&format!("/items?limit={text}"), "")),
        ("a fragment", get(&format!("/items#{text}"), "")),
        ("userinfo", get(&format!("http://u:{text}@localhost/items"), "")),
        ("the name of a header", get("/items", &format!("{text}: 1\r\n"))),
        (
            "a bound parameter",
            get(&format!("/orders/7?owner={text}"), &format!("Authorization: {bearer}\r\n")),
        ),
        ("the host", format!("GET /items HTTP/1.1\r\nHost: {text}\r\nConnection: close\r\n\r\n")),
        ("the method", format!("{text} /items HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")),
        ("the version", format!("GET /items {text}\r\nHost: localhost\r\nConnection: close\r\n\r\n")),
        ("no request at all", format!("{text}\r\n\r\n")),
        ("the name of a cookie", get("/items", &format!("Cookie: {text}=1\r\n"))),
        ("the value of a cookie", get("/items", &format!("Cookie: session={text}\r\n"))),
        ("a JSON key", order(&format!("{{\"item\":\"a\",\"{text}\":1}}"), "")),
        ("a JSON key, alone", order(&format!("{{\"{text}\":1}}"), "")),
        ("a JSON value", order(&format!("{{\"item\":\"{text}\"}}"), "")),
        ("a JSON value of another type", order(&format!("{{\"item\":\"a\",\"quantity\":\"{text}\"}}"), "")),
        ("a JSON key twice", order(&format!("{{\"{text}\":1,\"{text}\":2}}"), "")),
        ("no JSON", order(text, "")),
        ("the media type", order("{}", "").replace("application/json", &format!("application/{text}"))),
        (
            "a parameter of the media type",
            order("{}", "").replace("/json", &format!("/json; boundary={text}")),
        ),
        ("a length", order("{}", "").replace("Content-Length: 2", &format!("Content-Length: {text}"))),
        (
            "a trailer",
            format!(
                "POST /orders HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: {bearer}\r\n\
                 Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
                 c\r\n{{\"item\":\"a\"}}\r\n0\r\nX-Trailer: {text}\r\n\r\n"
            ),
        ),
        (
            "a chunk extension",
            format!(
                "POST /orders HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: {bearer}\r\n\
                 Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nc;{text}\r\n{{\"item\":\"a\"}}\r\n0\r\n\r\n"
            ),
        ),
    ];
    for scheme in ["Bearer ", "bearer  ", "Basic ", "ApiKey ", "DPoP ", "Token ", ""] {
        all.push((
            "Authorization",
            get("/orders/7?owner=alice", &format!("Authorization: {scheme}{text}\r\n")),
        ));
        all.push((
            "Authorization where nobody is asked",
            get("/items", &format!("Authorization: {scheme}{text}\r\n")),
        ));
    }
    all.push((
        "Authorization twice",
        get("/items", &format!("Authorization: {bearer}\r\nAuthorization: Bearer {text}\r\n")),
    ));
    for name in [
        "X-Region",
        "X-Whatever",
        "X-API-Key",
        "User-Agent",
        "X-Request-Id",
        "traceparent",
        "tracestate",
        "Origin",
        "Referer",
        "Accept",
        "Accept-Language",
        "If-None-Match",
        "Expect",
        "Idempotency-Key",
        "Range",
        "X-Forwarded-For",
        "Forwarded",
        "X-Real-IP",
        "Via",
        "DPoP",
        "Signature",
        "Signature-Input",
        "X-PC-Signature",
        "Content-Encoding",
        "Connection",
        "Upgrade",
        "Transfer-Encoding",
        "Prefer",
        "Proxy-Authorization",
        "X-Auth-Token",
        "Portcullis-Identity",
        "Portcullis-Min-Rev",
        "Client-Cert",
        "X-HTTP-Method-Override",
        "Access-Control-Request-Method",
        "Sec-WebSocket-Key",
        "Last-Event-ID",
    ] {
        let close = if name == "Connection" { "" } else { "Connection: close\r\n" };
        all.push((name, format!("GET /items HTTP/1.1\r\nHost: localhost\r\n{close}{name}: {text}\r\n\r\n")));
    }
    all
}

/// A client is told which of the names that it sent is not known here, up to 64 characters of it; nobody else is.
const NAMES: [&str; 4] =
    ["the name of a query parameter", "a query without a name", "a JSON key", "a JSON key, alone"];

/// Where a needle stands in a text, if it does.
fn leaks(secret: &Secret, text: &str) -> Option<String> {
    let at = secret.needles.iter().find_map(|needle| text.find(needle.as_str()))?;
    let line = text.get(..at)?.rfind('\n').map_or(0, |end| end + 1);
    Some(text.get(line..)?.lines().next().unwrap_or_default().to_owned())
}

/// Everything that the program has written, after its end.
async fn all_output(mut world: World) -> (String, String, String) {
    let metrics = world.admin("/metrics").await.text() + &world.admin("/readyz").await.text();
    let end = world.program.terminate().unwrap();
    (end.stdout, end.stderr, metrics)
}

fn nothing_in(secrets: &[Secret], outputs: &(String, String, String)) {
    for secret in secrets {
        for (name, text) in [("log", &outputs.0), ("stderr", &outputs.1), ("metrics", &outputs.2)] {
            assert_eq!(leaks(secret, text), None, "{} in the {name}", secret.what);
        }
    }
    let lines = lines(&outputs.0);
    for note in outputs.1.lines().filter(|line| line.starts_with('{')) {
        assert!(serde_json::from_str::<serde_json::Value>(note).is_ok(), "{note}");
    }
    assert!(!lines.is_empty());
}

#[tokio::test]
async fn secrets_in_every_part_of_a_request_appear_in_no_output() {
    let world = World::new();
    let secrets = secrets(&world);
    let bearer = world.bearer("alice", "orders:read orders:write");
    let mut answered = 0;
    for secret in &secrets {
        for (place, bytes) in requests(&secret.text, &bearer) {
            let mut connection = Connection::open(world.public()).await.unwrap();
            connection.write(bytes.as_bytes()).await.unwrap();
            let Ok(answer) = connection.response().await else { continue };
            answered += 1;
            let body = match NAMES.contains(&place) {
                true => String::new(),
                false => answer.text(),
            };
            let told = format!("{:?}{body}", answer.message.headers);
            assert_eq!(leaks(secret, &told), None, "{} in {place}, told to the client", secret.what);
        }
        // HTTP/2, and the handshake before it.
        let mut frames = Frames::open(&world).await;
        let path = format!("/items?tag={}", secret.text);
        let fields = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", path.as_str()),
            ("authorization", secret.text.as_str()),
            ("x-whatever", secret.text.as_str()),
            ("cookie", secret.text.as_str()),
        ];
        frames.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields))).await.unwrap();
        let body = String::from_utf8_lossy(&frames.end_of(1).await.body).into_owned();
        assert_eq!(leaks(secret, &body), None, "{} over HTTP/2", secret.what);
        let mut stream = tokio::net::TcpStream::connect(world.secure()).await.unwrap();
        stream.write_all(&client_hello([3, 3], secret.text.as_bytes(), 0)).await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
        if rustls::pki_types::ServerName::try_from(secret.text.clone()).is_ok() {
            let tls = world.tls(&[b"http/1.1"]);
            assert!(
                Connection::open_tls(world.secure(), &secret.text, tls).await.is_err(),
                "an unknown name"
            );
        }
    }
    assert!(answered > secrets.len() * 60, "{answered} answers");
    let outputs = all_output(world).await;
    assert!(outputs.0.lines().count() >= answered, "a line for each");
    nothing_in(&secrets, &outputs);
}

#[tokio::test]
async fn secrets_in_every_part_of_an_answer_appear_in_no_output_and_undeclared_ones_go_to_nobody() {
    let present: Arc<Mutex<String>> = Arc::default();
    let text = present.clone();
    let world = World::with(CONFIG, move |seen: &Recorded| {
        let secret = text.lock().unwrap().clone();
        let place = seen.target.rsplit("tag=").next().unwrap_or_default().to_owned();
        let items = r#"{"items":[]}"#;
        match place.as_str() {
            "field" => {
                Answer::json(format!(r#"{{"items":[{{"id":1,"token":"{secret}"}}],"debug":"{secret}"}}"#))
            }
            "name" => Answer::json(format!(r#"{{"items":[],"{secret}":1,"more":{{"{secret}":2}}}}"#)),
            "failed" => {
                Answer::status(500).header("Content-Type", "text/plain").body(format!("panic: {secret}"))
            }
            "refused" => Answer::status(403)
                .header("Content-Type", "application/json")
                .header("WWW-Authenticate", &format!("Negotiate {secret}"))
                .body(format!(r#"{{"error":"{secret}"}}"#)),
            "type" => Answer::status(200).header("Content-Type", &format!("text/{secret}")).body(items),
            "broken" => Answer::json(format!(r#"{{"items":[{secret}"#)),
            "not http" => Answer::raw(format!("{secret}\r\n\r\n")),
            "status" => {
                Answer::raw(format!("HTTP/1.1 200 {secret}\r\nContent-Length: 0\r\n{secret}\r\n\r\n"))
            }
            _ => {
                ["Server", "X-Powered-By", "X-Debug-Token", "Set-Cookie", "X-Request-Id", "Via", "X-Whatever"]
                    .iter()
                    .fold(Answer::json(items), |answer, name| answer.header(name, &format!("a={secret}")))
            }
        }
    });
    let secrets = secrets(&world);
    for secret in &secrets {
        present.lock().unwrap().clone_from(&secret.text);
        for place in
            ["field", "name", "failed", "refused", "type", "broken", "not%20http", "status", "header"]
        {
            let bytes = format!("GET /items?tag={place} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let answer = send(world.public(), bytes.as_bytes()).await.unwrap();
            let head = format!("{:?}{}", answer.message.headers, answer.text());
            assert_eq!(leaks(secret, &head), None, "{} in {place}", secret.what);
        }
    }
    nothing_in(&secrets, &all_output(world).await);
}
