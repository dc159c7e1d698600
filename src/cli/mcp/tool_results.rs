//! Schemas of the results of the tools: the fields that an agent needs, with their types. A result may have further
//! fields, which `docs/specification.md` describes.

use serde_json::{Map, Value, json};

/// Returns the schema of the results of a tool.
pub(super) fn result_schema(tool: &str) -> Map<String, Value> {
    let (properties, required): (Value, &[&str]) = match tool {
        "status" => (status(), &["daemon", "cursor", "projects"]),
        "feature" => (overview(), &["feature_slug", "completeness_status", "tree_hash_sha256"]),
        "accept_baseline" => (accepted(), &["accepted", "feature_slug", "drift"]),
        "artifacts" => (
            json!({
                "artifacts": list(artifact()),
                "total_count": {"type": "integer", "description": "Without the filters"},
                "filtered_count": {"type": "integer"},
            }),
            &["artifacts", "total_count", "filtered_count"],
        ),
        "read_artifact" => (content(), &["artifact_key", "is_present", "content"]),
        "drift" => (drift(), &["feature_slug", "state", "differences"]),
        "diff" => {
            (json!({"from": text(), "to": text(), "files": list(file())}), &["from", "to", "files"])
        }
        "next_missing" => (next_missing(), &[]),
        "wait_for_change" => (
            json!({
                "events": {"type": "array", "items": {"type": "object"}},
                "cursor": {"type": "string", "description": "Pass it to the next call"},
                "gap": {"type": "boolean", "description": "Events before these are lost; call `status`"},
                "timed_out": {"type": "boolean", "description": "Nothing changed"},
            }),
            &["events", "cursor", "gap", "timed_out"],
        ),
        "history" => (json!({"versions": list(version())}), &["versions"]),
        "restore" => (
            json!({
                "dry_run": flag(),
                "files": list(json!({
                    "relative_path": text(),
                    "outcome": {"type": "string", "enum": ["restored", "unchanged", "renamed", "failed"]},
                    "reason": text_or_null(),
                })),
            }),
            &["dry_run", "files"],
        ),
        _ => (
            json!({"project": text(), "root": text(), "root_id": text()}),
            &["project", "root", "root_id"],
        ),
    };
    let schema = json!({"type": "object", "properties": properties, "required": required});
    schema.as_object().cloned().unwrap_or_default()
}

fn text() -> Value {
    json!({"type": "string"})
}

fn text_or_null() -> Value {
    json!({"type": ["string", "null"]})
}

fn number() -> Value {
    json!({"type": "integer"})
}

fn number_or_null() -> Value {
    json!({"type": ["integer", "null"]})
}

fn flag() -> Value {
    json!({"type": "boolean"})
}

fn texts() -> Value {
    json!({"type": "array", "items": {"type": "string"}})
}

/// Returns the schema of a list of objects.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the properties are written where they are passed"
)]
fn list(properties: Value) -> Value {
    json!({"type": "array", "items": {"type": "object", "properties": properties}})
}

fn completeness() -> Value {
    json!({"type": "string", "enum": ["complete", "incomplete", "unknown"]})
}

fn drift_state() -> Value {
    json!({
        "type": ["string", "null"],
        "enum": ["no_baseline", "in_parity", "drifted", "baseline_corrupt", "key_mismatch", null],
    })
}

fn severity() -> Value {
    json!({"type": ["string", "null"], "enum": ["info", "warning", "error", null]})
}

fn progress() -> Value {
    json!({
        "type": ["object", "null"],
        "properties": {"done": number(), "total": number(), "in_progress": number(), "optional_open": number()},
    })
}

fn status() -> Value {
    json!({
        "daemon": {"type": "boolean", "description": "Whether a daemon runs"},
        "cursor": {"type": ["string", "null"], "description": "For `wait_for_change`"},
        "projects": list(json!({
            "project": text(),
            "root": text(),
            "root_id": text(),
            "is_watched": flag(),
            "watch_state": text(),
            "errors": {
                "type": "array", "items": {"type": "string"},
                "description": "Of manifests and settings, with file and line",
            },
            "features": list(json!({
                "feature": text(),
                "uri": {"type": "string", "description": "Resource to read or to subscribe to"},
                "completeness_status": completeness(),
                "required_present": number(),
                "required": number(),
                "drift_state": drift_state(),
                "drift_severity": severity(),
                "progress": progress(),
                "step": text_or_null(),
                "next_step": text_or_null(),
                "archived": flag(),
                "problem": {"type": ["string", "null"], "description": "What is wrong, in one sentence"},
            })),
        })),
    })
}

fn overview() -> Value {
    json!({
        "feature_slug": text(),
        "feature_dir": text(),
        "mission": text(),
        "completeness_status": completeness(),
        "unknown_reason": {"type": ["string", "null"], "description": "Why completeness is unknown"},
        "missing_required_count": number(),
        "deleted_required": texts(),
        "step": text_or_null(),
        "next_step": text_or_null(),
        "next_missing": texts(),
        "progress": progress(),
        "drift": {
            "type": "object",
            "properties": {"state": drift_state(), "severity": severity()},
        },
        "tree_hash_sha256": {"type": "string", "description": "Identifies the present state, for `accept_baseline`"},
    })
}

fn accepted() -> Value {
    let mut properties = overview();
    properties["accepted"] = json!({
        "type": "object",
        "properties": {"artifacts": number(), "tree_hash_sha256": text(), "captured_at": text()},
    });
    properties
}

fn artifact() -> Value {
    json!({
        "artifact_key": text(),
        "relative_path": {"type": "string", "description": "In the feature; of a missing artifact the expected one"},
        "artifact_class": text(),
        "required_status": {"type": "string", "enum": ["required", "optional"]},
        "is_present": flag(),
        "error_reason": text_or_null(),
        "step_id": text_or_null(),
        "wp_id": text_or_null(),
        "size_bytes": number(),
    })
}

fn content() -> Value {
    let mut properties = artifact();
    properties["content"] =
        json!({"type": ["string", "null"], "description": "Null if it is not text, or missing"});
    properties["truncation_notice"] = text_or_null();
    properties["content_hash_sha256"] = text_or_null();
    properties
}

fn drift() -> Value {
    json!({
        "feature_slug": text(),
        "state": drift_state(),
        "severity": severity(),
        "detail": text(),
        "differences": list(json!({
            "artifact_key": text(),
            "relative_path": text(),
            "kind": text(),
            "churn": {"type": "boolean", "description": "Bookkeeping of a tool, which is not a change of the work"},
            "baseline_hash": text_or_null(),
            "local_hash": text_or_null(),
        })),
    })
}

fn file() -> Value {
    json!({
        "artifact_key": text(),
        "relative_path": text(),
        "previous_path": text_or_null(),
        "kind": {"type": ["string", "null"], "enum": ["added", "changed", "missing", "renamed", null]},
        "added_lines": number_or_null(),
        "removed_lines": number_or_null(),
        "hunks": list(json!({
            "from_start": number(),
            "to_start": number(),
            "lines": list(json!({"kind": text(), "text": text()})),
        })),
        "unavailable": {"type": ["string", "null"], "description": "Why there are no lines"},
    })
}

fn next_missing() -> Value {
    json!({
        "features": {
            "type": "array", "description": "Without `feature`: those that are not finished",
            "items": {"type": "object", "properties": {
                "feature": text(),
                "completeness_status": completeness(),
                "missing_required_count": number(),
                "step": text_or_null(),
                "next_step": text_or_null(),
                "next_missing": texts(),
            }},
        },
        "feature": text(),
        "completeness_status": completeness(),
        "step": text_or_null(),
        "next_step": text_or_null(),
        "next_missing": {
            "type": "array", "items": {"type": "string"}, "description": "Keys that the next step needs first",
        },
        "missing_required": list(json!({
            "artifact_key": text(),
            "relative_path": text(),
            "step_id": text_or_null(),
            "reason": text_or_null(),
        })),
    })
}

fn version() -> Value {
    json!({
        "artifact_key": text(),
        "relative_path": text(),
        "from_seq": {"type": ["integer", "null"], "description": "Event N: `@N` is the revision"},
        "from": text_or_null(),
        "until": text_or_null(),
        "size_bytes": number_or_null(),
        "content_hash_sha256": text_or_null(),
        "added_lines": number_or_null(),
        "removed_lines": number_or_null(),
        "not_stored": {"type": ["string", "null"], "description": "Why this version cannot be restored"},
    })
}
