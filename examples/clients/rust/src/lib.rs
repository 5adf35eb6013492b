//! Signs requests for an API behind Portcullis: copy this file, or take what you need of it.
//!
//! ```
//! use portcullis_signing_example::{Key, Request, Scheme};
//!
//! let key = Key::from_secret("008j4ct4ank7f24s", "pch_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf22eB1q").ok_or("secret")?;
//! let request = Request::new("POST", "https://api.example.com/v1/transfers").body("application/json", b"{}");
//! for (name, value) in request.sign(&key, Scheme::PortcullisV1, 1_767_225_600, "b3J1d2kzdzd0Zmo0").ok_or("url")? {
//!     // Send each field, with exactly the URL and the body that were signed.
//!     assert!(!name.is_empty() && !value.is_empty());
//! }
//! # Ok::<(), &str>(())
//! ```

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A key of kind `hmac`.
pub struct Key {
    id: String,
    mac: hmac::Key,
}

impl Key {
    /// From the key's public id and its secret `pch_…`; nothing when that is no secret.
    pub fn from_secret(id: &str, secret: &str) -> Option<Self> {
        let digits = secret.trim().strip_prefix("pch_")?.get(..43)?;
        let mut bytes = [0_u8; 32];
        for digit in digits.bytes() {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'A'..=b'Z' => digit - b'A' + 10,
                b'a'..=b'z' => digit - b'a' + 36,
                _ => return None,
            };
            let mut carry = u32::from(value);
            for byte in bytes.iter_mut().rev() {
                carry += u32::from(*byte) * 62;
                *byte = u8::try_from(carry & 0xff).ok()?;
                carry >>= 8;
            }
        }
        // The 32 bytes are the key, never the text.
        Some(Self { id: id.to_owned(), mac: hmac::Key::new(hmac::HMAC_SHA256, &bytes) })
    }

    fn sign(&self, text: &str) -> hmac::Tag {
        hmac::sign(&self.mac, text.as_bytes())
    }
}

/// How a request is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP Message Signatures (RFC 9421).
    PortcullisV1,
    /// The simple scheme.
    Pc1,
}

/// A request that is going to be sent.
pub struct Request<'r> {
    method: &'r str,
    url: &'r str,
    body: Option<(&'r str, &'r [u8])>,
    headers: Vec<(&'r str, &'r str)>,
}

impl<'r> Request<'r> {
    /// The URL exactly as it is sent.
    pub const fn new(method: &'r str, url: &'r str) -> Self {
        Self { method, url, body: None, headers: Vec::new() }
    }

    /// With a body of a media type.
    #[must_use]
    pub const fn body(mut self, content_type: &'r str, body: &'r [u8]) -> Self {
        self.body = Some((content_type, body));
        self
    }

    /// With a field that is to be covered: the token beside the signature, or what the API's `cover` names.
    #[must_use]
    pub fn header(mut self, name: &'r str, value: &'r str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The header fields to send. `now` in Unix seconds; `nonce` is random, 16 to 64 of `[A-Za-z0-9_-]`, and used once.
    /// Nothing when the URL is none.
    pub fn sign(&self, key: &Key, scheme: Scheme, now: u64, nonce: &str) -> Option<Vec<(String, String)>> {
        let (authority, path, query) = self.parts()?;
        let mut fields: Vec<(String, String)> =
            self.headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let hash = digest::digest(&digest::SHA256, self.body.map_or(b"", |(_, body)| body));
        let kind = self.body.map_or("", |(kind, _)| kind);
        if self.body.is_some() {
            fields.push(("Content-Type".to_owned(), kind.to_owned()));
        }
        if scheme == Scheme::Pc1 {
            let (hash, now) = (hex(hash.as_ref()), now.to_string());
            let told = self.body.map(|_| format!("b={hash};")).unwrap_or_default();
            let (method, id) = (self.method, &key.id);
            let text =
                ["PC1-HMAC-SHA256", &now, nonce, method, &authority, path, query, kind, &hash].join("\n");
            let mac = hex(key.sign(&text).as_ref());
            fields.push(("X-PC-Signature".to_owned(), format!("v1;k={id};t={now};n={nonce};{told}s={mac}")));
            return Some(fields);
        }
        let mut covered = vec![
            ("@method".to_owned(), self.method.to_owned()),
            ("@authority".to_owned(), authority),
            ("@path".to_owned(), path.to_owned()),
            ("@query".to_owned(), format!("?{query}")),
        ];
        if self.body.is_some() {
            let value = format!("sha-256=:{}:", STANDARD.encode(hash));
            fields.push(("Content-Digest".to_owned(), value.clone()));
            covered.push(("content-digest".to_owned(), value));
            covered.push(("content-type".to_owned(), kind.to_owned()));
        }
        covered
            .extend(self.headers.iter().map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())));
        let names: Vec<String> = covered.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let parameters = format!(
            "({});created={now};keyid=\"{}\";nonce=\"{nonce}\";alg=\"hmac-sha256\";tag=\"portcullis-v1\"",
            names.join(" "),
            key.id
        );
        let mut base: String = covered.iter().map(|(name, value)| format!("\"{name}\": {value}\n")).collect();
        base.push_str(&format!("\"@signature-params\": {parameters}"));
        fields.push(("Signature-Input".to_owned(), format!("sig1={parameters}")));
        fields.push(("Signature".to_owned(), format!("sig1=:{}:", STANDARD.encode(key.sign(&base)))));
        Some(fields)
    }

    /// Authority (lower case, without the scheme's own port), path and query, as they go over the wire.
    fn parts(&self) -> Option<(String, &str, &str)> {
        let (scheme, rest) = self.url.split_once("://")?;
        let (authority, target) = rest.split_at_checked(rest.find(['/', '?']).unwrap_or(rest.len()))?;
        let port = if scheme == "https" { ":443" } else { ":80" };
        let authority = authority.to_lowercase();
        let authority = authority.strip_suffix(port).unwrap_or(&authority).to_owned();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Some((authority, if path.is_empty() { "/" } else { path }, query))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "pch_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf22eB1q";
    const URL: &str = "https://api.example.com/v1/transfers?dry=%2Ftrue&dry=0";
    const BODY: &[u8] = br#"{"amount":1250,"to":"acct_7"}"#;

    fn signed(request: &Request<'_>, scheme: Scheme) -> String {
        let key = Key::from_secret("008j4ct4ank7f24s", SECRET).unwrap();
        let mut fields = request.sign(&key, scheme, 1_767_225_600, "b3J1d2kzdzd0Zmo0").unwrap();
        fields.pop().unwrap().1
    }

    #[test]
    fn known_answers() {
        let post = Request::new("POST", URL).body("application/json", BODY);
        assert_eq!(
            signed(&post, Scheme::PortcullisV1),
            "sig1=:CIsTZ1MH1quoKhmu4WjQxXu5O0yMhpoGZavlL4h7peY=:"
        );
        let mac = "s=f198c19a4de0945b549b6d1286d4778b70c6466f163b583af480fb3580c8d3d5";
        assert!(signed(&post, Scheme::Pc1).ends_with(mac));
        let get = Request::new("GET", "https://api.example.com/");
        let mac = "s=9237d6ead454c9085c6403add472f8341d8d6ffd4df61dcff539491b1de05833";
        assert!(signed(&get, Scheme::Pc1).ends_with(mac));
    }
}
