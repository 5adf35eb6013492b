//! What was revoked, in memory on every node (callers.md § 7): read without a lock at every use of a token, also of one
//! that was verified a moment ago; fed by the order of commits.
//!
//! An entry is in force on this node at most two seconds after it was written. When the feed cannot be read, [`Revoked`]
//! grows old, and whoever asks decides what an old set is worth.

use arc_swap::ArcSwap;
use portcullis_core::opaque::Id16;
use portcullis_core::time::{Clock, Now};
use portcullis_store::revocation::{Entry, Revocation, RevocationKind};
use portcullis_store::{Store, StoreError};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// How often the feed is read.
pub const POLL: Duration = Duration::from_millis(500);
/// Seconds without news after which somebody should look.
pub const ALARM_S: i64 = 10;
/// Entries of one page of the feed.
const PAGE: u32 = 1_000;
/// New entries are kept apart from old ones until there are so many, so that one costs no copy of all.
const YOUNG: usize = 1_024;
/// Entries in memory. Beyond it the set counts as out of date: forgetting one is not an option.
const MOST: usize = 2_000_000;

/// Pages of the feed, for whoever keeps it: the embedded store, later one that nodes share.
pub trait Feed: Send + Sync + 'static {
    /// What came after `seq`, oldest first, at most `most`.
    fn since(&self, seq: i64, most: u32) -> Pages<'_>;
}

/// A page under way.
pub type Pages<'a> = Pin<Box<dyn Future<Output = Result<Vec<Entry>, StoreError>> + Send + 'a>>;

impl Feed for Store {
    fn since(&self, seq: i64, most: u32) -> Pages<'_> {
        Box::pin(async move { self.revocation().since(seq, most).await })
    }
}

/// What of a token can be revoked.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenFacts<'a> {
    /// `iss`.
    pub issuer: &'a str,
    /// `jti`.
    pub jti: Option<&'a str>,
    /// `sid`.
    pub sid: Option<&'a str>,
    /// `sub`.
    pub subject: Option<&'a str>,
    /// Client.
    pub client: Option<&'a str>,
    /// `kid` of the key that signed it.
    pub signing_key: Option<&'a str>,
    /// `iat`; a token that does not say when it was issued may be of before.
    pub iat: Option<i64>,
}

/// The set. Cheap to ask, shared by all threads.
pub struct Revoked {
    sets: ArcSwap<Sets>,
    /// Microseconds since the epoch at which the feed was last read to its end.
    read: AtomicI64,
    seq: AtomicI64,
    entries: AtomicU64,
    full: std::sync::atomic::AtomicBool,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct Sets {
    old: Arc<Set>,
    young: Set,
    young_entries: usize,
}

/// By issuer, so that tokens of an issuer of which nothing was revoked cost one look.
type Set = HashMap<Box<str>, Named>;

#[derive(Clone, Default)]
struct Named {
    jti: HashMap<Box<str>, i64>,
    sid: HashMap<Box<str>, i64>,
    subject: HashMap<Box<str>, Limit>,
    client: HashMap<Box<str>, Limit>,
    signing_key: HashMap<Box<str>, Limit>,
}

#[derive(Clone, Copy)]
struct Limit {
    /// Tokens issued at or before this are revoked.
    not_before: i64,
    until: i64,
}

impl Revoked {
    /// An empty set that has never been read.
    pub fn new() -> Self {
        Self {
            sets: ArcSwap::default(),
            read: AtomicI64::new(i64::MIN),
            seq: AtomicI64::new(0),
            entries: AtomicU64::new(0),
            full: false.into(),
            changes: watch::Sender::new(0),
        }
    }

    /// Wakes whoever watches over something that lasts, each time when more was revoked or a key's row has changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether a token is named, in any way.
    pub fn names(&self, token: &TokenFacts<'_>) -> bool {
        let sets = self.sets.load();
        [&*sets.old, &sets.young]
            .into_iter()
            .any(|set| set.get(token.issuer).is_some_and(|named| named.names(token)))
    }

    /// Whether the feed was read to its end within `max_staleness_s` seconds.
    pub fn is_fresh(&self, now: Now, max_staleness_s: u32) -> bool {
        !self.full.load(Ordering::Relaxed) && self.staleness_s(now) <= i64::from(max_staleness_s)
    }

    /// Seconds since the feed was last read to its end.
    pub fn staleness_s(&self, now: Now) -> i64 {
        now.micros().saturating_sub(self.read.load(Ordering::Relaxed)).max(0) / 1_000_000
    }

    /// Entries in force.
    pub fn len(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// Whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the feed to its end. `on_key` is told of every API key whose row has changed. One caller at a time.
    ///
    /// # Errors
    /// The feed cannot be read; what was read before the error is in force.
    pub async fn catch_up(
        &self,
        feed: &dyn Feed,
        now: Now,
        on_key: &dyn Fn(&Id16),
    ) -> Result<(), StoreError> {
        loop {
            let page = feed.since(self.seq.load(Ordering::Relaxed), PAGE).await?;
            let last = page.len() < PAGE as usize;
            if let Some(newest) = page.last().map(|entry| entry.seq) {
                self.apply(page, now, on_key);
                self.seq.store(newest, Ordering::Relaxed);
                self.changes.send_modify(|n| *n = n.wrapping_add(1));
            }
            if last {
                self.read.store(now.micros(), Ordering::Relaxed);
                return Ok(());
            }
        }
    }

    /// Drops entries that cover nothing that can still live.
    pub fn forget(&self, now: Now) {
        let now = now.secs();
        let sets = self.sets.load();
        let mut all = Set::clone(&sets.old);
        merge(&mut all, &sets.young);
        all.retain(|_, named| named.keep(now));
        self.put(all, Set::new(), 0);
    }

    /// Follows the feed, for ever. `tell` hears once when the set is older than [`ALARM_S`], and once when it is not any
    /// more.
    pub async fn follow(
        self: Arc<Self>,
        feed: Arc<dyn Feed>,
        clock: Arc<dyn Clock>,
        on_key: impl Fn(&Id16),
        tell: impl Fn(Told),
    ) {
        let mut alarmed = false;
        loop {
            tokio::time::sleep(POLL).await;
            let result = self.catch_up(&*feed, clock.now(), &on_key).await;
            let stale = self.staleness_s(clock.now());
            match result {
                Err(error) if stale > ALARM_S && !alarmed => {
                    alarmed = true;
                    tell(Told::Stale(error, stale));
                }
                Ok(()) if alarmed => {
                    alarmed = false;
                    tell(Told::Again);
                }
                _ => {}
            }
        }
    }

    fn apply(&self, page: Vec<Entry>, now: Now, on_key: &dyn Fn(&Id16)) {
        let sets = self.sets.load();
        let (mut young, mut count) = (sets.young.clone(), sets.young_entries);
        let before = count;
        for Entry { what, .. } in page {
            if what.kind == RevocationKind::ApiKey {
                if let Ok(id) = Id16::parse(&what.id) {
                    on_key(&id);
                }
            } else if what.until >= now.secs() {
                young.entry(what.issuer.as_str().into()).or_default().add(&what);
                count += 1;
            }
        }
        if count == before {
            return;
        }
        if count <= YOUNG {
            let old = Arc::clone(&sets.old);
            return self.publish(Sets { old, young, young_entries: count });
        }
        let mut all = Set::clone(&sets.old);
        merge(&mut all, &young);
        self.put(all, Set::new(), 0);
    }

    fn put(&self, old: Set, young: Set, young_entries: usize) {
        self.publish(Sets { old: Arc::new(old), young, young_entries });
    }

    fn publish(&self, sets: Sets) {
        let count: usize =
            [&*sets.old, &sets.young].into_iter().flat_map(HashMap::values).map(Named::len).sum();
        self.entries.store(count as u64, Ordering::Relaxed);
        self.full.store(count > MOST, Ordering::Relaxed);
        self.sets.store(Arc::new(sets));
    }
}

impl Default for Revoked {
    fn default() -> Self {
        Self::new()
    }
}

/// What a follower of the feed has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The feed could not be read for so many seconds.
    Stale(StoreError, i64),
    /// It is read again.
    Again,
}

impl Named {
    fn names(&self, token: &TokenFacts<'_>) -> bool {
        let one = |set: &HashMap<Box<str>, i64>, id: Option<&str>| {
            !set.is_empty() && id.is_some_and(|id| set.contains_key(id))
        };
        let all_of = |set: &HashMap<Box<str>, Limit>, id: Option<&str>| {
            let limit = if set.is_empty() { None } else { id.and_then(|id| set.get(id)) };
            limit.is_some_and(|limit| token.iat.is_none_or(|iat| iat <= limit.not_before))
        };
        one(&self.jti, token.jti)
            || one(&self.sid, token.sid)
            || all_of(&self.subject, token.subject)
            || all_of(&self.client, token.client)
            || all_of(&self.signing_key, token.signing_key)
    }

    fn add(&mut self, what: &Revocation) {
        let id = what.id.as_str();
        let later = |slot: &mut i64| *slot = (*slot).max(what.until);
        match what.kind {
            RevocationKind::Jti => later(self.jti.entry(id.into()).or_insert(what.until)),
            RevocationKind::Sid => later(self.sid.entry(id.into()).or_insert(what.until)),
            RevocationKind::Subject => limit(&mut self.subject, what),
            RevocationKind::Client => limit(&mut self.client, what),
            RevocationKind::SigningKey => limit(&mut self.signing_key, what),
            RevocationKind::ApiKey => {}
        }
    }

    fn merge(&mut self, other: &Self) {
        for (mine, theirs) in [(&mut self.jti, &other.jti), (&mut self.sid, &other.sid)] {
            for (id, until) in theirs {
                let slot = mine.entry(id.clone()).or_insert(*until);
                *slot = (*slot).max(*until);
            }
        }
        for (mine, theirs) in [
            (&mut self.subject, &other.subject),
            (&mut self.client, &other.client),
            (&mut self.signing_key, &other.signing_key),
        ] {
            for (id, limit) in theirs {
                let slot = mine.entry(id.clone()).or_insert(*limit);
                *slot = slot.or(*limit);
            }
        }
    }

    /// Drops what is over. False when nothing is left.
    fn keep(&mut self, now: i64) -> bool {
        for set in [&mut self.jti, &mut self.sid] {
            set.retain(|_, until| *until >= now);
        }
        for set in [&mut self.subject, &mut self.client, &mut self.signing_key] {
            set.retain(|_, limit| limit.until >= now);
        }
        self.len() > 0
    }

    fn len(&self) -> usize {
        self.jti.len() + self.sid.len() + self.subject.len() + self.client.len() + self.signing_key.len()
    }
}

impl Limit {
    /// The later of both in each: an earlier revocation is never undone by a later entry.
    fn or(self, other: Self) -> Self {
        Self { not_before: self.not_before.max(other.not_before), until: self.until.max(other.until) }
    }
}

fn limit(set: &mut HashMap<Box<str>, Limit>, what: &Revocation) {
    // Without a moment: all tokens, whenever issued.
    let new = Limit { not_before: what.not_before.unwrap_or(i64::MAX), until: what.until };
    let slot = set.entry(what.id.as_str().into()).or_insert(new);
    *slot = slot.or(new);
}

fn merge(all: &mut Set, more: &Set) {
    for (issuer, named) in more {
        all.entry(issuer.clone()).or_default().merge(named);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::time::ManualClock;
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;
    use std::sync::Mutex;

    const NOW: i64 = 1_767_225_600;
    const ISSUER: &str = "https://login.example.com/";

    /// A feed that a test writes, and breaks.
    #[derive(Default)]
    struct Script {
        entries: Mutex<Vec<Entry>>,
        broken: std::sync::atomic::AtomicBool,
    }

    impl Script {
        fn add(&self, kind: RevocationKind, id: &str, not_before: Option<i64>, until: i64) {
            let mut entries = self.entries.lock().unwrap();
            let seq = entries.len() as i64 + 1;
            let issuer = if kind == RevocationKind::ApiKey { "" } else { ISSUER }.to_owned();
            entries
                .push(Entry { seq, what: Revocation { kind, issuer, id: id.to_owned(), not_before, until } });
        }
    }

    impl Feed for Script {
        fn since(&self, seq: i64, most: u32) -> Pages<'_> {
            Box::pin(async move {
                if self.broken.load(Ordering::Relaxed) {
                    return Err(StoreError::Unavailable);
                }
                let entries = self.entries.lock().unwrap();
                Ok(entries.iter().filter(|e| e.seq > seq).take(most as usize).cloned().collect())
            })
        }
    }

    fn token() -> TokenFacts<'static> {
        TokenFacts {
            issuer: ISSUER,
            jti: Some("t1"),
            sid: Some("s1"),
            subject: Some("ann"),
            client: Some("app"),
            signing_key: Some("k1"),
            iat: Some(NOW),
        }
    }

    async fn read(revoked: &Revoked, feed: &Script) {
        revoked.catch_up(feed, Now::from_secs(NOW), &|_| {}).await.unwrap();
    }

    #[tokio::test]
    async fn each_kind_names_its_tokens_and_no_others() {
        use RevocationKind::{Client, Jti, Sid, SigningKey, Subject};
        for (kind, id) in [(Jti, "t1"), (Sid, "s1"), (Subject, "ann"), (Client, "app"), (SigningKey, "k1")] {
            let (revoked, feed) = (Revoked::new(), Script::default());
            read(&revoked, &feed).await;
            assert!(!revoked.names(&token()));
            let moment = matches!(kind, Subject | Client | SigningKey).then_some(NOW);
            feed.add(kind, id, moment, NOW + 100);
            read(&revoked, &feed).await;
            assert!(revoked.names(&token()), "{kind:?}");
            assert!(
                !revoked.names(&TokenFacts { issuer: "https://login.example.com", ..token() }),
                "{kind:?}"
            );
            let later = TokenFacts { iat: Some(NOW + 1), ..token() };
            assert_eq!(revoked.names(&later), moment.is_none(), "{kind:?}: issued later");
            assert!(revoked.names(&TokenFacts { iat: None, ..token() }), "{kind:?}: of unknown age");
            revoked.forget(Now::from_secs(NOW + 100));
            assert!(revoked.names(&token()) && revoked.len() == 1);
            revoked.forget(Now::from_secs(NOW + 101));
            assert!(!revoked.names(&token()) && revoked.is_empty());
        }
    }

    #[tokio::test]
    async fn a_flood_of_revocations_keeps_every_one() {
        let (revoked, feed) = (Revoked::new(), Script::default());
        for n in 0..5_000 {
            feed.add(RevocationKind::Jti, &format!("j{n}"), None, NOW + 100);
        }
        read(&revoked, &feed).await;
        for n in 5_000..5_100 {
            feed.add(RevocationKind::Jti, &format!("j{n}"), None, NOW + 100);
            read(&revoked, &feed).await;
        }
        feed.add(RevocationKind::Jti, "over", None, NOW - 1);
        read(&revoked, &feed).await;
        assert_eq!(revoked.len(), 5_100);
        for n in [0, 1_023, 1_024, 4_999, 5_099] {
            assert!(revoked.names(&TokenFacts {
                jti: Some(&format!("j{n}")),
                issuer: ISSUER,
                ..Default::default()
            }));
        }
    }

    #[tokio::test]
    async fn an_earlier_revocation_is_not_undone_by_a_narrower_one() {
        let (revoked, feed) = (Revoked::new(), Script::default());
        feed.add(RevocationKind::Subject, "ann", Some(NOW), NOW + 100);
        feed.add(RevocationKind::Subject, "ann", Some(NOW - 50), NOW + 50);
        read(&revoked, &feed).await;
        revoked.forget(Now::from_secs(NOW + 60));
        assert!(revoked.names(&token()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_told_within_two_seconds_and_silence_alarms_after_ten() {
        let (revoked, feed) = (Arc::new(Revoked::new()), Arc::new(Script::default()));
        let clock = Arc::new(ManualClock::new(Now::from_secs(NOW)));
        let (keys, told) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(None)));
        assert!(!revoked.is_fresh(clock.now(), u32::MAX), "never read");
        let (seen, heard) = (keys.clone(), told.clone());
        let local = tokio::task::LocalSet::new();
        let follow = revoked.clone().follow(
            feed.clone(),
            clock.clone(),
            move |id| seen.borrow_mut().push(id.to_string()),
            move |word| heard.set(Some(word)),
        );
        local
            .run_until(async {
                let task = tokio::task::spawn_local(follow);
                feed.add(RevocationKind::ApiKey, "008j4ct4ank7f24s", None, NOW + 100);
                feed.add(RevocationKind::ApiKey, "not an id", None, NOW + 100);
                tokio::time::sleep(Duration::from_secs(2)).await;
                assert_eq!(*keys.borrow(), ["008j4ct4ank7f24s"]);
                assert!(revoked.is_fresh(clock.now(), 60));
                feed.broken.store(true, Ordering::Relaxed);
                clock.advance_secs(10);
                tokio::time::sleep(POLL * 2).await;
                assert_eq!(told.get(), None);
                clock.advance_secs(1);
                tokio::time::sleep(POLL * 2).await;
                assert_eq!(told.get(), Some(Told::Stale(StoreError::Unavailable, 11)));
                clock.advance_secs(49);
                assert!(revoked.is_fresh(clock.now(), 60));
                clock.advance_secs(1);
                assert!(!revoked.is_fresh(clock.now(), 60));
                feed.broken.store(false, Ordering::Relaxed);
                tokio::time::sleep(POLL * 2).await;
                assert_eq!(told.get(), Some(Told::Again));
                assert!(revoked.is_fresh(clock.now(), 60));
                task.abort();
            })
            .await;
    }
}
