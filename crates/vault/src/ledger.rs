//! The key that signs checkpoints of the audit ledger, and their way out (watch.md § 1).
//!
//! Ed25519, as a PKCS#8 file with mode 0600 beside the database: whoever has the database alone can sign nothing. Whoever
//! has the whole machine can, which is why checkpoints are shipped elsewhere.

use crate::notices::{Deliver, Failed, webhook};
use crate::signing;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use portcullis_core::secret::Secret;
use portcullis_store::ledger::chain::hex;
use portcullis_store::ledger::verify::PublicKey;
use portcullis_store::ledger::{Checkpoint, Head};
use portcullis_store::{Store, StoreError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often a checkpoint is signed, when something was written since.
pub const EVERY: Duration = Duration::from_secs(60);
/// Checkpoints that are shipped in one turn.
const MOST: u32 = 1_000;

/// Signs checkpoints.
pub struct LedgerKey {
    id: String,
    pair: Ed25519KeyPair,
}

impl LedgerKey {
    /// The key in the store's folder, made if there is none; without a folder one that lives as long as the process.
    ///
    /// # Errors
    /// The file cannot be read or made, or is no such key.
    pub fn open(folder: Option<&Path>) -> Result<Self, String> {
        let Some(folder) = folder else { return Self::from_pkcs8(&signing::fresh()?) };
        match Self::read(folder)? {
            Some(key) => Ok(key),
            None => {
                let path = file(folder);
                // Written whole beside, then linked: of two processes one wins, and nobody reads half a key.
                let mut unique = [0; 8];
                aws_lc_rs::rand::fill(&mut unique).map_err(|_| "no randomness".to_owned())?;
                let beside = path.with_extension(format!("new-{}", hex(&unique)));
                let told = |error: std::io::Error| format!("{}: {error}", path.display());
                signing::store(&beside, &signing::fresh()?)?;
                let linked = std::fs::hard_link(&beside, &path);
                std::fs::remove_file(&beside).map_err(told)?;
                match linked {
                    Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(told(error)),
                    _ => Self::read(folder)?.ok_or_else(|| format!("{} is gone", path.display())),
                }
            }
        }
    }

    /// The key in the store's folder, if there is one.
    ///
    /// # Errors
    /// As [`LedgerKey::open`].
    pub fn read(folder: &Path) -> Result<Option<Self>, String> {
        let path = file(folder);
        match std::fs::read(&path) {
            Ok(bytes) => {
                Self::from_pkcs8(&bytes).map(Some).map_err(|why| format!("{}: {why}", path.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    fn from_pkcs8(bytes: &[u8]) -> Result<Self, String> {
        let pair = Ed25519KeyPair::from_pkcs8(bytes).map_err(|_| "not an Ed25519 key".to_owned())?;
        Ok(Self { id: key_id(pair.public_key().as_ref()), pair })
    }

    /// What others verify with.
    pub fn public(&self) -> PublicKey {
        PublicKey { id: self.id.clone(), bytes: self.pair.public_key().as_ref().to_vec() }
    }

    /// Signs where the ledger ends.
    pub fn sign(&self, head: &Head, now: i64) -> Checkpoint {
        let mut checkpoint = Checkpoint {
            ledger: head.ledger,
            seq: head.seq,
            hash: head.hash,
            at: now,
            previous: head.signed,
            key: self.id.clone(),
            signature: Vec::new(),
        };
        checkpoint.signature = self.pair.sign(checkpoint.statement().as_bytes()).as_ref().to_vec();
        checkpoint
    }
}

/// The id of a public key in checkpoints: the first 16 hex digits of its SHA-256.
pub fn key_id(public: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, public);
    hex(digest.as_ref().get(..8).unwrap_or_default())
}

fn file(folder: &Path) -> PathBuf {
    folder.join("ledger-key.p8")
}

/// Signs a checkpoint when something was written since the last one. Nothing: all is signed, or another process was
/// faster.
///
/// # Errors
/// The store could not be asked.
pub async fn checkpoint(store: &Store, key: &LedgerKey, now: i64) -> Result<Option<Checkpoint>, StoreError> {
    let Some(head) = store.ledger().head().await?.filter(|head| head.signed < head.seq) else {
        return Ok(None);
    };
    let signed = key.sign(&head, now);
    Ok(store.ledger().sign(signed.clone()).await?.then_some(signed))
}

/// URL and signing secret.
pub type Hook = (Arc<str>, Arc<Secret<Vec<u8>>>);

/// Where checkpoints go, besides the program's own notes.
#[derive(Clone, Default)]
pub struct Sinks {
    /// A file that lines are added to.
    pub file: Option<PathBuf>,
    /// A webhook, signed as Standard Webhooks are.
    pub webhook: Option<Hook>,
}

/// Ships what was not shipped yet, oldest first, until a sink fails; `tell` hears each checkpoint once.
///
/// # Errors
/// A sentence for the operator; the rest is shipped in a later turn.
pub async fn ship(
    store: &Store,
    sinks: &Sinks,
    door: &impl Deliver,
    now: i64,
    tell: impl Fn(&Checkpoint),
) -> Result<(), String> {
    let waiting = store.ledger().unshipped(MOST).await.map_err(|error| error.to_string())?;
    for checkpoint in waiting {
        let line = checkpoint.line();
        if let Some(path) = &sinks.file {
            append(path, &line).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        if let Some((url, secret)) = &sinks.webhook {
            let id = format!("ledger-{}-{}", hex(&checkpoint.ledger), checkpoint.seq);
            let sent = webhook(door, (url, secret), &id, now, &line).await;
            sent.map_err(|(Failed::Later(why) | Failed::Never(why))| format!("{url}: {why}"))?;
        }
        tell(&checkpoint);
        store.ledger().shipped(checkpoint.seq, now).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// One write a line: several processes may add to one file.
fn append(path: &Path, line: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(format!("{line}\n").as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests;
