//! Where logs go and where the store lies.

use portcullis_core::secret::Secret;
use std::path::PathBuf;
use std::sync::Arc;

/// The request log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPlan {
    /// Where lines go.
    pub sink: LogSink,
    /// Field names.
    pub format: LogFormat,
}

impl Default for LogPlan {
    fn default() -> Self {
        Self { sink: LogSink::Stdout, format: LogFormat::Ecs }
    }
}

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogSink {
    /// Standard output.
    Stdout,
    /// A file with rotation by size and number of kept files.
    File {
        /// Path.
        path: PathBuf,
        /// Bytes after which a new file is begun.
        rotate_bytes: u64,
        /// Old files kept.
        keep: u32,
    },
    /// Nowhere (benchmarks and the demo).
    Off,
}

/// Field names of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Elastic Common Schema.
    Ecs,
    /// Short flat names.
    Flat,
}

/// URL and signing secret.
pub type Hook = (Arc<str>, Arc<Secret<Vec<u8>>>);

/// Where checkpoints of the audit ledger go, besides the program's own notes.
#[derive(Clone, Debug, Default)]
pub struct AuditPlan {
    /// A file that lines are added to.
    pub file: Option<PathBuf>,
    /// URL and secret of a signed webhook.
    pub webhook: Option<Hook>,
}

/// Where what must be remembered lies.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum StorePlace {
    /// In memory: gone with the process. API keys need a file.
    #[default]
    Memory,
    /// SQLite files in this folder.
    Folder(PathBuf),
}
