//! From bytes to a tree with places: YAML and JSON, references, and the files of one document together.

pub mod node;

pub use node::{Key, Node, Value};
pub use portcullis_core::finding::{Finding, Span};

/// Which OpenAPI rules a document follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 3.0.x: schemas are the OpenAPI dialect.
    V30,
    /// 3.1.x (and 3.2 with a warning): schemas are JSON Schema 2020-12.
    V31,
}
