//! `portcullis revoke`: tokens by their id, login, subject, client or signing key (callers.md § 7).

use super::remembered::{Wrong, by, change, moment, now, open};
use super::{say, tell};
use crate::cli::{Format, Revoke};
use portcullis_core::finding::did_you_mean;
use portcullis_plan::Plan;
use portcullis_store::revocation::{Revocation, RevocationKind};
use portcullis_vault::notices::rfc3339;
use serde_json::json;
use std::process::ExitCode;

/// Exit codes as of `portcullis keys`.
pub(crate) fn run(revoke: &Revoke) -> ExitCode {
    match done(revoke) {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrong) => wrong.end(),
    }
}

fn done(revoke: &Revoke) -> Result<(), Wrong> {
    let (plan, store) = open(&revoke.config)?;
    let (index, url) = issuer(&plan, &revoke.issuer)?;
    let named = [
        (RevocationKind::Jti, &revoke.jti),
        (RevocationKind::Sid, &revoke.sid),
        (RevocationKind::Subject, &revoke.sub),
        (RevocationKind::Client, &revoke.client),
        (RevocationKind::SigningKey, &revoke.signing_key),
    ];
    let (kind, id) = named
        .into_iter()
        .find_map(|(kind, id)| Some((kind, id.clone()?)))
        .ok_or_else(|| Wrong::usage("say which tokens: --jti, --sid, --sub, --client or --signing-key"))?;
    if id.is_empty() {
        return Err(Wrong::usage("an empty name covers nothing"));
    }
    let now = now();
    let of_many =
        matches!(kind, RevocationKind::Subject | RevocationKind::Client | RevocationKind::SigningKey);
    let not_before = match (&revoke.before, of_many) {
        (Some(text), true) => Some(moment(text)?),
        (None, true) => Some(now),
        (None, false) => None,
        (Some(_), false) => return Err(Wrong::usage("--before goes with --sub, --client and --signing-key")),
    };
    let until = now.max(not_before.unwrap_or(now)).saturating_add(plan.token_life_s(index));
    let entry = Revocation { kind, issuer: url.clone(), id, not_before, until };
    let reason = revoke.reason.clone();
    let seq = change(&store, async { Ok(store.revocation().append(vec![entry], now, reason, by()).await?) })?;
    if revoke.format == Format::Json {
        let value = json!({
            "seq": seq,
            "kind": kind.text(),
            "issuer": url,
            "issued_until": not_before.map(rfc3339),
            "kept_until": rfc3339(until),
        });
        say(&format!("{value:#}\n"));
    } else {
        tell("revoked; running nodes follow within 2 seconds\n");
    }
    if plan.issuers.get(index).is_some_and(|issuer| !issuer.revocable) {
        tell(
            "note: this issuer is not `revocable`: a node that cannot read the store goes on serving its tokens\n",
        );
    }
    Ok(())
}

/// By its name under `issuers`, or by its URL.
fn issuer(plan: &Plan, named: &str) -> Result<(usize, String), Wrong> {
    match plan.issuer_named(named) {
        Some((index, issuer)) => Ok((index, issuer.url.to_string())),
        None => {
            let known = plan.issuers.iter().flat_map(|issuer| [&*issuer.name, &*issuer.url]);
            let help = did_you_mean(named, known).map(|word| format!("; did you mean `{word}`?"));
            Err(Wrong::Missing(format!("there is no issuer `{named}`{}", help.unwrap_or_default())))
        }
    }
}
