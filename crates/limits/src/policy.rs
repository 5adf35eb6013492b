//! Which layers stand where: what the plan embeds and the gates read (limits.md § 1).
//!
//! Every layer starts from a default. What is written more closely to an operation wins: defaults, then the top level,
//! then the consumer's plan, then API, tag and operation.

use crate::bucket::{Bucket, BucketError, Layer, Window};
use crate::rate::Rate;
use portcullis_core::finding::Span;
use std::sync::Arc;

/// `limits:` of `portcullis.yaml` at one level, as written: a layer that is absent is inherited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    /// Everything together.
    pub global: Option<Setting>,
    /// One client address.
    pub address: Option<Setting>,
    /// One API key or client.
    pub key: Option<Setting>,
    /// One subject.
    pub user: Option<Setting>,
    /// One caller at one operation; on the top level the value for `sensitive` operations.
    pub endpoint: Option<Setting>,
    /// One tenant.
    pub tenant: Option<Setting>,
    /// What one request weighs.
    pub cost: Option<u32>,
}

/// One layer as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Switched off by name.
    Off,
    /// These limits.
    On(Limit),
}

/// The limits of one layer as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// One to four windows.
    pub windows: Vec<Window>,
    /// No window ever admits more than the limit.
    pub strict_window: bool,
    /// Counts and reports, refuses nothing.
    pub shadow: bool,
    /// Where it stands.
    pub at: Option<Span>,
}

/// Layers of the gate `flood`, before any cryptography.
#[derive(Clone, Debug)]
pub struct Flood {
    /// Everything together.
    pub global: Option<Arc<Bucket>>,
    /// One address: IPv4 /32, IPv6 /64. For requests that present no credential, and for failed ones.
    pub address: Option<Arc<Bucket>>,
    /// One IPv6 /48, at 16 × the rate of `address`.
    pub address_wide: Option<Arc<Bucket>>,
}

/// Layers of the gate `quota`, once the caller is known.
#[derive(Clone, Debug)]
pub struct Quota {
    /// One API key or client.
    pub key: Placed,
    /// One subject.
    pub user: Placed,
    /// One caller or address at this operation; only where it is sensitive or costly.
    pub endpoint: Option<Arc<Bucket>>,
    /// One tenant.
    pub tenant: Placed,
    /// What one request weighs.
    pub cost: u32,
}

/// A layer, and whether the consumer's plan may replace it.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The bucket; `None` when it is off.
    pub bucket: Option<Arc<Bucket>>,
    /// Set on the API, a tag or the operation: closer than any plan.
    pub fixed: bool,
}

/// `limits.plans.<name>`: layers that a consumer has instead of the usual ones.
#[derive(Clone, Debug, Default)]
pub struct ConsumerPlan {
    /// One API key or client; `None` inherits.
    pub key: Option<Arc<Bucket>>,
    /// One subject; `None` inherits.
    pub user: Option<Arc<Bucket>>,
    /// One tenant; `None` inherits.
    pub tenant: Option<Arc<Bucket>>,
}

/// Why limits do not compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// Which layer.
    pub layer: Layer,
    /// Where it stands.
    pub at: Option<Span>,
    /// What is wrong.
    pub kind: PolicyErrorKind,
}

/// What is wrong with a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyErrorKind {
    /// The bucket cannot be built.
    Bucket(BucketError),
    /// The fixed cost of the operation is larger than this layer's burst: it could never be called.
    CostExceedsBurst {
        /// The cost.
        cost: u32,
        /// The burst.
        burst: u32,
    },
}

/// The default of a layer (limits.md § 1); the tenant layer is off.
pub fn default_of(layer: Layer) -> Setting {
    let limit = |rate, burst| {
        let windows = vec![Window { rate, burst: Some(burst) }];
        Setting::On(Limit { windows, strict_window: false, shadow: false, at: None })
    };
    match layer {
        Layer::Global => limit(Rate::per_second(10_000), 10_000),
        Layer::Address => limit(Rate::per_minute(30), 30),
        Layer::AddressWide => limit(Rate::per_minute(480), 480),
        Layer::Key => limit(Rate::per_minute(600), 100),
        Layer::User => limit(Rate::per_minute(60), 20),
        Layer::Endpoint => limit(Rate::per_minute(5), 5),
        Layer::Tenant => Setting::Off,
    }
}

impl Default for Flood {
    fn default() -> Self {
        Self::compile(&Layers::default()).unwrap_or(Self { global: None, address: None, address_wide: None })
    }
}

impl Flood {
    /// The layers of the top level.
    pub fn compile(top: &Layers) -> Result<Self, PolicyError> {
        let pick = |layer, written: &Option<Setting>| written.clone().unwrap_or_else(|| default_of(layer));
        let address = pick(Layer::Address, &top.address);
        let wide = match &address {
            Setting::Off => Setting::Off,
            Setting::On(limit) => {
                let mut limit = limit.clone();
                for window in &mut limit.windows {
                    window.rate = window.rate.times(16);
                    window.burst = window.burst.map(|b| b.saturating_mul(16));
                }
                Setting::On(limit)
            }
        };
        Ok(Self {
            global: build(Layer::Global, "", &pick(Layer::Global, &top.global))?,
            address: build(Layer::Address, "", &address)?,
            address_wide: build(Layer::AddressWide, "", &wide)?,
        })
    }
}

impl Quota {
    /// The layers of one operation. `closer` are the levels API, tag, operation, each with its scope (`shop`,
    /// `shop#tag`, `shop/createTransfer`), farthest first. `operation` names the operation for the endpoint layer,
    /// which stands where the operation is `sensitive` or a closer level sets it.
    pub fn compile(
        top: &Layers,
        closer: &[(&str, &Layers)],
        operation: &str,
        sensitive: bool,
    ) -> Result<Self, PolicyError> {
        let placed = |layer: Layer, field: fn(&Layers) -> &Option<Setting>| {
            let near = closer.iter().rev().find_map(|(scope, l)| Some((*scope, field(l).as_ref()?)));
            match near {
                Some((scope, setting)) => Ok(Placed { bucket: build(layer, scope, setting)?, fixed: true }),
                None => {
                    let setting = field(top).clone().unwrap_or_else(|| default_of(layer));
                    Ok(Placed { bucket: build(layer, "", &setting)?, fixed: false })
                }
            }
        };
        let near = closer.iter().rev().find_map(|(_, l)| l.endpoint.as_ref());
        let endpoint = match (near, sensitive) {
            (Some(setting), _) => build(Layer::Endpoint, operation, setting)?,
            (None, true) => {
                let setting = top.endpoint.clone().unwrap_or_else(|| default_of(Layer::Endpoint));
                build(Layer::Endpoint, operation, &setting)?
            }
            (None, false) => None,
        };
        let cost = closer.iter().rev().find_map(|(_, l)| l.cost).or(top.cost).unwrap_or(1);
        let quota = Self {
            key: placed(Layer::Key, |l| &l.key)?,
            user: placed(Layer::User, |l| &l.user)?,
            endpoint,
            tenant: placed(Layer::Tenant, |l| &l.tenant)?,
            cost,
        };
        let buckets = [&quota.key.bucket, &quota.user.bucket, &quota.endpoint, &quota.tenant.bucket];
        for bucket in buckets.into_iter().flatten() {
            if bucket.max_cost() < cost && !bucket.is_shadow() {
                let kind = PolicyErrorKind::CostExceedsBurst { cost, burst: bucket.max_cost() };
                return Err(PolicyError { layer: bucket.layer(), at: bucket.at, kind });
            }
        }
        Ok(quota)
    }

    /// The key layer for a consumer.
    pub fn key_for<'a>(&'a self, plan: Option<&'a ConsumerPlan>) -> Option<&'a Bucket> {
        self.key.or(plan.and_then(|p| p.key.as_deref()))
    }

    /// The user layer for a consumer.
    pub fn user_for<'a>(&'a self, plan: Option<&'a ConsumerPlan>) -> Option<&'a Bucket> {
        self.user.or(plan.and_then(|p| p.user.as_deref()))
    }

    /// The tenant layer for a consumer.
    pub fn tenant_for<'a>(&'a self, plan: Option<&'a ConsumerPlan>) -> Option<&'a Bucket> {
        self.tenant.or(plan.and_then(|p| p.tenant.as_deref()))
    }
}

impl Placed {
    fn or<'a>(&'a self, plan: Option<&'a Bucket>) -> Option<&'a Bucket> {
        if self.fixed { self.bucket.as_deref() } else { plan.or(self.bucket.as_deref()) }
    }
}

impl ConsumerPlan {
    /// `limits.plans.<name>`. Its counters are those of the usual layers: a consumer that changes plans keeps them.
    pub fn compile(written: &Layers) -> Result<Self, PolicyError> {
        let one = |layer, setting: &Option<Setting>| match setting {
            Some(setting) => build(layer, "", setting),
            None => Ok(None),
        };
        Ok(Self {
            key: one(Layer::Key, &written.key)?,
            user: one(Layer::User, &written.user)?,
            tenant: one(Layer::Tenant, &written.tenant)?,
        })
    }
}

impl core::fmt::Display for PolicyError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.kind {
            PolicyErrorKind::Bucket(error) => write!(f, "limit `{}`: {error}", self.layer.word()),
            PolicyErrorKind::CostExceedsBurst { cost, burst } => {
                write!(
                    f,
                    "limit `{}`: a cost of {cost} never fits into a burst of {burst}",
                    self.layer.word()
                )
            }
        }
    }
}

impl core::error::Error for PolicyError {}

fn build(layer: Layer, scope: &str, setting: &Setting) -> Result<Option<Arc<Bucket>>, PolicyError> {
    let limit = match setting {
        Setting::Off => return Ok(None),
        Setting::On(limit) => limit,
    };
    let mut bucket = Bucket::new(layer, scope, &limit.windows, limit.strict_window)
        .map_err(|e| PolicyError { layer, at: limit.at, kind: PolicyErrorKind::Bucket(e) })?
        .shadow(limit.shadow);
    bucket.at = limit.at;
    Ok(Some(Arc::new(bucket)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(rate: &str, burst: u32) -> Option<Setting> {
        let windows = vec![Window { rate: rate.parse().unwrap(), burst: Some(burst) }];
        Some(Setting::On(Limit { windows, strict_window: false, shadow: false, at: None }))
    }

    fn of(bucket: Option<&Bucket>) -> Option<String> {
        bucket.map(|b| {
            b.windows().map(|(n, r, b)| format!("{} {r} {b}", n.as_str())).collect::<Vec<_>>().join(", ")
        })
    }

    #[test]
    fn defaults_are_those_of_the_table() {
        let flood = Flood::default();
        assert_eq!(of(flood.global.as_deref()).as_deref(), Some("global 10000/s 10000"));
        assert_eq!(of(flood.address.as_deref()).as_deref(), Some("address 30/min 30"));
        assert_eq!(of(flood.address_wide.as_deref()).as_deref(), Some("address-wide 480/min 480"));
        let quota = Quota::compile(&Layers::default(), &[], "shop/pay", true).unwrap();
        assert_eq!(of(quota.key_for(None)).as_deref(), Some("key 600/min 100"));
        assert_eq!(of(quota.user_for(None)).as_deref(), Some("user 60/min 20"));
        assert_eq!(of(quota.endpoint.as_deref()).as_deref(), Some("endpoint 5/min 5"));
        assert_eq!((of(quota.tenant_for(None)), quota.cost), (None, 1));
        let plain = Quota::compile(&Layers::default(), &[], "shop/list", false).unwrap();
        assert!(plain.endpoint.is_none());
    }

    #[test]
    fn the_closest_wins() {
        let top = Layers { key: on("700/min", 70), ..Layers::default() };
        let api = Layers { user: on("90/min", 30), cost: Some(2), ..Layers::default() };
        let op = Layers {
            key: on("10/min", 10),
            tenant: on("1000000/month", 1000),
            cost: Some(5),
            ..Layers::default()
        };
        let gold = ConsumerPlan::compile(&Layers {
            key: on("1000/min", 200),
            user: Some(Setting::Off),
            ..Layers::default()
        });
        let gold = gold.unwrap();

        let far = Quota::compile(&top, &[], "shop/list", false).unwrap();
        assert_eq!(of(far.key_for(None)).as_deref(), Some("key 700/min 70"));
        assert_eq!(of(far.key_for(Some(&gold))).as_deref(), Some("key 1000/min 200"));

        let near = Quota::compile(&top, &[("shop", &api), ("shop/pay", &op)], "shop/pay", false).unwrap();
        assert_eq!(of(near.key_for(Some(&gold))).as_deref(), Some("key 10/min 10"), "closer than the plan");
        assert_eq!(of(near.user_for(None)).as_deref(), Some("user 90/min 30"));
        assert_eq!(of(near.tenant_for(None)).as_deref(), Some("tenant 1000000/month 1000"));
        assert_eq!(near.cost, 5);
    }

    #[test]
    fn a_cost_that_never_fits_does_not_compile() {
        let op = Layers { cost: Some(101), ..Layers::default() };
        let error =
            Quota::compile(&Layers::default(), &[("shop/report", &op)], "shop/report", false).unwrap_err();
        assert_eq!(error.layer, Layer::Key);
        assert_eq!(error.kind, PolicyErrorKind::CostExceedsBurst { cost: 101, burst: 100 });
    }

    #[test]
    fn switched_off_by_name_only() {
        let top = Layers { global: Some(Setting::Off), address: Some(Setting::Off), ..Layers::default() };
        let flood = Flood::compile(&top).unwrap();
        assert!(flood.global.is_none() && flood.address.is_none() && flood.address_wide.is_none());
    }
}
