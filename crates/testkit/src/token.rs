//! Keys and tokens, honest and forged.

use aws_lc_rs::encoding::{AsBigEndian as _, AsDer as _, Curve25519SeedBin, EcPrivateKeyBin};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

/// What a key signs with (RFC 7518, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256, 2,048 bits.
    Rs256,
    /// RSASSA-PSS with SHA-256, 2,048 bits.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Its registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// A signing key with its identifier.
pub struct Key {
    /// `kid`.
    pub id: String,
    /// `alg`.
    pub algorithm: Algorithm,
    pair: Pair,
}

impl Key {
    /// A fresh key.
    pub fn generate(algorithm: Algorithm, id: &str) -> Self {
        let pair = match algorithm {
            Algorithm::Rs256 | Algorithm::Ps256 => {
                Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key can be generated"))
            }
            Algorithm::Es256 => Pair::Ec(
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("an EC key can be generated"),
            ),
            Algorithm::EdDsa => {
                Pair::Ed(Ed25519KeyPair::generate().expect("an Ed25519 key can be generated"))
            }
        };
        Self { id: id.to_owned(), algorithm, pair }
    }

    /// Its public half (RFC 7517).
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let (n, e) = rsa_numbers(pair.public_key().as_ref());
                json!({ "kty": "RSA", "n": b64(&n), "e": b64(&e) })
            }
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "x": b64(&point[1..33]), "y": b64(&point[33..65]) })
            }
            Pair::Ed(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key().as_ref()) }),
        };
        jwk["kid"] = json!(self.id);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.algorithm.name());
        jwk
    }

    /// Its private half, for clients that read a JWK: Ed25519 and P-256 alone.
    pub fn private_jwk(&self) -> Option<Value> {
        let d = match &self.pair {
            Pair::Rsa(_) => return None,
            Pair::Ec(pair) => {
                let d: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().expect("the key was generated");
                b64(d.as_ref())
            }
            Pair::Ed(pair) => {
                let seed = pair.seed().expect("the key was generated");
                let d: Curve25519SeedBin<'_> = seed.as_be_bytes().expect("a seed is 32 bytes");
                b64(d.as_ref())
            }
        };
        let mut jwk = self.jwk();
        jwk["d"] = json!(d);
        Some(jwk)
    }

    /// The public key as SubjectPublicKeyInfo: what the RS256-to-HS256 confusion uses as its secret.
    pub fn public_der(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let der: aws_lc_rs::encoding::PublicKeyX509Der<'_> =
                    pair.public_key().as_der().expect("a public key can be encoded");
                der.as_ref().to_vec()
            }
            Pair::Ec(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// Signs bytes.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let padding: &dyn signature::RsaEncoding = match self.algorithm {
                    Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut out).expect("an RSA key can sign");
                out
            }
            Pair::Ec(pair) => pair.sign(&random, message).expect("an EC key can sign").as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

/// A JWT under construction. Nothing is checked: that is the point.
#[derive(Debug, Clone)]
pub struct Token {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    raw_header: Option<String>,
    raw_claims: Option<String>,
}

impl Token {
    /// Empty header, empty claims.
    pub fn new() -> Self {
        Self { header: Map::new(), claims: Map::new(), raw_header: None, raw_claims: None }
    }

    /// Sets a header member.
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Sets a claim.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Removes a header member and a claim of that name.
    pub fn without(mut self, name: &str) -> Self {
        self.header.remove(name);
        self.claims.remove(name);
        self
    }

    /// This text as header, whatever it is.
    pub fn raw_header(mut self, text: &str) -> Self {
        self.raw_header = Some(text.to_owned());
        self
    }

    /// This text as payload, whatever it is.
    pub fn raw_claims(mut self, text: &str) -> Self {
        self.raw_claims = Some(text.to_owned());
        self
    }

    /// Header and payload, encoded and joined: what is signed.
    pub fn signing_input(&self) -> String {
        let header =
            self.raw_header.clone().unwrap_or_else(|| Value::Object(self.header.clone()).to_string());
        let claims =
            self.raw_claims.clone().unwrap_or_else(|| Value::Object(self.claims.clone()).to_string());
        format!("{}.{}", b64(header.as_bytes()), b64(claims.as_bytes()))
    }

    /// Signed by the key. `alg` and `kid` are filled in unless they were set.
    pub fn sign(mut self, key: &Key) -> String {
        self.header.entry("alg").or_insert_with(|| json!(key.algorithm.name()));
        self.header.entry("kid").or_insert_with(|| json!(key.id));
        let input = self.signing_input();
        format!("{input}.{}", b64(&key.sign(input.as_bytes())))
    }

    /// `alg: none` and an empty signature.
    pub fn unsigned(mut self) -> String {
        self.header.insert("alg".to_owned(), json!("none"));
        format!("{}.", self.signing_input())
    }

    /// HS256 with this secret.
    pub fn hmac(mut self, secret: &[u8]) -> String {
        self.header.insert("alg".to_owned(), json!("HS256"));
        let input = self.signing_input();
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        format!("{input}.{}", b64(aws_lc_rs::hmac::sign(&key, input.as_bytes()).as_ref()))
    }

    /// With these bytes as signature.
    pub fn with_signature(self, signature: &[u8]) -> String {
        format!("{}.{}", self.signing_input(), b64(signature))
    }
}

impl Default for Token {
    fn default() -> Self {
        Self::new()
    }
}

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Modulus and exponent out of RSAPublicKey (RFC 8017 §A.1.1): SEQUENCE { INTEGER, INTEGER }.
fn rsa_numbers(der: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (sequence, _) = element(der);
    let (n, rest) = element(sequence);
    let (e, _) = element(rest);
    let plain = |bytes: &[u8]| bytes[bytes.iter().position(|b| *b != 0).unwrap_or(0)..].to_vec();
    (plain(n), plain(e))
}

fn element(der: &[u8]) -> (&[u8], &[u8]) {
    let (length, start) = match der[1] {
        short if short < 0x80 => (usize::from(short), 2),
        long => {
            let count = usize::from(long & 0x7f);
            let length = der[2..2 + count].iter().fold(0_usize, |sum, b| sum << 8 | usize::from(*b));
            (length, 2 + count)
        }
    };
    (&der[start..start + length], &der[start + length..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::UnparsedPublicKey;

    #[test]
    fn signatures_verify_under_the_published_keys() {
        let key = Key::generate(Algorithm::Es256, "e");
        let jwk = key.jwk();
        let mut point = vec![4];
        for part in ["x", "y"] {
            point.extend(URL_SAFE_NO_PAD.decode(jwk[part].as_str().unwrap()).unwrap());
        }
        UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
            .verify(b"m", &key.sign(b"m"))
            .unwrap();
        let key = Key::generate(Algorithm::EdDsa, "d");
        let x = URL_SAFE_NO_PAD.decode(key.jwk()["x"].as_str().unwrap()).unwrap();
        UnparsedPublicKey::new(&signature::ED25519, x).verify(b"m", &key.sign(b"m")).unwrap();
        for (algorithm, scheme) in [
            (Algorithm::Rs256, &signature::RSA_PKCS1_2048_8192_SHA256),
            (Algorithm::Ps256, &signature::RSA_PSS_2048_8192_SHA256),
        ] {
            let key = Key::generate(algorithm, "r");
            let jwk = key.jwk();
            let number = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
            let public = signature::RsaPublicKeyComponents { n: number("n"), e: number("e") };
            public.verify(scheme, b"m", &key.sign(b"m")).unwrap();
            assert_eq!((number("n").len(), number("e")), (256, vec![1, 0, 1]));
        }
    }

    #[test]
    fn forgeries_are_as_ordered() {
        let token = Token::new().claim("sub", "a").header("typ", "JWT");
        assert!(token.clone().unsigned().ends_with('.'));
        let parts = |text: &str| -> Vec<Vec<u8>> {
            text.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect()
        };
        assert_eq!(parts(&token.clone().hmac(b"k"))[2].len(), 32);
        let raw = token.clone().raw_claims("{\"sub\":\"a\",\"sub\":\"b\"}").with_signature(b"xyz");
        assert_eq!(parts(&raw)[1], b"{\"sub\":\"a\",\"sub\":\"b\"}");
        assert_eq!(parts(&raw)[2], b"xyz");
    }
}
