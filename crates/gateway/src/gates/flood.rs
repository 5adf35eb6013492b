//! Global and address limits, before any cryptography (limits.md § 1).

use super::route::Matched;
use crate::passage::Passage;
use crate::services::Services;
use portcullis_core::head::Head;
use portcullis_core::problem::Code;
use portcullis_core::trail::Gate;
use portcullis_core::verdict::{Answer, Refusal, Stop};
use portcullis_limits::policy::Flood;
use portcullis_limits::{Ask, Outcome, Verdict};
use smallvec::SmallVec;
use std::net::IpAddr;

/// Evidence: the weather was calm when this request came in.
#[must_use]
pub struct Calm(());

/// Charges the global layer, and the address layer for a request that presents no credential. A preflight is
/// answered here: counted like any request, and never seen by `identify` or the upstream.
pub fn weather(
    head: &Head,
    matched: &Matched<'_>,
    passage: &Passage,
    services: &Services,
) -> Result<Calm, Stop> {
    // Nobody verifies a credential on a preflight, so it buys nothing.
    let credentialed = matched.preflight().is_none() && matched.presents_credential(head);
    passage.seen().credentialed = credentialed;
    let flood = &passage.plan.flood;
    let address = address_asks(flood, services, head.client().address, 1);
    let mut asks: SmallVec<[Ask<'_>; 3]> = SmallVec::new();
    if let Some(bucket) = &flood.global {
        asks.push(Ask { bucket, key: services.shared.limits.key(bucket, &[]), cost: 1 });
    }
    if !credentialed {
        asks.extend(address);
    }
    let verdict = services.shared.limits.decide(services.limit_time(), &asks);
    settle(&verdict, &asks, passage, Gate::Flood)?;
    match matched.preflight() {
        Some(preflight) => Err(Answer::from(preflight).into()),
        None => Ok(Calm(())),
    }
}

/// Charges a failed credential to the address it came from. While that bucket is empty, a failure is answered 429;
/// a valid credential from the same address is still served.
pub(super) fn charge_failure(passage: &Passage, services: &Services, address: IpAddr) -> Result<(), Stop> {
    let asks = address_asks(&passage.plan.flood, services, address, 1);
    let verdict = services.shared.limits.decide(services.limit_time(), &asks);
    settle(&verdict, &asks, passage, Gate::Flood)
}

/// Whether the address has anything left to fail with, or the trickle of those that have not has room: 429 if neither.
/// Charges nothing.
pub(super) fn spent(passage: &Passage, services: &Services, address: IpAddr) -> Result<(), Stop> {
    let limits = &services.shared.limits;
    let looks = address_asks(&passage.plan.flood, services, address, 0);
    if limits
        .decide(services.limit_time(), &looks)
        .decisions()
        .iter()
        .all(|seen| seen.shadow || seen.remaining > 0)
    {
        return Ok(());
    }
    if services.trickle(passage.now.secs()) {
        return Ok(());
    }
    let asks = address_asks(&passage.plan.flood, services, address, 1);
    settle(&limits.decide(services.limit_time(), &asks), &asks, passage, Gate::Flood)
}

/// Why a request stops whose credential could not even be read, once its address has paid for it.
pub(super) fn unreadable(stop: Stop, passage: &Passage, services: &Services, address: IpAddr) -> Stop {
    if !passage.read().credentialed {
        // Paid for as a stranger's.
        return stop;
    }
    charge_failure(passage, services, address).err().unwrap_or(stop)
}

fn address_asks<'a>(
    flood: &'a Flood,
    services: &Services,
    address: IpAddr,
    cost: u32,
) -> SmallVec<[Ask<'a>; 2]> {
    let mut asks = SmallVec::new();
    let (near, wide) = networks(address);
    if let Some(bucket) = flood.address.as_deref() {
        asks.push(Ask { bucket, key: services.shared.limits.key(bucket, &[near.as_slice()]), cost });
    }
    if let (Some(bucket), Some(wide)) = (flood.address_wide.as_deref(), wide) {
        asks.push(Ask { bucket, key: services.shared.limits.key(bucket, &[wide.as_slice()]), cost });
    }
    asks
}

/// The bytes that name an address: IPv4 /32; IPv6 /64 and /48.
fn networks(address: IpAddr) -> (SmallVec<[u8; 8]>, Option<SmallVec<[u8; 8]>>) {
    match address.to_canonical() {
        IpAddr::V4(v4) => (SmallVec::from_slice(&v4.octets()), None),
        IpAddr::V6(v6) => {
            let octets = v6.octets();
            let part = |n| SmallVec::from_slice(octets.get(..n).unwrap_or_default());
            (part(8), Some(part(6)))
        }
    }
}

/// Writes down what the limits said and turns a refusal into 429.
pub(super) fn settle(verdict: &Verdict, asks: &[Ask<'_>], passage: &Passage, gate: Gate) -> Result<(), Stop> {
    passage.seen().decisions.extend(verdict.decisions().iter().copied());
    match verdict.outcome {
        Outcome::Admitted => {
            let decision = if asks.is_empty() { "no limit applies" } else { "within limits" };
            passage.note(gate, decision, asks.iter().find_map(|ask| ask.bucket.at));
            Ok(())
        }
        Outcome::TooCostly => {
            passage.note(gate, "the request costs more than a burst", None);
            Err(Refusal::new(Code::CostExceedsBurst, "cost-exceeds-burst").into())
        }
        Outcome::Refused { .. } => {
            let violated = verdict.violated().next();
            let layer = violated.map_or("limit", |d| d.layer.word());
            let rule = violated.and_then(|d| asks.get(usize::from(d.ask))).and_then(|ask| ask.bucket.at);
            passage.note(gate, format!("refused by the layer {layer}"), rule);
            let mut refusal = Refusal::new(Code::QuotaSpent, format!("limit-{layer}"));
            let wait = verdict.retry_after_secs().unwrap_or(1);
            refusal.headers.insert(http::header::RETRY_AFTER, http::HeaderValue::from(wait));
            let names: Vec<String> = portcullis_limits::header::shown(verdict.decisions(), false)
                .filter(|d| !d.admitted)
                .map(|d| format!("\"{}\"", d.name.as_str()))
                .collect();
            refusal.members.push(("violated-policies", format!("[{}]", names.join(","))));
            Err(refusal.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_32_or_a_64_within_a_48() {
        let (near, wide) = networks("::ffff:192.0.2.7".parse().unwrap());
        assert_eq!((near.as_slice(), wide), (&[192, 0, 2, 7][..], None));
        let (near, wide) = networks("2001:db8:1:2:3:4:5:6".parse().unwrap());
        assert_eq!(near.as_slice(), [0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 2]);
        assert_eq!(wide.unwrap().as_slice(), [0x20, 0x01, 0x0d, 0xb8, 0, 1]);
    }
}
