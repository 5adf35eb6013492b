//! From violations to what the client is told.

use super::super::route::Matched;
use crate::passage::Passage;
use portcullis_contract::violation::{In, Place, Rule, Violation};
use portcullis_core::problem::Code;
use portcullis_core::trail::Gate;
use portcullis_core::verdict::{ErrorItem, Refusal, Stop};

/// `request.mode: report` lets through what step 9 would have refused; parameters are never covered.
pub(super) fn report_or_refuse(
    violations: Vec<Violation>,
    matched: &Matched<'_>,
    passage: &Passage,
) -> Result<(), Stop> {
    let body_only = violations.iter().all(|v| matches!(v.at, Place::Pointer(_)));
    if matched.policy().report_only && body_only {
        passage.note(Gate::Intake, "violations reported, not refused", Some(matched.operation().at));
        passage.seen().reported = true;
        return Ok(());
    }
    Err(violated(&violations, passage))
}

pub(super) fn violated(violations: &[Violation], passage: &Passage) -> Stop {
    let code = match violations.first() {
        Some(Violation { at: Place::Pointer(_), .. }) | None => Code::SchemaViolation,
        Some(Violation { rule: Rule::UnknownParameter, .. }) => Code::UnknownParameter,
        Some(Violation {
            rule: Rule::DuplicateParameter,
            at: Place::Parameter { within: In::Header, .. },
            ..
        }) => Code::DuplicateHeader,
        Some(Violation { rule: Rule::DuplicateParameter, .. }) => Code::DuplicateParameter,
        Some(_) => Code::InvalidParameter,
    };
    let errors = violations
        .iter()
        .take(20)
        .map(|v| {
            let (pointer, parameter) = match &v.at {
                Place::Pointer(pointer) => (Some(pointer.clone()), None),
                Place::Parameter { name, within } => (None, Some((name.clone(), within.text()))),
            };
            ErrorItem { pointer, parameter, rule: v.rule.code(), message: v.rule.message() }
        })
        .collect();
    let reason = violations.first().map_or("schema", |v| v.rule.code());
    Stop::from(note(passage, code, reason).errors(errors))
}

pub(super) fn note(passage: &Passage, code: Code, reason: &'static str) -> Refusal {
    passage.note(Gate::Intake, reason, passage.operation_at());
    Refusal::new(code, reason)
}

pub(super) fn refuse(passage: &Passage, code: Code, reason: &'static str) -> Stop {
    note(passage, code, reason).into()
}
