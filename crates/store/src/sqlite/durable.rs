//! Rows that are never lost: WAL, `synchronous=FULL`.

use super::{keys, ledger, prepare, replay};
use crate::adapter::{Durable, Marker, Result};
use crate::kept::SealedDocument;
use crate::keys::{Filter, KeyRow, NewOwner, Owner, RotateError, Successor, Touch, Use};
use crate::ledger::{By, Checkpoint, Deed, Head};
use crate::notices::{Claimed, Notice};
use crate::replay::Put;
use crate::revocation::{Entry, Revocation, RevocationKind};
use crate::secrets::SealedSecret;
use crate::{OpenError, StoreError};
use portcullis_core::opaque::Id16;
use portcullis_jose::api_key::Rotation;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior, params};
use std::path::Path;
use std::time::Duration;

const MIGRATIONS: &[&str] = &["
    CREATE TABLE api_key_owner (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, tenant TEXT, email_sealed BLOB
    ) STRICT;
    CREATE UNIQUE INDEX api_key_owner_name ON api_key_owner (name, ifnull(tenant, ''));
    CREATE TABLE api_key (
        id TEXT PRIMARY KEY, env TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
        owner TEXT NOT NULL REFERENCES api_key_owner (id), tenant TEXT,
        mac BLOB, pepper_version INTEGER, secret_sealed BLOB, jwk TEXT, alg TEXT,
        scopes TEXT NOT NULL, attributes TEXT NOT NULL, apis TEXT NOT NULL, ip_allow TEXT NOT NULL,
        created INTEGER NOT NULL, activate_at INTEGER NOT NULL, rotate_at INTEGER NOT NULL, expires_at INTEGER,
        grace_s INTEGER NOT NULL, predecessor TEXT, successor TEXT, on_first_use INTEGER NOT NULL,
        deprecated_at INTEGER, first_used INTEGER, last_used INTEGER,
        revoked_at INTEGER, revoked_reason TEXT, suspended_at INTEGER, exposed_at INTEGER
    ) STRICT;
    CREATE INDEX api_key_owner_of ON api_key (owner);
    CREATE INDEX api_key_tenant ON api_key (tenant);
    CREATE TABLE api_key_use (
        key TEXT NOT NULL REFERENCES api_key (id), day INTEGER NOT NULL, source TEXT NOT NULL,
        user_agent_hash TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (key, day, source, user_agent_hash)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE notice_outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT, subject TEXT NOT NULL, type TEXT NOT NULL, bucket TEXT NOT NULL,
        due INTEGER NOT NULL, payload TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, leased_until INTEGER,
        sent_at INTEGER, dead_at INTEGER, UNIQUE (subject, type, bucket)
    ) STRICT;
    CREATE INDEX notice_outbox_due ON notice_outbox (due) WHERE sent_at IS NULL AND dead_at IS NULL;
    CREATE TABLE replay (
        kind TEXT NOT NULL, key BLOB NOT NULL, expires INTEGER NOT NULL, PRIMARY KEY (kind, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX replay_expires ON replay (expires);
    CREATE TABLE marker (one INTEGER PRIMARY KEY CHECK (one = 1), nonce BLOB NOT NULL, made INTEGER NOT NULL, lost INTEGER) STRICT;
    CREATE TABLE revocation (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, issuer TEXT NOT NULL, id TEXT NOT NULL,
        not_before INTEGER, until INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX revocation_until ON revocation (until);
    CREATE TABLE system_secret (
        name TEXT NOT NULL, version INTEGER NOT NULL, sealed BLOB NOT NULL, created INTEGER NOT NULL,
        PRIMARY KEY (name, version)
    ) STRICT, WITHOUT ROWID;
", "
    CREATE TABLE kept (
        name TEXT PRIMARY KEY, version INTEGER NOT NULL, sealed BLOB NOT NULL, written INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE lease (
        name TEXT PRIMARY KEY, holder TEXT NOT NULL, until INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
", ledger::MIGRATION];

pub(crate) struct SqliteDurable {
    db: Connection,
}

impl SqliteDurable {
    pub(crate) fn open(path: &Path) -> std::result::Result<Self, OpenError> {
        Self::from(Connection::open(path)?)
    }

    pub(crate) fn memory() -> std::result::Result<Self, OpenError> {
        Self::from(Connection::open_in_memory()?)
    }

    fn from(mut db: Connection) -> std::result::Result<Self, OpenError> {
        prepare(&mut db, "FULL", Duration::from_secs(1), MIGRATIONS)?;
        Ok(Self { db })
    }

    /// Takes the write lock at once: a transaction that reads first and writes later cannot be told "busy" half-way.
    fn write(&mut self) -> Result<Transaction<'_>> {
        Ok(self.db.transaction_with_behavior(TransactionBehavior::Immediate)?)
    }

    fn within<T, E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let tx = self.write()?;
        let done = work(&tx)?;
        tx.commit().map_err(StoreError::from)?;
        Ok(done)
    }
}

impl Durable for SqliteDurable {
    fn key(&mut self, id: &Id16) -> Result<Option<KeyRow>> {
        keys::by_id(&self.db, id)
    }

    fn insert_key(&mut self, row: &KeyRow, by: &By) -> Result<()> {
        self.within(|tx| keys::create(tx, row, by))
    }

    fn list_keys(&mut self, filter: &Filter) -> Result<Vec<KeyRow>> {
        keys::list(&self.db, filter)
    }

    fn revoke_key(&mut self, id: &Id16, now: i64, reason: &str, by: &By) -> Result<()> {
        self.within(|tx| keys::revoke(tx, id, now, reason, by))
    }

    fn suspend_key(&mut self, id: &Id16, now: i64, reason: Option<&str>, by: &By) -> Result<()> {
        self.within(|tx| keys::suspend(tx, id, now, reason, by))
    }

    fn resume_key(&mut self, id: &Id16, now: i64, reason: Option<&str>, by: &By) -> Result<()> {
        self.within(|tx| keys::resume(tx, id, now, reason, by))
    }

    fn expose_key(&mut self, id: &Id16, now: i64) -> Result<()> {
        self.within(|tx| keys::expose(tx, id, now))
    }

    fn rotate_key(
        &mut self,
        id: &Id16,
        now: i64,
        rotation: &Rotation,
        successor: &Successor,
        by: &By,
    ) -> std::result::Result<KeyRow, RotateError> {
        self.within(|tx| keys::rotate(tx, id, now, (rotation, successor), by))
    }

    fn touch_keys(&mut self, touches: &[Touch]) -> Result<()> {
        self.within(|tx| keys::touch(tx, touches))
    }

    fn record_uses(&mut self, uses: &[Use]) -> Result<()> {
        self.within(|tx| keys::record_uses(tx, uses))
    }

    fn uses(&mut self, key: &Id16, day: i64) -> Result<Vec<Use>> {
        keys::uses(&self.db, key, day)
    }

    fn purge_keys(&mut self, now: i64) -> Result<u64> {
        self.within(|tx| keys::purge(tx, now))
    }

    fn owner_named(&mut self, new: &NewOwner) -> Result<Owner> {
        self.within(|tx| keys::owner_named(tx, &new.owner))
    }

    fn owner(&mut self, id: &str) -> Result<Option<Owner>> {
        keys::owner(&self.db, id)
    }

    fn add_notice(&mut self, notice: &Notice) -> Result<bool> {
        self.within(|tx| add_notice(tx, notice))
    }

    fn claim_notices(&mut self, now: i64, lease: i64, most: u32) -> Result<Vec<Claimed>> {
        self.within(|tx| {
            let sql = "UPDATE notice_outbox SET leased_until = ?1 + ?2, attempts = attempts + 1 WHERE id IN (
                     SELECT id FROM notice_outbox WHERE sent_at IS NULL AND dead_at IS NULL AND due <= ?1
                     AND ifnull(leased_until, ?1) <= ?1 ORDER BY due, id LIMIT ?3)
                 RETURNING id, attempts - 1, subject, type, bucket, due, payload";
            let mut claimed: Vec<Claimed> = tx
                .prepare_cached(sql)?
                .query_map(params![now, lease, most], claimed)?
                .collect::<rusqlite::Result<_>>()?;
            claimed.sort_by_key(|c| (c.notice.due, c.id));
            Ok(claimed)
        })
    }

    fn notice_sent(&mut self, id: i64, now: i64) -> Result<()> {
        one(self.db.execute(
            "UPDATE notice_outbox SET sent_at = ?2, leased_until = NULL WHERE id = ?1",
            params![id, now],
        )?)
    }

    fn notice_later(&mut self, id: i64, due: i64) -> Result<()> {
        one(self.db.execute(
            "UPDATE notice_outbox SET due = ?2, leased_until = NULL WHERE id = ?1",
            params![id, due],
        )?)
    }

    fn notice_dead(&mut self, id: i64, now: i64) -> Result<()> {
        one(self.db.execute(
            "UPDATE notice_outbox SET dead_at = ?2, leased_until = NULL WHERE id = ?1",
            params![id, now],
        )?)
    }

    fn revoke(&mut self, entries: &[Revocation], now: i64, reason: Option<&str>, by: &By) -> Result<i64> {
        self.within(|tx| {
            for entry in entries {
                append(tx, entry)?;
                ledger::record(tx, &entry.deed(now, reason, by))?;
            }
            Ok(tx.query_row("SELECT ifnull(max(seq), 0) FROM revocation", [], |row| row.get(0))?)
        })
    }

    fn revoked_since(&mut self, seq: i64, most: u32) -> Result<Vec<Entry>> {
        let sql = "SELECT seq, kind, issuer, id, not_before, until FROM revocation WHERE seq > ?1 ORDER BY seq LIMIT ?2";
        let mut select = self.db.prepare_cached(sql)?;
        let rows = select.query_map(params![seq, most], |row| {
            let kind: String = row.get(1)?;
            Ok((kind, row.get(0)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
        })?;
        rows.map(|row| {
            let (kind, seq, issuer, id, not_before, until) = row?;
            let kind = RevocationKind::parse(&kind).ok_or(StoreError::Broken)?;
            Ok(Entry { seq, what: Revocation { kind, issuer, id, not_before, until } })
        })
        .collect()
    }

    fn forget_revocations(&mut self, now: i64) -> Result<u64> {
        Ok(self.db.execute("DELETE FROM revocation WHERE until < ?1", [now])? as u64)
    }

    fn secret_or(&mut self, name: &str, fresh: &SealedSecret) -> Result<SealedSecret> {
        self.within(|tx| match newest(tx, name)? {
            Some(known) => Ok(known),
            None => add_secret(tx, name, 1, fresh),
        })
    }

    fn add_secret(&mut self, name: &str, fresh: &SealedSecret) -> Result<SealedSecret> {
        self.within(|tx| {
            let version = newest(tx, name)?.map_or(1, |known| known.version.saturating_add(1));
            add_secret(tx, name, version, fresh)
        })
    }

    fn secrets(&mut self, name: &str) -> Result<Vec<SealedSecret>> {
        let sql = "SELECT version, sealed, created FROM system_secret WHERE name = ?1 ORDER BY version";
        Ok(self.db.prepare_cached(sql)?.query_map([name], sealed)?.collect::<rusqlite::Result<_>>()?)
    }

    fn kept(&mut self, name: &str) -> Result<Option<SealedDocument>> {
        let sql = "SELECT version, sealed, written FROM kept WHERE name = ?1";
        Ok(self.db.query_row(sql, [name], document).optional()?)
    }

    fn keep(&mut self, name: &str, fresh: &SealedDocument, only_first: bool) -> Result<SealedDocument> {
        let change = if only_first {
            // A change that changes nothing, so that what is there is returned.
            "UPDATE SET version = version"
        } else {
            "UPDATE SET version = version + 1, sealed = excluded.sealed, written = excluded.written"
        };
        let sql = format!(
            "INSERT INTO kept (name, version, sealed, written) VALUES (?1, 1, ?2, ?3)
             ON CONFLICT (name) DO {change} RETURNING version, sealed, written"
        );
        self.within(|tx| Ok(tx.query_row(&sql, params![name, fresh.sealed, fresh.written], document)?))
    }

    fn forget_kept(&mut self, name: &str) -> Result<bool> {
        Ok(self.db.execute("DELETE FROM kept WHERE name = ?1", [name])? == 1)
    }

    fn lease(&mut self, name: &str, holder: &str, now: i64, until: i64) -> Result<bool> {
        let sql = "INSERT INTO lease (name, holder, until) VALUES (?1, ?2, ?4) ON CONFLICT (name) DO UPDATE
                   SET holder = excluded.holder, until = excluded.until
                   WHERE lease.holder = excluded.holder OR lease.until <= ?3";
        self.within(|tx| Ok(tx.execute(sql, params![name, holder, now, until])? == 1))
    }

    fn end_lease(&mut self, name: &str, holder: &str) -> Result<()> {
        self.db.execute("DELETE FROM lease WHERE name = ?1 AND holder = ?2", [name, holder])?;
        Ok(())
    }

    fn record(&mut self, deed: &Deed) -> Result<i64> {
        self.within(|tx| ledger::record(tx, deed))
    }

    fn ledger_head(&mut self) -> Result<Option<Head>> {
        ledger::head(&self.db)
    }

    fn add_checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<bool> {
        self.within(|tx| ledger::add_checkpoint(tx, checkpoint))
    }

    fn unshipped(&mut self, most: u32) -> Result<Vec<Checkpoint>> {
        ledger::unshipped(&self.db, most)
    }

    fn shipped(&mut self, seq: i64, now: i64) -> Result<()> {
        ledger::shipped(&self.db, seq, now)
    }

    fn clock(&mut self) -> Result<i64> {
        let sql = "SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)";
        Ok(self.db.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    fn put(&mut self, put: &Put) -> Result<bool> {
        let row = params![put.kind.text(), put.key.bytes(), put.expires, put.now];
        let fresh = self.db.prepare_cached(replay::PUT)?.execute(row)? == 1;
        // Rare rows: what has expired is swept along the way.
        let sweep = "DELETE FROM replay WHERE (kind, key) IN (SELECT kind, key FROM replay WHERE expires < ?1 LIMIT 100)";
        self.db.prepare_cached(sweep)?.execute([put.now])?;
        Ok(fresh)
    }

    fn marker(&mut self) -> Result<Option<Marker>> {
        replay::marker(&self.db)
    }

    fn set_marker(&mut self, marker: &Marker) -> Result<()> {
        replay::set_marker(&self.db, marker)
    }
}

pub(super) fn append(tx: &Transaction<'_>, entry: &Revocation) -> Result<()> {
    let sql = "INSERT INTO revocation (kind, issuer, id, not_before, until) VALUES (?1, ?2, ?3, ?4, ?5)";
    let row = params![entry.kind.text(), entry.issuer, entry.id, entry.not_before, entry.until];
    tx.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

pub(super) fn add_notice(tx: &Transaction<'_>, notice: &Notice) -> Result<bool> {
    let sql = "INSERT INTO notice_outbox (subject, type, bucket, due, payload) VALUES (?1, ?2, ?3, ?4, ?5) \
               ON CONFLICT DO NOTHING";
    let row = params![notice.subject, notice.kind, notice.bucket, notice.due, notice.payload];
    Ok(tx.prepare_cached(sql)?.execute(row)? == 1)
}

fn add_secret(tx: &Transaction<'_>, name: &str, version: u32, fresh: &SealedSecret) -> Result<SealedSecret> {
    let sql = "INSERT INTO system_secret (name, version, sealed, created) VALUES (?1, ?2, ?3, ?4)";
    tx.execute(sql, params![name, version, fresh.sealed, fresh.created])?;
    Ok(SealedSecret { version, ..fresh.clone() })
}

fn newest(tx: &Transaction<'_>, name: &str) -> Result<Option<SealedSecret>> {
    let sql =
        "SELECT version, sealed, created FROM system_secret WHERE name = ?1 ORDER BY version DESC LIMIT 1";
    Ok(tx.query_row(sql, [name], sealed).optional()?)
}

fn sealed(row: &Row<'_>) -> rusqlite::Result<SealedSecret> {
    Ok(SealedSecret { version: row.get(0)?, sealed: row.get(1)?, created: row.get(2)? })
}

fn document(row: &Row<'_>) -> rusqlite::Result<SealedDocument> {
    Ok(SealedDocument { version: row.get(0)?, sealed: row.get(1)?, written: row.get(2)? })
}

fn claimed(row: &Row<'_>) -> rusqlite::Result<Claimed> {
    let notice = Notice {
        subject: row.get(2)?,
        kind: row.get(3)?,
        bucket: row.get(4)?,
        due: row.get(5)?,
        payload: row.get(6)?,
    };
    Ok(Claimed { id: row.get(0)?, attempts: row.get(1)?, notice })
}

pub(super) fn one(changed: usize) -> Result<()> {
    if changed == 0 { Err(StoreError::Missing) } else { Ok(()) }
}
