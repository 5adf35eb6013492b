//! What a detector sees of one request: numbers and keyed hashes, never a value.

use std::net::IpAddr;

use portcullis_core::time::Now;

/// One request, or one sign-in. Zero stands for "not known" in every hash.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// When it ended; for a stream, each time it reports.
    pub at: Now,
    /// Request id, for the traces of an alert.
    pub id: u128,
    /// The client's address.
    pub address: IpAddr,
    /// Who called, or for a failed authentication who was claimed: keyed hash.
    pub user: u64,
    /// The API key or client: keyed hash of its id.
    pub key: u64,
    /// Operation, as the plan numbers it; or keyed hash.
    pub route: u32,
    /// Status of the answer.
    pub status: u16,
    /// What is known of the credential.
    pub authentication: Authentication,
    /// The object that was asked for.
    pub object: Option<ObjectSeen>,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
    /// ISO 3166 country of the address; zeros where unknown or private.
    pub country: [u8; 2],
    /// Autonomous system of the address.
    pub network: u32,
    /// JA4 of the connection: hash.
    pub ja4: u64,
    /// A limit refused it.
    pub limited: bool,
    /// It came before the `Retry-After` of an earlier refusal had passed.
    pub early: bool,
}

/// What is known of the credential of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// No credential, or none that matters here.
    None,
    /// A credential that held.
    Succeeded,
    /// A credential, or a sign-in, that did not.
    Failed,
}

/// An object in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectSeen {
    /// Its type, as the plan numbers it.
    pub of: u16,
    /// Keyed hash of type and id.
    pub hash: u64,
    /// The id, where it is a number: for steps through ids.
    pub number: Option<i64>,
}

impl Event {
    /// Who is watched: the key, else the user.
    #[must_use]
    pub const fn principal(&self) -> u64 {
        if self.key == 0 { self.user } else { self.key }
    }
}

/// A minute, an hour, a day, a week: in microseconds.
pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;
