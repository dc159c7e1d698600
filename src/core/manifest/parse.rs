//! The parser of `expected-artifacts.yaml`. It is strict, and each error has a position.
//!
//! A rule for one value is checked by the type of that value. A rule for two entries (one key with
//! two patterns) is checked by a `DeserializeSeed` that has seen both: only an error during parsing
//! has a position.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::expected::{ExpectedArtifactManifest, ExpectedArtifactSpec, StepRequirements};
use crate::core::artifact::ArtifactClass;
use crate::core::pattern::Pattern;
use crate::core::yaml::{ParseError, deserialize_text, parse_with_seed};

/// Parses a manifest (`docs/specification.md#manifest-format`).
///
/// # Errors
/// [`ParseError`] for unknown, missing and repeated keys and for invalid values.
pub fn parse_manifest(bytes: &[u8]) -> Result<ExpectedArtifactManifest, ParseError> {
    parse_with_seed(ManifestSeed { seen: &mut SeenKeys::new() }, bytes)
}

/// The entries read so far, by artifact key.
type SeenKeys = HashMap<String, SeenEntry>;

struct SeenEntry {
    pattern: Pattern,
    class: ArtifactClass,
}

struct ManifestSeed<'s> {
    seen: &'s mut SeenKeys,
}

const FIELDS: &[&str] = &[
    "schema_version",
    "mission_type",
    "manifest_version",
    "required_always",
    "required_by_step",
    "optional_always",
];

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    SchemaVersion,
    MissionType,
    ManifestVersion,
    RequiredAlways,
    RequiredByStep,
    OptionalAlways,
}

impl<'de> DeserializeSeed<'de> for ManifestSeed<'_> {
    type Value = ExpectedArtifactManifest;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_struct("manifest", FIELDS, self)
    }
}

impl<'de> Visitor<'de> for ManifestSeed<'_> {
    type Value = ExpectedArtifactManifest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a manifest of expected artifacts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut schema, mut mission, mut version) = (None, None, None);
        let (mut always, mut by_step, mut optional) = (None, None, None);
        while let Some(field) = map.next_key()? {
            let is_duplicate = match field {
                Field::SchemaVersion => schema.replace(map.next_value::<String>()?).is_some(),
                Field::MissionType => mission.replace(map.next_value::<String>()?).is_some(),
                Field::ManifestVersion => version.replace(map.next_value::<String>()?).is_some(),
                Field::RequiredAlways => {
                    always.replace(map.next_value_seed(SpecsSeed { seen: self.seen })?).is_some()
                }
                Field::RequiredByStep => {
                    by_step.replace(map.next_value_seed(StepsSeed { seen: self.seen })?).is_some()
                }
                Field::OptionalAlways => {
                    optional.replace(map.next_value_seed(SpecsSeed { seen: self.seen })?).is_some()
                }
            };
            if is_duplicate {
                return Err(de::Error::custom("duplicate key at the top of the file"));
            }
        }
        Ok(ExpectedArtifactManifest {
            schema_version: schema.unwrap_or_else(|| "1.0".to_owned()),
            mission_type: mission.ok_or_else(|| de::Error::missing_field("mission_type"))?,
            manifest_version: version.unwrap_or_else(|| "1".to_owned()),
            required_always: always.unwrap_or_default(),
            required_by_step: by_step.unwrap_or_default(),
            optional_always: optional.unwrap_or_default(),
        })
    }
}

/// Deserializes `required_by_step`: a map whose order matters, without repeated keys.
struct StepsSeed<'s> {
    seen: &'s mut SeenKeys,
}

impl<'de> DeserializeSeed<'de> for StepsSeed<'_> {
    type Value = Vec<StepRequirements>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StepsSeed<'_> {
    type Value = Vec<StepRequirements>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from step to list of artifacts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut requirements: Self::Value = Vec::new();
        while let Some(step) = map.next_key::<String>()? {
            if requirements.iter().any(|known| *known.step == *step) {
                return Err(de::Error::custom(format!("duplicate step `{step}`")));
            }
            let specs = map.next_value_seed(SpecsSeed { seen: self.seen })?;
            requirements.push(StepRequirements { step: step.into(), specs });
        }
        Ok(requirements)
    }
}

struct SpecsSeed<'s> {
    seen: &'s mut SeenKeys,
}

impl<'de> DeserializeSeed<'de> for SpecsSeed<'_> {
    type Value = Vec<ExpectedArtifactSpec>;

    /// Requests any type: for a list the parser would accept a missing value, such as a line that
    /// is only half written, as an empty one.
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for SpecsSeed<'_> {
    type Value = Vec<ExpectedArtifactSpec>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of artifacts, `[]` where there are none")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut specs = Vec::new();
        while let Some(spec) = list.next_element_seed(SpecSeed { seen: self.seen })? {
            specs.push(spec);
        }
        Ok(specs)
    }
}

struct SpecSeed<'s> {
    seen: &'s mut SeenKeys,
}

impl<'de> DeserializeSeed<'de> for SpecSeed<'_> {
    type Value = ExpectedArtifactSpec;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for SpecSeed<'_> {
    type Value = ExpectedArtifactSpec;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an artifact: artifact_key, artifact_class, path_pattern, blocking, generated")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let entry = ManifestEntry::deserialize(MapAccessDeserializer::new(map))?;
        let (key, class) = (entry.artifact_key.0, entry.artifact_class.0);
        if let Some(seen) = self.seen.get(&key) {
            if seen.pattern != entry.path_pattern {
                let (one, other) = (&seen.pattern, &entry.path_pattern);
                return Err(de::Error::custom(format!(
                    "`{key}` has two patterns, `{one}` and `{other}`; use a key for each"
                )));
            }
            if seen.class != class {
                return Err(de::Error::custom(format!(
                    "`{key}` has two classes, `{}` and `{class}`; use one of them",
                    seen.class
                )));
            }
        }
        self.seen.insert(key.clone(), SeenEntry { pattern: entry.path_pattern.clone(), class });
        Ok(ExpectedArtifactSpec {
            artifact_key: key,
            artifact_class: class,
            path_pattern: entry.path_pattern,
            blocking: entry.blocking,
            generated: entry.generated,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestEntry {
    artifact_key: ManifestKey,
    artifact_class: ManifestClass,
    path_pattern: Pattern,
    #[serde(default)]
    blocking: bool,
    #[serde(default)]
    generated: bool,
}

struct ManifestKey(String);

impl<'de> Deserialize<'de> for ManifestKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer, |key| {
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            if key.is_empty() || !key.bytes().all(is_allowed) {
                return Err(format!(
                    "invalid artifact key `{key}`; use letters, digits, `.`, `_` and `-`"
                ));
            }
            Ok(Self(key.to_owned()))
        })
    }
}

struct ManifestClass(ArtifactClass);

impl<'de> Deserialize<'de> for ManifestClass {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer, |name| {
            let classes = ArtifactClass::MANIFEST_CLASSES;
            classes.into_iter().find(|class| class.as_str() == name).map(Self).ok_or_else(|| {
                let known = classes.map(|class| format!("`{class}`")).join(", ");
                format!("unknown class `{name}`, expected one of {known}")
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the error of a manifest with `entry` as its only spec, at line 4.
    fn error_of(entry: &str) -> String {
        let text = format!("mission_type: x\nrequired_always:\n  # one\n  - {entry}\n");
        parse_manifest(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn errors_of_an_entry_have_position_and_fix() {
        for (entry, expected) in [
            (
                "{artifact_key: a, artifact_class: ouput, path_pattern: x}",
                "4:39: required_always[0].artifact_class: unknown class `ouput`, expected one of \
                 `input`, `workflow`, `output`, `evidence`, `policy`, `runtime`; did you mean `output`?",
            ),
            (
                "{artifact_key: a, artifact_class: input, path_patern: x}",
                "4:46: required_always[0]: unknown field `path_patern`, expected one of \
                 `artifact_key`, `artifact_class`, `path_pattern`, `blocking`, `generated`; did you mean \
                 `path_pattern`?",
            ),
            (
                "{artifact_key: a, artifact_class: input, path_pattern: ../x}",
                "4:60: required_always[0].path_pattern: invalid pattern `../x`: the path has a `..` \
                 component; it must stay below the feature directory",
            ),
            (
                "{artifact_key: a, artifact_class: input, path_pattern: /x}",
                "4:60: required_always[0].path_pattern: invalid pattern `/x`: the path is absolute; \
                 use one relative to the feature directory",
            ),
            (
                "{artifact_key: a b, artifact_class: input, path_pattern: x}",
                "4:20: required_always[0].artifact_key: invalid artifact key `a b`; use \
                 letters, digits, `.`, `_` and `-`",
            ),
        ] {
            assert_eq!(error_of(entry), expected);
        }
    }

    #[test]
    fn a_key_with_two_patterns_is_an_error() {
        let text = "mission_type: x\nrequired_by_step:\n  s:\n\
                    \x20 - {artifact_key: a, artifact_class: input, path_pattern: x}\n\
                    \x20 - {artifact_key: a, artifact_class: input, path_pattern: x, blocking: true}\n\
                    optional_always:\n\
                    \x20 - {artifact_key: a, artifact_class: input, path_pattern: y}\n";
        assert_eq!(
            parse_manifest(text.as_bytes()).unwrap_err().to_string(),
            "7:5: optional_always[0]: `a` has two patterns, `x` and `y`; use a key for each"
        );
    }

    #[test]
    fn errors_of_the_top_level_name_the_problem() {
        for (text, expected) in [
            ("", "missing field `mission_type`"),
            ("mission_type: x\nrequired: []\n", "unknown field `required`"),
            ("mission_type: x\nrequired_by_step:\n  plan:\n", "expected a list of artifacts"),
            ("mission_type: x\nrequired_by_step:\n  a: []\n  a: []\n", "duplicate step `a`"),
            ("mission_type: x\nmission_type: y\n", "duplicate key"),
            ("- a\n", "expected a manifest of expected artifacts"),
            ("mission_type: x\n---\nmission_type: y\n", "2:1: second document"),
        ] {
            let error = parse_manifest(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
        let manifest = parse_manifest(b"mission_type: x\nmanifest_version: 1.10\n").unwrap();
        assert_eq!(manifest.manifest_version, "1.10", "as written");
        assert_eq!(manifest.schema_version, "1.0");
    }
}
