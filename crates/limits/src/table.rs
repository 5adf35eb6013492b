//! The counters of all keys, in memory that is allocated once.
//!
//! A key lives in one of four candidate sets of 32 slots. A set's 32 tags of 16 bits are one cache line; a slot is 32
//! bytes: a 128-bit keyed hash and the theoretical arrival time. A slot whose time has passed equals a fresh one, so
//! taking it over loses nothing. When every slot of a new key's sets is live, the key shares a coarse bucket: stricter,
//! never looser, and counted; when it gets a slot of its own later, it starts from the coarse bucket's state.
//!
//! One decision locks the shards of all its keys in ascending order, so it is atomic over all layers and cannot
//! deadlock. Tags and slots are atomics only so that they can be touched before the locks are taken: the cache misses
//! of all layers then overlap, and locks are held over warm memory.

use crate::bucket::{Bucket, Layer, MAX_WINDOWS, Paced};
use crate::gcra::{Outlook, Span};
use crate::hash::Sip;
use crate::verdict::{Decision, Outcome, Verdict};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use smallvec::SmallVec;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Slots of a table unless told otherwise: about 36 MB.
pub const DEFAULT_SLOTS: usize = 1 << 20;

const SHARDS: usize = 256;
const WAYS: usize = 32;
const CHOICES: usize = 4;
const LANES: u64 = 0x0001_0001_0001_0001;
const HIGHS: u64 = 0x8000_8000_8000_8000;
/// Coarse buckets per shard: 8 layers × 4 windows × 4.
const COARSE: usize = 8 * MAX_WINDOWS * 4;
/// Set in a slot's fraction word: belongs to the configuration and is never taken over.
const PINNED: u64 = 1 << 63;
const NOWHERE: u32 = u32::MAX;

/// The counters of all keys. One per process; shared by all threads; survives reloads of the plan.
pub struct Table {
    seed: (u64, u64),
    /// The latest time seen: time never goes backwards here.
    last: AtomicU64,
    degraded: AtomicU64,
    sets_per_shard: usize,
    slot_count: usize,
    shards: Box<[Shard]>,
    /// 4 × 16 bits a word, 8 words a set.
    tags: Words,
    /// 4 words a cell: key, key, µs, fraction. The slots, then the coarse buckets.
    cells: Words,
    /// Per set: no slot of it becomes free before this time.
    full_until: Box<[AtomicU64]>,
}

/// On a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Shard {
    lock: Mutex<()>,
    /// No coarse bucket of the shard is live after this time. Written under the lock.
    coarse_until: AtomicU64,
}

/// Whose counter: a keyed hash of the bucket's scope and the parts that name the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Key(u128);

impl Key {
    pub(crate) fn hash(self) -> u128 {
        self.0
    }
}

/// One layer that a request must pass.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The limits.
    pub bucket: &'a Bucket,
    /// Whose counter, from [`Table::key`] with the same bucket.
    pub key: Key,
    /// What the request weighs; zero only looks.
    pub cost: u32,
}

/// One window of one ask, on its way through a decision.
struct Entry<'a> {
    window: &'a Paced,
    ask: u8,
    index: u8,
    layer: Layer,
    shadow: bool,
    cost: u32,
    hash: u128,
    cell: u32,
    degraded: bool,
    outlook: Outlook,
}

impl Table {
    /// A table of about `slots` slots (rounded up to a power of two, at least 32,768), with a seed that clients cannot
    /// know. Memory is taken here and never again.
    pub fn new(slots: usize, seed: [u8; 16]) -> Self {
        let slot_count = slots.clamp(SHARDS * WAYS * CHOICES, 1 << 28).next_power_of_two();
        let sets = slot_count / WAYS;
        let (low, high) = seed.split_at(8);
        let word = |half: &[u8]| half.iter().rev().fold(0_u64, |acc, b| acc << 8 | u64::from(*b));
        Self {
            seed: (word(low), word(high)),
            last: AtomicU64::new(0),
            degraded: AtomicU64::new(0),
            sets_per_shard: sets / SHARDS,
            slot_count,
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            tags: Words::zeroed(sets * 8),
            cells: Words::zeroed((slot_count + SHARDS * COARSE) * 4),
            full_until: zeroed(sets).into_boxed_slice(),
        }
    }

    /// The key of a client under a bucket: `parts` are its address, its id, the operation, … in a fixed order.
    #[inline]
    pub fn key(&self, bucket: &Bucket, parts: &[&[u8]]) -> Key {
        let mut hash: Sip = Sip::new(self.seed.0, self.seed.1);
        let scope = bucket.scope();
        hash.word(scope as u64);
        hash.word((scope >> 64) as u64);
        for part in parts {
            hash.part(part);
        }
        Key(hash.finish())
    }

    /// Judges one request against all layers of a gate. Either every layer is charged, or none. At most 255 asks.
    pub fn decide(&self, now_us: i64, asks: &[Ask<'_>]) -> Verdict {
        let now = self.advance(now_us);
        let mut entries: SmallVec<[Entry<'_>; 6]> = SmallVec::new();
        let mut too_costly = false;
        let mut touched = 0;
        for (n, ask) in asks.iter().enumerate() {
            let (layer, shadow) = (ask.bucket.layer(), ask.bucket.is_shadow());
            for (index, window) in ask.bucket.paced().iter().enumerate() {
                let hash = window_key(ask.key, index);
                touched ^= self.touch(hash);
                too_costly |= ask.cost > window.burst && !shadow;
                entries.push(Entry {
                    window,
                    ask: n as u8,
                    index: index as u8,
                    layer,
                    shadow,
                    cost: ask.cost,
                    hash,
                    cell: NOWHERE,
                    degraded: false,
                    outlook: Outlook::default(),
                });
            }
        }
        if too_costly {
            return Self::too_costly(&entries);
        }
        for entry in &mut entries {
            let (cell, word) = self.guess(entry.hash);
            entry.cell = cell;
            touched ^= word;
        }
        core::hint::black_box(touched);
        let guards = self.lock(&entries);
        let outcome = self.judge(now, &mut entries);
        drop(guards);
        Verdict { outcome, decisions: entries.iter().map(Entry::decision).collect() }
    }

    /// Decisions made in coarse buckets because every slot of the key's sets was live (`limits_degraded_total`).
    pub fn degraded_total(&self) -> u64 {
        self.degraded.load(Relaxed)
    }

    /// Bytes that the table holds, from the first day to the last.
    pub fn memory_bytes(&self) -> usize {
        (self.tags.words.len() + self.cells.words.len() + self.full_until.len()) * 8
            + self.shards.len() * size_of::<Shard>()
    }

    fn advance(&self, now_us: i64) -> u64 {
        let now = u64::try_from(now_us).unwrap_or(0);
        let last = self.last.load(Relaxed);
        if now > last { self.last.fetch_max(now, Relaxed).max(now) } else { last }
    }

    /// Under the locks: test every window, then charge all or none.
    fn judge(&self, now: u64, entries: &mut [Entry<'_>]) -> Outcome {
        let mut wait = 0;
        let mut refused = false;
        for i in 0..entries.len() {
            let Some((before, [entry, ..])) = entries.split_at_mut_checked(i) else { break };
            let mut tat = self.settle(now, entry, before);
            // The same counter twice in one decision: the second starts where the first would leave it.
            if let Some(same) = before.iter().rev().find(|e| e.cell == entry.cell && e.outlook.admitted) {
                tat = same.outlook.tat;
            }
            let fits = entry.cost <= entry.window.burst;
            entry.outlook = entry.window.pace.test(tat, now, if fits { entry.cost } else { 0 });
            entry.outlook.admitted &= fits;
            if !entry.outlook.admitted && !entry.shadow {
                refused = true;
                wait = wait.max(entry.outlook.wait);
            }
        }
        if refused {
            for i in 0..entries.len() {
                let Some((before, [entry, ..])) = entries.split_at_mut_checked(i) else { break };
                // What the client is told is the state that stays: nothing was charged.
                if entry.outlook.admitted {
                    let tat = self.settle(now, entry, before);
                    entry.outlook = entry.window.pace.test(tat, now, 0);
                }
            }
            return Outcome::Refused { retry_after_us: wait };
        }
        for entry in entries.iter().filter(|e| e.outlook.admitted && e.cost > 0) {
            self.charge(entry);
        }
        Outcome::Admitted
    }

    fn charge(&self, entry: &Entry<'_>) {
        let Some([_, _, us, frac]) = self.cells.quad(entry.cell as usize) else { return };
        let tat = entry.outlook.tat;
        us.store(tat.us, Relaxed);
        frac.store((frac.load(Relaxed) & PINNED) | u64::from(tat.frac), Relaxed);
        if entry.degraded
            && let Some(shard) = self.shards.get(shard_of(entry.hash))
        {
            shard.coarse_until.store(shard.coarse_until.load(Relaxed).max(tat.ceil()), Relaxed);
        }
    }

    /// Finds or makes the entry's cell and reads its time. Under the shard's lock.
    fn settle(&self, now: u64, entry: &mut Entry<'_>, before: &[Entry<'_>]) -> Span {
        if !self.holds(entry.cell, entry.hash) && !entry.degraded {
            entry.cell = NOWHERE;
            if let Some(cell) = self.find(entry.hash) {
                entry.cell = cell;
            } else if let Some(cell) = self.claim(now, entry, before) {
                entry.cell = cell;
            } else {
                entry.cell = self.coarse(entry);
                entry.degraded = true;
                self.degraded.fetch_add(1, Relaxed);
            }
        }
        self.cells.quad(entry.cell as usize).map_or_else(Span::default, read)
    }

    fn holds(&self, cell: u32, hash: u128) -> bool {
        self.cells.quad(cell as usize).is_some_and(|[k0, k1, ..]| {
            k0.load(Relaxed) == hash as u64 && k1.load(Relaxed) == (hash >> 64) as u64
        })
    }

    fn find(&self, hash: u128) -> Option<u32> {
        let pattern = pattern_of(hash);
        for choice in 0..CHOICES {
            let set = self.set_of(hash, choice);
            let mut open = false;
            for (w, tags) in self.tags.octet(set)?.iter().enumerate() {
                let tags = tags.load(Relaxed);
                let mut hits = zero_lanes(tags ^ pattern);
                while hits != 0 {
                    let cell = (set * WAYS + w * 4 + (hits.trailing_zeros() as usize) / 16) as u32;
                    if self.holds(cell, hash) {
                        return Some(cell);
                    }
                    hits &= hits - 1;
                }
                open |= zero_lanes(tags) != 0;
            }
            // A slot never becomes untouched again, so a key that came later than this set's last free slot is here.
            if open {
                return None;
            }
        }
        None
    }

    /// A slot for a new key: an untouched one, or one whose time has passed.
    fn claim(&self, now: u64, entry: &Entry<'_>, before: &[Entry<'_>]) -> Option<u32> {
        for choice in 0..CHOICES {
            let set = self.set_of(entry.hash, choice);
            let full = self.full_until.get(set)?;
            if now < full.load(Relaxed) {
                continue;
            }
            let mut soonest = u64::MAX;
            let start = (entry.hash >> 96) as usize;
            let tags = self.tags.octet(set)?;
            let untouched = tags.iter().enumerate().find_map(|(w, tags)| {
                let open = zero_lanes(tags.load(Relaxed));
                (open != 0).then(|| w * 4 + (open.trailing_zeros() as usize) / 16)
            });
            for way in untouched.into_iter().chain((0..WAYS).map(|i| (start + i) % WAYS)) {
                let cell = (set * WAYS + way) as u32;
                let quad = self.cells.quad(cell as usize)?;
                if quad[3].load(Relaxed) & PINNED != 0 {
                    continue;
                }
                let free_at = read(quad).ceil();
                if free_at <= now && !before.iter().any(|e| e.cell == cell) {
                    self.take(entry, cell, tags, way, now);
                    return Some(cell);
                }
                soonest = soonest.min(free_at);
            }
            full.store(soonest, Relaxed);
        }
        None
    }

    fn take(&self, entry: &Entry<'_>, cell: u32, tags: &[AtomicU64; 8], way: usize, now: u64) {
        let Some([k0, k1, us, frac]) = self.cells.quad(cell as usize) else { return };
        k0.store(entry.hash as u64, Relaxed);
        k1.store((entry.hash >> 64) as u64, Relaxed);
        // Never looser: what the key spent in its coarse bucket goes with it.
        let shard = self.shards.get(shard_of(entry.hash));
        let shared = match shard {
            Some(shard) if shard.coarse_until.load(Relaxed) > now => {
                self.cells.quad(self.coarse(entry) as usize).map_or_else(Span::default, read)
            }
            _ => Span::default(),
        };
        us.store(shared.us, Relaxed);
        let pin = if entry.layer == Layer::Global { PINNED } else { 0 };
        frac.store(u64::from(shared.frac) | pin, Relaxed);
        if let Some(word) = tags.get(way / 4) {
            let shift = (way % 4) * 16;
            let tag = (pattern_of(entry.hash) & 0xffff) << shift;
            word.store((word.load(Relaxed) & !(0xffff << shift)) | tag, Relaxed);
        }
    }

    fn coarse(&self, entry: &Entry<'_>) -> u32 {
        let class = entry.layer.index() * MAX_WINDOWS + usize::from(entry.index);
        let within = class * 4 + (entry.hash >> 88) as usize % 4;
        (self.slot_count + shard_of(entry.hash) * COARSE + within) as u32
    }

    /// Locks every shard of the entries, in ascending order.
    fn lock(&self, entries: &[Entry<'_>]) -> SmallVec<[MutexGuard<'_, ()>; 6]> {
        let mut order: SmallVec<[usize; 6]> = entries.iter().map(|e| shard_of(e.hash)).collect();
        order.sort_unstable();
        order.dedup();
        let shards = order.iter().filter_map(|i| self.shards.get(*i));
        // The state behind a poisoned lock is plain numbers, whole at every step.
        shards.map(|s| s.lock.lock().unwrap_or_else(PoisonError::into_inner)).collect()
    }

    fn set_of(&self, hash: u128, choice: usize) -> usize {
        let first = (hash >> 8) as u32 as usize;
        let stride = (hash >> 40) as u32 as usize | 1;
        let within = first.wrapping_add(stride.wrapping_mul(choice)) & (self.sets_per_shard - 1);
        shard_of(hash) * self.sets_per_shard + within
    }

    /// Without the lock: begins to bring in the tags of all windows at once.
    #[inline]
    fn touch(&self, hash: u128) -> u64 {
        self.tags.octet(self.set_of(hash, 0)).map_or(0, |[first, ..]| first.load(Relaxed))
    }

    /// Without the lock: the probable cell by its tag, touched. Checked again under the lock.
    #[inline]
    fn guess(&self, hash: u128) -> (u32, u64) {
        let set = self.set_of(hash, 0);
        let pattern = pattern_of(hash);
        let Some(tags) = self.tags.octet(set) else { return (NOWHERE, 0) };
        let mut way = 0;
        for (w, tags) in tags.iter().enumerate() {
            let hits = zero_lanes(tags.load(Relaxed) ^ pattern);
            // No branch: a wrong guess about it would wait for memory before the next window's begins.
            way = if hits != 0 { w * 4 + (hits.trailing_zeros() as usize) / 16 } else { way };
        }
        let cell = set * WAYS + way;
        (cell as u32, self.cells.quad(cell).map_or(0, |[k0, ..]| k0.load(Relaxed)))
    }

    #[cold]
    fn too_costly(entries: &[Entry<'_>]) -> Verdict {
        let decisions =
            entries.iter().map(|e| Decision { admitted: e.cost <= e.window.burst, ..e.decision() });
        Verdict { outcome: Outcome::TooCostly, decisions: decisions.collect() }
    }
}

impl core::fmt::Debug for Table {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Table").field("slots", &self.slot_count).finish_non_exhaustive()
    }
}

impl Entry<'_> {
    fn decision(&self) -> Decision {
        Decision {
            name: self.window.name,
            layer: self.layer,
            ask: self.ask,
            admitted: self.outlook.admitted,
            shadow: self.shadow,
            degraded: self.degraded,
            limit: self.window.limit,
            refill: self.window.refill,
            period_us: self.window.period_us,
            burst: self.window.burst,
            remaining: self.outlook.remaining,
            retry_after_us: self.outlook.wait,
            next_us: self.outlook.next,
            reset_us: self.outlook.reset,
        }
    }
}

fn window_key(key: Key, index: usize) -> u128 {
    // Hashes of different windows differ everywhere, so that they do not crowd one set. Never zero: that is "empty".
    key.0.wrapping_add((index as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)).max(1)
}

#[inline]
fn shard_of(hash: u128) -> usize {
    hash as usize & (SHARDS - 1)
}

/// A tag in every lane: 15 bits of the hash, and a bit that says "used".
fn pattern_of(hash: u128) -> u64 {
    (((hash >> 72) as u64 & 0x7fff) | 0x8000).wrapping_mul(LANES)
}

/// The high bit of every lane that is zero. Lanes above a true one may be wrong; callers compare whole keys, and ask
/// only whether there is any zero lane, or for the lowest.
fn zero_lanes(x: u64) -> u64 {
    x.wrapping_sub(LANES) & !x & HIGHS
}

fn read([_, _, us, frac]: &[AtomicU64; 4]) -> Span {
    Span { us: us.load(Relaxed), frac: (frac.load(Relaxed) & u64::from(u32::MAX)) as u32 }
}

/// Words that begin on a cache line.
struct Words {
    words: Vec<AtomicU64>,
    skip: usize,
}

impl Words {
    fn zeroed(len: usize) -> Self {
        let words = zeroed(len + 8);
        let beyond = words.as_ptr() as usize % 64;
        Self { words, skip: if beyond == 0 { 0 } else { (64 - beyond) / 8 } }
    }

    #[inline]
    fn quad(&self, index: usize) -> Option<&[AtomicU64; 4]> {
        self.words.get(self.skip..)?.as_chunks().0.get(index)
    }

    #[inline]
    fn octet(&self, index: usize) -> Option<&[AtomicU64; 8]> {
        self.words.get(self.skip..)?.as_chunks().0.get(index)
    }
}

/// Zeroed by the operating system, page by page, when touched: the conversion is in place and moves nothing.
fn zeroed(len: usize) -> Vec<AtomicU64> {
    vec![0_u64; len].into_iter().map(AtomicU64::new).collect()
}
