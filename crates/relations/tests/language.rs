//! `OpenFGA`'s cases of its model language, read in place: what is refused, where, and why; and the text and JSON forms.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use portcullis_relations::model::source::{Flaw, Kind};
use portcullis_relations::model::{from_json, parse, to_json, to_text, validate};
use portcullis_relations::tuple::is_id;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Case {
    name: String,
    #[serde(default)]
    dsl: Option<String>,
    #[serde(default)]
    json: Option<String>,
    #[serde(default)]
    skip: bool,
    #[serde(default)]
    expected_errors: Option<Vec<Expected>>,
    #[serde(default)]
    error_message: Option<String>,
}

#[derive(Deserialize)]
struct Expected {
    #[serde(default)]
    line: Option<Range>,
    #[serde(default)]
    column: Option<Range>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

#[derive(Deserialize, Clone, Copy)]
struct Range {
    start: usize,
    end: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    error_type: Option<String>,
}

/// Syntax: accepted or refused as the reference does, and the first error at its line and column.
#[test]
fn texts_that_are_no_models_are_refused_at_the_reference_s_place() {
    let Some(folder) = vectors() else { return };
    let cases: Vec<Case> = read(&folder.join("dsl-syntax-validation-cases.yaml"));
    let mut wrong = Vec::new();
    for case in &cases {
        let found = parse(case.dsl.as_ref().unwrap()).err().unwrap_or_default();
        let found = found.first().map(|flaw| (flaw.span.line, flaw.span.start));
        let expected = case.expected_errors.iter().flatten().next();
        let wanted = expected.map(|error| (error.line.unwrap().start, error.column.unwrap().start));
        if found != wanted {
            wrong.push(format!("{}: {found:?}, expected {wanted:?}", case.name));
        }
    }
    println!("syntax: {} cases, {} wrong", cases.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(cases.len(), 81, "the suite has changed");
}

/// Meaning: the same errors by name, each at the same line and columns, and no others.
#[test]
fn models_that_mean_nothing_are_refused_by_the_reference_s_names() {
    let Some(folder) = vectors() else { return };
    let cases: Vec<Case> = read(&folder.join("dsl-semantic-validation-cases.yaml"));
    let (mut wrong, mut skipped) = (Vec::new(), 0);
    for case in &cases {
        // What the reference itself leaves open it marks so.
        if case.skip {
            skipped += 1;
            continue;
        }
        let flaws = match parse(case.dsl.as_ref().unwrap()) {
            Ok(source) => validate(&source),
            Err(flaws) => flaws,
        };
        let found: BTreeSet<_> = flaws.iter().map(place).collect();
        let expected = case.expected_errors.iter().flatten();
        let wanted: BTreeSet<_> = expected
            .map(|error| {
                let (line, column) = (error.line.unwrap(), error.column.unwrap());
                (
                    line.start,
                    column.start,
                    column.end,
                    error.metadata.as_ref().and_then(|it| it.error_type.clone()).unwrap_or_default(),
                )
            })
            .collect();
        if found != wanted {
            wrong.push(format!("{}:\n  {found:?}\n  expected {wanted:?}", case.name));
        }
    }
    println!("meaning: {} cases, {skipped} left open by the reference, {} wrong", cases.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!((cases.len(), skipped), (91, 7), "the suite has changed");
}

#[test]
fn models_in_json_are_judged_by_the_same_rules() {
    let Some(folder) = vectors() else { return };
    let cases: Vec<Case> = read(&folder.join("json-validation-cases.yaml"));
    for case in &cases {
        let value: Value = serde_json::from_str(case.json.as_ref().unwrap()).unwrap();
        let flaws = match from_json(&value) {
            Ok(source) => validate(&source),
            Err(flaw) => vec![flaw],
        };
        let found: BTreeSet<_> = flaws.iter().map(|flaw| flaw.kind.as_str().to_owned()).collect();
        let wanted: BTreeSet<_> = case
            .expected_errors
            .iter()
            .flatten()
            .filter_map(|error| error.metadata.as_ref()?.error_type.clone())
            .collect();
        assert_eq!(found, wanted, "{}", case.name);
    }
    assert_eq!(cases.len(), 5, "the suite has changed");
}

#[test]
fn json_that_has_no_text_form_is_refused() {
    let Some(folder) = vectors() else { return };
    let cases: Vec<Case> = read(&folder.join("json-syntax-transformer-validation-cases.yaml"));
    for case in &cases {
        let value: Value = serde_json::from_str(case.json.as_ref().unwrap()).unwrap();
        let flawed = match from_json(&value) {
            // A text that another reader cannot read is none.
            Ok(source) => parse(&to_text(&source)).is_err(),
            Err(_) => true,
        };
        assert_eq!(flawed, case.error_message.is_some(), "{}: {:?}", case.name, case.error_message);
    }
    println!("json without a text form: {} cases", cases.len());
}

#[derive(Deserialize)]
struct IdCase {
    name: String,
    object_id: String,
    valid: bool,
}

#[test]
fn ids_of_objects_are_those_of_the_reference() {
    let Some(folder) = vectors() else { return };
    let cases: Vec<IdCase> = read(&folder.join("object-id-validation-cases.yaml"));
    for case in &cases {
        assert_eq!(is_id(&case.object_id), case.valid, "{}: {:?}", case.name, case.object_id);
    }
    assert_eq!(cases.len(), 23, "the suite has changed");
}

#[test]
fn text_and_json_become_each_other() {
    let Some(folder) = vectors() else { return };
    let mut count = 0;
    for entry in std::fs::read_dir(folder.join("transformer")).unwrap() {
        let folder = entry.unwrap().path();
        let text = std::fs::read_to_string(folder.join("authorization-model.fga")).unwrap();
        let json = std::fs::read_to_string(folder.join("authorization-model.json")).unwrap();
        let json: Value = serde_json::from_str(&json).unwrap();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let source = parse(&text).unwrap_or_else(|flaws| panic!("{name}: {flaws:?}"));
        assert_eq!(plain(&to_json(&source)), plain(&json), "{name}: from text to JSON");
        let back = from_json(&json).unwrap_or_else(|flaw| panic!("{name}: {flaw:?}"));
        assert_eq!(to_text(&back).trim(), text.trim(), "{name}: from JSON to text");
        count += 1;
    }
    println!("text and JSON: {count} pairs, both directions");
    assert_eq!(count, 29, "the suite has changed");
}

/// What the two writers leave open: an id, and members that say nothing.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(key, value)| match key.as_str() {
                "id" => false,
                "relation" | "condition" => **value != "",
                "type_definitions" => **value != Value::Array(Vec::new()),
                _ => true,
            })
            .map(|(key, value)| (key.clone(), plain(value)))
            .collect(),
        Value::Array(list) => list.iter().map(plain).collect(),
        other => other.clone(),
    }
}

fn place(flaw: &Flaw) -> (usize, usize, usize, String) {
    let kind = if flaw.kind == Kind::Syntax { String::new() } else { flaw.kind.as_str().to_owned() };
    (flaw.span.line, flaw.span.start, flaw.span.end, kind)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn vectors() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let folder =
        std::env::var_os("PORTCULLIS_VECTORS").map_or_else(beside, PathBuf::from).join("openfga/language");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no vectors of OpenFGA's language at {}", folder.display());
    None
}
