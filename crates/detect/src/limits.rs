//! T6: limits that are breached again and again.

use portcullis_core::time::Now;
use smallvec::SmallVec;

use crate::alert::{Alert, Entity, Severity, Subtype, Trigger};
use crate::credential::remember;
use crate::event::{Event, HOUR, MINUTE};
use crate::table::Table;

const REFUSALS: u32 = 5;
const BREACH_MINUTES: u32 = 5;
const BREACH_HOURS: u32 = 3;
const COOL_DOWN: i64 = 30 * MINUTE;

#[derive(Debug)]
pub(crate) struct Limits {
    principals: Table<u64, Breaches>,
}

#[derive(Debug, Default)]
struct Breaches {
    minute: i64,
    refused: u32,
    /// The last ten minutes, and the last twenty-four hours, in which there was a breach: the lowest bit is now.
    minutes: u16,
    hour: i64,
    hours: u32,
    /// Of the last day, halved when it turns.
    all: u32,
    limited: u32,
    early: u32,
    quiet_until: i64,
    traces: SmallVec<[u128; 5]>,
}

impl Limits {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { principals: Table::new(capacity) }
    }

    pub(crate) const fn evicted(&self) -> u64 {
        self.principals.evicted()
    }

    pub(crate) fn step(&mut self, event: &Event, out: &mut Vec<Alert>) {
        let principal = event.principal();
        if principal == 0 {
            return;
        }
        if let Some(breaches) = self.principals.touch(principal) {
            breaches.step(event, principal, out);
        }
    }
}

impl Breaches {
    fn step(&mut self, event: &Event, principal: u64, out: &mut Vec<Alert>) {
        let at = event.at.micros();
        let minute = at.div_euclid(MINUTE);
        if minute > self.minute {
            self.minutes =
                if minute - self.minute >= 10 { 0 } else { self.minutes << (minute - self.minute) & 0x3ff };
            (self.minute, self.refused) = (minute, 0);
        }
        let hour = at.div_euclid(HOUR);
        if hour > self.hour {
            self.hours =
                if hour - self.hour >= 24 { 0 } else { self.hours << (hour - self.hour) & 0xff_ffff };
            if hour.div_euclid(24) > self.hour.div_euclid(24) {
                (self.all, self.limited, self.early) = (self.all / 2, self.limited / 2, self.early / 2);
            }
            self.hour = hour;
        }
        self.all = self.all.saturating_add(1);
        if !event.limited {
            return;
        }
        self.limited = self.limited.saturating_add(1);
        self.early = self.early.saturating_add(u32::from(event.early));
        self.refused += 1;
        remember(&mut self.traces, event.id);
        if self.refused >= REFUSALS {
            self.minutes |= 1;
            self.hours |= 1;
        }
        let (minutes, hours) = (self.minutes.count_ones(), self.hours.count_ones());
        let again = minutes >= BREACH_MINUTES || hours >= BREACH_HOURS;
        if !again || u64::from(self.limited) * 5 < u64::from(self.all) || at < self.quiet_until {
            return;
        }
        self.quiet_until = at + COOL_DOWN;
        let ignores = u64::from(self.early) * 2 > u64::from(self.limited);
        let by_minutes = minutes >= BREACH_MINUTES;
        let (observed, threshold, window) = if by_minutes {
            (minutes, BREACH_MINUTES, 10 * MINUTE)
        } else {
            (hours, BREACH_HOURS, 24 * HOUR)
        };
        out.push(Alert {
            trigger: Trigger::LimitBreaches,
            subtype: ignores.then_some(Subtype::IgnoresRetryAfter),
            severity: if ignores { Severity::Medium } else { Severity::Low },
            entity: Entity::Principal(principal),
            first: Now::from_micros(at - window),
            last: event.at,
            observed: f64::from(observed),
            threshold: f64::from(threshold),
            baseline: None,
            window_s: u64::try_from(window / 1_000_000).unwrap_or(0),
            traces: self.traces.clone(),
            incomplete: false,
        });
    }
}
