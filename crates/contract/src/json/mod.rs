//! JSON as it may cross the gateway: one strict pass over the bytes, a flat tape, and one way of writing it again.
//!
//! Strict RFC 8259 in UTF-8. Beyond the grammar, what two readers could read differently is refused: duplicate
//! keys (compared after unescaping), a byte order mark, lone surrogates, U+0000. Numbers are kept as their text.

mod builder;
mod hash;
mod node;
mod scan;
mod tape;
mod write;

pub use builder::{BuildError, Builder};
pub use node::{Items, Members, Node};
pub use scan::{Bounds, JsonError, JsonProblem, scan};
pub use tape::{Kind, Tape};
pub use write::{Keep, write, write_node, write_string};
