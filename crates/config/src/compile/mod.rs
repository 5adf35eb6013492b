//! Words → Plan.

mod access;
mod acme;
mod administration;
mod api;
mod caller;
pub(crate) mod desk;
mod document;
mod egress;
mod graphql;
mod headers;
mod limits;
mod listen;
pub(crate) mod object;
mod operation;
mod uploads;
mod upstream;
mod url;

pub(crate) use access::some;
pub(crate) use listen::DEFAULT_ADDRESS;

use crate::words::Document;
use crate::words::limits::Match;
use crate::words::observe::{self, Sink, Store};
use desk::Desk;
use portcullis_core::finding::{Severity, SourceMap};
use portcullis_plan::api::{Api, Exchange};
use portcullis_plan::listen::Serve;
use portcullis_plan::observe::{LogFormat, LogPlan, LogSink, StorePlace};
use portcullis_plan::{HostTable, Plan};
use std::sync::Arc;

/// Makes the plan. Without one there is at least one error on the desk.
pub(crate) fn plan(
    desk: &mut Desk<'_>,
    document: &Document,
    open: Option<&str>,
    file_mode: bool,
) -> Option<Plan> {
    let bounds = listen::bounds(desk, &document.bounds, &portcullis_plan::bounds::Bounds::default());
    let mut listeners = listen::listeners(desk, document, &bounds);
    let mut shop = api::Workshop {
        callers: caller::callers(desk, document),
        top: limits::top(desk, &document.limits),
        upstreams: Vec::new(),
        edge: listen::edge(desk, document, &bounds),
        documents: document::bounds(desk, &document.documents),
        arrival_s: u32::try_from(bounds.body.as_secs()).unwrap_or(u32::MAX),
        open,
        file_mode,
        url_policies: Vec::new(),
    };
    let keys = caller::key_rules(desk, document);
    let egress = egress::egress(desk, &document.egress);
    shop.url_policies = egress.names();
    if document.apis.is_empty() {
        let help = "add  apis: { shop: { spec: openapi/shop.yaml, upstream: http://127.0.0.1:3000 } }";
        desk.error("apis-missing", Default::default(), "the configuration names no API", help);
    }
    let mut apis: Vec<Api> = Vec::new();
    for (name, words) in document.apis.iter() {
        apis.extend(api::api(desk, &mut shop, name, words).into_iter().flatten());
    }
    unused(desk, &shop.top);
    let hosts = hosts(desk, &apis);
    let administration =
        administration::administration(desk, &mut shop, document, &listeners).and_then(|api| {
            let index = u16::try_from(apis.len()).ok()?;
            apis.push(api);
            Some(index)
        });
    let audit = administration::audit(desk, &document.audit);
    dress(&mut listeners, &apis, &hosts);
    acme::whole(desk, document, &listeners);
    store(desk, document, &apis);
    if desk.findings.iter().any(|finding| finding.severity == Severity::Error) {
        return None;
    }
    Some(Plan {
        digest: digest(&desk.files.sources),
        sources: desk.files.sources.clone(),
        listeners,
        bounds,
        drain: listen::drain(&document.drain),
        edge: shop.edge,
        apis,
        hosts,
        administration: administration.into_iter().collect(),
        audit,
        egress,
        issuers: shop.callers.issuers,
        introspections: shop.callers.introspections,
        upstreams: shop.upstreams,
        flood: shop.top.flood,
        consumer_plans: shop.top.plans,
        keys,
        store: place(desk, document),
        log: log(desk, &document.log),
        loosenings: std::mem::take(&mut desk.loosenings),
    })
}

/// A rule about sensitive operations that fits none protects none.
fn unused(desk: &mut Desk<'_>, top: &limits::Top) {
    let unused: Vec<_> = top.unused().map(|(rule, at)| (rule.clone(), at)).collect();
    for (rule, at) in unused {
        let what = match rule {
            Match::Tag(tag) => format!("no operation has the tag `{tag}`"),
            Match::Operation(id) => format!("there is no operation `{id}`"),
        };
        desk.error("sensitive-unmatched", at, what, "`portcullis check` lists the operations and their tags");
    }
}

fn hosts(desk: &mut Desk<'_>, apis: &[Api]) -> HostTable {
    let mut table = HostTable::default();
    let mut taken: Vec<(Option<&str>, &str, &str)> = Vec::new();
    for (api, index) in apis.iter().zip(0u16..) {
        let base = api.contract.base_path();
        let names = api.headers.hosts.iter().map(|host| Some(&**host));
        let names: Vec<Option<&str>> =
            if api.headers.hosts.is_empty() { vec![None] } else { names.collect() };
        for host in names {
            if let Some((_, _, other)) =
                taken.iter().find(|(h, b, n)| *h == host && *b == base && **n != *api.name)
            {
                let path = if base.is_empty() { "/" } else { base };
                let place = host.map_or(format!("`{path}`"), |host| format!("`{host}` under `{path}`"));
                let message = format!("`{}` and `{other}` both answer at {place}", api.name);
                let help = "give them different `hosts`, or different paths by `base_path`";
                desk.error("base-path-twice", api.at, message, help);
            }
            taken.push((host, base, &api.name));
            match host {
                None => table.any.push(index),
                Some(host) => match table.named.binary_search_by(|(name, _)| (**name).cmp(host)) {
                    Ok(at) => table.named.get_mut(at).into_iter().for_each(|(_, list)| list.push(index)),
                    Err(at) => table.named.insert(at, (host.into(), vec![index])),
                },
            }
        }
    }
    // The longest base path is asked first.
    let longest = |index: &u16| {
        let api = apis.get(usize::from(*index));
        std::cmp::Reverse(api.map_or(0, |api| api.contract.base_path().len()))
    };
    table.any.sort_by_key(longest);
    table.named.iter_mut().for_each(|(_, list)| list.sort_by_key(longest));
    table
}

/// What listeners learn from the APIs.
fn dress(listeners: &mut [portcullis_plan::listen::Listener], apis: &[Api], hosts: &HostTable) {
    let socket = |api: &Api| api.operations.iter().any(|o| matches!(o.exchange, Exchange::WebSocket { .. }));
    let sockets = apis.iter().any(socket);
    for listener in listeners.iter_mut().filter(|listener| listener.serve.contains(&Serve::Apis)) {
        listener.extended_connect = sockets;
        // Where one API answers at any name, no name is unknown.
        if let Some(tls) = &mut listener.tls
            && hosts.any.is_empty()
        {
            tls.hosts = hosts.named.iter().map(|(host, _)| host.to_string()).collect();
        }
    }
}

/// API keys and nonces must outlive the process.
fn store(desk: &mut Desk<'_>, document: &Document, apis: &[Api]) {
    let needs =
        apis.iter().find(|api| api.authenticate.api_key.is_some() || api.authenticate.signature.is_some());
    if let (None, Some(api)) = (&document.store, needs) {
        let message = format!("`{}` takes API keys, and there is no place to keep them", api.name);
        desk.error("store-missing", api.at, message, "add  store: { folder: /var/lib/portcullis }");
    }
}

fn place(desk: &Desk<'_>, document: &Document) -> StorePlace {
    match &document.store {
        None => StorePlace::Memory,
        Some(Store::Folder(folder)) => StorePlace::Folder(desk.files.path(folder)),
    }
}

fn log(desk: &Desk<'_>, words: &observe::Log) -> LogPlan {
    let sink = match &words.sink {
        Sink::Stdout => LogSink::Stdout,
        Sink::Off => LogSink::Off,
        Sink::File(file) => LogSink::File {
            path: desk.files.path(&file.path),
            rotate_bytes: file.rotate.map_or(100 << 20, |size| size.0).max(64 << 10),
            keep: file.keep.unwrap_or(10),
        },
    };
    let format = match words.format {
        observe::Format::Ecs => LogFormat::Ecs,
        observe::Format::Flat => LogFormat::Flat,
    };
    LogPlan { sink, format }
}

/// First 16 hex digits of the SHA-256 over name and text of every source.
fn digest(sources: &SourceMap) -> Arc<str> {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for file in 0..u16::try_from(sources.len()).unwrap_or(u16::MAX) {
        for part in [sources.name(file), sources.text(file)] {
            context.update(&u64::try_from(part.len()).unwrap_or(0).to_be_bytes());
            context.update(part.as_bytes());
        }
    }
    let hex: String = context.finish().as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    hex.into()
}

/// The contract of a document by itself, as lenient as can be: for a look before there is a configuration. The
/// second value says that the document cannot tell its base path.
pub(crate) fn contract_of(
    desk: &mut Desk<'_>,
    path: &std::path::Path,
    at: portcullis_core::finding::Span,
) -> Option<(portcullis_contract::Contract, bool)> {
    use portcullis_contract::model::{OnError, Terms};
    let loaded = document::gather(desk, path, at, None, portcullis_contract::document::Bounds::default())?;
    let terms = Terms { on_error: OnError::CloseOperation, ..Terms::default() };
    let mark = desk.findings.len();
    if let Some(contract) = document::contract(desk, &loaded, &terms) {
        return Some((contract, false));
    }
    if !desk.findings.iter().skip(mark).any(|finding| finding.code == "servers-ambiguous") {
        return None;
    }
    let terms = Terms { base_path: Some(String::new()), ..terms };
    document::contract(desk, &loaded, &terms).map(|contract| (contract, true))
}
