//! The words of clamd (clamd(8)): `INSTREAM` and `VERSION`. What it answers is read by an exact grammar: everything that
//! is not plainly an answer is no answer.

use super::CONNECT;
use crate::spool::Spooled;
use bytes::Bytes;
use portcullis_contract::upload::Content;
use portcullis_egress::{Door, Purpose};
use portcullis_plan::api::ScanAddress;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::spawn_blocking;

/// Bytes of a chunk.
const CHUNK: usize = 64 << 10;
/// Bytes that are read from the disk at once.
const STEP: usize = 1 << 20;
/// Bytes of an answer.
const ANSWER: usize = 1024;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Clean,
    Found(String),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) why: &'static str,
    /// It must show again that it works.
    pub(super) doubt: bool,
}

impl Trouble {
    pub(super) const fn lasting(why: &'static str) -> Self {
        Self { why, doubt: true }
    }

    const fn passing(why: &'static str) -> Self {
        Self { why, doubt: false }
    }
}

/// What is scanned.
pub(super) enum Source<'a> {
    File(&'a Arc<Spooled>),
    Bytes(&'a [u8]),
    Zeros(u64),
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

async fn connect(door: &Door, address: &ScanAddress) -> Result<Box<dyn Stream>, Trouble> {
    let away = |_| Trouble::lasting("scanner-away");
    Ok(match address {
        ScanAddress::Tcp { host, port } => {
            Box::new(door.dial(Purpose::Scanner, host, *port, CONNECT).await.map_err(away)?)
        }
        ScanAddress::Unix(path) => {
            Box::new(door.dial_unix(Purpose::Scanner, path, CONNECT).await.map_err(away)?)
        }
    })
}

/// Sends a file and reads what is said of it.
pub(super) async fn scan(door: &Door, address: &ScanAddress, source: Source<'_>) -> Result<Reply, Trouble> {
    let (mut read, mut write) = tokio::io::split(connect(door, address).await?);
    let (mut answer, mut sent) = (Vec::new(), false);
    {
        let sending = send(&mut write, source);
        let reading = read_answer(&mut read, &mut answer);
        tokio::pin!(sending, reading);
        // A daemon that has heard enough (its limit) says so and hangs up: then nobody waits for our sending to fail.
        tokio::select! {
            done = &mut sending => match done {
                Ok(()) => {
                    sent = true;
                    reading.await?;
                }
                // It may have said why before it went.
                Err(Sending::Unreadable) => return Err(Trouble::passing("spool-unreadable")),
                Err(Sending::Cut) => reading.await?,
            },
            read = &mut reading => read?,
        }
    }
    judge(&answer, sent)
}

enum Sending {
    Cut,
    Unreadable,
}

impl From<io::Error> for Sending {
    fn from(_: io::Error) -> Self {
        Self::Cut
    }
}

async fn send(write: &mut (impl AsyncWrite + Unpin), source: Source<'_>) -> Result<(), Sending> {
    write.write_all(b"zINSTREAM\0").await?;
    match source {
        Source::Bytes(bytes) => chunks(write, bytes).await?,
        Source::Zeros(mut left) => {
            let zeros = vec![0; CHUNK];
            while left > 0 {
                let step = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
                chunks(write, zeros.get(..step).unwrap_or_default()).await?;
                left -= step as u64;
            }
        }
        Source::File(file) => match file.in_memory() {
            Some(bytes) => chunks(write, bytes).await?,
            None => {
                let mut at = 0;
                while at < file.len() {
                    let bytes = piece(file, at).await.ok_or(Sending::Unreadable)?;
                    at += bytes.len() as u64;
                    chunks(write, &bytes).await?;
                }
            }
        },
    }
    write.write_all(&[0; 4]).await?;
    write.flush().await?;
    Ok(())
}

async fn piece(file: &Arc<Spooled>, at: u64) -> Option<Bytes> {
    let file = Arc::clone(file);
    let read = spawn_blocking(move || {
        let mut bytes = vec![0; STEP];
        let count = file.read_at(at, &mut bytes).filter(|count| *count > 0)?;
        bytes.truncate(count);
        Some(Bytes::from(bytes))
    });
    read.await.ok().flatten()
}

async fn chunks(write: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    for chunk in bytes.chunks(CHUNK) {
        write.write_all(&u32::try_from(chunk.len()).unwrap_or(0).to_be_bytes()).await?;
        write.write_all(chunk).await?;
    }
    Ok(())
}

/// Up to the end of the connection.
async fn read_answer(read: &mut (impl AsyncRead + Unpin), answer: &mut Vec<u8>) -> Result<(), Trouble> {
    let mut piece = [0; 256];
    loop {
        match read.read(&mut piece).await {
            Ok(0) => return Ok(()),
            // What it said before it reset the connection counts.
            Err(_) if !answer.is_empty() => return Ok(()),
            Err(_) => return Err(Trouble::lasting("scanner-cut")),
            Ok(count) => answer.extend_from_slice(piece.get(..count).unwrap_or_default()),
        }
        if answer.len() > ANSWER {
            return Err(Trouble::lasting("scanner-answer-odd"));
        }
    }
}

/// `stream: OK` and `stream: NAME FOUND`, each with its NUL and nothing behind; everything else is no answer. Before the
/// whole file was sent nothing can be clean.
pub(super) fn judge(answer: &[u8], sent: bool) -> Result<Reply, Trouble> {
    if answer.is_empty() {
        return Err(Trouble::lasting("scanner-cut"));
    }
    let odd = Trouble::lasting("scanner-answer-odd");
    let text = answer.strip_suffix(b"\0").and_then(|text| std::str::from_utf8(text).ok()).ok_or(odd)?;
    // Limits and other errors are about this file; the daemon is well.
    if text.starts_with("INSTREAM size limit exceeded") {
        return Err(Trouble::passing("scanner-size-limit"));
    }
    if text.ends_with("ERROR") {
        return Err(Trouble::passing("scanner-error"));
    }
    let said = text.strip_prefix("stream: ").ok_or(odd)?;
    if said == "OK" {
        return if sent { Ok(Reply::Clean) } else { Err(odd) };
    }
    let name = said.strip_suffix(" FOUND").ok_or(odd)?;
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()) && name != "(null)";
    if is_name { Ok(Reply::Found(name.to_owned())) } else { Err(odd) }
}

/// What `VERSION` says.
pub(super) async fn version(door: &Door, address: &ScanAddress) -> Result<String, Trouble> {
    let mut stream = connect(door, address).await?;
    stream.write_all(b"zVERSION\0").await.map_err(|_| Trouble::lasting("scanner-cut"))?;
    let mut answer = Vec::new();
    read_answer(&mut stream, &mut answer).await?;
    let odd = Trouble::lasting("scanner-answer-odd");
    let text = answer.strip_suffix(b"\0").and_then(|text| std::str::from_utf8(text).ok()).ok_or(odd)?;
    if text.starts_with("ClamAV ") && text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        Ok(text.to_owned())
    } else {
        Err(odd)
    }
}
