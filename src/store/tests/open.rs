//! Tests of opening and closing: instance, durability, refused and corrupt files, checkpoints.

use std::fs;

use rusqlite::types::Value;

use super::*;

#[test]
fn operations_after_an_io_error_fail_until_reopened() {
    let dir = temp_dir();
    let mut store = open(&dir);
    events(&mut store, "1", 1, at(0));
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
    let failed = rusqlite::Error::SqliteFailure(code, None);
    store.record_write_result::<()>("test", Err(failed)).unwrap_err();
    for error in [
        store.commit(vec![change("1")], at(0)).unwrap_err(),
        store.barrier().unwrap_err(),
        store.update_cursor("x", &CursorUpdate::default()).unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::NeedsReopen { .. }), "{error}");
    }
    drop(store);
    let mut store = open(&dir);
    assert_eq!((store.seq(), store.durable_seq()), (1, 1));
    assert_eq!(events(&mut store, "1", 1, at(0))[0].seq, 2);
}

#[test]
fn close_leaves_no_wal_while_readers_are_open() {
    let dir = temp_dir();
    let mut store = open(&dir);
    let mut reader = store.journal().reader();
    let later = store.journal();
    store.reopen(BOOT_ID, at(0)).unwrap();
    events(&mut store, "1", 3, at(0));
    assert_eq!(reader.bounds().unwrap().last, 3);
    store.close().unwrap();
    for suffix in ["-wal", "-shm"] {
        assert!(!dir.path().join(format!("{FILE_NAME}{suffix}")).exists(), "{suffix}");
    }
    assert!(reader.bounds().unwrap_err().is_closed());
    assert!(later.reader().bounds().unwrap_err().is_closed());
    let file = Connection::open(dir.path().join(FILE_NAME)).unwrap();
    let clean: i64 = file.query_row("SELECT clean FROM store", [], |row| row.get(0)).unwrap();
    assert_eq!(clean, 1);
}

#[test]
fn instance_changes_when_event_numbers_may_repeat() {
    let dir = temp_dir();
    let open = |boot| Store::open(dir.path(), boot).unwrap();
    let first = open("a");
    assert!(first.is_new_instance);
    let instance = first.store.instance().to_owned();
    let check = |opened: &OpenedStore, is_same: bool| {
        assert_eq!(opened.is_new_instance, !is_same);
        assert_eq!(opened.store.instance() == instance, is_same);
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

    let file = dir.path().join(FILE_NAME);
    let copy = dir.path().join("copy");
    fs::copy(&file, &copy).unwrap();
    fs::rename(&copy, &file).unwrap();
    let restored = open("d");
    assert!(restored.is_new_instance);
    assert_ne!(restored.store.instance(), renewed);
}

#[test]
fn barrier_makes_all_events_durable() {
    let dir = temp_dir();
    let mut store = open(&dir);
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
fn directory_and_files_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let parent = temp_dir();
    let dir = parent.path().join("a/state");
    let mut store = Store::open(&dir, BOOT_ID).unwrap().store;
    events(&mut store, "1", 1, at(0));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    let files: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 3);
    assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");
}

#[test]
fn foreign_newer_or_corrupt_file_is_refused_and_unchanged() {
    let pragmas = |application: u32, version: u32| {
        let dir = temp_dir();
        open(&dir).close().unwrap();
        let connection = Connection::open(dir.path().join(FILE_NAME)).unwrap();
        connection.pragma_update(None, "application_id", application).unwrap();
        connection.pragma_update(None, "user_version", version).unwrap();
        connection.close().unwrap();
        fs::read(dir.path().join(FILE_NAME)).unwrap()
    };
    let application_id = 0x646f_7373;
    let mut corrupt = pragmas(application_id, 1);
    corrupt[100..200].fill(0xff);
    let newer = format!(
        "written by a newer dossierd (store format 7, this version knows up to {})",
        schema::MIGRATIONS.len()
    );
    for (bytes, message) in [
        (pragmas(application_id, 7), &*newer),
        (pragmas(1, 1), "an SQLite database of another program"),
        (vec![b'x'; 4096], "not an SQLite database"),
        (corrupt, "not a valid store"),
    ] {
        let dir = temp_dir();
        let file = dir.path().join(FILE_NAME);
        fs::write(&file, &bytes).unwrap();
        let Err(error) = Store::open(dir.path(), BOOT_ID) else { panic!("opened: {message}") };
        assert!(error.to_string().contains(message), "{error}");
        assert!(!error.is_survivable());
        assert_eq!(fs::read(&file).unwrap(), bytes, "{message}");
        if !message.starts_with("not a valid") {
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "{message}");
        }
    }
}

#[test]
fn invalid_row_is_reported_as_corruption() {
    let dir = temp_dir();
    let mut store = open(&dir);
    let upsert = FeatureChange { upserts: vec![file("a")], ..change("1") };
    store.commit(vec![upsert], at(0)).unwrap();
    for (column, value) in [
        ("class", Value::Text("unknown".into())),
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
fn checkpoint_runs_while_others_read_and_write() {
    let dir = temp_dir();
    let mut store = open(&dir);
    let (mut reader, mut checkpointer) = (store.journal().reader(), store.checkpointer());
    for round in 1..4 {
        events(&mut store, "1", 50, at(0));
        let page = reader.page(0, 1_000, &EventFilter::default()).unwrap();
        assert_eq!(page.events.len(), 50 * round);
        assert_eq!(checkpointer.checkpoint().unwrap(), Some(0));
    }
    let wal_bytes = fs::metadata(dir.path().join(format!("{FILE_NAME}-wal"))).unwrap().len();
    assert!(wal_bytes < 200 << 10, "the WAL is reused: {wal_bytes} bytes");
}

#[test]
fn checkpoint_that_could_not_run_is_no_error() {
    // SQLite reports the same for a database without a WAL as while another connection runs one.
    let connection = Connection::open_in_memory().unwrap();
    assert_eq!(super::super::checkpoint::checkpoint(&connection).unwrap(), None);
}

#[test]
fn planted_files_are_refused() {
    for name in [FILE_NAME.to_owned(), format!("{FILE_NAME}-wal"), format!("{FILE_NAME}-shm")] {
        let dir = temp_dir();
        let (path, target) = (dir.path().join(&name), dir.path().join("target"));
        fs::write(&target, "").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        assert!(Store::open(dir.path(), "boot").is_err(), "{name} is a link");
        assert_eq!(fs::read(&target).unwrap(), b"");
        fs::remove_file(&path).unwrap();
        let fifo = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(fifo.success());
        assert!(Store::open(dir.path(), "boot").is_err(), "{name} is a FIFO");
    }
}

#[test]
fn wal_is_bounded_while_commits_never_pause() {
    const MIB: u64 = 1 << 20;
    let dir = temp_dir();
    let mut store = open(&dir);
    let mut checkpointer = store.checkpointer();
    let wal = dir.path().join(format!("{FILE_NAME}-wal"));
    let text = "x".repeat(100_000);
    let writer = std::thread::spawn(move || {
        let mut written = 0;
        while written < 128 * MIB {
            let events = vec![indexed_event("1", &text)];
            store.commit(vec![FeatureChange { events, ..change("1") }], at(0)).unwrap();
            written += text.len() as u64;
        }
    });
    let mut largest = 0;
    while !writer.is_finished() {
        checkpointer.checkpoint().unwrap();
        largest = largest.max(std::fs::metadata(&wal).map_or(0, |wal| wal.len()));
    }
    writer.join().unwrap();
    assert!(largest > 0 && largest < 24 * MIB, "{largest} bytes");
}

#[test]
fn instance_changes_when_an_older_copy_is_put_into_the_same_file() {
    for is_killed in [false, true] {
        let dir = temp_dir();
        let (file, copy) = (dir.path().join(FILE_NAME), dir.path().join("copy"));
        let mut store = open(&dir);
        events(&mut store, "1", 5, at(0));
        let instance = store.instance().to_owned();
        store.close().unwrap();
        fs::copy(&file, &copy).unwrap();
        let mut store = open(&dir);
        assert_eq!(store.instance(), instance, "nothing was put back yet");
        events(&mut store, "1", 10, at(0));
        if is_killed {
            // Like the thread that does so after commits.
            store.checkpointer().checkpoint().unwrap();
            drop(store);
        } else {
            store.close().unwrap();
        }
        fs::write(&file, fs::read(&copy).unwrap()).unwrap();
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(dir.path().join(format!("{FILE_NAME}{suffix}")));
        }
        let restored = open(&dir);
        assert_eq!(restored.seq(), 5);
        assert_ne!(restored.instance(), instance, "killed: {is_killed}");
        restored.close().unwrap();
    }
}
