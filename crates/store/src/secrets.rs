//! Secrets of the system: peppers (`api_key`, `client_secret`, …) and keys of short-lived values. Sealed in the table,
//! versioned, born once.

use crate::StoreError;
use crate::adapter::Durable;
use crate::seal::Sealer;
use crate::worker::Worker;
use portcullis_core::secret::Secret;

/// One version of a system secret.
#[derive(Debug)]
pub struct SystemSecret {
    /// From 1; a new version serves what is new.
    pub version: u32,
    /// 32 bytes.
    pub value: Secret<[u8; 32]>,
}

/// A row of `system_secret`.
#[derive(Clone, Debug)]
pub(crate) struct SealedSecret {
    pub(crate) version: u32,
    pub(crate) sealed: Vec<u8>,
    pub(crate) created: i64,
}

/// Secrets of the system.
pub struct Secrets<'a> {
    pub(crate) durable: &'a Worker<dyn Durable>,
    pub(crate) sealer: &'a dyn Sealer,
}

const LABEL: &str = "portcullis.callers.system_secret";

impl Secrets<'_> {
    /// The newest version, made if there is none: one transaction, one winner.
    pub async fn newest(&self, name: &'static str, now: i64) -> Result<SystemSecret, StoreError> {
        let fresh = self.fresh(name, now)?;
        let row = self.durable.ask(move |d| d.secret_or(name, &fresh)).await?;
        self.open(name, &row)
    }

    /// One more version.
    pub async fn renew(&self, name: &'static str, now: i64) -> Result<SystemSecret, StoreError> {
        let fresh = self.fresh(name, now)?;
        let row = self.durable.ask(move |d| d.add_secret(name, &fresh)).await?;
        self.open(name, &row)
    }

    /// Every version, oldest first.
    pub async fn all(&self, name: &'static str) -> Result<Vec<SystemSecret>, StoreError> {
        let rows = self.durable.ask(move |d| d.secrets(name)).await?;
        rows.iter().map(|row| self.open(name, row)).collect()
    }

    fn fresh(&self, name: &str, now: i64) -> Result<SealedSecret, StoreError> {
        let mut value = [0; 32];
        aws_lc_rs::rand::fill(&mut value).map_err(|_| StoreError::Broken)?;
        Ok(SealedSecret { version: 0, sealed: self.sealer.seal(LABEL, name, &value)?, created: now })
    }

    fn open(&self, name: &str, row: &SealedSecret) -> Result<SystemSecret, StoreError> {
        let plain = self.sealer.open(LABEL, name, &row.sealed)?;
        let value = plain.expose().as_slice().try_into().map_err(|_| StoreError::Sealed)?;
        Ok(SystemSecret { version: row.version, value: Secret::new(value) })
    }
}
