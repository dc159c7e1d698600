//! The user's directories, from the environment.

use anyhow::Context as _;

use crate::config::UserDirs;

/// Returns the user's directories.
pub(crate) fn user_dirs() -> anyhow::Result<UserDirs> {
    UserDirs::from_env().context("cannot determine the user's directories")
}
