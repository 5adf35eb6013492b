//! No request is lost or judged by half a plan, whatever is replaced while it is under way.

use crate::h2::H2;
use crate::world::{World, items, lines};
use portcullis_testkit::program::Signal;
use portcullis_testkit::{Answer, Connection, Latch, Program, Recorded, Upstream, request, send};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

const SPEC: &str = r#"openapi: 3.0.3
info: { title: Shop, version: "1" }
paths:
  /items:
    get:
      operationId: listItems
      security: []
      parameters:
        - { name: limit, in: query, schema: { type: integer } }
        - { name: tag, in: query, schema: { type: string, maxLength: 40 } }
      responses:
        "200":
          description: ok
          content:
            application/json:
              schema:
                type: object
                properties: { items: { type: array, items: { type: object, properties: { id: { type: integer } } } } }
"#;

/// Plan `k` lets `limit` reach `k`, and only the header `X-Plan-k` back: one is judged before the upstream is asked,
/// the other after it has answered.
fn plan(k: usize) -> String {
    format!(
        "listen:\n\
         \x20 - {{ address: \"127.0.0.1:0\" }}\n\
         \x20 - {{ name: secure, address: \"127.0.0.1:0\", tls: {{ cert: {{ file: cert.pem }}, key: {{ file: key.pem }} }} }}\n\
         admin: 127.0.0.1:0\n\
         drain: {{ delay: 500ms, timeout: 30s }}\n\
         limits: {{ global: off, address: off, key: off, user: off }}\n\
         apis:\n\
         \x20 shop:\n\
         \x20   spec: openapi.yaml\n\
         \x20   upstream:\n\
         \x20     servers: [{{ url: \"UPSTREAM\" }}]\n\
         \x20     in_flight: 20000\n\
         \x20     timeouts: {{ connect: 20s, first_byte: 5m, total: 10m }}\n\
         \x20   return_headers: [X-Plan-{k}]\n\
         \x20   request: {{ pagination: {{ maximum: {k} }} }}\n\
         \x20   anonymous: [{{ allow: listItems, because: test, until: 2099-12-31 }}]\n"
    )
}

/// The upstream sends the mark of every plan; the gate lets one through.
fn every_mark() -> Answer {
    (1..=RELOADS + 1).fold(items(), |answer, k| answer.header(&format!("X-Plan-{k}"), "1"))
}

const RELOADS: usize = 20;

/// One answered request.
#[derive(Clone, Debug)]
struct Seen {
    id: String,
    tag: String,
    limit: usize,
    status: u16,
    plans: Vec<usize>,
}

impl Seen {
    fn new<'h>(
        tag: &str,
        limit: usize,
        status: u16,
        fields: impl Iterator<Item = (&'h str, &'h str)>,
    ) -> Self {
        let mut seen = Self { id: String::new(), tag: tag.to_owned(), limit, status, plans: Vec::new() };
        for (name, value) in fields {
            let name = name.to_ascii_lowercase();
            if name == "x-request-id" {
                seen.id = value.to_owned();
            } else if let Some(k) = name.strip_prefix("x-plan-") {
                seen.plans.push(k.parse().unwrap());
            }
        }
        seen
    }

    /// Which plan judged is in the log; everything that can be seen of the answer must be of that plan.
    fn is_of(&self, k: usize) -> bool {
        match self.status {
            200 => self.limit <= k && self.plans == [k],
            400 => self.limit > k && self.plans.is_empty(),
            _ => false,
        }
    }
}

/// The digests of the plans in force, in their order, to their numbers.
fn digests(program: &Program) -> BTreeMap<String, usize> {
    let first = program.ready()["plan"].as_str().unwrap().to_owned();
    let stderr = program.stderr();
    let notes = stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let later = notes
        .filter(|note| note["event.action"] == "plan.reloaded")
        .map(|note| note["plan"].as_str().unwrap().to_owned());
    std::iter::once(first).chain(later).zip(1..).collect()
}

fn reloads(stderr: &str) -> usize {
    stderr.matches("\"plan.reloaded\"").count()
}

/// Puts plan `k` in force: odd ones are found by the watcher, even ones by SIGHUP.
fn put_in_force(world: &World, k: usize) {
    world.program.dir().replace("portcullis.yaml", plan(k).replace("UPSTREAM", &world.upstream.url()));
    if k.is_multiple_of(2) {
        world.program.signal(Signal::Hup).unwrap();
    }
    world.program.stderr_until(|text| reloads(text) == k - 1).unwrap();
}

fn world(upstream: Upstream) -> World {
    World::behind(upstream, &plan(1), &[("openapi.yaml", SPEC)])
}

/// Each answer against the line of the log that has its id.
fn judge(seen: &[Seen], log: &str, digests: &BTreeMap<String, usize>) {
    let lines = lines(log);
    let by_id: BTreeMap<&str, &Value> =
        lines.iter().map(|line| (line["http.request.id"].as_str().unwrap(), line)).collect();
    assert_eq!(by_id.len(), lines.len(), "an id occurs twice");
    for answer in seen {
        let line = by_id.get(answer.id.as_str()).unwrap_or_else(|| panic!("no line: {answer:?}"));
        let k = digests[line["portcullis.plan"].as_str().unwrap()];
        assert!(answer.is_of(k), "judged by half of plan {k}: {answer:?}\n{line}");
        assert_eq!(line["http.response.status_code"], answer.status);
    }
    assert_eq!(lines.len(), seen.len(), "a request that was read has no answer");
}

/// What the clients of a run share.
#[derive(Default)]
struct Load {
    seen: Mutex<Vec<Seen>>,
    more: Condvar,
    next: AtomicUsize,
    ending: AtomicBool,
    unanswered: Mutex<Vec<(String, String)>>,
}

impl Load {
    fn answered(&self, seen: Seen) {
        self.seen.lock().unwrap().push(seen);
        self.more.notify_all();
    }

    fn unanswered(&self, tag: &str, why: &std::io::Error) {
        assert!(self.ending.load(Ordering::SeqCst), "lost before the end: {tag}: {why}");
        self.unanswered.lock().unwrap().push((tag.to_owned(), why.to_string()));
    }

    fn wait_for(&self, count: usize) {
        let patience = std::time::Duration::from_secs(60);
        let (_, late) = self
            .more
            .wait_timeout_while(self.seen.lock().unwrap(), patience, |seen| seen.len() < count)
            .map(|(seen, timeout)| (seen.len(), timeout.timed_out()))
            .unwrap();
        assert!(!late, "not {count} answers in time");
    }

    fn tag(&self) -> (String, usize) {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        (format!("t{number}"), number % (RELOADS + 4) + 1)
    }

    /// Keep-alive over HTTP/1.1 until the gate is gone.
    async fn http1(self: Arc<Self>, address: SocketAddr) {
        while let Ok(mut connection) = Connection::open(address).await {
            loop {
                let (tag, limit) = self.tag();
                let bytes = request("GET", &format!("/items?limit={limit}&tag={tag}"), &[], b"");
                let outcome = match connection.write(&bytes).await {
                    Ok(()) => connection.response().await,
                    Err(error) => Err(error),
                };
                match outcome {
                    Ok(response) => {
                        let fields = response.message.headers.iter().map(|(n, v)| (n.as_str(), v.as_str()));
                        self.answered(Seen::new(&tag, limit, response.status, fields));
                        if response.header("connection").is_some_and(|value| value == "close") {
                            break;
                        }
                    }
                    Err(error) => {
                        self.unanswered(&tag, &error);
                        break;
                    }
                }
            }
        }
    }

    /// Streams over HTTP/2 until the gate is gone.
    async fn http2(self: Arc<Self>, address: SocketAddr, tls: Arc<rustls::ClientConfig>) {
        while let Ok(connection) = H2::open(address, tls.clone()).await {
            loop {
                let (tag, limit) = self.tag();
                match connection.send("GET", &format!("/items?limit={limit}&tag={tag}"), &[], b"").await {
                    Ok(answer) => {
                        let fields = answer.headers.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap()));
                        self.answered(Seen::new(&tag, limit, answer.status, fields));
                    }
                    Err(error) => {
                        self.unanswered(&tag, &error);
                        break;
                    }
                }
            }
        }
    }
}

/// Sixty-four connections that are kept alive, twenty reloads by file and by signal, and the end by SIGTERM.
#[test]
fn ten_thousand_requests_meet_twenty_reloads_and_a_drain_and_none_is_lost_or_judged_by_half_a_plan() {
    let mut world = world(Upstream::start(|_| every_mark()));
    let load: Arc<Load> = Arc::default();
    let (plain, secure, tls) = (world.public(), world.secure(), world.tls(&[b"h2"]));
    let clients = load.clone();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..48 {
                tasks.spawn(clients.clone().http1(plain));
            }
            for _ in 0..16 {
                tasks.spawn(clients.clone().http2(secure, tls.clone()));
            }
            tasks.join_all().await;
        });
    });
    for k in 2..=RELOADS + 1 {
        load.wait_for((k - 1) * 450);
        put_in_force(&world, k);
    }
    load.wait_for(10_000);
    load.ending.store(true, Ordering::SeqCst);
    let digests = digests(&world.program);
    assert_eq!(digests.len(), RELOADS + 1);
    let end = world.program.terminate().unwrap();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    thread.join().unwrap();
    let seen = load.seen.lock().unwrap().clone();
    judge(&seen, &end.stdout, &digests);
    let judged: BTreeSet<usize> = seen.iter().flat_map(|answer| answer.plans.clone()).collect();
    assert!(judged.len() > RELOADS / 2, "most plans have answered something: {judged:?}");
    // What was written just as the gate closed an idle connection may go without an answer (RFC 9112, section 9.3.1);
    // but then nobody has acted on it.
    let reached: BTreeSet<String> = world
        .upstream
        .requests()
        .iter()
        .map(|request| request.target.split("tag=").nth(1).unwrap().to_owned())
        .collect();
    for (tag, why) in load.unanswered.lock().unwrap().iter() {
        assert!(!reached.contains(tag), "forwarded and not answered: {tag}: {why}");
    }
    for (answer, passed) in seen.iter().map(|answer| (answer, reached.contains(&answer.tag))) {
        assert_eq!(passed, answer.status == 200, "{answer:?}");
    }
}

/// All ten thousand are in flight at once: five hundred begin under each plan, and all end after the drain has begun.
/// Each is finished by the plan that it began with.
#[tokio::test]
async fn ten_thousand_requests_held_in_flight_over_twenty_reloads_and_a_drain_all_end_by_the_plan_they_began_with()
 {
    const EACH: usize = 10_000 / RELOADS;
    let latch = Latch::new();
    let held = latch.clone();
    let mut world = world(Upstream::start(move |_| every_mark().held_by(&held)));
    let tls = world.tls(&[b"h2"]);
    let mut tasks = tokio::task::JoinSet::new();
    for k in 1..=RELOADS {
        for first in (0..EACH).step_by(100) {
            let connection = H2::open(world.secure(), tls.clone()).await.unwrap();
            for number in first..first + 100 {
                let (connection, tag) = (connection.clone(), format!("k{k}n{number}"));
                tasks.spawn(async move {
                    let target = format!("/items?limit={k}&tag={tag}");
                    let answer = connection.send("GET", &target, &[], b"").await.unwrap();
                    let fields = answer.headers.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap()));
                    (k, Seen::new(&tag, k, answer.status, fields))
                });
            }
        }
        world.upstream.received(k * EACH).await.unwrap();
        put_in_force(&world, k + 1);
    }
    let digests = digests(&world.program);
    world.program.signal(Signal::Term).unwrap();
    world.program.stderr_until(|text| text.contains("\"drain\"")).unwrap();
    latch.release();
    let mut seen = Vec::new();
    for (k, answer) in tasks.join_all().await {
        assert!(answer.is_of(k), "began under plan {k}: {answer:?}");
        seen.push(answer);
    }
    let end = world.program.finish().unwrap();
    assert_eq!((end.code, seen.len()), (Some(0), 10_000), "{}", end.stderr);
    judge(&seen, &end.stdout, &digests);
}

#[tokio::test]
async fn a_broken_configuration_changes_nothing_and_says_where_it_is_broken() {
    let world = world(Upstream::start(|_| every_mark()));
    let before = world.get("/items?limit=1").await;
    let good = std::fs::read_to_string(world.program.dir().path().join("portcullis.yaml")).unwrap();
    let broken = good.replace("return_headers", "retrun_headers").replace("[X-Plan-1]", "[X-Plan-2]");
    world.program.dir().replace("portcullis.yaml", broken);
    let stderr = world.program.stderr_until(|text| text.contains("\"plan.reload_failed\"")).unwrap();
    let line = good.lines().position(|line| line.contains("return_headers")).unwrap() + 1;
    assert!(stderr.contains(&format!("portcullis.yaml:{line}")), "{stderr}");
    assert!(stderr.contains("^^^^^^^^^^^^^^"), "{stderr}");
    assert!(stderr.contains("return_headers"), "did you mean: {stderr}");
    let after = world.get("/items?limit=1").await;
    assert_eq!((after.status, after.header("x-plan-1"), after.header("x-plan-2")), (200, Some("1"), None));
    assert_eq!(world.line_of(&before)["portcullis.plan"], world.line_of(&after)["portcullis.plan"]);
    let metrics = world.admin("/metrics").await.text();
    assert!(
        metrics.lines().any(|l| l.contains("reloads_total") && l.contains("refused") && l.ends_with(" 1")),
        "{metrics}"
    );
    assert_eq!(world.admin("/readyz").await.status, 200, "{}", world.admin("/readyz").await.text());
    // A document that is gone is no better.
    let spec = world.program.dir().path().join("openapi.yaml");
    std::fs::remove_file(&spec).unwrap();
    world.program.signal(Signal::Hup).unwrap();
    world.program.stderr_until(|text| text.matches("\"plan.reload_failed\"").count() >= 2).unwrap();
    assert_eq!(world.get("/items?limit=1").await.status, 200);
    // And the way back works without a signal.
    std::fs::write(&spec, SPEC).unwrap();
    put_in_force(&world, 2);
    assert_eq!(world.get("/items?limit=2").await.header("x-plan-2"), Some("1"));
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn a_listener_is_added_and_removed_and_the_others_do_not_notice() {
    let latch = Latch::new();
    let held = latch.clone();
    let world = world(Upstream::start(move |seen: &Recorded| match seen.target.contains("held") {
        true => every_mark().held_by(&held),
        false => every_mark(),
    }));
    let mut steady = Connection::open(world.public()).await.unwrap();
    let ask = request("GET", "/items?limit=1&tag=steady", &[], b"");
    steady.write(&ask).await.unwrap();
    assert_eq!(steady.response().await.unwrap().status, 200);

    let port = free_port();
    let added = plan(1)
        .replace("admin: ", "# and one more\nadmin: ")
        .replace("listen:\n", &format!("listen:\n  - {{ name: extra, address: \"127.0.0.1:{port}\" }}\n"));
    world.program.dir().replace("portcullis.yaml", added.replace("UPSTREAM", &world.upstream.url()));
    world.program.signal(Signal::Hup).unwrap();
    world.program.stderr_until(|text| reloads(text) == 1).unwrap();
    let extra = SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(send(extra, &ask).await.unwrap().status, 200);
    steady.write(&ask).await.unwrap();
    assert_eq!(steady.response().await.unwrap().status, 200);

    // One request is under way there, one connection is idle, when the listener goes.
    let mut busy = Connection::open(extra).await.unwrap();
    busy.write(&request("GET", "/items?limit=1&tag=held", &[], b"")).await.unwrap();
    let mut idle = Connection::open(extra).await.unwrap();
    idle.write(&ask).await.unwrap();
    assert_eq!(idle.response().await.unwrap().status, 200);
    world.upstream.received(5).await.unwrap();
    put_in_force(&world, 3);
    assert!(idle.rest().await.unwrap().is_empty(), "an idle connection is closed without a word");
    // Each worker closes a socket of its own; once the last has gone, nobody accepts there any more.
    let refused = async { while Connection::open(extra).await.is_ok() {} };
    tokio::time::timeout(std::time::Duration::from_secs(10), refused)
        .await
        .expect("the address is free again");
    latch.release();
    let answer = busy.response().await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!(answer.header("x-plan-1"), Some("1"), "finished by the plan that it began with");
    steady.write(&ask).await.unwrap();
    assert_eq!(steady.response().await.unwrap().header("x-plan-3"), Some("1"));
}

/// A handshake of its own, and the certificate that it was shown.
async fn shown(address: SocketAddr, tls: Arc<rustls::ClientConfig>) -> (Connection, Vec<u8>) {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = tokio_rustls::TlsConnector::from(tls).connect(name, stream).await.unwrap();
    let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    (Connection::over(stream), leaf)
}

/// Handshakes and requests without a pause, on new and on kept connections, until told to stop.
fn under_load(
    address: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
    stop: Arc<AtomicBool>,
) -> std::thread::JoinHandle<usize> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let ask = request("GET", "/items?limit=1", &[], b"");
            let (mut kept, _) = shown(address, tls.clone()).await;
            let mut answers = 0;
            while !stop.load(Ordering::SeqCst) {
                let (mut fresh, _) = shown(address, tls.clone()).await;
                for connection in [&mut fresh, &mut kept] {
                    connection.write(&ask).await.unwrap();
                    let answer = connection.response().await.unwrap();
                    assert_eq!(answer.status, 200);
                    answers += 1;
                    if answer.header("connection").is_some_and(|value| value == "close") {
                        *connection = shown(address, tls.clone()).await.0;
                    }
                }
            }
            answers
        })
    })
}

#[tokio::test]
async fn a_certificate_is_replaced_a_hundred_times_under_load_and_a_broken_one_never() {
    let config = plan(1).replace("cert.pem", "both.pem").replace("key.pem", "both.pem");
    let world =
        World::behind(Upstream::start_forgetful(|_| every_mark()), &config, &[("openapi.yaml", SPEC)]);
    let (address, tls) = (world.secure(), world.tls(&[b"http/1.1"]));
    let stop: Arc<AtomicBool> = Arc::default();
    let load = under_load(address, tls.clone(), stop.clone());
    let issue = || {
        let certificate = world.authority.server(&["localhost"]);
        let leaf = CertificateDer::from_pem_slice(certificate.cert_pem.as_bytes()).unwrap().to_vec();
        (format!("{}{}", certificate.cert_pem, certificate.key_pem), leaf)
    };
    let mut last = Vec::new();
    for number in 1..=100_usize {
        let (pem, leaf) = issue();
        world.program.dir().replace("both.pem", pem);
        // Every tenth is found by the watcher alone.
        if !number.is_multiple_of(10) {
            world.program.signal(Signal::Hup).unwrap();
        }
        world.program.stderr_until(|text| reloads(text) == number).unwrap();
        assert_eq!(shown(address, tls.clone()).await.1, leaf, "replacement {number}");
        last = leaf;
    }
    let failed = |text: &str| text.matches("reload_failed\"").count();
    let expired = world.authority.expired(&["localhost"]);
    let (one, other) = (world.authority.server(&["localhost"]), world.authority.server(&["localhost"]));
    for (number, (what, pem)) in [
        ("garbage", "no certificate at all\n".to_owned()),
        ("nothing", String::new()),
        ("the key of another", format!("{}{}", one.cert_pem, other.key_pem)),
        ("no key", one.cert_pem.clone()),
        ("expired", format!("{}{}", expired.cert_pem, expired.key_pem)),
    ]
    .into_iter()
    .enumerate()
    {
        world.program.dir().replace("both.pem", pem);
        world.program.signal(Signal::Hup).unwrap();
        world.program.stderr_until(|text| failed(text) > number).unwrap();
        assert_eq!(shown(address, tls.clone()).await.1, last, "{what}");
    }
    let (pem, leaf) = issue();
    world.program.dir().replace("both.pem", pem);
    world.program.signal(Signal::Hup).unwrap();
    let back = async { while shown(address, tls.clone()).await.1 != leaf {} };
    tokio::time::timeout(std::time::Duration::from_secs(10), back).await.expect("the way back");
    stop.store(true, Ordering::SeqCst);
    let answers = load.join().unwrap();
    assert!(answers > 200, "{answers} answers are no load");
}

/// A signal that nobody hears ends a program; so the ears are open before the ready file is there.
#[test]
fn whoever_is_ready_hears_a_signal() {
    for _ in 0..4 {
        let mut world = world(Upstream::start(|_| every_mark()));
        world.program.signal(Signal::Hup).unwrap();
        world.program.stderr_until(|text| text.contains("\"plan.reloaded\"")).unwrap();
        assert_eq!(world.program.terminate().unwrap().code, Some(0));
    }
}
