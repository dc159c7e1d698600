//! Arguments of a tool, checked against its schema.

use serde_json::{Map, Value};

use crate::cli::mcp::tool_list::HASH_PATTERN;
use crate::core::digest::Digest;
use crate::core::suggest::nearest;

/// The arguments of a call.
#[derive(Debug, Default)]
pub(super) struct ToolArguments(Map<String, Value>);

/// The arguments do not match the schema. The text names the argument and the fix.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct ArgumentError(String);

impl ToolArguments {
    /// Checks names and types of arguments against the schema of the tool.
    pub(super) fn parse(
        schema: &Map<String, Value>,
        arguments: Option<Map<String, Value>>,
    ) -> Result<Self, ArgumentError> {
        let none = Map::new();
        let known = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let mut arguments = arguments.unwrap_or_default();
        // Some clients send null for what is not given.
        arguments.retain(|_, value| !value.is_null());
        for (name, value) in &arguments {
            let Some(property) = known.get(name) else {
                let near = nearest(name, known.keys().map(String::as_str));
                let hint = near.map_or_else(
                    || {
                        format!(
                            "known are {}",
                            known.keys().cloned().collect::<Vec<_>>().join(", ")
                        )
                    },
                    |near| format!("did you mean `{near}`?"),
                );
                return Err(ArgumentError(format!("unknown argument `{name}`; {hint}")));
            };
            check_value(property, value)
                .map_err(|expected| ArgumentError(format!("`{name}` must be {expected}")))?;
        }
        let required = schema.get("required").and_then(Value::as_array);
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            if !arguments.contains_key(name) {
                let meaning = known.get(name).and_then(|one| one["description"].as_str());
                let meaning = meaning.map(|text| format!(": {text}")).unwrap_or_default();
                return Err(ArgumentError(format!("`{name}` is required{meaning}")));
            }
        }
        Ok(Self(arguments))
    }

    /// Returns a text that may be left out.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// Returns a text that the schema requires.
    pub(super) fn required(&self, name: &str) -> &str {
        self.text(name).unwrap_or_default()
    }

    /// Returns a flag; false if it is left out.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or_default()
    }

    /// Returns a number that may be left out.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(Value::as_u64)
    }

    /// Returns a list of texts; empty if it is left out.
    pub(super) fn texts(&self, name: &str) -> Vec<&str> {
        let list = self.0.get(name).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }
}

/// Checks a value against the schema of its property, as far as the tools use that; the error is what is expected.
fn check_value(property: &Value, value: &Value) -> Result<(), String> {
    let (is_valid, expected) = match property["type"].as_str().unwrap_or_default() {
        "string" => (value.is_string(), "a string"),
        "boolean" => (value.is_boolean(), "true or false"),
        "integer" => (value.is_u64(), "a whole number"),
        "array" => {
            let texts = value.as_array().is_some_and(|all| all.iter().all(Value::is_string));
            (texts, "an array of strings")
        }
        _ => (true, ""),
    };
    if !is_valid {
        return Err(expected.to_owned());
    }
    if let Some(allowed) = property["enum"].as_array().filter(|allowed| !allowed.contains(value)) {
        let allowed: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        return Err(format!("one of {}", allowed.join(", ")));
    }
    if let (Some(number), Some(min), Some(max)) =
        (value.as_u64(), property["minimum"].as_u64(), property["maximum"].as_u64())
        && !(min..=max).contains(&number)
    {
        return Err(format!("a number from {min} to {max}"));
    }
    let is_hash = property["pattern"] == HASH_PATTERN;
    if is_hash && value.as_str().is_some_and(|text| Digest::parse(text).is_none()) {
        return Err("64 lower-case hexadecimal digits".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_match_their_schema() {
        let schema = json!({
            "type": "object",
            "properties": {
                "feature": {"type": "string", "description": "Slug of the feature"}, "force": {"type": "boolean"},
                "limit": {"type": "integer", "minimum": 1, "maximum": 60}, "keys": {"type": "array"},
                "scope": {"type": "string", "enum": ["local", "shared"]},
                "tree": {"type": "string", "pattern": HASH_PATTERN},
            },
            "required": ["feature"],
        });
        let parse = |arguments: Value| {
            let arguments = arguments.as_object().cloned();
            ToolArguments::parse(schema.as_object().unwrap(), arguments).map_err(|error| error.0)
        };
        let all = parse(json!({"feature": "a", "force": true, "limit": 3, "keys": ["x"]})).unwrap();
        assert_eq!(
            (all.required("feature"), all.flag("force"), all.number("limit"), all.texts("keys")),
            ("a", true, Some(3), vec!["x"])
        );
        let few = parse(json!({"feature": "a", "limit": null})).unwrap();
        assert_eq!(
            (few.flag("force"), few.number("limit"), few.texts("keys")),
            (false, None, vec![])
        );
        for (arguments, error) in [
            (json!({}), "`feature` is required: Slug of the feature"),
            (json!({"feature": 1}), "`feature` must be a string"),
            (json!({"feature": "a", "force": "yes"}), "`force` must be true or false"),
            (json!({"feature": "a", "limit": -1}), "`limit` must be a whole number"),
            (json!({"feature": "a", "limit": 0}), "`limit` must be a number from 1 to 60"),
            (json!({"feature": "a", "limit": 61}), "`limit` must be a number from 1 to 60"),
            (json!({"feature": "a", "keys": [1]}), "`keys` must be an array of strings"),
            (json!({"feature": "a", "scope": "all"}), "`scope` must be one of local, shared"),
            (
                json!({"feature": "a", "tree": "12ab"}),
                "`tree` must be 64 lower-case hexadecimal digits",
            ),
            (
                json!({"feature": "a", "featur": "b"}),
                "unknown argument `featur`; did you mean `feature`?",
            ),
        ] {
            assert_eq!(parse(arguments).unwrap_err(), error);
        }
    }
}
