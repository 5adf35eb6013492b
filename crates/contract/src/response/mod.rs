//! What may go out: what the contract declares, and no error text that says how the inside is made.

mod keep;
mod names;
mod scrub;

pub use keep::{Kept, MOST_NAMES};
pub use names::NeverLeak;
pub use scrub::{Scrubber, Telltale};

pub(crate) use keep::keep;
