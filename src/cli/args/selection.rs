//! Arguments that select a daemon, a project or a feature; shared by many commands.

use std::ffi::OsString;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{ArgMatches, Args, Command, FromArgMatches};

use crate::cli::user_dirs::user_dirs;
use crate::project::LoneFeature;

/// Selects the daemon.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct SocketArgs {
    /// Path of the daemon's socket
    // An empty variable is none.
    #[arg(long, env = "DOSSIERD_SOCKET", hide_env_values = true, value_name = "PATH", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub(in crate::cli) socket: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DaemonArgs {
    /// Print JSON
    #[arg(long, short = 'j')]
    pub(in crate::cli) json: bool,
    #[command(flatten)]
    pub(in crate::cli) socket: SocketArgs,
}

/// Selects a project.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct ProjectArgs {
    /// Root of the project [default: that of the current directory]
    #[arg(long, short, value_name = "ROOT")]
    pub(in crate::cli) project: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) lone: LoneArgs,
    /// Print JSON
    #[arg(long, short = 'j')]
    pub(in crate::cli) json: bool,
    #[command(flatten)]
    pub(in crate::cli) socket: SocketArgs,
}

/// Whether a directory that nothing recognises is a feature.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(in crate::cli) struct LoneArgs {
    /// Take a directory that is in no project as a feature by itself
    #[arg(long = "feature")]
    pub(in crate::cli) as_feature: bool,
}

impl From<LoneArgs> for LoneFeature {
    fn from(args: LoneArgs) -> Self {
        if args.as_feature { Self::Accept } else { Self::Refuse }
    }
}

/// Selects a feature.
#[derive(Debug, Args)]
pub(in crate::cli) struct FeatureArgs {
    /// Feature: slug, path, number or part of the slug
    pub(in crate::cli) feature: OsString,
    #[command(flatten)]
    pub(in crate::cli) project: ProjectArgs,
}

/// Selects a feature: without a name, which is then empty, that of the current directory.
#[derive(Debug)]
pub(in crate::cli) struct CurrentFeatureArgs(FeatureArgs);

impl Deref for CurrentFeatureArgs {
    type Target = FeatureArgs;

    fn deref(&self) -> &FeatureArgs {
        &self.0
    }
}

impl DerefMut for CurrentFeatureArgs {
    fn deref_mut(&mut self) -> &mut FeatureArgs {
        &mut self.0
    }
}

impl FromArgMatches for CurrentFeatureArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        FeatureArgs::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl Args for CurrentFeatureArgs {
    fn augment_args(command: Command) -> Command {
        FeatureArgs::augment_args(command).mut_arg("feature", |feature| {
            let help =
                "Feature: slug, path, number or part of the slug [default: this directory's]";
            feature.required(false).default_value("").hide_default_value(true).help(help)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        FeatureArgs::augment_args_for_update(command)
    }
}

/// Selects one feature, or all features of a project.
#[derive(Debug, Args)]
pub(in crate::cli) struct OptionalFeatureArgs {
    /// Feature: slug, path, number or part of the slug
    pub(in crate::cli) feature: Option<OsString>,
    #[command(flatten)]
    pub(in crate::cli) project: ProjectArgs,
}

impl SocketArgs {
    /// Returns the path that is named: an empty variable names none.
    pub(in crate::cli) fn named(&self) -> Option<&Path> {
        self.socket.as_deref().filter(|path| !path.as_os_str().is_empty())
    }

    /// Returns the path of the socket at which a daemon that is started now listens.
    pub(in crate::cli) fn path_of_new_daemon(&self) -> anyhow::Result<PathBuf> {
        match self.named() {
            Some(path) => Ok(path.to_owned()),
            None => Ok(user_dirs()?.socket_path()),
        }
    }

    /// Returns the path of the socket: the argument, or where a daemon can be found.
    pub(in crate::cli) fn path(&self) -> anyhow::Result<PathBuf> {
        match self.named() {
            Some(path) => Ok(path.to_owned()),
            None => Ok(user_dirs()?.find_socket()),
        }
    }
}
