//! End to end: the real program as a process of its own, between real sockets and an upstream that keeps raw bytes.
//!
//! Each file is one theme. Nothing sleeps: a test waits for a thing that happens (a line, a byte, an end), with a limit.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and open sockets of their own"
)]

mod administration;
mod answers;
mod bodies;
mod callers_keys;
mod callers_signed;
mod callers_tokens;
mod contract;
mod demo;
mod detect;
mod edge;
mod floods;
mod forwarding;
mod frames;
mod graphql;
mod h2;
mod hostile;
mod limits;
mod reload;
mod secrets;
mod tables;
mod tour;
mod uploads;
mod verbs;
mod wire;
mod world;
