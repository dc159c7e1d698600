//! Reloads the configuration when its file changes and on SIGHUP.
//!
//! An invalid configuration is reported and not applied: the last valid one stays in use.

mod watched_paths;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use crate::config::{Config, ConfigState, LoadedConfig};
use crate::daemon::status_line;
use crate::daemon::systemd_notify::SystemdNotifier;
use crate::engine::command::Command;
use crate::engine::inbox::Inbox;
use crate::engine::read_model::StatePublisher;
use crate::engine::runtime::resolve_projects;
use crate::watch::{Hint, NotifyWatcher, Watcher as _};
use watched_paths::WatchedPaths;

/// Debounce interval: the file is read once it has not changed for this long.
const DEBOUNCE_INTERVAL: Duration = Duration::from_millis(100);
/// Pause before a reload is retried while the engine's command queue is full.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Reloads the configuration and reports its state.
pub(crate) struct Reloader {
    pub(crate) file: PathBuf,
    /// The configuration in use.
    pub(crate) config: Config,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) views: Arc<StatePublisher>,
    pub(crate) notifier: SystemdNotifier,
    pub(crate) config_state: watch::Sender<ConfigState>,
    /// Called with each configuration that is applied.
    pub(crate) on_config_applied: Box<dyn Fn(&Config) + Send>,
}

/// What started a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReloadCause {
    /// The file may have changed.
    FileChange,
    /// SIGHUP, which `systemctl reload` sends.
    Signal,
}

impl Reloader {
    /// Reloads whenever `hangup` is received or the file changes. Never returns.
    pub(crate) async fn run(mut self, mut hangup: Signal) {
        loop {
            let watcher = ConfigWatcher::open(&self.file);
            // After the watches were set, so that no earlier change is missed.
            self.reload(ReloadCause::FileChange).await;
            let is_signal = tokio::select! {
                _ = hangup.recv() => true,
                () = watcher.wait_for_change() => false,
            };
            if is_signal {
                self.reload(ReloadCause::Signal).await;
            }
        }
    }

    /// Reads the file and applies it if it changed. Systemd waits for the end of a reload that it
    /// requested with a signal, so that one is reported even without a change.
    async fn reload(&mut self, cause: ReloadCause) {
        let LoadedConfig { config, state } = LoadedConfig::from_file(&self.file);
        let new = config.filter(|config| *config != self.config);
        let is_unchanged = new.is_none() && *self.config_state.borrow() == state;
        if is_unchanged && cause == ReloadCause::FileChange {
            return;
        }
        self.notifier.notify_reloading();
        log_errors(&state, "the last valid one stays in use");
        if let Some(config) = new {
            self.apply(config).await;
        } else if state.errors.is_empty() {
            info!("configuration reloaded without changes");
        }
        self.config_state.send_replace(state);
        self.notifier.notify_ready(&status_line::format_status(
            &self.views.load(),
            &self.config_state.borrow(),
        ));
    }

    async fn apply(&mut self, config: Config) {
        let mut resolved = config.clone();
        // Here, because the engine does not wait for a file system.
        let resolved = spawn_blocking(move || {
            resolve_projects(&mut resolved);
            resolved
        });
        let Ok(resolved) = resolved.await else {
            return;
        };
        loop {
            let (reply, changes) = oneshot::channel();
            let command = Command::Reload { config: Box::new(resolved.clone()), reply };
            if let Err(error) = self.inbox.command(command) {
                warn!(%error, "cannot apply the configuration yet; retrying");
                sleep(RETRY_INTERVAL).await;
                continue;
            }
            // The engine is stopping, and the daemon with it.
            let Ok(changes) = changes.await else {
                return;
            };
            (self.on_config_applied)(&config);
            info!(changes = changes.len(), "configuration reloaded");
            self.config = config;
            return;
        }
    }
}

/// Detects that the configuration file may have changed. A new watcher is opened after each change:
/// an inotify watch on a directory that was deleted and created again reports nothing, and neither
/// may one that was removed and added again.
pub(crate) struct ConfigWatcher {
    _watcher: Option<NotifyWatcher>,
    change_notify: Arc<Notify>,
}

impl ConfigWatcher {
    /// Watches the directories that contain the file or a part of its path. Repeats if they changed
    /// meanwhile: a directory created before its parent was watched raises no event.
    pub(crate) fn open(file: &Path) -> Self {
        loop {
            let paths = WatchedPaths::resolve(file);
            let watcher = Self::watch_paths(paths.clone());
            if WatchedPaths::resolve(file) == paths {
                return watcher;
            }
        }
    }

    fn watch_paths(paths: WatchedPaths) -> Self {
        let change_notify = Arc::new(Notify::new());
        let (dirs, notify) = (paths.dirs(), Arc::clone(&change_notify));
        let sink = move |hint| {
            if !matches!(&hint, Hint::At(path, _) if !paths.is_affected_by(path)) {
                notify.notify_one();
            }
        };
        let watcher = NotifyWatcher::new(Arc::new(sink)).inspect_err(|error| {
            warn!(%error, "cannot watch the configuration; send SIGHUP to reload it");
        });
        let watcher = watcher.ok();
        for dir in dirs {
            if let Some(watcher) = &watcher
                && let Err(error) = watcher.watch(&dir, false)
            {
                warn!(%error, "cannot watch a directory of the configuration; changes may be missed");
            }
        }
        Self { _watcher: watcher, change_notify }
    }

    /// Waits for a change, and until none has followed for [`DEBOUNCE_INTERVAL`].
    pub(crate) async fn wait_for_change(&self) {
        self.change_notify.notified().await;
        while timeout(DEBOUNCE_INTERVAL, self.change_notify.notified()).await.is_ok() {}
    }
}

/// Logs what is wrong in a configuration, and what follows from that.
pub(super) fn log_errors(state: &ConfigState, consequence: &str) {
    for error in &state.errors {
        error!(
            file = error.file,
            line = error.line,
            column = error.column,
            "invalid configuration; {consequence}: {}",
            error.message
        );
    }
}
