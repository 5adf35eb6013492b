//! Notices about API keys (callers.md § 8): which are due is a function of rows and time, each is kept once in the outbox,
//! and each receiver gets it once.
//!
//! A row of the outbox without `@` in its bucket is a notice; it is opened into one row for each receiver (`7d@owner`,
//! `7d@w-1a2b3c4d`), which succeeds or fails by itself. Every step can be repeated, so a crash between two of them loses
//! and doubles nothing; a delivery whose answer was lost is repeated under the same id.

mod parcel;

pub use parcel::{Deliver, Delivering, Failed, Parcel, rfc3339};

use parcel::stable_id;
use portcullis_core::opaque::Id16;
use portcullis_core::secret::Secret;
use portcullis_egress::Login;
use portcullis_jose::api_key::State;
use portcullis_store::keys::{Filter, KeyRow, Owner};
use portcullis_store::notices::{Claimed, Notice};
use portcullis_store::{Store, StoreError};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;

/// Sends one message by Standard Webhooks; `id` is the same at every attempt.
///
/// # Errors
/// Why it did not arrive.
pub(crate) async fn webhook(
    door: &impl Deliver,
    (url, secret): (&Arc<str>, &Secret<Vec<u8>>),
    id: &str,
    now: i64,
    body: &str,
) -> Result<(), Failed> {
    door.deliver(&Parcel::webhook(url, secret, id, now, body)).await
}

/// Seconds for which one process keeps a claimed notice to itself: longer than the slowest delivery of a batch.
const LEASE_S: i64 = 300;
const BATCH: u32 = 4;
/// Batches of one turn: what is left waits for the next.
const BATCHES: u32 = 64;
/// Attempts before a delivery is given up: with the back-off below, 24 hours.
const ATTEMPTS: u32 = 29;
const DAY: i64 = 86_400;
const HOUR: i64 = 3_600;
/// Notices that this process remembers to have added; beyond it the store is asked again, which knows.
const REMEMBERED: usize = 200_000;

/// Where notices go.
#[derive(Clone)]
pub enum Sink {
    /// Standard Webhooks.
    Webhook {
        /// URL.
        url: Arc<str>,
        /// The signing secret's bytes.
        secret: Arc<Secret<Vec<u8>>>,
    },
    /// E-mail.
    Email {
        /// `smtps://…` or `smtp://…`.
        relay: Arc<str>,
        /// Sender.
        from: Arc<str>,
        /// Recipients besides the owner.
        to: Vec<Box<str>>,
        /// Who we are at the relay.
        login: Option<Arc<Login>>,
    },
}

/// What the configuration says about notices.
#[derive(Clone, Default)]
pub struct Rules {
    /// Receivers besides the owners; owners are written to by the first relay.
    pub sinks: Vec<Sink>,
    /// A page for people.
    pub docs: Option<Arc<str>>,
}

/// What a turn did, for the program's notes and metrics.
#[derive(Debug, Default)]
pub struct Report {
    /// Notices that were opened: kind, key, bucket.
    pub told: Vec<(String, String, String)>,
    /// Deliveries that failed: kind, key, receiver, why, and whether they were given up.
    pub failed: Vec<(String, String, String, String, bool)>,
    /// Deliveries that arrived.
    pub sent: u64,
}

/// Computes what is due and delivers it.
pub struct Notifier {
    store: Store,
    remembered: HashSet<(Id16, &'static str, i64)>,
}

impl Notifier {
    /// Over a store.
    pub fn new(store: Store) -> Self {
        Self { store, remembered: HashSet::new() }
    }

    /// Adds what has become due by `now`. Returns the keys by state.
    ///
    /// # Errors
    /// The store cannot be asked; what was not done is done by the next call.
    pub async fn compute(&mut self, now: i64) -> Result<Vec<(State, u64)>, StoreError> {
        let rows = self.store.keys().list(Filter::default()).await?;
        for row in &rows {
            self.due(row, now).await?;
        }
        Ok(states(&rows, now))
    }

    /// Adds that deprecated keys were used: one notice for each key and hour.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn deprecated_uses(&mut self, keys: &[Id16], now: i64) -> Result<(), StoreError> {
        let hour = now.div_euclid(HOUR);
        for key in keys {
            self.add(*key, DEPRECATED_USE, format!("h{hour}"), hour, now, json!({"at": now})).await?;
        }
        Ok(())
    }

    /// Opens and delivers what the outbox holds.
    ///
    /// # Errors
    /// The store cannot be asked; what was claimed is claimed again when its lease is over.
    pub async fn deliver_all(
        &self,
        now: i64,
        rules: &Rules,
        door: &dyn Deliver,
    ) -> Result<Report, StoreError> {
        let mut report = Report::default();
        for _ in 0..BATCHES {
            let claimed = self.store.outbox().claim(now, LEASE_S, BATCH).await?;
            if claimed.is_empty() {
                break;
            }
            for one in claimed {
                match one.notice.bucket.split_once('@') {
                    None => self.open(&one, now, rules, &mut report).await?,
                    Some((_, receiver)) => {
                        self.deliver(&one, receiver, now, rules, door, &mut report).await?
                    }
                }
            }
        }
        Ok(report)
    }

    async fn due(&mut self, row: &KeyRow, now: i64) -> Result<(), StoreError> {
        for notice in row.dates.notices(now) {
            // Buckets of one kind differ, and a string is as good a mark as a number.
            let mark = notice.bucket.bytes().fold(0_i64, |acc, b| acc * 256 + i64::from(b));
            self.add(
                row.id,
                notice.kind.text(),
                notice.bucket.to_owned(),
                mark,
                now,
                json!({"at": notice.at}),
            )
            .await?;
        }
        self.digest(row, now).await
    }

    /// Who used a deprecated key yesterday.
    async fn digest(&mut self, row: &KeyRow, now: i64) -> Result<(), StoreError> {
        let yesterday = now.div_euclid(DAY) - 1;
        let from = row.dates.deprecated_from();
        let over = row.dates.ends_at().saturating_add(2 * DAY);
        if from >= (yesterday + 1) * DAY || now >= over || self.knows(row.id, DIGEST, yesterday) {
            return Ok(());
        }
        let uses = self.store.keys().uses(row.id, yesterday).await?;
        if uses.is_empty() {
            self.remember(row.id, DIGEST, yesterday);
            return Ok(());
        }
        let total: u64 = uses.iter().map(|one| one.count).sum();
        let list: Vec<Value> = uses
            .iter()
            .map(|one| json!({"source": one.source, "user_agent": one.user_agent_hash, "count": one.count}))
            .collect();
        let payload =
            json!({"at": now, "day": rfc3339(yesterday * DAY).get(..10), "total": total, "uses": list});
        let bucket = format!("{DIGEST}-{yesterday}");
        self.add(row.id, DEPRECATED_USE, bucket, yesterday, now, payload).await?;
        self.remember(row.id, DIGEST, yesterday);
        Ok(())
    }

    async fn add(
        &mut self,
        key: Id16,
        kind: &'static str,
        bucket: String,
        mark: i64,
        now: i64,
        payload: Value,
    ) -> Result<(), StoreError> {
        if self.knows(key, kind, mark) {
            return Ok(());
        }
        let notice = Notice {
            subject: key.as_str().to_owned(),
            kind: kind.to_owned(),
            bucket,
            due: now,
            payload: payload.to_string(),
        };
        self.store.outbox().add(notice).await?;
        self.remember(key, kind, mark);
        Ok(())
    }

    fn knows(&self, key: Id16, kind: &'static str, mark: i64) -> bool {
        self.remembered.contains(&(key, kind, mark))
    }

    fn remember(&mut self, key: Id16, kind: &'static str, mark: i64) {
        if self.remembered.len() >= REMEMBERED {
            self.remembered.clear();
        }
        self.remembered.insert((key, kind, mark));
    }

    /// One row for each receiver.
    async fn open(
        &self,
        one: &Claimed,
        now: i64,
        rules: &Rules,
        report: &mut Report,
    ) -> Result<(), StoreError> {
        let Claimed { id, notice, .. } = one;
        let row = match Id16::parse(&notice.subject) {
            Ok(key) => self.store.keys().by_id(key).await?,
            Err(_) => None,
        };
        let Some(row) = row else { return self.store.outbox().dead(*id, now).await };
        let owner = self.store.keys().owner(row.owner.clone()).await?;
        let payload = body(notice, &row, owner.as_ref(), rules, now).to_string();
        let mail = rules.sinks.iter().any(|sink| matches!(sink, Sink::Email { .. }));
        let contact = owner.as_ref().is_some_and(|owner| owner.email_sealed.is_some());
        let owners = (mail && contact).then(|| OWNER.to_owned());
        for receiver in rules.sinks.iter().filter_map(Sink::receiver).chain(owners) {
            let bucket = format!("{}@{receiver}", notice.bucket);
            let child = Notice { bucket, due: now, payload: payload.clone(), ..notice.clone() };
            self.store.outbox().add(child).await?;
        }
        report.told.push((notice.kind.clone(), notice.subject.clone(), notice.bucket.clone()));
        self.store.outbox().sent(*id, now).await
    }

    async fn deliver(
        &self,
        one: &Claimed,
        receiver: &str,
        now: i64,
        rules: &Rules,
        door: &dyn Deliver,
        report: &mut Report,
    ) -> Result<(), StoreError> {
        let outbox = self.store.outbox();
        let outcome = match self.parcel(&one.notice, receiver, now, rules).await? {
            Some(parcel) => door.deliver(&parcel).await,
            None => Err(Failed::Never("the receiver is not configured any more".to_owned())),
        };
        let (why, never) = match outcome {
            Ok(()) => {
                report.sent += 1;
                return outbox.sent(one.id, now).await;
            }
            Err(Failed::Later(why)) => (why, one.attempts >= ATTEMPTS),
            Err(Failed::Never(why)) => (why, true),
        };
        let Notice { kind, subject, .. } = &one.notice;
        report.failed.push((kind.clone(), subject.clone(), receiver.to_owned(), why, never));
        if never {
            outbox.dead(one.id, now).await
        } else {
            outbox.later(one.id, now.saturating_add(back_off(one.attempts))).await
        }
    }

    async fn parcel(
        &self,
        notice: &Notice,
        receiver: &str,
        now: i64,
        rules: &Rules,
    ) -> Result<Option<Parcel>, StoreError> {
        let id = stable_id(&notice.subject, &notice.kind, &notice.bucket);
        if receiver != OWNER {
            let sink = rules.sinks.iter().find(|sink| sink.receiver().as_deref() == Some(receiver));
            return Ok(sink.map(|sink| match sink {
                Sink::Webhook { url, secret } => Parcel::webhook(url, secret, &id, now, &notice.payload),
                Sink::Email { to, .. } => {
                    let to = to.iter().map(|to| to.to_string()).collect();
                    Parcel::mail(sink, to, &id, now, &notice.payload)
                }
            }));
        }
        let Some(sink) = rules.sinks.iter().find(|sink| matches!(sink, Sink::Email { .. })) else {
            return Ok(None);
        };
        let payload: Value = serde_json::from_str(&notice.payload).unwrap_or_default();
        let owner = payload.pointer("/data/owner_id").and_then(Value::as_str).unwrap_or_default();
        let Some(owner) = self.store.keys().owner(owner.to_owned()).await? else { return Ok(None) };
        // Opened here and nowhere kept.
        let Some(contact) = self.store.keys().contact(&owner)? else { return Ok(None) };
        Ok(Some(Parcel::mail(sink, vec![contact.expose().clone()], &id, now, &notice.payload)))
    }
}

const OWNER: &str = "owner";
const DIGEST: &str = "digest";
const DEPRECATED_USE: &str = "apikey.deprecated_use";

impl Sink {
    /// Stable over restarts; nothing for one that nobody but owners is written to by.
    fn receiver(&self) -> Option<String> {
        let (letter, text) = match self {
            Self::Webhook { url, .. } => ('w', url.to_string()),
            Self::Email { to, .. } if to.is_empty() => return None,
            Self::Email { relay, to, .. } => ('m', format!("{relay} {}", to.join(" "))),
        };
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        let hex: String = digest.as_ref().iter().take(4).map(|b| format!("{b:02x}")).collect();
        Some(format!("{letter}-{hex}"))
    }
}

/// Half a minute, doubled at each attempt, an hour at most.
fn back_off(attempts: u32) -> i64 {
    (30_i64 << attempts.min(7)).min(HOUR)
}

fn states(rows: &[KeyRow], now: i64) -> Vec<(State, u64)> {
    let all = [
        State::Pending,
        State::Active,
        State::Due,
        State::Deprecated,
        State::Expired,
        State::Purged,
        State::Revoked,
        State::Suspended,
    ];
    let of = |state: State| rows.iter().filter(|row| row.dates.state(now) == state).count() as u64;
    all.into_iter().map(|state| (state, of(state))).collect()
}

/// The same bytes at every attempt and for every receiver.
fn body(notice: &Notice, row: &KeyRow, owner: Option<&Owner>, rules: &Rules, now: i64) -> Value {
    let told: Value = serde_json::from_str(&notice.payload).unwrap_or_default();
    let at = told.get("at").and_then(Value::as_i64).unwrap_or(notice.due);
    let mut data = json!({
        "key": row.id.as_str(),
        "name": row.name,
        "env": row.env.text(),
        "kind": row.material.kind(),
        "owner_id": row.owner,
        "owner": owner.map(|owner| owner.name.as_str()),
        "tenant": row.tenant,
        "state": row.dates.state(now).text(),
        "occasion": notice.bucket,
        "deprecated_from": rfc3339(row.dates.deprecated_from()),
        "ends_at": rfc3339(row.dates.ends_at()),
        "successor": row.successor.map(|id| id.as_str().to_owned()),
        "docs": rules.docs.as_deref(),
    });
    for name in ["day", "total", "uses"] {
        if let (Some(value), Some(data)) = (told.get(name), data.as_object_mut()) {
            data.insert(name.to_owned(), value.clone());
        }
    }
    json!({"type": format!("portcullis.{}", notice.kind), "timestamp": rfc3339(at), "data": data})
}

#[cfg(test)]
mod tests;
