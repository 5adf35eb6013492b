//! Comparing numbers by their text, exactly.

use std::cmp::Ordering;

/// A decimal number: `±mantissa × 10^exponent`, the mantissa without trailing zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    negative: bool,
    mantissa: u128,
    exponent: i32,
    digits: u32,
    /// False when there were more than 38 significant digits; the rest is then lost.
    exact: bool,
}

/// Digits that a `u128` holds whatever they are.
const HELD: u32 = 38;

impl Decimal {
    /// Of a JSON number literal.
    pub(crate) fn parse(literal: &str) -> Self {
        let (negative, rest) = match literal.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, literal),
        };
        let (significand, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
        let written: i32 = exponent.strip_prefix('+').unwrap_or(exponent).parse().unwrap_or(i32::MAX / 4);
        let mut found = Self {
            negative,
            mantissa: 0,
            exponent: written.clamp(-1_000_000, 1_000_000),
            digits: 0,
            exact: true,
        };
        let mut zeros = 0u32;
        let mut point = false;
        for byte in significand.bytes() {
            let digit = match byte {
                b'0'..=b'9' => u128::from(byte - b'0'),
                _ => {
                    point = true;
                    continue;
                }
            };
            found.exponent -= i32::from(point);
            if digit == 0 {
                zeros += u32::from(found.digits > 0);
                continue;
            }
            if found.digits + zeros < HELD {
                found.mantissa = found.mantissa * power(zeros + 1) + digit;
            } else {
                found.exact = false;
            }
            found.digits += zeros + 1;
            zeros = 0;
        }
        // Zeros at the end belong to the exponent.
        found.exponent += zeros as i32;
        if found.digits == 0 {
            found.negative = false;
            found.exponent = 0;
        }
        found
    }

    /// Whether it is a whole number.
    pub(crate) const fn is_whole(self) -> bool {
        self.exponent >= 0
    }

    /// Significant digits, without zeros at either end.
    pub(crate) const fn digits(self) -> u32 {
        self.digits
    }

    /// The power of ten just above it; 0 for zero.
    pub(crate) const fn magnitude(self) -> i32 {
        if self.digits == 0 { 0 } else { self.exponent + self.digits as i32 }
    }

    /// Exact up to 38 significant digits.
    pub(crate) fn compare(self, other: Self) -> Ordering {
        if self.digits == 0 || other.digits == 0 || self.negative != other.negative {
            return self.sign().cmp(&other.sign());
        }
        let absolute = self.magnitude().cmp(&other.magnitude()).then_with(|| {
            let (a, b) = (self.digits.min(HELD), other.digits.min(HELD));
            let wide = a.max(b);
            let equal = (self.mantissa * power(wide - a)).cmp(&(other.mantissa * power(wide - b)));
            // What was cut off makes the longer one larger.
            equal.then(other.exact.cmp(&self.exact)).then(self.digits.cmp(&other.digits))
        });
        if self.negative { absolute.reverse() } else { absolute }
    }

    /// Whether it is a whole multiple of `step`, which is positive with at most 20 digits. Never for what is not exact.
    pub(crate) fn is_multiple_of(self, step: Self) -> bool {
        if self.digits == 0 {
            return true;
        }
        // Without trailing zeros, a value with the smaller exponent is no multiple.
        if !self.exact || step.mantissa == 0 || step.digits > 20 || self.exponent < step.exponent {
            return false;
        }
        let mut rest = self.mantissa % step.mantissa;
        for _ in 0..self.exponent - step.exponent {
            if rest == 0 {
                return true;
            }
            rest = rest * 10 % step.mantissa;
        }
        rest == 0
    }

    /// Whether it is above zero.
    pub(crate) const fn is_positive(self) -> bool {
        self.digits > 0 && !self.negative
    }

    /// Appends one spelling for all literals of the same value.
    pub(crate) fn spell(self, literal: &str, out: &mut Vec<u8>) {
        if self.exact {
            let sign = if self.negative { "-" } else { "" };
            out.extend_from_slice(format!("{sign}{}e{}", self.mantissa, self.exponent).as_bytes());
        } else {
            out.extend_from_slice(literal.as_bytes());
        }
    }

    const fn sign(self) -> i8 {
        match (self.digits, self.negative) {
            (0, _) => 0,
            (_, true) => -1,
            (_, false) => 1,
        }
    }

    /// Whether it can be compared through any reader's arithmetic: an integer of 64 bits, or at most 15 significant
    /// digits and an exponent of at most 300.
    pub(crate) fn is_precise(self, literal: &str) -> bool {
        let plain = !literal.contains(['.', 'e', 'E']);
        (plain && (literal.parse::<i64>().is_ok() || literal.parse::<u64>().is_ok()))
            || (self.digits <= 15 && self.magnitude().abs() <= 300)
    }
}

fn power(of: u32) -> u128 {
    10u128.checked_pow(of).unwrap_or(u128::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn order_is_exact() {
        let ascending = [
            "-1e300",
            "-9007199254740993",
            "-9007199254740992",
            "-1.5",
            "-1",
            "-0.1",
            "-1e-300",
            "0",
            "1e-300",
            "0.1",
            "0.10000000000000001",
            "0.3",
            "1",
            "9007199254740992",
            "9007199254740993",
            "18446744073709551615",
            "1e20",
            "100000000000000000001",
            "1.0000000000000000000000000000000000001e37",
            "1e300",
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(Decimal::parse(a).compare(Decimal::parse(b)), i.cmp(&j), "{a} {b}");
            }
        }
        for (a, b) in [("1", "1.0"), ("1", "10e-1"), ("-0", "0.00e9"), ("1200", "1.2E3"), ("0.5", "5e-1")] {
            assert_eq!(Decimal::parse(a), Decimal::parse(b));
        }
    }

    #[test]
    fn multiples() {
        for (value, step, expected) in [
            ("0", "3", true),
            ("9", "3", true),
            ("10", "3", false),
            ("4.5", "1.5", true),
            ("0.3", "0.1", true),
            ("19.99", "0.01", true),
            ("0.0075", "0.0001", true),
            ("0.00751", "0.0001", false),
            ("1e300", "3", false),
            ("3e300", "3", true),
            ("12391239123", "1e-8", true),
            ("35", "20", false),
            ("-40", "20", true),
            ("1e2", "0.25", true),
        ] {
            assert_eq!(
                Decimal::parse(value).is_multiple_of(Decimal::parse(step)),
                expected,
                "{value} {step}"
            );
        }
    }

    #[test]
    fn whole_and_precise() {
        for (literal, whole, precise) in [
            ("1", true, true),
            ("1.0", true, true),
            ("1.5", false, true),
            ("15e-1", false, true),
            ("1e2", true, true),
            ("18446744073709551615", true, true),
            ("18446744073709551616", true, false),
            ("0.1234567890123456", false, false),
            ("0.123456789012345", false, true),
            ("1e301", true, false),
            ("1000000000000000000000000", true, true),
        ] {
            let decimal = Decimal::parse(literal);
            assert_eq!((decimal.is_whole(), decimal.is_precise(literal)), (whole, precise), "{literal}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_integers(a in any::<i64>(), b in any::<i64>()) {
            let (x, y) = (Decimal::parse(&a.to_string()), Decimal::parse(&b.to_string()));
            prop_assert_eq!(x.compare(y), a.cmp(&b));
            if b > 0 {
                prop_assert_eq!(x.is_multiple_of(y), a % b == 0);
            }
        }

        #[test]
        fn agrees_with_doubles(a in -1e15f64..1e15, b in -1e15f64..1e15) {
            let (x, y) = (Decimal::parse(&format!("{a:e}")), Decimal::parse(&format!("{b}")));
            prop_assert_eq!(Some(x.compare(y)), a.partial_cmp(&b));
        }
    }
}
