//! The `redhold` program: see [`redhold::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    redhold::cli::main()
}
