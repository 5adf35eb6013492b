//! One request, one file: what happens to a request, and in which order.
//!
//! Each gate hands on a value that only its own file can make, and the next gate demands it. Leaving a line out, or
//! swapping two, does not compile; `tests/order.rs` removes and swaps each to keep it so.

use crate::gates::canonical::{Connection, Raw};
use crate::gates::intake::Payload;
use crate::gates::{authorize, canonical, flood, forward, identify, intake, quota, release, route};
use crate::passage::Passage;
use crate::services::Services;
use portcullis_core::verdict::Stop;

/// Judges one request, forwards it, and judges the answer.
///
/// # Errors
/// The first gate's verdict that stops the request.
#[rustfmt::skip]
pub async fn admit(raw: Raw, connection: &Connection<'_>, payload: Payload, passage: &Passage, services: &Services) -> Result<release::Released, Stop> {
    let head    = canonical::parse(raw, connection, passage)?;                             // one parse, one truth
    let matched = route::find(&head, passage)?;                                            // undeclared: refused
    let calm    = flood::weather(&head, &matched, passage, services)?;                     // global and address limits, before any cryptography
    let caller  = identify::who(calm, &head, &matched, passage, services).await?;
    let receipt = quota::spend(&caller, &matched, passage, services)?;                     // key, user and endpoint limits
    let permit  = authorize::operation(receipt, &caller, &head, &matched, passage)?;       // scope
    let (input, caller) = intake::read(&permit, caller, &head, payload, &matched, passage, services).await?; // no permit, no body; the signed digest holds
    let permit  = authorize::object(permit, &caller, &input, &matched, passage)?;          // whose object
    let reply   = forward::send(permit, head, input, &caller, &matched, passage, services).await?; // consumes the proof
    release::filter(reply, &caller, &matched, passage, services).await                     // allow-list, headers
}
