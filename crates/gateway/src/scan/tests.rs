//! Odd answers, and daemons that are not there. Real daemons are asked through the program.

use super::clamd::{Reply, judge};
use super::*;
use portcullis_core::time::SystemClock;
use portcullis_plan::api::ScanAddress;
use std::future::Future as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

#[test]
fn only_two_answers_are_answers() {
    assert_eq!(judge(b"stream: OK\0", true), Ok(Reply::Clean));
    assert_eq!(judge(b"stream: Eicar-Test FOUND\0", true), Ok(Reply::Found("Eicar-Test".to_owned())));
    assert_eq!(judge(b"stream: Eicar-Test FOUND\0", false), Ok(Reply::Found("Eicar-Test".to_owned())));
    for odd in [
        b"stream: OK".as_slice(),
        b"stream: OK\n",
        b"stream: OK\0\0",
        b"stream: OK\0stream: OK\0",
        b"stream: OK\0x",
        b" stream: OK\0",
        b"stream:OK\0",
        b"STREAM: OK\0",
        b"stream: ok\0",
        b"1: stream: OK\0",
        b"stream: OK extra\0",
        b"stream: (null) FOUND\0",
        b"stream:  FOUND\0",
        b"stream: FOUND\0",
        b"stream: a b FOUND\0",
        b"stream: a\nb FOUND\0",
        b"stream: \xff FOUND\0",
        b"stream: x FOUND",
        b"OK\0",
        b"\0",
        b"",
    ] {
        let trouble = judge(odd, true).expect_err(&String::from_utf8_lossy(odd));
        assert!(trouble.doubt);
    }
    assert!(judge(b"stream: OK\0", false).is_err(), "before everything was sent nothing is clean");
    for of_this_file in
        [b"INSTREAM size limit exceeded. ERROR\0".as_slice(), b"stream: Can't allocate memory ERROR\0"]
    {
        assert!(!judge(of_this_file, true).expect_err("an error").doubt);
    }
}

/// A daemon that reads everything and answers what it is told.
async fn daemon(answer: &'static [u8]) -> (Arc<Scanner>, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let plan = Scan {
        address: ScanAddress::Tcp { host: "127.0.0.1".into(), port },
        sample_bytes: 1000,
        unscanned: Box::default(),
    };
    let serve = async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut all = Vec::new();
            let mut piece = [0; 4096];
            while !all.ends_with(&[0; 4]) && all != b"zVERSION\0" {
                match stream.read(&mut piece).await {
                    Ok(count) if count > 0 => all.extend_from_slice(&piece[..count]),
                    _ => break,
                }
            }
            if all == b"zVERSION\0" {
                stream.write_all(b"ClamAV 1.4.6\0").await.unwrap();
                continue;
            }
            let is_file = all == b"zINSTREAM\0\0\0\0\x03abc\0\0\0\0";
            assert!(is_file || all.starts_with(b"zINSTREAM\0\0\0\0\x44X5O!"));
            stream.write_all(answer).await.unwrap();
        }
    };
    let local = tokio::task::spawn_local(serve);
    let scanner = Scanner::new(plan);
    scanner.trusted.store(true, Relaxed);
    (scanner, local)
}

#[tokio::test(flavor = "current_thread")]
async fn files_are_sent_in_chunks_and_doubt_ends_trust() {
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let file = Arc::new(Spooled::from(b"abc".to_vec()));
            let (scanner, _) = daemon(b"stream: OK\0").await;
            assert_eq!(scanner.scan(&file).await, Verdict::Clean);
            assert!(scanner.is_trusted());
            let (scanner, _) = daemon(b"stream: Bad.Thing FOUND\0").await;
            assert_eq!(scanner.scan(&file).await, Verdict::Found("Bad.Thing".to_owned()));
            for odd in [b"stream: OK".as_slice(), b"stream: (null) FOUND\0", b"stream: OK\0more", b""] {
                let (scanner, _) = daemon(odd).await;
                assert!(matches!(scanner.scan(&file).await, Verdict::Unavailable(_)));
                assert!(!scanner.is_trusted());
                assert_eq!(scanner.scan(&file).await, Verdict::Unavailable("scanner-not-tested"));
            }
            let (scanner, serving) = daemon(b"").await;
            serving.abort();
            assert!(serving.await.is_err());
            assert_eq!(scanner.scan(&file).await, Verdict::Unavailable("scanner-away"));
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn nobody_waits_behind_forty() {
    let plan = Scan {
        address: ScanAddress::Unix(std::path::Path::new("/nowhere").into()),
        sample_bytes: 1,
        unscanned: Box::default(),
    };
    let scanner = Scanner::new(plan);
    scanner.trusted.store(true, Relaxed);
    let held = scanner.slots.acquire_many(AT_ONCE as u32).await.unwrap();
    let file = Arc::new(Spooled::from(b"abc".to_vec()));
    let mut waiting: Vec<_> = (0..AT_ONCE + WAITING).map(|_| Box::pin(scanner.scan(&file))).collect();
    for scan in &mut waiting {
        let polled =
            std::future::poll_fn(|cx| std::task::Poll::Ready(scan.as_mut().poll(cx).is_pending())).await;
        assert!(polled);
    }
    assert_eq!(scanner.scan(&file).await, Verdict::Unavailable("scanner-queue-full"));
    drop(waiting);
    drop(held);
    assert_eq!(scanner.scan(&file).await, Verdict::Unavailable("scanner-away"), "places are given back");
}

#[tokio::test(flavor = "current_thread")]
async fn a_daemon_that_finds_nothing_is_not_trusted() {
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let (scanner, _) = daemon(b"stream: OK\0").await;
            let tested = self_test::run(&scanner.door, &scanner.plan, SystemClock.now(), true).await;
            assert_eq!(tested, Err("eicar-not-found"));
        })
        .await;
}
