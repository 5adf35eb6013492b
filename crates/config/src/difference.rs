//! What a reload changes, in sentences that people care about.

use portcullis_limits::Bucket;
use portcullis_limits::policy::Quota;
use portcullis_plan::Plan;
use portcullis_plan::access::Access;
use portcullis_plan::api::{Api, Operation};
use portcullis_plan::upstream::Upstream;
use std::collections::BTreeMap;

/// The sentences, what lets more in first; empty when nothing that matters changed.
pub fn difference(old: &Plan, new: &Plan) -> Vec<String> {
    let mut said = Sentences::default();
    let (before, after) = (operations(old), operations(new));
    for (name, now) in &after {
        match before.get(name) {
            None => said.note(Kind::Added, name),
            Some(then) => changed(&mut said, name, then, now, old, new),
        }
    }
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        said.note(Kind::Removed, name);
    }
    let mut out = said.into_lines();
    apis(old, new, &mut out);
    listeners(old, new, &mut out);
    limits(old, new, &mut out);
    loosenings(old, new, &mut out);
    if old.store != new.store {
        out.push("the store lies elsewhere: takes effect at the next start".to_owned());
    }
    if old.log != new.log {
        out.push("the request log goes elsewhere or has another form".to_owned());
    }
    out
}

/// An operation with its contract.
struct Pair<'p> {
    api: &'p Api,
    planned: &'p Operation,
    declared: &'p portcullis_contract::model::Operation,
}

fn operations(plan: &Plan) -> BTreeMap<String, Pair<'_>> {
    let of = |api| {
        let api: &Api = api;
        api.contract.operations().iter().zip(&api.operations).map(move |(declared, planned)| {
            (format!("{}/{}", api.name, declared.id), Pair { api, planned, declared })
        })
    };
    plan.apis.iter().flat_map(of).collect()
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Anonymous,
    Scopes,
    Binds,
    Report,
    Opened,
    Guarded,
    Access,
    Closed,
    Added,
    Removed,
    Moved,
    Contract,
    Limits,
    Exchange,
}

impl Kind {
    const fn text(self) -> &'static str {
        match self {
            Self::Anonymous => "become anonymous",
            Self::Scopes => "demand other scopes",
            Self::Binds => "have other object rules",
            Self::Report => "are only reported on, or no longer",
            Self::Opened => "are no longer closed",
            Self::Guarded => "are no longer anonymous",
            Self::Access => "accept other credentials",
            Self::Closed => "are closed",
            Self::Added => "are added",
            Self::Removed => "are removed",
            Self::Moved => "have another method or path",
            Self::Contract => "take other parameters or sizes",
            Self::Limits => "have other limits",
            Self::Exchange => "run in another way",
        }
    }

    const fn one(self) -> &'static str {
        match self {
            Self::Anonymous => "becomes anonymous",
            Self::Scopes => "demands other scopes",
            Self::Binds => "has other object rules",
            Self::Report => "is only reported on, or no longer",
            Self::Opened => "is no longer closed",
            Self::Guarded => "is no longer anonymous",
            Self::Access => "accepts other credentials",
            Self::Closed => "is closed",
            Self::Added => "is added",
            Self::Removed => "is removed",
            Self::Moved => "has another method or path",
            Self::Contract => "takes other parameters or sizes",
            Self::Limits => "has other limits",
            Self::Exchange => "runs in another way",
        }
    }
}

#[derive(Default)]
struct Sentences(BTreeMap<Kind, Vec<String>>);

impl Sentences {
    fn note(&mut self, kind: Kind, name: &str) {
        self.0.entry(kind).or_default().push(name.to_owned());
    }

    fn into_lines(self) -> Vec<String> {
        let line = |(kind, names): (Kind, Vec<String>)| {
            let list: Vec<&str> = names.iter().map(String::as_str).collect();
            let names = crate::compile::some(&list);
            match list.len() {
                1 => format!("1 operation {}: {names}", kind.one()),
                count => format!("{count} operations {}: {names}", kind.text()),
            }
        };
        self.0.into_iter().map(line).collect()
    }
}

fn changed(said: &mut Sentences, name: &str, then: &Pair<'_>, now: &Pair<'_>, old: &Plan, new: &Plan) {
    let (a, b) = (then.planned, now.planned);
    let anonymous = |operation: &Operation| matches!(operation.access, Access::Anonymous { .. });
    match (anonymous(a), anonymous(b)) {
        (false, true) => said.note(Kind::Anonymous, name),
        (true, false) => said.note(Kind::Guarded, name),
        (false, false) if access(then, old) != access(now, new) => said.note(Kind::Access, name),
        _ => {}
    }
    match (then.declared.closed, now.declared.closed) {
        (true, false) => said.note(Kind::Opened, name),
        (false, true) => said.note(Kind::Closed, name),
        _ => {}
    }
    let binds = |operation: &Operation| {
        let mut list: Vec<_> =
            operation.binds.iter().map(|bind| (format!("{:?}", bind.source), bind.claim.clone())).collect();
        list.sort();
        list
    };
    for (kind, differs) in [
        (Kind::Scopes, a.scopes != b.scopes),
        (Kind::Binds, binds(a) != binds(b)),
        (Kind::Report, a.report_only != b.report_only || a.response.mode != b.response.mode),
        (Kind::Moved, (then.declared.method, full(then)) != (now.declared.method, full(now))),
        (Kind::Contract, shape(then) != shape(now)),
        (Kind::Limits, quota(&a.limits) != quota(&b.limits) || a.concurrency != b.concurrency),
        (Kind::Exchange, a.exchange != b.exchange || a.idempotent != b.idempotent),
    ] {
        if differs {
            said.note(kind, name);
        }
    }
}

fn full(pair: &Pair<'_>) -> String {
    format!("{}{}", pair.api.contract.base_path(), pair.declared.template)
}

fn shape(pair: &Pair<'_>) -> String {
    let parameters: Vec<_> =
        pair.declared.parameters.iter().map(|p| (&p.name, p.location, p.required)).collect();
    let contents = pair.declared.body.iter().flat_map(|body| &body.contents);
    let media: Vec<String> = contents.map(|content| content.range.to_string()).collect();
    let sizes = (pair.planned.max_bytes, pair.planned.response.max_bytes);
    format!("{parameters:?} {media:?} {sizes:?}")
}

/// What an operation accepts, without places.
fn access(pair: &Pair<'_>, plan: &Plan) -> String {
    let Access::AnyOf(alternatives) = &pair.planned.access else { return String::new() };
    let mut out: Vec<String> =
        alternatives.iter().map(|one| format!("{:?} {:?}", one.kinds, one.scopes)).collect();
    let authenticate = &pair.api.authenticate;
    for jwt in &authenticate.jwt {
        let issuer = plan.issuers.get(jwt.issuer).map_or("", |issuer| &issuer.url);
        out.push(format!("{issuer} {}", jwt.policy_id));
    }
    let opaque = authenticate.opaque.as_ref();
    let end_point =
        opaque.and_then(|opaque| plan.introspections.get(opaque.introspection)).map(|i| i.url.clone());
    out.push(format!("{end_point:?} {:?}", opaque.map(|opaque| opaque.policy_id)));
    out.push(format!("{:?} {:?} {:?}", authenticate.api_key, authenticate.signature, authenticate.mtls));
    out.push(authenticate.dpop_nonce.to_string());
    out.join("\n")
}

fn buckets(bucket: Option<&Bucket>) -> String {
    let Some(bucket) = bucket else { return "off".to_owned() };
    let windows: Vec<String> =
        bucket.windows().map(|(_, rate, burst)| format!("{rate} burst {burst}")).collect();
    let shadow = if bucket.is_shadow() { " (shadow)" } else { "" };
    format!("{}{shadow}", windows.join(" and "))
}

fn quota(quota: &Quota) -> String {
    let layers = [
        quota.key.bucket.as_deref(),
        quota.user.bucket.as_deref(),
        quota.endpoint.as_deref(),
        quota.tenant.bucket.as_deref(),
    ];
    let layers: Vec<String> = layers.into_iter().map(buckets).collect();
    format!("{} cost {}", layers.join(", "), quota.cost)
}

fn apis(old: &Plan, new: &Plan, out: &mut Vec<String>) {
    let find = |plan: &'_ Plan, name: &str| plan.apis.iter().position(|api| *api.name == *name);
    for api in &new.apis {
        let Some(index) = find(old, &api.name) else {
            out.push(format!("API `{}` is new", api.name));
            continue;
        };
        let Some(before) = old.apis.get(index) else { continue };
        let upstream = |plan: &Plan, api: &Api| plan.upstreams.get(api.upstream).cloned();
        let (then, now) = (upstream(old, before), upstream(new, api));
        if then != now || before.upstream_base != api.upstream_base {
            let place = |upstream: Option<Upstream>, api: &Api| {
                let servers = upstream.map(|upstream| upstream.servers).unwrap_or_default();
                let names: Vec<String> = servers.iter().map(|server| server.authority()).collect();
                format!("{}{}", names.join(", "), api.upstream_base)
            };
            let (then, now) = (place(then, before), place(now, api));
            if then == now {
                out.push(format!("API `{}` speaks to its upstream in another way", api.name));
            } else {
                out.push(format!("API `{}` goes to {now} instead of {then}", api.name));
            }
        }
        if before.headers.hosts != api.headers.hosts {
            let list = |api: &Api| match api.headers.hosts.as_slice() {
                [] => "every name".to_owned(),
                hosts => hosts.join(", "),
            };
            out.push(format!("API `{}` answers at {} instead of {}", api.name, list(api), list(before)));
        }
        let headers = |api: &Api| format!("{:?}", api.headers);
        if before.headers.hosts == api.headers.hosts && headers(before) != headers(api) {
            out.push(format!("API `{}` has other header or browser rules", api.name));
        }
        if before.pass_credentials != api.pass_credentials {
            let now = if api.pass_credentials { "go on to the upstream" } else { "end at the gateway" };
            out.push(format!("credentials of API `{}` {now}", api.name));
        }
    }
    for api in old.apis.iter().filter(|api| find(new, &api.name).is_none()) {
        out.push(format!("API `{}` is gone", api.name));
    }
}

fn listeners(old: &Plan, new: &Plan, out: &mut Vec<String>) {
    for listener in &new.listeners {
        match old.listeners.iter().find(|other| other.name == listener.name) {
            None => out.push(format!("listener `{}` opens on {}", listener.name, listener.address)),
            Some(other) if other.address != listener.address => {
                out.push(format!("listener `{}` moves to {}", listener.name, listener.address));
            }
            Some(other) if other != listener => {
                out.push(format!("listener `{}` has other settings", listener.name))
            }
            Some(_) => {}
        }
    }
    for listener in
        old.listeners.iter().filter(|one| new.listeners.iter().all(|other| other.name != one.name))
    {
        out.push(format!("listener `{}` closes", listener.name));
    }
}

fn limits(old: &Plan, new: &Plan, out: &mut Vec<String>) {
    for (name, then, now) in [
        ("global", &old.flood.global, &new.flood.global),
        ("address", &old.flood.address, &new.flood.address),
    ] {
        let (then, now) = (buckets(then.as_deref()), buckets(now.as_deref()));
        if then != now {
            out.push(format!("limit `{name}` is {now} instead of {then}"));
        }
    }
    if format!("{:?}", old.edge.trusted) != format!("{:?}", new.edge.trusted) {
        out.push("other proxies are trusted".to_owned());
    }
}

fn loosenings(old: &Plan, new: &Plan, out: &mut Vec<String>) {
    let key = |loosening: &portcullis_plan::Loosening| (loosening.name, loosening.subject.clone());
    for loosening in
        new.loosenings.iter().filter(|one| old.loosenings.iter().all(|other| key(other) != key(one)))
    {
        if loosening.name != "anonymous" {
            let until = loosening.until.as_deref().map(|day| format!(" until {day}")).unwrap_or_default();
            out.push(format!("`{}` is let through for {}{until}", loosening.name, loosening.subject));
        }
    }
    for loosening in
        old.loosenings.iter().filter(|one| new.loosenings.iter().all(|other| key(other) != key(one)))
    {
        if loosening.name != "anonymous" {
            out.push(format!("`{}` is no longer let through for {}", loosening.name, loosening.subject));
        }
    }
}
