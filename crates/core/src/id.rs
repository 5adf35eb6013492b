//! The correlation id of a request.

use crate::time::Now;
use std::fmt;

/// A UUIDv7 (RFC 9562 § 5.7), given to every request and shown in every answer as `X-Request-Id`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RequestId([u8; 16]);

impl RequestId {
    /// From the moment of arrival and ten random bytes.
    pub fn new(now: Now, random: [u8; 10]) -> Self {
        let ms = now.millis().max(0).unsigned_abs().to_be_bytes();
        let [_, _, t0, t1, t2, t3, t4, t5] = ms;
        let [r0, r1, r2, r3, r4, r5, r6, r7, r8, r9] = random;
        Self([t0, t1, t2, t3, t4, t5, 0x70 | (r0 & 0x0f), r1, 0x80 | (r2 & 0x3f), r3, r4, r5, r6, r7, r8, r9])
    }

    /// The 36 characters of the canonical form.
    pub fn text(&self) -> [u8; 36] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut out = [b'-'; 36];
        let mut at = 0;
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                at += 1;
            }
            for nibble in [byte >> 4, byte & 0x0f] {
                if let (Some(slot), Some(digit)) = (out.get_mut(at), HEX.get(usize::from(nibble))) {
                    *slot = *digit;
                }
                at += 1;
            }
        }
        out
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_version_7_uuid_in_time_order() {
        let a = RequestId::new(Now::from_micros(1_767_225_600_000_000), [0xff; 10]).to_string();
        let b = RequestId::new(Now::from_micros(1_767_225_600_001_000), [0x00; 10]).to_string();
        assert_eq!(a, "019b76da-a800-7fff-bfff-ffffffffffff");
        assert!(a < b);
    }
}
