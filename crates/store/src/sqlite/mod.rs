//! SQLite: one file for what is durable, one for hot single-use values.

mod durable;
mod keys;
mod ledger;
mod replay;

pub(crate) use durable::SqliteDurable;
pub(crate) use replay::SqliteReplay;

use crate::StoreError;
use rusqlite::{Connection, ErrorCode};
use std::time::Duration;

/// Prepares a connection and brings its schema up to date. `migrations` only ever grows at its end.
fn prepare(
    db: &mut Connection,
    synchronous: &str,
    busy: Duration,
    migrations: &[&str],
) -> Result<(), crate::OpenError> {
    db.busy_timeout(busy)?;
    db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    db.pragma_update(None, "synchronous", synchronous)?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "trusted_schema", false)?;
    let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version: u32 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    if version > known {
        return Err(crate::OpenError::Database(format!(
            "its schema has version {version} and this program knows {known}; run the newer program"
        )));
    }
    for migration in migrations.iter().skip(version as usize) {
        tx.execute_batch(migration)?;
    }
    tx.pragma_update(None, "user_version", known)?;
    tx.commit()?;
    Ok(())
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => match error.sqlite_extended_error_code() {
                Some(rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => Self::Missing,
                Some(
                    rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY | rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE,
                ) => Self::Exists,
                _ => Self::Broken,
            },
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure,
            ) => Self::Unavailable,
            _ => Self::Broken,
        }
    }
}
