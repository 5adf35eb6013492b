//! Where files wait until they are judged (contract.md § 13.4): up to 1 MiB in memory, above it in a file that has no
//! name any more.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use portcullis_contract::upload::Content;
use portcullis_core::problem::Code;
use portcullis_core::verdict::Fault;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::wire::Cut;

/// Bytes of one file that are held in memory.
pub const IN_MEMORY: usize = 1 << 20;
/// Bytes of all files that are not.
pub const IN_ALL: u64 = 2 << 30;
/// Bytes that are written or read at once.
const STEP: usize = 256 << 10;

/// How much is spooled by all threads together.
#[derive(Debug)]
pub struct Spool {
    used: AtomicU64,
    limit: u64,
}

impl Default for Spool {
    fn default() -> Self {
        Self::new(IN_ALL)
    }
}

impl Spool {
    /// For at most so many bytes.
    pub const fn new(limit: u64) -> Self {
        Self { used: AtomicU64::new(0), limit }
    }

    /// Bytes in files now.
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    fn take(&self, bytes: u64) -> bool {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }
}

/// Why a file cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpoolError {
    /// All files together would be too large.
    Full,
    /// The disk says no.
    Disk,
}

impl From<SpoolError> for Fault {
    fn from(error: SpoolError) -> Self {
        let reason = match error {
            SpoolError::Full => "spool-full",
            SpoolError::Disk => "spool-unusable",
        };
        Self::new(Code::Overloaded, reason).retry_after(5)
    }
}

/// Room that is given back when the file is gone.
#[derive(Debug)]
struct Room {
    spool: Arc<Spool>,
    bytes: u64,
}

impl Room {
    fn grow(&mut self, bytes: usize) -> Result<(), SpoolError> {
        let bytes = bytes as u64;
        if !self.spool.take(bytes) {
            return Err(SpoolError::Full);
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.spool.used.fetch_sub(self.bytes, Relaxed);
    }
}

/// A file that is coming.
#[derive(Debug)]
pub struct Spooling {
    folder: Arc<Path>,
    name: String,
    /// Not yet written: the whole file, or its last piece.
    held: Vec<u8>,
    file: Option<Arc<File>>,
    written: u64,
    room: Room,
}

impl Spooling {
    /// Begins a file; above [`IN_MEMORY`] it will be in `folder`. `name` is one that nobody can guess.
    pub fn begin(spool: &Arc<Spool>, folder: &Arc<Path>, name: u128) -> Self {
        Self {
            folder: Arc::clone(folder),
            name: format!("portcullis-{name:032x}"),
            held: Vec::new(),
            file: None,
            written: 0,
            room: Room { spool: Arc::clone(spool), bytes: 0 },
        }
    }

    /// Bytes so far.
    pub fn len(&self) -> u64 {
        self.written + self.held.len() as u64
    }

    /// Whether nothing has come.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// More of it.
    ///
    /// # Errors
    /// See [`SpoolError`].
    pub async fn push(&mut self, bytes: &[u8]) -> Result<(), SpoolError> {
        self.held.extend_from_slice(bytes);
        let most = if self.file.is_some() { STEP } else { IN_MEMORY };
        if self.held.len() > most { self.write().await } else { Ok(()) }
    }

    /// It has come.
    ///
    /// # Errors
    /// See [`SpoolError`].
    pub async fn finish(mut self) -> Result<Spooled, SpoolError> {
        let Some(file) = self.file.clone() else {
            return Ok(Spooled { store: Store::Memory(self.held.into()) });
        };
        self.write().await?;
        Ok(Spooled { store: Store::Disk { file, len: self.written, _room: self.room } })
    }

    async fn write(&mut self) -> Result<(), SpoolError> {
        let bytes = std::mem::take(&mut self.held);
        if bytes.is_empty() {
            return Ok(());
        }
        self.room.grow(bytes.len())?;
        let known = self.file.clone();
        let path = self.folder.join(&self.name);
        let count = bytes.len() as u64;
        let done = spawn_blocking(move || -> io::Result<Arc<File>> {
            let file = match known {
                Some(file) => file,
                None => Arc::new(nameless(&path)?),
            };
            (&*file).write_all(&bytes)?;
            Ok(file)
        });
        let file = done.await.map_err(|_| SpoolError::Disk)?.map_err(|_| SpoolError::Disk)?;
        self.file = Some(file);
        self.written += count;
        Ok(())
    }
}

/// A new file for nobody but us, whose name is gone before a byte is in it.
fn nameless(path: &PathBuf) -> io::Result<File> {
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

/// A file that has come, in memory or on the disk.
#[derive(Debug)]
pub struct Spooled {
    store: Store,
}

#[derive(Debug)]
enum Store {
    Memory(Bytes),
    Disk { file: Arc<File>, len: u64, _room: Room },
}

impl From<Vec<u8>> for Spooled {
    fn from(bytes: Vec<u8>) -> Self {
        Self { store: Store::Memory(bytes.into()) }
    }
}

impl Spooled {
    /// The bytes, where they are in memory.
    pub const fn in_memory(&self) -> Option<&Bytes> {
        match &self.store {
            Store::Memory(bytes) => Some(bytes),
            Store::Disk { .. } => None,
        }
    }
}

impl Content for Spooled {
    fn len(&self) -> u64 {
        match &self.store {
            Store::Memory(bytes) => bytes.len() as u64,
            Store::Disk { len, .. } => *len,
        }
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> Option<usize> {
        match &self.store {
            Store::Memory(bytes) => bytes.as_ref().read_at(at, into),
            Store::Disk { file, len, .. } => {
                let left = usize::try_from(len.saturating_sub(at)).unwrap_or(usize::MAX);
                let count = left.min(into.len());
                file.read_exact_at(into.get_mut(..count)?, at).ok()?;
                Some(count)
            }
        }
    }
}

/// Something to send: bytes, or a file.
#[derive(Debug)]
pub enum Piece {
    /// In memory.
    Bytes(Bytes),
    /// A file, wherever it is.
    File(Arc<Spooled>),
}

/// A body of pieces, one after the other. A file is read step by step, beside the thread of requests.
#[derive(Debug)]
pub struct Pieces {
    pieces: VecDeque<Piece>,
    /// Of the file in front, how much was read.
    at: u64,
    reading: Option<JoinHandle<Option<Bytes>>>,
    left: u64,
}

impl Pieces {
    /// Of these.
    pub fn new(pieces: impl IntoIterator<Item = Piece>) -> Self {
        let pieces: VecDeque<Piece> = pieces.into_iter().collect();
        let length = |piece: &Piece| match piece {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::File(file) => file.len(),
        };
        let left = pieces.iter().map(length).sum();
        Self { pieces, at: 0, reading: None, left }
    }

    /// All of it, where it is in memory and at most `limit` bytes.
    pub fn in_memory(&self, limit: u64) -> Option<Bytes> {
        if self.left > limit {
            return None;
        }
        let mut all = Vec::with_capacity(usize::try_from(self.left).ok()?);
        for piece in &self.pieces {
            all.extend_from_slice(match piece {
                Piece::Bytes(bytes) => bytes,
                Piece::File(file) => file.in_memory()?,
            });
        }
        Some(all.into())
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let me = self.get_mut();
        loop {
            if let Some(reading) = &mut me.reading {
                let read = ready!(Pin::new(reading).poll(cx));
                me.reading = None;
                let Ok(Some(bytes)) = read else { return Poll::Ready(Some(Err(Cut("spool-unreadable")))) };
                me.at += bytes.len() as u64;
                me.left = me.left.saturating_sub(bytes.len() as u64);
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            match me.pieces.front() {
                None => return Poll::Ready(None),
                Some(Piece::File(file)) if file.in_memory().is_none() && me.at < file.len() => {
                    let (file, at) = (Arc::clone(file), me.at);
                    me.reading = Some(spawn_blocking(move || {
                        let mut bytes = vec![0; STEP];
                        let count = file.read_at(at, &mut bytes).filter(|count| *count > 0)?;
                        bytes.truncate(count);
                        Some(bytes.into())
                    }));
                }
                Some(_) => {
                    me.at = 0;
                    let bytes = match me.pieces.pop_front() {
                        Some(Piece::Bytes(bytes)) => bytes,
                        Some(Piece::File(file)) => file.in_memory().cloned().unwrap_or_default(),
                        None => Bytes::new(),
                    };
                    if !bytes.is_empty() {
                        me.left = me.left.saturating_sub(bytes.len() as u64);
                        return Poll::Ready(Some(Ok(Frame::data(bytes))));
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.reading.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    struct Folder(Arc<Path>);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("portcullis-spool-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path.into())
        }

        fn names(&self) -> usize {
            std::fs::read_dir(&self.0).unwrap().count()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    async fn spooled(spool: &Arc<Spool>, folder: &Folder, bytes: &[u8]) -> Result<Spooled, SpoolError> {
        let mut spooling = Spooling::begin(spool, &folder.0, bytes.len() as u128);
        for piece in bytes.chunks(70_001) {
            spooling.push(piece).await?;
        }
        spooling.finish().await
    }

    async fn sent(mut pieces: Pieces) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut pieces).poll_frame(cx)).await {
            out.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
        assert!(pieces.is_end_stream());
        assert_eq!(pieces.size_hint().exact(), Some(0));
        out
    }

    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|i| (i / 7 % 251) as u8).collect()
    }

    #[tokio::test]
    async fn small_files_stay_in_memory_and_large_ones_have_no_name() {
        let (spool, folder) = (Arc::new(Spool::default()), Folder::new("names"));
        for count in [0, 1, IN_MEMORY, IN_MEMORY + 1, 3 * IN_MEMORY + 12_345] {
            let whole = bytes(count);
            let file = spooled(&spool, &folder, &whole).await.unwrap();
            assert_eq!(file.len(), count as u64);
            assert_eq!(file.in_memory().is_some(), count <= IN_MEMORY);
            assert_eq!(folder.names(), 0, "a file with a name survives a crash");
            assert_eq!(spool.used(), if count <= IN_MEMORY { 0 } else { count as u64 });
            if let Store::Disk { file, .. } = &file.store {
                let about = file.metadata().unwrap();
                assert_eq!((about.mode() & 0o777, about.nlink()), (0o600, 0));
            }
            let mut part = [0; 100];
            let at = (count as u64).saturating_sub(60);
            assert_eq!(file.read_at(at, &mut part), Some(count.min(60)));
            assert_eq!(part[..count.min(60)], whole[at as usize..]);
            assert_eq!(file.read_at(count as u64, &mut part), Some(0));
            assert_eq!(file.read_at(u64::MAX, &mut part), Some(0));
            let file = Arc::new(file);
            let pieces = Pieces::new([
                Piece::Bytes("<".into()),
                Piece::File(Arc::clone(&file)),
                Piece::File(file),
                Piece::Bytes(">".into()),
            ]);
            assert_eq!(pieces.size_hint().exact(), Some(2 * count as u64 + 2));
            assert_eq!(sent(pieces).await, [b"<".as_slice(), &whole, &whole, b">"].concat());
        }
        assert_eq!(spool.used(), 0, "room is given back");
    }

    #[tokio::test]
    async fn all_files_together_are_bounded() {
        let (spool, folder) = (Arc::new(Spool::new(4 << 20)), Folder::new("bound"));
        let one = spooled(&spool, &folder, &bytes(3 << 20)).await.unwrap();
        assert_eq!(spooled(&spool, &folder, &bytes(2 << 20)).await.unwrap_err(), SpoolError::Full);
        assert_eq!(spool.used(), 3 << 20, "what was refused holds nothing");
        drop(one);
        assert!(spooled(&spool, &folder, &bytes(2 << 20)).await.is_ok());
        assert_eq!(Fault::from(SpoolError::Full).code, Code::Overloaded);
    }

    #[tokio::test]
    async fn a_folder_that_is_gone_is_a_fault() {
        let spool = Arc::new(Spool::default());
        let nowhere = Folder(Path::new("/nowhere/at/all").into());
        assert_eq!(spooled(&spool, &nowhere, &bytes(2 << 20)).await.unwrap_err(), SpoolError::Disk);
        assert_eq!(spool.used(), 0);
    }

    #[test]
    fn what_is_in_memory_can_be_one_body() {
        let file = || Piece::File(Arc::new(Spooled::from(b"abc".to_vec())));
        let pieces = || Pieces::new([Piece::Bytes("<".into()), file()]);
        assert_eq!(pieces().in_memory(4).as_deref(), Some(b"<abc".as_slice()));
        assert_eq!(pieces().in_memory(3), None);
    }
}
