//! A bound token is worth nothing without what it is bound to (RFC 9449, RFC 8705), and nothing else is bound.

use super::extract::{Scheme, Token};
use super::{Failure, dpop, mtls};
use crate::passage::Passage;
use crate::services::Services;
use portcullis_core::caller::Binding;
use portcullis_jose::reason::Reason;

/// Looked at on every use of a token, also of one that was verified a moment ago.
pub(super) async fn check(
    binding: &Binding,
    token: Token<'_>,
    passage: &Passage,
    services: &Services,
) -> Result<(), Failure> {
    match (binding, token.scheme) {
        (Binding::None, Scheme::Bearer) => Ok(()),
        (Binding::Certificate(x5t), Scheme::Bearer) => mtls::bound(x5t, passage),
        (Binding::Dpop(jkt), Scheme::Dpop) => dpop::check(jkt, token, passage, services).await,
        // A bound token is no bearer, and a bearer proves nothing by a proof.
        _ => Err(Failure::token(Reason::Binding.text())),
    }
}
