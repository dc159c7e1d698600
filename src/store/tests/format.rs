//! Tests of migration, with a store of every released format.

use std::fs;

use super::*;

/// A store of each released format: the output of `sqlite3 .dump`, and `application_id` and
/// `user_version`, which it leaves out.
const GOLDEN: &[&str] = &[
    include_str!("../../../tests/golden/store-v1.sql"),
    include_str!("../../../tests/golden/store-v2.sql"),
    include_str!("../../../tests/golden/store-v3.sql"),
    include_str!("../../../tests/golden/store-v4.sql"),
];

fn restored(golden: &str) -> TempDir {
    let dir = temp_dir();
    let connection = Connection::open(dir.path().join(FILE_NAME)).unwrap();
    connection.execute_batch(golden).unwrap();
    dir
}

fn schema(connection: &Connection) -> Vec<String> {
    let sql = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name";
    let mut statement = connection.prepare(sql).unwrap();
    let texts = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    texts.map(|text| text.unwrap().split_whitespace().collect()).collect()
}

#[test]
fn store_of_every_format_is_read_and_extended() {
    for (version, golden) in (1..).zip(GOLDEN) {
        let dir = restored(golden);
        let mut opened = Store::open(dir.path(), BOOT_ID).unwrap();
        assert!(opened.is_new_instance, "a restored copy has a new instance");
        let store = &mut opened.store;
        let page = store.journal().reader().page(0, 100, &EventFilter::default()).unwrap();
        insta::assert_snapshot!(
            format!("format {version}"),
            format!(
                "{:#?}\n{page:#?}\n{:?} {:?} {}\n{:#?}",
                store.load_features("0123456789abcdef").unwrap(),
                store.projects().unwrap(),
                store.sink_progress("webhook").unwrap(),
                store.seq(),
                store.journal().reader().dead_letters("webhook").unwrap(),
            )
        );
        let next = events(store, "001-first", 1, at(0)).remove(0);
        assert_eq!(next.seq, page.last_scanned + 1);
        let last = &page.events.last().unwrap().envelope_json;
        let last: serde_json::Value = serde_json::from_str(last).unwrap();
        assert!(last["event_id"].as_str().unwrap() < next.event_id.as_str());
    }
}

#[test]
fn store_of_every_format_is_migrated_to_the_schema_of_a_new_one() {
    assert_eq!(GOLDEN.len(), schema::MIGRATIONS.len(), "each format has a golden store");
    let new = temp_dir();
    let expected = schema(&open(&new).connection);
    for golden in GOLDEN {
        assert_eq!(schema(&open(&restored(golden)).connection), expected);
    }
}

#[test]
fn empty_file_is_opened_as_a_new_store() {
    let dir = temp_dir();
    fs::write(dir.path().join(FILE_NAME), b"").unwrap();
    assert!(Store::open(dir.path(), BOOT_ID).unwrap().is_new_instance);
}

#[test]
fn migration_copies_the_store_first() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let mut store = Store::open(dir.path(), "boot").unwrap().store;
    store.add_project(Path::new("/kept"), std::time::SystemTime::UNIX_EPOCH.into()).unwrap();
    store.close().unwrap();
    let migrations = [schema::MIGRATIONS, &["DROP TABLE project"]].concat();
    // A file that an interrupted copy left is replaced.
    std::fs::write(dir.path().join(format!("{FILE_NAME}.part")), "x").unwrap();
    let mut connection = Connection::open(&path).unwrap();
    schema::migrate_with(&migrations, &mut connection, &path).unwrap();
    assert!(connection.prepare("SELECT * FROM project").is_err());
    drop(connection);

    let copy = backup::backup_path(&path, schema::latest_format());
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&copy).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // The previous version can use the copy.
    assert!(matches!(Store::open(dir.path(), "boot"), Err(StoreError::Newer { .. })));
    assert!(matches!(check_integrity(dir.path()), Err(StoreError::Newer { .. })));
    std::fs::rename(copy, &path).unwrap();
    let store = Store::open(dir.path(), "boot").unwrap().store;
    assert_eq!(store.projects().unwrap(), [Path::new("/kept")]);
    store.close().unwrap();
    assert_eq!(check_integrity(dir.path()).unwrap().unwrap().events, 0);
    assert!(std::fs::read_dir(dir.path()).unwrap().count() <= 2);
}
