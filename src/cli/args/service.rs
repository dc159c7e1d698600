//! What may be written after `service`, `config` and `doctor`.

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
    /// Write the units for this program, enable and start them, and wait until all is indexed
    Install(ServiceInstallArgs),
    /// Stop the service and take its units away; what was indexed stays
    Uninstall(ServiceUninstallArgs),
    /// Show whether it is installed and runs; the exit code is 3 where it does not run
    Status(ServiceStatusArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ServiceInstallArgs {
    /// Projects to watch from now on, instead of the one that the current directory is in
    #[arg(value_name = "PROJECT")]
    pub(in crate::cli) projects: Vec<PathBuf>,
    /// Only say what would be done
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Harden the service by user namespaces, too; it does not start where these are denied
    #[arg(long)]
    pub(in crate::cli) namespaces: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ServiceUninstallArgs {
    /// Only say what would be done
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ServiceStatusArgs {
    /// Print JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ConfigArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ConfigCommand {
    /// Print the configuration that is in force, with all defaults
    Show(ConfigFileArgs),
    /// Say what is wrong with the configuration; the exit code is 78 where something is
    Check(ConfigFileArgs),
    /// Print where the configuration lies
    Path,
    /// Write an example with all keys and defaults beside the configuration
    Init,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ConfigFileArgs {
    /// Another file than the user's configuration
    pub(in crate::cli) file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DoctorArgs {
    #[command(flatten)]
    pub(in crate::cli) project: ProjectArgs,
}
