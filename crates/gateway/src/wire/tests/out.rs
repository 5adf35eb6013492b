//! Servers behind the gateway that misbehave.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::*;

fn forward(
    answer: impl Fn(&str, &[u8]) -> Vec<u8> + Send + Sync + 'static,
) -> (Handle, SocketAddr, Recorder) {
    let recorder = Recorder::start(answer);
    let mut plan = recorder.plan();
    plan.timeouts.first_byte = Duration::from_millis(400);
    plan.timeouts.idle = Duration::from_millis(400);
    let (handle, address) = serve(vec![listener()], Some(plan));
    (handle, address, recorder)
}

#[test]
fn bodies_of_every_framing() {
    let (_handle, address, recorder) = forward(|head, _| match head.split(' ').nth(1).unwrap() {
        "/chunked" => {
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n"
                .to_vec()
        }
        "/204" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        "/304" => b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n".to_vec(),
        "/interim" => [&b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"[..], &ok("late")].concat(),
        "/no-reason" => b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok".to_vec(),
        _ => ok("sized"),
    });
    let mut stream = connect(address);
    for (method, path, status, body) in [
        ("GET", "/sized", 200, "sized"),
        ("GET", "/304", 304, ""),
        ("GET", "/204", 204, ""),
        ("GET", "/interim", 200, "late"),
        ("GET", "/no-reason", 200, "ok"),
        ("GET", "/sized", 200, "sized"),
    ] {
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut got = if status == 304 { (304, String::new(), String::new()) } else { one(&mut stream) };
        if status == 304 {
            // A length without a body: read the head alone.
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            got.1 = String::from_utf8(head).unwrap();
            assert!(got.1.starts_with("HTTP/1.1 304"));
        }
        assert_eq!((got.0, got.2.as_str()), (status, body), "{path}");
    }
    let chunked = raw(address, b"GET /chunked HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(chunked.ends_with("\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), "{chunked}");
    let head = raw(address, b"HEAD /sized HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    assert_eq!(recorder.connections(), 1, "every one of them left the connection usable");
}

#[test]
fn what_is_not_http_is_502_and_the_next_caller_is_unaffected() {
    let bad: &[&[u8]] = &[
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX: \0\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/2 200 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 99 No\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ];
    let (_handle, address, _recorder) = forward(move |head, _| {
        let path = head.split(' ').nth(1).unwrap();
        path.strip_prefix("/bad-").map_or_else(|| ok(path), |n| bad[n.parse::<usize>().unwrap()].to_vec())
    });
    for (n, what) in bad.iter().enumerate() {
        // Neither enough in a row to eject the server, nor enough in all to open the circuit.
        assert_eq!(get(address, &format!("/bad-{n}")).0, 502, "{}", String::from_utf8_lossy(what));
        for _ in 0..3 {
            assert_eq!(get(address, &format!("/good-{n}")), (200, format!("/good-{n}")));
        }
    }
}

#[test]
fn extra_bytes_close_the_connection() {
    let (_handle, address, recorder) = forward(|head, _| {
        let path = head.split(' ').nth(1).unwrap();
        [ok(path), if path == "/extra" { ok("poison") } else { Vec::new() }].concat()
    });
    for _ in 0..5 {
        assert_eq!(get(address, "/extra").1, "/extra");
        assert_eq!(get(address, "/next").1, "/next");
    }
    assert_eq!(recorder.connections(), 6, "none of the poisoned ones was used again");
}

#[test]
fn an_early_answer_ends_the_sending() {
    let listener_up = TcpListener::bind("127.0.0.1:0").unwrap();
    let plan = plan::Upstream::single("early", server(listener_up.local_addr().unwrap()));
    std::thread::spawn(move || {
        for stream in listener_up.incoming() {
            let mut stream = stream.unwrap();
            let mut first = [0u8; 4096];
            let _ = stream.read(&mut first);
            let _ = stream.write_all(b"HTTP/1.1 401 No\r\ncontent-length: 2\r\n\r\nno");
            // A second request on this connection would be a desynchronised one.
            let n = stream.read(&mut first).unwrap_or(0);
            assert!(!String::from_utf8_lossy(&first[..n]).contains("HTTP/1.1"), "reused");
        }
    });
    let (_handle, address) = serve(vec![listener()], Some(plan));
    for _ in 0..3 {
        let mut stream = connect(address);
        stream.write_all(b"POST /stream HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nbegin").unwrap();
        assert_eq!(one(&mut stream).0, 401);
    }
}

#[test]
fn time_outs() {
    let (_handle, address, _recorder) = forward(|head, _| match head.split(' ').nth(1).unwrap() {
        "/silent" => {
            std::thread::sleep(Duration::from_secs(1));
            Vec::new()
        }
        _ => b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".to_vec(),
    });
    let started = Instant::now();
    assert_eq!(get(address, "/silent").0, 504);
    assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
    let broken = raw(address, b"GET /half HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(broken.ends_with("\r\n\r\nabc"), "closed, and never ended as if complete: {broken}");
}

#[test]
fn what_is_sent_again() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let (_handle, address, _recorder) = forward(move |head, _| {
        // Every second request finds its connection closed without an answer.
        if counted.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            Vec::new()
        } else {
            ok(head.split(' ').next().unwrap())
        }
    });
    assert_eq!(get(address, "/a"), (200, "GET".into()), "a GET is sent again");
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    let post = |extra: &str| {
        let mut stream = connect(address);
        write!(stream, "POST /a HTTP/1.1\r\nHost: a\r\n{extra}Content-Length: 2\r\n\r\nhi").unwrap();
        one(&mut stream).0
    };
    // The budget: one retry in ten seconds at this rate; so a server of its own for each.
    assert_eq!(post(""), 502, "a POST is never sent twice once a byte was written");
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    assert_eq!(get(address, "/a").0, 200);
    assert_eq!(get(address, "/a").0, 502, "the budget is spent");
}

#[test]
fn a_repeatable_post_is_sent_again() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let (_handle, address, recorder) =
        forward(
            move |_, _| if counted.fetch_add(1, Ordering::SeqCst) == 0 { Vec::new() } else { ok("second") },
        );
    let mut stream = connect(address);
    stream
        .write_all(b"POST /a HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 2\r\n\r\nhi")
        .unwrap();
    assert_eq!(one(&mut stream).2, "second");
    let bytes = recorder.bytes.lock().unwrap();
    assert_eq!(bytes[0], bytes[1], "the same bytes");
}

#[test]
fn a_dead_server_among_two_hurts_nobody() {
    let recorder = Recorder::echo();
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut plan = recorder.plan();
    plan.servers.push(server(dead));
    let (_handle, address, upstream) = serve_with(vec![listener()], Some(plan));
    let mut failed = 0;
    for n in 0..200 {
        if get(address, &format!("/{n}")).0 != 200 {
            failed += 1;
        }
    }
    // Before the ejection, retries hide what the budget allows.
    assert!(failed <= 4, "{failed}");
    assert_eq!(upstream.unwrap().counts.ejections.load(Ordering::Relaxed), 1);
}

#[test]
fn all_dead_is_503_at_once() {
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (_handle, address) = serve(vec![listener()], Some(plan::Upstream::single("dead", server(dead))));
    for _ in 0..30 {
        let started = Instant::now();
        assert_eq!(get(address, "/a").0, 503);
        assert!(started.elapsed() < Duration::from_millis(200));
    }
    assert_eq!(get(address, "/a").1, "circuit-open");
}

#[test]
fn in_flight_is_bounded() {
    let recorder = Recorder::start(|_, _| {
        std::thread::sleep(Duration::from_millis(300));
        ok("x")
    });
    let mut plan = recorder.plan();
    plan.in_flight = 2;
    let (_handle, address) = serve(vec![listener()], Some(plan));
    let threads: Vec<_> = (0..6).map(|_| std::thread::spawn(move || get(address, "/a"))).collect();
    let mut statuses: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap().0).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 503, 503, 503, 503]);
    assert_eq!(get(address, "/a").0, 200);
}

#[test]
fn probes_take_a_server_out_and_back() {
    let sick = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let state = sick.clone();
    let recorder = Recorder::start(move |_, _| {
        if state.load(Ordering::SeqCst) {
            b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_vec()
        } else {
            ok("x")
        }
    });
    let mut plan = recorder.plan();
    plan.health = Some(plan::Probe {
        path: "/healthz".into(),
        every: Duration::from_millis(100),
        timeout: Duration::from_millis(500),
        unhealthy_after: 2,
        healthy_after: 2,
        status: vec![200],
    });
    let upstream = Upstream::new(plan).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let probing = upstream::probe(Arc::downgrade(&upstream), Arc::new(Door::new()));
        let steps = async {
            tokio::time::sleep(Duration::from_millis(250)).await;
            assert!(upstream.available());
            sick.store(true, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(400)).await;
            assert!(!upstream.available());
            sick.store(false, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(400)).await;
            assert!(upstream.available());
        };
        tokio::select! { () = probing => panic!("probing ended"), () = steps => {} }
    });
    assert!(recorder.all().starts_with("GET /healthz HTTP/1.1\r\n"));
}

#[test]
fn a_stream_has_no_total_time() {
    let listener_up = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut plan = plan::Upstream::single("sse", server(listener_up.local_addr().unwrap()));
    plan.timeouts.total = Duration::from_millis(300);
    std::thread::spawn(move || {
        for stream in listener_up.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n");
                for n in 0..6 {
                    std::thread::sleep(Duration::from_millis(100));
                    let _ = stream.write_all(format!("data: {n}\n\n").as_bytes());
                }
            });
        }
    });
    let (_handle, address) = serve(vec![listener()], Some(plan));
    let mut stream = connect(address);
    let started = Instant::now();
    stream.write_all(b"GET /sse HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut seen = Vec::new();
    let mut first = None;
    let mut piece = [0; 1024];
    while let Ok(n) = stream.read(&mut piece) {
        if n == 0 {
            break;
        }
        seen.extend_from_slice(&piece[..n]);
        if first.is_none() && seen.windows(7).any(|w| w == b"data: 0") {
            first = Some(started.elapsed());
        }
    }
    assert!(first.unwrap() < Duration::from_millis(400), "events are not held back: {first:?}");
    let seen = String::from_utf8(seen).unwrap();
    assert!(seen.contains("data: 5") && seen.ends_with("0\r\n\r\n"), "{seen}");
    let cut = raw(address, b"GET /other HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(cut.contains("data: 0") && !cut.contains("data: 5") && !cut.ends_with("0\r\n\r\n"), "{cut}");
}
