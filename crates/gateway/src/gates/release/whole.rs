//! A body that is read whole, out of whatever coding it came in although none was asked for (contract.md § 15.1).

use crate::coding::{Coding, DecodeError, Decoder, Limits};
use crate::wire::upstream::{CollectError, UpstreamBody};
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use portcullis_core::problem::Code;
use portcullis_core::verdict::{Fault, Stop};

/// Bytes out for one byte in: as for bodies of requests.
const RATIO: u32 = 100;
/// Bytes that are decoded at once.
const STEP: usize = 32 << 10;

/// What is wrong with a body, as a stable word.
pub(super) enum Unread {
    /// Ours to tell as a violation of the contract.
    Violation(&'static str),
    /// It broke off.
    Stop(Stop),
}

/// The coding that a body came in: one layer, or the word for what else it was.
pub(super) fn coding(headers: &HeaderMap) -> Result<Option<Coding>, Unread> {
    let mut fields = headers.get_all(CONTENT_ENCODING).iter();
    let Some(first) = fields.next() else { return Ok(None) };
    let token = first.to_str().ok().map(str::trim).filter(|_| fields.next().is_none());
    match token {
        Some(token) if token.eq_ignore_ascii_case("identity") => Ok(None),
        Some(token) => Coding::parse(token).map(Some).ok_or(Unread::Violation("coding-unknown")),
        None => Err(Unread::Violation("coding-unknown")),
    }
}

/// All of it, decoded, of at most `limit` bytes before and after.
pub(super) async fn collect(body: UpstreamBody, headers: &HeaderMap, limit: u64) -> Result<Bytes, Unread> {
    let coding = coding(headers)?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let bytes = body.collect(most).await.map_err(|error| match error {
        CollectError::TooLarge => Unread::Violation("too-large"),
        CollectError::Cut(cut) => Unread::Stop(Fault::new(Code::UpstreamError, cut.0).into()),
    })?;
    let Some(coding) = coding else { return Ok(bytes) };
    decode(coding, &bytes, limit).map_err(|error| {
        Unread::Violation(match error {
            DecodeError::TooLarge => "too-large",
            DecodeError::Malformed => "not-decodable",
        })
    })
}

fn decode(coding: Coding, mut input: &[u8], limit: u64) -> Result<Bytes, DecodeError> {
    let mut decoder = Decoder::new(coding, Limits { bytes: limit, ratio: RATIO });
    let (mut all, mut buffer) = (Vec::new(), vec![0; STEP]);
    loop {
        match decoder.pull(&mut input, &mut buffer)? {
            0 => break,
            made => all.extend_from_slice(buffer.get(..made).unwrap_or_default()),
        }
    }
    decoder.finish().map(|()| all.into())
}
