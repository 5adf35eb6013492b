//! Formats that are asserted (§ 7.5). Those with an RFC behind them are checked by the crate `jsonschema`; numbers
//! and `byte` are ours.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::json;

use crate::json::{Node, Tape};

/// One format of strings.
#[derive(Clone)]
pub(crate) enum Format {
    /// RFC 4648 § 4: padded, canonical.
    Byte,
    /// 8-4-4-4-12 hex digits, either case (RFC 9562 § 4).
    Uuid,
    /// Compiled by the linear engine.
    Regex,
    /// What the library knows by name.
    Library(Arc<jsonschema::Validator<Tape>>),
}

/// What a format's name means here.
#[derive(Clone)]
pub(crate) enum Meaning {
    /// Of strings.
    Text(Format),
    /// Inclusive bounds of an integer.
    Integer(&'static str, &'static str),
    /// Finite as an IEEE 754 single (`true`) or double.
    Float { single: bool },
    /// Says nothing that could be checked.
    Annotation,
    /// Not a name that we know.
    Unknown,
}

/// Formats by name, each library validator built once.
#[derive(Default)]
pub(crate) struct Formats {
    built: HashMap<&'static str, Arc<jsonschema::Validator<Tape>>>,
}

const LIBRARY: &[&str] = &[
    "date",
    "date-time",
    "time",
    "duration",
    "email",
    "idn-email",
    "hostname",
    "ipv4",
    "ipv6",
    "uri",
    "uri-reference",
    "json-pointer",
];

impl Formats {
    pub(crate) fn get(&mut self, name: &str) -> Meaning {
        match name {
            "int8" => Meaning::Integer("-128", "127"),
            "int16" => Meaning::Integer("-32768", "32767"),
            "int32" => Meaning::Integer("-2147483648", "2147483647"),
            "int64" => Meaning::Integer("-9223372036854775808", "9223372036854775807"),
            "uint8" => Meaning::Integer("0", "255"),
            "uint16" => Meaning::Integer("0", "65535"),
            "uint32" => Meaning::Integer("0", "4294967295"),
            "uint64" => Meaning::Integer("0", "18446744073709551615"),
            "float" => Meaning::Float { single: true },
            "double" => Meaning::Float { single: false },
            "byte" => Meaning::Text(Format::Byte),
            "uuid" => Meaning::Text(Format::Uuid),
            "regex" => Meaning::Text(Format::Regex),
            "password" | "binary" => Meaning::Annotation,
            name => {
                let Some(name) = LIBRARY.iter().copied().find(|known| *known == name) else {
                    return Meaning::Unknown;
                };
                if let Some(built) = self.built.get(name) {
                    return Meaning::Text(Format::Library(Arc::clone(built)));
                }
                match jsonschema::options_for::<Tape>()
                    .with_draft(jsonschema::Draft::Draft202012)
                    .offline()
                    .should_validate_formats(true)
                    .build(&json!({ "format": name }))
                {
                    Ok(validator) => {
                        let validator = Arc::new(validator);
                        self.built.insert(name, Arc::clone(&validator));
                        Meaning::Text(Format::Library(validator))
                    }
                    Err(_) => Meaning::Unknown,
                }
            }
        }
    }
}

impl Format {
    /// Whether a string node has it.
    pub(crate) fn holds(&self, node: Node<'_>) -> bool {
        let Some(text) = node.as_str() else { return true };
        match self {
            Self::Byte => is_base64(text),
            Self::Uuid => is_uuid(text),
            Self::Regex => {
                text.len() <= 4096 && super::pattern::Pattern::new(text).is_ok_and(|p| !p.backtracks())
            }
            Self::Library(validator) => validator.is_valid(node),
        }
    }
}

impl std::fmt::Debug for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Format")
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, byte)| match i {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn is_base64(text: &str) -> bool {
    if !text.len().is_multiple_of(4) {
        return false;
    }
    let body = text.trim_end_matches('=');
    let six = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    if !body.bytes().all(|byte| six(byte).is_some()) {
        return false;
    }
    // Bits that no byte uses are zero (RFC 4648 § 3.5).
    let last = body.bytes().last().and_then(six).unwrap_or(0);
    match text.len() - body.len() {
        0 => true,
        1 => last & 0b11 == 0,
        2 => last & 0b1111 == 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Builder;

    #[test]
    fn formats_hold_and_do_not() {
        let mut formats = Formats::default();
        for (name, good, bad) in [
            (
                "byte",
                &["", "TQ==", "TWE=", "TWFu"][..],
                &["TQ", "TR==", "TWF=", "T Q=", "T===", "====", "TWFu\n"][..],
            ),
            (
                "uuid",
                &["0192f0c1-0000-7000-8000-00000000000a", "0192F0C1-0000-7000-8000-00000000000A"],
                &[
                    "{0192f0c1-0000-7000-8000-00000000000a}",
                    "urn:uuid:0192f0c1-0000-7000-8000-00000000000a",
                    "0192f0c1000070008000000000000000000a",
                    "0192f0c1-0000-7000-8000-00000000000g",
                ],
            ),
            ("date", &["2024-02-29"], &["2023-02-29", "2024-2-9", "20240229", "2024-02-29 ", "２０24-02-29"]),
            (
                "date-time",
                &["2024-02-29T23:59:60Z", "2024-01-01T00:00:00.5+01:00"],
                &["2024-01-01", "2024-01-01T25:00:00Z"],
            ),
            ("time", &["12:00:00Z"], &["12:00", "24:00:00Z"]),
            ("duration", &["P1D", "PT1H"], &["P", "1D", "PT"]),
            ("email", &["a@example.com"], &["a", "a@", "@b", "a b@example.com"]),
            ("idn-email", &["é@example.com"], &["é"]),
            ("hostname", &["example.com"], &["-a.com", "a_b.com", "a..b"]),
            ("ipv4", &["192.0.2.1"], &["192.0.2.01", "192.0.2", "0x7f.1", "192.0.2.256"]),
            ("ipv6", &["2001:db8::1"], &["2001:db8", "::1%eth0", ":::"]),
            ("uri", &["https://example.com/a?b#c"], &["/a", "a b", "http://[", "https://é/"]),
            ("uri-reference", &["/a", "a", "#x"], &["\\", "a b"]),
            ("json-pointer", &["", "/a/~0"], &["a", "/~2"]),
            ("regex", &["^a+$"], &["(", "(?=a)b"]),
        ] {
            let Meaning::Text(format) = formats.get(name) else { panic!("{name}") };
            for text in good {
                assert!(format.holds(Builder::one_string(text).root()), "{name} {text}");
            }
            for text in bad {
                assert!(!format.holds(Builder::one_string(text).root()), "{name} {text}");
            }
        }
        assert!(matches!(formats.get("password"), Meaning::Annotation));
        assert!(matches!(formats.get("colour"), Meaning::Unknown));
    }
}
