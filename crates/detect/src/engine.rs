//! All detectors, stepped together.

use std::collections::BTreeMap;

use portcullis_core::time::Now;

use crate::alert::Alert;
use crate::country::Countries;
use crate::credential::Credential;
use crate::event::Event;
use crate::limits::Limits;
use crate::refusals::Refusals;
use crate::size::Sizes;

use crate::hours::Hours;
pub use crate::hours::Schedule;

/// What the operator says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Callers, users and addresses that are remembered, each.
    pub capacity: usize,
    /// Countries that keys may come from, by hash of the key.
    pub countries: BTreeMap<u64, Vec<[u8; 2]>>,
    /// Hours of keys, by hash of the key.
    pub schedules: BTreeMap<u64, Schedule>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { capacity: 100_000, countries: BTreeMap::new(), schedules: BTreeMap::new() }
    }
}

/// The six triggers.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    credential: Credential,
    refusals: Refusals,
    countries: Countries,
    sizes: Sizes,
    hours: Hours,
    limits: Limits,
    /// Events were lost until this moment.
    lossy_until: Option<Now>,
}

/// How long alerts carry `incomplete` after events were lost: the longest fast window.
const LOSSY: i64 = 5 * crate::event::MINUTE;

impl Engine {
    /// Detectors that have seen nothing.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let capacity = settings.capacity;
        Self {
            settings,
            credential: Credential::new(capacity),
            refusals: Refusals::new(capacity),
            countries: Countries::new(capacity),
            sizes: Sizes::new(capacity),
            hours: Hours::new(capacity),
            limits: Limits::new(capacity),
            lossy_until: None,
        }
    }

    /// Takes an event. Events come in the order of their time, or nearly.
    pub fn step(&mut self, event: &Event, out: &mut Vec<Alert>) {
        let from = out.len();
        self.credential.step(event, out);
        self.refusals.step(event, out);
        self.countries.step(event, self.settings.countries.get(&event.key).map(Vec::as_slice), out);
        self.sizes.step(event, out);
        self.hours.step(event, self.settings.schedules.get(&event.key), out);
        self.limits.step(event, out);
        self.mark(event.at, from, out);
    }

    /// To be called about once a second: alerts that waited for others go out.
    pub fn tick(&mut self, now: Now, out: &mut Vec<Alert>) {
        let from = out.len();
        self.refusals.tick(now, out);
        self.mark(now, from, out);
    }

    /// Events were lost at `now`.
    pub fn lost(&mut self, now: Now) {
        self.lossy_until = Some(now.plus_micros(LOSSY));
    }

    /// The key may come from that country.
    pub fn acknowledge_country(&mut self, key: u64, country: [u8; 2]) {
        self.countries.acknowledge(key, country);
    }

    /// Entities that were forgotten because there were too many.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.credential.evicted()
            + self.refusals.evicted()
            + self.countries.evicted()
            + self.sizes.evicted()
            + self.hours.evicted()
            + self.limits.evicted()
    }

    fn mark(&self, now: Now, from: usize, out: &mut [Alert]) {
        let lossy = self.lossy_until.is_some_and(|until| now < until);
        for alert in out.iter_mut().skip(from).filter(|_| lossy) {
            alert.incomplete = true;
        }
    }
}
