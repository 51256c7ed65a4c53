//! What can be said on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

/// What `dev` can be told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DevArgs {
    /// Number of replicas.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=16))]
    pub(crate) replicas: u8,
    /// Where clients connect; the next free port when this one is taken.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:6380")]
    pub(crate) listen: SocketAddr,
    /// The admin endpoint; the next free port when this one is taken.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9380")]
    pub(crate) admin: SocketAddr,
    /// Directory in which the servers' own throwaway directory is made [default: the system's directory for temporary files].
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}
