//! Where lines go.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Where lines go.
pub enum Sink {
    /// Standard output.
    Stdout,
    /// A file. When it has `rotate_bytes`, or its first line is `rotate_secs` old (0: never), it becomes `PATH.1`,
    /// that becomes `PATH.2`, and so on up to `keep` old files.
    File {
        /// Path.
        path: PathBuf,
        /// Size after which a new file is begun; at least 4 KiB.
        rotate_bytes: u64,
        /// Age after which a new file is begun, in seconds; 0 for never.
        rotate_secs: u64,
        /// Old files kept.
        keep: u32,
    },
    /// Nowhere.
    Off,
    /// A writer of the caller's (tests, a pipe).
    Writer(Box<dyn Write + Send>),
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stdout => "stdout",
            Self::File { .. } => "file",
            Self::Off => "off",
            Self::Writer(_) => "writer",
        })
    }
}

/// An open sink.
pub(crate) enum Out {
    Stdout,
    Off,
    Writer(Box<dyn Write + Send>),
    File(Rotating),
}

impl Sink {
    pub(crate) fn open(self) -> io::Result<Out> {
        Ok(match self {
            Self::Stdout => Out::Stdout,
            Self::Off => Out::Off,
            Self::Writer(w) => Out::Writer(w),
            Self::File { path, rotate_bytes, rotate_secs, keep } => {
                Out::File(Rotating::open(path, rotate_bytes.max(4096), rotate_secs, keep)?)
            }
        })
    }
}

impl Out {
    /// Writes whole lines; `at` is the time of the newest, in seconds.
    pub(crate) fn write(&mut self, lines: &[u8], at: i64) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(lines)?;
                out.flush()
            }
            Self::Off => Ok(()),
            Self::Writer(w) => {
                w.write_all(lines)?;
                w.flush()
            }
            Self::File(file) => file.write(lines, at),
        }
    }
}

pub(crate) struct Rotating {
    path: PathBuf,
    file: File,
    size: u64,
    since: Option<i64>,
    rotate_bytes: u64,
    rotate_secs: u64,
    keep: u32,
}

impl Rotating {
    fn open(path: PathBuf, rotate_bytes: u64, rotate_secs: u64, keep: u32) -> io::Result<Self> {
        let file = append(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, file, size, since: None, rotate_bytes, rotate_secs, keep })
    }

    fn write(&mut self, lines: &[u8], at: i64) -> io::Result<()> {
        let since = *self.since.get_or_insert(at);
        let old =
            self.rotate_secs > 0 && at.saturating_sub(since).unsigned_abs() >= self.rotate_secs && at > since;
        let large = self.size.saturating_add(lines.len() as u64) > self.rotate_bytes;
        if self.size > 0 && (old || large) {
            self.rotate()?;
            self.since = Some(at);
        }
        self.file.write_all(lines)?;
        self.size = self.size.saturating_add(lines.len() as u64);
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        if self.keep == 0 {
            self.file.set_len(0)?;
        } else {
            for n in (1..self.keep).rev() {
                let from = numbered(&self.path, n);
                if from.exists() {
                    std::fs::rename(from, numbered(&self.path, n + 1))?;
                }
            }
            std::fs::rename(&self.path, numbered(&self.path, 1))?;
        }
        self.file = append(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

/// Lines name addresses and tenants: only the owner reads them.
fn append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn numbered(path: &Path, n: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    PathBuf::from(name)
}
