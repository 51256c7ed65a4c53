//! What can be said on the command line.

use crate::cli::dev::DevArgs;

/// What `demo` can be told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    pub(crate) dev: DevArgs,
    /// Connections of the load.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(4..=256))]
    pub(crate) connections: u16,
    /// Seconds of load before the kill, and again after the first reply that follows it.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub(crate) seconds: u16,
}
