//! Compares snapshots of the daemon and of a scan field by field.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value, json};

/// Fields of a snapshot that differ even for the same state, or that repeat the artifacts.
const IGNORED_FIELDS: [&str; 4] =
    ["snapshot_id", "computed_at", "artifact_summaries", "parity_hash_components"];
/// Fields of an artifact that do not depend on the manifest.
const CONTENT_FIELDS: [&str; 7] = [
    "relative_path",
    "content_hash_sha256",
    "size_bytes",
    "wp_id",
    "is_present",
    "error_reason",
    "error_detail",
];

/// A field with different values.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct FieldDifference {
    pub(crate) feature_slug: String,
    /// `None` for a field of the feature itself.
    pub(crate) artifact_key: Option<String>,
    pub(crate) relative_path: Option<String>,
    pub(crate) field: String,
    /// The daemon's value as JSON text.
    #[serde(serialize_with = "serialize_as_json")]
    pub(crate) daemon: String,
    /// The scan's value as JSON text.
    #[serde(serialize_with = "serialize_as_json")]
    pub(crate) disk: String,
}

/// Returns the differences of the artifacts that differ in exactly the same way in both passes. An
/// artifact that is being changed differs each time, and single fields may be equal by chance.
pub(crate) fn persistent_differences(
    first: &BTreeSet<FieldDifference>,
    second: &BTreeSet<FieldDifference>,
) -> BTreeSet<FieldDifference> {
    let artifacts = |all: &BTreeSet<FieldDifference>| {
        let mut artifacts: BTreeMap<_, Vec<FieldDifference>> = BTreeMap::new();
        for one in all {
            let artifact = (one.feature_slug.clone(), one.artifact_key.clone());
            artifacts.entry(artifact).or_default().push(one.clone());
        }
        artifacts
    };
    let second = artifacts(second);
    let first = artifacts(first).into_iter();
    first
        .filter(|(artifact, all)| second.get(artifact) == Some(all))
        .flat_map(|(_, all)| all)
        .collect()
}

/// Returns the part of a snapshot that does not depend on the manifest: files by path, and the tree
/// hash.
pub(crate) fn content_fields(snapshot: &Value) -> Value {
    let all = snapshot["artifact_summaries"].as_array().into_iter().flatten();
    let files = all.filter(|artifact| artifact["error_reason"] != "not_found").map(|artifact| {
        let mut file = json!({"artifact_key": artifact["relative_path"]});
        for field in CONTENT_FIELDS {
            file[field] = artifact[field].clone();
        }
        file
    });
    let files: Vec<Value> = files.collect();
    json!({"tree_hash_sha256": snapshot["tree_hash_sha256"], "artifact_summaries": files})
}

/// Creates a difference in a field of the feature itself.
pub(crate) fn feature_difference(
    slug: &str,
    field: &str,
    daemon: &Value,
    disk: &Value,
) -> FieldDifference {
    FieldDifference {
        feature_slug: slug.to_owned(),
        artifact_key: None,
        relative_path: None,
        field: field.to_owned(),
        daemon: daemon.to_string(),
        disk: disk.to_string(),
    }
}

/// Adds every field in which two snapshots differ to `found`.
pub(crate) fn compare_snapshots(
    slug: &str,
    daemon: &Value,
    disk: &Value,
    found: &mut BTreeSet<FieldDifference>,
) {
    let empty = Map::new();
    let (left, right) = (daemon.as_object().unwrap_or(&empty), disk.as_object().unwrap_or(&empty));
    for (field, left, right) in differing_fields(left, right) {
        if !IGNORED_FIELDS.contains(&field.as_str()) {
            found.insert(feature_difference(slug, &field, left, right));
        }
    }
    let by_key = |snapshot: &Value| -> BTreeMap<String, Map<String, Value>> {
        let list = snapshot["artifact_summaries"].as_array().into_iter().flatten();
        let named = list.filter_map(|artifact| {
            let fields = artifact.as_object()?.clone();
            Some((fields.get("artifact_key")?.as_str()?.to_owned(), fields))
        });
        named.collect()
    };
    let (left, right) = (by_key(daemon), by_key(disk));
    for key in left.keys().chain(right.keys()) {
        let (left, right) = (left.get(key), right.get(key));
        let path = left.or(right).and_then(|fields| fields.get("relative_path"));
        let path = path.and_then(Value::as_str).map(str::to_owned);
        let mut differ = |field: &str, left: &Value, right: &Value| {
            found.insert(FieldDifference {
                artifact_key: Some(key.clone()),
                relative_path: path.clone(),
                ..feature_difference(slug, field, left, right)
            });
        };
        match (left, right) {
            (Some(left), Some(right)) => {
                for (field, left, right) in differing_fields(left, right) {
                    differ(&field, left, right);
                }
            }
            (left, right) => {
                let state = |side: Option<&Map<String, Value>>| {
                    side.map_or(Value::Null, |_| Value::from("listed"))
                };
                differ("artifact", &state(left), &state(right));
            }
        }
    }
}

/// Returns the fields with different values; a missing field is null.
fn differing_fields<'v>(
    left: &'v Map<String, Value>,
    right: &'v Map<String, Value>,
) -> Vec<(String, &'v Value, &'v Value)> {
    let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    let pairs = names.into_iter().map(|name| {
        let value = |side: &'v Map<String, Value>| side.get(name).unwrap_or(&Value::Null);
        (name.clone(), value(left), value(right))
    });
    pairs.filter(|(_, left, right)| left != right).collect()
}

fn serialize_as_json<S: serde::Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    value.serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn persistent_differences_leaves_out_what_differs_in_another_way() {
        let one = |key: Option<&str>, field: &str, disk: &str| FieldDifference {
            artifact_key: key.map(str::to_owned),
            ..feature_difference("s", field, &"daemon".into(), &disk.into())
        };
        let before = BTreeSet::from([
            one(Some("a"), "hash", "1"),
            one(Some("a"), "size", "0"),
            one(Some("b"), "hash", "1"),
            one(None, "tree", "1"),
        ]);
        let again = BTreeSet::from([
            one(Some("a"), "hash", "2"),
            one(Some("a"), "size", "0"),
            one(Some("b"), "hash", "1"),
            one(None, "tree", "2"),
        ]);
        assert_eq!(
            persistent_differences(&before, &again),
            BTreeSet::from([one(Some("b"), "hash", "1")])
        );
    }

    #[test]
    fn compare_snapshots_finds_every_field_of_every_artifact() {
        let artifact = |key: &str, hash: &str| json!({"artifact_key": key, "relative_path": format!("{key}.md"), "hash": hash});
        let daemon = json!({
            "snapshot_id": "1", "tree": "t", "artifact_summaries": [artifact("a", "1"), artifact("b", "1")],
        });
        let disk = json!({
            "snapshot_id": "2", "tree": "u", "artifact_summaries": [artifact("a", "2"), artifact("c", "1")],
        });
        let mut found = BTreeSet::new();
        compare_snapshots("s", &daemon, &daemon, &mut found);
        assert!(found.is_empty());
        compare_snapshots("s", &daemon, &disk, &mut found);
        let found: Vec<_> = found
            .iter()
            .map(|d| (d.artifact_key.as_deref(), d.field.as_str(), &*d.daemon, &*d.disk))
            .collect();
        assert_eq!(
            found,
            [
                (None, "tree", "\"t\"", "\"u\""),
                (Some("a"), "hash", "\"1\"", "\"2\""),
                (Some("b"), "artifact", "\"listed\"", "null"),
                (Some("c"), "artifact", "null", "\"listed\""),
            ]
        );
    }
}
