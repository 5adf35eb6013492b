//! `vectors/forward.yaml`: from a target, through the contract, to the text that the upstream is sent; and the law
//! that equal heads make equal bytes, and different ones different bytes.

use super::tests::{run, with_method};
use portcullis_contract::document::{Bounds, Files, Loading, load};
use portcullis_contract::{Contract, Found, Terms, compile};
use portcullis_core::head::Head;
use proptest::prelude::*;
use serde::Deserialize;

const DOCUMENT: &str = r##"
openapi: 3.1.0
info: { title: Shop, version: "1" }
paths:
  /orders/{id}:
    get:
      operationId: getOrder
      parameters:
        - { name: id, in: path, required: true, schema: { type: string } }
        - { name: q, in: query, schema: { type: string } }
        - { name: page, in: query, schema: { type: integer } }
      responses: { "200": { description: ok } }
  /lists/{items}:
    get:
      operationId: getList
      parameters:
        - { name: items, in: path, required: true, schema: { type: array, items: { type: string } } }
      responses: { "200": { description: ok } }
  /colors/{c}:
    get:
      operationId: getColors
      parameters:
        - { name: c, in: path, required: true, style: matrix, schema: { type: array, items: { type: string } } }
      responses: { "200": { description: ok } }
"##;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    method: Option<String>,
    target: String,
    expect: Expect,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expect {
    Target(String),
    Code(String),
    Rule(String),
    Route(String),
}

fn contract() -> Contract {
    let mut files = Files::new(Bounds::default());
    files.add(0, "shop.yaml", DOCUMENT.as_bytes());
    let Loading::Loaded(document) = load(&mut files) else { panic!("the document does not load") };
    compile(&document, &Terms::default()).unwrap_or_else(|findings| panic!("{findings:#?}")).contract
}

fn at_upstream(contract: &Contract, head: &Head) -> Expect {
    match contract.find(head.method(), head.path()) {
        Found::Undeclared | Found::Closed { .. } => Expect::Route("undeclared".into()),
        Found::Marked => Expect::Route("marked".into()),
        Found::MethodNotAllowed { .. } => Expect::Route("method".into()),
        Found::Operation { operation, path, .. } => match operation.parameters(head, &path) {
            Ok(parameters) => Expect::Target(operation.target("/base", &parameters)),
            Err(violations) => Expect::Rule(violations[0].rule.code().into()),
        },
    }
}

fn forward(contract: &Contract, method: &str, target: &str) -> Expect {
    match run(&with_method(method, target)) {
        Ok(head) => at_upstream(contract, &head),
        Err((code, _)) => Expect::Code(code),
    }
}

#[test]
fn canonical_vectors_forward() {
    let contract = contract();
    let cases: Vec<Case> = serde_saphyr::from_str(include_str!("../../../vectors/forward.yaml")).unwrap();
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let got = forward(&contract, case.method.as_deref().unwrap_or("GET"), &case.target);
            (got != case.expect).then(|| format!("forward#{}: {got:?}, not {:?}", case.name, case.expect))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}\n({} of {} cases)", wrong.join("\n"), wrong.len(), cases.len());
}

proptest! {
    #[test]
    fn canonical_law_equal_values_make_equal_bytes_and_no_value_leaves_its_place(
        a in "([a-z0-9.~-]|%[2-7][0-9a-f]|,|=|:|@){1,8}",
        b in "([a-z0-9.~-]|%[2-7][0-9a-f]|,|=|:|@){1,8}",
    ) {
        let contract = contract();
        let heads = [&a, &b].map(|id| run(&with_method("GET", &format!("/orders/{id}"))));
        let [Ok(first), Ok(second)] = heads else { return Ok(()) };
        let (Expect::Target(one), Expect::Target(two)) = (at_upstream(&contract, &first), at_upstream(&contract, &second))
        else { return Ok(()) };
        let value = |head: &Head| head.path().segment(1).map(|s| s.text.to_owned());
        prop_assert_eq!(value(&first) == value(&second), one == two);
        for target in [one, two] {
            prop_assert!(target.starts_with("/base/orders/"));
            prop_assert_eq!(target.matches('/').count(), 3);
            prop_assert!(target.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~%".contains(&b)), "{}", target);
        }
    }
}
