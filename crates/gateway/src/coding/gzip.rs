//! gzip (RFC 1952): its own frame, deflate by flate2.

use super::DecodeError;
use flate2::{Crc, Decompress, FlushDecompress, Status};

const FHCRC: u8 = 2;
const FEXTRA: u8 = 4;
const FNAME: u8 = 8;
const FCOMMENT: u8 = 16;
/// Bytes of one header; names and comments say nothing to us.
const HEADER: usize = 4 << 10;

pub(super) struct Gzip {
    state: State,
    inflate: Decompress,
    crc: Crc,
    header: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between members, or within a header.
    Header,
    Deflated,
    /// Its checksum and size.
    Trailer,
}

impl Default for Gzip {
    fn default() -> Self {
        Self { state: State::Header, inflate: Decompress::new(false), crc: Crc::new(), header: Vec::new() }
    }
}

impl Gzip {
    pub(super) fn pull(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, DecodeError> {
        loop {
            match self.state {
                State::Header => {
                    let Some((byte, rest)) = input.split_first() else { return Ok(0) };
                    self.header.push(*byte);
                    *input = rest;
                    if head_is_whole(&self.header)? {
                        self.header.clear();
                        self.state = State::Deflated;
                    } else if self.header.len() >= HEADER {
                        return Err(DecodeError::Malformed);
                    }
                }
                State::Deflated => {
                    let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
                    let status = self
                        .inflate
                        .decompress(input, out, FlushDecompress::None)
                        .map_err(|_| DecodeError::Malformed)?;
                    let taken = usize::try_from(self.inflate.total_in() - read).unwrap_or(usize::MAX);
                    let made = usize::try_from(self.inflate.total_out() - written).unwrap_or(usize::MAX);
                    *input = input.get(taken..).ok_or(DecodeError::Malformed)?;
                    self.crc.update(out.get(..made).ok_or(DecodeError::Malformed)?);
                    if status == Status::StreamEnd {
                        self.state = State::Trailer;
                    } else if made == 0 && taken == 0 {
                        // Neither goes on: more is needed, or it never will.
                        return if input.is_empty() { Ok(0) } else { Err(DecodeError::Malformed) };
                    }
                    if made > 0 {
                        return Ok(made);
                    }
                }
                State::Trailer => {
                    let Some((byte, rest)) = input.split_first() else { return Ok(0) };
                    self.header.push(*byte);
                    *input = rest;
                    if let [a, b, c, d, e, f, g, h] = *self.header.as_slice() {
                        let sum = u32::from_le_bytes([a, b, c, d]);
                        let size = u32::from_le_bytes([e, f, g, h]);
                        if sum != self.crc.sum() || size != self.crc.amount() {
                            return Err(DecodeError::Malformed);
                        }
                        self.header.clear();
                        self.crc.reset();
                        self.inflate.reset(false);
                        self.state = State::Header;
                    }
                }
            }
        }
    }

    /// At the end of a member.
    pub(super) fn is_whole(&self) -> bool {
        self.state == State::Header && self.header.is_empty()
    }
}

/// Whether the bytes are a whole member header (§ 2.3.1).
fn head_is_whole(head: &[u8]) -> Result<bool, DecodeError> {
    for (byte, wanted) in head.iter().zip([0x1f, 0x8b, 8]) {
        if *byte != wanted {
            return Err(DecodeError::Malformed);
        }
    }
    let Some(flags) = head.get(3).copied() else { return Ok(false) };
    // Reserved bits must be zero (§ 2.3.1.2).
    if flags & 0xe0 != 0 {
        return Err(DecodeError::Malformed);
    }
    let Some(mut rest) = head.get(10..) else { return Ok(false) };
    if flags & FEXTRA != 0 {
        let Some((length, after)) = rest.split_first_chunk::<2>() else { return Ok(false) };
        let Some(after) = after.get(usize::from(u16::from_le_bytes(*length))..) else { return Ok(false) };
        rest = after;
    }
    for flag in [FNAME, FCOMMENT] {
        if flags & flag != 0 {
            let Some(end) = rest.iter().position(|b| *b == 0) else { return Ok(false) };
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }
    if flags & FHCRC != 0 {
        let Some((sum, _)) = rest.split_first_chunk::<2>() else { return Ok(false) };
        let mut crc = Crc::new();
        crc.update(head.get(..head.len().saturating_sub(2)).unwrap_or_default());
        // The two least significant bytes of the checksum (§ 2.3.1).
        if u32::from(u16::from_le_bytes(*sum)) != crc.sum() & 0xffff {
            return Err(DecodeError::Malformed);
        }
    }
    Ok(true)
}
