//! What each target does with arbitrary bytes. A target of libFuzzer and the test program `wire` call the same function, which
//! panics when what it looks at is not so.

pub mod answers;
pub mod brains;
pub mod commands;
pub mod config;
pub mod hosts;
pub mod info;
pub mod proxy_header;
pub mod replies;
pub mod requests;
