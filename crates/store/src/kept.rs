//! Documents of the system by name, sealed: ACME accounts, certificates with their keys, backup keys. And leases: of
//! several nodes on one store, one does what must be done once.

use crate::StoreError;
use crate::adapter::Durable;
use crate::seal::Sealer;
use crate::worker::Worker;
use portcullis_core::secret::Secret;

/// The most bytes of one document.
pub const MAX_DOCUMENT: usize = 256 << 10;

/// A document.
#[derive(Debug)]
pub struct Document {
    /// From 1; each [`Kept::put`] adds one.
    pub version: i64,
    /// What was put.
    pub value: Secret<Vec<u8>>,
    /// When, Unix seconds.
    pub written: i64,
}

/// A row of `kept`.
#[derive(Clone, Debug)]
pub(crate) struct SealedDocument {
    pub(crate) version: i64,
    pub(crate) sealed: Vec<u8>,
    pub(crate) written: i64,
}

/// Documents and leases.
pub struct Kept<'a> {
    pub(crate) durable: &'a Worker<dyn Durable>,
    pub(crate) sealer: &'a dyn Sealer,
}

const LABEL: &str = "portcullis.kept";

impl Kept<'_> {
    /// A document, if there is one.
    pub async fn get(&self, name: &str) -> Result<Option<Document>, StoreError> {
        let key = name.to_owned();
        let row = self.durable.ask(move |d| d.kept(&key)).await?;
        row.map(|row| self.open(name, &row)).transpose()
    }

    /// Writes a document; what was there is gone.
    ///
    /// # Errors
    /// [`StoreError::Broken`] for more than [`MAX_DOCUMENT`] bytes.
    pub async fn put(&self, name: &str, value: &[u8], now: i64) -> Result<i64, StoreError> {
        self.keep(name, value, now, false).await.map(|kept| kept.version)
    }

    /// Writes a document unless there is one. What is there then; of several writers one wins.
    pub async fn first(&self, name: &str, value: &[u8], now: i64) -> Result<Document, StoreError> {
        self.keep(name, value, now, true).await
    }

    /// Forgets a document. False when there was none.
    pub async fn remove(&self, name: &str) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.durable.ask(move |d| d.forget_kept(&name)).await
    }

    /// Takes, or prolongs, a lease for `secs` from `now`. False while another holder has it.
    pub async fn lease(&self, name: &str, holder: &str, now: i64, secs: i64) -> Result<bool, StoreError> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.durable.ask(move |d| d.lease(&name, &holder, now, now.saturating_add(secs))).await
    }

    /// Gives a lease back.
    pub async fn end_lease(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.durable.ask(move |d| d.end_lease(&name, &holder)).await
    }

    async fn keep(
        &self,
        name: &str,
        value: &[u8],
        written: i64,
        only_first: bool,
    ) -> Result<Document, StoreError> {
        if value.len() > MAX_DOCUMENT {
            return Err(StoreError::Broken);
        }
        let sealed = self.sealer.seal(LABEL, name, value)?;
        let fresh = SealedDocument { version: 0, sealed, written };
        let key = name.to_owned();
        let row = self.durable.ask(move |d| d.keep(&key, &fresh, only_first)).await?;
        self.open(name, &row)
    }

    fn open(&self, name: &str, row: &SealedDocument) -> Result<Document, StoreError> {
        let value = self.sealer.open(LABEL, name, &row.sealed)?;
        Ok(Document { version: row.version, value, written: row.written })
    }
}
