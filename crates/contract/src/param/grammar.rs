//! How one value is written: percent-encoding (RFC 3986 § 2.1) and the grammar of each type.

use std::borrow::Cow;

use super::{Scalar, ScalarKind};
use crate::json::{self, Tape};
use crate::violation::Rule;

/// A set of scalar types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Types(u8);

impl Types {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const ALL: Self = Self(15);

    pub(crate) const fn of(kind: ScalarKind) -> Self {
        Self(match kind {
            ScalarKind::Integer => 1,
            ScalarKind::Number => 2,
            ScalarKind::Boolean => 4,
            ScalarKind::String => 8,
        })
    }

    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) const fn has(self, kind: ScalarKind) -> bool {
        self.0 & Self::of(kind).0 != 0
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// The order in which types are tried.
const ORDER: [ScalarKind; 4] =
    [ScalarKind::Integer, ScalarKind::Number, ScalarKind::Boolean, ScalarKind::String];

/// The types of `types` whose grammar `text` fits, narrowest first.
pub(crate) fn readings(text: &str, types: Types) -> impl Iterator<Item = ScalarKind> {
    ORDER.into_iter().filter(move |kind| types.has(*kind) && fits(text, *kind))
}

/// Whether `text` is written as a value of `kind`.
pub(crate) fn fits(text: &str, kind: ScalarKind) -> bool {
    match kind {
        ScalarKind::Integer => is_integer(text),
        ScalarKind::Number => text.len() <= 64 && is_number(text),
        ScalarKind::Boolean => matches!(text, "true" | "false"),
        ScalarKind::String => true,
    }
}

/// `0` or `-?[1-9][0-9]*`, at most 20 characters, ASCII digits only.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    text == "0"
        || (text.len() <= 20
            && digits.bytes().all(|b| b.is_ascii_digit())
            && digits.bytes().next().is_some_and(|b| b != b'0'))
}

/// A number of JSON (RFC 8259 § 6).
fn is_number(text: &str) -> bool {
    let mut bytes = text.as_bytes();
    let digits = |bytes: &[u8]| bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    if let [b'-', rest @ ..] = bytes {
        bytes = rest;
    }
    let whole = digits(bytes);
    if whole == 0 || (whole > 1 && bytes.first() == Some(&b'0')) {
        return false;
    }
    bytes = bytes.get(whole..).unwrap_or_default();
    if let [b'.', rest @ ..] = bytes {
        let n = digits(rest);
        if n == 0 {
            return false;
        }
        bytes = rest.get(n..).unwrap_or_default();
    }
    if let [b'e' | b'E', rest @ ..] = bytes {
        let rest = if let [b'+' | b'-', rest @ ..] = rest { rest } else { rest };
        let n = digits(rest);
        if n == 0 {
            return false;
        }
        bytes = rest.get(n..).unwrap_or_default();
    }
    bytes.is_empty()
}

/// The narrowest reading, when there is one.
pub(crate) fn narrowest(text: &str, types: Types) -> Option<Scalar> {
    readings(text, types).next().map(|kind| Scalar { kind, text: text.into() })
}

/// Percent-decodes once.
///
/// # Errors
/// [`Rule::Encoding`] for a bad escape or text that is not UTF-8, [`Rule::Characters`] for a control character.
pub(crate) fn decode(raw: &str, plus_is_space: bool) -> Result<Cow<'_, str>, Rule> {
    let text = unescape(raw, plus_is_space)?;
    if has_control(&text, |_| false) { Err(Rule::Characters) } else { Ok(text) }
}

/// As [`decode`], for a field of a form, which may have tabs and several lines.
///
/// # Errors
/// As [`decode`].
pub(crate) fn decode_lines(raw: &str) -> Result<Cow<'_, str>, Rule> {
    let text = unescape(raw, true)?;
    if has_control(&text, is_line) { Err(Rule::Characters) } else { Ok(text) }
}

/// Tab, line feed, carriage return.
pub(crate) fn is_line(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r')
}

fn has_control(text: &str, allowed: impl Fn(char) -> bool) -> bool {
    text.bytes().any(|b| b < 0x20 || b == 0x7f || b == 0xc2)
        && text.chars().any(|c| c.is_control() && !allowed(c))
}

fn unescape(raw: &str, plus_is_space: bool) -> Result<Cow<'_, str>, Rule> {
    if raw.bytes().any(|b| b == b'%' || (plus_is_space && b == b'+')) {
        let mut out = Vec::with_capacity(raw.len());
        let mut bytes = raw.bytes();
        while let Some(byte) = bytes.next() {
            out.push(match byte {
                b'%' => {
                    let high = bytes.next().and_then(hex).ok_or(Rule::Encoding)?;
                    let low = bytes.next().and_then(hex).ok_or(Rule::Encoding)?;
                    high << 4 | low
                }
                b'+' if plus_is_space => b' ',
                byte => byte,
            });
        }
        Ok(Cow::Owned(String::from_utf8(out).map_err(|_| Rule::Encoding)?))
    } else {
        Ok(Cow::Borrowed(raw))
    }
}

fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The JSON text of a `content` parameter.
pub(crate) fn json(text: &str) -> Result<Tape, Rule> {
    // Parameters are short and their objects small; a fixed key costs an attacker's collisions at most 4 KiB.
    json::scan(text.as_bytes(), &json::Bounds::default(), [0; 2]).map_err(|_| Rule::Syntax)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_has_one_spelling() {
        for text in ["0", "7", "-7", "9007199254740993", "-9223372036854775808", "18446744073709551615"] {
            assert!(fits(text, ScalarKind::Integer), "{text}");
        }
        for text in [
            "",
            "-",
            "-0",
            "01",
            "+1",
            "1.0",
            "1_0",
            "1e0",
            " 1",
            "1 ",
            "１",
            "٣",
            "0x1",
            "1\0",
            "--1",
            "00",
            "123456789012345678901",
        ] {
            assert!(!fits(text, ScalarKind::Integer), "{text}");
        }
        for text in ["1.0", "-0", "1e5", "1E-5", "0.5"] {
            assert!(fits(text, ScalarKind::Number), "{text}");
        }
        for text in ["01", ".5", "1.", "+1", "1e", "NaN", "Infinity", "1,5", "1 ", "0x1"] {
            assert!(!fits(text, ScalarKind::Number), "{text}");
        }
        for text in ["True", "TRUE", "1", "yes", "true "] {
            assert!(!fits(text, ScalarKind::Boolean), "{text}");
        }
    }

    #[test]
    fn decoding_happens_once() {
        assert_eq!(decode("a%20b", false).unwrap(), "a b");
        assert_eq!(decode("a+b", false).unwrap(), "a+b");
        assert_eq!(decode("a+b%2B", true).unwrap(), "a b+");
        assert_eq!(decode("%2541", false).unwrap(), "%41");
        assert_eq!(decode("%c3%a9", false).unwrap(), "é");
        for raw in ["%", "%4", "%zz", "%+1", "%ff", "%c0%af", "%ed%a0%80"] {
            assert_eq!(decode(raw, false), Err(Rule::Encoding), "{raw}");
        }
        for raw in ["%00", "a%0a", "%7f", "%c2%85", "%1b"] {
            assert_eq!(decode(raw, false), Err(Rule::Characters), "{raw}");
        }
    }
}
