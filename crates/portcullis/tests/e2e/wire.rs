//! Long exchanges and failing servers, through all the gates.

use crate::h2::H2;
use crate::world::{CONFIG, SPEC, World, items};
use base64::Engine as _;
use bytes::Bytes;
use portcullis_testkit::certs::Authority;
use portcullis_testkit::idp::unix_now;
use portcullis_testkit::program::Signal;
use portcullis_testkit::{Answer, Connection, Upstream, request};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const STREAMS: &str = r#"  /feed:
    get:
      operationId: feed
      responses: { "200": { description: messages } }
  /events:
    get:
      operationId: events
      responses: { "200": { description: events, content: { text/event-stream: { schema: { type: string } } } } }
components:
"#;

/// The usual world with a WebSocket and an event stream in front of `upstream`.
fn streams(upstream: SocketAddr) -> World {
    let config = CONFIG.replace("UPSTREAM", &format!("http://{upstream}")).replace("delay: 1s", "delay: 0s")
        + "    operations:\n      feed:\n        websocket:\n          subprotocols: [chat]\n          max_message: 1KiB\n          \
           opaque: { allow: messages, because: a test, until: 2099-12-31 }\n";
    let spec = SPEC.replace("components:\n", STREAMS);
    World::behind(Upstream::start(|_| items()), &config, &[("openapi.yaml", &spec)])
}

/// A server whose every connection is served by `script`, on a thread of its own.
pub(crate) fn server(script: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, script) = (listener.local_addr().unwrap(), Arc::new(script));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let script = script.clone();
            std::thread::spawn(move || script(stream));
        }
    });
    address
}

pub(crate) fn head(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Agrees to every WebSocket and sends each message back.
pub(crate) fn echo(seen: Arc<Mutex<Vec<String>>>) -> SocketAddr {
    server(move |mut stream| {
        let head = head(&mut stream);
        let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap_or_default();
        let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        let accept = base64::engine::general_purpose::STANDARD.encode(hash);
        seen.lock().unwrap().push(head);
        let _ = stream.write_all(
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
            )
            .as_bytes(),
        );
        let mut start = [0; 6];
        while stream.read_exact(&mut start).is_ok() {
            let mut payload = vec![0; usize::from(start[1] & 0x7f)];
            if stream.read_exact(&mut payload).is_err() {
                return;
            }
            let plain: Vec<u8> = payload.iter().zip(start[2..].iter().cycle()).map(|(a, b)| a ^ b).collect();
            let _ = stream.write_all(&[&[start[0], start[1] & 0x7f], &plain[..]].concat());
        }
    })
}

pub(crate) fn masked(op: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let body = payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b);
    let length = match payload.len() {
        short @ 0..126 => vec![0x80 | u8::try_from(short).unwrap()],
        long => [&[0x80 | 126][..], &u16::try_from(long).unwrap().to_be_bytes()].concat(),
    };
    [vec![0x80 | op], length, mask.to_vec()].concat().into_iter().chain(body).collect()
}

pub(crate) fn handshake(address: SocketAddr, extra: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    stream
        .write_all(
            format!(
                "GET /feed HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 Sec-WebSocket-Protocol: chat\r\n{extra}\r\n"
            )
            .as_bytes(),
        )
        .unwrap();
    let head = head(&mut stream);
    (stream, head)
}

pub(crate) fn message(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut start = [0; 2];
    stream.read_exact(&mut start).unwrap();
    let mut payload = vec![0; usize::from(start[1])];
    stream.read_exact(&mut payload).unwrap();
    (start[0], payload)
}

#[test]
fn a_websocket_passes_the_gates_first_and_ends_with_its_credential_its_bounds_and_the_program() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let mut world = streams(echo(seen.clone()));
    let (_, refused) = handshake(world.public(), "");
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    let (_, refused) = handshake(world.public(), "Authorization: Bearer nonsense\r\n");
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    let bearer = world.bearer("alice", "");
    let (_, refused) =
        handshake(world.public(), &format!("Authorization: {bearer}\r\nOrigin: https://evil.example\r\n"));
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    assert!(seen.lock().unwrap().is_empty(), "the upstream was asked before the gates");

    let allowed = format!("Authorization: {bearer}\r\n");
    let (mut stream, agreed) = handshake(world.public(), &allowed);
    assert!(
        agreed.starts_with("HTTP/1.1 101 ") && agreed.contains("sec-websocket-protocol: chat"),
        "{agreed}"
    );
    // RFC 6455, section 1.3.
    assert!(agreed.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{agreed}");
    for text in ["hello", "and again"] {
        stream.write_all(&masked(1, text.as_bytes())).unwrap();
        assert_eq!(message(&mut stream), (0x81, text.as_bytes().to_vec()));
    }
    stream.write_all(&masked(1, &[b'a'; 1_500])).unwrap();
    assert_eq!(message(&mut stream).1[..2], 1009_u16.to_be_bytes(), "too large");

    // A token that ends in two seconds.
    let now = unix_now();
    let token = world.claims("alice", "").claim("exp", now + 2).sign(&world.key);
    let (mut stream, agreed) = handshake(world.public(), &format!("Authorization: Bearer {token}\r\n"));
    assert!(agreed.starts_with("HTTP/1.1 101 "), "{agreed}");
    assert_eq!(message(&mut stream).1[..2], 1008_u16.to_be_bytes(), "the credential has ended");
    assert!((now + 1..=now + 6).contains(&unix_now()), "in time");

    let (mut stream, _) = handshake(world.public(), &allowed);
    world.program.signal(Signal::Term).unwrap();
    assert_eq!(message(&mut stream).1[..2], 1001_u16.to_be_bytes(), "the program ends");
    assert_eq!(world.program.finish().unwrap().code, Some(0));
}

/// RFC 8441: a WebSocket in a stream of HTTP/2, judged as one over HTTP/1.1; and CONNECT for anything else is none.
#[tokio::test]
async fn a_websocket_over_http2_passes_the_same_gates_and_every_other_connect_is_refused() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let world = streams(echo(seen.clone()));
    let tcp = tokio::net::TcpStream::connect(world.secure()).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let tls = tokio_rustls::TlsConnector::from(world.tls(&[b"h2"])).connect(name, tcp).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(tls).await.unwrap();
    tokio::spawn(connection);
    // The setting arrives with the server's first frame.
    let probe = http::Request::get("https://localhost/nowhere").body(()).unwrap();
    let (answer, _) = sender.send_request(probe, true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 404);
    sender = sender.ready().await.unwrap();
    assert!(sender.is_extended_connect_protocol_enabled());
    let bearer = world.bearer("alice", "");
    let offer = |path: &str, protocol: &'static str, credential: Option<&str>| {
        let mut request = http::Request::builder()
            .method("CONNECT")
            .uri(format!("https://localhost{path}"))
            .header("sec-websocket-version", "13")
            .header("sec-websocket-protocol", "chat");
        if let Some(credential) = credential {
            request = request.header("authorization", credential);
        }
        let mut request = request.body(()).unwrap();
        request.extensions_mut().insert(h2::ext::Protocol::from_static(protocol));
        request
    };
    for (path, protocol, credential, status) in [
        ("/feed", "websocket", None, 401),
        ("/feed", "websocket", Some("Bearer nonsense"), 401),
        ("/nowhere", "websocket", Some(bearer.as_str()), 404),
        ("/items", "websocket", None, 405),
        ("/feed", "connect-udp", Some(bearer.as_str()), 405),
        ("/feed", "connect-ip", Some(bearer.as_str()), 405),
    ] {
        sender = sender.ready().await.unwrap();
        let (answer, _stream) = sender.send_request(offer(path, protocol, credential), false).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), status, "{path} {protocol} {credential:?}");
    }
    let plain = http::Request::builder().method("CONNECT").uri("localhost:22").body(()).unwrap();
    sender = sender.ready().await.unwrap();
    let (answer, _stream) = sender.send_request(plain, false).unwrap();
    match answer.await {
        Ok(answer) => assert_eq!(answer.status(), 405),
        Err(error) => assert!(error.is_reset(), "{error}"),
    }
    assert!(seen.lock().unwrap().is_empty(), "nothing reached the upstream");

    sender = sender.ready().await.unwrap();
    let (answer, mut stream) =
        sender.send_request(offer("/feed", "websocket", Some(&bearer)), false).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
    assert!(!answer.headers().contains_key("sec-websocket-accept"), "that is HTTP/1.1's");
    let mut body = answer.into_body();
    for text in ["hello", "and again"] {
        stream.send_data(Bytes::from(masked(1, text.as_bytes())), false).unwrap();
        let mut back = Vec::new();
        while back.len() < text.len() + 2 {
            let piece = body.data().await.unwrap().unwrap();
            body.flow_control().release_capacity(piece.len()).unwrap();
            back.extend_from_slice(&piece);
        }
        assert_eq!((back[0], &back[2..]), (0x81, text.as_bytes()));
    }
    // Frames are judged here too: one without a mask ends it (RFC 6455, section 5.1).
    stream.send_data(Bytes::from_static(b"\x81\x01a"), false).unwrap();
    let mut back = Vec::new();
    while let Some(Ok(piece)) = body.data().await {
        back.extend_from_slice(&piece);
    }
    assert_eq!(back.get(2..4), Some(&1002_u16.to_be_bytes()[..]), "{back:?}");
    let head = seen.lock().unwrap().concat();
    assert!(head.starts_with("GET /feed HTTP/1.1") && !head.contains("Bearer nonsense"), "{head}");
}

/// Sends an event, waits to be told, and sends another; then never ends.
pub(crate) fn event_server() -> (SocketAddr, Sender<()>) {
    let (go, told): (Sender<()>, Receiver<()>) = channel();
    let told = Mutex::new(told);
    let address = server(move |mut stream| {
        head(&mut stream);
        let piece = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
        let start =
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let _ = stream.write_all((start.to_owned() + &piece("data: one\n\n")).as_bytes());
        while told.lock().unwrap().recv().is_ok() {
            let _ = stream.write_all(piece("data: more\n\n").as_bytes());
        }
    });
    (address, go)
}

pub(crate) fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let (mut all, mut piece) = (String::new(), [0; 1024]);
    while !all.contains(text) {
        let length = stream.read(&mut piece).unwrap();
        assert!(length > 0, "closed before {text:?}: {all}");
        all.push_str(&String::from_utf8_lossy(&piece[..length]));
    }
    all
}

#[test]
fn events_are_not_held_back_and_end_with_their_credential() {
    let (address, go) = event_server();
    let world = streams(address);
    let ask = |token: &str| {
        let mut stream = TcpStream::connect(world.public()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        let fields = [("Authorization", token), ("Accept", "text/event-stream")];
        stream.write_all(&request("GET", "/events", &fields, b"")).unwrap();
        stream
    };
    assert!(read_until(&mut ask("Bearer none"), "\r\n\r\n").starts_with("HTTP/1.1 401 "));
    let mut stream = ask(&world.bearer("alice", ""));
    let first = read_until(&mut stream, "data: one");
    assert!(
        first.starts_with("HTTP/1.1 200 ") && first.contains("content-type: text/event-stream"),
        "{first}"
    );
    assert!(first.contains("cache-control: no-store"), "{first}");
    for _ in 0..3 {
        // The next event is only sent once the last one has come through.
        go.send(()).unwrap();
        read_until(&mut stream, "data: more\n\n");
    }
    drop(stream);
    let now = unix_now();
    let token = world.claims("alice", "").claim("exp", now + 2).sign(&world.key);
    let mut stream = ask(&format!("Bearer {token}"));
    read_until(&mut stream, "data: one");
    read_until(&mut stream, "0\r\n\r\n");
    assert!((now + 1..=now + 6).contains(&unix_now()), "in time");
}

/// Answers every call with its own message and trailers.
async fn grpc_server(listener: tokio::net::TcpListener, seen: Arc<Mutex<Vec<String>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let seen = seen.clone();
        tokio::spawn(async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let seen = seen.clone();
                tokio::spawn(async move {
                    seen.lock().unwrap().push(format!("{} {:?}", request.uri().path(), request.headers()));
                    let mut body = request.into_body();
                    let mut bytes = Vec::new();
                    while let Some(Ok(piece)) = body.data().await {
                        bytes.extend_from_slice(&piece);
                        body.flow_control().release_capacity(piece.len()).unwrap();
                    }
                    let head = http::Response::builder()
                        .header("content-type", "application/grpc")
                        .header("x-secret", "1");
                    let mut stream = respond.send_response(head.body(()).unwrap(), false).unwrap();
                    stream.send_data(Bytes::from(bytes), false).unwrap();
                    let mut trailers = http::HeaderMap::new();
                    trailers.insert("grpc-status", "0".parse().unwrap());
                    trailers.insert("grpc-message", "fine".parse().unwrap());
                    trailers.insert("x-internal", "1".parse().unwrap());
                    stream.send_trailers(trailers).unwrap();
                });
            }
        });
    }
}

#[tokio::test]
async fn a_grpc_call_passes_with_its_trailers_and_is_refused_in_words_that_its_clients_know() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    tokio::spawn(grpc_server(listener, seen.clone()));
    let (top, _) = CONFIG.split_once("apis:").unwrap();
    let config = format!(
        "{top}apis:\n  orders:\n    grpc:\n      methods: [shop.v1.Orders/Get]\n      \
         opaque: {{ allow: [application/grpc], because: a test, until: 2099-12-31 }}\n    \
         upstream: {{ servers: [{{ url: \"http://{address}\" }}], protocol: h2c }}\n    \
         authenticate: {{ jwt: {{ issuer: corp, audience: shop }} }}\n    require: {{ default: {{ any_of: [jwt] }} }}\n"
    );
    let world = World::with(&config, |_| items());
    let client = H2::open(world.secure(), world.tls(&[b"h2"])).await.unwrap();
    let bearer = world.bearer("alice", "");
    let call = b"\0\0\0\0\x05hello";
    let fields =
        [("content-type", "application/grpc"), ("te", "trailers"), ("authorization", bearer.as_str())];
    let good = client.send("POST", "/shop.v1.Orders/Get", &fields, call).await.unwrap();
    assert_eq!((good.status, good.body.as_slice()), (200, &call[..]), "{good:?}");
    assert_eq!(good.trailers.get("grpc-status").unwrap(), "0");
    assert_eq!(good.trailers.get("grpc-message").unwrap(), "fine");
    assert!(good.trailers.get("x-internal").is_none() && good.headers.get("x-secret").is_none(), "{good:?}");
    assert_eq!(good.header("content-type"), Some("application/grpc"));

    for (fields, status) in [
        (vec![("content-type", "application/grpc"), ("te", "trailers")], "16"),
        (vec![("content-type", "application/grpc"), ("authorization", "Bearer nonsense")], "16"),
    ] {
        let refused = client.send("POST", "/shop.v1.Orders/Get", &fields, call).await.unwrap();
        assert_eq!((refused.status, refused.header("grpc-status")), (200, Some(status)), "{refused:?}");
        assert_eq!(refused.header("content-type"), Some("application/grpc"));
        assert!(refused.header("grpc-message").is_some() && refused.body.is_empty());
        assert_eq!(refused.header("x-content-type-options"), Some("nosniff"));
    }
    for target in ["/shop.v1.Orders/Delete", "/shop.v1.orders/Get", "/shop.v1.Orders/Get/"] {
        let undeclared = client.send("POST", target, &fields, call).await.unwrap();
        assert_eq!(undeclared.problem().as_deref(), Some("operation-undeclared"), "{target}");
    }
    assert_eq!(seen.lock().unwrap().len(), 1, "{:?}", seen.lock().unwrap());
}

/// Servers of one upstream, as they stand in the configuration.
fn behind(urls: &[String], first: Upstream) -> World {
    let servers: Vec<String> = urls.iter().map(|url| format!("{{ url: \"{url}\" }}")).collect();
    let upstream = format!("upstream: {{ servers: [{}] }}", servers.join(", "));
    World::behind(first, &CONFIG.replace("upstream: UPSTREAM", &upstream), &[])
}

/// An address where nobody listens, and nobody will: its socket is bound.
fn dead() -> (socket2::Socket, String) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap().as_socket().unwrap());
    (socket, url)
}

#[tokio::test]
async fn a_dead_server_among_two_is_ejected_and_then_no_request_fails() {
    let upstream = Upstream::start_forgetful(|_| items());
    let (_bound, gone) = dead();
    let world = behind(&[upstream.url(), gone], upstream);
    let mut failed = 0;
    for _ in 0..60 {
        failed += usize::from(world.get("/items").await.status != 200);
    }
    // Each worker's first requests find out; retries have a budget.
    assert!(failed <= 10, "{failed} of the first 60 failed");
    for number in 0..300 {
        let answer = world.get("/items").await;
        assert_eq!(answer.status, 200, "request {number} after the ejection: {}", answer.text());
    }
    let metrics = world.admin("/metrics").await.text();
    assert!(metrics.contains("upstream"), "{metrics}");
    assert_eq!(world.admin("/readyz").await.status, 200, "one of two is enough");
}

#[tokio::test]
async fn with_both_servers_dead_the_answer_is_503_at_once() {
    let (_one, first) = dead();
    let (_two, second) = dead();
    let world = behind(&[first, second], Upstream::start(|_| items()));
    for _ in 0..60 {
        let answer = world.get("/items").await;
        assert_eq!((answer.status, answer.problem().as_deref()), (503, Some("upstream-unavailable")));
    }
    let began = Instant::now();
    for _ in 0..50 {
        let answer = world.get("/items").await;
        assert_eq!(answer.status, 503);
    }
    assert!(began.elapsed() < Duration::from_millis(50 * 100), "{:?} for 50", began.elapsed());
    assert!(world.upstream.requests().is_empty());
}

#[tokio::test]
async fn a_post_is_sent_once_whatever_becomes_of_it_and_a_get_may_be_sent_again() {
    let (one, two) = (Upstream::start(|_| Answer::hang_up()), Upstream::start(|_| Answer::hang_up()));
    let urls = [one.url(), two.url()];
    let world = behind(&urls, one);
    let bearer = world.bearer("alice", "orders:write");
    let fields = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    for number in 0..4 {
        let body = format!("{{\"item\":\"n{number}\"}}");
        let answer = world.ask("POST", "/orders", &fields, body.as_bytes()).await;
        assert_eq!((answer.status, answer.problem().as_deref()), (502, Some("upstream-error")));
        let all: Vec<_> = world.upstream.requests().into_iter().chain(two.requests()).collect();
        let sent = all.iter().filter(|seen| seen.message.body == body.as_bytes()).count();
        assert_eq!(sent, 1, "{body}");
    }
    // A GET of which nothing came back is asked of the other server, and the client notices nothing.
    two.answer(|_| items());
    // Which server is asked first is drawn by lot; the retry budget holds one, and no POST has spent it.
    let before = world.upstream.requests().len();
    let mut asked = 0;
    while world.upstream.requests().len() == before {
        assert!(asked < 100, "the lot never fell on the server that hangs up");
        asked += 1;
        assert_eq!(world.get("/items").await.status, 200, "request {asked}");
    }
}

#[tokio::test]
async fn an_upstream_that_fails_is_left_alone_for_a_while_and_then_tried_again() {
    let world = World::with(CONFIG, |_| Answer::status(503));
    for _ in 0..40 {
        let answer = world.get("/items").await;
        assert_eq!((answer.status, answer.problem().as_deref()), (503, Some("upstream-unavailable")));
    }
    let asked = world.upstream.requests().len();
    assert!((20..40).contains(&asked), "the circuit opens after twenty: {asked}");
    let refused = world.get("/items").await;
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=5).contains(&wait), "{wait}");
    assert_eq!(world.upstream.requests().len(), asked, "nobody is asked while it is open");
    world.upstream.answer(|_| items());
    let began = Instant::now();
    while world.get("/items").await.status != 200 {
        assert!(began.elapsed() < Duration::from_secs(15), "it never closes");
        tokio::task::yield_now().await;
    }
    assert!(began.elapsed() > Duration::from_secs(2), "{:?} is no while", began.elapsed());
    for _ in 0..10 {
        assert_eq!(world.get("/items").await.status, 200);
    }
}

#[tokio::test]
async fn an_upstream_over_tls_is_believed_only_with_the_right_authority() {
    for right in [true, false] {
        let (authority, stranger) = (Authority::new(), Authority::new());
        let upstream = Upstream::start_tls(authority.server_config(&["localhost"]), |_| items());
        let config = CONFIG.replace(
            "upstream: UPSTREAM",
            "upstream: { servers: [{ url: UPSTREAM }], tls: { ca: { file: inside.pem } } }",
        );
        let trusted = if right { &authority } else { &stranger };
        let world = World::behind(upstream, &config, &[("inside.pem", trusted.pem())]);
        let answer = world.get("/items").await;
        if right {
            assert_eq!(answer.status, 200, "{}", answer.text());
        } else {
            assert!(matches!(answer.status, 502 | 503), "{}", answer.text());
            assert!(world.upstream.requests().is_empty(), "something was sent to a stranger");
        }
    }
}

#[tokio::test]
async fn streams_of_one_http2_connection_run_side_by_side() {
    let latch = portcullis_testkit::Latch::new();
    let held = latch.clone();
    let world = World::with(CONFIG, move |seen| match seen.target.contains("held") {
        true => items().held_by(&held),
        false => items(),
    });
    let client = H2::open(world.secure(), world.tls(&[b"h2", b"http/1.1"])).await.unwrap();
    let slow = {
        let client = client.clone();
        tokio::spawn(async move { client.send("GET", "/items?tag=held", &[], b"").await.unwrap() })
    };
    world.upstream.received(1).await.unwrap();
    for _ in 0..50 {
        let answer = client.send("GET", "/items", &[], b"").await.unwrap();
        assert_eq!((answer.status, answer.header("connection")), (200, None));
    }
    assert!(!slow.is_finished());
    latch.release();
    assert_eq!(slow.await.unwrap().status, 200);
    // The client's own HTTP version is no business of the upstream's.
    assert!(world.upstream.requests().iter().all(|seen| seen.message.start.ends_with(" HTTP/1.1")));
}

#[tokio::test]
async fn a_body_is_asked_for_only_after_the_gates() {
    let world = World::with(CONFIG, |_| Answer::json("{}"));
    let bearer = world.bearer("alice", "orders:write");
    let head = |token: &str| {
        format!(
            "POST /orders HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\nContent-Type: application/json\r\n\
             Content-Length: 12\r\nExpect: 100-continue\r\n\r\n"
        )
    };
    world.upstream.answer(|_| Answer::status(201).header("Content-Type", "application/json").body("{}"));
    let mut connection = Connection::open(world.public()).await.unwrap();
    connection.write(head(&bearer).as_bytes()).await.unwrap();
    assert_eq!(connection.any_response().await.unwrap().status, 100);
    assert!(world.upstream.requests().is_empty());
    connection.write(b"{\"item\":\"a\"}").await.unwrap();
    assert_eq!(connection.response().await.unwrap().status, 201);
    assert_eq!(world.upstream.requests()[0].header("expect"), None);
    let mut connection = Connection::open(world.public()).await.unwrap();
    connection.write(head("Bearer nonsense").as_bytes()).await.unwrap();
    assert_eq!(connection.any_response().await.unwrap().status, 401, "no body was asked for");
}
