//! The key that signs `Portcullis-Identity` (wire.md § 9.4): Ed25519, rotated every 30 days, the old public key
//! published for 7 days more.
//!
//! Kept as PKCS#8 files with mode 0600 in the store's folder, so that a restart keeps the key; without a folder
//! it lives as long as the process.

use arc_swap::ArcSwap;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64U;
use portcullis_core::time::Now;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Seconds after which a new key signs.
pub const ROTATE_S: i64 = 30 * 86_400;
/// Seconds for which a retired key stays published.
pub const OVERLAP_S: i64 = 7 * 86_400;

/// Signs identity headers and publishes the public keys.
pub struct IdentitySigner {
    folder: Option<PathBuf>,
    ring: ArcSwap<Vec<Arc<Key>>>,
    turning: Mutex<()>,
}

struct Key {
    kid: String,
    created: i64,
    pair: Ed25519KeyPair,
}

impl IdentitySigner {
    /// Loads the keys of `folder`, and makes one when there is none that may sign.
    pub fn open(folder: Option<&Path>, now: Now) -> Result<Self, String> {
        let folder = folder.map(|f| f.join("identity-keys"));
        let mut keys = Vec::new();
        if let Some(folder) = &folder {
            std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
            for entry in
                std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?.flatten()
            {
                if let Some(key) = load(&entry.path())? {
                    keys.push(Arc::new(key));
                }
            }
        }
        keys.sort_by_key(|k| std::cmp::Reverse(k.created));
        let signer = Self { folder, ring: ArcSwap::from_pointee(keys), turning: Mutex::new(()) };
        signer.turn(now)?;
        Ok(signer)
    }

    /// `header.payload.signature` over claims that are already JSON.
    pub fn sign(&self, claims: &[u8], now: Now) -> Result<String, String> {
        let ring = self.ring.load();
        let key = match ring.first() {
            Some(key) if now.secs().saturating_sub(key.created) < ROTATE_S => key.clone(),
            _ => {
                self.turn(now)?;
                self.ring.load().first().cloned().ok_or("no signing key")?
            }
        };
        let header = format!(r#"{{"alg":"EdDSA","typ":"portcullis-id+jwt","kid":"{}"}}"#, key.kid);
        let mut text = String::with_capacity(claims.len().saturating_mul(2).saturating_add(200));
        B64U.encode_string(header, &mut text);
        text.push('.');
        B64U.encode_string(claims, &mut text);
        let signature = key.pair.sign(text.as_bytes());
        text.push('.');
        B64U.encode_string(signature.as_ref(), &mut text);
        Ok(text)
    }

    /// The JWK set of every key that may still verify.
    pub fn jwks(&self, now: Now) -> String {
        let mut out = String::from(r#"{"keys":["#);
        let ring = self.ring.load();
        for (i, key) in ring.iter().enumerate() {
            let old = now.secs().saturating_sub(key.created) >= ROTATE_S + OVERLAP_S;
            if i > 0 && old {
                continue;
            }
            if i > 0 {
                out.push(',');
            }
            let x = B64U.encode(key.pair.public_key().as_ref());
            out.push_str(&format!(
                r#"{{"kty":"OKP","crv":"Ed25519","use":"sig","alg":"EdDSA","kid":"{}","x":"{x}"}}"#,
                key.kid
            ));
        }
        out.push_str("]}");
        out
    }

    /// Makes a new key when the newest is too old, and forgets what nobody may verify with any more.
    fn turn(&self, now: Now) -> Result<(), String> {
        let _one = self.turning.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let ring = self.ring.load_full();
        if ring.first().is_some_and(|k| now.secs().saturating_sub(k.created) < ROTATE_S) {
            return Ok(());
        }
        let document = fresh()?;
        if let Some(folder) = &self.folder {
            store(&folder.join(format!("{}.p8", now.secs())), &document)?;
        }
        let key = from_pkcs8(&document, now.secs())?;
        let mut next = vec![Arc::new(key)];
        for old in ring.iter() {
            if now.secs().saturating_sub(old.created) < ROTATE_S + OVERLAP_S {
                next.push(old.clone());
            } else if let Some(folder) = &self.folder {
                let _ = std::fs::remove_file(folder.join(format!("{}.p8", old.created)));
            }
        }
        self.ring.store(Arc::new(next));
        Ok(())
    }
}

fn from_pkcs8(bytes: &[u8], created: i64) -> Result<Key, String> {
    let pair = Ed25519KeyPair::from_pkcs8(bytes).map_err(|_| "not an Ed25519 key".to_owned())?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, pair.public_key().as_ref());
    let kid = B64U.encode(digest.as_ref().get(..12).unwrap_or_default());
    Ok(Key { kid, created, pair })
}

/// A key file is `<unix seconds>.p8`; anything else in the folder is not ours.
fn load(path: &Path) -> Result<Option<Key>, String> {
    let created = path.extension().is_some_and(|e| e == "p8");
    let created = path.file_stem().and_then(|s| s.to_str()).filter(|_| created).and_then(|s| s.parse().ok());
    let Some(created) = created else { return Ok(None) };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|f| f.take(4096).read_to_end(&mut bytes))
        .map_err(|e| format!("{}: {e}", path.display()))?;
    from_pkcs8(&bytes, created).map(Some).map_err(|e| format!("{}: {e}", path.display()))
}

/// A new Ed25519 key as PKCS#8.
pub(crate) fn fresh() -> Result<Vec<u8>, String> {
    Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new())
        .map(|document| document.as_ref().to_vec())
        .map_err(|_| "no randomness".to_owned())
}

pub(crate) fn store(path: &Path, bytes: &[u8]) -> Result<(), String> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| format!("{}: {e}", path.display()))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|e| format!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    fn now(day: i64) -> Now {
        Now::from_secs(1_767_225_600 + day * 86_400)
    }

    fn published(signer: &IdentitySigner, at: Now) -> usize {
        signer.jwks(at).matches("\"kid\"").count()
    }

    #[test]
    fn signs_with_the_published_key() {
        let signer = IdentitySigner::open(None, now(0)).unwrap();
        let token = signer.sign(br#"{"sub":"ann"}"#, now(0)).unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let jwks = signer.jwks(now(0));
        let x = jwks.split("\"x\":\"").nth(1).unwrap().split('"').next().unwrap();
        let key = UnparsedPublicKey::new(&ED25519, B64U.decode(x).unwrap());
        key.verify(signed.as_bytes(), &B64U.decode(signature).unwrap()).unwrap();
    }

    #[test]
    fn rotates_after_30_days_and_publishes_the_old_key_for_7_more() {
        let signer = IdentitySigner::open(None, now(0)).unwrap();
        let first = signer.sign(b"{}", now(29)).unwrap();
        assert_eq!(first.split('.').next(), signer.sign(b"{}", now(0)).unwrap().split('.').next());
        let second = signer.sign(b"{}", now(30)).unwrap();
        assert_ne!(first.split('.').next(), second.split('.').next());
        assert_eq!(published(&signer, now(36)), 2);
        assert_eq!(published(&signer, now(37)), 1);
    }

    #[test]
    fn a_restart_keeps_the_key_and_its_mode_is_0600() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = std::env::temp_dir().join(format!("portcullis-signing-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let first = IdentitySigner::open(Some(&folder), now(0)).unwrap().jwks(now(0));
        assert_eq!(IdentitySigner::open(Some(&folder), now(1)).unwrap().jwks(now(1)), first);
        for entry in std::fs::read_dir(folder.join("identity-keys")).unwrap().flatten() {
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
