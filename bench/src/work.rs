//! The two profiles: what is sent, and what must come back.

use portcullis_testkit::{Key, Token, request};

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// GET of a few bytes; whoever stands between only passes it on.
    Plain,
    /// POST of 1 KB of JSON with a token; whoever stands between judges it as far as it can.
    Secured,
}

impl Work {
    /// By name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "plain" => Some(Self::Plain),
            "secured" => Some(Self::Secured),
            _ => None,
        }
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Secured => "secured",
        }
    }

    /// The bytes of one request.
    pub(crate) fn request(self, token: &str) -> Vec<u8> {
        match self {
            Self::Plain => request("GET", "/small", &COMMON, b""),
            Self::Secured => {
                let bearer = format!("Bearer {token}");
                let mut headers = COMMON.to_vec();
                headers.push(("Authorization", &bearer));
                headers.push(("Content-Type", "application/json"));
                request("POST", "/orders", &headers, body().as_bytes())
            }
        }
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
