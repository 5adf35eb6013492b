//! What was opened lasts no longer than what opened it (wire.md § 13; callers.md § 16).

use super::{Shop, TWO_SECONDS};
use crate::wire::{echo, handshake, head, message, read_until, server};
use portcullis_testkit::certs::Authority;
use portcullis_testkit::idp::unix_now;
use portcullis_testkit::program::Signal;
use portcullis_testkit::request;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const SPEC: &str = r##"openapi: 3.0.3
info: { title: Streams, version: "1" }
security: [{ key: [] }, { bearer: [] }]
x-portcullis: { principal: { id: token.sub } }
paths:
  /feed:
    get:
      operationId: feed
      responses: { "200": { description: messages } }
  /events:
    get:
      operationId: events
      responses: { "200": { description: events, content: { text/event-stream: { schema: { type: string } } } } }
  /certified-events:
    get:
      operationId: certifiedEvents
      security: [{ certificate: [] }]
      responses: { "200": { description: events, content: { text/event-stream: { schema: { type: string } } } } }
  /download:
    get:
      operationId: download
      responses: { "200": { description: bytes, content: { application/octet-stream: { schema: { type: string, format: binary } } } } }
  /upload:
    put:
      operationId: upload
      requestBody: { required: true, content: { application/octet-stream: { schema: { type: string, format: binary } } } }
      responses: { "204": { description: kept } }
components:
  securitySchemes:
    key: { type: apiKey, in: header, name: X-API-Key }
    bearer: { type: http, scheme: bearer }
    certificate: { type: mutualTLS }
"##;

const OPERATIONS: &str = "      mtls: { clients: { acme: { san_dns: orders.acme.example } } }\n    operations:
      feed: { websocket: { subprotocols: [chat], opaque: { allow: messages, because: a test, until: 2099-12-31 } } }
      upload:
        request: { opaque: { allow: [application/octet-stream], because: files, until: 2099-12-31 }, max_bytes: 1MiB }
";

/// Begins to answer, and never ends.
fn endless(media: &'static str, first: &'static str) -> SocketAddr {
    server(move |mut stream| {
        let head = head(&mut stream);
        if head.starts_with("PUT ") {
            // Reads what comes; the answer waits for the end.
            let mut piece = [0; 1024];
            while stream.read(&mut piece).is_ok_and(|length| length > 0) {}
            return;
        }
        let start = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {media}\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n",
            first.len()
        );
        let _ = stream.write_all(start.as_bytes());
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    })
}

fn shop(upstream: SocketAddr, spec: &str) -> Shop {
    Shop::with_files(&[("openapi.yaml", spec)], |config| {
        let at = config.find("upstream: http").unwrap();
        let end = config[at..].find('\n').unwrap();
        config.replace(&config[at..at + end], &format!("upstream: http://{upstream}")) + OPERATIONS
    })
}

fn ask(shop: &Shop, method: &str, target: &str, field: (&str, &str)) -> TcpStream {
    let mut stream = TcpStream::connect(shop.gate.public()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    let fields = if method == "PUT" {
        vec![field, ("Content-Type", "application/octet-stream"), ("Content-Length", "100000")]
    } else {
        vec![field]
    };
    stream.write_all(&request(method, target, &fields, b"")).unwrap();
    stream
}

/// Everything until the last chunk or the end of the connection, and when it came. Begins to read at once.
fn rest(mut stream: TcpStream) -> Receiver<(Vec<u8>, Instant)> {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut piece) {
            all.extend_from_slice(&piece[..length]);
            if all.ends_with(b"0\r\n\r\n") {
                break;
            }
        }
        let _ = tell.send((all, Instant::now()));
    });
    told
}

fn bearer(shop: &Shop, subject: &str) -> String {
    format!("Bearer {}", shop.token(subject).sign(&shop.key))
}

#[test]
fn a_websocket_ends_when_its_token_or_key_is_revoked_and_another_goes_on() {
    let shop = shop(echo(Arc::default()), SPEC);
    let (key, key_id) = shop.make(&[]);
    let (suspended, suspended_id) = shop.make(&[]);
    let open = |field: String| {
        let (stream, agreed) = handshake(shop.gate.public(), &format!("{field}\r\n"));
        assert!(agreed.starts_with("HTTP/1.1 101 "), "{agreed}");
        stream
    };
    let mut other = open(format!("Authorization: {}", bearer(&shop, "eve")));
    for (field, command) in [
        (
            format!("Authorization: {}", bearer(&shop, "ann")),
            vec!["revoke", "--issuer", "corp", "--jti", "token-of-ann"],
        ),
        (
            format!("Authorization: {}", bearer(&shop, "bob")),
            vec!["revoke", "--issuer", "corp", "--sid", "login-of-bob"],
        ),
        (
            format!("Authorization: {}", bearer(&shop, "cyd")),
            vec!["revoke", "--issuer", "corp", "--sub", "cyd"],
        ),
        (format!("X-API-Key: {key}"), vec!["keys", "revoke", &key_id, "--reason", "left"]),
        (format!("X-API-Key: {suspended}"), vec!["keys", "suspend", &suspended_id]),
    ] {
        let mut stream = open(field);
        let end = shop.cli(&command);
        assert_eq!(end.code, Some(0), "{}", end.stderr);
        let began = Instant::now();
        assert_eq!(message(&mut stream).1[..2], 1008_u16.to_be_bytes(), "{command:?}");
        assert!(began.elapsed() < TWO_SECONDS, "{command:?}: {:?}", began.elapsed());
    }
    other.write_all(&crate::wire::masked(1, b"still here")).unwrap();
    assert_eq!(message(&mut other).1, b"still here");
}

#[test]
fn events_end_and_downloads_are_cut_when_the_credential_is_revoked() {
    for (media, target, first, whole) in [
        ("text/event-stream", "/events", "data: one\n\n", true),
        ("application/octet-stream", "/download", "bytes", false),
    ] {
        let shop = shop(endless(media, first), SPEC);
        let (key, key_id) = shop.make(&[]);
        let token = bearer(&shop, "ann");
        for (field, command) in [
            (("Authorization", token.as_str()), vec!["revoke", "--issuer", "corp", "--sub", "ann"]),
            (("X-API-Key", key.as_str()), vec!["keys", "revoke", &key_id, "--reason", "left"]),
        ] {
            let mut stream = ask(&shop, "GET", target, field);
            let begun = read_until(&mut stream, first);
            assert!(begun.starts_with("HTTP/1.1 200 "), "{begun}");
            let told = rest(stream);
            assert_eq!(shop.cli(&command).code, Some(0));
            let began = Instant::now();
            let (left, ended) = told.recv_timeout(Duration::from_secs(15)).unwrap();
            assert!(ended.saturating_duration_since(began) < TWO_SECONDS, "{target}");
            // A stream of events may end; a download without its end must not look as if it were complete.
            assert_eq!(left.ends_with(b"0\r\n\r\n"), whole, "{target} {:?}", String::from_utf8_lossy(&left));
        }
    }
}

#[test]
fn an_upload_goes_no_further_when_its_credential_is_revoked() {
    let shop = shop(endless("text/plain", ""), SPEC);
    let token = bearer(&shop, "ann");
    let mut stream = ask(&shop, "PUT", "/upload", ("Authorization", &token));
    stream.write_all(&[7; 1_000]).unwrap();
    let told = rest(stream.try_clone().unwrap());
    assert!(told.recv_timeout(Duration::from_millis(300)).is_err(), "it is under way");
    assert_eq!(shop.cli(&["revoke", "--issuer", "corp", "--sub", "ann"]).code, Some(0));
    let (answer, _) = told.recv_timeout(Duration::from_secs(15)).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("token-invalid"), "{answer}");
    assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
}

#[test]
fn what_the_plan_withdraws_ends_and_what_it_keeps_goes_on() {
    let shop = shop(endless("text/event-stream", "data: one\n\n"), SPEC);
    let token = bearer(&shop, "ann");
    let mut kept = ask(&shop, "GET", "/download", ("Authorization", &token));
    let mut gone = ask(&shop, "GET", "/events", ("Authorization", &token));
    // The upstream's answer to /download is no octet-stream here: it is refused, and says so at once.
    read_until(&mut kept, "response-violation");
    let mut kept = ask(&shop, "GET", "/events", ("Authorization", &token));
    read_until(&mut kept, "data: one");
    read_until(&mut gone, "data: one");
    let (gone, kept) = (rest(gone), rest(kept));
    // A reload that keeps the operation ends nothing.
    shop.dir.write("openapi.yaml", SPEC.replace("title: Streams", "title: Other"));
    shop.gate.signal(Signal::Hup).unwrap();
    shop.gate.stderr_until(|text| text.contains("\"plan.reloaded\"")).unwrap();
    assert!(kept.recv_timeout(Duration::from_millis(700)).is_err(), "nothing was withdrawn");
    shop.dir.write(
        "openapi.yaml",
        SPEC.replace("  /events:", "  /others:").replace("operationId: events", "operationId: others"),
    );
    shop.gate.signal(Signal::Hup).unwrap();
    for told in [gone, kept] {
        let (left, _) = told.recv_timeout(Duration::from_secs(15)).unwrap();
        assert!(left.ends_with(b"0\r\n\r\n"), "{:?}", String::from_utf8_lossy(&left));
    }
}

#[tokio::test]
async fn a_stream_ends_with_the_certificate_that_opened_it() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = authority.server(&["localhost"]);
    let upstream = endless("text/event-stream", "data: one\n\n");
    let files = [
        ("openapi.yaml", SPEC),
        ("cert.pem", server.cert_pem.as_str()),
        ("key.pem", server.key_pem.as_str()),
        ("ca.pem", clients.pem()),
    ];
    let shop = Shop::with_files(&files, |config| {
        let at = config.find("upstream: http").unwrap();
        let end = config[at..].find('\n').unwrap();
        let config =
            config.replace(&config[at..at + end], &format!("upstream: http://{upstream}")) + OPERATIONS;
        let secure = "listen:\n  - { address: \"127.0.0.1:0\" }\n  - { name: secure, address: \"127.0.0.1:0\", tls: { cert: { file: \
                      cert.pem }, key: { file: key.pem }, clients: { ca: { file: ca.pem }, mode: optional } } }";
        config.replace("listen: { address: \"127.0.0.1:0\" }", secure)
    });
    let end = unix_now() + 4;
    let certificate = clients.client_until(&["orders.acme.example"], end);
    let tls = Arc::new(authority.client_config_with(&certificate));
    let address = shop.gate.listener("secure");
    let mut connection = portcullis_testkit::Connection::open_tls(address, "localhost", tls).await.unwrap();
    connection.write(&request("GET", "/certified-events", &[], b"")).await.unwrap();
    // The connection stays open after a stream that has ended: its last chunk is waited for, not its end.
    let answer = connection.response().await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.text(), "data: one\n\n");
    assert!((end..=end + 3).contains(&unix_now()), "in time");
}
