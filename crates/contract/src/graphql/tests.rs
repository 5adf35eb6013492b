use super::*;
use crate::json::scan;
use portcullis_core::finding::Span;

const SHOP: &str = r#"
directive @tag(name: String!) repeatable on FIELD | FIELD_DEFINITION
type Query {
  me: User
  order(id: ID!): Order
  orders(first: Int, after: String, last: Int): [Order!]! @portcullis(list: {slicing: ["first", "last"], max: 50})
  connection(first: Int = 5): Connection!
  search(text: String!, limit: Int, offset: Int): [Hit!]
  animals: [Animal]
  price(of: [Money], at: When): Float
  salary: Int @portcullis(authorize: {scopes: [["hr"], ["admin", "mfa"]]})
  bonus: Int @portcullis(authorize: {scopes: [["hr"]], on_denied: null})
  dear: Int @portcullis(cost: 70)
  any(of: Any): Any
  label: Label
}
interface Named { text: String @portcullis(authorize: {scopes: [["labels"]]}) }
type Label implements Named { text: String colour: String }
type Mutation { login(name: String!, password: String!): Boolean create(order: NewOrder!): Order }
type Subscription { ticks: Int }
type User { id: ID! name: String! orders(first: Int): [Order!]! secret: Secret }
type Secret @portcullis(authorize: {scopes: [["secrets"]]}) { text: String }
type Order { id: ID! total: Float state: State user: User note: String @portcullis(authorize: {scopes: [["notes"]], on_denied: null}) }
type Connection { edges: [Edge!]! pageInfo: Page! }
type Edge { node: Order cursor: String! }
type Page { more: Boolean! }
union Hit = User | Order
interface Animal { name: String }
type Dog implements Animal { name: String @portcullis(authorize: {scopes: [["dogs"]]}) barks: Boolean }
type Cat implements Animal { name: String lives: Int }
enum State { OPEN PAID }
input NewOrder { items: [Item!]! note: String state: State = OPEN }
input Item { sku: String! count: Int! }
input Money @oneOf { euros: Int cents: Int }
scalar When
scalar Any
"#;

fn schema(text: &str) -> Result<Schema, Vec<String>> {
    let span =
        |start: usize, end: usize| Span { start: start as u32, end: end as u32, line: 1, ..Span::default() };
    Schema::compile(text, &span)
        .map(|(schema, _)| schema)
        .map_err(|findings| findings.into_iter().map(|finding| finding.message).collect())
}

fn shop() -> GraphQl {
    GraphQl {
        schema: Some(schema(SHOP).unwrap()),
        limits: Limits::default(),
        costs: Vec::new(),
        batch: 0,
        introspection: false,
        persisted: Persisted::off(),
        keep_codes: vec!["NOT_FOUND".into()],
        text: TextRules::default(),
    }
}

fn body(query: &str, variables: &str) -> String {
    let mut out = b"{\"query\":".to_vec();
    write_string(query, &mut out);
    format!("{},\"variables\":{variables}}}", String::from_utf8(out).unwrap())
}

fn judge(plan: &GraphQl, body: &str, scopes: &[&str]) -> Result<Accepted, Refused> {
    let tape = scan(body, &plan.body_bounds(), [1, 2]).unwrap();
    plan.judge(&tape, &|scope| scopes.contains(&scope))
}

fn sent(query: &str, variables: &str) -> String {
    match judge(&shop(), &body(query, variables), &[]) {
        Ok(accepted) => String::from_utf8(accepted.body).unwrap(),
        Err(refused) => panic!("{query}: {refused:?}"),
    }
}

fn refused(query: &str, variables: &str) -> &'static str {
    match judge(&shop(), &body(query, variables), &[]) {
        Ok(accepted) => panic!("{query}: {}", String::from_utf8_lossy(&accepted.body)),
        Err(refused) => refused.reason,
    }
}

fn cost(query: &str, variables: &str) -> u64 {
    judge(&shop(), &body(query, variables), &[]).unwrap().cost
}

#[test]
fn goes_on_as_one_operation_with_what_it_uses() {
    for (query, variables, expected) in [
        ("{ me { id } }", "{}", r#"{"query":"query{me{id}}"}"#),
        (
            "query A($id: ID!, $n: Int = 3) { order(id: $id) { ...F user { orders(first: $n) { id } } } }\n\
             # comment\nfragment F on Order { total, state }",
            r#"{"id": 7, "other": 1}"#,
            r#"{"query":"query A($id:ID!,$n:Int=3){order(id:$id){...F user{orders(first:$n){id}}}}fragment F on Order{total state}","operationName":"A","variables":{"id":"7"}}"#,
        ),
        (
            "mutation($o: NewOrder!) { create(order: $o) { id } }",
            r#"{"o": {"items": {"sku": "a", "count": 2}}}"#,
            r#"{"query":"mutation($o:NewOrder!){create(order:$o){id}}","variables":{"o":{"items":[{"sku":"a","count":2}]}}}"#,
        ),
        (
            r#"{ any(of: {a: [1.50, "x\n", E]}) }"#,
            "null",
            r#"{"query":"query{any(of:{a:[1.50,\"x\\n\",E]})}"}"#,
        ),
        (
            "query($v: Any) { any(of: $v) }",
            r#"{"v": {"n": 9007199254740993, "d": 1.50}}"#,
            r#"{"query":"query($v:Any){any(of:$v)}","variables":{"v":{"n":9007199254740993,"d":1.50}}}"#,
        ),
        (
            "query($skip: Boolean!) { me @skip(if: $skip) { id } }",
            r#"{"skip": true}"#,
            r#"{"query":"query($skip:Boolean!){me@skip(if:$skip){id}}","variables":{"skip":true}}"#,
        ),
        (
            "{ me { id @tag(name: \"a\") @tag(name: \"b\") __typename } }",
            "{}",
            r#"{"query":"query{me{id@tag(name:\"a\")@tag(name:\"b\") __typename}}"}"#,
        ),
        (
            "{ search(text: \"a\") { ... on User { name } ... on Order { total } } }",
            "{}",
            r#"{"query":"query{search(text:\"a\"){...on User{name} ...on Order{total}}}"}"#,
        ),
    ] {
        assert_eq!(sent(query, variables), expected, "{query}");
    }
}

#[test]
fn only_the_selected_operation_goes_on() {
    let text = r#"{"query":"query A { me { ...F } } query B { order(id: 1) { ...G } } fragment F on User { id } fragment G on Order { id }","operationName":"B","extensions":{"tracing":1}}"#;
    let accepted = judge(&shop(), text, &[]).unwrap();
    assert_eq!(
        String::from_utf8(accepted.body).unwrap(),
        r#"{"query":"query B{order(id:1){...G}}fragment G on Order{id}","operationName":"B"}"#
    );
    let without = text.replace(r#""operationName":"B","#, "");
    assert_eq!(judge(&shop(), &without, &[]).unwrap_err().reason, "operation-not-selected");
    assert_eq!(
        judge(&shop(), &text.replace(":\"B\"", ":\"C\""), &[]).unwrap_err().reason,
        "operation-not-selected"
    );
}

#[test]
fn what_the_schema_does_not_know_is_refused() {
    for (query, variables, reason) in [
        ("{ ordrs { id } }", "{}", "field-unknown"),
        ("{ me { passwordHash } }", "{}", "field-unknown"),
        ("{ me }", "{}", "selection-missing"),
        ("{ me { id { x } } }", "{}", "selection-on-a-leaf"),
        ("{ order { id } }", "{}", "argument-missing"),
        ("{ order(id: 1, x: 2) { id } }", "{}", "argument-unknown"),
        ("{ order(id: 1, id: 2) { id } }", "{}", "argument-twice"),
        ("{ order(id: 1.5) { id } }", "{}", "value-of-another-type"),
        ("{ order(id: null) { id } }", "{}", "null-for-non-null"),
        ("{ order(id: $id) { id } }", "{}", "variable-undeclared"),
        ("query($id: ID!) { me { id } }", "{\"id\":1}", "variable-unused"),
        ("query($id: Int!) { order(id: $id) { id } }", "{\"id\":1}", "variable-of-another-type"),
        ("query($id: ID) { order(id: $id) { id } }", "{\"id\":1}", "variable-of-another-type"),
        ("query($id: ID!) { order(id: $id) { id } }", "{}", "variable-missing"),
        ("query($id: ID!) { order(id: $id) { id } }", "{\"id\":null}", "null-for-non-null"),
        ("query($id: ID!) { order(id: $id) { id } }", "{\"id\":[1]}", "value-of-another-type"),
        ("query($id: ID!) { order(id: $id) { id } }", "{\"id\":{\"id\":1}}", "value-of-another-type"),
        ("query($id: User) { order(id: $id) { id } }", "{}", "variable-type-unknown"),
        ("query($a: ID!, $a: ID!) { order(id: $a) { id } }", "{\"a\":1}", "variable-twice"),
        ("query($n: Int) { orders(first: $n) { id } }", "{\"n\":1.0}", "list-size"),
        ("query($n: Int = $n) { orders(first: $n) { id } }", "{}", "value-missing"),
        ("mutation { create(order: {items: [], is_admin: true}) { id } }", "{}", "input-field-unknown"),
        (
            "mutation($o: NewOrder!) { create(order: $o) { id } }",
            r#"{"o":{"items":[],"is_admin":true}}"#,
            "input-field-unknown",
        ),
        ("mutation($o: NewOrder!) { create(order: $o) { id } }", r#"{"o":{}}"#, "input-field-missing"),
        (
            "mutation { create(order: {items: [{sku: \"a\", count: 9999999999}]}) { id } }",
            "{}",
            "value-of-another-type",
        ),
        ("mutation { create(order: {items: [], state: LOST}) { id } }", "{}", "enum-value-unknown"),
        ("{ price(of: {euros: 1, cents: 2}) }", "{}", "one-of"),
        ("{ me @deprecated { id } }", "{}", "directive-unknown"),
        ("{ me @skip(if: true) @skip(if: false) { id } }", "{}", "directive-twice"),
        ("query @skip(if: true) { me { id } }", "{}", "directive-misplaced"),
        ("{ me { ... on Order { id } } }", "{}", "condition-never-met"),
        ("{ me { ... on Nobody { id } } }", "{}", "condition-on-an-unknown-type"),
        ("{ x: me { id } x: order(id: 1) { id } }", "{}", "fields-conflict"),
        ("{ order(id: 1) { id } order(id: 2) { id } }", "{}", "fields-conflict"),
        ("{ animals { ... on Dog { x: barks } ... on Cat { x: lives } } }", "{}", "fields-conflict"),
        ("{ me { _pcz0: id } }", "{}", "reserved-alias"),
        (
            "{ ...F } fragment F on Query { me { id } } fragment F on Query { me { id } }",
            "{}",
            "fragment-twice",
        ),
        ("{ ...G }", "{}", "fragment-undefined"),
        ("{ me { id } } fragment F on Query { me { id } }", "{}", "fragment-unused"),
        ("{ ...F } fragment F on Query { ...F me { id } }", "{}", "fragment-cycle"),
        (
            "{ ...A } fragment A on Query { ...B } fragment B on Query { ...C } fragment C on Query { ...A }",
            "{}",
            "fragment-cycle",
        ),
        ("subscription { ticks }", "{}", "subscription"),
        ("type Query { a: Int }", "{}", "definition-unknown"),
        ("{ me { id } } { me { id } }", "{}", "operation-without-name"),
        ("query A { me { id } } query A { me { id } }", "{}", "operation-twice"),
        ("{ search(text: \"a\u{202e}\") { __typename } }", "{}", "text"),
        ("query($t: String!) { search(text: $t) { __typename } }", "{\"t\":\"\u{7f}\"}", "text"),
    ] {
        assert_eq!(refused(query, variables), reason, "{query} {variables}");
    }
}

#[test]
fn a_thousand_aliases_are_one_refusal() {
    let many: String = (0..400).map(|n| format!("a{n}: login(name: $u, password: \"p{n}\") ")).collect();
    let plan =
        GraphQl { limits: Limits { tokens: 20_000, query_bytes: 256 << 10, ..Limits::default() }, ..shop() };
    let text = body(&format!("mutation($u: String!) {{ {many} }}"), "{\"u\":\"a\"}");
    assert_eq!(judge(&plan, &text, &[]).unwrap_err(), too_complex(Bound::Aliases));
    // Hidden in a fragment that is spread often.
    let text = body(
        "{ ...F ...F ...F ...F } fragment F on Query { a: me { id } b: me { id } c: me { id } d: me { id } }",
        "{}",
    );
    assert_eq!(judge(&shop(), &text, &[]).unwrap_err(), too_complex(Bound::Aliases));
}

#[test]
fn depth_counts_through_fragments() {
    let deep =
        |n: usize| format!("{{ order(id: 1) {} id {} }}", "{ user { orders ".repeat(n), "} }".repeat(n));
    assert_eq!(refused(&deep(6), "{}"), "depth");
    assert_eq!(
        refused(
            "{ me { ...A } } fragment A on User { orders { user { orders { ...B } } } } fragment B on Order { user { \
             orders { user { orders { user { orders { id } } } } } } }",
            "{}"
        ),
        "depth"
    );
    assert_eq!(
        sent("{ me { ... { ... { ... { id } } } } }", "{}"),
        r#"{"query":"query{me{...{...{...{id}}}}}"}"#
    );
}

#[test]
fn fragments_that_double_are_measured_in_linear_time() {
    let doubling = |n: usize| {
        let mut text = "{ ...F0 }".to_owned();
        for at in 0..n {
            text.push_str(&format!("fragment F{at} on Query {{ ...F{0} ...F{0} }}", at + 1));
        }
        text + &format!("fragment F{n} on Query {{ me {{ id }} }}")
    };
    let weigh = |text: &str| {
        let tokens = lexer::lex(text, &Limits::default()).unwrap();
        let document = parse::document(&tokens).unwrap();
        let given = Given { variables: &[], values: None };
        measure::operation(&document, 0, &given, shop().schema.as_ref(), &Limits::default()).unwrap()
    };
    let weight = weigh(&doubling(30));
    assert_eq!(weight.fields, 2 << 30);
    // Two selections for each fragment, the field and its leaf, and the spread of the operation: not 2^30 of anything.
    assert_eq!(weight.steps, 30 * 2 + 2 + 1);
    assert_eq!(weigh(&doubling(49)).steps, 49 * 2 + 3);
    assert_eq!(refused(&doubling(30), "{}"), "root-fields");
    // 2^64 does not come round to nothing.
    let wide = |n: usize| {
        let mut text = "{ ...F0 }".to_owned();
        for at in 0..n {
            text.push_str(&format!("fragment F{at} on Query {{ {} }}", format!("...F{} ", at + 1).repeat(8)));
        }
        text + &format!("fragment F{n} on Query {{ a: me {{ id }} }}")
    };
    let weight = weigh(&wide(40));
    assert_eq!((weight.fields, weight.aliases), (u64::MAX, u64::MAX));
}

#[test]
fn cost_is_that_of_what_may_come_back() {
    for (query, variables, expected) in [
        ("{ me { id name } }", "{}", 1),
        ("{ me { id } order(id: 1) { id } }", "{}", 2),
        ("{ orders { id user { id } } }", "{}", 1 + 10),
        ("{ orders(first: 5) { user { id } } }", "{}", 1 + 5),
        ("{ orders(first: 5, last: 7) { user { id } } }", "{}", 1 + 7),
        ("{ orders(first: null) { user { id } } }", "{}", 1 + 10),
        ("query($n: Int) { orders(first: $n) { user { id } } }", "{\"n\":20}", 1 + 20),
        ("query($n: Int) { orders(first: $n) { user { id } } }", "{}", 1 + 10),
        ("query($n: Int = 3) { orders(first: $n) { user { id } } }", "{}", 1 + 3),
        ("{ orders(first: 2) { user { orders(first: 3) { user { id } } } } }", "{}", 1 + 2 * (1 + 1 + 3)),
        ("{ connection(first: 7) { edges { node { id } } pageInfo { more } } }", "{}", 1 + 1 + 7 + 1),
        ("{ connection { edges { node { id } } } }", "{}", 1 + 1 + 10),
        (
            "{ connection(first: 7) { ...E } } fragment E on Connection { edges { node { id } } }",
            "{}",
            1 + 1 + 7,
        ),
        ("{ dear }", "{}", 70),
        ("{ dear @skip(if: true) }", "{}", 0),
        ("query($s: Boolean!) { dear @include(if: $s) }", "{\"s\":false}", 0),
        ("query($s: Boolean!) { dear @include(if: $s) }", "{\"s\":true}", 70),
        ("mutation { login(name: \"a\", password: \"b\") }", "{}", 10),
    ] {
        assert_eq!(cost(query, variables), expected, "{query} {variables}");
    }
    for (query, variables, reason) in [
        ("{ orders(first: 1000000) { id } }", "{}", "list-size"),
        ("{ orders(first: 51) { id } }", "{}", "list-size"),
        ("{ orders(first: -1) { id } }", "{}", "list-size"),
        ("query($n: Int) { orders(first: $n) { id } }", "{\"n\":1000000}", "list-size"),
        ("query($n: Int) { orders(first: $n) { id } }", "{\"n\":-1}", "list-size"),
        ("query($n: Int = 1000000) { orders(first: $n) { id } }", "{}", "list-size"),
        ("{ search(text: \"a\", limit: 101) { __typename } }", "{}", "list-size"),
        ("{ search(text: \"a\", offset: 1000001) { __typename } }", "{}", "list-size"),
        ("{ orders(first: 50) { user { orders(first: 50) { user { id } } } } }", "{}", "cost"),
    ] {
        let kind = judge(&shop(), &body(query, variables), &[]).unwrap_err();
        assert_eq!(kind.reason, reason, "{query} {variables}");
        assert!(matches!(kind.kind, Kind::TooComplex(_)));
    }
    let plan = GraphQl { costs: vec![("bulk".into(), 10_000)], ..shop() };
    let text = body("{ orders(first: 50) { user { orders(first: 50) { user { id } } } } }", "{}");
    assert!(judge(&plan, &text, &["bulk"]).is_ok());
    assert_eq!(judge(&plan, &text, &[]).unwrap_err(), too_complex(Bound::Cost));
}

#[test]
fn introspection_is_refused_under_every_name() {
    for query in [
        "{ __schema { types { name } } }",
        "{ a: __schema { types { name } } }",
        "{ ...F } fragment F on Query { ... { a: __schema { types { name } } } }",
        "{ __type(name: \"User\") { name } }",
        "{ me { id } b: __type(name: \"User\") { fields { name } } }",
        "{ __schema @skip(if: true) { types { name } } }",
    ] {
        assert_eq!(refused(query, "{}"), "introspection", "{query}");
        assert!(judge(&shop(), &body(query, "{}"), &[INTROSPECT]).is_ok(), "{query}");
    }
    assert_eq!(refused("{ _service { sdl } }", "{}"), "introspection");
    assert_eq!(refused("{ _entities(representations: []) { __typename } }", "{}"), "introspection");
    let deep = "{ __schema { types { ofType { ofType { ofType { ofType { ofType { ofType { ofType { ofType { ofType { \
                name } } } } } } } } } } } }";
    // Each level of it multiplies by nothing but itself; its depth is not counted.
    assert!(judge(&shop(), &body(deep, "{}"), &[INTROSPECT]).is_ok());
    assert!(sent("{ __typename me { __typename } }", "{}").contains("__typename"));
}

#[test]
fn a_guarded_field_is_guarded_on_every_way_to_it() {
    for query in [
        "{ salary }",
        "{ a: salary }",
        "{ ...F } fragment F on Query { salary }",
        "{ ... on Query { ... { salary } } }",
        "{ salary @skip(if: true) }",
        "{ me { secret { text } } }",
        "{ orders { user { secret { text } } } }",
        "{ animals { name } }",
        "{ animals { a: name } }",
        "{ animals { ... on Animal { name } } }",
        "{ animals { ... on Dog { name } } }",
        // Declared on the interface, asked of what implements it (GHSA-mx7m-j9xf-62hw).
        "{ label { text } }",
        "{ label { ... on Named { text } } }",
        "{ animals { ... { ... on Dog { x: name } } } }",
        "{ search(text: \"a\") { ... on User { secret { __typename } } } }",
    ] {
        let denied = judge(&shop(), &body(query, "{}"), &[]).unwrap_err();
        assert_eq!(denied, forbidden("field-denied"), "{query}");
        let all = ["hr", "secrets", "dogs", "labels"];
        assert!(judge(&shop(), &body(query, "{}"), &all).is_ok(), "{query}");
    }
    // Any of the outer lists, all of the inner.
    assert!(judge(&shop(), &body("{ salary }", "{}"), &["admin"]).is_err());
    assert!(judge(&shop(), &body("{ salary }", "{}"), &["admin", "mfa"]).is_ok());
    // What is not guarded through the same interface.
    assert!(judge(&shop(), &body("{ animals { ... on Cat { name } } }", "{}"), &[]).is_ok());
    assert!(judge(&shop(), &body("{ animals { __typename } }", "{}"), &[]).is_ok());
}

#[test]
fn a_field_that_may_be_null_is_cut_and_answered_with_null() {
    let plan = shop();
    let query = "query($n: Int) { orders(first: 2) { id n: note ...F } bonus me { id orders(first: $n) { id } } } \
                 fragment F on Order { note }";
    let accepted = judge(&plan, &body(query, "{\"n\":1}"), &[]).unwrap();
    assert_eq!(accepted.cut, 3);
    assert_eq!(
        String::from_utf8(accepted.body).unwrap(),
        r#"{"query":"query($n:Int){orders(first:2){id _pcz0:__typename ...F} _pcz2:__typename me{id orders(first:$n){id}}}fragment F on Order{_pcz1:__typename}","variables":{"n":1}}"#
    );
    let answer = r#"{"data":{"orders":[{"id":"1","_pcz0":"Order","_pcz1":"Order","note":"x","n":"y"}],"_pcz2":"Query","bonus":9,"me":null}}"#;
    let tape = scan(answer, &Bounds::default(), [0, 0]).unwrap();
    let written = plan.release(&accepted.answering, &tape).unwrap();
    // The upstream answered what it was not asked: dropped, and the null that a mark stands for is not given twice.
    let text = String::from_utf8(written.body).unwrap();
    assert!(!text.contains("\"x\"") && !text.contains("\"y\"") && !text.contains('9'), "{text}");
    let honest =
        r#"{"data":{"orders":[{"id":"1","_pcz0":"Order","_pcz1":"Order"}],"_pcz2":"Query","me":null}}"#;
    let tape = scan(honest, &Bounds::default(), [0, 0]).unwrap();
    let written = plan.release(&accepted.answering, &tape).unwrap();
    assert_eq!(
        String::from_utf8(written.body).unwrap(),
        r#"{"errors":[{"message":"Not allowed","path":["orders",0,"n"],"extensions":{"code":"graphql-forbidden"}},{"message":"Not allowed","path":["orders",0,"note"],"extensions":{"code":"graphql-forbidden"}},{"message":"Not allowed","path":["bonus"],"extensions":{"code":"graphql-forbidden"}}],"data":{"orders":[{"id":"1","n":null,"note":null}],"bonus":null,"me":null}}"#
    );
    // A variable that only the cut field used is neither declared nor sent.
    let query = "query($c: Boolean!) { bonus me { id } order(id: 1) { id } }";
    assert_eq!(judge(&plan, &body(query, "{\"c\":true}"), &[]).unwrap_err().reason, "variable-unused");
}

fn released(query: &str, answer: &str) -> Result<String, &'static str> {
    let plan = shop();
    let accepted = judge(&plan, &body(query, "{}"), &["dogs"]).unwrap();
    let tape = scan(answer, &Bounds::default(), [0, 0]).unwrap();
    plan.release(&accepted.answering, &tape).map(|written| String::from_utf8(written.body).unwrap())
}

#[test]
fn an_answer_is_what_was_selected() {
    assert_eq!(
        released(
            "{ me { id x: name } }",
            r#"{"data":{"me":{"id":1,"x":"a","name":"b","hash":"s"},"admin":1},"extensions":{"tracing":{}}}"#
        ),
        Ok(r#"{"data":{"me":{"id":1,"x":"a"}}}"#.to_owned())
    );
    assert_eq!(
        released("{ animals { __typename ... on Dog { barks } ... on Cat { lives } } }",
            r#"{"data":{"animals":[{"__typename":"Dog","barks":true},null,{"__typename":"Cat","lives":9,"barks":true}]}}"#),
        Ok(r#"{"data":{"animals":[{"__typename":"Dog","barks":true},null,{"__typename":"Cat","lives":9,"barks":true}]}}"#.to_owned())
    );
    for (query, answer, why) in [
        ("{ me { id } }", "[]", "graphql-no-object"),
        ("{ me { id } }", "{}", "graphql-neither-data-nor-errors"),
        ("{ me { id } }", r#"{"data":[]}"#, "graphql-data-no-object"),
        ("{ me { id } }", r#"{"data":{"me":[]}}"#, "graphql-no-object-where-one-was-selected"),
        ("{ me { id } }", r#"{"data":{"me":{"id":{"a":1}}}}"#, "graphql-leaf-of-another-kind"),
        ("{ orders { id } }", r#"{"data":{"orders":{}}}"#, "graphql-no-list"),
        (
            "{ order(id: 1) { state } }",
            r#"{"data":{"order":{"state":"LOST"}}}"#,
            "graphql-leaf-of-another-kind",
        ),
        ("{ order(id: 1) { total } }", r#"{"data":{"order":{"total":"1"}}}"#, "graphql-leaf-of-another-kind"),
        ("{ me { __typename } }", r#"{"data":{"me":{"__typename":"Hacker"}}}"#, "graphql-typename"),
    ] {
        assert_eq!(released(query, answer), Err(why), "{answer}");
    }
}

#[test]
fn errors_of_the_upstream_are_cut() {
    let answer = r#"{"errors":[
        {"message":"connect ECONNREFUSED db:5432","path":["me","id"],"locations":[{"line":1,"column":2}],
         "extensions":{"code":"INTERNAL","exception":{"stacktrace":["at x"]}}},
        {"message":"No order 7. Did you mean \"9\"?","extensions":{"code":"NOT_FOUND","debug":1}},
        {"message":"x","path":["../secret"],"extensions":{"code":"a b"}}
    ],"data":null,"debug":{"sql":"select"}}"#;
    assert_eq!(
        released("{ me { id } }", answer).unwrap(),
        r#"{"errors":[{"message":"Internal error","path":["me","id"],"extensions":{"code":"INTERNAL"}},{"message":"No order 7.","extensions":{"code":"NOT_FOUND"}},{"message":"Internal error"}],"data":null}"#
    );
}

#[test]
fn requests_have_four_members_and_their_types() {
    for (body, reason) in [
        ("[]", "batch"),
        ("1", "no-object"),
        ("{}", "query-missing"),
        (r#"{"query":1}"#, "member-not-a-string"),
        (r#"{"query":"{me{id}}","variables":[]}"#, "member-not-an-object"),
        (r#"{"query":"{me{id}}","operationName":1}"#, "member-not-a-string"),
        (r#"{"query":"{me{id}}","extensions":[]}"#, "member-not-an-object"),
        (r#"{"query":"{me{id}}","id":"x"}"#, "member-unknown"),
        (r#"[{"query":"{me{id}}"}]"#, "batch"),
        (r#"{"query":""}"#, "no-operation"),
    ] {
        let got = judge(&shop(), body, &[]).unwrap_err().reason;
        assert!(got == reason || (body == "[]" && got == "batch-empty"), "{body}: {got}");
    }
    let deep = format!("{}1{}", "[".repeat(17), "]".repeat(17));
    assert_eq!(refused("query($v: Any) { any(of: $v) }", &format!("{{\"v\":{deep}}}")), "variables-depth");
    let long = "a".repeat(70_000);
    assert_eq!(
        refused("query($v: Any) { any(of: $v) }", &format!("{{\"v\":\"{long}\"}}")),
        "variables-bytes"
    );
}

#[test]
fn a_batch_is_bounded_and_its_costs_add_up() {
    let plan = GraphQl { batch: 3, ..shop() };
    let of = |n: usize| {
        format!(
            "[{}]",
            vec![body("{ orders(first: 50) { user { orders { user { id } } } } }", "{}"); n].join(",")
        )
    };
    let one = judge(&plan, &of(1), &[]).unwrap();
    let answer = scan(r#"[{"data":{"orders":[]}}]"#, &Bounds::default(), [0, 0]).unwrap();
    assert_eq!(plan.release(&one.answering, &answer).unwrap().body, br#"[{"data":{"orders":[]}}]"#);
    let two = scan(r#"[{"data":{"orders":[]}},{"data":null}]"#, &Bounds::default(), [0, 0]).unwrap();
    assert!(plan.release(&one.answering, &two).is_err());
    assert!(one.cost <= 1_000 && one.cost * 2 > 1_000, "{}", one.cost);
    assert_eq!(judge(&plan, &of(2), &[]).unwrap_err(), too_complex(Bound::Cost));
    assert_eq!(judge(&plan, &of(4), &[]).unwrap_err(), too_complex(Bound::Batch));
    assert_eq!(judge(&shop(), &of(100), &[]).unwrap_err(), too_complex(Bound::Batch));
}

/// A stand-in: what matters here is that manifests are compared with it.
fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    for (at, byte) in bytes.iter().enumerate() {
        out[at % 32] = u8::wrapping_add(u8::wrapping_mul(out[at % 32], 31), *byte);
    }
    out
}

fn manifest(mode: Mode, normalised: bool) -> GraphQl {
    let hex: String = digest(b"query A { me { id } }").iter().map(|b| format!("{b:02x}")).collect();
    let text = format!(
        r#"{{"format":"apollo-persisted-query-manifest","version":1,"operations":[{{"id":"{hex}","name":"A","type":"query","body":"query A {{ me {{ id }} }}"}}]}}"#
    );
    GraphQl { persisted: Persisted::manifest(mode, normalised, &text, &digest).unwrap(), ..shop() }
}

#[test]
fn safelists_know_their_documents_and_learn_none() {
    let id: String = digest(b"query A { me { id } }").iter().map(|b| format!("{b:02x}")).collect();
    let hash = |id: &str| format!(r#""extensions":{{"persistedQuery":{{"version":1,"sha256Hash":"{id}"}}}}"#);
    let by_id = format!("{{{}}}", hash(&id));
    let listed = r#"{"query":"query A { me { id } }"}"#;
    let spaced = r#"{"query":"query A{me{id}}"}"#;
    let other = r#"{"query":"{ me { name } }"}"#;
    let register = format!(r#"{{"query":"{{ me {{ name }} }}",{}}}"#, hash(&"ab".repeat(32)));
    let swapped = format!(r#"{{"query":"{{ me {{ name }} }}",{}}}"#, hash(&id));
    let unknown = format!("{{{}}}", hash(&"ab".repeat(32)));
    let said = |plan: &GraphQl, body: &str| judge(plan, body, &[]).map(|a| a.unlisted).map_err(|r| r.reason);
    let safelist = manifest(Mode::Safelist, false);
    for _ in 0..2 {
        assert_eq!(said(&safelist, &by_id), Ok(0));
        assert_eq!(said(&safelist, listed), Ok(0));
        assert_eq!(said(&safelist, spaced), Err("not-listed"));
        assert_eq!(said(&safelist, other), Err("not-listed"));
        assert_eq!(said(&safelist, &register), Err("persisted-query-not-found"));
        assert_eq!(said(&safelist, &unknown), Err("persisted-query-not-found"));
        assert_eq!(said(&safelist, &swapped), Err("id-with-another-text"));
    }
    assert_eq!(said(&manifest(Mode::Safelist, true), spaced), Ok(0));
    let ids = manifest(Mode::RequireId, false);
    assert_eq!(said(&ids, &by_id), Ok(0));
    assert_eq!(said(&ids, listed), Err("id-required"));
    assert_eq!(said(&ids, &register), Err("persisted-query-not-found"));
    let log = manifest(Mode::Log, false);
    assert_eq!((said(&log, listed), said(&log, other)), (Ok(0), Ok(1)));
    assert_eq!(said(&shop(), &unknown), Err("persisted-query-not-found"));
    let wrong =
        r#"{"format":"apollo-persisted-query-manifest","operations":[{"id":"00","name":"A","body":"{a}"}]}"#;
    assert!(Persisted::manifest(Mode::Safelist, false, wrong, &digest).is_err());
}

#[test]
fn a_schema_is_whole_or_refused() {
    let wrong = |text: &str| schema(text).err().unwrap_or_else(|| panic!("accepted: {text}")).join("; ");
    for (text, what) in [
        ("type Query { a: Nope }", "unknown type"),
        ("type Mutation { a: Int }", "no query type"),
        ("type Query { a: Int } type Query { b: Int }", "defined twice"),
        ("type Query { a: Int a: Int }", "defined twice"),
        ("type Query { a: I } input I { b: Query }", "not an"),
        ("type Query { a(q: Query): Int }", "not an input"),
        ("type Query implements A { a: Int } interface A { b: Int }", "without its field"),
        ("type Query implements A { a: Int }", "no interface"),
        ("type Query { a: U } union U = Int", "no object type"),
        ("type Query { a: Int @portculis(cost: 1) }", "did you mean"),
        ("type Query { a: Int @portcullis(costs: 1) }", "not understood"),
        ("type Query { a: Int @portcullis(cost: -1) }", "not understood"),
        ("type Query { a: Int @portcullis(authorize: {scopes: []}) }", "names none"),
        ("type Query { a: Int @portcullis(authorize: {scopes: [[]]}) }", "names none"),
        ("type Query { a: Int @portcullis(authorize: {need: \"owner\"}) }", "not understood by this version"),
        ("type Query { a: Int! @portcullis(authorize: {scopes: [[\"a\"]], on_denied: null}) }", "never null"),
        ("type Query { a: [Int] @portcullis(list: {slicing: [\"first\"]}) }", "no argument"),
        ("type Query { a(b: Int @portcullis(cost: 1)): Int }", "not known"),
        ("type Query { __a: Int }", "GraphQL's own"),
        ("type Query {", "stops being GraphQL"),
        ("query { a }", "stops being GraphQL"),
        ("extend type Nope { a: Int } type Query { a: Int }", "to extend"),
        ("type Query { } ", "nothing in it"),
        ("schema { query: Nope } type Query { a: Int }", "cannot be"),
    ] {
        let said = wrong(text);
        assert!(said.contains(what), "{text}: {said}");
    }
    let extended = schema(
        "\"\"\"d\"\"\" schema { query: Q } type Q { \"d\" a(x: [Int!]! = [1]): Int @deprecated(reason: \"old\") } \
         extend type Q @key(fields: \"a\") { b: String } scalar Date @specifiedBy(url: \"x\") \
         extend schema @link(url: \"x\")",
    );
    assert!(extended.is_ok(), "{:?}", extended.err());
}

#[test]
fn what_is_written_reads_as_what_it_was_written_from() {
    for text in [
        "query A($a: [Int!]! = [1, 2], $b: I = {x: {y: \"z\\\"\\n\"}, e: E}) @d(a: 1) { a: b(c: $a, d: -1.5e3) @e { ...F \
         ... on T @f { g } ... @g { h } ... { i } } } fragment F on T @h { j }",
        "{ a(b: \"\"\"\n  x\n   y\\\"\"\"\n\"\"\") }",
        "mutation { a } subscription S { b }",
    ] {
        let print = |text: &str| {
            let tokens = lexer::lex(text, &Limits::default()).unwrap();
            print::whole(&parse::document(&tokens).unwrap())
        };
        let once = print(text);
        assert_eq!(print(&once), once);
        let same = |text: &str| {
            let tokens = lexer::lex(text, &Limits::default()).unwrap();
            format!("{:?}", parse::document(&tokens).unwrap())
        };
        assert_eq!(same(text), same(&once));
    }
}
