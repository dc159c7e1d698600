//! `expected-artifacts.yaml`: strict, with the place of whatever is wrong.
//!
//! What concerns one value is checked by that value's type, what concerns two entries (one key
//! with two patterns) by a seed that has seen both, so that the parser can say where.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{ExpectedArtifactManifest, ExpectedArtifactSpec};
use crate::core::artifact::ArtifactClass;
use crate::core::pattern::Pattern;
use crate::core::yaml::{ParseError, deserialize_text, parse_with_seed};

/// Reads a manifest's text.
///
/// # Errors
/// [`ParseError`] for anything the seed's model does not have, and for a key that cannot be one.
pub fn parse_manifest(bytes: &[u8]) -> Result<ExpectedArtifactManifest, ParseError> {
    parse_with_seed(ManifestSeed { seen: &mut SeenKeys::new() }, bytes)
}

/// Pattern and class of each key so far.
type SeenKeys = HashMap<String, (Pattern, ArtifactClass)>;

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
            let twice = match field {
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
            if twice {
                return Err(de::Error::custom("a key stands twice at the top of the file"));
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

/// `required_by_step`: a map whose order matters and whose keys stand once.
struct StepsSeed<'s> {
    seen: &'s mut SeenKeys,
}

impl<'de> DeserializeSeed<'de> for StepsSeed<'_> {
    type Value = Vec<(Arc<str>, Vec<ExpectedArtifactSpec>)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StepsSeed<'_> {
    type Value = Vec<(Arc<str>, Vec<ExpectedArtifactSpec>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from step to list of artifacts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut steps: Self::Value = Vec::new();
        while let Some(step) = map.next_key::<String>()? {
            if steps.iter().any(|(known, _)| **known == *step) {
                return Err(de::Error::custom(format!("step `{step}` stands twice")));
            }
            let specs = map.next_value_seed(SpecsSeed { seen: self.seen })?;
            steps.push((step.into(), specs));
        }
        Ok(steps)
    }
}

struct SpecsSeed<'s> {
    seen: &'s mut SeenKeys,
}

impl<'de> DeserializeSeed<'de> for SpecsSeed<'_> {
    type Value = Vec<ExpectedArtifactSpec>;

    /// As "any", because the parser takes nothing at all (a line half written) for an empty list.
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
        f.write_str("an artifact: artifact_key, artifact_class, path_pattern, blocking")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let entry = ManifestEntry::deserialize(MapAccessDeserializer::new(map))?;
        let (key, class) = (entry.artifact_key.0, entry.artifact_class.0);
        if let Some((pattern, known_class)) = self.seen.get(&key) {
            if *pattern != entry.path_pattern {
                let other = &entry.path_pattern;
                return Err(de::Error::custom(format!(
                    "`{key}` has two patterns, `{pattern}` and `{other}`; give each its own key"
                )));
            }
            if *known_class != class {
                return Err(de::Error::custom(format!(
                    "`{key}` has two classes, `{known_class}` and `{class}`"
                )));
            }
        }
        self.seen.insert(key.clone(), (entry.path_pattern.clone(), class));
        Ok(ExpectedArtifactSpec {
            artifact_key: key,
            artifact_class: class,
            path_pattern: entry.path_pattern,
            blocking: entry.blocking,
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
}

struct ManifestKey(String);

impl<'de> Deserialize<'de> for ManifestKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer, |key| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            if key.is_empty() || !key.bytes().all(plain) {
                return Err(format!(
                    "`{key}` is no artifact key; use letters, digits, `.`, `_` and `-`"
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

    /// A manifest with `entry` as its only spec, at line 4.
    fn error_of(entry: &str) -> String {
        let text = format!("mission_type: x\nrequired_always:\n  # one\n  - {entry}\n");
        parse_manifest(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn places_and_mends() {
        for (entry, expect) in [
            (
                "{artifact_key: a, artifact_class: ouput, path_pattern: x}",
                "4:39: required_always[0].artifact_class: unknown class `ouput`, expected one of \
                 `input`, `workflow`, `output`, `evidence`, `policy`, `runtime`; did you mean `output`?",
            ),
            (
                "{artifact_key: a, artifact_class: input, path_patern: x}",
                "4:46: required_always[0]: unknown field `path_patern`, expected one of \
                 `artifact_key`, `artifact_class`, `path_pattern`, `blocking`; did you mean `path_pattern`?",
            ),
            (
                "{artifact_key: a, artifact_class: input, path_pattern: ../x}",
                "4:60: required_always[0].path_pattern: `../x` is no pattern: the path has a `..` \
                 component; it must stay below the feature directory",
            ),
            (
                "{artifact_key: a, artifact_class: input, path_pattern: /x}",
                "4:60: required_always[0].path_pattern: `/x` is no pattern: the path is absolute; \
                 give one relative to the feature directory",
            ),
            (
                "{artifact_key: a b, artifact_class: input, path_pattern: x}",
                "4:20: required_always[0].artifact_key: `a b` is no artifact key; use letters, \
                 digits, `.`, `_` and `-`",
            ),
        ] {
            assert_eq!(error_of(entry), expect);
        }
    }

    #[test]
    fn one_key_has_one_pattern() {
        let text = "mission_type: x\nrequired_by_step:\n  s:\n\
                    \x20 - {artifact_key: a, artifact_class: input, path_pattern: x}\n\
                    \x20 - {artifact_key: a, artifact_class: input, path_pattern: x, blocking: true}\n\
                    optional_always:\n\
                    \x20 - {artifact_key: a, artifact_class: input, path_pattern: y}\n";
        assert_eq!(
            parse_manifest(text.as_bytes()).unwrap_err().to_string(),
            "7:5: optional_always[0]: `a` has two patterns, `x` and `y`; give each its own key"
        );
    }

    #[test]
    fn top_level() {
        for (text, expect) in [
            ("", "missing field `mission_type`"),
            ("mission_type: x\nrequired: []\n", "unknown field `required`"),
            ("mission_type: x\nrequired_by_step:\n  plan:\n", "expected a list of artifacts"),
            ("mission_type: x\nrequired_by_step:\n  a: []\n  a: []\n", "step `a` stands twice"),
            ("mission_type: x\nmission_type: y\n", "stands twice"),
            ("- a\n", "expected a manifest of expected artifacts"),
            ("mission_type: x\n---\nmission_type: y\n", "2:1: a second document begins"),
        ] {
            let error = parse_manifest(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expect), "{text:?}: {error}");
        }
        let manifest = parse_manifest(b"mission_type: x\nmanifest_version: 1.10\n").unwrap();
        assert_eq!(manifest.manifest_version, "1.10", "as written");
        assert_eq!(manifest.schema_version, "1.0");
    }
}
