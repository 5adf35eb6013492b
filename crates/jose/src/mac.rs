//! HMAC-SHA256, with a key that cannot be printed and a comparison in constant time.

use aws_lc_rs::hmac;

/// A MAC key, prepared once.
#[derive(Clone)]
pub struct MacKey(hmac::Key);

impl MacKey {
    /// From the secret's bytes: for `pch_…` the 32 decoded bytes, never the text.
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The MAC of `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 32] {
        let tag = hmac::sign(&self.0, message);
        let mut out = [0; 32];
        out.iter_mut().zip(tag.as_ref()).for_each(|(slot, byte)| *slot = *byte);
        out
    }

    /// Is `mac` the whole MAC of `message`? Truncated MACs are not taken.
    pub fn verify(&self, message: &[u8], mac: &[u8]) -> bool {
        hmac::verify(&self.0, message, mac).is_ok()
    }
}

impl std::fmt::Debug for MacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MacKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_4231_case_2_and_its_truncations() {
        let key = MacKey::new(b"Jefe");
        let mac = key.sign(b"what do ya want for nothing?");
        assert_eq!(mac[..4], [0x5b, 0xdc, 0xc1, 0x46]);
        assert!(key.verify(b"what do ya want for nothing?", &mac));
        assert!(!key.verify(b"what do ya want for nothing?", &mac[..31]));
        assert!(!key.verify(b"what do ya want for nothing?", &[&mac[..], &[0]].concat()));
        assert!(!key.verify(b"what do ya want for nothing!", &mac));
        assert_eq!(format!("{key:?}"), "MacKey(…)");
    }
}
