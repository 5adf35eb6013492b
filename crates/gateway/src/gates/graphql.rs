//! GraphQL at the gates: bodies judged and cut at intake, answers at release (contract.md § 16).

use super::identify::Identified;
use super::quota;
use super::route::Matched;
use crate::passage::{Passage, SeenGraphQl};
use crate::services::Services;
use bytes::Bytes;
use http::HeaderValue;
use portcullis_contract::graphql::{Answering, GraphQl, Kind, Refused};
use portcullis_contract::json::{self, Bounds, JsonProblem};
use portcullis_core::head::Head;
use portcullis_core::problem::Code;
use portcullis_core::trail::Gate;
use portcullis_core::verdict::{Refusal, Stop};
use std::sync::Arc;

/// A body of GraphQL that keeps its contract, written anew, and what its answer is walked with.
pub(super) struct Request {
    pub(super) body: Bytes,
    /// Taken once, on the way to the upstream.
    pub(super) answer: Option<Answer>,
}

/// What the answer must be.
pub(super) struct Answer {
    plan: Arc<GraphQl>,
    answering: Answering,
}

/// Judges a body. From here on the client is answered in the form of GraphQL.
pub(super) fn judge(
    plan: &Arc<GraphQl>,
    bytes: Bytes,
    head: &Head,
    caller: &Identified<'_>,
    matched: &Matched<'_>,
    passage: &Passage,
    services: &Services,
) -> Result<Request, Stop> {
    let media = media(head.accept());
    passage.seen().graphql = Some(SeenGraphQl { media, cost: 0 });
    let tape = json::scan(bytes.to_vec(), &plan.body_bounds(), passage.plan.hash_key()).map_err(|error| {
        let code = match error.problem {
            JsonProblem::Malformed => Code::MalformedJson,
            JsonProblem::DuplicateKey => Code::DuplicateKey,
            JsonProblem::TooComplex => Code::JsonTooComplex,
        };
        refuse(Refusal::new(code, error.reason), passage)
    })?;
    let accepted = plan.judge(&tape, &|scope| caller.has_scope(scope));
    let accepted = accepted.map_err(|refused| stop(refused, passage))?;
    for (kind, name) in &accepted.operations {
        let name = name.as_deref().map_or("without a name", loggable);
        passage.note(Gate::Intake, format!("graphql {} {name}", kind.word()), passage.operation_at());
    }
    let mut decision = format!("graphql cost {}", accepted.cost);
    if accepted.cut > 0 {
        decision.push_str(&format!(", {} fields cut", accepted.cut));
    }
    if accepted.unlisted > 0 {
        decision.push_str(&format!(", {} not on the list", accepted.unlisted));
    }
    passage.note(Gate::Intake, decision, passage.operation_at());
    if let Some(seen) = &mut passage.seen().graphql {
        seen.cost = accepted.cost;
    }
    let requests = u64::try_from(accepted.operations.len()).unwrap_or(u64::MAX);
    // Quota has charged one request before the body was read; the rest of a batch is charged here, and the cost.
    quota::charge(requests.saturating_sub(1), accepted.cost, caller, matched, passage, services)?;
    let answer = Answer { plan: Arc::clone(plan), answering: accepted.answering };
    Ok(Request { body: accepted.body.into(), answer: Some(answer) })
}

impl Answer {
    /// Walks what the upstream answered and writes it anew.
    ///
    /// # Errors
    /// Why it does not leave.
    pub(super) fn release(&self, bytes: &[u8], passage: &Passage) -> Result<Bytes, &'static str> {
        let bounds = Bounds { depth: 64, ..Bounds::default() }.capped();
        let tape =
            json::scan(bytes.to_vec(), &bounds, passage.plan.hash_key()).map_err(|_| "json-unreadable")?;
        let written = self.plan.release(&self.answering, &tape)?;
        passage.seen().dropped_fields += written.dropped;
        Ok(written.body.into())
    }
}

/// The media type of an answer: GraphQL's own for whoever names it.
fn media(accept: Option<&str>) -> HeaderValue {
    let named = accept.is_some_and(|accept| {
        accept.split(',').any(|range| {
            let name = range.split(';').next().unwrap_or_default().trim();
            name.eq_ignore_ascii_case("application/graphql-response+json")
        })
    });
    HeaderValue::from_static(if named { "application/graphql-response+json" } else { "application/json" })
}

fn stop(refused: Refused, passage: &Passage) -> Stop {
    let (code, member) = match refused.kind {
        Kind::Malformed => (Code::GraphqlMalformed, None),
        Kind::TooComplex(bound) => {
            (Code::GraphqlTooComplex, Some(("bound", format!("\"{}\"", bound.word()))))
        }
        Kind::Invalid => (Code::GraphqlInvalid, None),
        Kind::Forbidden => (Code::GraphqlForbidden, None),
        // The words by which clients of persisted queries know that they must send the text; here it does not help.
        Kind::NotFound => (Code::GraphqlInvalid, Some(("message", "\"PersistedQueryNotFound\"".to_owned()))),
    };
    let mut refusal = Refusal::new(code, refused.reason);
    refusal.members.extend(member);
    refuse(refusal, passage)
}

fn refuse(refusal: Refusal, passage: &Passage) -> Stop {
    passage.note(Gate::Intake, refusal.reason.clone(), passage.operation_at());
    passage.seen().violations.push(refusal.code.text());
    refusal.into()
}

/// The client chose the name of its operation: a word is logged, what may be a secret is not.
fn loggable(name: &str) -> &str {
    let word = name.len() <= 40 && name.bytes().filter(u8::is_ascii_digit).count() <= 3;
    if word { name } else { "(not a plain name)" }
}
