//! Signed requests: the profile `portcullis-v1` of HTTP Message Signatures (RFC 9421).
//!
//! The steps are separate, because between them the gate looks up a key: [`Signed::read`] (steps
//! 1–3), [`Signed::fresh`] (4), [`Signed::covers`] (5), then the key row, [`Signed::base`] and
//! [`Signed::verify`] (7–8); nonce, state of the key and digest come after.

mod fields;
mod received;

pub use fields::Label;
pub use received::Received;

use crate::alg::Algorithm;
use crate::jwk::{KeyPolicy, VerifyKey};
use crate::mac::MacKey;
use fields::Component;
use sfv::{BareItem, Integer, Key as Name, StringRef};
use std::sync::LazyLock;

/// The tag of the profile.
pub const TAG: &str = "portcullis-v1";
/// Seconds that `created` may lie in the past.
pub const MAX_AGE: i64 = 300;
/// Seconds that `created` may lie in the future.
pub const MAX_AHEAD: i64 = 30;
/// Components that may be covered.
const MAX_COMPONENTS: usize = 32;

/// Why a signature was refused. The text beside some is for the trail and never for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No signature of this scheme.
    Missing,
    /// Cannot be read, or a parameter is missing, of the wrong type or out of its form.
    Malformed(&'static str),
    /// Something that must be covered is not, or something covered is absent or cannot be computed.
    Coverage(&'static str),
    /// Outside the window of time.
    Stale,
    /// Not by that key over this request; also for keys that do not exist.
    Invalid,
    /// The nonce was seen: found by the gate, named here for the trail.
    Replay,
    /// The body is not the signed one: found by intake, named here for the trail.
    Digest,
}

impl Refusal {
    /// The stable code, which is also the public one.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Missing => "signature-missing",
            Self::Malformed(_) => "signature-malformed",
            Self::Coverage(_) => "signature-coverage",
            Self::Stale => "signature-stale",
            Self::Invalid => "signature-invalid",
            Self::Replay => "signature-replay",
            Self::Digest => "signature-digest",
        }
    }

    /// What exactly, for the trail.
    pub const fn detail(self) -> Option<&'static str> {
        match self {
            Self::Malformed(what) | Self::Coverage(what) => Some(what),
            _ => None,
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Refusal {}

/// The algorithms of the profile, by the names of RFC 9421 § 6.2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// `hmac-sha256`
    HmacSha256,
    /// `ed25519`
    Ed25519,
    /// `ecdsa-p256-sha256`
    EcdsaP256Sha256,
}

impl SignatureAlgorithm {
    /// By its registered name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "hmac-sha256" => Self::HmacSha256,
            "ed25519" => Self::Ed25519,
            "ecdsa-p256-sha256" => Self::EcdsaP256Sha256,
            _ => return None,
        })
    }

    /// Its registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
        }
    }

    const fn public(self) -> Option<Algorithm> {
        match self {
            Self::HmacSha256 => None,
            Self::Ed25519 => Some(Algorithm::EdDsa),
            Self::EcdsaP256Sha256 => Some(Algorithm::Es256),
        }
    }
}

/// The key that a request claims to be signed with.
#[derive(Clone, Copy)]
pub enum Key<'k> {
    /// A key of kind `hmac`.
    Mac(&'k MacKey),
    /// A key of kind `jwk`.
    Public(&'k VerifyKey),
    /// None that could be used: as much work is done, and it is never right.
    Dummy,
}

/// What the operation demands to be covered beyond what always must be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Demands<'d> {
    /// The request has a body.
    pub body: bool,
    /// The API's `cover`, in lower case.
    pub fields: &'d [&'d str],
}

/// A signature of the profile, read and not yet believed.
pub struct Signed {
    label: Label,
    signature: Vec<u8>,
    created: i64,
    expires: Option<i64>,
    key_id: String,
    nonce: String,
    algorithm: SignatureAlgorithm,
}

impl Signed {
    /// Finds the one label with our tag in the lines of `Signature-Input` and `Signature`.
    ///
    /// # Errors
    /// [`Refusal::Missing`], [`Refusal::Malformed`].
    pub fn read(input: &[&[u8]], signature: &[&[u8]]) -> Result<Self, Refusal> {
        let mut ours = fields::inputs(input)?.into_iter().filter(|label| text(label, "tag") == Some(TAG));
        let label = match (ours.next(), ours.next()) {
            (None, _) => return Err(Refusal::Missing),
            (Some(label), None) => label,
            (Some(_), Some(_)) => return Err(Refusal::Malformed("tag-twice")),
        };
        let found = fields::signature(signature, label.name())?;
        let signature = found.ok_or(Refusal::Malformed("label-without-signature"))?;
        let created = integer(&label, "created")?.ok_or(Refusal::Malformed("created"))?;
        let expires = integer(&label, "expires")?;
        if expires.is_some_and(|expires| expires > created.saturating_add(MAX_AGE)) {
            return Err(Refusal::Malformed("expires"));
        }
        let key_id = text(&label, "keyid").ok_or(Refusal::Malformed("keyid"))?.to_owned();
        let nonce =
            text(&label, "nonce").filter(|nonce| is_nonce(nonce)).ok_or(Refusal::Malformed("nonce"))?;
        let nonce = nonce.to_owned();
        let algorithm = text(&label, "alg").and_then(SignatureAlgorithm::parse);
        let algorithm = algorithm.ok_or(Refusal::Malformed("alg"))?;
        Ok(Self { label, signature, created, expires, key_id, nonce, algorithm })
    }

    /// `keyid`: the id of the key, or any text a stranger wrote.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// `nonce`: single use per key for 630 s, put after the MAC was right.
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// `created`, unix seconds.
    pub const fn created(&self) -> i64 {
        self.created
    }

    /// `alg`, which must equal the key's and never selects one.
    pub const fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// Is `content-digest` covered, so that the body is bound too?
    pub fn covers_digest(&self) -> bool {
        self.label.covers("content-digest")
    }

    /// Inside the window? `remembered_since` is the moment since which nonces are remembered, if that
    /// memory was lost: what is older may have been seen.
    ///
    /// # Errors
    /// [`Refusal::Stale`].
    pub fn fresh(&self, now: i64, remembered_since: Option<i64>) -> Result<(), Refusal> {
        if self.expires.is_some_and(|expires| expires < now) {
            return Err(Refusal::Stale);
        }
        window(now, self.created, remembered_since)
    }

    /// Is everything covered that must be?
    ///
    /// # Errors
    /// [`Refusal::Coverage`].
    pub fn covers(&self, received: &Received, demands: &Demands<'_>) -> Result<(), Refusal> {
        if self.label.components.len() > MAX_COMPONENTS {
            return Err(Refusal::Coverage("too-many"));
        }
        let covered = |names: &[&str]| names.iter().all(|name| self.label.covers(name));
        if !covered(&["@method"]) {
            return Err(Refusal::Coverage("@method"));
        }
        if !covered(&["@authority", "@path", "@query"]) && !covered(&["@target-uri"]) {
            return Err(Refusal::Coverage("target"));
        }
        if demands.body && !covered(&["content-digest", "content-type"]) {
            return Err(Refusal::Coverage("body"));
        }
        if received.has("authorization") && !covered(&["authorization"]) {
            return Err(Refusal::Coverage("authorization"));
        }
        if !covered(demands.fields) {
            return Err(Refusal::Coverage("cover"));
        }
        Ok(())
    }

    /// The bytes that were signed, if this is the request.
    ///
    /// # Errors
    /// [`Refusal::Coverage`] for a component that is absent or cannot be computed.
    pub fn base(&self, received: &Received) -> Result<Vec<u8>, Refusal> {
        self.label.base(received)
    }

    /// Is the signature by that key over that base?
    ///
    /// # Errors
    /// [`Refusal::Invalid`], always for a key of another algorithm or a dummy.
    pub fn verify(&self, key: Key<'_>, base: &[u8]) -> Result<(), Refusal> {
        let right = match (self.algorithm, key) {
            (SignatureAlgorithm::HmacSha256, Key::Mac(key)) => key.verify(base, &self.signature),
            (algorithm, Key::Public(key))
                if algorithm.public().is_some_and(|a| key.algorithms().contains(a)) =>
            {
                self.public(key, base)
            }
            (SignatureAlgorithm::HmacSha256, _) => {
                std::hint::black_box(DUMMIES.0.verify(base, &self.signature));
                false
            }
            (algorithm, _) => {
                let dummy = if algorithm == SignatureAlgorithm::Ed25519 { &DUMMIES.1 } else { &DUMMIES.2 };
                std::hint::black_box(dummy.as_ref().map(|key| self.public(key, base)));
                false
            }
        };
        if right { Ok(()) } else { Err(Refusal::Invalid) }
    }

    fn public(&self, key: &VerifyKey, base: &[u8]) -> bool {
        self.algorithm.public().is_some_and(|algorithm| key.verify(algorithm, base, &self.signature).is_ok())
    }
}

/// A signature to be made: for clients, tests and `portcullis sign`.
#[derive(Clone, Debug)]
pub struct Draft<'d> {
    /// Covered components in order, without parameters.
    pub cover: &'d [&'d str],
    /// Unix seconds.
    pub created: i64,
    /// The key's id.
    pub key_id: &'d str,
    /// 16–64 of `[A-Za-z0-9_-]`, random.
    pub nonce: &'d str,
    /// The key's algorithm.
    pub algorithm: SignatureAlgorithm,
}

impl Draft<'_> {
    /// What a request without a body covers.
    pub const BARE: &'static [&'static str] = &["@method", "@authority", "@path", "@query"];
    /// What a request with a body covers.
    pub const BODY: &'static [&'static str] =
        &["@method", "@authority", "@path", "@query", "content-digest", "content-type"];

    /// The label `sig1`, whose [`Label::base`] is to be signed.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] for a text or number that structured fields cannot carry.
    pub fn label(&self) -> Result<Label, Refusal> {
        let malformed = Refusal::Malformed("draft");
        let string = |text: &str| {
            StringRef::from_str(text).map(|text| BareItem::String(text.to_owned())).map_err(|_| malformed)
        };
        let created = Integer::try_from(self.created).map_err(|_| malformed)?;
        let parameters = [
            ("created", BareItem::Integer(created)),
            ("keyid", string(self.key_id)?),
            ("nonce", string(self.nonce)?),
            ("alg", string(self.algorithm.name())?),
            ("tag", string(TAG)?),
        ];
        let named = |(name, value): (&str, BareItem)| {
            Name::from_string(name.to_owned()).map(|name| (name, value)).map_err(|_| malformed)
        };
        Ok(Label {
            name: "sig1".to_owned(),
            components: self.cover.iter().map(|name| Component::plain(name)).collect(),
            parameters: parameters.into_iter().map(named).collect::<Result<_, _>>()?,
        })
    }
}

/// The values of `Signature-Input` and `Signature` for a label and its signature.
pub fn headers(label: &Label, signature: &[u8]) -> (String, String) {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.encode(signature);
    (format!("{}={}", label.name(), label.text()), format!("{}=:{bytes}:", label.name()))
}

/// `now − 300 ≤ created ≤ now + 30`, and not before what is remembered (plus what may be ahead).
pub(crate) fn window(now: i64, created: i64, remembered_since: Option<i64>) -> Result<(), Refusal> {
    let forgotten = remembered_since.is_some_and(|moment| created <= moment.saturating_add(MAX_AHEAD));
    if created < now.saturating_sub(MAX_AGE) || created > now.saturating_add(MAX_AHEAD) || forgotten {
        return Err(Refusal::Stale);
    }
    Ok(())
}

pub(crate) fn is_nonce(nonce: &str) -> bool {
    (16..=64).contains(&nonce.len())
        && nonce.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn text<'l>(label: &'l Label, name: &str) -> Option<&'l str> {
    match label.parameter(name)? {
        BareItem::String(text) => Some(text.as_str()),
        _ => None,
    }
}

fn integer(label: &Label, name: &'static str) -> Result<Option<i64>, Refusal> {
    match label.parameter(name) {
        None => Ok(None),
        Some(BareItem::Integer(number)) => Ok(Some((*number).into())),
        Some(_) => Err(Refusal::Malformed(name)),
    }
}

/// Keys that nobody has, so that a request for a key that does not exist costs as much as another:
/// zero bytes, and the public keys of RFC 8037 A.2 and RFC 7515 A.3.
static DUMMIES: LazyLock<(MacKey, Option<VerifyKey>, Option<VerifyKey>)> = LazyLock::new(|| {
    let policy = KeyPolicy { algorithms: crate::alg::Algorithms::ALL, ..KeyPolicy::default() };
    let key = |jwk: &str| VerifyKey::parse(jwk.as_bytes(), &policy).ok();
    (
        MacKey::new(&[0; 32]),
        key(r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#),
        key(
            r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
        ),
    )
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dummies_are_there() {
        assert!(DUMMIES.1.is_some() && DUMMIES.2.is_some());
    }

    #[test]
    fn texts_are_stable() {
        let all = [
            Refusal::Missing,
            Refusal::Malformed("x"),
            Refusal::Coverage("x"),
            Refusal::Stale,
            Refusal::Invalid,
            Refusal::Replay,
            Refusal::Digest,
        ];
        let texts = ["missing", "malformed", "coverage", "stale", "invalid", "replay", "digest"];
        assert!(all.iter().zip(texts).all(|(r, text)| r.text() == format!("signature-{text}")));
        assert_eq!((all[1].detail(), all[3].detail()), (Some("x"), None));
    }

    #[test]
    fn algorithms_by_their_registered_names() {
        for name in ["hmac-sha256", "ed25519", "ecdsa-p256-sha256"] {
            assert_eq!(SignatureAlgorithm::parse(name).map(SignatureAlgorithm::name), Some(name));
        }
        for name in ["", "HMAC-SHA256", "rsa-pss-sha512", "rsa-v1_5-sha256", "ecdsa-p384-sha384", "none"] {
            assert_eq!(SignatureAlgorithm::parse(name), None, "{name}");
        }
    }
}
