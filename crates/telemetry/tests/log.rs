//! The request log under attack: forged lines, stalled sinks, full rings.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use portcullis_core::caller::Kind;
use portcullis_core::finding::{SourceMap, Span};
use portcullis_core::id::RequestId;
use portcullis_core::problem::Code;
use portcullis_core::time::Now;
use portcullis_core::trail::{Gate, Trail};
use portcullis_telemetry::line::{ClientRequestId, FIELDS, Format, Line, PlanMark, Touched};
use portcullis_telemetry::log::{Log, Sink};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// A sink that a test can stall, break and read.
#[derive(Clone, Default)]
struct Hand {
    text: Arc<Mutex<Vec<u8>>>,
    gate: Arc<(Mutex<bool>, Condvar)>,
    broken: Arc<AtomicBool>,
}

impl Hand {
    fn stall(&self, stalled: bool) {
        *self.gate.0.lock().unwrap() = stalled;
        self.gate.1.notify_all();
    }
    fn lines(&self) -> Vec<serde_json::Map<String, serde_json::Value>> {
        let text = String::from_utf8(self.text.lock().unwrap().clone()).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        text.split_terminator('\n')
            .map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}")))
            .collect()
    }
}

impl Write for Hand {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut stalled = self.gate.0.lock().unwrap();
        while *stalled {
            stalled = self.gate.1.wait(stalled).unwrap();
        }
        if self.broken.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.text.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn plan(file: &str) -> Arc<PlanMark> {
    let mut sources = SourceMap::default();
    sources.add(file, "a: 1\n");
    PlanMark::new(Arc::from("0123456789abcdef"), &sources)
}

/// A line with `hostile` in every field that is a text.
fn line(n: u64, hostile: &str) -> Line {
    let text: Arc<str> = Arc::from(hostile);
    let mut decisions = Trail::new();
    let rule = Some(Span { file: 0, start: 0, end: 1, line: 14, column: 3 });
    decisions.note(Gate::Route, "matched".to_owned() + hostile, rule);
    decisions.note(Gate::Flood, "admitted", None);
    Line {
        at: Now::from_micros(1_767_225_600_000_000 + n as i64),
        id: RequestId::new(Now::from_secs(1_767_225_600), [7; 10]),
        client_request_id: ClientRequestId::new(hostile),
        trace: Some([0xab; 16]),
        source: Some("2001:db8::1".parse().unwrap()),
        source_how: "peer",
        tls: Some("1.3"),
        http: "2",
        caller: Some(Kind::Key),
        key_id: Some(Arc::clone(&text)),
        key_state: Some("deprecated"),
        key_successor: Some(Arc::clone(&text)),
        key_grace_left_s: Some(3_600),
        client: Some(Arc::clone(&text)),
        user_hash: Some([1; 8]),
        tenant: Some(Arc::clone(&text)),
        method: "GET",
        route: Some(Arc::clone(&text)),
        operation: Some(Arc::clone(&text)),
        api: Some(text),
        status: 429,
        problem: Some(Code::QuotaSpent),
        reason: Some(hostile.to_owned().into()),
        total_us: n,
        inside_us: 3,
        upstream_us: Some(9),
        request_bytes: 1,
        response_bytes: 2,
        limits: [
            Touched { layer: "key", remaining: 0, admitted: false, shadow: false },
            Touched { layer: "user", remaining: 5, admitted: true, shadow: false },
        ]
        .into_iter()
        .collect(),
        decisions,
        plan: plan(hostile),
    }
}

fn hostile_strings() -> Vec<String> {
    let mut all: Vec<String> = [
        "x\n{\"@timestamp\":\"2026-01-01T00:00:00Z\",\"event.outcome\":\"success\"}",
        "x\r\n127.0.0.1 - - \"GET / HTTP/1.1\" 200",
        "\"},{\"forged\":\"yes",
        "\\\"},{\"forged\":\"yes\"}\n",
        "\u{2028}{\"forged\":1}\u{2029}",
        "\u{85}{\"forged\":1}",
        "\x1b[2J\x1b[1;1Hpwned\x07",
        "\0\0\0",
        "\u{202e}evil\u{2066}",
        "\u{feff}\u{200b}",
        "%0a%0d\\n\\r\\u000a",
        "${jndi:ldap://127.0.0.1/a}",
        "\u{e0041}\u{e007f}",
    ]
    .iter()
    .map(|s| (*s).to_owned())
    .collect();
    all.push("a".repeat(100_000));
    let folder = std::env::var("PORTCULLIS_VECTORS")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors").to_owned());
    match std::fs::read(std::path::Path::new(&folder).join("strings/blns.json")) {
        Ok(bytes) => all.extend(serde_json::from_slice::<Vec<String>>(&bytes).unwrap()),
        Err(_) => println!("no folder of test vectors: the big list of naughty strings is left out"),
    }
    all
}

#[test]
fn no_line_can_be_forged_and_no_field_smuggled() {
    let strings = hostile_strings();
    for format in [Format::Ecs, Format::Flat] {
        let hand = Hand::default();
        let log = Log::open(Sink::Writer(Box::new(hand.clone())), format, strings.len()).unwrap();
        let recorder = log.recorder();
        for (n, hostile) in strings.iter().enumerate() {
            recorder.record(line(n as u64, hostile));
        }
        assert!(log.close(PATIENCE));
        let lines = hand.lines();
        assert_eq!(lines.len(), strings.len(), "one line a request");
        let allowed: Vec<&str> =
            FIELDS.iter().map(|f| if format == Format::Ecs { f.0 } else { f.1 }).collect();
        for (object, hostile) in lines.iter().zip(&strings) {
            for name in object.keys() {
                assert!(allowed.contains(&name.as_str()), "{name} is no field");
            }
            let name = if format == Format::Ecs { "portcullis.reason" } else { "reason" };
            assert_eq!(object.get(name).and_then(|v| v.as_str()).unwrap_or(""), hostile, "kept, not altered");
        }
        let text = String::from_utf8(hand.text.lock().unwrap().clone()).unwrap();
        assert!(
            !text
                .chars()
                .any(|c| (c.is_control() && c != '\n') || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202e}')),
            "nothing that a reader could split or reorder a line at"
        );
        println!("{} hostile strings in {format:?}", strings.len());
    }
}

#[test]
fn a_line_tells_everything() {
    let hand = Hand::default();
    let log = Log::open(Sink::Writer(Box::new(hand.clone())), Format::Ecs, 8).unwrap();
    log.recorder().record(line(1_234, "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"));
    assert!(log.close(PATIENCE));
    let lines = hand.lines();
    let got = |name: &str| lines[0].get(name).cloned().unwrap_or_default();
    for (name, want) in [
        ("@timestamp", "2026-01-01T00:00:00.001234Z"),
        ("http.request.id", "019b76da-a800-7707-8707-070707070707"),
        ("portcullis.client_request_id", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
        ("trace.id", "abababababababababababababababab"),
        ("source.ip", "2001:db8::1"),
        ("portcullis.caller", "key"),
        ("portcullis.key.state", "deprecated"),
        ("user.hash", "0101010101010101"),
        ("http.request.method", "GET"),
        ("event.outcome", "failure"),
        ("error.code", "quota-spent"),
        ("portcullis.plan", "0123456789abcdef"),
    ] {
        assert_eq!(got(name), want, "{name}");
    }
    assert_eq!(got("http.response.status_code"), 429);
    assert_eq!(got("event.duration"), 1_234_000);
    assert_eq!(got("portcullis.key.grace_left_s"), 3_600);
    assert_eq!(got("portcullis.limits"), serde_json::json!(["key 0 refused", "user 5"]));
    assert_eq!(
        got("portcullis.decisions"),
        serde_json::json!([
            "route matchedf81d4fae-7dec-11d0-a765-00a0c91e6bf6 f81d4fae-7dec-11d0-a765-00a0c91e6bf6:14",
            "flood admitted"
        ])
    );
    // All fields but the two of the line that announces a loss.
    assert_eq!(lines[0].len(), FIELDS.len() - 2);
}

#[test]
fn a_stalled_sink_never_blocks_and_the_loss_is_announced() {
    let hand = Hand::default();
    hand.stall(true);
    let log = Log::open(Sink::Writer(Box::new(hand.clone())), Format::Flat, 256).unwrap();
    let recorder = log.recorder();
    let mut slowest = Duration::ZERO;
    for n in 0..20_000 {
        let made = line(n, "x");
        let begin = Instant::now();
        recorder.record(made);
        slowest = slowest.max(begin.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    let dropped = log.dropped_total();
    // What one batch and the ring hold is all that got in.
    assert!((19_000..20_000).contains(&dropped), "{dropped}");
    assert!(!log.close(Duration::from_millis(50)), "the end of the program does not wait for a stalled sink");
    hand.stall(false);
    let begin = Instant::now();
    while log.written_total() + dropped < 20_000 && begin.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(20));
    let lines = hand.lines();
    let announced: u64 = lines.iter().filter_map(|l| l.get("dropped")?.as_u64()).sum();
    assert_eq!(announced, dropped);
    let requests = lines.iter().filter(|l| !l.contains_key("dropped")).count() as u64;
    assert_eq!(requests + dropped, 20_000, "every request is written or counted");
    println!("20,000 records against a stalled sink: slowest {slowest:?}, {dropped} dropped and announced");
}

#[test]
fn a_broken_sink_is_counted_and_announced_when_it_is_back() {
    let hand = Hand::default();
    hand.broken.store(true, Ordering::SeqCst);
    let log = Log::open(Sink::Writer(Box::new(hand.clone())), Format::Flat, 1_024).unwrap();
    let recorder = log.recorder();
    for n in 0..100 {
        recorder.record(line(n, "x"));
    }
    let begin = Instant::now();
    while log.dropped_total() < 100 && begin.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(log.write_errors_total() > 0);
    hand.broken.store(false, Ordering::SeqCst);
    recorder.record(line(100, "x"));
    assert!(log.close(PATIENCE));
    let lines = hand.lines();
    assert_eq!(lines.iter().filter_map(|l| l.get("dropped")?.as_u64()).sum::<u64>(), 100);
    assert_eq!(log.written_total(), 1);
}

#[test]
fn many_workers_one_stream() {
    let hand = Hand::default();
    let log = Log::open(Sink::Writer(Box::new(hand.clone())), Format::Flat, 4_096).unwrap();
    std::thread::scope(|s| {
        for _ in 0..4 {
            let recorder = log.recorder();
            s.spawn(move || (0..2_000).for_each(|n| recorder.record(line(n, "x"))));
        }
    });
    assert!(log.close(PATIENCE));
    assert_eq!((hand.lines().len(), log.dropped_total()), (8_000, 0));
}

#[test]
fn files_rotate_by_size_and_age() {
    let folder = std::env::temp_dir().join(format!("portcullis-log-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("requests.log");
    let sink = Sink::File { path: path.clone(), rotate_bytes: 4_096, rotate_secs: 3_600, keep: 2 };
    let log = Log::open(sink, Format::Flat, 4_096).unwrap();
    let recorder = log.recorder();
    for n in 0..60 {
        recorder.record(line(n, "x"));
        let begin = Instant::now();
        while log.written_total() <= n && begin.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
    }
    let count =
        |name: &str| std::fs::read_to_string(folder.join(name)).map(|t| t.lines().count()).unwrap_or(0);
    let before = count("requests.log");
    // An hour and more later, by the lines' own time.
    recorder.record(line(4_000_000_000, "x"));
    assert!(log.close(PATIENCE));
    assert_eq!(count("requests.log"), 1, "age");
    assert_eq!(count("requests.log.1"), before);
    assert!(
        count("requests.log.2") > 0 && !folder.join("requests.log.3").exists(),
        "size, and no more than kept"
    );
    for name in ["requests.log", "requests.log.1", "requests.log.2"] {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        assert!(bytes.len() <= 4_096);
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(
                &std::fs::metadata(folder.join(name)).unwrap().permissions(),
            );
            assert_eq!(mode & 0o777, 0o600);
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}
