//! JSON-Schema-Test-Suite, draft 2020-12, through translator and tape: closed world and integer form off, then once
//! more with the integer form on.

use serde_json::Value;

use super::{Doc, vectors};
use crate::document::Version;
use crate::json::{Bounds, scan};
use crate::schema::{Compiler, Options};

/// Groups whose schema is refused at load: file, description (or `*`), why.
const REFUSED: &[(&str, &str, &str)] = &[
    // Nothing is ever fetched, and `$id` names a place inside the bundle, not a base for relative references.
    ("anchor.json", "Location-independent identifier with base URI change in subschema", "base URI"),
    ("defs.json", "validate definition against metaschema", "remote"),
    ("optional/cross-draft.json", "refs to historic drafts are processed as historic drafts", "remote"),
    ("ref.json", "remote ref, containing refs itself", "remote"),
    ("ref.json", "Recursive references between schemas", "base URI"),
    ("ref.json", "refs with relative uris and defs", "base URI"),
    ("ref.json", "relative refs with absolute uris and defs", "base URI"),
    ("ref.json", "$id must be resolved against nearest parent, not just immediate parent", "base URI"),
    ("ref.json", "order of evaluation: $id and $ref on nested schema", "base URI"),
    ("ref.json", "URN ref with nested pointer ref", "base URI"),
    ("ref.json", "ref with absolute-path-reference", "absolute path"),
    ("refRemote.json", "*", "remote"),
    // The closed-world walk must know every target at load.
    ("dynamicRef.json", "*", "dynamic"),
    ("optional/dynamicRef.json", "*", "dynamic"),
    ("unevaluatedItems.json", "unevaluatedItems with $dynamicRef", "dynamic"),
    ("unevaluatedProperties.json", "unevaluatedProperties with $dynamicRef", "dynamic"),
    // One dialect.
    ("optional/format-assertion.json", "*", "dialect"),
    ("vocabulary.json", "*", "dialect"),
    // § 2.2: a schema that no value satisfies is a mistake.
    ("enum.json", "empty enum", "empty"),
    ("minContains.json", "maxContains < minContains", "empty"),
    // § 7.3: bounds that do not compare exactly.
    ("optional/bignum.json", "float comparison with high precision", "precision"),
    ("optional/bignum.json", "minimum integer comparison", "precision"),
    ("optional/bignum.json", "float comparison with high precision on negative numbers", "precision"),
];

/// Cases whose verdict differs: file, group, case (or `*`), why.
const DIFFERS: &[(&str, &str, &str, &str)] = &[
    // § 6: no U+0000.
    ("const.json", "nul characters in strings", "match string with nul", "U+0000"),
    ("enum.json", "nul characters in strings", "match string with nul", "U+0000"),
    (
        "optional/format/json-pointer.json",
        "validation of JSON-pointers (JSON String Representation)",
        "valid JSON-pointer (control characters allowed after JSON unescaping)",
        "U+0000",
    ),
    // § 7.3: beside `const`, 9007199254740992.0 has too many digits for a literal with a point.
    (
        "const.json",
        "float and integers are equal up to 64-bit representation limits",
        "float is valid",
        "precision",
    ),
    (
        "optional/float-overflow.json",
        "all integers are multiples of 0.5, if overflow is handled",
        "*",
        "precision",
    ),
    // § 7.5: formats are asserted.
    ("format.json", "*", "*", "asserted"),
    // … and these are not in its list.
    ("optional/format/idn-hostname.json", "*", "*", "annotation"),
    ("optional/format/iri.json", "*", "*", "annotation"),
    ("optional/format/iri-reference.json", "*", "*", "annotation"),
    ("optional/format/relative-json-pointer.json", "*", "*", "annotation"),
    ("optional/format/uri-template.json", "*", "*", "annotation"),
    // § 7.5: `regex` means the linear engine, which is not quite ECMA-262.
    ("optional/format/ecmascript-regex.json", "*", "*", "linear engine"),
    // Not a keyword of 2020-12; a warning says so.
    ("optional/dependencies-compatibility.json", "*", "*", "key-unknown"),
    // Identifiers are found by name wherever they stand; the verdict is the stricter one.
    (
        "optional/anchor.json",
        "$anchor inside an enum is not a real identifier",
        "match $ref to $anchor",
        "identifier",
    ),
    ("optional/id.json", "$id inside an enum is not a real identifier", "match $ref to $id", "identifier"),
    (
        "ref.json",
        "order of evaluation: $id and $anchor and $ref",
        "data is valid against first definition",
        "identifier",
    ),
];

/// Cases that differ once integers must be written as such.
const INTEGER_FORM: &[(&str, &str, &str)] = &[
    // `serde_json` hands the bignum on with an exponent.
    ("optional/bignum.json", "integer", "a bignum is an integer"),
    ("optional/bignum.json", "integer", "a negative bignum is an integer"),
    ("type.json", "integer type matches integers", "a float with zero fractional part is an integer"),
];

struct Outcome {
    refused: Vec<(String, String, Vec<&'static str>)>,
    differs: Vec<(String, String, String, bool)>,
    cases: usize,
}

fn run(lenient: bool) -> Option<Outcome> {
    let folder = vectors("json-schema/tests/draft2020-12")?;
    let mut outcome = Outcome { refused: Vec::new(), differs: Vec::new(), cases: 0 };
    let mut files = Vec::new();
    for below in ["", "optional", "optional/format"] {
        for entry in std::fs::read_dir(folder.join(below)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
                files.push((name, path));
            }
        }
    }
    files.sort();
    for (name, path) in files {
        let groups: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        for group in groups.as_array().unwrap() {
            let description = group["description"].as_str().unwrap().to_owned();
            let doc = Doc::whole(Version::V31, "a.json", &group["schema"].to_string());
            let options = Options {
                allow_unknown: true,
                lenient_integers: lenient,
                shapeless: true,
                infer: false,
                ..Options::default()
            };
            let compiled =
                Compiler::new(&doc.bundle, Version::V31, options).part(doc.bundle.root().unwrap(), None);
            let schema = match compiled {
                Ok(schema) => schema,
                Err(errors) => {
                    let mut codes: Vec<_> = errors.iter().map(|error| error.code).collect();
                    codes.dedup();
                    outcome.refused.push((name.clone(), description, codes));
                    continue;
                }
            };
            for case in group["tests"].as_array().unwrap() {
                outcome.cases += 1;
                let expected = case["valid"].as_bool().unwrap();
                let valid = scan(case["data"].to_string(), &Bounds::HARD_MAXIMUM, [0, 0])
                    .is_ok_and(|tape| schema.is_valid(&tape));
                if valid != expected {
                    let case = case["description"].as_str().unwrap().to_owned();
                    outcome.differs.push((name.clone(), description.clone(), case, valid));
                }
            }
        }
    }
    Some(outcome)
}

#[test]
fn differs_from_json_schema_exactly_where_it_is_meant_to() {
    let Some(outcome) = run(true) else { return };
    assert!(outcome.cases > 1_000, "{}", outcome.cases);
    let refused: Vec<_> = outcome
        .refused
        .iter()
        .filter(|(file, group, _)| !REFUSED.iter().any(|(f, g, _)| f == file && (g == group || *g == "*")))
        .collect();

    let differs: Vec<_> = outcome
        .differs
        .iter()
        .filter(|(file, group, case, _)| {
            !DIFFERS
                .iter()
                .any(|(f, g, c, _)| f == file && (g == group || *g == "*") && (c == case || *c == "*"))
        })
        .collect();
    assert!(refused.is_empty(), "refused: {refused:#?}");
    assert!(differs.is_empty(), "differs: {differs:#?}");
    // And nothing is listed that does not differ.
    for (file, group, why) in REFUSED {
        assert!(
            outcome.refused.iter().any(|(f, g, _)| f == file && (g == group || *group == "*")),
            "{file} {group}: {why}"
        );
    }
    for (file, group, case, why) in DIFFERS {
        let hit = outcome
            .differs
            .iter()
            .any(|(f, g, c, _)| f == file && (g == group || *group == "*") && (c == case || *case == "*"));
        assert!(hit, "{file} {group} {case}: {why}");
    }
}

#[test]
fn the_integer_form_differs_where_it_is_listed() {
    let (Some(lenient), Some(strict)) = (run(true), run(false)) else { return };
    let more: Vec<_> = strict
        .differs
        .iter()
        .filter(|case| !lenient.differs.contains(case))
        .map(|(file, group, case, _)| (file.as_str(), group.as_str(), case.as_str()))
        .collect();
    assert_eq!(more, INTEGER_FORM);
}
