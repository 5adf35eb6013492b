//! A GraphQL end point: its schema is the contract.

use super::{At, Loosening, Map, Size};
use schemars::JsonSchema;
use serde::Deserialize;

/// A GraphQL end point. POST with JSON at one path; the operation is called `graphql` under `operations` and `anonymous`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GraphQl {
    /// Its path (/graphql).
    #[schemars(extend("examples" = ["/graphql"]))]
    pub path: Option<At<String>>,
    /// The schema (SDL), relative to this file. Only what it declares gets through.
    #[schemars(extend("examples" = ["graphql/shop.graphql"]))]
    pub schema: Option<At<String>>,
    /// The loosening for an API without a schema: sizes alone are judged.
    pub no_schema: Option<At<Loosening<bool>>>,
    /// Bytes of a body (100KiB).
    pub max_bytes: Option<Size>,
    /// Bounds of a document.
    pub limits: At<GraphQlLimits>,
    /// Larger costs for callers who have a scope.
    #[schemars(extend("examples" = [{ "reports": 5000 }]))]
    pub costs: Map<u64>,
    /// Several requests in one body. Without it there is one.
    pub batch: Option<At<Batch>>,
    /// The loosening that lets everybody ask about the schema. The scope `portcullis.introspect` does so for its holder.
    pub introspection: Option<At<Loosening<bool>>>,
    /// Operations that are known beforehand.
    pub persisted: Option<At<Persisted>>,
    /// Errors of the upstream.
    pub errors: GraphQlErrors,
}

/// Bounds of a document. Aliases, root fields, depth and fields are counted with fragments in their places.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GraphQlLimits {
    /// Bytes of the query's text (15000B).
    pub query: Option<Size>,
    /// Tokens (2000).
    pub tokens: Option<u32>,
    /// Bytes of one string (4KiB).
    pub string: Option<Size>,
    /// Bytes of the variables (64KiB).
    pub variables: Option<Size>,
    /// Operations in a document (5).
    pub operations: Option<u32>,
    /// Fragments in a document (50).
    pub fragments: Option<u32>,
    /// Directives in a document (50).
    pub directives: Option<u32>,
    /// Aliases (15).
    pub aliases: Option<u32>,
    /// Fields of the root (20).
    pub root_fields: Option<u32>,
    /// Fields inside one another (10).
    pub depth: Option<u32>,
    /// Fields (1000).
    pub fields: Option<u32>,
    /// Cost (1000).
    pub cost: Option<u32>,
}

/// Several requests in one body: their costs add up.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// How many.
    #[schemars(range(min = 1, max = 10))]
    pub max: u32,
}

/// Operations that are known beforehand.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Persisted {
    /// What is asked.
    pub mode: PersistedMode,
    /// The manifest in Apollo's form.
    #[schemars(extend("examples" = ["graphql/manifest.json"]))]
    pub manifest: At<String>,
    /// When a text is a listed one.
    #[serde(default, rename = "match")]
    pub matching: Match,
}

/// What is asked of the text of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PersistedMode {
    /// Nothing; what is not listed is noted.
    Log,
    /// It is listed, or an id stands for it.
    Safelist,
    /// An id stands for it.
    RequireId,
}

/// When a text is a listed one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "PersistedMatch")]
pub enum Match {
    /// Byte for byte.
    #[default]
    Exact,
    /// In other white space too.
    Normalised,
}

/// Errors of the upstream.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GraphQlErrors {
    /// Values of `extensions.code` whose messages are kept; all others become `Internal error`.
    #[schemars(extend("examples" = [["NOT_FOUND"]]))]
    pub keep_codes: Vec<String>,
}
