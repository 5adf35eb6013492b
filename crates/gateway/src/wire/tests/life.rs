//! Reload and the end.

use portcullis_plan::bounds::Drain;

use super::*;

#[test]
fn a_drain_finishes_what_is_in_progress() {
    let (handle, address) = serve(vec![listener()], None);
    let mut busy = connect(address);
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut idle = connect(address);
    idle.write_all(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(one(&mut idle).0, 200);
    assert!(handle.ready());
    handle.drain(Drain { delay: Duration::from_millis(100), timeout: Duration::from_secs(3) });
    assert!(!handle.ready(), "readiness first");
    assert_eq!(get(address, "/hello").0, 200, "within the delay new connections are served");
    let (status, head, _) = one(&mut busy);
    assert_eq!(status, 200);
    assert!(head.contains("connection: close"));
    assert!(closed(&mut idle));
    assert!(handle.wait(Duration::from_secs(3)));
    assert!(TcpStream::connect(address).is_err());
    assert_eq!(handle.census().cut(), 0);
}

#[test]
fn what_does_not_end_is_cut_and_counted() {
    let (handle, address) = serve(vec![listener()], None);
    let mut stuck = connect(address);
    stuck.write_all(b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(50));
    handle.drain(Drain { delay: Duration::ZERO, timeout: Duration::from_millis(200) });
    assert!(handle.wait(Duration::from_secs(2)));
    assert!(closed(&mut stuck));
    assert_eq!(handle.census().cut(), 1);
    let (handle, address) = serve(vec![listener()], None);
    let mut stuck = connect(address);
    stuck.write_all(b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").unwrap();
    handle.drain(Drain { delay: Duration::from_secs(60), timeout: Duration::from_secs(60) });
    handle.stop();
    assert!(handle.wait(Duration::from_secs(2)), "a second signal ends at once");
}

#[test]
fn listeners_come_and_go_and_no_request_fails() {
    let (handle, address) = serve(vec![listener()], None);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = stop.clone();
    let load = std::thread::spawn(move || {
        let (mut served, mut kept) = (0, connect(address));
        while !flag.load(std::sync::atomic::Ordering::SeqCst) {
            assert_eq!(get(address, "/hello").0, 200);
            kept.write_all(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            let (status, head, _) = one(&mut kept);
            assert_eq!(status, 200);
            if head.contains("connection: close") {
                kept = connect(address);
            }
            served += 2;
        }
        served
    });
    let mut second = listener();
    second.name = "second".into();
    for n in 0..20 {
        let first = bounded(|b| b.headers = 50 + n);
        let drain = Drain::default();
        assert!(handle.apply(vec![first.clone(), second.clone()], drain).is_empty());
        let addresses = handle.addresses();
        assert_eq!(addresses.len(), 2);
        assert_eq!(addresses[0], ("test".to_owned(), address), "the address stays");
        assert_eq!(get(addresses[1].1, "/hello").0, 200);
        assert!(handle.apply(vec![first], drain).is_empty());
        let gone = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            TcpStream::connect(addresses[1].1).is_err()
        });
        assert!(gone, "the removed one is closed");
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(load.join().unwrap() > 100);
    // The new bound holds for new connections.
    let many = format!("GET /hello HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-A: b\r\n".repeat(70));
    assert!(raw(address, many.as_bytes()).starts_with("HTTP/1.1 431"));
}

#[test]
fn an_address_in_use_is_an_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let plan = Listener::plain("x", taken.local_addr().unwrap(), vec![Serve::Apis]);
    let start = Wire::start(vec![plan.clone()], Options { workers: Some(1), ..Options::default() }, |_| {
        Forward { pool: Pool::new(Arc::new(Door::new())), upstream: None, worker: 0, log: RefCell::default() }
    });
    assert!(matches!(start, Err(StartError::Bind(..))));
    let (handle, address) = serve(vec![listener()], None);
    let errors = handle.apply(vec![listener(), plan], Drain::default());
    assert!(matches!(errors[..], [StartError::Bind(..)]));
    assert_eq!(get(address, "/hello").0, 200);
}

#[test]
fn every_worker_accepts() {
    let handle =
        Wire::start(vec![listener()], Options { workers: Some(4), ..Options::default() }, |worker| Forward {
            pool: Pool::new(Arc::new(Door::new())),
            upstream: None,
            worker,
            log: RefCell::default(),
        })
        .unwrap();
    let address = handle.addresses()[0].1;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        seen.insert(get(address, "/worker").1);
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
    handle.drain(Drain { delay: Duration::ZERO, timeout: Duration::from_secs(1) });
    assert!(handle.wait(Duration::from_secs(3)));
}
