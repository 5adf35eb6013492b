//! OpenAPI documents as contracts: what may come in, and what may go out.
//!
//! Pure: no file, socket, clock or random number. Bytes of documents and requests come in, findings, plans of
//! operations and violations go out.

pub mod body;
pub mod document;
pub mod duty;
pub mod graphql;
pub mod json;
pub mod model;
pub mod param;
pub mod response;
pub mod schema;
pub mod upload;
pub mod violation;

pub use model::{Compiled, Contract, Found, Operation, Terms, compile};
