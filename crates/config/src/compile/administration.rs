//! The admin API: a document of our own, compiled like any other, that hangs on admin listeners alone.

use super::api::{self, Workshop};
use super::desk::Desk;
use super::document;
use crate::words::admin::{Administrators, Audit};
use crate::words::api::Api as Words;
use crate::words::caller::Authenticate;
use crate::words::{At, Document, Short};
use portcullis_contract::document::{Bounds, Document as Loaded};
use portcullis_core::finding::Span;
use portcullis_plan::api::Api;
use portcullis_plan::listen::{Listener, Serve};
use portcullis_plan::observe::AuditPlan;
use std::sync::Arc;

/// The name of the admin API, in logs and in `keys create --api`.
pub(crate) const NAME: &str = portcullis_plan::ADMINISTRATION;
const DOCUMENT: &str = include_str!("../administration.yaml");

/// The admin API, if somebody may use it.
pub(crate) fn administration(
    desk: &mut Desk<'_>,
    shop: &mut Workshop<'_>,
    document: &Document,
    listeners: &[Listener],
) -> Option<Api> {
    let administrators = administrators(document)?;
    let at = administrators.at;
    if administrators.jwt.is_none() && administrators.opaque.is_none() && administrators.api_key.is_none() {
        let help = "name at least one of `jwt`, `opaque`, `api_key`, or remove `authenticate`";
        desk.error("admin-nobody", at, "nothing is accepted as proof of who administers", help);
        return None;
    }
    if document.store.is_none() {
        let help = "add  store: { folder: /var/lib/portcullis }";
        desk.error(
            "store-missing",
            at,
            "the admin API manages keys, and there is no place to keep them",
            help,
        );
    }
    if !listeners.iter().any(|listener| listener.serve.contains(&Serve::Admin)) {
        let help = "add  admin: { address: 127.0.0.1:9443, … }  or a listener with  serve: [admin]";
        desk.warning("admin-nowhere", at, "no listener serves the admin API", help);
    }
    let authenticate = Authenticate {
        jwt: administrators.jwt.clone(),
        opaque: administrators.opaque.clone(),
        api_key: administrators.api_key.clone(),
        ..Authenticate::default()
    };
    let words = Words { authenticate: At { value: authenticate, at }, ..Words::default() };
    let name = At { value: NAME.to_owned(), at };
    let text = for_these(administrators);
    api::own(desk, shop, &name, &At { value: words, at }, &text)
}

/// A document that the program brings along.
pub(super) fn load_own(desk: &mut Desk<'_>, text: &str) -> Option<Loaded> {
    document::load_made(desk, "(admin API)", "administration.yaml", text, Bounds::default())
}

fn administrators(document: &Document) -> Option<&At<Administrators>> {
    match &document.admin.as_ref()?.value {
        Short::Text(_) => None,
        Short::Full(admin) => admin.authenticate.as_ref(),
    }
}

/// Address and place of the admin listener in short form.
pub(crate) fn address(document: &Document) -> Option<(&str, Span)> {
    let admin = document.admin.as_ref()?;
    match &admin.value {
        Short::Text(address) => Some((address, admin.at)),
        Short::Full(full) => full.address.as_ref().map(|address| (address.as_str(), address.at)),
    }
}

/// An alternative for which there is no verifier would be an error: the document names those that there are.
fn for_these(administrators: &Administrators) -> String {
    let tokens = administrators.jwt.is_some() || administrators.opaque.is_some();
    let keys = administrators.api_key.is_some();
    let kept = |line: &&str| {
        let line = line.trim_start();
        (tokens || !line.starts_with("- token:")) && (keys || !line.starts_with("- key:"))
    };
    DOCUMENT.split_inclusive('\n').filter(kept).collect()
}

/// Where checkpoints of the ledger go.
pub(crate) fn audit(desk: &mut Desk<'_>, words: &Audit) -> AuditPlan {
    let file = words.checkpoints.file.as_ref().map(|file| desk.files.path(file));
    let webhook = words.checkpoints.webhook.as_ref().and_then(|hook| super::caller::webhook(desk, hook));
    AuditPlan { file, webhook: webhook.map(|(url, secret)| (url, Arc::new(secret))) }
}
