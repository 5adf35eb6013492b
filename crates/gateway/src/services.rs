//! What gates share: per worker thread, and across them.

use crate::gates::identify::{Cache, Verified, Verifiers};
use crate::live::{InForce, Live};
use crate::spool::Spool;
use crate::wire::Handle;
use crate::wire::upstream::Pool;
use arc_swap::ArcSwap;
use portcullis_core::caller::Subject;
use portcullis_core::time::{Clock, Now};
use portcullis_jose::mac::MacKey;
use portcullis_limits::{Bucket, Concurrency, Table};
use portcullis_store::Store;
use portcullis_telemetry::log::{Log, Recorder};
use portcullis_telemetry::metrics::{self, Metrics};
use portcullis_vault::api_keys::ApiKeys;
use portcullis_vault::revocation::Revoked;
use portcullis_vault::signing::IdentitySigner;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Instant;

/// Shared by all threads; survives reloads of the plan.
pub struct Shared {
    /// What is in force.
    pub live: ArcSwap<Live>,
    /// Rises after another plan was put in force: for what lasts longer than a request.
    pub reloads: tokio::sync::watch::Sender<u64>,
    /// By how much the clock differs from the store's, in microseconds, as it was last compared.
    pub clock_off: std::sync::atomic::AtomicI64,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The origin of the clock that never goes back or jumps; all threads share it.
    pub began: Instant,
    /// Counters of the limits.
    pub limits: Table,
    /// Requests under way.
    pub concurrency: Arc<Concurrency>,
    /// The scope under which requests in flight are counted.
    pub flight: Bucket,
    /// Signs identity headers, where an API wants them.
    pub signer: Option<IdentitySigner>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// The request log.
    pub log: Log,
    /// The edge, for readiness and its counters; set once it listens.
    pub edge: OnceLock<Handle>,
    /// Keys the hashes by which callers are told apart in the log.
    pub log_key: aws_lc_rs::hmac::Key,
    /// `iss` of identity headers.
    pub deployment: Arc<str>,
    /// What is remembered: keys, revocations, single use.
    pub store: Store,
    /// API keys as they are presented.
    pub keys: Arc<ApiKeys>,
    /// What was revoked.
    pub revoked: Arc<Revoked>,
    /// Makes the nonces of DPoP proofs (RFC 9449 § 8).
    pub dpop_nonce: MacKey,
    /// How much of what clients send waits on the disk.
    pub spool: Arc<Spool>,
}

impl Shared {
    /// A keyed hash of a subject: the same caller in every line, and nobody's name in any.
    pub fn hash_subject(&self, subject: &Subject) -> [u8; 8] {
        let mut context = aws_lc_rs::hmac::Context::with_key(&self.log_key);
        context.update(subject.issuer.as_bytes());
        context.update(&[0]);
        context.update(subject.id.as_bytes());
        context.sign().as_ref().first_chunk().copied().unwrap_or_default()
    }
}

/// Look-ups a second and worker for addresses that have nothing left to pay with.
const TRICKLE: u32 = 4;

/// One worker thread's services.
pub struct Services {
    /// Shared by all threads.
    pub shared: Arc<Shared>,
    /// Connections to upstreams.
    pub pool: Rc<Pool>,
    /// Nothing is forwarded (`explain`).
    pub dry: bool,
    pub(crate) counters: metrics::Worker,
    pub(crate) recorder: Recorder,
    pub(crate) verified: RefCell<Cache<Verified>>,
    pub(crate) verifiers: RefCell<Verifiers>,
    in_force: RefCell<InForce>,
    /// A second, and how many look-ups were made in it for addresses that had nothing left to pay with.
    unpaid: Cell<(i64, u32)>,
    random: RefCell<Random>,
    began: Instant,
}

impl Services {
    /// For one worker thread.
    pub fn new(shared: Arc<Shared>, pool: Rc<Pool>, dry: bool) -> Self {
        let in_force = RefCell::new(InForce::new(shared.live.load_full()));
        let began = shared.began;
        let (counters, recorder) = (shared.metrics.worker(), shared.log.recorder());
        Self {
            shared,
            pool,
            dry,
            counters,
            recorder,
            verified: RefCell::default(),
            verifiers: RefCell::default(),
            in_force,
            unpaid: Cell::new((0, 0)),
            random: RefCell::default(),
            began,
        }
    }

    /// What is in force now; within a worker, a pointer comparison.
    pub fn in_force(&self) -> InForce {
        let live = self.shared.live.load();
        let mut known = self.in_force.borrow_mut();
        if !known.is(&live) {
            *known = InForce::new(Arc::clone(&live));
        }
        known.clone()
    }

    /// The one reading of the clock for a request.
    pub fn now(&self) -> Now {
        self.shared.clock.now()
    }

    /// Microseconds on a clock that never goes back.
    pub fn ticks(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The time that limits live in, in microseconds. Not the time of day: a clock that jumps forward and is set back
    /// would stop every bucket from filling until the jump is over.
    pub fn limit_time(&self) -> i64 {
        i64::try_from(self.ticks()).unwrap_or(i64::MAX)
    }

    /// Room for one more look-up on behalf of an address that has nothing left to pay with.
    pub(crate) fn trickle(&self, now: i64) -> bool {
        let (second, made) = self.unpaid.get();
        let made = if second == now { made } else { 0 };
        self.unpaid.set((now, made.saturating_add(1)));
        made < TRICKLE
    }

    /// Random bytes that nobody can predict.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        self.random.borrow_mut().take()
    }
}

/// The system's randomness, fetched a page at a time.
struct Random {
    page: [u8; 2048],
    used: usize,
}

impl Default for Random {
    fn default() -> Self {
        Self { page: [0; 2048], used: 2048 }
    }
}

impl Random {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        if self.used.saturating_add(N) > self.page.len() {
            // aws-lc fails only when the system has no randomness at all; then nothing here may go on.
            if aws_lc_rs::rand::fill(&mut self.page).is_err() {
                std::process::abort();
            }
            self.used = 0;
        }
        let end = self.used.saturating_add(N);
        let mut out = [0; N];
        if let Some(bytes) = self.page.get_mut(self.used..end) {
            out.copy_from_slice(bytes);
            // Used once: a dump of memory shows none that were handed out.
            bytes.fill(0);
        }
        self.used = end;
        out
    }
}
