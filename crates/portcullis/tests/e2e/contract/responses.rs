//! What leaves: declared fields, scrubbed errors, streams event by event (contract.md § 15).

use super::{HEAD, api};
use crate::world::World;
use portcullis_testkit::{Answer, Upstream, request, send};
use std::io::Write as _;
use std::time::Duration;

const SPEC: &str = "openapi: 3.1.0
info: { title: t, version: '1' }
paths:
  /user:
    get:
      operationId: user
      parameters: [{ name: case, in: query, schema: { type: string, maxLength: 40 } }]
      responses:
        '200': { description: ok, content: { application/json: { schema: { $ref: '#/components/schemas/User' } } } }
        '404': { description: none, content: { application/json: { schema: { $ref: '#/components/schemas/Error' } }, text/plain: { schema: { type: string } }, text/html: {} } }
  /strict:
    get:
      operationId: strict
      x-portcullis: { response: { mode: enforce } }
      parameters: [{ name: case, in: query, schema: { type: string, maxLength: 40 } }]
      responses:
        '200': { description: ok, content: { application/json: { schema: { $ref: '#/components/schemas/User' } } } }
  /events:
    get:
      operationId: events
      parameters: [{ name: case, in: query, schema: { type: string, maxLength: 40 } }]
      responses:
        '200':
          description: ok
          content:
            text/event-stream: { schema: { $ref: '#/components/schemas/Item' } }
            application/x-ndjson: { schema: { $ref: '#/components/schemas/Item' } }
            application/json-seq: { schema: { $ref: '#/components/schemas/Item' } }
components:
  schemas:
    Item: { type: object, required: [id], properties: { id: { type: integer }, name: { type: string } } }
    Error: { type: object, properties: { error: { type: string } } }
    Base: { type: object, properties: { id: { type: integer } } }
    User:
      allOf:
        - { $ref: '#/components/schemas/Base' }
        - type: object
          properties:
            name: { type: string }
            secretNote: { type: string, writeOnly: true }
            internalNote: { type: string, x-portcullis: { never_in_response: true } }
            friends: { type: array, items: { $ref: '#/components/schemas/Item' } }
            labels: { type: object, additionalProperties: true }
";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn answer(case: &str) -> Answer {
    let json =
        |status, text: &str| Answer::status(status).header("Content-Type", "application/json").body(text);
    let stream = |media: &str, pieces: &[&str]| {
        let pieces = pieces.iter().map(|piece| piece.as_bytes().to_vec()).collect();
        Answer::status(200).header("Content-Type", media).chunks(pieces, Duration::ZERO)
    };
    match case {
        "leaky" => json(200, LEAKY),
        "trace500" => json(500, "{\"error\":\"at com.shop.Orders.find(Orders.java:42)\"}"),
        "trace404" => json(404, "{\"error\":\"at com.shop.Orders.find(Orders.java:42)\"}"),
        "plain404" => json(404, "{\"error\":\"no such user\",\"debug\":\"db-1.shop.internal\"}"),
        "text404" => Answer::status(404)
            .header("Content-Type", "text/plain")
            .body("cannot open /var/lib/shop/users.db"),
        "kind404" => Answer::status(404).header("Content-Type", "text/plain").body("no such user"),
        "page404" => {
            Answer::status(404).header("Content-Type", "text/html").body("<h1>404</h1><hr>nginx/1.2.3")
        }
        "undeclared418" => json(418, "{\"error\":\"ok\"}").header("Retry-After", "7"),
        "undeclared202" => json(202, "{\"id\":1}"),
        "text200" => Answer::status(200).header("Content-Type", "text/plain").body("hello"),
        "broken" => json(200, "{\"id\":1,"),
        "twice" => json(200, "{\"id\":1,\"id\":2}"),
        "number" => json(200, "7"),
        "wrongtype" => json(200, "{\"id\":\"one\",\"name\":\"Ann\"}"),
        "gzip" => Answer::status(200)
            .header("Content-Type", "application/json")
            .header("Content-Encoding", "gzip")
            .body(gzip(LEAKY.as_bytes())),
        "bomb" => Answer::status(200)
            .header("Content-Type", "application/json")
            .header("Content-Encoding", "gzip")
            .body(gzip(&vec![b' '; 16 << 20])),
        "compress" => Answer::status(200)
            .header("Content-Type", "application/json")
            .header("Content-Encoding", "compress")
            .body("{}"),
        "sse" => stream(
            "text/event-stream",
            &["data: {\"id\":1,\"pass", "word_hash\":\"x\"}\n\n", ": secret\n\nid: 7\ndata: {\"id\":2}\n\n"],
        ),
        "ssebad" => stream(
            "text/event-stream",
            &[
                "data: {\"id\":1}\n\n",
                "data: at com.shop.Orders.find(Orders.java:42)\n\n",
                "data: {\"id\":3}\n\n",
            ],
        ),
        "lines" => stream("application/x-ndjson", &["{\"id\":1,\"salt\":\"s\"}\n{\"id\"", ":2}\n"]),
        "sequence" => {
            stream("application/json-seq", &["\u{1e}{\"id\":1,\"salt\":\"s\"}\n", "\u{1e}{\"id\":2}\n"])
        }
        "coded" => Answer::status(200)
            .header("Content-Type", "text/event-stream")
            .header("Content-Encoding", "gzip")
            .body(gzip(b"data: {\"id\":1}\n\n")),
        _ => Answer::status(204),
    }
}

const LEAKY: &str = "{\"id\":1,\"password_hash\":\"$2b$12$leak\",\"name\":\"Ann\",\"secretNote\":\"leak\",\"internalNote\":\"leak\",\
    \"friends\":[{\"id\":2,\"name\":\"Bo\",\"password_hash\":\"leak\"}],\
    \"labels\":{\"colour\":\"red\",\"passwordHash\":\"leak\",\"nationalId\":\"leak\",\"deep\":{\"api-key\":\"leak\"}}}";
const CLEAN: &str = "{\"id\":1,\"name\":\"Ann\",\"friends\":[{\"id\":2,\"name\":\"Bo\"}],\"labels\":{\"colour\":\"red\",\"deep\":{}}}";

fn world() -> World {
    let words = api(
        "shop",
        "openapi.yaml",
        &["user", "strict", "events"],
        "    response: { never_leak: [national_id] }\n",
    );
    let upstream = Upstream::start(|recorded| {
        let target = &recorded.message.start;
        let case = target.split("case=").nth(1).and_then(|rest| rest.split([' ', '&']).next()).unwrap_or("");
        answer(case)
    });
    World::behind(upstream, &format!("{HEAD}apis:\n{words}"), &[("openapi.yaml", SPEC)])
}

async fn metric(world: &World, line: &str) -> bool {
    world.admin("/metrics").await.text().lines().any(|known| known == line)
}

#[tokio::test]
async fn undeclared_fields_stay_in_under_compositions_in_lists_and_in_maps() {
    let world = world();
    for case in ["leaky", "gzip"] {
        let response = world.get(&format!("/user?case={case}")).await;
        assert_eq!((response.status, &*response.text()), (200, CLEAN), "{case}");
        assert!(response.header("content-encoding").is_none());
        let line = world.line_of(&response).to_string();
        assert!(
            line.contains("dropped:") && line.contains("password_hash") && !line.contains("leak\""),
            "{line}"
        );
    }
    let dropped =
        "portcullis_contract_dropped_fields_total{api=\"shop\",operation=\"user\",direction=\"response\"} 14";
    assert!(metric(&world, dropped).await, "{}", world.admin("/metrics").await.text());
    let strict = world.get("/strict?case=leaky").await;
    assert_eq!(strict.status, 502);
    assert!(strict.text().contains("urn:portcullis:problem:response-violation"), "{}", strict.text());
}

#[tokio::test]
async fn errors_of_the_upstream_say_nothing_of_the_inside() {
    let world = world();
    for (case, status, problem) in [
        ("trace500", 502, "upstream-error"),
        ("trace404", 404, "upstream-refused"),
        ("text404", 404, "upstream-refused"),
        ("page404", 404, "upstream-refused"),
        ("undeclared418", 418, "upstream-refused"),
        ("undeclared202", 502, "response-violation"),
        ("text200", 502, "response-violation"),
        ("broken", 502, "response-violation"),
        ("twice", 502, "response-violation"),
        ("number", 502, "response-violation"),
        ("bomb", 502, "response-violation"),
        ("compress", 502, "response-violation"),
    ] {
        let response = world.get(&format!("/user?case={case}")).await;
        let text = response.text();
        assert_eq!(response.status, status, "{case}: {text}");
        assert!(text.contains(&format!("urn:portcullis:problem:{problem}\"")), "{case}: {text}");
        for inside in ["java", "nginx", "/var", "internal", "418 "] {
            assert!(!text.contains(inside), "{case}: {text}");
        }
    }
    let retry = world.get("/user?case=undeclared418").await;
    assert_eq!(retry.header("retry-after"), Some("7"));
    let declared = world.get("/user?case=plain404").await;
    assert_eq!((declared.status, &*declared.text()), (404, "{\"error\":\"no such user\"}"));
    let plain = world.get("/user?case=kind404").await;
    assert_eq!((plain.status, &*plain.text()), (404, "no such user"));
    // In the mode `filter` a wrong type is counted, and what is declared goes out.
    let wrong = world.get("/user?case=wrongtype").await;
    assert_eq!(wrong.status, 200, "{}", wrong.text());
    let counted =
        "portcullis_contract_response_violations_total{api=\"shop\",operation=\"user\",rule=\"schema\"} ";
    let metrics = world.admin("/metrics").await.text();
    assert!(metrics.lines().any(|line| line.starts_with(counted)), "{metrics}");
}

#[tokio::test]
async fn streams_are_filtered_event_by_event_and_end_at_one_that_may_not_leave() {
    let world = world();
    for (case, body) in [
        ("sse", "data: {\"id\":1}\n\n:\n\nid: 7\ndata: {\"id\":2}\n\n"),
        ("lines", "{\"id\":1}\n{\"id\":2}\n"),
        ("sequence", "\u{1e}{\"id\":1}\n\u{1e}{\"id\":2}\n"),
    ] {
        let response = world.get(&format!("/events?case={case}")).await;
        assert_eq!((response.status, &*response.text()), (200, body), "{case}");
    }
    assert_eq!(world.get("/events?case=coded").await.status, 502);
    // Cut, and not ended as if that were all.
    let cut = send(world.public(), &request("GET", "/events?case=ssebad", &[], b"")).await;
    if let Ok(response) = &cut {
        panic!("ended as if complete: {}", response.text());
    }
    let counted = "portcullis_contract_response_violations_total{api=\"shop\",operation=\"events\",rule=\"event-unreadable\"} 1";
    for _ in 0..100 {
        if metric(&world, counted).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not counted: {}", world.admin("/metrics").await.text());
}
