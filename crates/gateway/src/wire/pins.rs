//! Keys that apps may pin: hashes of public keys (RFC 7469 § 2.4) of what a listener serves, and of the key that comes
//! next when the present one is lost.

use super::acme::Book;
use super::tls::{self, Shown, TlsError};
use super::x509::{self, San};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_core::secret::Secret;
use portcullis_plan::listen::{Listener, Tls};
use portcullis_store::{Store, StoreError};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PublicKeyData as _};
use rustls::pki_types::TrustAnchor;

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// SHA-256 of the SubjectPublicKeyInfo, base64.
    pub spki_sha256: String,
    /// What it is.
    pub role: Role,
    /// The end of its certificate, Unix seconds.
    pub not_after: Option<i64>,
}

/// What a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The key that is served, where it outlives renewals.
    Current,
    /// The key that will be served once the present one is lost.
    Backup,
    /// The key at the end of the chain.
    Root,
}

impl Role {
    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Backup => "backup",
            Self::Root => "root",
        }
    }
}

/// The keys of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    /// The certificate's first name.
    pub host: String,
    /// Its keys.
    pub keys: Vec<Pin>,
}

/// The pins of what a listener serves: one entry for each certificate. `backup` is the hash of the listener's backup key.
pub fn of(shown: &[Shown], tls: &Tls, backup: Option<&str>) -> Vec<Pins> {
    shown.iter().filter_map(|shown| one(shown, tls, backup)).collect()
}

/// As [`of`], for a plan that is not in force: certificates from its files, and what `book` holds of ACME.
///
/// # Errors
/// A certificate that would not be served.
pub fn of_plan(tls: &Tls, book: &Book, backup: Option<&str>) -> Result<Vec<Pins>, TlsError> {
    Ok(of(&tls::build(tls, book)?.shown(), tls, backup))
}

fn one(shown: &Shown, tls: &Tls, backup: Option<&str>) -> Option<Pins> {
    let leaf = shown.chain().first()?;
    let facts = x509::read(leaf)?;
    let name = |san: &San| match san {
        San::Dns(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    let mut keys = Vec::new();
    // A certificate by ACME has a new key each time, unless it is told to keep it.
    let keeps = tls.certificates.iter().any(|certificate| certificate.source == shown.source)
        || tls.acme.as_ref().is_some_and(|acme| acme.reuse_key);
    if keeps {
        let pin = Pin {
            spki_sha256: hash(x509::public_key(leaf)?),
            role: Role::Current,
            not_after: Some(facts.not_after),
        };
        keys.push(pin);
    }
    keys.extend(backup.map(|hash| Pin { spki_sha256: hash.to_owned(), role: Role::Backup, not_after: None }));
    keys.extend(root(shown));
    Some(Pins { host: facts.sans.iter().find_map(name)?, keys })
}

/// The end of the chain: the last certificate, if it is its own issuer, or the public authority that issued it.
fn root(shown: &Shown) -> Option<Pin> {
    let last = shown.chain().last()?;
    let (issuer, subject) = x509::issuer_and_subject(last)?;
    if issuer == subject {
        let not_after = Some(x509::read(last)?.not_after).filter(|_| shown.chain().len() > 1)?;
        return Some(Pin {
            spki_sha256: hash(x509::public_key(last)?),
            role: Role::Root,
            not_after: Some(not_after),
        });
    }
    let anchors = portcullis_egress::tls::public_authorities();
    let anchor = anchors.iter().find(|anchor: &&TrustAnchor<'_>| anchor.subject.as_ref() == issuer)?;
    let key = x509::sequence(&anchor.subject_public_key_info);
    Some(Pin { spki_sha256: hash(&key), role: Role::Root, not_after: None })
}

fn hash(public_key: &[u8]) -> String {
    STANDARD.encode(digest(&SHA256, public_key))
}

fn name(listener: &Listener) -> String {
    format!("backup-key {}", listener.name)
}

/// The hash of a listener's backup key, which is made now if there is none.
///
/// # Errors
/// The store cannot be used, or the key cannot be made.
pub async fn backup(store: &Store, listener: &Listener, now: i64) -> Result<String, StoreError> {
    let fresh = KeyPair::generate().map_err(|_| StoreError::Broken)?.serialize_pem();
    let kept = store.kept().first(&name(listener), fresh.as_bytes(), now).await?;
    Ok(hash(&pair(&kept.value)?.subject_public_key_info()))
}

/// A backup key on its way to become the key that is served.
pub struct Promoted {
    /// The key, PEM.
    pub key: Secret<String>,
    /// A certificate signing request for it, PEM.
    pub request: String,
    /// Its hash, as it was published.
    pub spki_sha256: String,
}

/// Reads a listener's backup key and makes a request for `hosts` with it. It stays the backup until [`forget_backup`].
///
/// # Errors
/// [`StoreError::Missing`] when there is none: what was never published must not be promoted.
pub async fn promote(store: &Store, listener: &Listener, hosts: &[String]) -> Result<Promoted, StoreError> {
    let kept = store.kept().get(&name(listener)).await?.ok_or(StoreError::Missing)?;
    let key = pair(&kept.value)?;
    let mut params = CertificateParams::new(hosts).map_err(|_| StoreError::Broken)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).and_then(|csr| csr.pem()).map_err(|_| StoreError::Broken)?;
    let spki_sha256 = hash(&key.subject_public_key_info());
    Ok(Promoted { key: Secret::new(key.serialize_pem()), request, spki_sha256 })
}

/// A promoted key is a backup no more; the next one is made when pins are asked for.
///
/// # Errors
/// The store cannot be used.
pub async fn forget_backup(store: &Store, listener: &Listener) -> Result<(), StoreError> {
    store.kept().remove(&name(listener)).await.map(drop)
}

fn pair(pem: &Secret<Vec<u8>>) -> Result<KeyPair, StoreError> {
    let text = std::str::from_utf8(pem.expose()).map_err(|_| StoreError::Broken)?;
    KeyPair::from_pem(text).map_err(|_| StoreError::Broken)
}
