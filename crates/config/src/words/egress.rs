//! Where URLs that come in requests may lead.

use super::{At, Day, Map, Network};
use schemars::JsonSchema;
use serde::Deserialize;

/// Where URLs that come in requests may lead.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Egress {
    /// Policies by name, besides `webhook` and `public`: https, port 443, any public name.
    pub policies: Map<UrlPolicy>,
    /// Ranges that are never reached, such as the public address of one's own balancer.
    pub deny: Vec<At<Network>>,
    /// Places in requests.
    pub fields: Fields,
}

/// One policy. What it does not name is not allowed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UrlPolicy {
    /// Schemes ([https]). `http` is a loosening and needs `because` and `until`.
    pub schemes: Vec<At<String>>,
    /// Ports ([443]). Others are a loosening and need `because` and `until`.
    pub ports: Vec<At<u16>>,
    /// Host names.
    pub hosts: Hosts,
    /// Whether names are resolved, and every address is judged.
    pub resolve: bool,
    /// Whether an address may stand in place of a name; it is judged.
    pub literal_ip: bool,
    /// Why, where it loosens.
    pub because: Option<At<String>>,
    /// The last day on which it holds, where it loosens.
    pub until: Option<At<Day>>,
}

impl Default for UrlPolicy {
    fn default() -> Self {
        Self {
            schemes: Vec::new(),
            ports: Vec::new(),
            hosts: Hosts::default(),
            resolve: true,
            literal_ip: false,
            because: None,
            until: None,
        }
    }
}

/// Host names: `api.example.com`, `*.example.com` for names under it, `*` for any public name.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Hosts {
    /// Those that may be named.
    pub allow: Vec<At<String>>,
    /// Those that may not, whatever `allow` says.
    pub deny: Vec<At<String>>,
}

/// Places in requests.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fields {
    /// The policy for strings of `format: uri` whose name says that somebody will go there (public).
    pub inferred: Option<At<String>>,
    /// Places that are not checked: loosenings.
    pub unchecked: Vec<At<Unchecked>>,
}

/// A place that is not checked.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unchecked {
    /// Operation and place.
    #[schemars(extend("examples" = ["createUser/avatarUrl"]))]
    pub at: At<String>,
    /// The loosening: `unchecked_url`.
    pub allow: At<UncheckedUrl>,
    /// Why, for whoever reads this next year.
    #[serde(default)]
    pub because: Option<At<String>>,
    /// The last day on which it holds. After it, the configuration is refused.
    #[serde(default)]
    pub until: Option<At<Day>>,
}

/// The loosening of a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UncheckedUrl {
    /// Its URLs pass unchecked.
    #[default]
    UncheckedUrl,
}
