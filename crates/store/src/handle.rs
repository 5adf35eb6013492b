//! One handle for everything that is remembered.

use crate::StoreError;
use crate::adapter::{Durable, Hot, Marker};
use crate::kept::Kept;
use crate::keys::{Keys, Touches};
use crate::ledger::Ledger;
use crate::memory::MemoryReplay;
use crate::notices::Outbox;
use crate::replay::{HotReplay, Replay};
use crate::revocation::Revocations;
use crate::seal::{LocalKey, Sealer};
use crate::secrets::Secrets;
use crate::sqlite::{SqliteDurable, SqliteReplay};
use crate::worker::Worker;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where the store lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In memory: gone with the process.
    Memory,
    /// SQLite files in this folder, which is made if it is not there.
    Folder(PathBuf),
}

/// How the store behaves.
#[derive(Clone)]
pub struct Options {
    /// Seals columns that must not be readable in a dump. Without one, a key file in the folder (`seal.key`, mode 0600),
    /// or for the life of the process in memory.
    pub sealer: Option<Arc<dyn Sealer>>,
    /// Entries of the hot replay table; beyond them everything is `Unavailable`.
    pub replay_capacity: u64,
    /// How long a request waits for the replay store.
    pub replay_patience: Duration,
    /// How long anybody waits for the durable store.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sealer: None,
            replay_capacity: 4_000_000,
            replay_patience: Duration::from_millis(50),
            patience: Duration::from_secs(2),
        }
    }
}

/// Why the store does not open.
#[derive(Debug)]
pub enum OpenError {
    /// The folder or a file cannot be made or opened.
    Io(std::io::Error),
    /// A database cannot be read: damaged, locked, or made by a newer version.
    Database(String),
    /// The key file is not 32 bytes, or readable by others.
    Key(&'static str),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the store's folder cannot be used: {error}"),
            Self::Database(error) => write!(f, "the store cannot be read: {error}"),
            Self::Key(why) => write!(f, "the store's key file cannot be used: {why}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<std::io::Error> for OpenError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.to_string())
    }
}

/// What is remembered. Cheap to clone; the last one closes the files.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    durable: Worker<dyn Durable>,
    hot: HotReplay,
    touches: Arc<Touches>,
    sealer: Arc<dyn Sealer>,
    lost: Option<i64>,
    place: Place,
}

impl Store {
    /// Opens or makes the store. Blocks: for the program's start. `now` in unix seconds dates a replay memory that
    /// turns out to be lost.
    pub fn open(place: &Place, options: Options, now: i64) -> Result<Self, OpenError> {
        let (mut durable, mut hot): (Box<dyn Durable>, Box<dyn Hot>) = match place {
            Place::Memory => {
                (Box::new(SqliteDurable::memory()?), Box::new(MemoryReplay::new(options.replay_capacity)))
            }
            Place::Folder(folder) => {
                make_folder(folder)?;
                let durable = SqliteDurable::open(&private(folder, "portcullis.db")?)?;
                let replay = SqliteReplay::open(&private(folder, "replay.db")?, options.replay_capacity)?;
                (Box::new(durable), Box::new(replay))
            }
        };
        let sealer = match (&options.sealer, place) {
            (Some(sealer), _) => Arc::clone(sealer),
            (None, Place::Folder(folder)) => Arc::new(LocalKey::open_or_create(&folder.join("seal.key"))?),
            (None, Place::Memory) => Arc::new(LocalKey::ephemeral()?),
        };
        let lost = compare_markers(durable.as_mut(), hot.as_mut(), now)
            .map_err(|e| OpenError::Database(e.to_string()))?;
        let touches = Arc::new(Touches::default());
        let tick = {
            let touches = Arc::clone(&touches);
            move |durable: &mut (dyn Durable + 'static), last| touches.flush(durable, last)
        };
        let durable = Worker::start("store", 1_024, options.patience, Duration::from_secs(1), durable, tick)?;
        let hot = HotReplay::start(hot, options.replay_patience)?;
        Ok(Self { inner: Arc::new(Inner { durable, hot, touches, sealer, lost, place: place.clone() }) })
    }

    /// What the store takes for the time, in microseconds since the epoch.
    ///
    /// # Errors
    /// It could not be asked.
    pub async fn clock(&self) -> Result<i64, StoreError> {
        self.inner.durable.ask(|durable| durable.clock()).await
    }

    /// API keys and their owners.
    pub fn keys(&self) -> Keys<'_> {
        Keys { durable: &self.inner.durable, touches: &self.inner.touches, sealer: &*self.inner.sealer }
    }

    /// Single use.
    pub fn replay(&self) -> Replay<'_> {
        Replay { durable: &self.inner.durable, hot: &self.inner.hot, lost: self.inner.lost }
    }

    /// Documents of the system, and leases.
    pub fn kept(&self) -> Kept<'_> {
        Kept { durable: &self.inner.durable, sealer: &*self.inner.sealer }
    }

    /// Who changed what.
    pub fn ledger(&self) -> Ledger<'_> {
        Ledger { durable: &self.inner.durable }
    }

    /// What was revoked.
    pub fn revocation(&self) -> Revocations<'_> {
        Revocations { durable: &self.inner.durable }
    }

    /// Notices to be delivered.
    pub fn outbox(&self) -> Outbox<'_> {
        Outbox { durable: &self.inner.durable }
    }

    /// Secrets of the system: peppers and the like.
    pub fn secrets(&self) -> Secrets<'_> {
        Secrets { durable: &self.inner.durable, sealer: &*self.inner.sealer }
    }

    /// The folder, if it has one.
    pub fn folder(&self) -> Option<&Path> {
        match &self.inner.place {
            Place::Folder(folder) => Some(folder),
            Place::Memory => None,
        }
    }

    /// Whether it outlives the process.
    pub fn is_durable(&self) -> bool {
        self.inner.place != Place::Memory
    }

    /// Writes what is pending and closes the files. Blocks; what is asked afterwards is `Unavailable`.
    pub fn close(&self) {
        self.inner.close();
    }
}

impl Inner {
    fn close(&self) {
        self.hot.close();
        self.durable.close();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("place", &self.inner.place).finish_non_exhaustive()
    }
}

/// Is the replay memory the one that the durable store knows? Returns when it was lost, if ever.
fn compare_markers(
    durable: &mut dyn Durable,
    hot: &mut dyn Hot,
    now: i64,
) -> Result<Option<i64>, StoreError> {
    let marker = match (durable.marker()?, hot.marker()?) {
        (Some(known), Some(found)) if known == found => return Ok(found.lost),
        (None, Some(found)) => found,
        (None, None) => Marker { nonce: nonce()?, made: now, lost: None },
        (Some(_), _) => Marker { nonce: nonce()?, made: now, lost: Some(now) },
    };
    // The replay store first: a crash between the two is then a loss and never a lost memory that nobody noticed.
    hot.set_marker(&marker)?;
    durable.set_marker(&marker)?;
    Ok(marker.lost)
}

fn nonce() -> Result<[u8; 16], StoreError> {
    let mut nonce = [0; 16];
    aws_lc_rs::rand::fill(&mut nonce).map_err(|_| StoreError::Broken)?;
    Ok(nonce)
}

fn make_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// SQLite gives its side files the mode of the database, so that is made here, for the owner only.
fn private(folder: &Path, name: &str) -> std::io::Result<PathBuf> {
    let path = folder.join(name);
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&path)?;
    Ok(path)
}
