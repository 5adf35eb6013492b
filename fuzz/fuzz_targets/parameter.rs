#![no_main]
#![allow(dead_code, reason = "each target uses one of the shared laws")]

include!("../laws/contract.rs");

libfuzzer_sys::fuzz_target!(|data: &[u8]| parameter(data));
