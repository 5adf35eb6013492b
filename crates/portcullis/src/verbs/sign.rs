//! `portcullis sign`: the header fields of a signed request, for `curl -H @FILE` and for comparing with one's own code.

use super::{fail, say};
use crate::assemble::Trouble;
use crate::cli::{Sign, SignScheme};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use portcullis_core::opaque::{Id16, Kind};
use portcullis_core::time::{Clock as _, SystemClock};
use portcullis_jose::b64u;
use portcullis_jose::digest::content_digest;
use portcullis_jose::json::{Json, Limits, Value};
use portcullis_jose::mac::MacKey;
use portcullis_jose::message::{Draft, Received, SignatureAlgorithm, headers};
use portcullis_jose::pc1;
use std::path::Path;
use std::process::ExitCode;

pub(crate) fn run(sign: &Sign) -> ExitCode {
    match fields(sign) {
        Ok(fields) => {
            for (name, value) in fields {
                say(&format!("{name}: {value}\n"));
            }
            ExitCode::SUCCESS
        }
        Err(trouble) => fail(&trouble.to_string()),
    }
}

type Field = (String, String);

fn fields(sign: &Sign) -> Result<Vec<Field>, Trouble> {
    let id = Id16::parse(&sign.key_id)
        .map_err(|_| wrong("--key-id is the 16 characters of the key's public id"))?;
    let (tls, authority, target) = url(&sign.url)?;
    let body = sign.data.as_deref().map(data).transpose()?;
    let mut fields = sign.header.iter().map(|line| field(line)).collect::<Result<Vec<Field>, Trouble>>()?;
    let has = |fields: &[Field], name: &str| fields.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    if body.is_some() && !has(&fields, "content-type") {
        fields.push(("Content-Type".to_owned(), "application/json".to_owned()));
    }
    let key = Secret::open(sign)?;
    let now = SystemClock.now().secs();
    let nonce = nonce()?;
    match sign.scheme {
        SignScheme::Pc1 => {
            let Secret::Mac(key) = key else { return Err(wrong("pc1 signs with --secret-file")) };
            if has(&fields, "authorization") {
                return Err(wrong("pc1 does not cover Authorization; sign by portcullis-v1"));
            }
            let received = Received::new(sign.method.as_str(), tls, authority, target, fields.clone());
            let value = pc1::header(&received, &key, id, now, &nonce, body.as_deref());
            fields.push(("X-PC-Signature".to_owned(), value));
        }
        SignScheme::PortcullisV1 => {
            let mut cover = if body.is_some() { Draft::BODY.to_vec() } else { Draft::BARE.to_vec() };
            let more: Vec<String> = sign.cover.iter().map(|name| name.to_ascii_lowercase()).collect();
            if let Some(body) = &body {
                fields.push(("Content-Digest".to_owned(), content_digest(body)));
            }
            let authorization = has(&fields, "authorization").then_some("authorization");
            for name in authorization.into_iter().chain(more.iter().map(String::as_str)) {
                if !cover.contains(&name) {
                    cover.push(name);
                }
            }
            let algorithm = key.algorithm();
            let draft = Draft { cover: &cover, created: now, key_id: id.as_str(), nonce: &nonce, algorithm };
            let received = Received::new(sign.method.as_str(), tls, authority, target, fields.clone());
            let label = draft.label().map_err(|e| wrong(e.text()))?;
            let missing = "a covered field is not among the header fields";
            let base = label.base(&received).map_err(|_| wrong(missing))?;
            let (input, signature) = headers(&label, &key.sign(&base)?);
            fields.push(("Signature-Input".to_owned(), input));
            fields.push(("Signature".to_owned(), signature));
        }
    }
    Ok(fields)
}

/// What signs.
enum Secret {
    Mac(Box<MacKey>),
    Ed25519(Box<Ed25519KeyPair>),
    P256(Box<EcdsaKeyPair>),
}

impl Secret {
    fn open(sign: &Sign) -> Result<Self, Trouble> {
        match (&sign.secret_file, &sign.jwk) {
            (Some(path), _) => {
                let text = String::from_utf8(read(path)?).map_err(|_| wrong("the secret is no text"))?;
                let secret = Kind::SigningSecret.parse(text.trim());
                let secret = secret
                    .map_err(|e| wrong(&format!("{}: no pch_… secret ({})", path.display(), e.text())))?;
                Ok(Self::Mac(Box::new(MacKey::new(secret.expose()))))
            }
            (None, Some(path)) => Self::of_jwk(read(path)?)
                .ok_or_else(|| wrong(&format!("{}: no private JWK of Ed25519 or P-256", path.display()))),
            (None, None) => Err(wrong("--secret-file or --jwk")),
        }
    }

    fn of_jwk(bytes: Vec<u8>) -> Option<Self> {
        let json = Json::parse(bytes, &Limits::HEADER).ok()?;
        let root = json.root();
        let text = |name: &str| root.get(name).and_then(Value::as_str);
        let bytes = |name: &str| text(name).and_then(b64u::decode);
        match (text("kty")?, text("crv")?) {
            ("OKP", "Ed25519") => {
                let pair = Ed25519KeyPair::from_seed_and_public_key(&bytes("d")?, &bytes("x")?).ok()?;
                Some(Self::Ed25519(Box::new(pair)))
            }
            ("EC", "P-256") => {
                let public = [vec![4], bytes("x")?, bytes("y")?].concat();
                let scheme = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let pair =
                    EcdsaKeyPair::from_private_key_and_public_key(scheme, &bytes("d")?, &public).ok()?;
                Some(Self::P256(Box::new(pair)))
            }
            _ => None,
        }
    }

    const fn algorithm(&self) -> SignatureAlgorithm {
        match self {
            Self::Mac(_) => SignatureAlgorithm::HmacSha256,
            Self::Ed25519(_) => SignatureAlgorithm::Ed25519,
            Self::P256(_) => SignatureAlgorithm::EcdsaP256Sha256,
        }
    }

    fn sign(&self, base: &[u8]) -> Result<Vec<u8>, Trouble> {
        Ok(match self {
            Self::Mac(key) => key.sign(base).to_vec(),
            Self::Ed25519(pair) => pair.sign(base).as_ref().to_vec(),
            Self::P256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), base);
                signature.map_err(|_| wrong("the key does not sign"))?.as_ref().to_vec()
            }
        })
    }
}

/// Scheme, authority and target of a URL, none of them normalised: what is on the wire is signed.
fn url(text: &str) -> Result<(bool, &str, &str), Trouble> {
    let no_url = || wrong("the URL begins with https:// or http:// and has no fragment");
    let (scheme, rest) = text.split_once("://").ok_or_else(no_url)?;
    let tls = match scheme {
        "https" => true,
        "http" => false,
        _ => return Err(no_url()),
    };
    let (authority, target) =
        rest.split_at_checked(rest.find(['/', '?']).unwrap_or(rest.len())).ok_or_else(no_url)?;
    if authority.is_empty() || authority.contains('@') || rest.contains('#') {
        return Err(no_url());
    }
    Ok((tls, authority, if target.is_empty() { "/" } else { target }))
}

fn field(line: &str) -> Result<Field, Trouble> {
    let (name, value) = line.split_once(':').ok_or_else(|| wrong("a header is `Name: value`"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn data(text: &str) -> Result<Vec<u8>, Trouble> {
    match text.strip_prefix('@') {
        Some(path) => read(Path::new(path)),
        None => Ok(text.as_bytes().to_vec()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Trouble> {
    std::fs::read(path).map_err(|e| wrong(&format!("{}: {e}", path.display())))
}

fn nonce() -> Result<String, Trouble> {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| wrong("the system has no randomness"))?;
    Ok(b64u::encode(random))
}

fn wrong(what: &str) -> Trouble {
    Trouble(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_as_they_are() {
        assert_eq!(url("https://A.example:443/x%2fy?b&a").ok(), Some((true, "A.example:443", "/x%2fy?b&a")));
        assert_eq!(url("http://a.example").ok(), Some((false, "a.example", "/")));
        for bad in ["a.example/x", "ftp://a/", "https:///x", "https://u@a/", "https://a/#f"] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }
}
