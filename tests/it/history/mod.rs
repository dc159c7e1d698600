//! Content history: what is stored, compared and brought back.

mod commands;
mod full_disk;
mod git_apply;
mod hostile_contents;
mod random_edits;
mod restore;

use serde_json::Value;

use crate::support::FEATURE;
use crate::support::process::Daemon;
use crate::support::wait::wait_for;

/// Waits until every event is covered, and returns the state of the history.
#[track_caller]
fn wait_until_stored(daemon: &Daemon) -> Value {
    // Every change that was made before has an event then.
    daemon.get_json("/api/status?sync=true");
    wait_for("the history to cover all events", || {
        let status = daemon.get_json("/api/status");
        // Until the store of events can be written, what happened has no number.
        let is_persisted = status["store"]["state"] == "ok";
        let last = status["seq"].as_u64()?;
        let status = daemon.get_json("/api/history");
        (is_persisted && status["stored_seq"].as_u64()? >= last).then_some(status)
    })
}

/// Returns the versions of a file, oldest first: hash and why it is not stored.
fn versions(daemon: &Daemon, path: &str) -> Vec<(String, Option<String>)> {
    versions_of(daemon, FEATURE, path)
}

/// The same of a file of any feature.
fn versions_of(daemon: &Daemon, feature: &str, path: &str) -> Vec<(String, Option<String>)> {
    let query = format!("/api/dossier/versions?feature={feature}&limit=5000&artifact_key={path}");
    let list = daemon.get_json(&query);
    let version = |version: &Value| {
        let text = |name: &str| version[name].as_str().map(str::to_owned);
        (text("content_hash_sha256").unwrap(), text("not_stored"))
    };
    list["versions"].as_array().unwrap().iter().rev().map(version).collect()
}
