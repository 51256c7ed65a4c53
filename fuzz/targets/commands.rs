#![no_main]

#[path = "../bodies/commands.rs"]
mod commands;

libfuzzer_sys::fuzz_target!(|data: &[u8]| commands::body(data));
