//! The bytes of a body: counted and compared as they were sent, handed on decoded (step 7 of contract.md § 4).

use super::super::identify::{Digesting, Identified, Provisional, unread};
use super::refusal::note;
use crate::coding::{Coding, DecodeError, Decoder, Limits};
use crate::passage::Passage;
use crate::wire::InBody;
use bytes::{Buf, Bytes};
use http::HeaderValue;
use http::header::ACCEPT_ENCODING;
use portcullis_core::problem::Code;
use portcullis_core::verdict::Stop;
use portcullis_plan::api::Bodies;

/// Bytes that are decoded at once.
const STEP: usize = 32 << 10;

/// The coding of a body, step 5: exactly one layer, known and switched on.
pub(super) fn coding(
    field: Option<&str>,
    bodies: &Bodies,
    passage: &Passage,
) -> Result<Option<Coding>, Stop> {
    let on = |coding: &Coding| match coding {
        Coding::Gzip => bodies.gzip,
        Coding::Brotli => bodies.brotli,
        Coding::Zstd => bodies.zstd,
    };
    match field {
        None => Ok(None),
        Some(token) if token.eq_ignore_ascii_case("identity") => Ok(None),
        Some(token) => match Coding::parse(token).filter(on) {
            Some(coding) => Ok(Some(coding)),
            None => {
                let all = [Coding::Gzip, Coding::Brotli, Coding::Zstd];
                let mut known: Vec<&str> = all.iter().filter(|c| on(c)).map(|c| c.token()).collect();
                known.push("identity");
                let refusal = note(passage, Code::UnsupportedEncoding, "content-encoding").close();
                // RFC 9110 § 15.5.16.
                let field = HeaderValue::try_from(known.join(", "));
                Err(match field {
                    Ok(field) => refusal.header(ACCEPT_ENCODING, field),
                    Err(_) => refusal,
                }
                .into())
            }
        },
    }
}

/// A body that is coming.
pub(super) struct Receiving<'p> {
    body: InBody,
    digesting: Digesting<'p>,
    decoder: Option<Decoder>,
    /// Sent, and not yet decoded.
    piece: Bytes,
    /// More may come out of it.
    pending: bool,
    buffer: Vec<u8>,
}

impl<'p> Receiving<'p> {
    /// At most `limit` bytes, as sent and decoded.
    pub(super) fn new(
        caller: Provisional<'p>,
        mut body: InBody,
        coding: Option<Coding>,
        limit: u64,
        bodies: &Bodies,
    ) -> Self {
        body.set_limit(limit);
        let limits = Limits { bytes: limit, ratio: bodies.max_ratio };
        let buffer = if coding.is_some() { vec![0; STEP] } else { Vec::new() };
        let decoder = coding.map(|coding| Decoder::new(coding, limits));
        Self { body, digesting: caller.digesting(), decoder, piece: Bytes::new(), pending: false, buffer }
    }

    /// The next bytes, decoded.
    pub(super) async fn next(&mut self, passage: &Passage) -> Result<Option<Bytes>, Stop> {
        loop {
            if let Some(decoder) = self.decoder.as_mut().filter(|_| self.pending) {
                let mut input = &*self.piece;
                let before = input.len();
                let made =
                    decoder.pull(&mut input, &mut self.buffer).map_err(|error| failed(error, passage))?;
                let taken = before - input.len();
                self.piece.advance(taken);
                if made > 0 {
                    let bytes = self.buffer.get(..made).unwrap_or_default();
                    return Ok(Some(Bytes::copy_from_slice(bytes)));
                }
                self.pending = false;
                continue;
            }
            let Some(piece) = self.body.next().await.map_err(|error| unread(error, passage))? else {
                return match &self.decoder {
                    Some(decoder) => decoder.finish().map(|()| None).map_err(|error| failed(error, passage)),
                    None => Ok(None),
                };
            };
            self.digesting.update(&piece);
            if self.decoder.is_none() {
                return Ok(Some(piece));
            }
            (self.piece, self.pending) = (piece, true);
        }
    }

    /// All of it.
    pub(super) async fn collect(mut self, passage: &Passage) -> Result<(Bytes, Identified<'p>), Stop> {
        let mut all = Vec::new();
        while let Some(piece) = self.next(passage).await? {
            all.extend_from_slice(&piece);
        }
        Ok((all.into(), self.finish(passage)?))
    }

    /// It has come: its digest is the signed one.
    pub(super) fn finish(self, passage: &Passage) -> Result<Identified<'p>, Stop> {
        passage.seen().request_bytes = self.body.received();
        self.digesting.finish(passage)
    }
}

fn failed(error: DecodeError, passage: &Passage) -> Stop {
    note(passage, error.code(), error.reason()).close().into()
}
