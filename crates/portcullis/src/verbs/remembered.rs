//! What the verbs that change the store have in common: which store, which moment, which exit code.

use super::{colour_of_errors, tell};
use crate::assemble::{given, variable};
use portcullis_config::Date;
use portcullis_core::time::{Clock as _, SystemClock};
use portcullis_plan::Plan;
use portcullis_plan::observe::StorePlace;
use portcullis_store::ledger::{By, How};
use portcullis_store::{Options, Place, Store, StoreError};
use portcullis_vault::issue::IssueError;
use portcullis_vault::ledger::{LedgerKey, checkpoint};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Why a verb did not do what it was told, by its exit code.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// 2: what was asked for cannot be.
    Usage(String),
    /// 3: there is no such thing.
    Missing(String),
    /// 4: it cannot be in its present state.
    Conflict(String),
    /// 5: the store cannot be reached.
    Store(String),
}

impl Wrong {
    pub(crate) fn usage(why: impl Into<String>) -> Self {
        Self::Usage(why.into())
    }

    /// Says so, and ends.
    pub(crate) fn end(&self) -> ExitCode {
        let (why, code) = match self {
            Self::Usage(why) => (why, 2),
            Self::Missing(why) => (why, 3),
            Self::Conflict(why) => (why, 4),
            Self::Store(why) => (why, 5),
        };
        tell(&format!("portcullis: {why}\n"));
        ExitCode::from(code)
    }
}

impl From<IssueError> for Wrong {
    fn from(error: IssueError) -> Self {
        let why = error.to_string();
        match error {
            IssueError::Order(_) => Self::Usage(why),
            IssueError::Conflict(_) => Self::Conflict(why),
            IssueError::Missing => Self::Missing(why),
            IssueError::Store(_) => Self::Store(format!("the store: {why}")),
        }
    }
}

impl From<StoreError> for Wrong {
    fn from(error: StoreError) -> Self {
        IssueError::from(error).into()
    }
}

/// The store's folder, and the file that the ledger's checkpoints are shipped to. Nothing is opened.
pub(crate) fn store_folder(config: &Path) -> Result<(PathBuf, Option<PathBuf>), Wrong> {
    let (plan, folder) = plan(config)?;
    Ok((folder, plan.audit.file))
}

/// The plan of a configuration, and the store that it names.
pub(crate) fn open(config: &Path) -> Result<(Plan, Store), Wrong> {
    let (plan, folder) = plan(config)?;
    let options = Options { replay_capacity: plan.keys.replay_capacity, ..Options::default() };
    let store =
        Store::open(&Place::Folder(folder), options, now()).map_err(|e| Wrong::Store(e.to_string()))?;
    Ok((plan, store))
}

fn plan(config: &Path) -> Result<(Plan, PathBuf), Wrong> {
    let outcome = portcullis_config::compile(config, given(&variable));
    let Some(plan) = outcome.plan else {
        tell(&outcome.render(colour_of_errors()));
        return Err(Wrong::usage("the configuration does not compile"));
    };
    let StorePlace::Folder(folder) = &plan.store else {
        return Err(Wrong::usage(
            "the configuration names no store; add  store: { folder: /var/lib/portcullis }",
        ));
    };
    let folder = folder.clone();
    Ok((plan, folder))
}

/// Who works at this command line: the user of the process, as the kernel knows him.
pub(crate) fn by() -> By {
    let uid = std::fs::metadata("/proc/self").map(|meta| std::os::unix::fs::MetadataExt::uid(&meta));
    let actor = uid.map_or_else(|_| "uid:?".to_owned(), |uid| format!("uid:{uid}"));
    By { actor, how: How::Cli, correlation: None }
}

/// Runs something that changes the store, and signs what the ledger has to say of it.
pub(crate) fn change<T>(store: &Store, work: impl Future<Output = Result<T, Wrong>>) -> Result<T, Wrong> {
    ask(store, async {
        let done = work.await?;
        // It is in the ledger already; what is not signed here a running node signs within a minute.
        match LedgerKey::open(store.folder()) {
            Ok(key) => {
                if let Err(error) = checkpoint(store, &key, now()).await {
                    tell(&format!("warning: the ledger's entry is not signed yet: {error}\n"));
                }
            }
            Err(why) => tell(&format!("warning: the ledger's entry is not signed yet: {why}\n")),
        }
        Ok(done)
    })
}

/// Runs something that asks the store, which is closed afterwards so that nothing is left unwritten.
pub(crate) fn ask<T>(store: &Store, work: impl Future<Output = Result<T, Wrong>>) -> Result<T, Wrong> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Wrong::Store(format!("a runtime: {e}")))?;
    let done = runtime.block_on(work);
    store.close();
    done
}

/// Unix seconds.
pub(crate) fn now() -> i64 {
    SystemClock.now().secs()
}

/// A moment as people write it: unix seconds, `2026-01-31`, `2026-01-31T12:00:00Z`, `2026-01-31T12:00:00+01:00`.
pub(crate) fn moment(text: &str) -> Result<i64, Wrong> {
    let wrong = || Wrong::Usage(format!("`{text}` is no moment; write it like 2027-01-31T12:00:00Z"));
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map_err(|_| wrong());
    }
    let (day, rest) = match text.split_once(['T', 't', ' ']) {
        Some((day, rest)) => (day, Some(rest)),
        None => (text, None),
    };
    let midnight = Date::parse(day).ok_or_else(wrong)?.midnight().secs();
    let Some(rest) = rest else { return Ok(midnight) };
    let (clock, offset) = zone(rest).ok_or_else(wrong)?;
    let seconds = hours(clock, 3).ok_or_else(wrong)?;
    Ok(midnight.saturating_add(seconds).saturating_sub(offset))
}

/// The clock, and what the zone is ahead of UTC, in seconds.
fn zone(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let at = text.rfind(['+', '-'])?;
    let (clock, offset) = text.split_at_checked(at)?;
    let ahead = hours(offset.get(1..)?, 2)?;
    Some((clock, if offset.starts_with('-') { ahead.checked_neg()? } else { ahead }))
}

/// `HH:MM` or `HH:MM:SS`, in seconds.
fn hours(text: &str, parts: usize) -> Option<i64> {
    let numbers: Option<Vec<i64>> = text
        .split(':')
        .map(|part| {
            (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok())?
        })
        .collect();
    match numbers?.as_slice() {
        [h @ 0..=23, m @ 0..=59, s @ 0..=59] if parts == 3 => Some(h * 3_600 + m * 60 + s),
        [h @ 0..=23, m @ 0..=59] if parts == 2 => Some(h * 3_600 + m * 60),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        for (text, secs) in [
            ("1767225600", 1_767_225_600),
            ("2026-01-01", 1_767_225_600),
            ("2026-01-01T00:00:00Z", 1_767_225_600),
            ("2026-01-01T01:30:00+01:30", 1_767_225_600),
            ("2025-12-31 23:00:01-01:00", 1_767_225_601),
        ] {
            assert_eq!(moment(text).unwrap(), secs, "{text}");
        }
        for text in [
            "",
            "x",
            "-5",
            "2026-02-30",
            "2026-01-01T",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "tomorrow",
        ] {
            assert!(matches!(moment(text), Err(Wrong::Usage(_))), "{text}");
        }
    }
}
