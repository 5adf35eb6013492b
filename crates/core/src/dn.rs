//! Distinguished names of certificates (X.501), in the text form of RFC 4514: the most specific part first.
//!
//! Compared as bytes, part by part. Two names that only X.500's matching rules would call equal are two names here:
//! whoever is named by a subject is named exactly.

use std::fmt;

/// A distinguished name without multi-valued parts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dn(Box<[(Box<str>, Box<str>)]>);

/// Short names of RFC 4514 § 3 and the two that certificates use besides, with their object identifiers.
const KNOWN: [(&str, &str); 11] = [
    ("CN", "2.5.4.3"),
    ("SERIALNUMBER", "2.5.4.5"),
    ("C", "2.5.4.6"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("STREET", "2.5.4.9"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("EMAILADDRESS", "1.2.840.113549.1.9.1"),
];

/// Parts of one name.
const MOST: usize = 32;

impl Dn {
    /// From object identifiers in dotted form and values, in the order of the certificate (the most general first).
    /// Nothing for a name without parts, or with a value that cannot be told from another when it is shown.
    pub fn from_certificate(parts: impl IntoIterator<Item = (String, String)>) -> Option<Self> {
        let mut all: Vec<(Box<str>, Box<str>)> = Vec::new();
        for (oid, value) in parts {
            let known = KNOWN.iter().find(|(_, own)| *own == oid);
            let name = known.map_or_else(|| oid.as_str().into(), |(name, _)| Box::from(*name));
            all.push((name, is_plain(&value).then(|| value.into())?));
        }
        all.reverse();
        (!all.is_empty() && all.len() <= MOST).then(|| Self(all.into()))
    }

    /// Reads `CN=orders,O=Acme,C=DE`. Escapes of RFC 4514 § 2.4 are read; spaces after a comma are not part of it.
    /// Nothing for anything else, `#` values and multi-valued parts (`+`) included.
    pub fn parse(text: &str) -> Option<Self> {
        let mut all = Vec::new();
        let mut rest = text;
        loop {
            let (name, after) = rest.split_once('=')?;
            let name = name.trim_start_matches(' ').to_ascii_uppercase();
            let known = KNOWN.iter().find(|(short, oid)| *short == name || *oid == name);
            let name: Box<str> = match known {
                Some((short, _)) => Box::from(*short),
                None if is_oid(&name) => name.into(),
                None => return None,
            };
            let (value, after) = value(after)?;
            all.push((name, is_plain(&value).then(|| value.into())?));
            match after {
                None => break,
                Some(after) => rest = after,
            }
        }
        (all.len() <= MOST).then(|| Self(all.into()))
    }
}

/// A value, and what follows its comma.
fn value(text: &str) -> Option<(String, Option<&str>)> {
    if text.starts_with(['#', ' ']) {
        return None;
    }
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    // A space that is written plainly at the end is not part of a value; an escaped one is.
    let mut kept = 0;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b',' => {
                bytes.truncate(kept);
                let next = text.get(text.len().checked_sub(rest.len())?..)?;
                return Some((String::from_utf8(bytes).ok()?, Some(next)));
            }
            b'"' | b'+' | b';' | b'<' | b'>' | 0 => return None,
            b'\\' => {
                let (&first, after) = rest.split_first()?;
                if b" \"#+,;<=>\\".contains(&first) {
                    bytes.push(first);
                    rest = after;
                } else {
                    let (&second, after) = after.split_first()?;
                    bytes.push(hex(first)? << 4 | hex(second)?);
                    rest = after;
                }
                kept = bytes.len();
            }
            _ => {
                bytes.push(byte);
                if byte != b' ' {
                    kept = bytes.len();
                }
            }
        }
    }
    bytes.truncate(kept);
    Some((String::from_utf8(bytes).ok()?, None))
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn is_oid(text: &str) -> bool {
    text.contains('.')
        && text
            .split('.')
            .all(|arc| !arc.is_empty() && arc.len() <= 10 && arc.bytes().all(|b| b.is_ascii_digit()))
}

/// No control characters: a NUL has ended names before their end (CVE-2009-2408).
fn is_plain(value: &str) -> bool {
    !value.is_empty() && value.len() <= 256 && !value.chars().any(char::is_control)
}

impl fmt::Display for Dn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, value)) in self.0.iter().enumerate() {
            write!(f, "{}{name}=", if at == 0 { "" } else { "," })?;
            let last = value.chars().count().saturating_sub(1);
            for (place, c) in value.chars().enumerate() {
                let edge = (place == 0 && matches!(c, ' ' | '#')) || (place == last && c == ' ');
                if edge || "\"+,;<=>\\".contains(c) {
                    write!(f, "\\{c}")?;
                } else {
                    write!(f, "{c}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[(&str, &str)]) -> Option<Dn> {
        Dn::from_certificate(parts.iter().map(|(oid, value)| ((*oid).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn a_text_names_the_certificate_that_it_shows() {
        let acme = of(&[("2.5.4.6", "DE"), ("2.5.4.10", "Acme, Inc."), ("2.5.4.3", "orders")]).unwrap();
        assert_eq!(acme.to_string(), r"CN=orders,O=Acme\, Inc.,C=DE");
        for same in [
            r"CN=orders,O=Acme\, Inc.,C=DE",
            r"cn=orders, O=Acme\2C Inc., 2.5.4.6=DE",
            r"CN=orders ,O=Acme\, Inc. ,C=DE",
        ] {
            assert_eq!(Dn::parse(same).as_ref(), Some(&acme), "{same}");
        }
        for other in [
            r"CN=Orders,O=Acme\, Inc.,C=DE",
            "CN=orders",
            r"C=DE,O=Acme\, Inc.,CN=orders",
            r"CN=orders,O=Acme\, Inc.,C=DE,CN=orders",
            r"CN=orders\ ,O=Acme\, Inc.,C=DE",
        ] {
            assert_ne!(Dn::parse(other).as_ref(), Some(&acme), "{other}");
        }
        let spaced = of(&[("2.5.4.3", " a#b ")]).unwrap();
        assert_eq!(spaced.to_string(), r"CN=\ a#b\ ");
        assert_eq!(Dn::parse(&spaced.to_string()), Some(spaced));
    }

    #[test]
    fn what_is_no_name() {
        for bad in [
            "",
            "CN",
            "CN=",
            "=a",
            "CN=a,",
            "CN=a,,O=b",
            "CN=a+OU=b",
            "CN=\"a\"",
            "CN=#0401",
            "XX=a",
            "CN=a\\",
            "CN=a\\zz",
            "CN=a\0b",
            "CN=a\\00b",
            "CN=a\\ff",
            "1..2=a",
            "CN= a",
            "CN=a;O=b",
        ] {
            assert_eq!(Dn::parse(bad), None, "{bad}");
        }
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("2.5.4.3", "a\0.evil.example")]), None);
        assert_eq!(of(&[("2.5.4.3", "")]), None);
        assert_eq!(of(&[("1.2.3", "x")]).unwrap().to_string(), "1.2.3=x");
    }
}
