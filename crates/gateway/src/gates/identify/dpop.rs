//! DPoP proofs (RFC 9449): the key that the token is bound to signs method, URL and token of this one request.

use super::Failure;
use super::extract::Token;
use crate::events::{self, Event};
use crate::passage::Passage;
use crate::services::Services;
use http::HeaderValue;
use portcullis_core::problem::Code;
use portcullis_core::verdict::Fault;
use portcullis_jose::dpop::{self, Place};
use portcullis_jose::reason::Reason;
use portcullis_store::replay::{Presented, ReplayKey, ReplayKind};

/// Seconds for which a `jti` is remembered: the window on both sides, and the turn of a second.
const REMEMBERED: i64 = 130;

/// Judges the proof beside a token whose `cnf.jkt` is `jkt`.
pub(super) async fn check(
    jkt: &str,
    token: Token<'_>,
    passage: &Passage,
    services: &Services,
) -> Result<(), Failure> {
    let (Some(text), Some(sealed)) = (token.proof, passage.sealed()) else {
        return Err(Failure::refused(Code::DpopProofInvalid, "dpop-proof-missing"));
    };
    let now = passage.now.secs();
    let demanded = passage.matched().is_some_and(|(api, _)| api.authenticate.dpop_nonce);
    let secret = demanded.then_some(&services.shared.dpop_nonce);
    let replay = services.shared.store.replay();
    let place = Place::Resource { token: token.text, jkt };
    let proof =
        dpop::proof_for(now, &sealed.received, place, secret, replay.lost_at(), text).map_err(refused)?;
    if services.dry {
        // Explained, not used: the same proof must still work afterwards.
        return Ok(());
    }
    let key = ReplayKey::new(ReplayKind::Dpop, &[&proof.jkt, &proof.jti]);
    let seen = replay.put_if_absent(ReplayKind::Dpop, key, now.saturating_add(REMEMBERED), now).await;
    services.shared.metrics.replay(ReplayKind::Dpop.text(), seen.text());
    match seen {
        Presented::Fresh => Ok(()),
        Presented::Seen => {
            events::tell(Event::DpopReplay, None, passage, services);
            Err(Failure::refused(Code::DpopProofInvalid, "dpop-replay"))
        }
        Presented::Unavailable => Err(unavailable()),
    }
}

/// The nonce for the answer, where the API demands one.
pub(super) fn offer_nonce(passage: &Passage, services: &Services) {
    let nonce = dpop::nonce(&services.shared.dpop_nonce, passage.now.secs());
    passage.seen().dpop_nonce = HeaderValue::try_from(nonce).ok();
}

/// Whether something was seen before cannot be told at the moment: never accepted.
pub(super) fn unavailable() -> Failure {
    Failure::Stop(Fault::new(Code::ReplayStoreUnavailable, "replay-store-unavailable").retry_after(1).into())
}

fn refused(reason: Reason) -> Failure {
    let code = if reason == Reason::DpopNonce { Code::DpopNonceRequired } else { Code::DpopProofInvalid };
    Failure::refused(code, reason.text())
}
