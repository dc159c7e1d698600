//! A daemon with a webhook, and the receiver that it sends to: the example's.

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

pub(crate) use receiver::{Mood, Receiver};

/// What must be seen nowhere.
pub(crate) const CANARY: &str = "whsec_CANARYCANARYCANARYCANARYCANARYCANARY";

impl Project {
    /// With a webhook to that receiver, quick to try again, and more said of it.
    pub(crate) fn webhook(self, receiver: &Receiver, more: &str) -> Self {
        self.secret(CANARY);
        let text = self.webhook_text(&format!("http://{}", receiver.address), more);
        self.config(&text)
    }

    /// The configuration with that webhook.
    pub(crate) fn webhook_text(&self, origin: &str, more: &str) -> String {
        let secret = self.home().join("secret");
        let secret = secret.display();
        format!(
            "webhook:\n  url: {origin}/hook?token=CANARY\n  secret_file: {secret}\n  \
             timeout: 1s\n  backoff: {{first_ms: 10, most_ms: 100}}\n{more}"
        )
    }

    /// Makes that the secret.
    pub(crate) fn secret(&self, text: &str) {
        let (secret, new) = (self.home().join("secret"), self.home().join("secret.new"));
        write_file(&new, text.as_bytes());
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(new, secret).unwrap();
    }

    /// Makes that the configuration, while a daemon may be running.
    pub(crate) fn reconfigure(&self, text: &str) {
        let new = self.home().join("config.new");
        write_file(&new, text.as_bytes());
        fs::create_dir_all(self.config_file().parent().unwrap()).unwrap();
        fs::rename(new, self.config_file()).unwrap();
    }
}

/// A receiver that takes everything.
pub(crate) fn receiver() -> Receiver {
    Receiver::start("127.0.0.1:0", &[CANARY], |_| {}).unwrap()
}

/// How the webhook does.
pub(crate) fn sink(daemon: &Daemon) -> Value {
    daemon.get_json("/api/status")["delivery"][0].clone()
}

/// Resident memory in KiB.
pub(crate) fn memory(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.child_id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The whole journal.
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

/// Waits until every change that was made is announced and delivered; holds that the receiver has
/// exactly the journal, and each feature's events in order. Gives the journal.
#[track_caller]
pub(crate) fn delivered(daemon: &Daemon, receiver: &Receiver) -> Vec<Value> {
    daemon.status();
    let mut last = Value::Null;
    wait_for("delivery of everything", || {
        let status = daemon.get_json("/api/status");
        let sink = &status["delivery"][0];
        last.clone_from(sink);
        let all = sink["cursor"] == status["seq"] && sink["lag"] == 0 && sink["state"] == "ok";
        all.then_some(())
    });
    assert_eq!((&last["last_error"], &last["set_aside"]), (&Value::Null, &0.into()), "{last:#}");
    let journal = journal(daemon);
    let kept = receiver.kept();
    assert_eq!(kept.wrong, [] as [String; 0]);
    in_order(&kept.events);
    kept.events.iter().for_each(assert_valid_event);
    let ids =
        |events: &[Value]| -> BTreeSet<String> { events.iter().map(ToString::to_string).collect() };
    assert!(ids(&kept.events) == ids(&journal), "{} of {}", kept.events.len(), journal.len());
    journal
}

/// Holds that each feature's events are in order.
#[track_caller]
pub(crate) fn in_order(events: &[Value]) {
    let mut last: HashMap<(String, String), u64> = HashMap::new();
    for event in events {
        let lane = (event["root_id"].to_string(), event["feature_slug"].to_string());
        let seq = event["seq"].as_u64().unwrap();
        let before = last.insert(lane, seq);
        assert!(before.is_none_or(|before| before < seq), "{before:?} before {event:#}");
    }
}

/// Changes something in two features.
pub(crate) fn change(project: &Project, text: &str) {
    project.write(&format!("kitty-specs/{FEATURE}/spec.md"), text);
    project.write("kitty-specs/002-y/spec.md", text);
}
