//! Certificates while the program runs: those that ACME brings, when each ends, and the pins of backup keys.

use portcullis_core::time::Clock;
use portcullis_egress::Door;
use portcullis_gateway::services::Shared;
use portcullis_gateway::wire::acme::{Book, Keeper, Told};
use portcullis_gateway::wire::pins;
use portcullis_plan::Plan;
use portcullis_plan::listen::{Acme, Listener};
use portcullis_store::Store;
use portcullis_telemetry::note;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// How often ends of certificates and backup keys are looked at.
const LOOK: Duration = Duration::from_secs(60);
const DAY: i64 = 86_400;
/// Days before its end at which a certificate is told of.
const TOLD: [i64; 2] = [14, 3];

/// Serves what the store has, before anything listens.
pub(crate) async fn load(
    plan: &Plan,
    book: &Arc<Book>,
    store: &Store,
    door: &Arc<Door>,
    clock: &Arc<dyn Clock>,
) {
    for acme in wanted(&plan.listeners) {
        let name = acme.name();
        let mut keeper = keeper(acme, book, store, door, clock);
        keeper.load(|told| tell(&name, &told)).await;
    }
}

/// Looks after certificates for ever. Needs a `LocalSet`.
pub(crate) async fn watch(shared: Arc<Shared>, door: Arc<Door>, book: Arc<Book>) {
    // It is the listeners that prove names.
    while shared.edge.get().is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut keepers: HashMap<String, (Acme, tokio::task::JoinHandle<()>)> = HashMap::new();
    let mut told = BTreeSet::new();
    let mut reloads = shared.reloads.subscribe();
    loop {
        let plan = shared.live.load().plan.clone();
        follow(&mut keepers, &plan, &shared, &door, &book);
        for listener in plan.listeners.iter().filter(|listener| listener.publish_pins) {
            match pins::backup(&shared.store, listener, shared.clock.now().secs()).await {
                Ok(hash) => book.publish_backup(&listener.name, hash),
                Err(why) => note::warn(
                    "tls.backup_key",
                    "a backup key cannot be had from the store",
                    &[("listener", listener.name.as_str().into()), ("why", why.text().into())],
                ),
            }
        }
        expiry(&shared, &mut told);
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            Ok(()) = reloads.changed() => {}
        }
    }
}

/// One task for each certificate of the plan, and none for others.
fn follow(
    keepers: &mut HashMap<String, (Acme, tokio::task::JoinHandle<()>)>,
    plan: &Plan,
    shared: &Arc<Shared>,
    door: &Arc<Door>,
    book: &Arc<Book>,
) {
    let wanted: Vec<Acme> = wanted(&plan.listeners).collect();
    keepers.retain(|_, (acme, task)| {
        let stays = wanted.contains(acme);
        if !stays {
            task.abort();
        }
        stays
    });
    for acme in wanted {
        if let Entry::Vacant(place) = keepers.entry(acme.name()) {
            let keeper = keeper(acme.clone(), book, &shared.store, door, &shared.clock);
            let words = place.key().clone();
            let task = tokio::task::spawn_local(keeper.run(move |told| tell(&words, &told)));
            place.insert((acme, task));
        }
    }
}

fn wanted(listeners: &[Listener]) -> impl Iterator<Item = Acme> {
    let mut seen = BTreeSet::new();
    let all = listeners.iter().filter_map(|listener| listener.tls.as_ref()?.acme.clone());
    all.filter(move |acme| seen.insert(acme.name()))
}

fn keeper(acme: Acme, book: &Arc<Book>, store: &Store, door: &Arc<Door>, clock: &Arc<dyn Clock>) -> Keeper {
    Keeper::new(acme, book.clone(), store.clone(), door.clone(), clock.clone(), node(), random)
}

/// This process among others on the same store.
fn node() -> String {
    let mut bytes = [0_u8; 12];
    // Without randomness two nodes might share a lease; the process id keeps those of one machine apart.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    let random: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{random}", std::process::id())
}

/// Between 0 and 1.
fn random() -> f64 {
    let mut bytes = [0_u8; 4];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}

fn tell(name: &str, told: &Told<'_>) {
    let name = ("certificate", name.into());
    match told {
        Told::Issued { not_after } => {
            let end = u64::try_from(*not_after).unwrap_or(0);
            note::info("acme.issued", "a new certificate is served", &[name, ("not_after", end.into())]);
        }
        Told::Loaded { not_after } => {
            let end = u64::try_from(*not_after).unwrap_or(0);
            note::info(
                "acme.loaded",
                "a certificate from the store is served",
                &[name, ("not_after", end.into())],
            );
        }
        Told::Failed { why, failures, retry_s } => {
            let retry = u64::try_from(*retry_s).unwrap_or(0);
            let values = [
                name,
                ("why", (*why).into()),
                ("failures", u64::from(*failures).into()),
                ("retry_s", retry.into()),
            ];
            note::error("acme.failed", "no certificate came; the present one is served on", &values);
        }
        Told::Store(why) => {
            note::warn(
                "acme.store",
                "the store cannot be used for certificates",
                &[name, ("why", why.text().into())],
            );
        }
    }
}

/// Says when certificates end: to metrics always, to people 14 and 3 days before.
fn expiry(shared: &Shared, told: &mut BTreeSet<(String, String, i64, i64)>) {
    let Some(edge) = shared.edge.get() else { return };
    let all = edge.certificates();
    shared.metrics.certificates(all.iter().map(|(name, shown)| (&**name, &*shown.source, shown.not_after)));
    let now = shared.clock.now().secs();
    for (listener, shown) in &all {
        let left = shown.not_after.saturating_sub(now);
        let Some(days) = TOLD.into_iter().rev().find(|days| left <= days * DAY) else { continue };
        if told.insert((listener.clone(), shown.source.clone(), shown.not_after, days)) {
            let values = [
                ("listener", listener.as_str().into()),
                ("source", shown.source.as_str().into()),
                ("days", u64::try_from(left / DAY).unwrap_or(0).into()),
            ];
            note::warn("tls.certificate_expiring", "a certificate that is served ends soon", &values);
        }
    }
}
