//! Proofs of who calls: JWS, JWK, JWT, DPoP, HTTP message signatures, API keys. Pure.
//!
//! Every function takes `(now, policy, keys, bytes)` and returns a value or a reason; there is no
//! clock, no randomness and no I/O here. Signing needs randomness and lives elsewhere; this crate
//! builds the bytes to sign, and computes MACs.
//!
//! # How a gate uses it
//!
//! ```
//! use portcullis_jose::{jwk::{KeyPolicy, KeySet}, jwt};
//!
//! // When the issuer's key set has been fetched, once:
//! let (keys, refused) = KeySet::parse(
//!     br#"{"keys":[{"kty":"EC","crv":"P-256","kid":"1",
//!         "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
//!         "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#,
//!     &KeyPolicy::default(),
//! )?;
//! assert!(refused.is_empty());
//! // When the plan is compiled, once:
//! let policy = jwt::Policy::new("https://login.example.com/", ["shop".to_owned()]);
//! // For every request, with the one reading of the clock:
//! let refused = jwt::access_token(1_767_225_600, &policy, &keys, "not.a.token").err();
//! assert_eq!(refused.map(|reason| reason.text()), Some("jws-base64"));
//! # Ok::<(), portcullis_jose::jwk::KeySetError>(())
//! ```
//!
//! With several issuers on an API, read a token once with [`jwt::Unverified::read`], select the
//! policy by [`jwt::Unverified::issuer`], then judge it. [`reason::Reason::KeyUnknown`] is the one
//! reason that is worth a fetch of the key set; [`reason::Reason::Expired`] the one that is told.

pub mod alg;
pub mod api_key;
pub mod b64u;
pub mod digest;
pub mod dpop;
pub mod json;
pub mod jwk;
pub mod jws;
pub mod jwt;
pub mod mac;
pub mod message;
pub mod pc1;
pub mod reason;
