//! The schemas of events in `docs/schemas`: with `UPDATE_SCHEMAS` set, the test writes them.

use std::path::PathBuf;

use crate::core::event_schema::event_schemas;

#[test]
fn the_schemas_in_docs_are_those_of_the_types() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/schemas");
    let mut files: Vec<String> = std::fs::read_dir(&folder)
        .map(|entries| entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()))
        .unwrap()
        .filter(|name| name.contains(".json"))
        .collect();
    files.sort();
    for (event_type, schema) in event_schemas() {
        jsonschema::meta::validate(&schema).unwrap();
        let path = folder.join(format!("{event_type}.json"));
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == text, "{event_type}: run the test with UPDATE_SCHEMAS=1");
        files.retain(|name| *name != format!("{event_type}.json"));
    }
    assert_eq!(files, [] as [String; 0], "a schema of nothing");
}
