#![no_main]

#[path = "../bodies/info.rs"]
mod info;

libfuzzer_sys::fuzz_target!(|data: &[u8]| info::body(data));
