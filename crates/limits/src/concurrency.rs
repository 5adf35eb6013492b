//! Requests under way at once, by count and not by rate.

use crate::table::Key;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SHARDS: usize = 64;

/// Counts what is in flight per key. Memory is bounded by what is in flight: an entry dies with its last permit.
#[derive(Debug, Default)]
pub struct Concurrency {
    shards: Box<[Mutex<Counts>]>,
}

type Counts = HashMap<u128, u32, BuildHasherDefault<Already>>;

/// One request under way; it ends when this is dropped.
#[derive(Debug)]
#[must_use = "the request counts as under way only while its permit lives"]
pub struct Permit {
    counts: Arc<Concurrency>,
    key: u128,
}

impl Concurrency {
    /// No request under way.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() })
    }

    /// One more under `key`, or `None` when `limit` are under way.
    pub fn enter(self: &Arc<Self>, key: Key, limit: u32) -> Option<Permit> {
        let key = key.hash();
        let mut counts = self.shard(key)?;
        let count = counts.entry(key).or_insert(0);
        if *count >= limit {
            if *count == 0 {
                counts.remove(&key);
            }
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Permit { counts: Arc::clone(self), key })
    }

    /// How many are under way under `key`.
    pub fn under_way(&self, key: Key) -> u32 {
        self.shard(key.hash()).and_then(|counts| counts.get(&key.hash()).copied()).unwrap_or(0)
    }

    fn shard(&self, key: u128) -> Option<MutexGuard<'_, Counts>> {
        let shard = self.shards.get(key as usize % SHARDS)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(mut counts) = self.counts.shard(self.key)
            && let Some(count) = counts.get_mut(&self.key)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

/// The keys are keyed hashes already.
#[derive(Clone, Copy, Debug, Default)]
struct Already(u64);

impl Hasher for Already {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = (key >> 64) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bucket, Layer, Rate, Table};

    fn key(n: u8) -> Key {
        let table = Table::new(0, [7; 16]);
        let bucket = Bucket::new(Layer::Key, "", &[Rate::per_second(1).into()], false).unwrap();
        table.key(&bucket, &[&[n]])
    }

    #[test]
    fn counts_what_is_under_way() {
        let all = Concurrency::new();
        let (a, b) = (key(1), key(2));
        let first = all.enter(a, 2).unwrap();
        let second = all.enter(a, 2).unwrap();
        assert!(all.enter(a, 2).is_none());
        let other = all.enter(b, 2).unwrap();
        drop(first);
        let third = all.enter(a, 2).unwrap();
        assert_eq!((all.under_way(a), all.under_way(b)), (2, 1));
        drop((second, third, other));
        assert!(all.enter(a, 0).is_none());
        assert_eq!((all.under_way(a), all.under_way(b)), (0, 0));
        assert!(all.shards.iter().all(|s| s.lock().unwrap().is_empty()), "nothing stays behind");
    }

    #[test]
    fn never_more_than_the_limit_under_threads() {
        use std::sync::atomic::{AtomicU32, Ordering};
        let (all, k, now, peak) = (Concurrency::new(), key(1), AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|s| {
            for _ in 0..8 {
                s.spawn(|| {
                    for _ in 0..5_000 {
                        if let Some(permit) = all.enter(k, 3) {
                            peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            now.fetch_sub(1, Ordering::SeqCst);
                            drop(permit);
                        }
                    }
                });
            }
        });
        assert!(peak.load(Ordering::SeqCst) <= 3);
        assert_eq!(all.under_way(k), 0);
    }
}
