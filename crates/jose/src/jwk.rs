//! Public keys: every check once, when a key comes in, so that a request only looks one up.

use crate::alg::{Algorithm, Algorithms};
use crate::b64u;
use crate::json::{self, Json, Kind, Limits, Value};
use crate::reason::Reason;
use aws_lc_rs::signature::{self as lc, ParsedPublicKey, RsaPublicKeyComponents};
use std::fmt;

/// The most keys a set may have.
pub const MAX_KEYS: usize = 64;
/// The longest `kid`, in bytes.
pub const MAX_KID: usize = 256;
const RSA_MIN_BITS: u32 = 2_048;
const RSA_CEILING_BITS: u32 = 8_192;

/// What a key must be to be taken in.
#[derive(Clone, Copy, Debug)]
pub struct KeyPolicy {
    /// The algorithms of the issuer; a key that fits none of them is not usable.
    pub algorithms: Algorithms,
    /// The largest RSA modulus in bits; at most 8,192 whatever stands here.
    pub rsa_max_bits: u32,
}

impl Default for KeyPolicy {
    fn default() -> Self {
        Self { algorithms: Algorithms::DEFAULT, rsa_max_bits: 4_096 }
    }
}

/// Why a key is not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyFault {
    /// Not an object, a member missing, of the wrong type, or not in its one canonical encoding.
    Malformed,
    /// A private member (`d p q dp dq qi oth k`): event `jwks.private_material`.
    PrivateMaterial,
    /// `kty` is `oct` or unknown, or the curve is.
    KeyType,
    /// `use` is not `sig`.
    Use,
    /// `key_ops` does not contain `verify`.
    KeyOps,
    /// Pinned to, or of a type for, algorithms that the issuer may not use.
    Algorithm,
    /// RSA: fewer than 2,048 bits or more than allowed.
    RsaSize,
    /// RSA: e is even, below 65,537 or not below 2^33.
    RsaExponent,
    /// RSA: the modulus is even, or has the fingerprint of CVE-2017-15361 (ROCA).
    RsaModulus,
    /// The point is not on the curve, of small order, or not in its canonical encoding.
    Point,
    /// The same `kid` and `kty` as another: event `jwks.duplicate_kid`.
    DuplicateKid,
}

impl KeyFault {
    /// Stable kebab text for metrics and events.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::PrivateMaterial => "private-material",
            Self::KeyType => "key-type",
            Self::Use => "use",
            Self::KeyOps => "key-ops",
            Self::Algorithm => "algorithm",
            Self::RsaSize => "rsa-size",
            Self::RsaExponent => "rsa-exponent",
            Self::RsaModulus => "rsa-modulus",
            Self::Point => "point",
            Self::DuplicateKid => "duplicate-kid",
        }
    }
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for KeyFault {}

/// A key of a set that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// Its `kid`, if that could be read.
    pub kid: Option<Box<str>>,
    /// Why.
    pub fault: KeyFault,
}

/// Why a whole set was refused; the old one stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySetError {
    /// Not JSON as the strict reader takes it.
    Json(json::Fault),
    /// No array `keys`.
    Shape,
    /// More than 64 keys.
    TooMany(usize),
    /// Not one usable key.
    NoneUsable(Vec<Unusable>),
}

impl fmt::Display for KeySetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(fault) => write!(f, "the key set cannot be read: {fault}"),
            Self::Shape => f.write_str("the key set has no array `keys`"),
            Self::TooMany(n) => write!(f, "{n} keys; at most {MAX_KEYS} are taken"),
            Self::NoneUsable(all) => write!(f, "none of {} keys is usable", all.len()),
        }
    }
}

impl std::error::Error for KeySetError {}

/// The type of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// RSA
    Rsa,
    /// P-256 or P-384
    Ec,
    /// Ed25519
    Okp,
}

/// A public key that passed every check, parsed for each algorithm that it may be used with.
#[derive(Clone)]
pub struct VerifyKey {
    kid: Option<Box<str>>,
    kty: KeyType,
    thumbprint: Box<str>,
    signature_len: usize,
    parsed: Box<[(Algorithm, ParsedPublicKey)]>,
}

impl VerifyKey {
    /// Reads one JWK (RFC 7517).
    ///
    /// # Errors
    /// The first check that fails.
    pub fn from_jwk(jwk: Value<'_>, policy: &KeyPolicy) -> Result<Self, KeyFault> {
        if jwk.kind() != Kind::Object {
            return Err(KeyFault::Malformed);
        }
        if ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|name| jwk.get(name).is_some()) {
            return Err(KeyFault::PrivateMaterial);
        }
        let kid = text_of(jwk, "kid")?;
        if kid.is_some_and(|kid| kid.len() > MAX_KID) {
            return Err(KeyFault::Malformed);
        }
        if text_of(jwk, "use")?.is_some_and(|used| used != "sig") {
            return Err(KeyFault::Use);
        }
        if let Some(ops) = jwk.get("key_ops") {
            if ops.kind() != Kind::Array {
                return Err(KeyFault::Malformed);
            }
            if !ops.items().any(|op| op.as_str() == Some("verify")) {
                return Err(KeyFault::KeyOps);
            }
        }
        let allowed = match text_of(jwk, "alg")? {
            None => policy.algorithms,
            Some(name) => {
                let pinned = Algorithm::parse(name).ok_or(KeyFault::Algorithm)?;
                policy.algorithms.and(Algorithms::EMPTY.with(pinned))
            }
        };
        let mut key = match text_of(jwk, "kty")?.ok_or(KeyFault::Malformed)? {
            "RSA" => rsa(jwk, allowed, policy.rsa_max_bits),
            "EC" => ec(jwk, allowed),
            "OKP" => okp(jwk, allowed),
            _ => Err(KeyFault::KeyType),
        }?;
        key.kid = kid.map(Into::into);
        Ok(key)
    }

    /// Reads one JWK from its text, as a partner registers it.
    ///
    /// # Errors
    /// The first check that fails; [`KeyFault::Malformed`] when it is not JSON.
    pub fn parse(jwk: &[u8], policy: &KeyPolicy) -> Result<Self, KeyFault> {
        let json = Json::parse(jwk.to_vec(), &Limits::KEY_SET).map_err(|_| KeyFault::Malformed)?;
        Self::from_jwk(json.root(), policy)
    }

    /// Its `kid`.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Its type.
    pub const fn kty(&self) -> KeyType {
        self.kty
    }

    /// Its SHA-256 thumbprint (RFC 7638), base64url.
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// The algorithms it may be used with.
    pub fn algorithms(&self) -> Algorithms {
        self.parsed.iter().map(|(algorithm, _)| *algorithm).collect()
    }

    /// Is `signature` by this key over `message`? The algorithm must be one of the key's.
    ///
    /// # Errors
    /// [`Reason::KeyUnusable`] for an algorithm of another key, [`Reason::Signature`].
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Result<(), Reason> {
        let parsed = self.parsed.iter().find(|(own, _)| *own == algorithm);
        let (_, key) = parsed.ok_or(Reason::KeyUnusable)?;
        if signature.len() != self.signature_len {
            return Err(Reason::Signature);
        }
        key.verify_sig(message, signature).map_err(|_| Reason::Signature)
    }
}

impl fmt::Debug for VerifyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyKey").field("kid", &self.kid).field("kty", &self.kty).finish_non_exhaustive()
    }
}

/// The usable keys of one issuer, and the names of those that are not.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<VerifyKey>,
    refused: Vec<Box<str>>,
}

impl KeySet {
    /// Reads a JWK set (RFC 7517 § 5): the usable keys, and what was refused and why.
    ///
    /// # Errors
    /// Not a set, more than 64 keys, or none usable: the caller keeps the set it has.
    pub fn parse(set: &[u8], policy: &KeyPolicy) -> Result<(Self, Vec<Unusable>), KeySetError> {
        let json = Json::parse(set.to_vec(), &Limits::KEY_SET).map_err(KeySetError::Json)?;
        let keys = json.root().get("keys").filter(|keys| keys.kind() == Kind::Array);
        let keys = keys.ok_or(KeySetError::Shape)?;
        let count = keys.items().count();
        if count > MAX_KEYS {
            return Err(KeySetError::TooMany(count));
        }
        let mut usable = Vec::with_capacity(count);
        let mut refused = Vec::new();
        for jwk in keys.items() {
            match VerifyKey::from_jwk(jwk, policy) {
                Ok(key) => usable.push(key),
                Err(fault) => {
                    let kid = jwk.get("kid").and_then(Value::as_str).filter(|kid| kid.len() <= MAX_KID);
                    refused.push(Unusable { kid: kid.map(Into::into), fault });
                }
            }
        }
        let (set, duplicates) = Self::of(usable);
        refused.extend(duplicates);
        if set.keys.is_empty() {
            return Err(KeySetError::NoneUsable(refused));
        }
        let names = refused.iter().filter_map(|r| r.kid.clone()).collect();
        Ok((Self { refused: names, ..set }, refused))
    }

    /// A set of keys that are already parsed (the own server's, a client's). Keys that share `kid`
    /// and `kty` are all refused.
    pub fn of(keys: Vec<VerifyKey>) -> (Self, Vec<Unusable>) {
        let name = |key: &VerifyKey| key.kid.clone().map(|kid| (kid, key.kty));
        let names: Vec<_> = keys.iter().map(name).collect();
        let twice = |key: &VerifyKey| {
            let own = name(key);
            own.is_some() && names.iter().filter(|other| **other == own).count() > 1
        };
        let (doubled, keys): (Vec<_>, Vec<_>) = keys.into_iter().partition(twice);
        let unusable: Vec<_> =
            doubled.into_iter().map(|key| Unusable { kid: key.kid, fault: KeyFault::DuplicateKid }).collect();
        let refused = unusable.iter().filter_map(|u| u.kid.clone()).collect();
        (Self { keys, refused }, unusable)
    }

    /// The usable keys.
    pub fn keys(&self) -> &[VerifyKey] {
        &self.keys
    }

    /// The one key for a header: by `kid`, or without one the only key that fits.
    ///
    /// # Errors
    /// [`Reason::KeyUnknown`], [`Reason::KeyUnusable`], [`Reason::KeyNone`], [`Reason::KeyAmbiguous`].
    pub fn choose(&self, algorithm: Algorithm, kid: Option<&str>) -> Result<&VerifyKey, Reason> {
        let named = self.keys.iter().filter(|key| kid.is_none() || key.kid.as_deref() == kid);
        let mut fitting = named.filter(|key| key.parsed.iter().any(|(own, _)| *own == algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
            (Some(_), Some(_)) => Err(Reason::KeyAmbiguous),
            (None, _) => Err(match kid {
                None => Reason::KeyNone,
                Some(kid) if self.knows(kid) => Reason::KeyUnusable,
                Some(_) => Reason::KeyUnknown,
            }),
        }
    }

    fn knows(&self, kid: &str) -> bool {
        self.refused.iter().any(|name| **name == *kid) || self.keys.iter().any(|key| key.kid() == Some(kid))
    }
}

/// An optional string; another type refuses the key.
fn text_of<'a>(jwk: Value<'a>, name: &str) -> Result<Option<&'a str>, KeyFault> {
    jwk.get(name).map(|value| value.as_str().ok_or(KeyFault::Malformed)).transpose()
}

fn rsa(jwk: Value<'_>, allowed: Algorithms, max_bits: u32) -> Result<VerifyKey, KeyFault> {
    let (n_text, n) = number(jwk, "n")?;
    let (e_text, e) = number(jwk, "e")?;
    let leading = n.first().map_or(0, |byte| byte.leading_zeros());
    let bits = u32::try_from(n.len()).unwrap_or(u32::MAX).saturating_mul(8).saturating_sub(leading);
    if !(RSA_MIN_BITS..=max_bits.min(RSA_CEILING_BITS)).contains(&bits) {
        return Err(KeyFault::RsaSize);
    }
    let exponent = e
        .iter()
        .try_fold(0u64, |acc, byte| if acc < 1 << 33 { Some(acc << 8 | u64::from(*byte)) } else { None });
    if !exponent.is_some_and(|e| e % 2 == 1 && (65_537..1 << 33).contains(&e)) {
        return Err(KeyFault::RsaExponent);
    }
    if n.last().is_none_or(|byte| byte % 2 == 0) || roca(&n) {
        return Err(KeyFault::RsaModulus);
    }
    let components = RsaPublicKeyComponents { n: &n, e: &e };
    let parsed = allowed.iter().filter_map(|algorithm| {
        let parameters = algorithm.rsa()?;
        let key = components.to_parsed_public_key(parameters).map_err(|_| KeyFault::Malformed);
        Some(key.map(|key| (algorithm, key)))
    });
    let canonical = format!(r#"{{"e":"{e_text}","kty":"RSA","n":"{n_text}"}}"#);
    build(KeyType::Rsa, &canonical, n.len(), parsed.collect::<Result<_, _>>()?)
}

fn ec(jwk: Value<'_>, allowed: Algorithms) -> Result<VerifyKey, KeyFault> {
    let crv = text_of(jwk, "crv")?.ok_or(KeyFault::Malformed)?;
    let (algorithm, parameters, len) = match crv {
        "P-256" => (Algorithm::Es256, &lc::ECDSA_P256_SHA256_FIXED, 32),
        "P-384" => (Algorithm::Es384, &lc::ECDSA_P384_SHA384_FIXED, 48),
        _ => return Err(KeyFault::KeyType),
    };
    let (x_text, x) = bytes(jwk, "x")?;
    let (y_text, y) = bytes(jwk, "y")?;
    if x.len() != len || y.len() != len {
        return Err(KeyFault::Malformed);
    }
    // aws-lc decodes the point and refuses one that is not on the curve or is infinity.
    let point = [&[4], x.as_slice(), y.as_slice()].concat();
    let key = ParsedPublicKey::new(parameters, point).map_err(|_| KeyFault::Point)?;
    let canonical = format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x_text}","y":"{y_text}"}}"#);
    build(KeyType::Ec, &canonical, 2 * len, only(allowed, algorithm, key))
}

fn okp(jwk: Value<'_>, allowed: Algorithms) -> Result<VerifyKey, KeyFault> {
    if text_of(jwk, "crv")?.ok_or(KeyFault::Malformed)? != "Ed25519" {
        return Err(KeyFault::KeyType);
    }
    let (x_text, x) = bytes(jwk, "x")?;
    let point = <[u8; 32]>::try_from(x.as_slice()).map_err(|_| KeyFault::Malformed)?;
    if weak_ed25519(point) {
        return Err(KeyFault::Point);
    }
    let key = ParsedPublicKey::new(&lc::ED25519, point).map_err(|_| KeyFault::Point)?;
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x_text}"}}"#);
    build(KeyType::Okp, &canonical, 64, only(allowed, Algorithm::EdDsa, key))
}

fn only(
    allowed: Algorithms,
    algorithm: Algorithm,
    key: ParsedPublicKey,
) -> Vec<(Algorithm, ParsedPublicKey)> {
    if allowed.contains(algorithm) { vec![(algorithm, key)] } else { Vec::new() }
}

fn build(
    kty: KeyType,
    canonical: &str,
    signature_len: usize,
    parsed: Vec<(Algorithm, ParsedPublicKey)>,
) -> Result<VerifyKey, KeyFault> {
    if parsed.is_empty() {
        return Err(KeyFault::Algorithm);
    }
    let thumbprint = b64u::sha256(canonical.as_bytes()).into_boxed_str();
    Ok(VerifyKey { kid: None, kty, thumbprint, signature_len, parsed: parsed.into_boxed_slice() })
}

fn bytes<'a>(jwk: Value<'a>, name: &str) -> Result<(&'a str, Vec<u8>), KeyFault> {
    let text = text_of(jwk, name)?.ok_or(KeyFault::Malformed)?;
    Ok((text, b64u::decode(text).ok_or(KeyFault::Malformed)?))
}

/// A positive number in the fewest bytes (RFC 7518 § 2, `Base64urlUInt`).
fn number<'a>(jwk: Value<'a>, name: &str) -> Result<(&'a str, Vec<u8>), KeyFault> {
    let (text, number) = bytes(jwk, name)?;
    match number.first() {
        None | Some(0) => Err(KeyFault::Malformed),
        Some(_) => Ok((text, number)),
    }
}

/// y ≥ 2^255 − 19, or one of the five y of points whose order divides 8: for these, signatures exist
/// that fit every message.
fn weak_ed25519(mut y: [u8; 32]) -> bool {
    const ORDER_8: [[u8; 32]; 2] = [
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
            0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
            0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    if let Some(top) = y.last_mut() {
        *top &= 0x7f; // the sign of x
    }
    let [low, middle @ .., high] = y;
    let near_p = high == 0x7f && middle.iter().all(|b| *b == 0xff) && low >= 0xec; // p − 1 = 0x7fff…ffec
    let near_0 = high == 0 && middle.iter().all(|b| *b == 0) && low <= 1;
    near_p || near_0 || ORDER_8.contains(&y)
}

/// The fingerprint of Infineon's RSALib (CVE-2017-15361): modulo each of these primes its moduli are
/// powers of 65,537. A sound key passes for one with probability below 2^-27.
fn roca(modulus: &[u8]) -> bool {
    const PRIMES: [u32; 38] = [
        3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101,
        103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
    ];
    PRIMES.iter().all(|prime| {
        let residue = modulus.iter().fold(0, |acc, byte| (acc << 8 | u32::from(*byte)) % prime);
        let mut power = 1;
        for _ in 0..*prime {
            if power == residue {
                return true;
            }
            power = power * (65_537 % prime) % prime;
        }
        false
    })
}
