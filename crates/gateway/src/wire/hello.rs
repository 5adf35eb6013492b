//! The ClientHello as it came off the wire: what a client's TLS library looks like (JA4), read before rustls answers.
//!
//! RFC 8446 § 4.1.2. Pure: bytes in, facts out. Only the TLS client fingerprint of the JA4 family is here; the others
//! are under another licence.

use aws_lc_rs::digest::{SHA256, digest};

/// What a fingerprint is made of. GREASE values (RFC 8701) are left out: they are random on purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// The highest version offered.
    version: u16,
    /// A server name was sent, also an empty one.
    sni: bool,
    ciphers: Vec<u16>,
    /// In order of appearance.
    extensions: Vec<u16>,
    signatures: Vec<u16>,
    /// The first protocol of ALPN.
    alpn: Option<Vec<u8>>,
    /// `acme-tls/1` is the one protocol that is offered (RFC 8737 § 3).
    acme: bool,
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// The protocol of tls-alpn-01 (RFC 8737 § 6.2).
pub(crate) const ACME_TLS: &[u8] = b"acme-tls/1";

impl Hello {
    /// Reads the TLS records that a connection begins with. `None` when they hold no whole, well-formed ClientHello;
    /// what becomes of the handshake is then rustls' to say.
    pub fn read(records: &[u8]) -> Option<Self> {
        let message = message(records)?;
        let mut hello = Bytes(&message);
        let legacy = hello.u16()?;
        hello.take(32)?; // random
        let session = hello.u8()?;
        hello.take(usize::from(session))?;
        let ciphers = hello.list16()?;
        let compression = hello.u8()?;
        hello.take(usize::from(compression))?;
        let mut read = Self {
            version: legacy,
            ciphers: words(ciphers)?.into_iter().filter(|cipher| !grease(*cipher)).collect(),
            ..Self::default()
        };
        if hello.0.is_empty() {
            return Some(read); // extensions are optional before TLS 1.3
        }
        let mut extensions = Bytes(hello.list16()?);
        if !hello.0.is_empty() {
            return None;
        }
        while !extensions.0.is_empty() {
            let (kind, body) = (extensions.u16()?, extensions.list16()?);
            if !grease(kind) {
                read.extension(kind, body)?;
                read.extensions.push(kind);
            }
        }
        Some(read)
    }

    fn extension(&mut self, kind: u16, body: &[u8]) -> Option<()> {
        let mut body = Bytes(body);
        match kind {
            SERVER_NAME => self.sni = true,
            SIGNATURE_ALGORITHMS => {
                let all = words(body.list16()?)?;
                self.signatures = all.into_iter().filter(|signature| !grease(*signature)).collect();
            }
            ALPN => {
                let mut names = Bytes(body.list16()?);
                let mut all = Vec::new();
                while !names.0.is_empty() {
                    let length = names.u8()?;
                    all.push(names.take(usize::from(length))?);
                }
                self.acme = all == [ACME_TLS];
                self.alpn = all.first().map(|first| first.to_vec());
            }
            SUPPORTED_VERSIONS => {
                let length = body.u8()?;
                let versions = words(body.take(usize::from(length))?)?;
                if let Some(highest) = versions.into_iter().filter(|version| !grease(*version)).max() {
                    self.version = highest;
                }
            }
            _ => {}
        }
        Some(())
    }

    /// Whether this is the handshake of an ACME server that looks at a challenge.
    pub fn is_acme(&self) -> bool {
        self.acme
    }

    /// JA4, TLS over TCP: `t13d1516h2_8daaf6152771_e5627efa2ab1`.
    pub fn ja4(&self) -> String {
        let version = match self.version {
            0x0304 => "13",
            0x0303 => "12",
            0x0302 => "11",
            0x0301 => "10",
            0x0300 => "s3",
            0x0002 => "s2",
            _ => "00",
        };
        let sni = if self.sni { 'd' } else { 'i' };
        let (ciphers, extensions) = (self.ciphers.len().min(99), self.extensions.len().min(99));
        let mut sorted = self.ciphers.clone();
        sorted.sort_unstable();
        let mut named: Vec<u16> =
            self.extensions.iter().copied().filter(|kind| ![SERVER_NAME, ALPN].contains(kind)).collect();
        named.sort_unstable();
        let mut third = hex(&named);
        if !self.signatures.is_empty() {
            third.push('_');
            third.push_str(&hex(&self.signatures));
        }
        let second = if sorted.is_empty() { NOTHING.to_owned() } else { short(&hex(&sorted)) };
        let third = if self.extensions.is_empty() { NOTHING.to_owned() } else { short(&third) };
        format!("t{version}{sni}{ciphers:02}{extensions:02}{}_{second}_{third}", self.protocol())
    }

    /// The first and the last character of the first protocol; in hex where one of them is no letter or digit.
    fn protocol(&self) -> String {
        let Some((first, last)) = self.alpn.as_deref().and_then(|name| name.first().zip(name.last())) else {
            return "00".to_owned();
        };
        if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
            return [char::from(*first), char::from(*last)].iter().collect();
        }
        let nibble = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
        [nibble(first >> 4), nibble(last & 15)].iter().collect()
    }
}

const NOTHING: &str = "000000000000";

fn hex(words: &[u16]) -> String {
    words.iter().map(|word| format!("{word:04x}")).collect::<Vec<_>>().join(",")
}

/// The first twelve hex digits of SHA-256.
fn short(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    hash.as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// Reserved values that clients send at random (RFC 8701): `0x?a?a` with equal bytes.
const fn grease(word: u16) -> bool {
    let [high, low] = word.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

/// The handshake message, put together from its records (RFC 8446 § 5.1).
pub(crate) fn message(records: &[u8]) -> Option<Vec<u8>> {
    let mut records = Bytes(records);
    let mut all = Vec::new();
    loop {
        if let Some((&[kind, a, b, c], rest)) = all.split_first_chunk::<4>() {
            let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            if kind != CLIENT_HELLO {
                return None;
            }
            if let Some(body) = rest.get(..length) {
                return Some(body.to_vec());
            }
        }
        if records.u8()? != HANDSHAKE {
            return None;
        }
        records.u16()?; // legacy version
        let fragment = records.list16()?;
        if fragment.is_empty() {
            return None;
        }
        all.extend_from_slice(fragment);
    }
}

fn words(bytes: &[u8]) -> Option<Vec<u16>> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect())
}

/// A cursor.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk().map(|pair| u16::from_be_bytes(*pair))
    }

    /// Two bytes of length, and so many bytes.
    fn list16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    mod laws {
        use crate::wire::hello::{Hello, message};
        include!("../../../../fuzz/laws/hello.rs");
    }
    use laws::hello as law;

    /// A hello of these parts in one record.
    fn hello(legacy: u16, ciphers: &[u16], extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let list = |words: &[u16]| -> Vec<u8> {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], &bytes].concat()
        };
        let mut body = legacy.to_be_bytes().to_vec();
        body.extend([7; 32]);
        body.push(0);
        body.extend(list(ciphers));
        body.extend([1, 0]);
        let mut all = Vec::new();
        for (kind, content) in extensions {
            all.extend(kind.to_be_bytes());
            all.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
            all.extend(content);
        }
        body.extend(u16::try_from(all.len()).unwrap().to_be_bytes());
        body.extend(all);
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        let message = [&[CLIENT_HELLO], &length[1..], &body].concat();
        [&[HANDSHAKE, 3, 1], &u16::try_from(message.len()).unwrap().to_be_bytes()[..], &message].concat()
    }

    fn signatures(all: &[u16]) -> Vec<u8> {
        let bytes: Vec<u8> = all.iter().flat_map(|word| word.to_be_bytes()).collect();
        [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], &bytes].concat()
    }

    fn alpn(names: &[&[u8]]) -> Vec<u8> {
        let all: Vec<u8> =
            names.iter().flat_map(|n| [&[u8::try_from(n.len()).unwrap()], *n].concat()).collect();
        [&u16::try_from(all.len()).unwrap().to_be_bytes()[..], &all].concat()
    }

    /// The worked example of JA4's technical description: a browser with GREASE, in any order of extensions.
    #[test]
    fn the_published_example() {
        let ciphers = [
            0x0a0a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014,
            0x009c, 0x009d, 0x002f, 0x0035,
        ];
        let sign = signatures(&[0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601]);
        let empty = [0x001b_u16, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012];
        let rest = [0x002b_u16, 0xff01, 0x000b, 0x000a, 0x0015];
        let mut extensions = vec![(0x2a2a, vec![]), (0, vec![])];
        extensions.extend(empty.iter().chain(&rest).map(|kind| match kind {
            0x000d => (*kind, sign.clone()),
            0x0010 => (*kind, alpn(&[b"h2", b"http/1.1"])),
            0x002b => (*kind, vec![6, 0x7a, 0x7a, 3, 4, 3, 3]),
            _ => (*kind, vec![]),
        }));
        let mut bytes = hello(0x0303, &ciphers, &extensions);
        assert_eq!(Hello::read(&bytes).unwrap().ja4(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
        law(&bytes);
        extensions.reverse();
        bytes = hello(0x0303, &ciphers, &extensions);
        assert_eq!(Hello::read(&bytes).unwrap().ja4(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn parts_that_are_absent_or_odd() {
        let ja4 = |bytes: &[u8]| Hello::read(bytes).unwrap().ja4();
        assert_eq!(ja4(&hello(0x0301, &[], &[])), "t10i000000_000000000000_000000000000");
        assert!(ja4(&hello(0x0303, &[0x1301], &[(16, alpn(&[b"http/1.1"]))])).starts_with("t12i0101h1_"));
        assert!(ja4(&hello(0x0303, &[0x1301], &[(16, alpn(&[b"\xab\xcd"]))])).starts_with("t12i0101ad_"));
        assert!(ja4(&hello(0x0303, &[0x1301], &[(16, alpn(&[b"0\xab"]))])).starts_with("t12i01013b_"));
        let many: Vec<u16> = (0x2000..0x2080).collect();
        assert!(ja4(&hello(0x0303, &many, &[])).starts_with("t12i990000_"));
        let acme =
            |names: &[&[u8]]| Hello::read(&hello(0x0303, &[1], &[(16, alpn(names))])).unwrap().is_acme();
        assert!(acme(&[b"acme-tls/1"]));
        assert!(!acme(&[b"acme-tls/1", b"h2"]) && !acme(&[b"h2"]), "the one protocol, RFC 8737 section 3");
    }

    #[test]
    fn what_is_no_hello() {
        let good = hello(0x0303, &[0x1301], &[(0, vec![])]);
        for cut in 0..good.len() {
            assert_eq!(Hello::read(&good[..cut]), None);
        }
        let mut alert = good.clone();
        alert[0] = 21;
        assert_eq!(Hello::read(&alert), None);
        let mut server = good.clone();
        server[5] = 2;
        assert_eq!(Hello::read(&server), None);
        assert_eq!(Hello::read(&hello(0x0303, &[0x1301], &[(13, vec![0, 3, 4, 3, 8])])), None, "an odd list");
        assert_eq!(Hello::read(b"GET / HTTP/1.1\r\n\r\n"), None);
        assert_eq!(Hello::read(&[22, 3, 1, 0, 0, 22, 3, 1, 0, 0]), None, "empty records");
    }

    #[test]
    fn corpus() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/hello");
        for entry in std::fs::read_dir(folder).unwrap() {
            law(&std::fs::read(entry.unwrap().path()).unwrap());
        }
    }
}
