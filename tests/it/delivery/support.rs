//! A daemon with a webhook, and the receiver of `examples/receiver`.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::support::process::Daemon;
use crate::support::schema::assert_valid_event;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project, write_file};

#[path = "../../../examples/receiver/receiver.rs"]
mod receiver;

pub(crate) use receiver::{Behaviour, Receiver};

/// The secret, which must be visible nowhere.
pub(crate) const CANARY: &str = "whsec_CANARYCANARYCANARYCANARYCANARYCANARY";

impl Project {
    /// Configures a webhook to a receiver, with short retry intervals; `more` is appended to the
    /// webhook.
    pub(crate) fn webhook(self, receiver: &Receiver, more: &str) -> Self {
        self.write_secret(CANARY);
        let text = self.webhook_config(&format!("http://{}", receiver.address), more);
        self.config(&text)
    }

    /// Returns the configuration of a webhook.
    pub(crate) fn webhook_config(&self, origin: &str, more: &str) -> String {
        let secret = self.home().join("secret");
        let secret = secret.display();
        format!(
            "webhook:\n  url: {origin}/hook?token=CANARY\n  secret_file: {secret}\n  \
             timeout: 1s\n  backoff: {{first_ms: 10, most_ms: 100}}\n{more}"
        )
    }

    /// Replaces the file of the secret.
    pub(crate) fn write_secret(&self, text: &str) {
        let (secret, new) = (self.home().join("secret"), self.home().join("secret.new"));
        write_file(&new, text.as_bytes());
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(new, secret).unwrap();
    }

    /// Replaces the configuration by a rename, so that a running daemon never reads a part of it.
    pub(crate) fn replace_config(&self, text: &str) {
        let new = self.home().join("config.new");
        write_file(&new, text.as_bytes());
        fs::create_dir_all(self.config_file().parent().unwrap()).unwrap();
        fs::rename(new, self.config_file()).unwrap();
    }
}

/// Starts a receiver that accepts everything.
pub(crate) fn start_receiver() -> Receiver {
    Receiver::start("127.0.0.1:0", &[CANARY], |_| {}).unwrap()
}

/// Returns the delivery status of the webhook.
pub(crate) fn sink(daemon: &Daemon) -> Value {
    daemon.get_json("/api/status")["delivery"][0].clone()
}

/// Returns the resident memory of the daemon in KiB.
pub(crate) fn resident_kib(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.child_id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Returns all events of the journal.
pub(crate) fn journal(daemon: &Daemon) -> Vec<Value> {
    let (mut events, mut since) = (Vec::new(), "start".to_owned());
    loop {
        let page = daemon.get_json(&format!("/api/events?since={since}"));
        let new = page["events"].as_array().unwrap().clone();
        if new.is_empty() {
            return events;
        }
        page["next"].as_str().unwrap().clone_into(&mut since);
        events.extend(new);
    }
}

/// Waits until all events of earlier changes are delivered; checks that the receiver has exactly
/// the journal, with the events of each feature in order. Returns the journal.
#[track_caller]
pub(crate) fn wait_for_delivery(daemon: &Daemon, receiver: &Receiver) -> Vec<Value> {
    daemon.status();
    let mut last = Value::Null;
    wait_for("all events to be delivered", || {
        let status = daemon.get_json("/api/status");
        let sink = &status["delivery"][0];
        last.clone_from(sink);
        let is_done = sink["cursor"] == status["seq"] && sink["lag"] == 0 && sink["state"] == "ok";
        is_done.then_some(())
    });
    assert_eq!((&last["last_error"], &last["dead_letters"]), (&Value::Null, &0.into()), "{last:#}");
    let journal = journal(daemon);
    let deliveries = receiver.received();
    assert_eq!(deliveries.errors, [] as [String; 0]);
    assert_in_order(&deliveries.events);
    deliveries.events.iter().for_each(assert_valid_event);
    let ids =
        |events: &[Value]| -> BTreeSet<String> { events.iter().map(ToString::to_string).collect() };
    assert!(
        ids(&deliveries.events) == ids(&journal),
        "{} of {}",
        deliveries.events.len(),
        journal.len()
    );
    journal
}

/// Checks that the events of each feature are in order.
#[track_caller]
pub(crate) fn assert_in_order(events: &[Value]) {
    let mut last: HashMap<(String, String), u64> = HashMap::new();
    for event in events {
        let partition = (event["root_id"].to_string(), event["feature_slug"].to_string());
        let seq = event["seq"].as_u64().unwrap();
        let before = last.insert(partition, seq);
        assert!(before.is_none_or(|before| before < seq), "{before:?} before {event:#}");
    }
}

/// Changes a file in each of two features.
pub(crate) fn change_features(project: &Project, text: &str) {
    project.write(&format!("kitty-specs/{FEATURE}/spec.md"), text);
    project.write("kitty-specs/002-y/spec.md", text);
}
