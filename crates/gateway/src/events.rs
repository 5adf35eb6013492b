//! Happenings that somebody should look into, as notes in the program's own log (callers.md § 20).
//!
//! What strangers can cause is said once a second at most; how often it happened is in the metrics, and every single case
//! in the request log under its correlation id. No value of a request is ever in a note.

use crate::passage::Passage;
use crate::services::Services;
use portcullis_telemetry::note::{self, Value};
use std::sync::atomic::{AtomicI64, Ordering};

/// Something that a request can cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A signed request was sent again.
    SignatureReplay,
    /// A DPoP proof was sent again.
    DpopReplay,
    /// A revoked token was presented.
    RevokedToken,
    /// A secret stood in a path or query.
    SecretInUrl,
    /// A secret of ours stood in a cookie.
    SecretInCookie,
    /// A deprecated key was used.
    DeprecatedKey,
    /// An answer held what its document does not declare.
    ResponseDropped,
}

impl Event {
    const ALL: [Self; 7] = [
        Self::SignatureReplay,
        Self::DpopReplay,
        Self::RevokedToken,
        Self::SecretInUrl,
        Self::SecretInCookie,
        Self::DeprecatedKey,
        Self::ResponseDropped,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::SignatureReplay => "signature.replay",
            Self::DpopReplay => "dpop.replay",
            Self::RevokedToken => "token.revoked_presented",
            Self::SecretInUrl => "credential.in_url",
            Self::SecretInCookie => "credential.in_cookie",
            Self::DeprecatedKey => "key.deprecated_use",
            Self::ResponseDropped => "response.dropped",
        }
    }

    const fn message(self) -> &'static str {
        match self {
            Self::SignatureReplay => {
                "a signed request was sent a second time; the request's line in the log says by whom"
            }
            Self::DpopReplay => {
                "a DPoP proof was sent a second time; the request's line in the log says from where"
            }
            Self::RevokedToken => "a revoked token was presented; the request's line in the log says by whom",
            Self::SecretInUrl => {
                "a secret stood in a URL, where logs and other sites see it; the request was refused"
            }
            Self::SecretInCookie => "a secret of ours stood in a cookie; the request was refused",
            Self::DeprecatedKey => "a deprecated API key is in use",
            Self::ResponseDropped => {
                "an answer held fields that its document does not declare; the request's line in the log names them"
            }
        }
    }
}

static TOLD: [AtomicI64; Event::ALL.len()] = [const { AtomicI64::new(i64::MIN) }; Event::ALL.len()];

/// Notes it, with the id of the request and, if there is one, the public id of the key.
pub(crate) fn tell(event: Event, key: Option<&str>, passage: &Passage, services: &Services) {
    let now = passage.now.secs();
    let told = TOLD.get(event as usize);
    if services.dry || told.is_none_or(|told| told.swap(now, Ordering::Relaxed) == now) {
        return;
    }
    let id = passage.id.to_string();
    let request = ("request", Value::from(id.as_str()));
    match key {
        Some(key) => note::warn(event.name(), event.message(), &[request, ("key", key.into())]),
        None => note::warn(event.name(), event.message(), &[request]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_a_place_and_a_name_of_its_own() {
        for (at, event) in Event::ALL.into_iter().enumerate() {
            assert_eq!(event as usize, at, "{event:?}");
            assert!(event.name().contains('.'));
            assert!(Event::ALL.iter().skip(at + 1).all(|other| other.name() != event.name()));
        }
    }
}
