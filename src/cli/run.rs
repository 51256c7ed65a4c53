//! `run`: the proxy itself, and how every command finds its configuration.

use crate::config::{Config, Origin};

use super::args::ConfigFile;
use super::program::Fault;

const NO_FILE: &str = "no configuration: say --config FILE.\n\
                       `redhold config > redhold.toml` writes one with every default; `redhold dev` needs none.";

/// Runs the proxy until it was drained.
pub(super) fn run(file: &ConfigFile) -> Result<(), Fault> {
    let ran = read(file).and_then(|origin| {
        crate::app::run(origin.config().clone(), Some(origin), |_| {}).map_err(Fault::Failed)
    });
    if let Err(Fault::Failed(why) | Fault::Usage(why)) = &ran {
        crate::app::tell_why_not(why);
    }
    ran
}

/// Reads the named configuration.
pub(super) fn load(file: &ConfigFile) -> Result<Config, Fault> {
    read(file).map(|origin| origin.config().clone())
}

fn read(file: &ConfigFile) -> Result<Origin, Fault> {
    let Some(path) = &file.config else {
        return Err(Fault::Usage(NO_FILE.to_owned()));
    };
    Origin::load(path).map_err(|faults| {
        let count = faults.0.len();
        let plural = if count == 1 { "fault" } else { "faults" };
        Fault::Usage(format!("{}: {count} {plural}\n{faults}", path.display()))
    })
}
