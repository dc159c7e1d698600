//! Validates events against `docs/schemas`. The end-to-end tests include this file as well.

use std::collections::HashMap;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::{Value, json};

const SCHEMAS: [&str; 4] = [
    include_str!("../../../docs/schemas/mission_dossier_artifact_indexed.json"),
    include_str!("../../../docs/schemas/mission_dossier_artifact_missing.json"),
    include_str!("../../../docs/schemas/mission_dossier_parity_drift_detected.json"),
    include_str!("../../../docs/schemas/mission_dossier_snapshot_computed.json"),
];

/// Rejects fields that the schema does not name. The published schemas allow them, because readers
/// must ignore new fields.
fn forbid_additional_properties(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.contains_key("properties") {
                fields.insert("additionalProperties".to_owned(), json!(false));
            }
            fields.values_mut().for_each(forbid_additional_properties);
        }
        Value::Array(items) => items.iter_mut().for_each(forbid_additional_properties),
        _ => {}
    }
}

/// Panics if an event does not match the schema of its type, or has a field that is not in the
/// schema.
#[track_caller]
pub(crate) fn assert_valid_event(event: &Value) {
    static VALIDATORS: OnceLock<HashMap<String, Validator>> = OnceLock::new();
    let validators = VALIDATORS.get_or_init(|| {
        let schemas = SCHEMAS.into_iter().map(|text| {
            let mut schema: Value = serde_json::from_str(text).unwrap();
            forbid_additional_properties(&mut schema);
            let event_type = schema["title"].as_str().unwrap().to_owned();
            (event_type, jsonschema::validator_for(&schema).unwrap())
        });
        schemas.collect()
    });
    let validator = &validators[event["event_type"].as_str().unwrap()];
    let errors: Vec<String> = validator
        .iter_errors(event)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(errors, [] as [String; 0], "{event:#}");
}
