//! What was revoked: a feed in the order of commits, that every node follows (callers.md § 7).

use crate::StoreError;
use crate::adapter::Durable;
use crate::ledger::{By, Deed};
use crate::worker::Worker;

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RevocationKind {
    /// One token, by `jti`.
    Jti,
    /// All tokens of a login or refresh family.
    Sid,
    /// All tokens of a subject issued at or before `not_before`.
    Subject,
    /// All tokens of a client issued at or before `not_before`.
    Client,
    /// All tokens signed by a key and issued at or before `not_before`.
    SigningKey,
    /// An API key's row has changed (revoked, suspended, resumed, rotated): a cached row is dropped and read again.
    ApiKey,
}

impl RevocationKind {
    /// The word in the table.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Jti => "jti",
            Self::Sid => "sid",
            Self::Subject => "sub",
            Self::Client => "client",
            Self::SigningKey => "signing_key",
            Self::ApiKey => "api_key",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Jti, Self::Sid, Self::Subject, Self::Client, Self::SigningKey, Self::ApiKey]
            .into_iter()
            .find(|k| k.text() == text)
    }
}

/// Something revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// What kind.
    pub kind: RevocationKind,
    /// Issuer; empty for API keys.
    pub issuer: String,
    /// Token id, session, subject, client, key.
    pub id: String,
    /// Tokens issued later live, unix seconds.
    pub not_before: Option<i64>,
    /// No token that it covers can live after this, unix seconds.
    pub until: i64,
}

impl Revocation {
    /// What the ledger is told.
    pub(crate) fn deed(&self, at: i64, reason: Option<&str>, by: &By) -> Deed {
        let mut detail = vec![("kind", self.kind.text().to_owned()), ("issuer", self.issuer.clone())];
        detail.extend(self.not_before.map(|until| ("issued_until", until.to_string())));
        Deed {
            at,
            event: "token.revoked",
            by: by.clone(),
            target: self.id.clone(),
            reason: reason.map(str::to_owned),
            detail,
        }
    }
}

/// A revocation with its place in the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Rises with every commit.
    pub seq: i64,
    /// What.
    pub what: Revocation,
}

/// The feed.
pub struct Revocations<'a> {
    pub(crate) durable: &'a Worker<dyn Durable>,
}

impl Revocations<'_> {
    /// Appends, in one transaction with the ledger's entries. Returns the last sequence number.
    pub async fn append(
        &self,
        entries: Vec<Revocation>,
        now: i64,
        reason: Option<String>,
        by: By,
    ) -> Result<i64, StoreError> {
        self.durable.ask(move |d| d.revoke(&entries, now, reason.as_deref(), &by)).await
    }

    /// What came after `seq`, oldest first, at most `most`.
    pub async fn since(&self, seq: i64, most: u32) -> Result<Vec<Entry>, StoreError> {
        self.durable.ask(move |d| d.revoked_since(seq, most)).await
    }

    /// Drops entries that cover nothing that can still live at `now`. Returns how many.
    pub async fn forget(&self, now: i64) -> Result<u64, StoreError> {
        self.durable.ask(move |d| d.forget_revocations(now)).await
    }
}
