//! API keys that are sent themselves (callers.md § 8).

use super::{Failure, Proof, current, key, unpaid};
use crate::gates::route::Matched;
use crate::passage::Passage;
use crate::services::Services;
use portcullis_core::head::Head;
use portcullis_core::opaque::{ApiKey, Env};
use portcullis_core::problem::Code;
use portcullis_vault::api_keys::NotAccepted;

/// Verifies a presented key: form, row, secret, state, then where it comes from and what it is for. Scopes are judged by
/// `authorize`.
pub(super) async fn verify(
    text: &str,
    head: &Head,
    matched: &Matched<'_>,
    passage: &Passage,
    services: &Services,
) -> Result<Proof, Failure> {
    let api = matched.api();
    let Some(policy) = &api.authenticate.api_key else {
        return Err(Failure::refused(Code::CredentialUnsupported, "key-not-accepted"));
    };
    let env = if policy.live { Env::Live } else { Env::Test };
    if let Ok(key) = ApiKey::parse(text)
        && !services.shared.keys.remembers(&key.id(), passage.now)
    {
        // Nothing is looked up for an address that guesses.
        unpaid(head, passage, services)?;
    }
    let accepted = services.shared.keys.verify(text, env, passage.now).await;
    let (known, state) = accepted.map_err(|refused| match refused {
        NotAccepted::Invalid(reason) => Failure::refused(Code::KeyInvalid, reason),
        NotAccepted::Expired => Failure::refused(Code::KeyExpired, "key-expired"),
        NotAccepted::Unavailable(error) => key::unavailable(error, passage, services),
    })?;
    // A right secret is not enough while this node might not know that the key was revoked.
    current(passage, services)?;
    key::allowed(&known, head.client().address, matched)?;
    key::used(&known, state, head, passage, services);
    Ok(key::proof(&known, state, &api.principal, "api key", services))
}
