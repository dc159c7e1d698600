//! The configuration, read again when its file changes and when someone asks for it.
//!
//! A broken edit changes nothing but what is said: the configuration before it goes on.

mod watched_paths;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use crate::config::{Config, ConfigState};
use crate::daemon::status_line;
use crate::daemon::systemd_notify::SystemdNotifier;
use crate::engine::inbox::{Command, Inbox};
use crate::engine::view::Views;
use crate::watch::{Backend as _, Hint, NotifyWatcher};
use watched_paths::WatchedPaths;

/// How long the file must rest before it is read.
const DEBOUNCE_INTERVAL: Duration = Duration::from_millis(100);
/// After a reload that the engine had no room for, the next try.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// What reads the configuration again.
pub(crate) struct Reloader {
    pub(crate) file: PathBuf,
    /// What is in use.
    pub(crate) config: Config,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) views: Arc<Views>,
    pub(crate) manager: SystemdNotifier,
    pub(crate) config_state: watch::Sender<ConfigState>,
    /// Told of each configuration that comes into use.
    pub(crate) on_config_applied: Box<dyn Fn(&Config) + Send>,
}

impl Reloader {
    /// Reads it whenever `asked` comes or the file changes; without end.
    pub(crate) async fn run(mut self, mut asked: Signal) {
        loop {
            let eye = ConfigWatcher::open(&self.file);
            // Only now: what changed before the directories were watched is seen, too.
            self.reload(false).await;
            let by_signal = tokio::select! {
                _ = asked.recv() => true,
                () = eye.wait_for_change() => false,
            };
            if by_signal {
                self.reload(true).await;
            }
        }
    }

    /// Reads the file; where nothing has changed, only who asked for it is told.
    async fn reload(&mut self, asked: bool) {
        let (config, state) = ConfigState::load(&self.file);
        let new = config.filter(|config| *config != self.config);
        let same = new.is_none() && *self.config_state.borrow() == state;
        if same && !asked {
            return;
        }
        self.manager.notify_reloading();
        for error in &state.errors {
            error!(
                file = error.file,
                line = error.line,
                column = error.column,
                "the configuration is broken, the one before it stays in use: {}",
                error.message
            );
        }
        if let Some(config) = new {
            self.apply(config).await;
        } else if state.errors.is_empty() {
            info!("the configuration was read again; nothing in it has changed");
        }
        self.config_state.send_replace(state);
        self.manager.notify_ready(&status_line::format_status(
            &self.views.world(),
            &self.config_state.borrow(),
        ));
    }

    async fn apply(&mut self, config: Config) {
        loop {
            let (reply, changes) = oneshot::channel();
            let command = Command::Reload { config: Box::new(config.clone()), reply };
            if let Err(error) = self.inbox.command(command) {
                warn!(%error, "the configuration waits to come into use");
                sleep(RETRY_INTERVAL).await;
                continue;
            }
            // The engine ends: so does the daemon.
            let Ok(changes) = changes.await else {
                return;
            };
            (self.on_config_applied)(&config);
            info!(changes = changes.len(), "the configuration was read again");
            self.config = config;
            return;
        }
    }
}

/// Sees that the file may have changed. It is opened anew after each change: a watch on a directory
/// that was deleted and made again is blind, and so may be one that was taken off and set again.
struct ConfigWatcher {
    _watcher: Option<NotifyWatcher>,
    change_notify: Arc<Notify>,
}

impl ConfigWatcher {
    /// Watches the directories that tell of the file as it lies now. A directory that came before the one
    /// above it was watched gave no event.
    fn open(file: &Path) -> Self {
        loop {
            let place = WatchedPaths::resolve(file);
            let eye = Self::watch_paths(place.clone());
            if WatchedPaths::resolve(file) == place {
                return eye;
            }
        }
    }

    fn watch_paths(place: WatchedPaths) -> Self {
        let seen = Arc::new(Notify::new());
        let (folders, notify) = (place.dirs(), Arc::clone(&seen));
        let sink = move |hint| {
            if !matches!(&hint, Hint::At(path, _) if !place.is_affected_by(path)) {
                notify.notify_one();
            }
        };
        let kernel = NotifyWatcher::new(Arc::new(sink)).inspect_err(|error| {
            warn!(%error, "changes of the configuration are not seen; SIGHUP has it read again");
        });
        let mut kernel = kernel.ok();
        for folder in folders {
            if let Some(kernel) = &mut kernel
                && let Err(error) = kernel.watch(&folder, false)
            {
                warn!(%error, "changes of the configuration may not be seen");
            }
        }
        Self { _watcher: kernel, change_notify: seen }
    }

    /// Comes back when something happened, and nothing more for a moment.
    async fn wait_for_change(&self) {
        self.change_notify.notified().await;
        while timeout(DEBOUNCE_INTERVAL, self.change_notify.notified()).await.is_ok() {}
    }
}
