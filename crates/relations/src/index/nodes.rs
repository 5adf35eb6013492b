//! Small numbers for objects. Each id's bytes are held once.

use std::hash::{DefaultHasher, Hasher};

use crate::model::TypeId;

/// Objects, numbered in the order in which they came.
#[derive(Clone, Debug)]
pub(super) struct Nodes {
    key: u128,
    bytes: Vec<u8>,
    /// Where each id ends in `bytes`.
    ends: Vec<u32>,
    types: Vec<TypeId>,
    /// Open addressing: number + 1, or 0. A power of two in length, at most three quarters full.
    slots: Vec<u32>,
}

impl Nodes {
    /// `key` is secret: ids come from strangers, and must not be choosable so that they meet in one slot.
    pub(super) fn new(key: u128) -> Self {
        Self { key, bytes: Vec::new(), ends: Vec::new(), types: Vec::new(), slots: Vec::new() }
    }

    /// The same key, and nothing in it.
    pub(super) fn emptied(&self) -> Self {
        Self::new(self.key)
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, type_id: TypeId, id: &str) -> Option<u32> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = self.hash(type_id, id) & mask;
        loop {
            let found = self.slots.get(at).copied()?.checked_sub(1)?;
            if self.is(found, type_id, id) {
                return Some(found);
            }
            at = (at + 1) & mask;
        }
    }

    /// The number of an object, new or known; nothing when 2³² bytes or objects are passed.
    pub(super) fn intern(&mut self, type_id: TypeId, id: &str) -> Option<u32> {
        if let Some(found) = self.get(type_id, id) {
            return Some(found);
        }
        let number = u32::try_from(self.len()).ok().filter(|number| *number < u32::MAX / 2)?;
        let end = u32::try_from(self.bytes.len() + id.len()).ok()?;
        self.bytes.extend_from_slice(id.as_bytes());
        self.ends.push(end);
        self.types.push(type_id);
        if self.len() * 4 > self.slots.len() * 3 {
            self.grow();
        } else {
            self.place(number);
        }
        Some(number)
    }

    pub(super) fn type_of(&self, number: u32) -> Option<TypeId> {
        self.types.get(number as usize).copied()
    }

    pub(super) fn id(&self, number: u32) -> &str {
        let at = number as usize;
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| *end as usize);
        let end = self.ends.get(at).map_or(0, |end| *end as usize);
        self.bytes.get(start..end).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// Bytes beside those of the ids.
    pub(super) fn overhead(&self) -> usize {
        self.ends.capacity() * 4 + self.types.capacity() * 2 + self.slots.capacity() * 4
    }

    pub(super) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.types.shrink_to_fit();
    }

    fn is(&self, number: u32, type_id: TypeId, id: &str) -> bool {
        self.type_of(number) == Some(type_id) && self.id(number) == id
    }

    fn grow(&mut self) {
        let wanted = (self.len() * 4 / 3 + 8).next_power_of_two();
        self.slots.clear();
        self.slots.shrink_to_fit();
        self.slots.resize(wanted, 0);
        for number in 0..u32::try_from(self.len()).unwrap_or(0) {
            self.place(number);
        }
    }

    fn place(&mut self, number: u32) {
        let Some((type_id, mask)) = self.type_of(number).zip(self.slots.len().checked_sub(1)) else { return };
        let mut at = self.hash(type_id, self.id(number)) & mask;
        while let Some(slot) = self.slots.get_mut(at) {
            if *slot == 0 {
                *slot = number + 1;
                return;
            }
            at = (at + 1) & mask;
        }
    }

    fn hash(&self, type_id: TypeId, id: &str) -> usize {
        let mut hasher = DefaultHasher::new();
        hasher.write_u128(self.key);
        hasher.write_u16(type_id.0);
        hasher.write(id.as_bytes());
        // Any bits of a hash do.
        hasher.finish() as usize
    }
}
