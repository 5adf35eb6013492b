// What holds for requests of GraphQL. Shared, by `include!`, by the fuzz target and by the replay of its corpus.

use portcullis_contract::body::text::TextRules;
use portcullis_contract::graphql::{GraphQl, Limits, Persisted, Schema};
use portcullis_contract::json;
use portcullis_core::finding::Span;
use std::sync::LazyLock;

static SHOP: LazyLock<GraphQl> = LazyLock::new(|| {
    let text = "directive @tag(name: String!) repeatable on FIELD
        type Query { me: User order(id: ID!): Order orders(first: Int, state: [State!]): [Order!]! any(of: Any): Any
          animals: [Animal] hits(text: String = \"a\"): [Hit] bonus: Int @portcullis(authorize: {scopes: [[\"hr\"]], on_denied: null})
          __x: Int }
        type Mutation { create(order: New!): Order }
        type User { id: ID! name: String orders(first: Int): [Order!]! }
        type Order { id: ID! total: Float user: User note: String @portcullis(authorize: {scopes: [[\"hr\"]], on_denied: null}) }
        union Hit = User | Order interface Animal { name: String } type Dog implements Animal { name: String n: Int }
        enum State { OPEN PAID } input New { items: [Item!]! note: String } input Item @oneOf { a: Int b: [Float] } scalar Any"
        .replace("__x: Int", "");
    let span = |_, _| Span::default();
    let schema = Schema::compile(&text, &span).map(|(schema, _)| schema).ok();
    assert!(schema.is_some());
    GraphQl {
        schema,
        limits: Limits::default(),
        costs: Vec::new(),
        batch: 3,
        introspection: true,
        persisted: Persisted::off(),
        keep_codes: vec!["KEPT".into()],
        text: TextRules::default(),
    }
});

/// A query, and after a NUL its variables, and after another one an answer. What is accepted is written, and what was
/// written is accepted again as the same text and weighs no more; an answer that leaves is JSON, and leaves as it is.
pub(crate) fn graphql_request(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.splitn(3, '\0');
    let query = parts.next().unwrap_or_default();
    let variables = parts.next().unwrap_or("{}");
    let mut body = b"{\"query\":".to_vec();
    json::write_string(query, &mut body);
    body.extend_from_slice(b",\"variables\":");
    body.extend_from_slice(variables.as_bytes());
    body.push(b'}');
    let plan = &*SHOP;
    let Ok(tape) = json::scan(body, &plan.body_bounds(), [7, 11]) else { return };
    // Measured in no more steps than there are tokens to select with, whatever the document becomes.
    if let Some(steps) = plan.steps(query) {
        assert!(steps <= query.len() as u64, "{steps}");
    }
    let nobody = |_: &str| false;
    let Ok(accepted) = plan.judge(&tape, &nobody) else { return };
    let hr = |scope: &str| scope == "hr";
    let again = json::scan(accepted.body.clone(), &plan.body_bounds(), [7, 11]);
    let again = again.expect("what was written is JSON");
    if accepted.cut == 0 {
        let second = plan.judge(&again, &hr).expect("what was written is accepted");
        assert_eq!(second.body, accepted.body, "a fixed point");
        assert_eq!(second.cost, accepted.cost);
    }
    let Some(answer) = parts.next() else { return };
    let Ok(tape) = json::scan(answer, &json::Bounds::default(), [7, 11]) else { return };
    if let Ok(written) = plan.release(&accepted.answering, &tape) {
        let tape = json::scan(written.body.clone(), &json::Bounds::default(), [7, 11]);
        let tape = tape.expect("what leaves is JSON");
        if accepted.cut == 0 {
            let second = plan.release(&accepted.answering, &tape).expect("what left leaves again");
            assert_eq!(second.dropped, 0);
        }
    }
}
