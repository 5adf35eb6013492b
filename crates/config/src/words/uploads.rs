//! Files that clients send.

use super::{At, Size};
use schemars::JsonSchema;
use serde::Deserialize;

/// Files that clients send.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Uploads {
    /// Bytes of a whole body with files in it (25MiB, at most 1GiB).
    pub max_bytes: Option<At<Size>>,
    /// Folder in which files of more than 1 MiB wait until they are judged; they have no name there. The system's folder for temporary files if absent.
    #[schemars(extend("examples" = ["/var/lib/portcullis/spool"]))]
    pub spool: Option<At<String>>,
}
