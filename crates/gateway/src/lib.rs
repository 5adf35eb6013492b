//! The data plane: one request, judged by every gate in order (`admit.rs`), forwarded, and its answer judged.

pub mod admin;
pub mod administer;
pub mod admit;
pub mod coding;
mod events;
pub mod explain;
pub mod gates;
pub mod handler;
pub mod live;
pub mod outside;
pub mod passage;
pub mod problem_json;
pub mod record;
pub mod respond;
pub mod scan;
pub mod services;
pub mod spool;
pub mod wire;
