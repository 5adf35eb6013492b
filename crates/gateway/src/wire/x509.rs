//! What must be known of a certificate beyond what webpki checks: names as bytes, validity, key strength.
//!
//! RFC 5280. Reads DER in definite lengths only; anything odd is an error, and an error refuses the certificate.

use portcullis_core::dn::Dn;

/// A certificate's facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// First second of validity, Unix time.
    pub not_before: i64,
    /// Last second of validity, Unix time.
    pub not_after: i64,
    /// Subject alternative names, in order.
    pub sans: Vec<San>,
    /// The subject, when it is one that can be named.
    pub subject: Option<Dn>,
    /// What is wrong with the key or the signature, if anything.
    pub weak: Option<&'static str>,
}

/// A subject alternative name that rules may look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum San {
    /// `dNSName`, as written.
    Dns(String),
    /// `uniformResourceIdentifier`, as written.
    Uri(String),
    /// Another kind.
    Other,
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;

const AUTHORITY_OID: &[u8] = &[0x55, 0x1d, 0x23];
const SAN_OID: &[u8] = &[0x55, 0x1d, 0x11];
const RSA_OID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC_OID: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const ED25519_OID: &[u8] = &[0x2b, 0x65, 0x70];
const P256_OID: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384_OID: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const SHA1_RSA_OID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05];
const MD5_RSA_OID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04];
const SHA1_ECDSA_OID: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01];

/// Reads a certificate; `None` when it is not one, or a name in it has a NUL or a byte outside of ASCII.
pub fn read(der: &[u8]) -> Option<Facts> {
    let mut outer = Der(Der(der).only(SEQUENCE)?);
    let mut tbs = Der(outer.take(SEQUENCE)?);
    let signature = Der(outer.take(SEQUENCE)?).take(OID)?;
    tbs.optional(0xa0)?; // version
    tbs.take(INTEGER)?; // serial number
    tbs.take(SEQUENCE)?; // signature
    tbs.take(SEQUENCE)?; // issuer
    let mut validity = Der(tbs.take(SEQUENCE)?);
    let (not_before, not_after) = (validity.time()?, validity.time()?);
    let subject = subject(tbs.take(SEQUENCE)?);
    let spki = tbs.take(SEQUENCE)?;
    tbs.optional(0x81)?; // issuerUniqueID
    tbs.optional(0x82)?; // subjectUniqueID
    let sans = match tbs.optional(0xa3)? {
        Some(extensions) => names(extensions)?,
        None => Vec::new(),
    };
    let weak = if [SHA1_RSA_OID, MD5_RSA_OID, SHA1_ECDSA_OID].contains(&signature) {
        Some("is signed with SHA-1 or MD5")
    } else {
        key_weakness(spki)?
    };
    Some(Facts { not_before, not_after, sans, subject, weak })
}

/// A subject whose parts have one attribute each, of text that reads in one way (RFC 5280 § 4.1.2.4).
fn subject(name: &[u8]) -> Option<Dn> {
    let mut name = Der(name);
    let mut parts = Vec::new();
    while !name.0.is_empty() {
        let mut attribute = Der(Der(name.take(SET)?).only(SEQUENCE)?);
        let oid = dotted(attribute.take(OID)?)?;
        let (tag, value) = attribute.any()?;
        // UTF8String, PrintableString, IA5String; the others have had several readings.
        let text = std::str::from_utf8(value).ok().filter(|_| matches!(tag, 0x0c | 0x13 | 0x16))?;
        if (tag != 0x0c && !text.is_ascii()) || !attribute.0.is_empty() {
            return None;
        }
        parts.push((oid, text.to_owned()));
    }
    Dn::from_certificate(parts)
}

/// An object identifier in dotted form (X.690 § 8.19).
fn dotted(oid: &[u8]) -> Option<String> {
    let mut out = String::new();
    let (mut arc, mut begun, mut first) = (0_u32, false, true);
    for &byte in oid {
        if (!begun && byte == 0x80) || arc > u32::MAX >> 7 {
            return None;
        }
        (arc, begun) = (arc << 7 | u32::from(byte & 0x7f), byte & 0x80 != 0);
        if begun {
            continue;
        }
        if std::mem::take(&mut first) {
            let root = (arc / 40).min(2);
            out = format!("{root}.{}", arc - root * 40);
        } else {
            out.push('.');
            out.push_str(&arc.to_string());
        }
        arc = 0;
    }
    (!begun && !out.is_empty()).then_some(out)
}

/// What names a certificate to its authority (RFC 9773 § 4.1): the key identifier of the authority and the serial number,
/// both as base64url.
pub(crate) fn identifier(der: &[u8]) -> Option<(String, String)> {
    let mut outer = Der(Der(der).only(SEQUENCE)?);
    let mut tbs = Der(outer.take(SEQUENCE)?);
    tbs.optional(0xa0)?; // version
    let serial = tbs.take(INTEGER)?;
    for _ in 0..5 {
        tbs.take(SEQUENCE)?; // signature, issuer, validity, subject, key
    }
    tbs.optional(0x81)?;
    tbs.optional(0x82)?;
    let mut list = Der(Der(tbs.optional(0xa3)??).only(SEQUENCE)?);
    while !list.0.is_empty() {
        let mut extension = Der(list.take(SEQUENCE)?);
        if extension.take(OID)? != AUTHORITY_OID {
            continue;
        }
        extension.optional(0x01)?; // critical
        let key = Der(Der(extension.take(OCTET_STRING)?).only(SEQUENCE)?).take(0x80)?;
        return Some((super::acme::encode(key), super::acme::encode(serial)));
    }
    None
}

/// Issuer and subject, as DER without their outer tag.
pub(crate) fn issuer_and_subject(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut outer = Der(Der(der).only(SEQUENCE)?);
    let mut tbs = Der(outer.take(SEQUENCE)?);
    tbs.optional(0xa0)?; // version
    tbs.take(INTEGER)?; // serial number
    tbs.take(SEQUENCE)?; // signature
    let issuer = tbs.take(SEQUENCE)?;
    tbs.take(SEQUENCE)?; // validity
    Some((issuer, tbs.take(SEQUENCE)?))
}

/// DER's SEQUENCE around what stands in one.
pub(crate) fn sequence(content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let short: &[u8] =
        length.iter().position(|byte| *byte != 0).and_then(|at| length.get(at..)).unwrap_or(&[0]);
    let mut all = vec![SEQUENCE];
    if content.len() > 0x7f {
        all.push(0x80 | u8::try_from(short.len()).unwrap_or(0));
    }
    all.extend_from_slice(short);
    all.extend_from_slice(content);
    all
}

/// The whole SubjectPublicKeyInfo, DER: what a pin is the hash of (RFC 7469 § 2.4).
pub fn public_key(der: &[u8]) -> Option<&[u8]> {
    let mut outer = Der(Der(der).only(SEQUENCE)?);
    let mut tbs = Der(outer.take(SEQUENCE)?);
    tbs.optional(0xa0)?; // version
    tbs.take(INTEGER)?; // serial number
    for _ in 0..4 {
        tbs.take(SEQUENCE)?; // signature, issuer, validity, subject
    }
    let before = tbs.0;
    tbs.take(SEQUENCE)?;
    before.get(..before.len().saturating_sub(tbs.0.len()))
}

fn names(extensions: &[u8]) -> Option<Vec<San>> {
    let mut list = Der(Der(extensions).only(SEQUENCE)?);
    let mut sans = Vec::new();
    let mut seen = false;
    while !list.0.is_empty() {
        let mut extension = Der(list.take(SEQUENCE)?);
        if extension.take(OID)? != SAN_OID {
            continue;
        }
        if std::mem::replace(&mut seen, true) {
            return None;
        }
        extension.optional(0x01)?; // critical
        let mut general = Der(Der(extension.take(OCTET_STRING)?).only(SEQUENCE)?);
        while !general.0.is_empty() {
            let (tag, value) = general.any()?;
            sans.push(match tag {
                0x82 => San::Dns(ascii(value)?),
                0x86 => San::Uri(ascii(value)?),
                _ => San::Other,
            });
        }
    }
    Some(sans)
}

fn ascii(value: &[u8]) -> Option<String> {
    let fine = value.iter().all(|b| matches!(b, 0x21..=0x7e));
    fine.then(|| String::from_utf8(value.to_vec()).ok()).flatten()
}

fn key_weakness(spki: &[u8]) -> Option<Option<&'static str>> {
    let mut spki = Der(spki);
    let mut algorithm = Der(spki.take(SEQUENCE)?);
    let oid = algorithm.take(OID)?;
    let key = spki.take(BIT_STRING)?;
    if oid == ED25519_OID {
        return Some(None);
    }
    if oid == EC_OID {
        let curve = algorithm.take(OID)?;
        return Some(
            (curve != P256_OID && curve != P384_OID).then_some("is on a curve other than P-256 and P-384"),
        );
    }
    if oid == RSA_OID {
        let (&unused, key) = key.split_first()?;
        let modulus = Der(Der(key).only(SEQUENCE)?).take(INTEGER)?;
        let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
        let bits = modulus.len() * 8 - modulus.first()?.leading_zeros() as usize;
        return (unused == 0).then_some((bits < 2048).then_some("has an RSA key below 2048 bits"));
    }
    Some(Some("has a key of an unknown kind"))
}

/// A cursor over DER.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81 | 0x82 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0usize, |n, &b| n << 8 | usize::from(b)), rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, value))
    }

    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.any().filter(|(found, _)| *found == tag).map(|(_, value)| value)
    }

    #[expect(clippy::option_option, reason = "absent, and malformed, are two things")]
    fn optional(&mut self, tag: u8) -> Option<Option<&'a [u8]>> {
        if self.0.first() == Some(&tag) { self.take(tag).map(Some) } else { Some(None) }
    }

    fn only(mut self, tag: u8) -> Option<&'a [u8]> {
        self.take(tag).filter(|_| self.0.is_empty())
    }

    /// UTCTime or GeneralizedTime, in seconds and with `Z` (RFC 5280 § 4.1.2.5).
    fn time(&mut self) -> Option<i64> {
        let (tag, value) = self.any()?;
        let digits = value.strip_suffix(b"Z")?;
        let numbers: Vec<i64> = digits
            .chunks(2)
            .map(|pair| match pair {
                [a @ b'0'..=b'9', b @ b'0'..=b'9'] => Some(i64::from(a - b'0') * 10 + i64::from(b - b'0')),
                _ => None,
            })
            .collect::<Option<_>>()?;
        let (year, rest) = match (tag, numbers.as_slice()) {
            (0x17, [year, rest @ ..]) => (if *year < 50 { 2000 + year } else { 1900 + year }, rest),
            (0x18, [century, year, rest @ ..]) => (century * 100 + year, rest),
            _ => return None,
        };
        let &[month @ 1..=12, day @ 1..=31, hour @ 0..=23, minute @ 0..=59, second @ 0..=60] = rest else {
            return None;
        };
        Some(days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// A SAN against a pattern: DNS exact or `*.` for one label, URI exact or `/*` for one segment. Bytes, but for the
/// case of DNS names.
pub fn san_fits(san: &San, pattern: &str) -> bool {
    match san {
        San::Dns(name) if !pattern.contains(':') => {
            let name = name.to_ascii_lowercase();
            match pattern.strip_prefix("*.") {
                None => name == pattern,
                Some(parent) => {
                    name.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent)
                }
            }
        }
        San::Uri(uri) if pattern.contains(':') => match pattern.strip_suffix("/*") {
            None => uri == pattern,
            Some(parent) => uri
                .strip_prefix(parent)
                .and_then(|rest| rest.strip_prefix('/'))
                .is_some_and(|segment| !segment.is_empty() && !segment.contains(['/', '?', '#'])),
        },
        _ => false,
    }
}

/// A certificate's DNS name against a host that is served: a wildcard covers one label (RFC 9525 § 6.3).
pub fn covers(san: &San, host: &str) -> bool {
    let San::Dns(name) = san else { return false };
    san_fits(&San::Dns(host.to_owned()), &name.to_ascii_lowercase()) || name.eq_ignore_ascii_case(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_rcgen_writes() {
        let mut params =
            rcgen::CertificateParams::new(vec!["a.example".into(), "*.b.example".into()]).unwrap();
        params.subject_alt_names.push(rcgen::SanType::URI("spiffe://x/y".try_into().unwrap()));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CountryName, "DE");
        params.distinguished_name.push(rcgen::DnType::CommonName, "a, b");
        params.not_before = rcgen::date_time_ymd(2024, 2, 29);
        params.not_after = rcgen::date_time_ymd(2100, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let facts = read(params.self_signed(&key).unwrap().der()).unwrap();
        assert_eq!(facts.not_before, 1_709_164_800);
        assert_eq!(facts.not_after, 4_102_444_800);
        assert_eq!(facts.weak, None);
        assert_eq!(facts.subject.unwrap().to_string(), r"CN=a\, b,C=DE");
        assert_eq!(
            facts.sans,
            [San::Dns("a.example".into()), San::Dns("*.b.example".into()), San::Uri("spiffe://x/y".into())]
        );
    }

    #[test]
    fn subjects_that_cannot_be_named() {
        let attribute = |oid: &[u8], tag: u8, value: &[u8]| {
            let body = [&[OID, oid.len() as u8], oid, &[tag, value.len() as u8], value].concat();
            [&[SEQUENCE, body.len() as u8][..], &body].concat()
        };
        let set = |parts: &[Vec<u8>]| {
            let body = parts.concat();
            [&[SET, body.len() as u8][..], &body].concat()
        };
        let cn: &[u8] = &[0x55, 4, 3];
        let shown = |name: &[u8]| subject(name).map(|dn| dn.to_string());
        assert_eq!(shown(&set(&[attribute(cn, 0x0c, b"a")])).as_deref(), Some("CN=a"));
        assert_eq!(shown(&set(&[attribute(&[0x2a, 0x86, 0x48], 0x13, b"a")])).as_deref(), Some("1.2.840=a"));
        for odd in [
            set(&[attribute(cn, 0x0c, b"a\0b")]),
            set(&[attribute(cn, 0x0c, b"\xff")]),
            set(&[attribute(cn, 0x13, "ä".as_bytes())]),
            set(&[attribute(cn, 0x14, b"a")]),
            set(&[attribute(cn, 0x1e, b"\0a")]),
            set(&[attribute(cn, 0x0c, b"a"), attribute(cn, 0x0c, b"b")]),
            set(&[attribute(&[0x80, 1], 0x0c, b"a")]),
            set(&[attribute(&[0x55, 0x84], 0x0c, b"a")]),
            Vec::new(),
        ] {
            assert_eq!(shown(&odd), None, "{odd:?}");
        }
    }

    #[test]
    fn cut_certificates_are_none() {
        let key = rcgen::KeyPair::generate().unwrap();
        let der = rcgen::CertificateParams::new(vec!["a.example".into()]).unwrap().self_signed(&key).unwrap();
        for n in 0..der.der().len() {
            assert_eq!(read(&der.der()[..n]), None);
        }
    }

    #[test]
    fn patterns() {
        let dns = |text: &str| San::Dns(text.into());
        let uri = |text: &str| San::Uri(text.into());
        assert!(san_fits(&dns("a.example"), "a.example"));
        assert!(san_fits(&dns("x.a.example"), "*.a.example"));
        assert!(!san_fits(&dns("a.example"), "*.a.example"));
        assert!(!san_fits(&dns("y.x.a.example"), "*.a.example"));
        assert!(san_fits(&uri("spiffe://p/a"), "spiffe://p/*"));
        assert!(!san_fits(&uri("spiffe://p/a/b"), "spiffe://p/*"));
        assert!(!san_fits(&uri("spiffe://p/"), "spiffe://p/*"));
        assert!(!san_fits(&uri("spiffe://pp/a"), "spiffe://p/*"));
        assert!(!san_fits(&dns("spiffe"), "spiffe://p/*"));
        assert!(covers(&dns("*.example.com"), "api.example.com"));
        assert!(covers(&dns("*.example.com"), "*.example.com"));
        assert!(!covers(&dns("*.example.com"), "example.com"));
    }
}
