//! Files through the running program: what they are, what they are called, and a real scanner (contract.md § 13).

mod clamav;
mod files;

use crate::world::World;
use portcullis_testkit::{Answer, Recorded, Response, Upstream};

const SPEC: &str = r##"openapi: 3.0.3
info: { title: Files, version: "1" }
security: []
paths:
  /avatar:
    put:
      operationId: putAvatar
      requestBody: { required: true, content: { image/png: {}, image/gif: {} } }
      responses: { "204": { description: done } }
  /files:
    post:
      operationId: postFile
      requestBody:
        required: true
        content:
          multipart/form-data:
            schema:
              type: object
              required: [file]
              properties:
                note: { type: string, maxLength: 50 }
                file:
                  type: string
                  format: binary
                  x-portcullis:
                    upload:
                      types: [image/png, image/gif, application/pdf, application/zip, text/plain, text/csv]
                      archive: { allow: [text/plain, image/png] }
                      original_name: original
      responses: { "204": { description: done } }
  /kept:
    post:
      operationId: postKept
      requestBody:
        required: true
        content:
          multipart/form-data:
            schema:
              type: object
              properties:
                file:
                  type: string
                  format: binary
                  x-portcullis: { upload: { types: [image/png], rename: keep, max_bytes: 1KiB, max_pixels: 100 } }
      responses: { "204": { description: done } }
  /json:
    post:
      operationId: postJson
      requestBody:
        required: true
        content:
          application/json:
            schema:
              type: object
              properties:
                pictures:
                  type: array
                  items:
                    type: object
                    properties:
                      data:
                        type: string
                        format: byte
                        x-portcullis: { upload: { types: [image/png, text/plain] } }
      responses: { "204": { description: done } }
  /anything:
    post:
      operationId: postAnything
      requestBody:
        required: true
        content:
          multipart/form-data:
            schema:
              type: object
              properties:
                file:
                  type: string
                  format: binary
                  x-portcullis: { upload: { types: [text/plain, application/zip], archive: { allow: [text/plain] } } }
      responses: { "204": { description: done } }
"##;

const CONFIG: &str = r#"listen: [{ address: "127.0.0.1:0" }]
admin: 127.0.0.1:0
limits: { global: off, address: off, key: off, user: off }
apis:
  files:
    spec: files.yaml
    upstream: UPSTREAM
    uploads: { max_bytes: 20MiB SCAN }
    anonymous:
      - { allow: putAvatar, because: a test, until: 2099-12-31 }
      - { allow: postFile, because: a test, until: 2099-12-31 }
      - { allow: postKept, because: a test, until: 2099-12-31 }
      - { allow: postJson, because: a test, until: 2099-12-31 }
      - { allow: postAnything, because: a test, until: 2099-12-31 }
LOOSEN"#;

/// A gate for files; `scan` is the scanner's address.
fn world(scan: Option<&str>, loosen: &str) -> World {
    let scan = scan.map_or(String::new(), |address| {
        format!(", scan: {{ clamav: {{ address: \"{address}\" }}, when_unreachable: refuse }}")
    });
    let config = CONFIG.replace(" SCAN", &scan).replace("LOOSEN", loosen);
    let upstream = Upstream::start(|_| Answer::status(204));
    World::behind(upstream, &config, &[("files.yaml", SPEC)])
}

/// Sends one part that is a file.
async fn send(world: &World, path: &str, media: &str, name: &str, bytes: &[u8]) -> Response {
    let head = format!(
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: {media}\r\n\r\n"
    );
    let body = [head.as_bytes(), bytes, b"\r\n--b--\r\n"].concat();
    world.ask("POST", path, &[("Content-Type", "multipart/form-data; boundary=b")], &body).await
}

/// It was refused with this code, and nothing arrived.
fn is_refused(world: &World, response: &Response, status: u16, code: &str) {
    assert_eq!((response.status, response.problem().as_deref()), (status, Some(code)), "{}", response.text());
    let arrived = world.upstream.requests();
    assert!(arrived.is_empty(), "{} arrived", arrived.len());
}

/// The one request that arrived.
fn arrived(world: &World, response: &Response) -> Recorded {
    assert_eq!(response.status, 204, "{}", response.text());
    let mut seen = world.upstream.requests();
    assert_eq!(seen.len(), 1);
    world.upstream.clear();
    seen.remove(0)
}
