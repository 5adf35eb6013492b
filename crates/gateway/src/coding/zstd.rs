//! Zstandard (RFC 8878), one block at a time: what is kept is a window and a block, whatever is sent.

use super::DecodeError;
use ruzstd::decoding::errors::FrameDecoderError;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::io::Read;

/// Largest window. RFC 9659 § 3 asks the same of whoever sends content in this coding.
const WINDOW: u64 = 8 << 20;
/// Largest block (RFC 8878 § 3.1.1.2.4).
const BLOCK: usize = 128 << 10;
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

pub(super) struct Zstd {
    frame: FrameDecoder,
    state: State,
    /// Of what is whole only together with bytes that have not come.
    held: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Header,
    /// Blocks, and whether a checksum follows the last.
    Blocks {
        summed: bool,
    },
    /// What is left to hand out.
    Tail,
}

impl Default for Zstd {
    fn default() -> Self {
        let mut frame = FrameDecoder::new();
        frame.set_max_window_size(WINDOW);
        Self { frame, state: State::Header, held: Vec::new() }
    }
}

impl Zstd {
    pub(super) fn pull(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, DecodeError> {
        loop {
            match self.state {
                State::Header => {
                    let Some(length) = header_length(&self.held)? else {
                        let Some((byte, rest)) = input.split_first() else { return Ok(0) };
                        self.held.push(*byte);
                        *input = rest;
                        continue;
                    };
                    if !self.gather(length, input) {
                        return Ok(0);
                    }
                    let descriptor = self.held.get(4).copied().unwrap_or(0);
                    match self.frame.reset(self.held.as_slice()) {
                        Ok(()) => {}
                        Err(FrameDecoderError::WindowSizeTooBig { .. }) => return Err(DecodeError::TooLarge),
                        Err(_) => return Err(DecodeError::Malformed),
                    }
                    self.held.clear();
                    self.state = State::Blocks { summed: descriptor & 4 != 0 };
                }
                State::Blocks { summed } => {
                    let made = self.frame.read(out).map_err(|_| DecodeError::Malformed)?;
                    if made > 0 {
                        return Ok(made);
                    }
                    if !self.gather(3, input) {
                        return Ok(0);
                    }
                    let Some(([a, b, c], _)) = self.held.split_first_chunk() else { return Ok(0) };
                    let header = u32::from_le_bytes([*a, *b, *c, 0]);
                    let (last, kind, size) = (header & 1 != 0, header >> 1 & 3, (header >> 3) as usize);
                    if size > BLOCK || kind == 3 {
                        return Err(DecodeError::Malformed);
                    }
                    // A run of one byte holds that byte only.
                    let size = if kind == 1 { 1 } else { size };
                    if !self.gather(3 + size + if last && summed { 4 } else { 0 }, input) {
                        return Ok(0);
                    }
                    let mut block = self.held.as_slice();
                    self.frame
                        .decode_blocks(&mut block, BlockDecodingStrategy::UptoBlocks(1))
                        .map_err(|_| DecodeError::Malformed)?;
                    self.held.clear();
                    if self.frame.is_finished() {
                        self.state = State::Tail;
                    }
                }
                State::Tail => {
                    let made = self.frame.read(out).map_err(|_| DecodeError::Malformed)?;
                    if made > 0 {
                        return Ok(made);
                    }
                    let sums = (self.frame.get_checksum_from_data(), self.frame.get_calculated_checksum());
                    if let (Some(told), Some(counted)) = sums
                        && told != counted
                    {
                        return Err(DecodeError::Malformed);
                    }
                    self.state = State::Header;
                }
            }
        }
    }

    /// At the end of a frame. Several frames count together; skippable ones, which hold what nobody reads, are refused.
    pub(super) fn is_whole(&self) -> bool {
        self.state == State::Header && self.held.is_empty()
    }

    /// Whether `wanted` bytes are held, after taking what is there of them.
    fn gather(&mut self, wanted: usize, input: &mut &[u8]) -> bool {
        let missing = wanted.saturating_sub(self.held.len()).min(input.len());
        let (take, rest) = input.split_at_checked(missing).unwrap_or((input, &[]));
        self.held.extend_from_slice(take);
        *input = rest;
        self.held.len() >= wanted
    }
}

/// Bytes of the frame header that begins so (RFC 8878 § 3.1.1.1); none while that cannot be told.
fn header_length(head: &[u8]) -> Result<Option<usize>, DecodeError> {
    if head.iter().zip(MAGIC).any(|(byte, wanted)| *byte != wanted) {
        return Err(DecodeError::Malformed);
    }
    let Some(descriptor) = head.get(4) else { return Ok(None) };
    // A dictionary that we do not have; the reserved bit.
    if descriptor & 0b1011 != 0 {
        return Err(DecodeError::Malformed);
    }
    let single = descriptor & 0x20 != 0;
    let size = match (descriptor >> 6, single) {
        (0, false) => 0,
        (0, true) => 1,
        (1, _) => 2,
        (2, _) => 4,
        _ => 8,
    };
    Ok(Some(5 + usize::from(!single) + size))
}
