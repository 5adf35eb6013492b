//! Compact JWS (RFC 7515 § 7.1), narrowed: sizes before decoding, strict base64url, strict JSON, and
//! no header member that could choose code, keys or hosts.

use crate::alg::Algorithm;
use crate::b64u;
use crate::json::{Json, Kind, Limits, Value};
use crate::jwk::{MAX_KID, VerifyKey};
use crate::reason::Reason;

/// The longest token, in bytes.
pub const MAX_TOKEN: usize = 8_192;
/// A signature of RSA with 8,192 bits, and what the decoder wants to spare.
const MAX_SIGNATURE: usize = 1_024;

/// Whether the header may carry the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbeddedKey {
    /// `jwk` refuses the token: everybody but DPoP.
    Refused,
    /// `jwk` is required, and read by [`crate::dpop`].
    Required,
}

/// A token taken apart: shape and header are right, nothing is believed yet.
pub struct Compact<'t> {
    signing_input: &'t str,
    signature: &'t str,
    header: Header,
    payload: Vec<u8>,
}

impl<'t> Compact<'t> {
    /// Takes a token apart and judges its header.
    ///
    /// # Errors
    /// [`Reason::JwsSize`], [`Reason::JwsShape`], [`Reason::JwsBase64`], [`Reason::Json`] for the header,
    /// [`Reason::HeaderAlg`], [`Reason::HeaderKid`], [`Reason::HeaderMember`].
    pub fn open(token: &'t str, embedded: EmbeddedKey) -> Result<Self, Reason> {
        let (signing_input, header, payload, signature) = split(token)?;
        let header = Header::read(header, embedded)?;
        if payload.len() > encoded(Limits::PAYLOAD.bytes) {
            return Err(Reason::JwsSize);
        }
        let payload = b64u::decode(payload).ok_or(Reason::JwsBase64)?;
        // The signature too is shape: looked at before anything expensive happens.
        if signature.len() > encoded(MAX_SIGNATURE) {
            return Err(Reason::Signature);
        }
        let mut room = [0; MAX_SIGNATURE + 8];
        b64u::decode_into(signature, &mut room).ok_or(Reason::JwsBase64)?;
        Ok(Self { signing_input, signature, header, payload })
    }

    /// The header.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Checks the signature with `key`, which must be one for the header's `alg`.
    ///
    /// # Errors
    /// [`Reason::KeyUnusable`], [`Reason::Signature`].
    pub fn verify(&self, key: &VerifyKey) -> Result<(), Reason> {
        let mut room = [0; MAX_SIGNATURE + 8];
        let signature = b64u::decode_into(self.signature, &mut room).ok_or(Reason::JwsBase64)?;
        key.verify(self.header.alg, self.signing_input.as_bytes(), signature)
    }

    /// The payload's bytes, believed or not.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    pub(crate) fn take_payload(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.payload)
    }
}

/// A header that passed its rules.
pub struct Header {
    json: Json,
    alg: Algorithm,
}

impl Header {
    fn read(encoded_header: &str, embedded: EmbeddedKey) -> Result<Self, Reason> {
        if encoded_header.len() > encoded(Limits::HEADER.bytes) {
            return Err(Reason::JwsSize);
        }
        let bytes = b64u::decode(encoded_header).ok_or(Reason::JwsBase64)?;
        let json = Json::parse(bytes, &Limits::HEADER).map_err(|_| Reason::Json)?;
        let alg = json.root().get("alg").and_then(Value::as_str).and_then(Algorithm::parse);
        let header = Self { alg: alg.ok_or(Reason::HeaderAlg)?, json };
        let root = header.json.root();
        if root.get("kid").is_some_and(|kid| kid.as_str().is_none_or(|kid| kid.len() > MAX_KID)) {
            return Err(Reason::HeaderKid);
        }
        let refused = ["crit", "b64", "zip", "enc", "jku", "x5u"];
        if refused.iter().any(|name| root.get(name).is_some()) {
            return Err(Reason::HeaderMember);
        }
        if root.get("typ").is_some_and(|typ| typ.as_str().is_none()) {
            return Err(Reason::HeaderMember);
        }
        if root.get("cty").is_some_and(|cty| cty.as_str().is_none_or(|cty| media(cty, "jwt"))) {
            return Err(Reason::HeaderMember);
        }
        match (embedded, root.get("jwk").map(Value::kind)) {
            (EmbeddedKey::Refused, None) | (EmbeddedKey::Required, Some(Kind::Object)) => Ok(header),
            (EmbeddedKey::Refused, Some(_)) => Err(Reason::HeaderMember),
            (EmbeddedKey::Required, _) => Err(Reason::DpopKey),
        }
    }

    /// `alg`
    pub const fn alg(&self) -> Algorithm {
        self.alg
    }

    /// `kid`: only ever a map key.
    pub fn kid(&self) -> Option<&str> {
        self.json.root().get("kid").and_then(Value::as_str)
    }

    /// `typ`, as written.
    pub fn typ(&self) -> Option<&str> {
        self.json.root().get("typ").and_then(Value::as_str)
    }

    /// `jwk`, which only a DPoP proof has.
    pub(crate) fn jwk(&self) -> Option<Value<'_>> {
        self.json.root().get("jwk")
    }

    /// Is `typ` this media type, without case and with or without `application/`?
    pub(crate) fn is_typ(&self, name: &str) -> bool {
        self.typ().is_some_and(|typ| media(typ, name))
    }
}

/// The `kid` of a token whose shape and header are right; believed by nobody.
///
/// # Errors
/// As [`Compact::open`].
pub fn kid_of(token: &str) -> Result<Option<String>, Reason> {
    let (_, header, ..) = split(token)?;
    Ok(Header::read(header, EmbeddedKey::Refused)?.kid().map(str::to_owned))
}

/// The bytes to sign for a compact JWS: `b64u(header).b64u(payload)`. Both are JSON texts.
pub fn signing_input(header: &str, payload: &[u8]) -> String {
    format!("{}.{}", b64u::encode(header), b64u::encode(payload))
}

/// The token, once the signature over [`signing_input`] is there.
pub fn compact(signing_input: &str, signature: &[u8]) -> String {
    format!("{signing_input}.{}", b64u::encode(signature))
}

fn split(token: &str) -> Result<(&str, &str, &str, &str), Reason> {
    if token.len() > MAX_TOKEN {
        return Err(Reason::JwsSize);
    }
    let (signing_input, signature) = token.rsplit_once('.').ok_or(Reason::JwsShape)?;
    let (header, payload) = signing_input.split_once('.').ok_or(Reason::JwsShape)?;
    if header.is_empty() || payload.is_empty() || signature.is_empty() || payload.contains('.') {
        return Err(Reason::JwsShape);
    }
    Ok((signing_input, header, payload, signature))
}

/// The base64url length of so many bytes.
const fn encoded(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

/// Media types are compared without case; `application/` may be left out (RFC 7515 § 4.1.9).
fn media(value: &str, name: &str) -> bool {
    let bare = match value.split_at_checked("application/".len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
        _ => value,
    };
    bare.eq_ignore_ascii_case(name)
}
