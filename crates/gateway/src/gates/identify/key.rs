//! A registered key once its possession is proved: where it may be used, and whom it stands for (callers.md §§ 8, 16).

use super::{Failure, Proof};
use crate::gates::route::Matched;
use crate::passage::Passage;
use crate::services::Services;
use ipnet::IpNet;
use portcullis_core::caller::{Caller, ClaimSource, KeyRef, Kind, Subject};
use portcullis_core::problem::Code;
use portcullis_jose::api_key::State;
use portcullis_jose::json::{Json, Limits, Pointer};
use portcullis_plan::api::Principal;
use portcullis_store::keys::KeyRow;
use std::borrow::Cow;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

/// `iss` of the subjects that keys name.
const ISSUER: &str = "portcullis:keys";

/// Whether the key may be used from there and for this: its networks, its APIs and operations. An entry that cannot be
/// read allows nothing.
pub(super) fn allowed(row: &KeyRow, client: IpAddr, matched: &Matched<'_>) -> Result<(), Failure> {
    let refused = |reason| Err(Failure::refused(Code::KeyNotAllowed, reason));
    let client = client.to_canonical();
    let near = |net: &String| net.parse::<IpNet>().is_ok_and(|net| net.contains(&client));
    if !row.ip_allow.is_empty() && !row.ip_allow.iter().any(near) {
        return refused("key-address");
    }
    let (api, operation) = (&*matched.api().name, &*matched.operation().id);
    let names = |entry: &String| match entry.split_once(':') {
        None => entry == api,
        Some((one, id)) => one == api && id == operation,
    };
    if row.apis.iter().any(names) { Ok(()) } else { refused("key-api") }
}

/// The caller that a key stands for. `state` is one that works.
pub(super) fn proof(
    row: &KeyRow,
    state: State,
    principal: &Principal,
    decision: &'static str,
    services: &Services,
) -> Proof {
    let claims = KeyClaims {
        attributes: Json::parse(row.attributes.clone().into_bytes(), &Limits::PAYLOAD).ok(),
        owner: row.owner.clone(),
    };
    let tenant = principal.tenant.as_deref().and_then(|pointer| claims.text_at(pointer)).map(Cow::into_owned);
    let subject = Subject { issuer: Arc::from(ISSUER), id: Arc::from(&*row.owner) };
    let hash = services.shared.hash_subject(&subject);
    let key = KeyRef {
        id: Arc::from(row.id.as_str()),
        state: state.text(),
        deprecated_at: (state == State::Deprecated).then(|| row.dates.deprecated_from()),
        ends_at: row.dates.ends_at(),
        successor: row.successor.map(|id| Arc::from(id.as_str())),
    };
    let caller = Caller {
        kind: Kind::Key,
        subject: Some(subject),
        tenant: tenant.or_else(|| row.tenant.clone()).map(Arc::from),
        scopes: row.scopes.iter().map(|scope| Box::from(scope.as_str())).collect(),
        claims: Some(Arc::new(claims)),
        key: Some(key),
        ..Caller::anonymous()
    };
    Proof { caller: Rc::new(caller), hash: Some(hash), decision }
}

/// The key was accepted: its last use is noted, beside the request.
pub(super) fn used(row: &KeyRow, passage: &Passage, services: &Services) {
    if !services.dry {
        services.shared.store.keys().touch(row.id, passage.now.secs());
    }
}

/// What is registered with a key, as claims: `sub` is its owner.
struct KeyClaims {
    attributes: Option<Json>,
    owner: String,
}

impl ClaimSource for KeyClaims {
    fn text_at(&self, pointer: &str) -> Option<Cow<'_, str>> {
        if pointer == "/sub" {
            return Some(Cow::Borrowed(&self.owner));
        }
        let value = self.attributes.as_ref()?.root().pointer(&Pointer::parse(pointer)?)?;
        match value.as_str() {
            Some(text) => Some(Cow::Borrowed(text)),
            None => value.as_integer().map(|n| Cow::Owned(n.to_string())),
        }
    }

    fn texts_at(&self, pointer: &str) -> Vec<String> {
        if pointer == "/sub" {
            return vec![self.owner.clone()];
        }
        let root = self.attributes.as_ref().map(Json::root);
        let Some(value) = root.zip(Pointer::parse(pointer)).and_then(|(root, p)| root.pointer(&p)) else {
            return Vec::new();
        };
        match value.as_str() {
            Some(text) => vec![text.to_owned()],
            None => value.items().filter_map(|v| v.as_str()).map(str::to_owned).collect(),
        }
    }
}
