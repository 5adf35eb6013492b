#![no_main]

include!("../laws/upload.rs");

libfuzzer_sys::fuzz_target!(|data: &[u8]| file(data));
