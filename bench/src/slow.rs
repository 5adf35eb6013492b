//! Ten thousand slow connections, and what the others feel of them: heads that come byte by byte, bodies below 500 B/s,
//! answers that nobody reads, over HTTP/1.1 and HTTP/2 (GHSA-7ghq-v6jf-g56c: a clock that only one protocol has is none).
//! A connection that the gate ends is opened again, so the number stands. `cargo xtask conformance slow` calls this.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use portcullis_testkit::{Answer, Program, TempDir, Upstream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::LocalSet;

use crate::{Result, text};

const SPEC: &str = r#"openapi: 3.0.3
info: { title: Slow, version: "1" }
paths:
  /quick:
    get: { operationId: quick, security: [], responses: { "200": { description: ok, content: { application/json: { schema: { type: array, items: { type: integer } } } } } } }
  /large:
    get: { operationId: large, security: [], responses: { "200": { description: ok, content: { application/json: { schema: { type: object, properties: { text: { type: string } } } } } } } }
  /send:
    post:
      operationId: send
      security: []
      requestBody: { required: true, content: { application/json: { schema: { type: array, maxItems: 100000, items: { type: integer } } } } }
      responses: { "200": { description: ok, content: { application/json: { schema: { type: array, items: { type: integer } } } } } }
"#;

const CONFIG: &str = r#"listen: { address: "127.0.0.1:0", h2c: true }
admin: 127.0.0.1:0
bounds: { connections: 40000, connections_per_address: 40000 }
limits: { global: off, address: off, key: off, user: off }
log: { sink: off }
apis:
  slow:
    spec: openapi.yaml
    upstream: { servers: [{ url: UPSTREAM }], in_flight: 40000 }
    anonymous:
      - { allow: quick, because: a measurement, until: 2099-12-31 }
      - { allow: large, because: a measurement, until: 2099-12-31 }
      - { allow: send, because: a measurement, until: 2099-12-31 }
"#;

/// Bytes of an answer that nobody reads.
const LARGE: usize = 128 << 10;
/// Clients that are not slow.
const QUICK: usize = 4;

/// How a client is slow.
#[derive(Clone, Copy)]
enum Kind {
    Head,
    Body,
    Unread,
}

/// What is counted while it runs.
#[derive(Default)]
struct Counts {
    held: AtomicUsize,
    ended: AtomicUsize,
    stop: AtomicBool,
}

/// `--program PATH [--connections N] [--seconds N]`.
pub(crate) fn run(options: &[&str]) -> Result {
    let (mut program, mut connections, mut seconds) = (String::new(), 10_000_usize, 20_u64);
    let mut words = options.iter();
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match *word {
            "--program" => program = (*value).to_owned(),
            "--connections" => connections = value.parse().map_err(text)?,
            "--seconds" => seconds = value.parse().map_err(text)?,
            _ => return Err(format!("`{word}` is not known")),
        }
    }
    let body = format!("{{\"text\":\"{}\"}}", "a".repeat(LARGE));
    let upstream = Upstream::start_forgetful(move |seen| {
        Answer::json(if seen.target == "/large" { body.clone() } else { "[1]".to_owned() })
    });
    let dir = Arc::new(TempDir::new("slow"));
    dir.write("openapi.yaml", SPEC);
    dir.write("portcullis.yaml", CONFIG.replace("UPSTREAM", &upstream.url()));
    let program = std::fs::canonicalize(&program).map_err(|error| format!("{program}: {error}"))?;
    let gate = Program::serve_in(&program, dir).map_err(text)?;
    let (address, limit) = (gate.public(), Duration::from_secs(seconds));
    let alone = measure(address, limit)?;
    let memory = gate.resident_bytes().map_err(text)?;
    say("", &alone, memory, 0, 0)?;
    let mut worst: f64 = 0.0;
    for (name, http2) in [("HTTP/1.1", false), ("HTTP/2", true)] {
        let counts: Arc<Counts> = Arc::default();
        let (own, holders) = (counts.clone(), connections);
        let thread = std::thread::spawn(move || hold(address, holders, http2, &own));
        let patience = Instant::now() + Duration::from_secs(120);
        while counts.held.load(Relaxed) < connections * 95 / 100 {
            if Instant::now() > patience {
                return Err(format!("only {} connections are open", counts.held.load(Relaxed)));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        // Until the first of them have met their clocks.
        std::thread::sleep(Duration::from_secs(3));
        let beside = measure(address, limit)?;
        let memory = gate.resident_bytes().map_err(text)?;
        say(name, &beside, memory, counts.held.load(Relaxed), counts.ended.load(Relaxed))?;
        worst = worst.max(beside.p99 as f64 / alone.p99.max(1) as f64);
        if beside.failed > 0 {
            return Err(format!("{} requests of others failed", beside.failed));
        }
        counts.stop.store(true, Relaxed);
        thread.join().map_err(|_| "the holders ended badly".to_owned())??;
    }
    writeln!(io::stdout(), "p99 of others: {worst:.2} times what it is alone").map_err(text)
}

fn say(what: &str, quick: &Quick, memory: u64, held: usize, ended: usize) -> Result {
    let (p50, p99, answered) = (quick.p50, quick.p99, quick.answered);
    let mib = memory >> 20;
    writeln!(
        io::stdout(),
        "{what:9}{held:6} slow, {ended:6} ended by the gate | {answered:7} others, p50 {p50:5} us, p99 {p99:6} us | {mib:4} MiB"
    )
    .map_err(text)
}

/// What those feel who are not slow.
struct Quick {
    answered: usize,
    failed: usize,
    p50: u128,
    p99: u128,
}

fn measure(address: SocketAddr, limit: Duration) -> Result<Quick> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(text)?;
    LocalSet::new().block_on(&runtime, async move {
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..QUICK {
            clients.spawn_local(quick(address, Instant::now() + limit));
        }
        let (mut micros, mut failed) = (Vec::new(), 0);
        while let Some(done) = clients.join_next().await {
            let (own, lost) = done.map_err(text)?;
            micros.extend(own);
            failed += lost;
        }
        micros.sort_unstable();
        let at = |part: usize| micros.get(micros.len() * part / 100).copied().unwrap_or(0);
        Ok(Quick { answered: micros.len(), failed, p50: at(50), p99: at(99) })
    })
}

/// A request every two milliseconds: the gate is not at its limit, so that waiting is its own.
async fn quick(address: SocketAddr, end: Instant) -> (Vec<u128>, usize) {
    let (mut micros, mut failed) = (Vec::new(), 0);
    while Instant::now() < end {
        let Ok(mut stream) = TcpStream::connect(address).await else {
            failed += 1;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let mut buffer = Vec::with_capacity(4096);
        // Below the bound of requests of one connection.
        for _ in 0..500 {
            let began = Instant::now();
            buffer.clear();
            let asked = stream.write_all(b"GET /quick HTTP/1.1\r\nHost: a\r\n\r\n").await;
            while asked.is_ok() && !buffer.ends_with(b"\r\n\r\n[1]") {
                if !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
                    break;
                }
            }
            if buffer.starts_with(b"HTTP/1.1 200") {
                micros.push(began.elapsed().as_micros());
            } else {
                failed += 1;
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
            if Instant::now() >= end {
                break;
            }
        }
    }
    (micros, failed)
}

fn hold(address: SocketAddr, connections: usize, http2: bool, counts: &Arc<Counts>) -> Result {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(text)?;
    LocalSet::new().block_on(&runtime, async move {
        let mut holders = tokio::task::JoinSet::new();
        for number in 0..connections {
            let kind = match number % 3 {
                0 => Kind::Head,
                1 => Kind::Body,
                _ => Kind::Unread,
            };
            let counts = counts.clone();
            holders.spawn_local(async move {
                while !counts.stop.load(Relaxed) {
                    let _ = once(address, kind, http2, &counts).await;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            });
            if number % 64 == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        while holders.join_next().await.is_some() {}
        Ok(())
    })
}

/// One slow connection, to its end.
async fn once(address: SocketAddr, kind: Kind, http2: bool, counts: &Counts) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    let mut stream = socket.connect(address).await?;
    counts.held.fetch_add(1, Relaxed);
    let (start, piece) = if http2 { over_http2(kind) } else { over_http1(kind) };
    let mut done = stream.write_all(&start).await;
    let mut ended = false;
    while done.is_ok() && !counts.stop.load(Relaxed) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if !matches!(kind, Kind::Unread) {
            // What the gate has to say is read, or its end would not be seen.
            let mut said = [0; 1024];
            match stream.try_read(&mut said) {
                Ok(0) => ended = true,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => ended = true,
                Ok(_) | Err(_) => {}
            }
            if ended {
                break;
            }
        } else if stream.take_error()?.is_some() {
            ended = true;
            break;
        }
        done = if piece.is_empty() { Ok(()) } else { stream.write_all(&piece).await };
        ended = done.is_err();
    }
    counts.held.fetch_sub(1, Relaxed);
    counts.ended.fetch_add(usize::from(ended), Relaxed);
    Ok(())
}

/// The beginning, and what is sent each second.
fn over_http1(kind: Kind) -> (Vec<u8>, Vec<u8>) {
    match kind {
        Kind::Head => (b"GET /quick HTTP/1.1\r\nHost: a\r\nX-Slow: ".to_vec(), b"a".to_vec()),
        Kind::Body => (
            b"POST /send HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n[".to_vec(),
            b"1, ".repeat(33),
        ),
        Kind::Unread => (b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), Vec::new()),
    }
}

/// RFC 9113: the preface, SETTINGS, and one stream.
fn over_http2(kind: Kind) -> (Vec<u8>, Vec<u8>) {
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let [_, a, b, c] = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
        [&[a, b, c, kind, flags, 0, 0, 0, stream], payload].concat()
    };
    let field = |index: &[u8], value: &str| {
        let length = u8::try_from(value.len()).unwrap_or(0);
        [index, &[length], value.as_bytes()].concat()
    };
    // A window of nothing: what is answered stays where it is.
    let settings: &[u8] = if matches!(kind, Kind::Unread) { &[0, 4, 0, 0, 0, 0] } else { &[] };
    let mut start = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, settings)].concat();
    let head = |method: u8, path: &str, more: &[u8]| {
        [&[method, 0x86][..], &field(&[0x04], path), &field(&[0x01], "a"), more].concat()
    };
    match kind {
        Kind::Head => {
            // A block of 4,000 bytes is announced.
            start.extend([0, 0x0f, 0xa0, 1, 0x04, 0, 0, 0, 1, 0x82, 0x86]);
            (start, vec![0x82])
        }
        Kind::Body => {
            let typed = field(&[0x0f, 0x10], "application/json");
            start.extend(frame(1, 0x04, 1, &head(0x83, "/send", &typed)));
            (start, frame(0, 0, 1, &b"1, ".repeat(33)))
        }
        Kind::Unread => {
            start.extend(frame(1, 0x05, 1, &head(0x82, "/large", &[])));
            (start, Vec::new())
        }
    }
}
