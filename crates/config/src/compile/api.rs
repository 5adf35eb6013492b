//! One API: document, upstream, callers and headers together.

use super::access::Rules;
use super::caller::{self, Callers};
use super::desk::Desk;
use super::document;
use super::graphql;
use super::headers;
use super::limits::{Top, closer};
use super::object;
use super::operation::{self, Shared};
use super::upstream;
use crate::words::At;
use crate::words::api::{Api as Words, Credentials, Rule};
use portcullis_contract::document::Bounds;
use portcullis_core::finding::Severity;
use portcullis_plan::api::{Api, IdentityHeader};
use portcullis_plan::edge::EdgePolicy;
use portcullis_plan::upstream::Upstream;
use std::sync::Arc;

/// What is made for all APIs together.
pub(crate) struct Workshop<'w> {
    pub(crate) callers: Callers,
    pub(crate) top: Top,
    pub(crate) upstreams: Vec<Upstream>,
    pub(crate) edge: EdgePolicy,
    pub(crate) documents: Bounds,
    pub(crate) arrival_s: u32,
    /// `--anonymous`, with its reason.
    pub(crate) open: Option<&'w str>,
    /// Whether there is a file to put words into.
    pub(crate) file_mode: bool,
    /// Policies for URLs that documents may name.
    pub(crate) url_policies: Vec<Box<str>>,
}

/// Compiles an API; under `strict` its warnings are errors.
pub(crate) fn api(
    desk: &mut Desk<'_>,
    shop: &mut Workshop<'_>,
    name: &At<String>,
    api: &At<Words>,
) -> Option<Vec<Api>> {
    let mark = desk.findings.len();
    if name.value == super::administration::NAME {
        let message = format!("`{}` is the admin API's name", name.value);
        desk.error("name-reserved", name.at, message, "give it another name");
    }
    let made = compile(desk, shop, name, api, None);
    if api.strict {
        for finding in desk.findings.iter_mut().skip(mark).filter(|f| f.severity == Severity::Warning) {
            finding.severity = Severity::Error;
        }
    }
    made
}

/// An API that the program answers itself, by a document of its own.
pub(crate) fn own(
    desk: &mut Desk<'_>,
    shop: &mut Workshop<'_>,
    name: &At<String>,
    api: &At<Words>,
    document: &str,
) -> Option<Api> {
    let open = shop.open.take();
    let made = compile(desk, shop, name, api, Some(document));
    shop.open = open;
    made?.pop()
}

fn compile(
    desk: &mut Desk<'_>,
    shop: &mut Workshop<'_>,
    name: &At<String>,
    api: &At<Words>,
    own: Option<&str>,
) -> Option<Vec<Api>> {
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) || name.is_empty() {
        let message = format!("`{}` is no name for an API", name.value);
        desk.error("name-invalid", name.at, message, "a name has letters, digits, `-` and `_`");
    }
    let upstream = match own {
        None => upstream::upstream(desk, name, api).map(Some),
        Some(_) => Some(None),
    };
    let hosts = headers::hosts(desk, api);
    edge(desk, shop, api);
    let mut terms = document::terms(desk, name, api);
    terms.url_policies.clone_from(&shop.url_policies);
    terms.never_leak = api.response.never_leak.iter().map(|name| name.value.clone()).collect();
    let planned = api.graphql.as_ref().map(|words| graphql::plan(desk, name, words, &terms.request));
    let document = match (own, &api.spec, &api.grpc) {
        (Some(text), ..) => super::administration::load_own(desk, text),
        (None, None, None) if api.graphql.is_some() => {
            let words = api.graphql.as_ref()?;
            graphql::document(desk, name, words, api, None, shop.documents)
        }
        (None, Some(spec), None) => {
            let path = desk.files.path(spec);
            document::gather(desk, &path, spec.at, api.overlay.as_ref(), shop.documents)
        }
        (None, None, Some(grpc)) => document::grpc(desk, name, grpc, shop.documents),
        _ => {
            let message = format!("`apis.{}` has either a `spec` or `grpc`", name.value);
            desk.error("spec-missing", name.at, message, "add  spec: openapi/shop.yaml");
            None
        }
    };
    if let (Some(document), true) = (&document, desk.files.wants_coverage() && own.is_none()) {
        desk.coverage.push((name.value.clone(), portcullis_contract::model::coverage(document)));
    }
    let compiled = document.as_ref().and_then(|document| document::contract(desk, document, &terms));
    let key_header = compiled.as_ref().and_then(|contract| caller::key_header(contract.schemes()));
    let authenticate =
        caller::authenticate(desk, &mut shop.callers, &api.authenticate, key_header.as_deref());
    let (document, mut contract) = (document?, compiled?);
    // Beside a document of OpenAPI: a contract of its own, so that neither is edited.
    let mut beside = None;
    if let (Some(words), Some(_)) = (&api.graphql, &api.spec) {
        let own = graphql::document(desk, name, words, api, key_header.as_deref(), shop.documents)?;
        let terms = portcullis_contract::Terms { base_path: Some(String::new()), ..terms.clone() };
        let made = document::contract(desk, &own, &terms)?;
        let path = graphql::path(words);
        let base = contract.base_path();
        let taken = contract.operations().iter().find(|operation| {
            *operation.id == *graphql::OPERATION || path.strip_prefix(base) == Some(&*operation.template)
        });
        if let Some(operation) = taken {
            let message = format!("`{}` of the document has the path or the name of `graphql`", operation.id);
            desk.error(
                "graphql-path-taken",
                operation.at,
                message,
                "give `graphql` another `path`, or take it out",
            );
        }
        beside = Some(made);
    }
    let principal = object::principal(&document);
    let schemes: Vec<_> = contract
        .schemes()
        .iter()
        .chain(beside.iter().flat_map(portcullis_contract::Contract::schemes))
        .cloned()
        .collect();
    let mut rules = Rules::new(desk, name, api, &schemes, shop.open);
    let layers = closer(desk, &api.limits.own());
    let tags = api.limits.tags.iter().map(|(tag, words)| (tag.value.clone(), closer(desk, words))).collect();
    let shared = Shared {
        name,
        api,
        principal: &principal,
        issuers: authenticate.jwt.len(),
        layers,
        tags,
        upload_bytes: document::upload_bytes(desk, api),
        arrival_s: shop.arrival_s,
    };
    let mut operations = Vec::new();
    let (mut ids, mut failed) = (Vec::new(), Vec::new());
    for declared in contract.operations() {
        operations.push(operation::operation(
            desk,
            &mut rules,
            &mut shop.top,
            &shared,
            declared,
            &mut failed,
        ));
        ids.push(declared.id.to_string());
        for parameter in declared.parameters.iter().filter(|parameter| parameter.is_integer()) {
            if parameter.location == portcullis_contract::violation::In::Query {
                shop.edge.secrets.add_integer_name(&parameter.name);
            }
        }
        for index in document::integer_segments(contract.base_path(), declared) {
            shop.edge.secrets.add_integer_segment(index);
        }
    }
    let mut operations_beside = Vec::new();
    let mut failed_beside = Vec::new();
    for declared in beside.iter().flat_map(portcullis_contract::Contract::operations) {
        let made =
            operation::operation(desk, &mut rules, &mut shop.top, &shared, declared, &mut failed_beside);
        operations_beside.push(made);
        ids.push(declared.id.to_string());
    }
    if !failed.is_empty() {
        // Closing is the contract's to do: it then answers as if they were not declared.
        terms.closed.append(&mut failed);
        contract = portcullis_contract::compile(&document, &terms).ok()?.contract;
    }
    let credentials = std::mem::take(&mut rules.headers);
    rules.finish(desk, &ids, shop.file_mode);
    let upstream = upstream?;
    let (upstream, base, authorities) = match upstream {
        Some(made) => (Some(made.upstream), made.base, made.authorities),
        None => (None, String::new(), Vec::new()),
    };
    let headers = headers::policy(desk, api, hosts, credentials, authorities);
    let identity =
        api.identity.as_ref().filter(|identity| identity.sign).map(|identity| IdentityHeader {
            audience: Arc::from(identity.audience.as_deref().unwrap_or(name)),
        });
    let pass_credentials = match api.credentials {
        Some(Credentials::Pass) => true,
        Some(Credentials::Strip) => false,
        None => identity.is_none(),
    };
    let mut operations: Vec<_> = operations.into_iter().collect::<Option<_>>()?;
    let mut operations_beside: Vec<_> = operations_beside.into_iter().collect::<Option<_>>()?;
    if let Some(planned) = planned {
        let (plan, max_bytes) = planned?;
        let own = if beside.is_some() { &mut operations_beside } else { &mut operations };
        for operation in own {
            operation.graphql = Some(Arc::clone(&plan));
            operation.max_bytes = max_bytes;
            if operation.report_only {
                let message = "GraphQL is not reported but refused: `mode: report` does not hold for it";
                desk.error("loosening-idle", name.at, message, "remove `request.mode` of `graphql`");
            }
        }
    }
    // Without an upstream the index is of none: nothing is ever forwarded.
    let index = upstream.as_ref().map_or(usize::MAX, |_| shop.upstreams.len());
    shop.upstreams.extend(upstream);
    let made = Api {
        name: Arc::from(name.as_str()),
        contract,
        bodies: document::bodies(desk, api),
        operations,
        tenant: tenant(desk, api),
        upstream: index,
        upstream_base: base.into(),
        authenticate,
        headers,
        principal,
        pass_credentials,
        identity,
        at: name.at,
    };
    let beside = beside.filter(|_| failed_beside.is_empty()).map(|contract| Api {
        name: Arc::clone(&made.name),
        contract,
        operations: operations_beside,
        bodies: made.bodies.clone(),
        tenant: made.tenant.clone(),
        upstream: made.upstream,
        upstream_base: made.upstream_base.clone(),
        authenticate: made.authenticate.clone(),
        headers: made.headers.clone(),
        principal: made.principal.clone(),
        pass_credentials: made.pass_credentials,
        identity: made.identity.clone(),
        at: made.at,
    });
    Some(std::iter::once(made).chain(beside).collect())
}

fn tenant(desk: &mut Desk<'_>, api: &Words) -> Option<Arc<str>> {
    let tenant = api.tenant.as_ref()?;
    if tenant.trim().is_empty() {
        desk.error(
            "tenant-empty",
            tenant.at,
            "no key and no token is of this tenant",
            "name it, or remove `tenant`",
        );
    }
    Some(Arc::from(tenant.as_str()))
}

/// What an API says that holds before its operation is known.
fn edge(desk: &mut Desk<'_>, shop: &mut Workshop<'_>, api: &Words) {
    for name in &api.secrets_in_url.names {
        shop.edge.secrets.add_name(name);
    }
    for loosen in &api.loosen {
        for name in &loosen.of {
            match loosen.allow.value {
                Rule::ReservedHeader => shop.edge.fields.release(name),
                Rule::HeaderNames if !shop.edge.fields.add_legacy(name) => {
                    // CVE-2025-64484: a back end would take it for the reserved one.
                    let message =
                        format!("`{}` cannot be let in: back ends fold it to a reserved name", name.value);
                    desk.error("header-reserved", name.at, message, "ask the client for another name");
                }
                _ => {}
            }
        }
    }
}
