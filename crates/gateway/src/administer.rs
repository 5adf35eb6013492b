//! One request to the admin API, one file: the gates of `admit.rs`, and at their end the program itself in the place of an
//! upstream. `tests/order.rs` keeps the order here too.

use crate::gates::canonical::{Connection, Raw};
use crate::gates::intake::Payload;
use crate::gates::{administration, authorize, canonical, flood, identify, intake, quota, route};
use crate::passage::Passage;
use crate::services::Services;
use portcullis_core::verdict::{Answer, Stop};

/// Judges one request and does what it asks for. The passage is an administrative one.
///
/// # Errors
/// The first gate's verdict that stops the request.
#[rustfmt::skip]
pub async fn administer(raw: Raw, connection: &Connection<'_>, payload: Payload, passage: &Passage, services: &Services) -> Result<Answer, Stop> {
    let head    = canonical::parse(raw, connection, passage)?;
    let matched = route::find(&head, passage)?;
    let calm    = flood::weather(&head, &matched, passage, services)?;
    let caller  = identify::who(calm, &head, &matched, passage, services).await?;
    let receipt = quota::spend(&caller, &matched, passage, services)?;
    let permit  = authorize::operation(receipt, &caller, &head, &matched, passage)?;       // read or manage
    let (input, caller) = intake::read(&permit, caller, &head, payload, &matched, passage, services).await?;
    let permit  = authorize::object(permit, &caller, &input, &matched, passage)?;
    administration::act(permit, input, &caller, &matched, passage, services).await         // in the ledger, or not at all
}

/// Whether a path of an admin listener is the admin API's.
pub fn is_for(path: &str) -> bool {
    path.starts_with("/portcullis/") || path.starts_with("/.well-known/")
}
