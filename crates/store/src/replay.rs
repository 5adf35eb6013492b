//! Single use: nonces and ids that may be presented once (callers.md § 11). One conditional insert, never
//! read-then-write.

use crate::StoreError;
use crate::adapter::{Durable, Hot};
use crate::worker::Worker;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// What is presented once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplayKind {
    /// Signed request: keyid, nonce. Hot.
    Signature,
    /// DPoP proof: jkt, jti. Hot.
    Dpop,
    /// Client assertion: client, jti. Durable.
    ClientAssertion,
    /// Logout token: issuer, jti. Durable.
    LogoutToken,
    /// SAML assertion: connection, assertion id. Durable.
    SamlAssertion,
}

impl ReplayKind {
    /// The word in the table and in metrics.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Dpop => "dpop",
            Self::ClientAssertion => "client_assertion",
            Self::LogoutToken => "logout_token",
            Self::SamlAssertion => "saml_assertion",
        }
    }

    /// By its word.
    pub(crate) fn named(word: &str) -> Option<Self> {
        let all =
            [Self::Signature, Self::Dpop, Self::ClientAssertion, Self::LogoutToken, Self::SamlAssertion];
        all.into_iter().find(|kind| kind.text() == word)
    }

    const fn is_hot(self) -> bool {
        matches!(self, Self::Signature | Self::Dpop)
    }
}

/// Whether a value was presented before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented {
    /// Never before: go on.
    Fresh,
    /// Before: refuse.
    Seen,
    /// Nobody knows: 503, never accepted.
    Unavailable,
}

impl Presented {
    /// Lower-case word for metrics.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Seen => "seen",
            Self::Unavailable => "unavailable",
        }
    }
}

/// A value as it is kept: the first 16 bytes of H(kind ‖ 0 ‖ parts joined by 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReplayKey([u8; 16]);

impl ReplayKey {
    /// The key of a value. Parts must not contain NUL, or two values could be one; one that does makes every value of
    /// its kind and length collide into a refusal, never into an acceptance.
    pub fn new(kind: ReplayKind, parts: &[&str]) -> Self {
        let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        hash.update(kind.text().as_bytes());
        for part in parts {
            hash.update(&[0]);
            hash.update(part.as_bytes());
        }
        let digest = hash.finish();
        Self(digest.as_ref().first_chunk().copied().unwrap_or_default())
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(crate) const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Put {
    pub(crate) kind: ReplayKind,
    pub(crate) key: ReplayKey,
    pub(crate) expires: i64,
    pub(crate) now: i64,
}

/// Single use.
pub struct Replay<'a> {
    pub(crate) durable: &'a Worker<dyn Durable>,
    pub(crate) hot: &'a HotReplay,
    pub(crate) lost: Option<i64>,
}

impl Replay<'_> {
    /// Notes a value until `expires` (unix seconds) and tells whether it was there. Waits at most 50 ms for hot kinds.
    /// A value whose `expires` has passed counts as never seen, so it must be refused by its time before it comes here.
    pub async fn put_if_absent(&self, kind: ReplayKind, key: ReplayKey, expires: i64, now: i64) -> Presented {
        let put = Put { kind, key, expires, now };
        let fresh = if kind.is_hot() {
            self.hot.put(put).await
        } else {
            self.durable.ask(move |d| d.put(&put)).await
        };
        match fresh {
            Ok(true) => Presented::Fresh,
            Ok(false) => Presented::Seen,
            Err(_) => Presented::Unavailable,
        }
    }

    /// When the hot memory was lost, unix seconds. Signatures with `created` ≤ this + 30 and proofs with `iat` ≤ this
    /// + 60 must be refused: they may have been seen.
    pub fn lost_at(&self) -> Option<i64> {
        self.lost
    }
}

type Waiting = (Put, oneshot::Sender<Result<bool, StoreError>>);

/// The hot table behind its own thread: what has queued up while one batch was committed is the next batch, so that
/// nobody waits for company and a burst costs one commit.
pub(crate) struct HotReplay {
    puts: Mutex<Option<SyncSender<Waiting>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    patience: Duration,
}

const QUEUE: usize = 8_192;
const BATCH: usize = 1_024;
/// Seconds between two sweeps of what has expired.
const SWEEP: i64 = 10;

impl HotReplay {
    pub(crate) fn start(mut hot: Box<dyn Hot>, patience: Duration) -> io::Result<Self> {
        let (puts, receive) = sync_channel::<Waiting>(QUEUE);
        let run = move || serve(hot.as_mut(), &receive);
        let thread = std::thread::Builder::new().name("replay".to_owned()).spawn(run)?;
        Ok(Self { puts: Mutex::new(Some(puts)), thread: Mutex::new(Some(thread)), patience })
    }

    pub(crate) async fn put(&self, put: Put) -> Result<bool, StoreError> {
        let (tell, answer) = oneshot::channel();
        {
            let puts = self.puts.lock().unwrap_or_else(PoisonError::into_inner);
            let puts = puts.as_ref().ok_or(StoreError::Unavailable)?;
            puts.try_send((put, tell)).map_err(|_| StoreError::Unavailable)?;
        }
        match tokio::time::timeout(self.patience, answer).await {
            Ok(Ok(result)) => result,
            _ => Err(StoreError::Unavailable),
        }
    }

    pub(crate) fn close(&self) {
        drop(self.puts.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}

fn serve(hot: &mut dyn Hot, receive: &Receiver<Waiting>) {
    let mut swept = i64::MIN;
    while let Ok(first) = receive.recv() {
        let waiting: Vec<Waiting> =
            std::iter::once(first).chain(receive.try_iter().take(BATCH - 1)).collect();
        let puts: Vec<Put> = waiting.iter().map(|(put, _)| *put).collect();
        match hot.put_all(&puts) {
            Ok(fresh) => {
                for ((_, tell), fresh) in waiting.into_iter().zip(fresh) {
                    let _ = tell.send(Ok(fresh));
                }
            }
            Err(error) => {
                for (_, tell) in waiting {
                    let _ = tell.send(Err(error));
                }
            }
        }
        let now = puts.iter().map(|p| p.now).max().unwrap_or(swept);
        if now >= swept.saturating_add(SWEEP) {
            swept = now;
            let _ = hot.forget(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_head_of_the_digest() {
        let key = ReplayKey::new(ReplayKind::Signature, &["k1", "n1"]);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"signature\0k1\0n1");
        assert_eq!(key.bytes(), digest.as_ref().first_chunk().unwrap());
        assert_ne!(key, ReplayKey::new(ReplayKind::Dpop, &["k1", "n1"]));
        assert_ne!(key, ReplayKey::new(ReplayKind::Signature, &["k", "1n1"]));
    }
}
