//! Scope, then whose object (authorization.md §§ 2.3, 8).

use super::identify::{Identified, Provisional, insufficient_scope};
use super::intake::Input;
use super::quota::Receipt;
use super::route::Matched;
use crate::passage::Passage;
use portcullis_core::head::Head;
use portcullis_core::problem::Code;
use portcullis_core::secret::constant_time_eq;
use portcullis_core::trail::Gate;
use portcullis_core::verdict::{Refusal, Stop};
use portcullis_limits::Permit as UnderWay;
use portcullis_plan::api::Bind;

/// Evidence: the caller may call this operation. Without it no body is read.
#[must_use]
pub struct OperationPermit {
    under_way: Option<UnderWay>,
}

/// Evidence: the caller may touch this object. Without it nothing is forwarded.
#[must_use]
pub struct ObjectPermit {
    under_way: Option<UnderWay>,
}

impl ObjectPermit {
    /// The place among the requests under way, which must outlive the exchange.
    pub(super) fn into_under_way(self) -> Option<UnderWay> {
        self.under_way
    }
}

/// Every scope that the met alternative and the operation's own rule demand.
pub fn operation(
    receipt: Receipt,
    caller: &Provisional<'_>,
    head: &Head,
    matched: &Matched<'_>,
    passage: &Passage,
) -> Result<OperationPermit, Stop> {
    let asked = caller.alternative().into_iter().flat_map(|a| a.scopes.iter());
    let asked = asked.chain(matched.policy().scopes.iter());
    let missing: Vec<&str> = asked.clone().map(|s| &**s).filter(|s| !caller.has_scope(s)).collect();
    let at = caller.alternative().map(|a| a.at);
    if missing.is_empty() {
        passage.note(Gate::Operation, "scopes are there", at);
        return Ok(OperationPermit { under_way: receipt.into_under_way() });
    }
    passage.note(Gate::Operation, format!("scope missing: {}", missing.join(" ")), at);
    let mut refusal = Refusal::new(Code::ScopeMissing, "scope-missing");
    let all: Vec<&str> = asked.map(|s| &**s).collect();
    insufficient_scope(&mut refusal, head, matched.api(), &all);
    Err(refusal.into())
}

/// Values of the request that must equal values of the caller. A missing one is never equal to anything.
pub fn object(
    permit: OperationPermit,
    caller: &Identified<'_>,
    input: &Input<'_>,
    matched: &Matched<'_>,
    passage: &Passage,
) -> Result<ObjectPermit, Stop> {
    for bind in &matched.policy().binds {
        if let Err(reason) = holds(bind, caller, input) {
            passage.note(Gate::Object, reason, Some(bind.at));
            return Err(Refusal::new(Code::ObjectNotYours, reason).into());
        }
        passage.note(Gate::Object, "bind holds", Some(bind.at));
    }
    Ok(ObjectPermit { under_way: permit.under_way })
}

fn holds(bind: &Bind, caller: &Identified<'_>, input: &Input<'_>) -> Result<(), &'static str> {
    let claims = caller.claims.as_ref().ok_or("claim-missing")?;
    let mine = claims.text_at(&bind.claim).ok_or("claim-missing")?;
    let asked = input.text_at(&bind.source).ok_or("bind-mismatch")?;
    if constant_time_eq(mine.as_bytes(), asked.as_bytes()) { Ok(()) } else { Err("bind-mismatch") }
}
