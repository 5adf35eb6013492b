//! RFC 3339 timestamps and durations of conditions, as nanoseconds.

const SECOND: i128 = 1_000_000_000;

/// RFC 3339 § 5.6, years 1–9999, with up to nine digits of a second.
pub(super) fn timestamp(text: &str) -> Option<i128> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| digits(text.get(from..to)?);
    let at = |index: usize, expected: u8| (bytes.get(index) == Some(&expected)).then_some(());
    at(4, b'-')?;
    at(7, b'-')?;
    at(13, b':')?;
    at(16, b':')?;
    matches!(bytes.get(10)?, b'T' | b't').then_some(())?;
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let in_range = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day) && year >= 1;
    (in_range && hour < 24 && minute < 60 && second < 60).then_some(())?;
    let rest = text.get(19..)?;
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(after) => {
            let end = after.find(|c: char| !c.is_ascii_digit())?;
            let (fraction, zone) = after.split_at_checked(end)?;
            (1..=9).contains(&fraction.len()).then_some(())?;
            let scale = 10_i128.pow(u32::try_from(9 - fraction.len()).ok()?);
            (digits(fraction)? * scale, zone)
        }
        None => (0, rest),
    };
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let (sign, after) = zone.split_at_checked(1)?;
            let (hours, minutes) = after.split_once(':')?;
            (hours.len() == 2 && minutes.len() == 2).then_some(())?;
            let (hours, minutes) = (digits(hours)?, digits(minutes)?);
            (hours < 24 && minutes < 60).then_some(())?;
            let amount = (hours * 60 + minutes) * 60;
            match sign {
                "+" => amount,
                "-" => -amount,
                _ => return None,
            }
        }
    };
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    Some(seconds * SECOND + fraction)
}

/// `1h30m`, `-1.5s`, `100ms`: Go's durations, as `OpenFGA` and CEL write them; within ±292 years.
pub(super) fn duration(text: &str) -> Option<i128> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(after) => (true, after),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    (!rest.is_empty() && rest.len() <= 64).then_some(())?;
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(number_end)?;
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at_checked(unit_end)?;
        let unit = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => SECOND,
            "m" => 60 * SECOND,
            "h" => 3_600 * SECOND,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        (!(whole.is_empty() && fraction.is_empty()) && whole.len() <= 18 && fraction.len() <= 18)
            .then_some(())?;
        let whole = if whole.is_empty() { 0 } else { digits(whole)? };
        let part = if fraction.is_empty() { 0 } else { digits(fraction)? };
        let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
        total += whole * unit + part * unit / scale;
        rest = next;
    }
    let total = if negative { -total } else { total };
    i64::try_from(total).ok().map(i128::from)
}

fn digits(text: &str) -> Option<i128> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

const fn days_in(year: i128, month: i128) -> i128 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 (H. Hinnant, "chrono-compatible low-level date algorithms").
const fn days_from_civil(year: i128, month: i128, day: i128) -> i128 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_of_rfc_3339() {
        assert_eq!(timestamp("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(timestamp("1985-04-12T23:20:50.52Z"), Some(482_196_050 * SECOND + 520_000_000));
        assert_eq!(timestamp("1996-12-19T16:39:57-08:00"), timestamp("1996-12-20T00:39:57Z"));
        assert_eq!(timestamp("2000-02-29T00:00:00Z"), Some(951_782_400 * SECOND));
        for bad in [
            "",
            "2000-02-30T00:00:00Z",
            "2001-02-29T00:00:00Z",
            "2000-01-01",
            "2000-01-01T24:00:00Z",
            "2000-01-01 00:00:00Z",
            "2000-01-01T00:00:00",
            "2000-01-01T00:00:00.Z",
            "2000-01-01T00:00:00+0100",
            "2000-13-01T00:00:00Z",
            "２000-01-01T00:00:00Z",
        ] {
            assert_eq!(timestamp(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_of_go() {
        assert_eq!(duration("1h30m"), Some(5_400 * SECOND));
        assert_eq!(duration("-1.5s"), Some(-1_500_000_000));
        assert_eq!(duration("100ms"), Some(100_000_000));
        assert_eq!(duration("0"), Some(0));
        for bad in ["", "1", "s", "1d", "1h-1m", "99999999999999999h", "1 h"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
