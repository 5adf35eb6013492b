//! What the tests need around the real program, and nothing that ships: an upstream that records raw bytes,
//! an identity provider that can lie, a webhook sink, certificates, clients that send any bytes, and a
//! harness that starts the program itself.
//!
//! Servers run on their own thread, so that a test may block; every wait is bounded by [`PATIENCE`].
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "dev only: a broken test environment must fail loudly, at the place where it broke"
)]

pub mod acme;
pub mod certs;
pub mod client;
pub mod dir;
pub mod files;
pub mod http2;
pub mod idp;
pub mod message;
pub mod program;
pub mod server;
pub mod sink;
pub mod smtp;
pub mod token;

pub use client::{Connection, Response, request, send};
pub use dir::TempDir;
pub use idp::IdentityProvider;
pub use program::{Finished, Program};
pub use server::{Answer, Latch, Recorded, Upstream};
pub use sink::WebhookSink;
pub use token::{Algorithm, Key, Token};

use std::path::PathBuf;
use std::time::Duration;

/// The longest that anything here waits before it gives up with an error.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// The folder of public test vectors: `PORTCULLIS_VECTORS`, else `../shared/vectors` beside the workspace.
/// `None`, after saying so on stderr, where there is no such folder: the test then returns early.
pub fn vectors(name: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("PORTCULLIS_VECTORS") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"),
    };
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    let line = format!("skipped: no test vectors at {} (set PORTCULLIS_VECTORS)\n", path.display());
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
    None
}
