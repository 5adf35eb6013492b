//! Traffic that is made up: ordinary callers with habits, and attacks among them that are known. The same seed makes
//! the same traffic, so the figures can be repeated by anybody.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr};

use portcullis_core::time::Now;

use crate::alert::{Alert, Entity, Trigger};
use crate::event::{Authentication, DAY, Event, HOUR, MINUTE, ObjectSeen, SECOND};
use crate::{Engine, Settings};

/// What is made up.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// The same seed makes the same traffic.
    pub seed: u64,
    /// Days; the first half teaches, and is free of attacks.
    pub days: u32,
    /// Ordinary callers.
    pub principals: u32,
    /// Whether anybody attacks.
    pub attacks: bool,
    /// Whether the labels are dealt out at random: what is found then is chance.
    pub shuffle: bool,
}

/// How well the triggers told them apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    /// Events.
    pub events: u64,
    /// Attacks, by their names, and how many of each were found, in how many seconds on average.
    pub attacks: Vec<Found>,
    /// Alerts that are about an attack.
    pub right: u64,
    /// Alerts that are not.
    pub wrong: u64,
    /// False alarms for each caller and day.
    pub wrong_per_key_day: f64,
}

/// One kind of attack.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Its name.
    pub name: &'static str,
    /// How many there were.
    pub all: u32,
    /// How many were found.
    pub found: u32,
    /// From the first event of an attack to its first alert, in seconds, on average.
    pub delay_s: f64,
}

impl Score {
    /// Share of alerts that are about an attack; 1 where there is no alert.
    #[must_use]
    pub fn precision(&self) -> f64 {
        let all = self.right + self.wrong;
        if all == 0 { 1.0 } else { self.right as f64 / all as f64 }
    }

    /// Share of attacks that were found; 1 where there is none.
    #[must_use]
    pub fn recall(&self) -> f64 {
        let all: u32 = self.attacks.iter().map(|each| each.all).sum();
        let found: u32 = self.attacks.iter().map(|each| each.found).sum();
        if all == 0 { 1.0 } else { f64::from(found) / f64::from(all) }
    }
}

/// A Monday.
const START: i64 = 1_770_595_200 * SECOND;

/// Plays a scenario; `progress` is told the day.
pub fn play(scenario: Scenario, progress: &mut dyn FnMut(u32)) -> Score {
    let mut dice = Dice(scenario.seed);
    let callers: Vec<Caller> =
        (0..scenario.principals).map(|number| Caller::new(number, &mut dice)).collect();
    let mut attacks = if scenario.attacks { attacks(&callers, scenario, &mut dice) } else { Vec::new() };
    let mut hostile: Vec<Event> =
        attacks.iter_mut().flat_map(|attack| core::mem::take(&mut attack.events)).collect();
    hostile.sort_by_key(|event| event.at);
    if scenario.shuffle {
        let count = attacks.len().max(1);
        for at in 0..attacks.len() {
            let other = usize::try_from(dice.below(count as u64)).unwrap_or(0);
            attacks.swap(at, other);
        }
        // Each attack keeps its time and gets the name and the target of another.
        let whom: Vec<_> = attacks.iter().map(|attack| attack.whom).collect();
        for (attack, next) in attacks.iter_mut().zip(whom.into_iter().cycle().skip(1)) {
            attack.whom = next;
            attack.first += 3 * DAY;
            attack.last += 3 * DAY;
        }
    }
    let (mut engine, mut alerts, mut score) =
        (Engine::new(Settings::default()), Vec::new(), Score::default());
    let end = START + i64::from(scenario.days) * DAY;
    let mut queue: BinaryHeap<Reverse<(i64, usize)>> =
        callers.iter().enumerate().map(|(at, caller)| Reverse((caller.next(START, &mut dice), at))).collect();
    let mut hostile = hostile.into_iter().peekable();
    let (mut ticked, mut day) = (START, 0);
    while let Some(Reverse((at, who))) = queue.pop().filter(|Reverse((at, _))| *at < end) {
        let mut step = |event: &Event| {
            while ticked + SECOND <= event.at.micros() {
                ticked = event.at.micros() - event.at.micros().rem_euclid(SECOND);
                engine.tick(Now::from_micros(ticked), &mut alerts);
            }
            score.events += 1;
            engine.step(event, &mut alerts);
        };
        while let Some(event) = hostile.next_if(|event| event.at.micros() <= at) {
            step(&event);
        }
        if let Some(caller) = callers.get(who) {
            for event in caller.act(at, &mut dice) {
                step(&event);
            }
            queue.push(Reverse((caller.next(at, &mut dice), who)));
        }
        let today = u32::try_from((at - START).div_euclid(DAY)).unwrap_or(0);
        if today > day {
            day = today;
            progress(day);
        }
    }
    judge(&mut score, &alerts, &attacks, scenario);
    score
}

fn judge(score: &mut Score, alerts: &[Alert], attacks: &[Attack], scenario: Scenario) {
    for alert in alerts {
        if attacks.iter().any(|attack| attack.explains(alert)) {
            score.right += 1;
        } else {
            score.wrong += 1;
        }
    }
    score.wrong_per_key_day =
        score.wrong as f64 / (f64::from(scenario.principals) * f64::from(scenario.days)).max(1.0);
    for name in ATTACKS {
        let mut found = Found { name, all: 0, found: 0, delay_s: 0.0 };
        for attack in attacks.iter().filter(|attack| attack.name == name) {
            found.all += 1;
            let first = alerts.iter().filter(|alert| attack.is(alert)).map(|alert| alert.last.micros()).min();
            if let Some(first) = first {
                found.found += 1;
                found.delay_s += (first - attack.first) as f64 / SECOND as f64;
            }
        }
        if found.found > 0 {
            found.delay_s /= f64::from(found.found);
        }
        if found.all > 0 {
            score.attacks.push(found);
        }
    }
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit.max(1)
    }

    /// Between 0 and 1.
    fn share(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Time to the next of events that come independently, `mean` apart.
    fn gap(&mut self, mean: i64) -> i64 {
        let gap = -(1.0 - self.share()).ln() * mean as f64;
        (gap as i64).clamp(1, 30 * DAY)
    }
}

/// An ordinary caller and its habits.
struct Caller {
    number: u32,
    country: [u8; 2],
    network: u32,
    address: u32,
    ja4: u64,
    /// First and last hour of its day, in UTC; a program has all of them.
    hours: (i64, i64),
    /// Microseconds between two visits, on average.
    pace: i64,
    /// The operations that it uses.
    routes: [u32; 3],
    /// Share of its requests that are refused.
    refused: f64,
    /// Bytes of its answers, roughly.
    bytes: u64,
}

const COUNTRIES: [[u8; 2]; 6] = [*b"DE", *b"FR", *b"NL", *b"US", *b"GB", *b"ES"];

impl Caller {
    fn new(number: u32, dice: &mut Dice) -> Self {
        let office = dice.below(3) > 0;
        let first = 6 + i64::try_from(dice.below(4)).unwrap_or(0);
        let country = COUNTRIES.get(usize::try_from(dice.below(6)).unwrap_or(0)).copied().unwrap_or(*b"DE");
        Self {
            number,
            country,
            network: 1_000 + number % 50,
            address: 0x0a00_0000 + number,
            ja4: 1 + dice.below(20),
            hours: if office { (first, first + 9) } else { (0, 24) },
            pace: i64::try_from(3 + dice.below(20)).unwrap_or(10) * MINUTE,
            routes: [0, 1, 2].map(|_| 1 + u32::try_from(dice.below(20)).unwrap_or(0)),
            refused: dice.share() * 0.02,
            bytes: 500 + dice.below(20_000),
        }
    }

    fn key(&self) -> u64 {
        10_000 + u64::from(self.number)
    }

    /// The moment of the next visit after `at`, within its hours.
    fn next(&self, at: i64, dice: &mut Dice) -> i64 {
        let mut next = at + dice.gap(self.pace);
        while self.hours != (0, 24) && !self.works(next) {
            next += 30 * MINUTE + dice.gap(5 * MINUTE);
        }
        next
    }

    fn works(&self, at: i64) -> bool {
        let (hour, day) = (at.rem_euclid(DAY) / HOUR, (at - START).div_euclid(DAY).rem_euclid(7));
        (self.hours.0..self.hours.1).contains(&hour) && day < 5
    }

    /// A visit: now and then with a mistyped password first, mostly one request.
    fn act(&self, at: i64, dice: &mut Dice) -> Vec<Event> {
        let mut events = Vec::new();
        let mut moment = at;
        if dice.below(400) == 0 {
            for _ in 0..=dice.below(3) {
                moment += 3 * SECOND;
                let mut event = self.event(moment, dice);
                event.authentication = Authentication::Failed;
                (event.status, event.user, event.key) = (401, self.key(), 0);
                events.push(event);
            }
        }
        for _ in 0..=dice.below(4) {
            moment += i64::try_from(dice.below(4)).unwrap_or(0) * SECOND + SECOND;
            let mut event = self.event(moment, dice);
            if dice.share() < self.refused {
                event.status = 403;
            } else if dice.below(300) == 0 {
                (event.status, event.limited) = (429, true);
            }
            events.push(event);
        }
        events
    }

    fn event(&self, at: i64, dice: &mut Dice) -> Event {
        let route = self.routes.get(usize::try_from(dice.below(3)).unwrap_or(0)).copied().unwrap_or(1);
        let id = i64::try_from(dice.below(1_000_000)).unwrap_or(0);
        Event {
            at: Now::from_micros(at),
            id: u128::from(dice.roll()),
            address: IpAddr::V4(Ipv4Addr::from_bits(self.address)),
            user: 0,
            key: self.key(),
            route,
            status: 200,
            authentication: Authentication::Succeeded,
            object: Some(ObjectSeen { of: 1, hash: u64::try_from(id).unwrap_or(0) + 1, number: Some(id) }),
            response_bytes: self.bytes / 2 + dice.below(self.bytes),
            country: self.country,
            network: self.network,
            ja4: self.ja4,
            limited: false,
            early: false,
        }
    }
}

/// An attack that is known.
struct Attack {
    name: &'static str,
    trigger: Trigger,
    whom: Entity,
    also: Option<IpAddr>,
    first: i64,
    last: i64,
    events: Vec<Event>,
}

const ATTACKS: [&str; 8] = [
    "stuffing",
    "spraying",
    "bola_probing",
    "enumeration",
    "new_country",
    "exfiltration",
    "off_hours",
    "limit_breaches",
];

impl Attack {
    /// Whether the alert is of its kind, about its target and of its time.
    fn is(&self, alert: &Alert) -> bool {
        alert.trigger == self.trigger && self.explains(alert)
    }

    /// Whether the alert comes from it, of whatever kind.
    fn explains(&self, alert: &Alert) -> bool {
        let about = match (self.whom, alert.entity) {
            (
                Entity::Key(a) | Entity::Principal(a) | Entity::User(a),
                Entity::Key(b) | Entity::Principal(b) | Entity::User(b),
            ) => a == b,
            (_, Entity::Address(address)) => self.whom == alert.entity || self.also == Some(address),
            // An alert about a route or the service is about whoever was at it then.
            (_, Entity::Route(_) | Entity::Service) => true,
            (a, b) => a == b,
        };
        about && (self.first..=self.last + HOUR).contains(&alert.last.micros())
    }
}

/// Attacks of each kind in the second half, at random moments and on random callers.
fn attacks(callers: &[Caller], scenario: Scenario, dice: &mut Dice) -> Vec<Attack> {
    let each = (scenario.principals / 100).clamp(2, 10);
    let mut found = Vec::new();
    let half = i64::from(scenario.days / 2) * DAY;
    let rest = u64::try_from(i64::from(scenario.days) * DAY - half - DAY).unwrap_or(1);
    for name in ATTACKS {
        for number in 0..each {
            let Some(caller) = callers.get(usize::try_from(dice.below(callers.len() as u64)).unwrap_or(0))
            else {
                continue;
            };
            let mut first = START + half + i64::try_from(dice.below(rest)).unwrap_or(0);
            let mut at_office = |caller: &Caller| {
                for _ in 0..10_000 {
                    if caller.works(first) {
                        break;
                    }
                    first += 30 * MINUTE;
                }
                first
            };
            let address = IpAddr::V4(Ipv4Addr::from_bits(0xcb00_7100 + number));
            let attack = match name {
                "stuffing" => stuffing(first, address, dice),
                "spraying" => spraying(first, 900_000 + u64::from(number), dice),
                "bola_probing" => objects(name, caller, at_office(caller), dice),
                "enumeration" => objects(name, caller, at_office(caller), dice),
                "new_country" => {
                    let at = at_office(caller);
                    let event =
                        Event { country: *b"KP", network: 9, ja4: 99, address, ..caller.event(at, dice) };
                    one(name, Trigger::NewCountry, Entity::Key(caller.key()), vec![event])
                }
                "exfiltration" => {
                    let at = at_office(caller);
                    let events = (0..600).map(|step| Event {
                        response_bytes: 60_000,
                        object: None,
                        ..caller.event(at + step * 3 * SECOND, dice)
                    });
                    let events = events.collect();
                    one(name, Trigger::ResponseSize, Entity::Principal(caller.key()), events)
                }
                "off_hours" => {
                    // Three in the morning of a day's first hour, for somebody who keeps office hours.
                    let Some(caller) = callers
                        .iter()
                        .cycle()
                        .skip(number as usize * 7)
                        .take(callers.len())
                        .find(|it| it.hours.0 >= 6)
                    else {
                        continue;
                    };
                    let night = first - (first - START).rem_euclid(DAY) + 2 * HOUR;
                    let night = if scenario.days >= 60 {
                        night
                    } else {
                        START + i64::from(scenario.days - 1) * DAY + 2 * HOUR
                    };
                    let events = (0..10).map(|step| caller.event(night + step * MINUTE, dice)).collect();
                    one(name, Trigger::OffHours, Entity::Key(caller.key()), events)
                }
                _ => {
                    let at = at_office(caller);
                    let events = (0..60).map(|step| Event {
                        status: 429,
                        limited: true,
                        early: true,
                        ..caller.event(at + step * 6 * SECOND, dice)
                    });
                    let events = events.collect();
                    one(name, Trigger::LimitBreaches, Entity::Principal(caller.key()), events)
                }
            };
            found.push(attack);
        }
    }
    found
}

fn stuffing(first: i64, address: IpAddr, dice: &mut Dice) -> Attack {
    let events = (0..40_i64).map(|step| Event {
        user: 500_000 + dice.below(100_000),
        ..failure(first + step * 5 * SECOND, address, dice)
    });
    let events = events.collect();
    one("stuffing", Trigger::CredentialAttack, Entity::Address(address), events)
}

fn spraying(first: i64, user: u64, dice: &mut Dice) -> Attack {
    let events = (0..15_i64).map(|step| {
        let address =
            IpAddr::V4(Ipv4Addr::from_bits(0xc633_6400 + u32::try_from(dice.below(200)).unwrap_or(0)));
        Event { user, ..failure(first + step * 10 * SECOND, address, dice) }
    });
    let events = events.collect();
    one("spraying", Trigger::CredentialAttack, Entity::User(user), events)
}

fn objects(name: &'static str, caller: &Caller, first: i64, dice: &mut Dice) -> Attack {
    let probing = name == "bola_probing";
    let start = i64::try_from(dice.below(1_000_000)).unwrap_or(0);
    let events = (0..40_i64).map(|step| {
        let id = start + step * if probing { 7_919 } else { 1 };
        Event {
            status: if probing { 403 } else { 200 },
            object: Some(ObjectSeen { of: 1, hash: u64::try_from(id).unwrap_or(0) + 1, number: Some(id) }),
            ..caller.event(first + step * 2 * SECOND, dice)
        }
    });
    let events = events.collect();
    one(name, Trigger::RefusalRise, Entity::Principal(caller.key()), events)
}

fn one(name: &'static str, trigger: Trigger, whom: Entity, events: Vec<Event>) -> Attack {
    let first = events.first().map_or(0, |event| event.at.micros());
    let last = events.last().map_or(0, |event| event.at.micros());
    let also = events.first().map(|event| event.address);
    Attack { name, trigger, whom, also, first, last, events }
}

fn failure(at: i64, address: IpAddr, dice: &mut Dice) -> Event {
    Event {
        at: Now::from_micros(at),
        id: u128::from(dice.roll()),
        address,
        user: 0,
        key: 0,
        route: 999,
        status: 401,
        authentication: Authentication::Failed,
        object: None,
        response_bytes: 200,
        country: *b"KP",
        network: 9,
        ja4: 99,
        limited: false,
        early: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Scenario = Scenario { seed: 7, days: 30, principals: 60, attacks: true, shuffle: false };

    #[test]
    fn the_same_seed_makes_the_same_score_and_another_seed_other_traffic() {
        let small = Scenario { days: 10, principals: 20, ..SMALL };
        let (a, b) = (play(small, &mut |_| {}), play(small, &mut |_| {}));
        assert_eq!(a, b);
        assert_ne!(a.events, play(Scenario { seed: 8, ..small }, &mut |_| {}).events);
    }

    #[test]
    fn attacks_are_found_ordinary_callers_are_not_and_shuffled_labels_find_nothing() {
        let score = play(SMALL, &mut |_| {});
        assert!(score.recall() >= 0.9, "{score:?}");
        assert!(score.precision() >= 0.9, "{score:?}");
        let benign = play(Scenario { attacks: false, ..SMALL }, &mut |_| {});
        assert_eq!(benign.wrong, 0, "{benign:?}");
        let shuffled = play(Scenario { shuffle: true, ..SMALL }, &mut |_| {});
        assert!(shuffled.recall() < 0.2, "{shuffled:?}");
    }
}
