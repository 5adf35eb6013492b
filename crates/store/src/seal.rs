//! Sealing of columns: a dump of the database alone opens nothing.

use crate::OpenError;
use crate::StoreError;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use portcullis_core::secret::Secret;
use std::io::{Read as _, Write as _};
use std::path::Path;

/// Seals and opens values. `label` names the column, `bind` the row: a value moved elsewhere does not open.
pub trait Sealer: Send + Sync {
    /// Seals.
    fn seal(&self, label: &str, bind: &str, plain: &[u8]) -> Result<Vec<u8>, StoreError>;
    /// Opens what was sealed under the same label and bind.
    fn open(&self, label: &str, bind: &str, sealed: &[u8]) -> Result<Secret<Vec<u8>>, StoreError>;
}

/// AES-256-GCM under one key in a file beside the database (or nowhere). Sealed form: `1 ‖ nonce ‖ ciphertext ‖ tag`.
pub struct LocalKey(LessSafeKey);

const VERSION: u8 = 1;

impl LocalKey {
    /// The key in `path` (32 bytes, mode 0600), made if there is none.
    pub fn open_or_create(path: &Path) -> Result<Self, OpenError> {
        match std::fs::File::open(path) {
            Ok(file) => Self::read(file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::create(path),
            Err(error) => Err(error.into()),
        }
    }

    /// A key that is nowhere else.
    pub fn ephemeral() -> Result<Self, OpenError> {
        Self::from_bytes(&random()?)
    }

    fn create(path: &Path) -> Result<Self, OpenError> {
        let key = random()?;
        // Written whole beside, then linked: nobody reads half a key, and of two processes one wins.
        let unique = random()?.iter().take(8).map(|b| format!("{b:02x}")).collect::<String>();
        let beside = path.with_extension(format!("new-{unique}"));
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&beside)?;
        file.write_all(&key)?;
        file.sync_all()?;
        let linked = std::fs::hard_link(&beside, path);
        std::fs::remove_file(&beside)?;
        match linked {
            Ok(()) => Self::from_bytes(&key),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Self::read(std::fs::File::open(path)?)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn read(file: std::fs::File) -> Result<Self, OpenError> {
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata()?.permissions());
            if mode & 0o077 != 0 {
                return Err(OpenError::Key("others may read it; it wants mode 0600"));
            }
        }
        let mut key = Vec::with_capacity(33);
        file.take(33).read_to_end(&mut key)?;
        Self::from_bytes(&key)
    }

    fn from_bytes(key: &[u8]) -> Result<Self, OpenError> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| OpenError::Key("it is not 32 bytes"))?;
        Ok(Self(LessSafeKey::new(key)))
    }
}

impl Sealer for LocalKey {
    fn seal(&self, label: &str, bind: &str, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| StoreError::Sealed)?;
        let mut text = plain.to_vec();
        self.0
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(aad(label, bind)),
                &mut text,
            )
            .map_err(|_| StoreError::Sealed)?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + text.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&text);
        Ok(sealed)
    }

    fn open(&self, label: &str, bind: &str, sealed: &[u8]) -> Result<Secret<Vec<u8>>, StoreError> {
        let (VERSION, rest) = sealed.split_first().map(|(v, r)| (*v, r)).ok_or(StoreError::Sealed)? else {
            return Err(StoreError::Sealed);
        };
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().ok_or(StoreError::Sealed)?;
        let mut text = text.to_vec();
        let plain = self
            .0
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad(label, bind)), &mut text)
            .map_err(|_| StoreError::Sealed)?;
        Ok(Secret::new(plain.to_vec()))
    }
}

fn aad(label: &str, bind: &str) -> Vec<u8> {
    let mut aad = (label.len() as u64).to_be_bytes().to_vec();
    aad.extend_from_slice(label.as_bytes());
    aad.extend_from_slice(bind.as_bytes());
    aad
}

fn random() -> Result<[u8; 32], OpenError> {
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| OpenError::Key("the system has no randomness"))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_where_it_was_sealed() {
        let (key, other) = (LocalKey::ephemeral().unwrap(), LocalKey::ephemeral().unwrap());
        let sealed = key.seal("owner.email", "own_1", b"a@example.com").unwrap();
        assert!(!sealed.windows(7).any(|w| w == b"example"));
        assert_eq!(key.open("owner.email", "own_1", &sealed).unwrap().expose(), b"a@example.com");
        for (label, bind) in [("owner.email", "own_2"), ("owner.name", "own_1"), ("owner.emailo", "wn_1")] {
            assert_eq!(key.open(label, bind, &sealed).unwrap_err(), StoreError::Sealed);
        }
        assert!(other.open("owner.email", "own_1", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[at] ^= 1;
            assert!(key.open("owner.email", "own_1", &bent).is_err(), "byte {at}");
            assert!(key.open("owner.email", "own_1", &sealed[..at]).is_err());
        }
    }

    #[test]
    fn the_key_file_is_private_and_made_once() {
        let folder = std::env::temp_dir().join(format!("portcullis-seal-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("seal.key");
        let keys: Vec<LocalKey> = std::thread::scope(|s| {
            let all: Vec<_> = (0..4).map(|_| s.spawn(|| LocalKey::open_or_create(&path).unwrap())).collect();
            all.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let sealed = keys[0].seal("l", "b", b"x").unwrap();
        assert!(keys.iter().all(|k| k.open("l", "b", &sealed).is_ok()), "one winner");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            assert!(matches!(LocalKey::open_or_create(&path), Err(OpenError::Key(_))));
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
