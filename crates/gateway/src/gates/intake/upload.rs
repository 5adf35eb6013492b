//! Files: they wait until every check has passed (contract.md § 13.4).

use super::super::identify::Identified;
use super::super::route::Matched;
use super::receive::Receiving;
use super::refusal::note;
use crate::passage::Passage;
use crate::services::Services;
use crate::spool::{Spooled, Spooling};
use portcullis_contract::body::MediaType;
use portcullis_contract::upload::{self, Accepted, Content, Declared, Rejected, Rename, UploadRules};
use portcullis_core::problem::Code;
use portcullis_core::trail::Gate;
use portcullis_core::verdict::{Fault, Stop};
use std::sync::Arc;

/// Up to so many bytes a file is judged on the thread of requests.
const AT_ONCE: u64 = 256 << 10;

/// A file that is coming.
pub(super) struct Arriving {
    rules: Arc<UploadRules>,
    spooling: Spooling,
}

/// Evidence: a file that passed every check.
#[must_use]
pub(in crate::gates) struct CheckedFile {
    rules: Arc<UploadRules>,
    spooled: Arc<Spooled>,
    accepted: Accepted,
}

impl Arriving {
    pub(super) fn begin(rules: &Arc<UploadRules>, matched: &Matched<'_>, services: &Services) -> Self {
        let name = u128::from_le_bytes(services.random());
        let spooling = Spooling::begin(&services.shared.spool, &matched.api().bodies.spool, name);
        Self { rules: Arc::clone(rules), spooling }
    }

    pub(super) async fn feed(&mut self, bytes: &[u8], passage: &Passage) -> Result<(), Stop> {
        if self.spooling.len() + bytes.len() as u64 > self.rules.max_bytes {
            return Err(note(passage, Code::PayloadTooLarge, "file-too-large").close().into());
        }
        self.spooling.push(bytes).await.map_err(|error| Fault::from(error).into())
    }

    /// It has come: it is judged.
    pub(super) async fn finish(
        self,
        media: Option<&MediaType>,
        file_name: Option<&str>,
        passage: &Passage,
    ) -> Result<CheckedFile, Stop> {
        let Self { rules, spooling } = self;
        let spooled = Arc::new(spooling.finish().await.map_err(Fault::from)?);
        let judged = if spooled.len() <= AT_ONCE {
            upload::inspect(&rules, &*spooled, Declared { media, file_name })
        } else {
            let (spooled, media, rules) = (Arc::clone(&spooled), media.cloned(), Arc::clone(&rules));
            let file_name = file_name.map(str::to_owned);
            let judge = move || {
                let declared = Declared { media: media.as_ref(), file_name: file_name.as_deref() };
                upload::inspect(&rules, &*spooled, declared)
            };
            let judged = tokio::task::spawn_blocking(judge).await;
            judged.map_err(|_| Fault::new(Code::Internal, "file-not-judged"))?
        };
        let accepted = judged.map_err(|rejected| refused(rejected, passage))?;
        passage.note(Gate::Intake, "a file is what it says", passage.operation_at());
        Ok(CheckedFile { rules, spooled, accepted })
    }
}

/// Reads a body that is one file.
pub(super) async fn read<'p>(
    mut receiving: Receiving<'p>,
    media: &MediaType,
    rules: &Arc<UploadRules>,
    matched: &Matched<'p>,
    passage: &Passage,
    services: &Services,
) -> Result<(CheckedFile, Identified<'p>), Stop> {
    let mut arriving = Arriving::begin(rules, matched, services);
    while let Some(piece) = receiving.next(passage).await? {
        arriving.feed(&piece, passage).await?;
    }
    let caller = receiving.finish(passage)?;
    Ok((arriving.finish(Some(media), None, passage).await?, caller))
}

fn refused(rejected: Rejected, passage: &Passage) -> Stop {
    let code = if rejected.malformed { Code::MalformedBody } else { Code::SchemaViolation };
    note(passage, code, rejected.reason).into()
}

impl CheckedFile {
    /// Its bytes.
    pub(super) fn spooled(&self) -> &Arc<Spooled> {
        &self.spooled
    }

    /// Bytes of it.
    pub(super) fn length(&self) -> u64 {
        self.spooled.len()
    }

    /// How it is called when it goes on.
    pub(super) fn rename(&self) -> Rename {
        self.rules.rename
    }

    /// The field that gets its cleaned name.
    pub(super) fn original_name(&self) -> Option<&str> {
        self.rules.original_name.as_deref()
    }

    /// What it is.
    pub(super) const fn accepted(&self) -> &Accepted {
        &self.accepted
    }
}
