//! GraphQL in the configuration: a schema is enforced whole or refused, and what loosens has a reason and an end.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::Folder;
use portcullis_contract::graphql::Limits;

const SCHEMA: &str = "type Query { me: User } type User { id: ID! name: String }";

fn findings(words: &str, schema: &str) -> Vec<String> {
    let folder = folder(words, schema);
    let outcome = folder.compile();
    outcome.findings.iter().map(|finding| finding.code.to_owned()).collect()
}

fn folder(words: &str, schema: &str) -> Folder {
    let folder = Folder::new();
    folder.write("shop.graphql", schema);
    folder.write("manifest.json", "{\"format\":\"something else\"}");
    folder.write(
        "portcullis.yaml",
        &format!(
            "apis:\n  shop:\n    upstream: http://127.0.0.1:3000\n    authenticate: {{ jwt: {{ issuer: \
             \"https://login.example.com/\", audience: shop }} }}\n    graphql: {words}\n"
        ),
    );
    folder
}

#[test]
fn what_is_wrong_is_told() {
    for (words, schema, code) in [
        ("{}", SCHEMA, "graphql-schema-missing"),
        ("{ schema: nowhere.graphql }", SCHEMA, "file-unreadable"),
        ("{ schema: shop.graphql, path: graphql }", SCHEMA, "graphql-path"),
        ("{ schema: shop.graphql, path: \"/a b\" }", SCHEMA, "graphql-path"),
        ("{ schema: shop.graphql, batch: { max: 11 } }", SCHEMA, "value-range"),
        ("{ schema: shop.graphql, limits: { depth: 51 } }", SCHEMA, "bound-too-large"),
        ("{ schema: shop.graphql, limits: { cost: 1000001 } }", SCHEMA, "bound-too-large"),
        ("{ schema: shop.graphql, introspection: { allow: true } }", SCHEMA, "until-missing"),
        (
            "{ schema: shop.graphql, introspection: { allow: true, until: 2027-01-01 } }",
            SCHEMA,
            "because-missing",
        ),
        (
            "{ schema: shop.graphql, introspection: { allow: true, because: x, until: 2020-01-01 } }",
            SCHEMA,
            "loosening-expired",
        ),
        ("{ no_schema: { allow: true } }", SCHEMA, "until-missing"),
        (
            "{ schema: shop.graphql, persisted: { mode: safelist, manifest: manifest.json } }",
            SCHEMA,
            "graphql-manifest",
        ),
        ("{ schema: shop.graphql }", "type Query { me: Nobody }", "graphql-schema"),
        ("{ schema: shop.graphql }", "type Query { me: Int ", "graphql-syntax"),
        ("{ schema: shop.graphql }", "type Query { me: Int @portcullis(authorise: {}) }", "graphql-schema"),
    ] {
        let codes = findings(words, schema);
        assert!(codes.iter().any(|known| known == code), "{words}: {codes:?}");
    }
}

#[test]
fn a_finding_of_the_schema_shows_its_line() {
    let folder = folder(
        "{ schema: shop.graphql }",
        "type Query {\n  me: User\n  you: Nobody\n}\ntype User { id: ID }",
    );
    let outcome = folder.compile();
    let finding = outcome.findings.iter().find(|finding| finding.code == "graphql-schema").unwrap();
    assert_eq!((finding.at.line, finding.at.column), (3, 3));
    assert!(outcome.sources.render(finding, false).contains("you: Nobody"));
}

#[test]
fn an_api_of_graphql_alone_lets_in_whom_it_can_know() {
    let folder = folder("{ schema: shop.graphql, limits: { depth: 4, query: 1KiB } }", SCHEMA);
    let outcome = folder.compile();
    assert!(outcome.plan.is_some(), "{:?}", outcome.findings);
    let plan = outcome.plan.unwrap();
    let operation = &plan.apis[0].operations[0];
    let graphql = operation.graphql.as_ref().unwrap();
    assert_eq!(graphql.limits, Limits { depth: 4, query_bytes: 1024, ..Limits::default() });
    assert_eq!(operation.max_bytes, 100 << 10);
    assert!(matches!(operation.access, portcullis_plan::access::Access::AnyOf(_)));
}
