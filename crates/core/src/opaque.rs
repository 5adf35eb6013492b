//! The text form of every secret that Portcullis gives out: `prefix ‖ secret43 ‖ crc6`.
//!
//! - `secret43`: 32 random bytes, read as an unsigned big-endian integer, in base62, 43 digits.
//! - `crc6`: CRC-32 (ISO-HDLC) of all bytes before it, in base62, six digits. It spares a look-up
//!   for garbage and makes secret scanners exact; it proves nothing.
//!
//! Base62 has no `-` or `_`, so a secret is selected, scanned and pasted whole. Randomness is passed
//! in. The types that hold a secret have no `Debug` of it.

use crate::secret::Secret;
use std::fmt;

/// `secret43 ‖ crc6`.
const TAIL: usize = SECRET_DIGITS + CRC_DIGITS;
const SECRET_DIGITS: usize = 43;
const CRC_DIGITS: usize = 6;
/// `pck_live_` or `pck_test_`, an id of 16 and `_`.
const API_KEY_PREFIX: usize = 9 + 16 + 1;
/// The longest opaque text: an API key. Nothing longer is looked at.
pub const MAX_LEN: usize = API_KEY_PREFIX + TAIL;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Crockford's base32, lower case: no `i`, `l`, `o`, `u`.
const BASE32: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Why a text is not one of ours. Never says which digit, so that it can be shown in a trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// Not the length of the form that its prefix announces.
    Length,
    /// No known prefix.
    Prefix,
    /// A digit outside the alphabet, or a number above 2^256 − 1.
    Digit,
    /// The checksum is another one: mistyped, cut, or garbage.
    Checksum,
}

impl Malformed {
    /// Stable kebab text for the trail.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Length => "opaque-length",
            Self::Prefix => "opaque-prefix",
            Self::Digit => "opaque-digit",
            Self::Checksum => "opaque-checksum",
        }
    }
}

/// Which of an API's two worlds a key belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Env {
    /// `pck_live_`
    Live,
    /// `pck_test_`
    Test,
}

impl Env {
    /// `live` or `test`.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Live => "pck_live_",
            Self::Test => "pck_test_",
        }
    }
}

/// The public name of an API key: 80 bits in Crockford base32, lower case. Indexable, shown in logs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id16([u8; 16]);

impl Id16 {
    /// From ten random bytes.
    pub fn from_random(random: [u8; 10]) -> Self {
        let mut bits = random.iter().fold(0u128, |acc, byte| (acc << 8) | u128::from(*byte));
        let mut out = [b'0'; 16];
        for slot in out.iter_mut().rev() {
            *slot = digit(BASE32, bits & 31);
            bits >>= 5;
        }
        Self(out)
    }

    /// From its text.
    ///
    /// # Errors
    /// Other than 16 characters, or a character outside the alphabet (upper case included: an id has
    /// one spelling).
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let bytes = <[u8; 16]>::try_from(text.as_bytes()).map_err(|_| Malformed::Length)?;
        if bytes.iter().all(|b| BASE32.contains(b)) { Ok(Self(bytes)) } else { Err(Malformed::Digit) }
    }

    /// The 16 characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Id16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Id16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An API key: `pck_live_<id16>_<secret43><crc6>`.
pub struct ApiKey {
    env: Env,
    id: Id16,
    secret: Secret<[u8; 32]>,
}

impl ApiKey {
    /// A new key, from random bytes.
    pub fn new(env: Env, id: [u8; 10], secret: [u8; 32]) -> Self {
        Self { env, id: Id16::from_random(id), secret: Secret::new(secret) }
    }

    /// From what a request carries. The checksum is compared before anything is decoded.
    ///
    /// # Errors
    /// Any text that [`ApiKey::text`] cannot have made.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let env = if text.starts_with(Env::Live.prefix()) {
            Env::Live
        } else if text.starts_with(Env::Test.prefix()) {
            Env::Test
        } else {
            return Err(Malformed::Prefix);
        };
        let secret = checked_tail(text, API_KEY_PREFIX)?;
        let rest = text.get(env.prefix().len()..API_KEY_PREFIX).ok_or(Malformed::Digit)?;
        let id = Id16::parse(rest.strip_suffix('_').ok_or(Malformed::Digit)?)?;
        Ok(Self { env, id, secret: Secret::new(secret_of(secret)?) })
    }

    /// Live or test.
    pub const fn env(&self) -> Env {
        self.env
    }

    /// The public id.
    pub const fn id(&self) -> Id16 {
        self.id
    }

    /// The 32 bytes, for the one MAC that is computed over them.
    pub const fn secret(&self) -> &Secret<[u8; 32]> {
        &self.secret
    }

    /// The text to hand to its owner, once.
    pub fn text(&self) -> Secret<String> {
        let prefix = format!("{}{}_", self.env.prefix(), self.id);
        Secret::new(with_tail(prefix, self.secret.expose()))
    }
}

/// What an opaque text other than an API key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `pch_`: the signing secret of an API key of kind `hmac`.
    SigningSecret,
    /// `pcs_`: an OAuth client secret.
    ClientSecret,
    /// `pca_`: an authorization code.
    AuthorizationCode,
    /// `pcr_`: a refresh token.
    RefreshToken,
}

impl Kind {
    const ALL: [Self; 4] =
        [Self::SigningSecret, Self::ClientSecret, Self::AuthorizationCode, Self::RefreshToken];

    const fn prefix(self) -> &'static str {
        match self {
            Self::SigningSecret => "pch_",
            Self::ClientSecret => "pcs_",
            Self::AuthorizationCode => "pca_",
            Self::RefreshToken => "pcr_",
        }
    }

    /// The text of 32 random bytes in this form.
    pub fn text(self, secret: &[u8; 32]) -> Secret<String> {
        Secret::new(with_tail(self.prefix().to_owned(), secret))
    }

    /// The 32 bytes of a text in this form. The checksum is compared before anything is decoded.
    ///
    /// # Errors
    /// Any text that [`Kind::text`] cannot have made.
    pub fn parse(self, text: &str) -> Result<Secret<[u8; 32]>, Malformed> {
        if !text.starts_with(self.prefix()) {
            return Err(Malformed::Prefix);
        }
        Ok(Secret::new(secret_of(checked_tail(text, self.prefix().len())?)?))
    }
}

/// What [`find`] has seen, without the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// An API key, by its public id.
    ApiKey(Id16),
    /// Another opaque text.
    Other(Kind),
}

/// The first opaque text with a right checksum in a path, query, cookie or log line. One pass; looks
/// closer only behind `pc`. An opaque text need not stand alone, for `?key=pck_…&x` must be seen.
pub fn find(haystack: &[u8]) -> Option<Found> {
    let mut rest = haystack;
    while let Some(at) = rest.windows(2).position(|w| w == b"pc") {
        rest = rest.get(at..)?;
        if let Some(found) = at_start(rest) {
            return Some(found);
        }
        rest = rest.get(2..)?;
    }
    None
}

/// As [`find`], but for API keys alone, and with the secret: for the one place that asks whether such a key exists.
pub fn find_key(haystack: &[u8]) -> Option<ApiKey> {
    let mut rest = haystack;
    while let Some(at) = rest.windows(4).position(|w| w == b"pck_") {
        rest = rest.get(at..)?;
        let text = rest.get(..MAX_LEN).and_then(|head| std::str::from_utf8(head).ok());
        if let Some(key) = text.and_then(|text| ApiKey::parse(text).ok()) {
            return Some(key);
        }
        rest = rest.get(4..)?;
    }
    None
}

fn at_start(rest: &[u8]) -> Option<Found> {
    let head = |len: usize| rest.get(..len).and_then(|h| std::str::from_utf8(h).ok());
    if let Some(key) = head(MAX_LEN).and_then(|text| ApiKey::parse(text).ok()) {
        return Some(Found::ApiKey(key.id));
    }
    let text = head(4 + TAIL)?;
    Kind::ALL.into_iter().find(|kind| kind.parse(text).is_ok()).map(Found::Other)
}

/// The secret's digits of a text whose length and checksum are right.
fn checked_tail(text: &str, prefix: usize) -> Result<&[u8], Malformed> {
    let bytes = text.as_bytes();
    if bytes.len() != prefix + TAIL {
        return Err(Malformed::Length);
    }
    let (body, crc) = bytes.split_at_checked(prefix + SECRET_DIGITS).ok_or(Malformed::Length)?;
    if crc != crc6(body) {
        return Err(Malformed::Checksum);
    }
    body.get(prefix..).ok_or(Malformed::Length)
}

fn with_tail(mut prefix: String, secret: &[u8; 32]) -> String {
    prefix.reserve_exact(TAIL);
    prefix.extend(secret43(secret).into_iter().map(char::from));
    let crc = crc6(prefix.as_bytes());
    prefix.extend(crc.into_iter().map(char::from));
    prefix
}

fn crc6(body: &[u8]) -> [u8; CRC_DIGITS] {
    let mut crc = crc32fast::hash(body);
    let mut out = [b'0'; CRC_DIGITS];
    for slot in out.iter_mut().rev() {
        *slot = digit(BASE62, u128::from(crc % 62));
        crc /= 62;
    }
    out
}

fn secret43(secret: &[u8; 32]) -> [u8; SECRET_DIGITS] {
    let mut number = *secret;
    let mut out = [b'0'; SECRET_DIGITS];
    for slot in out.iter_mut().rev() {
        let mut remainder = 0u32;
        for byte in &mut number {
            let value = (remainder << 8) | u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            remainder = value % 62;
        }
        *slot = digit(BASE62, u128::from(remainder));
    }
    out
}

fn secret_of(digits: &[u8]) -> Result<[u8; 32], Malformed> {
    let mut number = [0u8; 32];
    for byte in digits {
        let value = match byte {
            b'0'..=b'9' => byte - b'0',
            b'A'..=b'Z' => byte - b'A' + 10,
            b'a'..=b'z' => byte - b'a' + 36,
            _ => return Err(Malformed::Digit),
        };
        let mut carry = u32::from(value);
        for slot in number.iter_mut().rev() {
            let next = u32::from(*slot) * 62 + carry;
            *slot = u8::try_from(next & 0xff).unwrap_or(u8::MAX);
            carry = next >> 8;
        }
        if carry != 0 {
            return Err(Malformed::Digit);
        }
    }
    Ok(number)
}

fn digit(alphabet: &[u8], value: u128) -> u8 {
    usize::try_from(value).ok().and_then(|at| alphabet.get(at)).copied().unwrap_or(b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: [u8; 10] = [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99];
    const KEY: &str = "pck_test_008j4ct4ank7f24s_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf44jbxy";
    const PCH: &str = "pch_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf22eB1q";
    const PCR: &str = "pcr_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf3w65GA";

    fn secret() -> [u8; 32] {
        std::array::from_fn(|i| u8::try_from(i).unwrap())
    }

    /// A text with a right checksum over any body, as an attacker can make one.
    fn sealed(body: &str) -> String {
        format!("{body}{}", std::str::from_utf8(&crc6(body.as_bytes())).unwrap())
    }

    #[test]
    fn known_answers() {
        let key = ApiKey::new(Env::Test, ID, secret());
        assert_eq!(key.id().as_str(), "008j4ct4ank7f24s");
        assert_eq!(key.text().expose(), KEY);
        assert_eq!(Kind::SigningSecret.text(&secret()).expose(), PCH);
        assert_eq!(Kind::RefreshToken.text(&secret()).expose(), PCR);
        assert_eq!(&secret43(&[0xff; 32]), b"yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1");
        assert_eq!(&secret43(&[0; 32]), &[b'0'; 43]);
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let key = ApiKey::parse(KEY).ok().unwrap();
        assert_eq!((key.env(), key.id().as_str()), (Env::Test, "008j4ct4ank7f24s"));
        assert_eq!(key.secret().expose(), &secret());
        assert_eq!(Kind::SigningSecret.parse(PCH).unwrap().expose(), &secret());
        assert_eq!(Kind::RefreshToken.parse(PCR).unwrap().expose(), &secret());
        for kind in Kind::ALL {
            assert_eq!(kind.parse(kind.text(&[0xff; 32]).expose()).unwrap().expose(), &[0xff; 32]);
        }
    }

    #[test]
    fn bad_length_prefix_checksum_or_digit_is_refused() {
        let refused = |text: &str| ApiKey::parse(text).err();
        assert_eq!(refused(""), Some(Malformed::Prefix));
        assert_eq!(refused("pck_prod_008j4ct4ank7f24s_0"), Some(Malformed::Prefix));
        assert_eq!(refused(PCH), Some(Malformed::Prefix));
        assert_eq!(refused(KEY.get(..KEY.len() - 1).unwrap()), Some(Malformed::Length));
        assert_eq!(refused(&format!("{KEY}0")), Some(Malformed::Length));
        assert_eq!(refused(&KEY.replace("003a", "013a")), Some(Malformed::Checksum));
        assert_eq!(refused(&KEY.replace("pck_test_", "pck_live_")), Some(Malformed::Checksum));
        let secret = "003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf";
        let with_id = |id: &str| sealed(&format!("pck_test_{id}_{secret}"));
        assert_eq!(refused(&with_id("008j4ct4ank7f24u")), Some(Malformed::Digit), "u is no digit");
        assert_eq!(refused(&with_id("008J4CT4ANK7F24S")), Some(Malformed::Digit), "one spelling");
        assert_eq!(
            refused(&sealed(&format!("pck_test_008j4ct4ank7f24s-{secret}"))),
            Some(Malformed::Digit),
            "the separator"
        );
        assert_eq!(
            refused(&sealed("pck_test_008j4ct4ank7f24s_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDl-")),
            Some(Malformed::Digit)
        );
        assert_eq!(
            refused(&sealed("pck_test_008j4ct4ank7f24s_é3aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf")),
            Some(Malformed::Digit)
        );
    }

    #[test]
    fn a_number_above_2_to_the_256_is_refused() {
        let text = |digits: &str| sealed(&format!("pch_{digits}"));
        let max = "yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1";
        assert_eq!(Kind::SigningSecret.parse(&text(max)).unwrap().expose(), &[0xff; 32]);
        let over = "yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp2";
        assert_eq!(Kind::SigningSecret.parse(&text(over)).err(), Some(Malformed::Digit));
        assert_eq!(Kind::SigningSecret.parse(&text(&"z".repeat(43))).err(), Some(Malformed::Digit));
    }

    #[test]
    fn one_kind_is_not_another() {
        assert_eq!(Kind::ClientSecret.parse(PCH).err(), Some(Malformed::Prefix));
        assert_eq!(
            Kind::ClientSecret.parse(&PCH.replace("pch_", "pcs_")).err(),
            Some(Malformed::Checksum),
            "the checksum covers the prefix"
        );
    }

    #[test]
    fn a_one_byte_change_is_refused() {
        for at in 0..KEY.len() {
            for other in [b'0', b'a', b'Z', b'_', 0x00, 0x7f] {
                let mut bytes = KEY.as_bytes().to_vec();
                if bytes[at] == other {
                    continue;
                }
                bytes[at] = other;
                assert!(ApiKey::parse(std::str::from_utf8(&bytes).unwrap()).is_err(), "{at} {other}");
            }
        }
    }

    #[test]
    fn finds_a_secret_in_other_text() {
        let id = Id16::from_random(ID);
        assert_eq!(find(format!("/orders?a=pc&key={KEY}&b=1").as_bytes()), Some(Found::ApiKey(id)));
        assert_eq!(find(format!("sid={PCR}").as_bytes()), Some(Found::Other(Kind::RefreshToken)));
        assert_eq!(find(KEY.replace("003a", "013a").as_bytes()), None, "wrong checksum");
        assert_eq!(find(b"pck_test_"), None);
        assert_eq!(find(b"pcpcpcpcp"), None);
        assert_eq!(find(b""), None);
        assert_eq!(
            find(&[b"\xff\xffpcpc".as_slice(), PCH.as_bytes(), b"\xff"].concat()),
            Some(Found::Other(Kind::SigningSecret))
        );
    }

    #[test]
    fn finds_a_whole_key_in_other_text() {
        let found = find_key(format!("/orders?a=pck_live_&key={KEY}&b=1").as_bytes()).unwrap();
        assert_eq!((found.id(), found.secret().expose()), (Id16::from_random(ID), &secret()));
        for nothing in [KEY.get(..74).unwrap(), "pck_", "", PCR] {
            assert!(find_key(nothing.as_bytes()).is_none(), "{nothing}");
        }
    }

    #[test]
    fn prints_no_secret() {
        let key = ApiKey::parse(KEY).ok().unwrap();
        let shown = format!("{:?} {:?} {:?}", key.secret(), key.text(), key.id());
        assert!(!shown.contains("003aUl"), "{shown}");
    }

    #[test]
    fn texts_of_malformed_are_stable() {
        use Malformed::{Checksum, Digit, Length, Prefix};
        let all = [Length, Prefix, Digit, Checksum].map(Malformed::text);
        assert_eq!(all, ["opaque-length", "opaque-prefix", "opaque-digit", "opaque-checksum"]);
        assert_eq!((Env::Live.text(), Env::Test.text()), ("live", "test"));
    }
}
