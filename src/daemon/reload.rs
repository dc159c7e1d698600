//! Reloads the configuration when its file changes and on SIGHUP.
//!
//! An invalid configuration is reported and not applied: the last valid one stays in use.

mod watched_paths;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use crate::config::{Config, ConfigState, LoadedConfig};
use crate::core::backoff::Backoff;
use crate::daemon::status_line;
use crate::daemon::systemd_notify::SystemdNotifier;
use crate::engine::command::Command;
use crate::engine::inbox::Inbox;
use crate::engine::read_model::StatePublisher;
use crate::engine::runtime::resolve_paths;
use crate::watch::{Hint, NotifyWatcher, Watcher as _, watch_mounts};
use watched_paths::WatchedPaths;

/// Debounce interval: the file is read once it has not changed for this long.
const DEBOUNCE_INTERVAL: Duration = Duration::from_millis(100);
/// The same if it changes all the time.
const MAX_DEBOUNCE: Duration = Duration::from_secs(2);
/// Pause before a reload is retried while the engine's command queue is full.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Time in which the links in the paths of projects are found, and pauses before the next attempt.
const LINKS_TIMEOUT: Duration = Duration::from_secs(2);
const LINKS_PAUSE_MIN: Duration = Duration::from_secs(1);
const LINKS_PAUSE_MAX: Duration = Duration::from_mins(1);
/// How often directories are watched again at once that changed meanwhile. After that their events do it.
const MAX_WATCH_ATTEMPTS: usize = 10;

/// Reloads the configuration and reports its state.
pub(crate) struct Reloader {
    pub(crate) file: PathBuf,
    /// The configuration in use.
    pub(crate) config: Config,
    /// Where the paths of its projects lead, as far as that is known.
    pub(crate) roots: BTreeMap<PathBuf, PathBuf>,
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

/// The links in the paths of projects.
enum Links {
    None,
    Watched(ConfigWatcher),
    /// Their file systems do not respond.
    Unresponsive,
}

/// Returns a configuration with the roots to which the paths of its projects lead, and these roots.
pub(crate) fn resolve_roots(config: &Config) -> (Config, BTreeMap<PathBuf, PathBuf>) {
    let roots = resolve_paths(project_paths(config));
    let mut resolved = config.clone();
    resolved.resolve_projects(|path| roots.get(path).cloned());
    (resolved, roots)
}

fn project_paths(config: &Config) -> Vec<PathBuf> {
    config.projects.iter().map(|project| project.path.clone()).collect()
}

impl Reloader {
    /// Reloads whenever `hangup` is received, the file changes, or the path of a project leads elsewhere.
    /// Never returns.
    pub(crate) async fn run(mut self, mut hangup: Signal) {
        let mounts = notify_of_mounts();
        let mut pauses = Backoff::default();
        loop {
            let watcher = ConfigWatcher::open(&self.file);
            // After the watches were set, so that no earlier change is missed.
            self.reload(ReloadCause::FileChange).await;
            let links = self.watch_links().await;
            if matches!(links, Links::Unresponsive) {
                info!("the links in the paths of projects do not respond; trying again later");
            } else {
                self.follow_links().await;
                pauses = Backoff::default();
            }
            let is_signal = tokio::select! {
                _ = hangup.recv() => true,
                () = watcher.wait_for_change() => false,
                () = wait_for_links(&links, &mounts, &mut pauses) => false,
            };
            if is_signal {
                self.reload(ReloadCause::Signal).await;
            }
        }
    }

    /// Watches the links in the paths of projects.
    fn watch_links(&self) -> impl Future<Output = Links> + use<> {
        let paths = project_paths(&self.config);
        let open = spawn_blocking(move || ConfigWatcher::open_links(&paths));
        async {
            match timeout(LINKS_TIMEOUT, open).await {
                Ok(Ok(Some(watcher))) => Links::Watched(watcher),
                Ok(Ok(None)) => Links::None,
                Ok(Err(_)) | Err(_) => Links::Unresponsive,
            }
        }
    }

    /// Watches other roots if the paths of projects lead to others.
    async fn follow_links(&mut self) {
        if self.find_roots(&self.config).await.is_some_and(|roots| roots != self.roots) {
            info!("the configured path of a project leads elsewhere");
            self.apply(self.config.clone()).await;
        }
    }

    /// Returns where the paths of projects lead. One that leads nowhere, or whose file system does not
    /// respond, keeps its root: another one would be another project.
    fn find_roots(
        &self,
        config: &Config,
    ) -> impl Future<Output = Option<BTreeMap<PathBuf, PathBuf>>> + use<> {
        let (paths, known) = (project_paths(config), self.roots.clone());
        // Here, because the engine does not wait for a file system.
        let resolve = move || {
            let mut roots = resolve_paths(paths.clone());
            for path in paths {
                if let Some(known) = known.get(&path) {
                    roots.entry(path).or_insert_with(|| known.clone());
                }
            }
            roots
        };
        let resolved = spawn_blocking(resolve);
        async { resolved.await.ok() }
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
        let Some(roots) = self.find_roots(&config).await else {
            return;
        };
        let mut resolved = config.clone();
        resolved.resolve_projects(|path| roots.get(path).cloned());
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
            self.roots = roots;
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
        Self::open_paths(|| WatchedPaths::resolve(file))
    }

    /// Watches the links on the ways of paths; `None` if there are none.
    pub(crate) fn open_links(paths: &[PathBuf]) -> Option<Self> {
        let resolve = || WatchedPaths::of_links(paths.iter().map(PathBuf::as_path));
        (!resolve().is_empty()).then(|| Self::open_paths(resolve))
    }

    fn open_paths(resolve: impl Fn() -> WatchedPaths) -> Self {
        let mut paths = resolve();
        let mut watcher = Self::watch_paths(paths.clone());
        for _ in 1..MAX_WATCH_ATTEMPTS {
            let now = resolve();
            if now == paths {
                break;
            }
            watcher = Self::watch_paths(now.clone());
            paths = now;
        }
        watcher
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
        wait_for_rest(&self.change_notify).await;
    }
}

/// Waits for a notification, and until none has followed for [`DEBOUNCE_INTERVAL`].
async fn wait_for_rest(notify: &Notify) {
    notify.notified().await;
    let rest = async { while timeout(DEBOUNCE_INTERVAL, notify.notified()).await.is_ok() {} };
    let _ = timeout(MAX_DEBOUNCE, rest).await;
}

/// Waits until paths may lead elsewhere: where a link leads to may be mounted later.
async fn wait_for_links(links: &Links, mounts: &Notify, pauses: &mut Backoff) {
    match links {
        Links::None => std::future::pending().await,
        Links::Watched(links) => tokio::select! {
            () = links.wait_for_change() => {}
            () = wait_for_rest(mounts) => {}
        },
        Links::Unresponsive => sleep(pauses.next_pause(LINKS_PAUSE_MIN, LINKS_PAUSE_MAX)).await,
    }
}

/// Returns what is notified when something is mounted or unmounted.
fn notify_of_mounts() -> Arc<Notify> {
    let mounts = Arc::new(Notify::new());
    let (changed, failed) = (Arc::downgrade(&mounts), Arc::downgrade(&mounts));
    let on_change = move || changed.upgrade().map(|mounts| mounts.notify_one()).is_some();
    // The links themselves are watched nevertheless.
    let on_failure = move |error| {
        if failed.upgrade().is_some() {
            warn!(%error, "cannot watch mounts and unmounts any more");
        }
    };
    if let Err(error) = watch_mounts(on_change, on_failure) {
        warn!(%error, "cannot watch mounts and unmounts");
    }
    mounts
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
