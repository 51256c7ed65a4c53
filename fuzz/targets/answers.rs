#![no_main]

#[path = "../bodies/answers.rs"]
mod answers;

libfuzzer_sys::fuzz_target!(|data: &[u8]| answers::body(data));
