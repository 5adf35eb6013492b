//! Jobs about callers, beside the hot path: the feed of revocations, notices, what is to be forgotten. A request is right
//! without any of them; keys end on time even if all are dead.

use portcullis_egress::Door;
use portcullis_gateway::services::Shared;
use portcullis_plan::access::{KeyRules, NoticeSink};
use portcullis_store::StoreError;
use portcullis_telemetry::metrics::KeySet;
use portcullis_telemetry::note::{self, Value};
use portcullis_vault::api_keys::Place;
use portcullis_vault::notices::{Notifier, Report, Rules, Sink};
use portcullis_vault::revocation::Told;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often the figures of key sets are renewed.
const FIGURES: Duration = Duration::from_secs(5);
/// How often clocks are compared, and from which difference on somebody is told, in microseconds.
const COMPARE: Duration = Duration::from_secs(30);
const DRIFT_US: u64 = 2_000_000;
/// How often the outbox is looked at.
const DELIVER: Duration = Duration::from_secs(2);
/// In turns of that: how often what is due is computed, and how often what is over is forgotten.
const COMPUTE: u32 = 30;
const FORGET: u32 = 1_800;

/// Starts them. Needs a `LocalSet`.
pub(crate) fn start(shared: &Arc<Shared>, door: &Arc<Door>) {
    let keys = shared.keys.clone();
    let follow = shared.revoked.clone().follow(
        Arc::new(shared.store.clone()),
        shared.clock.clone(),
        move |id| keys.changed(id),
        told,
    );
    tokio::task::spawn_local(follow);
    tokio::task::spawn_local(notices(shared.clone(), door.clone()));
    tokio::task::spawn_local(figures(shared.clone()));
    tokio::task::spawn_local(compare_clocks(shared.clone()));
}

/// What there is to know of key sets, for the metrics.
async fn figures(shared: Arc<Shared>) {
    loop {
        {
            let (live, now) = (shared.live.load(), shared.clock.now());
            let sets: Vec<_> = live
                .key_sets()
                .map(|keys| (keys.name().clone(), keys.figures(now), keys.unusable()))
                .collect();
            shared.metrics.key_sets(sets.iter().map(|(issuer, figures, unusable)| KeySet {
                issuer,
                age_s: figures.age_s,
                keys: figures.keys,
                unusable,
                unknown: figures.unknown,
            }));
        }
        tokio::time::sleep(FIGURES).await;
    }
}

/// Times decide about tokens, keys and revocations, and the store's is the one that all nodes share.
async fn compare_clocks(shared: Arc<Shared>) {
    let mut far = false;
    loop {
        let before = shared.clock.now().micros();
        if let Ok(store) = shared.store.clock().await {
            let own = shared.clock.now().micros();
            let off = drift(before, store, own);
            shared.clock_off.store(off, Ordering::Relaxed);
            let is_far = off.unsigned_abs() >= DRIFT_US;
            if is_far && !far {
                let values = [("milliseconds", Value::Signed(off / 1_000))];
                note::error("clock.drift", "the clock differs from the store's", &values);
            }
            far = is_far;
        }
        tokio::time::sleep(COMPARE).await;
    }
}

/// By how much our clock is ahead of the store's, which answered between two looks at ours.
fn drift(before: i64, store: i64, after: i64) -> i64 {
    if store < before {
        before.saturating_sub(store)
    } else if store > after {
        after.saturating_sub(store)
    } else {
        0
    }
}

fn told(what: Told) {
    match what {
        Told::Stale(error, secs) => note::error(
            "revocation.stale",
            "the feed of revocations cannot be read",
            &[("seconds", u64::try_from(secs).unwrap_or(0).into()), ("why", error.text().into())],
        ),
        Told::Again => note::info("revocation.read", "the feed of revocations is read again", &[]),
    }
}

async fn notices(shared: Arc<Shared>, door: Arc<Door>) {
    let mut notifier = Notifier::new(shared.store.clone());
    for turn in (0..COMPUTE * FORGET).cycle() {
        if let Err(error) = one_turn(turn, &mut notifier, &shared, &door).await {
            note::warn("notice.store", "notices could not be looked after", &[("why", error.text().into())]);
        }
        tokio::time::sleep(DELIVER).await;
    }
}

async fn one_turn(
    turn: u32,
    notifier: &mut Notifier,
    shared: &Shared,
    door: &Door,
) -> Result<(), StoreError> {
    let now = shared.clock.now();
    for (id, place) in shared.keys.mark_exposed(now).await? {
        let event = match place {
            Place::Url => "credential.in_url",
            Place::Cookie => "credential.in_cookie",
            Place::Plaintext => "credential.on_plaintext",
        };
        note::warn(event, "an API key was shown where others can see it", &[("key", id.as_str().into())]);
    }
    notifier.deprecated_uses(&shared.keys.flush_uses()?, now.secs()).await?;
    if turn.is_multiple_of(COMPUTE) {
        for (state, count) in notifier.compute(now.secs()).await? {
            shared.metrics.api_keys(state.text(), count);
        }
    }
    if turn.is_multiple_of(FORGET) {
        shared.store.keys().purge(now.secs()).await?;
        shared.store.revocation().forget(now.secs()).await?;
        shared.revoked.forget(now);
    }
    let rules = rules(&shared.live.load().plan.keys);
    tell(&notifier.deliver_all(now.secs(), &rules, door).await?);
    Ok(())
}

fn rules(keys: &KeyRules) -> Rules {
    let sink = |sink: &NoticeSink| match sink {
        NoticeSink::Webhook { url, secret } => Sink::Webhook { url: url.clone(), secret: secret.clone() },
        NoticeSink::Email { relay, from, to, login } => Sink::Email {
            relay: relay.clone(),
            from: from.clone(),
            to: to.clone(),
            login: login.as_ref().map(|(user, password)| {
                let (user, password) = (user.to_string(), password.as_ref().clone());
                Arc::new(portcullis_egress::Login { user, password })
            }),
        },
    };
    Rules { sinks: keys.notify.iter().map(sink).collect(), docs: keys.docs.clone() }
}

fn tell(report: &Report) {
    for (kind, key, occasion) in &report.told {
        let (event, message) = match kind.as_str() {
            "apikey.rotation_due" => ("apikey.rotation_due", "an API key must be replaced soon"),
            "apikey.rotated" => ("apikey.rotated", "an API key has a successor"),
            "apikey.deprecated_use" => ("key.deprecated_use", "a deprecated API key is in use"),
            "apikey.expiring_grace" => ("apikey.expiring_grace", "an API key ends in a few hours"),
            "apikey.expired" => ("apikey.expired", "an API key has ended"),
            "apikey.revoked" => ("apikey.revoked", "an API key was revoked"),
            "apikey.exposed" => ("apikey.exposed", "an API key was seen where it must not be"),
            _ => ("apikey.notice", "an API key needs attention"),
        };
        note::info(event, message, &[("key", key.into()), ("occasion", occasion.into())]);
    }
    for (kind, key, receiver, why, given_up) in &report.failed {
        let values = [
            ("notice", kind.into()),
            ("key", key.into()),
            ("receiver", receiver.into()),
            ("why", why.into()),
        ];
        if *given_up {
            note::error("notice.dead", "a notice was given up", &values);
        } else {
            note::warn("notice.failed", "a notice did not arrive; it is tried again", &values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::drift;

    #[test]
    fn an_answer_between_two_looks_is_no_drift() {
        for (before, store, after, off) in [
            (100, 100, 100, 0),
            (100, 150, 200, 0),
            (100, 90, 200, 10),
            (100, 210, 200, -10),
            (5_000_000, 1_000_000, 5_000_100, 4_000_000),
            (i64::MIN, i64::MAX, i64::MIN, i64::MIN),
        ] {
            assert_eq!(drift(before, store, after), off);
        }
    }
}
