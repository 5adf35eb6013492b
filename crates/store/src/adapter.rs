//! What a store must be able to do. Synchronous: adapters run on the store's threads.

use crate::StoreError;
use crate::kept::SealedDocument;
use crate::keys::{Filter, KeyRow, NewOwner, Owner, RotateError, Successor, Touch, Use};
use crate::ledger::{By, Checkpoint, Deed, Head};
use crate::notices::{Claimed, Notice};
use crate::replay::Put;
use crate::revocation::{Entry, Revocation};
use crate::secrets::SealedSecret;
use portcullis_core::opaque::Id16;
use portcullis_jose::api_key::Rotation;

pub(crate) type Result<T> = std::result::Result<T, StoreError>;

/// Rows that are never lost.
pub(crate) trait Durable: Send {
    fn key(&mut self, id: &Id16) -> Result<Option<KeyRow>>;
    /// With the revocation entry and the ledger's, in one transaction; so are all that follow.
    fn insert_key(&mut self, row: &KeyRow, by: &By) -> Result<()>;
    fn list_keys(&mut self, filter: &Filter) -> Result<Vec<KeyRow>>;
    fn revoke_key(&mut self, id: &Id16, now: i64, reason: &str, by: &By) -> Result<()>;
    fn suspend_key(&mut self, id: &Id16, now: i64, reason: Option<&str>, by: &By) -> Result<()>;
    fn resume_key(&mut self, id: &Id16, now: i64, reason: Option<&str>, by: &By) -> Result<()>;
    fn expose_key(&mut self, id: &Id16, now: i64) -> Result<()>;
    fn rotate_key(
        &mut self,
        id: &Id16,
        now: i64,
        rotation: &Rotation,
        successor: &Successor,
        by: &By,
    ) -> std::result::Result<KeyRow, RotateError>;
    fn touch_keys(&mut self, touches: &[Touch]) -> Result<()>;
    fn record_uses(&mut self, uses: &[Use]) -> Result<()>;
    fn uses(&mut self, key: &Id16, day: i64) -> Result<Vec<Use>>;
    /// Erases what is secret in keys that ended 30 days before `now`. Returns how many.
    fn purge_keys(&mut self, now: i64) -> Result<u64>;
    fn owner_named(&mut self, new: &NewOwner) -> Result<Owner>;
    fn owner(&mut self, id: &str) -> Result<Option<Owner>>;

    fn add_notice(&mut self, notice: &Notice) -> Result<bool>;
    fn claim_notices(&mut self, now: i64, lease: i64, most: u32) -> Result<Vec<Claimed>>;
    fn notice_sent(&mut self, id: i64, now: i64) -> Result<()>;
    fn notice_later(&mut self, id: i64, due: i64) -> Result<()>;
    fn notice_dead(&mut self, id: i64, now: i64) -> Result<()>;

    fn revoke(&mut self, entries: &[Revocation], now: i64, reason: Option<&str>, by: &By) -> Result<i64>;
    fn revoked_since(&mut self, seq: i64, most: u32) -> Result<Vec<Entry>>;
    fn forget_revocations(&mut self, now: i64) -> Result<u64>;

    /// The newest version of a secret; `fresh` becomes version 1 if there is none. One winner.
    fn secret_or(&mut self, name: &str, fresh: &SealedSecret) -> Result<SealedSecret>;
    fn add_secret(&mut self, name: &str, fresh: &SealedSecret) -> Result<SealedSecret>;
    fn secrets(&mut self, name: &str) -> Result<Vec<SealedSecret>>;

    /// The newest version of a kept document.
    fn kept(&mut self, name: &str) -> Result<Option<SealedDocument>>;
    /// One more version in the place of the last; with `only_first`, the one that is there wins.
    fn keep(&mut self, name: &str, fresh: &SealedDocument, only_first: bool) -> Result<SealedDocument>;
    fn forget_kept(&mut self, name: &str) -> Result<bool>;
    /// Takes, or prolongs, a lease. False while another holder has it.
    fn lease(&mut self, name: &str, holder: &str, now: i64, until: i64) -> Result<bool>;
    fn end_lease(&mut self, name: &str, holder: &str) -> Result<()>;

    /// Appends to the audit ledger. Returns the entry's number.
    fn record(&mut self, deed: &Deed) -> Result<i64>;
    fn ledger_head(&mut self) -> Result<Option<Head>>;
    /// False when it does not follow the last one, or its entry is not as it says.
    fn add_checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<bool>;
    fn unshipped(&mut self, most: u32) -> Result<Vec<Checkpoint>>;
    fn shipped(&mut self, seq: i64, now: i64) -> Result<()>;

    /// What the store takes for the time, in microseconds since the epoch: all nodes that share it compare theirs with it.
    fn clock(&mut self) -> Result<i64>;
    /// One conditional insert in the durable table. True when it was not there.
    fn put(&mut self, put: &Put) -> Result<bool>;
    fn marker(&mut self) -> Result<Option<Marker>>;
    fn set_marker(&mut self, marker: &Marker) -> Result<()>;
}

/// Hot single-use values.
pub(crate) trait Hot: Send {
    /// Conditional inserts, committed together. True for each that was not there; an error for all of them.
    fn put_all(&mut self, puts: &[Put]) -> Result<Vec<bool>>;
    /// Drops what has expired, up to a bound. Returns how many rows are left.
    fn forget(&mut self, now: i64) -> Result<u64>;
    fn marker(&mut self) -> Result<Option<Marker>>;
    fn set_marker(&mut self, marker: &Marker) -> Result<()>;
}

/// Tells whether a replay store is still the one that the durable store knows (callers.md § 11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) nonce: [u8; 16],
    /// When this marker was made.
    pub(crate) made: i64,
    /// When the memory before it was lost; nothing for the first of an installation.
    pub(crate) lost: Option<i64>,
}
