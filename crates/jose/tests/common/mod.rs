//! An issuer with keys of its own, and where the public vectors are.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests"
)]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self as lc, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaEncoding, RsaKeyPair, RsaPublicKeyComponents,
};
use portcullis_jose::jwk::{KeyPolicy, KeySet};
use portcullis_jose::{alg::Algorithms, b64u, jws, jwt};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::LazyLock;

pub const NOW: i64 = 1_767_225_600;
pub const ISSUER: &str = "https://login.example.com/";
pub const AUDIENCE: &str = "shop";

/// A private key that signs, of any algorithm that JOSE knows for its type.
pub enum Signer {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl Signer {
    pub fn p256() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&lc::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub fn p384() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&lc::ECDSA_P384_SHA384_FIXED_SIGNING).unwrap())
    }

    pub fn ed25519() -> Self {
        Self::Ed(Ed25519KeyPair::generate().unwrap())
    }

    pub fn rsa(size: KeySize) -> Self {
        Self::Rsa(RsaKeyPair::generate(size).unwrap())
    }

    pub fn sign(&self, alg: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Ec(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed(key) => key.sign(message).as_ref().to_vec(),
            Self::Rsa(key) => {
                let encoding: &'static dyn RsaEncoding = match alg {
                    "RS384" => &lc::RSA_PKCS1_SHA384,
                    "RS512" => &lc::RSA_PKCS1_SHA512,
                    "PS256" => &lc::RSA_PSS_SHA256,
                    "PS384" => &lc::RSA_PSS_SHA384,
                    "PS512" => &lc::RSA_PSS_SHA512,
                    _ => &lc::RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(encoding, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }

    pub fn jwk(&self) -> Value {
        match self {
            Self::Ec(key) => {
                let point = &key.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let crv = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({"kty": "EC", "crv": crv, "x": b64u::encode(x), "y": b64u::encode(y)})
            }
            Self::Ed(key) => json!({"kty": "OKP", "crv": "Ed25519", "x": b64u::encode(key.public_key())}),
            Self::Rsa(key) => {
                let parts: RsaPublicKeyComponents<Vec<u8>> = components(key);
                json!({"kty": "RSA", "n": b64u::encode(parts.n), "e": b64u::encode(parts.e)})
            }
        }
    }

    pub fn named(&self, kid: &str) -> Value {
        let mut jwk = self.jwk();
        jwk["kid"] = kid.into();
        jwk
    }

    /// A token of exactly these texts.
    pub fn token_of(&self, header: &str, payload: &[u8]) -> String {
        let header_json: Value = serde_json::from_str(header).unwrap_or_default();
        let alg = header_json["alg"].as_str().unwrap_or_default().to_owned();
        let input = jws::signing_input(header, payload);
        jws::compact(&input, &self.sign(&alg, input.as_bytes()))
    }

    pub fn token(&self, header: &Value, payload: &Value) -> String {
        self.token_of(&header.to_string(), payload.to_string().as_bytes())
    }
}

/// Modulus and exponent out of the SubjectPublicKeyInfo-free DER `SEQUENCE { n, e }`.
fn components(key: &RsaKeyPair) -> RsaPublicKeyComponents<Vec<u8>> {
    fn part<'d>(der: &mut &'d [u8]) -> &'d [u8] {
        let (len, skip) = match der[1] {
            n @ 0..=0x7f => (usize::from(n), 2),
            0x81 => (usize::from(der[2]), 3),
            _ => (usize::from(der[2]) << 8 | usize::from(der[3]), 4),
        };
        let (value, rest) = der[skip..].split_at(len);
        *der = rest;
        value
    }
    let mut outer = key.public_key().as_ref();
    let mut inner = part(&mut outer);
    let strip = |n: &[u8]| n.iter().copied().skip_while(|b| *b == 0).collect::<Vec<_>>();
    let n = strip(part(&mut inner));
    let e = strip(part(&mut inner));
    RsaPublicKeyComponents { n, e }
}

/// One key of each type, made once per test binary: `ec`, `ec384`, `ed`, `rsa`.
pub struct Keys {
    pub ec: Signer,
    pub ec384: Signer,
    pub ed: Signer,
    pub rsa: Signer,
}

pub static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    ec: Signer::p256(),
    ec384: Signer::p384(),
    ed: Signer::ed25519(),
    rsa: Signer::rsa(KeySize::Rsa2048),
});

pub fn key_set(jwks: &[Value]) -> KeySet {
    let policy = KeyPolicy { algorithms: Algorithms::ALL, ..KeyPolicy::default() };
    KeySet::parse(json!({"keys": jwks}).to_string().as_bytes(), &policy).unwrap().0
}

/// The issuer's four keys by name.
pub static SET: LazyLock<KeySet> = LazyLock::new(|| {
    key_set(&[KEYS.ec.named("ec"), KEYS.ec384.named("ec384"), KEYS.ed.named("ed"), KEYS.rsa.named("rsa")])
});

pub fn policy() -> jwt::Policy {
    jwt::Policy::new(ISSUER, [AUDIENCE.to_owned()])
}

pub fn header() -> Value {
    json!({"alg": "ES256", "kid": "ec", "typ": "at+jwt"})
}

pub fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "usr_1", "client_id": "cli_1", "jti": "t-1",
        "iat": NOW - 10, "exp": NOW + 600, "scope": "orders.read orders.write"
    })
}

/// `base` with members set, or removed where the value is null.
pub fn with(mut base: Value, changes: Value) -> Value {
    let members = base.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    base
}

/// A folder or file of the public vectors; `None`, said aloud, where they are not.
pub fn vectors(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("PORTCULLIS_VECTORS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"),
        PathBuf::from,
    );
    let path = root.join(path);
    if !path.exists() {
        eprintln!("skipped: no vectors at {}", path.display());
        return None;
    }
    Some(path)
}

pub fn vector_json(path: &str) -> Option<Value> {
    let text = std::fs::read(vectors(path)?).unwrap();
    Some(serde_json::from_slice(&text).unwrap())
}

pub fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
