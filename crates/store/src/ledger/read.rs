//! The ledger as it lies on the disk, read as one moment, with nothing changed and nothing believed.

use super::Checkpoint;
use super::verify::{End, Line, PublicKey, Report, Verifier};
use crate::OpenError;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, Transaction};
use std::path::Path;
use std::time::Duration;

/// A ledger opened for reading.
pub struct Transcript(Connection);

impl Transcript {
    /// Opens the store in a folder, which must be there.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let path = folder.join("portcullis.db");
        std::fs::metadata(&path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags)?;
        db.busy_timeout(Duration::from_secs(5))?;
        db.pragma_update(None, "trusted_schema", false)?;
        Ok(Self(db))
    }

    /// Compares every entry with the chain and with checkpoints: its own, and `shipped` ones from elsewhere.
    ///
    /// # Errors
    /// The database cannot be read: what that says of the ledger is for whoever asks.
    pub fn verify(&mut self, keys: &[PublicKey], shipped: &[Checkpoint]) -> Result<Report, OpenError> {
        let tx = self.0.transaction()?;
        let mut verifier = Verifier::new(end(&tx)?, keys, &checkpoints(&tx)?, shipped);
        each(&tx, 0, |line| verifier.line(&line))?;
        Ok(verifier.finish())
    }

    /// Hands every entry after `after` to `take`, oldest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn entries(&mut self, after: i64, take: impl FnMut(Line)) -> Result<(), OpenError> {
        let tx = self.0.transaction()?;
        each(&tx, after, take)
    }

    /// The ledger's own checkpoints, oldest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn checkpoints(&mut self) -> Result<Vec<Checkpoint>, OpenError> {
        let tx = self.0.transaction()?;
        checkpoints(&tx)
    }
}

fn each(tx: &Transaction<'_>, after: i64, mut take: impl FnMut(Line)) -> Result<(), OpenError> {
    let mut select = tx.prepare("SELECT seq, entry, hash FROM ledger WHERE seq > ?1 ORDER BY seq")?;
    let mut rows = select.query([after])?;
    while let Some(row) = rows.next()? {
        take(Line { seq: row.get(0)?, entry: text(row.get_ref(1)?), hash: bytes(row.get_ref(2)?) });
    }
    Ok(())
}

fn end(tx: &Transaction<'_>) -> Result<Option<End>, OpenError> {
    let read = |row: &Row<'_>| Ok(End { ledger: row.get(0)?, seq: row.get(1)?, hash: row.get(2)? });
    Ok(tx.query_row("SELECT id, seq, hash FROM ledger_head", [], read).optional()?)
}

pub(crate) const CHECKPOINT: &str =
    "(SELECT id FROM ledger_head), seq, hash, at, previous, key, signature FROM ledger_checkpoint";

fn checkpoints(tx: &Transaction<'_>) -> Result<Vec<Checkpoint>, OpenError> {
    let mut select = tx.prepare(&format!("SELECT {CHECKPOINT} ORDER BY seq"))?;
    let rows = select.query_map([], checkpoint)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(crate) fn checkpoint(row: &Row<'_>) -> rusqlite::Result<Checkpoint> {
    Ok(Checkpoint {
        ledger: row.get::<_, Option<[u8; 16]>>(0)?.unwrap_or_default(),
        seq: row.get(1)?,
        hash: row.get(2)?,
        at: row.get(3)?,
        previous: row.get(4)?,
        key: row.get(5)?,
        signature: row.get(6)?,
    })
}

fn text(value: ValueRef<'_>) -> Option<String> {
    value.as_str().ok().map(str::to_owned)
}

fn bytes(value: ValueRef<'_>) -> Option<[u8; 32]> {
    value.as_blob().ok()?.try_into().ok()
}
