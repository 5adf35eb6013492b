//! What is remembered: API keys, revocations, single-use values, notices, system secrets, and the audit ledger.
//!
//! [`Store::open`] gives one handle. Blocking work runs on two threads of the store's own, one for the durable file and
//! one for the hot replay file, each behind a bounded queue; a full queue or a slow disk is an error and never a wait
//! without end. Times are parameters: no statement asks the database what time it is. Adapters are private and stand
//! behind the traits of `adapter`; each passes the one suite in `contract`.

mod adapter;
#[cfg(test)]
mod contract;
mod handle;
pub mod kept;
pub mod keys;
pub mod ledger;
mod memory;
pub mod notices;
pub mod replay;
pub mod revocation;
pub mod seal;
pub mod secrets;
mod sqlite;
mod worker;

pub use handle::{OpenError, Options, Place, Store};

/// Why the store did not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// Too busy, too slow, or closed: nothing is known about what was asked. 503.
    Unavailable,
    /// The row would stand beside one that is there already.
    Exists,
    /// There is no such row.
    Missing,
    /// The database said something that the program does not understand (damage, a full disk, a foreign schema).
    Broken,
    /// A sealed column does not open under the key at hand, or cannot be sealed.
    Sealed,
}

impl StoreError {
    /// Stable word for logs.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Unavailable => "store-unavailable",
            Self::Exists => "store-exists",
            Self::Missing => "store-missing",
            Self::Broken => "store-broken",
            Self::Sealed => "store-sealed",
        }
    }
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for StoreError {}
