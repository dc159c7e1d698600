//! The store as its callers see it: what is committed, kept, refused and read back.

use std::fs;

use proptest::prelude::*;
use rusqlite::types::Value;
use tempfile::TempDir;

use super::*;
use crate::core::artifact::{
    ArtifactClass, ArtifactRef, ErrorReason, Fault, RequiredStatus, Signature, State,
};
use crate::core::digest::Digest;
use crate::core::event::{ArtifactIndexed, ArtifactMissing, Change, Envelope, Payload};
use crate::core::inventory::Entry;
use crate::core::path::{FeatureSlug, RelPath};
use crate::core::transition::Announced;

const BOOT: &str = "6d1f";

fn open(folder: &TempDir) -> Store {
    Store::open(folder.path(), BOOT).unwrap().store
}

fn folder() -> TempDir {
    TempDir::new().unwrap()
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + ms).unwrap()
}

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

fn slug(text: &str) -> FeatureSlug {
    FeatureSlug::new(text.as_bytes()).unwrap()
}

fn change(feature: &str) -> FeatureChange {
    let origin = Origin {
        project: "p".to_owned(),
        root_id: "00ff".to_owned(),
        project_uuid: "u".to_owned(),
        node_id: "n".to_owned(),
    };
    FeatureChange::new(Arc::new(origin), slug(feature))
}

fn file(text: &str) -> Entry {
    let artifact = ArtifactRef {
        artifact_key: text.replace('/', ".").into(),
        artifact_class: ArtifactClass::Output,
        relative_path: path(text),
        size_bytes: 7,
        wp_id: None,
        step_id: Some("plan".into()),
        required_status: RequiredStatus::Required,
        provenance: None,
        state: State::Present { hash: Digest::of(text.as_bytes()), static_hash: None },
        indexed_at: at(1),
    };
    Entry { artifact: artifact.into(), signature: None, racy: false }
}

fn deleted(text: &str) -> Arc<ArtifactRef> {
    let fault = Fault { reason: ErrorReason::DeletedAfterScan, detail: None };
    let artifact = (*file(text).artifact).clone();
    ArtifactRef { state: State::Absent(fault), ..artifact }.into()
}

fn indexed(feature: &str, text: &str) -> Payload {
    let artifact = file(text).artifact;
    Payload::ArtifactIndexed(ArtifactIndexed {
        feature_slug: slug(feature),
        artifact_key: artifact.artifact_key.to_string(),
        artifact_class: artifact.artifact_class,
        relative_path: artifact.relative_path.clone(),
        content_hash_sha256: artifact.hash().unwrap(),
        size_bytes: artifact.size_bytes,
        wp_id: None,
        step_id: None,
        required_status: artifact.required_status,
        change: Change::Added,
        previous_artifact_key: None,
    })
}

fn missing(feature: &str, text: &str) -> Payload {
    Payload::ArtifactMissing(ArtifactMissing {
        feature_slug: slug(feature),
        artifact_key: text.to_owned(),
        artifact_class: ArtifactClass::Output,
        expected_path_pattern: text.to_owned(),
        reason_code: ErrorReason::DeletedAfterScan,
        reason_detail: None,
        blocking: false,
        relative_path: Some(path(text)),
    })
}

/// Commits `count` events of a feature.
fn events(store: &mut Store, feature: &str, count: usize, time: Timestamp) -> Vec<Envelope> {
    let events = (0..count).map(|n| indexed(feature, &format!("f{n}"))).collect();
    store.commit(vec![FeatureChange { events, ..change(feature) }], time).unwrap()
}

fn seqs(page: &Page) -> Vec<u64> {
    page.events.iter().map(|event| event.seq).collect()
}

fn stored(store: &Store) -> Vec<StoredFeature> {
    store.load_features("00ff").unwrap()
}

#[test]
fn a_change_is_what_is_loaded_again() {
    let folder = folder();
    let mut store = open(&folder);
    let announced = Announced { snapshot_id: "s".into(), snapshot: Digest::of(b"s"), drift: None };
    let first = FeatureChange {
        set: vec![file("b"), file("a/c"), file("a.c")],
        absent: Some(vec!["plan.md".to_owned()]),
        inputs: Some("{}".to_owned()),
        announced: Some(announced.clone()),
        events: vec![indexed("2-b", "b")],
        ..change("2-b")
    };
    store.commit(vec![first, change("1-a")], at(0)).unwrap();
    let second = FeatureChange {
        set: vec![file("d")],
        removed: vec![path("b"), path("d")],
        tombstones: vec![deleted("b"), deleted("x")],
        written_snapshot_id: Some("s".to_owned()),
        gone_since: Some(Some(at(3))),
        ..change("2-b")
    };
    store.commit(vec![second], at(5)).unwrap();
    drop(store);

    let mut store = open(&folder);
    let expect = StoredFeature {
        slug: slug("2-b"),
        first_seen: at(0),
        updated_at: at(0),
        entries: vec![file("a.c"), file("a/c"), file("d")],
        absent: vec!["plan.md".to_owned()],
        tombstones: vec![deleted("b"), deleted("x")],
        inputs: Some("{}".to_owned()),
        announced: Some(announced),
        written_snapshot_id: Some("s".to_owned()),
        gone_since: Some(at(3)),
    };
    assert_eq!(stored(&store)[1], expect);
    assert_eq!(stored(&store)[0].slug, slug("1-a"));
    assert_eq!(store.load_features("other").unwrap(), []);

    let third = FeatureChange {
        absent: Some(vec![]),
        gone_since: Some(None),
        tombstones_gone: vec![path("x")],
        events: vec![missing("2-b", "b")],
        ..change("2-b")
    };
    store.commit(vec![third], at(9)).unwrap();
    let tombstones = vec![deleted("b")];
    let expect =
        StoredFeature { absent: vec![], gone_since: None, tombstones, updated_at: at(9), ..expect };
    assert_eq!(stored(&store)[1], expect);

    store.commit(vec![FeatureChange { forget: true, ..change("2-b") }], at(10)).unwrap();
    let left: Vec<FeatureSlug> = stored(&store).into_iter().map(|feature| feature.slug).collect();
    assert_eq!(left, [slug("1-a")]);
    store.commit(vec![change("2-b")], at(11)).unwrap();
    assert_eq!(stored(&store)[1].entries, []);
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let path = proptest::collection::vec(1u8.., 1..20)
        .prop_filter_map("no path", |bytes| RelPath::new(bytes).ok());
    let class = proptest::sample::select(
        [&ArtifactClass::OF_MANIFESTS[..], &[ArtifactClass::Other]].concat(),
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
        (hash.clone(), proptest::option::of(hash))
            .prop_map(|(hash, static_hash)| State::Present { hash, static_hash }),
        (reason, text()).prop_map(|(reason, detail)| State::Absent(Fault {
            reason,
            detail: detail.map(Into::into)
        })),
    ];
    let signature = any::<Option<(u64, i64, i64, u64, u64)>>().prop_map(|numbers| {
        let (size, modified_ns, changed_ns, inode, device) = numbers?;
        Some(Signature { size, modified_ns, changed_ns, inode, device })
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
            provenance: None,
            state,
            indexed_at: at(i64::from(ms)),
        };
        Entry { artifact: artifact.into(), signature, racy }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn entries_are_read_back_exactly(entries in proptest::collection::vec(any_entry(), 0..20)) {
        let folder = folder();
        let mut store = open(&folder);
        let tombstones = entries.iter().map(|entry| Arc::clone(&entry.artifact)).collect();
        let set = FeatureChange { set: entries.clone(), tombstones, ..change("1") };
        store.commit(vec![set], at(0)).unwrap();
        let by_path: std::collections::BTreeMap<RelPath, Entry> = entries
            .into_iter()
            .map(|entry| (entry.artifact.relative_path.clone(), entry))
            .collect();
        let expect: Vec<Entry> = by_path.into_values().collect();
        let known = stored(&store).remove(0);
        prop_assert_eq!(&known.entries, &expect);
        let artifacts: Vec<_> = expect.into_iter().map(|entry| entry.artifact).collect();
        prop_assert_eq!(known.tombstones, artifacts);
    }

    #[test]
    fn pages_of_any_size_give_what_a_filter_of_all_events_gives(
        features in proptest::collection::vec("[a-c]", 1..40),
        wanted in proptest::collection::vec("[a-c]", 0..3),
        limit in 1_usize..9,
        after in 0_u64..40,
    ) {
        let folder = folder();
        let mut store = open(&folder);
        let changes = features.iter().map(|feature| {
            FeatureChange { events: vec![indexed(feature, "x")], ..change(feature) }
        });
        let envelopes = store.commit(changes.collect(), at(0)).unwrap();
        let expect: Vec<u64> = envelopes
            .iter()
            .filter(|event| wanted.is_empty() || wanted.iter().any(|w| w == event.feature_slug.as_str()))
            .map(|event| event.seq)
            .filter(|seq| *seq > after)
            .collect();
        let filter = Filter { features: wanted, ..Filter::default() };
        let (mut reader, mut cursor, mut got) = (store.journal().reader(), after, Vec::new());
        loop {
            let page = reader.page(cursor, limit, &filter).unwrap();
            prop_assert!(page.events.len() <= limit);
            got.extend(seqs(&page));
            if page.last_scanned == cursor {
                break;
            }
            cursor = page.last_scanned;
        }
        prop_assert_eq!(got, expect);
        prop_assert_eq!(cursor, store.seq().max(after));
    }
}

#[test]
fn a_commit_that_fails_midway_leaves_nothing() {
    let folder = folder();
    let mut store = open(&folder);
    events(&mut store, "1", 2, at(0));
    store
        .connection
        .execute_batch(
            "CREATE TEMP TRIGGER full BEFORE INSERT ON artifact WHEN new.key = 'third'
             BEGIN SELECT raise(ABORT, 'no room'); END",
        )
        .unwrap();
    let set = ["first", "second", "third"].map(file).into();
    let failing = FeatureChange { set, events: vec![indexed("1", "x")], ..change("1") };
    let error = store.commit(vec![failing.clone()], at(0)).unwrap_err();
    assert!(matches!(error, StoreError::Write { .. }), "{error}");
    assert!(error.is_survivable());
    assert_eq!(store.seq(), 2);
    assert_eq!(stored(&store)[0].entries, []);
    assert_eq!(seqs(&store.journal().reader().page(0, 9, &Filter::default()).unwrap()), [1, 2]);

    store.connection.execute_batch("DROP TRIGGER full").unwrap();
    let envelopes = store.commit(vec![failing], at(0)).unwrap();
    assert_eq!(envelopes[0].seq, 3);
    assert_eq!(stored(&store)[0].entries.len(), 3);
}

#[test]
fn no_room_is_survived() {
    let folder = folder();
    let mut store = open(&folder);
    let pages: u32 =
        store.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    let limit = |store: &Store, pages: u32| {
        store
            .connection
            .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
            .unwrap();
    };
    limit(&store, pages);
    let events = (0..100).map(|n| indexed("1", &format!("f{n}"))).collect();
    let change = FeatureChange { events, ..change("1") };
    let error = store.commit(vec![change.clone()], at(0)).unwrap_err();
    assert!(error.is_survivable(), "{error}");
    limit(&store, 1 << 20);
    assert_eq!(store.commit(vec![change], at(0)).unwrap()[0].seq, 1);
}

#[test]
fn after_a_failed_disk_the_store_must_be_opened_again() {
    let folder = folder();
    let mut store = open(&folder);
    events(&mut store, "1", 1, at(0));
    let failed = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
    let failed = rusqlite::Error::SqliteFailure(failed, None);
    store.written::<()>("test", Err(failed)).unwrap_err();
    for error in [
        store.commit(vec![change("1")], at(0)).unwrap_err(),
        store.barrier().unwrap_err(),
        store.set_cursor("x", 1).unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Untrusted { .. }), "{error}");
    }
    drop(store);
    let mut store = open(&folder);
    assert_eq!((store.seq(), store.durable_seq()), (1, 1));
    assert_eq!(events(&mut store, "1", 1, at(0))[0].seq, 2);
}

#[test]
fn numbers_and_ids_go_on_over_restarts_with_any_clock() {
    let folder = folder();
    let mut ids = Vec::new();
    let mut numbers = Vec::new();
    for time in [9_000, 9_000, 4_000, -1, 10_000] {
        let mut store = open(&folder);
        for back in [0, 0, 2_000] {
            for event in events(&mut store, "1", 3, at(time - back)) {
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
fn an_instance_lasts_until_numbers_may_be_given_out_twice() {
    let folder = folder();
    let open = |boot| Store::open(folder.path(), boot).unwrap();
    let first = open("a");
    assert!(first.instance_is_new);
    let instance = first.store.instance().to_owned();
    let check = |opened: &Opened, expect: bool| {
        assert_eq!(opened.instance_is_new, !expect);
        assert_eq!(opened.store.instance() == instance, expect);
    };
    drop(first);
    let killed = open("a\n");
    check(&killed, true);
    killed.store.close().unwrap();
    let closed = open("b");
    check(&closed, true);
    drop(closed);
    let crashed = open("c");
    check(&crashed, false);
    let renewed = crashed.store.instance().to_owned();
    crashed.store.close().unwrap();
    let again = open("d");
    assert_eq!(again.store.instance(), renewed);
    again.store.close().unwrap();

    let file = folder.path().join(FILE_NAME);
    let copy = folder.path().join("copy");
    fs::copy(&file, &copy).unwrap();
    fs::rename(&copy, &file).unwrap();
    let restored = open("d");
    assert!(restored.instance_is_new);
    assert_ne!(restored.store.instance(), renewed);
}

#[test]
fn a_barrier_is_up_to_the_last_event() {
    let folder = folder();
    let mut store = open(&folder);
    assert_eq!(store.barrier().unwrap(), 0);
    events(&mut store, "1", 3, at(0));
    assert_eq!(store.durable_seq(), 0);
    assert_eq!(store.barrier().unwrap(), 3);
    assert_eq!(store.durable_seq(), 3);
    let synchronous: u32 =
        store.connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
    assert_eq!(synchronous, 1, "commits between barriers do not sync");
}

#[test]
fn folder_and_files_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let outer = folder();
    let folder = outer.path().join("a/state");
    let mut store = Store::open(&folder, BOOT).unwrap().store;
    events(&mut store, "1", 1, at(0));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 3);
    assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");
}

#[test]
fn what_is_not_ours_is_refused_and_left_alone() {
    let pragmas = |application: u32, version: u32| {
        let folder = folder();
        open(&folder).close().unwrap();
        let connection = Connection::open(folder.path().join(FILE_NAME)).unwrap();
        connection.pragma_update(None, "application_id", application).unwrap();
        connection.pragma_update(None, "user_version", version).unwrap();
        connection.close().unwrap();
        fs::read(folder.path().join(FILE_NAME)).unwrap()
    };
    let ours = 0x646f_7373;
    let mut damaged = pragmas(ours, 1);
    damaged[100..200].fill(0xff);
    for (bytes, expect) in [
        (pragmas(ours, 7), "written by a newer dossierd (store format 7, this one knows up to 1)"),
        (pragmas(1, 1), "another program's SQLite file"),
        (vec![b'x'; 4096], "not an SQLite file"),
        (damaged, "not a sound store"),
    ] {
        let folder = folder();
        let file = folder.path().join(FILE_NAME);
        fs::write(&file, &bytes).unwrap();
        let Err(error) = Store::open(folder.path(), BOOT) else { panic!("opened: {expect}") };
        assert!(error.to_string().contains(expect), "{error}");
        assert!(!error.is_survivable());
        assert_eq!(fs::read(&file).unwrap(), bytes, "{expect}");
        if !expect.starts_with("not a sound") {
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{expect}");
        }
    }
}

#[test]
fn a_row_that_we_did_not_write_is_damage() {
    let folder = folder();
    let mut store = open(&folder);
    let set = FeatureChange { set: vec![file("a")], ..change("1") };
    store.commit(vec![set], at(0)).unwrap();
    for (column, value) in [
        ("class", Value::Text("odd".into())),
        ("hash", Value::Blob(vec![1])),
        ("path", Value::Blob(b"../a".into())),
        ("indexed_at", Value::Integer(i64::MAX)),
    ] {
        let sql = format!("UPDATE artifact SET {column} = ?1");
        let transaction = store.connection.transaction().unwrap();
        transaction.execute(&sql, [value]).unwrap();
        transaction.commit().unwrap();
        let error = store.load_features("00ff").unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{column}: {error}");
        let repair = FeatureChange {
            removed: vec![path("../a".trim_start_matches("../"))],
            set: vec![file("a")],
            ..change("1")
        };
        store.connection.execute("DELETE FROM artifact", []).unwrap();
        store.commit(vec![repair], at(0)).unwrap();
        store.load_features("00ff").unwrap();
    }
}

#[test]
fn the_journal_is_kept_by_age() {
    let folder = folder();
    let mut store = open(&folder);
    events(&mut store, "1", 3, at(0));
    events(&mut store, "1", 2, at(5_000));
    let mut reader = store.journal().reader();
    let hour = Duration::from_hours(1);
    assert_eq!(store.prune(hour, u64::MAX, at(5_000)).unwrap(), Pruned::default());
    let second = Duration::from_secs(1);
    assert_eq!(store.prune(second, u64::MAX, at(5_000)).unwrap().events, 3);
    assert_eq!(store.prune(second, u64::MAX, at(5_000)).unwrap().events, 0);
    assert_eq!(reader.oldest().unwrap(), 4);
    let page = reader.page(0, 9, &Filter::default()).unwrap();
    assert_eq!((seqs(&page), page.last_scanned), (vec![4, 5], 5));
    assert_eq!(store.prune(second, u64::MAX, at(9_000)).unwrap().events, 2);
    assert_eq!(reader.oldest().unwrap(), 6);
    assert_eq!(reader.page(0, 9, &Filter::default()).unwrap().last_scanned, 5);
    drop(store);
    let mut store = open(&folder);
    assert_eq!(events(&mut store, "1", 1, at(9_000))[0].seq, 6);
}

#[test]
fn the_journal_is_kept_by_size_and_tombstones_go_with_their_events() {
    let folder = folder();
    let mut store = open(&folder);
    let deletion = |name: &str| FeatureChange {
        tombstones: vec![deleted(name)],
        events: vec![missing("1", "before"), missing("1", name), indexed("1", "after")],
        ..change("1")
    };
    store.commit(vec![deletion("a"), deletion("b")], at(0)).unwrap();
    let sizes: Vec<u64> = store
        .journal()
        .reader()
        .page(0, 9, &Filter::default())
        .unwrap()
        .events
        .iter()
        .map(|event| event.envelope_json.len() as u64)
        .collect();
    let prune = |store: &mut Store, from: usize| {
        let bytes = sizes[from..].iter().sum();
        store.prune(Duration::MAX, bytes, at(1_000_000)).unwrap()
    };
    assert_eq!(prune(&mut store, 0), Pruned::default());
    assert_eq!(prune(&mut store, 1), Pruned { events: 1, tombstones: vec![] });
    let tombstone =
        RetiredTombstone { root_id: "00ff".to_owned(), slug: slug("1"), path: path("a") };
    assert_eq!(prune(&mut store, 2), Pruned { events: 1, tombstones: vec![tombstone] });
    assert_eq!(stored(&store)[0].tombstones, [deleted("b")]);
    assert_eq!(prune(&mut store, 6).events, 4);
    assert_eq!(stored(&store)[0].tombstones, []);
}

#[test]
fn the_journal_holds_what_was_returned() {
    let folder = folder();
    let mut store = open(&folder);
    let envelopes = events(&mut store, "1", 3, at(0));
    let page = store.journal().reader().page(0, 9, &Filter::default()).unwrap();
    for (envelope, event) in envelopes.iter().zip(&page.events) {
        assert_eq!(event.envelope_json, serde_json::to_string(envelope).unwrap());
        assert_eq!((event.seq, event.event_type.as_str()), (envelope.seq, envelope.event_type));
    }
    assert_eq!(page.events.len(), 3);
}

#[test]
fn a_filter_passes_over_what_is_not_wanted() {
    let folder = folder();
    let mut store = open(&folder);
    let mixed = |feature| FeatureChange {
        events: vec![indexed(feature, "x"), missing(feature, "x")],
        ..change(feature)
    };
    store.commit(vec![mixed("1"), mixed("2")], at(0)).unwrap();
    let mut reader = store.journal().reader();
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let types = texts(&["mission_dossier_artifact_missing"]);
    for (filter, expect, last_scanned) in [
        (Filter { types: types.clone(), ..Filter::default() }, vec![2, 4], 4),
        (Filter { types, features: texts(&["1", "3"]), ..Filter::default() }, vec![2], 4),
        (Filter { root_id: Some("00ff".into()), ..Filter::default() }, vec![1, 2, 3, 4], 4),
        (Filter { root_id: Some("other".into()), ..Filter::default() }, vec![], 4),
        (Filter { until: Some(3), ..Filter::default() }, vec![1, 2, 3], 3),
        (Filter { until: Some(0), ..Filter::default() }, vec![], 0),
    ] {
        let page = reader.page(0, 9, &filter).unwrap();
        assert_eq!((seqs(&page), page.last_scanned), (expect, last_scanned), "{filter:?}");
        assert_eq!(reader.page(4, 9, &filter).unwrap().last_scanned, 4);
    }
    let page = reader.page(0, 1, &Filter::default()).unwrap();
    assert_eq!((seqs(&page), page.last_scanned), (vec![1], 1));
    assert_eq!(reader.page(70, 9, &Filter::default()).unwrap().last_scanned, 70);
}

#[test]
fn the_log_is_moved_while_others_write_and_read() {
    let folder = folder();
    let mut store = open(&folder);
    let (mut reader, mut checkpointer) = (store.journal().reader(), store.checkpointer());
    for round in 1..4 {
        events(&mut store, "1", 50, at(0));
        let page = reader.page(0, 1_000, &Filter::default()).unwrap();
        assert_eq!(page.events.len(), 50 * round);
        assert_eq!(checkpointer.checkpoint().unwrap(), 0);
    }
    let log = fs::metadata(folder.path().join(format!("{FILE_NAME}-wal"))).unwrap().len();
    assert!(log < 200 << 10, "the log is used again: {log}");
}

#[test]
fn projects_and_cursors_are_kept() {
    let folder = folder();
    let mut store = open(&folder);
    let odd = PathBuf::from(OsString::from_vec(b"/p/\xff".to_vec()));
    for root in [&odd, Path::new("/p/a"), Path::new("/p/a")] {
        store.add_project(root, at(0)).unwrap();
    }
    store.set_cursor("webhook", 3).unwrap();
    store.set_cursor("webhook", 4).unwrap();
    let tombstones = vec![deleted("x")];
    let set = FeatureChange { set: vec![file("a")], tombstones, ..change("1") };
    store.commit(vec![set], at(0)).unwrap();
    drop(store);
    let mut store = open(&folder);
    assert_eq!(store.projects().unwrap(), [Path::new("/p/a"), &odd]);
    assert_eq!(store.cursor("webhook").unwrap(), Some(4));
    assert_eq!(store.cursor("other").unwrap(), None);
    store.remove_project(Path::new("/p/a"), "00ff").unwrap();
    assert_eq!(store.projects().unwrap(), [odd]);
    assert_eq!(stored(&store), []);
    store.commit(vec![change("1")], at(0)).unwrap();
    let feature = stored(&store).remove(0);
    assert_eq!((feature.entries, feature.tombstones), (vec![], vec![]));
}
