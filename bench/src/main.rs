//! Load, a backend, and peers.
fn main() {}
