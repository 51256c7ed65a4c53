#![no_main]

#[path = "../bodies/hosts.rs"]
mod hosts;

libfuzzer_sys::fuzz_target!(|data: &[u8]| hosts::body(data));
