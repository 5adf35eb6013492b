//! How much may come, from whom, how fast.

use super::{At, Map, Rate};
use schemars::JsonSchema;
use serde::Deserialize;

/// Limits of everything; APIs, tags and operations can have closer ones.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Everything together (10000/s, burst 10000).
    pub global: Option<At<Setting>>,
    /// One client address, for requests without a credential and failed credentials (30/min, burst 30).
    pub address: Option<At<Setting>>,
    /// One API key or client (600/min, burst 100).
    pub key: Option<At<Setting>>,
    /// One user (60/min, burst 20).
    pub user: Option<At<Setting>>,
    /// One tenant (off).
    pub tenant: Option<At<Setting>>,
    /// Operations that are sensitive or costly, and what one caller has there (5/min, burst 5).
    pub sensitive: Option<At<Sensitive>>,
    /// Limits of consumers with a plan, by its name.
    pub plans: Map<Plan>,
}

/// `off`, or the limits of one layer.
#[derive(Clone, Debug)]
pub enum Setting {
    /// Switched off by name.
    Off,
    /// These limits.
    On(Box<Limit>),
}

/// The limits of one layer.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limit {
    /// How much in which time.
    pub rate: Option<At<Rate>>,
    /// How much at once; as much as the rate's number if absent.
    pub burst: Option<u32>,
    /// A long-term budget, such as `1000000/month`.
    pub quota: Option<At<Rate>>,
    /// Further windows on the same layer.
    pub windows: Vec<At<Window>>,
    /// No window ever admits more than its limit; needs a burst below it.
    pub strict_window: bool,
    /// Counts and reports, and refuses nothing.
    pub shadow: bool,
}

/// One window.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// How much in which time.
    pub rate: Rate,
    /// How much at once.
    #[serde(default)]
    pub burst: Option<u32>,
}

/// Operations that are sensitive or costly.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sensitive {
    /// Which ones.
    pub r#match: Vec<At<Match>>,
    /// How much one caller has in which time (5/min).
    pub rate: Option<At<Rate>>,
    /// How much at once (5).
    pub burst: Option<u32>,
    /// Counts and reports, and refuses nothing.
    pub shadow: bool,
}

/// Which operations.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Match {
    /// All with this tag.
    Tag(String),
    /// The one with this id, in whatever API.
    Operation(String),
}

/// Limits of consumers with a plan.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "ConsumerPlan")]
pub struct Plan {
    /// One API key or client.
    pub key: Option<At<Setting>>,
    /// One user.
    pub user: Option<At<Setting>>,
    /// One tenant.
    pub tenant: Option<At<Setting>>,
}

/// Limits of a tag or an operation, closer than those of the API.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "CloserLimits")]
pub struct Closer {
    /// One API key or client.
    pub key: Option<At<Setting>>,
    /// One user.
    pub user: Option<At<Setting>>,
    /// One caller at one operation.
    pub endpoint: Option<At<Setting>>,
    /// One tenant.
    pub tenant: Option<At<Setting>>,
    /// What one request counts for (1).
    #[schemars(range(min = 1))]
    pub cost: Option<At<u32>>,
}

/// Limits of an API, closer than the global ones.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApiLimits {
    /// One API key or client.
    pub key: Option<At<Setting>>,
    /// One user.
    pub user: Option<At<Setting>>,
    /// One caller at one operation.
    pub endpoint: Option<At<Setting>>,
    /// One tenant.
    pub tenant: Option<At<Setting>>,
    /// What one request counts for (1).
    #[schemars(range(min = 1))]
    pub cost: Option<At<u32>>,
    /// Closer limits of the operations with a tag.
    pub tags: Map<Closer>,
}

impl ApiLimits {
    /// Without what is said about tags.
    pub fn own(&self) -> Closer {
        Closer {
            key: self.key.clone(),
            user: self.user.clone(),
            endpoint: self.endpoint.clone(),
            tenant: self.tenant.clone(),
            cost: self.cost.clone(),
        }
    }
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        match super::Short::<Limit>::deserialize(deserializer)? {
            super::Short::Text(word) if word == "off" => Ok(Self::Off),
            super::Short::Text(_) => Err(D::Error::custom("`off`, or a mapping with `rate`")),
            super::Short::Full(limit) => Ok(Self::On(limit)),
        }
    }
}

impl JsonSchema for Setting {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Setting".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let limit = generator.subschema_for::<Limit>();
        schemars::json_schema!({ "anyOf": [limit, { "type": "string", "const": "off" }] })
    }
}
