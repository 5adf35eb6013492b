//! OpenAPI documents as contracts: what may come in, and what may go out.
//!
//! Pure: no file, socket, clock or random number. Bytes of documents and requests come in, findings, plans of
//! operations and violations go out.

pub mod document;
pub mod json;
pub mod violation;
