//! `Content-Digest` (RFC 9530): a body is what its signed digest says, or it goes no further.

use aws_lc_rs::digest::{Context, SHA256, SHA512, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_core::secret::constant_time_eq;
use sfv::visitor::{
    DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ParameterVisitor,
};
use sfv::{BareItemFromInput, KeyRef, Parser};
use std::fmt;

/// The most bytes that all lines of the header may have.
const MAX_BYTES: usize = 4_096;

/// The digests that a body must have, all of them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Digests {
    sha256: Option<[u8; 32]>,
    sha512: Option<Box<[u8; 64]>>,
}

/// Why a `Content-Digest` is no duty that can be discharged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestFault {
    /// Not a dictionary, an algorithm twice, not a byte sequence, or not of the digest's length.
    Malformed,
    /// Neither `sha-256` nor `sha-512`.
    NoneKnown,
}

impl fmt::Display for DigestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the digest cannot be read",
            Self::NoneKnown => "no digest of a known algorithm",
        })
    }
}

impl std::error::Error for DigestFault {}

impl Digests {
    /// Reads all lines of the header. Unknown algorithms are ignored; one known is required.
    ///
    /// # Errors
    /// See [`DigestFault`].
    pub fn read<'l>(lines: impl IntoIterator<Item = &'l [u8]>) -> Result<Self, DigestFault> {
        let joined = lines.into_iter().collect::<Vec<_>>().join(&b", "[..]);
        if joined.len() > MAX_BYTES {
            return Err(DigestFault::Malformed);
        }
        let visitor = Reader::default();
        let found = Parser::new(&joined)
            .parse_dictionary_with_visitor(visitor)
            .map_err(|_| DigestFault::Malformed)?;
        if found.sha256.is_none() && found.sha512.is_none() { Err(DigestFault::NoneKnown) } else { Ok(found) }
    }

    /// The one digest that PC1 carries.
    pub const fn sha256(digest: [u8; 32]) -> Self {
        Self { sha256: Some(digest), sha512: None }
    }

    /// Begins to check a body.
    pub fn check(&self) -> Check {
        Check {
            sha256: self.sha256.map(|want| (Context::new(&SHA256), want)),
            sha512: self.sha512.clone().map(|want| (Context::new(&SHA512), want)),
        }
    }
}

/// A body being checked, piece by piece.
#[must_use = "a digest that is not finished has checked nothing"]
pub struct Check {
    sha256: Option<(Context, [u8; 32])>,
    sha512: Option<(Context, Box<[u8; 64]>)>,
}

impl Check {
    /// The next bytes, after transfer decoding and before content decoding.
    pub fn update(&mut self, bytes: &[u8]) {
        if let Some((context, _)) = &mut self.sha256 {
            context.update(bytes);
        }
        if let Some((context, _)) = &mut self.sha512 {
            context.update(bytes);
        }
    }

    /// Whether the body was the signed one: every listed digest matches.
    #[must_use]
    pub fn finish(self) -> bool {
        let one = self.sha256.map(|(context, want)| constant_time_eq(context.finish().as_ref(), &want));
        let two =
            self.sha512.map(|(context, want)| constant_time_eq(context.finish().as_ref(), want.as_ref()));
        // Nothing to compare with is not a match.
        (one.is_some() || two.is_some()) && one != Some(false) && two != Some(false)
    }
}

/// The header's value for a body, with `sha-256`: for those who sign.
pub fn content_digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(digest(&SHA256, body)))
}

/// Takes the dictionary apart and sees each occurrence, so that a repeated algorithm is refused.
#[derive(Default)]
struct Reader<'de> {
    seen: Vec<&'de str>,
    found: Digests,
}

impl<'de> DictionaryVisitor<'de> for Reader<'de> {
    type Out = Digests;
    type Error = DigestFault;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, DigestFault> {
        let name = key.as_str();
        if self.seen.contains(&name) {
            return Err(DigestFault::Malformed);
        }
        self.seen.push(name);
        Ok(Entry { name, found: &mut self.found })
    }

    fn finish(self) -> Result<Digests, DigestFault> {
        Ok(self.found)
    }
}

struct Entry<'de, 'r> {
    name: &'de str,
    found: &'r mut Digests,
}

impl<'de> EntryVisitor<'de> for Entry<'de, '_> {
    type Error = DigestFault;

    fn item(self) -> Result<impl ItemVisitor<'de>, DigestFault> {
        Ok(self)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, DigestFault> {
        match self.name {
            "sha-256" | "sha-512" => Err(DigestFault::Malformed),
            _ => Ok(Ignored),
        }
    }
}

impl<'de> ItemVisitor<'de> for Entry<'de, '_> {
    type Out = ();
    type Error = DigestFault;

    fn bare_item(
        self,
        item: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de, Out = ()>, DigestFault> {
        match (self.name, item) {
            ("sha-256", BareItemFromInput::ByteSequence(bytes)) => {
                self.found.sha256 = Some(bytes.try_into().map_err(|_| DigestFault::Malformed)?);
            }
            ("sha-512", BareItemFromInput::ByteSequence(bytes)) => {
                let bytes: [u8; 64] = bytes.try_into().map_err(|_| DigestFault::Malformed)?;
                self.found.sha512 = Some(Box::new(bytes));
            }
            ("sha-256" | "sha-512", _) => return Err(DigestFault::Malformed),
            _ => {}
        }
        Ok(Ignored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"amount":1250,"to":"acct_7"}"#;
    const VALUE: &str = "sha-256=:MZKn4ztm8LUPtuNJo1XW3ANbUZdnv5Bae03kS/2dIRk=:";
    // RFC 9530 appendix B: the digests of `{"hello": "world"}` and a line feed.
    const HELLO: &[u8] = b"{\"hello\": \"world\"}\n";
    const HELLO_256: &str = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";

    fn read(lines: &[&str]) -> Result<Digests, DigestFault> {
        Digests::read(lines.iter().map(|l| l.as_bytes()))
    }

    fn holds(value: &str, body: &[u8]) -> bool {
        let mut check = read(&[value]).unwrap().check();
        body.chunks(7).for_each(|piece| check.update(piece));
        check.finish()
    }

    fn sha512(body: &[u8]) -> String {
        format!("sha-512=:{}:", STANDARD.encode(digest(&SHA512, body)))
    }

    #[test]
    fn known_answers() {
        assert_eq!(content_digest(BODY), VALUE);
        assert!(holds(VALUE, BODY));
        assert!(holds(HELLO_256, HELLO));
        assert!(holds(&content_digest(b""), b""), "an empty body with a digest is checked too");
        assert!(!holds(&content_digest(b""), b"x"));
    }

    #[test]
    fn two_digests_of_which_one_is_wrong() {
        assert!(holds(&format!("{VALUE}, {}", sha512(BODY)), BODY));
        assert!(!holds(&format!("{VALUE}, {}", sha512(b"other")), BODY));
        assert!(!holds(&format!("{}, {}", content_digest(b"other"), sha512(BODY)), BODY));
        assert!(holds(&format!("md5=:AAAA:, {VALUE}"), BODY), "unknown ones are ignored");
        assert!(holds(&format!("{VALUE};x=1"), BODY), "parameters mean nothing");
    }

    #[test]
    fn lines_are_joined() {
        let both = read(&[VALUE, &sha512(BODY)]).unwrap();
        assert!(both.sha256.is_some() && both.sha512.is_some());
        assert_eq!(read(&[VALUE, VALUE]), Err(DigestFault::Malformed), "the same twice");
    }

    #[test]
    fn only_an_unknown_digest() {
        for value in ["", "md5=:AAAA:", "SHA-256", "id-sha-256=:AAAA:", "unixsum=1", "x=(1 2)"] {
            let fault = read(&[value]).err();
            assert!(matches!(fault, Some(DigestFault::NoneKnown | DigestFault::Malformed)), "{value}");
        }
        assert_eq!(read(&["md5=:AAAA:"]), Err(DigestFault::NoneKnown));
        assert_eq!(read(&[]), Err(DigestFault::NoneKnown));
    }

    #[test]
    fn what_is_no_digest() {
        let long = "a".repeat(MAX_BYTES + 1);
        for value in [
            "sha-256=:AAAA:",
            "sha-512=:AAAA:",
            "sha-256=\"MZKn4ztm8LUPtuNJo1XW3ANbUZdnv5Bae03kS/2dIRk=\"",
            "sha-256",
            "sha-256=(:MZKn4ztm8LUPtuNJo1XW3ANbUZdnv5Bae03kS/2dIRk=:)",
            "sha-256=:MZKn4ztm8LUPtuNJo1XW3ANbUZdnv5Bae03kS/2dIRk=:, sha-256=:MZKn4ztm8LUPtuNJo1XW3ANbUZdnv5Bae03kS/2dIRk=:",
            "sha-256=:MZKn4ztm8LUPtuNJo1XW3ANbUZdnv5Bae03kS_2dIRk=:",
            "sha-256=31",
            ",",
            &long,
        ] {
            assert_eq!(read(&[value]), Err(DigestFault::Malformed), "{value}");
        }
    }

    #[test]
    fn no_duty_is_no_match() {
        assert!(!Digests::default().check().finish());
    }

    #[test]
    fn one_other_byte_of_the_body() {
        let duty = read(&[VALUE]).unwrap();
        for at in 0..BODY.len() {
            let mut body = BODY.to_vec();
            body[at] ^= 1;
            let mut check = duty.check();
            check.update(&body);
            assert!(!check.finish());
        }
        let mut check = duty.check();
        check.update(&BODY[1..]);
        assert!(!check.finish());
    }
}
