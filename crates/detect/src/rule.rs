//! Rules of the operator's own: which events, grouped by what, how many of them in which time.

use std::hash::{DefaultHasher, Hasher};

use portcullis_core::time::Now;
use smallvec::SmallVec;

use crate::alert::{Alert, Entity, Severity, Trigger};
use crate::credential::remember;
use crate::event::SECOND;
use crate::table::Table;

/// Something that rules can read by the names of its fields.
pub trait Record {
    /// When it was.
    fn at(&self) -> Now;
    /// Its request id, or 0.
    fn id(&self) -> u128;
    /// A field's value as text; nothing where it is absent.
    fn field(&self, name: &str) -> Option<std::borrow::Cow<'_, str>>;
}

/// A rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its name in alerts.
    pub name: String,
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// Fields whose values make a group; none: one group of all.
    pub group_by: Vec<String>,
    /// Only events count whose value of this field has not been counted yet.
    pub distinct: Option<String>,
    /// How many.
    pub amount: Amount,
    /// Silence of a group after it fired, in seconds.
    pub cooldown_s: u32,
    /// How bad it is.
    pub severity: Severity,
}

/// What a field must be.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// The field.
    pub field: String,
    /// What of it.
    pub test: Test,
}

/// A test of a field's value. An absent field passes none but [`Test::Absent`] and [`Test::NotOneOf`].
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// Equals one of these.
    OneOf(Vec<String>),
    /// Equals none of these.
    NotOneOf(Vec<String>),
    /// Begins with one of these.
    StartsWith(Vec<String>),
    /// Ends with one of these.
    EndsWith(Vec<String>),
    /// Contains one of these.
    Contains(Vec<String>),
    /// A number of at least this.
    AtLeast(f64),
    /// A number of at most this.
    AtMost(f64),
    /// Is there.
    Present,
    /// Is not there.
    Absent,
}

/// How many events fire a rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// More than `count` within `window_s` seconds: the one that exceeds fires.
    Count {
        /// Events that are allowed.
        count: u32,
        /// Seconds, sliding.
        window_s: u32,
    },
    /// A bucket that holds `capacity` events and loses one every `leak_s` seconds: the one that overflows fires.
    Bucket {
        /// Events that it holds.
        capacity: u32,
        /// Seconds until one has leaked.
        leak_s: u32,
    },
}

/// Most events that a group remembers: the largest `count` or `capacity`.
pub const MAX_AMOUNT: u32 = 1_000;

/// Rules at work.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Rule>,
    groups: Table<(u16, u64), Group>,
    key: u64,
}

#[derive(Debug, Default)]
struct Group {
    /// Times of the events that count, the oldest first; and their distinct values.
    events: Vec<(i64, u64)>,
    /// When the bucket was last drained to.
    drained: i64,
    quiet_until: i64,
    traces: SmallVec<[u128; 5]>,
}

impl Rules {
    /// `capacity` groups over all rules; `key` keeps chosen values from meeting in one group.
    #[must_use]
    pub fn new(rules: Vec<Rule>, capacity: usize, key: u64) -> Self {
        Self { rules, groups: Table::new(capacity), key }
    }

    /// The rules, by the numbers that alerts carry.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Groups that were forgotten because there were too many.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.groups.evicted()
    }

    /// Takes an event; `entity` names the group of an alert where it is better known than by its hash.
    pub fn step(&mut self, record: &dyn Record, entity: &dyn Fn(&Rule, u64) -> Entity, out: &mut Vec<Alert>) {
        for (rule, number) in self.rules.iter().zip(0_u16..) {
            if !rule.conditions.iter().all(|condition| condition.holds(record)) {
                continue;
            }
            let group = hash(self.key, rule.group_by.iter().map(|field| record.field(field)));
            let distinct =
                rule.distinct.as_ref().map(|field| hash(self.key, [record.field(field)].into_iter()));
            let Some(state) = self.groups.touch((number, group)) else { continue };
            if let Some((observed, threshold, first, window_s)) =
                state.take(rule, record.at(), record.id(), distinct)
            {
                out.push(Alert {
                    trigger: Trigger::Rule(number),
                    subtype: None,
                    severity: rule.severity,
                    entity: entity(rule, group),
                    first,
                    last: record.at(),
                    observed,
                    threshold,
                    baseline: None,
                    window_s,
                    traces: state.traces.clone(),
                    incomplete: false,
                });
            }
        }
    }
}

impl Group {
    /// Counts an event; what fired, if it did.
    fn take(
        &mut self,
        rule: &Rule,
        at: Now,
        id: u128,
        distinct: Option<u64>,
    ) -> Option<(f64, f64, Now, u64)> {
        let now = at.micros();
        if now < self.quiet_until {
            return None;
        }
        let (limit, window_s) = match rule.amount {
            Amount::Count { count, window_s } => {
                let window = i64::from(window_s) * SECOND;
                self.events.retain(|(seen, _)| now - *seen < window);
                (count, u64::from(window_s))
            }
            Amount::Bucket { capacity, leak_s } => {
                let leak = i64::from(leak_s.max(1)) * SECOND;
                if self.events.is_empty() {
                    self.drained = now;
                }
                let leaked = (now - self.drained).max(0).div_euclid(leak);
                let count = usize::try_from(leaked).unwrap_or(usize::MAX).min(self.events.len());
                self.events.drain(..count);
                self.drained += leaked * leak;
                (capacity, u64::from(leak_s) * u64::from(capacity))
            }
        };
        if let Some(value) = distinct
            && self.events.iter().any(|(_, known)| *known == value)
        {
            return None;
        }
        self.events.push((now, distinct.unwrap_or(0)));
        remember(&mut self.traces, id);
        let count = u32::try_from(self.events.len()).unwrap_or(u32::MAX);
        if count <= limit {
            return None;
        }
        let first = self.events.first().map_or(now, |(first, _)| *first);
        self.events.clear();
        self.quiet_until = now + i64::from(rule.cooldown_s) * SECOND;
        Some((f64::from(count), f64::from(limit), Now::from_micros(first), window_s))
    }
}

impl Condition {
    fn holds(&self, record: &dyn Record) -> bool {
        let value = record.field(&self.field);
        let value = value.as_deref();
        let number = || value.and_then(|text| text.parse::<f64>().ok());
        match &self.test {
            Test::OneOf(all) => value.is_some_and(|value| all.iter().any(|each| each == value)),
            Test::NotOneOf(all) => !value.is_some_and(|value| all.iter().any(|each| each == value)),
            Test::StartsWith(all) => {
                value.is_some_and(|value| all.iter().any(|each| value.starts_with(each.as_str())))
            }
            Test::EndsWith(all) => {
                value.is_some_and(|value| all.iter().any(|each| value.ends_with(each.as_str())))
            }
            Test::Contains(all) => {
                value.is_some_and(|value| all.iter().any(|each| value.contains(each.as_str())))
            }
            Test::AtLeast(least) => number().is_some_and(|number| number >= *least),
            Test::AtMost(most) => number().is_some_and(|number| number <= *most),
            Test::Present => value.is_some(),
            Test::Absent => value.is_none(),
        }
    }
}

fn hash<'v>(key: u64, values: impl Iterator<Item = Option<std::borrow::Cow<'v, str>>>) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(key);
    for value in values {
        // Absent and empty are not the same, and neither are ("a", "bc") and ("ab", "c").
        match value {
            None => hasher.write_u8(0),
            Some(value) => {
                hasher.write_u8(1);
                hasher.write_usize(value.len());
                hasher.write(value.as_bytes());
            }
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    struct Seen(i64, Vec<(&'static str, String)>);

    impl Record for Seen {
        fn at(&self) -> Now {
            Now::from_micros(self.0)
        }
        fn id(&self) -> u128 {
            1
        }
        fn field(&self, name: &str) -> Option<Cow<'_, str>> {
            self.1.iter().find(|(known, _)| *known == name).map(|(_, value)| Cow::Borrowed(value.as_str()))
        }
    }

    fn rule(amount: Amount, distinct: Option<&str>) -> Rule {
        Rule {
            name: "probing".to_owned(),
            conditions: vec![Condition {
                field: "status".to_owned(),
                test: Test::OneOf(vec!["404".to_owned()]),
            }],
            group_by: vec!["address".to_owned()],
            distinct: distinct.map(str::to_owned),
            amount,
            cooldown_s: 60,
            severity: Severity::Medium,
        }
    }

    fn run(rule: Rule, events: impl Iterator<Item = (i64, &'static str, String)>) -> Vec<i64> {
        let mut rules = Rules::new(vec![rule], 100, 7);
        let (mut fired, mut out) = (Vec::new(), Vec::new());
        for (at, address, path) in events {
            let fields = vec![("status", "404".to_owned()), ("address", address.to_owned()), ("path", path)];
            rules.step(&Seen(at, fields), &|_, group| Entity::Group(group), &mut out);
            if !out.is_empty() {
                fired.push(at);
                out.clear();
            }
        }
        fired
    }

    #[test]
    fn more_than_the_count_within_the_window() {
        let amount = Amount::Count { count: 2, window_s: 10 };
        let at = |times: &[i64]| times.iter().map(|at| (*at, "a", String::new())).collect::<Vec<_>>();
        assert_eq!(run(rule(amount, None), at(&[0, 1, 10 * SECOND - 1]).into_iter()), [10 * SECOND - 1]);
        assert_eq!(run(rule(amount, None), at(&[0, 1, 10 * SECOND]).into_iter()), [0_i64; 0]);
    }

    #[test]
    fn groups_are_apart() {
        let amount = Amount::Count { count: 2, window_s: 10 };
        let mixed = [
            (0, "a", String::new()),
            (1, "b", String::new()),
            (2, "a", String::new()),
            (3, "b", String::new()),
        ];
        assert!(run(rule(amount, None), mixed.into_iter()).is_empty());
    }

    #[test]
    fn a_bucket_leaks_one_at_a_time() {
        let amount = Amount::Bucket { capacity: 3, leak_s: 10 };
        let steady = (0..50).map(|at| (at * 10 * SECOND, "a", String::new()));
        assert!(run(rule(amount, None), steady).is_empty(), "one in, one out");
        let faster = (0..8).map(|at| (at * 5 * SECOND, "a", String::new()));
        assert_eq!(run(rule(amount, None), faster), [25 * SECOND]);
    }

    #[test]
    fn only_distinct_values_count_and_a_group_is_silent_after_it_fired() {
        let amount = Amount::Bucket { capacity: 3, leak_s: 10 };
        let same = (0..20).map(|at| (at, "a", "/x".to_owned()));
        assert!(run(rule(amount, Some("path")), same).is_empty());
        let other = (0..20).map(|at| (at, "a", format!("/{at}")));
        assert_eq!(run(rule(amount, Some("path")), other), [3]);
    }
}
