//! `multipart/form-data`: read part by part, files beside, and written anew (contract.md § 11.5).

use super::super::identify::Identified;
use super::super::route::Matched;
use super::duties::Undischarged;
use super::input::Judged;
use super::judge::{bounds, stripped, unscanned};
use super::receive::Receiving;
use super::refusal::{note, refuse, report_or_refuse, violated};
use super::texts::{marked, texts};
use super::upload::{Arriving, CheckedFile};
use crate::passage::Passage;
use crate::services::Services;
use crate::spool::{Piece, Pieces};
use portcullis_contract::body::MediaType;
use portcullis_contract::body::multipart::{
    Event, Gathering, Malformed, Multipart, Parser, PartError, SentPart, Takes,
};
use portcullis_contract::body::text::TextRules;
use portcullis_contract::json::Tape;
use portcullis_contract::upload::Rename;
use portcullis_contract::violation::{Rule, Violation};
use portcullis_core::problem::Code;
use portcullis_core::verdict::Stop;
use std::fmt::Write as _;
use std::sync::Arc;

/// A multipart body that was judged.
pub(in crate::gates) struct Form {
    /// Its fields as one object.
    pub(super) tape: Tape,
    /// Media type with our boundary.
    pub(super) media: String,
    /// What goes on.
    pub(super) pieces: Pieces,
}

/// The part that is coming.
enum Coming {
    Bytes(Vec<u8>, usize),
    File(Box<Arriving>, Option<MediaType>, Option<Box<str>>),
    Nothing,
}

/// Reads and judges a body.
pub(super) async fn read<'p>(
    mut receiving: Receiving<'p>,
    media: &MediaType,
    plan: &Multipart,
    matched: &Matched<'p>,
    passage: &Passage,
    services: &Services,
) -> Result<(Undischarged<Judged>, Identified<'p>), Stop> {
    let malformed = |Malformed(reason)| refuse(passage, Code::MalformedBody, reason);
    let mut parser = Parser::new(media.parameter("boundary")).map_err(malformed)?;
    let mut gathering = plan.gather();
    let mut files: Vec<CheckedFile> = Vec::new();
    let mut coming = Coming::Nothing;
    let most = usize::try_from(matched.policy().max_bytes).unwrap_or(usize::MAX);
    while let Some(piece) = receiving.next(passage).await? {
        parser.push(&piece);
        while let Some(event) = parser.next().map_err(malformed)? {
            match event {
                Event::Begin(head) => {
                    let (media, file_name) = (head.media.clone(), head.file_name.clone());
                    coming = match gathering.begin(head).map_err(malformed)? {
                        Takes::Bytes(bytes) => Coming::Bytes(Vec::new(), bytes.min(most)),
                        Takes::File(rules) => {
                            let arriving = Arriving::begin(rules, matched, services);
                            Coming::File(Box::new(arriving), media, file_name)
                        }
                        Takes::Nothing => Coming::Nothing,
                    };
                }
                Event::Data(data) => match &mut coming {
                    Coming::Bytes(bytes, most) if bytes.len() + data.len() > *most => {
                        return Err(note(passage, Code::PayloadTooLarge, "part-too-large").close().into());
                    }
                    Coming::Bytes(bytes, _) => bytes.extend_from_slice(data),
                    Coming::File(arriving, ..) => arriving.feed(data, passage).await?,
                    Coming::Nothing => {}
                },
                Event::End => {
                    let part = std::mem::replace(&mut coming, Coming::Nothing);
                    end(part, &mut gathering, &mut files, matched, passage).await?;
                }
            }
        }
    }
    parser.finish().map_err(malformed)?;
    let caller = receiving.finish(passage)?;
    let operation = matched.operation();
    let body = gathering.finish().map_err(|violations| violated(&violations, passage))?;
    if !body.violations().is_empty() {
        report_or_refuse(body.violations().to_vec(), matched, passage)?;
    }
    stripped(u32::from(body.stripped()), operation, passage);
    let rules = TextRules { markup: operation.request.text, bidi_controls: operation.request.bidi_controls };
    texts(body.tape(), rules, matched, passage)?;
    marked(plan.schema(), body.tape(), matched, passage)?;
    let urls = plan.schema().urls(body.tape());
    let (tape, parts) = body.into_parts();
    let boundary = format!("{:032x}", u128::from_le_bytes(services.random()));
    let pieces = write(&parts, files, &boundary, services).map_err(|v| violated(&[v], passage))?;
    let media = format!("multipart/form-data; boundary={boundary}");
    let judged = Judged::Multipart(Box::new(Form { tape, media, pieces }));
    Ok((Undischarged::new(judged, urls), caller))
}

async fn end(
    part: Coming,
    gathering: &mut Gathering<'_>,
    files: &mut Vec<CheckedFile>,
    matched: &Matched<'_>,
    passage: &Passage,
) -> Result<(), Stop> {
    match part {
        Coming::Nothing => Ok(()),
        Coming::Bytes(bytes, _) => {
            let done = gathering.bytes(bytes, &bounds(matched.operation()), passage.plan.hash_key());
            done.map_err(|error| match error {
                PartError::Malformed(Malformed(reason)) => refuse(passage, Code::MalformedBody, reason),
                PartError::Json(error) => unscanned(error, passage),
            })
        }
        Coming::File(arriving, media, file_name) => {
            let file = arriving.finish(media.as_ref(), file_name.as_deref(), passage).await?;
            gathering.file(file.length());
            files.push(file);
            Ok(())
        }
    }
}

/// The parts in the order received, under a boundary that nobody could know.
fn write(
    parts: &[SentPart],
    files: Vec<CheckedFile>,
    boundary: &str,
    services: &Services,
) -> Result<Pieces, Violation> {
    let mut files = files.into_iter();
    let (mut pieces, mut out) = (Vec::new(), Vec::new());
    for part in parts {
        let Some(bytes) = &part.bytes else {
            let Some(file) = files.next() else { continue };
            let accepted = file.accepted();
            let name = match (file.rename(), &accepted.name) {
                (Rename::Keep, Some(name)) => name.to_string(),
                _ => format!("{}.{}", uuid(services.random()), accepted.extension),
            };
            part.write_head(boundary, Some(&name), Some(&accepted.media), &mut out);
            pieces.push(Piece::Bytes(std::mem::take(&mut out).into()));
            pieces.push(Piece::File(Arc::clone(file.spooled())));
            out.extend_from_slice(b"\r\n");
            if let (Some(field), Some(original)) = (file.original_name(), &accepted.name) {
                // What the field holds is what we say, and nobody else.
                if parts.iter().any(|other| *other.name == *field) {
                    let at = format!("/{field}");
                    return Err(Violation::pointer(
                        Rule::NotAllowed,
                        at,
                        "the name of a file is ours to give",
                    ));
                }
                let named = SentPart {
                    name: field.into(),
                    media: None,
                    headers: Vec::new(),
                    bytes: Some(original.as_bytes().to_vec()),
                };
                named.write_head(boundary, None, None, &mut out);
                out.extend_from_slice(original.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            continue;
        };
        part.write_head(boundary, None, None, &mut out);
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    pieces.push(Piece::Bytes(out.into()));
    Ok(Pieces::new(pieces))
}

/// A random UUID (RFC 9562 § 5.4).
pub(super) fn uuid(random: [u8; 16]) -> String {
    let bits = u128::from_be_bytes(random) & !(0xf << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62;
    let hex = format!("{bits:032x}");
    let mut out = String::with_capacity(36);
    for (at, digit) in hex.chars().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            out.push('-');
        }
        let _ = out.write_char(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_say_that_they_are_random() {
        assert_eq!(uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
