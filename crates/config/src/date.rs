//! Days, for the end of a loosening.

use portcullis_core::time::Now;
use std::fmt;

/// A day of the Gregorian calendar (UTC), as days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(i64);

impl Date {
    /// The day of a moment.
    pub const fn of(now: Now) -> Self {
        Self(now.secs().div_euclid(86_400))
    }

    /// `YYYY-MM-DD`, a day that exists.
    pub fn parse(text: &str) -> Option<Self> {
        let (year, rest) = text.split_once('-')?;
        let (month, day) = rest.split_once('-')?;
        let part = |text: &str, len: usize| {
            let digits = text.len() == len && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse::<i64>().ok()).flatten()
        };
        let date = Self::from_civil(part(year, 4)?, part(month, 2)?, part(day, 2)?);
        (date.to_string() == text).then_some(date)
    }

    /// Its first moment.
    pub const fn midnight(self) -> Now {
        Now::from_secs(self.0.saturating_mul(86_400))
    }

    /// The day so many days later.
    #[must_use]
    pub const fn plus_days(self, days: i64) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// Days from the civil date: the algorithm of H. Hinnant, `days_from_civil`.
    const fn from_civil(year: i64, month: i64, day: i64) -> Self {
        let year = if month <= 2 { year - 1 } else { year };
        let era = year.div_euclid(400);
        let of_era = year.rem_euclid(400);
        let shifted = (month + 9).rem_euclid(12);
        let of_year = (153 * shifted + 2) / 5 + day - 1;
        Self(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
    }

    const fn civil(self) -> (i64, i64, i64) {
        let days = self.0.saturating_add(719_468);
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let shifted = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year + era * 400;
        (if month <= 2 { year + 1 } else { year }, month, day)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_days_that_exist() {
        assert_eq!(Date::parse("1970-01-01"), Some(Date(0)));
        assert_eq!(Date::parse("2024-02-29").unwrap().to_string(), "2024-02-29");
        assert_eq!(Date::parse("2026-11-23").unwrap(), Date::of(Now::from_secs(1_795_392_000)));
        for text in ["2023-02-29", "2024-13-01", "2024-1-1", "2024-00-10", "tomorrow", "2024-01-01T00:00", ""]
        {
            assert_eq!(Date::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_of_nine_centuries_prints_and_reads_back() {
        let mut day = Date::parse("1600-01-01").unwrap();
        for _ in 0..330_000 {
            assert_eq!(Date::parse(&day.to_string()), Some(day));
            day = day.plus_days(1);
        }
    }
}
