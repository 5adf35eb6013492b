//! The generic cell rate algorithm in scaled integers.
//!
//! With L per P µs and g = gcd(P, L), one unit is 1/(L/g) µs and one request of cost one weighs P/g units, so every
//! instant that matters is a whole number of units: no floating point, no drift. A time is kept as whole
//! microseconds and a fraction of `scale` units, so that a counter survives a change of its rate (the old fraction
//! is below one microsecond).

/// A time or a span: `us` microseconds and `frac`/`scale` of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Span {
    pub(crate) us: u64,
    pub(crate) frac: u32,
}

impl Span {
    /// Whole microseconds, rounded up.
    #[inline]
    pub(crate) fn ceil(self) -> u64 {
        self.us.saturating_add(u64::from(self.frac > 0))
    }
}

/// The pace of one window, ready to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Units per microsecond: L/g.
    scale: u32,
    /// Units per cost of one: P/g.
    increment: u64,
    /// The same as a span.
    one: Span,
    /// How far ahead of now the theoretical arrival time may be.
    burst: Span,
    /// Spans below this many microseconds have fewer than 2^63 units.
    small: u64,
}

/// What a test says; nothing has been charged yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Outlook {
    pub(crate) admitted: bool,
    /// The theoretical arrival time if it is charged; unchanged when refused.
    pub(crate) tat: Span,
    /// Whole costs of one that could still follow.
    pub(crate) remaining: u32,
    /// Exact wait in µs: refused at w−1, admitted at w. Zero when admitted.
    pub(crate) wait: u64,
    /// Microseconds until a cost of one fits; zero while something remains.
    pub(crate) next: u64,
    /// Microseconds until the bucket is full.
    pub(crate) reset: u64,
}

impl Pace {
    /// `limit` per `period_us` with a bucket of `burst`; `None` when a full bucket would take over 10,000 years to
    /// refill.
    pub(crate) fn new(limit: u32, period_us: u64, burst: u32) -> Option<Self> {
        let g = gcd(period_us, u64::from(limit));
        let scale = u32::try_from(u64::from(limit).checked_div(g)?).ok()?;
        let increment = period_us.checked_div(g)?;
        let mut pace = Self {
            scale,
            increment,
            one: Span::default(),
            burst: Span::default(),
            small: (u64::MAX / 2).checked_div(u64::from(scale))?,
        };
        pace.one = pace.weight(1)?;
        pace.burst = pace.weight(burst).filter(|b| b.us < 1 << 58)?;
        Some(pace)
    }

    /// Tests a cost against a theoretical arrival time at `now`. The cost must not exceed the burst.
    #[inline]
    pub(crate) fn test(&self, tat: Span, now: u64, cost: u32) -> Outlook {
        let base = if tat.us >= now {
            // A counter kept under another rate may carry a larger fraction.
            Span { us: tat.us, frac: tat.frac.min(self.scale - 1) }
        } else {
            Span { us: now, frac: 0 }
        };
        let weight = match cost {
            0 => Span::default(),
            1 => self.one,
            _ => self.weight(cost).unwrap_or(Span { us: u64::MAX / 4, frac: 0 }),
        };
        let next = self.add(base, weight);
        let cap = self.add(Span { us: now, frac: 0 }, self.burst);
        // A cost of nothing is a look, and never refused.
        let admitted = next <= cap || cost == 0;
        let tat = if admitted { next } else { base };
        let spare = if tat <= cap { self.sub(cap, tat) } else { Span::default() };
        let remaining = self.whole(spare);
        Outlook {
            admitted,
            tat,
            remaining,
            wait: if admitted { 0 } else { self.sub(next, cap).ceil() },
            next: if remaining > 0 { 0 } else { self.sub(self.add(tat, self.one), cap).ceil() },
            reset: tat.ceil().saturating_sub(now),
        }
    }

    /// How many whole costs of one fit into a span.
    #[inline]
    fn whole(&self, span: Span) -> u32 {
        let n = if span.us < self.small {
            (span.us * u64::from(self.scale) + u64::from(span.frac)).checked_div(self.increment).unwrap_or(0)
        } else {
            let units = u128::from(span.us) * u128::from(self.scale) + u128::from(span.frac);
            u64::try_from(units.checked_div(u128::from(self.increment)).unwrap_or(0)).unwrap_or(u64::MAX)
        };
        u32::try_from(n).unwrap_or(u32::MAX)
    }

    fn weight(&self, cost: u32) -> Option<Span> {
        let scale = u64::from(self.scale);
        match u64::from(cost).checked_mul(self.increment) {
            Some(units) => Some(Span {
                us: units.checked_div(scale)?,
                frac: u32::try_from(units.checked_rem(scale)?).ok()?,
            }),
            None => {
                let units = u128::from(cost) * u128::from(self.increment);
                Some(Span {
                    us: u64::try_from(units.checked_div(u128::from(scale))?).ok()?,
                    frac: u32::try_from(units.checked_rem(u128::from(scale))?).ok()?,
                })
            }
        }
    }

    #[inline]
    fn add(&self, a: Span, b: Span) -> Span {
        let frac = u64::from(a.frac) + u64::from(b.frac);
        let carry = frac >= u64::from(self.scale);
        let frac = if carry { frac - u64::from(self.scale) } else { frac };
        Span { us: a.us.saturating_add(b.us).saturating_add(u64::from(carry)), frac: frac as u32 }
    }

    /// `a` − `b`; `a` must not be less.
    #[inline]
    fn sub(&self, a: Span, b: Span) -> Span {
        let borrow = a.frac < b.frac;
        let frac = if borrow { u64::from(a.frac) + u64::from(self.scale) } else { u64::from(a.frac) };
        Span {
            us: a.us.saturating_sub(b.us).saturating_sub(u64::from(borrow)),
            frac: (frac - u64::from(b.frac)) as u32,
        }
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while let Some(r) = a.checked_rem(b) {
        (a, b) = (b, r);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An exact token bucket over the denominator P: another algorithm, rational, slow, obvious.
    struct Model {
        limit: i128,
        period: i128,
        burst: i128,
        level: i128, // tokens × period
        last: i128,
    }

    impl Model {
        fn at(&self, now: i128) -> i128 {
            (self.level + (now - self.last) * self.limit).min(self.burst * self.period)
        }
        fn take(&mut self, now: i128, cost: i128) -> (bool, i128, i128, i128) {
            let now = now.max(self.last);
            let level = self.at(now);
            let admitted = level >= cost * self.period;
            let after = if admitted { level - cost * self.period } else { level };
            let wait = if admitted {
                0
            } else {
                (cost * self.period - level + self.limit - 1).div_euclid(self.limit)
            };
            (self.level, self.last) = (after, now);
            let reset = (self.burst * self.period - after + self.limit - 1).div_euclid(self.limit);
            (admitted, after.div_euclid(self.period), wait, reset)
        }
    }

    fn next(seed: &mut u64) -> u64 {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        *seed
    }

    #[test]
    fn equals_the_rational_model_and_waits_exactly() {
        let mut seed = 0x9e37_79b9_7f4a_7c15;
        let (mut decisions, mut refusals) = (0_u64, 0_u64);
        for round in 0..3_000_u64 {
            let limit = match round % 4 {
                0 => 1 + (next(&mut seed) % 20) as u32,
                1 => [7, 97, 600, 9_973, 99_991, 4_294_967_291][(next(&mut seed) % 6) as usize],
                _ => 1 + (next(&mut seed) % 100_000) as u32,
            };
            let period = [1_000_000, 60_000_000, 86_400_000_000, 2_592_000_000_000, 7_000_000]
                [(next(&mut seed) % 5) as usize];
            let burst = 1 + (next(&mut seed) % u64::from(limit.min(500))) as u32;
            let Some(pace) = Pace::new(limit, period, burst) else { panic!("{limit}/{period}") };
            let mut now = 1_770_000_000_000_000 + next(&mut seed) % 1_000_000_000;
            let mut tat = Span::default();
            let mut model = Model {
                limit: i128::from(limit),
                period: i128::from(period),
                burst: i128::from(burst),
                level: i128::from(burst) * i128::from(period),
                last: i128::from(now),
            };
            for _ in 0..50 {
                let step = (period / u64::from(limit)).max(1);
                now += match next(&mut seed) % 5 {
                    0 => 0,
                    1 => 1,
                    2 => next(&mut seed) % (step * 2),
                    3 => step,
                    _ => next(&mut seed) % (step / 2 + 1),
                };
                let cost = if next(&mut seed).is_multiple_of(3) {
                    1 + (next(&mut seed) % u64::from(burst)) as u32
                } else {
                    1
                };
                let got = pace.test(tat, now, cost);
                let want = model.take(i128::from(now), i128::from(cost));
                assert_eq!(
                    (got.admitted, i128::from(got.remaining), i128::from(got.wait), i128::from(got.reset)),
                    want,
                    "{limit}/{period} burst {burst} cost {cost}"
                );
                if got.remaining == 0 {
                    assert!(!pace.test(got.tat, now + got.next - 1, 1).admitted);
                    assert!(pace.test(got.tat, now + got.next, 1).admitted);
                }
                if !got.admitted {
                    refusals += 1;
                    assert!(!pace.test(tat, now + got.wait - 1, cost).admitted);
                    assert!(pace.test(tat, now + got.wait, cost).admitted);
                }
                tat = got.tat;
                decisions += 1;
            }
        }
        assert!(decisions >= 100_000 && refusals >= 10_000, "{decisions} decisions, {refusals} refusals");
        println!("{decisions} decisions equal to the rational model, {refusals} exact waits");
    }

    #[test]
    fn a_look_costs_nothing() {
        let pace = Pace::new(5, 60_000_000, 5).unwrap();
        let spent = pace.test(Span::default(), 1_000, 5);
        assert!(spent.admitted);
        let look = pace.test(spent.tat, 1_000, 0);
        assert_eq!((look.admitted, look.remaining, look.tat), (true, 0, spent.tat));
    }
}
