//! What can be said. Texts here are what `--help` shows.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use super::demo::DemoArgs;
use super::dev::DevArgs;

/// One Redis endpoint that does not go away.
#[derive(Debug, Parser)]
#[command(name = "redhold", version, propagate_version = true, max_term_width = 100)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Runs the proxy in the foreground; SIGTERM drains and ends it.
    Run(ConfigFile),
    /// Starts a throwaway primary with replicas and the proxy in front; Ctrl-C removes all.
    Dev(DevArgs),
    /// As dev, with a load, a kill -9 of the primary, and the timeline of what the clients saw.
    Demo(DemoArgs),
    /// Lists every fault of a configuration with its key and line; exit code 2 when there is one.
    Check(CheckArgs),
    /// Prints a configuration with every key, its default and one line of prose.
    Config,
    /// Shows the group as a running proxy sees it: nodes, lag, epoch, holds, the last failovers.
    Status(StatusArgs),
    /// Changes the primary in an orderly way: nothing that was acknowledged is lost.
    Switchover(SwitchoverArgs),
    /// Changes the primary now, even when the present one cannot be asked; the last writes may be lost.
    Failover(FailoverArgs),
    /// Makes a node the primary of the group, whatever was recorded before.
    Adopt(AdoptArgs),
    /// Has the program started anew, by its file as it is now, and that process take over; nobody is dropped.
    Upgrade(UpgradeArgs),
    /// Prints completions for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(super) struct ConfigFile {
    /// The configuration, a TOML file.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    pub(super) file: ConfigFile,
    /// Also asks the nodes: roles, rights of the proxy's user, replication passwords, parity, other brains.
    #[arg(long)]
    pub(super) connect: bool,
}

#[derive(Clone, Debug, Args)]
pub(super) struct AdminUrl {
    /// The admin endpoint of the proxy.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9380")]
    pub(super) admin: String,
    /// Authorities, PEM, one of which the endpoint's certificate must come from; needed for https.
    #[arg(long, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,
    /// The certificate to show where admin.tls.client_ca asks for one, PEM.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(super) cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(super) key: Option<PathBuf>,
    /// A file or a pipe with a token, that of admin.token_file or one of admin.roles: for orders, and for what clients ask for in
    /// `status --json` and in the view of `status --watch`. Read once.
    #[arg(long, value_name = "FILE", env = "REDHOLD_ADMIN_TOKEN_FILE")]
    pub(super) token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    pub(super) admin: AdminUrl,
    /// Prints the JSON of /api/status.
    #[arg(long)]
    pub(super) json: bool,
    /// Shows it again each second: on a terminal as a view that fills it, with throughput, clients, keys and slow requests; elsewhere as
    /// text.
    #[arg(long)]
    pub(super) watch: bool,
}

#[derive(Debug, Args)]
pub(super) struct SwitchoverArgs {
    #[command(flatten)]
    pub(super) admin: AdminUrl,
    /// The node that shall lead, host:port as configured; without: the best one.
    #[arg(long, value_name = "NODE")]
    pub(super) to: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct FailoverArgs {
    #[command(flatten)]
    pub(super) admin: AdminUrl,
    /// Says that the loss of the last writes is accepted; `switchover` loses none.
    #[arg(long, required = true)]
    pub(super) force: bool,
    /// The node that shall lead, host:port as configured; without: the best one.
    #[arg(long, value_name = "NODE")]
    pub(super) to: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct AdoptArgs {
    #[command(flatten)]
    pub(super) admin: AdminUrl,
    /// The node that shall lead, host:port as configured.
    pub(super) node: String,
}

#[derive(Debug, Args)]
pub(super) struct UpgradeArgs {
    #[command(flatten)]
    pub(super) admin: AdminUrl,
}
