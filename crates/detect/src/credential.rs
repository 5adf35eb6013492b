//! T1: failed authentications, by address, by user and by key.

use std::collections::BTreeSet;
use std::net::IpAddr;

use portcullis_core::time::Now;
use smallvec::SmallVec;

use crate::alert::{Alert, Entity, Severity, Subtype, Trigger};
use crate::event::{Authentication, DAY, Event, HOUR, MINUTE};
use crate::table::Table;

/// Exactly "more than ten in five minutes".
const FAST: usize = 10;
const FAST_WINDOW: i64 = 5 * MINUTE;
const PER_HOUR: u32 = 30;
const PER_DAY: u32 = 100;
const COOL_DOWN: i64 = 15 * MINUTE;
const STUFFED_USERS: usize = 5;
const SPRAYING_ADDRESSES: usize = 3;
/// Distinct failing addresses of a route, at the least.
const DISTRIBUTED: f64 = 20.0;

#[derive(Debug)]
pub(crate) struct Credential {
    addresses: Table<IpAddr, Failures>,
    users: Table<u64, Failures>,
    keys: Table<u64, Failures>,
    routes: Table<u32, RouteFailures>,
}

/// Failures of one address, user or key.
#[derive(Debug, Default)]
struct Failures {
    recent: SmallVec<[i64; 11]>,
    traces: SmallVec<[u128; 5]>,
    /// The other side of recent failures: users of an address, addresses of a user.
    others: SmallVec<[(u64, i64); 8]>,
    /// Twelve parts of an hour, and twenty-four of a day.
    hour: Parts<12>,
    day: Parts<24>,
    quiet_until: i64,
    /// When it fired, for the success that follows.
    fired_at: Option<i64>,
}

#[derive(Debug)]
struct Parts<const N: usize> {
    counts: [u16; N],
    current: i64,
}

impl<const N: usize> Default for Parts<N> {
    fn default() -> Self {
        Self { counts: [0; N], current: 0 }
    }
}

impl<const N: usize> Parts<N> {
    /// Counts one in the part of `at`, and says how many there are in all.
    fn add(&mut self, at: i64, part: i64) -> u32 {
        let count = i64::try_from(N).unwrap_or(1);
        let now = at.div_euclid(part);
        let gone = (now - self.current).clamp(0, count);
        for step in 1..=gone {
            let slot = usize::try_from((self.current + step).rem_euclid(count)).unwrap_or(0);
            if let Some(slot) = self.counts.get_mut(slot) {
                *slot = 0;
            }
        }
        if gone == count {
            self.counts = [0; N];
        }
        self.current = self.current.max(now);
        let slot = usize::try_from(now.rem_euclid(count)).unwrap_or(0);
        if let Some(slot) = self.counts.get_mut(slot) {
            *slot = slot.saturating_add(1);
        }
        self.counts.iter().map(|count| u32::from(*count)).sum()
    }
}

#[derive(Debug, Default)]
struct RouteFailures {
    window: i64,
    addresses: BTreeSet<IpAddr>,
    /// Of the windows before.
    baseline: f64,
    fired: bool,
    traces: SmallVec<[u128; 5]>,
}

/// Distinct addresses that a route remembers in one window.
const MAX_DISTINCT: usize = 4_096;

impl Credential {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            addresses: Table::new(capacity),
            users: Table::new(capacity),
            keys: Table::new(capacity),
            routes: Table::new(1_024),
        }
    }

    pub(crate) const fn evicted(&self) -> u64 {
        self.addresses.evicted() + self.users.evicted() + self.keys.evicted() + self.routes.evicted()
    }

    pub(crate) fn step(&mut self, event: &Event, out: &mut Vec<Alert>) {
        match event.authentication {
            Authentication::None => {}
            Authentication::Succeeded => self.success(event, out),
            Authentication::Failed => self.failure(event, out),
        }
    }

    fn success(&mut self, event: &Event, out: &mut Vec<Alert>) {
        let at = event.at.micros();
        let after = |fired: Option<i64>| fired.is_some_and(|fired| at - fired < COOL_DOWN);
        let mut worst = None;
        if event.user != 0
            && let Some(failures) = self.users.get_mut(&event.user)
        {
            if after(failures.fired_at) {
                worst = Some(Entity::User(event.user));
            }
            // An honest user who mistyped is forgotten; an address is not, for one password in a thousand is right.
            *failures = Failures { quiet_until: failures.quiet_until, ..Failures::default() };
        }
        if let Some(failures) = self.addresses.get_mut(&event.address)
            && after(failures.fired_at)
        {
            failures.fired_at = None;
            worst = worst.or(Some(Entity::Address(event.address)));
        }
        if let Some(entity) = worst {
            out.push(Alert {
                trigger: Trigger::CredentialAttack,
                subtype: Some(Subtype::SuccessAfter),
                severity: Severity::Critical,
                entity,
                first: event.at,
                last: event.at,
                observed: 1.0,
                threshold: 0.0,
                baseline: None,
                window_s: u64::try_from(COOL_DOWN / 1_000_000).unwrap_or(0),
                traces: SmallVec::from_slice(&[event.id]),
                incomplete: false,
            });
        }
    }

    fn failure(&mut self, event: &Event, out: &mut Vec<Alert>) {
        if let Some(failures) = self.addresses.touch(event.address) {
            fail(failures, event, event.user, Entity::Address(event.address), out);
        }
        if event.user != 0
            && let Some(failures) = self.users.touch(event.user)
        {
            fail(failures, event, address_number(event.address), Entity::User(event.user), out);
        }
        if event.key != 0
            && let Some(failures) = self.keys.touch(event.key)
        {
            fail(failures, event, address_number(event.address), Entity::Key(event.key), out);
        }
        if let Some(route) = self.routes.touch(event.route) {
            route.fail(event, out);
        }
    }
}

impl RouteFailures {
    fn fail(&mut self, event: &Event, out: &mut Vec<Alert>) {
        let window = event.at.micros().div_euclid(FAST_WINDOW);
        if window != self.window {
            // Windows in which it fired do not teach, and neither do those without a failure: they are not seen.
            if !self.fired {
                let seen = self.addresses.len() as f64;
                self.baseline = if self.window == 0 { seen } else { self.baseline * 0.9 + seen * 0.1 };
            }
            self.window = window;
            self.fired = false;
            self.addresses.clear();
            self.traces.clear();
        }
        if self.addresses.len() < MAX_DISTINCT {
            self.addresses.insert(event.address);
        }
        remember(&mut self.traces, event.id);
        let threshold = DISTRIBUTED.max(5.0 * self.baseline);
        let observed = self.addresses.len() as f64;
        if observed > threshold && !self.fired {
            self.fired = true;
            out.push(Alert {
                trigger: Trigger::CredentialAttack,
                subtype: Some(Subtype::Distributed),
                severity: Severity::High,
                entity: Entity::Route(event.route),
                first: Now::from_micros(window * FAST_WINDOW),
                last: event.at,
                observed,
                threshold,
                baseline: Some(self.baseline),
                window_s: 300,
                traces: self.traces.clone(),
                incomplete: false,
            });
        }
    }
}

fn fail(failures: &mut Failures, event: &Event, other: u64, entity: Entity, out: &mut Vec<Alert>) {
    let at = event.at.micros();
    if failures.recent.len() > FAST {
        failures.recent.remove(0);
    }
    failures.recent.push(at);
    remember(&mut failures.traces, event.id);
    failures.others.retain(|(known, seen)| *known != other && at - *seen < FAST_WINDOW);
    if other != 0 {
        if failures.others.len() == 8 {
            failures.others.remove(0);
        }
        failures.others.push((other, at));
    }
    let hour = failures.hour.add(at, HOUR / 12);
    let day = failures.day.add(at, DAY / 24);
    let first = failures.recent.first().copied().unwrap_or(at);
    let fast = failures.recent.len() > FAST && at - first < FAST_WINDOW;
    let slow = if hour > PER_HOUR {
        Some((hour, PER_HOUR, HOUR))
    } else {
        (day > PER_DAY).then_some((day, PER_DAY, DAY))
    };
    if at < failures.quiet_until || !(fast || slow.is_some()) {
        return;
    }
    failures.quiet_until = at + COOL_DOWN;
    failures.fired_at = Some(at);
    let distinct = failures.others.len();
    let subtype = match entity {
        Entity::Address(_) if distinct >= STUFFED_USERS => Some(Subtype::Stuffing),
        Entity::User(_) | Entity::Key(_) if distinct >= SPRAYING_ADDRESSES => Some(Subtype::Spraying),
        _ if !fast => Some(Subtype::Slow),
        _ => None,
    };
    let (observed, threshold, window) = match slow {
        Some((count, limit, window)) if !fast => (f64::from(count), f64::from(limit), window),
        _ => (11.0, 10.0, FAST_WINDOW),
    };
    out.push(Alert {
        trigger: Trigger::CredentialAttack,
        subtype,
        severity: if subtype.is_some_and(|subtype| subtype != Subtype::Slow) {
            Severity::High
        } else {
            Severity::Medium
        },
        entity,
        first: Now::from_micros(if fast { first } else { at - window }),
        last: event.at,
        observed,
        threshold,
        baseline: None,
        window_s: u64::try_from(window / 1_000_000).unwrap_or(0),
        traces: failures.traces.clone(),
        incomplete: false,
    });
}

/// The last five.
pub(crate) fn remember(traces: &mut SmallVec<[u128; 5]>, id: u128) {
    if traces.len() == 5 {
        traces.remove(0);
    }
    traces.push(id);
}

/// An address as a number of the other side; 0 never.
fn address_number(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => u64::from(address.to_bits()) | 1 << 40,
        IpAddr::V6(address) => ((address.to_bits() >> 64) as u64) | 1 << 63,
    }
}
