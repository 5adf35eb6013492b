//! JSON-Schema-Test-Suite through the running program: one operation for each schema, each instance as a body.
//!
//! Draft 4 is written as OpenAPI 3.0, 2020-12 as OpenAPI 3.1. Where the verdict differs is listed in
//! `schemas.differs.txt`, exactly.

use super::{HEAD, all, api, post, vectors};
use crate::world::World;
use portcullis_testkit::{Answer, Upstream};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

/// Of one API: a document names at most 256 files.
const GROUPS: usize = 200;

struct Group {
    /// `allOf.json`, `optional/format/date.json`.
    file: String,
    name: String,
    schema: Value,
    cases: Vec<Case>,
}

struct Case {
    name: String,
    body: String,
    valid: bool,
}

#[tokio::test]
async fn draft_4_as_openapi_3_0() {
    suite("draft4", "3.0.3").await;
}

#[tokio::test]
async fn draft_2020_12_as_openapi_3_1() {
    suite("draft2020-12", "3.1.0").await;
}

async fn suite(draft: &str, version: &str) {
    let Some(folder) = vectors(&format!("json-schema/tests/{draft}")) else { return };
    let groups = groups(&folder);
    let world = world(&groups, version);
    let mut requests = Vec::new();
    let mut cases = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        for case in &group.cases {
            requests.push(post(&format!("/a{}/g{index}", index / GROUPS), case.body.as_bytes()));
            cases.push((group, case));
        }
    }
    let answers = all(&world, requests, 4).await;
    assert_eq!(answers.len(), cases.len());
    let mut differs = BTreeSet::new();
    let (mut passed, mut refused) = (0, 0);
    for ((group, case), answer) in cases.iter().zip(&answers) {
        let verdict = match (answer.status, case.valid) {
            // The schema is refused at load, and its operation is closed.
            (404, _) => "closed",
            (204, true) => {
                passed += 1;
                continue;
            }
            (400, false) => {
                // Whoever is refused is told where; or it is no JSON that may come in at all.
                let json = answer.json();
                let problem = answer.problem().unwrap();
                assert!(
                    problem != "schema-violation" || json["errors"][0]["pointer"].is_string(),
                    "{} {}: {json}",
                    group.name,
                    case.name
                );
                refused += 1;
                continue;
            }
            (204, false) => "passes",
            (400, true) => "refused",
            (status, _) => panic!("{status}: {} {} {}", group.file, group.name, case.name),
        };
        let name = if verdict == "closed" { "*" } else { &*case.name };
        differs.insert(format!("{draft} | {verdict} | {} | {} | {name}", group.file, group.name));
    }
    println!(
        "{draft}: {} cases, {passed} pass, {refused} are refused, {} lines differ",
        cases.len(),
        differs.len()
    );
    let listed: BTreeSet<String> = include_str!("schemas.differs.txt")
        .lines()
        .filter(|line| line.starts_with(&format!("{draft} ")))
        .map(str::to_owned)
        .collect();
    let mut report = String::new();
    differs.difference(&listed).for_each(|line| writeln!(report, "+ {line}").unwrap());
    listed.difference(&differs).for_each(|line| writeln!(report, "- {line}").unwrap());
    assert!(report.is_empty(), "differences from the list:\n{report}");
    assert!(passed > 300 && refused > 200, "{passed} {refused}");
    // Nothing but what passed reached the upstream.
    let through = answers.iter().filter(|answer| answer.status == 204).count();
    assert_eq!(world.upstream.requests().len(), through);
}

fn groups(folder: &Path) -> Vec<Group> {
    let mut files = Vec::new();
    for below in ["", "optional", "optional/format"] {
        let Ok(entries) = std::fs::read_dir(folder.join(below)) else { continue };
        files.extend(entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()));
    }
    files.sort();
    let mut groups = Vec::new();
    for path in files {
        let file = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        let text: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for group in text.as_array().unwrap() {
            let cases = group["tests"].as_array().unwrap().iter().map(|case| Case {
                name: case["description"].as_str().unwrap().to_owned(),
                body: case["data"].to_string(),
                valid: case["valid"].as_bool().unwrap(),
            });
            groups.push(Group {
                file: file.clone(),
                name: group["description"].as_str().unwrap().to_owned(),
                schema: group["schema"].clone(),
                cases: cases.collect(),
            });
        }
    }
    groups
}

/// One gate for all of them. The closed world and the integer form are off; a schema that is refused closes its
/// operation.
fn world(groups: &[Group], version: &str) -> World {
    let mut files = Vec::new();
    let mut config = format!("{HEAD}apis:\n");
    for (number, part) in groups.chunks(GROUPS).enumerate() {
        let mut paths = serde_json::Map::new();
        let mut ids = Vec::new();
        for (offset, group) in part.iter().enumerate() {
            let index = number * GROUPS + offset;
            let name = format!("g{index}.json");
            let content = json!({ "application/json": { "schema": { "$ref": name } } });
            let operation = json!({ "post": {
                "operationId": format!("g{index}"),
                "requestBody": { "required": true, "content": content },
                "responses": { "204": { "description": "valid" } },
            } });
            paths.insert(format!("/g{index}"), operation);
            ids.push(format!("g{index}"));
            files.push((name, group.schema.to_string()));
        }
        let document = json!({
            "openapi": version, "info": { "title": "suite", "version": "1" },
            "servers": [{ "url": format!("/a{number}") }], "paths": paths,
        });
        files.push((format!("openapi{number}.json"), document.to_string()));
        let ids: Vec<&str> = ids.iter().map(|id| &**id).collect();
        let loosened: Vec<String> = ["unknown_properties", "shapeless", "lenient_integers"]
            .iter()
            .map(|rule| {
                format!("{{ allow: {rule}, because: the suite knows no closed world, until: 2099-12-31 }}")
            })
            .collect();
        let extra = format!(
            "    on_error: close_operation\n    request: {{ max_depth: 128 }}\n    loosen: [{}]\n",
            loosened.join(", ")
        );
        config.push_str(&api(&format!("a{number}"), &format!("openapi{number}.json"), &ids, &extra));
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (&**name, &**text)).collect();
    World::behind(Upstream::start(|_| Answer::status(204)), &config, &files)
}
