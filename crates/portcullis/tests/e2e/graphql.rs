//! GraphQL: what reaches the upstream is one operation, written anew; what it answers is what was selected.
//! Every attack of the contract's page on GraphQL, against the running program.

use crate::world::{CONFIG, World};
use portcullis_testkit::{Answer, Recorded, Response, Upstream};
use serde_json::{Value, json};

const SCHEMA: &str = r#"
type Query {
  me: User
  order(id: ID!): Order
  orders(first: Int, last: Int): [Order!]! @portcullis(list: {slicing: ["first", "last"], max: 50})
  search(text: String!): [Hit]
  animals: [Animal]
  echo(value: Any): Any
}
type Mutation { login(name: String!, password: String!): Boolean }
type User { id: ID! name: String orders(first: Int): [Order!]! }
type Order {
  id: ID!
  total: Float
  user: User
  margin: Float @portcullis(authorize: {scopes: [["margins"]]})
  note: String @portcullis(authorize: {scopes: [["notes"]], on_denied: null})
}
union Hit = User | Order
interface Animal { name: String }
type Dog implements Animal { name: String @portcullis(authorize: {scopes: [["dogs"]]}) }
type Cat implements Animal { name: String }
scalar Any
"#;

/// The usual API, and GraphQL beside it.
fn config(more: &str) -> String {
    CONFIG.replace(
        "    upstream: UPSTREAM\n",
        &format!("    upstream: UPSTREAM\n    graphql: {{ path: /graphql, schema: shop.graphql{more} }}\n"),
    )
}

fn world(more: &str, script: impl Fn(&Recorded) -> Answer + Send + 'static) -> World {
    World::behind(Upstream::start(script), &config(more), &[("shop.graphql", SCHEMA)])
}

fn nothing() -> World {
    world("", |_| Answer::json(r#"{"data":{}}"#))
}

impl World {
    async fn post(&self, scope: &str, body: &str) -> Response {
        let bearer = self.bearer("ada", scope);
        let headers = [("Authorization", &*bearer), ("Content-Type", "application/json")];
        self.ask("POST", "/graphql", &headers, body.as_bytes()).await
    }

    async fn query(&self, scope: &str, query: &str, variables: Value) -> Response {
        self.post(scope, &json!({ "query": query, "variables": variables }).to_string()).await
    }

    /// A request that is refused in the form of GraphQL, and of which nothing arrives behind.
    async fn refuses(&self, query: &str, variables: Value, status: u16, code: &str) -> Value {
        let answer = self.query("", query, variables).await;
        let shown = query.chars().take(200).collect::<String>();
        assert_eq!(answer.status, status, "{shown}: {}", answer.text());
        let body = answer.json();
        let error = &body["errors"][0];
        assert_eq!(error["extensions"]["code"], code, "{shown}");
        assert_eq!(error["extensions"]["problem"], format!("urn:portcullis:problem:{code}"));
        assert_eq!(error["extensions"]["request_id"].as_str(), answer.header("x-request-id"), "{shown}");
        assert!(self.upstream.requests().is_empty(), "{shown}");
        body
    }

    async fn too_complex(&self, query: &str, variables: Value, bound: &str) {
        let body = self.refuses(query, variables, 400, "graphql-too-complex").await;
        assert_eq!(body["errors"][0]["extensions"]["bound"], bound);
        assert!(!body["errors"][0]["message"].as_str().unwrap().contains(|c: char| c.is_ascii_digit()));
    }
}

#[tokio::test]
async fn one_operation_goes_on_and_what_was_selected_comes_back() {
    let world = world("", |_| {
        Answer::json(
            r#"{"data":{"order":{"id":7,"total":1.50,"hash":"s3cret","user":{"id":"ada","password":"x"}},"all":[1]},"extensions":{"sql":"select"}}"#,
        )
    });
    let body = json!({
        "query": "query A { me { id } } query B($id: ID!, $n: Int = 2) { order(id: $id) { ...F user { id } } } fragment F on Order { id total }",
        "operationName": "B",
        "variables": { "id": 7, "is_admin": true },
        "extensions": { "clientLibrary": { "name": "x" } },
    });
    // A variable that is declared and not used does not pass; nor does an unused one of the client's reach anybody.
    assert_eq!(world.post("", &body.to_string()).await.status, 400);
    let body = body.to_string().replace(", $n: Int = 2", "");
    let answer = world.post("", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.text(), r#"{"data":{"order":{"id":7,"total":1.50,"user":{"id":"ada"}}}}"#);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let seen = world.upstream.requests();
    assert_eq!(seen.len(), 1);
    assert_eq!(
        seen[0].json(),
        json!({
            "query": "query B($id:ID!){order(id:$id){...F user{id}}}fragment F on Order{id total}",
            "operationName": "B",
            "variables": { "id": "7" },
        })
    );
    let line = world.line_of(&answer).to_string();
    assert!(line.contains("graphql query B") && line.contains("graphql cost 2"), "{line}");
    assert!(!line.contains("order(id"), "{line}");
    let metrics = world.admin("/metrics").await.text();
    assert!(metrics.contains("graphql_cost_total{api=\"shop\",operation=\"graphql\"} 2"), "{metrics}");
    // The document of OpenAPI beside it is as it was.
    assert_eq!(world.get("/items").await.status, 200);
}

#[tokio::test]
async fn answers_are_of_the_type_that_was_asked_for() {
    let world = world("", |_| Answer::json(r#"{"data":{"me":null}}"#));
    let bearer = world.bearer("ada", "");
    for (accept, media) in [
        ("application/graphql-response+json", "application/graphql-response+json"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
    ] {
        let headers = [("Authorization", &*bearer), ("Content-Type", "application/json"), ("Accept", accept)];
        let answer = world.ask("POST", "/graphql", &headers, br#"{"query":"{me{id}}"}"#).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(media)));
        let answer = world.ask("POST", "/graphql", &headers, br#"{"query":"{no}"}"#).await;
        assert_eq!((answer.status, answer.header("content-type")), (400, Some(media)));
    }
}

#[tokio::test]
async fn refused_before_the_body_is_read_is_a_problem_of_http() {
    let world = nothing();
    let body = br#"{"query":"mutation { login(name: \"a\", password: \"b\") }"}"#;
    let bearer = world.bearer("ada", "");
    let with = |media| [("Authorization", bearer.clone()), ("Content-Type", String::from(media))];
    for media in [
        "application/x-www-form-urlencoded",
        "text/plain",
        "application/graphql",
        "multipart/form-data; boundary=a",
    ] {
        let headers = with(media);
        let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, &**v)).collect();
        let answer = world.ask("POST", "/graphql", &headers, body).await;
        assert_eq!(
            (answer.status, answer.problem().as_deref()),
            (415, Some("unsupported-media-type")),
            "{media}"
        );
    }
    let target = "/graphql?query=mutation%20%7B%20login%20%7D";
    let answer = world.ask("GET", target, &[("Authorization", &*bearer)], b"").await;
    assert_eq!((answer.status, answer.problem().as_deref()), (405, Some("method-not-allowed")));
    let introspection =
        world.ask("GET", "/graphql?query=%7B__schema%7D", &[("Authorization", &*bearer)], b"").await;
    assert_eq!(introspection.status, 405);
    let json = with("application/json");
    let headers: Vec<_> = json.iter().map(|(n, v)| (*n, &**v)).collect();
    let answer = world.ask("POST", "/graphql?query=%7Bme%7D", &headers, body).await;
    assert_eq!((answer.status, answer.problem().as_deref()), (400, Some("unknown-parameter")));
    let answer = world.ask("POST", "/graphql", &[("Content-Type", "application/json")], body).await;
    assert_eq!((answer.status, answer.problem().as_deref()), (401, Some("credential-missing")));
    let large = vec![b' '; (100 << 10) + 1];
    let answer = world.ask("POST", "/graphql", &headers, &large).await;
    assert_eq!((answer.status, answer.problem().as_deref()), (413, Some("payload-too-large")));
    assert!(world.upstream.requests().is_empty());
}

#[tokio::test]
async fn a_thousand_aliases_of_a_login() {
    let world = nothing();
    let aliases =
        |n: usize| -> String { (0..n).map(|n| format!("a{n}:login(name:$n,password:\"{n}\")")).collect() };
    world
        .too_complex(
            &format!("mutation($n:String!){{{}}}", aliases(1_000)),
            json!({ "n": "a" }),
            "query-bytes",
        )
        .await;
    world
        .too_complex(&format!("mutation($n:String!){{{}}}", aliases(150)), json!({ "n": "a" }), "aliases")
        .await;
    world
        .too_complex(&format!("mutation($n:String!){{{}}}", aliases(16)), json!({ "n": "a" }), "aliases")
        .await;
    let answer =
        world.query("", &format!("mutation($n:String!){{{}}}", aliases(15)), json!({ "n": "a" })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn a_batch_of_a_hundred() {
    let world = nothing();
    let batch = |n: usize| Value::Array(vec![json!({ "query": "{ me { id } }" }); n]).to_string();
    for n in [1, 100] {
        let answer = world.post("", &batch(n)).await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.json()["errors"][0]["extensions"]["bound"], "batch");
    }
    assert!(world.upstream.requests().is_empty());
    let few = crate::graphql::world(", batch: { max: 2 }", |_| {
        Answer::json(r#"[{"data":{"me":{"id":"a","x":1}}},{"data":{"me":null},"debug":1}]"#)
    });
    assert_eq!(few.post("", &batch(3)).await.status, 400);
    let answer = few.post("", &batch(2)).await;
    assert_eq!(answer.text(), r#"[{"data":{"me":{"id":"a"}}},{"data":{"me":null}}]"#);
    assert_eq!(few.upstream.requests().len(), 1);
}

#[tokio::test]
async fn depth_fifty_plain_and_in_a_fragment() {
    let world = nothing();
    let deep = |n: usize| format!("{}id{}", "user{orders{".repeat(n), "}}".repeat(n));
    world.too_complex(&format!("{{order(id:1){{{}}}}}", deep(25)), json!({}), "depth").await;
    world
        .too_complex(
            &format!("{{order(id:1){{...F}}}}fragment F on Order{{{}}}", deep(25)),
            json!({}),
            "depth",
        )
        .await;
    let hidden = format!(
        "{{order(id:1){{...A}}}}fragment A on Order{{user{{orders{{user{{orders{{...B}}}}}}}}}}fragment B on Order{{{}}}",
        deep(4)
    );
    world.too_complex(&hidden, json!({}), "depth").await;
}

#[tokio::test]
async fn fragments_that_double_thirty_times() {
    let world = nothing();
    let mut text = "{...F0}".to_owned();
    for at in 0..30 {
        text.push_str(&format!("fragment F{at} on Query{{...F{0} ...F{0}}}", at + 1));
    }
    text.push_str("fragment F30 on Query{me{id}}");
    // That it takes no 2^30 steps is the law of the measure (its steps are counted there); here it is answered at all.
    world.too_complex(&text, json!({}), "root-fields").await;
}

#[tokio::test]
async fn fragments_in_circles_twice_unused_and_nowhere() {
    let world = nothing();
    for query in [
        "{...F}fragment F on Query{...F}",
        "{...F}fragment F on Query{me{id}...G}fragment G on Query{...F}",
        "{...F}fragment F on Query{me{id}}fragment F on Query{me{name}}",
        "{...F}",
        "{me{id}}fragment F on Query{me{id}}",
        "{me{...F}}fragment F on Order{id}",
    ] {
        world.refuses(query, json!({}), 400, "graphql-invalid").await;
    }
}

#[tokio::test]
async fn a_million_items() {
    let world = nothing();
    for (query, variables) in [
        ("{orders(first:1000000){id}}", json!({})),
        ("{orders(first:-1){id}}", json!({})),
        ("query($n:Int){orders(first:$n){id}}", json!({ "n": 1_000_000 })),
        ("query($n:Int){orders(first:$n){id}}", json!({ "n": -1 })),
        ("query($n:Int=1000000){orders(first:$n){id}}", json!({})),
        ("{me{orders(first:101){id}}}", json!({})),
    ] {
        world.too_complex(query, variables, "list-size").await;
    }
    // Null and absent are ten: four levels of them are more than a thousand.
    let nested = "{orders(first:null){user{orders{user{orders{user{orders{user{id}}}}}}}}}";
    world.too_complex(nested, json!({}), "cost").await;
    let nested = "query($n:Int){orders(first:$n){user{orders{user{orders{user{orders{user{id}}}}}}}}}";
    world.too_complex(nested, json!({ "n": null }), "cost").await;
}

#[tokio::test]
async fn introspection_under_every_name() {
    let world = nothing();
    for query in [
        "{__schema{types{name}}}",
        "{a:__schema{types{name}}}",
        "{me{id} ...F}fragment F on Query{...{x:__schema{types{name}}}}",
        "{__type(name:\"User\"){name}}",
        "{_service{sdl}}",
        "{_entities(representations:[]){__typename}}",
    ] {
        world.refuses(query, json!({}), 403, "graphql-forbidden").await;
    }
    let answer = world.query("portcullis.introspect", "{__schema{types{name}}}", json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(world.query("", "{__typename}", json!({})).await.status, 200);
    let open = crate::graphql::world(
        ", introspection: { allow: true, because: the schema is public, until: 2099-12-31 }",
        |_| Answer::json(r#"{"data":{"__schema":{"types":[{"name":"User"}]}}}"#),
    );
    let answer = open.query("", "{__schema{types{name}}}", json!({})).await;
    assert_eq!(answer.text(), r#"{"data":{"__schema":{"types":[{"name":"User"}]}}}"#);
}

#[tokio::test]
async fn a_mistyped_field_is_not_helped() {
    let world = nothing();
    let mut said = Vec::new();
    for query in [
        "{ordr(id:1){id}}",
        "{order(idd:1){id}}",
        "{order(id:1){tota}}",
        "{order(id:1){...on Ordr{id}}}",
        "{xyzzy}",
    ] {
        let body = world.refuses(query, json!({}), 400, "graphql-invalid").await;
        said.push(body["errors"][0]["message"].as_str().unwrap().to_owned());
    }
    said.dedup();
    // One message for all: it tells nothing of the schema.
    assert_eq!(said, ["The GraphQL request does not match the schema."]);
}

#[tokio::test]
async fn texts_that_are_too_large() {
    let world = nothing();
    world.too_complex(&format!("{{me{{id}}}}{}", " ".repeat(15_001 - 8)), json!({}), "query-bytes").await;
    world.too_complex(&format!("{{me{{{}}}}}", "id ".repeat(1_996)), json!({}), "tokens").await;
    world
        .too_complex(&format!("{{echo(value:{}1{})}}", "[".repeat(65), "]".repeat(65)), json!({}), "nesting")
        .await;
    world.too_complex(&format!("{{echo(value:\"{}\")}}", "a".repeat(4_097)), json!({}), "string-bytes").await;
    world
        .too_complex(&format!("{{echo(value:\"\"\"{}\"\"\")}}", "a".repeat(4_097)), json!({}), "string-bytes")
        .await;
    let many: String = (0..51).map(|n| format!("fragment F{n} on Query{{me{{id}}}}")).collect();
    let spreads: String = (0..51).map(|n| format!("...F{n} ")).collect();
    world.too_complex(&format!("{{{spreads}}}{many}"), json!({}), "fragments").await;
    world
        .too_complex(
            "{me@skip(if:true)@skip(if:true)@skip(if:true)@skip(if:true)@skip(if:true){id}}",
            json!({}),
            "directives",
        )
        .await;
    let operations: String = (0..6).map(|n| format!("query A{n}{{me{{id}}}}")).collect();
    world.too_complex(&operations, json!({}), "operations").await;
    let roots: String = "me{id}".repeat(21);
    world.too_complex(&format!("{{{roots}}}"), json!({}), "root-fields").await;
    world
        .too_complex("query($v:Any){echo(value:$v)}", json!({ "v": "a".repeat(70_000) }), "variables-bytes")
        .await;
    let mut deep = json!(1);
    for _ in 0..16 {
        deep = json!([deep]);
    }
    world.too_complex("query($v:Any){echo(value:$v)}", json!({ "v": deep }), "variables-depth").await;
    // A string of a megabyte never gets so far.
    let answer = world.query("", &format!("{{echo(value:\"{}\")}}", "a".repeat(1 << 20)), json!({})).await;
    assert_eq!((answer.status, answer.problem().as_deref()), (413, Some("payload-too-large")));
    assert!(world.upstream.requests().is_empty());
}

#[tokio::test]
async fn bodies_that_are_no_requests() {
    let world = nothing();
    for (body, code) in [
        ("{\"query\":\"{me{id}}\",\"query\":\"{me{name}}\"}", "duplicate-key"),
        ("{\"query\":\"{me{id}}\"", "malformed-json"),
        ("\u{feff}{\"query\":\"{me{id}}\"}", "malformed-json"),
        ("{\"query\":[\"{me{id}}\"]}", "graphql-malformed"),
        ("{\"query\":\"{me{id}}\",\"sql\":1}", "graphql-malformed"),
        ("{\"query\":\"{me{id}\"}", "graphql-malformed"),
        ("{\"query\":\"type Query { a: Int }\"}", "graphql-malformed"),
        ("{\"query\":\"query A{me{id}} query B{me{id}}\"}", "graphql-invalid"),
        ("{\"query\":\"subscription{ticks}\"}", "graphql-invalid"),
        ("7", "graphql-malformed"),
    ] {
        let answer = world.post("", body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(answer.json()["errors"][0]["extensions"]["code"], code, "{body}");
    }
    assert!(world.upstream.requests().is_empty());
}

#[tokio::test]
async fn a_protected_field_on_every_way_to_it() {
    let world = nothing();
    for query in [
        "{order(id:1){margin}}",
        "{order(id:1){a:margin}}",
        "{order(id:1){...F}}fragment F on Order{margin}",
        "{orders{user{orders{margin}}}}",
        "{search(text:\"a\"){...on Order{margin}}}",
        "{animals{name}}",
        "{animals{n:name}}",
        "{animals{...on Animal{name}}}",
        "{animals{...{...on Dog{name}}}}",
    ] {
        world.refuses(query, json!({}), 403, "graphql-forbidden").await;
    }
    assert_eq!(world.query("margins dogs", "{order(id:1){margin}}", json!({})).await.status, 200);
    assert_eq!(world.query("margins dogs", "{animals{name}}", json!({})).await.status, 200);
}

#[tokio::test]
async fn a_field_that_may_be_null_is_neither_asked_for_nor_told() {
    let world =
        world("", |_| Answer::json(r#"{"data":{"orders":[{"id":"1","_pcz0":"Order","note":"private"}]}}"#));
    let answer = world.query("", "{orders{id n:note}}", json!({})).await;
    assert_eq!(
        answer.json(),
        json!({
            "data": { "orders": [{ "id": "1", "n": null }] },
            "errors": [{ "message": "Not allowed", "path": ["orders", 0, "n"], "extensions": { "code": "graphql-forbidden" } }],
        })
    );
    assert_eq!(world.upstream.requests()[0].json()["query"], "query{orders{id _pcz0:__typename}}");
    // The alias by which the place is known again is not the client's to use.
    assert_eq!(world.query("", "{orders{_pcz0:id}}", json!({})).await.status, 400);
}

#[tokio::test]
async fn safelists_cannot_be_registered_with() {
    let body = "query Me{me{id}}";
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body.as_bytes());
    let id: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let manifest = json!({
        "format": "apollo-persisted-query-manifest",
        "version": 1,
        "operations": [{ "id": id, "name": "Me", "type": "query", "body": body }],
    })
    .to_string();
    let start = |mode: &str| {
        let config = config(&format!(", persisted: {{ mode: {mode}, manifest: manifest.json }}"));
        let upstream = Upstream::start(|_| Answer::json(r#"{"data":{"me":null}}"#));
        World::behind(upstream, &config, &[("shop.graphql", SCHEMA), ("manifest.json", &manifest)])
    };
    let extension = |id: &str| json!({ "persistedQuery": { "version": 1, "sha256Hash": id } });
    let other = "{me{name}}";
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, other.as_bytes());
    let other_id: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    for mode in ["safelist", "require_id"] {
        let world = start(mode);
        // Twice: had the first one been stored, the second would be known.
        for request in [
            json!({ "query": other, "extensions": extension(&other_id) }),
            json!({ "extensions": extension(&other_id) }),
        ] {
            let answer = world.post("", &request.to_string()).await;
            assert_eq!(
                (answer.status, &answer.json()["errors"][0]["message"]),
                (400, &json!("PersistedQueryNotFound"))
            );
        }
        let swapped = json!({ "query": other, "extensions": extension(&id) });
        assert_eq!(world.post("", &swapped.to_string()).await.status, 400);
        assert_eq!(world.post("", &json!({ "query": other }).to_string()).await.status, 403);
        let text = world.post("", &json!({ "query": body }).to_string()).await;
        assert_eq!(text.status, if mode == "safelist" { 200 } else { 403 });
        let by_id = world.post("", &json!({ "extensions": extension(&id) }).to_string()).await;
        assert_eq!((by_id.status, by_id.text()), (200, r#"{"data":{"me":null}}"#.to_owned()));
        for request in world.upstream.requests() {
            assert_eq!(request.json(), json!({ "query": body, "operationName": "Me" }));
        }
    }
}

#[tokio::test]
async fn errors_of_the_upstream_tell_nothing() {
    let world = world(", errors: { keep_codes: [NOT_FOUND] }", |request| {
        if request.json()["query"].as_str().unwrap().contains("search") {
            return Answer::status(500).body("java.lang.NullPointerException at com.shop");
        }
        Answer::json(
            r#"{"errors":[{"message":"SQLSTATE 42P01 relation","extensions":{"code":"INTERNAL","exception":{"stacktrace":["at db.js:1"]}},"path":["me"]},
                {"message":"No order. Did you mean 9?","extensions":{"code":"NOT_FOUND"}}],"data":{"me":null}}"#,
        )
    });
    let answer = world.query("", "{me{id}}", json!({})).await;
    assert_eq!(
        answer.json(),
        json!({
            "errors": [
                { "message": "Internal error", "path": ["me"], "extensions": { "code": "INTERNAL" } },
                { "message": "No order.", "extensions": { "code": "NOT_FOUND" } },
            ],
            "data": { "me": null },
        })
    );
    let answer = world.query("", "{search(text:\"a\"){__typename}}", json!({})).await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.json()["errors"][0]["extensions"]["code"], "upstream-error");
    assert!(!answer.text().contains("java"));
}

#[tokio::test]
async fn an_answer_of_another_kind_does_not_leave() {
    let world = world("", |_| Answer::json(r#"{"data":{"me":{"id":{"secret":1}}}}"#));
    let answer = world.query("", "{me{id}}", json!({})).await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.json()["errors"][0]["extensions"]["code"], "response-violation");
    world.upstream.answer(|_| Answer::status(200).header("Content-Type", "text/html").body("<html>secret"));
    let answer = world.query("", "{me{id}}", json!({})).await;
    assert_eq!(answer.status, 502);
    assert!(!answer.text().contains("secret"));
}

#[tokio::test]
async fn cost_is_paid_for_where_a_limit_is_written() {
    let budget =
        config("").replace("key: off, user: off }", "key: off, user: { rate: 100/day, burst: 100 } }");
    let upstream = Upstream::start(|_| Answer::json(r#"{"data":{"orders":[]}}"#));
    let world = World::behind(upstream, &budget, &[("shop.graphql", SCHEMA)]);
    // One request and 1 + 40 × 1 units.
    let ask = || world.query("", "{orders(first:40){user{id}}}", json!({}));
    let first = ask().await;
    assert_eq!(first.status, 200, "{}", first.text());
    assert_eq!(first.header("x-ratelimit-remaining"), Some("58"));
    assert_eq!(ask().await.status, 200);
    let third = ask().await;
    assert_eq!(third.status, 429, "{}", third.text());
    assert_eq!(third.json()["errors"][0]["extensions"]["code"], "quota-spent");
    let dear = world.query("", "{orders(first:50){user{orders(first:9){user{id}}}}}", json!({})).await;
    assert_eq!(dear.status, 413, "{}", dear.text());
    assert_eq!(dear.json()["errors"][0]["extensions"]["code"], "cost-exceeds-burst");
    assert_eq!(world.upstream.requests().len(), 2);
}

#[tokio::test]
async fn an_api_may_be_graphql_alone() {
    let alone = config("").replace("    spec: openapi.yaml\n", "").replace(
        "    anonymous: [{ allow: listItems, because: the catalogue is public, until: 2099-12-31 }]\n",
        "",
    );
    let upstream = Upstream::start(|_| Answer::json(r#"{"data":{"me":null}}"#));
    let world = World::behind(upstream, &alone, &[("shop.graphql", SCHEMA)]);
    assert_eq!(world.query("", "{me{id}}", json!({})).await.text(), r#"{"data":{"me":null}}"#);
    assert_eq!(world.get("/items").await.status, 404);
    // Whoever can be authenticated may call, and nobody else.
    let body = br#"{"query":"{me{id}}"}"#;
    let answer = world.ask("POST", "/graphql", &[("Content-Type", "application/json")], body).await;
    assert_eq!(answer.status, 401);
}
