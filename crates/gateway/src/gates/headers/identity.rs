//! The claims of `Portcullis-Identity` (wire.md § 9.4). Signing is the signer's.

use crate::problem_json::write_text;
use portcullis_core::caller::Caller;
use portcullis_jose::b64u;

/// A signed identity header is no larger.
const MAX_BYTES: usize = 4096;
const LIFETIME: i64 = 30;
const MAX_ROLES: usize = 32;
const MAX_OBJECTS: usize = 16;

/// What the identity header says.
pub struct Claims<'a> {
    /// This deployment.
    pub issuer: &'a str,
    /// The upstream that is spoken to.
    pub audience: &'a str,
    /// Unix seconds.
    pub now: i64,
    /// Random.
    pub jti: [u8; 16],
    /// Who.
    pub caller: &'a Caller,
    /// Roles that the policy knows of the caller.
    pub roles: &'a [Box<str>],
    /// Operation id.
    pub operation: &'a str,
    /// `Type:id` of each object that was authorized, and the revision of the facts.
    pub objects: &'a [Box<str>],
    /// Revision of the facts that decided.
    pub revision: Option<u64>,
    /// SHA-256 of [`binding`].
    pub request: [u8; 32],
}

/// The bytes whose SHA-256 binds the header to one request: method, authority and target as forwarded.
pub fn binding(method: &str, authority: &str, target: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(method.len() + authority.len() + target.len() + 2);
    for (place, part) in [method, authority, target].into_iter().enumerate() {
        if place > 0 {
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

/// The same claims, bound to another request: `req` stands last and has one length.
pub fn rebound(json: &[u8], request: [u8; 32]) -> Option<Vec<u8>> {
    let bound = b64u::encode(request);
    let start = json.len().checked_sub(bound.len() + 2)?;
    let mut json = json.to_vec();
    json.get(..start)?.ends_with(b"\"req\":\"").then_some(())?;
    json.get_mut(start..start + bound.len())?.copy_from_slice(bound.as_bytes());
    Some(json)
}

impl Claims<'_> {
    /// The payload of the JWS. `None` when it would be too large: such a header would be refused on the way, and
    /// an identity with parts left out would be a lie.
    pub fn to_json(&self) -> Option<Vec<u8>> {
        if self.roles.len() > MAX_ROLES || self.objects.len() > MAX_OBJECTS {
            return None;
        }
        let mut json = Json(Vec::with_capacity(512));
        json.text("iss", self.issuer);
        json.text("aud", self.audience);
        json.number("iat", self.now);
        json.number("exp", self.now.saturating_add(LIFETIME));
        json.text("jti", &b64u::encode(self.jti));
        if let Some(subject) = &self.caller.subject {
            json.text("sub", &subject.id);
            // An identifier means nothing without the one who gave it.
            json.text("sub_iss", &subject.issuer);
        }
        json.text("kind", self.caller.kind.word());
        for (name, value) in [("client", &self.caller.client), ("tenant", &self.caller.tenant)] {
            if let Some(value) = value {
                json.text(name, value);
            }
        }
        if !self.roles.is_empty() {
            json.list("roles", self.roles);
        }
        if !self.caller.scopes.is_empty() {
            json.text("scope", &self.caller.scopes.join(" "));
        }
        json.text("act", self.operation);
        if !self.objects.is_empty() {
            json.list("obj", self.objects);
        }
        if let Some(revision) = self.revision {
            json.name("rev");
            json.0.extend_from_slice(revision.to_string().as_bytes());
        }
        json.text("req", &b64u::encode(self.request));
        json.0.push(b'}');
        // Base64 adds a third; header, signature and dots are below 256 bytes.
        (json.0.len().div_ceil(3) * 4 + 256 <= MAX_BYTES).then_some(json.0)
    }
}

struct Json(Vec<u8>);

impl Json {
    fn name(&mut self, name: &str) {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        write_text(name, &mut self.0);
        self.0.push(b':');
    }

    fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        write_text(value, &mut self.0);
    }

    fn number(&mut self, name: &str, value: i64) {
        self.name(name);
        self.0.extend_from_slice(value.to_string().as_bytes());
    }

    fn list(&mut self, name: &str, values: &[Box<str>]) {
        self.name(name);
        for (place, value) in values.iter().enumerate() {
            self.0.push(if place == 0 { b'[' } else { b',' });
            write_text(value, &mut self.0);
        }
        self.0.push(b']');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::caller::{Kind, Subject};
    use std::sync::Arc;

    fn caller() -> Caller {
        Caller {
            kind: Kind::User,
            subject: Some(Subject { issuer: Arc::from("https://login.example.com/"), id: Arc::from("u\"1") }),
            client: Some(Arc::from("app")),
            tenant: Some(Arc::from("t1")),
            scopes: Arc::from(["read".into(), "write".into()]),
            ..Caller::anonymous()
        }
    }

    fn claims<'a>(caller: &'a Caller, objects: &'a [Box<str>]) -> Claims<'a> {
        Claims {
            issuer: "gate",
            audience: "shop",
            now: 1_700_000_000,
            jti: [7; 16],
            caller,
            roles: &[],
            operation: "getOrder",
            objects,
            revision: Some(9),
            request: [1; 32],
        }
    }

    #[test]
    fn identity_claims_are_those_of_the_page() {
        let json = claims(&caller(), &["Order:7".into()]).to_json().unwrap();
        assert_eq!(
            String::from_utf8(json).unwrap(),
            "{\"iss\":\"gate\",\"aud\":\"shop\",\"iat\":1700000000,\"exp\":1700000030,\
             \"jti\":\"BwcHBwcHBwcHBwcHBwcHBw\",\"sub\":\"u\\\"1\",\"sub_iss\":\"https://login.example.com/\",\
             \"kind\":\"user\",\"client\":\"app\",\"tenant\":\"t1\",\"scope\":\"read write\",\"act\":\"getOrder\",\
             \"obj\":[\"Order:7\"],\"rev\":9,\"req\":\"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE\"}"
        );
    }

    #[test]
    fn identity_says_nothing_of_nobody() {
        let json = claims(&Caller::anonymous(), &[]).to_json().unwrap();
        let text = String::from_utf8(json).unwrap();
        assert!(text.contains("\"kind\":\"anonymous\"") && !text.contains("\"sub\""), "{text}");
    }

    #[test]
    fn identity_is_bounded() {
        let long: Vec<Box<str>> = vec!["x".repeat(300).into(); 16];
        assert!(claims(&caller(), &long).to_json().is_none());
        let many: Vec<Box<str>> = vec!["Order:7".into(); 17];
        assert!(claims(&caller(), &many).to_json().is_none());
    }

    #[test]
    fn identity_binding_keeps_its_parts_apart() {
        assert_eq!(binding("GET", "shop:8443", "/a?b=1"), b"GET\nshop:8443\n/a?b=1");
    }
}
