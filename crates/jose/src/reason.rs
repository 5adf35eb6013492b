//! Why a proof was refused: for the trail, never for the client.

use std::fmt;

/// The private reason of a refused token or DPoP proof. The client learns `token-invalid`,
/// `token-expired`, `dpop-proof-invalid` or `dpop-nonce-required` and no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The token, its header or its payload is larger than allowed.
    JwsSize,
    /// Not three non-empty parts.
    JwsShape,
    /// A part is not base64url without padding, or has unused bits that are not zero.
    JwsBase64,
    /// Header or payload is not JSON as the strict reader takes it.
    Json,
    /// `alg` is missing, of the wrong type, unknown, or not one of the issuer's.
    HeaderAlg,
    /// `kid` is not a string of at most 256 bytes.
    HeaderKid,
    /// A header member that must not be there (`crit`, `b64`, `jku`, …), or of the wrong type.
    HeaderMember,
    /// All is well but the `typ`, or a member that gives another kind of token away.
    TypNotAccepted(Giveaway),
    /// Another kind of token, and its claims would not do either.
    NotAccessToken,
    /// `iss` is missing, not a string, or not the configured issuer byte for byte.
    Issuer,
    /// Without a `kid`, no key of the issuer fits the algorithm.
    KeyNone,
    /// The issuer has no key of that `kid`: worth a fetch.
    KeyUnknown,
    /// Without a `kid`, several keys fit the algorithm.
    KeyAmbiguous,
    /// The `kid` names a key that was refused at import or is for another algorithm.
    KeyUnusable,
    /// The signature is not by that key over these bytes.
    Signature,
    /// `aud` is missing, of the wrong type or size, or does not name us.
    ClaimAud,
    /// `exp` is missing or not a non-negative whole number.
    ClaimExp,
    /// `nbf` is of the wrong type or in the future.
    ClaimNbf,
    /// `iat` is missing where demanded, of the wrong type, in the future or too old.
    ClaimIat,
    /// `sub` is missing where demanded, or not a string of 1–255 characters.
    ClaimSub,
    /// `jti` is missing where demanded, or not a string of at most 255 characters.
    ClaimJti,
    /// `sid` is not a string of 1–255 characters, or neither `sid` nor `sub` is there.
    ClaimSid,
    /// The scope member is of another type or cannot be read.
    ClaimScope,
    /// The client's member is missing where demanded, or not a string.
    ClaimClientId,
    /// `nonce` is missing, another one, or present where it must not be.
    ClaimNonce,
    /// `azp` is another client, or missing beside several audiences.
    ClaimAzp,
    /// `at_hash` is not the hash of the access token.
    ClaimAtHash,
    /// `auth_time` is missing, of the wrong type, or older than `max_age`.
    ClaimAuthTime,
    /// `events` does not hold the logout event.
    ClaimEvents,
    /// `exp − iat` is longer than the issuer's `max_lifetime`.
    Lifetime,
    /// Everything is right but `exp`.
    Expired,
    /// Named by the revocation set.
    Revoked,
    /// `cnf` cannot be read, or the token did not come with the proof or certificate it is bound to.
    Binding,
    /// DPoP: `jwk` is missing, private, or a kind of key that proofs may not use.
    DpopKey,
    /// DPoP: `htm` is not the method.
    DpopMethod,
    /// DPoP: `htu` is not the URL.
    DpopUrl,
    /// DPoP: `ath` is missing or the hash of another token.
    DpopAth,
    /// DPoP: no nonce of ours, or an old one. The answer is `use_dpop_nonce`.
    DpopNonce,
}

/// What gave a token of another kind away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Giveaway {
    /// The header's `typ`.
    Typ,
    /// A claim that access tokens do not have, or that names another kind.
    Claim(&'static str),
}

impl Reason {
    /// Stable kebab text for the trail.
    pub const fn text(self) -> &'static str {
        match self {
            Self::JwsSize => "jws-size",
            Self::JwsShape => "jws-shape",
            Self::JwsBase64 => "jws-base64",
            Self::Json => "json",
            Self::HeaderAlg => "header-alg",
            Self::HeaderKid => "header-kid",
            Self::HeaderMember => "header-member",
            Self::TypNotAccepted(_) => "typ-not-accepted",
            Self::NotAccessToken => "not-access-token",
            Self::Issuer => "issuer",
            Self::KeyNone => "key-none",
            Self::KeyUnknown => "key-unknown",
            Self::KeyAmbiguous => "key-ambiguous",
            Self::KeyUnusable => "key-unusable",
            Self::Signature => "signature",
            Self::ClaimAud => "claim-aud",
            Self::ClaimExp => "claim-exp",
            Self::ClaimNbf => "claim-nbf",
            Self::ClaimIat => "claim-iat",
            Self::ClaimSub => "claim-sub",
            Self::ClaimJti => "claim-jti",
            Self::ClaimSid => "claim-sid",
            Self::ClaimScope => "claim-scope",
            Self::ClaimClientId => "claim-client-id",
            Self::ClaimNonce => "claim-nonce",
            Self::ClaimAzp => "claim-azp",
            Self::ClaimAtHash => "claim-at-hash",
            Self::ClaimAuthTime => "claim-auth-time",
            Self::ClaimEvents => "claim-events",
            Self::Lifetime => "lifetime",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Binding => "binding",
            Self::DpopKey => "dpop-key",
            Self::DpopMethod => "dpop-method",
            Self::DpopUrl => "dpop-url",
            Self::DpopAth => "dpop-ath",
            Self::DpopNonce => "dpop-nonce",
        }
    }

    /// The header member or claim that gave a token of another kind away, for `explain`.
    pub const fn giveaway(self) -> Option<&'static str> {
        match self {
            Self::TypNotAccepted(Giveaway::Typ) => Some("typ"),
            Self::TypNotAccepted(Giveaway::Claim(name)) => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Reason {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which test provokes each value stands in `tests/`; here its text is kept from drifting.
    #[test]
    fn texts_are_stable() {
        let all = [
            (Reason::JwsSize, "jws-size"),
            (Reason::JwsShape, "jws-shape"),
            (Reason::JwsBase64, "jws-base64"),
            (Reason::Json, "json"),
            (Reason::HeaderAlg, "header-alg"),
            (Reason::HeaderKid, "header-kid"),
            (Reason::HeaderMember, "header-member"),
            (Reason::TypNotAccepted(Giveaway::Typ), "typ-not-accepted"),
            (Reason::TypNotAccepted(Giveaway::Claim("nonce")), "typ-not-accepted"),
            (Reason::NotAccessToken, "not-access-token"),
            (Reason::Issuer, "issuer"),
            (Reason::KeyNone, "key-none"),
            (Reason::KeyUnknown, "key-unknown"),
            (Reason::KeyAmbiguous, "key-ambiguous"),
            (Reason::KeyUnusable, "key-unusable"),
            (Reason::Signature, "signature"),
            (Reason::ClaimAud, "claim-aud"),
            (Reason::ClaimExp, "claim-exp"),
            (Reason::ClaimNbf, "claim-nbf"),
            (Reason::ClaimIat, "claim-iat"),
            (Reason::ClaimSub, "claim-sub"),
            (Reason::ClaimJti, "claim-jti"),
            (Reason::ClaimSid, "claim-sid"),
            (Reason::ClaimScope, "claim-scope"),
            (Reason::ClaimClientId, "claim-client-id"),
            (Reason::ClaimNonce, "claim-nonce"),
            (Reason::ClaimAzp, "claim-azp"),
            (Reason::ClaimAtHash, "claim-at-hash"),
            (Reason::ClaimAuthTime, "claim-auth-time"),
            (Reason::ClaimEvents, "claim-events"),
            (Reason::Lifetime, "lifetime"),
            (Reason::Expired, "expired"),
            (Reason::Revoked, "revoked"),
            (Reason::Binding, "binding"),
            (Reason::DpopKey, "dpop-key"),
            (Reason::DpopMethod, "dpop-method"),
            (Reason::DpopUrl, "dpop-url"),
            (Reason::DpopAth, "dpop-ath"),
            (Reason::DpopNonce, "dpop-nonce"),
        ];
        assert!(all.iter().all(|(reason, text)| reason.text() == *text && reason.to_string() == *text));
        assert_eq!(Reason::TypNotAccepted(Giveaway::Claim("nonce")).giveaway(), Some("nonce"));
        assert_eq!(Reason::Signature.giveaway(), None);
    }
}
