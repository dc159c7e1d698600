//! The user's directories, as commands need them.

use anyhow::Context as _;

use crate::config::UserDirs;

/// The user's directories.
pub(crate) fn user_dirs() -> anyhow::Result<UserDirs> {
    UserDirs::from_env().context("cannot tell where the configuration lies")
}
