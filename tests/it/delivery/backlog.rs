//! Events that wait for an unreachable receiver: they use no memory, are delivered in order when it
//! is back, and are counted when retention deletes them first.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dossierd::core::artifact::{ArtifactClass, RequiredStatus};
use dossierd::core::digest::Digest;
use dossierd::core::event::{ArtifactIndexed, Change, Payload};
use dossierd::core::path::{FeatureSlug, RelPath};
use dossierd::core::time::Timestamp;
use dossierd::store::{EventOrigin, FeatureChange, Store, StoreTime};

use crate::delivery::support::{
    Behaviour, assert_in_order, change_features, resident_kib, sink, start_receiver,
    wait_for_delivery,
};
use crate::support::Project;
use crate::support::wait::wait_for;

const THREE_DAYS: Duration = Duration::from_hours(72);

/// Commits events of five features whose times are spread over the last three days.
fn commit_three_days(store: &mut Store, count: u64) {
    let steps = 20;
    for step in 0..steps {
        commit_events(store, count / u64::from(steps), THREE_DAYS * (steps - step) / steps);
    }
}

/// Commits events of five features that were emitted `ago` before now.
fn commit_events(store: &mut Store, count: u64, ago: Duration) {
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
fn backlog_of_three_days_uses_no_memory_and_is_delivered_in_order() {
    const COUNT: u64 = 100_000;
    let receiver = start_receiver();
    receiver.set_behaviour(Behaviour::Respond(503, String::new()));
    let other = Project::complete().webhook(&receiver, "  batch: 100\n");
    let daemon = other.start_daemon();
    wait_for("a failed request", || (sink(&daemon)["state"] == "retrying").then_some(()));
    let before = resident_kib(&daemon);
    daemon.stop();
    let project = Project::complete().webhook(&receiver, "  batch: 100\n");
    std::fs::create_dir_all(project.state_dir()).unwrap();
    let mut store = Store::open(&project.state_dir(), "boot").unwrap().store;
    commit_three_days(&mut store, COUNT);
    store.close().unwrap();

    let daemon = project.start_daemon();
    let found = wait_for("a failed request", || {
        let sink = sink(&daemon);
        (sink["state"] == "retrying").then_some(sink)
    });
    assert!(found["lag"].as_u64().unwrap() >= COUNT, "{found:#}");
    let since: Timestamp = serde_json::from_value(found["oldest_undelivered_at"].clone()).unwrap();
    let since = Timestamp::from(SystemTime::now()).as_millis() - since.as_millis();
    assert!(u128::from(since.unsigned_abs()) >= THREE_DAYS.as_millis(), "{found:#}");
    let waiting = resident_kib(&daemon);
    assert!(waiting < before + 8 * 1024, "{before} KiB without, {waiting} KiB with a queue");
    change_features(&project, "changed while events wait");
    daemon.status();
    receiver.set_behaviour(Behaviour::Accept);
    // The daemon is also killed during delivery.
    wait_for("a part of the events", || (receiver.received().events.len() > 20_000).then_some(()));
    daemon.kill();
    let daemon = project.start_daemon();
    let last = daemon.status()["seq"].as_u64().unwrap();
    wait_for("all events", || (sink(&daemon)["lag"] == 0).then_some(()));
    let after = resident_kib(&daemon);
    assert!(after < before + 16 * 1024, "{before} KiB before, {after} KiB after");
    let deliveries = receiver.received();
    assert_in_order(&deliveries.events);
    let mut seqs: Vec<u64> =
        deliveries.events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    seqs.sort_unstable();
    assert!(seqs.iter().copied().eq(1..=last), "{} of {last}", seqs.len());
    drop(deliveries);
    daemon.stop();
}

#[test]
fn events_pruned_before_the_start_are_counted_and_logged() {
    let receiver = start_receiver();
    let project = Project::complete().webhook(&receiver, "");
    std::fs::create_dir_all(project.state_dir()).unwrap();
    let mut store = Store::open(&project.state_dir(), "boot").unwrap().store;
    commit_events(&mut store, 10, Duration::ZERO);
    let prune_all = |store: &mut Store| {
        while store.prune(Duration::MAX, 0, StoreTime::now()).unwrap().events > 0 {}
    };
    // Events that were deleted before the webhook was added do not count.
    prune_all(&mut store);
    store.register_sink("webhook").unwrap();
    commit_events(&mut store, 30, Duration::ZERO);
    prune_all(&mut store);
    commit_events(&mut store, 5, Duration::ZERO);
    store.close().unwrap();
    let daemon = project.start_daemon();
    let found = wait_for("the other events to be delivered", || {
        let sink = sink(&daemon);
        (sink["lag"] == 0).then_some(sink)
    });
    assert_eq!(found["dropped_by_retention"], 30, "{found:#}");
    assert!(
        daemon.log().contains("retention deleted events that were not delivered"),
        "{}",
        daemon.log()
    );
    let first = receiver.received().events.iter().map(|event| event["seq"].as_u64()).min();
    assert_eq!(first, Some(Some(41)));
    daemon.stop();
    // After a restart they are not counted again.
    let daemon = project.start_daemon();
    let after_restart =
        wait_for("the delivery status", || sink(&daemon)["cursor"].as_u64().map(|_| sink(&daemon)));
    assert_eq!(after_restart["dropped_by_retention"], 30, "{after_restart:#}");
    daemon.stop();
}

#[test]
fn events_pruned_while_the_receiver_is_down_are_counted_and_logged() {
    const COUNT: u64 = 4_000;
    let receiver = start_receiver();
    receiver.set_behaviour(Behaviour::Respond(503, String::new()));
    let project = Project::complete().webhook(&receiver, "");
    std::fs::create_dir_all(project.state_dir()).unwrap();
    let mut store = Store::open(&project.state_dir(), "boot").unwrap().store;
    store.register_sink("webhook").unwrap();
    commit_three_days(&mut store, COUNT);
    store.close().unwrap();
    let daemon = project.start_daemon();
    wait_for("a failed request", || (sink(&daemon)["state"] == "retrying").then_some(()));
    assert_eq!(sink(&daemon)["dropped_by_retention"], 0);
    // Half of the events are older.
    let origin = format!("http://{}", receiver.address);
    let text = project.webhook_config(&origin, "journal: {max_age: 37h}\n");
    project.replace_config(&text);
    let dropped = COUNT / 2;
    wait_for("the older events to be deleted", || {
        (sink(&daemon)["dropped_by_retention"] == dropped).then_some(())
    });
    assert!(
        daemon.log().contains("retention deleted events that were not delivered"),
        "{}",
        daemon.log()
    );
    let list = project.run_client(&["delivery", "list"]).assert_success().stdout;
    assert!(list.contains(&format!("dropped by retention: {dropped}")), "{list}");
    receiver.set_behaviour(Behaviour::Accept);
    let journal = wait_for_delivery(&daemon, &receiver);
    assert_eq!(journal[0]["seq"], dropped + 1);
    assert_eq!(sink(&daemon)["dropped_by_retention"], dropped);
    daemon.stop();
}
