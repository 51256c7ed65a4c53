//! (front page of `cli`)

use std::process::ExitCode;

/// Runs the program named on the command line and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::from(2)
}
