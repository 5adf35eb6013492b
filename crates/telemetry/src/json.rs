//! A small JSON writer whose strings cannot forge a line, a field or a terminal command.

/// Appends members to one JSON object.
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Object<'a> {
    pub(crate) fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// Names are ours: plain ASCII without anything to escape.
    fn name(&mut self, name: &'static str) {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    pub(crate) fn text(&mut self, name: &'static str, value: &str) {
        self.name(name);
        string(self.out, value);
    }

    pub(crate) fn number(&mut self, name: &'static str, value: u64) {
        self.name(name);
        number(self.out, value);
    }

    pub(crate) fn signed(&mut self, name: &'static str, value: i64) {
        self.name(name);
        if value < 0 {
            self.out.push(b'-');
        }
        number(self.out, value.unsigned_abs());
    }

    pub(crate) fn flag(&mut self, name: &'static str, value: bool) {
        self.name(name);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// An array of strings, each written by `write` with [`escape`] and [`number`].
    pub(crate) fn strings<T>(
        &mut self,
        name: &'static str,
        items: impl Iterator<Item = T>,
        write: impl Fn(&mut Vec<u8>, T),
    ) {
        self.name(name);
        self.out.push(b'[');
        for (i, item) in items.enumerate() {
            if i > 0 {
                self.out.push(b',');
            }
            self.out.push(b'"');
            write(self.out, item);
            self.out.push(b'"');
        }
        self.out.push(b']');
    }

    pub(crate) fn end(self) {
        self.out.push(b'}');
    }
}

pub(crate) fn string(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    escape(out, value);
    out.push(b'"');
}

/// The inside of a JSON string. Besides what RFC 8259 demands, C1 controls, line and paragraph separators, byte-order
/// marks and the marks that turn the direction of text are escaped: some readers split or reorder lines at them
/// (CWE-117, CVE-2021-42574).
pub(crate) fn escape(out: &mut Vec<u8>, value: &str) {
    // Nearly every text is visible ASCII without anything to escape; this loop is vectorised.
    if value.bytes().fold(true, |fine, b| fine & (b' '..0x7f).contains(&b) & (b != b'"') & (b != b'\\')) {
        out.extend_from_slice(value.as_bytes());
        return;
    }
    let mut plain = 0;
    for (at, c) in value.char_indices() {
        if !is_hostile(c) {
            continue;
        }
        out.extend_from_slice(value.as_bytes().get(plain..at).unwrap_or_default());
        plain = at + c.len_utf8();
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            _ => {
                // Every hostile character is in the basic plane but the tags, which need two units.
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.extend_from_slice(b"\\u");
                    for shift in [12, 8, 4, 0] {
                        out.push(digit((*unit >> shift) & 0xf));
                    }
                }
            }
        }
    }
    out.extend_from_slice(value.as_bytes().get(plain..).unwrap_or_default());
}

fn is_hostile(c: char) -> bool {
    matches!(
        c,
        '\0'..='\x1f'
            | '"'
            | '\\'
            | '\x7f'..='\u{9f}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{ffff}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

pub(crate) fn number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0_u8; 20];
    let mut len = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (n % 10) as u8;
        n /= 10;
        len += 1;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(20 - len..).unwrap_or_default());
}

pub(crate) fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        out.push(digit(u16::from(byte >> 4)));
        out.push(digit(u16::from(byte & 0xf)));
    }
}

fn digit(n: u16) -> u8 {
    let n = (n & 0xf) as u8;
    if n < 10 { b'0' + n } else { b'a' + n - 10 }
}

/// RFC 3339 in UTC with microseconds: `2026-01-01T00:00:00.000000Z`. Years 0 to 9999.
pub(crate) fn timestamp(out: &mut Vec<u8>, micros: i64) {
    let micros = micros.clamp(-62_167_219_200_000_000, 253_402_300_799_999_999);
    let (days, rest) = (micros.div_euclid(86_400_000_000), micros.rem_euclid(86_400_000_000));
    // Days to civil date, after Howard Hinnant: eras of 400 years that begin on 1 March.
    let z = days + 719_468;
    let (era, doe) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    let (secs, micros) = (rest / 1_000_000, rest % 1_000_000);
    padded(out, year, 4);
    out.push(b'-');
    padded(out, month, 2);
    out.push(b'-');
    padded(out, day, 2);
    out.push(b'T');
    padded(out, secs / 3_600, 2);
    out.push(b':');
    padded(out, secs / 60 % 60, 2);
    out.push(b':');
    padded(out, secs % 60, 2);
    out.push(b'.');
    padded(out, micros, 6);
    out.push(b'Z');
}

fn padded(out: &mut Vec<u8>, n: i64, width: u32) {
    for place in (0..width).rev() {
        out.push(b'0' + (n / 10_i64.pow(place) % 10) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(micros: i64) -> String {
        let mut out = Vec::new();
        timestamp(&mut out, micros);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn timestamps() {
        for (secs, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (1_767_225_599, "2025-12-31T23:59:59.000000Z"),
            (1_767_225_600, "2026-01-01T00:00:00.000000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
            (-1, "1969-12-31T23:59:59.000000Z"),
        ] {
            assert_eq!(stamp(secs * 1_000_000), text);
        }
        assert_eq!(stamp(1_767_225_600_000_001), "2026-01-01T00:00:00.000001Z");
        assert_eq!(stamp(i64::MAX), "9999-12-31T23:59:59.999999Z");
        assert_eq!(stamp(i64::MIN), "0000-01-01T00:00:00.000000Z");
    }

    #[test]
    fn every_character_survives_and_none_breaks_the_line() {
        for c in (0..=0x0010_ffff_u32).filter_map(char::from_u32) {
            let text = format!("a{c}b");
            let mut out = Vec::new();
            string(&mut out, &text);
            if u32::from(c) < 0x2100 || is_hostile(c) {
                let back: String = serde_json::from_slice(&out).unwrap();
                assert_eq!(back, text);
            }
            let out = String::from_utf8(out).unwrap();
            assert!(
                !out.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202e}'))
            );
        }
    }
}
