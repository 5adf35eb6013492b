//! Hot single-use values in memory.

use crate::StoreError;
use crate::adapter::{Hot, Marker, Result};
use crate::replay::{Put, ReplayKey, ReplayKind};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

pub(crate) struct MemoryReplay {
    seen: HashMap<(ReplayKind, ReplayKey), i64>,
    capacity: u64,
    marker: Option<Marker>,
}

impl MemoryReplay {
    pub(crate) fn new(capacity: u64) -> Self {
        Self { seen: HashMap::new(), capacity, marker: None }
    }
}

impl Hot for MemoryReplay {
    fn put_all(&mut self, puts: &[Put]) -> Result<Vec<bool>> {
        let now = puts.iter().map(|p| p.now).max().unwrap_or_default();
        if (self.seen.len() + puts.len()) as u64 > self.capacity
            && self.forget(now)? + puts.len() as u64 > self.capacity
        {
            return Err(StoreError::Unavailable);
        }
        let put = |put: &Put| match self.seen.entry((put.kind, put.key)) {
            Entry::Vacant(place) => {
                place.insert(put.expires);
                true
            }
            Entry::Occupied(mut place) if *place.get() < put.now => {
                place.insert(put.expires);
                true
            }
            Entry::Occupied(_) => false,
        };
        Ok(puts.iter().map(put).collect())
    }

    fn forget(&mut self, now: i64) -> Result<u64> {
        self.seen.retain(|_, expires| *expires >= now);
        Ok(self.seen.len() as u64)
    }

    fn marker(&mut self) -> Result<Option<Marker>> {
        Ok(self.marker.clone())
    }

    fn set_marker(&mut self, marker: &Marker) -> Result<()> {
        self.marker = Some(marker.clone());
        Ok(())
    }
}
