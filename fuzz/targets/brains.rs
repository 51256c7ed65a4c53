#![no_main]

#[path = "../bodies/brains.rs"]
mod brains;

libfuzzer_sys::fuzz_target!(|data: &[u8]| brains::body(data));
