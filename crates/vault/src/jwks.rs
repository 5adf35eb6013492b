//! Key sets of token issuers: caches that neither stall nor flood (callers.md § 6).
//!
//! One [`IssuerKeys`] per issuer. Requests read the set without a lock; one task beside the hot path fetches.
//! A request waits in two cases only, and at most one second: the first fetch after a cold start, and a `kid`
//! that the set does not have.

use arc_swap::ArcSwap;
use portcullis_core::time::{Clock, Now};
use portcullis_jose::json::{Json, Limits};
use portcullis_jose::jwk::{KeyPolicy, KeySet};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Longest wait of a request for a fetch.
pub const WAIT: Duration = Duration::from_secs(1);
/// Least time between two fetches that unknown `kid`s cause, in microseconds.
pub const COOL_DOWN_US: i64 = 30_000_000;
/// How long an unknown `kid` is remembered, in microseconds.
const UNKNOWN_US: i64 = 60_000_000;
/// Unknown `kid`s remembered for one issuer.
const UNKNOWN_MAX: usize = 1_000;
/// Age in microseconds at which somebody should look why a set is not renewed.
const ALARM_US: i64 = 3_600 * 1_000_000;
/// Longest use of a set that could not be renewed, in microseconds.
const STALE_MAX_US: i64 = 24 * 3_600 * 1_000_000;

/// What one fetch brought: status 200 only, no redirects, bounded.
pub struct Fetched {
    /// Body, at most 256 KiB.
    pub body: Vec<u8>,
    /// `Cache-Control: max-age`, in seconds.
    pub max_age: Option<u64>,
}

/// A fetch under way.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Fetched, String>> + Send + 'a>>;

/// The door out, as far as key sets need it.
pub trait Fetch: Send + Sync + 'static {
    /// GET, 3 s to connect, 5 s in all. The error is for the operator.
    fn get<'a>(&'a self, url: &'a str) -> Fetching<'a>;

    /// Hears what the operator should know of.
    fn news(&self, _: News<'_>) {}
}

/// What happened to a key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News<'a> {
    /// A key of a new set is not used; `why` is a word of `jose::jwk::KeyFault`.
    Unusable {
        /// Its `kid`.
        kid: Option<&'a str>,
        /// The word.
        why: &'static str,
    },
    /// An attempt brought no usable set; the old one stays.
    Failed(&'a str),
    /// The set in use is so many seconds old; said once.
    Stale(u64),
}

/// Where an issuer's keys are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Given with the configuration.
    Fixed(Arc<[u8]>),
    /// A JWK set.
    Url(Arc<str>),
    /// Metadata with `issuer` (compared byte for byte with the second value) and `jwks_uri`.
    Discovery(Arc<str>, Arc<str>),
}

/// A key set and its age.
#[derive(Clone)]
pub struct Loaded {
    /// The keys.
    pub set: Arc<KeySet>,
    /// Rises with every change of content; part of the key of the verification cache.
    pub epoch: u64,
    /// Why keys of the set are not used; words of `jose::jwk::KeyFault`.
    pub unusable: Arc<[&'static str]>,
    fetched: Now,
}

/// Why there are no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

/// Figures for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Fetches that brought a usable set.
    pub fetched: u64,
    /// Fetches that did not.
    pub failed: u64,
    /// Tokens refused because of an unknown `kid`.
    pub unknown: u64,
    /// Keys in the set.
    pub keys: u64,
    /// Seconds since the last good fetch; zero for fixed sets.
    pub age_s: u64,
}

/// A key of a set that is not used: its `kid`, and why.
type NotUsed = (Option<Box<str>>, &'static str);

/// The cached keys of one issuer.
pub struct IssuerKeys {
    name: Arc<str>,
    source: Source,
    policy: KeyPolicy,
    loaded: ArcSwap<Option<Loaded>>,
    content: Mutex<Vec<u8>>,
    last_attempt: AtomicI64,
    in_flight: AtomicBool,
    wanted: Notify,
    done: watch::Sender<u64>,
    unknown: Mutex<HashMap<u64, i64>>,
    hasher: std::hash::RandomState,
    fetched: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
}

impl IssuerKeys {
    /// A cache. A fixed set is parsed at once; its error is the operator's.
    pub fn new(name: Arc<str>, source: Source, policy: KeyPolicy, now: Now) -> Result<Self, String> {
        let keys = Self {
            name,
            source,
            policy,
            loaded: ArcSwap::from_pointee(None),
            content: Mutex::new(Vec::new()),
            last_attempt: AtomicI64::new(i64::MIN / 2),
            in_flight: AtomicBool::new(false),
            wanted: Notify::new(),
            done: watch::Sender::new(0),
            unknown: Mutex::new(HashMap::new()),
            hasher: std::hash::RandomState::new(),
            fetched: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        };
        if let Source::Fixed(bytes) = &keys.source {
            let bytes = bytes.clone();
            keys.take(&bytes, now)?;
        }
        Ok(keys)
    }

    /// The issuer's name in the configuration.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether this cache can go on serving for that configuration after a reload.
    pub fn serves(&self, source: &Source, policy: &KeyPolicy) -> bool {
        self.source == *source
            && self.policy.algorithms == policy.algorithms
            && self.policy.rsa_max_bits == policy.rsa_max_bits
    }

    /// The keys, without waiting, but for the first fetch after a cold start.
    pub async fn keys(&self, now: Now) -> Result<Loaded, Unavailable> {
        if let Some(loaded) = self.fresh(now) {
            return Ok(loaded);
        }
        self.join_fetch(now).await;
        self.fresh(now).ok_or(Unavailable)
    }

    /// The keys after an attempt to learn a `kid` that the present set does not have. Joins the fetch in flight;
    /// starts one only when the last attempt is more than 30 s ago. Nothing: the `kid` is unknown.
    pub async fn keys_for_unknown(&self, kid: &str, now: Now) -> Option<Loaded> {
        use std::hash::BuildHasher as _;
        if matches!(self.source, Source::Fixed(_)) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let hash = self.hasher.hash_one(kid);
        if self.is_known_unknown(hash, now) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let before = self.epoch();
        self.join_fetch(now).await;
        match self.fresh(now) {
            Some(loaded) if loaded.epoch != before => Some(loaded),
            _ => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                self.remember_unknown(hash, now);
                None
            }
        }
    }

    /// Why keys of the set are not used.
    pub fn unusable(&self) -> Arc<[&'static str]> {
        self.loaded.load().as_ref().as_ref().map_or_else(|| Arc::from([]), |l| l.unusable.clone())
    }

    /// Figures for the metrics.
    pub fn figures(&self, now: Now) -> Figures {
        let loaded = self.loaded.load();
        let fixed = matches!(self.source, Source::Fixed(_));
        Figures {
            fetched: self.fetched.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            unknown: self.refused.load(Ordering::Relaxed),
            keys: loaded
                .as_ref()
                .as_ref()
                .map_or(0, |l| u64::try_from(l.set.keys().len()).unwrap_or(u64::MAX)),
            age_s: match loaded.as_ref() {
                Some(l) if !fixed => now.since(l.fetched) / 1_000_000,
                _ => 0,
            },
        }
    }

    /// Fetches beside the hot path, for ever: at 80 % of the set's lifetime, and when a request wants it.
    pub async fn run(self: Arc<Self>, door: Arc<dyn Fetch>, clock: Arc<dyn Clock>, jitter: fn() -> f64) {
        if matches!(self.source, Source::Fixed(_)) {
            return;
        }
        let mut pause = Duration::ZERO;
        let mut failures: u32 = 0;
        let mut alarmed = false;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.wanted.notified() => {}
            }
            let outcome = self.attempt(door.as_ref(), clock.as_ref()).await;
            // A wish from before or during this attempt has been met by it.
            tokio::select! {
                biased;
                () = self.wanted.notified() => {}
                () = std::future::ready(()) => {}
            }
            pause = match outcome {
                Ok(lifetime) => {
                    failures = 0;
                    alarmed = false;
                    lifetime.mul_f64(0.8 * (0.9 + 0.2 * jitter()))
                }
                Err(why) => {
                    door.news(News::Failed(&why));
                    let age = self.age_us(clock.now());
                    if age >= ALARM_US && !std::mem::replace(&mut alarmed, true) {
                        door.news(News::Stale(age.unsigned_abs() / 1_000_000));
                    }
                    failures = failures.saturating_add(1);
                    Duration::from_secs(30 << failures.saturating_sub(1).min(4)).mul_f64(0.9 + 0.2 * jitter())
                }
            };
        }
    }

    async fn attempt(&self, door: &dyn Fetch, clock: &dyn Clock) -> Result<Duration, String> {
        self.in_flight.store(true, Ordering::SeqCst);
        self.last_attempt.store(clock.now().micros(), Ordering::SeqCst);
        let result = async {
            let url = match &self.source {
                Source::Url(url) => url.to_string(),
                Source::Discovery(url, issuer) => jwks_uri(&door.get(url).await?.body, issuer)?,
                Source::Fixed(_) => return Err("fixed".to_owned()),
            };
            let fetched = door.get(&url).await?;
            for (kid, why) in self.take(&fetched.body, clock.now())? {
                door.news(News::Unusable { kid: kid.as_deref(), why });
            }
            let secs = fetched.max_age.map_or(900, |age| age.clamp(300, 86_400));
            Ok(Duration::from_secs(secs))
        }
        .await;
        let counter = if result.is_ok() { &self.fetched } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        self.in_flight.store(false, Ordering::SeqCst);
        self.done.send_modify(|n| *n = n.wrapping_add(1));
        result
    }

    /// A new set replaces the old one at once, if it has one usable key; else it is an error and the old one stays.
    fn take(&self, bytes: &[u8], now: Now) -> Result<Vec<NotUsed>, String> {
        let (set, unusable) = KeySet::parse(bytes, &self.policy).map_err(|e| format!("key set: {e}"))?;
        if set.keys().is_empty() {
            return Err("key set: no usable key".to_owned());
        }
        let mut content = self.content.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = self.loaded.load();
        let loaded = match before.as_ref() {
            // The clock alone has moved: what was said of it was said.
            Some(old) if *content == bytes => {
                self.loaded.store(Arc::new(Some(Loaded { fetched: now, ..old.clone() })));
                return Ok(Vec::new());
            }
            old => Loaded {
                set: Arc::new(set),
                unusable: unusable.iter().map(|u| u.fault.text()).collect(),
                epoch: old.as_ref().map_or(1, |l| l.epoch.wrapping_add(1)),
                fetched: now,
            },
        };
        bytes.clone_into(&mut content);
        self.loaded.store(Arc::new(Some(loaded)));
        Ok(unusable.into_iter().map(|one| (one.kid, one.fault.text())).collect())
    }

    /// Microseconds since the last good fetch; zero before the first.
    fn age_us(&self, now: Now) -> i64 {
        let loaded = self.loaded.load();
        loaded.as_ref().as_ref().map_or(0, |l| now.micros().saturating_sub(l.fetched.micros()))
    }

    fn fresh(&self, now: Now) -> Option<Loaded> {
        let loaded = self.loaded.load();
        let loaded = loaded.as_ref().as_ref()?;
        let fixed = matches!(self.source, Source::Fixed(_));
        (fixed || now.micros().saturating_sub(loaded.fetched.micros()) < STALE_MAX_US).then(|| loaded.clone())
    }

    /// The epoch of the present set; zero before the first.
    pub fn epoch(&self) -> u64 {
        self.loaded.load().as_ref().as_ref().map_or(0, |l| l.epoch)
    }

    async fn join_fetch(&self, now: Now) {
        let mut done = self.done.subscribe();
        if !self.in_flight.load(Ordering::SeqCst) {
            let last = self.last_attempt.load(Ordering::SeqCst);
            if now.micros().saturating_sub(last) <= COOL_DOWN_US {
                return;
            }
            if self
                .last_attempt
                .compare_exchange(last, now.micros(), Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
            {
                // From here on others join, though the task has not begun: they must not take the kid for unknown.
                self.in_flight.store(true, Ordering::SeqCst);
                self.wanted.notify_one();
            }
        }
        let _ = tokio::time::timeout(WAIT, done.changed()).await;
    }

    fn is_known_unknown(&self, hash: u64, now: Now) -> bool {
        let unknown = self.unknown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        unknown.get(&hash).is_some_and(|until| *until > now.micros())
    }

    fn remember_unknown(&self, hash: u64, now: Now) {
        let mut unknown = self.unknown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if unknown.len() >= UNKNOWN_MAX {
            unknown.retain(|_, until| *until > now.micros());
            if unknown.len() >= UNKNOWN_MAX {
                unknown.clear();
            }
        }
        unknown.insert(hash, now.micros().saturating_add(UNKNOWN_US));
    }
}

/// `jwks_uri` of a metadata document whose `issuer` equals the configured one byte for byte (RFC 8414 § 3.3).
fn jwks_uri(body: &[u8], issuer: &str) -> Result<String, String> {
    let document =
        Json::parse(body.to_vec(), &Limits::ANSWER).map_err(|_| "metadata: not strict JSON".to_owned())?;
    if document.root().get("issuer").and_then(|v| v.as_str()) != Some(issuer) {
        return Err("metadata: `issuer` differs from the configured one".to_owned());
    }
    let uri = document.root().get("jwks_uri").and_then(|v| v.as_str()).ok_or("metadata: no `jwks_uri`")?;
    Ok(uri.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::time::ManualClock;
    use std::sync::atomic::AtomicUsize;

    /// An issuer that a test scripts.
    #[derive(Default)]
    struct Peer {
        body: Mutex<Option<Vec<u8>>>,
        fetches: AtomicUsize,
    }

    impl Peer {
        fn with(kids: &[&str]) -> Arc<Self> {
            let peer = Arc::new(Self::default());
            peer.publish(kids);
            peer
        }

        fn publish(&self, kids: &[&str]) {
            *self.body.lock().unwrap() = Some(set(kids));
        }

        fn count(&self) -> usize {
            self.fetches.load(Ordering::SeqCst)
        }
    }

    impl Fetch for Peer {
        fn get<'a>(&'a self, _url: &'a str) -> Fetching<'a> {
            self.fetches.fetch_add(1, Ordering::SeqCst);
            let body = self.body.lock().unwrap().clone();
            Box::pin(async move {
                match body {
                    Some(body) => Ok(Fetched { body, max_age: Some(3_600) }),
                    None => Err("down".to_owned()),
                }
            })
        }
    }

    /// Ed25519 keys (RFC 8037 appendix A.2) under the given kids.
    fn set(kids: &[&str]) -> Vec<u8> {
        let keys: Vec<String> = kids
            .iter()
            .map(|kid| {
                format!(
                    r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}"#
                )
            })
            .collect();
        format!(r#"{{"keys":[{}]}}"#, keys.join(",")).into_bytes()
    }

    fn policy() -> KeyPolicy {
        KeyPolicy { algorithms: portcullis_jose::alg::Algorithms::ALL, rsa_max_bits: 4_096 }
    }

    struct Bench {
        keys: Arc<IssuerKeys>,
        clock: Arc<ManualClock>,
        task: tokio::task::JoinHandle<()>,
    }

    impl Bench {
        fn start(peer: &Arc<Peer>) -> Self {
            let clock = Arc::new(ManualClock::new(Now::from_secs(1_767_225_600)));
            let source = Source::Url("https://login.example.com/jwks".into());
            let keys = Arc::new(IssuerKeys::new("corp".into(), source, policy(), clock.now()).unwrap());
            #[expect(clippy::disallowed_methods, reason = "a test")]
            let task = tokio::spawn(keys.clone().run(peer.clone(), clock.clone(), || 0.5));
            Self { keys, clock, task }
        }

        fn now(&self) -> Now {
            self.clock.now()
        }
    }

    impl Drop for Bench {
        fn drop(&mut self) {
            self.task.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_random_kids_cause_one_fetch_per_cool_down() {
        let peer = Peer::with(&["a"]);
        let bench = Bench::start(&peer);
        assert!(bench.keys.keys(bench.now()).await.is_ok());
        assert_eq!(peer.count(), 1);
        for n in 0..10_000 {
            assert!(bench.keys.keys_for_unknown(&format!("random-{n}"), bench.now()).await.is_none());
        }
        assert_eq!(peer.count(), 1, "within the cool-down of the first fetch");
        bench.clock.advance_secs(31);
        for n in 0..10_000 {
            assert!(bench.keys.keys_for_unknown(&format!("other-{n}"), bench.now()).await.is_none());
        }
        assert_eq!(peer.count(), 2);
        assert!(bench.keys.unknown.lock().unwrap().len() <= UNKNOWN_MAX);
        assert!(bench.keys.keys(bench.now()).await.is_ok(), "good keys are not evicted");
    }

    #[tokio::test(start_paused = true)]
    async fn a_rotated_in_key_is_learnt_by_one_fetch_and_a_removed_one_is_gone() {
        let peer = Peer::with(&["a"]);
        let bench = Bench::start(&peer);
        let first = bench.keys.keys(bench.now()).await.unwrap();
        peer.publish(&["b"]);
        bench.clock.advance_secs(31);
        let next = bench.keys.keys_for_unknown("b", bench.now()).await.unwrap();
        assert_eq!(next.set.keys().iter().filter_map(|k| k.kid()).collect::<Vec<_>>(), ["b"]);
        assert!(next.epoch > first.epoch);
        assert_eq!(peer.count(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_or_broken_set_leaves_the_old_one_for_a_day() {
        let peer = Peer::with(&["a"]);
        let bench = Bench::start(&peer);
        let first = bench.keys.keys(bench.now()).await.unwrap();
        peer.publish(&[]);
        bench.clock.advance_secs(31);
        assert!(bench.keys.keys_for_unknown("b", bench.now()).await.is_none());
        assert_eq!(bench.keys.keys(bench.now()).await.unwrap().epoch, first.epoch);
        *peer.body.lock().unwrap() = None;
        bench.clock.advance_secs(23 * 3_600);
        assert!(bench.keys.keys(bench.now()).await.is_ok());
        bench.clock.advance_secs(3_600);
        assert_eq!(bench.keys.keys(bench.now()).await.err(), Some(Unavailable));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_issuer_at_start_costs_a_request_one_second_at_most() {
        let bench = Bench::start(&Arc::new(Peer::default()));
        let began = tokio::time::Instant::now();
        assert_eq!(bench.keys.keys(bench.now()).await.err(), Some(Unavailable));
        assert!(began.elapsed() <= WAIT);
    }

    #[test]
    fn discovery_compares_the_issuer_byte_for_byte() {
        let body = br#"{"issuer":"https://a.example/","jwks_uri":"https://a.example/jwks"}"#;
        assert_eq!(jwks_uri(body, "https://a.example/").unwrap(), "https://a.example/jwks");
        assert!(jwks_uri(body, "https://a.example").is_err());
    }
}
