//! The user's directories, by the XDG base directory specification, and the paths in them.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::PathBuf;

use etcetera::base_strategy::{BaseStrategy as _, Xdg};

use super::error::ConfigValueError;
use super::project_list::ProjectList;
use crate::ownership::read_private_file;

/// The file in the state directory that the daemon locks, and in which it records its socket.
pub const LOCK_FILE: &str = "dossierd.lock";
/// Maximum size in bytes of that file; a larger one is ignored.
const MAX_LOCK_BYTES: u64 = 8 << 10;

/// A directory of another user that root would write to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "root does not use directories of another user: {} belongs to user {uid}; run this command as that \
     user, or set HOME and XDG_RUNTIME_DIR to root's own",
    path.display()
)]
pub struct ForeignDir {
    /// The directory.
    pub path: PathBuf,
    /// User id of its owner.
    pub uid: u32,
}

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

    /// Returns a directory of these that belongs to another user, although this process runs as root:
    /// the environment is that of the other user, in whose directories root would leave its files.
    #[must_use]
    pub fn find_foreign_dir(&self) -> Option<ForeignDir> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let own = [&self.state_dir, &self.config_dir].into_iter().chain(&self.runtime_dir);
        let existing = own.filter_map(|dir| dir.ancestors().find(|above| above.exists()));
        let mut owned = existing.filter_map(|dir| {
            let uid = dir.metadata().ok()?.uid();
            Some(ForeignDir { path: dir.to_owned(), uid })
        });
        owned.find(|dir| dir.uid != 0)
    }

    /// Returns the path of the configuration file.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.config_dir.join("config.yaml")
    }

    /// Returns the list of projects that were added by command.
    #[must_use]
    pub fn project_list(&self) -> ProjectList {
        ProjectList::new(self.config_dir.join("projects.list"))
    }

    /// Returns the path of the socket: in the runtime directory, or, without one, in a private
    /// directory in the state directory.
    #[must_use]
    pub fn socket_path(&self) -> PathBuf {
        let dir = self.runtime_dir.as_ref().map(|runtime| runtime.join("dossierd"));
        dir.unwrap_or_else(|| self.state_dir.join("run")).join("dossierd.sock")
    }

    /// Returns the path of the socket at which a daemon can be found: the usual one, or, if it does not
    /// exist, the one that the daemon with this state directory has recorded. The environment of that
    /// daemon may have differed, as that of cron or `su` does.
    #[must_use]
    pub fn find_socket(&self) -> PathBuf {
        let usual = self.socket_path();
        if usual.exists() {
            return usual;
        }
        let lock = self.state_dir.join(LOCK_FILE);
        let recorded = read_private_file(&lock, MAX_LOCK_BYTES).unwrap_or_default();
        let recorded = PathBuf::from(OsString::from_vec(recorded));
        let is_socket = |path: &PathBuf| {
            path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket())
        };
        Some(recorded).filter(|path| path.is_absolute() && is_socket(path)).unwrap_or(usual)
    }

    /// Returns the directory of the user's own missions.
    #[must_use]
    pub fn missions_dir(&self) -> PathBuf {
        self.config_dir.join("missions")
    }

    /// Returns the directory of the user's own layouts.
    #[must_use]
    pub fn layouts_dir(&self) -> PathBuf {
        self.config_dir.join("layouts")
    }
}

/// Returns the path `text`, in which the home directory replaces a leading `~`.
pub(super) fn expand_home(text: &str) -> Result<PathBuf, ConfigValueError> {
    match text.strip_prefix("~/") {
        Some(rest) => Ok(etcetera::home_dir().map_err(ConfigValueError::NoHome)?.join(rest)),
        None => Ok(PathBuf::from(text)),
    }
}
