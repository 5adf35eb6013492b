//! What a decision says.

use crate::bucket::{Layer, Name};
use smallvec::SmallVec;

/// How a set of asks ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every layer had room, and all of them were charged.
    Admitted,
    /// At least one layer had none; nothing was charged. Exact: refused one microsecond earlier, admitted then.
    Refused {
        /// Microseconds to wait.
        retry_after_us: u64,
    },
    /// The cost is larger than a burst: waiting never helps (413-like `cost-exceeds-burst`, no Retry-After).
    TooCostly,
}

/// The verdict over all layers of a gate.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// How it ended.
    pub outcome: Outcome,
    pub(crate) decisions: SmallVec<[Decision; 6]>,
}

/// One window's part of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The policy's name.
    pub name: Name,
    /// Its layer.
    pub layer: Layer,
    /// Index of the ask.
    pub ask: u8,
    /// This window had room (whatever the others said).
    pub admitted: bool,
    /// It only reports.
    pub shadow: bool,
    /// It was decided in a coarse bucket because the table is full: stricter than written.
    pub degraded: bool,
    /// The limit of the window.
    pub limit: u32,
    /// What is refilled per period (less than the limit under `strict_window`).
    pub refill: u32,
    /// The window in microseconds.
    pub period_us: u64,
    /// Size of the bucket.
    pub burst: u32,
    /// Whole requests of cost one that may still follow now.
    pub remaining: u32,
    /// Microseconds to wait; zero when there was room.
    pub retry_after_us: u64,
    /// Microseconds until a cost of one fits; zero while something remains.
    pub next_us: u64,
    /// Microseconds until the bucket is full.
    pub reset_us: u64,
}

impl Verdict {
    /// Nothing was asked: admitted.
    pub fn empty() -> Self {
        Self { outcome: Outcome::Admitted, decisions: SmallVec::new() }
    }

    /// Whether the request may go on.
    pub fn admitted(&self) -> bool {
        self.outcome == Outcome::Admitted
    }

    /// One decision per window, in the order of the asks.
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    /// The windows that refused (shadow ones never do).
    pub fn violated(&self) -> impl Iterator<Item = &Decision> {
        self.decisions.iter().filter(|d| !d.admitted && !d.shadow)
    }

    /// The windows that would have refused if they were not in shadow.
    pub fn shadowed(&self) -> impl Iterator<Item = &Decision> {
        self.decisions.iter().filter(|d| !d.admitted && d.shadow)
    }

    /// Whole seconds for `Retry-After`: the largest of the violated policies, rounded up, at least 1. `None` unless
    /// waiting helps.
    pub fn retry_after_secs(&self) -> Option<u64> {
        match self.outcome {
            Outcome::Refused { retry_after_us } => Some(retry_after_us.div_ceil(1_000_000).max(1)),
            Outcome::Admitted | Outcome::TooCostly => None,
        }
    }
}
