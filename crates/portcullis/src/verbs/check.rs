//! `portcullis check`.

use super::{colour_of_output, say};
use crate::assemble::{given, variable};
use crate::cli::{Check, Format};
use portcullis_config::Outcome;
use portcullis_core::finding::Severity;
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
            portcullis_config::compile(&check.config, given(&variable)),
            check.format,
            &mut all,
        );
    }
    for spec in &check.specs {
        good &= one(spec, alone(spec), check.format, &mut all);
    }
    if check.format == Format::Json {
        say(&format!("{:#}\n", serde_json::Value::Array(all)));
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A document by itself: whom it lets in is the configuration's to say, so nothing is asked about that.
fn alone(spec: &Path) -> Outcome {
    let options = portcullis_config::Options {
        upstream: "http://127.0.0.1:9",
        anonymous: true,
        quiet: true,
        ..Default::default()
    };
    portcullis_config::from_spec(spec, options, given(&variable))
}

fn one(path: &Path, outcome: Outcome, format: Format, all: &mut Vec<serde_json::Value>) -> bool {
    let errors = outcome.count(Severity::Error);
    let warnings = outcome.count(Severity::Warning);
    let operations: usize = outcome
        .plan
        .as_ref()
        .map_or(0, |plan| plan.apis.iter().map(|api| api.contract.operations().len()).sum());
    let good = outcome.plan.is_some() && errors == 0;
    if format == Format::Json {
        let findings: Vec<_> = outcome
            .findings
            .iter()
            .map(|f| {
                json!({"severity": f.severity.word(), "code": f.code, "message": f.message,
                       "file": outcome.sources.name(f.at.file), "line": f.at.line, "column": f.at.column, "help": f.help})
            })
            .collect();
        all.push(json!({"path": path.display().to_string(), "good": good, "operations": operations,
                        "errors": errors, "warnings": warnings, "findings": findings}));
        return good;
    }
    let colour = colour_of_output();
    let verdict = match (good, colour) {
        (true, true) => "\u{1b}[1;32mgood\u{1b}[0m",
        (true, false) => "good",
        (false, true) => "\u{1b}[1;31mrefused\u{1b}[0m",
        (false, false) => "refused",
    };
    say(&outcome.render(colour));
    let digest = outcome.plan.as_ref().map(|plan| format!(", plan {}", plan.digest)).unwrap_or_default();
    say(&format!(
        "{}: {verdict}: {operations} operations, {errors} errors, {warnings} warnings{digest}\n",
        path.display()
    ));
    good
}
