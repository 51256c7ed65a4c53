#![no_main]

#[path = "../bodies/replies.rs"]
mod replies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| replies::body(data));
