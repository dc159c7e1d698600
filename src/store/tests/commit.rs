//! Tests of commits, and of loading what was committed.

use proptest::prelude::*;

use super::*;
use crate::core::artifact::DevIno;
use crate::core::feature::MetaFields;
use crate::core::hidden_files::FilesOnMounts;
use crate::core::manifest::MissionType;
use crate::core::sorted_chunks::SortedChunks;

#[test]
fn committed_changes_are_loaded_unchanged() {
    let dir = temp_dir();
    let mut store = open(&dir);
    let published = LastPublished {
        computed_at: Some(Timestamp::default()),
        snapshot_id: "s".into(),
        snapshot: Digest::of(b"s"),
        drift: None,
        mismatches: vec![Digest::of(b"pair")],
        baseline: Some(Digest::of(b"baseline")),
        dir: Some(DevIno { device: 7, inode: u64::MAX }),
        previous_feature_slug: FeatureSlug::new(b"1-b"),
        meta: Some(MetaFields {
            mission: MissionType::new("research").ok(),
            target_branch: Some("main".to_owned()),
        }),
    };
    let feature_dir = Some(RelPath::new(b"specs\xff/2-b".to_vec()).unwrap());
    let mounts = FilesOnMounts::parse(r#"{"known":{"specs/2-b/x":1},"hidden":["specs/2-b/y"]}"#);
    let first = FeatureChange {
        dir: Some(feature_dir.clone()),
        mounts: mounts.clone(),
        upserts: vec![file("b"), file("a/c"), file("a.c")],
        absent: Some(vec!["plan.md".to_owned()]),
        last_published: Some(published.clone()),
        events: vec![indexed_event("2-b", "b")],
        ..change("2-b")
    };
    store.commit(vec![first, change("1-a")], at(0)).unwrap();
    let second = FeatureChange {
        upserts: vec![file("d")],
        removed: vec![path("b"), path("d")],
        tombstones: vec![tombstone("b"), tombstone("x")],
        gone_since: Some(Some(at(3))),
        ..change("2-b")
    };
    store.commit(vec![second], at(5)).unwrap();
    drop(store);

    let mut store = open(&dir);
    let expected = LoadedFeature {
        slug: slug("2-b"),
        first_seen: at(0),
        updated_at: at(0),
        dir: Some(feature_dir),
        entries: [file("a.c"), file("a/c"), file("d")].into_iter().collect(),
        absent: vec!["plan.md".to_owned()],
        tombstones: vec![tombstone("b"), tombstone("x")],
        last_published: Some(published),
        gone_since: Some(at(3)),
        mounts,
    };
    assert_eq!(stored(&store)[1], expected);
    assert_eq!((&stored(&store)[0].slug, &stored(&store)[0].dir), (&slug("1-a"), &None));
    assert_eq!(store.load_features("other").unwrap(), []);

    let third = FeatureChange {
        // The root is the feature itself.
        dir: Some(None),
        absent: Some(vec![]),
        gone_since: Some(None),
        cleared_tombstones: vec![path("x")],
        events: vec![missing_event("2-b", "b")],
        ..change("2-b")
    };
    store.commit(vec![third], at(9)).unwrap();
    let tombstones = vec![tombstone("b")];
    let (absent, gone_since, updated_at) = (vec![], None, at(9));
    let dir = Some(None);
    let expected = LoadedFeature { updated_at, dir, absent, tombstones, gone_since, ..expected };
    assert_eq!(stored(&store)[1], expected);

    store.commit(vec![FeatureChange { forget: true, ..change("2-b") }], at(10)).unwrap();
    let left: Vec<FeatureSlug> = stored(&store).into_iter().map(|feature| feature.slug).collect();
    assert_eq!(left, [slug("1-a")]);
    store.commit(vec![change("2-b")], at(11)).unwrap();
    assert!(stored(&store)[1].entries.is_empty());
}

#[test]
fn commit_that_fails_midway_changes_nothing() {
    let dir = temp_dir();
    let mut store = open(&dir);
    events(&mut store, "1", 2, at(0));
    store
        .connection
        .execute_batch(
            "CREATE TEMP TRIGGER full BEFORE INSERT ON artifact WHEN new.key = 'third'
             BEGIN SELECT raise(ABORT, 'disk is full'); END",
        )
        .unwrap();
    let upserts = ["first", "second", "third"].map(file).into();
    let failing = FeatureChange { upserts, events: vec![indexed_event("1", "x")], ..change("1") };
    let error = store.commit(vec![failing.clone()], at(0)).unwrap_err();
    assert!(matches!(error, StoreError::Write { .. }), "{error}");
    assert!(error.is_survivable());
    assert_eq!(store.seq(), 2);
    assert!(stored(&store)[0].entries.is_empty());
    assert_eq!(
        seqs(&store.journal().reader().page(0, 9, &EventFilter::default()).unwrap()),
        [1, 2]
    );

    store.connection.execute_batch("DROP TRIGGER full").unwrap();
    assert_eq!(store.commit(vec![failing], at(0)).unwrap().types.len(), 1);
    assert_eq!(store.seq(), 3);
    assert_eq!(stored(&store)[0].entries.len(), 3);
}

#[test]
fn commit_on_a_full_disk_fails_and_can_be_repeated() {
    let dir = temp_dir();
    let mut store = open(&dir);
    let pages: u32 =
        store.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    let limit = |store: &Store, pages: u32| {
        store
            .connection
            .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
            .unwrap();
    };
    limit(&store, pages);
    let events = (0..100).map(|n| indexed_event("1", &format!("f{n}"))).collect();
    let change = FeatureChange { events, ..change("1") };
    let error = store.commit(vec![change.clone()], at(0)).unwrap_err();
    assert!(error.is_survivable(), "{error}");
    limit(&store, 1 << 20);
    assert_eq!(commit(&mut store, vec![change], at(0))[0].seq, 1);
}

#[test]
fn numbers_and_ids_increase_over_restarts_with_any_clock() {
    let dir = temp_dir();
    let mut ids = Vec::new();
    let mut numbers = Vec::new();
    for time in [9_000, 9_000, 4_000, -1, 10_000] {
        let mut store = open(&dir);
        for offset in [0, 0, 2_000] {
            for event in events(&mut store, "1", 3, at(time - offset)) {
                ids.push(event.event_id);
                numbers.push(event.seq);
            }
        }
        drop(store);
    }
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    assert_eq!(numbers, (1..=45).collect::<Vec<u64>>());
}

#[test]
fn projects_and_cursors_persist_until_the_project_is_removed() {
    let dir = temp_dir();
    let mut store = open(&dir);
    let non_utf8 = PathBuf::from(OsString::from_vec(b"/p/\xff".to_vec()));
    for root in [&non_utf8, Path::new("/p/a"), Path::new("/p/a")] {
        store.add_project(root, at(0)).unwrap();
    }
    for cursor in [3, 4] {
        store
            .update_cursor("webhook", &CursorUpdate { cursor, ..CursorUpdate::default() })
            .unwrap();
    }
    let tombstones = vec![tombstone("x")];
    let upsert = FeatureChange { upserts: vec![file("a")], tombstones, ..change("1") };
    store.commit(vec![upsert], at(0)).unwrap();
    drop(store);
    let mut store = open(&dir);
    assert_eq!(store.projects().unwrap(), [Path::new("/p/a"), &non_utf8]);
    assert_eq!(store.sink_progress("webhook").unwrap().unwrap().cursor, 4);
    assert_eq!(store.sink_progress("other").unwrap(), None);
    store.remove_project(Path::new("/p/a"), "00ff").unwrap();
    assert_eq!(store.projects().unwrap(), [non_utf8]);
    assert_eq!(stored(&store), []);
    store.commit(vec![change("1")], at(0)).unwrap();
    let feature = stored(&store).remove(0);
    assert_eq!((feature.entries.len(), feature.tombstones.len()), (0, 0));
}

fn any_entry() -> impl Strategy<Value = InventoryEntry> {
    let path = proptest::collection::vec(1u8.., 1..20)
        .prop_filter_map("not a valid path", |bytes| RelPath::new(bytes).ok());
    let class = proptest::sample::select(
        [&ArtifactClass::MANIFEST_CLASSES[..], &[ArtifactClass::Other]].concat(),
    );
    let status = proptest::sample::select(vec![RequiredStatus::Required, RequiredStatus::Optional]);
    let hash = any::<[u8; 32]>().prop_map(Digest::from_bytes);
    let reason = proptest::sample::select(vec![
        ErrorReason::NotFound,
        ErrorReason::Unreadable,
        ErrorReason::InvalidFormat,
        ErrorReason::DeletedAfterScan,
    ]);
    let text = || proptest::option::of("\\PC{0,9}");
    let state = prop_oneof![
        (hash.clone(), proptest::option::of(hash)).prop_map(|(hash, other)| {
            ArtifactState::Present { hash, static_hash: other.map(Box::new) }
        }),
        (reason, text()).prop_map(|(reason, detail)| ArtifactState::Absent(Absence {
            reason,
            detail: detail.map(Into::into)
        })),
    ];
    let signature = any::<Option<(u64, i64, i64, u64, u64)>>().prop_map(|numbers| {
        let (size, modified_ns, changed_ns, inode, device) = numbers?;
        Some(FileSignature { size, modified_ns, changed_ns, inode, device })
    });
    let artifact = (path, class, status, state, any::<u64>(), text(), text(), any::<i32>());
    (artifact, signature, any::<bool>()).prop_map(|(artifact, signature, racy)| {
        let (relative_path, artifact_class, required_status, state, size, wp, step, ms) = artifact;
        let artifact = ArtifactRef {
            artifact_key: "k".into(),
            artifact_class,
            relative_path,
            size_bytes: size,
            wp_id: wp.map(Into::into),
            step_id: step.map(Into::into),
            required_status,
            state,
            indexed_at: at(i64::from(ms)),
        };
        InventoryEntry { artifact: artifact.into(), signature, racy }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_entries_are_loaded_unchanged(entries in proptest::collection::vec(any_entry(), 0..20)) {
        let dir = temp_dir();
        let mut store = open(&dir);
        let tombstones = entries.iter().map(|entry| Arc::clone(&entry.artifact)).collect();
        let upsert = FeatureChange { upserts: entries.clone(), tombstones, ..change("1") };
        store.commit(vec![upsert], at(0)).unwrap();
        let expected: SortedChunks<InventoryEntry> = entries.into_iter().collect();
        let feature = stored(&store).remove(0);
        prop_assert_eq!(&feature.entries, &expected);
        let artifacts: Vec<_> = expected.into_iter().map(|entry| entry.artifact).collect();
        prop_assert_eq!(feature.tombstones, artifacts);
    }
}
