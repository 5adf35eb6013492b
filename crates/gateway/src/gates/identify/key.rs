//! A registered key once its possession is proved: where it may be used, and whom it stands for (callers.md §§ 8, 16).

use super::vigil::Standing;
use super::{Failure, Proof, current, unpaid};
use crate::events::{self, Event};
use crate::gates::route::Matched;
use crate::passage::Passage;
use crate::services::Services;
use http::header::{LINK, USER_AGENT};
use http::{HeaderName, HeaderValue};
use portcullis_core::caller::{Caller, ClaimSource as _, KeyRef, Kind, Subject};
use portcullis_core::head::Head;
use portcullis_core::opaque::Id16;
use portcullis_core::problem::Code;
use portcullis_core::verdict::Fault;
use portcullis_jose::api_key::State;
use portcullis_plan::api::{Api, Principal};
use portcullis_store::StoreError;
use portcullis_vault::api_keys::RegisteredKey;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, UNIX_EPOCH};

/// `iss` of the subjects that keys name.
static ISSUER: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("portcullis:keys"));

/// The row of a key, from memory or the store.
pub(super) async fn registered(
    id: Option<Id16>,
    head: &Head,
    passage: &Passage,
    services: &Services,
) -> Result<Option<Arc<RegisteredKey>>, Failure> {
    let Some(id) = id else { return Ok(None) };
    if !services.shared.keys.remembers(&id, passage.now) {
        // Nothing is looked up for an address that guesses.
        unpaid(head, passage, services)?;
    }
    let row = services.shared.keys.registered(id, passage.now).await;
    row.map_err(|error| unavailable(error, passage, services))
}

/// The store of keys could not be asked: no verdict on the key. If it has been silent for long, nothing that is known would
/// help either.
pub(super) fn unavailable(_: StoreError, passage: &Passage, services: &Services) -> Failure {
    if let Err(stale) = current(passage, services) {
        return stale;
    }
    Failure::Stop(Fault::new(Code::KeyStoreUnavailable, "key-store-unavailable").retry_after(1).into())
}

/// Whether the key may be used from there and for this: its networks, its APIs and operations.
pub(super) fn allowed(key: &RegisteredKey, client: IpAddr, matched: &Matched<'_>) -> Result<(), Failure> {
    let refused = |reason| Err(Failure::refused(Code::KeyNotAllowed, reason));
    if !key.may_come_from(client) {
        return refused("key-address");
    }
    if !of_tenant(key, matched.api()) {
        return refused("key-tenant");
    }
    if key.is_for(&matched.api().name, &matched.operation().id) { Ok(()) } else { refused("key-api") }
}

/// Whether the key is of the one tenant that the API is for, if it is for one.
pub(super) fn of_tenant(key: &RegisteredKey, api: &Api) -> bool {
    api.tenant.as_ref().is_none_or(|tenant| key.tenant.as_ref() == Some(tenant))
}

/// The caller that a key stands for. `state` is one that works.
pub(super) fn proof(
    key: &Arc<RegisteredKey>,
    state: State,
    principal: &Principal,
    decision: &'static str,
    services: &Services,
) -> Proof {
    let named =
        principal.tenant.as_deref().and_then(|pointer| key.claims.text_at(pointer)).map(|t| Arc::from(&*t));
    let subject = Subject { issuer: ISSUER.clone(), id: key.owner.clone() };
    let hash = *key.hash.get_or_init(|| services.shared.hash_subject(&subject));
    let used = KeyRef {
        id: key.id.clone(),
        state: state.text(),
        deprecated_at: (state == State::Deprecated).then(|| key.row.dates.deprecated_from()),
        ends_at: key.row.dates.ends_at(),
        successor: key.successor.clone(),
    };
    let caller = Caller {
        kind: Kind::Key,
        subject: Some(subject),
        tenant: named.or_else(|| key.tenant.clone()),
        scopes: key.scopes.clone(),
        claims: Some(key.claims.clone()),
        key: Some(used),
        ..Caller::anonymous()
    };
    Proof { caller: Rc::new(caller), hash: Some(hash), decision, standing: Standing::Key(key.clone()) }
}

/// The key was accepted: its use is noted beside the request, and a deprecated one is shown on the answer.
pub(super) fn used(key: &RegisteredKey, state: State, head: &Head, passage: &Passage, services: &Services) {
    if state == State::Deprecated {
        lifecycle(key, passage);
        events::tell(Event::DeprecatedKey, Some(&key.id), passage, services);
    }
    if !services.dry {
        let agent = head.header(USER_AGENT.as_str()).unwrap_or_default();
        services.shared.keys.used(key, state, passage.now, head.client().address, agent.as_bytes());
    }
}

const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const SUNSET: HeaderName = HeaderName::from_static("sunset");

/// `Deprecation` (RFC 9745), `Sunset` (RFC 8594), and where to read how the key is replaced.
fn lifecycle(key: &RegisteredKey, passage: &Passage) {
    let dates = &key.row.dates;
    let end = Duration::from_secs(u64::try_from(dates.ends_at()).unwrap_or(0));
    let mut fields = vec![
        (DEPRECATION, format!("@{}", dates.deprecated_from())),
        (SUNSET, httpdate::fmt_http_date(UNIX_EPOCH + end)),
    ];
    if let Some(docs) = &passage.plan.keys.docs {
        let next = if key.successor.is_some() {
            format!(", <{docs}>; rel=\"successor-version\"")
        } else {
            String::new()
        };
        fields.push((LINK, format!("<{docs}>; rel=\"deprecation\"{next}")));
    }
    let fields =
        fields.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::try_from(text).ok()?)));
    passage.seen().lifecycle_headers.extend(fields);
}
