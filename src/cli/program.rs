//! From the command line to an exit code.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use super::args::{Cli, Command};
use super::{check, demo, dev, orders, run, status};

/// How a command that was not carried out ended. The text is for standard error; empty: all was said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It failed at run time: exit code 1.
    Failed(String),
    /// It was asked wrongly, or the configuration is faulty: exit code 2.
    Usage(String),
}

/// Runs the program named on the command line and returns its exit code: 0 done, 1 failed at run time, 2 bad usage
/// or bad configuration.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(asked) => {
            // Help and version are answers, everything else is a fault; the code is clap's own, 0 or 2.
            let _ = asked.print();
            return ExitCode::from(u8::try_from(asked.exit_code()).unwrap_or(2));
        }
    };
    let (text, code) = match carry_out(cli.command) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Fault::Failed(text)) => (text, 1),
        Err(Fault::Usage(text)) => (text, 2),
    };
    if !text.is_empty() {
        eprintln!("redhold: {text}");
    }
    ExitCode::from(code)
}

fn carry_out(command: Command) -> Result<(), Fault> {
    match command {
        Command::Run(file) => run::run(&file),
        Command::Dev(args) => dev::run(&args).map_err(Fault::Failed),
        Command::Demo(args) => demo::run(&args).map_err(Fault::Failed),
        Command::Check(args) => check::check(&args),
        Command::Config => print(&crate::config::full()),
        Command::Status(args) => status::status(&args),
        Command::Switchover(args) => orders::switchover(&args),
        Command::Failover(args) => orders::failover(&args),
        Command::Adopt(args) => orders::adopt(&args),
        Command::Upgrade(args) => orders::upgrade(&args),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "redhold", &mut text);
            print(&String::from_utf8_lossy(&text))
        }
    }
}

/// Writes to standard output. A reader that went away (`redhold config | head`) has what it wanted.
pub(super) fn print(text: &str) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Fault::Failed(String::new())),
        Err(error) => Err(Fault::Failed(format!("cannot write to standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_fit_together() {
        Cli::command().debug_assert();
    }
}
