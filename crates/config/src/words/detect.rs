//! Rules of detection, in a file of their own.

use super::{At, Duration, Map, OneOrMany};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;

/// Rules of detection, for `portcullis detect`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Detection {
    /// How lines that are not JSON are read: patterns with named groups, the first that fits. A group `time` says when the line was written.
    #[schemars(extend("examples" = [r#"^(?<address>\S+) \S+ \S+ \[(?<time>[^\]]+)\] "(?<method>\S+) (?<path>\S+)[^"]*" (?<status>\d+)"#]))]
    pub formats: Vec<At<String>>,
    /// The rules, by name.
    pub rules: Map<Rule>,
}

/// Which events, grouped by what, how many of them in which time.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What fields must be; all of them must hold. A name of the log, such as `http.response.status_code`, or of a group.
    #[serde(rename = "match", default)]
    pub fields: Map<Test>,
    /// Fields whose values make a group, which is counted by itself. None: everything is one group.
    #[serde(default)]
    pub group_by: Vec<String>,
    /// Only events count whose value of this field has not been counted yet.
    #[serde(default)]
    pub distinct: Option<String>,
    /// Fires when more than this come within `window`.
    #[serde(default)]
    pub count: Option<At<u32>>,
    /// The time of `count`.
    #[serde(default)]
    pub window: Option<At<Duration>>,
    /// Fires when a bucket of this size overflows; one event leaks out every `leak`.
    #[serde(default)]
    pub capacity: Option<At<u32>>,
    /// The time in which one event leaks out of the bucket.
    #[serde(default)]
    pub leak: Option<At<Duration>>,
    /// Silence of a group after it fired (5m).
    #[serde(default)]
    pub cooldown: Option<At<Duration>>,
    /// How bad it is (medium).
    #[serde(default)]
    pub severity: Weight,
}

/// What a field must be. Several tests of one field must all hold.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Test {
    /// Equals one of these.
    pub is: Option<OneOrMany<Word>>,
    /// Equals none of these.
    pub not: Option<OneOrMany<Word>>,
    /// Begins with one of these.
    pub starts_with: Option<OneOrMany<Word>>,
    /// Ends with one of these.
    pub ends_with: Option<OneOrMany<Word>>,
    /// Contains one of these.
    pub contains: Option<OneOrMany<Word>>,
    /// A number of at least this.
    pub at_least: Option<f64>,
    /// A number of at most this.
    pub at_most: Option<f64>,
    /// Is there, or is not.
    pub present: Option<bool>,
}

/// How bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// Worth knowing.
    Low,
    /// Worth a look today.
    #[default]
    Medium,
    /// Worth a look now.
    High,
    /// Worth waking somebody.
    Critical,
}

/// A text, or a number as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word(pub String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(super::scalar::Scalar).map(Self)
    }
}

impl JsonSchema for Word {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Word".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": ["string", "number"] })
    }
}
