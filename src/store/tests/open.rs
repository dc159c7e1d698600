//! Opening and closing: identity, durability, refusal, damage.

use std::fs;

use rusqlite::types::Value;

use super::*;

#[test]
fn after_a_failed_disk_the_store_must_be_opened_again() {
    let folder = folder();
    let mut store = open(&folder);
    events(&mut store, "1", 1, at(0));
    let failed = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
    let failed = rusqlite::Error::SqliteFailure(failed, None);
    store.record_write_result::<()>("test", Err(failed)).unwrap_err();
    for error in [
        store.commit(vec![change("1")], at(0)).unwrap_err(),
        store.barrier().unwrap_err(),
        store.update_cursor("x", &CursorUpdate::default()).unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::NeedsReopen { .. }), "{error}");
    }
    drop(store);
    let mut store = open(&folder);
    assert_eq!((store.seq(), store.durable_seq()), (1, 1));
    assert_eq!(events(&mut store, "1", 1, at(0))[0].seq, 2);
}

#[test]
fn an_instance_lasts_until_numbers_may_be_given_out_twice() {
    let folder = folder();
    let open = |boot| Store::open(folder.path(), boot).unwrap();
    let first = open("a");
    assert!(first.is_new_instance);
    let instance = first.store.instance().to_owned();
    let check = |opened: &OpenedStore, expect: bool| {
        assert_eq!(opened.is_new_instance, !expect);
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
    assert!(restored.is_new_instance);
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
    let mut store = Store::open(&folder, BOOT_ID).unwrap().store;
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
    let newer = format!(
        "written by a newer dossierd (store format 7, this one knows up to {})",
        schema::MIGRATIONS.len()
    );
    for (bytes, expect) in [
        (pragmas(ours, 7), &*newer),
        (pragmas(1, 1), "another program's SQLite file"),
        (vec![b'x'; 4096], "not an SQLite file"),
        (damaged, "not a sound store"),
    ] {
        let folder = folder();
        let file = folder.path().join(FILE_NAME);
        fs::write(&file, &bytes).unwrap();
        let Err(error) = Store::open(folder.path(), BOOT_ID) else { panic!("opened: {expect}") };
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
    let set = FeatureChange { upserts: vec![file("a")], ..change("1") };
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
            upserts: vec![file("a")],
            ..change("1")
        };
        store.connection.execute("DELETE FROM artifact", []).unwrap();
        store.commit(vec![repair], at(0)).unwrap();
        store.load_features("00ff").unwrap();
    }
    store.connection.execute("UPDATE feature SET dir = ?1", [Value::Blob(b"../1".into())]).unwrap();
    let error = store.load_features("00ff").unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
}

#[test]
fn the_log_is_moved_while_others_write_and_read() {
    let folder = folder();
    let mut store = open(&folder);
    let (mut reader, mut checkpointer) = (store.journal().reader(), store.checkpointer());
    for round in 1..4 {
        events(&mut store, "1", 50, at(0));
        let page = reader.page(0, 1_000, &EventFilter::default()).unwrap();
        assert_eq!(page.events.len(), 50 * round);
        assert_eq!(checkpointer.checkpoint().unwrap(), 0);
    }
    let log = fs::metadata(folder.path().join(format!("{FILE_NAME}-wal"))).unwrap().len();
    assert!(log < 200 << 10, "the log is used again: {log}");
}
