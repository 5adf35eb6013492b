//! The one door out: nothing else opens a connection (but `gateway::wire`, which accepts them and pools those that it
//! has dialled through here).
//!
//! **Invariant**: there is no switch that turns certificate verification off.
//! **Invariant**: no environment variable (`HTTPS_PROXY`, `.netrc`, …) changes where a connection goes.

mod dial;
mod fetch;
mod mail;
pub mod tls;

pub use dial::{Door, EgressError, Purpose};
pub use fetch::{Answered, FetchLimits, Fetched, Post};
pub use mail::{Login, Mail, MailError, Relay, is_address};
