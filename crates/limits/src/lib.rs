//! Limits: pure arithmetic, no clock, no I/O, no randomness.
//!
//! A [`Rate`] is what people write (`600/min`), a [`Bucket`] is one layer of limits made ready to decide, and a
//! [`Table`] holds the counters of all keys in memory that is allocated once. [`Table::decide`] judges a request
//! against every layer of a gate at once: either all of them are charged, or none is. [`header`] tells the client,
//! [`Concurrency`] bounds what is in flight, and [`policy`] says which layers stand on an operation.
//!
//! All times are microseconds since the Unix epoch; they should come from a clock that does not jump.

mod bucket;
mod concurrency;
mod gcra;
mod hash;
pub mod header;
pub mod policy;
mod rate;
mod table;
mod verdict;

pub use bucket::{Bucket, BucketError, Layer, MAX_WINDOWS, Name, Window};
pub use concurrency::{Concurrency, Permit};
pub use rate::{Rate, RateError};
pub use table::{Ask, DEFAULT_SLOTS, Key, Table};
pub use verdict::{Decision, Outcome, Verdict};
