//! `OpenFGA`'s own assertions, read in place: every check of both suites, and both kinds of lists.
#![expect(clippy::unwrap_used, clippy::print_stdout, clippy::panic, reason = "a test")]

use std::path::PathBuf;

use portcullis_relations::check::{Limits, Outcome, Query, Refused, check};
use portcullis_relations::index::Index;
use portcullis_relations::list::{Listed, ObjectsQuery, UsersQuery, list_objects, list_users};
use portcullis_relations::model::{Model, Names};
use portcullis_relations::tuple::{Invalid, Object, Subject, Tuple, TupleCondition};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
struct File {
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Test {
    name: String,
    stages: Vec<Stage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stage {
    model: String,
    #[serde(default)]
    tuples: Option<Vec<RawTuple>>,
    #[serde(default)]
    check_assertions: Option<Vec<CheckAssertion>>,
    #[serde(default)]
    list_objects_assertions: Option<Vec<ObjectsAssertion>>,
    #[serde(default)]
    list_users_assertions: Option<Vec<UsersAssertion>>,
}

#[derive(Deserialize)]
struct RawTuple {
    user: String,
    relation: String,
    object: String,
    #[serde(default)]
    condition: Option<RawCondition>,
}

#[derive(Deserialize)]
struct RawCondition {
    name: String,
    #[serde(default)]
    context: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CheckAssertion {
    #[serde(default)]
    name: Option<String>,
    tuple: RawTuple,
    #[serde(default)]
    contextual_tuples: Option<Vec<RawTuple>>,
    #[serde(default)]
    context: Option<Map<String, Value>>,
    #[serde(default)]
    expectation: bool,
    #[serde(default)]
    error_code: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ObjectsAssertion {
    request: ObjectsRequest,
    #[serde(default)]
    contextual_tuples: Option<Vec<RawTuple>>,
    #[serde(default)]
    context: Option<Map<String, Value>>,
    #[serde(default)]
    expectation: Option<Vec<String>>,
    #[serde(default)]
    error_code: u16,
}

#[derive(Deserialize)]
struct ObjectsRequest {
    user: String,
    #[serde(rename = "type")]
    type_name: String,
    relation: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UsersAssertion {
    request: UsersRequest,
    #[serde(default)]
    contextual_tuples: Option<Vec<RawTuple>>,
    #[serde(default)]
    context: Option<Map<String, Value>>,
    #[serde(default)]
    expectation: Option<Vec<String>>,
    #[serde(default)]
    error_code: u16,
}

#[derive(Deserialize)]
struct UsersRequest {
    filters: Vec<String>,
    object: String,
    relation: String,
}

#[derive(Default, Debug, PartialEq, Eq)]
struct Count {
    checks: usize,
    objects: usize,
    users: usize,
    wrong: Vec<String>,
}

#[test]
fn every_assertion_of_both_suites_holds() {
    let Some(folder) = vectors() else { return };
    for (file, checks, objects, users) in
        [("consolidated_1_1_tests.yaml", 360, 270, 295), ("abac_tests.yaml", 125, 75, 91)]
    {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        // A number beyond a double's range cannot be read as a number at all; as a text it comes to the same refusal.
        let beyond = "1.79769313486231570814527423731704356798070e+309";
        let text = text
            .replace(&format!(": {beyond}"), &format!(": \"{beyond}\""))
            .replace(&format!(": -{beyond}"), &format!(": \"-{beyond}\""));
        let file_of_tests: File = serde_saphyr::from_str(&text).unwrap();
        let mut count = Count::default();
        for test in &file_of_tests.tests {
            run(test, &mut count);
        }
        println!(
            "{file}: {} tests, {} checks, {} list-objects, {} list-users, {} wrong",
            file_of_tests.tests.len(),
            count.checks,
            count.objects,
            count.users,
            count.wrong.len()
        );
        assert!(count.wrong.is_empty(), "{}", count.wrong.join("\n"));
        assert_eq!(
            (count.checks, count.objects, count.users),
            (checks, objects, users),
            "the suite has changed"
        );
    }
}

fn run(test: &Test, count: &mut Count) {
    let mut names = Names::default();
    let mut stored: Vec<Tuple> = Vec::new();
    for (at, stage) in test.stages.iter().enumerate() {
        let model = Model::from_text(&stage.model, &mut names)
            .unwrap_or_else(|flaws| panic!("{}: {flaws:?}\n{}", test.name, stage.model));
        stored.extend(stage.tuples.iter().flatten().map(tuple));
        let index = Index::build(3, &mut names, &stored).unwrap();
        // The same tuples once more, as changes on nothing: the overlay must say what the runs say.
        let changes: Vec<_> = stored
            .iter()
            .map(|tuple| portcullis_relations::index::Change { tuple: tuple.clone(), present: true })
            .collect();
        let overlaid = Index::empty(5).apply(&mut names, &changes).unwrap();
        let empty = Map::new();
        for assertion in stage.check_assertions.iter().flatten() {
            count.checks += 1;
            let contextual: Vec<Tuple> = assertion.contextual_tuples.iter().flatten().map(tuple).collect();
            for index in [&index, &overlaid] {
                let found = ask(&model, &names, index, assertion, &contextual, &empty);
                let wanted = if assertion.error_code == 0 {
                    Ok(assertion.expectation)
                } else {
                    Err(assertion.error_code)
                };
                if found != wanted {
                    count.wrong.push(format!(
                        "{} stage {at}: check {} {} {} ({:?}): {found:?}, expected {wanted:?}",
                        test.name,
                        assertion.tuple.user,
                        assertion.tuple.relation,
                        assertion.tuple.object,
                        assertion.name
                    ));
                }
            }
        }
        for assertion in stage.list_objects_assertions.iter().flatten() {
            count.objects += 1;
            let contextual: Vec<Tuple> = assertion.contextual_tuples.iter().flatten().map(tuple).collect();
            let request = &assertion.request;
            let found = Subject::parse(&request.user).map_err(Refused::Query).and_then(|subject| {
                let query = ObjectsQuery {
                    type_name: &request.type_name,
                    relation: &request.relation,
                    subject: &subject,
                    contextual: &contextual,
                    context: assertion.context.as_ref().unwrap_or(&empty),
                };
                list_objects(&model, &names, &index, &query, Limits::default(), &mut || false)
            });
            judge(found, assertion.expectation.as_ref(), assertion.error_code, count, &|| {
                format!(
                    "{} stage {at}: list-objects {} {} {}",
                    test.name, request.user, request.relation, request.type_name
                )
            });
        }
        for assertion in stage.list_users_assertions.iter().flatten() {
            count.users += 1;
            let contextual: Vec<Tuple> = assertion.contextual_tuples.iter().flatten().map(tuple).collect();
            let request = &assertion.request;
            let filter = request.filters.first().unwrap();
            let (type_name, userset) =
                filter.split_once('#').map_or((filter.as_str(), None), |(a, b)| (a, Some(b)));
            let found = Object::parse(&request.object).map_err(Refused::Query).and_then(|object| {
                let query = UsersQuery {
                    object: &object,
                    relation: &request.relation,
                    type_name,
                    userset,
                    contextual: &contextual,
                    context: assertion.context.as_ref().unwrap_or(&empty),
                };
                list_users(&model, &names, &index, &query, Limits::default(), &mut || false)
            });
            judge(found, assertion.expectation.as_ref(), assertion.error_code, count, &|| {
                format!(
                    "{} stage {at}: list-users {} {} {:?}",
                    test.name, request.object, request.relation, request.filters
                )
            });
        }
    }
}

fn ask(
    model: &Model,
    names: &Names,
    index: &Index,
    assertion: &CheckAssertion,
    contextual: &[Tuple],
    empty: &Map<String, Value>,
) -> Result<bool, u16> {
    let asked = &assertion.tuple;
    let (Ok(object), Ok(subject)) = (Object::parse(&asked.object), Subject::parse(&asked.user)) else {
        return Err(2000);
    };
    let context = assertion.context.as_ref().unwrap_or(empty);
    let query = Query { object: &object, relation: &asked.relation, subject: &subject, contextual, context };
    match check(model, names, index, &query, Limits::default()) {
        Ok(Outcome::Allowed) => Ok(true),
        Ok(Outcome::NotAllowed { .. }) => Ok(false),
        Ok(Outcome::Failed(code)) => Err(code.number()),
        Err(Refused::Query(_) | Refused::Subject(_)) => Err(2000),
        Err(Refused::Contextual(_) | Refused::TooManyContextual) => Err(2027),
    }
}

fn judge(
    found: Result<Listed, Refused>,
    expected: Option<&Vec<String>>,
    error: u16,
    count: &mut Count,
    what: &dyn Fn() -> String,
) {
    let found = match found {
        Ok(Listed::Found { names, .. }) => Ok(names),
        Ok(Listed::Failed(code)) => Err(code.number()),
        Err(Refused::Query(Invalid::Type)) => Err(2021),
        Err(Refused::Query(Invalid::Relation)) => Err(2022),
        Err(Refused::Query(_) | Refused::Subject(_)) => Err(2000),
        Err(Refused::Contextual(_) | Refused::TooManyContextual) => Err(2027),
    };
    let wanted = if error == 0 {
        let mut all = expected.cloned().unwrap_or_default();
        all.sort();
        Ok(all)
    } else {
        Err(error)
    };
    if found != wanted {
        count.wrong.push(format!("{}: {found:?}, expected {wanted:?}", what()));
    }
}

fn tuple(raw: &RawTuple) -> Tuple {
    Tuple {
        object: Object::parse(&raw.object)
            .unwrap_or_else(|_| Object { type_name: raw.object.clone(), id: String::new() }),
        relation: raw.relation.clone(),
        subject: Subject::parse(&raw.user).unwrap_or_else(|_| Subject {
            object: Object { type_name: raw.user.clone(), id: String::new() },
            relation: None,
        }),
        condition: raw.condition.as_ref().map(|condition| TupleCondition {
            name: condition.name.clone(),
            context: condition.context.clone().unwrap_or_default(),
        }),
    }
}

fn vectors() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let folder = std::env::var_os("PORTCULLIS_VECTORS").map_or_else(beside, PathBuf::from).join("openfga");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no vectors of OpenFGA at {}", folder.display());
    None
}
