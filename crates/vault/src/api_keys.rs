//! API keys as they are presented (callers.md § 8): one order of checks, a cache of rows that the revocation feed empties,
//! and a memory of ids that do not exist.
//!
//! A stranger learns nothing from how long it takes: an unknown id, a key of another kind and a wrong secret cost one MAC
//! each. Nothing is held across an await.

use arc_swap::ArcSwap;
use ipnet::IpNet;
use portcullis_core::caller::ClaimSource;
use portcullis_core::opaque::{ApiKey, Env, Id16};
use portcullis_core::time::Now;
use portcullis_jose::api_key::{State, mac_fits};
use portcullis_jose::json::{Json, Limits, Pointer};
use portcullis_jose::mac::MacKey;
use portcullis_store::keys::{KeyRow, Material, Use};
use portcullis_store::{Store, StoreError};
use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Name of the pepper among the system's secrets.
pub const PEPPER: &str = "api_key";
/// Seconds for which a row is believed without asking again.
const ROW_S: i64 = 60;
/// Seconds for which an id is known not to exist.
const UNKNOWN_S: i64 = 30;
/// Rows and unknown ids are spread over so many locks.
const SHARDS: usize = 64;
/// Rows of one shard in each of two generations: 65,536 in all.
const ROWS: usize = 512;
/// Unknown ids of one shard: 16,384 in all.
const UNKNOWN: usize = 256;
/// Counted uses of deprecated keys that wait to be written.
const USES: usize = 8_192;
/// Keys found in URLs and cookies that wait to be looked at.
const EXPOSED: usize = 256;

/// API keys. Shared by all threads.
pub struct ApiKeys {
    store: Store,
    peppers: ArcSwap<Peppers>,
    shards: Box<[Mutex<Shard>]>,
    /// For an index that cannot be.
    spare: Mutex<Shard>,
    uses: Mutex<HashMap<UseKey, u64>>,
    exposed: Mutex<Vec<(ApiKey, Place)>>,
    lookups: AtomicU64,
}

type UseKey = (Id16, i64, IpAddr, [u8; 8]);

struct Peppers {
    versions: HashMap<u32, MacKey>,
    newest: MacKey,
}

#[derive(Default)]
struct Shard {
    young: HashMap<Id16, Cached>,
    old: HashMap<Id16, Cached>,
    unknown: HashMap<Id16, i64>,
    /// Rises when something is dropped: a row that was read before that is not kept.
    dropped: u64,
}

#[derive(Clone)]
struct Cached {
    key: Arc<RegisteredKey>,
    until: i64,
}

/// A row, and what is made of it once.
pub struct RegisteredKey {
    /// The row.
    pub row: KeyRow,
    /// The public id.
    pub id: Arc<str>,
    /// The owner's id.
    pub owner: Arc<str>,
    /// Tenant.
    pub tenant: Option<Arc<str>>,
    /// Scopes.
    pub scopes: Arc<[Box<str>]>,
    /// The successor's public id.
    pub successor: Option<Arc<str>>,
    /// What is registered with the key, as claims.
    pub claims: Arc<KeyClaims>,
    /// The caller's hash in the log, made at the first use.
    pub hash: OnceLock<[u8; 8]>,
    /// Where it may come from; nothing: an entry cannot be read, and it may come from nowhere.
    networks: Option<Box<[IpNet]>>,
    touched: AtomicI64,
}

/// Why a key was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAccepted {
    /// Not a key, not ours, not the secret, or not in a state that works: `key-invalid`, with the private reason.
    Invalid(&'static str),
    /// The right secret of a key that has ended: `key-expired`.
    Expired,
    /// The store could not be asked: 503.
    Unavailable(StoreError),
}

/// Where a key was found that should be in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Path or query.
    Url,
    /// A cookie.
    Cookie,
    /// A request without TLS.
    Plaintext,
}

impl ApiKeys {
    /// Opens the peppers; the first is made here, by one winner.
    ///
    /// # Errors
    /// The store cannot be asked, or its secrets not opened.
    pub async fn open(store: Store, now: Now) -> Result<Self, StoreError> {
        let newest = store.secrets().newest(PEPPER, now.secs()).await?;
        let newest = MacKey::new(newest.value.expose());
        let peppers = Peppers { versions: versions(&store).await?, newest };
        Ok(Self {
            store,
            peppers: ArcSwap::from_pointee(peppers),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            spare: Mutex::default(),
            uses: Mutex::default(),
            exposed: Mutex::default(),
            lookups: AtomicU64::new(0),
        })
    }

    /// Checks a presented key, in the order of callers.md § 8: form and environment, row, secret, state. Whether it may be
    /// used from there and for that is asked afterwards.
    ///
    /// # Errors
    /// [`NotAccepted`].
    pub async fn verify(
        &self,
        text: &str,
        env: Env,
        now: Now,
    ) -> Result<(Arc<RegisteredKey>, State), NotAccepted> {
        let key = ApiKey::parse(text).map_err(|malformed| NotAccepted::Invalid(malformed.text()))?;
        if key.env() != env {
            return Err(NotAccepted::Invalid("key-of-the-other-environment"));
        }
        let known = self.registered(key.id(), now).await.map_err(NotAccepted::Unavailable)?;
        if !self.is_secret_of(&key, known.as_deref()).await.map_err(NotAccepted::Unavailable)? {
            return Err(NotAccepted::Invalid("key-unknown-or-secret-wrong"));
        }
        let Some(known) = known.filter(|known| known.row.env == env) else {
            return Err(NotAccepted::Invalid("key-of-the-other-environment"));
        };
        match known.row.dates.state(now.secs()) {
            state if state.works() => Ok((known, state)),
            State::Expired => Err(NotAccepted::Expired),
            state => Err(NotAccepted::Invalid(state.text())),
        }
    }

    /// The row of an id: from the cache, else from the store. Nothing: there is no such key.
    ///
    /// # Errors
    /// The store could not be asked.
    pub async fn registered(&self, id: Id16, now: Now) -> Result<Option<Arc<RegisteredKey>>, StoreError> {
        let now = now.secs();
        let dropped = {
            let mut shard = self.shard(&id);
            if let Some(key) = shard.row(&id, now) {
                return Ok(Some(key));
            }
            match shard.unknown.get(&id) {
                Some(until) if now < *until => return Ok(None),
                _ => shard.dropped,
            }
        };
        self.lookups.fetch_add(1, Ordering::Relaxed);
        let row = self.store.keys().by_id(id).await?;
        let key = row.map(|row| Arc::new(RegisteredKey::new(row)));
        let mut shard = self.shard(&id);
        // What was read before the feed said that the row has changed serves this request, which came before, alone.
        if shard.dropped == dropped {
            match &key {
                Some(key) => shard.put(id, Cached { key: key.clone(), until: now.saturating_add(ROW_S) }),
                None => shard.miss(id, now),
            }
        }
        Ok(key)
    }

    /// Whether something is known of an id without a look-up: a row, also one that is old enough to be read again, or that
    /// there was none a moment ago.
    pub fn remembers(&self, id: &Id16, now: Now) -> bool {
        let shard = self.shard(id);
        let absent = shard.unknown.get(id).is_some_and(|until| now.secs() < *until);
        absent || shard.young.contains_key(id) || shard.old.contains_key(id)
    }

    /// The row of a key has changed, or there is a new one: it is read again before it is believed.
    pub fn changed(&self, id: &Id16) {
        let mut shard = self.shard(id);
        let Shard { young, old, unknown, .. } = &mut *shard;
        for cached in [young.get_mut(id), old.get_mut(id)].into_iter().flatten() {
            cached.until = i64::MIN;
        }
        unknown.remove(id);
        shard.dropped = shard.dropped.wrapping_add(1);
    }

    /// The key was accepted: noted beside the request. The use of a deprecated one is counted by source.
    pub fn used(&self, key: &RegisteredKey, state: State, now: Now, source: IpAddr, user_agent: &[u8]) {
        let secs = now.secs();
        if key.touched.swap(secs, Ordering::Relaxed) != secs {
            self.store.keys().touch(key.row.id, secs);
        }
        if state != State::Deprecated {
            return;
        }
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, user_agent);
        let agent = digest.as_ref().first_chunk().copied().unwrap_or_default();
        let mut uses = lock(&self.uses);
        let use_key = (key.row.id, secs.div_euclid(86_400), source.to_canonical(), agent);
        if let Some(count) = uses.get_mut(&use_key) {
            *count = count.saturating_add(1);
        } else if uses.len() < USES {
            uses.insert(use_key, 1);
        }
    }

    /// Hands the counted uses to the store, which writes them some time. Returns the keys.
    ///
    /// # Errors
    /// The store's queue is full; the uses are kept.
    pub fn flush_uses(&self) -> Result<Vec<Id16>, StoreError> {
        let taken = std::mem::take(&mut *lock(&self.uses));
        if taken.is_empty() {
            return Ok(Vec::new());
        }
        let rows = |(key, day, source, agent): &UseKey, count: u64| Use {
            key: *key,
            day: *day,
            source: source.to_string(),
            user_agent_hash: hex(agent),
            count,
        };
        match self.store.keys().used(taken.iter().map(|(key, count)| rows(key, *count)).collect()) {
            Ok(()) => {
                let mut keys: Vec<Id16> = taken.into_keys().map(|(id, ..)| id).collect();
                keys.sort_unstable();
                keys.dedup();
                Ok(keys)
            }
            Err(error) => {
                let mut uses = lock(&self.uses);
                for (key, count) in taken {
                    let sum = uses.entry(key).or_default();
                    *sum = sum.saturating_add(count);
                }
                Err(error)
            }
        }
    }

    /// A key stood in a URL or a cookie. Looked at later, beside the request.
    pub fn found_exposed(&self, key: ApiKey, place: Place) {
        let mut waiting = lock(&self.exposed);
        if waiting.len() < EXPOSED {
            waiting.push((key, place));
        }
    }

    /// Looks at what was found. A key that exists is marked, and its owner gets a notice; it goes on working, so that a
    /// stranger who found it cannot switch it off by showing it. Returns which keys were ours.
    ///
    /// # Errors
    /// The store could not be asked; the rest is forgotten.
    pub async fn mark_exposed(&self, now: Now) -> Result<Vec<(Id16, Place)>, StoreError> {
        let found = std::mem::take(&mut *lock(&self.exposed));
        let mut ours = Vec::new();
        for (key, place) in found {
            let id = key.id();
            let known = self.registered(id, now).await?;
            // Its id alone is public: who shows that has shown nothing.
            if !self.is_secret_of(&key, known.as_deref()).await? {
                continue;
            }
            if known.is_some_and(|known| known.row.exposed_at.is_none()) {
                self.store.keys().exposed(id, now.secs()).await?;
                self.changed(&id);
            }
            ours.push((id, place));
        }
        Ok(ours)
    }

    /// Look-ups in the store so far.
    pub fn lookups(&self) -> u64 {
        self.lookups.load(Ordering::Relaxed)
    }

    /// Always computes one MAC.
    async fn is_secret_of(&self, key: &ApiKey, known: Option<&RegisteredKey>) -> Result<bool, StoreError> {
        let Some((mac, version)) = known.and_then(|known| match &known.row.material {
            Material::Bearer { mac, pepper_version } => Some((mac, *pepper_version)),
            // A key that signs is never sent.
            Material::Hmac { .. } | Material::Jwk { .. } | Material::Purged { .. } => None,
        }) else {
            return Ok(mac_fits(&self.peppers.load().newest, key, None));
        };
        if let Some(pepper) = self.peppers.load().versions.get(&version) {
            return Ok(mac_fits(pepper, key, Some(mac)));
        }
        // A version that another process has made since.
        let versions = versions(&self.store).await?;
        let fits = match versions.get(&version) {
            Some(pepper) => mac_fits(pepper, key, Some(mac)),
            None => mac_fits(&self.peppers.load().newest, key, None),
        };
        let newest = self.peppers.load().newest.clone();
        self.peppers.store(Arc::new(Peppers { versions, newest }));
        Ok(fits)
    }

    fn shard(&self, id: &Id16) -> MutexGuard<'_, Shard> {
        // The id's last digit is five random bits, the one before it five more.
        let place = id.as_str().bytes().rev().take(2).fold(0, |acc, b| acc * 31 + usize::from(b)) % SHARDS;
        lock(self.shards.get(place).unwrap_or(&self.spare))
    }
}

impl Shard {
    fn row(&mut self, id: &Id16, now: i64) -> Option<Arc<RegisteredKey>> {
        if let Some(cached) = self.young.get(id) {
            return (now < cached.until).then(|| cached.key.clone());
        }
        let cached = self.old.remove(id)?;
        let key = (now < cached.until).then(|| cached.key.clone());
        self.put(*id, cached);
        key
    }

    /// Two generations: a full young one becomes the old one, which is forgotten. A row that is used survives.
    fn put(&mut self, id: Id16, cached: Cached) {
        if self.young.len() >= ROWS {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, cached);
        self.unknown.remove(&id);
    }

    fn miss(&mut self, id: Id16, now: i64) {
        if self.unknown.len() >= UNKNOWN {
            self.unknown.retain(|_, until| now < *until);
            if self.unknown.len() >= UNKNOWN {
                self.unknown.clear();
            }
        }
        self.unknown.insert(id, now.saturating_add(UNKNOWN_S));
    }
}

impl RegisteredKey {
    fn new(row: KeyRow) -> Self {
        let claims = KeyClaims {
            attributes: Json::parse(row.attributes.clone().into_bytes(), &Limits::PAYLOAD).ok(),
            owner: row.owner.clone(),
        };
        Self {
            id: Arc::from(row.id.as_str()),
            owner: Arc::from(row.owner.as_str()),
            tenant: row.tenant.as_deref().map(Arc::from),
            scopes: row.scopes.iter().map(|scope| Box::from(scope.as_str())).collect(),
            successor: row.successor.map(|id| Arc::from(id.as_str())),
            claims: Arc::new(claims),
            hash: OnceLock::new(),
            networks: row.ip_allow.iter().map(|net| net.parse::<IpNet>().ok()).collect(),
            touched: AtomicI64::new(i64::MIN),
            row,
        }
    }

    /// Whether it signs, and is never sent.
    pub fn signs(&self) -> bool {
        matches!(self.row.material, Material::Hmac { .. } | Material::Jwk { .. })
    }

    /// Whether it may come from there. An entry that cannot be read allows nothing.
    pub fn may_come_from(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.networks
            .as_ref()
            .is_some_and(|all| all.is_empty() || all.iter().any(|net| net.contains(&client)))
    }

    /// Whether it is for this operation of this API: `shop`, or `shop:createTransfer`.
    pub fn is_for(&self, api: &str, operation: &str) -> bool {
        self.row.apis.iter().any(|entry| match entry.split_once(':') {
            None => entry == api,
            Some((one, id)) => one == api && id == operation,
        })
    }
}

/// What is registered with a key, as claims: `sub` is its owner.
pub struct KeyClaims {
    attributes: Option<Json>,
    owner: String,
}

impl ClaimSource for KeyClaims {
    fn text_at(&self, pointer: &str) -> Option<Cow<'_, str>> {
        if pointer == "/sub" {
            return Some(Cow::Borrowed(&self.owner));
        }
        let value = self.attributes.as_ref()?.root().pointer(&Pointer::parse(pointer)?)?;
        match value.as_str() {
            Some(text) => Some(Cow::Borrowed(text)),
            None => value.as_integer().map(|n| Cow::Owned(n.to_string())),
        }
    }

    fn texts_at(&self, pointer: &str) -> Vec<String> {
        if pointer == "/sub" {
            return vec![self.owner.clone()];
        }
        let root = self.attributes.as_ref().map(Json::root);
        let Some(value) = root.zip(Pointer::parse(pointer)).and_then(|(root, p)| root.pointer(&p)) else {
            return Vec::new();
        };
        match value.as_str() {
            Some(text) => vec![text.to_owned()],
            // Half an array is no array: what cannot be read must not look like less.
            None => value
                .items()
                .map(|v| v.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .unwrap_or_default(),
        }
    }
}

async fn versions(store: &Store) -> Result<HashMap<u32, MacKey>, StoreError> {
    let all = store.secrets().all(PEPPER).await?;
    Ok(all.into_iter().map(|secret| (secret.version, MacKey::new(secret.value.expose()))).collect())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
