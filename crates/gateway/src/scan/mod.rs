//! A scanner for files: clamd over TCP or a Unix socket, believed only after it has shown that it works
//! (contract.md § 13.4).

mod clamd;
mod self_test;
#[cfg(test)]
mod tests;

use crate::spool::Spooled;
use portcullis_core::time::Clock;
use portcullis_egress::Door;
use portcullis_plan::api::Scan;
use portcullis_telemetry::note;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

/// Files under way at once; further ones wait.
const AT_ONCE: usize = 8;
/// Files that wait; further ones are told that the scanner is not available.
const WAITING: usize = 32;
/// For one file in all, waiting included.
const IN_ALL: Duration = Duration::from_secs(30);
/// To be connected.
const CONNECT: Duration = Duration::from_secs(2);
/// Between self-tests that were passed.
const AGAIN: Duration = Duration::from_secs(3600);
/// Between self-tests that failed.
const RETRY: Duration = Duration::from_secs(1);

/// What a scanner says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was found.
    Clean,
    /// The name of what was found.
    Found(String),
    /// It did not say; why, for the operator.
    Unavailable(&'static str),
}

/// One scanner.
pub struct Scanner {
    plan: Scan,
    door: Door,
    slots: Semaphore,
    waiting: AtomicUsize,
    /// It passed its last self-test, and nothing went wrong since.
    trusted: AtomicBool,
    doubt: Notify,
}

impl Scanner {
    /// As planned; nobody trusts it before [`Scanner::watch`] has.
    pub fn new(plan: Scan) -> Arc<Self> {
        Arc::new(Self {
            plan,
            door: Door::new(),
            slots: Semaphore::new(AT_ONCE),
            waiting: AtomicUsize::new(0),
            trusted: AtomicBool::new(false),
            doubt: Notify::new(),
        })
    }

    /// What it was made from.
    pub const fn plan(&self) -> &Scan {
        &self.plan
    }

    /// Whether it passed its self-test.
    pub fn is_trusted(&self) -> bool {
        self.trusted.load(Relaxed)
    }

    /// Asks it about a file.
    pub async fn scan(&self, file: &Arc<Spooled>) -> Verdict {
        if !self.is_trusted() {
            return Verdict::Unavailable("scanner-not-tested");
        }
        if self.waiting.fetch_add(1, Relaxed) >= WAITING + AT_ONCE {
            self.waiting.fetch_sub(1, Relaxed);
            return Verdict::Unavailable("scanner-queue-full");
        }
        // Given back also when the client goes away while we wait.
        let _place = Place(&self.waiting);
        let asked = async {
            let _slot = self.slots.acquire().await.map_err(|_| clamd::Trouble::lasting("scanner-closed"))?;
            clamd::scan(&self.door, &self.plan.address, clamd::Source::File(file)).await
        };
        match timeout(IN_ALL, asked).await {
            Ok(Ok(clamd::Reply::Clean)) => Verdict::Clean,
            Ok(Ok(clamd::Reply::Found(name))) => Verdict::Found(name),
            Ok(Err(trouble)) => {
                if trouble.doubt {
                    self.doubted();
                }
                Verdict::Unavailable(trouble.why)
            }
            Err(_) => Verdict::Unavailable("scanner-too-slow"),
        }
    }

    /// It went away, or said what no scanner says: it is tested before it is asked again.
    fn doubted(&self) {
        if self.trusted.swap(false, Relaxed) {
            self.doubt.notify_one();
        }
    }

    /// Tests it at once, every hour, and whenever it is in doubt; ends when nobody has it any more.
    pub async fn watch(scanner: Weak<Self>, clock: Arc<dyn Clock>) {
        let mut told = None;
        loop {
            let Some(this) = scanner.upgrade() else { return };
            // What it can take is asked whenever it may be another daemon than before.
            let whole = !this.is_trusted();
            let passed = self_test::run(&this.door, &this.plan, clock.now(), whole).await;
            this.trusted.store(passed.is_ok(), Relaxed);
            let address = this.plan.address.to_string();
            match &passed {
                Ok(version) if told != Some(None) => {
                    let values =
                        [("scanner", address.as_str().into()), ("version", version.text.as_str().into())];
                    note::info("scanner.ready", "the scanner passed its self-test", &values);
                    if let Some(days) = version.age_days.filter(|days| *days > 7) {
                        let values = [("scanner", address.as_str().into()), ("days", days.into())];
                        note::warn("scanner.signatures_old", "the scanner's signatures are old", &values);
                    }
                    told = Some(None);
                }
                Err(why) if told != Some(Some(*why)) => {
                    let values = [("scanner", address.as_str().into()), ("why", (*why).into())];
                    note::error(
                        "scanner.self_test_failed",
                        "the scanner failed its self-test: files are refused",
                        &values,
                    );
                    told = Some(Some(*why));
                }
                _ => {}
            }
            let wait = if passed.is_ok() { AGAIN } else { RETRY };
            // Doubt cannot wait for an hour; and while we wait, a scanner that is in no plan any more must go.
            let mut left = wait;
            while !left.is_zero() && scanner.strong_count() > 1 {
                let step = left.min(Duration::from_secs(60));
                if timeout(step, this.doubt.notified()).await.is_ok() {
                    break;
                }
                left = left.saturating_sub(step);
            }
        }
    }
}

struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
