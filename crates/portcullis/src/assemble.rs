//! The only place where parts are wired: configuration → plan → services → listeners.

use crate::beside::{self, Beside};
use crate::certificates;
use crate::scribe::Scribe;
use portcullis_config::{Date, Given, Outcome};
use portcullis_core::time::{Clock, Now, SystemClock};
use portcullis_egress::Door;
use portcullis_gateway::handler::Worker;
use portcullis_gateway::live::Live;
use portcullis_gateway::services::{Services, Shared};
use portcullis_gateway::wire::acme::Book;
use portcullis_gateway::wire::upstream::Pool;
use portcullis_gateway::wire::{Options as WireOptions, Wire};
use portcullis_jose::mac::MacKey;
use portcullis_limits::{Bucket, Concurrency, DEFAULT_SLOTS, Layer, Rate, Table, Window};
use portcullis_plan::Plan;
use portcullis_plan::observe::{LogFormat, LogPlan, LogSink, StorePlace};
use portcullis_store::{Options as StoreOptions, Place, Store, StoreError};
use portcullis_telemetry::line::Format;
use portcullis_telemetry::log::Log;
use portcullis_telemetry::metrics::Metrics;
use portcullis_telemetry::{log, note};
use portcullis_vault::api_keys::ApiKeys;
use portcullis_vault::revocation::Revoked;
use portcullis_vault::signing::IdentitySigner;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

/// A running gateway.
pub(crate) struct Running {
    pub(crate) shared: Arc<Shared>,
    pub(crate) scribe: Scribe,
    beside: Beside,
}

/// How a plan is made, and made again at a reload.
pub(crate) type Compile = Box<dyn Fn() -> Outcome + Send>;

/// Why the program does not start, or a plan is not put in force.
#[derive(Debug)]
pub(crate) struct Trouble(pub(crate) String);

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the compiler is told about the world.
pub(crate) fn given(variable: &dyn Fn(&str) -> Option<String>) -> Given<'_> {
    Given { today: Date::of(SystemClock.now()), variable, coverage: false }
}

/// A variable of the environment, as Unicode.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Everything that gates share, for a plan; nothing listens yet.
pub(crate) fn shared(
    plan: Plan,
    dry: bool,
) -> Result<(Arc<Shared>, portcullis_gateway::live::Fresh), Trouble> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let now = clock.now();
    let metrics = Metrics::new();
    let signer = signer(&plan, now)?;
    let quiet = LogPlan { sink: LogSink::Off, ..plan.log.clone() };
    let request_log = open_log(if dry { &quiet } else { &plan.log })?;
    let store = open_store(&plan, dry, now)?;
    let remembered = remembered(&store, now)?;
    let plan = Arc::new(plan);
    let (live, fresh) = Live::new(plan, None, now, &metrics).map_err(Trouble)?;
    let shared = Shared {
        live: arc_swap::ArcSwap::from_pointee(live),
        clock_off: std::sync::atomic::AtomicI64::new(0),
        reloads: tokio::sync::watch::Sender::new(0),
        clock,
        began: std::time::Instant::now(),
        limits: Table::new(if dry { 0 } else { DEFAULT_SLOTS }, random()?),
        concurrency: Concurrency::new(),
        flight: flight()?,
        signer,
        metrics,
        log: request_log,
        edge: OnceLock::new(),
        log_key: remembered.log_key,
        deployment: Arc::from("portcullis"),
        dpop_nonce: remembered.dpop_nonce,
        spool: Arc::default(),
        store,
        keys: Arc::new(remembered.keys),
        revoked: Arc::new(remembered.revoked),
    };
    Ok((Arc::new(shared), fresh))
}

/// Starts everything; listeners last.
pub(crate) fn start(plan: Plan, workers: Option<usize>) -> Result<Running, Trouble> {
    let listeners = plan.listeners.clone();
    let (shared, fresh) = shared(plan, false)?;
    let door = Arc::new(Door::new());
    let book: Arc<Book> = Arc::default();
    block_on(async {
        let plan = shared.live.load().plan.clone();
        certificates::load(&plan, &book, &shared.store, &door, &shared.clock).await;
    })?;
    let scribe = Scribe::start(shared.clone(), door.clone()).map_err(Trouble)?;
    let beside = beside::start(shared.clone(), door.clone(), Some(book.clone()))
        .map_err(|e| Trouble(format!("a thread: {e}")))?;
    beside.look_after(fresh);
    let for_workers = shared.clone();
    let options = WireOptions { workers, book, inherited: inherited() };
    let handle = Wire::start(listeners, options, move |_| {
        let pool = Pool::new(door.clone());
        Worker::new(Rc::new(Services::new(for_workers.clone(), pool, false)))
    })
    .map_err(|e| Trouble(e.to_string()))?;
    if shared.edge.set(handle).is_err() {
        return Err(Trouble("started twice".to_owned()));
    }
    watch_numbers(&shared);
    if let Some(at) = shared.store.replay().lost_at() {
        let at = u64::try_from(at).unwrap_or(0);
        note::warn(
            "replay.lost",
            "the memory of nonces was lost; what could have been seen before is refused",
            &[("at", at.into())],
        );
    }
    Ok(Running { shared, scribe, beside })
}

impl Running {
    /// Puts another plan in force. An error leaves everything as it is.
    pub(crate) fn reload(&self, plan: Plan) -> Result<Vec<String>, Trouble> {
        let before = self.shared.live.load_full();
        let listeners = plan.listeners.clone();
        let drain = plan.drain;
        let difference = portcullis_config::difference(&before.plan, &plan);
        let now = self.shared.clock.now();
        let made = Live::new(Arc::new(plan), Some(&before), now, &self.shared.metrics);
        let (live, fresh) = made.map_err(Trouble)?;
        let edge = self.shared.edge.get().ok_or_else(|| Trouble("not started".to_owned()))?;
        self.beside.look_after(fresh);
        self.shared.live.store(Arc::new(live));
        self.shared.reloads.send_modify(|n| *n = n.wrapping_add(1));
        for error in edge.apply(listeners, drain) {
            note::error(
                "tls.reload_failed",
                "a listener keeps its old setting",
                &[("why", error.to_string().as_str().into())],
            );
        }
        Ok(difference)
    }
}

/// Numbers that live elsewhere and are read at each scrape.
fn watch_numbers(shared: &Arc<Shared>) {
    let metrics = &shared.metrics;
    let of = |read: fn(&Shared) -> u64| {
        let weak = Arc::downgrade(shared);
        move || weak.upgrade().map_or(0, |shared| read(&shared))
    };
    let census = |read: fn(&portcullis_gateway::wire::census::Census) -> u64| {
        let weak = Arc::downgrade(shared);
        move || weak.upgrade().and_then(|s| s.edge.get().map(|edge| read(edge.census()))).unwrap_or(0)
    };
    metrics.watch_gauge(
        "connections_open",
        "Open connections of clients",
        census(|c| u64::try_from(c.open()).unwrap_or(0)),
    );
    metrics.watch_counter("connections_accepted", "Connections accepted", census(|c| c.accepted()));
    metrics.watch_counter("connections_refused", "Connections closed at accept", census(|c| c.refused()));
    metrics.watch_counter(
        "tls_handshakes_failed",
        "TLS handshakes that failed",
        census(|c| c.handshakes_failed()),
    );
    metrics.watch_counter(
        "slow_readers",
        "Connections cut because their answer was not read",
        census(|c| c.slow_readers()),
    );
    metrics.watch_gauge(
        "revocation_lag_seconds",
        "Seconds since the feed of revocations was read to its end",
        of(|s| u64::try_from(s.revoked.staleness_s(s.clock.now())).unwrap_or(0)),
    );
    metrics.watch_gauge(
        "clock_drift_seconds",
        "Seconds between the clock and the store's",
        of(|s| s.clock_off.load(std::sync::atomic::Ordering::Relaxed).unsigned_abs() / 1_000_000),
    );
    metrics.watch_gauge("revocations", "Revocations in force", of(|s| s.revoked.len()));
    metrics.watch_counter(
        "api_key_lookups",
        "API keys that were looked up in the store",
        of(|s| s.keys.lookups()),
    );
    metrics.watch_counter("http2_floods", "HTTP/2 connections ended for flooding", census(|c| c.floods()));
    metrics.watch_counter(
        "limits_degraded",
        "Decisions in coarse buckets",
        of(|s| s.limits.degraded_total()),
    );
    metrics.watch_counter("log_written", "Lines of the request log written", of(|s| s.log.written_total()));
    metrics.watch_counter("log_dropped", "Lines of the request log dropped", of(|s| s.log.dropped_total()));
    metrics.watch_counter(
        "log_write_errors",
        "Errors in writing the request log",
        of(|s| s.log.write_errors_total()),
    );
}

/// Where the plan says. A dry run leaves no folder behind where none was.
fn open_store(plan: &Plan, dry: bool, now: Now) -> Result<Store, Trouble> {
    let place = match &plan.store {
        StorePlace::Folder(folder) if !dry || folder.is_dir() => Place::Folder(folder.clone()),
        StorePlace::Folder(_) | StorePlace::Memory => Place::Memory,
    };
    let options = StoreOptions { replay_capacity: plan.keys.replay_capacity, ..StoreOptions::default() };
    Store::open(&place, options, now.secs()).map_err(|e| Trouble(e.to_string()))
}

/// What the store holds that must be in memory before the first request.
struct Remembered {
    log_key: aws_lc_rs::hmac::Key,
    dpop_nonce: MacKey,
    keys: ApiKeys,
    revoked: Revoked,
}

fn remembered(store: &Store, now: Now) -> Result<Remembered, Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Trouble(format!("a runtime: {e}")))?;
    let read = async {
        let log_key = store.secrets().newest("log", now.secs()).await?;
        let dpop_nonce = store.secrets().newest("dpop_nonce", now.secs()).await?;
        let keys = ApiKeys::open(store.clone(), now).await?;
        let revoked = Revoked::new();
        revoked.catch_up(store, now, &|_| {}).await?;
        Ok(Remembered {
            // The same over restarts: who is looked for in yesterday's log is found in today's.
            log_key: aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, log_key.value.expose()),
            dpop_nonce: MacKey::new(dpop_nonce.value.expose()),
            keys,
            revoked,
        })
    };
    runtime.block_on(read).map_err(|e: StoreError| Trouble(format!("the store cannot be read: {e}")))
}

/// Sockets that the service manager has opened for us, by `FileDescriptorName=` (sd_listen_fds(3)).
fn inherited() -> Vec<(String, std::net::TcpListener)> {
    let given = sd_listen_fds::get().unwrap_or_default();
    given.into_iter().filter_map(|(name, fd)| Some((name?, std::net::TcpListener::from(fd)))).collect()
}

fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(|e| Trouble(format!("a runtime: {e}")))?.block_on(work))
}

fn signer(plan: &Plan, now: Now) -> Result<Option<IdentitySigner>, Trouble> {
    let folder = match &plan.store {
        StorePlace::Folder(folder) => Some(folder.as_path()),
        StorePlace::Memory => None,
    };
    let wanted = plan.apis.iter().any(|api| api.identity.is_some());
    wanted.then(|| IdentitySigner::open(folder, now).map_err(Trouble)).transpose()
}

fn open_log(plan: &LogPlan) -> Result<Log, Trouble> {
    let sink = match &plan.sink {
        LogSink::Stdout => log::Sink::Stdout,
        LogSink::Off => log::Sink::Off,
        LogSink::File { path, rotate_bytes, keep } => {
            log::Sink::File { path: path.clone(), rotate_bytes: *rotate_bytes, rotate_secs: 0, keep: *keep }
        }
    };
    let format = match plan.format {
        LogFormat::Ecs => Format::Ecs,
        LogFormat::Flat => Format::Flat,
    };
    Log::open(sink, format, log::RING).map_err(|e| Trouble(format!("the request log cannot be opened: {e}")))
}

fn flight() -> Result<Bucket, Trouble> {
    let window = Window { rate: Rate::per_second(1), burst: Some(1) };
    Bucket::new(Layer::Endpoint, "in-flight", &[window], false).map_err(|e| Trouble(e.to_string()))
}

fn random<const N: usize>() -> Result<[u8; N], Trouble> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Trouble("the system has no randomness".to_owned()))?;
    Ok(bytes)
}

/// What `--ready-file` says.
pub(crate) fn ready_json(running: &Running) -> String {
    let listeners: Vec<String> = running
        .shared
        .edge
        .get()
        .map(|edge| edge.addresses())
        .unwrap_or_default()
        .into_iter()
        .map(|(name, address)| format!("\"{name}\":\"{address}\""))
        .collect();
    format!(
        "{{\"listeners\":{{{}}},\"plan\":\"{}\"}}\n",
        listeners.join(","),
        running.shared.live.load().plan.digest
    )
}

/// Writes a file in one step: whoever waits for it never reads half of it.
pub(crate) fn write_atomically(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    std::fs::write(&new, text)?;
    std::fs::rename(new, path)
}
