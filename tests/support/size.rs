//! How much a test does, where the environment may say.

#![allow(unreachable_pub, reason = "a module of several test programs")]

/// The number in a variable of the environment, if it is set.
#[track_caller]
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}
