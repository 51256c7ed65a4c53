//! The command line: what can be said, and what each command does.

mod args;
mod check;
mod demo;
mod dev;
mod http;
mod orders;
mod program;
mod run;
mod status;
mod watch;

pub use program::main;
