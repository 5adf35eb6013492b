//! A first `portcullis.yaml` from an OpenAPI document: what is known is written, what must be decided is asked.

use crate::compile::desk::Desk;
use crate::compile::{contract_of, object};
use crate::files::{Files, Given};
use crate::start::Outcome;
use portcullis_contract::document::node::escape;
use portcullis_contract::model::{Contract, Operation, SchemeKind};
use portcullis_core::finding::Span;
use std::fmt::Write as _;
use std::path::Path;

/// A commented `portcullis.yaml` for a document. Operations that the document leaves open, and object ids that no
/// rule covers, are listed as comments: whoever runs it decides.
///
/// # Errors
/// The findings, when the document cannot be read.
pub fn init_from_spec(path: &Path, upstream: Option<&str>, given: Given<'_>) -> Result<String, Box<Outcome>> {
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let mut desk = Desk::new(Files::new(folder, given));
    let read = contract_of(&mut desk, path, Span::default());
    let Some((contract, base_needed)) = read else {
        return Err(Box::new(Outcome {
            plan: None,
            findings: desk.findings,
            sources: desk.files.sources,
            files: desk.files.watched,
            coverage: desk.coverage,
        }));
    };
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(write(&contract, &file, upstream.unwrap_or("http://127.0.0.1:3000"), base_needed))
}

fn write(contract: &Contract, file: &str, upstream: &str, base_needed: bool) -> String {
    let name = name_of(file);
    let mut out = String::new();
    let _ = writeln!(
        out,
        "# Made by `portcullis init --from-spec {file}`. `portcullis check` says what is missing,\n\
         # `portcullis explain METHOD URL` why a request gets in or not.\n\
         # yaml-language-server: $schema=portcullis.schema.json\n\n\
         # Plain HTTP on this machine. For others to reach it:\n\
         #   listen: 0.0.0.0:8443\n\
         #   tls: {{ cert: {{ file: tls/cert.pem }}, key: {{ file: tls/key.pem }} }}\n\
         listen: 127.0.0.1:8080\n"
    );
    let kinds = kinds(contract);
    if kinds.api_key {
        let _ = writeln!(
            out,
            "# API keys are kept here; make one with `portcullis keys create`.\nstore: {{ folder: portcullis-store }}\n"
        );
    }
    let _ = writeln!(out, "apis:\n  {name}:\n    spec: {file}\n    upstream: {upstream}");
    if base_needed {
        let _ = writeln!(
            out,
            "    # The servers of the document have different paths; say which one counts here.\n    base_path: /"
        );
    }
    authenticate(&mut out, &kinds, &name);
    anonymous(&mut out, contract);
    objects(&mut out, contract);
    out
}

struct Kinds {
    token: bool,
    api_key: bool,
    certificate: bool,
    /// Schemes that the gateway does not speak.
    odd: Vec<String>,
}

fn kinds(contract: &Contract) -> Kinds {
    let mut kinds = Kinds { token: false, api_key: false, certificate: false, odd: Vec::new() };
    for scheme in contract.schemes() {
        match &scheme.kind {
            SchemeKind::Http { scheme } if **scheme == *"bearer" => kinds.token = true,
            SchemeKind::OAuth2 { .. } | SchemeKind::OpenIdConnect { .. } => kinds.token = true,
            SchemeKind::ApiKey { place, .. } if **place == *"header" => kinds.api_key = true,
            SchemeKind::MutualTls => kinds.certificate = true,
            _ => kinds.odd.push(scheme.name.to_string()),
        }
    }
    kinds
}

fn authenticate(out: &mut String, kinds: &Kinds, name: &str) {
    if !kinds.token && !kinds.api_key && !kinds.certificate && kinds.odd.is_empty() {
        let _ = writeln!(
            out,
            "    # The document names no security scheme. Once it does, say here whose credentials count:\n\
             #    authenticate: {{ jwt: {{ issuer: https://login.example.com/, audience: {name} }} }}"
        );
        return;
    }
    let _ = writeln!(out, "    # Whose credentials count.\n    authenticate:");
    if kinds.token {
        let _ = writeln!(
            out,
            "      # The issuer as its tokens write it into `iss`, and the audience that they carry for this API.\n      \
             jwt: {{ issuer: https://login.example.com/, audience: {name} }}"
        );
    }
    if kinds.api_key {
        let _ = writeln!(out, "      api_key: {{ env: live }}");
    }
    if kinds.certificate {
        let _ = writeln!(
            out,
            "      mtls: {{ clients: {{ partner: {{ san_uri: \"spiffe://partner/orders\", scopes: [] }} }} }}"
        );
    }
    if !kinds.odd.is_empty() {
        let _ = writeln!(
            out,
            "      # These schemes do not exist at the gateway; say what stands in for them.\n      schemes:"
        );
        for scheme in &kinds.odd {
            let _ = writeln!(out, "        {}: jwt", quoted(scheme));
        }
    }
}

fn anonymous(out: &mut String, contract: &Contract) {
    let open: Vec<&Operation> = contract.operations().iter().filter(|operation| is_open(operation)).collect();
    if open.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "    # The document does not say who may call these. Give them `security` there, or say here that anybody may,\n\
         # and why:\n#    anonymous:"
    );
    for operation in open {
        let _ = writeln!(
            out,
            "#      - {{ allow: {}, because: \"…\" }}   # {} {}",
            quoted(&operation.id),
            operation.method,
            operation.template
        );
    }
}

fn is_open(operation: &Operation) -> bool {
    operation.security.alternatives.iter().all(|alternative| alternative.requirements.is_empty())
}

fn objects(out: &mut String, contract: &Contract) {
    let takes = |operation: &&Operation| {
        !is_open(operation)
            && operation.extension.binds.is_empty()
            && !object::object_ids(operation).is_empty()
    };
    let list: Vec<&Operation> = contract.operations().iter().filter(takes).collect();
    if list.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "\n# These operations take the id of an object, and nothing says whose object it is. Where the id is the\n\
         # caller's own, put the rule into the document, or into an overlay (`overlay: FILE` beside `spec`) of the form:\n#"
    );
    for operation in list {
        let pointer = format!(
            "/paths/{}/{}",
            escape(&operation.template),
            operation.method.text().to_ascii_lowercase()
        );
        let binds: Vec<String> =
            object::object_ids(operation).iter().map(|id| format!("path.{id}: principal.id")).collect();
        let _ = writeln!(
            out,
            "#   {}: {{ authorize: {{ bind: {{ {} }} }} }}   # {}",
            quoted(&pointer),
            binds.join(", "),
            operation.id
        );
    }
}

/// A name for the API from the file's name.
fn name_of(file: &str) -> String {
    let stem = file.split('.').next().unwrap_or("");
    let clean: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let clean = clean.trim_matches('-');
    if clean.is_empty() || clean == "openapi" { "api".to_owned() } else { clean.to_owned() }
}

/// Quoted when YAML could read it as something else.
fn quoted(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        && !matches!(text, "null" | "true" | "false" | "Null" | "True" | "False" | "NULL" | "TRUE" | "FALSE");
    if plain { text.to_owned() } else { serde_json::to_string(text).unwrap_or_default() }
}
