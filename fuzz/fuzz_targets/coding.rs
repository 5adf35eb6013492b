#![no_main]
#![allow(dead_code, reason = "the law uses what it is about")]

#[path = "../../crates/gateway/src/coding/mod.rs"]
mod coding;

include!("../laws/coding.rs");

libfuzzer_sys::fuzz_target!(|data: &[u8]| coded(data));
