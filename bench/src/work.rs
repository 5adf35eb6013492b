//! The profiles: what is sent, and what must come back.

use portcullis_core::opaque::Kind;
use portcullis_jose::digest::content_digest;
use portcullis_jose::mac::MacKey;
use portcullis_jose::message::{Draft, Received, SignatureAlgorithm, headers};
use portcullis_testkit::idp::unix_now;
use portcullis_testkit::{Key, Token, request};

use crate::{Result, text};

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// GET of a few bytes; whoever stands between only passes it on.
    Plain,
    /// The plain GET with a token that has been verified before.
    Jwt,
    /// The plain GET with an API key.
    ApiKey,
    /// POST of 1 KB of JSON by anybody.
    Post,
    /// The same POST signed by HMAC under `portcullis-v1`, each time with a nonce of its own.
    Hmac,
    /// POST of 1 KB of JSON with a token; whoever stands between judges it as far as it can.
    Secured,
}

impl Work {
    /// By name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let all = [Self::Plain, Self::Jwt, Self::ApiKey, Self::Post, Self::Hmac, Self::Secured];
        all.into_iter().find(|work| work.name() == name)
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Jwt => "jwt",
            Self::ApiKey => "api-key",
            Self::Post => "post",
            Self::Hmac => "hmac",
            Self::Secured => "secured",
        }
    }

    /// The bytes of one request; `credential` is what [`Credential`] reads.
    pub(crate) fn request(self, credential: &str) -> Result<Vec<u8>> {
        Sender::new(self, credential)?.next().map(<[u8]>::to_vec)
    }
}

/// Makes the bytes of one request after another.
pub(crate) struct Sender {
    bytes: Vec<u8>,
    signs: Option<Signs>,
}

/// A signing key, and what of a request is always the same.
struct Signs {
    id: String,
    key: MacKey,
    body: String,
    digest: String,
    made: u64,
    run: u64,
}

impl Sender {
    /// `credential` is a token, an API key, or `ID:pch_…`.
    pub(crate) fn new(work: Work, credential: &str) -> Result<Self> {
        let mut headers = COMMON.to_vec();
        let bearer = format!("Bearer {credential}");
        let json = ("Content-Type", "application/json");
        let mut signs = None;
        let bytes = match work {
            Work::Plain => request("GET", "/small", &headers, b""),
            Work::Jwt => {
                headers.push(("Authorization", &bearer));
                request("GET", "/small-by-token", &headers, b"")
            }
            Work::ApiKey => {
                headers.push(("X-API-Key", credential));
                request("GET", "/small-by-key", &headers, b"")
            }
            Work::Post => {
                headers.push(json);
                request("POST", "/orders-by-anybody", &headers, body().as_bytes())
            }
            Work::Secured => {
                headers.push(("Authorization", &bearer));
                headers.push(json);
                request("POST", "/orders", &headers, body().as_bytes())
            }
            Work::Hmac => {
                let (id, secret) = credential.split_once(':').ok_or("the credential is ID:SECRET")?;
                let secret = Kind::SigningSecret.parse(secret).map_err(|_| "no pch_… secret")?;
                let body = body();
                signs = Some(Signs {
                    id: id.to_owned(),
                    key: MacKey::new(secret.expose()),
                    digest: content_digest(body.as_bytes()),
                    body,
                    made: 0,
                    run: std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 1),
                });
                Vec::new()
            }
        };
        Ok(Self { bytes, signs })
    }

    /// The next request.
    pub(crate) fn next(&mut self) -> Result<&[u8]> {
        if let Some(signs) = &mut self.signs {
            self.bytes = signs.next()?;
        }
        Ok(&self.bytes)
    }
}

impl Signs {
    fn next(&mut self) -> Result<Vec<u8>> {
        self.made += 1;
        let nonce = format!("{:016x}{:016x}", self.run, self.made);
        let fields = vec![
            ("host", COMMON[0].1.to_owned()),
            ("content-type", "application/json".to_owned()),
            ("content-digest", self.digest.clone()),
        ];
        let received = Received::new("POST", false, COMMON[0].1, "/orders-by-signature", fields);
        let created = i64::try_from(unix_now()).map_err(text)?;
        let algorithm = SignatureAlgorithm::HmacSha256;
        let draft = Draft { cover: Draft::BODY, created, key_id: &self.id, nonce: &nonce, algorithm };
        let label = draft.label().map_err(|e| e.text())?;
        let base = label.base(&received).map_err(|e| e.text())?;
        let (input, signature) = headers(&label, &self.key.sign(&base));
        let mut all = COMMON.to_vec();
        all.push(("Content-Type", "application/json"));
        all.push(("Content-Digest", &self.digest));
        all.push(("Signature-Input", &input));
        all.push(("Signature", &signature));
        Ok(request("POST", "/orders-by-signature", &all, self.body.as_bytes()))
    }
}

const COMMON: [(&str, &str); 3] =
    [("Host", "bench.example"), ("User-Agent", "portcullis-bench/1"), ("Accept", "*/*")];

/// A token as the secured profile wants it, valid for an hour.
pub(crate) fn token(key: &Key) -> String {
    let now = portcullis_testkit::idp::unix_now();
    Token::new()
        .header("typ", "at+jwt")
        .claim("iss", "https://issuer.bench.example/")
        .claim("aud", "bench")
        .claim("sub", "customer-17")
        .claim("client_id", "bench")
        .claim("scope", "orders:read orders:write")
        .claim("iat", now - 5)
        .claim("exp", now + 3_600)
        .claim("jti", "bench-1")
        .sign(key)
}

/// 1 KB of JSON (1,024 bytes) that the document declares.
fn body() -> String {
    let lines: Vec<String> = (0..9)
        .map(|n| {
            format!(
                "{{\"sku\":\"sku-{n:04}\",\"quantity\":{},\"cents\":{},\"name\":\"Article number {n}\"}}",
                n + 1,
                n * 100 + 99
            )
        })
        .collect();
    let head = "{\"customer\":\"6f1c3f5e-8a83-4d2e-9d56-0d8fe1a6a1b2\",\"currency\":\"EUR\",\"express\":false,\
                \"address\":{\"street\":\"1 Long Road\",\"city\":\"Springfield\",\"zip\":\"12345\"},\"note\":\"";
    let tail = format!("\",\"lines\":[{}]}}", lines.join(","));
    let padding = 1_024_usize.saturating_sub(head.len() + tail.len());
    format!("{head}{}{tail}", "n".repeat(padding))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_a_kilobyte_of_json() {
        let body = body();
        assert_eq!(body.len(), 1_024);
        let value: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(value["lines"].as_array().unwrap().len(), 9);
        assert!(value["note"].as_str().unwrap().len() <= 400);
    }
}
