//! API keys, their owners and their use (callers.md §§ 8, 18).

use crate::StoreError;
use crate::adapter::Durable;
use crate::ledger::By;
use crate::seal::Sealer;
use crate::worker::Worker;
use portcullis_core::opaque::{Env, Id16};
use portcullis_core::secret::Secret;
use portcullis_jose::api_key::{Conflict, Dates, Rotation};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// A row of `api_key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// Public id.
    pub id: Id16,
    /// `live` or `test`.
    pub env: Env,
    /// What proves possession.
    pub material: Material,
    /// For people.
    pub name: String,
    /// Id of the owner.
    pub owner: String,
    /// Tenant.
    pub tenant: Option<String>,
    /// Scopes (RFC 6749 § 3.3: no spaces).
    pub scopes: Vec<String>,
    /// Claims of the caller, as JSON text of an object.
    pub attributes: String,
    /// APIs, or single operations as `api:operation`.
    pub apis: Vec<String>,
    /// Networks in CIDR form; empty for everywhere.
    pub ip_allow: Vec<String>,
    /// Its moments; the state is computed from them.
    pub dates: Dates,
    /// The key that this one follows.
    pub predecessor: Option<Id16>,
    /// The key that follows this one.
    pub successor: Option<Id16>,
    /// Deprecated when the successor is first accepted.
    pub on_first_use: bool,
    /// First accepted, unix seconds.
    pub first_used: Option<i64>,
    /// Last accepted, unix seconds; about a minute late.
    pub last_used: Option<i64>,
    /// Why it was revoked.
    pub revoked_reason: Option<String>,
    /// Seen where it should not be, unix seconds.
    pub exposed_at: Option<i64>,
}

/// What proves possession of a key, and what is kept of it.
#[derive(Clone, PartialEq, Eq)]
pub enum Material {
    /// Sent itself; kept as a MAC under a pepper.
    Bearer {
        /// HMAC-SHA256.
        mac: [u8; 32],
        /// Which pepper.
        pepper_version: u32,
    },
    /// Signs; kept sealed, because it must be readable.
    Hmac {
        /// Sealed by [`Keys::seal_secret`].
        sealed: Vec<u8>,
    },
    /// The third party keeps the private key.
    Jwk {
        /// Public key.
        jwk: String,
        /// JOSE algorithm.
        alg: String,
    },
    /// Erased, 30 days after the end.
    Purged {
        /// `bearer`, `hmac` or `jwk`.
        kind: &'static str,
    },
}

impl Material {
    /// `bearer`, `hmac` or `jwk`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Bearer { .. } => "bearer",
            Self::Hmac { .. } => "hmac",
            Self::Jwk { .. } => "jwk",
            Self::Purged { kind } => kind,
        }
    }
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

/// What is new about a successor; the rest it has from its predecessor.
#[derive(Clone, Debug)]
pub struct Successor {
    /// Its public id.
    pub id: Id16,
    /// Its secret, of the predecessor's kind.
    pub material: Material,
    /// Its dates.
    pub dates: Dates,
}

/// Why a key was not rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotateError {
    /// 409.
    Conflict(Conflict),
    /// The store.
    Store(StoreError),
    /// The successor is of another kind.
    OtherKind,
}

impl From<StoreError> for RotateError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl fmt::Display for RotateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict(conflict) => f.write_str(conflict.text()),
            Self::Store(error) => error.fmt(f),
            Self::OtherKind => f.write_str("the successor is of another kind than its predecessor"),
        }
    }
}

impl std::error::Error for RotateError {}

/// Which keys to list; empty is all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of an owner, by id or name.
    pub owner: Option<String>,
    /// Of a tenant.
    pub tenant: Option<String>,
    /// After this one, in the order of their creation.
    pub after: Option<Id16>,
    /// At most so many.
    pub most: Option<u32>,
}

/// An owner of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// `own_…`.
    pub id: String,
    /// For people; unique within a tenant.
    pub name: String,
    /// Tenant.
    pub tenant: Option<String>,
    /// Contact, sealed; [`Keys::contact`] opens it.
    pub email_sealed: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
pub(crate) struct NewOwner {
    pub(crate) owner: Owner,
}

/// Use of a key, for the digest of deprecated keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// Which key.
    pub key: Id16,
    /// Days since the Unix epoch.
    pub day: i64,
    /// Source address; `other` beyond 32 rows.
    pub source: String,
    /// Hash of the user agent; `other` beyond 32 rows.
    pub user_agent_hash: String,
    /// How often.
    pub count: u64,
}

/// Sources kept of one key and day.
pub const MAX_USES: u32 = 32;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Touch {
    pub(crate) id: Id16,
    pub(crate) at: i64,
}

/// API keys and their owners.
pub struct Keys<'a> {
    pub(crate) durable: &'a Worker<dyn Durable>,
    pub(crate) touches: &'a Touches,
    pub(crate) sealer: &'a dyn Sealer,
}

const SECRET: &str = "portcullis.callers.secret_sealed";
const EMAIL: &str = "portcullis.callers.email_sealed";

impl Keys<'_> {
    /// The row of a key.
    pub async fn by_id(&self, id: Id16) -> Result<Option<KeyRow>, StoreError> {
        self.durable.ask(move |d| d.key(&id)).await
    }

    /// Adds a key. [`StoreError::Exists`] when the id is taken, [`StoreError::Missing`] without its owner.
    /// In the same transaction, here and below: the entry of the feed, and that of the ledger.
    pub async fn insert(&self, row: KeyRow, by: By) -> Result<(), StoreError> {
        self.durable.ask(move |d| d.insert_key(&row, &by)).await
    }

    /// Keys in the order of their creation.
    pub async fn list(&self, filter: Filter) -> Result<Vec<KeyRow>, StoreError> {
        self.durable.ask(move |d| d.list_keys(&filter)).await
    }

    /// Ends a key at once and for good; its owner gets a notice. Again: nothing.
    pub async fn revoke(&self, id: Id16, now: i64, reason: String, by: By) -> Result<(), StoreError> {
        self.durable.ask(move |d| d.revoke_key(&id, now, &reason, &by)).await
    }

    /// Stops a key at once. Again: nothing.
    pub async fn suspend(
        &self,
        id: Id16,
        now: i64,
        reason: Option<String>,
        by: By,
    ) -> Result<(), StoreError> {
        self.durable.ask(move |d| d.suspend_key(&id, now, reason.as_deref(), &by)).await
    }

    /// Lifts a suspension, if there is one.
    pub async fn resume(&self, id: Id16, now: i64, reason: Option<String>, by: By) -> Result<(), StoreError> {
        self.durable.ask(move |d| d.resume_key(&id, now, reason.as_deref(), &by)).await
    }

    /// The key was seen where it should not be. It keeps working; its owner gets one notice.
    pub async fn exposed(&self, id: Id16, now: i64) -> Result<(), StoreError> {
        self.durable.ask(move |d| d.expose_key(&id, now)).await
    }

    /// Rotates: the successor is added and the predecessor deprecated (or revoked, if compromised) in one transaction.
    /// Returns the successor's row.
    pub async fn rotate(
        &self,
        id: Id16,
        now: i64,
        rotation: Rotation,
        successor: Successor,
        by: By,
    ) -> Result<KeyRow, RotateError> {
        self.durable.ask(move |d| d.rotate_key(&id, now, &rotation, &successor, &by)).await
    }

    /// The key was accepted. Never waits: the first use is written within about a second, later ones once a minute.
    pub fn touch(&self, id: Id16, now: i64) {
        self.touches.note(id, now);
    }

    /// Writes what [`Keys::touch`] noted, now.
    pub async fn flush_touches(&self) -> Result<(), StoreError> {
        let touches = self.touches.take(true);
        self.durable.ask(move |d| d.touch_keys(&touches)).await
    }

    /// Adds to the use of keys; at most [`MAX_USES`] sources a key and day, then `other`. Never waits.
    pub fn used(&self, uses: Vec<Use>) -> Result<(), StoreError> {
        self.durable.tell(move |d| {
            // A count that cannot be written is lost; nothing is decided by it.
            let _ = d.record_uses(&uses);
        })
    }

    /// The use of a key on a day, most first.
    pub async fn uses(&self, id: Id16, day: i64) -> Result<Vec<Use>, StoreError> {
        self.durable.ask(move |d| d.uses(&id, day)).await
    }

    /// Erases secrets of keys that ended 30 days ago. Returns how many.
    pub async fn purge(&self, now: i64) -> Result<u64, StoreError> {
        self.durable.ask(move |d| d.purge_keys(now)).await
    }

    /// The owner of this name within the tenant, made if there is none; `contact` is used only then.
    pub async fn owner_named(
        &self,
        name: String,
        tenant: Option<String>,
        contact: Option<&str>,
    ) -> Result<Owner, StoreError> {
        let id = owner_id()?;
        let email_sealed = contact.map(|c| self.sealer.seal(EMAIL, &id, c.as_bytes())).transpose()?;
        let new = NewOwner { owner: Owner { id, name, tenant, email_sealed } };
        self.durable.ask(move |d| d.owner_named(&new)).await
    }

    /// An owner.
    pub async fn owner(&self, id: String) -> Result<Option<Owner>, StoreError> {
        self.durable.ask(move |d| d.owner(&id)).await
    }

    /// An owner's contact.
    pub fn contact(&self, owner: &Owner) -> Result<Option<Secret<String>>, StoreError> {
        let Some(sealed) = &owner.email_sealed else { return Ok(None) };
        let plain = self.sealer.open(EMAIL, &owner.id, sealed)?;
        let text = String::from_utf8(plain.expose().clone()).map_err(|_| StoreError::Sealed)?;
        Ok(Some(Secret::new(text)))
    }

    /// Seals the secret of a key of kind `hmac`, for [`Material::Hmac`].
    pub fn seal_secret(&self, id: Id16, secret: &[u8; 32]) -> Result<Vec<u8>, StoreError> {
        self.sealer.seal(SECRET, id.as_str(), secret)
    }

    /// Opens the secret of a key of kind `hmac`.
    pub fn open_secret(&self, id: Id16, sealed: &[u8]) -> Result<Secret<[u8; 32]>, StoreError> {
        let plain = self.sealer.open(SECRET, id.as_str(), sealed)?;
        let value = plain.expose().as_slice().try_into().map_err(|_| StoreError::Sealed)?;
        Ok(Secret::new(value))
    }
}

/// Uses noted and not yet written. Bounded: beyond it, unwritten uses of further keys are not noted until some are.
#[derive(Default)]
pub(crate) struct Touches {
    noted: Mutex<HashMap<Id16, Noted>>,
}

#[derive(Clone, Copy)]
struct Noted {
    at: i64,
    written: Option<i64>,
}

const MAX_TOUCHES: usize = 65_536;
/// Seconds between two writes of one key's last use.
const WRITE_EVERY: i64 = 60;

impl Touches {
    fn note(&self, id: Id16, at: i64) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = noted.get_mut(&id) {
            known.at = known.at.max(at);
        } else if noted.len() < MAX_TOUCHES {
            noted.insert(id, Noted { at, written: None });
        }
    }

    /// What is to be written. Keys that have rested since their last write are dropped.
    fn take(&self, all: bool) -> Vec<Touch> {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = noted.values().map(|n| n.at).max().unwrap_or_default();
        noted.retain(|_, n| n.written != Some(n.at) || newest.saturating_sub(n.at) < 2 * WRITE_EVERY);
        let due =
            |n: &Noted| n.written.is_none_or(|w| n.at > w && (all || n.at.saturating_sub(w) >= WRITE_EVERY));
        let take = |(id, n): (&Id16, &mut Noted)| {
            n.written = Some(n.at);
            Touch { id: *id, at: n.at }
        };
        noted.iter_mut().filter(|(_, n)| due(n)).map(take).collect()
    }

    pub(crate) fn flush(&self, durable: &mut dyn Durable, all: bool) {
        let touches = self.take(all);
        if !touches.is_empty() {
            // A write that fails loses a time of last use, nothing else.
            let _ = durable.touch_keys(&touches);
        }
    }
}

/// `own_` and 26 characters of Crockford base32 (130 random bits).
fn owner_id() -> Result<String, StoreError> {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut random = [0_u8; 26];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| StoreError::Broken)?;
    let digits = random.iter().filter_map(|b| DIGITS.get(usize::from(b & 31)).map(|d| char::from(*d)));
    Ok("own_".chars().chain(digits).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_use_is_written_once_a_minute() {
        let touches = Touches::default();
        let id = Id16::from_random([1; 10]);
        let written = |all| touches.take(all).iter().map(|t| t.at).collect::<Vec<_>>();
        touches.note(id, 1_000);
        assert_eq!(written(false), [1_000], "the first use at once");
        for at in 1_001..1_060 {
            touches.note(id, at);
            assert!(written(false).is_empty(), "{at}");
        }
        touches.note(id, 1_060);
        touches.note(id, 1_059);
        assert_eq!(written(false), [1_060]);
        touches.note(id, 1_061);
        assert_eq!(written(true), [1_061], "at the end, everything");
        assert!(written(true).is_empty());
        touches.note(Id16::from_random([2; 10]), 1_200);
        touches.take(false);
        assert_eq!(touches.noted.lock().unwrap().len(), 1, "a key that rests is dropped");
    }
}
