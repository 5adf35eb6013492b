//! Evidence: values that were checked, and how they are written anew.

use super::super::graphql;
use super::duties::Discharged;
use super::multipart::Form;
use super::upload::CheckedFile;
use crate::spool::{IN_MEMORY, Piece, Pieces};
use crate::wire::InBody;
use crate::wire::upgrade::Offer;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use portcullis_contract::body::form::FormBody;
use portcullis_contract::json::{self, Keep, Tape};
use portcullis_contract::model::Operation;
use portcullis_contract::param::Parameters;
use portcullis_contract::violation::In;
use portcullis_plan::api::BindSource;
use std::borrow::Cow;
use std::sync::Arc;

/// Evidence: values that were checked against the contract. All that goes on is written from them.
#[must_use]
pub struct Input<'p> {
    operation: &'p Operation,
    contents: Contents,
}

/// What a request holds besides its head.
pub(super) struct Contents {
    pub(super) parameters: Parameters,
    /// The media type as we spell it.
    pub(super) media: Option<HeaderValue>,
    pub(super) body: Judged,
}

/// A body that keeps its contract.
pub(in crate::gates) enum Judged {
    Nothing,
    Json(Declared),
    Lines(Bytes),
    Form(FormBody),
    Text(Bytes),
    /// A request of GraphQL, and the form of its answer.
    GraphQl(Box<graphql::Request>),
    Multipart(Box<Form>),
    /// One file, and its type.
    File(CheckedFile),
    Opaque(InBody),
    Upgrade(Offer),
}

/// A JSON text and what of it is declared: under `unknown: strip` and `read_only: strip` the rest stays behind.
pub(in crate::gates) struct Declared {
    pub(super) tape: Tape,
    pub(super) keep: Option<Keep>,
    /// The bytes as they came (loosening `verbatim_body`).
    pub(super) verbatim: Option<Bytes>,
}

impl Declared {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        json::write(&self.tape, self.keep.as_ref(), out);
    }
}

/// What is sent to the upstream as a body.
pub(in crate::gates) enum Carry {
    Nothing,
    Buffered(Bytes),
    Stream(InBody),
    Pieces(Pieces),
}

impl Carry {
    /// In one piece with its length where it is in memory, else as it is read.
    fn of(pieces: Pieces) -> Self {
        match pieces.in_memory(IN_MEMORY as u64) {
            Some(bytes) => Self::Buffered(bytes),
            None => Self::Pieces(pieces),
        }
    }
}

impl<'p> Input<'p> {
    /// The only way to one: nothing is left to ask about its contents.
    pub(super) fn mint(operation: &'p Operation, contents: Discharged<Contents>) -> Self {
        Self { operation, contents: contents.into_inner() }
    }

    /// Path and query under the upstream's base path, rebuilt from the checked values.
    pub(in crate::gates) fn target(&self, base: &str) -> String {
        self.operation.target(base, &self.contents.parameters)
    }

    /// The declared cookies, written anew.
    pub(in crate::gates) fn cookie(&self) -> Option<HeaderValue> {
        self.operation.cookies(&self.contents.parameters).and_then(|c| HeaderValue::try_from(c).ok())
    }

    /// The declared header parameters, written anew: upstreams get the values that were judged, not the client's
    /// spelling of them.
    pub(in crate::gates) fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let written = self.operation.headers(&self.contents.parameters);
        written
            .filter_map(|(name, value)| {
                Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
            })
            .collect()
    }

    /// What the answer is walked with, if the request is one of GraphQL.
    pub(in crate::gates) fn take_answer(&mut self) -> Option<graphql::Answer> {
        match &mut self.contents.body {
            Judged::GraphQl(request) => request.answer.take(),
            _ => None,
        }
    }

    /// Canonical media type, body, and the offer to upgrade.
    pub(in crate::gates) fn into_body(self) -> (Option<HeaderValue>, Carry, Option<Offer>) {
        let carry = match self.contents.body {
            Judged::Nothing => Carry::Nothing,
            Judged::Upgrade(upgrade) => return (None, Carry::Nothing, Some(upgrade)),
            Judged::Json(Declared { verbatim: Some(bytes), .. }) => Carry::Buffered(bytes),
            Judged::Json(declared) => {
                let mut out = Vec::with_capacity(512);
                declared.write(&mut out);
                Carry::Buffered(out.into())
            }
            Judged::Form(form) => Carry::Buffered(Bytes::copy_from_slice(form.text().as_bytes())),
            Judged::Text(text) | Judged::Lines(text) => Carry::Buffered(text),
            Judged::GraphQl(request) => Carry::Buffered(request.body),
            Judged::Multipart(form) => {
                return (HeaderValue::try_from(form.media).ok(), Carry::of(form.pieces), None);
            }
            Judged::File(file) => {
                let media = HeaderValue::try_from(&*file.accepted().media).ok();
                let pieces = Pieces::new([Piece::File(Arc::clone(file.spooled()))]);
                return (media, Carry::of(pieces), None);
            }
            Judged::Opaque(body) => Carry::Stream(body),
        };
        (self.contents.media, carry, None)
    }

    /// The canonical text at a place that a rule compares; nothing when it is absent or no scalar.
    pub(in crate::gates) fn text_at(&self, source: &BindSource) -> Option<Cow<'_, str>> {
        let parameter = |place, name: &str| {
            Some(Cow::Borrowed(self.operation.value(&self.contents.parameters, place, name)?.as_text()?))
        };
        match source {
            BindSource::Path(name) => parameter(In::Path, name),
            BindSource::Query(name) => parameter(In::Query, name),
            BindSource::Header(name) => parameter(In::Header, name),
            BindSource::Body(pointer) => {
                let node = match &self.contents.body {
                    Judged::Json(declared) => declared.tape.root().pointer(pointer)?,
                    Judged::Form(form) => form.tape().root().pointer(pointer)?,
                    Judged::Multipart(form) => form.tape.root().pointer(pointer)?,
                    _ => return None,
                };
                node.as_str()
                    .or_else(|| node.number_text().filter(|_| node.is_integer_form()))
                    .map(Cow::Borrowed)
            }
        }
    }
}
