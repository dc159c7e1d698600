//! The user's directories, by the XDG base directory specification, and the paths in them.

use std::io;
use std::path::PathBuf;

use etcetera::base_strategy::{BaseStrategy as _, Xdg};

use super::error::ConfigValueError;

/// Directories of the user.
#[derive(Debug, Clone)]
pub struct UserDirs {
    /// `$XDG_CONFIG_HOME/dossierd`.
    pub config_dir: PathBuf,
    /// `$XDG_STATE_HOME/dossierd`.
    pub state_dir: PathBuf,
    /// `$XDG_RUNTIME_DIR`; `None` if it is not set.
    pub runtime_dir: Option<PathBuf>,
}

impl UserDirs {
    /// Returns the directories that the environment specifies.
    ///
    /// # Errors
    /// If there is no home directory.
    pub fn from_env() -> io::Result<Self> {
        let xdg = Xdg::new().map_err(|error| io::Error::other(error.to_string()))?;
        let state = xdg.state_dir().unwrap_or_else(|| xdg.home_dir().join(".local/state"));
        Ok(Self {
            config_dir: xdg.config_dir().join("dossierd"),
            state_dir: state.join("dossierd"),
            runtime_dir: xdg.runtime_dir(),
        })
    }

    /// Returns the path of the configuration file.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.config_dir.join("config.yaml")
    }

    /// Returns the path of the socket: in the runtime directory, or, without one, in a private
    /// directory in the state directory.
    #[must_use]
    pub fn socket_path(&self) -> PathBuf {
        let dir = self.runtime_dir.as_ref().map(|runtime| runtime.join("dossierd"));
        dir.unwrap_or_else(|| self.state_dir.join("run")).join("dossierd.sock")
    }

    /// Returns the directory of the user's own missions.
    #[must_use]
    pub fn missions_dir(&self) -> PathBuf {
        self.config_dir.join("missions")
    }
}

/// Returns the path `text`, in which the home directory replaces a leading `~`.
pub(super) fn expand_home(text: &str) -> Result<PathBuf, ConfigValueError> {
    match text.strip_prefix("~/") {
        Some(rest) => Ok(etcetera::home_dir().map_err(ConfigValueError::NoHome)?.join(rest)),
        None => Ok(PathBuf::from(text)),
    }
}
