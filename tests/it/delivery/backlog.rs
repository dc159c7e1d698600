//! A long time offline: what is queued costs no memory, is delivered in order when the receiver is
//! back, and what retention took of it is counted.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dossierd::core::artifact::{ArtifactClass, RequiredStatus};
use dossierd::core::digest::Digest;
use dossierd::core::event::{ArtifactIndexed, Change, Payload};
use dossierd::core::path::{FeatureSlug, RelPath};
use dossierd::core::time::Timestamp;
use dossierd::store::{EventOrigin, FeatureChange, Store};

use crate::delivery::support::{Mood, change, delivered, in_order, memory, receiver, sink};
use crate::support::Project;
use crate::support::wait::wait_for;

const THREE_DAYS: Duration = Duration::from_hours(72);

/// Events of five features, emitted over the last three days.
fn queue_of_three_days(store: &mut Store, count: u64) {
    let steps = 20;
    for step in 0..steps {
        queue(store, count / u64::from(steps), THREE_DAYS * (steps - step) / steps);
    }
}

/// Events of five features, emitted that long ago.
fn queue(store: &mut Store, count: u64, ago: Duration) {
    let origin = Arc::new(EventOrigin {
        project: "p".to_owned(),
        root_id: "00112233445566ff".to_owned(),
        project_uuid: "11111111-2222-4333-8444-555555555555".to_owned(),
        node_id: "abcdef123456".to_owned(),
    });
    let mut changes = Vec::new();
    for number in 0..count {
        let slug = FeatureSlug::new(format!("00{}-x", number % 5).as_bytes()).unwrap();
        let path = format!("tasks/WP{number}.md");
        let indexed = ArtifactIndexed {
            feature_slug: slug.clone(),
            artifact_key: path.replace('/', "."),
            artifact_class: ArtifactClass::Output,
            relative_path: RelPath::new(path.as_bytes()).unwrap(),
            content_hash_sha256: Digest::of(path.as_bytes()),
            size_bytes: 7,
            wp_id: None,
            step_id: None,
            required_status: RequiredStatus::Optional,
            change: Change::Added,
            previous_artifact_key: None,
        };
        let events = vec![Payload::ArtifactIndexed(indexed)];
        changes.push(FeatureChange { events, ..FeatureChange::new(Arc::clone(&origin), slug) });
    }
    store.commit(changes, (SystemTime::now() - ago).into()).unwrap();
}

#[test]
fn a_hundred_thousand_events_of_three_days_wait_and_then_come_in_order() {
    const COUNT: u64 = 100_000;
    let receiver = receiver();
    receiver.turn(Mood::Answer(503, String::new()));
    let other = Project::complete().webhook(&receiver, "  batch: 100\n");
    let daemon = other.start_daemon();
    wait_for("it tries", || (sink(&daemon)["state"] == "retrying").then_some(()));
    let before = memory(&daemon);
    daemon.stop();
    let project = Project::complete().webhook(&receiver, "  batch: 100\n");
    std::fs::create_dir_all(project.state_dir()).unwrap();
    let mut store = Store::open(&project.state_dir(), "boot").unwrap().store;
    queue_of_three_days(&mut store, COUNT);
    store.close().unwrap();

    let daemon = project.start_daemon();
    let found = wait_for("it tries", || {
        let sink = sink(&daemon);
        (sink["state"] == "retrying").then_some(sink)
    });
    assert!(found["lag"].as_u64().unwrap() >= COUNT, "{found:#}");
    let since: Timestamp = serde_json::from_value(found["oldest_undelivered_at"].clone()).unwrap();
    let since = Timestamp::from(SystemTime::now()).as_millis() - since.as_millis();
    assert!(u128::from(since.unsigned_abs()) >= THREE_DAYS.as_millis(), "{found:#}");
    let waiting = memory(&daemon);
    assert!(waiting < before + 8 * 1024, "{before} KiB without, {waiting} KiB with a queue");
    change(&project, "whoever works goes on");
    daemon.status();
    receiver.turn(Mood::Good);
    // Killed on the way, too.
    wait_for("a part", || (receiver.kept().events.len() > 20_000).then_some(()));
    daemon.kill();
    let daemon = project.start_daemon();
    let last = daemon.status()["seq"].as_u64().unwrap();
    wait_for("all", || (sink(&daemon)["lag"] == 0).then_some(()));
    let after = memory(&daemon);
    assert!(after < before + 16 * 1024, "{before} KiB before, {after} KiB after");
    let kept = receiver.kept();
    in_order(&kept.events);
    let mut seqs: Vec<u64> =
        kept.events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    seqs.sort_unstable();
    assert!(seqs.iter().copied().eq(1..=last), "{} of {last}", seqs.len());
    drop(kept);
    daemon.stop();
}

#[test]
fn what_retention_took_is_counted_and_announced() {
    let receiver = receiver();
    let project = Project::complete().webhook(&receiver, "");
    std::fs::create_dir_all(project.state_dir()).unwrap();
    let mut store = Store::open(&project.state_dir(), "boot").unwrap().store;
    queue(&mut store, 10, Duration::ZERO);
    let clear = |store: &mut Store| {
        while store.prune(Duration::MAX, 0, SystemTime::now().into()).unwrap().events > 0 {}
    };
    // What went before there was a webhook was not for it.
    clear(&mut store);
    store.register_sink("webhook").unwrap();
    queue(&mut store, 30, Duration::ZERO);
    clear(&mut store);
    queue(&mut store, 5, Duration::ZERO);
    store.close().unwrap();
    let daemon = project.start_daemon();
    let found = wait_for("the rest is delivered", || {
        let sink = sink(&daemon);
        (sink["lag"] == 0).then_some(sink)
    });
    assert_eq!(found["dropped_by_retention"], 30, "{found:#}");
    assert!(daemon.log().contains("dropped by the journal's retention"), "{}", daemon.log());
    let first = receiver.kept().events.iter().map(|event| event["seq"].as_u64()).min();
    assert_eq!(first, Some(Some(41)));
    daemon.stop();
    // It is not counted twice.
    let daemon = project.start_daemon();
    let again = wait_for("it is shown", || sink(&daemon)["cursor"].as_u64().map(|_| sink(&daemon)));
    assert_eq!(again["dropped_by_retention"], 30, "{again:#}");
    daemon.stop();
}

#[test]
fn what_retention_takes_while_the_receiver_is_down_is_counted_and_announced() {
    const COUNT: u64 = 4_000;
    let receiver = receiver();
    receiver.turn(Mood::Answer(503, String::new()));
    let project = Project::complete().webhook(&receiver, "");
    std::fs::create_dir_all(project.state_dir()).unwrap();
    let mut store = Store::open(&project.state_dir(), "boot").unwrap().store;
    store.register_sink("webhook").unwrap();
    queue_of_three_days(&mut store, COUNT);
    store.close().unwrap();
    let daemon = project.start_daemon();
    wait_for("it tries", || (sink(&daemon)["state"] == "retrying").then_some(()));
    assert_eq!(sink(&daemon)["dropped_by_retention"], 0);
    // Half of the steps are older.
    let origin = format!("http://{}", receiver.address);
    let text = project.webhook_text(&origin, "journal: {max_age: 37h}\n");
    project.reconfigure(&text);
    let lost = COUNT / 2;
    wait_for("they are dropped", || (sink(&daemon)["dropped_by_retention"] == lost).then_some(()));
    assert!(daemon.log().contains("dropped by the journal's retention"), "{}", daemon.log());
    let said = project.run_client(&["delivery", "list"]).assert_success().stdout;
    assert!(said.contains(&format!("dropped by the journal's retention: {lost}")), "{said}");
    receiver.turn(Mood::Good);
    let journal = delivered(&daemon, &receiver);
    assert_eq!(journal[0]["seq"], lost + 1);
    assert_eq!(sink(&daemon)["dropped_by_retention"], lost);
    daemon.stop();
}
