//! Certificates by ACME (RFC 8555): the book of what is served and proved, one order, and when the next is due.
//!
//! The first certificate is asked for while the listener is already open, for it is the listener that proves the name;
//! until then its handshakes end with `unrecognized_name`. A certificate that cannot be renewed is served to its end.

mod keeper;
mod order;

pub(crate) use keeper::encode;
pub use keeper::{Keeper, Told, next_key_name};

use super::tls::{self, TlsError};
use arc_swap::ArcSwapOption;
use portcullis_core::secret::Secret;
use portcullis_plan::listen::Certificate;
use rustls::ServerConfig;
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// What ACME has brought, and what is being proved. One for all listeners; survives reloads.
#[derive(Debug, Default)]
pub struct Book {
    slots: Mutex<HashMap<String, Arc<Slot>>>,
    proofs: RwLock<Proofs>,
    /// Hashes of backup keys that are published, by listener.
    backups: RwLock<HashMap<String, String>>,
}

/// Answers to challenges of orders in progress, and to no others.
#[derive(Debug, Default)]
struct Proofs {
    /// tls-alpn-01: by host.
    handshakes: HashMap<String, Arc<ServerConfig>>,
    /// http-01: by token.
    tokens: HashMap<String, String>,
}

/// The place of one certificate.
#[derive(Debug, Default)]
pub struct Slot {
    present: ArcSwapOption<Present>,
}

/// A certificate that is served.
#[derive(Debug)]
pub(crate) struct Present {
    pub(crate) key: Arc<CertifiedKey>,
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

impl Slot {
    /// Serves a chain and its key (PEM) from the next handshake on; checked as one from a file is.
    ///
    /// # Errors
    /// It cannot be used; what was served stays.
    pub fn put(&self, name: &str, chain: &[u8], key: &[u8]) -> Result<(), TlsError> {
        let certificate = Certificate {
            source: format!("acme {name}"),
            chain: chain.to_vec(),
            key: Secret::new(key.to_vec()),
        };
        let (key, facts) = tls::certified(&certificate, &tls::provider())?;
        let present =
            Present { key: Arc::new(key), not_before: facts.not_before, not_after: facts.not_after };
        self.present.store(Some(Arc::new(present)));
        Ok(())
    }

    pub(crate) fn present(&self) -> Option<Arc<Present>> {
        self.present.load_full()
    }
}

impl Book {
    /// The place of a certificate; made when it is asked for the first time.
    pub fn slot(&self, name: &str) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.entry(name.to_owned()).or_default().clone()
    }

    /// The hash of a listener's backup key, where it is published.
    pub fn backup(&self, listener: &str) -> Option<String> {
        self.backups.read().unwrap_or_else(PoisonError::into_inner).get(listener).cloned()
    }

    /// Publishes it.
    pub fn publish_backup(&self, listener: &str, hash: String) {
        self.backups.write().unwrap_or_else(PoisonError::into_inner).insert(listener.to_owned(), hash);
    }

    /// What is answered at `/.well-known/acme-challenge/TOKEN`, for a token of an order in progress.
    pub fn token(&self, token: &str) -> Option<String> {
        self.proofs.read().unwrap_or_else(PoisonError::into_inner).tokens.get(token).cloned()
    }

    /// The handshake that proves a host, while it is being proved (RFC 8737).
    pub(crate) fn handshake(&self, host: &str) -> Option<Arc<ServerConfig>> {
        let host = host.to_ascii_lowercase();
        self.proofs.read().unwrap_or_else(PoisonError::into_inner).handshakes.get(&host).cloned()
    }

    fn prove_by_handshake(self: &Arc<Self>, host: &str, config: Arc<ServerConfig>) -> Proof {
        let host = host.to_ascii_lowercase();
        self.proofs.write().unwrap_or_else(PoisonError::into_inner).handshakes.insert(host.clone(), config);
        Proof { book: self.clone(), what: What::Handshake(host) }
    }

    fn prove_by_token(self: &Arc<Self>, token: &str, answer: &str) -> Proof {
        let mut proofs = self.proofs.write().unwrap_or_else(PoisonError::into_inner);
        proofs.tokens.insert(token.to_owned(), answer.to_owned());
        Proof { book: self.clone(), what: What::Token(token.to_owned()) }
    }
}

/// A challenge is answered as long as this lives.
struct Proof {
    book: Arc<Book>,
    what: What,
}

enum What {
    Handshake(String),
    Token(String),
}

impl Drop for Proof {
    fn drop(&mut self) {
        let mut proofs = self.book.proofs.write().unwrap_or_else(PoisonError::into_inner);
        match &self.what {
            What::Handshake(host) => drop(proofs.handshakes.remove(host)),
            What::Token(token) => drop(proofs.tokens.remove(token)),
        }
    }
}
