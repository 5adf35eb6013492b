//! A whole body against its plan: step 8 and 9 of contract.md § 4.

use super::super::route::Matched;
use super::duties::Undischarged;
use super::input::{Declared, Judged};
use super::refusal::{refuse, report_or_refuse, violated};
use super::texts::{is_harmless, marked, texts};
use crate::passage::Passage;
use bytes::Bytes;
use portcullis_contract::body::form::FormError;
use portcullis_contract::body::text::{self, TextRules};
use portcullis_contract::duty::Duty;
use portcullis_contract::json::{self, Bounds, JsonError, JsonProblem, Tape};
use portcullis_contract::model::{BodyPlan, Operation, ReadOnly, Unknown};
use portcullis_contract::schema::CompiledSchema;
use portcullis_contract::violation::Violation;
use portcullis_core::problem::Code;
use portcullis_core::trail::Gate;
use portcullis_core::verdict::Stop;

/// Parses and checks; what is left are duties.
pub(super) fn judge(
    bytes: Bytes,
    plan: &BodyPlan,
    operation: &Operation,
    matched: &Matched<'_>,
    passage: &Passage,
) -> Result<Undischarged<Judged>, Stop> {
    let mut urls = Vec::new();
    let judged = check(bytes, plan, operation, matched, passage, &mut urls)?;
    Ok(Undischarged::new(judged, urls))
}

fn check(
    bytes: Bytes,
    plan: &BodyPlan,
    operation: &Operation,
    matched: &Matched<'_>,
    passage: &Passage,
    urls: &mut Vec<Duty>,
) -> Result<Judged, Stop> {
    let rules = TextRules { markup: operation.request.text, bidi_controls: operation.request.bidi_controls };
    let bounds = bounds(operation);
    let parse = |bytes: Vec<u8>| {
        json::scan(bytes, &bounds, passage.plan.hash_key()).map_err(|error| unscanned(error, passage))
    };
    match plan {
        BodyPlan::Json(schema) => {
            let harmless = is_harmless(&bytes, rules);
            let verbatim = operation.request.verbatim.then(|| bytes.clone());
            let tape = parse(bytes.into())?;
            if !schema.is_valid(&tape) {
                report_or_refuse(schema.violations(&tape), matched, passage)?;
            }
            if !harmless {
                texts(&tape, rules, matched, passage)?;
            }
            marked(schema, &tape, matched, passage)?;
            urls.append(&mut schema.urls(&tape));
            Ok(Judged::Json(Declared { verbatim, ..declared(tape, schema, operation, passage) }))
        }
        BodyPlan::Patch(patch) => {
            let verbatim = operation.request.verbatim.then(|| bytes.clone());
            let tape = parse(bytes.into())?;
            let violations = patch.violations(&tape);
            if !violations.is_empty() {
                report_or_refuse(violations, matched, passage)?;
            }
            texts(&tape, rules, matched, passage)?;
            Ok(Judged::Json(Declared { tape, keep: None, verbatim }))
        }
        BodyPlan::NdJson(schema) => {
            // Each line is written as it is judged: half a million tapes of two bytes are a hundred times the body.
            let mut lines = Vec::with_capacity(bytes.len());
            for line in bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
                let tape = parse(line.to_vec())?;
                if !schema.is_valid(&tape) {
                    report_or_refuse(schema.violations(&tape), matched, passage)?;
                }
                texts(&tape, rules, matched, passage)?;
                marked(schema, &tape, matched, passage)?;
                urls.append(&mut schema.urls(&tape));
                declared(tape, schema, operation, passage).write(&mut lines);
                lines.push(b'\n');
            }
            Ok(Judged::Lines(lines.into()))
        }
        BodyPlan::Form(form) => match form.read(&bytes) {
            Ok(body) => {
                if !body.violations().is_empty() {
                    report_or_refuse(body.violations().to_vec(), matched, passage)?;
                }
                stripped(u32::from(body.stripped()), operation, passage);
                texts(body.tape(), rules, matched, passage)?;
                marked(form.schema(), body.tape(), matched, passage)?;
                urls.append(&mut form.schema().urls(body.tape()));
                Ok(Judged::Form(body))
            }
            Err(FormError::Malformed(reason)) => Err(refuse(passage, Code::MalformedBody, reason)),
            // A form that was not read cannot be written anew: no reporting here.
            Err(FormError::Violations(violations)) => Err(violated(&violations, passage)),
        },
        BodyPlan::Text(schema) => {
            let body = std::str::from_utf8(&bytes)
                .map_err(|_| refuse(passage, Code::MalformedBody, "text-not-utf-8"))?;
            text::check(body, rules)
                .map_err(|rule| violated(&[Violation::pointer(rule, String::new(), "text")], passage))?;
            let mut builder = json::Builder::new();
            builder.string(body);
            let tape = builder.finish().map_err(|_| refuse(passage, Code::MalformedBody, "text"))?;
            if !schema.is_valid(&tape) {
                report_or_refuse(schema.violations(&tape), matched, passage)?;
            }
            Ok(Judged::Text(bytes))
        }
        BodyPlan::ByType(_) | BodyPlan::Opaque | BodyPlan::Multipart(_) | BodyPlan::Upload(_) => {
            Err(refuse(passage, Code::UnsupportedMediaType, "no-plan"))
        }
    }
}

/// What a client is told of a text that is no JSON, or too much of it.
pub(super) fn unscanned(error: JsonError, passage: &Passage) -> Stop {
    let code = match error.problem {
        JsonProblem::Malformed => Code::MalformedJson,
        JsonProblem::DuplicateKey => Code::DuplicateKey,
        JsonProblem::TooComplex => Code::JsonTooComplex,
    };
    refuse(passage, code, error.reason)
}

/// Mass assignment is not stopped by a schema that lets unknown names pass in order to strip them: they are stripped
/// here, before anything is written.
fn declared(tape: Tape, schema: &CompiledSchema, operation: &Operation, passage: &Passage) -> Declared {
    let strips =
        operation.request.unknown == Unknown::Strip || operation.request.read_only == ReadOnly::Strip;
    if !strips {
        return Declared { tape, keep: None, verbatim: None };
    }
    let kept = schema.keep(&tape);
    stripped(kept.dropped, operation, passage);
    Declared { tape, keep: kept.keep, verbatim: None }
}

/// Counted and not named: what a client calls its members may be anything, a secret too.
pub(super) fn stripped(count: u32, operation: &Operation, passage: &Passage) {
    if count > 0 {
        passage.seen().stripped += count;
        passage.note(Gate::Intake, format!("stripped: {count} members"), Some(operation.at));
    }
}

pub(super) fn bounds(operation: &Operation) -> Bounds {
    Bounds { depth: operation.request.max_depth, values: operation.request.max_values, ..Bounds::default() }
}
