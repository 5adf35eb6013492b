//! Chunked framing (RFC 9112 § 7.1), byte by byte outside of the data.
//!
//! CVE-2021-32714, CVE-2025-22871, CVE-2025-55315, CVE-2025-58056: sizes that overflow, extensions that hide a line
//! end, a bare LF. Nothing of that has a second reading here.

use super::Rule;
use super::head::{is_token, is_visible};

const MAX_CHUNKS: u32 = 100_000;
const MAX_EXTENSION: u8 = 16;
const MAX_TRAILERS: u8 = 16;
const MAX_TRAILER_BYTES: u16 = 4096;

/// What becomes of a framing byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It belongs to the canonical framing.
    Keep,
    /// An extension or a trailer: not passed on.
    Drop,
    /// The last byte of the body; belongs to the canonical framing.
    End,
}

/// Where a chunked body stands.
#[derive(Clone, Debug)]
pub(crate) struct ChunkScan {
    at: At,
    chunks: u32,
    trailers: u8,
    trailer_bytes: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size { value: u32, digits: u8 },
    Extension { value: u32, len: u8 },
    SizeLf { value: u32 },
    Data { left: u32 },
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

impl ChunkScan {
    pub(crate) const fn new() -> Self {
        Self { at: At::Size { value: 0, digits: 0 }, chunks: 0, trailers: 0, trailer_bytes: 0 }
    }

    /// Data bytes that come next; 0 when framing comes next.
    pub(crate) const fn data(&self) -> usize {
        if let At::Data { left } = self.at { left as usize } else { 0 }
    }

    /// `n` bytes of data have been taken; at most what [`Self::data`] said.
    pub(crate) fn took(&mut self, n: usize) {
        if let At::Data { left } = self.at {
            let left = left.saturating_sub(u32::try_from(n).unwrap_or(u32::MAX));
            self.at = if left == 0 { At::DataCr } else { At::Data { left } };
        }
    }

    /// One byte of framing.
    pub(crate) fn byte(&mut self, b: u8) -> Result<Fate, Rule> {
        let (next, fate) = match (self.at, b) {
            (At::Size { value, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if digits < 8 => {
                let digit = char::from(b).to_digit(16).ok_or(Rule::Chunk)?;
                (At::Size { value: (value << 4) | digit, digits: digits + 1 }, Fate::Keep)
            }
            (At::Size { value, digits: 1.. }, b';') => (At::Extension { value, len: 1 }, Fate::Drop),
            (At::Size { value, digits: 1.. } | At::Extension { value, .. }, b'\r') => {
                (At::SizeLf { value }, Fate::Keep)
            }
            (At::Extension { value, len }, 0x20..=0x7e) if len < MAX_EXTENSION => {
                (At::Extension { value, len: len + 1 }, Fate::Drop)
            }
            (At::SizeLf { value }, b'\n') => {
                self.chunks += 1;
                if self.chunks > MAX_CHUNKS {
                    return Err(Rule::Chunk);
                }
                (if value == 0 { At::TrailerStart } else { At::Data { left: value } }, Fate::Keep)
            }
            (At::DataCr, b'\r') => (At::DataLf, Fate::Keep),
            (At::DataLf, b'\n') => (At::Size { value: 0, digits: 0 }, Fate::Keep),
            (At::TrailerStart, b'\r') => (At::EndLf, Fate::Keep),
            (At::TrailerStart, b) if is_token(b) && self.trailers < MAX_TRAILERS => {
                self.trailers += 1;
                (At::TrailerName, Fate::Drop)
            }
            (At::TrailerName, b':') => (At::TrailerValue, Fate::Drop),
            (At::TrailerName, b) if is_token(b) => (At::TrailerName, Fate::Drop),
            (At::TrailerValue, b'\r') => (At::TrailerLf, Fate::Drop),
            (At::TrailerValue, b) if is_visible(&[b]) => (At::TrailerValue, Fate::Drop),
            (At::TrailerLf, b'\n') => (At::TrailerStart, Fate::Drop),
            (At::EndLf, b'\n') => (At::Done, Fate::End),
            _ => return Err(Rule::Chunk),
        };
        if matches!(next, At::TrailerName | At::TrailerValue | At::TrailerLf) {
            self.trailer_bytes += 1;
            if self.trailer_bytes > MAX_TRAILER_BYTES {
                return Err(Rule::Chunk);
            }
        }
        self.at = next;
        Ok(fate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(input: &[u8]) -> Result<(Vec<u8>, Vec<u8>, usize), Rule> {
        let (mut scan, mut data, mut kept, mut i) = (ChunkScan::new(), vec![], vec![], 0);
        while i < input.len() {
            let n = scan.data().min(input.len() - i);
            if n > 0 {
                data.extend_from_slice(&input[i..i + n]);
                kept.extend_from_slice(&input[i..i + n]);
                scan.took(n);
                i += n;
                continue;
            }
            match scan.byte(input[i])? {
                Fate::Keep => kept.push(input[i]),
                Fate::Drop => {}
                Fate::End => {
                    kept.push(input[i]);
                    return Ok((data, kept, i + 1));
                }
            }
            i += 1;
        }
        Ok((data, kept, 0))
    }

    #[test]
    fn canonical_passes_unchanged() {
        let body = b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n";
        let (data, kept, end) = run(body).unwrap();
        assert_eq!((data.as_slice(), kept.as_slice(), end), (&b"hello!"[..], &body[..], body.len()));
    }

    #[test]
    fn extensions_and_trailers_are_dropped() {
        let (data, kept, _) = run(b"5;a=b\r\nhello\r\n0;x\r\nHost: evil\r\nX: 1\r\n\r\n").unwrap();
        assert_eq!(data, b"hello");
        assert_eq!(kept, b"5\r\nhello\r\n0\r\n\r\n");
    }

    #[test]
    fn what_has_two_readings_is_refused() {
        for bad in [
            &b"\r\n"[..],
            b"5\nhello\r\n",
            b" 5\r\n",
            b"5 \r\n",
            b"+5\r\n",
            b"0x5\r\n",
            b"000000005\r\n",
            b"g\r\n",
            b";a\r\n",
            b"5;\n",
            b"5;a\x00\r\n",
            b"5;aaaaaaaaaaaaaaaaa\r\n",
            b"5\r\nhelloX",
            b"5\r\nhello\n",
            b"5\r\nhello\r5",
            b"0\r\n\n",
            b"0\r\n : x\r\n",
            b"0\r\nno colon\r\n",
            b"0\r\nA: b\n",
        ] {
            assert_eq!(run(bad), Err(Rule::Chunk), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn trailers_are_bounded() {
        let many = [b"0\r\n".to_vec(), b"A: b\r\n".repeat(17)].concat();
        assert_eq!(run(&many), Err(Rule::Chunk));
        let long = [b"0\r\nA: ".to_vec(), vec![b'x'; 5000]].concat();
        assert_eq!(run(&long), Err(Rule::Chunk));
    }
}
