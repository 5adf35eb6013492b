//! Files that clients send.

use super::{At, Size};
use schemars::JsonSchema;
use serde::Deserialize;

/// Files that clients send.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Uploads {
    /// Types that files may have; a document can only shorten the list. Without it, each document says.
    #[schemars(extend("examples" = [["image/png", "image/jpeg"]]))]
    pub types: Vec<At<String>>,
    /// Bytes of a whole body with files in it (25MiB, at most 1GiB).
    pub max_bytes: Option<At<Size>>,
    /// Folder in which files of more than 1 MiB wait until they are judged; they have no name there. The system's folder for temporary files if absent.
    #[schemars(extend("examples" = ["/var/lib/portcullis/spool"]))]
    pub spool: Option<At<String>>,
    /// Who scans every file before it goes on.
    pub scan: Option<At<Scan>>,
}

/// Who scans files.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scan {
    /// ClamAV's daemon.
    pub clamav: Clamav,
    /// What becomes of files while it is away. That they pass is the loosening `unscanned`.
    #[serde(default)]
    pub when_unreachable: WhenUnreachable,
}

/// ClamAV's daemon. It needs `AlertExceedsMax yes`, and a `StreamMaxLength` of at least `uploads.max_bytes`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Clamav {
    /// Host and port, or the path of its Unix socket.
    #[schemars(extend("examples" = ["127.0.0.1:3310", "/run/clamav/clamd.ctl"]))]
    pub address: At<String>,
}

/// What becomes of files while the scanner is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenUnreachable {
    /// They are refused.
    #[default]
    Refuse,
}
