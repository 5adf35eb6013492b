//! A folder with files, compiled on a given day.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use portcullis_config::{Date, Given, Options, Outcome, compile, from_spec};
use portcullis_core::finding::Severity;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A document with a list, an object and an open operation.
pub const SPEC: &str = r#"openapi: 3.0.3
info: { title: Shop, version: "1" }
servers: [{ url: https://api.example.com/v1 }]
security: [{ bearer: [] }]
paths:
  /orders:
    get:
      operationId: listOrders
      tags: [orders]
      parameters:
        - { name: limit, in: query, schema: { type: integer, maximum: 50 } }
      responses: { "200": { description: ok } }
    post:
      operationId: createOrder
      tags: [orders, sensitive]
      security: [{ oauth: ["orders:write"] }]
      requestBody:
        required: true
        content:
          application/json:
            schema: { type: object, required: [item], properties: { item: { type: string, maxLength: 64 } } }
      responses: { "201": { description: ok } }
  /users/{userId}:
    get:
      operationId: getUser
      parameters: [{ name: userId, in: path, required: true, schema: { type: string, maxLength: 64 } }]
      x-portcullis: { authorize: { bind: { path.userId: principal.id } } }
      responses: { "200": { description: ok } }
  /health:
    get:
      operationId: getHealth
      security: []
      responses: { "200": { description: ok } }
components:
  securitySchemes:
    bearer: { type: http, scheme: bearer }
    oauth:
      type: oauth2
      flows: { clientCredentials: { tokenUrl: https://login.example.com/token, scopes: { "orders:write": w } } }
"#;

/// The smallest configuration that compiles with [`SPEC`].
pub const CONFIG: &str = r#"apis:
  shop:
    spec: shop.yaml
    upstream: http://127.0.0.1:3000
    authenticate: { jwt: { issuer: https://login.example.com/, audience: shop } }
    anonymous: [{ allow: getHealth, because: probe of the load balancer }]
"#;

/// A folder that goes away with it.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("portcullis-config-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn with(files: &[(&str, &str)]) -> Self {
        let folder = Self::new();
        for (name, text) in files {
            folder.write(name, text);
        }
        folder
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn compile(&self) -> Outcome {
        compile(&self.0.join("portcullis.yaml"), given())
    }

    pub fn serve(&self, options: Options<'_>) -> Outcome {
        from_spec(&self.0.join("shop.yaml"), options, given())
    }

    /// The rendered findings, with the folder's name taken out.
    pub fn shown(&self, outcome: &Outcome) -> String {
        let place = format!("{}/", self.0.display());
        let text = outcome.render(false);
        // The caret line is indented by the place; without the folder it moves to the left.
        let mut lines: Vec<String> = Vec::new();
        let mut moved = 0;
        for line in text.lines() {
            if line.starts_with("  ") && line.contains(&place) {
                moved = place.len();
                lines.push(line.replace(&place, ""));
            } else if moved > 0 && line.trim_start().starts_with('^') {
                lines.push(line.get(moved..).unwrap_or(line).to_owned());
                moved = 0;
            } else {
                lines.push(line.replace(&place, ""));
            }
        }
        lines.join("\n")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// 23 November 2026, and one variable.
pub fn given() -> Given<'static> {
    Given {
        today: Date::parse("2026-11-23").unwrap(),
        coverage: false,
        variable: &|name| match name {
            "INTROSPECTION_SECRET" => Some("s3cr3t-of-the-gateway\n".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        },
    }
}

/// Compiles a configuration beside [`SPEC`].
pub fn shop(config: &str) -> (Folder, Outcome) {
    let folder = Folder::with(&[("portcullis.yaml", config), ("shop.yaml", SPEC)]);
    let outcome = folder.compile();
    (folder, outcome)
}

/// The codes of the errors, in order, each once.
pub fn errors(outcome: &Outcome) -> Vec<&'static str> {
    let mut codes = Vec::new();
    for finding in outcome.findings.iter().filter(|finding| finding.severity == Severity::Error) {
        if !codes.contains(&finding.code) {
            codes.push(finding.code);
        }
    }
    codes
}
