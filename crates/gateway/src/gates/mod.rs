//! The gates, one file each, in the order of `admit.rs`.

pub mod administration;
pub mod authorize;
pub mod canonical;
pub mod cors;
pub mod flood;
pub mod forward;
mod graphql;
pub mod headers;
pub mod identify;
pub mod intake;
mod metadata;
pub mod quota;
pub mod release;
pub mod release_headers;
pub mod route;
