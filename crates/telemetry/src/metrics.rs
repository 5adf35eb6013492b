//! Metrics for the admin listener, in the OpenMetrics text format that Prometheus reads.
//!
//! Handles are typed and labels are bounded: route templates, codes and names of the configuration, never a value of a
//! request. Names follow OpenTelemetry's semantic conventions where there are any.

use crate::slab::{BOUNDS_US, Cells, CellsSum, Histogram, HistogramSum, status_label};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Routes counted by themselves; further ones share `other`.
pub const MAX_ROUTES: usize = 4_096;

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    hub: Arc<Hub>,
    refusals: Family<Refused, Counter>,
    api_keys: Family<KeyState, Gauge>,
    limits: Family<Limited, Counter>,
    replays: Family<Replayed, Counter>,
    key_sets: Family<Fetched, Counter>,
    key_set_age: Family<Issuer, Gauge>,
    key_set_keys: Family<Issuer, Gauge>,
    key_set_unusable: Family<Unusable, Gauge>,
    key_set_unknown: Family<Issuer, Counter>,
    handshakes: Family<Handshake, Counter>,
    certificates: Family<Certificate, Gauge>,
    reloads: Family<Result_, Counter>,
    upstream: Family<Upstream, Counter>,
    upstream_healthy: Family<UpstreamTarget, Gauge>,
    /// Connections open now.
    pub connections: Gauge,
    /// Connections accepted.
    pub connections_accepted: Counter,
    /// Requests under way now.
    pub in_flight: Gauge,
    violations: Family<Ruled, Counter>,
    reported: Family<Ruled, Counter>,
    response_violations: Family<Ruled, Counter>,
    fields_dropped: Family<Dropped, Counter>,
    closed: Family<Operated, Counter>,
    graphql_cost: Family<Operated, Counter>,
    uploads_scanned: Family<Result_, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Refused {
    gate: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Identified {
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CredentialLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KeyState {
    state: &'static str,
}

/// A rule of a contract; its word is one of the program's, the names are of the configuration.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Ruled {
    api: String,
    operation: String,
    rule: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Dropped {
    api: String,
    operation: String,
    direction: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Operated {
    api: String,
    operation: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Limited {
    layer: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Replayed {
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Fetched {
    issuer: String,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Issuer {
    issuer: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Unusable {
    issuer: String,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Result_ {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Handshake {
    version: &'static str,
    group: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Certificate {
    listener: String,
    source: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Upstream {
    upstream: String,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct UpstreamTarget {
    upstream: String,
    target: String,
}

fn ruled(api: &str, operation: &str, rule: &'static str) -> Ruled {
    Ruled { api: api.to_owned(), operation: operation.to_owned(), rule }
}

/// The index of a route's counters; stays the same over reloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteId(u16);

/// One worker's counters of requests.
pub struct Worker {
    cells: Arc<WorkerCells>,
}

struct WorkerCells {
    routes: Box<[OnceLock<Box<Cells>>]>,
    inside: Histogram,
    upstream: Histogram,
    identified: [Histogram; Credential::ALL.len()],
    verify_cache_hits: AtomicU64,
}

/// What proved a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A JWT.
    Jwt,
    /// An opaque token.
    Opaque,
    /// An API key.
    ApiKey,
    /// A signed request.
    Signature,
    /// A client certificate.
    Certificate,
}

impl Credential {
    const ALL: [Self; 5] = [Self::Jwt, Self::Opaque, Self::ApiKey, Self::Signature, Self::Certificate];

    /// The word in labels.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Opaque => "opaque",
            Self::ApiKey => "api_key",
            Self::Signature => "signature",
            Self::Certificate => "mtls",
        }
    }
}

/// One issuer's key set, for the gauges.
#[derive(Clone, Copy, Debug)]
pub struct KeySet<'a> {
    /// Its name in the configuration.
    pub issuer: &'a str,
    /// Seconds since it was last fetched.
    pub age_s: u64,
    /// Usable keys.
    pub keys: u64,
    /// Why others are not.
    pub unusable: &'a [&'static str],
    /// Tokens refused so far because their key is not in it.
    pub unknown: u64,
}

/// What a request was, for the counters.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Status of the answer; 0 for none.
    pub status: u16,
    /// From the first byte to the last.
    pub total_us: u64,
    /// Our own part.
    pub inside_us: u64,
    /// The upstream's part.
    pub upstream_us: Option<u64>,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
}

struct Hub {
    workers: Mutex<Vec<Arc<WorkerCells>>>,
    routes: Mutex<Routes>,
    watched: Mutex<Vec<Watched>>,
    /// Credentials that proved nothing, by kind and reason; both are words of the program.
    unproved: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
}

#[derive(Default)]
struct Routes {
    ids: HashMap<RouteLabels, u16>,
    labels: Vec<RouteLabels>,
}

type RouteLabels = (Arc<str>, Arc<str>, &'static str);

struct Watched {
    name: &'static str,
    help: &'static str,
    counter: bool,
    read: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl Metrics {
    /// An empty set.
    pub fn new() -> Arc<Self> {
        let hub = Arc::new(Hub {
            workers: Mutex::default(),
            routes: Mutex::new(Routes::default()),
            watched: Mutex::default(),
            unproved: Mutex::default(),
        });
        // Index 0 is everything that found no route.
        route_of(&hub, "", "", "_OTHER");
        let mut registry = Registry::with_prefix("portcullis");
        registry.register_collector(Box::new(HubCollector(Arc::clone(&hub))));
        let mut metrics = Self {
            hub,
            refusals: Family::default(),
            api_keys: Family::default(),
            limits: Family::default(),
            replays: Family::default(),
            key_sets: Family::default(),
            key_set_age: Family::default(),
            key_set_keys: Family::default(),
            key_set_unusable: Family::default(),
            key_set_unknown: Family::default(),
            handshakes: Family::default(),
            certificates: Family::default(),
            reloads: Family::default(),
            upstream: Family::default(),
            upstream_healthy: Family::default(),
            connections: Gauge::default(),
            connections_accepted: Counter::default(),
            in_flight: Gauge::default(),
            violations: Family::default(),
            reported: Family::default(),
            response_violations: Family::default(),
            fields_dropped: Family::default(),
            closed: Family::default(),
            graphql_cost: Family::default(),
            uploads_scanned: Family::default(),
            registry: Registry::default(),
        };
        registry.register("refusals", "Requests stopped, by gate and problem code", metrics.refusals.clone());
        registry.register("api_keys", "API keys, by state", metrics.api_keys.clone());
        registry.register("limits", "Decisions of limits, by layer", metrics.limits.clone());
        registry.register("replay", "Single-use values presented", metrics.replays.clone());
        registry.register("jwks_fetches", "Fetches of key sets", metrics.key_sets.clone());
        registry.register("jwks_age_seconds", "Age of key sets", metrics.key_set_age.clone());
        registry.register("jwks_keys", "Usable keys of key sets", metrics.key_set_keys.clone());
        registry.register(
            "jwks_unusable_keys",
            "Keys of key sets that are not used, by reason",
            metrics.key_set_unusable.clone(),
        );
        registry.register(
            "jwks_unknown_kids",
            "Tokens refused because their key is in no set",
            metrics.key_set_unknown.clone(),
        );
        registry.register(
            "tls_handshakes",
            "TLS handshakes, by version, key exchange and result",
            metrics.handshakes.clone(),
        );
        registry.register(
            "tls_certificate_expiry_seconds",
            "When a certificate that is served ends, Unix time",
            metrics.certificates.clone(),
        );
        registry.register("reloads", "Reloads of the configuration, by result", metrics.reloads.clone());
        registry.register("upstream_requests", "Requests to upstreams, by result", metrics.upstream.clone());
        registry.register(
            "upstream_healthy",
            "1 while an upstream target is used",
            metrics.upstream_healthy.clone(),
        );
        registry.register("connections_open", "Client connections open now", metrics.connections.clone());
        registry.register("connections", "Client connections accepted", metrics.connections_accepted.clone());
        registry.register("http_server_active_requests", "Requests under way now", metrics.in_flight.clone());
        registry.register(
            "contract_violations",
            "Requests that broke a rule of their contract, by rule",
            metrics.violations.clone(),
        );
        registry.register(
            "contract_reported",
            "Requests that broke a rule and were let through (loosening report), by rule",
            metrics.reported.clone(),
        );
        registry.register(
            "contract_response_violations",
            "Answers that broke a rule of their contract, by rule",
            metrics.response_violations.clone(),
        );
        registry.register(
            "contract_dropped_fields",
            "Undeclared fields left out, by direction",
            metrics.fields_dropped.clone(),
        );
        registry.register(
            "contract_closed_operations",
            "Requests for operations that are closed",
            metrics.closed.clone(),
        );
        registry.register("graphql_cost", "Cost of requests of GraphQL", metrics.graphql_cost.clone());
        registry.register(
            "uploads_scanned",
            "Files, by what the scanner said",
            metrics.uploads_scanned.clone(),
        );
        metrics.registry = registry;
        Arc::new(metrics)
    }

    /// The counters of a route, by API, route template and method. Known ones keep their index; beyond
    /// [`MAX_ROUTES`] all share one.
    pub fn route(&self, api: &str, route: &str, method: &'static str) -> RouteId {
        route_of(&self.hub, api, route, method)
    }

    /// The counters of requests that found no route.
    pub const fn no_route(&self) -> RouteId {
        RouteId(0)
    }

    /// Counters of one worker's own.
    pub fn worker(&self) -> Worker {
        let cells = Arc::new(WorkerCells {
            routes: (0..MAX_ROUTES).map(|_| OnceLock::new()).collect(),
            inside: Histogram::default(),
            upstream: Histogram::default(),
            identified: Default::default(),
            verify_cache_hits: AtomicU64::new(0),
        });
        lock(&self.hub.workers).push(Arc::clone(&cells));
        Worker { cells }
    }

    /// A request was stopped.
    pub fn refused(&self, gate: &'static str, code: &'static str) {
        self.refusals.get_or_create(&Refused { gate, code }).inc();
    }

    /// A request broke a rule of its contract and was refused.
    pub fn violated(&self, api: &str, operation: &str, rule: &'static str) {
        self.violations.get_or_create(&ruled(api, operation, rule)).inc();
    }

    /// A request broke a rule of its contract and was let through.
    pub fn reported(&self, api: &str, operation: &str, rule: &'static str) {
        self.reported.get_or_create(&ruled(api, operation, rule)).inc();
    }

    /// An answer broke a rule of its contract.
    pub fn response_violated(&self, api: &str, operation: &str, rule: &'static str) {
        self.response_violations.get_or_create(&ruled(api, operation, rule)).inc();
    }

    /// Undeclared fields were left out of a `request` or a `response`.
    pub fn fields_dropped(&self, api: &str, operation: &str, direction: &'static str, count: u32) {
        let (api, operation) = (api.to_owned(), operation.to_owned());
        self.fields_dropped.get_or_create(&Dropped { api, operation, direction }).inc_by(u64::from(count));
    }

    /// A file was to be scanned: `clean`, `found`, `unavailable`, `unscanned`.
    pub fn upload_scanned(&self, result: &'static str) {
        self.uploads_scanned.get_or_create(&Result_ { result }).inc();
    }

    /// What a request of GraphQL costs.
    pub fn graphql_cost(&self, api: &str, operation: &str, cost: u64) {
        let labels = Operated { api: api.to_owned(), operation: operation.to_owned() };
        self.graphql_cost.get_or_create(&labels).inc_by(cost);
    }

    /// Somebody asked for an operation that is closed.
    pub fn closed(&self, api: &str, operation: &str) {
        let labels = Operated { api: api.to_owned(), operation: operation.to_owned() };
        self.closed.get_or_create(&labels).inc();
    }

    /// A credential proved nothing; `reason` is a word of the program.
    pub fn unproved(&self, credential: Credential, reason: &'static str) {
        let mut unproved = lock(&self.hub.unproved);
        let count = unproved.entry((credential.word(), reason)).or_default();
        *count = count.saturating_add(1);
    }

    /// How many API keys are in a state.
    pub fn api_keys(&self, state: &'static str, count: u64) {
        self.api_keys.get_or_create(&KeyState { state }).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A layer decided: `admitted`, `refused`, `shadow`, `degraded`.
    pub fn limited(&self, layer: &'static str, outcome: &'static str) {
        self.limits.get_or_create(&Limited { layer, outcome }).inc();
    }

    /// A single-use value was presented: `fresh`, `seen`, `unavailable`.
    pub fn replay(&self, kind: &'static str, result: &'static str) {
        self.replays.get_or_create(&Replayed { kind, result }).inc();
    }

    /// A key set was fetched; `issuer` is its name in the configuration.
    pub fn key_set(&self, issuer: &str, result: &'static str) {
        self.key_sets.get_or_create(&Fetched { issuer: issuer.to_owned(), result }).inc();
    }

    /// What there is to know of all key sets in use; those that are not named any more are forgotten.
    pub fn key_sets<'a>(&self, sets: impl Iterator<Item = KeySet<'a>>) {
        self.key_set_age.clear();
        self.key_set_keys.clear();
        self.key_set_unusable.clear();
        let gauge = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        for set in sets {
            let issuer = Issuer { issuer: set.issuer.to_owned() };
            self.key_set_age.get_or_create(&issuer).set(gauge(set.age_s));
            self.key_set_keys.get_or_create(&issuer).set(gauge(set.keys));
            self.key_set_unknown.get_or_create(&issuer).inner().store(set.unknown, Ordering::Relaxed);
            for reason in set.unusable {
                let label = Unusable { issuer: set.issuer.to_owned(), reason };
                self.key_set_unusable.get_or_create(&label).inc();
            }
        }
    }

    /// A TLS handshake ended; `version` and `group` are words of the program, or `none` when it failed.
    pub fn handshake(&self, version: &'static str, group: &'static str, result: &'static str) {
        self.handshakes.get_or_create(&Handshake { version, group, result }).inc();
    }

    /// The certificates that are served, and when each ends, in Unix seconds; in place of those told before.
    pub fn certificates<'a>(&self, all: impl Iterator<Item = (&'a str, &'a str, i64)>) {
        self.certificates.clear();
        for (listener, source, end) in all {
            let labels = Certificate { listener: listener.to_owned(), source: source.to_owned() };
            self.certificates.get_or_create(&labels).set(end);
        }
    }

    /// A reload ended: `applied`, `unchanged`, `refused`.
    pub fn reload(&self, result: &'static str) {
        self.reloads.get_or_create(&Result_ { result }).inc();
    }

    /// An upstream was asked: `ok`, `retried`, `connect`, `timeout`, `open_circuit`, …; `upstream` is its name in the
    /// configuration.
    pub fn upstream(&self, upstream: &str, result: &'static str) {
        self.upstream.get_or_create(&Upstream { upstream: upstream.to_owned(), result }).inc();
    }

    /// Whether a target of an upstream is used.
    pub fn upstream_healthy(&self, upstream: &str, target: &str, healthy: bool) {
        let labels = UpstreamTarget { upstream: upstream.to_owned(), target: target.to_owned() };
        self.upstream_healthy.get_or_create(&labels).set(i64::from(healthy));
    }

    /// A counter that lives elsewhere, read at each scrape. `name` without prefix and `_total`.
    pub fn watch_counter(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        lock(&self.hub.watched).push(Watched { name, help, counter: true, read: Box::new(read) });
    }

    /// A gauge that lives elsewhere, read at each scrape.
    pub fn watch_gauge(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        lock(&self.hub.watched).push(Watched { name, help, counter: false, read: Box::new(read) });
    }

    /// The content type of [`Metrics::render`].
    pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// All metrics as text.
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(16 * 1024);
        // Writing into a String does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut out, &self.registry);
        out
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Worker {
    /// Counts a request.
    pub fn request(&self, route: RouteId, request: &Request) {
        let Some(cell) = self.cells.routes.get(usize::from(route.0)) else { return };
        let cells = cell.get_or_init(Box::default);
        cells.status(request.status);
        cells.total.record(request.total_us);
        crate::slab::add(&cells.request_bytes, request.request_bytes);
        crate::slab::add(&cells.response_bytes, request.response_bytes);
        self.cells.inside.record(request.inside_us);
        if let Some(us) = request.upstream_us {
            self.cells.upstream.record(us);
        }
    }

    /// A credential proved a caller, in so many microseconds.
    pub fn identified(&self, credential: Credential, us: u64) {
        if let Some(cell) = self.cells.identified.get(credential as usize) {
            cell.record(us);
        }
    }

    /// A token was known from a moment ago.
    pub fn verify_cache_hit(&self) {
        crate::slab::add(&self.cells.verify_cache_hits, 1);
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

fn route_of(hub: &Hub, api: &str, route: &str, method: &'static str) -> RouteId {
    let mut routes = lock(&hub.routes);
    let labels: RouteLabels = (Arc::from(api), Arc::from(route), method);
    if let Some(id) = routes.ids.get(&labels) {
        return RouteId(*id);
    }
    // The last one is shared by all that come too late.
    let (labels, id) = match routes.labels.len() {
        n if n < MAX_ROUTES - 1 => (labels, n),
        _ => ((Arc::from(""), Arc::from("other"), "_OTHER"), MAX_ROUTES - 1),
    };
    let id = u16::try_from(id).unwrap_or(u16::MAX);
    if routes.ids.insert(labels.clone(), id).is_none() {
        routes.labels.push(labels);
    }
    RouteId(id)
}

struct HubCollector(Arc<Hub>);

impl fmt::Debug for HubCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HubCollector")
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteLabel {
    service_name: String,
    http_route: String,
    http_request_method: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StatusLabel {
    service_name: String,
    http_route: String,
    http_request_method: &'static str,
    http_response_status_code: String,
}

impl Collector for HubCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let labels = lock(&self.0.routes).labels.clone();
        let workers = lock(&self.0.workers).clone();
        let mut sums: Vec<(RouteLabel, CellsSum)> = Vec::new();
        let (mut inside, mut upstream) = (HistogramSum::default(), HistogramSum::default());
        for worker in &workers {
            inside.add(&worker.inside);
            upstream.add(&worker.upstream);
        }
        for (i, (api, route, method)) in labels.iter().enumerate() {
            let mut sum: Option<CellsSum> = None;
            for cells in workers.iter().filter_map(|w| w.routes.get(i)?.get()) {
                sum.get_or_insert_default().add(cells);
            }
            if let Some(sum) = sum {
                let (service_name, http_route) = (api.to_string(), route.to_string());
                sums.push((RouteLabel { service_name, http_route, http_request_method: method }, sum));
            }
        }
        let help = "Requests, by route and status";
        let mut family =
            encoder.encode_descriptor("http_server_requests", help, None, MetricType::Counter)?;
        for (route, sum) in &sums {
            for (cell, count) in sum.status.iter().enumerate().filter(|(_, n)| **n > 0) {
                let label = StatusLabel {
                    service_name: route.service_name.clone(),
                    http_route: route.http_route.clone(),
                    http_request_method: route.http_request_method,
                    http_response_status_code: status_label(cell).unwrap_or_default().into_owned(),
                };
                ConstCounter::new(*count).encode(family.encode_family(&label)?)?;
            }
        }
        let help = "From the first byte of a request to the last of its answer";
        let name = "http_server_request_duration_seconds";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (route, sum) in &sums {
            histogram(&mut family.encode_family(route)?, &sum.total)?;
        }
        for (name, help, read) in [
            (
                "http_server_request_body_bytes",
                "Bytes of requests' bodies",
                (|s: &CellsSum| s.request_bytes) as fn(&CellsSum) -> u64,
            ),
            ("http_server_response_body_bytes", "Bytes of answers' bodies", |s| s.response_bytes),
        ] {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (route, sum) in &sums {
                ConstCounter::new(read(sum)).encode(family.encode_family(route)?)?;
            }
        }
        for (name, help, sum) in [
            ("inside_duration_seconds", "The gateway's own part of a request", &inside),
            ("upstream_duration_seconds", "The upstream's part of a request", &upstream),
        ] {
            histogram(&mut encoder.encode_descriptor(name, help, None, MetricType::Histogram)?, sum)?;
        }
        self.identified(&mut encoder, &workers)?;
        for watched in lock(&self.0.watched).iter() {
            let value = (watched.read)();
            if watched.counter {
                let counter = ConstCounter::new(value);
                counter.encode(encoder.encode_descriptor(
                    watched.name,
                    watched.help,
                    None,
                    MetricType::Counter,
                )?)?;
            } else {
                let gauge = ConstGauge::new(value);
                gauge.encode(encoder.encode_descriptor(
                    watched.name,
                    watched.help,
                    None,
                    MetricType::Gauge,
                )?)?;
            }
        }
        Ok(())
    }
}

impl HubCollector {
    fn identified(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        workers: &[Arc<WorkerCells>],
    ) -> Result<(), fmt::Error> {
        let sum = |credential: Credential| {
            let mut sum = HistogramSum::default();
            workers.iter().filter_map(|w| w.identified.get(credential as usize)).for_each(|h| sum.add(h));
            sum
        };
        let proved: Vec<(Credential, HistogramSum)> =
            Credential::ALL.into_iter().map(|c| (c, sum(c))).collect();
        let help = "Credentials judged, by kind; `ok`, or why one proved nothing";
        let mut family = encoder.encode_descriptor("identify", help, None, MetricType::Counter)?;
        for (credential, sum) in proved.iter().filter(|(_, sum)| sum.count() > 0) {
            let label = Identified { kind: credential.word(), result: "ok" };
            ConstCounter::new(sum.count()).encode(family.encode_family(&label)?)?;
        }
        for ((kind, result), count) in lock(&self.0.unproved).iter() {
            ConstCounter::new(*count).encode(family.encode_family(&Identified { kind, result })?)?;
        }
        let help = "Time to prove a caller";
        let mut family = encoder.encode_descriptor("identify_seconds", help, None, MetricType::Histogram)?;
        for (credential, sum) in proved.iter().filter(|(_, sum)| sum.count() > 0) {
            histogram(&mut family.encode_family(&CredentialLabel { kind: credential.word() })?, sum)?;
        }
        let hits = workers.iter().map(|w| w.verify_cache_hits.load(Ordering::Relaxed)).sum::<u64>();
        let help = "Tokens known from a moment ago";
        let encoder = encoder.encode_descriptor("verify_cache_hits", help, None, MetricType::Counter)?;
        ConstCounter::new(hits).encode(encoder)
    }
}

fn histogram(
    encoder: &mut prometheus_client::encoding::MetricEncoder<'_>,
    sum: &HistogramSum,
) -> Result<(), fmt::Error> {
    let bounds = BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(sum.buckets).collect();
    encoder.encode_histogram::<NoLabelSet>(sum.sum_us as f64 / 1e6, sum.count(), &buckets, None)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(status: u16, total_us: u64) -> Request {
        Request {
            status,
            total_us,
            inside_us: 20,
            upstream_us: Some(total_us - 20),
            request_bytes: 10,
            response_bytes: 100,
        }
    }

    #[test]
    fn workers_add_up() {
        let metrics = Metrics::new();
        let route = metrics.route("shop", "/orders/{id}", "GET");
        assert_eq!(route, metrics.route("shop", "/orders/{id}", "GET"), "the same over a reload");
        std::thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| {
                    let worker = metrics.worker();
                    for _ in 0..1_000 {
                        worker.request(route, &request(200, 500));
                        worker.request(route, &request(429, 501));
                        worker.request(metrics.no_route(), &request(418, 100));
                    }
                });
            }
        });
        metrics.refused("quota", "quota-spent");
        let worker = metrics.worker();
        worker.identified(Credential::ApiKey, 3);
        worker.verify_cache_hit();
        metrics.unproved(Credential::Jwt, "signature");
        metrics.api_keys("due", 4);
        metrics.watch_counter("limits_degraded", "Decisions in coarse buckets", || 7);
        metrics.watch_gauge("limits_slots", "Slots", || 3);
        metrics.connections.inc();
        let text = metrics.render();
        let route = "service_name=\"shop\",http_route=\"/orders/{id}\",http_request_method=\"GET\"";
        for line in [
            format!(
                "portcullis_http_server_requests_total{{{route},http_response_status_code=\"200\"}} 3000"
            ),
            format!(
                "portcullis_http_server_requests_total{{{route},http_response_status_code=\"429\"}} 3000"
            ),
            format!("portcullis_http_server_request_duration_seconds_bucket{{le=\"0.0005\",{route}}} 3000"),
            format!("portcullis_http_server_request_duration_seconds_bucket{{le=\"0.001\",{route}}} 6000"),
            format!("portcullis_http_server_request_duration_seconds_bucket{{le=\"+Inf\",{route}}} 6000"),
            format!("portcullis_http_server_request_duration_seconds_count{{{route}}} 6000"),
            format!("portcullis_http_server_response_body_bytes_total{{{route}}} 600000"),
            "portcullis_inside_duration_seconds_count 9000".to_owned(),
            "portcullis_refusals_total{gate=\"quota\",code=\"quota-spent\"} 1".to_owned(),
            "portcullis_identify_total{kind=\"api_key\",result=\"ok\"} 1".to_owned(),
            "portcullis_identify_total{kind=\"jwt\",result=\"signature\"} 1".to_owned(),
            "portcullis_identify_seconds_count{kind=\"api_key\"} 1".to_owned(),
            "portcullis_verify_cache_hits_total 1".to_owned(),
            "portcullis_api_keys{state=\"due\"} 4".to_owned(),
            "portcullis_limits_degraded_total 7".to_owned(),
            "portcullis_limits_slots 3".to_owned(),
            "portcullis_connections_open 1".to_owned(),
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert!(text.contains("http_response_status_code=\"4xx\"} 3000"), "418 is counted by its class");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn routes_are_bounded() {
        let metrics = Metrics::new();
        let worker = metrics.worker();
        for i in 0..MAX_ROUTES * 3 {
            worker.request(metrics.route("a", &format!("/{i}"), "GET"), &request(200, 30));
        }
        let text = metrics.render();
        let series = text.lines().filter(|l| l.starts_with("portcullis_http_server_requests_total")).count();
        assert!(series < MAX_ROUTES, "{series}");
        assert!(text.contains(
            "http_route=\"other\",http_request_method=\"_OTHER\",http_response_status_code=\"200\""
        ));
        assert_eq!(lock(&metrics.hub.routes).ids.len(), MAX_ROUTES);
    }
}
