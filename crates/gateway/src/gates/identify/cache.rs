//! Tokens that were verified a moment ago (callers.md § 7): positives only, bounded, one per worker thread.

use aws_lc_rs::digest::{Context, SHA256};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

/// Entries per worker in each of the two generations.
const GENERATION: usize = 16_384;
/// Seconds for which an entry may serve.
pub(crate) const TTL_S: i64 = 60;

/// SHA-256 over the token and the policies it may be judged by.
pub(crate) type TokenHash = [u8; 32];

/// SHA-256 over parts with their lengths: no two lists of parts read alike.
pub(crate) fn hash(parts: &[&[u8]]) -> TokenHash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    context.finish().as_ref().first_chunk().copied().unwrap_or_default()
}

/// Two generations: a full young one becomes the old one, which is forgotten. An entry that is used survives.
pub(crate) struct Cache<T> {
    young: HashMap<TokenHash, Rc<T>, BuildHasherDefault<Prefix>>,
    old: HashMap<TokenHash, Rc<T>, BuildHasherDefault<Prefix>>,
    hits: u64,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self { young: HashMap::default(), old: HashMap::default(), hits: 0 }
    }
}

impl<T> Cache<T> {
    /// An entry; whether it still holds is the caller's to judge.
    pub(crate) fn get(&mut self, key: &TokenHash) -> Option<Rc<T>> {
        let found = match self.young.get(key) {
            Some(found) => found.clone(),
            None => {
                let found = self.old.remove(key)?;
                self.put(*key, found.clone());
                found
            }
        };
        self.hits = self.hits.wrapping_add(1);
        Some(found)
    }

    /// A token that has just been verified.
    pub(crate) fn put(&mut self, key: TokenHash, value: Rc<T>) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    /// An entry that does not hold any more.
    pub(crate) fn forget(&mut self, key: &TokenHash) {
        self.young.remove(key);
        self.old.remove(key);
    }
}

/// A SHA-256 value is its own hash.
#[derive(Default)]
pub(crate) struct Prefix(u64);

impl Hasher for Prefix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> TokenHash {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&n.to_le_bytes());
        key
    }

    #[test]
    fn parts_do_not_run_together() {
        let parts: [&[&[u8]]; 5] =
            [&[b"ab", b"c"], &[b"a", b"bc"], &[b"abc"], &[b"", b"abc"], &[b"abc", b""]];
        for (at, one) in parts.iter().enumerate() {
            assert!(parts.iter().skip(at + 1).all(|other| hash(one) != hash(other)), "{one:?}");
        }
    }

    #[test]
    fn is_bounded_and_keeps_what_is_used() {
        let mut cache = Cache::default();
        cache.put(key(0), Rc::new(0_u64));
        for n in 1..200_000 {
            cache.put(key(n), Rc::new(n));
            if n % 1_000 == 0 {
                assert_eq!(cache.get(&key(0)).as_deref(), Some(&0));
            }
        }
        assert!(cache.young.len() + cache.old.len() <= 2 * GENERATION);
        assert!(cache.get(&key(1)).is_none());
        cache.forget(&key(0));
        assert!(cache.get(&key(0)).is_none());
    }
}
