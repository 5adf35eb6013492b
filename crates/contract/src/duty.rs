//! What a contract demands and only the world can answer: the gateway asks, and until it has, nothing goes on
//! (`contract.md`, section 1).

use crate::violation::Place;

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Duty {
    /// A URL that the upstream may fetch: where it leads is judged at the edge of the network.
    Url {
        /// Where it stands.
        at: Place,
        /// The URL, decoded.
        value: Box<str>,
        /// The policy that the document names for the place.
        policy: Option<Box<str>>,
    },
}
