#![no_main]
#![allow(dead_code, reason = "the reader is compiled without the rest of the gateway")]

#[path = "../../crates/gateway/src/wire/hello.rs"]
mod hello;
mod laws {
    use super::hello::{Hello, message};
    include!("../laws/hello.rs");
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| laws::hello(data));
