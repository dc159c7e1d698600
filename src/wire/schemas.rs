//! Compares `docs/schemas` with the types of events, or writes it if `UPDATE_SCHEMAS` is set.

use std::path::PathBuf;

use crate::core::event_schema::event_schemas;

#[test]
fn documented_schemas_match_the_event_types() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/schemas");
    let mut files: Vec<String> = std::fs::read_dir(&dir)
        .map(|entries| entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()))
        .unwrap()
        .filter(|name| name.contains(".json"))
        .collect();
    files.sort();
    for (event_type, schema) in event_schemas() {
        jsonschema::meta::validate(&schema).unwrap();
        let path = dir.join(format!("{event_type}.json"));
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == text, "{event_type}: run the test with UPDATE_SCHEMAS=1");
        files.retain(|name| *name != format!("{event_type}.json"));
    }
    assert_eq!(files, [] as [String; 0], "a schema without an event type");
}
