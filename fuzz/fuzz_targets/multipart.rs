#![no_main]

include!("../laws/multipart.rs");

libfuzzer_sys::fuzz_target!(|data: &[u8]| multipart(data));
