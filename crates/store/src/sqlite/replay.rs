//! Hot single-use values in a file of their own: WAL, `synchronous=NORMAL`. What was answered survives the end of the
//! process, however it comes.
//!
//! The file is written at its end alone, and what is in it is in memory too: an index of random keys would dirty a page
//! for every value. Whoever holds the writer's lock has read what others have written, so processes that share the file
//! see each other's values.

use super::prepare;
use crate::adapter::{Hot, Marker, Result};
use crate::replay::{Put, ReplayKey, ReplayKind};
use crate::{OpenError, StoreError};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::time::Duration;

/// Rows forgotten in one sweep: a sweep must not hold up those who wait.
const SWEEP: usize = 20_000;

const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE replay (
        kind TEXT NOT NULL, key BLOB NOT NULL, expires INTEGER NOT NULL, PRIMARY KEY (kind, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX replay_expires ON replay (expires);
    CREATE TABLE marker (one INTEGER PRIMARY KEY CHECK (one = 1), nonce BLOB NOT NULL, made INTEGER NOT NULL, lost INTEGER) STRICT;
",
    // AUTOINCREMENT: a number is never used again, so that nobody overlooks a row that came after a sweep.
    "
    CREATE TABLE seen (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, key BLOB NOT NULL, expires INTEGER NOT NULL
    ) STRICT;
    INSERT INTO seen (kind, key, expires) SELECT kind, key, expires FROM replay ORDER BY expires;
    DROP TABLE replay;
",
];

pub(crate) struct SqliteReplay {
    db: Connection,
    capacity: u64,
    seen: Seen,
}

/// All rows of the file up to one.
#[derive(Default)]
struct Seen {
    expires: HashMap<Value, i64>,
    /// In the order of the file.
    order: VecDeque<(i64, Value, i64)>,
    last: i64,
}

type Value = (ReplayKind, ReplayKey);

impl SqliteReplay {
    pub(crate) fn open(path: &Path, capacity: u64) -> std::result::Result<Self, OpenError> {
        let mut db = Connection::open(path)?;
        prepare(&mut db, "NORMAL", Duration::from_millis(40), MIGRATIONS)?;
        let mut seen = Seen::default();
        seen.catch_up(&db)?;
        Ok(Self { db, capacity, seen })
    }
}

impl Hot for SqliteReplay {
    fn put_all(&mut self, puts: &[Put]) -> Result<Vec<bool>> {
        let now = puts.iter().map(|p| p.now).max().unwrap_or_default();
        let more = puts.len() as u64;
        if self.seen.len() + more > self.capacity && self.forget(now)? + more > self.capacity {
            return Err(StoreError::Unavailable);
        }
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        self.seen.catch_up(&tx)?;
        let mut fresh = Vec::with_capacity(puts.len());
        let mut made: Vec<(i64, Value, i64)> = Vec::with_capacity(puts.len());
        {
            let mut insert =
                tx.prepare_cached("INSERT INTO seen (kind, key, expires) VALUES (?1, ?2, ?3)")?;
            for put in puts {
                let value = (put.kind, put.key);
                let before = made.iter().any(|(_, own, expires)| *own == value && *expires >= put.now);
                let new = !before && !self.seen.holds(&value, put.now);
                if new {
                    let seq = insert.insert(params![put.kind.text(), put.key.bytes(), put.expires])?;
                    made.push((seq, value, put.expires));
                }
                fresh.push(new);
            }
        }
        tx.commit()?;
        // Only what is in the file is remembered: an error above leaves both as they were.
        for (seq, value, expires) in made {
            self.seen.add(seq, value, expires);
        }
        Ok(fresh)
    }

    fn forget(&mut self, now: i64) -> Result<u64> {
        if let Some(last) = self.seen.forget(now) {
            self.db.prepare_cached("DELETE FROM seen WHERE seq <= ?1")?.execute([last])?;
        }
        Ok(self.seen.len())
    }

    fn marker(&mut self) -> Result<Option<Marker>> {
        marker(&self.db)
    }

    fn set_marker(&mut self, marker: &Marker) -> Result<()> {
        set_marker(&self.db, marker)
    }
}

impl Seen {
    fn len(&self) -> u64 {
        self.order.len() as u64
    }

    /// Reads what others have written.
    fn catch_up(&mut self, db: &Connection) -> std::result::Result<(), rusqlite::Error> {
        let mut query =
            db.prepare_cached("SELECT seq, kind, key, expires FROM seen WHERE seq > ?1 ORDER BY seq")?;
        let mut rows = query.query([self.last])?;
        while let Some(row) = rows.next()? {
            let (seq, expires): (i64, i64) = (row.get(0)?, row.get(3)?);
            let kind = row.get_ref(1)?.as_str().ok().and_then(ReplayKind::named);
            let key = row.get_ref(2)?.as_blob().ok().and_then(ReplayKey::from_bytes);
            match (kind, key) {
                (Some(kind), Some(key)) => self.add(seq, (kind, key), expires),
                _ => self.last = self.last.max(seq),
            }
        }
        Ok(())
    }

    fn holds(&self, value: &Value, now: i64) -> bool {
        self.expires.get(value).is_some_and(|expires| *expires >= now)
    }

    fn add(&mut self, seq: i64, value: Value, expires: i64) {
        self.expires.insert(value, expires);
        self.order.push_back((seq, value, expires));
        self.last = self.last.max(seq);
    }

    /// Drops the oldest rows as far as they have expired, up to a bound. Returns the last of them.
    fn forget(&mut self, now: i64) -> Option<i64> {
        let mut last = None;
        for _ in 0..SWEEP {
            let Some((seq, value, expires)) = self.order.pop_front_if(|(_, _, expires)| *expires < now)
            else {
                break;
            };
            if self.expires.get(&value) == Some(&expires) {
                self.expires.remove(&value);
            }
            last = Some(seq);
        }
        last
    }
}

/// One conditional insert: a row that has expired counts as absent. One row changed means fresh.
/// For the durable table.
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
