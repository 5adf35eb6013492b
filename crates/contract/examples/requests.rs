//! Requests for the operations of real documents, through the contract: those that keep it must pass, those that break
//! it must be refused at the place where they do. `cargo xtask conformance documents` runs it on public documents.
//!
//! `requests [--limit N] [--program PATH] [--documents N] [--list FILE] FILE…` prints one JSON object with counts over the first N
//! documents that compile; with a program, some requests of some documents go through it as well.
#![expect(
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a program of the tests; names that a serde_json::Value lacks give null"
)]

#[path = "requests/make.rs"]
mod make;
#[path = "requests/running.rs"]
mod running;
#[path = "requests/sent.rs"]
mod sent;

use std::collections::BTreeMap;

use portcullis_contract::document::{Bounds, Document, Files, Loading, load};
use portcullis_contract::model::{Contract, Operation, Terms, compile};
use serde_json::{Value, json};

use make::Maker;
use sent::{Request, Verdict};

#[derive(Default)]
struct Counts {
    documents: u64,
    refused: u64,
    operations: u64,
    /// Made from schemas, and from the documents' own examples.
    generated: u64,
    examples: u64,
    /// Examples that break the schema beside them.
    broken_examples: u64,
    mutated: u64,
    /// Nothing could be made for a part of the operation.
    unmade: u64,
    /// Why: by rule.
    example_rules: BTreeMap<String, u64>,
    mutations: BTreeMap<&'static str, u64>,
    failures: Vec<String>,
    /// For the running program.
    emitted: Vec<Value>,
    base: String,
    /// Documents that it served, requests that arrived behind it, and requests that it refused.
    served: u64,
    arrived: u64,
    stopped: u64,
}

/// Requests of one document that go through the running program.
const EACH: usize = 40;

fn main() {
    let mut words = std::env::args().skip(1).peekable();
    let (mut limit, mut program, mut documents, mut names) = (u64::MAX, None, 0u64, Vec::new());
    while let Some(word) = words.next_if(|word| word.starts_with("--")) {
        let value = words.next().unwrap_or_default();
        match &*word {
            "--program" => program = Some(value),
            "--list" => {
                names =
                    std::fs::read_to_string(value).unwrap_or_default().lines().map(str::to_owned).collect()
            }
            "--documents" => documents = value.parse().unwrap_or(0),
            _ => limit = value.parse().unwrap_or(0),
        }
    }
    let mut counts = Counts::default();
    names.extend(words);
    for name in names {
        if counts.documents >= limit {
            break;
        }
        let file = name.clone();
        // Deep documents need a deep stack, as at load.
        let made = std::thread::Builder::new().stack_size(64 << 20).spawn(move || {
            let mut counts = Counts::default();
            document(&name, EACH, &mut counts);
            counts
        });
        match made.map(std::thread::JoinHandle::join) {
            Ok(Ok(mut one)) => {
                // Spread over the documents, and only those whose requests are of both kinds.
                let wanted = one.emitted.iter().any(|r| r["valid"] == true)
                    && one.emitted.iter().any(|r| r["valid"] == false);
                if let Some(program) = program.as_deref().filter(|_| wanted && counts.served < documents)
                    && let Some(ran) = running::run(program, &file, &one.base, &one.emitted)
                {
                    one.served = 1;
                    one.arrived = ran.passed;
                    one.stopped = ran.refused;
                    one.failures.extend(ran.failures);
                }
                add(&mut counts, one);
            }
            _ => counts.failures.push("a panic".to_owned()),
        }
    }
    let failures = &counts.failures;
    println!(
        "{}",
        json!({
            "documents": counts.documents, "refused": counts.refused, "operations": counts.operations,
            "generated": counts.generated, "examples": counts.examples,
            "broken_examples": counts.broken_examples, "example_rules": counts.example_rules,
            "mutated": counts.mutated, "mutations": counts.mutations, "unmade": counts.unmade,
            "failures": failures, "served": counts.served, "arrived": counts.arrived, "stopped": counts.stopped,
        })
    );
}

fn add(all: &mut Counts, one: Counts) {
    all.documents += one.documents;
    all.refused += one.refused;
    all.operations += one.operations;
    all.generated += one.generated;
    all.examples += one.examples;
    all.broken_examples += one.broken_examples;
    all.mutated += one.mutated;
    all.unmade += one.unmade;
    for (rule, count) in one.example_rules {
        *all.example_rules.entry(rule).or_default() += count;
    }
    for (kind, count) in one.mutations {
        *all.mutations.entry(kind).or_default() += count;
    }
    all.failures.extend(one.failures);
    all.served += one.served;
    all.arrived += one.arrived;
    all.stopped += one.stopped;
}

fn document(name: &str, emit: usize, counts: &mut Counts) {
    let Some(document) = read(name) else {
        counts.refused += 1;
        return;
    };
    let Ok(compiled) = compile(&document, &Terms::default()) else {
        counts.refused += 1;
        return;
    };
    counts.documents += 1;
    let contract = compiled.contract;
    counts.base = contract.base_path().to_owned();
    let maker = Maker::new(&document);
    for operation in contract.operations() {
        counts.operations += 1;
        let node = maker.operation(&operation.template, operation.method.text());
        let Some((item, node)) = node else { continue };
        judge(name, &contract, operation, &maker, (item, node), emit, counts);
    }
}

fn judge(
    name: &str,
    contract: &Contract,
    operation: &Operation,
    maker: &Maker<'_>,
    (item, node): (&portcullis_contract::document::Node, &portcullis_contract::document::Node),
    emit: usize,
    counts: &mut Counts,
) {
    let place = || format!("{name} {} {}", operation.method, operation.template);
    let Some(valid) = Request::made(operation, maker, item, node, false) else {
        counts.unmade += 1;
        return;
    };
    let verdict = valid.judged(contract, operation);
    // A header that only a gateway may set; alternatives that are not told apart by what was made.
    let several = matches!(&verdict, Verdict::Refused { rule, .. } if rule == "several-branches");
    if several || verdict == Verdict::Odd("fields") {
        counts.unmade += 1;
        return;
    }
    counts.generated += 1;
    if verdict != Verdict::Passed {
        counts.failures.push(format!("{}: generated, and {verdict:?}: {}", place(), valid.shown()));
        return;
    }
    if counts.emitted.len() < emit {
        counts.emitted.push(valid.emitted(true));
    }
    if let Some(example) = Request::made(operation, maker, item, node, true) {
        counts.examples += 1;
        match example.judged(contract, operation) {
            Verdict::Passed => {}
            Verdict::Refused { rule, .. } => {
                counts.broken_examples += 1;
                *counts.example_rules.entry(rule).or_default() += 1;
            }
            // What cannot even be written into a path, or names another operation.
            Verdict::Odd(what) => {
                counts.broken_examples += 1;
                *counts.example_rules.entry(what.to_owned()).or_default() += 1;
            }
        }
    }
    for (kind, broken, at) in valid.mutations() {
        counts.mutated += 1;
        *counts.mutations.entry(kind).or_default() += 1;
        match broken.judged(contract, operation) {
            Verdict::Refused { at: found, .. } if found.contains(&at) => {
                if counts.emitted.len() < emit {
                    counts.emitted.push(broken.emitted(false));
                }
            }
            other => {
                counts.failures.push(format!(
                    "{}: {kind} at {at}, and {other:?}: {}",
                    place(),
                    broken.shown()
                ));
            }
        }
    }
}

fn read(name: &str) -> Option<Document> {
    let text = std::fs::read(name).ok()?;
    let mut files = Files::new(Bounds::default());
    files.add(0, name, &text);
    loop {
        match load(&mut files) {
            Loading::Needs(names) => names.iter().for_each(|name| files.missing(name)),
            Loading::Loaded(document) => return Some(document),
            Loading::Refused(_) => return None,
        }
    }
}
