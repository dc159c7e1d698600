//! Throughput of the store: `cargo bench --bench store`.
//!
//! Prints figures without promises.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use dossierd::core::artifact::{
    ArtifactClass, ArtifactRef, ArtifactState, FileSignature, RequiredStatus,
};
use dossierd::core::digest::Digest;
use dossierd::core::event::{ArtifactIndexed, Change, Payload};
use dossierd::core::inventory::InventoryEntry;
use dossierd::core::path::{FeatureSlug, RelPath};
use dossierd::core::time::Timestamp;
use dossierd::store::{EventFilter, EventOrigin, FeatureChange, Store, StoreTime};

fn main() {
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut store = Store::open(dir.path(), "boot").unwrap().store;

    let count: u32 = 100_000;
    let first = change(0..count);
    let (_, took) = timed(|| store.commit(vec![first], now()).unwrap());
    rate("commit of 100,000 new artifacts, one transaction", count, took);
    let (_, took) = timed(|| store.barrier().unwrap());
    println!("barrier after it: {took:?}");
    let (left, took) = timed(|| store.checkpointer().checkpoint().unwrap());
    println!("checkpoint after it: {took:?}, {left:?} pages left");

    let count = 20_000;
    let singles: Vec<_> = (0..count).map(|n| change(n..n + 1)).collect();
    let mut commits = Vec::new();
    let ((), took) = timed(|| {
        for single in singles {
            commits.push(timed(|| store.commit(vec![single], now()).unwrap()).1);
        }
    });
    rate("commits of one changed artifact", count, took);
    quantiles("a commit of one", commits);

    let mut barriers = Vec::new();
    for n in 0..500 {
        store.commit(vec![change(n..n + 1)], now()).unwrap();
        barriers.push(timed(|| store.barrier().unwrap()).1);
    }
    quantiles("a barrier", barriers);

    let (features, took) = timed(|| store.load_features("0123456789abcdef").unwrap());
    println!("load of {} artifacts: {took:?}", features[0].entries.len());

    let mut reader = store.journal().reader();
    let (mut after, mut read) = (0, 0);
    let ((), took) = timed(|| {
        loop {
            let page = reader.page(after, 1_000, &EventFilter::default()).unwrap();
            if page.events.is_empty() {
                return;
            }
            read += u32::try_from(page.events.len()).unwrap();
            after = page.last_scanned;
        }
    });
    rate("journal read in pages of 1,000", read, took);

    let mut steps = Vec::new();
    loop {
        let (pruned, took) = timed(|| store.prune(Duration::MAX, 0, StoreTime::now()).unwrap());
        if pruned.events == 0 {
            break;
        }
        steps.push(took);
    }
    quantiles("a step of pruning", steps);
    store.close().unwrap();
}

/// Returns the result of a function and its duration.
fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = run();
    (value, start.elapsed())
}

/// Prints the rate of an operation.
fn rate(what: &str, count: u32, took: Duration) {
    println!("{what}: {count} in {took:?}, {:.0} a second", f64::from(count) / took.as_secs_f64());
}

/// Prints quantiles of durations.
fn quantiles(what: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let last = took.len() - 1;
    println!(
        "{what}: p50 {:?}, p99 {:?}, max {:?}",
        took[last / 2],
        took[last * 99 / 100],
        took[last]
    );
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

/// Returns a change that adds artifacts with these numbers.
fn change(numbers: std::ops::Range<u32>) -> FeatureChange {
    let origin = EventOrigin {
        project: "project".to_owned(),
        root_id: "0123456789abcdef".to_owned(),
        project_uuid: "6ba7b811-9dad-11d1-80b4-00c04fd430c8".to_owned(),
        node_id: "0123456789ab".to_owned(),
    };
    let slug = FeatureSlug::new(b"042-a-feature").unwrap();
    let mut change = FeatureChange::new(Arc::new(origin), slug.clone());
    for number in numbers {
        let path = format!("tasks/group-{:02}/WP{number:06}.md", number / 2_000);
        let entry = entry(&path, number);
        change.events.push(indexed(&slug, &entry.artifact));
        change.upserts.push(entry);
    }
    change
}

fn entry(path: &str, number: u32) -> InventoryEntry {
    let artifact = ArtifactRef {
        artifact_key: format!("output.{}", path.replace('/', ".")).into(),
        artifact_class: ArtifactClass::Output,
        relative_path: RelPath::new(path.as_bytes()).unwrap(),
        size_bytes: 2_000,
        wp_id: Some(format!("WP{number:06}").into()),
        step_id: Some("implement".into()),
        required_status: RequiredStatus::Optional,
        state: ArtifactState::Present { hash: Digest::of(path.as_bytes()), static_hash: None },
        indexed_at: now(),
    };
    let signature = FileSignature {
        size: 2_000,
        modified_ns: 1_771_668_000_123_456_789,
        changed_ns: 1_771_668_000_123_456_789,
        inode: u64::from(number) + 10_000_000,
        device: 66_305,
    };
    InventoryEntry { artifact: artifact.into(), signature: Some(signature), racy: false }
}

fn indexed(slug: &FeatureSlug, artifact: &ArtifactRef) -> Payload {
    Payload::ArtifactIndexed(ArtifactIndexed {
        feature_slug: slug.clone(),
        artifact_key: artifact.artifact_key.to_string(),
        artifact_class: artifact.artifact_class,
        relative_path: artifact.relative_path.clone(),
        content_hash_sha256: Digest::of(b""),
        size_bytes: artifact.size_bytes,
        wp_id: artifact.wp_id.as_deref().map(str::to_owned),
        step_id: artifact.step_id.as_deref().map(str::to_owned),
        required_status: artifact.required_status,
        change: Change::Added,
        previous_artifact_key: None,
    })
}
