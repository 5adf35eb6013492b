//! Revocation of tokens.

use super::keys::moment;
use super::{Desk, answer, cannot, unavailable};
use portcullis_core::problem::Code;
use portcullis_core::verdict::{Answer, Refusal, Stop};
use portcullis_store::revocation::{Revocation, RevocationKind};
use portcullis_vault::notices;
use serde::Deserialize;
use serde_json::json;

/// `POST /revocations`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tokens {
    issuer: String,
    kind: Kind,
    id: String,
    before: Option<String>,
    reason: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Jti,
    Sid,
    Sub,
    Client,
    SigningKey,
}

impl Desk<'_> {
    pub(super) async fn revoke(&self, words: Tokens) -> Result<Answer, Stop> {
        if self.tenant.is_some() {
            // Tokens are their issuer's, and no tenant's.
            return Err(Refusal::new(Code::KeyNotAllowed, "administrator-of-one-tenant").into());
        }
        let plan = &self.passage.plan;
        let Some((index, issuer)) = plan.issuer_named(&words.issuer) else {
            return Err(cannot("there is no such issuer"));
        };
        let kind = match words.kind {
            Kind::Jti => RevocationKind::Jti,
            Kind::Sid => RevocationKind::Sid,
            Kind::Sub => RevocationKind::Subject,
            Kind::Client => RevocationKind::Client,
            Kind::SigningKey => RevocationKind::SigningKey,
        };
        let now = self.passage.now.secs();
        let of_many = !matches!(words.kind, Kind::Jti | Kind::Sid);
        let not_before = match (&words.before, of_many) {
            (Some(text), true) => Some(moment(text)?),
            (None, true) => Some(now),
            (None, false) => None,
            (Some(_), false) => return Err(cannot("`before` goes with sub, client and signing_key")),
        };
        let until = now.max(not_before.unwrap_or(now)).saturating_add(plan.token_life_s(index));
        let url = issuer.url.to_string();
        let entry = Revocation { kind, issuer: url.clone(), id: words.id, not_before, until };
        let revocations = self.services.shared.store.revocation();
        let appended = revocations.append(vec![entry], now, words.reason, self.by.clone()).await;
        let seq = appended.map_err(unavailable)?;
        let shown = json!({
            "seq": seq,
            "kind": kind.text(),
            "issuer": url,
            "issued_until": not_before.map(notices::rfc3339),
            "kept_until": notices::rfc3339(until),
        });
        answer(201, &shown)
    }
}
