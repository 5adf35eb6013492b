#![no_main]
#![allow(dead_code, reason = "the reader is compiled without the rest of the gateway")]

#[path = "../../crates/gateway/src/wire/frames.rs"]
mod frames;
mod laws {
    use super::frames::{Frame, FrameLimits, Op, Reader, write};
    include!("../laws/frames.rs");
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| laws::frames(data));
