//! Upgrades.

use super::*;

const OFFER: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: other, chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";

/// A server that answers a handshake with `answer(key)`, then echoes frames back unmasked.
fn upstream(answer: impl Fn(&str) -> String + Send + 'static) -> (plan::Upstream, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let plan = plan::Upstream::single("ws", server(listener.local_addr().unwrap()));
    let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
    let kept = seen.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                head.push(byte[0]);
            }
            kept.lock().unwrap().extend_from_slice(&head);
            let text = String::from_utf8(head).unwrap();
            let key = text.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap_or("");
            stream.write_all(answer(key).as_bytes()).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(1500))).unwrap();
            let mut buffer = [0u8; 4096];
            while let Ok(n) = stream.read(&mut buffer) {
                if n == 0 {
                    break;
                }
                kept.lock().unwrap().extend_from_slice(&buffer[..n]);
                let len = usize::from(buffer[1] & 0x7f);
                let mask: Vec<u8> = buffer[2..6].to_vec();
                let payload: Vec<u8> =
                    buffer[6..6 + len].iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b).collect();
                let _ = stream.write_all(&[&[buffer[0], u8::try_from(len).unwrap()], &payload[..]].concat());
            }
        }
    });
    (plan, seen)
}

fn accept(key: &str) -> String {
    use base64::Engine as _;
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(hash)
}

fn agreed(key: &str, extra: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n{extra}\r\n",
        accept(key)
    )
}

fn masked(op: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let body = payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b);
    [0x80 | op, 0x80 | u8::try_from(payload.len()).unwrap()].into_iter().chain(mask).chain(body).collect()
}

fn read_frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0u8; 2];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[1] & 0x80, 0, "no mask towards the client");
    let mut payload = vec![0; usize::from(head[1])];
    stream.read_exact(&mut payload).unwrap();
    (head[0], payload)
}

#[test]
fn frames_flow_after_101() {
    let (plan, seen) = upstream(|key| agreed(key, "Sec-WebSocket-Protocol: chat\r\n"));
    let (_handle, address) = serve(vec![listener()], Some(plan));
    let mut stream = connect(address);
    // A frame that is sent too early waits in the gateway.
    stream.write_all(&[OFFER.as_bytes(), &masked(1, b"early")].concat()).unwrap();
    let (status, head, _) = one(&mut stream);
    assert_eq!(status, 101);
    // RFC 6455 § 1.3.
    assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    assert!(head.contains("sec-websocket-protocol: chat"), "{head}");
    assert!(!head.contains("extensions"), "{head}");
    assert_eq!(read_frame(&mut stream), (0x81, b"early".to_vec()));
    stream.write_all(&masked(1, b"hello")).unwrap();
    assert_eq!(read_frame(&mut stream), (0x81, b"hello".to_vec()));
    stream.write_all(&masked(9, b"ping")).unwrap();
    assert_eq!(read_frame(&mut stream), (0x8a, b"ping".to_vec()));
    stream.write_all(&masked(8, &1000u16.to_be_bytes())).unwrap();
    assert_eq!(read_frame(&mut stream), (0x88, 1000u16.to_be_bytes().to_vec()));
    assert!(closed(&mut stream));
    let seen = seen.lock().unwrap();
    let seen = String::from_utf8_lossy(&seen);
    assert!(seen.contains("sec-websocket-protocol: chat\r\n") && !seen.contains("extensions"), "{seen}");
    assert!(!seen.contains("dGhlIHNhbXBsZSBub25jZQ"), "a key of our own");
}

#[test]
fn nothing_flows_before_the_server_agrees() {
    let answers: [fn(&str) -> String; 7] = [
        |_| "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".into(),
        |_| "HTTP/1.1 400 No\r\ncontent-length: 0\r\n\r\n".into(),
        |_| agreed("wrong", ""),
        |key| agreed(key, "Sec-WebSocket-Extensions: permessage-deflate\r\n"),
        |key| agreed(key, "Sec-WebSocket-Protocol: other\r\n"),
        |key| agreed(key, "").replace("Upgrade: websocket", "Upgrade: h2c"),
        |key| agreed(key, "").replace("101 Switching Protocols", "200 OK"),
    ];
    for answer in answers {
        let (plan, seen) = upstream(answer);
        let (_handle, address) = serve(vec![listener()], Some(plan));
        let mut stream = connect(address);
        let second = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
        stream.write_all(&[OFFER.as_bytes(), second].concat()).unwrap();
        let mut all = String::new();
        let _ = stream.read_to_string(&mut all);
        assert!(!all.starts_with("HTTP/1.1 101"), "{all}");
        assert_eq!(all.matches("HTTP/1.1 ").count(), 1, "{all}");
        assert!(all.contains("connection: close"), "{all}");
        let seen = seen.lock().unwrap();
        assert!(!String::from_utf8_lossy(&seen).contains("smuggled"), "that request reaches nobody");
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    request: String,
    #[serde(default)]
    answer: Option<String>,
    status: u16,
}

/// `vectors/upgrade.yaml`, against the wire alone.
#[test]
fn upgrade_vectors() {
    const SECRET: &str = "GET /secret HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
    let cases: Vec<Case> = serde_saphyr::from_str(include_str!("../../../vectors/upgrade.yaml")).unwrap();
    assert!(cases.len() > 20);
    for case in cases {
        let answer = case.answer.clone();
        let (plan, seen) =
            upstream(move |key| answer.as_deref().unwrap_or("").replace("ACCEPT", &accept(key)));
        let (_handle, address) = serve(vec![listener()], Some(plan));
        let mut stream = connect(address);
        // A server that closes early may take the rest of what is written with it.
        let _ = stream.write_all(format!("{}{SECRET}", case.request).as_bytes());
        let (status, _, _) = one(&mut stream);
        assert_eq!(status, case.status, "upgrade#{}", case.name);
        if status != 101 {
            assert!(closed(&mut stream), "upgrade#{}: nothing follows", case.name);
        }
        let seen = seen.lock().unwrap();
        assert_eq!(!seen.is_empty(), case.answer.is_some(), "upgrade#{}: who was asked", case.name);
        let text = String::from_utf8_lossy(&seen).into_owned();
        assert!(!text.contains("/secret"), "upgrade#{}: {text}", case.name);
    }
}

#[test]
fn a_bad_handshake_reaches_nobody() {
    let (plan, seen) = upstream(|key| agreed(key, ""));
    let (_handle, address) = serve(vec![listener()], Some(plan));
    for (from, to) in [
        ("Version: 13", "Version: 8"),
        ("Key: dGhlIHNhbXBsZSBub25jZQ==", "Key: c2hvcnQ="),
        ("keep-alive, Upgrade", "keep-alive"),
        ("Sec-WebSocket-Key", "Sec-WebSocket-Other"),
    ] {
        let answer = raw(address, OFFER.replace(from, to).as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400"), "{to}: {answer}");
    }
    assert!(
        raw(address, OFFER.replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello").as_bytes())
            .starts_with("HTTP/1.1 400")
    );
    assert!(seen.lock().unwrap().is_empty());
}

#[test]
fn violations_and_drains_close_with_their_code() {
    let (plan, _seen) = upstream(|key| agreed(key, ""));
    let (handle, address) = serve(vec![listener()], Some(plan));
    let opened = || {
        let mut stream = connect(address);
        stream.write_all(OFFER.as_bytes()).unwrap();
        assert_eq!(one(&mut stream).0, 101);
        stream
    };
    let large = [vec![0x82, 0xff], 65537u64.to_be_bytes().to_vec()].concat();
    let cases: [(Vec<u8>, u16); 4] = [
        (vec![0x81, 0x01, b'a'], 1002),
        (masked(1, b"\xff"), 1007),
        (large, 1009),
        (masked(1, b"a").repeat(101), 1008),
    ];
    for (bytes, code) in cases {
        let mut stream = opened();
        stream.write_all(&bytes).unwrap();
        loop {
            let (op, payload) = read_frame(&mut stream);
            if op == 0x88 {
                assert_eq!(payload, code.to_be_bytes());
                break;
            }
        }
    }
    let mut stream = opened();
    handle.drain(portcullis_plan::bounds::Drain { delay: Duration::ZERO, timeout: Duration::from_secs(3) });
    assert_eq!(read_frame(&mut stream), (0x88, 1001u16.to_be_bytes().to_vec()));
    stream.write_all(&masked(8, &1001u16.to_be_bytes())).unwrap();
    assert!(handle.wait(Duration::from_secs(4)));
    assert_eq!(handle.census().cut(), 0);
}
