//! What is in force: a plan and what was made for it, swapped as one.

use crate::gates::identify::Cache;
use crate::scan::Scanner;
use crate::wire::ClientCert;
use crate::wire::upstream::Upstream;
use portcullis_contract::model::Operation;
use portcullis_core::time::Now;
use portcullis_egress::{HostPattern, OwnAddresses, UrlPolicy};
use portcullis_jose::jwk::KeyPolicy;
use portcullis_plan::Plan;
use portcullis_plan::access::{Introspection, IntrospectionClient, Issuer, KeySource};
use portcullis_plan::api::Api;
use portcullis_telemetry::line::PlanMark;
use portcullis_telemetry::metrics::{Metrics, RouteId};
use portcullis_vault::introspection::{ClientAuth, Introspector};
use portcullis_vault::jwks::{IssuerKeys, Source};
use std::cell::{RefCell, RefMut};
use std::hash::BuildHasher as _;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

/// A plan with the key sets of its issuers, in their order. Immutable; a reload makes a new one.
pub struct Live {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Key sets by the plan's issuer index.
    pub issuers: Vec<Arc<IssuerKeys>>,
    /// Introspection end points by the plan's index.
    pub introspectors: Vec<Arc<Introspector>>,
    /// Upstreams by the plan's index.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Scanners by the plan's API index.
    pub scanners: Vec<Option<Arc<Scanner>>>,
    hash_key: [u64; 2],
    urls: Urls,
    routes: Vec<Vec<RouteMark>>,
    mark: Arc<PlanMark>,
}

/// Policies for URLs of requests, as `egress` takes them.
pub(crate) struct Urls {
    policies: Vec<(Box<str>, UrlPolicy)>,
    inferred: usize,
    pub(crate) own: OwnAddresses,
}

impl Urls {
    fn new(plan: &portcullis_plan::egress::Egress) -> Result<Self, String> {
        let patterns = |texts: &[Box<str>]| {
            let made = texts.iter().map(|text| {
                HostPattern::parse(text).ok_or_else(|| format!("egress: `{text}` is no pattern of hosts"))
            });
            made.collect::<Result<Vec<_>, _>>()
        };
        let policies = plan.policies.iter().map(|policy| {
            let made = UrlPolicy {
                schemes: policy.schemes.clone(),
                ports: policy.ports.clone(),
                allow: patterns(&policy.allow)?,
                deny: patterns(&policy.deny)?,
                resolve: policy.resolve,
                literal_ip: policy.literal_ip,
            };
            Ok((policy.name.clone(), made))
        });
        let own = OwnAddresses {
            own: portcullis_egress::interfaces(),
            deny: plan.deny.clone(),
            opened: Vec::new(),
        };
        Ok(Self { policies: policies.collect::<Result<_, String>>()?, inferred: plan.inferred, own })
    }

    /// The policy of a marked place, or the one for all others.
    pub(crate) fn policy(&self, name: Option<&str>) -> Option<&UrlPolicy> {
        let found = match name {
            Some(name) => self.policies.iter().find(|(known, _)| **known == *name),
            None => self.policies.get(self.inferred),
        };
        found.map(|(_, policy)| policy)
    }
}

/// How an operation is named in logs and metrics.
pub struct RouteMark {
    /// API.
    pub api: Arc<str>,
    /// Path template.
    pub route: Arc<str>,
    /// Operation id.
    pub operation: Arc<str>,
    /// Its counters.
    pub id: RouteId,
}

/// What a new plan brought that somebody must look after beside the hot path.
#[derive(Default)]
pub struct Fresh {
    /// Key sets to fetch.
    pub issuers: Vec<Arc<IssuerKeys>>,
    /// Introspection end points whose calls are to be made.
    pub introspectors: Vec<Arc<Introspector>>,
    /// Upstreams to probe.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Scanners to test.
    pub scanners: Vec<Arc<Scanner>>,
}

impl Live {
    /// Puts a plan in force. Key sets of unchanged issuers and pools of unchanged upstreams go on.
    pub fn new(
        plan: Arc<Plan>,
        before: Option<&Self>,
        now: Now,
        metrics: &Metrics,
    ) -> Result<(Self, Fresh), String> {
        let mut fresh = Fresh::default();
        let mut issuers: Vec<Arc<IssuerKeys>> = Vec::with_capacity(plan.issuers.len());
        for (index, issuer) in plan.issuers.iter().enumerate() {
            // Of an issuer whose tokens are all opaque no keys are asked for.
            let source = if signs(&plan, index) { source(issuer) } else { Source::Url(issuer.url.clone()) };
            let policy = key_policy(&plan, index, issuer);
            let known = before.and_then(|b| b.issuers.iter().find(|k| k.serves(&source, &policy)).cloned());
            let keys = match known {
                Some(keys) => keys,
                None => {
                    let keys = IssuerKeys::new(issuer.name.clone(), source, policy, now)
                        .map_err(|e| format!("issuer {}: {e}", issuer.name))?;
                    let keys = Arc::new(keys);
                    if signs(&plan, index) {
                        fresh.issuers.push(keys.clone());
                    }
                    keys
                }
            };
            issuers.push(keys);
        }
        let mut introspectors: Vec<Arc<Introspector>> = Vec::with_capacity(plan.introspections.len());
        for point in &plan.introspections {
            let auth = client_auth(point);
            let serves = |one: &&Arc<Introspector>| one.serves(&point.url, &point.client_id, &auth);
            let known = before.and_then(|b| b.introspectors.iter().find(serves).cloned());
            let introspector = match known {
                Some(introspector) => introspector,
                None => {
                    let (name, url, id) = (point.name.clone(), point.url.clone(), point.client_id.clone());
                    let made = Introspector::new(name, url, id, auth);
                    let made = Arc::new(made.map_err(|e| format!("introspection {}: {e}", point.name))?);
                    fresh.introspectors.push(made.clone());
                    made
                }
            };
            introspectors.push(introspector);
        }
        let mut upstreams: Vec<Arc<Upstream>> = Vec::with_capacity(plan.upstreams.len());
        for upstream in &plan.upstreams {
            let known = before.and_then(|b| b.upstreams.iter().find(|u| u.plan() == upstream).cloned());
            let upstream = match known {
                Some(upstream) => upstream,
                None => {
                    let upstream = Upstream::new(upstream.clone())?;
                    fresh.upstreams.push(upstream.clone());
                    upstream
                }
            };
            upstreams.push(upstream);
        }
        let mut scanners: Vec<Option<Arc<Scanner>>> = Vec::with_capacity(plan.apis.len());
        for api in &plan.apis {
            let Some(scan) = &api.bodies.scan else {
                scanners.push(None);
                continue;
            };
            let is = |one: &&Arc<Scanner>| one.plan() == scan;
            let known = before.and_then(|b| b.scanners.iter().flatten().find(is));
            let known = known.or_else(|| scanners.iter().flatten().find(is)).cloned();
            scanners.push(Some(known.unwrap_or_else(|| {
                let made = Scanner::new(scan.clone());
                fresh.scanners.push(made.clone());
                made
            })));
        }
        let random = std::hash::RandomState::new();
        let urls = Urls::new(&plan.egress)?;
        let hash_key = [random.hash_one(1_u8), random.hash_one(2_u8)];
        let mark = PlanMark::new(plan.digest.clone(), &plan.sources);
        let routes = plan.apis.iter().map(|api| routes(api, metrics)).collect();
        Ok((Self { plan, issuers, introspectors, upstreams, scanners, hash_key, urls, routes, mark }, fresh))
    }
}

impl Live {
    /// Key sets of issuers whose signed tokens some API takes.
    pub fn key_sets(&self) -> impl Iterator<Item = &Arc<IssuerKeys>> {
        self.issuers.iter().enumerate().filter(|(index, _)| signs(&self.plan, *index)).map(|(_, keys)| keys)
    }
}

fn routes(api: &Api, metrics: &Metrics) -> Vec<RouteMark> {
    let mark = |operation: &Operation| RouteMark {
        api: api.name.clone(),
        route: Arc::from(&*operation.template),
        operation: Arc::from(&*operation.id),
        id: metrics.route(&api.name, &operation.template, operation.method.text()),
    };
    api.contract.operations().iter().map(mark).collect()
}

/// Whether some API takes signed tokens of an issuer.
fn signs(plan: &Plan, issuer: usize) -> bool {
    plan.apis.iter().flat_map(|api| &api.authenticate.jwt).any(|jwt| jwt.issuer == issuer)
}

fn client_auth(point: &Introspection) -> ClientAuth {
    match &point.client {
        IntrospectionClient::PrivateKey(key) => ClientAuth::PrivateKey(key.clone()),
        IntrospectionClient::Secret(secret) => ClientAuth::Secret(secret.clone()),
    }
}

fn source(issuer: &Issuer) -> Source {
    match &issuer.keys {
        KeySource::File { set, .. } => Source::Fixed(set.clone()),
        KeySource::Url(url) => Source::Url(url.clone()),
        KeySource::Discovery(url) => Source::Discovery(url.clone(), issuer.url.clone()),
    }
}

/// Keys are imported for every algorithm that some API accepts of this issuer; each token is judged by its own.
fn key_policy(plan: &Plan, index: usize, issuer: &Issuer) -> KeyPolicy {
    let mut algorithms = portcullis_jose::alg::Algorithms::EMPTY;
    for policy in plan.apis.iter().flat_map(|api| &api.authenticate.jwt).filter(|jwt| jwt.issuer == index) {
        for algorithm in policy.policy.algorithms.iter() {
            algorithms = algorithms.with(algorithm);
        }
    }
    KeyPolicy { algorithms, rsa_max_bits: issuer.rsa_max_bits }
}

/// What one request reads: cheap to clone within a worker thread, no shared counter touched.
#[derive(Clone)]
pub struct InForce(Rc<OfWorker>);

/// A load as one worker has it: a clone does not touch the counter that all threads share.
struct OfWorker {
    live: Arc<Live>,
    /// Certificates that a proxy told of, as this load judges them.
    certificates: RefCell<Cache<ClientCert>>,
}

impl InForce {
    /// Of one load.
    pub fn new(live: Arc<Live>) -> Self {
        Self(Rc::new(OfWorker { live, certificates: RefCell::default() }))
    }

    /// Certificates that a proxy told of and that this load has judged, by what was told.
    pub(crate) fn certificates(&self) -> RefMut<'_, Cache<ClientCert>> {
        self.0.certificates.borrow_mut()
    }

    /// Whether this is that load.
    pub fn is(&self, live: &Arc<Live>) -> bool {
        Arc::ptr_eq(&self.0.live, live)
    }

    /// How an operation is named in logs and metrics.
    pub fn route(&self, (api, operation): (u16, u32)) -> Option<&RouteMark> {
        self.0.live.routes.get(usize::from(api))?.get(usize::try_from(operation).ok()?)
    }

    /// For the log line.
    pub fn mark(&self) -> Arc<PlanMark> {
        self.0.live.mark.clone()
    }

    /// Which URLs of requests may be handed on.
    pub(crate) fn urls(&self) -> &Urls {
        &self.0.live.urls
    }

    /// Keeps clients from choosing JSON names that collide.
    pub fn hash_key(&self) -> [u64; 2] {
        self.0.live.hash_key
    }

    /// The scanner of an API of the plan.
    pub fn scanner(&self, api: u16) -> Option<&Arc<Scanner>> {
        self.0.live.scanners.get(usize::from(api))?.as_ref()
    }

    /// An upstream of the plan.
    pub fn upstream(&self, index: usize) -> Option<&Arc<Upstream>> {
        self.0.live.upstreams.get(index)
    }

    /// An introspection end point of the plan.
    pub fn introspector(&self, index: usize) -> Option<&Arc<Introspector>> {
        self.0.live.introspectors.get(index)
    }

    /// The key set of an issuer of the plan.
    pub fn issuer(&self, index: usize) -> Option<(&Issuer, &Arc<IssuerKeys>)> {
        self.0.live.plan.issuers.get(index).zip(self.0.live.issuers.get(index))
    }
}

impl Deref for InForce {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        &self.0.live.plan
    }
}
