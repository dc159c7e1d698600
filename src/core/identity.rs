//! Identities of projects, machines and runs, and the key that binds a baseline to them
//! (`docs/specification.md#identity`). Reading machine id and host name is done elsewhere.

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::digest::Digest;

/// Names of the fields of a [`BaselineKey`] in byte order, as in `key_mismatch`.
pub const BASELINE_KEY_FIELDS: [&str; 6] =
    ["feature_slug", "manifest_version", "mission_key", "node_id", "project_uuid", "target_branch"];

/// Value of `manifest_version` if there is no manifest.
pub const NO_MANIFEST_VERSION: &str = "none";

/// What a baseline is bound to (`docs/specification.md#baseline-key`): if one field differs, the
/// baseline is not compared. The fields are in the order of the file.
///
/// # Examples
/// ```
/// use dossierd::core::identity::BaselineKey;
///
/// let key = BaselineKey {
///     project_uuid: "550e8400-e29b-41d4-a716-446655440000".into(),
///     node_id: "abcdef123456".into(),
///     feature_slug: "042-local-mission-dossier".into(),
///     target_branch: "2.x".into(),
///     mission_key: "software-dev".into(),
///     manifest_version: "1".into(),
/// };
/// assert!(key.hash().to_string().starts_with("fc8d7c403f0b5e5d"));
///
/// let other = BaselineKey { target_branch: "main".into(), ..key.clone() };
/// assert_eq!(key.differing_fields(&other), ["target_branch"]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaselineKey {
    /// Identity of the project.
    pub project_uuid: String,
    /// Identity of the machine and the user.
    pub node_id: String,
    /// Slug of the feature.
    pub feature_slug: String,
    /// Branch that the feature is intended for.
    pub target_branch: String,
    /// Mission type.
    pub mission_key: String,
    /// Version of the mission's manifest, or [`NO_MANIFEST_VERSION`].
    pub manifest_version: String,
}

impl BaselineKey {
    fn fields(&self) -> [(&'static str, &str); 6] {
        [
            ("feature_slug", &self.feature_slug),
            ("manifest_version", &self.manifest_version),
            ("mission_key", &self.mission_key),
            ("node_id", &self.node_id),
            ("project_uuid", &self.project_uuid),
            ("target_branch", &self.target_branch),
        ]
    }

    /// Returns the SHA-256 of the six fields as JSON text, formatted as by Python's
    /// `json.dumps(sort_keys=True)`.
    #[must_use]
    pub fn hash(&self) -> Digest {
        hash_fields(self.fields().map(|(name, text)| (name, Value::from(text))))
    }

    /// Returns the names of the fields in which `self` and `other` differ, in byte order.
    #[must_use]
    pub fn differing_fields(&self, other: &Self) -> Vec<&'static str> {
        let pairs = self.fields().into_iter().zip(other.fields());
        pairs.filter(|((_, mine), (_, theirs))| mine != theirs).map(|((name, _), _)| name).collect()
    }

    /// Returns a sentence with the fields in which `accepted` differs from `self`, and both values of each.
    #[must_use]
    pub fn mismatch_text(&self, accepted: &Self) -> String {
        let pairs = self.fields().into_iter().zip(accepted.fields());
        let fields = pairs
            .filter(|((_, now), (_, accepted))| now != accepted)
            .map(|((name, now), (_, accepted))| format!("{name} `{accepted}`, not `{now}`"));
        format!("the baseline was accepted for {}", fields.collect::<Vec<_>>().join("; "))
    }
}

/// A key as it is written in a file. Other programs write and hash a `node_id` of digits as a
/// number; for the comparison it is a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawBaselineKey {
    /// The six fields as texts.
    pub key: BaselineKey,
    /// Hash of the fields as they are written.
    pub hash: Digest,
}

impl<'de> Deserialize<'de> for RawBaselineKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut raw = serde_json::Map::deserialize(deserializer)?;
        let mut fields = BASELINE_KEY_FIELDS.map(|name| (name, Value::Null));
        for (name, value) in &mut fields {
            *value = raw.remove(*name).ok_or_else(|| de::Error::missing_field(name))?;
        }
        let hash = hash_fields(fields.clone());
        let mut texts = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            texts.push(match value {
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                _ => return Err(de::Error::custom(format!("`{name}` is not a string"))),
            });
        }
        let [feature_slug, manifest_version, mission_key, node_id, project_uuid, target_branch] =
            texts.try_into().map_err(|_| de::Error::custom("expected six fields"))?;
        let key = BaselineKey {
            project_uuid,
            node_id,
            feature_slug,
            target_branch,
            mission_key,
            manifest_version,
        };
        Ok(Self { key, hash })
    }
}

fn hash_fields(fields: [(&str, Value); 6]) -> Digest {
    let mut json = String::from("{");
    for (index, (name, value)) in fields.into_iter().enumerate() {
        if index > 0 {
            json.push_str(", ");
        }
        write_json_string(&mut json, name);
        json.push_str(": ");
        match value {
            Value::String(text) => write_json_string(&mut json, &text),
            other => json.push_str(&other.to_string()),
        }
    }
    json.push('}');
    Digest::of(json.as_bytes())
}

/// Appends `text` as a JSON string in ASCII, escaped as by Python's `json.dumps`: all characters
/// but those from space to `~`, and characters beyond U+FFFF as surrogate pairs.
fn write_json_string(json: &mut String, text: &str) {
    use std::fmt::Write as _;
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            ' '..='~' => json.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(json, "\\u{unit:04x}");
                }
            }
        }
    }
    json.push('"');
}

/// Returns the `project_uuid` of a project whose metadata has none: the UUID v5 (URL namespace) of
/// `dossierd:`, the machine id, `/` and the canonical root.
#[must_use]
pub fn derived_project_uuid(machine_id: &str, root: &[u8]) -> String {
    let name = [b"dossierd:", machine_id.as_bytes(), b"/", root].concat();
    Uuid::new_v5(&Uuid::NAMESPACE_URL, &name).to_string()
}

/// Returns the `node_id` of a project whose metadata has none: the first 12 hexadecimal digits of
/// the SHA-256 of `hostname:user`.
#[must_use]
pub fn derived_node_id(host: &str, user: &str) -> String {
    Digest::of(format!("{host}:{user}").as_bytes()).hex().as_str()[..12].to_owned()
}

/// Returns the `root_id`: the first 16 hexadecimal digits of the SHA-256 of the machine id, NUL and
/// the canonical root. Clones and worktrees have the same `project_uuid`, but different root ids.
#[must_use]
pub fn root_id(machine_id: &str, root: &[u8]) -> String {
    let bytes = [machine_id.as_bytes(), b"\0", root].concat();
    Digest::of(&bytes).hex().as_str()[..16].to_owned()
}

/// Returns the `mission_run_id` of a feature that no runtime has started and the store does not
/// contain. The same feature of the same root always has the same one.
#[must_use]
pub fn derived_run_id(root_id: &str, slug: &str) -> String {
    let name = format!("dossierd:run:{root_id}/{slug}");
    Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> BaselineKey {
        BaselineKey {
            project_uuid: "550e8400-e29b-41d4-a716-446655440000".into(),
            node_id: "abcdef123456".into(),
            feature_slug: "042-local-mission-dossier".into(),
            target_branch: "2.x".into(),
            mission_key: "software-dev".into(),
            manifest_version: "1".into(),
        }
    }

    #[test]
    fn key_hash_matches_golden_value() {
        assert_eq!(
            example().hash().to_string(),
            "fc8d7c403f0b5e5d900448949391b957c11824a0ec7819cd1ba1e603193f4287"
        );
    }

    /// The second digest was computed with Python.
    #[test]
    fn key_hash_escapes_text_as_python_does() {
        let mut json = String::new();
        write_json_string(&mut json, "gr\u{f6}\u{df}e/\u{1f600}\u{7f}\"x\\y\n\t\r\u{8}\u{c}\u{1}");
        assert_eq!(json, r#""gr\u00f6\u00dfe/\ud83d\ude00\u007f\"x\\y\n\t\r\b\f\u0001""#);
        let key = BaselineKey {
            target_branch: "gr\u{f6}\u{df}e/\u{1f600}\u{7f}\"x\\y".into(),
            ..example()
        };
        assert_eq!(
            key.hash().to_string(),
            "8144a8f0f9ea367addc8a3d54a01a46998982c60eb87eb927286ef40d66fec12"
        );
    }

    #[test]
    fn differing_fields_lists_names_in_byte_order() {
        let other = BaselineKey { node_id: "x".into(), target_branch: "main".into(), ..example() };
        assert_eq!(example().differing_fields(&other), ["node_id", "target_branch"]);
        assert!(example().differing_fields(&example()).is_empty());
        let now = example();
        let text = format!(
            "the baseline was accepted for node_id `x`, not `{}`; target_branch `main`, not `{}`",
            now.node_id, now.target_branch
        );
        assert_eq!(now.mismatch_text(&other), text);
    }

    #[test]
    fn numeric_node_id_is_hashed_as_a_number_and_compared_as_text() {
        let mut value = serde_json::to_value(example()).unwrap();
        value["node_id"] = 123_456_789_012_u64.into();
        let raw: RawBaselineKey = serde_json::from_value(value).unwrap();
        assert_eq!(raw.key.node_id, "123456789012");
        assert_ne!(raw.hash, raw.key.hash());
    }

    #[test]
    fn derived_identities_are_stable() {
        assert_eq!(derived_node_id("host", "user"), "2e1a29e6f4ef");
        assert_eq!(root_id("m", b"/p").len(), 16);
        assert_ne!(root_id("m", b"/p"), root_id("m", b"/q"));
        assert_eq!(derived_project_uuid("m", b"/p"), "33c5b02e-8c35-5b08-b7e5-6dbab699f177");
    }
}
