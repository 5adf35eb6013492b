//! HTTP/2, with frames by hand.

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `GET path` with `:authority` a, in HPACK literals that need no state.
fn headers(path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x01, 1, b'a', 0x04, u8::try_from(path.len()).unwrap()];
    block.extend(path.as_bytes());
    block
}

fn open(address: SocketAddr, settings: &[u8]) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(PREFACE).unwrap();
    stream.write_all(&frame(4, 0, 0, settings)).unwrap();
    stream
}

/// The next frame: kind, flags, stream, payload.
fn next(stream: &mut TcpStream) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0u8; 9];
    stream.read_exact(&mut head).ok()?;
    let len = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let mut payload = vec![0; len];
    stream.read_exact(&mut payload).ok()?;
    let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Some((head[3], head[4], id, payload))
}

fn until(
    stream: &mut TcpStream,
    wanted: impl Fn(&(u8, u8, u32, Vec<u8>)) -> bool,
) -> Option<(u8, u8, u32, Vec<u8>)> {
    loop {
        let frame = next(stream)?;
        if wanted(&frame) {
            return Some(frame);
        }
    }
}

fn cleartext() -> Listener {
    let mut listener = listener();
    listener.h2c = true;
    listener
}

#[test]
fn requests_over_prior_knowledge_and_http1_beside() {
    let recorder = Recorder::echo();
    let (_handle, address) = serve(vec![cleartext()], Some(recorder.plan()));
    let mut stream = open(address, &[]);
    for id in [1u32, 3, 5] {
        stream.write_all(&frame(1, 5, id, &headers("/over-h2"))).unwrap();
        let (_, _, _, body) = until(&mut stream, |(kind, _, on, _)| *kind == 0 && *on == id).unwrap();
        assert_eq!(body, b"/over-h2");
    }
    assert_eq!(get(address, "/hello").1, "hello");
    assert_eq!(recorder.all().matches("GET /over-h2 HTTP/1.1\r\n").count(), 3);
}

#[test]
fn no_http2_without_h2c_and_no_upgrade_to_it() {
    let (_handle, address) = serve(vec![listener()], None);
    assert!(raw(address, &[PREFACE, &frame(4, 0, 0, &[])].concat()).starts_with("HTTP/1.1 400 "));
    let mut stream = connect(address);
    stream
        .write_all(b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n")
        .unwrap();
    let (status, _, body) = one(&mut stream);
    assert_eq!((status, body.as_str()), (200, "hello"));
}

fn calmed(flood: &[u8]) {
    let (handle, address) = serve(vec![cleartext()], None);
    let mut stream = open(address, &[]);
    let mut writer = stream.try_clone().unwrap();
    let flood = flood.to_vec();
    let writing = std::thread::spawn(move || writer.write_all(&flood).is_ok());
    let goaway = until(&mut stream, |(kind, ..)| *kind == 7);
    if let Some((.., payload)) = &goaway {
        assert_eq!(payload[4..8], 11u32.to_be_bytes(), "ENHANCE_YOUR_CALM");
    }
    let _ = writing.join();
    assert!(goaway.is_some() || handle.census().floods() > 0);
    assert_eq!(get(address, "/hello").0, 200, "others are served");
}

#[test]
fn rapid_reset_ends_the_connection() {
    let mut flood = Vec::new();
    for n in 0..5000u32 {
        flood.extend(frame(1, 5, 2 * n + 1, &headers("/slow")));
        flood.extend(frame(3, 0, 2 * n + 1, &8u32.to_be_bytes()));
    }
    calmed(&flood);
}

#[test]
fn floods_of_control_frames_end_the_connection() {
    calmed(&frame(6, 0, 0, &[0; 8]).repeat(5000));
    calmed(&frame(4, 0, 0, &[]).repeat(5000));
    calmed(&frame(2, 0, 1, &[0, 0, 0, 0, 1]).repeat(5000));
    let mut continuation = frame(1, 0, 1, &headers("/a"));
    continuation.extend(frame(9, 0, 1, b"").repeat(5000));
    calmed(&continuation);
    let mut empty = frame(1, 0, 1, &[0x83, 0x86, 0x01, 1, b'a', 0x04, 6, b'/', b'c', b'o', b'u', b'n', b't']);
    empty.extend(frame(0, 0, 1, b"").repeat(5000));
    calmed(&empty);
}

#[test]
fn a_stream_that_is_not_read_is_reset_and_others_live() {
    let mut plan = cleartext();
    plan.bounds.unread = Duration::from_millis(300);
    let (handle, address) = serve(vec![plan], None);
    let mut stream = open(address, &[]);
    stream.write_all(&frame(1, 5, 1, &headers("/large"))).unwrap();
    // No WINDOW_UPDATE follows: 64 KiB arrive, and then nothing.
    let (.., payload) = until(&mut stream, |(kind, _, id, _)| *kind == 3 && *id == 1).expect("RST_STREAM");
    assert_eq!(payload.len(), 4);
    assert_eq!(handle.census().slow_readers(), 1);
    let window = frame(8, 0, 0, &1_000_000u32.to_be_bytes());
    stream.write_all(&[window, frame(1, 5, 3, &headers("/hello"))].concat()).unwrap();
    assert_eq!(until(&mut stream, |(kind, _, id, _)| *kind == 0 && *id == 3).unwrap().3, b"hello");
}

#[test]
fn a_window_of_zero_is_no_way_to_stay() {
    let mut plan = cleartext();
    plan.bounds.unread = Duration::from_millis(300);
    let (handle, address) = serve(vec![plan], None);
    let mut stream = open(address, &[0, 4, 0, 0, 0, 0]);
    for id in [1u32, 3, 5] {
        stream.write_all(&frame(1, 5, id, &headers("/large"))).unwrap();
    }
    for _ in 0..3 {
        until(&mut stream, |(kind, ..)| *kind == 3).expect("RST_STREAM");
    }
    assert_eq!(handle.census().slow_readers(), 3);
}

#[test]
fn malformed_requests_are_reset_by_h2_itself() {
    let (_handle, address) = serve(vec![cleartext()], None);
    let literal = |name: &str, value: &str| {
        let (n, v) = (u8::try_from(name.len()).unwrap(), u8::try_from(value.len()).unwrap());
        [&[0x00, n], name.as_bytes(), &[v], value.as_bytes()].concat()
    };
    for (name, value) in [
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        ("Upper", "x"),
        ("te", "gzip"),
        ("x", "a\r\nb: c"),
        (":path", "/twice"),
    ] {
        let mut stream = open(address, &[]);
        let block = [headers("/hello"), literal(name, value)].concat();
        stream.write_all(&frame(1, 5, 1, &block)).unwrap();
        let answer = until(&mut stream, |(kind, ..)| matches!(kind, 0 | 1 | 3 | 7));
        assert!(answer.is_none_or(|(kind, ..)| kind == 3 || kind == 7), "{name}: {value:?}");
    }
}

#[test]
fn a_retiring_connection_says_goaway() {
    let mut plan = cleartext();
    plan.bounds.requests_http2 = 2;
    let (_handle, address) = serve(vec![plan], None);
    let mut stream = open(address, &[]);
    for id in [1u32, 3] {
        stream.write_all(&frame(1, 5, id, &headers("/hello"))).unwrap();
    }
    assert!(until(&mut stream, |(kind, ..)| *kind == 7).is_some());
}

#[test]
fn http2_to_the_server_too() {
    // The gateway is its own HTTP/2 server here.
    let (_inner, inner) = serve(vec![cleartext()], None);
    let mut plan = plan::Upstream::single("h2", server(inner));
    plan.protocol = plan::Protocol::H2c;
    let (_handle, address, upstream) = serve_with(vec![listener()], Some(plan));
    for n in 0..20 {
        for path in ["/via/count", "/via/stream/count"] {
            let mut stream = connect(address);
            let body = "x".repeat(n * 1000);
            write!(stream, "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                .unwrap();
            let (status, _, counted) = one(&mut stream);
            assert_eq!((status, counted), (200, body.len().to_string()));
        }
    }
    let mut stream = connect(address);
    stream.write_all(b"GET /via/large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(one(&mut stream).2.len(), 32 << 20);
    assert_eq!(
        upstream.unwrap().counts.dialled.load(std::sync::atomic::Ordering::Relaxed),
        1,
        "one connection"
    );
}

/// A server that answers a call with trailers, frame by frame.
fn grpc_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                stream.read_exact(&mut [0; 24]).unwrap();
                stream.write_all(&frame(4, 0, 0, &[])).unwrap();
                while let Some((kind, flags, id, _)) = next(&mut stream) {
                    if matches!(kind, 0 | 1) && flags & 1 == 1 {
                        let trailers = [&[0x00, 11][..], b"grpc-status", &[1], b"0"].concat();
                        let answer = [
                            frame(1, 4, id, &[0x88]),
                            frame(0, 0, id, b"message"),
                            frame(1, 5, id, &trailers),
                        ];
                        stream.write_all(&answer.concat()).unwrap();
                    }
                }
            });
        }
    });
    address
}

#[test]
fn trailers_pass_for_grpc_and_for_nothing_else() {
    let mut plan = plan::Upstream::single("grpc", server(grpc_server()));
    plan.protocol = plan::Protocol::H2c;
    let (_handle, address) = serve(vec![cleartext()], Some(plan));
    for (path, trailers) in [("/grpc.Orders/Get", true), ("/other", false)] {
        let mut stream = open(address, &[]);
        stream.write_all(&frame(1, 5, 1, &headers(path))).unwrap();
        let data = until(&mut stream, |(kind, _, id, _)| *kind == 0 && *id == 1).unwrap();
        assert_eq!(data.3, b"message");
        let end = if data.1 & 1 == 1 {
            data
        } else {
            until(&mut stream, |(_, flags, id, _)| *id == 1 && flags & 1 == 1).unwrap()
        };
        assert_eq!(end.0 == 1, trailers, "{path}: {end:?}");
    }
    // HTTP/1.1 upstreams cannot speak it.
    let recorder = Recorder::echo();
    let (_handle, address) = serve(vec![cleartext()], Some(recorder.plan()));
    assert_eq!(get(address, "/grpc.Orders/Get").0, 502);
    assert_eq!(recorder.all(), "");
}
