//! How often the daemon evaluates a feature that changes all the time.

use serde_json::Value;

use crate::support::invariants::{JournalReader, assert_invariants};
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project, write_file};

#[test]
fn feature_is_evaluated_at_most_ten_times_a_second_and_after_the_last_change() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mut journal = JournalReader::default();
    assert_invariants(&project, &daemon, &mut journal);
    let spec = project.feature_dir().join("spec.md");
    let evaluations = |events: &[Value]| -> Vec<Value> {
        let is_evaluation =
            |event: &&Value| event["event_type"] == "mission_dossier_snapshot_computed";
        events.iter().filter(is_evaluation).cloned().collect()
    };
    let (mut number, mut events) = (0, Vec::new());
    wait_for("evaluations while the file changes", || {
        number += 1;
        write_file(&spec, format!("{number}\n").as_bytes());
        events.extend(journal.read_new(&daemon));
        (evaluations(&events).len() >= 5).then_some(())
    });
    events.extend(assert_invariants(&project, &daemon, &mut journal));
    let evaluations = evaluations(&events);
    let emitted_at = |event: &Value| {
        let text = event["emitted_at"].as_str().unwrap();
        chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
    };
    for pair in evaluations.windows(2) {
        // Both times are truncated to a millisecond.
        assert!(emitted_at(&pair[1]) - emitted_at(&pair[0]) >= 99, "{pair:#?}");
    }
    let last = &evaluations.last().unwrap()["payload"];
    let export = daemon.export(FEATURE);
    assert_eq!(last["tree_hash_sha256"], export["tree_hash_sha256"]);
    daemon.stop();
}
