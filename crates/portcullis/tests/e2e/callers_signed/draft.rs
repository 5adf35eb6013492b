//! Signs by RFC 9421 without the code under test, and lets every part of it be wrong.

use super::gate::{Gate, HMAC, HOST, SECRET};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_testkit::idp::unix_now;
use portcullis_testkit::{Key, Response, request, send};
use std::sync::atomic::{AtomicU64, Ordering};

/// What signs.
#[derive(Clone, Copy)]
pub(super) enum With<'k> {
    Mac([u8; 32]),
    Key(&'k Key),
}

/// A request to be signed.
#[derive(Clone)]
pub(super) struct Draft {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Component identifiers as they are written.
    pub(super) cover: Vec<String>,
    /// Parameters as they are written, in order.
    pub(super) parameters: Vec<String>,
    pub(super) label: String,
}

pub(super) const BODY: &[u8] = br#"{"amount":1250,"to":"acct_7"}"#;

impl Draft {
    /// A request without a body.
    pub(super) fn get(target: &str) -> Self {
        Self {
            method: "GET".to_owned(),
            target: target.to_owned(),
            fields: vec![("Host".to_owned(), HOST.to_owned())],
            body: Vec::new(),
            cover: ["\"@method\"", "\"@authority\"", "\"@path\"", "\"@query\""].map(str::to_owned).to_vec(),
            parameters: vec![
                format!("created={}", unix_now()),
                format!("keyid=\"{HMAC}\""),
                format!("nonce=\"{}\"", nonce()),
                "alg=\"hmac-sha256\"".to_owned(),
                "tag=\"portcullis-v1\"".to_owned(),
            ],
            label: "sig1".to_owned(),
        }
    }

    /// A transfer.
    pub(super) fn post() -> Self {
        Self::with_body("POST", "/v1/transfers?dry=%2Ftrue&dry=0", "application/json", BODY)
    }

    pub(super) fn with_body(method: &str, target: &str, kind: &str, body: &[u8]) -> Self {
        let mut draft = Self::get(target);
        draft.method = method.to_owned();
        draft.body = body.to_vec();
        draft.cover.extend(["\"content-digest\"".to_owned(), "\"content-type\"".to_owned()]);
        draft.fields.push(("Content-Type".to_owned(), kind.to_owned()));
        draft.fields.push(("Content-Digest".to_owned(), sha256(body)));
        draft
    }

    pub(super) fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn cover(mut self, names: &[&str]) -> Self {
        self.cover = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    pub(super) fn also(mut self, name: &str) -> Self {
        self.cover.push(name.to_owned());
        self
    }

    /// Replaces a parameter by its name, or adds it.
    pub(super) fn parameter(mut self, name: &str, text: &str) -> Self {
        let new = format!("{name}={text}");
        match self.parameters.iter_mut().find(|one| one.starts_with(&format!("{name}="))) {
            Some(one) => *one = new,
            None => self.parameters.push(new),
        }
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.parameters.retain(|one| !one.starts_with(&format!("{name}=")));
        self
    }

    pub(super) fn key(self, id: &str) -> Self {
        self.parameter("keyid", &format!("\"{id}\""))
    }

    pub(super) fn nonce(self, nonce: &str) -> Self {
        self.parameter("nonce", &format!("\"{nonce}\""))
    }

    /// What stands behind the label.
    pub(super) fn value(&self) -> String {
        format!("({});{}", self.cover.join(" "), self.parameters.join(";"))
    }

    pub(super) fn base(&self) -> String {
        let mut base = String::new();
        for identifier in &self.cover {
            let name = identifier.split('"').nth(1).unwrap();
            base.push_str(&format!("{identifier}: {}\n", self.component(name)));
        }
        base + &format!("\"@signature-params\": {}", self.value())
    }

    fn component(&self, name: &str) -> String {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let fields = |name: &str| {
            let own = self.fields.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
            own.map(|(_, value)| value.trim()).collect::<Vec<_>>().join(", ")
        };
        match name {
            "@method" => self.method.clone(),
            "@authority" => fields("host"),
            "@path" => path.to_owned(),
            "@query" => format!("?{query}"),
            "@scheme" => "http".to_owned(),
            "@request-target" => self.target.clone(),
            "@target-uri" => format!("http://{}{}", fields("host"), self.target),
            "@status" => "200".to_owned(),
            name => fields(name),
        }
    }

    pub(super) fn signature(&self, with: With<'_>) -> Vec<u8> {
        match with {
            With::Mac(secret) => mac(&secret, self.base().as_bytes()),
            With::Key(key) => key.sign(self.base().as_bytes()),
        }
    }

    /// Signed by the registered MAC key.
    pub(super) fn sign(&self) -> Request {
        self.sign_with(With::Mac(SECRET))
    }

    pub(super) fn sign_with(&self, with: With<'_>) -> Request {
        let signature = STANDARD.encode(self.signature(with));
        let mut fields = self.fields.clone();
        fields.push(("Signature-Input".to_owned(), format!("{}={}", self.label, self.value())));
        fields.push(("Signature".to_owned(), format!("{}=:{signature}:", self.label)));
        Request { method: self.method.clone(), target: self.target.clone(), fields, body: self.body.clone() }
    }
}

/// A request as it is sent; what was signed stays as it was.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn target(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

    pub(super) fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    /// Replaces a field; an empty value removes it.
    pub(super) fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
        if !value.is_empty() {
            self.fields.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    pub(super) fn add(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn value(&self, name: &str) -> &str {
        &self.fields.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).unwrap().1
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let fields: Vec<(&str, &str)> = self.fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        request(&self.method, &self.target, &fields, &self.body)
    }

    pub(super) async fn send(&self, gate: &Gate) -> Response {
        send(gate.public(), &self.bytes()).await.unwrap()
    }

    /// The status, and the code when it was refused.
    pub(super) async fn told(&self, gate: &Gate) -> String {
        let response = self.send(gate).await;
        response.problem().unwrap_or_else(|| response.status.to_string())
    }
}

pub(super) fn sha256(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(digest::digest(&digest::SHA256, body)))
}

pub(super) fn sha512(body: &[u8]) -> String {
    format!("sha-512=:{}:", STANDARD.encode(digest::digest(&digest::SHA512, body)))
}

pub(super) fn mac(secret: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text).as_ref().to_vec()
}

/// Never the same twice in this process.
pub(super) fn nonce() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("nonce-{:018}", COUNT.fetch_add(1, Ordering::Relaxed))
}
