//! Parameters and body: read once, checked against the contract, written anew (contract.md § 4).
//!
//! No body byte is asked for before the permit exists; the first failing step answers. What only the world can say
//! (whether a URL leads inside, whether a file is clean) is a duty, and no [`Input`] is minted past one.

mod accept;
mod duties;
mod input;
mod judge;
mod multipart;
mod receive;
mod refusal;
mod texts;
mod upload;
mod urls;

pub use input::Input;
pub(super) use input::{Carry, Judged};

use super::authorize::OperationPermit;
use super::cors;
use super::graphql;
use super::identify::{Identified, Provisional, unread};
use super::route::Matched;
use crate::passage::Passage;
use crate::services::Services;
use crate::wire::upgrade::Offer;
use crate::wire::{Arrival, InBody};
use duties::Undischarged;
use http::HeaderValue;
use input::Contents;
use portcullis_contract::body::{MediaType, MediaTypeError};
use portcullis_contract::duty::Duty;
use portcullis_contract::model::{BodyPlan, Content, Operation, RequestBody};
use portcullis_core::head::Head;
use portcullis_core::problem::Code;
use portcullis_core::trail::Gate;
use portcullis_core::verdict::Stop;
use portcullis_plan::api::Exchange;
use receive::Receiving;
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
    let duties: Vec<Duty> = operation.parameter_urls(&parameters);
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
    let (media, judged, caller) =
        take_body(caller, head, body, operation, matched, passage, services).await?;
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
    services: &Services,
) -> Result<Taken<'p>, Stop> {
    let nothing = |caller: Provisional<'p>| {
        let caller = caller.without_body(passage)?;
        Ok((None, Undischarged::new(Judged::Nothing, Vec::new()), caller))
    };
    let declared = match (&operation.body, body.is_empty() && head.content_length().unwrap_or(0) == 0) {
        (None, true) => return nothing(caller),
        (None, false) => {
            // Chunks without a byte in them are no body; with a length there is nothing to wait for.
            let sent = head.content_length().is_some()
                || body.has_data().await.map_err(|error| unread(error, passage))?;
            return match sent {
                true => Err(note(passage, Code::BodyUnexpected, "body-not-declared").close().into()),
                false => nothing(caller),
            };
        }
        (Some(declared), true) if declared.required => {
            return Err(refuse(passage, Code::BodyMissing, "body-required"));
        }
        (Some(_), true) => return nothing(caller),
        (Some(declared), false) => declared,
    };
    if operation.request.require_length && head.content_length().is_none() {
        return Err(refuse(passage, Code::LengthRequired, "chunked"));
    }
    let media = media_type(head, declared, passage)?;
    let Some((content, plan)) = declared.plan(&media).filter(|_| media.is_utf8()) else {
        return Err(refuse(passage, Code::UnsupportedMediaType, "media-type-not-declared"));
    };
    let bodies = &matched.api().bodies;
    let coding = receive::coding(head.content_encoding(), bodies, passage)?;
    let limit = limit(&plan, matched);
    if head.content_length().is_some_and(|length| length > limit) {
        return Err(note(passage, Code::PayloadTooLarge, "content-length").close().into());
    }
    body.set_arrival(Some(arrival(&plan, head.content_length().unwrap_or(limit), matched)));
    let canonical = HeaderValue::try_from(media.essence()).ok();
    if let (BodyPlan::Opaque, None) = (&plan, coding) {
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
    let receiving = |caller, body| Receiving::new(caller, body, coding, limit, bodies);
    let (bytes, caller) = match (&plan, coding) {
        (BodyPlan::Multipart(plan), _) => {
            let receiving = receiving(caller, body);
            let (judged, caller) =
                multipart::read(receiving, &media, plan, matched, passage, services).await?;
            return Ok((None, judged, caller));
        }
        (BodyPlan::Upload(rules), _) => {
            let receiving = receiving(caller, body);
            let (file, caller) = upload::read(receiving, &media, rules, matched, passage, services).await?;
            return Ok((None, Undischarged::new(Judged::File(file), Vec::new()), caller));
        }
        // The usual body: one piece, which is handed on without a copy.
        (_, None) => {
            let (bytes, caller) = caller.collect(body, limit, passage).await?;
            passage.seen().request_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            (bytes, caller)
        }
        (_, Some(_)) => receiving(caller, body).collect(passage).await?,
    };
    if bytes.is_empty() && coding.is_none() {
        // Chunks without a byte in them.
        return match declared.required {
            true => Err(refuse(passage, Code::BodyMissing, "body-required")),
            false => Ok((None, Undischarged::new(Judged::Nothing, Vec::new()), caller)),
        };
    }
    if let Some(plan) = &matched.policy().graphql {
        let request = graphql::judge(plan, bytes, head, &caller, matched, passage, services)?;
        return Ok((canonical, Undischarged::new(Judged::GraphQl(Box::new(request)), Vec::new()), caller));
    }
    if let BodyPlan::Opaque = plan {
        passage.note(Gate::Intake, "opaque body, sizes only", Some(content.at));
        return Ok((canonical, Undischarged::new(Judged::Text(bytes), Vec::new()), caller));
    }
    let judged = judge::judge(bytes, &plan, operation, matched, passage)?;
    upload::in_json(judged.value(), &content.files, passage, services).await?;
    Ok((canonical, judged, caller))
}

/// Exactly one, in the grammar of RFC 9110 § 8.3. A multipart body with two boundaries is as malformed as any that
/// can be cut in two ways.
fn media_type(head: &Head, declared: &RequestBody, passage: &Passage) -> Result<MediaType, Stop> {
    let Some(text) = head.content_type() else {
        return Err(refuse(passage, Code::UnsupportedMediaType, "content-type-missing"));
    };
    MediaType::parse(text).map_err(|error| {
        let essence = text.split(';').next().unwrap_or_default().trim_ascii();
        let multipart = |content: &Content| matches!(content.plan, BodyPlan::Multipart(_));
        let twice = error == MediaTypeError::DuplicateParameter
            && essence.eq_ignore_ascii_case("multipart/form-data")
            && declared.contents.iter().any(multipart);
        if twice {
            return refuse(passage, Code::MalformedBody, "content-type-parameter-twice");
        }
        refuse(passage, Code::UnsupportedMediaType, "content-type-malformed")
    })
}

/// Bytes of a body, as sent and decoded.
fn limit(plan: &BodyPlan, matched: &Matched<'_>) -> u64 {
    let policy = matched.policy();
    match plan {
        BodyPlan::Upload(_) => policy.upload_bytes,
        BodyPlan::Multipart(plan) if plan.takes_files() => policy.upload_bytes,
        _ => policy.max_bytes,
    }
}

/// How fast a body of so many bytes must arrive: at least 500 B/s after 5 s, 60 s in all; with files one second more
/// for each 100 KiB, half an hour at most.
fn arrival(plan: &BodyPlan, bytes: u64, matched: &Matched<'_>) -> Arrival {
    let files = match plan {
        BodyPlan::Upload(_) => true,
        BodyPlan::Multipart(plan) => plan.takes_files(),
        _ => false,
    };
    let total = within(u64::from(matched.policy().arrival_s), files.then_some(bytes));
    Arrival { grace: Duration::from_secs(5), rate: 500, total: Duration::from_secs(total) }
}

/// Seconds in all.
fn within(usual: u64, file_bytes: Option<u64>) -> u64 {
    file_bytes.map_or(usual, |bytes| (usual + bytes / (100 << 10)).min(1800))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_more_time_and_no_day() {
        assert_eq!(within(60, None), 60);
        assert_eq!(within(60, Some(0)), 60);
        assert_eq!(within(60, Some(25 << 20)), 316);
        assert_eq!(within(60, Some(1 << 30)), 1800);
        assert_eq!(within(60, Some(u64::MAX / 2)), 1800);
    }
}
