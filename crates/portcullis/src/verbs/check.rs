//! `portcullis check`.

use super::{colour_of_output, say};
use crate::assemble::{given, variable};
use crate::cli::{Check, Format};
use portcullis_config::Outcome;
use portcullis_contract::model::Class;
use portcullis_core::finding::{Severity, Span};
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;

/// Exit code 0: nothing worse than a warning. 1: errors.
pub(crate) fn run(check: &Check) -> ExitCode {
    let mut good = true;
    let mut all = Vec::new();
    if check.specs.is_empty() {
        good &= one(
            &check.config,
            portcullis_config::compile(&check.config, wanted(check)),
            check.format,
            &mut all,
        );
    }
    for spec in &check.specs {
        good &= one(spec, alone(spec, check), check.format, &mut all);
    }
    if check.format == Format::Json {
        say(&format!("{:#}\n", serde_json::Value::Array(all)));
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A document by itself: whom it lets in is the configuration's to say, so nothing is asked about that.
fn alone(spec: &Path, check: &Check) -> Outcome {
    let options = portcullis_config::Options {
        upstream: "http://127.0.0.1:9",
        anonymous: true,
        quiet: true,
        ..Default::default()
    };
    portcullis_config::from_spec(spec, options, wanted(check))
}

fn wanted(check: &Check) -> portcullis_config::Given<'static> {
    portcullis_config::Given { coverage: check.coverage, ..given(&variable) }
}

fn one(path: &Path, outcome: Outcome, format: Format, all: &mut Vec<serde_json::Value>) -> bool {
    let errors = outcome.count(Severity::Error);
    let warnings = outcome.count(Severity::Warning);
    let operations: usize = outcome
        .plan
        .as_ref()
        .map_or(0, |plan| plan.apis.iter().map(|api| api.contract.operations().len()).sum());
    // Under `on_error: close_operation` errors close operations, and the plan stands.
    let good = outcome.plan.is_some();
    let closed = closed(&outcome);
    if format == Format::Json {
        let findings: Vec<_> = outcome
            .findings
            .iter()
            .map(|f| {
                json!({"severity": f.severity.word(), "code": f.code, "message": f.message,
                       "file": outcome.sources.name(f.at.file), "line": f.at.line, "column": f.at.column,
                       "also": f.also.map(|at| outcome.sources.place(at)), "help": f.help})
            })
            .collect();
        let closed: Vec<_> = closed
            .iter()
            .map(|(api, operation, at)| json!({"api": api, "operation": operation, "place": outcome.sources.place(*at)}))
            .collect();
        all.push(json!({"path": path.display().to_string(), "good": good, "operations": operations,
                        "errors": errors, "warnings": warnings, "findings": findings,
                        "closed": closed, "coverage": coverage_json(&outcome)}));
        return good;
    }
    let colour = colour_of_output();
    let verdict = match (good, colour) {
        (true, true) => "\u{1b}[1;32mgood\u{1b}[0m",
        (true, false) => "good",
        (false, true) => "\u{1b}[1;31mrefused\u{1b}[0m",
        (false, false) => "refused",
    };
    say(&coverage_text(&outcome));
    say(&outcome.render(colour));
    for (api, operation, at) in &closed {
        say(&format!("closed: {api} {operation}  {}\n", outcome.sources.place(*at)));
    }
    let digest = outcome.plan.as_ref().map(|plan| format!(", plan {}", plan.digest)).unwrap_or_default();
    say(&format!(
        "{}: {verdict}: {operations} operations, {errors} errors, {warnings} warnings{digest}\n",
        path.display()
    ));
    good
}

/// Operations that answer as if they were not declared: API, method and path, place.
fn closed(outcome: &Outcome) -> Vec<(String, String, Span)> {
    let apis = outcome.plan.iter().flat_map(|plan| &plan.apis);
    apis.flat_map(|api| {
        api.contract.operations().iter().filter(|operation| operation.closed).map(|operation| {
            let name = format!("{} {}", operation.method.text(), operation.template);
            (api.name.to_string(), name, operation.at)
        })
    })
    .collect()
}

const fn word(class: Class) -> &'static str {
    match class {
        Class::Enforced => "enforced",
        Class::Annotation => "annotation",
        Class::Finding => "finding",
    }
}

/// Each key on a line, under the operation or component that it stands in.
fn coverage_text(outcome: &Outcome) -> String {
    let mut out = String::new();
    for (api, sections) in &outcome.coverage {
        let mut counts = [0usize; 3];
        for section in sections {
            out.push_str(&format!("{api}: {}  {}\n", section.title, outcome.sources.place(section.at)));
            for entry in &section.entries {
                let class = match entry.class {
                    Class::Enforced => 0,
                    Class::Annotation => 1,
                    Class::Finding => 2,
                };
                if let Some(count) = counts.get_mut(class) {
                    *count += 1;
                }
                out.push_str(&format!(
                    "  {:<10}  {:>6}  {}\n",
                    word(entry.class),
                    entry.at.line,
                    entry.pointer
                ));
            }
        }
        let [enforced, annotations, findings] = counts;
        out.push_str(&format!(
            "{api}: {} keys: {enforced} enforced, {annotations} annotations, {findings} findings\n\n",
            enforced + annotations + findings
        ));
    }
    out
}

fn coverage_json(outcome: &Outcome) -> serde_json::Value {
    let mut all = Vec::new();
    for (api, sections) in &outcome.coverage {
        for section in sections {
            let keys: Vec<_> = section
                .entries
                .iter()
                .map(|entry| json!({"pointer": entry.pointer, "class": word(entry.class), "line": entry.at.line}))
                .collect();
            all.push(json!({"api": api, "section": section.title, "place": outcome.sources.place(section.at), "keys": keys}));
        }
    }
    all.into()
}
