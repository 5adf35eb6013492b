//! Key, user, endpoint and tenant limits, once the caller is known (limits.md § 1).

use super::flood::settle;
use super::identify::Provisional;
use super::route::Matched;
use crate::passage::Passage;
use crate::services::Services;
use portcullis_core::caller::{Caller, Kind};
use portcullis_core::problem::Code;
use portcullis_core::trail::Gate;
use portcullis_core::verdict::{Fault, Stop};
use portcullis_limits::policy::ConsumerPlan;
use portcullis_limits::{Ask, Bucket, Permit};
use smallvec::SmallVec;

/// Evidence: this request has been paid for. While it lives, the request counts as under way.
#[must_use]
pub struct Receipt {
    under_way: Option<Permit>,
}

impl Receipt {
    /// The place among the requests under way, which must outlive the exchange.
    pub(super) fn into_under_way(self) -> Option<Permit> {
        self.under_way
    }
}

/// Charges every layer that applies, or none.
pub fn spend(
    caller: &Provisional<'_>,
    matched: &Matched<'_>,
    passage: &Passage,
    services: &Services,
) -> Result<Receipt, Stop> {
    let cost = matched.policy().limits.cost;
    let asks = asks(caller, matched, passage, services, |_| cost);
    let verdict = services.shared.limits.decide(services.limit_time(), &asks);
    settle(&verdict, &asks, passage, Gate::Quota)?;
    let under_way = enter(matched, services)?;
    Ok(Receipt { under_way })
}

/// Charges what only the body has told: further requests of a batch, and units of cost. A limit that stands in the
/// configuration counts units; those that nobody wrote count requests.
pub(super) fn charge(
    requests: u64,
    units: u64,
    caller: &Caller,
    matched: &Matched<'_>,
    passage: &Passage,
    services: &Services,
) -> Result<(), Stop> {
    let small = |cost: u64| u32::try_from(cost).unwrap_or(u32::MAX);
    let mut asks = asks(caller, matched, passage, services, |bucket| {
        small(requests.saturating_add(if bucket.at.is_some() { units } else { 0 }))
    });
    asks.retain(|ask| ask.cost > 0);
    if asks.is_empty() {
        return Ok(());
    }
    let verdict = services.shared.limits.decide(services.limit_time(), &asks);
    // The later decision of a limit is the one that the client is told.
    let said =
        |name: &portcullis_limits::Decision| verdict.decisions().iter().any(|new| new.name == name.name);
    passage.seen().decisions.retain(|decision| !said(decision));
    settle(&verdict, &asks, passage, Gate::Quota)
}

/// Every layer that applies.
fn asks<'a>(
    caller: &Caller,
    matched: &'a Matched<'_>,
    passage: &'a Passage,
    services: &Services,
    cost: impl Fn(&Bucket) -> u32,
) -> SmallVec<[Ask<'a>; 4]> {
    let quota = &matched.policy().limits;
    let plan = consumer_plan(caller, passage);
    let name = Name::of(caller, matched);
    let mut asks: SmallVec<[Ask<'a>; 4]> = SmallVec::new();
    let limits = &services.shared.limits;
    if let (Some(bucket), Some(client)) = (quota.key_for(plan), name.client) {
        let (issuer, id) = client;
        let key = limits.key(bucket, &[issuer.as_bytes(), id.as_bytes()]);
        asks.push(Ask { bucket, key, cost: cost(bucket) });
    }
    if let (Some(bucket), Some((issuer, subject))) = (quota.user_for(plan), name.user) {
        asks.push(Ask {
            bucket,
            key: limits.key(bucket, &[issuer.as_bytes(), subject.as_bytes()]),
            cost: cost(bucket),
        });
    }
    if let Some(bucket) = quota.endpoint.as_deref() {
        let key = limits.key(bucket, &[name.whoever.as_slice()]);
        asks.push(Ask { bucket, key, cost: cost(bucket) });
    }
    if let (Some(bucket), Some(tenant)) = (quota.tenant_for(plan), name.tenant) {
        asks.push(Ask { bucket, key: limits.key(bucket, &[tenant.as_bytes()]), cost: cost(bucket) });
    }
    asks
}

/// The plan that is registered with an API key (attribute `plan`).
fn consumer_plan<'p>(caller: &Caller, passage: &'p Passage) -> Option<&'p ConsumerPlan> {
    if caller.key.is_none() || passage.plan.consumer_plans.is_empty() {
        return None;
    }
    let name = caller.claims.as_ref()?.text_at("/plan")?;
    passage.plan.consumer_plans.iter().find(|(known, _)| **known == *name).map(|(_, plan)| plan)
}

fn enter(matched: &Matched<'_>, services: &Services) -> Result<Option<Permit>, Stop> {
    let Some(limit) = matched.policy().concurrency else { return Ok(None) };
    match services.shared.concurrency.enter(matched.concurrency_key(services), limit) {
        Some(permit) => Ok(Some(permit)),
        None => Err(Fault::new(Code::Overloaded, "operation-concurrency").retry_after(1).into()),
    }
}

/// The names under which a caller is counted.
struct Name<'a> {
    /// With who gave the name: clients of two issuers, or a client and a key, are never the same.
    client: Option<(&'a str, &'a str)>,
    user: Option<(&'a str, &'a str)>,
    tenant: Option<&'a str>,
    whoever: SmallVec<[u8; 64]>,
}

impl<'a> Name<'a> {
    fn of(caller: &'a Caller, matched: &Matched<'_>) -> Self {
        let subject = caller.subject.as_ref().map(|s| (&*s.issuer, &*s.id));
        let issuer = subject.map_or("", |(issuer, _)| issuer);
        let key = caller.key.as_ref().map(|k| ("portcullis:keys", &*k.id));
        let client = key.or(caller.client.as_deref().map(|client| (issuer, client)));
        let user = subject.filter(|_| matches!(caller.kind, Kind::User));
        let mut whoever = SmallVec::new();
        match (subject, client) {
            (Some((issuer, id)), _) => {
                whoever.extend_from_slice(issuer.as_bytes());
                whoever.push(0);
                whoever.extend_from_slice(id.as_bytes());
            }
            (None, Some((_, client))) => whoever.extend_from_slice(client.as_bytes()),
            (None, None) => whoever.extend_from_slice(&matched.client_network()),
        }
        Self { client, user, tenant: caller.tenant.as_deref(), whoever }
    }
}
