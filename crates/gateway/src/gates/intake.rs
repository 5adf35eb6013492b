//! Parameters and body: read once, checked against the contract, written anew (contract.md § 4).
//!
//! No body byte is asked for before the permit exists; the first failing step answers. What only the world can say
//! (whether a URL leads inside, whether a file is clean) is a duty, and no [`Input`] is minted past one.

mod accept;
mod duties;
mod input;
mod judge;
mod refusal;
mod texts;

pub use input::Input;
pub(super) use input::{Carry, Judged};

use super::authorize::OperationPermit;
use super::cors;
use super::identify::{Identified, Provisional};
use super::route::Matched;
use crate::passage::Passage;
use crate::services::Services;
use crate::wire::upgrade::Offer;
use crate::wire::{Arrival, InBody};
use duties::Undischarged;
use http::HeaderValue;
use http::header::ACCEPT_ENCODING;
use input::Contents;
use portcullis_contract::body::MediaType;
use portcullis_contract::duty::Duty;
use portcullis_contract::model::{BodyPlan, Operation};
use portcullis_core::head::Head;
use portcullis_core::problem::Code;
use portcullis_core::trail::Gate;
use portcullis_core::verdict::Stop;
use portcullis_plan::api::Exchange;
use refusal::{note, refuse, violated};
use std::time::Duration;

/// What a request brings besides its head; nothing of it has been read.
pub struct Payload {
    /// The body.
    pub body: InBody,
    /// The offer to open a WebSocket.
    pub upgrade: Option<Offer>,
}

/// Reads what the operation declares, and nothing else. Consumes the provisional caller: whoever signed a digest is
/// only known once the body has it.
pub async fn read<'p>(
    _permit: &OperationPermit,
    caller: Provisional<'p>,
    head: &Head,
    payload: Payload,
    matched: &Matched<'p>,
    passage: &Passage,
    services: &Services,
) -> Result<(Input<'p>, Identified<'p>), Stop> {
    let operation = matched.operation();
    let parameters = operation
        .parameters(head, matched.segments())
        .map_err(|violations| violated(&violations, passage))?;
    // URLs among parameters join here.
    let duties: Vec<Duty> = Vec::new();
    if !accept::leaves_any(head.accept(), operation) {
        return Err(refuse(passage, Code::NotAcceptable, "accept"));
    }
    let Payload { body, upgrade } = payload;
    if let Exchange::WebSocket { .. } = matched.policy().exchange {
        let Some(upgrade) = upgrade else {
            return Err(refuse(passage, Code::HeaderRefused, "websocket-without-upgrade"));
        };
        cors::websocket(head, matched.api().headers.browsers.as_ref())?;
        passage.note(Gate::Intake, "websocket handshake", Some(operation.at));
        let caller = caller.without_body(passage)?;
        let contents = Contents { parameters, media: None, body: Judged::Upgrade(upgrade) };
        let contents = Undischarged::new(contents, duties).discharge(matched, passage, services).await?;
        return Ok((Input::mint(operation, contents), caller));
    }
    let (media, judged, caller) = take_body(caller, head, body, operation, matched, passage).await?;
    passage.note(Gate::Intake, "keeps the contract", Some(operation.at));
    let contents = judged.join(duties).map(|body| Contents { parameters, media, body });
    let contents = contents.discharge(matched, passage, services).await?;
    Ok((Input::mint(operation, contents), caller))
}

/// Media type as it goes on, the body with what it still owes, and the caller, whose digest it has.
type Taken<'p> = (Option<HeaderValue>, Undischarged<Judged>, Identified<'p>);

async fn take_body<'p>(
    caller: Provisional<'p>,
    head: &Head,
    mut body: InBody,
    operation: &Operation,
    matched: &Matched<'p>,
    passage: &Passage,
) -> Result<Taken<'p>, Stop> {
    let nothing = |caller: Provisional<'p>| {
        let caller = caller.without_body(passage)?;
        Ok((None, Undischarged::new(Judged::Nothing, Vec::new()), caller))
    };
    let declared = match (&operation.body, body.is_empty() && head.content_length().unwrap_or(0) == 0) {
        (None, true) => return nothing(caller),
        (None, false) => return Err(refuse(passage, Code::BodyUnexpected, "body-not-declared")),
        (Some(declared), true) if declared.required => {
            return Err(refuse(passage, Code::BodyMissing, "body-required"));
        }
        (Some(_), true) => return nothing(caller),
        (Some(declared), false) => declared,
    };
    if operation.request.require_length && head.content_length().is_none() {
        return Err(refuse(passage, Code::LengthRequired, "chunked"));
    }
    let media = head.content_type().map(MediaType::parse);
    let Some(Ok(media)) = media else {
        return Err(refuse(passage, Code::UnsupportedMediaType, "content-type-missing-or-malformed"));
    };
    let Some((content, plan)) = declared.plan(&media).filter(|_| media.is_utf8()) else {
        return Err(refuse(passage, Code::UnsupportedMediaType, "media-type-not-declared"));
    };
    if head.content_encoding().is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
        let refusal = note(passage, Code::UnsupportedEncoding, "content-encoding");
        return Err(refusal.header(ACCEPT_ENCODING, HeaderValue::from_static("identity")).into());
    }
    let limit = matched.policy().max_bytes;
    if head.content_length().is_some_and(|length| length > limit) {
        return Err(note(passage, Code::PayloadTooLarge, "content-length").close().into());
    }
    body.set_arrival(Some(Arrival {
        grace: Duration::from_secs(5),
        rate: 500,
        total: Duration::from_secs(u64::from(matched.policy().arrival_s)),
    }));
    let canonical = HeaderValue::try_from(media.essence()).ok();
    if let BodyPlan::Opaque = plan {
        passage.note(Gate::Intake, "opaque body, sizes only", Some(content.at));
        // With a signed digest it is read here, by the clock of bodies, and only then handed on.
        let (mut body, caller) = caller.stream(body, limit, passage).await?;
        if matched.policy().exchange == Exchange::Grpc {
            body.set_arrival(None);
        } else {
            body.set_limit(limit);
        }
        return Ok((canonical, Undischarged::new(Judged::Opaque(body), Vec::new()), caller));
    }
    let (bytes, caller) = caller.collect(body, limit, passage).await?;
    passage.seen().request_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let judged = judge::judge(bytes, &plan, operation, matched, passage)?;
    Ok((canonical, judged, caller))
}
