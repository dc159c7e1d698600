//! Holds events to the schemas in `docs/schemas`: all that is said is described there. Included by
//! the library's own tests, too.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::{Value, json};

/// Nothing may be in an object but what is named. Who reads must pass over what is new.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.contains_key("properties") {
                fields.insert("additionalProperties".to_owned(), json!(false));
            }
            fields.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

#[track_caller]
pub(crate) fn hold(event: &Value) {
    static VALIDATORS: OnceLock<HashMap<String, Validator>> = OnceLock::new();
    let validators = VALIDATORS.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schemas");
        let files = fs::read_dir(folder).unwrap();
        let schemas = files.map(|file| file.unwrap().path());
        let schemas = schemas.filter(|path| path.extension().is_some_and(|end| end == "json"));
        let schemas = schemas.map(|path| {
            let mut schema: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            close(&mut schema);
            let event_type = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (event_type, jsonschema::validator_for(&schema).unwrap())
        });
        schemas.collect()
    });
    let validator = &validators[event["event_type"].as_str().unwrap()];
    let wrong: Vec<String> = validator
        .iter_errors(event)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(wrong, [] as [String; 0], "{event:#}");
}
