//! A bounded map that forgets whoever has been quiet for longest, and counts what it forgot.

use std::collections::BTreeMap;

const NONE: u32 = u32::MAX;

/// Ordered by key and linked by activity. A tree and not a hash table: keys come from strangers, and the same events
/// must give the same evictions.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    index: BTreeMap<K, u32>,
    slots: Vec<Slot<K, V>>,
    newest: u32,
    oldest: u32,
    capacity: usize,
    evicted: u64,
}

#[derive(Debug)]
struct Slot<K, V> {
    key: K,
    value: V,
    newer: u32,
    older: u32,
}

impl<K: Ord + Copy, V: Default> Table<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, NONE as usize - 1);
        Self { index: BTreeMap::new(), slots: Vec::new(), newest: NONE, oldest: NONE, capacity, evicted: 0 }
    }

    pub(crate) const fn evicted(&self) -> u64 {
        self.evicted
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = *self.index.get(key)?;
        self.slots.get_mut(at as usize).map(|slot| &mut slot.value)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = (&K, &V)> {
        self.slots.iter().map(|slot| (&slot.key, &slot.value))
    }

    /// The value of `key`, new or known, which is now the most active one.
    pub(crate) fn touch(&mut self, key: K) -> Option<&mut V> {
        let at = if let Some(at) = self.index.get(&key) {
            let at = *at;
            self.unlink(at);
            at
        } else if self.slots.len() < self.capacity {
            let at = u32::try_from(self.slots.len()).ok()?;
            self.slots.push(Slot { key, value: V::default(), newer: NONE, older: NONE });
            self.index.insert(key, at);
            at
        } else {
            let at = self.oldest;
            self.unlink(at);
            let slot = self.slots.get_mut(at as usize)?;
            let old = core::mem::replace(&mut slot.key, key);
            slot.value = V::default();
            self.index.remove(&old);
            self.index.insert(key, at);
            self.evicted += 1;
            at
        };
        self.link(at);
        self.slots.get_mut(at as usize).map(|slot| &mut slot.value)
    }

    fn unlink(&mut self, at: u32) {
        let Some((newer, older)) = self.slots.get(at as usize).map(|slot| (slot.newer, slot.older)) else {
            return;
        };
        match self.slots.get_mut(newer as usize) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
        match self.slots.get_mut(older as usize) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
    }

    fn link(&mut self, at: u32) {
        let newest = self.newest;
        if let Some(slot) = self.slots.get_mut(at as usize) {
            slot.older = newest;
            slot.newer = NONE;
        }
        match self.slots.get_mut(newest as usize) {
            Some(slot) => slot.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quietest_goes_first_and_is_counted() {
        let mut table: Table<u32, u32> = Table::new(3);
        for key in [1, 2, 3] {
            *table.touch(key).unwrap() = key;
        }
        table.touch(1).unwrap();
        *table.touch(4).unwrap() = 4;
        assert_eq!(table.get_mut(&2), None);
        assert_eq!(table.evicted, 1);
        assert_eq!(table.get_mut(&1), Some(&mut 1));
        assert_eq!(table.slots.len(), 3);
        *table.touch(5).unwrap() = 5;
        assert_eq!(table.get_mut(&3), None);
        assert_eq!(table.get_mut(&4), Some(&mut 4));
        assert_eq!(*table.touch(2).unwrap(), 0, "what comes back is new");
    }

    proptest::proptest! {
        #[test]
        fn it_holds_exactly_the_most_recently_touched(keys in proptest::collection::vec(0_u8..20, 0..200)) {
            let mut table: Table<u8, u8> = Table::new(5);
            let mut recent: Vec<u8> = Vec::new();
            for key in keys {
                *table.touch(key).unwrap() = key;
                recent.retain(|known| *known != key);
                recent.push(key);
                let from = recent.len().saturating_sub(5);
                recent.drain(..from);
                let mut held: Vec<u8> = table.values().map(|(key, _)| *key).collect();
                let mut wanted = recent.clone();
                held.sort_unstable();
                wanted.sort_unstable();
                proptest::prop_assert_eq!(held, wanted);
            }
        }
    }
}
