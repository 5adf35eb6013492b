use super::path::hex_value;
use super::target::Target;
use crate::opaque::{self, Found};
use smallvec::SmallVec;

/// A secret that was found in a URL. Carries where and of which kind, never the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretInUrl {
    /// Where it stands.
    pub place: Place,
    /// What it is.
    pub shape: Shape,
}

/// Where in the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A path segment, from 0.
    Segment(usize),
    /// A query pair, from 0.
    Pair(usize),
}

/// What gave it away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The parameter's name says so.
    Name,
    /// Three base64url parts, of which two begin with `eyJ`.
    Jwt,
    /// 13–19 digits with an issuer's prefix and a right check digit (ISO/IEC 7812).
    Card,
    /// An opaque text of ours, for the event `credential.in_url` when its checksum is right.
    PortcullisKey(Option<Found>),
}

/// What is no secret here, and what is besides.
#[derive(Clone, Debug, Default)]
pub struct SecretRules {
    names: Vec<Box<str>>,
    integer_names: Vec<Box<str>>,
    integer_segments: u64,
}

impl SecretRules {
    /// Nothing but the built-in names.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a parameter name (`secrets_in_url.names`).
    pub fn add_name(&mut self, name: &str) {
        let folded: String = name.bytes().filter_map(fold).map(char::from).collect();
        if !folded.is_empty() {
            self.names.push(folded.into());
        }
    }

    /// A query parameter that a document declares as an integer: its digits are no card number.
    pub fn add_integer_name(&mut self, name: &str) {
        self.integer_names.push(name.into());
    }

    /// A place in the path, from 0, at which some template has a parameter declared as an integer.
    pub const fn add_integer_segment(&mut self, index: usize) {
        if index < 64 {
            self.integer_segments |= 1 << index;
        }
    }
}

/// The first secret in a target (`wire.md`, section 6.4), or nothing.
pub fn secret_in_url(target: &Target, rules: &SecretRules) -> Option<SecretInUrl> {
    for (index, segment) in target.path().segments().enumerate() {
        let integer = index < 64 && rules.integer_segments >> index & 1 == 1;
        if let Some(shape) = shape_of(segment.text.as_bytes(), integer) {
            return Some(SecretInUrl { place: Place::Segment(index), shape });
        }
    }
    for (index, (name, value)) in target.query_pairs().enumerate() {
        let place = Place::Pair(index);
        if is_secret_name(name, rules) {
            return Some(SecretInUrl { place, shape: Shape::Name });
        }
        // A secret without a name is one too.
        for text in [Some(name), value].into_iter().flatten() {
            let integer = value.is_some() && rules.integer_names.iter().any(|known| **known == *name);
            let shape = if text.bytes().any(|b| b == b'%' || b == b'+') {
                shape_of(&decode(text), integer)
            } else {
                shape_of(text.as_bytes(), integer)
            };
            if let Some(shape) = shape {
                return Some(SecretInUrl { place, shape });
            }
        }
    }
    None
}

/// Whether a query parameter may not have this name. A document that declares it is an error at load.
pub fn is_secret_name(name: &str, rules: &SecretRules) -> bool {
    // The longest built-in name folds to 12 characters; encoded and separated it may be longer, so the whole
    // name is folded, into a buffer that stops growing when nothing can match any more.
    let limit = rules.names.iter().map(|n| n.len()).max().unwrap_or(0).max(LONGEST_NAME);
    let mut folded: SmallVec<[u8; 32]> = SmallVec::new();
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => match (bytes.next().and_then(hex_value), bytes.next().and_then(hex_value)) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return false,
            },
            other => other,
        };
        if let Some(byte) = fold(byte) {
            if folded.len() == limit {
                return false;
            }
            folded.push(byte);
        }
    }
    is_built_in(&folded) || rules.names.iter().any(|known| known.as_bytes() == folded.as_slice())
}

const LONGEST_NAME: usize = 13;

fn is_built_in(folded: &[u8]) -> bool {
    matches!(
        folded,
        b"token"
            | b"accesstoken"
            | b"refreshtoken"
            | b"idtoken"
            | b"apikey"
            | b"key"
            | b"secret"
            | b"clientsecret"
            | b"password"
            | b"passwd"
            | b"pwd"
            | b"auth"
            | b"authorization"
            | b"jwt"
            | b"ssn"
            | b"card"
            | b"cvv"
    )
}

/// Case and separators do not count.
const fn fold(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte | 0x20),
        b'-' | b'_' | b'.' | b' ' | b'+' | b'[' | b']' => None,
        other => Some(other),
    }
}

/// Decodes once, leniently: what the contract will refuse anyway need only be searched.
fn decode(text: &str) -> SmallVec<[u8; 256]> {
    let mut out = SmallVec::new();
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => return out,
            [b'%', high, low, tail @ ..] => {
                match (hex_value(*high), hex_value(*low)) {
                    (Some(high), Some(low)) => out.push(high << 4 | low),
                    _ => out.extend_from_slice(&[b'%', *high, *low]),
                }
                tail
            }
            [b'+', tail @ ..] => {
                out.push(b' ');
                tail
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                tail
            }
        };
    }
}

const SHORTEST: usize = 13;

fn shape_of(text: &[u8], integer: bool) -> Option<Shape> {
    if text.len() < SHORTEST {
        return None;
    }
    for word in text.split(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))) {
        if word.len() < SHORTEST {
            continue;
        }
        if is_jwt(word) {
            return Some(Shape::Jwt);
        }
        if let Some(shape) = portcullis_key(word) {
            return Some(shape);
        }
    }
    (!integer && holds_card(text)).then_some(Shape::Card)
}

fn is_jwt(word: &[u8]) -> bool {
    let mut header = false;
    let mut payload = false;
    for part in word.split(|b| *b == b'.') {
        if payload && !part.is_empty() {
            return true;
        }
        payload = header && part.starts_with(b"eyJ");
        // The header may be glued to a word before it (`token-eyJ…`), so it need only contain the beginning.
        header = part.windows(3).any(|w| w == b"eyJ");
    }
    false
}

/// An API key gives itself away by its prefix, also when it was cut short; the shorter prefixes are too common,
/// and need their checksum.
fn portcullis_key(word: &[u8]) -> Option<Shape> {
    match opaque::find(word) {
        Some(found) => Some(Shape::PortcullisKey(Some(found))),
        None => word
            .windows(KEY_PREFIX)
            .any(|w| w == b"pck_live_" || w == b"pck_test_")
            .then_some(Shape::PortcullisKey(None)),
    }
}

const KEY_PREFIX: usize = 9;

fn holds_card(text: &[u8]) -> bool {
    // Runs of digits, within which single spaces or hyphens group them.
    let mut digits: SmallVec<[u8; 24]> = SmallVec::new();
    let mut boundary = true;
    let mut previous = b' ';
    for byte in text.iter().copied().chain(std::iter::once(b'\n')) {
        let groups = matches!(byte, b' ' | b'-') && previous.is_ascii_digit();
        if byte.is_ascii_digit() {
            if digits.len() < 24 {
                digits.push(byte - b'0');
            }
        } else if !groups {
            // Part of a longer word, such as a hexadecimal id: no card number.
            let word = byte.is_ascii_alphabetic() && previous.is_ascii_digit();
            if boundary && !word && is_card(&digits) {
                return true;
            }
            boundary = !byte.is_ascii_alphabetic();
            digits.clear();
        }
        previous = byte;
    }
    false
}

fn is_card(digits: &[u8]) -> bool {
    known_issuer(digits) && luhn(digits)
}

fn known_issuer(digits: &[u8]) -> bool {
    let prefix = |n: usize| digits.iter().take(n).fold(0u32, |acc, d| acc * 10 + u32::from(*d));
    if !(13..=19).contains(&digits.len()) {
        return false;
    }
    match digits.len() {
        // Visa
        13 | 16 | 19 if prefix(1) == 4 => true,
        // American Express
        15 => matches!(prefix(2), 34 | 37),
        // Diners Club
        14 => matches!(prefix(2), 36 | 38 | 39) || matches!(prefix(3), 300..=305),
        // Mastercard
        16 if matches!(prefix(2), 51..=55) || matches!(prefix(4), 2221..=2720) => true,
        // Discover, JCB, UnionPay
        16..=19 => {
            matches!(prefix(4), 6011 | 3528..=3589)
                || matches!(prefix(3), 644..=649)
                || matches!(prefix(2), 62 | 65)
        }
        _ => false,
    }
}

/// ISO/IEC 7812-1, annex B.
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, u32::from(*digit)) {
            (1, digit) if digit > 4 => digit * 2 - 9,
            (1, digit) => digit * 2,
            (_, digit) => digit,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JWT: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln";
    const KEY: &str = "pck_test_008j4ct4ank7f24s_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf44jbxy";

    fn found(raw: &str) -> Option<SecretInUrl> {
        secret_in_url(&Target::parse(raw).unwrap(), &SecretRules::new())
    }

    #[test]
    fn secret_names_are_folded() {
        for name in [
            "token",
            "access_token",
            "Access-Token",
            "ACCESSTOKEN",
            "api.key",
            "%61pi_key",
            "authorization",
            "pwd",
        ] {
            let shape = found(&format!("/a?x=1&{name}=v")).map(|f| (f.place, f.shape));
            assert_eq!(shape, Some((Place::Pair(1), Shape::Name)), "{name}");
        }
        for name in ["tokens", "keys", "monkey", "page_token", "keyword", "authority"] {
            assert_eq!(found(&format!("/a?{name}=v")), None, "{name}");
        }
        let mut rules = SecretRules::new();
        rules.add_name("Sig");
        rules.add_name("a-very-long-parameter-name");
        assert!(is_secret_name("s_i_g", &rules));
        assert!(is_secret_name("aVeryLongParameterName", &rules));
        assert!(!is_secret_name("signature", &rules));
    }

    #[test]
    fn secret_shapes_are_found_wherever_they_stand() {
        for raw in [
            format!("/a/{JWT}"),
            format!("/a?x={JWT}"),
            format!("/a?{JWT}"),
            format!("/a?x=Bearer%20{JWT}"),
            format!("/a?x=Bearer+{JWT}"),
            format!("/a?x={}", JWT.replace('.', "%2E")),
        ] {
            assert_eq!(found(&raw).map(|f| f.shape), Some(Shape::Jwt), "{raw}");
        }
        let id = |shape| match shape {
            Some(SecretInUrl { shape: Shape::PortcullisKey(Some(Found::ApiKey(id))), .. }) => id.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(id(found(&format!("/{KEY}"))), "008j4ct4ank7f24s");
        assert_eq!(id(found(&format!("/a?q=k:{KEY}"))), "008j4ct4ank7f24s");
        assert_eq!(id(found(&format!("/a?q={}", KEY.replace('_', "%5f")))), "008j4ct4ank7f24s");
        let cut = found("/a?q=pck_live_008j4ct4").map(|f| f.shape);
        assert_eq!(cut, Some(Shape::PortcullisKey(None)));
        let refresh = "pcr_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf3w65GA";
        let refresh = found(&format!("/a?q={refresh}")).map(|f| f.shape);
        assert_eq!(refresh, Some(Shape::PortcullisKey(Some(Found::Other(opaque::Kind::RefreshToken)))));
        assert_eq!(found("/a?q=pcs_1234567890"), None);
        assert_eq!(found("/a?q=eyJhIjoxfQ.plain.text&r=1.2.3.4.5.6.7.8"), None);
    }

    #[test]
    fn secret_cards_need_an_issuer_and_a_check_digit() {
        for card in [
            "4111111111111111",
            "4111-1111-1111-1111",
            "4111%201111%201111%201111",
            "4111+1111+1111+1111",
            "5555555555554444",
            "378282246310005",
            "30569309025904",
            "6011111111111117",
            "3530111333300000",
            "4222222222222",
            "n:4111111111111111",
        ] {
            assert_eq!(found(&format!("/a?n={card}")).map(|f| f.shape), Some(Shape::Card), "{card}");
        }
        for other in [
            "4111111111111112",
            "1234567890123452",
            "41111111111111111111111",
            "a4111111111111111",
            "4111111111111111f",
            "9007199254740993",
            "411111111111",
        ] {
            assert_eq!(found(&format!("/a?n={other}")), None, "{other}");
        }
        assert_eq!(found("/cards/4111111111111111").map(|f| f.place), Some(Place::Segment(1)));
        let mut rules = SecretRules::new();
        rules.add_integer_segment(1);
        rules.add_integer_name("n");
        let judge = |raw| secret_in_url(&Target::parse(raw).unwrap(), &rules);
        assert_eq!(judge("/cards/4111111111111111?n=4111111111111111"), None);
        assert!(judge("/4111111111111111").is_some());
        assert!(judge("/a?m=4111111111111111").is_some());
    }
}
