//! A file system that stops answering, and starts again.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::fuse::FuseMount;
use crate::support::invariants::JournalReader;
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project, find_artifact};

const HUNG: &str = "002-hung";
const SPEC: &str = "# Spec\n";

/// Returns a project, and a mounted one that its daemon watches, too; `None` if nothing can be
/// mounted here.
fn mounted() -> Option<(Project, FuseMount)> {
    let project = Project::complete();
    let root = project.home().join("mounted");
    let meta = format!("{{\"mission\":\"software-dev\",\"slug\":\"{HUNG}\"}}");
    let files = [
        ("kitty-specs/002-hung/spec.md", SPEC),
        ("kitty-specs/002-hung/plan.md", "# Plan\n"),
        ("kitty-specs/002-hung/meta.json", &*meta),
    ];
    let mount = FuseMount::start(&root, &files)?;
    let project = project.config(&format!("projects:\n  - path: {}\n", root.display()));
    Some((project, mount))
}

/// Returns the state of the mounted project.
fn mounted_state(status: &Value) -> String {
    let projects = status["projects"].as_array().unwrap();
    let mounted = projects.iter().find(|one| one["project"] == "mounted").unwrap();
    mounted["watch"]["state"].as_str().unwrap().to_owned()
}

fn wait_for_state(daemon: &Daemon, state: &str) {
    wait_for(&format!("`{state}`; log:\n{}", daemon.log()), || {
        (mounted_state(&daemon.status()) == state).then_some(())
    });
}

/// Returns the hash of the mounted specification that the daemon shows.
fn mounted_hash(daemon: &Daemon) -> Option<String> {
    let snapshot = daemon.try_get("/api/dossier/snapshots/export?feature=002-hung", &[]).ok()?;
    if snapshot.status != 200 {
        return None;
    }
    let spec = find_artifact(&snapshot.json(), "spec.md").clone();
    Some(spec["content_hash_sha256"].as_str()?.to_owned())
}

#[test]
fn file_system_that_does_not_answer_stops_only_its_own_project() {
    let Some((project, mut mount)) = mounted() else {
        return;
    };
    let daemon = project.start_daemon();
    wait_for_state(&daemon, "polling");
    let hash = wait_for("the mounted file", || mounted_hash(&daemon));

    mount.hang();
    wait_for_state(&daemon, "unresponsive");
    let mut events = daemon.open_stream("", &[]);
    project.write(&format!("kitty-specs/{FEATURE}/spec.md"), "# Changed\n");
    let event = events.next();
    assert_eq!(event.data["feature_slug"], FEATURE, "{event:?}");
    let synced = daemon.get_json(&format!("/api/dossier/overview?feature={FEATURE}&sync=true"));
    assert_eq!(synced["synced"], "cookie");
    let unknown = daemon.get_json("/api/dossier/overview?feature=002-hung&sync=true");
    assert_eq!(unknown["synced"], "none", "nothing waits for it");
    assert_eq!(unknown["completeness_status"], "unknown", "{unknown}");
    let root = project.home().join("mounted");
    let reason = unknown["synced_reason"].as_str().unwrap();
    assert!(reason.starts_with(root.to_str().unwrap()), "{reason}");
    let status = daemon.get_json("/api/status?sync=true");
    assert_eq!((&status["synced"], &status["synced_reason"]), (&"none".into(), &reason.into()));
    let projects = status["projects"].as_array().unwrap().iter();
    let mut of_each: Vec<_> = projects.map(|one| one["synced"].as_str().unwrap()).collect();
    of_each.sort_unstable();
    assert_eq!(of_each, ["cookie", "none"]);
    let refused = daemon.request("POST", "/api/dossier/baseline?feature=002-hung", "");
    assert_eq!((refused.status, &refused.json()["hint_code"]), (409, &"not_synced".into()));
    assert_eq!(mounted_hash(&daemon), Some(hash.clone()), "what was known is kept");
    let found = project.run_client(&["status"]);
    assert!(found.stdout.contains("unresponsive"), "{found:?}");
    assert!(found.stderr.contains(&format!("changes may be missing: {reason}")), "{found:?}");

    mount.resume();
    wait_for_state(&daemon, "polling");
    let events = JournalReader::default().read_new(&daemon);
    assert!(!events.is_empty());
    let is_deletion = |event: &Value| event.to_string().contains("deleted");
    assert!(!events.iter().any(is_deletion), "{events:#?}");
    daemon.stop();
}

#[test]
fn daemon_starts_and_stops_while_a_file_system_does_not_answer() {
    let Some((project, mut mount)) = mounted() else {
        return;
    };
    let daemon = project.start_daemon();
    let hash = wait_for("the mounted file", || mounted_hash(&daemon));
    mount.hang();
    wait_for_state(&daemon, "unresponsive");
    daemon.stop();

    let begun = Instant::now();
    let daemon = project.start_daemon();
    wait_for_state(&daemon, "unresponsive");
    wait_for("the stored state", || (mounted_hash(&daemon)? == hash).then_some(()));
    assert!(begun.elapsed() < Duration::from_secs(20), "nothing waits for the file system");
    daemon.stop();

    let daemon = project.start_daemon();
    mount.resume();
    wait_for_state(&daemon, "polling");
    assert_eq!(mounted_hash(&daemon), Some(hash));
    daemon.stop();
}

/// More clients than the runtime has threads for calls that can block.
#[test]
fn requests_about_a_file_system_that_does_not_answer_delay_no_others() {
    const CLIENTS: usize = 24;
    let Some((project, mut mount)) = mounted() else {
        return;
    };
    let daemon = project.start_daemon();
    wait_for("the mounted file", || mounted_hash(&daemon));
    mount.hang();
    let unknown = project.home().join("mounted/kitty-specs");
    let targets = [
        format!("/api/dossier/artifacts/input.spec.main?feature={HUNG}"),
        format!("/api/dossier/overview?feature={HUNG}&project={}", unknown.display()),
    ];
    std::thread::scope(|scope| {
        let requests: Vec<_> = (0..CLIENTS)
            .map(|number| {
                scope.spawn({
                    let (daemon, targets) = (&daemon, &targets);
                    move || daemon.try_get(&targets[number % 2], &[])
                })
            })
            .collect();
        // Both are read on those threads.
        let content = format!("/api/dossier/artifacts/input.spec.main?feature={FEATURE}");
        assert_eq!(daemon.get(&content).status, 200);
        let journal = daemon.try_get("/api/events?since=start", &["Accept: application/json"]);
        assert_eq!(journal.unwrap().status, 200);
        for request in requests {
            let response = request.join().unwrap().unwrap();
            assert!([200, 404].contains(&response.status), "{response:?}");
        }
    });
    wait_for_state(&daemon, "unresponsive");
    let detail = daemon.get(&targets[0]).json();
    let notice = detail["truncation_notice"].as_str().unwrap();
    assert!(notice.contains("does not respond"), "{detail}");
    let accepted = daemon.request("POST", &format!("/api/dossier/baseline?feature={HUNG}"), "");
    assert!(accepted.status >= 400, "{accepted:?}");
    mount.resume();
    wait_for_state(&daemon, "polling");
    daemon.stop();
}
