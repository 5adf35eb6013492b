//! Who relates to what: `OpenFGA` models, relation tuples, and their evaluation in memory.
//!
//! The model language is `OpenFGA`'s (schema 1.1), so that models, tests, tools and knowledge carry over; the engine is
//! ours, because a check in the same process takes microseconds and no request depends on another service. Pure: no
//! I/O, no clock, no randomness. What a condition may know of the time is in its context.

pub mod check;
pub mod condition;
pub mod index;
pub mod list;
pub mod model;
pub mod tuple;
pub mod view;
