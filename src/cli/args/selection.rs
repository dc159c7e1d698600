//! Which daemon, project and feature a command is about.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use crate::cli::user_dirs::user_dirs;

/// Which daemon is meant.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct SocketArgs {
    /// The daemon's socket
    #[arg(long, env = "DOSSIERD_SOCKET", hide_env_values = true, value_name = "PATH")]
    pub(in crate::cli) socket: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DaemonArgs {
    /// Print JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
    #[command(flatten)]
    pub(in crate::cli) socket: SocketArgs,
}

/// Which project is meant.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct ProjectArgs {
    /// Root of the project, instead of the one that the current directory is in
    #[arg(long, value_name = "ROOT")]
    pub(in crate::cli) project: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
    #[command(flatten)]
    pub(in crate::cli) socket: SocketArgs,
}

/// Which feature is meant.
#[derive(Debug, Args)]
pub(in crate::cli) struct FeatureArgs {
    /// A feature: its slug, or a path to its directory
    pub(in crate::cli) feature: OsString,
    #[command(flatten)]
    pub(in crate::cli) project: ProjectArgs,
}

/// One feature, or all of a project.
#[derive(Debug, Args)]
pub(in crate::cli) struct OptionalFeatureArgs {
    /// A feature: its slug, or a path to its directory
    pub(in crate::cli) feature: Option<OsString>,
    #[command(flatten)]
    pub(in crate::cli) project: ProjectArgs,
}

impl SocketArgs {
    /// Where the daemon is looked for.
    pub(in crate::cli) fn path(&self) -> anyhow::Result<PathBuf> {
        match &self.socket {
            Some(path) => Ok(path.clone()),
            None => Ok(user_dirs()?.socket_path()),
        }
    }
}
