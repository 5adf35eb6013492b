//! Content codings: one layer, streamed, capped (contract.md § 11.3).
//!
//! The decoders are pure Rust: flate2 over miniz_oxide and brotli-decompressor, both without `unsafe`, and ruzstd,
//! whose `unsafe` is confined to its ring buffer and which is off until it is configured. What they say about sizes
//! is never believed; bytes are counted as they come out.

mod brotli;
mod gzip;
mod zstd;

use portcullis_core::problem::Code;

/// A content coding that can be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// By its token, in any case (RFC 9110 § 8.4.1). Nothing for what is not known, and for a list.
    pub fn parse(token: &str) -> Option<Self> {
        [Self::Gzip, Self::Brotli, Self::Zstd].into_iter().find(|c| token.eq_ignore_ascii_case(c.token()))
    }

    /// The token.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// What may come out.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes in all.
    pub bytes: u64,
    /// Bytes out for one byte in, once [`UNRATED`] have come out.
    pub ratio: u32,
}

/// Bytes that come out before the ratio counts: small bodies of one letter are no bombs.
pub const UNRATED: u64 = 64 << 10;

/// Why decoding ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// More bytes than allowed, in all or for what came in, or a window that is too large.
    TooLarge,
    /// Not of the coding's form, cut short, or with something behind it.
    Malformed,
}

impl DecodeError {
    /// The public problem.
    pub const fn code(self) -> Code {
        match self {
            Self::TooLarge => Code::PayloadTooLarge,
            Self::Malformed => Code::MalformedBody,
        }
    }

    /// The private reason.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TooLarge => "decoded-too-large",
            Self::Malformed => "not-decodable",
        }
    }
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for DecodeError {}

/// Undoes one coding, piece by piece.
pub struct Decoder {
    inner: Inner,
    limits: Limits,
    read: u64,
    written: u64,
}

enum Inner {
    Gzip(Box<gzip::Gzip>),
    Brotli(Box<brotli::Brotli>),
    Zstd(Box<zstd::Zstd>),
}

impl Decoder {
    /// For a body in this coding.
    pub fn new(coding: Coding, limits: Limits) -> Self {
        let inner = match coding {
            Coding::Gzip => Inner::Gzip(Box::default()),
            Coding::Brotli => Inner::Brotli(Box::default()),
            Coding::Zstd => Inner::Zstd(Box::default()),
        };
        Self { inner, limits, read: 0, written: 0 }
    }

    /// Decodes into `out`, taking from the front of `input`. 0: all of `input` is taken, and more is needed. Memory
    /// is that of the coding's window, whatever is sent.
    ///
    /// # Errors
    /// See [`DecodeError`]; after one, the decoder is of no use.
    pub fn pull(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, DecodeError> {
        let before = input.len();
        let count = match &mut self.inner {
            Inner::Gzip(gzip) => gzip.pull(input, out),
            Inner::Brotli(brotli) => brotli.pull(input, out),
            Inner::Zstd(zstd) => zstd.pull(input, out),
        }?;
        self.read += (before - input.len()) as u64;
        self.written += count as u64;
        let rated = self.written > UNRATED;
        if self.written > self.limits.bytes
            || (rated && self.written > self.read.saturating_mul(u64::from(self.limits.ratio)))
        {
            return Err(DecodeError::TooLarge);
        }
        Ok(count)
    }

    /// The input has ended.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] where the coding has not.
    pub fn finish(&self) -> Result<(), DecodeError> {
        let whole = match &self.inner {
            Inner::Gzip(gzip) => gzip.is_whole(),
            Inner::Brotli(brotli) => brotli.is_whole(),
            Inner::Zstd(zstd) => zstd.is_whole(),
        };
        // Nothing at all is in no coding.
        if whole && self.read > 0 { Ok(()) } else { Err(DecodeError::Malformed) }
    }
}

#[cfg(test)]
mod tests;
