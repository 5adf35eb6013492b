//! A keyed 128-bit hash (SipHash-1-3 with 128-bit output), so that nobody outside can choose keys that collide.

/// Absorbs words; made with the table's seed, which must be unknown to clients.
#[derive(Clone, Copy)]
pub(crate) struct Sip<const C: usize = 1, const D: usize = 3> {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
    words: u64,
}

impl<const C: usize, const D: usize> Sip<C, D> {
    #[inline]
    pub(crate) fn new(k0: u64, k1: u64) -> Self {
        Self {
            v0: k0 ^ 0x736f_6d65_7073_6575,
            v1: k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            v2: k0 ^ 0x6c79_6765_6e65_7261,
            v3: k1 ^ 0x7465_6462_7974_6573,
            words: 0,
        }
    }

    #[inline]
    pub(crate) fn word(&mut self, m: u64) {
        self.words = self.words.wrapping_add(1);
        self.v3 ^= m;
        for _ in 0..C {
            self.round();
        }
        self.v0 ^= m;
    }

    /// The length first, then the bytes: parts cannot run into each other.
    #[inline]
    pub(crate) fn part(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (words, tail) = bytes.as_chunks::<8>();
        for w in words {
            self.word(u64::from_le_bytes(*w));
        }
        if !tail.is_empty() {
            let last = tail.iter().rev().fold(0_u64, |acc, b| acc << 8 | u64::from(*b));
            self.word(last);
        }
    }

    #[inline]
    pub(crate) fn finish(mut self) -> u128 {
        let last = self.words.wrapping_mul(8) << 56;
        self.word(last);
        self.end()
    }

    #[inline]
    fn end(mut self) -> u128 {
        self.v2 ^= 0xee;
        for _ in 0..D {
            self.round();
        }
        let low = self.v0 ^ self.v1 ^ self.v2 ^ self.v3;
        self.v1 ^= 0xdd;
        for _ in 0..D {
            self.round();
        }
        let high = self.v0 ^ self.v1 ^ self.v2 ^ self.v3;
        u128::from(high) << 64 | u128::from(low)
    }

    #[inline]
    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first answers of the reference implementation's `vectors_sip128` (SipHash-2-4-128, key 00…0f).
    #[test]
    fn reference_vectors() {
        let key = |a: u8| u64::from_le_bytes(core::array::from_fn(|i| a + i as u8));
        let hash = |bytes: &[u8]| {
            let mut sip = Sip::<2, 4>::new(key(0), key(8));
            let (words, tail) = bytes.as_chunks::<8>();
            for w in words {
                sip.word(u64::from_le_bytes(*w));
            }
            let tail = tail.iter().rev().fold(0_u64, |acc, b| acc << 8 | u64::from(*b));
            sip.word(tail | (bytes.len() as u64) << 56);
            sip.end().to_le_bytes()
        };
        let hex = |b: [u8; 16]| b.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(hex(hash(&[])), "a3817f04ba25a8e66df67214c7550293");
        assert_eq!(hex(hash(&[0])), "da87c1d86b99af44347659119b22fc45");
    }

    #[test]
    fn parts_do_not_run_together() {
        let of = |parts: &[&[u8]]| {
            let mut sip: Sip = Sip::new(1, 2);
            for p in parts {
                sip.part(p);
            }
            sip.finish()
        };
        let all = [
            of(&[]),
            of(&[b""]),
            of(&[b"", b""]),
            of(&[b"ab", b"c"]),
            of(&[b"a", b"bc"]),
            of(&[b"abc"]),
            of(&[b"abc\0"]),
            of(&[b"12345678", b"9"]),
            of(&[b"123456789"]),
        ];
        for (i, a) in all.iter().enumerate() {
            for b in all.iter().skip(i + 1) {
                assert_ne!(a, b);
            }
        }
    }
}
