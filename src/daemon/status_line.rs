//! The `STATUS=` line that `systemctl status` shows: what is watched and what is wrong.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::config::ConfigState;
use crate::daemon::systemd_notify::SystemdNotifier;
use crate::engine::read_model::{EngineState, StatePublisher, WatchState};

/// Minimum interval between two updates of the status line.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// Sends the status line to systemd whenever it changes. Never returns while the engine runs.
pub(crate) async fn update_status_line(
    notifier: SystemdNotifier,
    views: Arc<StatePublisher>,
    mut config: watch::Receiver<ConfigState>,
) {
    let mut world_changes = views.subscribe();
    let mut shown = String::new();
    loop {
        let text = format_status(&views.load(), &config.borrow_and_update());
        if text != shown {
            notifier.set_status(&text);
            shown = text;
        }
        sleep(STATUS_INTERVAL).await;
        let changed = tokio::select! {
            changed = world_changes.changed() => changed,
            changed = config.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Returns the number of watched features and projects, followed by all problems.
pub(crate) fn format_status(world: &EngineState, config: &ConfigState) -> String {
    let features: usize = world.projects.iter().map(|project| project.features.len()).sum();
    let mut text = match world.projects.as_slice() {
        [] => "watching nothing; `dossierd project add PATH` adds a project".to_owned(),
        projects => format!(
            "watching {} in {}",
            pluralize(features, "feature"),
            pluralize(projects.len(), "project")
        ),
    };
    for error in &config.errors {
        text.push_str(&format!("; invalid configuration, the last valid one is in use: {error}"));
    }
    if let Some(why) = &world.degraded {
        text.push_str(&format!("; not durable: {why}"));
    }
    for project in &world.projects {
        let state = match project.watch.state {
            WatchState::Live => continue,
            WatchState::Rescanning => "is being rescanned",
            WatchState::Polling => "is polled",
            WatchState::Degraded => "is only partly watched",
            WatchState::Unreadable => "is unreadable",
            WatchState::RootUnavailable => "is unavailable",
            WatchState::Unresponsive => "does not respond",
        };
        text.push_str(&format!("; {} {state}", project.root));
    }
    text
}

/// Returns the progress of the initial scan.
pub(crate) fn format_indexing(world: &EngineState) -> String {
    let count = |ready: bool| -> usize {
        let projects = world.projects.iter().filter(|project| project.ready || !ready);
        projects.map(|project| project.features.len()).sum()
    };
    if world.projects.is_empty() {
        return "indexing".to_owned();
    }
    format!("indexing: {} of {}", count(true), pluralize(count(false), "feature"))
}

fn pluralize(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::diagnostics::FileError;
    use std::path::Path;

    #[test]
    fn status_line_contains_every_problem() {
        let mut world = EngineState::default();
        let mut config = ConfigState::ok(Path::new("/c.yaml"));
        assert!(format_status(&world, &config).starts_with("watching nothing; "));
        assert_eq!(format_indexing(&world), "indexing");
        world.degraded = Some("disk full".to_owned());
        config.errors.push(FileError::without_position("/c.yaml", "no"));
        let text = format_status(&world, &config);
        assert!(text.contains("in use: /c.yaml: no") && text.ends_with("; not durable: disk full"));
    }
}
