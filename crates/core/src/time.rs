//! One reading of the clock per request.
//!
//! Law 4: rules take time as a value. Only a [`Clock`] reads it.

/// A moment: microseconds since the Unix epoch (UTC). Read once per request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Now(i64);

impl Now {
    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From whole seconds since the Unix epoch.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since the Unix epoch.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Whole seconds since the Unix epoch: what tokens, keys and signatures are compared with.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This moment and `micros` more; saturates.
    #[must_use]
    pub const fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// Microseconds from `earlier` to here; zero when the clock went backwards.
    pub const fn since(self, earlier: Self) -> u64 {
        let gap = self.0.saturating_sub(earlier.0);
        if gap < 0 { 0 } else { gap.unsigned_abs() }
    }
}

/// Unix seconds of an RFC 3339 date-time; fractions are cut off.
pub fn rfc3339(text: &str) -> Option<i64> {
    let (day, clock) = text.split_once(['T', 't', ' '])?;
    let numbers = |text: &str, between: char, digits: &[usize]| -> Option<Vec<i64>> {
        let parts: Vec<&str> = text.split(between).collect();
        let fits = |(part, digits): (&&str, &usize)| {
            part.len() == *digits && part.bytes().all(|b| b.is_ascii_digit())
        };
        let good = parts.len() == digits.len() && parts.iter().zip(digits).all(fits);
        good.then(|| parts.iter().map(|part| part.parse().ok()).collect::<Option<_>>()).flatten()
    };
    let [year, month, day] = <[i64; 3]>::try_from(numbers(day, '-', &[4, 2, 2])?).ok()?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=longest).contains(&day) {
        return None;
    }
    let (clock, ahead) = match clock.strip_suffix(['Z', 'z']) {
        Some(clock) => (clock, 0),
        None => {
            let (clock, offset) = clock.split_at_checked(clock.rfind(['+', '-'])?)?;
            let [h, m] = <[i64; 2]>::try_from(numbers(offset.get(1..)?, ':', &[2, 2])?).ok()?;
            let ahead = (h < 24 && m < 60).then_some(h * 3_600 + m * 60)?;
            (clock, if offset.starts_with('-') { -ahead } else { ahead })
        }
    };
    let clock = match clock.split_once('.') {
        Some((clock, part)) if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) => clock,
        Some(_) => return None,
        None => clock,
    };
    let [h, m, s] = <[i64; 3]>::try_from(numbers(clock, ':', &[2, 2, 2])?).ok()?;
    if h > 23 || m > 59 || s > 59 {
        return None;
    }
    // Days from the civil date: the algorithm of H. Hinnant, `days_from_civil`.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * (month + 9).rem_euclid(12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * 86_400 + h * 3_600 + m * 60 + s - ahead)
}

/// Where time comes from. The program has one system clock; tests have a hand on theirs.
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Now;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Now {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
        let gap = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Now(gap.map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX)))
    }
}

/// A clock that a test moves.
#[derive(Debug, Default)]
pub struct ManualClock(std::sync::atomic::AtomicI64);

impl ManualClock {
    /// Starts at `now`.
    pub fn new(now: Now) -> Self {
        Self(std::sync::atomic::AtomicI64::new(now.micros()))
    }

    /// Moves to `now`, forwards or backwards.
    pub fn set(&self, now: Now) {
        self.0.store(now.micros(), std::sync::atomic::Ordering::SeqCst);
    }

    /// Moves by `secs` seconds.
    pub fn advance_secs(&self, secs: i64) {
        self.0.fetch_add(secs.saturating_mul(1_000_000), std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Now {
        Now(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }
}
