//! The `redhold` program: see [`redhold::cli`].

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    redhold::cli::main()
}
