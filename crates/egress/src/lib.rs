//! The one door out: nothing else opens a connection (but `gateway::wire`, which accepts them and pools those that it
//! has dialled through here).
//!
//! **Invariant**: there is no switch that turns certificate verification off.
//! **Invariant**: no environment variable (`HTTPS_PROXY`, `.netrc`, …) changes where a connection goes.

mod address;
mod dial;
mod fetch;
mod mail;
mod policy;
pub mod tls;

pub use address::{AddressClass, OwnAddresses, Reach, interfaces, judge};
pub use dial::{Door, EgressError, Purpose};
pub use fetch::{Answered, FetchLimits, Fetched, Post};
pub use mail::{Login, Mail, MailError, Relay, is_address};
pub use policy::{HostPattern, Place, Target, UrlPolicy, UrlRule, is_public_name};
