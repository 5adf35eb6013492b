//! Brotli (RFC 7932).

use super::DecodeError;
use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};

type State = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

pub(super) struct Brotli {
    state: State,
    whole: bool,
}

impl Default for Brotli {
    fn default() -> Self {
        let alloc = StandardAlloc::default;
        // Strict: windows of more than 16 MiB are no part of the coding (the extension of the "large window").
        Self { state: BrotliState::new_strict(alloc(), alloc(), alloc()), whole: false }
    }
}

impl Brotli {
    pub(super) fn pull(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, DecodeError> {
        if self.whole {
            // Nothing comes behind the last block.
            return if input.is_empty() { Ok(0) } else { Err(DecodeError::Malformed) };
        }
        let (mut left, mut at) = (input.len(), 0);
        let (mut room, mut made, mut total) = (out.len(), 0, 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut at,
            input,
            &mut room,
            &mut made,
            out,
            &mut total,
            &mut self.state,
        );
        *input = input.get(at..).ok_or(DecodeError::Malformed)?;
        match result {
            BrotliResult::ResultSuccess => {
                self.whole = true;
                if input.is_empty() { Ok(made) } else { Err(DecodeError::Malformed) }
            }
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => Ok(made),
            BrotliResult::ResultFailure => Err(DecodeError::Malformed),
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }
}
