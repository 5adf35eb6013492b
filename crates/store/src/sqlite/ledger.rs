//! The audit ledger's tables.

use super::durable::one;
use crate::StoreError;
use crate::adapter::Result;
use crate::ledger::{Checkpoint, Deed, Head, chain};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

/// Nothing here changes or removes an entry; the triggers keep a mistake of ours from doing so.
pub(super) const MIGRATION: &str = "
    CREATE TABLE ledger (seq INTEGER PRIMARY KEY, entry TEXT NOT NULL, hash BLOB NOT NULL) STRICT;
    CREATE TRIGGER ledger_never_changed BEFORE UPDATE ON ledger
        BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
    CREATE TRIGGER ledger_never_shortened BEFORE DELETE ON ledger
        BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
    CREATE TABLE ledger_head (
        one INTEGER PRIMARY KEY CHECK (one = 1), id BLOB NOT NULL, seq INTEGER NOT NULL, hash BLOB NOT NULL
    ) STRICT;
    CREATE TABLE ledger_checkpoint (
        seq INTEGER PRIMARY KEY, hash BLOB NOT NULL, at INTEGER NOT NULL, previous INTEGER NOT NULL, key TEXT NOT NULL,
        signature BLOB NOT NULL, shipped_at INTEGER
    ) STRICT;
    CREATE INDEX ledger_checkpoint_unshipped ON ledger_checkpoint (seq) WHERE shipped_at IS NULL;
";

/// Appends within the transaction of what it tells of.
pub(super) fn record(tx: &Transaction<'_>, deed: &Deed) -> Result<i64> {
    let (id, seq, hash) = match end(tx)? {
        Some(end) => end,
        None => {
            let mut id = [0; 16];
            aws_lc_rs::rand::fill(&mut id).map_err(|_| StoreError::Broken)?;
            (id, 0, chain::genesis(&id))
        }
    };
    let seq = seq.checked_add(1).ok_or(StoreError::Broken)?;
    let entry = deed.entry(seq);
    let hash = chain::next(&hash, &entry);
    let sql = "INSERT INTO ledger (seq, entry, hash) VALUES (?1, ?2, ?3)";
    tx.prepare_cached(sql)?.execute(params![seq, entry, hash])?;
    let sql = "INSERT INTO ledger_head (one, id, seq, hash) VALUES (1, ?1, ?2, ?3)
               ON CONFLICT (one) DO UPDATE SET seq = excluded.seq, hash = excluded.hash";
    tx.prepare_cached(sql)?.execute(params![id, seq, hash])?;
    Ok(seq)
}

pub(super) fn head(db: &Connection) -> Result<Option<Head>> {
    let Some((ledger, seq, hash)) = end(db)? else { return Ok(None) };
    Ok(Some(Head { ledger, seq, hash, signed: signed(db)? }))
}

/// One conditional insert: it follows the last one, and says of its entry what is there.
pub(super) fn add_checkpoint(tx: &Transaction<'_>, new: &Checkpoint) -> Result<bool> {
    let sql = "SELECT hash FROM ledger WHERE seq = ?1";
    let hash: Option<[u8; 32]> = tx.query_row(sql, [new.seq], |row| row.get(0)).optional()?;
    let last = signed(tx)?;
    if hash != Some(new.hash) || new.previous != last || new.seq <= last {
        return Ok(false);
    }
    let sql = "INSERT INTO ledger_checkpoint (seq, hash, at, previous, key, signature) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    tx.execute(sql, params![new.seq, new.hash, new.at, new.previous, new.key, new.signature])?;
    Ok(true)
}

pub(super) fn unshipped(db: &Connection, most: u32) -> Result<Vec<Checkpoint>> {
    let columns = crate::ledger::CHECKPOINT;
    let sql = format!("SELECT {columns} WHERE shipped_at IS NULL ORDER BY seq LIMIT ?1");
    let mut select = db.prepare_cached(&sql)?;
    let rows = select.query_map([most], crate::ledger::checkpoint)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn shipped(db: &Connection, seq: i64, now: i64) -> Result<()> {
    one(db.execute("UPDATE ledger_checkpoint SET shipped_at = ?2 WHERE seq = ?1", params![seq, now])?)
}

/// Ledger, last entry, its hash.
type End = ([u8; 16], i64, chain::Hash);

fn end(db: &Connection) -> Result<Option<End>> {
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    Ok(db.query_row("SELECT id, seq, hash FROM ledger_head", [], read).optional()?)
}

fn signed(db: &Connection) -> Result<i64> {
    Ok(db.query_row("SELECT ifnull(max(seq), 0) FROM ledger_checkpoint", [], |row| row.get(0))?)
}
