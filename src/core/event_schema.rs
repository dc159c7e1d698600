//! Generates the JSON Schemas (2020-12) of events from the types, for `docs/schemas`. Descriptions
//! are the doc comments of the types. Used by tests only.

mod validate;

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::core::digest::Digest;
use crate::core::event::{
    ArtifactIndexed, ArtifactMissing, Envelope, ParityDriftDetected, SnapshotComputed,
};
use crate::core::path::{FeatureSlug, RelPath};
use crate::core::time::Timestamp;

pub(crate) use validate::assert_valid_event;

macro_rules! text_schema {
    ($type:ty, $name:literal, $schema:tt) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

text_schema!(Digest, "Digest", {
    "type": "string",
    "pattern": "^[0-9a-f]{64}$",
    "description": "A SHA-256 digest, in lower-case hexadecimal digits."
});
text_schema!(FeatureSlug, "FeatureSlug", {
    "type": "string",
    "pattern": "^[^./][^/]*(/[^./][^/]*)*$",
    "description": "Name of a feature's directory."
});
text_schema!(RelPath, "RelPath", {
    "type": "string",
    "minLength": 1,
    "description": "A path relative to the feature's directory. A byte that is not UTF-8 is \
                    `\\xHH`, a backslash `\\\\`."
});
text_schema!(Timestamp, "Timestamp", {
    "type": "string",
    "format": "date-time",
    "pattern": "^[0-9]{4,}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{3}Z$",
    "description": "RFC 3339 in UTC, with milliseconds."
});

/// Returns the schema of events of a type with the payload `T`, and the type.
fn event_schema<T: JsonSchema>(event_type: &str) -> (String, Value) {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let payload = generator.subschema_for::<T>();
    let mut schema = generator.into_root_schema_for::<Envelope>().to_value();
    schema["$id"] = json!(format!("urn:dossierd:schema:{event_type}"));
    schema["title"] = json!(event_type);
    schema["properties"]["payload"] = payload.to_value();
    schema["properties"]["event_type"] = json!({"const": event_type});
    schema["properties"]["seq"]["minimum"] = json!(1);
    (event_type.to_owned(), schema)
}

pub(crate) fn event_schemas() -> BTreeMap<String, Value> {
    BTreeMap::from([
        event_schema::<ArtifactIndexed>("mission_dossier_artifact_indexed"),
        event_schema::<ArtifactMissing>("mission_dossier_artifact_missing"),
        event_schema::<SnapshotComputed>("mission_dossier_snapshot_computed"),
        event_schema::<ParityDriftDetected>("mission_dossier_parity_drift_detected"),
    ])
}
