//! Detectors: folds over events. Time comes with the events; the same events give the same alerts, always.
//!
//! Pure: no I/O, no clock, no randomness. An event is small and `Copy`, so that the hot path hands it on through a ring
//! and forgets it. Every table is bounded, and what was evicted is counted.

pub mod alert;
mod country;
mod credential;
pub mod engine;
pub mod event;
mod histogram;
mod hours;
mod limits;
mod refusals;
pub mod rule;
pub mod simulate;
mod size;
mod table;

pub use alert::{Alert, Entity, Severity, Subtype, Trigger};
pub use engine::{Engine, Settings};
pub use event::Event;
