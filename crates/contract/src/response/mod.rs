//! What may go out: what the contract declares, and no error text that says how the inside is made.

mod keep;
mod names;
mod scrub;
mod stream;

pub use keep::{Kept, MOST_NAMES};
pub use names::NeverLeak;
pub use scrub::{Scrubber, Telltale};
pub use stream::{Framing, MOST_EVENT, StreamEnd, Streamer, Strictness, Tally};

pub(crate) use keep::keep;
