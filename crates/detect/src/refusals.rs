//! T2: a rise of 401 and 403, for a caller, an address or a route.

use std::collections::BTreeSet;
use std::net::IpAddr;

use portcullis_core::time::Now;
use smallvec::SmallVec;

use crate::alert::{Alert, Entity, Severity, Subtype, Trigger};
use crate::credential::remember;
use crate::event::{Event, MINUTE};
use crate::table::Table;

const LEAST: u32 = 10;
const COOL_DOWN: i64 = 15 * MINUTE;
const MINUTES: i64 = 5;
/// Distinct objects of one type that were refused.
const PROBED: usize = 10;
/// Distinct ids, and the share of them that was refused.
const ENUMERATED: usize = 30;
/// Steps between ids, and the share of them that is small.
const STEPS: u32 = 20;
/// Callers that must be active before a share of them means anything.
const CROWD: usize = 10;

#[derive(Debug)]
pub(crate) struct Refusals {
    principals: Table<u64, Rise>,
    addresses: Table<IpAddr, Rise>,
    routes: Table<u32, Rise>,
    /// Callers whose alert waits for the end of the second: perhaps all of them rise.
    waiting: Vec<Alert>,
    crowd_quiet_until: i64,
}

/// Five minutes of one entity, and what is usual for it.
#[derive(Debug, Default)]
struct Rise {
    minutes: [Minute; 5],
    current: i64,
    usual: f64,
    taught: bool,
    quiet_until: i64,
    traces: SmallVec<[u128; 5]>,
    probed: BTreeSet<(u16, u64)>,
    asked: BTreeSet<(u16, u64)>,
    refused_objects: BTreeSet<(u16, u64)>,
    objects_since: i64,
    last_number: Option<(u16, i64)>,
    steps: u32,
    small_steps: u32,
    enumerated_quiet_until: i64,
    known_from: SmallVec<[(u64, u64, [u8; 2]); 4]>,
    refused_tokens: u32,
    seen_at: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Minute {
    all: u32,
    refused: u32,
}

impl Refusals {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            principals: Table::new(capacity),
            addresses: Table::new(capacity),
            routes: Table::new(4_096),
            waiting: Vec::new(),
            crowd_quiet_until: 0,
        }
    }

    pub(crate) const fn evicted(&self) -> u64 {
        self.principals.evicted() + self.addresses.evicted() + self.routes.evicted()
    }

    pub(crate) fn step(&mut self, event: &Event, out: &mut Vec<Alert>) {
        let refused = matches!(event.status, 401 | 403);
        let principal = event.principal();
        if principal != 0
            && let Some(rise) = self.principals.touch(principal)
        {
            rise.look_at_objects(event, principal, out);
            if let Some(alert) = rise.step(event, refused, Entity::Principal(principal)) {
                self.waiting.push(alert);
            }
        }
        if let Some(rise) = self.addresses.touch(event.address) {
            out.extend(rise.step(event, refused, Entity::Address(event.address)));
        }
        if let Some(rise) = self.routes.touch(event.route) {
            out.extend(rise.step(event, refused, Entity::Route(event.route)));
        }
    }

    /// Lets the waiting alerts go: each for itself, or as one when a third of the callers rise together.
    pub(crate) fn tick(&mut self, now: Now, out: &mut Vec<Alert>) {
        if self.waiting.is_empty() {
            return;
        }
        let at = now.micros();
        let recent = |since: i64| at - since < MINUTES * MINUTE;
        let active = self.principals.values().filter(|(_, rise)| recent(rise.seen_at)).count();
        let rising = self
            .principals
            .values()
            .filter(|(_, rise)| rise.quiet_until > at + COOL_DOWN - MINUTES * MINUTE)
            .count();
        let waiting = core::mem::take(&mut self.waiting);
        if at < self.crowd_quiet_until {
            return;
        }
        if active >= CROWD && rising * 10 >= active * 3 {
            self.crowd_quiet_until = at + COOL_DOWN;
            let first = waiting.iter().map(|alert| alert.first).min().unwrap_or(now);
            let (rising, active) = (rising as f64, active as f64);
            out.push(Alert {
                trigger: Trigger::RefusalRise,
                subtype: Some(Subtype::Deployment),
                severity: Severity::High,
                entity: Entity::Service,
                first,
                last: now,
                observed: rising / active,
                threshold: 0.3,
                baseline: None,
                window_s: 300,
                traces: waiting.iter().flat_map(|alert| alert.traces.first().copied()).take(5).collect(),
                incomplete: false,
            });
            return;
        }
        out.extend(waiting);
    }
}

impl Rise {
    fn step(&mut self, event: &Event, refused: bool, entity: Entity) -> Option<Alert> {
        let at = event.at.micros();
        self.seen_at = at;
        self.turn(at);
        let slot = usize::try_from(at.div_euclid(MINUTE).rem_euclid(MINUTES)).unwrap_or(0);
        if let Some(minute) = self.minutes.get_mut(slot) {
            minute.all += 1;
            minute.refused += u32::from(refused);
        }
        let new_place = self.place(event, refused);
        if !refused {
            return None;
        }
        if event.status == 401 {
            self.refused_tokens += 1;
        }
        remember(&mut self.traces, event.id);
        let (all, refusals) = self
            .minutes
            .iter()
            .fold((0, 0), |(all, refusals), each| (all + each.all, refusals + each.refused));
        let share = f64::from(refusals) / f64::from(all.max(1));
        let threshold = (3.0 * self.usual).max(self.usual + 0.10);
        if refusals < LEAST || share < threshold || at < self.quiet_until {
            return None;
        }
        self.quiet_until = at + COOL_DOWN;
        let subtype = if self.probed.len() >= PROBED {
            Some(Subtype::BolaProbing)
        } else if new_place && self.refused_tokens * 2 >= refusals && matches!(entity, Entity::Principal(_)) {
            Some(Subtype::TokenTheft)
        } else {
            None
        };
        Some(Alert {
            trigger: Trigger::RefusalRise,
            subtype,
            severity: if subtype.is_some() { Severity::High } else { Severity::Medium },
            entity,
            first: Now::from_micros((at.div_euclid(MINUTE) - MINUTES + 1) * MINUTE),
            last: event.at,
            observed: share,
            threshold,
            baseline: Some(self.usual),
            window_s: 300,
            traces: self.traces.clone(),
            incomplete: false,
        })
    }

    /// Minutes that have passed leave the window and, unless it fired in them, teach what is usual: half of it is
    /// forgotten in a day of active minutes.
    fn turn(&mut self, at: i64) {
        const KEEP: f64 = 0.999_518_773;
        let minute = at.div_euclid(MINUTE);
        let gone = (minute - self.current).clamp(0, MINUTES);
        for step in 1..=gone {
            let slot = usize::try_from((self.current + step).rem_euclid(MINUTES)).unwrap_or(0);
            let Some(old) = self.minutes.get_mut(slot) else { continue };
            let old = core::mem::take(old);
            if old.all > 0 && at >= self.quiet_until {
                let share = f64::from(old.refused) / f64::from(old.all);
                self.usual =
                    if self.taught { self.usual * KEEP + share * (1.0 - KEEP) } else { share.min(0.05) };
                self.taught = true;
            }
        }
        if gone > 0 {
            self.refused_tokens = 0;
        }
        self.current = self.current.max(minute);
        if at - self.objects_since >= MINUTES * MINUTE {
            self.objects_since = at;
            self.probed.clear();
            self.asked.clear();
            self.refused_objects.clear();
            (self.steps, self.small_steps) = (0, 0);
        }
    }

    /// Whether a refused event comes from an address, a client program or a country that has not been seen to succeed.
    fn place(&mut self, event: &Event, refused: bool) -> bool {
        let place = (address_key(event.address), event.ja4, event.country);
        let known = self.known_from.contains(&place);
        if !refused && !known && event.status < 400 {
            if self.known_from.len() == 4 {
                self.known_from.remove(0);
            }
            self.known_from.push(place);
        }
        refused && !known && !self.known_from.is_empty()
    }

    /// Ids, one after the other: refused ones, or all of them in small steps.
    fn look_at_objects(&mut self, event: &Event, principal: u64, out: &mut Vec<Alert>) {
        let Some(object) = event.object else { return };
        self.turn(event.at.micros());
        let key = (object.of, object.hash);
        let refused = matches!(event.status, 401 | 403 | 404);
        if self.asked.len() < 1_024 {
            self.asked.insert(key);
            if refused {
                self.refused_objects.insert(key);
            }
            if matches!(event.status, 403 | 404) {
                self.probed.insert(key);
            }
        }
        if let Some(number) = object.number {
            if let Some((of, last)) = self.last_number
                && of == object.of
                && last != number
            {
                self.steps += 1;
                self.small_steps += u32::from(number.abs_diff(last) <= 2);
            }
            self.last_number = Some((object.of, number));
        }
        let many = self.asked.len() >= ENUMERATED && self.refused_objects.len() * 2 >= self.asked.len();
        let stepping = self.steps >= STEPS && self.small_steps * 10 >= self.steps * 7;
        let at = event.at.micros();
        if at < self.enumerated_quiet_until || !(many || stepping) {
            return;
        }
        self.enumerated_quiet_until = at + COOL_DOWN;
        let (observed, threshold) = if many {
            (self.asked.len() as f64, ENUMERATED as f64)
        } else {
            (f64::from(self.small_steps), f64::from(STEPS) * 0.7)
        };
        out.push(Alert {
            trigger: Trigger::RefusalRise,
            subtype: Some(Subtype::Enumeration),
            severity: Severity::High,
            entity: Entity::Principal(principal),
            first: Now::from_micros(self.objects_since),
            last: event.at,
            observed,
            threshold,
            baseline: None,
            window_s: 300,
            traces: SmallVec::from_slice(&[event.id]),
            incomplete: false,
        });
    }
}

fn address_key(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
    }
}
