//! Hot single-use values in a file of their own: WAL, `synchronous=NORMAL`. What was answered survives the end of the
//! process, however it comes.

use super::prepare;
use crate::adapter::{Hot, Marker, Result};
use crate::replay::Put;
use crate::{OpenError, StoreError};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use std::path::Path;
use std::time::Duration;

/// Rows deleted in one sweep: a sweep must not hold up those who wait.
const SWEEP: u32 = 20_000;

const MIGRATIONS: &[&str] = &["
    CREATE TABLE replay (
        kind TEXT NOT NULL, key BLOB NOT NULL, expires INTEGER NOT NULL, PRIMARY KEY (kind, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX replay_expires ON replay (expires);
    CREATE TABLE marker (one INTEGER PRIMARY KEY CHECK (one = 1), nonce BLOB NOT NULL, made INTEGER NOT NULL, lost INTEGER) STRICT;
"];

pub(crate) struct SqliteReplay {
    db: Connection,
    capacity: u64,
    rows: u64,
}

impl SqliteReplay {
    pub(crate) fn open(path: &Path, capacity: u64) -> std::result::Result<Self, OpenError> {
        let mut db = Connection::open(path)?;
        prepare(&mut db, "NORMAL", Duration::from_millis(40), MIGRATIONS)?;
        let rows: i64 = db.query_row("SELECT count(*) FROM replay", [], |row| row.get(0))?;
        Ok(Self { db, capacity, rows: u64::try_from(rows).unwrap_or(0) })
    }
}

impl Hot for SqliteReplay {
    fn put_all(&mut self, puts: &[Put]) -> Result<Vec<bool>> {
        let now = puts.iter().map(|p| p.now).max().unwrap_or_default();
        let more = puts.len() as u64;
        if self.rows + more > self.capacity && self.forget(now)? + more > self.capacity {
            return Err(StoreError::Unavailable);
        }
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut fresh = Vec::with_capacity(puts.len());
        {
            let mut insert = tx.prepare_cached(PUT)?;
            for put in puts {
                let row = params![put.kind.text(), put.key.bytes(), put.expires, put.now];
                fresh.push(insert.execute(row)? == 1);
            }
        }
        tx.commit()?;
        self.rows += fresh.iter().filter(|f| **f).count() as u64;
        Ok(fresh)
    }

    fn forget(&mut self, now: i64) -> Result<u64> {
        let sql = "DELETE FROM replay WHERE (kind, key) IN \
                   (SELECT kind, key FROM replay WHERE expires < ?1 ORDER BY expires LIMIT ?2)";
        let gone = self.db.prepare_cached(sql)?.execute(params![now, SWEEP])?;
        self.rows = self.rows.saturating_sub(gone as u64);
        Ok(self.rows)
    }

    fn marker(&mut self) -> Result<Option<Marker>> {
        marker(&self.db)
    }

    fn set_marker(&mut self, marker: &Marker) -> Result<()> {
        set_marker(&self.db, marker)
    }
}

/// One conditional insert: a row that has expired counts as absent. One row changed means fresh.
pub(super) const PUT: &str = "INSERT INTO replay (kind, key, expires) VALUES (?1, ?2, ?3) \
     ON CONFLICT (kind, key) DO UPDATE SET expires = excluded.expires WHERE replay.expires < ?4";

pub(super) fn marker(db: &Connection) -> Result<Option<Marker>> {
    let row = db
        .query_row("SELECT nonce, made, lost FROM marker", [], |row| {
            Ok(Marker { nonce: row.get(0)?, made: row.get(1)?, lost: row.get(2)? })
        })
        .optional()?;
    Ok(row)
}

pub(super) fn set_marker(db: &Connection, marker: &Marker) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO marker (one, nonce, made, lost) VALUES (1, ?1, ?2, ?3)";
    db.execute(sql, params![marker.nonce, marker.made, marker.lost])?;
    Ok(())
}
