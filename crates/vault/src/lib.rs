//! Key material: issuers' key sets, API keys, signing keys.

pub mod jwks;
pub mod signing;
