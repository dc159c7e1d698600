//! An invalid configuration at the start of a service: the daemon watches only the configuration, and
//! continues when it is valid. If it ended, the service manager's limit of starts would have the service and
//! its socket fail for longer than the error.

use std::path::Path;

use interprocess::local_socket::tokio::Listener;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::info;

use crate::api::serve_unconfigured;
use crate::config::{Config, ConfigState, LoadedConfig};
use crate::core::diagnostics::FileError;
use crate::daemon::reload::{ConfigWatcher, log_errors};
use crate::daemon::systemd_notify::SystemdNotifier;

/// What is needed while the configuration is invalid.
pub(crate) struct ConfigWait<'a> {
    pub(crate) file: &'a Path,
    pub(crate) listener: &'a Listener,
    pub(crate) notifier: SystemdNotifier,
}

impl ConfigWait<'_> {
    /// Returns a valid configuration: `config`, or, if that is an error, the one that corrects it. Until then
    /// clients are answered with the error, and the file is read again when it changes and at each
    /// `hangup`. Returns `None` if `stop` ends first.
    pub(crate) async fn until_valid(
        self,
        config: Result<Config, FileError>,
        stop: impl Future<Output = ()>,
        hangup: &mut Signal,
    ) -> Option<Config> {
        let error = match config {
            Ok(config) => return Some(config),
            Err(error) => error,
        };
        let invalid = ConfigState { path: self.file.to_owned(), errors: vec![error] };
        self.report(&invalid);
        let (errors, state) = watch::channel(invalid);
        // Dropped at the end, which closes all connections.
        let (_stop, stopped) = watch::channel(false);
        let serve = async {
            tokio::join!(serve_unconfigured(self.listener, state, stopped), self.feed_watchdog());
            std::future::pending::<()>().await;
        };
        tokio::select! {
            config = self.watch_file(&errors, hangup) => Some(config),
            () = serve => None,
            () = stop => None,
        }
    }

    async fn watch_file(&self, errors: &watch::Sender<ConfigState>, hangup: &mut Signal) -> Config {
        loop {
            let watcher = ConfigWatcher::open(self.file);
            // After the watches were set, so that no earlier change is missed.
            let LoadedConfig { config, state } = LoadedConfig::from_file(self.file);
            if let Some(config) = config {
                info!("the configuration is valid; starting");
                return config;
            }
            if *errors.borrow() != state {
                self.report(&state);
                errors.send_replace(state);
            }
            tokio::select! {
                _ = hangup.recv() => {}
                () = watcher.wait_for_change() => {}
            }
        }
    }

    /// Reports the errors, and that the process runs: a start that is not complete would be ended.
    fn report(&self, state: &ConfigState) {
        log_errors(state, "waiting until it is corrected");
        let first = state.errors.first().map(ToString::to_string).unwrap_or_default();
        self.notifier.notify_ready(&format!("waiting for a valid configuration: {first}"));
    }

    /// Resets systemd's watchdog, since no engine runs that could hang. Returns only if the watchdog is
    /// disabled.
    async fn feed_watchdog(&self) {
        let Some(period) = self.notifier.watchdog_timeout() else {
            return;
        };
        loop {
            self.notifier.notify_watchdog();
            sleep(period / 4).await;
        }
    }
}
