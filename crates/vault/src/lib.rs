//! Key material: issuers' key sets, API keys and their notices, what was revoked, signing keys; and the question about
//! tokens that only their issuer understands.

pub mod api_keys;
pub mod introspection;
pub mod issue;
pub mod jwks;
pub mod ledger;
pub mod notices;
pub mod revocation;
pub mod signing;
