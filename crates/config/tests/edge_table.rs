//! `crates/gateway/vectors/plan.yaml`: what never becomes a plan.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    config: String,
    codes: Vec<String>,
}

/// A configuration of the table, in full.
fn full(config: &str) -> String {
    config
        .replace(
            "API",
            "apis: { shop: { spec: openapi.yaml, upstream: 'http://127.0.0.1:9', AUTHENTICATE, PROBE } }",
        )
        .replace(
            "AUTHENTICATE",
            "authenticate: { jwt: { issuer: 'https://login.example.com/', audience: shop } }",
        )
        .replace("PROBE", "anonymous: [{ allow: getHealth, because: probe }]")
}

#[test]
fn plan_vectors() {
    let cases: Vec<Case> = serde_saphyr::from_str(include_str!("../../gateway/vectors/plan.yaml")).unwrap();
    assert!(cases.len() >= 18);
    let mut wrong = Vec::new();
    for case in &cases {
        let pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        let key = "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n";
        let config = full(&case.config);
        let folder = Folder::with(&[
            ("portcullis.yaml", &config),
            ("openapi.yaml", SPEC),
            ("cert.pem", pem),
            ("key.pem", key),
        ]);
        let outcome = folder.compile();
        if errors(&outcome) != case.codes || outcome.plan.is_none() == case.codes.is_empty() {
            let text = folder.shown(&outcome);
            wrong.push(format!("plan#{}: {:?}, not {:?}\n{text}", case.name, errors(&outcome), case.codes));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
