//! Words → Plan: the only crate that reads files of configuration.
//!
//! [`compile`] reads `portcullis.yaml` and the OpenAPI documents that it names and makes the
//! [`Plan`](portcullis_plan::Plan), or says with file, line, caret and help why it cannot. [`from_spec`] does it with
//! nothing but a document. [`difference`] tells what a reload changes. [`schema`] is the JSON Schema of the file.

mod compile;
mod date;
mod detection;
mod difference;
mod files;
mod init;
mod read;
mod schema;
mod start;
pub mod words;

pub use date::Date;
pub use detection::{Rules, rules};
pub use difference::difference;
pub use files::Given;
pub use init::init_from_spec;
pub use schema::{reference, schema};
pub use start::{Options, Outcome, compile, compile_text, from_spec};
