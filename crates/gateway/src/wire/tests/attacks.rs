//! What a stranger may try on an open port.

use std::time::Instant;

use super::*;

#[test]
fn an_ordinary_exchange() {
    let recorder = Recorder::echo();
    let (_handle, address) = serve(vec![listener()], Some(recorder.plan()));
    let mut stream = connect(address);
    for n in 0..3 {
        write!(stream, "POST /a{n}?b=c HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").unwrap();
        let (status, head, body) = one(&mut stream);
        assert_eq!((status, body), (200, format!("/a{n}?b=c")));
        assert!(!head.contains("connection"), "{head}");
    }
    assert_eq!(recorder.connections(), 1, "the connection was kept");
    let host = recorder.address;
    let expected: String = (0..3)
        .map(|n| format!("POST /a{n}?b=c HTTP/1.1\r\nhost: {host}\r\ncontent-length: 2\r\n\r\nhi"))
        .collect();
    assert_eq!(recorder.all(), expected, "byte for byte");
}

#[test]
fn chunked_bodies_are_sized_or_chunked_anew() {
    let recorder = Recorder::echo();
    let (_handle, address) = serve(vec![listener()], Some(recorder.plan()));
    let mut stream = connect(address);
    for path in ["/a", "/stream"] {
        write!(stream, "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        stream.write_all(b"3;x=y\r\nabc\r\n02\r\nde\r\n0\r\nX-Evil: 1\r\n\r\n").unwrap();
        assert_eq!(one(&mut stream).2, path);
    }
    let all = recorder.all();
    assert!(all.contains("content-length: 5\r\n\r\nabcde"), "{all}");
    assert!(all.contains("transfer-encoding: chunked\r\n\r\n"), "{all}");
    assert!(!all.contains("x=y") && !all.contains("Evil") && !all.contains("02\r\n"), "{all}");
}

#[test]
fn refusals_over_a_socket() {
    let (handle, address) = serve(vec![listener()], None);
    for (request, status) in [
        ("GET /hello HTTP/1.1\nHost: a\n\n", 400),
        ("GET /hello HTTP/1.0\r\nHost: a\r\n\r\n", 505),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405),
        (
            "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ] {
        let answer = raw(address, request.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
    assert_eq!(handle.census().violations(Rule::Version), 1);
    assert_eq!(handle.census().violations(Rule::BothLengths), 1);
    assert_eq!(handle.census().violations(Rule::Chunk), 1);
}

/// HTTP/1.0 by name: one request and its answer without chunks; what it never had is still refused.
#[test]
fn http_1_0_is_a_loosening_without_keep_alive_and_without_chunks() {
    let mut old = listener();
    old.http_1_0 = true;
    let (_handle, address) = serve(vec![old], None);
    let twice = b"GET /hello HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\nGET /hello HTTP/1.0\r\nHost: a\r\n\r\n";
    let answer = raw(address, twice);
    assert!(answer.starts_with("HTTP/1.0 200 ") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    assert_eq!(answer.matches("HTTP/1").count(), 1, "one request: {answer}");
    assert!(!answer.to_ascii_lowercase().contains("transfer-encoding"), "{answer}");
    let post = raw(address, b"POST /count HTTP/1.0\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert!(post.starts_with("HTTP/1.0 200 ") && post.ends_with('3'), "{post}");
    for (bad, status) in [
        ("POST /count HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 400),
        ("GET /hello HTTP/1.0\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", 505),
        ("GET /hello HTTP/1.0\r\n\r\n", 400),
        ("GET /hello HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        ("GET /hello HTTP/0.9\r\nHost: a\r\n\r\n", 505),
    ] {
        let answer = raw(address, bad.as_bytes());
        assert!(answer.contains(&format!(" {status} ")), "{bad:?}: {answer}");
    }
    let (_handle, strict) = serve(vec![listener()], None);
    assert!(raw(strict, b"GET /hello HTTP/1.0\r\nHost: a\r\n\r\n").contains(" 505 "));
}

#[test]
fn earlier_requests_are_served_and_later_ones_are_not() {
    let (_handle, address) = serve(vec![listener()], None);
    let answer = raw(
        address,
        b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 400").count(), 1, "{answer}");
}

/// A thousand attempts to hide a request in another; every innocent request gets its own answer, and the server sees
/// nothing that was not asked for in the open.
#[test]
fn smuggling() {
    let recorder = Recorder::echo();
    let (_handle, address) = serve(vec![listener()], Some(recorder.plan()));
    let hidden = "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n";
    let chunked = format!("0\r\n\r\n{hidden}");
    let attempts: Vec<String> = [
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}", chunked.len()),
        format!(
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{:x}\r\n{hidden}\r\n0\r\n\r\n",
            hidden.len()
        ),
        format!("Transfer-Encoding: xchunked\r\nContent-Length: {}\r\n\r\n{chunked}", chunked.len()),
        format!("Transfer-Encoding : chunked\r\nContent-Length: {}\r\n\r\n{chunked}", chunked.len()),
        format!("Transfer-Encoding:\x0bchunked\r\n\r\n{chunked}"),
        format!("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n{chunked}"),
        format!("Transfer-Encoding: chunked, identity\r\n\r\n{chunked}"),
        format!("X: y\nTransfer-Encoding: chunked\r\nContent-Length: {}\r\n\r\n{chunked}", chunked.len()),
        format!("Transfer-Encoding\n : chunked\r\n\r\n{chunked}"),
        format!("Content-Length: 0\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len()),
        format!("Content-Length: {0}\r\nContent-Length: {0}\r\n\r\n{hidden}", hidden.len()),
        format!("Content-Length: 0, {}\r\n\r\n{hidden}", hidden.len()),
        format!("Content-Length: +{}\r\n\r\n{hidden}", hidden.len()),
        format!("Content-Length: 0x0\r\n\r\n{hidden}"),
        format!("Content-Length : 5\r\n\r\n{hidden}"),
        format!("Transfer-Encoding: chunked\r\n\r\n5;\n{hidden}0\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\n\r\n0\n\n{hidden}"),
        format!("Transfer-Encoding: chunked\r\n\r\n100000000\r\n{hidden}"),
        format!("Transfer-Encoding: chunked\r\n\r\n0\r\n{hidden}"),
        format!(
            "Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: {}\r\n\r\n{hidden}",
            hidden.len()
        ),
        format!("Expect: 100-continue\r\n : x\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len()),
    ]
    .into_iter()
    .collect();
    for n in 0..1000 {
        let attempt = &attempts[n % attempts.len()];
        let answer = raw(address, format!("POST /open HTTP/1.1\r\nHost: a\r\n{attempt}").as_bytes());
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{attempt:?}: {answer}");
        assert!(answer.starts_with("HTTP/1.1 4"), "{attempt:?}: {answer}");
        assert_eq!(get(address, &format!("/innocent-{n}")), (200, format!("/innocent-{n}")));
    }
    let all = recorder.all();
    assert!(!all.contains("evil"), "{all}");
    assert_eq!(all.matches(" HTTP/1.1\r\n").count(), 1000);
}

#[test]
fn ten_thousand_headers_and_a_header_of_100_mb() {
    let (handle, address) = serve(vec![listener()], None);
    let many = format!("GET /hello HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-A: b\r\n".repeat(10_000));
    assert!(raw(address, many.as_bytes()).starts_with("HTTP/1.1 431 "));
    let before = resident();
    let mut stream = connect(address);
    stream.write_all(b"GET /hello HTTP/1.1\r\nHost: a\r\nX: ").unwrap();
    let piece = vec![b'a'; 1 << 20];
    let sent = (0..100).take_while(|_| stream.write_all(&piece).is_ok()).count();
    assert!(sent < 100, "the connection was closed long before");
    assert!(resident().saturating_sub(before) < 32 << 20, "memory stays flat");
    assert_eq!(handle.census().violations(Rule::HeaderSize), 2);
    assert_eq!(get(address, "/hello").0, 200);
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

#[test]
fn a_slow_head_is_refused_and_others_are_not_disturbed() {
    let (_handle, address) = serve(vec![bounded(|b| b.head = Duration::from_millis(300))], None);
    let started = Instant::now();
    let mut slow: Vec<_> = (0..50).map(|_| connect(address)).collect();
    for stream in &mut slow {
        stream.write_all(b"GET /hello HTTP/1.1\r\nHo").unwrap();
    }
    for stream in &mut slow {
        let _ = stream.write_all(b"s");
    }
    assert_eq!(get(address, "/hello"), (200, "hello".into()));
    for stream in &mut slow {
        let (status, head, body) = one(stream);
        assert_eq!((status, body.as_str()), (408, "late"));
        assert!(head.contains("connection: close"));
        assert!(closed(stream));
    }
    let elapsed = started.elapsed();
    assert!(elapsed >= Duration::from_millis(290) && elapsed < Duration::from_secs(4), "{elapsed:?}");
}

#[test]
fn a_head_that_waits_for_an_exchange_keeps_its_time() {
    let (_handle, address) = serve(vec![bounded(|b| b.head = Duration::from_millis(300))], None);
    let mut stream = connect(address);
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\n").unwrap();
    assert_eq!(one(&mut stream).2, "slow");
    stream.write_all(b"Host: a\r\n\r\n").unwrap();
    assert_eq!(one(&mut stream).2, "hello");
}

#[test]
fn an_idle_connection_is_closed() {
    let (_handle, address) = serve(vec![bounded(|b| b.idle = Duration::from_millis(200))], None);
    let mut silent = connect(address);
    let mut used = connect(address);
    used.write_all(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(one(&mut used).0, 200);
    assert!(closed(&mut used));
    assert!(closed(&mut silent));
}

#[test]
fn a_slow_body_is_408() {
    let listener = bounded(|b| {
        b.body_grace = Duration::from_millis(200);
        b.body_rate = 1_000_000;
        b.body = Duration::from_secs(2);
    });
    let (_handle, address) = serve(vec![listener], None);
    let mut stream = connect(address);
    stream.write_all(b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nab").unwrap();
    let started = Instant::now();
    let (status, _, _) = one(&mut stream);
    assert_eq!(status, 408);
    assert!(started.elapsed() < Duration::from_secs(3));
    let mut fast = connect(address);
    fast.write_all(b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab").unwrap();
    assert_eq!(one(&mut fast).2, "2");
}

#[test]
fn bodies_are_bounded_before_they_are_read() {
    let (_handle, address) = serve(vec![listener()], None);
    let mut stream = connect(address);
    write!(stream, "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", (1 << 20) + 1).unwrap();
    assert_eq!(one(&mut stream).0, 413);
    let mut stream = connect(address);
    stream.write_all(b"POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let chunk = [b"10000\r\n".to_vec(), vec![b'x'; 0x10000], b"\r\n".to_vec()].concat();
    for _ in 0..17 {
        let _ = stream.write_all(&chunk);
    }
    assert_eq!(one(&mut stream).0, 413);
}

#[test]
fn a_client_that_does_not_read_is_reset() {
    let listener = bounded(|b| b.unread = Duration::from_millis(300));
    let (handle, address) = serve(vec![listener], None);
    let mut stream = connect(address);
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let started = Instant::now();
    while handle.census().slow_readers() == 0 {
        assert!(started.elapsed() < Duration::from_secs(5), "it must be noticed");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(started.elapsed() >= Duration::from_millis(250));
    // One that reads gets everything.
    let mut reader = connect(address);
    reader.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(one(&mut reader).2.len(), 32 << 20);
}

#[test]
fn connections_of_one_address_are_bounded() {
    let (handle, address) = serve(vec![bounded(|b| b.connections_per_address = 3)], None);
    let mut open: Vec<_> = (0..3).map(|_| connect(address)).collect();
    for stream in &mut open {
        stream.write_all(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(one(stream).0, 200);
    }
    assert!(closed(&mut connect(address)));
    assert_eq!(handle.census().refused(), 1);
    open.pop();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(get(address, "/hello").0, 200);
}

#[test]
fn a_connection_takes_so_many_requests() {
    let (_handle, address) = serve(vec![bounded(|b| b.requests_http1 = 3)], None);
    let mut stream = connect(address);
    for n in 1..=3 {
        stream.write_all(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let (_, head, _) = one(&mut stream);
        assert_eq!(head.contains("connection: close"), n == 3);
    }
    assert!(closed(&mut stream));
}

#[test]
fn the_proxy_protocol_is_mandatory_where_it_is_on() {
    let mut on = listener();
    on.proxy_protocol = Some(vec!["127.0.0.0/8".parse().unwrap()]);
    let mut foreign = listener();
    foreign.name = "foreign".into();
    foreign.proxy_protocol = Some(vec!["192.0.2.0/24".parse().unwrap()]);
    let (handle, address) = serve(vec![on, foreign], None);
    let request = b"GET /peer HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let line = b"PROXY TCP4 198.51.100.7 192.0.2.1 4711 443\r\n";
    let answer = raw(address, &[&line[..], request].concat());
    assert!(answer.contains("proxied: Some(198.51.100.7:4711)"), "{answer}");
    assert_eq!(raw(address, request), "", "without a header");
    assert_eq!(raw(handle.addresses()[1].1, &[&line[..], request].concat()), "", "from a stranger");
}

#[test]
fn a_connection_has_an_age() {
    let (_handle, address) = serve(vec![bounded(|b| b.age = Duration::from_millis(300))], None);
    let mut stream = connect(address);
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let (status, head, _) = one(&mut stream);
    assert_eq!((status, head.contains("connection: close")), (200, true));
    assert!(closed(&mut stream));
    assert!(closed(&mut connect(address)), "an idle one too");
}
