//! The algorithms, closed: what is not here cannot be represented, so `none` and HS* cannot be chosen.

use aws_lc_rs::signature as lc;

/// A signature algorithm of JOSE (RFC 7518 § 3.1, RFC 8037, RFC 9864).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5, SHA-256
    Rs256,
    /// RSASSA-PKCS1-v1_5, SHA-384
    Rs384,
    /// RSASSA-PKCS1-v1_5, SHA-512
    Rs512,
    /// RSASSA-PSS, SHA-256, salt of 32 bytes
    Ps256,
    /// RSASSA-PSS, SHA-384, salt of 48 bytes
    Ps384,
    /// RSASSA-PSS, SHA-512, salt of 64 bytes
    Ps512,
    /// ECDSA on P-256, SHA-256
    Es256,
    /// ECDSA on P-384, SHA-384
    Es384,
    /// Ed25519, by its old name `EdDSA` or its new one `Ed25519`
    EdDsa,
}

impl Algorithm {
    /// All of them, in the order of a fixed table.
    pub const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// By its registered name, case-sensitive. `None` for everything that is not in the table.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "EdDSA" | "Ed25519" => Self::EdDsa,
            _ => return None,
        })
    }

    /// The registered name (`EdDSA` for Ed25519, which every library knows).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The RSA parameters, for the six that have some.
    pub(crate) const fn rsa(self) -> Option<&'static lc::RsaParameters> {
        Some(match self {
            Self::Rs256 => &lc::RSA_PKCS1_2048_8192_SHA256,
            Self::Rs384 => &lc::RSA_PKCS1_2048_8192_SHA384,
            Self::Rs512 => &lc::RSA_PKCS1_2048_8192_SHA512,
            Self::Ps256 => &lc::RSA_PSS_2048_8192_SHA256,
            Self::Ps384 => &lc::RSA_PSS_2048_8192_SHA384,
            Self::Ps512 => &lc::RSA_PSS_2048_8192_SHA512,
            Self::Es256 | Self::Es384 | Self::EdDsa => return None,
        })
    }
}

/// A set of algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Algorithms(u16);

impl Algorithms {
    /// None.
    pub const EMPTY: Self = Self(0);
    /// What an issuer may use unless `algorithms` names more, and all that own tokens use.
    pub const DEFAULT: Self = Self::EMPTY.with(Algorithm::Rs256).with(Algorithm::Es256);
    /// DPoP proofs (callers.md § 12) and client assertions (identity.md § 7).
    pub const PROOF: Self = Self::DEFAULT.with(Algorithm::EdDsa).with(Algorithm::Ps256);
    /// All that exist.
    pub const ALL: Self = Self::PROOF
        .with(Algorithm::Rs384)
        .with(Algorithm::Rs512)
        .with(Algorithm::Ps384)
        .with(Algorithm::Ps512)
        .with(Algorithm::Es384);

    /// This set and `algorithm`.
    #[must_use]
    pub const fn with(self, algorithm: Algorithm) -> Self {
        Self(self.0 | 1 << algorithm as u16)
    }

    /// Is `algorithm` in it?
    pub const fn contains(self, algorithm: Algorithm) -> bool {
        self.0 & (1 << algorithm as u16) != 0
    }

    /// What both have.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Is nothing in it?
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its members in the order of [`Algorithm::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Algorithm> {
        Algorithm::ALL.into_iter().filter(move |a| self.contains(*a))
    }
}

impl FromIterator<Algorithm> for Algorithms {
    fn from_iter<I: IntoIterator<Item = Algorithm>>(iter: I) -> Self {
        iter.into_iter().fold(Self::EMPTY, Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::parse(algorithm.name()), Some(algorithm));
            assert_eq!(Algorithm::parse(&algorithm.name().to_lowercase()), None);
        }
        assert_eq!(Algorithm::parse("Ed25519"), Some(Algorithm::EdDsa));
        for name in
            ["none", "None", "nOnE", "NONE", "", "HS256", "HS384", "HS512", "ES512", "ES256K", "Ed448"]
        {
            assert_eq!(Algorithm::parse(name), None, "{name}");
        }
    }

    #[test]
    fn sets() {
        assert_eq!(Algorithms::ALL, Algorithm::ALL.into_iter().collect());
        assert_eq!(Algorithms::DEFAULT.iter().collect::<Vec<_>>(), [Algorithm::Rs256, Algorithm::Es256]);
        assert!(!Algorithms::DEFAULT.contains(Algorithm::EdDsa));
        assert!(Algorithms::DEFAULT.and(Algorithms::EMPTY.with(Algorithm::EdDsa)).is_empty());
    }
}
