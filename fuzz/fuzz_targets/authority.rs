#![no_main]
#![allow(dead_code, reason = "each target uses one of the shared laws")]

include!("../laws/head.rs");

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        authority(text);
    }
});
