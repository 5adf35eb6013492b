//! The simple scheme `PC1`, for clients without a library for RFC 9421.
//!
//! `X-PC-Signature: v1;k=<id16>;t=<unix seconds>;n=<nonce>;b=<64 hex>;s=<64 hex>`, in exactly this
//! order. Nothing is decoded, sorted or encoded again: what is on the wire is signed.

use crate::digest::Digests;
use crate::mac::MacKey;
use crate::message::{Received, Refusal, is_nonce, window};
use aws_lc_rs::digest::{SHA256, digest};
use portcullis_core::opaque::Id16;

/// A PC1 signature, read and not yet believed.
#[derive(Clone, Debug)]
pub struct Pc1<'h> {
    key_id: Id16,
    time: &'h str,
    created: i64,
    nonce: &'h str,
    body: Option<[u8; 32]>,
    mac: [u8; 32],
}

impl<'h> Pc1<'h> {
    /// Reads the one line of `X-PC-Signature`.
    ///
    /// # Errors
    /// [`Refusal::Missing`] without a line, [`Refusal::Malformed`] for any other form or a second line.
    pub fn read(lines: &[&'h [u8]]) -> Result<Self, Refusal> {
        let line = match lines {
            [] => return Err(Refusal::Missing),
            [line] => std::str::from_utf8(line).map_err(|_| Refusal::Malformed("pc1"))?,
            _ => return Err(Refusal::Malformed("pc1-twice")),
        };
        let mut parts = line.split(';').peekable();
        if parts.next() != Some("v1") {
            return Err(Refusal::Malformed("version"));
        }
        let mut next = |name: &'static str| {
            let part = parts.next().and_then(|part| part.strip_prefix(name)?.strip_prefix('='));
            part.ok_or(Refusal::Malformed(name))
        };
        let key_id = Id16::parse(next("k")?).map_err(|_| Refusal::Malformed("k"))?;
        let time = next("t")?;
        let plain = time.bytes().all(|b| b.is_ascii_digit()) && !time.starts_with('0');
        let created =
            time.parse().ok().filter(|_| plain && time.len() <= 12).ok_or(Refusal::Malformed("t"))?;
        let nonce = Some(next("n")?).filter(|nonce| is_nonce(nonce)).ok_or(Refusal::Malformed("n"))?;
        let body = match parts.next_if(|part| part.starts_with("b=")) {
            Some(part) => Some(part.strip_prefix("b=").and_then(hex32).ok_or(Refusal::Malformed("b"))?),
            None => None,
        };
        let mac =
            parts.next().and_then(|part| hex32(part.strip_prefix("s=")?)).ok_or(Refusal::Malformed("s"))?;
        if parts.next().is_some() {
            return Err(Refusal::Malformed("pc1"));
        }
        Ok(Self { key_id, time, created, nonce, body, mac })
    }

    /// `k`
    pub const fn key_id(&self) -> Id16 {
        self.key_id
    }

    /// `n`: single use per key for 630 s, put after the MAC was right.
    pub const fn nonce(&self) -> &'h str {
        self.nonce
    }

    /// `t`, unix seconds.
    pub const fn created(&self) -> i64 {
        self.created
    }

    /// The duty to check the body, where `b` is there.
    pub fn digests(&self) -> Option<Digests> {
        self.body.map(Digests::sha256)
    }

    /// Inside the window of `portcullis-v1`?
    ///
    /// # Errors
    /// [`Refusal::Stale`].
    pub fn fresh(&self, now: i64, remembered_since: Option<i64>) -> Result<(), Refusal> {
        window(now, self.created, remembered_since)
    }

    /// Is everything covered? A body needs `b`, and `Authorization` cannot be covered at all.
    ///
    /// # Errors
    /// [`Refusal::Coverage`].
    pub fn covers(&self, received: &Received, body: bool) -> Result<(), Refusal> {
        if received.has("authorization") {
            return Err(Refusal::Coverage("authorization"));
        }
        if body && self.body.is_none() {
            return Err(Refusal::Coverage("body"));
        }
        // Lines are joined by LF, so a value must not bring one.
        let lines =
            string_to_sign(received, self.time, self.nonce, None).iter().filter(|b| **b == b'\n').count();
        if lines != 8 {
            return Err(Refusal::Coverage("line-break"));
        }
        Ok(())
    }

    /// Is the MAC by that key over this request? `None` for a key that cannot be used: as much work
    /// is done, and it is never right.
    ///
    /// # Errors
    /// [`Refusal::Invalid`].
    pub fn verify(&self, key: Option<&MacKey>, received: &Received) -> Result<(), Refusal> {
        let signed = string_to_sign(received, self.time, self.nonce, self.body.as_ref());
        let right = match key {
            Some(key) => key.verify(&signed, &self.mac),
            None => {
                std::hint::black_box(MacKey::new(&[0; 32]).verify(&signed, &self.mac));
                false
            }
        };
        if right { Ok(()) } else { Err(Refusal::Invalid) }
    }
}

/// The header's value for a request: for clients, tests and `portcullis sign`. `body` is `None` for a
/// request without one.
pub fn header(
    received: &Received,
    key: &MacKey,
    key_id: Id16,
    time: i64,
    nonce: &str,
    body: Option<&[u8]>,
) -> String {
    let hash = body.map(sha256);
    let time = time.to_string();
    let mac = hex(&key.sign(&string_to_sign(received, &time, nonce, hash.as_ref())));
    let b = hash.map(|hash| format!("b={};", hex(&hash))).unwrap_or_default();
    format!("v1;k={key_id};t={time};n={nonce};{b}s={mac}")
}

fn string_to_sign(received: &Received, time: &str, nonce: &str, body: Option<&[u8; 32]>) -> Vec<u8> {
    let (path, query) = received.path_and_query();
    let hash = hex(&body.copied().unwrap_or_else(|| sha256(b"")));
    let content_type = received.joined("content-type");
    [
        b"PC1-HMAC-SHA256".as_slice(),
        time.as_bytes(),
        nonce.as_bytes(),
        received.method().as_bytes(),
        received.authority().as_bytes(),
        path.as_bytes(),
        query.strip_prefix('?').unwrap_or(query).as_bytes(),
        &content_type,
        hash.as_bytes(),
    ]
    .join(&b'\n')
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.iter_mut().zip(digest(&SHA256, bytes).as_ref()).for_each(|(slot, byte)| *slot = *byte);
    out
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|n| char::from_digit(n.into(), 16))
        .collect()
}

fn hex32(text: &str) -> Option<[u8; 32]> {
    let nibble = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let mut out = [0; 32];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != out.len() || !rest.is_empty() {
        return None;
    }
    for (slot, [high, low]) in out.iter_mut().zip(pairs) {
        *slot = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(out)
}
