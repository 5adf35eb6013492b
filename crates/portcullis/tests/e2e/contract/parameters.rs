//! Every cell of the table of styles at an upstream that records, and attacks on values.

use super::{all, open};
use portcullis_testkit::request;

const ONE: &str = "{ type: string }";
const LIST: &str = "{ type: array, items: { type: string } }";
const MAP: &str = "{ type: object, properties: { R: { type: integer }, G: { type: integer } } }";

/// in, style, explode, schema, as it comes, as it goes on.
type Cell = (&'static str, &'static str, bool, &'static str, &'static str, &'static str);

const CELLS: &[Cell] = &[
    ("path", "simple", false, ONE, "blue", "blue"),
    ("path", "simple", true, ONE, "bl%75e", "blue"),
    ("path", "simple", false, LIST, "blue,black", "blue,black"),
    ("path", "simple", true, LIST, "blue,bla%2Cck", "blue,bla%2Cck"),
    ("path", "simple", false, MAP, "R,100,G,200", "R,100,G,200"),
    ("path", "simple", true, MAP, "G=200,R=100", "G=200,R=100"),
    ("path", "label", false, ONE, ".blue", ".blue"),
    ("path", "label", true, ONE, ".blue", ".blue"),
    ("path", "label", false, LIST, ".blue,black", ".blue,black"),
    ("path", "label", true, LIST, ".blue.black", ".blue.black"),
    ("path", "label", false, MAP, ".R,100,G,200", ".R,100,G,200"),
    ("path", "label", true, MAP, ".R=100.G=200", ".R=100.G=200"),
    ("path", "matrix", false, ONE, ";c=blue", ";c=blue"),
    ("path", "matrix", true, ONE, ";c=blue", ";c=blue"),
    ("path", "matrix", false, LIST, ";c=blue,black", ";c=blue,black"),
    ("path", "matrix", true, LIST, ";c=blue;c=black", ";c=blue;c=black"),
    ("path", "matrix", false, MAP, ";c=R,100,G,200", ";c=R,100,G,200"),
    ("path", "matrix", true, MAP, ";R=100;G=200", ";R=100;G=200"),
    ("header", "simple", false, ONE, "blue", "blue"),
    ("header", "simple", false, LIST, "blue ,  black", "blue,black"),
    ("header", "simple", true, LIST, "blue,black", "blue,black"),
    ("header", "simple", false, MAP, "R,100, G,200", "R,100,G,200"),
    ("header", "simple", true, MAP, "R=100,G=200", "R=100,G=200"),
    ("query", "form", true, ONE, "%63=bl%75e", "c=blue"),
    ("query", "form", false, ONE, "c=a+b", "c=a%20b"),
    ("query", "form", false, LIST, "c=blue,bla%2cck", "c=blue,bla%2Cck"),
    ("query", "form", true, LIST, "c=blue&c=black", "c=blue&c=black"),
    ("query", "form", false, MAP, "c=R,100,G,200", "c=R,100,G,200"),
    ("query", "form", true, MAP, "R=100&G=200", "R=100&G=200"),
    ("query", "spaceDelimited", false, LIST, "c=blue+black", "c=blue%20black"),
    ("query", "spaceDelimited", true, LIST, "c=blue&c=black", "c=blue&c=black"),
    ("query", "spaceDelimited", false, MAP, "c=R%20100%20G%20200", "c=R%20100%20G%20200"),
    ("query", "pipeDelimited", false, LIST, "c=blue%7cblack", "c=blue%7Cblack"),
    ("query", "pipeDelimited", true, LIST, "c=blue&c=black", "c=blue&c=black"),
    ("query", "pipeDelimited", false, MAP, "c=R%7C100%7CG%7C200", "c=R%7C100%7CG%7C200"),
    ("query", "deepObject", true, MAP, "c[R]=100&c%5bG%5D=200", "c%5BR%5D=100&c%5BG%5D=200"),
    ("cookie", "form", false, ONE, "c=bl%75e", "c=blue"),
    ("cookie", "form", false, LIST, "c=blue,black", "c=blue,black"),
    ("cookie", "form", false, MAP, "c=R,100,G,200", "c=R,100,G,200"),
];

#[tokio::test]
async fn an_upstream_sees_every_style_in_its_canonical_spelling() {
    let mut spec = String::from("openapi: 3.0.3\ninfo: { title: t, version: '1' }\npaths:\n");
    let mut ids = Vec::new();
    for (index, (place, style, explode, schema, ..)) in CELLS.iter().enumerate() {
        let (path, name) = match *place {
            "path" => (format!("/t{index}/{{c}}"), "c"),
            "header" => (format!("/t{index}"), "X-C"),
            _ => (format!("/t{index}"), "c"),
        };
        spec.push_str(&format!(
            "  {path}:\n    get:\n      operationId: t{index}\n      parameters: [{{ name: {name}, in: {place}, required: true, style: {style}, explode: {explode}, schema: {schema} }}]\n      responses: {{ '204': {{ description: none }} }}\n"
        ));
        ids.push(format!("t{index}"));
    }
    let ids: Vec<&str> = ids.iter().map(|id| &**id).collect();
    let world = open(&spec, &ids, "");
    let requests = CELLS.iter().enumerate().map(|(index, (place, .., wire, _))| match *place {
        "path" => request("GET", &format!("/t{index}/{wire}"), &[], b""),
        "query" => request("GET", &format!("/t{index}?{wire}"), &[], b""),
        "header" => request("GET", &format!("/t{index}"), &[("x-c", wire)], b""),
        _ => request("GET", &format!("/t{index}"), &[("Cookie", &format!("x=1; {wire}; y=2"))], b""),
    });
    let answers = all(&world, requests.collect(), 1).await;
    let recorded = world.upstream.requests();
    for (index, (cell, answer)) in CELLS.iter().zip(&answers).enumerate() {
        let (place, style, .., wire, written) = cell;
        assert_eq!(answer.status, 204, "{place} {style} {wire}: {}", answer.text());
        let seen = recorded
            .iter()
            .find(|r| r.target.split(['/', '?']).nth(1) == Some(&format!("t{index}")))
            .unwrap();
        let got = match *place {
            "path" => seen.target.strip_prefix(&format!("/t{index}/")).unwrap().to_owned(),
            "query" => seen.target.strip_prefix(&format!("/t{index}?")).unwrap().to_owned(),
            "header" => seen.header("x-c").unwrap().to_owned(),
            // Undeclared cookies do not go on.
            _ => seen.header("cookie").unwrap().to_owned(),
        };
        assert_eq!(got, *written, "{place} {style} {wire}");
    }
    assert_eq!(recorded.len(), CELLS.len());
}

const VALUES: &str = "openapi: 3.0.3
info: { title: t, version: '1' }
paths:
  /path/{id}:
    get:
      operationId: path
      parameters: [{ name: id, in: path, required: true, schema: { type: integer, format: int64 } }]
      responses: { '204': { description: none } }
  /query:
    get:
      operationId: query
      parameters:
        - { name: id, in: query, schema: { type: integer, format: int32 } }
        - { name: uid, in: query, schema: { type: string, format: uuid } }
        - { name: limit, in: query, schema: { type: integer } }
        - { name: offset, in: query, schema: { type: integer } }
        - { name: text, in: query, schema: { type: string } }
      responses: { '204': { description: none } }
  /body:
    post:
      operationId: body
      requestBody:
        content:
          application/json:
            schema:
              type: object
              properties: { id: { type: integer, format: int64 }, limit: { type: integer }, key: { type: string, format: uuid } }
      responses: { '204': { description: none } }
";
const OPERATIONS: [&str; 3] = ["path", "query", "body"];

/// `contract.md`, section 20: values of another shape than declared, for a path, query and body id.
#[tokio::test]
async fn values_of_another_shape_reach_nobody() {
    let world = open(VALUES, &OPERATIONS, "");
    let integers = [
        "[1]",
        "%7B%22id%22:1%7D",
        "%221%22",
        "null",
        "01",
        "+1",
        "1.0",
        "1_0",
        "1e9",
        "0x1",
        "-0",
        "%EF%BC%91",
        "%D9%A1",
        "9223372036854775808",
        "1%20",
        "true",
        "1,2",
    ];
    let mut requests = Vec::new();
    for value in integers {
        requests.push(request("GET", &format!("/path/{value}"), &[], b""));
        requests.push(request("GET", &format!("/query?id={value}"), &[], b""));
        requests.push(request("GET", &format!("/query?limit={value}"), &[], b""));
    }
    for value in ["2147483648", "-2147483649", "1%00", ""] {
        requests.push(request("GET", &format!("/query?id={value}"), &[], b""));
    }
    for key in [
        "%7B6ba7b810-9dad-11d1-80b4-00c04fd430c8%7D",
        "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "6ba7b8109dad11d180b400c04fd430c8",
        "6ba7b810-9dad-11d1-80b4-00c04fd430c8%20",
    ] {
        requests.push(request("GET", &format!("/query?uid={key}"), &[], b""));
    }
    for query in [
        "limit=999999999",
        "limit=101",
        "limit=-1",
        "offset=1000001",
        "id=1&id=2",
        "id[]=1",
        "ID=1",
        "id.=1",
        "nope=1",
        "id=1&&limit=1",
        "id=1&",
        "=1",
        "text=%zz",
        "text=%ff",
        "text=%c0%af",
        "text=a%00b",
        "text=%E2%80%AE",
    ] {
        requests.push(request("GET", &format!("/query?{query}"), &[], b""));
    }
    for body in [
        "{\"id\":[1]}",
        "{\"id\":{\"id\":1}}",
        "{\"id\":\"1\"}",
        "{\"id\":null}",
        "{\"id\":1.0}",
        "{\"id\":1e2}",
        "{\"id\":-0}",
        "{\"id\":01}",
        "{\"id\":+1}",
        "{\"id\":9223372036854775808}",
        "{\"limit\":101}",
        "{\"limit\":-1}",
        "{\"is_admin\":true}",
        "{\"ID\":1}",
        "{\"key\":\"{6ba7b810-9dad-11d1-80b4-00c04fd430c8}\"}",
    ] {
        requests.push(super::post("/body", body.as_bytes()));
    }
    let shown: Vec<String> =
        requests.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
    let answers = all(&world, requests, 1).await;
    for (text, answer) in shown.iter().zip(&answers) {
        assert_eq!(answer.status, 400, "{text}\n{}", answer.text());
    }
    assert!(world.upstream.requests().is_empty());

    // One spelling of what is allowed.
    let uuid = "/query?uid=6BA7B810-9DAD-11d1-80b4-00C04fd430c8&id=-1&limit=100";
    assert_eq!(world.get(uuid).await.status, 204);
    assert_eq!(world.get("/path/-9223372036854775808").await.status, 204);
    let big = super::post("/body", b"{\"id\": 9007199254740993 }");
    assert_eq!(all(&world, vec![big], 1).await[0].status, 204);
    let seen = world.upstream.requests();
    assert_eq!(seen[0].target, "/query?id=-1&uid=6ba7b810-9dad-11d1-80b4-00c04fd430c8&limit=100");
    assert_eq!(seen[1].target, "/path/-9223372036854775808");
    assert_eq!(seen[2].message.body, b"{\"id\":9007199254740993}");
}

#[tokio::test]
async fn pagination_is_cut_where_the_configuration_says_so() {
    let world =
        open(VALUES, &OPERATIONS, "    request: { pagination: { maximum: 20, offset: 50, over: clamp } }\n");
    for (asked, forwarded) in [
        ("limit=21", "limit=20"),
        ("limit=-3", "limit=0"),
        ("offset=51&limit=7", "limit=7&offset=50"),
        ("limit=999999999999", "limit=20"),
    ] {
        assert_eq!(world.get(&format!("/query?{asked}")).await.status, 204, "{asked}");
        let seen = world.upstream.requests().pop().unwrap();
        assert_eq!(seen.target, format!("/query?{forwarded}"));
    }
    assert_eq!(world.get("/query?limit=1e9").await.status, 400);
}

#[tokio::test]
async fn undeclared_parameters_are_stripped_or_pass_by_name() {
    let stripping = open(VALUES, &OPERATIONS, "    request: { unknown: strip }\n");
    assert_eq!(stripping.get("/query?id=1&utm=2").await.status, 204);
    assert_eq!(stripping.upstream.requests()[0].target, "/query?id=1");
    let passing = open(
        VALUES,
        &OPERATIONS,
        "    loosen: [{ allow: unknown_parameters, operations: [query], because: old clients, until: 2099-12-31 }]\n",
    );
    assert_eq!(passing.get("/query?utm=%2f&id=1").await.status, 204);
    assert_eq!(passing.upstream.requests()[0].target, "/query?id=1&utm=%2F");
    // Frameworks fold these names to a declared one.
    for query in ["id[]=1", "ID=2", "id.=1", "Text=1"] {
        assert_eq!(passing.get(&format!("/query?{query}")).await.status, 400, "{query}");
    }
    // The loosening is about parameters, and about one operation.
    assert_eq!(passing.get("/path/1?utm=1").await.problem().as_deref(), Some("unknown-parameter"));
    let body = super::post("/body", b"{\"x\":1}");
    assert_eq!(all(&passing, vec![body], 1).await[0].status, 400);
}
