//! Arguments of a tool, checked against its schema.

use serde_json::{Map, Value};

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
            let kind = property["type"].as_str().unwrap_or_default();
            let has_kind = match kind {
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "integer" => value.is_u64(),
                "array" => value.as_array().is_some_and(|all| all.iter().all(Value::is_string)),
                _ => true,
            };
            if !has_kind {
                return Err(ArgumentError(format!("`{name}` must be of type {kind}")));
            }
        }
        let required = schema.get("required").and_then(Value::as_array);
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            if !arguments.contains_key(name) {
                return Err(ArgumentError(format!("`{name}` is required")));
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_match_their_schema() {
        let schema = json!({
            "type": "object",
            "properties": {
                "feature": {"type": "string"}, "force": {"type": "boolean"}, "limit": {"type": "integer"},
                "keys": {"type": "array"},
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
            (json!({}), "`feature` is required"),
            (json!({"feature": 1}), "`feature` must be of type string"),
            (json!({"feature": "a", "limit": -1}), "`limit` must be of type integer"),
            (json!({"feature": "a", "keys": [1]}), "`keys` must be of type array"),
            (
                json!({"feature": "a", "featur": "b"}),
                "unknown argument `featur`; did you mean `feature`?",
            ),
        ] {
            assert_eq!(parse(arguments).unwrap_err(), error);
        }
    }
}
