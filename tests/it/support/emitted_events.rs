//! Validates every event that the daemon of a test has stored against its schema.
//!
//! The store is read at the end of each test, so events that the test itself does not read are
//! checked too.

use std::fs;
use std::path::Path;

use rusqlite::Connection;

use super::schema::assert_valid_event;

/// Checks the events of the store in a state directory against their schemas; returns their number.
///
/// Returns 0 if there is no store, or if the test has corrupted it.
#[track_caller]
pub(crate) fn assert_stored_events_valid(state_dir: &Path) -> usize {
    // A copy, because opening the store itself would checkpoint its write-ahead log.
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("store");
    let store = state_dir.join("dossierd.sqlite3");
    let log = state_dir.join("dossierd.sqlite3-wal");
    if fs::copy(&store, &copy).is_err() {
        return 0;
    }
    let _ = fs::copy(log, dir.path().join("store-wal"));
    let read_events = || -> rusqlite::Result<Vec<String>> {
        let connection = Connection::open(&copy)?;
        let mut statement = connection.prepare("SELECT envelope FROM event")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        rows.collect()
    };
    let events = read_events().unwrap_or_default();
    for event in &events {
        assert_valid_event(&serde_json::from_str(event).unwrap());
    }
    events.len()
}

#[test]
fn stored_event_that_violates_its_schema_fails_the_test() {
    let project = super::Project::complete();
    project.start_daemon().stop();
    assert!(assert_stored_events_valid(&project.state_dir()) > 3);
    let altered = tempfile::tempdir().unwrap();
    let store = altered.path().join("dossierd.sqlite3");
    fs::copy(project.state_dir().join("dossierd.sqlite3"), &store).unwrap();
    let sql = "UPDATE event SET envelope = json_set(envelope, '$.payload.more', 1) WHERE seq = 2";
    Connection::open(&store).unwrap().execute(sql, []).unwrap();
    let result = std::panic::catch_unwind(|| assert_stored_events_valid(altered.path()));
    assert!(result.is_err(), "a field that the schema does not name is rejected");
}
