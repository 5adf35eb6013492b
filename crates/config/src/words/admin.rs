//! Administration: the admin listener, who may use the admin API, and where the audit ledger's checkpoints go.

use super::At;
use super::OneOrMany;
use super::caller::{ApiKey, Jwt, Opaque, Webhook};
use schemars::JsonSchema;
use serde::Deserialize;

/// Administration.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Address of an admin listener, on loopback. Others are written under `listen` with `serve: [admin]`.
    #[schemars(extend("examples" = ["127.0.0.1:9443"]))]
    pub address: Option<At<String>>,
    /// What proves who administers. Without it the admin API answers nobody.
    pub authenticate: Option<At<Administrators>>,
}

/// What is accepted as proof of who administers. Scopes decide what he may: `portcullis.keys.read`, `portcullis.keys.manage`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Administrators {
    /// JWTs of one issuer or several. Their audience is one of its own: a token for an API does not do here.
    pub jwt: Option<OneOrMany<Jwt>>,
    /// Tokens that only their issuer can read, judged by introspection.
    pub opaque: Option<At<Opaque>>,
    /// API keys made with `--api portcullis`.
    pub api_key: Option<At<ApiKey>>,
}

/// The audit ledger.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// Where signed checkpoints of the ledger go, besides the program's own notes. Best is a place outside this machine.
    pub checkpoints: Checkpoints,
}

/// Where checkpoints go.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Checkpoints {
    /// A file that a line is added to for each checkpoint, relative to the folder of the configuration.
    #[schemars(extend("examples" = ["/var/log/portcullis/checkpoints.log"]))]
    pub file: Option<At<String>>,
    /// A signed webhook.
    pub webhook: Option<Webhook>,
}
