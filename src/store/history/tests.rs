//! Tests of the content store.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::*;
use crate::core::path::RelPath;

const DAY: Duration = Duration::from_hours(24);
const MAX_AGE: Duration = Duration::from_hours(24 * 90);

fn slug(text: &str) -> FeatureSlug {
    FeatureSlug::new(text.as_bytes()).unwrap()
}

fn file(path: &str) -> VersionedFile {
    let path = RelPath::new(path.as_bytes()).unwrap();
    VersionedFile { root_id: "r".to_owned(), feature: slug("001-a"), path }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

fn current(path: &str, seq: u64, millis: i64, text: &[u8]) -> VersionRecord {
    let content = VersionContent::Frame {
        frame: FrameEncoder::default().compress(text).unwrap(),
        lines: Some((1, 0)),
    };
    with_content(path, seq, millis, text, content)
}

fn with_content(
    path: &str,
    seq: u64,
    millis: i64,
    text: &[u8],
    content: VersionContent,
) -> VersionRecord {
    let change = VersionChange::Current {
        key: format!("other.{path}").into(),
        hash: Digest::of(text),
        size: text.len() as u64,
        mode: 0o644,
        is_first: seq == 1,
        content,
    };
    VersionRecord { file: file(path), seq, at: at(millis), change }
}

fn ended(path: &str, seq: u64, millis: i64, change: VersionChange) -> VersionRecord {
    VersionRecord { file: file(path), seq, at: at(millis), change }
}

fn opened(dir: &Path) -> ContentStore {
    let mut store = ContentStore::open(dir).unwrap();
    store.begin("i").unwrap();
    store
}

fn versions(store: &ContentStore, path: &str) -> Vec<StoredVersion> {
    store.reader().versions("r", &slug("001-a"), Some(&file(path).path)).unwrap()
}

/// Text that does not compress well.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b' ' + (state % 95) as u8
    };
    (0..len).map(next).collect()
}

#[test]
fn versions_are_read_as_they_were_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = opened(dir.path());
    let records = vec![
        current("a", 1, 100, b"one\n"),
        current("a", 3, 300, b"two\n"),
        ended("a", 5, 500, VersionChange::Deleted),
        with_content("b", 6, 600, b"three", VersionContent::NotStored(NotStored::TooLarge)),
    ];
    store.record(records, 7).unwrap();
    let found = versions(&store, "a");
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].from_seq, found[0].is_first, found[0].mode), (1, true, 0o644));
    let end = found[0].end.unwrap();
    assert_eq!((end.seq, end.at, end.is_deleted, end.is_known), (3, at(300), false, true));
    let end = found[1].end.unwrap();
    assert_eq!((end.seq, end.is_deleted), (5, true));
    assert_eq!(found[1].lines, Some((1, 0)));
    assert_eq!(store.reader().content(&found[0].hash).unwrap().unwrap(), b"one\n");
    let other = &versions(&store, "b")[0];
    assert_eq!((other.not_stored, other.end), (Some(NotStored::TooLarge), None));
    assert_eq!(store.reader().content(&other.hash).unwrap(), None);
    let counts = store.counts().unwrap();
    assert_eq!((counts.versions, counts.contents, counts.stored_seq), (2, 2, 7));
    let mode = std::fs::metadata(store.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn equal_content_is_stored_once_and_confirms_the_current_version() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = opened(dir.path());
    let lost = VersionContent::NotStored(NotStored::Replaced);
    store.record(vec![with_content("a", 1, 100, b"one", lost)], 1).unwrap();
    assert_eq!(store.counts().unwrap().not_stored, 1);
    store.record(vec![current("b", 2, 200, b"one"), current("a", 3, 300, b"one")], 3).unwrap();
    let found = versions(&store, "a");
    assert_eq!((found.len(), found[0].from_seq, found[0].not_stored), (1, 1, None));
    assert_eq!(store.counts().unwrap().contents, 1);
    // Another store of events has other numbers.
    assert_eq!(store.begin("i").unwrap(), 3);
    assert_eq!(store.begin("j").unwrap(), 0);
    assert!(!versions(&store, "a")[0].is_of_instance);
    store.record(vec![current("a", 9, 900, b"one")], 9).unwrap();
    let found = versions(&store, "a");
    assert_eq!((found.len(), found[0].from_seq, found[0].is_of_instance), (1, 9, true));
}

#[test]
fn thinning_leaves_gaps_that_are_known_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = opened(dir.path());
    let minute = 60_000_i64;
    let text = |n: i64| format!("version {n}\n").into_bytes();
    let all = (1..=100_i64).map(|n| current("a", n.unsigned_abs(), n * minute, &text(n))).collect();
    store.record(all, 100).unwrap();
    store.name_contents("r", &slug("001-a"), &[Digest::of(&text(2))], OtherNamed::Forget).unwrap();
    assert_eq!(store.thin(0, 10, at(100 * minute), MAX_AGE).unwrap(), Some(1));
    assert_eq!(store.thin(1, 10, at(100 * minute), MAX_AGE).unwrap(), None);
    let found = versions(&store, "a");
    let seqs: Vec<u64> = found.iter().map(|version| version.from_seq).collect();
    // The one that is named, the newest of each hour, and the newest 16.
    assert_eq!(seqs[..3], [2, 59, 84]);
    assert_eq!(seqs.len(), 3 + 16);
    assert!(!found[0].is_first && !found[0].end.unwrap().is_known && found[1].lines.is_none());
    assert!(found[3].end.unwrap().is_known && found[4].lines.is_some());
    assert_eq!(store.counts().unwrap().contents, seqs.len() as u64);
    // Without a name, and long after its end.
    store.name_contents("r", &slug("001-a"), &[], OtherNamed::Forget).unwrap();
    store.record(vec![ended("a", 200, 101 * minute, VersionChange::Deleted)], 200).unwrap();
    let later = at(101 * minute + i64::try_from((MAX_AGE + DAY).as_millis()).unwrap());
    store.thin(0, 10, later, MAX_AGE).unwrap();
    assert_eq!(versions(&store, "a"), []);
    assert_eq!(store.counts().unwrap().contents, 0);
}

#[test]
fn full_store_spares_newest_and_named_versions_of_other_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = opened(dir.path());
    store.record(vec![current("old", 1, 1, &noise(1, 20_000))], 1).unwrap();
    store.record(vec![current("accepted", 2, 2, &noise(2, 20_000))], 2).unwrap();
    store.record(vec![current("accepted", 3, 3, b"replaced")], 3).unwrap();
    store
        .name_contents("r", &slug("001-a"), &[Digest::of(&noise(2, 20_000))], OtherNamed::Forget)
        .unwrap();
    let max = 1 << 20;
    for n in 4..200_u64 {
        store.record(vec![current("log", n, n.cast_signed(), &noise(n, 20_000))], n).unwrap();
        store.evict(max, at(n.cast_signed())).unwrap();
        let counts = store.counts().unwrap();
        assert!(counts.used_bytes <= max, "{counts:?}");
    }
    let (accepted, log) = (versions(&store, "accepted"), versions(&store, "log"));
    assert_eq!(versions(&store, "old").len(), 1);
    assert_eq!(accepted.len(), 2);
    assert!(accepted[0].not_stored.is_none());
    assert_eq!(log.last().unwrap().from_seq, 199);
    let counts = store.counts().unwrap();
    assert!(counts.evicted > 100 && counts.evicted_named == 0, "{counts:?}");
    // The smallest store gives up even those, and reports it.
    let result = store.evict(1, at(500)).unwrap();
    assert!(result.named == 1 && result.versions > 3, "{result:?}");
    assert_eq!(versions(&store, "accepted")[0].not_stored, Some(NotStored::Evicted));
    assert_eq!(store.counts().unwrap().evicted_named, 1);
}

#[test]
fn purge_that_a_reader_keeps_from_the_wal_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = opened(dir.path());
    store.connection.busy_timeout(Duration::ZERO).unwrap();
    store.record(vec![current("a", 1, 1, b"secret\n")], 1).unwrap();
    let reader = Connection::open(store.path()).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM version").unwrap();
    let error = store.purge(PurgeSelector::All).unwrap_err();
    assert!(crate::core::error::error_chain(&error).contains("purge again"), "{error}");
    reader.execute_batch("COMMIT").unwrap();
    store.purge(PurgeSelector::All).unwrap();
}

#[test]
fn purge_leaves_no_frame_in_any_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = opened(dir.path());
    let secret = noise(7, 9_000);
    let frame = FrameEncoder::default().compress(&secret).unwrap();
    store.record(vec![current("a", 1, 1, &secret), current("a", 2, 2, b"x")], 2).unwrap();
    let mut shared = current("b", 3, 3, b"shared");
    shared.file.feature = slug("002-b");
    store.record(vec![shared, current("c", 4, 4, b"shared")], 4).unwrap();
    let has_frame = || {
        std::fs::read_dir(dir.path()).unwrap().any(|entry| {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            // A frame may be in several pages.
            bytes.windows(200).any(|part| part == &frame[100..300])
        })
    };
    assert!(has_frame());
    let purged = store.purge(PurgeSelector::Feature("r", &slug("001-a"))).unwrap();
    assert_eq!(purged, PurgeResult { versions: 3, contents: 2 });
    assert!(!has_frame());
    assert!(store.has_content(&Digest::of(b"shared")).unwrap(), "another feature names it");
    assert_eq!(store.purge(PurgeSelector::All).unwrap().contents, 1);
}

#[test]
fn corrupt_file_is_moved_aside() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE_NAME), "no database, but a long enough text".repeat(100))
        .unwrap();
    let opened = ContentStore::open_or_recreate(dir.path(), at(0)).unwrap();
    assert!(opened.quarantined.unwrap().exists());
    assert_eq!(opened.store.counts().unwrap().versions, 0);
    assert!(ContentReader::new(&dir.path().join("none")).counts().unwrap().is_none());
}

#[test]
fn renamed_feature_keeps_its_versions() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = opened(dir.path());
    let archived = slug("archive/001-a");
    let moved = |path: &str, seq, text: &[u8]| {
        let mut record = current(path, seq, seq.cast_signed(), text);
        record.file.feature = archived.clone();
        record
    };
    let records = vec![
        current("same", 1, 1, b"one"),
        current("other", 2, 2, b"two"),
        current("gone", 3, 3, b"three"),
        moved("same", 4, b"one"),
        moved("other", 5, b"two, changed"),
        moved("same", 6, b"later"),
    ];
    store.record(records, 6).unwrap();
    store.rename_feature("r", &slug("001-a"), &archived).unwrap();
    assert_eq!(store.reader().features("r").unwrap(), std::slice::from_ref(&archived));
    let found = |path: &str| -> Vec<(u64, Option<u64>)> {
        let path = RelPath::new(path.as_bytes()).unwrap();
        let found = store.reader().versions("r", &archived, Some(&path)).unwrap();
        found.iter().map(|one| (one.from_seq, one.end.map(|end| end.seq))).collect()
    };
    assert_eq!(found("same"), [(1, Some(6)), (6, None)]);
    assert_eq!(found("other"), [(2, Some(5)), (5, None)]);
    assert_eq!(found("gone"), [(3, None)]);
}

/// `DOSSIERD_HISTORY_FILES` and `DOSSIERD_HISTORY_SECONDS` make it as large as a real month: 10,000 and
/// 2,592,000.
#[test]
fn budget_holds_for_rewritten_files_and_a_log_that_grows_each_second() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let files = number("DOSSIERD_HISTORY_FILES", 100);
    let seconds = number("DOSSIERD_HISTORY_SECONDS", 1_000);
    let max = (files * 30_000).clamp(1 << 20, 256 << 20);
    let dir = tempfile::tempdir().unwrap();
    let mut store = opened(dir.path());
    let mut seq = 0;
    let mut record = |store: &mut ContentStore, path: &str, millis: i64, bytes: &[u8]| {
        seq += 1;
        store.record(vec![current(path, seq, millis, bytes)], seq).unwrap();
        store.thin_files(std::iter::once(&file(path)), at(millis), MAX_AGE).unwrap();
        store.evict(max, at(millis)).unwrap();
    };
    for round in 0..20_u64 {
        for n in 0..files {
            record(
                &mut store,
                &format!("f{n}"),
                (round * 60_000_u64).cast_signed(),
                &noise(round * files + n, 3_000),
            );
        }
    }
    let begin = 20 * 60_000;
    for second in 0..seconds {
        let millis = begin + i64::try_from(second).unwrap() * 1_000;
        record(&mut store, "log", millis, &noise(1 << 40 | second, 3_000));
    }
    let counts = store.counts().unwrap();
    let size = std::fs::metadata(store.path()).unwrap().len();
    assert!(counts.used_bytes <= max && size <= max, "{counts:?} {size}");
    for n in 0..files {
        let newest = versions(&store, &format!("f{n}")).pop().unwrap();
        assert!(newest.not_stored.is_none(), "f{n}: {counts:?}");
        assert_eq!(newest.hash, Digest::of(&noise(19 * files + n, 3_000)));
    }
    // Of the log the newest 16, one an hour of a day, and one a day.
    let kept = versions(&store, "log").len() as u64;
    assert!(kept <= 16 + 25 + seconds / 86_400 + 1, "{kept}");
}

#[test]
fn what_was_restored_is_known_until_the_file_has_another_content() {
    let one = Digest::of(b"one");
    let restored = |store: &ContentStore, slug: &FeatureSlug| {
        store.reader().restored("r", slug).unwrap().get(&file("a").path).copied()
    };
    for (record, expected) in [
        (current("a", 5, 500, b"one"), Some(one)),
        (current("a", 4, 400, b"before"), Some(one)),
        (ended("a", 4, 400, VersionChange::Deleted), Some(one)),
        (current("b", 5, 500, b"two"), Some(one)),
        (ended("a", 5, 500, VersionChange::Lost), Some(one)),
        (current("a", 5, 500, b"two"), None),
        (ended("a", 5, 500, VersionChange::Deleted), None),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut store = opened(dir.path());
        store.record_restored(&file("a"), &one, 4).unwrap();
        let shown = format!("{record:?}");
        store.record(vec![record], 5).unwrap();
        assert_eq!(restored(&store, &slug("001-a")), expected, "{shown}");
    }
    let dir = tempfile::tempdir().unwrap();
    let mut store = opened(dir.path());
    store.record_restored(&file("a"), &one, 400).unwrap();
    // Another store of events begins with the first number.
    store.begin("j").unwrap();
    store.rename_feature("r", &slug("001-a"), &slug("002-b")).unwrap();
    assert_eq!(restored(&store, &slug("001-a")), None);
    assert_eq!(restored(&store, &slug("002-b")), Some(one));
    store.purge(PurgeSelector::Feature("r", &slug("002-b"))).unwrap();
    assert_eq!(restored(&store, &slug("002-b")), None);
    store.record_restored(&file("a"), &one, 0).unwrap();
    store.record(vec![ended("a", 1, 100, VersionChange::Deleted)], 1).unwrap();
    assert_eq!(restored(&store, &slug("001-a")), None);
    // With the last version of a file, what was restored to it is dropped.
    store
        .record(vec![current("a", 2, 200, b"one"), ended("a", 3, 300, VersionChange::Lost)], 3)
        .unwrap();
    store.record_restored(&file("a"), &one, 3).unwrap();
    let never = Timestamp::from_millis(i64::MAX / 2_000_000).unwrap();
    store.thin(0, 10, never, Duration::ZERO).unwrap();
    assert_eq!((versions(&store, "a").len(), restored(&store, &slug("001-a"))), (0, None));
}

#[test]
fn former_format_is_read_and_continued() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = opened(dir.path());
    store.record(vec![current("a", 1, 100, b"one")], 1).unwrap();
    store.connection.execute_batch("DROP TABLE restored; PRAGMA user_version = 1").unwrap();
    let reader = store.reader();
    drop(store);
    assert!(reader.restored("r", &slug("001-a")).unwrap().is_empty());
    let mut store = opened(dir.path());
    store.record_restored(&file("a"), &Digest::of(b"one"), 1).unwrap();
    assert_eq!(reader.restored("r", &slug("001-a")).unwrap().len(), 1);
    assert_eq!(versions(&store, "a").len(), 1);
}
