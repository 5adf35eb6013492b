//! Rates as people write them: `10/s`, `600/min`, `10000/day`, `100/15min`.

use core::fmt;
use core::str::FromStr;

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// A month is thirty days: a sliding quota has no calendar.
const MONTH: u64 = 30 * DAY;
const MAX_PERIOD: u64 = 366 * DAY;

/// So many per period: `600/min` is 600 in 60,000,000 µs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    limit: u32,
    period_us: u64,
}

/// Why a text is not a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateError {
    /// Not `NUMBER/PERIOD`.
    Shape,
    /// The number is not an integer from 1 to 4,294,967,295.
    Limit,
    /// The period is not `s`, `min`, `h`, `day` or `month`, or a small multiple such as `15min`, up to 366 days.
    Period,
}

impl Rate {
    /// `limit` units per `period_us` microseconds; from one second to 366 days.
    pub const fn new(limit: u32, period_us: u64) -> Result<Self, RateError> {
        if limit == 0 {
            return Err(RateError::Limit);
        }
        if period_us < SECOND || period_us > MAX_PERIOD {
            return Err(RateError::Period);
        }
        Ok(Self { limit, period_us })
    }

    /// `limit` a second; zero counts as one.
    pub const fn per_second(limit: u32) -> Self {
        Self { limit: if limit == 0 { 1 } else { limit }, period_us: SECOND }
    }

    /// `limit` a minute; zero counts as one.
    pub const fn per_minute(limit: u32) -> Self {
        Self { limit: if limit == 0 { 1 } else { limit }, period_us: MINUTE }
    }

    /// Units per period.
    pub const fn limit(self) -> u32 {
        self.limit
    }

    /// Length of the period in microseconds.
    pub const fn period_us(self) -> u64 {
        self.period_us
    }

    /// The same period with `factor` times as many units (saturating).
    pub const fn times(self, factor: u32) -> Self {
        Self {
            limit: self.limit.saturating_mul(if factor == 0 { 1 } else { factor }),
            period_us: self.period_us,
        }
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let (limit, period) = text.trim().split_once('/').ok_or(RateError::Shape)?;
        let (limit, period) = (limit.trim(), period.trim());
        // `u32::from_str` takes a leading `+`; nobody means that.
        if limit.is_empty() || !limit.bytes().all(|b| b.is_ascii_digit()) {
            return Err(RateError::Limit);
        }
        let limit: u32 = limit.parse().map_err(|_| RateError::Limit)?;
        let digits = period.bytes().take_while(u8::is_ascii_digit).count();
        let (count, unit) = period.split_at_checked(digits).ok_or(RateError::Period)?;
        let count: u64 = if count.is_empty() { 1 } else { count.parse().map_err(|_| RateError::Period)? };
        let unit = match unit.trim() {
            "s" | "sec" | "second" => SECOND,
            "m" | "min" | "minute" => MINUTE,
            "h" | "hour" => HOUR,
            "d" | "day" => DAY,
            "month" => MONTH,
            _ => return Err(RateError::Period),
        };
        Self::new(limit, count.checked_mul(unit).ok_or(RateError::Period)?)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.limit)?;
        for (unit, name) in [(MONTH, "month"), (DAY, "day"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s")] {
            if self.period_us.is_multiple_of(unit) {
                let count = self.period_us / unit;
                return if count == 1 { f.write_str(name) } else { write!(f, "{count}{name}") };
            }
        }
        write!(f, "{}us", self.period_us)
    }
}

impl fmt::Display for RateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shape => "a rate is written NUMBER/PERIOD, for example 100/min",
            Self::Limit => "the number of a rate is an integer from 1 to 4294967295",
            Self::Period => {
                "the period of a rate is s, min, h, day or month, or a multiple such as 15min, up to 366 days"
            }
        })
    }
}

impl core::error::Error for RateError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_read_and_print() {
        for (text, limit, period, printed) in [
            ("100/min", 100, MINUTE, "100/min"),
            ("10/s", 10, SECOND, "10/s"),
            ("10000/day", 10_000, DAY, "10000/day"),
            ("1000000/month", 1_000_000, MONTH, "1000000/month"),
            (" 5 / 15min ", 5, 15 * MINUTE, "5/15min"),
            ("7/90s", 7, 90 * SECOND, "7/90s"),
            ("7/3600s", 7, HOUR, "7/h"),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.limit(), rate.period_us()), (limit, period), "{text}");
            assert_eq!(rate.to_string(), printed);
            assert_eq!(printed.parse::<Rate>().unwrap(), rate);
        }
    }

    #[test]
    fn not_rates() {
        for (text, error) in [
            ("", RateError::Shape),
            ("100", RateError::Shape),
            ("/min", RateError::Limit),
            ("0/min", RateError::Limit),
            ("-1/min", RateError::Limit),
            ("+1/min", RateError::Limit),
            ("1.5/min", RateError::Limit),
            ("4294967296/min", RateError::Limit),
            ("100/", RateError::Period),
            ("100/fortnight", RateError::Period),
            ("100/0s", RateError::Period),
            ("100/367day", RateError::Period),
            ("100/99999999999999999999s", RateError::Period),
            ("100/18446744073709551615month", RateError::Period),
            ("100/min/s", RateError::Period),
            ("100/mïn", RateError::Period),
        ] {
            assert_eq!(text.parse::<Rate>(), Err(error), "{text}");
        }
    }
}
