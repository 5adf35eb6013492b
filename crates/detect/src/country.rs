//! T3: the first authenticated request of a key from a country where it has not been.

use std::net::IpAddr;

use smallvec::SmallVec;

use crate::alert::{Alert, Entity, Severity, Trigger};
use crate::event::{Authentication, DAY, Event};
use crate::table::Table;

const LEARNING: i64 = 7 * DAY;
const SUCCESSES: u32 = 50;
const COOL_DOWN: i64 = DAY;
/// Days on which a new country must be seen until it is one of the key's.
const DAYS: u8 = 3;
/// A key that is in so many countries within thirty days travels.
const TRAVELS: usize = 5;

#[derive(Debug)]
pub(crate) struct Countries {
    keys: Table<u64, Known>,
}

#[derive(Debug, Default)]
struct Known {
    first: Option<i64>,
    successes: u32,
    countries: SmallVec<[Country; 8]>,
    networks: SmallVec<[u32; 8]>,
    clients: SmallVec<[u64; 8]>,
    last_address: Option<IpAddr>,
    quiet_until: i64,
}

#[derive(Clone, Copy, Debug)]
struct Country {
    code: [u8; 2],
    last: i64,
    days: u8,
    last_day: i64,
    accepted: bool,
}

impl Countries {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { keys: Table::new(capacity) }
    }

    pub(crate) const fn evicted(&self) -> u64 {
        self.keys.evicted()
    }

    /// An operator says that the country is one of the key's.
    pub(crate) fn acknowledge(&mut self, key: u64, code: [u8; 2]) {
        if let Some(known) = self.keys.get_mut(&key) {
            for country in known.countries.iter_mut().filter(|country| country.code == code) {
                country.accepted = true;
            }
        }
    }

    /// `pinned` are the countries that the key may come from, where somebody wrote them down.
    pub(crate) fn step(&mut self, event: &Event, pinned: Option<&[[u8; 2]]>, out: &mut Vec<Alert>) {
        // A failed authentication never teaches, and a private or unknown address has no country.
        if event.authentication != Authentication::Succeeded || event.key == 0 || event.country == [0, 0] {
            return;
        }
        let Some(known) = self.keys.touch(event.key) else { return };
        let at = event.at.micros();
        let first = *known.first.get_or_insert(at);
        let learnt = at - first >= LEARNING && known.successes >= SUCCESSES;
        known.successes = known.successes.saturating_add(1);
        let moved = known.last_address == Some(event.address);
        known.last_address = Some(event.address);
        let new_network = event.network != 0 && !known.networks.contains(&event.network);
        let new_client = event.ja4 != 0 && !known.clients.contains(&event.ja4);
        let accepted = known.meet(event.country, at, !learnt || moved);
        let travels =
            known.countries.iter().filter(|country| at - country.last < 30 * DAY).count() >= TRAVELS;
        let foreign = match pinned {
            Some(pinned) => !pinned.contains(&event.country),
            None => learnt && !accepted && !travels,
        };
        if foreign && at >= known.quiet_until {
            known.quiet_until = at + COOL_DOWN;
            let strange = new_network && new_client;
            out.push(Alert {
                trigger: Trigger::NewCountry,
                subtype: None,
                severity: if strange { Severity::High } else { Severity::Medium },
                entity: Entity::Key(event.key),
                first: event.at,
                last: event.at,
                observed: 1.0,
                threshold: 0.0,
                baseline: None,
                window_s: 0,
                traces: SmallVec::from_slice(&[event.id]),
                incomplete: false,
            });
        }
        push(&mut known.networks, event.network);
        push(&mut known.clients, event.ja4);
    }
}

impl Known {
    /// Counts a day in a country, and says whether it is one of the key's.
    fn meet(&mut self, code: [u8; 2], at: i64, accept: bool) -> bool {
        let day = at.div_euclid(DAY);
        if let Some(country) = self.countries.iter_mut().find(|country| country.code == code) {
            if country.last_day != day {
                country.days = country.days.saturating_add(1);
                country.last_day = day;
            }
            country.last = at;
            country.accepted |= accept || country.days >= DAYS;
            return country.accepted;
        }
        if self.countries.len() == 8 {
            let oldest = self
                .countries
                .iter()
                .enumerate()
                .min_by_key(|(_, country)| country.last)
                .map_or(0, |(at, _)| at);
            self.countries.remove(oldest);
        }
        self.countries.push(Country { code, last: at, days: 1, last_day: day, accepted: accept });
        accept
    }
}

fn push<T: Copy + PartialEq + Default>(list: &mut SmallVec<[T; 8]>, value: T) {
    if value == T::default() || list.contains(&value) {
        return;
    }
    if list.len() == 8 {
        list.remove(0);
    }
    list.push(value);
}
