//! Files: they wait until every check has passed (contract.md § 13.4).

use super::super::identify::Identified;
use super::super::route::Matched;
use super::input::Judged;
use super::receive::Receiving;
use super::refusal;
use crate::passage::Passage;
use crate::scan::Verdict;
use crate::services::Services;
use crate::spool::{Spooled, Spooling};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_contract::body::MediaType;
use portcullis_contract::model::FilePlace;
use portcullis_contract::upload::{self, Accepted, Content, Declared, Rejected, Rename, UploadRules, Why};
use portcullis_core::problem::Code;
use portcullis_core::trail::Gate;
use portcullis_core::verdict::{Fault, Stop};
use portcullis_telemetry::metrics::Metrics;
use portcullis_telemetry::note;
use std::sync::Arc;

/// Up to so many bytes a file is judged on the thread of requests.
const AT_ONCE: u64 = 256 << 10;

/// A file that is coming.
pub(super) struct Arriving {
    rules: Arc<UploadRules>,
    spooling: Spooling,
    metrics: Arc<Metrics>,
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
        Self { rules: Arc::clone(rules), spooling, metrics: Arc::clone(&services.shared.metrics) }
    }

    pub(super) async fn feed(&mut self, bytes: &[u8], passage: &Passage) -> Result<(), Stop> {
        if self.spooling.len() + bytes.len() as u64 > self.rules.max_bytes {
            return Err(refusal::note(passage, Code::PayloadTooLarge, "file-too-large").close().into());
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
        let Self { rules, spooling, metrics } = self;
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
        scan(&rules, &spooled, passage, &metrics).await?;
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

/// Files that stand in a JSON text as base64 (RFC 4648 § 4, with padding and nothing between).
pub(super) async fn in_json(
    judged: &Judged,
    places: &[FilePlace],
    passage: &Passage,
    services: &Services,
) -> Result<(), Stop> {
    let Judged::Json(declared) = judged else { return Ok(()) };
    for place in places {
        for node in place.strings(declared.tape.root()) {
            let bytes = STANDARD.decode(node.as_str().unwrap_or_default());
            let bytes =
                bytes.map_err(|_| refusal::refuse(passage, Code::MalformedBody, "file-not-base64"))?;
            let bytes = Arc::new(Spooled::from(bytes));
            // Of an upload that is already in memory: no larger than a body may be.
            let nothing = Declared { media: None, file_name: None };
            upload::inspect(&place.rules, &*bytes, nothing).map_err(|rejected| refused(rejected, passage))?;
            passage.note(Gate::Intake, "a file is of a type that is allowed", passage.operation_at());
            scan(&place.rules, &bytes, passage, &services.shared.metrics).await?;
        }
    }
    Ok(())
}

fn refused(rejected: Rejected, passage: &Passage) -> Stop {
    let code = match rejected.why {
        Why::Type => Code::FileTypeRejected,
        Why::Malformed => Code::MalformedBody,
        Why::Unreadable => return Fault::new(Code::Internal, rejected.reason).into(),
    };
    refusal::note(passage, code, rejected.reason).into()
}

/// Asks the scanner of the API, if it has one. Without an answer nothing passes, unless that is loosened.
async fn scan(
    rules: &UploadRules,
    spooled: &Arc<Spooled>,
    passage: &Passage,
    metrics: &Metrics,
) -> Result<(), Stop> {
    let matched = passage.seen().matched;
    let Some(scanner) = matched.and_then(|(api, _)| passage.plan.scanner(api)) else { return Ok(()) };
    let id = passage.id.to_string();
    match scanner.scan(spooled).await {
        Verdict::Clean => {
            metrics.upload_scanned("clean");
            passage.note(Gate::Intake, "a file was scanned", passage.operation_at());
            Ok(())
        }
        Verdict::Found(name) => {
            metrics.upload_scanned("found");
            let values = [("request", id.as_str().into()), ("signature", name.as_str().into())];
            note::warn("upload.malware", "the scanner found something in a file; it was refused", &values);
            Err(refusal::note(passage, Code::MalwareDetected, "malware-found").into())
        }
        Verdict::Unavailable(why) => {
            let operation = matched.and_then(|(api, operation)| passage.plan.route((api, operation)));
            let loosened = operation.is_some_and(|route| {
                scanner.plan().unscanned.iter().any(|id| **id == *"*" || **id == *route.operation)
            });
            if loosened && !rules.scan_required {
                metrics.upload_scanned("unscanned");
                let values = [("request", id.as_str().into()), ("why", why.into())];
                note::error(
                    "upload.unscanned",
                    "critical: a file went on unscanned (loosening `unscanned`)",
                    &values,
                );
                passage.note(Gate::Intake, "a file passes unscanned", passage.operation_at());
                return Ok(());
            }
            metrics.upload_scanned("unavailable");
            passage.note(Gate::Intake, why, passage.operation_at());
            Err(Fault::new(Code::ScannerUnavailable, why).retry_after(5).into())
        }
    }
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
