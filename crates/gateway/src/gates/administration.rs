//! What the admin API does (callers.md § 20). Each change is in the audit ledger in the transaction that makes it, with
//! the caller as its actor; a secret leaves once, in the answer to whoever made it.

mod keys;
mod revocations;

use super::authorize::ObjectPermit;
use super::identify::Identified;
use super::intake::{Carry, Input};
use super::route::Matched;
use crate::passage::Passage;
use crate::services::Services;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use portcullis_core::opaque::Id16;
use portcullis_core::problem::Code;
use portcullis_core::trail::Gate;
use portcullis_core::verdict::{Answer, Fault, Refusal, Stop};
use portcullis_plan::api::BindSource;
use portcullis_store::StoreError;
use portcullis_store::ledger::{By, How};
use portcullis_vault::issue::IssueError;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A request that may be done, and who asks.
struct Desk<'a> {
    passage: &'a Passage,
    services: &'a Services,
    by: By,
    /// What an administrator with a tenant may touch.
    tenant: Option<&'a str>,
}

/// Does what was asked for. Consumes the permit and the input.
pub async fn act(
    permit: ObjectPermit,
    input: Input<'_>,
    caller: &Identified<'_>,
    matched: &Matched<'_>,
    passage: &Passage,
    services: &Services,
) -> Result<Answer, Stop> {
    // Its place among the requests under way ends with the answer.
    let _under_way = permit.into_under_way();
    let desk = Desk { passage, services, by: by(caller, passage), tenant: caller.tenant.as_deref() };
    let operation = &*matched.operation().id;
    passage.note(Gate::Forward, operation.to_owned(), Some(matched.operation().at));
    if services.dry {
        return answer(200, &Value::Null);
    }
    match operation {
        "listKeys" => desk.list(&input).await,
        "getKey" => desk.get(key(&input)?).await,
        "createKey" => desk.create(words(input)?).await,
        "rotateKey" => desk.rotate(key(&input)?, words(input)?).await,
        "revokeKey" => desk.end(key(&input)?, words(input)?).await,
        "suspendKey" => desk.suspend(key(&input)?, words(input)?).await,
        "resumeKey" => desk.resume(key(&input)?, words(input)?).await,
        "revokeTokens" => desk.revoke(words(input)?).await,
        _ => Err(Fault::new(Code::Internal, "administration-without-deed").into()),
    }
}

/// Who is written into the ledger.
fn by(caller: &Identified<'_>, passage: &Passage) -> By {
    let actor = match (&caller.key, &caller.subject, &caller.client) {
        (Some(key), ..) => format!("key:{}", key.id),
        (None, Some(subject), _) => format!("{} {}", subject.issuer, subject.id),
        (None, None, Some(client)) => format!("client:{client}"),
        (None, None, None) => "unnamed".to_owned(),
    };
    By { actor, how: How::AdminApi, correlation: Some(passage.id.to_string()) }
}

/// The key that the path names.
fn key(input: &Input<'_>) -> Result<Id16, Stop> {
    let text = input.text_at(&BindSource::Path("key".into())).unwrap_or_default();
    Id16::parse(&text).map_err(|_| Refusal::new(Code::NotFound, "key-id-form").into())
}

/// The body, which keeps its contract, as a type. Nothing is an empty object.
fn words<T: DeserializeOwned>(input: Input<'_>) -> Result<T, Stop> {
    let read = match input.into_body() {
        (_, Carry::Buffered(bytes), _) => serde_json::from_slice(&bytes),
        _ => serde_json::from_slice(b"{}"),
    };
    // The contract has judged it; what it lets through and this does not is a fault of ours.
    read.map_err(|_| Fault::new(Code::Internal, "administration-words").into())
}

fn answer(status: u16, body: &Value) -> Result<Answer, Stop> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(Answer { status, headers, body: body.to_string().into_bytes(), reason: "administration" })
}

/// What was asked for cannot be: why, in a sentence of ours.
fn cannot(why: &'static str) -> Stop {
    let mut refusal = Refusal::new(Code::OrderRefused, why);
    refusal.members.push(("detail", Value::from(why).to_string()));
    refusal.into()
}

fn refused(error: IssueError) -> Stop {
    match error {
        IssueError::Order(why) => cannot(why),
        IssueError::Conflict(word) => {
            let code = match word {
                "key-rotation-in-progress" => Code::KeyRotationInProgress,
                "key-has-ended" => Code::KeyHasEnded,
                "key-not-suspended" => Code::KeyNotSuspended,
                _ => Code::KeyNotRotatable,
            };
            Refusal::new(code, word).into()
        }
        IssueError::Missing => Refusal::new(Code::NotFound, "key-unknown").into(),
        IssueError::Store(error) => unavailable(error),
    }
}

fn unavailable(error: StoreError) -> Stop {
    match error {
        StoreError::Missing => Refusal::new(Code::NotFound, "key-unknown").into(),
        other => Fault::new(Code::KeyStoreUnavailable, other.text()).retry_after(1).into(),
    }
}
