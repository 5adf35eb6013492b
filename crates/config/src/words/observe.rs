//! Logs, the store, and the size of documents.

use super::{At, Size};
use schemars::JsonSchema;
use serde::Deserialize;

/// The request log: one JSON line for each request.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Where lines go (stdout).
    pub sink: Sink,
    /// Names of the fields.
    pub format: Format,
}

/// Where log lines go.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schemars(rename = "LogSink")]
pub enum Sink {
    /// Standard output.
    #[default]
    Stdout,
    /// Nowhere.
    Off,
    /// A file.
    File(LogFile),
}

/// A log file with rotation.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogFile {
    /// Its path, relative to the folder of the configuration.
    #[schemars(extend("examples" = ["/var/log/portcullis/requests.log"]))]
    pub path: String,
    /// A new file is begun after so many bytes (100MiB).
    #[serde(default)]
    pub rotate: Option<Size>,
    /// Old files that are kept (10).
    #[serde(default)]
    pub keep: Option<u32>,
}

/// Names of the fields of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "LogFormat")]
pub enum Format {
    /// Elastic Common Schema.
    #[default]
    Ecs,
    /// Short, flat names.
    Flat,
}

/// Where things are kept that must outlive the process.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Store {
    /// SQLite files in this folder, relative to the folder of the configuration.
    Folder(At<String>),
}

/// How large OpenAPI documents may be.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Documents {
    /// Bytes of the files of one API (10MiB, at most 64MiB).
    pub max_bytes: Option<Size>,
    /// Files of one API (256, at most 1024).
    pub files: Option<u32>,
    /// Values in one file, aliases expanded (2000000, at most 20000000).
    pub nodes: Option<u32>,
    /// Nesting (128, at most 256).
    pub depth: Option<u32>,
    /// Schemas (20000, at most 200000).
    pub schemas: Option<u32>,
    /// Distinct patterns (5000, at most 50000).
    pub patterns: Option<u32>,
}
