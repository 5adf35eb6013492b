//! base64url without padding, strictly: one spelling for one value (RFC 7515 § 2).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Bytes as text.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Text as bytes; `None` for padding, white space, another alphabet, or unused bits that are not zero.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// `b64u(H(bytes))`: the form of `ath`, thumbprints and `x5t#S256`.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}

/// Is this the text of a SHA-256, as thumbprints and `ath` are?
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 43 && decode(text).is_some_and(|bytes| bytes.len() == 32)
}

/// Decodes into `out` and gives what was written.
pub(crate) fn decode_into<'o>(text: &str, out: &'o mut [u8]) -> Option<&'o [u8]> {
    let len = URL_SAFE_NO_PAD.decode_slice(text, out).ok()?;
    out.get(..len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_strict() {
        assert_eq!(decode("AQAB").as_deref(), Some(&[1, 0, 1][..]));
        assert_eq!(decode("").as_deref(), Some(&[][..]));
        for bad in ["AQ==", "AQAB=", "A", "AR", "AAB", "A+A/", "AQ AB", "AQAB\n", "é", "A.A"] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
        assert_eq!(encode([0xfb, 0xff]), "-_8");
    }
}
