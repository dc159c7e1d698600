//! Arguments of `service`, `config` and `doctor`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::args::selection::ProjectArgs;

#[derive(Debug, Args)]
pub(in crate::cli) struct ServiceArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: ServiceCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ServiceCommand {
    /// Install, enable and start the service, and wait until it is ready
    Install(ServiceInstallArgs),
    /// Stop the service and remove its units; keeps the index
    Uninstall(ServiceUninstallArgs),
    /// Show the state of the service; exit code 3 if it does not run
    Status(ServiceStatusArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ServiceInstallArgs {
    /// Projects to add [default: that of the current directory]
    #[arg(value_name = "PROJECT")]
    pub(in crate::cli) projects: Vec<PathBuf>,
    /// Print what would be done without doing it
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Also use hardening that needs user namespaces
    ///
    /// The service does not start on systems that deny user namespaces to users.
    #[arg(long)]
    pub(in crate::cli) namespaces: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ServiceUninstallArgs {
    /// Print what would be done without doing it
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ServiceStatusArgs {
    /// Print JSON
    #[arg(long, short = 'j')]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ConfigArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ConfigCommand {
    /// Print the effective configuration with all defaults
    Show(ConfigFileArgs),
    /// Check the configuration; exit code 78 if it is invalid
    Check(ConfigFileArgs),
    /// Print the path of the configuration file
    Path,
    /// Write an example with all keys and defaults
    Init,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ConfigFileArgs {
    /// Configuration file [default: the user's]
    pub(in crate::cli) file: Option<PathBuf>,
    /// Print JSON
    #[arg(long, short = 'j')]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DoctorArgs {
    #[command(flatten)]
    pub(in crate::cli) project: ProjectArgs,
}
