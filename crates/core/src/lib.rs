//! The vocabulary of Portcullis: what every other crate speaks in, and nothing that does I/O.

pub mod caller;
pub mod dn;
pub mod finding;
pub mod head;
pub mod id;
pub mod opaque;
pub mod problem;
pub mod secret;
pub mod time;
pub mod trail;
pub mod units;
pub mod verdict;
