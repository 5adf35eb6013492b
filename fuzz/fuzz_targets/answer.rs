#![no_main]
#![allow(dead_code, unused_imports, reason = "the guard is compiled without the rest of the gateway")]

// The guard and its law by themselves: nothing of it is public for this.
#[path = "../../crates/gateway/src/wire/guard/mod.rs"]
mod guard;
#[path = "../../crates/gateway/src/wire/guard/law.rs"]
mod law;
mod wire {
    pub(crate) use crate::guard;
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| law::answers(data));
