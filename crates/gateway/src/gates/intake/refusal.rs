//! From violations to what the client is told.

use super::super::route::Matched;
use crate::passage::Passage;
use portcullis_contract::model::Errors;
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
    if !(matched.policy().report_only && body_only) {
        return Err(violated(&violations, passage));
    }
    let mut told: Vec<Rule> = Vec::new();
    for violation in &violations {
        let rule = violation.rule;
        if told.contains(&rule) {
            continue;
        }
        told.push(rule);
        // Each rule once, with the line of the contract that says so.
        let at = violation.declared.or(Some(matched.operation().at));
        passage.note(Gate::Intake, format!("reported, not refused: {}", rule.code()), at);
        let mut seen = passage.seen();
        if !seen.reported.contains(&rule.code()) {
            seen.reported.push(rule.code());
        }
    }
    Ok(())
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
    {
        let mut seen = passage.seen();
        for violation in violations {
            if !seen.violations.contains(&violation.rule.code()) {
                seen.violations.push(violation.rule.code());
            }
        }
    }
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
    let mut refusal = note(passage, code, reason).errors(errors);
    if let Some(terms) = passage.operation().map(|operation| operation.response) {
        // § 14: whoever has not said who they are learns nothing about the contract.
        if terms.errors == Errors::None && !passage.read().knows_caller() {
            refusal.errors = Vec::new();
        }
        if code == Code::SchemaViolation {
            refusal.status = Some(terms.violation_status);
        }
    }
    refusal.into()
}

pub(super) fn note(passage: &Passage, code: Code, reason: &'static str) -> Refusal {
    passage.note(Gate::Intake, reason, passage.operation_at());
    Refusal::new(code, reason)
}

pub(super) fn refuse(passage: &Passage, code: Code, reason: &'static str) -> Stop {
    note(passage, code, reason).into()
}
