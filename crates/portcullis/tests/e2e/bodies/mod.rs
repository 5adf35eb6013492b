//! Bodies on their way in: codings, sizes, presence, forms, multipart; what arrives is what was judged, or nothing.

mod codings;
mod forms;
mod intake;
mod multipart;

use crate::world::World;
use portcullis_testkit::{Answer, Recorded, Response};

const SPEC: &str = r##"openapi: 3.0.3
info: { title: Bodies, version: "1" }
security: []
paths:
  /json:
    post:
      operationId: json
      requestBody:
        required: true
        content: { application/json: { schema: { $ref: "#/components/schemas/Note" } } }
      responses: { "204": { description: done } }
  /optional:
    post:
      operationId: optional
      requestBody:
        content: { application/json: { schema: { $ref: "#/components/schemas/Note" } } }
      responses: { "204": { description: done } }
  /measured:
    post:
      operationId: measured
      x-portcullis: { request: { require_length: true } }
      requestBody:
        required: true
        content: { application/json: { schema: { $ref: "#/components/schemas/Note" } } }
      responses: { "204": { description: done } }
  /any:
    post:
      operationId: any
      requestBody: { required: true, content: { application/json: { schema: {} } } }
      responses: { "204": { description: done } }
  /lines:
    post:
      operationId: lines
      requestBody:
        required: true
        content: { application/x-ndjson: { schema: { $ref: "#/components/schemas/Note" } } }
      responses: { "204": { description: done } }
  /text:
    post:
      operationId: text
      requestBody:
        required: true
        content: { text/plain: { schema: { type: string, maxLength: 2000000 } } }
      responses: { "204": { description: done } }
  /xml:
    post:
      operationId: xml
      requestBody: { required: true, content: { application/xml: {} } }
      responses: { "204": { description: done } }
  /form:
    post:
      operationId: form
      requestBody:
        required: true
        content:
          application/x-www-form-urlencoded:
            schema:
              type: object
              required: [name]
              properties:
                name: { type: string, maxLength: 100 }
                age: { type: integer, maximum: 150 }
                tags: { type: array, items: { type: string } }
                ids: { type: array, items: { type: integer } }
                at: { type: object, properties: { x: { type: integer } } }
            encoding: { ids: { style: form, explode: false } }
      responses: { "204": { description: done } }
  /multi:
    post:
      operationId: multi
      requestBody:
        required: true
        content:
          multipart/form-data:
            schema:
              type: object
              required: [title]
              properties:
                title: { type: string, minLength: 1, maxLength: 300000 }
                count: { type: integer, minimum: 1, maximum: 9 }
                key: { type: string, format: uuid }
                tags: { type: array, maxItems: 3, items: { type: string } }
                meta: { type: object, properties: { level: { type: integer }, note: { type: string } } }
                file: { type: string, format: binary, maxLength: 4000000 }
                files: { type: array, items: { type: string, format: binary } }
            encoding:
              file: { contentType: text/plain, headers: { X-Page: { schema: { type: integer } } } }
              files: { contentType: text/plain }
      responses: { "204": { description: done } }
  /fields:
    post:
      operationId: fields
      requestBody:
        required: true
        content:
          multipart/form-data:
            schema:
              type: object
              properties:
                field: { type: string }
                field1: { type: string }
                field2: { type: string }
                field3: { type: string }
                field4: { type: string }
                Field3: { type: string }
                file: { type: string }
                file1: { type: string }
                file2: { type: string }
                file3: { type: string }
                file4: { type: string }
                files: { type: string }
            encoding: { file: { contentType: "text/plain, application/octet-stream" } }
      responses: { "204": { description: done } }
  /learning:
    post:
      operationId: learning
      requestBody:
        required: true
        content:
          multipart/form-data: { schema: { $ref: "#/components/schemas/Short" } }
          application/x-www-form-urlencoded: { schema: { $ref: "#/components/schemas/Short" } }
          application/json: { schema: { $ref: "#/components/schemas/Short" } }
      responses: { "204": { description: done } }
  /none:
    post: { operationId: none, responses: { "204": { description: done } } }
    delete: { operationId: remove, responses: { "204": { description: done } } }
    get: { operationId: look, responses: { "204": { description: done } } }
components:
  schemas:
    Short: { type: object, required: [a], properties: { a: { type: string, maxLength: 3 }, b: { type: integer } } }
    Note:
      type: object
      properties:
        text: { type: string, maxLength: 3000000 }
        n: { type: number }
        list: { type: array, maxItems: 100000, items: { type: integer } }
"##;

const CONFIG: &str = r#"listen:
  - { address: "127.0.0.1:0" }
admin: 127.0.0.1:0
limits: { global: off, address: off, key: off, user: off }
apis:
  shop:
    spec: openapi.yaml
    upstream: UPSTREAM
    request: { codings: [gzip, br, zstd] }
    uploads: { max_bytes: 5MiB, spool: . }
    authenticate: {}
    anonymous:
ANONYMOUS
    loosen: [{ allow: shapeless, operations: [any], because: a test, until: 2099-12-31 }]
    operations:
      learning: { request: { mode: { allow: report, because: a test, until: 2099-12-31 } } }
      xml: { request: { opaque: { allow: [application/xml], because: a test, until: 2099-12-31 } } }
"#;

fn config() -> String {
    let ids = [
        "json", "optional", "measured", "lines", "text", "xml", "form", "multi", "fields", "none", "remove",
        "look", "any", "learning",
    ];
    let line = |id: &&str| format!("      - {{ allow: {id}, because: a test, until: 2099-12-31 }}");
    CONFIG.replace("ANONYMOUS", &ids.iter().map(line).collect::<Vec<_>>().join("\n"))
}

fn world() -> World {
    with(&config())
}

fn with(config: &str) -> World {
    let upstream = portcullis_testkit::Upstream::start(|_| Answer::status(204));
    World::behind(upstream, config, &[("openapi.yaml", SPEC)])
}

async fn post(world: &World, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    world.ask("POST", target, headers, body).await
}

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Refused with this problem, and the upstream heard nothing.
fn is_refused(world: &World, response: &Response, status: u16, code: &str) {
    let text = response.text();
    assert_eq!((response.status, response.problem().as_deref()), (status, Some(code)), "{text}");
    assert_eq!(world.upstream.requests().len(), 0, "the upstream was asked ({code})");
}

/// Passed; what the upstream got.
fn arrived(world: &World, response: &Response) -> Recorded {
    assert_eq!(response.status, 204, "{}", response.text());
    let all = world.upstream.requests();
    let [one] = all.as_slice() else { panic!("{} requests", all.len()) };
    assert_eq!(one.message.anomalies, Vec::<String>::new());
    let one = one.clone();
    world.upstream.clear();
    one
}

/// The rule and pointer of each entry of a problem.
fn errors(response: &Response) -> Vec<String> {
    let json = response.json();
    let entries = json["errors"].as_array().cloned().unwrap_or_default();
    entries
        .iter()
        .map(|e| format!("{} {}", e["pointer"].as_str().unwrap_or("-"), e["rule"].as_str().unwrap_or("-")))
        .collect()
}
