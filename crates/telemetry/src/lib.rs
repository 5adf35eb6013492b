//! What happened, written down: the request log, metrics, and the program's own notes.
//!
//! Nothing here makes a request wait. A [`Line`](line::Line) goes into a ring as it is and is formatted by one writer
//! thread; a full ring drops the newest and says so. The log is an allow-list: what is no field of `Line` cannot be
//! logged. **Invariant:** no body, query value, cookie, credential header or raw URL has a place in any type of this
//! crate.

mod json;
pub mod line;
pub mod log;
pub mod metrics;
pub mod note;
mod sink;
mod slab;
