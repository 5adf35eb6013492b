#![no_main]

include!("../laws/graphql.rs");

libfuzzer_sys::fuzz_target!(|data: &[u8]| graphql_request(data));
