//! How many connections there are, in all and of one address. Touched when a connection comes and goes, and never by
//! a request.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use super::guard::Rule;

const SHARDS: usize = 16;

/// Counters of the edge, for metrics. All of them only grow, but for `open` and `handshaking`.
#[derive(Debug, Default)]
pub struct Census {
    open: AtomicUsize,
    handshaking: AtomicUsize,
    accepted: AtomicU64,
    refused: AtomicU64,
    handshakes_failed: AtomicU64,
    slow_readers: AtomicU64,
    floods: AtomicU64,
    cut: AtomicU64,
    violations: [AtomicU64; 19],
    by_address: [Mutex<HashMap<Key, u32>>; SHARDS],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Key {
    V4([u8; 4]),
    V6([u8; 8]),
}

fn key(address: IpAddr) -> Key {
    match address.to_canonical() {
        IpAddr::V4(v4) => Key::V4(v4.octets()),
        IpAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h, ..] = v6.octets();
            Key::V6([a, b, c, d, e, f, g, h])
        }
    }
}

impl Census {
    /// Open connections.
    pub fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Connections accepted since the start.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Connections closed at accept: a bound was hit.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// TLS handshakes and PROXY headers that failed.
    pub fn handshakes_failed(&self) -> u64 {
        self.handshakes_failed.load(Relaxed)
    }

    /// Connections reset because the client did not read.
    pub fn slow_readers(&self) -> u64 {
        self.slow_readers.load(Relaxed)
    }

    /// HTTP/2 connections ended with `ENHANCE_YOUR_CALM`.
    pub fn floods(&self) -> u64 {
        self.floods.load(Relaxed)
    }

    /// Connections cut at the end of a drain.
    pub fn cut(&self) -> u64 {
        self.cut.load(Relaxed)
    }

    /// Refusals of the guard by rule.
    pub fn violations(&self, rule: Rule) -> u64 {
        self.violations.get(rule as usize).map_or(0, |count| count.load(Relaxed))
    }

    pub(crate) fn violation(&self, rule: Rule) {
        if let Some(count) = self.violations.get(rule as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn handshake_failed(&self) {
        self.handshakes_failed.fetch_add(1, Relaxed);
    }

    pub(crate) fn slow_reader(&self) {
        self.slow_readers.fetch_add(1, Relaxed);
    }

    pub(crate) fn flood(&self) {
        self.floods.fetch_add(1, Relaxed);
    }

    pub(crate) fn was_cut(&self) {
        self.cut.fetch_add(1, Relaxed);
    }

    /// A connection has come to a listener with so many open; `None` when a bound is hit. The count is each
    /// listener's own: a flood of the public one must not close the admin's.
    pub(crate) fn enter(
        self: &Arc<Self>,
        listener: &Arc<AtomicUsize>,
        address: IpAddr,
        all: usize,
        one: usize,
    ) -> Option<Seat> {
        if listener.fetch_add(1, Relaxed) >= all || !self.count_address(address, one) {
            listener.fetch_sub(1, Relaxed);
            self.refused.fetch_add(1, Relaxed);
            return None;
        }
        self.open.fetch_add(1, Relaxed);
        self.accepted.fetch_add(1, Relaxed);
        Some(Seat { census: self.clone(), listener: listener.clone(), address })
    }

    /// A handshake begins; `None` when too many are in progress.
    pub(crate) fn handshake(self: &Arc<Self>, most: usize) -> Option<Shaking> {
        if self.handshaking.fetch_add(1, Relaxed) >= most {
            self.handshaking.fetch_sub(1, Relaxed);
            self.refused.fetch_add(1, Relaxed);
            return None;
        }
        Some(Shaking(self.clone()))
    }

    fn shard(&self, key: Key) -> Option<&Mutex<HashMap<Key, u32>>> {
        let last = match key {
            Key::V4([.., last]) => last,
            Key::V6([.., last]) => last,
        };
        self.by_address.get(usize::from(last) % SHARDS)
    }

    fn count_address(&self, address: IpAddr, most: usize) -> bool {
        let key = key(address);
        let Some(shard) = self.shard(key) else { return false };
        let mut map = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let count = map.entry(key).or_insert(0);
        if *count as usize >= most {
            return false;
        }
        *count += 1;
        true
    }

    fn leave_address(&self, address: IpAddr) {
        let key = key(address);
        let Some(shard) = self.shard(key) else { return };
        let mut map = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = map.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                map.remove(&key);
            }
        }
    }
}

/// A connection's place; given back when dropped.
pub(crate) struct Seat {
    census: Arc<Census>,
    listener: Arc<AtomicUsize>,
    address: IpAddr,
}

impl Seat {
    /// The connection speaks for another address (PROXY protocol): that one is counted from here on.
    pub(crate) fn stand_for(&mut self, address: IpAddr, one: usize) -> bool {
        if !self.census.count_address(address, one) {
            self.census.refused.fetch_add(1, Relaxed);
            return false;
        }
        self.census.leave_address(self.address);
        self.address = address;
        true
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.census.open.fetch_sub(1, Relaxed);
        self.listener.fetch_sub(1, Relaxed);
        self.census.leave_address(self.address);
    }
}

/// A handshake in progress.
pub(crate) struct Shaking(Arc<Census>);

impl Drop for Shaking {
    fn drop(&mut self) {
        self.0.handshaking.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_and_places_come_back() {
        let census = Arc::new(Census::default());
        let a: IpAddr = "192.0.2.1".parse().unwrap();
        let b: IpAddr = "2001:db8::1".parse().unwrap();
        let b2: IpAddr = "2001:db8::ffff:1".parse().unwrap();
        let public = Arc::default();
        let first = census.enter(&public, a, 4, 2).unwrap();
        let _second = census.enter(&public, a, 4, 2).unwrap();
        assert!(census.enter(&public, a, 4, 2).is_none());
        let _third = census.enter(&public, b, 4, 1).unwrap();
        assert!(census.enter(&public, b2, 4, 1).is_none(), "one /64");
        drop(first);
        let mut again = census.enter(&public, a, 4, 2).unwrap();
        assert!(!again.stand_for(b2, 1));
        assert!(again.stand_for("198.51.100.1".parse().unwrap(), 1));
        assert!(census.enter(&public, a, 4, 2).is_some());
        assert_eq!(census.refused(), 3);
        assert_eq!(census.open(), 3);
        let c: IpAddr = "203.0.113.1".parse().unwrap();
        let _fourth = census.enter(&public, c, 4, 2).unwrap();
        assert!(census.enter(&public, c, 4, 2).is_none(), "the listener is full");
        assert!(census.enter(&Arc::default(), c, 4, 2).is_some(), "another one is not");
    }
}
