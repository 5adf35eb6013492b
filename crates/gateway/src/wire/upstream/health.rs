//! Which servers may be asked: pure decisions over atomics, shared by all threads, with the time passed in.
//!
//! Times are microseconds on any monotonic scale; nothing here reads a clock.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};

const SECOND: i64 = 1_000_000;
/// Failures in a row that eject a server.
const FAILURES: u32 = 5;
/// The first ejection; each further one doubles it, up to the longest.
const EJECTION: i64 = 30 * SECOND;
const LONGEST: i64 = 300 * SECOND;

/// One server's standing.
#[derive(Debug, Default)]
pub struct Health {
    failures: AtomicU32,
    ejections: AtomicU32,
    ejected_until: AtomicI64,
    probe_down: AtomicBool,
    probe_run: AtomicU32,
}

impl Health {
    /// Whether the server may be asked.
    pub fn usable(&self, now: i64) -> bool {
        !self.probe_down.load(Relaxed) && self.ejected_until.load(Relaxed) <= now
    }

    /// An answer below 502.
    pub fn succeeded(&self, now: i64) {
        // Loads first: the line stays shared while all is well.
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
        if self.ejections.load(Relaxed) != 0 && self.ejected_until.load(Relaxed).saturating_add(LONGEST) < now
        {
            self.ejections.store(0, Relaxed);
        }
    }

    /// A connect failure, a reset, a 502 or a 504. True when this one should eject the server, which
    /// [`Self::eject`] does, if enough others are left.
    pub fn failed(&self, now: i64) -> bool {
        self.failures.fetch_add(1, Relaxed) + 1 >= FAILURES && self.ejected_until.load(Relaxed) <= now
    }

    /// Takes the server out; returns until when.
    pub fn eject(&self, now: i64) -> i64 {
        let times = self.ejections.fetch_add(1, Relaxed).min(8);
        let until = now.saturating_add((EJECTION << times).min(LONGEST));
        self.ejected_until.store(until, Relaxed);
        self.failures.store(0, Relaxed);
        until
    }

    /// Ejected at present (and not merely down by probe).
    pub fn ejected(&self, now: i64) -> bool {
        self.ejected_until.load(Relaxed) > now
    }

    /// A probe's result. True when the standing changed.
    pub fn probed(&self, good: bool, unhealthy_after: u32, healthy_after: u32) -> bool {
        let down = self.probe_down.load(Relaxed);
        if good != down {
            self.probe_run.store(0, Relaxed);
            return false;
        }
        let run = self.probe_run.fetch_add(1, Relaxed) + 1;
        let change = run >= if down { healthy_after } else { unhealthy_after };
        if change {
            self.probe_down.store(!down, Relaxed);
            self.probe_run.store(0, Relaxed);
        }
        change
    }
}

/// Requests, failures and retries of the last ten seconds, in ten buckets.
#[derive(Debug, Default)]
pub struct Window {
    buckets: [Bucket; 10],
}

#[derive(Debug, Default)]
struct Bucket {
    second: AtomicI64,
    requests: AtomicU32,
    failures: AtomicU32,
    retries: AtomicU32,
}

/// Sums of a [`Window`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Exchanges begun.
    pub requests: u32,
    /// Those that failed.
    pub failures: u32,
    /// Those that were sent again.
    pub retries: u32,
}

impl Window {
    fn bucket(&self, now: i64) -> Option<&Bucket> {
        let second = now.div_euclid(SECOND);
        let bucket = self.buckets.get(usize::try_from(second.rem_euclid(10)).ok()?)?;
        let known = bucket.second.load(Relaxed);
        // Two threads may race for a new second; at worst a few counts of it are lost.
        if known != second && bucket.second.compare_exchange(known, second, Relaxed, Relaxed).is_ok() {
            bucket.requests.store(0, Relaxed);
            bucket.failures.store(0, Relaxed);
            bucket.retries.store(0, Relaxed);
        }
        Some(bucket)
    }

    /// An exchange begins.
    pub fn request(&self, now: i64) {
        if let Some(bucket) = self.bucket(now) {
            bucket.requests.fetch_add(1, Relaxed);
        }
    }

    /// It failed.
    pub fn failure(&self, now: i64) {
        if let Some(bucket) = self.bucket(now) {
            bucket.failures.fetch_add(1, Relaxed);
        }
    }

    /// A retry, if the budget allows it: a tenth of the requests of the last ten seconds, and at least one.
    pub fn retry(&self, now: i64) -> bool {
        let sums = self.sums(now);
        if sums.retries >= (sums.requests / 10).max(1) {
            return false;
        }
        if let Some(bucket) = self.bucket(now) {
            bucket.retries.fetch_add(1, Relaxed);
        }
        true
    }

    /// The last ten seconds.
    pub fn sums(&self, now: i64) -> Sums {
        let second = now.div_euclid(SECOND);
        self.buckets.iter().filter(|bucket| second - bucket.second.load(Relaxed) < 10).fold(
            Sums::default(),
            |sums, bucket| Sums {
                requests: sums.requests + bucket.requests.load(Relaxed),
                failures: sums.failures + bucket.failures.load(Relaxed),
                retries: sums.retries + bucket.retries.load(Relaxed),
            },
        )
    }

    fn clear(&self) {
        for bucket in &self.buckets {
            bucket.second.store(i64::MIN / 2, Relaxed);
        }
    }
}

/// The circuit of an upstream: at least 20 requests in 10 s of which half failed open it for 5 s; then three trials.
#[derive(Debug, Default)]
pub struct Circuit {
    /// 0: closed. Else when trials may begin.
    open_until: AtomicI64,
    /// Trials let through (high half) and trials that succeeded (low half).
    trials: AtomicU64,
}

const OPEN: i64 = 5 * SECOND;
const TRIALS: u64 = 3;
const MANY: u32 = 20;

/// What the circuit says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Go on.
    Closed,
    /// Go on; its outcome decides.
    Trial,
    /// Refused; come back after so many seconds.
    Open(u32),
}

impl Circuit {
    /// Asks to send.
    pub fn admit(&self, now: i64) -> Admission {
        let until = self.open_until.load(Relaxed);
        if until == 0 {
            return Admission::Closed;
        }
        if now < until {
            return Admission::Open(u32::try_from((until - now + SECOND - 1) / SECOND).unwrap_or(1).max(1));
        }
        if (self.trials.fetch_add(1 << 32, Relaxed) >> 32) < TRIALS {
            Admission::Trial
        } else {
            self.trials.fetch_sub(1 << 32, Relaxed);
            // A trial that never reports (its client left) must not keep the circuit open for ever.
            if now > until.saturating_add(60 * SECOND) {
                self.trials.store(0, Relaxed);
                self.open_until.store(now, Relaxed);
            }
            Admission::Open(1)
        }
    }

    /// An outcome. True when the circuit has just opened.
    pub fn report(&self, now: i64, admission: Admission, failed: bool, window: &Window) -> bool {
        match (admission, failed) {
            (Admission::Closed, false) | (Admission::Open(_), _) => false,
            (Admission::Closed, true) => {
                if self.open_until.load(Relaxed) != 0 {
                    return false;
                }
                let sums = window.sums(now);
                let bad = sums.requests >= MANY && u64::from(sums.failures) * 2 >= u64::from(sums.requests);
                if bad {
                    self.open(now);
                }
                bad
            }
            (Admission::Trial, true) => {
                self.open(now);
                true
            }
            (Admission::Trial, false) => {
                let good = (self.trials.fetch_add(1, Relaxed) & 0xffff_ffff) + 1;
                if good >= TRIALS {
                    window.clear();
                    self.trials.store(0, Relaxed);
                    self.open_until.store(0, Relaxed);
                }
                false
            }
        }
    }

    /// Whether it is open or on trial, for metrics.
    pub fn is_open(&self) -> bool {
        self.open_until.load(Relaxed) != 0
    }

    fn open(&self, now: i64) {
        self.trials.store(0, Relaxed);
        self.open_until.store(now.saturating_add(OPEN).max(1), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_eject_and_ejections_grow() {
        let health = Health::default();
        let mut now = 1_000 * SECOND;
        for seconds in [30, 60, 120, 240, 300, 300] {
            for n in 1..=5 {
                assert_eq!(health.failed(now), n == 5);
            }
            health.eject(now);
            assert!(!health.usable(now + seconds * SECOND - 1));
            assert!(health.usable(now + seconds * SECOND));
            now += seconds * SECOND;
        }
        for _ in 0..4 {
            health.failed(now);
        }
        health.succeeded(now);
        assert!(!health.failed(now), "a success ends the row");
        health.succeeded(now + 301 * SECOND);
        assert_eq!(health.eject(now + 301 * SECOND), now + 331 * SECOND, "a long good time is forgiven");
    }

    #[test]
    fn probes() {
        let health = Health::default();
        for (good, change) in [
            (true, false),
            (false, false),
            (false, false),
            (true, false),
            (false, false),
            (false, false),
            (false, true),
            (true, false),
            (false, false),
            (true, false),
            (true, true),
        ] {
            assert_eq!(health.probed(good, 3, 2), change);
        }
        assert!(health.usable(0));
    }

    #[test]
    fn the_circuit() {
        let (circuit, window) = (Circuit::default(), Window::default());
        let now = 1_000 * SECOND;
        for n in 1..=20 {
            window.request(now);
            let failed = n % 2 == 0;
            if failed {
                window.failure(now);
            }
            assert_eq!(circuit.report(now, Admission::Closed, failed, &window), n == 20, "{n}");
        }
        assert_eq!(circuit.admit(now), Admission::Open(5));
        assert_eq!(circuit.admit(now + 5 * SECOND - 1), Admission::Open(1));
        let now = now + 5 * SECOND;
        assert_eq!(
            [0; 4].map(|_| circuit.admit(now)),
            [Admission::Trial, Admission::Trial, Admission::Trial, Admission::Open(1)]
        );
        circuit.report(now, Admission::Trial, false, &window);
        assert!(circuit.report(now, Admission::Trial, true, &window), "a failed trial opens again");
        let now = now + 5 * SECOND;
        for _ in 0..3 {
            assert_eq!(circuit.admit(now), Admission::Trial);
            circuit.report(now, Admission::Trial, false, &window);
        }
        assert_eq!(circuit.admit(now), Admission::Closed);
        assert_eq!(window.sums(now), Sums::default());
    }

    #[test]
    fn the_circuit_needs_many_and_half() {
        for (requests, failures, opens) in
            [(19, 19, false), (20, 9, false), (20, 10, true), (100, 50, true), (100, 49, false)]
        {
            let (circuit, window) = (Circuit::default(), Window::default());
            for _ in 0..requests {
                window.request(0);
            }
            for _ in 0..failures {
                window.failure(0);
            }
            assert_eq!(circuit.report(0, Admission::Closed, true, &window), opens, "{requests} {failures}");
            assert!(
                !Circuit::default().report(11 * SECOND, Admission::Closed, true, &window),
                "ten seconds are gone"
            );
        }
    }

    #[test]
    fn the_retry_budget() {
        let window = Window::default();
        assert!(window.retry(0), "at least one");
        assert!(!window.retry(0));
        for _ in 0..50 {
            window.request(SECOND);
        }
        assert_eq!((0..9).filter(|_| window.retry(SECOND)).count(), 4, "a tenth of 50, and one is spent");
        assert!(window.retry(10 * SECOND), "the first has left the window");
        assert!(!window.retry(10 * SECOND));
    }
}
