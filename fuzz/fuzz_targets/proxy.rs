#![no_main]
#![allow(dead_code, reason = "the reader is compiled without the rest of the gateway")]

#[path = "../../crates/gateway/src/wire/peer.rs"]
mod peer;
mod laws {
    use super::peer::{parse_v1, parse_v2};
    include!("../laws/proxy.rs");
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| laws::proxy(data));
