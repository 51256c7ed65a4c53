//! `check`: the faults of a configuration, and with `--connect` those of the nodes behind it.

use super::args::CheckArgs;
use super::preflight;
use super::program::{Fault, print};
use super::run::load;

/// Checks; on success one line says so.
pub(super) fn check(args: &CheckArgs) -> Result<(), Fault> {
    let config = load(&args.file)?;
    for note in &config.notes {
        eprintln!("redhold: {note}");
    }
    if !args.connect {
        return print("The configuration has no faults.\n");
    }
    let report = preflight::examine(&config);
    print(&report.to_string())?;
    if report.failed() {
        Err(Fault::Failed("the nodes are not ready for a failover".to_owned()))
    } else {
        Ok(())
    }
}
