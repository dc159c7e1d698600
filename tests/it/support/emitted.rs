//! Every event that a test's daemon has emitted is held to its schema, whoever else has read it: at
//! the end of each test its store is read.

use std::fs;
use std::path::Path;

use rusqlite::Connection;

use super::schema::assert_valid_event;

/// Holds the events of a store to their schemas; gives how many. One that is broken on purpose, or
/// still in use, holds none.
#[track_caller]
pub(crate) fn hold_store(state: &Path) -> usize {
    // A copy: whoever looks at the store itself moves the log into it.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("store");
    let name = state.join("dossierd.sqlite3");
    let log = state.join("dossierd.sqlite3-wal");
    if fs::copy(&name, &copy).is_err() {
        return 0;
    }
    let _ = fs::copy(log, folder.path().join("store-wal"));
    let read = || -> rusqlite::Result<Vec<String>> {
        let connection = Connection::open(&copy)?;
        let mut statement = connection.prepare("SELECT envelope FROM event")?;
        let found = statement.query_map([], |row| row.get(0))?;
        found.collect()
    };
    let events = read().unwrap_or_default();
    for event in &events {
        assert_valid_event(&serde_json::from_str(event).unwrap());
    }
    events.len()
}

#[test]
fn an_event_of_another_form_fails_the_test_that_emits_it() {
    let project = super::Project::complete();
    project.daemon().stop();
    assert!(hold_store(&project.state()) > 3);
    let spoilt = tempfile::tempdir().unwrap();
    let store = spoilt.path().join("dossierd.sqlite3");
    fs::copy(project.state().join("dossierd.sqlite3"), &store).unwrap();
    let sql = "UPDATE event SET envelope = json_set(envelope, '$.payload.more', 1) WHERE seq = 2";
    Connection::open(&store).unwrap().execute(sql, []).unwrap();
    let held = std::panic::catch_unwind(|| hold_store(spoilt.path()));
    assert!(held.is_err(), "what is not described is refused");
}
