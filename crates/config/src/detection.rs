//! From a file of rules to rules that detect.

use crate::files::{Files, Given};
use crate::read;
use crate::words::detect::{Rule as Words, Test as TestWords, Weight, Word};
use crate::words::{At, Duration, OneOrMany};
use portcullis_core::finding::{Finding, SourceMap, Span};
use portcullis_detect::Severity;
use portcullis_detect::rule::{Amount, Condition, MAX_AMOUNT, Rule, Test};
use std::path::Path;

/// Rules, and how the lines are read that they look at.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Patterns with named groups.
    pub formats: Vec<String>,
    /// The rules, in the order of the file.
    pub rules: Vec<Rule>,
}

/// Reads a file of rules.
///
/// # Errors
/// Everything that is wrong with it, and the file for showing where.
pub fn rules(path: &Path, given: Given<'_>) -> Result<Rules, (Vec<Finding>, SourceMap)> {
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let mut files = Files::new(folder, given);
    let shown = path.display().to_string();
    let (id, text) = match files.text(path, 1 << 20, Span::default()) {
        Ok(read) => read,
        Err(finding) => return Err((vec![*finding], files.sources)),
    };
    let (words, mut findings) = read::detection(id, &shown, &text);
    let mut found = Rules::default();
    if let Some(words) = words {
        found.formats = words.formats.iter().map(|format| format.value.clone()).collect();
        for (name, words) in words.rules.iter() {
            match rule(name, words) {
                Ok(rule) => found.rules.push(rule),
                Err(finding) => findings.push(*finding),
            }
        }
        if words.rules.is_empty() {
            let at = Span { file: id, ..Span::default() };
            findings.push(
                Finding::error("rules-empty", at, "the file has no rule").help("add one under  rules:"),
            );
        }
    }
    if findings.is_empty() { Ok(found) } else { Err((findings, files.sources)) }
}

fn rule(name: &At<String>, words: &At<Words>) -> Result<Rule, Box<Finding>> {
    let error = |at: Span, message: &str, help: &str| {
        Err(Box::new(Finding::error("rule-amount", at, message).help(help)))
    };
    let amount = match (&words.count, &words.window, &words.capacity, &words.leak) {
        (Some(count), Some(window), None, None) => {
            Amount::Count { count: bounded(count)?, window_s: seconds(window)? }
        }
        (None, None, Some(capacity), Some(leak)) => {
            Amount::Bucket { capacity: bounded(capacity)?, leak_s: seconds(leak)? }
        }
        _ => {
            return error(
                name.at,
                "a rule says how many events fire it",
                "write  count: 10  and  window: 5m,  or  capacity: 10  and  leak: 10s",
            );
        }
    };
    let mut conditions = Vec::new();
    for (field, test) in words.fields.iter() {
        let tests = tests(test);
        if tests.is_empty() {
            return error(field.at, "the field is named, and nothing is asked of it", "write  { is: … }");
        }
        conditions.extend(tests.into_iter().map(|test| Condition { field: field.value.clone(), test }));
    }
    Ok(Rule {
        name: name.value.clone(),
        conditions,
        group_by: words.group_by.clone(),
        distinct: words.distinct.clone(),
        amount,
        cooldown_s: words.cooldown.as_ref().map_or(Ok(300), seconds)?,
        severity: match words.severity {
            Weight::Low => Severity::Low,
            Weight::Medium => Severity::Medium,
            Weight::High => Severity::High,
            Weight::Critical => Severity::Critical,
        },
    })
}

fn tests(words: &TestWords) -> Vec<Test> {
    let texts = |words: &OneOrMany<Word>| words.0.iter().map(|word| word.0.clone()).collect();
    let mut found = Vec::new();
    found.extend(words.is.as_ref().map(|all| Test::OneOf(texts(all))));
    found.extend(words.not.as_ref().map(|all| Test::NotOneOf(texts(all))));
    found.extend(words.starts_with.as_ref().map(|all| Test::StartsWith(texts(all))));
    found.extend(words.ends_with.as_ref().map(|all| Test::EndsWith(texts(all))));
    found.extend(words.contains.as_ref().map(|all| Test::Contains(texts(all))));
    found.extend(words.at_least.map(Test::AtLeast));
    found.extend(words.at_most.map(Test::AtMost));
    found.extend(words.present.map(|present| if present { Test::Present } else { Test::Absent }));
    found
}

fn bounded(number: &At<u32>) -> Result<u32, Box<Finding>> {
    if (1..=MAX_AMOUNT).contains(&number.value) {
        return Ok(number.value);
    }
    let message = format!("a number of events is between 1 and {MAX_AMOUNT}");
    Err(Box::new(Finding::error("rule-amount", number.at, message)))
}

fn seconds(duration: &At<Duration>) -> Result<u32, Box<Finding>> {
    let seconds =
        u32::try_from(duration.value.secs()).ok().filter(|seconds| (1..=30 * 86_400).contains(seconds));
    seconds.ok_or_else(|| {
        Box::new(Finding::error("rule-amount", duration.at, "a time of a rule is between 1s and 30d"))
    })
}
