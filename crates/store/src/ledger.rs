//! The audit ledger: who changed what, how and why (watch.md § 1). Append-only; each entry holds the hash of all before
//! it, and checkpoints are signed and shipped elsewhere.
//!
//! An entry is written in the transaction of the change that it tells of: neither is there without the other. Several
//! processes write to one ledger; the database's write lock gives them an order.

pub mod chain;
mod read;
pub mod verify;

pub use read::Transcript;
pub(crate) use read::{CHECKPOINT, checkpoint};

use crate::StoreError;
use crate::adapter::Durable;
use crate::worker::Worker;
use chain::Hash;
use portcullis_core::opaque;
use std::fmt::Write as _;

/// Who changes something, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    /// Who: `uid:1000`, `key:<id16>`, `<issuer> <subject>`, `program`.
    pub actor: String,
    /// By which way.
    pub how: How,
    /// Correlation id of the request, if it was one.
    pub correlation: Option<String>,
}

/// By which way something was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// A verb of the command line.
    Cli,
    /// The admin API.
    AdminApi,
    /// A job of the program.
    Job,
    /// The program itself: start, stop, reload.
    Program,
}

impl How {
    /// The word in the ledger.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::AdminApi => "admin-api",
            Self::Job => "job",
            Self::Program => "program",
        }
    }
}

impl By {
    /// The program's own doing.
    pub fn program() -> Self {
        Self { actor: "program".to_owned(), how: How::Program, correlation: None }
    }

    /// A job of the program.
    pub fn job() -> Self {
        Self { actor: "program".to_owned(), how: How::Job, correlation: None }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub struct Deed {
    /// When, unix seconds.
    pub at: i64,
    /// What: `key.created`, `plan.reloaded`, ….
    pub event: &'static str,
    /// Who and how.
    pub by: By,
    /// Which key, token, plan.
    pub target: String,
    /// Why, in the words of whoever did it.
    pub reason: Option<String>,
    /// What else there is to know; never a secret.
    pub detail: Vec<(&'static str, String)>,
}

/// The longest text of an entry, in characters; more is cut off.
const LONGEST: usize = 1_024;

impl Deed {
    /// The entry as it is hashed and kept: one line of JSON. A text that holds a secret of ours is left out.
    pub(crate) fn entry(&self, seq: i64) -> String {
        let mut out = format!("{{\"seq\":{seq},\"at\":{}", self.at);
        let mut member = |name: &str, text: Option<&str>| {
            if let Some(text) = text {
                out.push(',');
                write_text(name, &mut out);
                out.push(':');
                write_text(clean(text), &mut out);
            }
        };
        member("event", Some(self.event));
        member("actor", Some(&self.by.actor));
        member("how", Some(self.by.how.text()));
        member("target", Some(&self.target));
        member("reason", self.reason.as_deref());
        member("correlation", self.by.correlation.as_deref());
        for (name, text) in &self.detail {
            member(name, Some(text));
        }
        out.push('}');
        out
    }
}

/// People paste. A whole secret of ours is not kept, whoever wrote it there.
fn clean(text: &str) -> &str {
    match opaque::find(text.as_bytes()) {
        Some(_) => "(left out: it holds a secret)",
        None => text,
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars().take(LONGEST) {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A signed statement: up to this entry, the ledger is this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which ledger: 16 random bytes from its birth.
    pub ledger: [u8; 16],
    /// The last entry that it covers.
    pub seq: i64,
    /// The hash of that entry, and so of all before it.
    pub hash: Hash,
    /// When it was signed, unix seconds.
    pub at: i64,
    /// The entry that the checkpoint before it covers; 0 for the first.
    pub previous: i64,
    /// Id of the public key.
    pub key: String,
    /// Ed25519 over [`Checkpoint::statement`].
    pub signature: Vec<u8>,
}

/// How far the ledger is, and how far it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Which ledger.
    pub ledger: [u8; 16],
    /// The last entry.
    pub seq: i64,
    /// Its hash.
    pub hash: Hash,
    /// The last entry that a checkpoint covers; 0 without one.
    pub signed: i64,
}

/// The ledger.
pub struct Ledger<'a> {
    pub(crate) durable: &'a Worker<dyn Durable>,
}

impl Ledger<'_> {
    /// Writes down something that is no change of the store. Returns its number.
    pub async fn append(&self, deed: Deed) -> Result<i64, StoreError> {
        self.durable.ask(move |d| d.record(&deed)).await
    }

    /// Where the ledger ends; nothing before its first entry.
    pub async fn head(&self) -> Result<Option<Head>, StoreError> {
        self.durable.ask(|d| d.ledger_head()).await
    }

    /// Keeps a checkpoint. False when another process has signed since, or the entry is not as it says.
    pub async fn sign(&self, checkpoint: Checkpoint) -> Result<bool, StoreError> {
        self.durable.ask(move |d| d.add_checkpoint(&checkpoint)).await
    }

    /// Checkpoints that were not shipped yet, oldest first, at most `most`.
    pub async fn unshipped(&self, most: u32) -> Result<Vec<Checkpoint>, StoreError> {
        self.durable.ask(move |d| d.unshipped(most)).await
    }

    /// The checkpoint of an entry was shipped.
    pub async fn shipped(&self, seq: i64, now: i64) -> Result<(), StoreError> {
        self.durable.ask(move |d| d.shipped(seq, now)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_one_line_and_hold_no_secret() {
        let key = opaque::ApiKey::new(opaque::Env::Live, [1; 10], [2; 32]).text();
        let deed = Deed {
            at: 17,
            event: "key.revoked",
            by: By { actor: "uid:0".to_owned(), how: How::Cli, correlation: None },
            target: "008j4ct4ank7f24s".to_owned(),
            reason: Some(format!("leaked: {}", key.expose())),
            detail: vec![("note", "a\n\"b\"\\\u{2028}".to_owned()), ("long", "x".repeat(5_000))],
        };
        let entry = deed.entry(3);
        assert!(!entry.contains(key.expose()), "{entry}");
        assert!(entry.starts_with(
            r#"{"seq":3,"at":17,"event":"key.revoked","actor":"uid:0","how":"cli","target":"008j4ct4ank7f24s","reason":"(left out"#
        ));
        assert!(!entry.contains('\n') && entry.contains(r#""note":"a\u000a\"b\"\\\u2028""#), "{entry}");
        assert!(entry.len() < 1_400, "bounded");
    }
}
