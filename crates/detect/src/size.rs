//! T4: an answer ten times larger than a route's usual, or a caller's hour ten times larger than its own.

use portcullis_core::time::Now;
use smallvec::SmallVec;

use crate::alert::{Alert, Entity, Severity, Subtype, Trigger};
use crate::credential::remember;
use crate::event::{Event, HOUR};
use crate::histogram::Histogram;
use crate::table::Table;

const TIMES: f64 = 10.0;
const SAMPLES: u64 = 100;
const LEAST: u64 = 64 << 10;
const LEAST_HOUR: u64 = 10 << 20;
const ACTIVE_HOURS: u32 = 24;
const COOL_DOWN: i64 = HOUR;
/// Growth of the mean within one hour that keeps it below doubling in a day.
const GROWTH: f64 = 1.029_302_236_6;

#[derive(Debug)]
pub(crate) struct Sizes {
    routes: Table<u32, Route>,
    principals: Table<u64, Volume>,
}

#[derive(Debug, Default)]
struct Route {
    sizes: Histogram,
    quiet_until: i64,
}

#[derive(Debug, Default)]
struct Volume {
    /// Sixty minutes of bytes: the rolling hour.
    minutes: Minutes,
    /// Bytes of the hour that is being learnt from.
    hour: i64,
    hour_bytes: u64,
    active_hours: u32,
    mean: f64,
    quiet_until: i64,
    traces: SmallVec<[u128; 5]>,
}

#[derive(Debug)]
struct Minutes {
    bytes: [u64; 60],
    current: i64,
}

impl Default for Minutes {
    fn default() -> Self {
        Self { bytes: [0; 60], current: 0 }
    }
}

impl Minutes {
    fn add(&mut self, at: i64, bytes: u64) -> u64 {
        let now = at.div_euclid(HOUR / 60);
        let gone = (now - self.current).clamp(0, 60);
        for step in 1..=gone {
            let slot = usize::try_from((self.current + step).rem_euclid(60)).unwrap_or(0);
            if let Some(slot) = self.bytes.get_mut(slot) {
                *slot = 0;
            }
        }
        self.current = self.current.max(now);
        let slot = usize::try_from(now.rem_euclid(60)).unwrap_or(0);
        if let Some(slot) = self.bytes.get_mut(slot) {
            *slot = slot.saturating_add(bytes);
        }
        self.bytes.iter().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes))
    }
}

impl Sizes {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { routes: Table::new(4_096), principals: Table::new(capacity) }
    }

    pub(crate) const fn evicted(&self) -> u64 {
        self.routes.evicted() + self.principals.evicted()
    }

    pub(crate) fn step(&mut self, event: &Event, out: &mut Vec<Alert>) {
        if let Some(route) = self.routes.touch(event.route) {
            route.step(event, out);
        }
        let principal = event.principal();
        if principal != 0
            && let Some(volume) = self.principals.touch(principal)
        {
            volume.step(event, principal, out);
        }
    }
}

impl Route {
    fn step(&mut self, event: &Event, out: &mut Vec<Alert>) {
        let at = event.at.micros();
        let usual = self.sizes.quantile(0.95);
        let observed = event.response_bytes as f64;
        let large =
            self.sizes.total() >= SAMPLES && observed > TIMES * usual && event.response_bytes >= LEAST;
        // What is far above the usual teaches only that it is above: the histogram cannot be pulled up at once.
        let taught = if self.sizes.total() >= SAMPLES {
            event.response_bytes.min((usual * 2.0) as u64 + 1)
        } else {
            event.response_bytes
        };
        self.sizes.add(taught);
        if large && at >= self.quiet_until {
            self.quiet_until = at + COOL_DOWN;
            out.push(Alert {
                trigger: Trigger::ResponseSize,
                subtype: Some(Subtype::SingleResponse),
                severity: Severity::Medium,
                entity: Entity::Route(event.route),
                first: event.at,
                last: event.at,
                observed,
                threshold: TIMES * usual,
                baseline: Some(usual),
                window_s: 0,
                traces: SmallVec::from_slice(&[event.id]),
                incomplete: false,
            });
        }
    }
}

impl Volume {
    fn step(&mut self, event: &Event, principal: u64, out: &mut Vec<Alert>) {
        let at = event.at.micros();
        self.learn(at);
        self.hour_bytes = self.hour_bytes.saturating_add(event.response_bytes);
        remember(&mut self.traces, event.id);
        let rolling = self.minutes.add(at, event.response_bytes);
        let observed = rolling as f64;
        let large =
            self.active_hours >= ACTIVE_HOURS && observed > TIMES * self.mean && rolling >= LEAST_HOUR;
        if large && at >= self.quiet_until {
            self.quiet_until = at + COOL_DOWN;
            out.push(Alert {
                trigger: Trigger::ResponseSize,
                subtype: Some(Subtype::Volume),
                severity: Severity::High,
                entity: Entity::Principal(principal),
                first: Now::from_micros(at - HOUR),
                last: event.at,
                observed,
                threshold: TIMES * self.mean,
                baseline: Some(self.mean),
                window_s: 3_600,
                traces: self.traces.clone(),
                incomplete: false,
            });
        }
    }

    /// An hour that has ended teaches the mean of active hours, clipped so that it cannot double within a day.
    fn learn(&mut self, at: i64) {
        let hour = at.div_euclid(HOUR);
        if hour == self.hour {
            return;
        }
        if self.hour_bytes > 0 {
            let sample = self.hour_bytes as f64;
            self.active_hours = self.active_hours.saturating_add(1);
            let settled = self.active_hours > ACTIVE_HOURS;
            let weight = if settled { 1.0 / 24.0 } else { 1.0 / f64::from(self.active_hours) };
            let next = self.mean + (sample - self.mean) * weight;
            self.mean = if settled { next.min(self.mean * GROWTH) } else { next };
        }
        self.hour = hour;
        self.hour_bytes = 0;
    }
}
