//! URLs that the upstream will fetch, or send somebody to (egress.md § 5): judged, and never fetched here.

use super::super::route::Matched;
use super::refusal::note;
use crate::passage::Passage;
use crate::services::Services;
use portcullis_contract::duty::Duty;
use portcullis_contract::violation::Place;
use portcullis_core::problem::Code;
use portcullis_core::verdict::{ErrorItem, Stop};
use portcullis_egress::UrlRule;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// One question under way.
type Asking<'a> = Pin<Box<dyn Future<Output = Result<(), UrlRule>> + 'a>>;

/// URLs of one request.
const MOST: usize = 20;
/// For all of them together.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks about all of them at once. What is not answered in time leads nowhere.
pub(super) async fn judge(
    duties: Vec<Duty>,
    matched: &Matched<'_>,
    passage: &Passage,
    services: &Services,
) -> Result<(), Stop> {
    let asked: Vec<Duty> = duties.into_iter().filter(|duty| is_asked(duty, matched, passage)).collect();
    if asked.is_empty() {
        return Ok(());
    }
    if asked.len() > MOST {
        return Err(refused(&[], "url-too-many", passage));
    }
    let (urls, door) = (passage.plan.urls(), services.pool.door());
    let mut verdicts: Vec<Option<Result<(), UrlRule>>> = vec![None; asked.len()];
    {
        let ask = async |duty: &Duty| {
            let Duty::Url { value, policy, .. } = duty;
            match urls.policy(policy.as_deref()) {
                Some(policy) => door.judge_url(policy, &urls.own, value).await,
                None => Err(UrlRule::Host),
            }
        };
        let mut asking: Vec<Asking<'_>> =
            asked.iter().map(|duty| Box::pin(ask(duty)) as Pin<Box<_>>).collect();
        let all = poll_fn(|cx| {
            let mut waiting = false;
            for (future, verdict) in asking.iter_mut().zip(&mut verdicts).filter(|(_, v)| v.is_none()) {
                match future.as_mut().poll(cx) {
                    Poll::Ready(answer) => *verdict = Some(answer),
                    Poll::Pending => waiting = true,
                }
            }
            if waiting { Poll::Pending } else { Poll::Ready(()) }
        });
        // Closed: without an answer it is refused.
        let _ = tokio::time::timeout(PATIENCE, all).await;
    }
    let wrong: Vec<ErrorItem> = asked
        .iter()
        .zip(verdicts)
        .filter_map(|(duty, verdict)| Some((duty, verdict.unwrap_or(Err(UrlRule::Address)).err()?)))
        .map(|(Duty::Url { at, .. }, rule)| item(at, rule))
        .collect();
    match wrong.first() {
        None => Ok(()),
        Some(first) => {
            let rule = first.rule;
            Err(refused(&wrong, rule, passage))
        }
    }
}

/// All but the places that the configuration names (loosening `unchecked_url`).
fn is_asked(duty: &Duty, matched: &Matched<'_>, passage: &Passage) -> bool {
    let Duty::Url { at, .. } = duty;
    let place = match at {
        Place::Pointer(pointer) => {
            let names = pointer.split('/').filter(|part| !part.is_empty());
            // Items have no names of their own.
            let names: Vec<&str> = names.filter(|part| !part.bytes().all(|b| b.is_ascii_digit())).collect();
            names.join("/")
        }
        Place::Parameter { name, .. } => name.clone(),
    };
    let id = &*matched.operation().id;
    !passage.plan.egress.unchecked.iter().any(|(operation, at)| **operation == *id && **at == *place)
}

fn item(at: &Place, rule: UrlRule) -> ErrorItem {
    let (pointer, parameter) = match at {
        Place::Pointer(pointer) => (Some(pointer.clone()), None),
        Place::Parameter { name, within } => (None, Some((name.clone(), within.text()))),
    };
    // Not which address a name has, nor why it is denied, nor whether it has one.
    ErrorItem { pointer, parameter, rule: rule.word(), message: "is not a URL that may be used here" }
}

fn refused(errors: &[ErrorItem], reason: &'static str, passage: &Passage) -> Stop {
    note(passage, Code::UrlNotAllowed, reason).errors(errors.to_vec()).into()
}
