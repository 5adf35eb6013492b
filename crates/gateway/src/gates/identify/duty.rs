//! What a signature says of the body (RFC 9530): a duty that travels with the caller and can only be discharged.
//!
//! The gates before `intake` see a [`Provisional`] caller, those after it an [`Identified`] one. There is no other way
//! from the one to the other than a body that has the signed digest, so nothing is forwarded before it was compared.

use super::challenge::ACCEPT_SIGNATURE;
use super::{Caller, Identified};
use crate::passage::Passage;
use crate::wire::{InBody, InBodyError};
use bytes::Bytes;
use http::HeaderName;
use portcullis_core::problem::Code;
use portcullis_core::trail::Gate;
use portcullis_core::verdict::{Refusal, Stop};
use portcullis_jose::digest::{Check, Digests};
use portcullis_plan::access::Alternative;
use std::ops::Deref;

/// Evidence: a caller whose proof was checked, but for what it says of the body.
#[must_use]
pub struct Provisional<'p> {
    identified: Identified<'p>,
    duty: Option<Digests>,
}

impl<'p> Provisional<'p> {
    pub(super) fn new(identified: Identified<'p>, duty: Option<Digests>) -> Self {
        Self { identified, duty }
    }

    /// The alternative of the operation that was met.
    pub(in crate::gates) fn alternative(&self) -> Option<&Alternative> {
        self.identified.alternative
    }

    /// There is no body, and none is read: a digest must be that of nothing.
    pub(in crate::gates) fn without_body(self, passage: &Passage) -> Result<Identified<'p>, Stop> {
        self.discharge(b"", passage)
    }

    /// Reads the whole body, of at most `limit` bytes as they were sent (before content decoding).
    pub(in crate::gates) async fn collect(
        self,
        body: InBody,
        limit: u64,
        passage: &Passage,
    ) -> Result<(Bytes, Identified<'p>), Stop> {
        let bytes = body.collect(limit).await.map_err(|error| unread(error, passage))?;
        let caller = self.discharge(&bytes, passage)?;
        Ok((bytes, caller))
    }

    /// Hands a body on unread; one with a signed digest is read first, as nothing of it may go on before it matches.
    pub(in crate::gates) async fn stream(
        self,
        body: InBody,
        limit: u64,
        passage: &Passage,
    ) -> Result<(InBody, Identified<'p>), Stop> {
        if self.duty.is_none() {
            return Ok((body, self.identified));
        }
        let (bytes, caller) = self.collect(body, limit, passage).await?;
        passage.seen().request_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok((InBody::of(bytes.into()), caller))
    }

    /// The body will come in pieces, as they were sent.
    pub(in crate::gates) fn digesting(self) -> Digesting<'p> {
        Digesting { check: self.duty.map(|duty| duty.check()), identified: self.identified }
    }

    fn discharge(self, body: &[u8], passage: &Passage) -> Result<Identified<'p>, Stop> {
        let mut digesting = self.digesting();
        digesting.update(body);
        digesting.finish(passage)
    }
}

/// Evidence to be: a provisional caller whose body is coming.
#[must_use]
pub(in crate::gates) struct Digesting<'p> {
    identified: Identified<'p>,
    check: Option<Check>,
}

impl<'p> Digesting<'p> {
    /// The next bytes, before content decoding.
    pub(in crate::gates) fn update(&mut self, bytes: &[u8]) {
        if let Some(check) = &mut self.check {
            check.update(bytes);
        }
    }

    /// The body has ended.
    pub(in crate::gates) fn finish(self, passage: &Passage) -> Result<Identified<'p>, Stop> {
        let Some(check) = self.check else { return Ok(self.identified) };
        if check.finish() {
            passage.note(Gate::Intake, "the body has its signed digest", None);
            return Ok(self.identified);
        }
        passage.note(Gate::Intake, "digest-mismatch", None);
        let refusal = Refusal::new(Code::SignatureDigest, "digest-mismatch");
        Err(refusal.header(HeaderName::from_static("accept-signature"), ACCEPT_SIGNATURE).into())
    }
}

impl Deref for Provisional<'_> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.identified
    }
}

pub(in crate::gates) fn unread(error: InBodyError, passage: &Passage) -> Stop {
    passage.note(Gate::Intake, "body-not-read", passage.operation_at());
    Refusal::new(error.code(), "body-not-read").close().into()
}
