//! T5: a key outside its hours: those that somebody wrote down, or those that it has always kept.

use smallvec::SmallVec;

use crate::alert::{Alert, Entity, Severity, Subtype, Trigger};
use crate::event::{Authentication, DAY, Event, HOUR};
use crate::table::Table;

const COOL_DOWN: i64 = 12 * HOUR;
const WEEK: i64 = 7 * DAY;
const WEEKS: i64 = 4;
const REQUESTS: u32 = 500;
const ACTIVE_HOURS: u32 = 20;
/// Requests in an hour that was always empty.
const STRANGE: u32 = 5;

/// When a key may be used: hours of the week, Monday first, in a fixed offset from UTC.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    /// One bit for each hour of the week.
    pub hours: [u32; 7],
    /// Seconds to add to UTC at a time. Sorted: from when, and how much. Daylight saving is two entries a year.
    pub offsets: Vec<(i64, i64)>,
    /// Days on which it may not be used at all: days since 1970, in the schedule's own time.
    pub holidays: Vec<i64>,
}

impl Schedule {
    /// Whether `seconds` since 1970 lie within it.
    #[must_use]
    pub fn contains(&self, seconds: i64) -> bool {
        let offset =
            self.offsets.iter().rev().find(|(from, _)| *from <= seconds).map_or(0, |(_, offset)| *offset);
        let local = seconds + offset;
        let day = local.div_euclid(86_400);
        let hour = local.rem_euclid(86_400) / 3_600;
        // 1970-01-01 was a Thursday: Monday is 0.
        let weekday = usize::try_from((day + 3).rem_euclid(7)).unwrap_or(0);
        !self.holidays.contains(&day) && self.hours.get(weekday).is_some_and(|bits| bits >> hour & 1 == 1)
    }
}

#[derive(Debug)]
pub(crate) struct Hours {
    keys: Table<u64, Week>,
}

#[derive(Debug)]
struct Week {
    /// For each hour of the week: in which of the last eight weeks it was used.
    used: [u8; 168],
    week: i64,
    first: i64,
    requests: u32,
    hour: i64,
    this_hour: u32,
    quiet_until: i64,
}

impl Default for Week {
    fn default() -> Self {
        Self { used: [0; 168], week: 0, first: 0, requests: 0, hour: 0, this_hour: 0, quiet_until: 0 }
    }
}

impl Hours {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { keys: Table::new(capacity) }
    }

    pub(crate) const fn evicted(&self) -> u64 {
        self.keys.evicted()
    }

    pub(crate) fn step(&mut self, event: &Event, schedule: Option<&Schedule>, out: &mut Vec<Alert>) {
        if event.key == 0 || event.authentication != Authentication::Succeeded {
            return;
        }
        let Some(week) = self.keys.touch(event.key) else { return };
        let at = event.at.micros();
        let learnt = week.step(at);
        let (strange, subtype, observed, threshold) = match schedule {
            Some(schedule) => (!schedule.contains(event.at.secs()), Subtype::Schedule, 1.0, 0.0),
            None => (learnt, Subtype::Learned, f64::from(week.this_hour), f64::from(STRANGE)),
        };
        if strange && at >= week.quiet_until {
            week.quiet_until = at + COOL_DOWN;
            out.push(Alert {
                trigger: Trigger::OffHours,
                subtype: Some(subtype),
                severity: if schedule.is_some() { Severity::High } else { Severity::Medium },
                entity: Entity::Key(event.key),
                first: event.at,
                last: event.at,
                observed,
                threshold,
                baseline: None,
                window_s: 3_600,
                traces: SmallVec::from_slice(&[event.id]),
                incomplete: false,
            });
        }
    }
}

impl Week {
    /// Counts, and says whether this hour of the week and both beside it were empty for eight weeks.
    fn step(&mut self, at: i64) -> bool {
        let (week, hour) = (at.div_euclid(WEEK), at.div_euclid(HOUR));
        if self.requests == 0 {
            (self.first, self.week, self.hour) = (at, week, hour);
        }
        self.requests = self.requests.saturating_add(1);
        for _ in 0..(week - self.week).clamp(0, 8) {
            for bits in &mut self.used {
                *bits <<= 1;
            }
        }
        self.week = self.week.max(week);
        if hour != self.hour {
            (self.hour, self.this_hour) = (hour, 0);
        }
        self.this_hour += 1;
        let slot = usize::try_from(hour.rem_euclid(168)).unwrap_or(0);
        let bits = |slot: usize| self.used.get(slot % 168).copied().unwrap_or(0);
        // What is new in this very hour does not count as used before: the lowest bit is this week's.
        let (before, after) = (bits(slot + 167), bits(slot + 1));
        let here = bits(slot) & !1;
        let active = self.used.iter().filter(|bits| **bits != 0).count();
        let ready = at - self.first >= WEEKS * WEEK
            && self.requests >= REQUESTS
            && u32::try_from(active).is_ok_and(|active| active >= ACTIVE_HOURS);
        let strange = ready && here == 0 && before & !1 == 0 && after & !1 == 0 && self.this_hour >= STRANGE;
        if let Some(bits) = self.used.get_mut(slot) {
            *bits |= 1;
        }
        strange
    }
}
