//! The configuration that a team commits: `.dossierd/config.yaml`
//! (`docs/specification.md#project-configuration`).

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use uuid::Uuid;

use super::settings::ConfiguredFeatures;
use crate::core::baseline::BaselineScope;
use crate::core::diagnostics::FileError;
use crate::core::layout::one_or_many;
use crate::core::manifest::MissionType;
use crate::core::path::RelPath;
use crate::core::pattern::Pattern;
use crate::core::yaml::{MapOnly, deserialize_text, parse_strict};
use crate::project::root_dir::RootDir;

/// Path of the file below the root.
pub(super) const CONFIG_FILE: &str = ".dossierd/config.yaml";
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What becomes of the worktrees of a project.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorktreeHandling {
    /// They are roots grouped under the main one.
    #[default]
    Follow,
    /// They are not looked for.
    Ignore,
}

/// The content of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProjectFile {
    #[serde(default)]
    pub(super) project: ProjectSection,
    /// Names of the layouts that apply, whatever markers exist.
    #[serde(default)]
    pub(super) layouts: Option<Vec<String>>,
    /// Directories that are features.
    #[serde(default, deserialize_with = "features")]
    pub(super) features: Option<Vec<ConfiguredFeatures>>,
    /// Patterns of paths in features that are not artifacts.
    #[serde(default)]
    pub(super) ignore: Vec<Pattern>,
    /// Current step by feature.
    #[serde(default)]
    pub(super) step: BTreeMap<String, String>,
    /// Which baseline counts where a feature has none.
    #[serde(default)]
    pub(super) baselines: BaselineScope,
    #[serde(default)]
    pub(super) worktrees: WorktreeHandling,
}

/// Identity of the project.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProjectSection {
    /// UUID that all clones share.
    #[serde(default, deserialize_with = "uuid")]
    pub(super) uuid: Option<String>,
    #[serde(default)]
    pub(super) name: Option<String>,
}

fn uuid<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    deserialize_text(deserializer, |text| match Uuid::parse_str(text) {
        Ok(uuid) => Ok(Some(uuid.to_string())),
        Err(_) => Err(format!("`{text}` is not a UUID")),
    })
}

/// One pattern, or a rule with its exceptions.
struct FeaturesEntry(ConfiguredFeatures);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FeaturesRule {
    #[serde(deserialize_with = "one_or_many")]
    include: Vec<Pattern>,
    #[serde(default, deserialize_with = "one_or_many")]
    exclude: Vec<Pattern>,
    #[serde(default)]
    mission: Option<MissionType>,
}

impl<'de> Deserialize<'de> for FeaturesEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor;
        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = FeaturesEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a pattern, or keys and values: include, exclude, mission")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<FeaturesEntry, E> {
                let pattern = Pattern::new(text).map_err(E::custom)?;
                Ok(FeaturesEntry(ConfiguredFeatures::from(pattern)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FeaturesEntry, A::Error> {
                let rule = FeaturesRule::deserialize(MapAccessDeserializer::new(map))?;
                let FeaturesRule { include, exclude, mission } = rule;
                Ok(FeaturesEntry(ConfiguredFeatures { include, exclude, mission }))
            }
        }
        deserializer.deserialize_any(EntryVisitor)
    }
}

fn features<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<ConfiguredFeatures>>, D::Error> {
    let entries: Vec<FeaturesEntry> = one_or_many(deserializer)?;
    Ok(Some(entries.into_iter().map(|FeaturesEntry(features)| features).collect()))
}

/// Returns the text of a new file. Without `uuid` the identity of the project is that of other files
/// or of the machine.
pub(super) fn config_text(
    uuid: Option<&str>,
    layouts: &[String],
    shares_baselines: bool,
) -> String {
    let mut text = String::from("# Configuration of dossierd for this project; commit it.\n");
    if let Some(uuid) = uuid {
        text.push_str(&format!("project:\n  uuid: {uuid}\n"));
    }
    if !layouts.is_empty() {
        let names: Vec<String> = layouts.iter().map(|name| quoted(name)).collect();
        text.push_str(&format!("layouts: [{}]\n", names.join(", ")));
    }
    if shares_baselines {
        text.push_str("baselines: shared\n");
    }
    text
}

/// Returns a name as YAML text: quoted where YAML would take it for another value.
fn quoted(name: &str) -> String {
    match serde_yaml::from_str(name) {
        Ok(serde_yaml::Value::String(text)) if text == name => name.to_owned(),
        _ => format!("\"{name}\""),
    }
}

/// Returns `project.uuid` of a file that cannot be used, as far as it can be found: a mistake
/// elsewhere in the file is not to change the identity of the project.
pub(super) fn find_uuid(root_dir: &RootDir) -> Option<String> {
    let path = RelPath::new(CONFIG_FILE.as_bytes()).ok()?;
    let bytes = root_dir.read(&path, MAX_FILE_BYTES).ok()??;
    uuid_in(&String::from_utf8_lossy(&bytes))
}

/// Returns the value of the only line `uuid: …` that is one.
fn uuid_in(text: &str) -> Option<String> {
    let values = text.lines().filter_map(|line| {
        let (_, value) = line.split_once("uuid:")?;
        let value = value.trim_start().trim_start_matches(['"', '\'']);
        let end = value.find(|c: char| !(c.is_ascii_hexdigit() || c == '-')).unwrap_or(value.len());
        Uuid::parse_str(&value[..end]).ok()
    });
    let mut values = values.fuse();
    values.next().filter(|_| values.next().is_none()).map(|uuid| uuid.to_string())
}

/// Reads the file. Without one, all keys have their defaults.
///
/// # Errors
/// [`FileError`] with the position.
pub(super) fn read(root_dir: &RootDir) -> Result<Option<ProjectFile>, FileError> {
    let error = |message: String| FileError::without_position(CONFIG_FILE, message);
    let path = RelPath::new(CONFIG_FILE.as_bytes()).map_err(|cause| error(cause.to_string()))?;
    let bytes = root_dir.read(&path, MAX_FILE_BYTES).map_err(|cause| error(cause.to_string()))?;
    bytes.map(|bytes| parse(&bytes)).transpose()
}

fn parse(bytes: &[u8]) -> Result<ProjectFile, FileError> {
    let file = parse_strict::<Option<MapOnly<ProjectFile>>>(bytes)
        .map_err(|error| FileError::new(CONFIG_FILE, error))?;
    Ok(file.map(|MapOnly(file)| file).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_files_are_valid_whatever_the_identity_and_the_names_are() {
        let uuid = "8a4a7da6-a97c-4bb4-893a-b31664abfee4";
        let layouts = ["kiro", "123", "true", "null", "a-b", "-"].map(str::to_owned);
        for given in [None, Some(uuid)] {
            let file = parse(config_text(given, &layouts, true).as_bytes()).unwrap();
            assert_eq!(file.project.uuid.as_deref(), given);
            assert_eq!(file.layouts.as_deref(), Some(&layouts[..]));
            assert_eq!(file.baselines, BaselineScope::Shared);
        }
        assert_eq!(
            parse(config_text(None, &[], false).as_bytes()).unwrap(),
            ProjectFile::default()
        );
    }

    #[test]
    fn the_identity_is_found_in_a_file_with_a_mistake() {
        let uuid = "8a4a7da6-a97c-4bb4-893a-b31664abfee4";
        for (text, is_found) in [
            (format!("project:\n  uuid: {uuid}\nlayout: [kiro]\n"), true),
            (format!("project: {{uuid: '{uuid}', nam: x}}\n"), true),
            (format!("project:\n  uuid: \"{uuid}\" # ours\n- [\n"), true),
            (format!("project:\n  uuid: {uuid}\nx:\n  uuid: {uuid}\n"), false),
            ("project:\n  uuid: 8a4a\n".to_owned(), false),
            ("layout: [kiro]\n".to_owned(), false),
        ] {
            assert_eq!(uuid_in(&text).as_deref(), is_found.then_some(uuid), "{text}");
        }
    }

    #[test]
    fn keys_are_read_and_mistakes_reported() {
        let text = "project: {uuid: 8A4A7DA6A97C4BB4893AB31664ABFEE4, name: shop}\n\
                    layouts: [kiro, adr]\nfeatures:\n- docs/*\n\
                    - {include: work/*, exclude: [work/old], mission: kiro}\n\
                    ignore: [\"*.tmp\"]\nstep: {a: plan}\nbaselines: shared\nworktrees: follow\n";
        let file = parse(text.as_bytes()).unwrap();
        assert_eq!(file.project.uuid.as_deref(), Some("8a4a7da6-a97c-4bb4-893a-b31664abfee4"));
        assert_eq!(file.layouts.as_deref(), Some(&["kiro".to_owned(), "adr".to_owned()][..]));
        let features = file.features.unwrap();
        assert_eq!(features[0].include[0].as_str(), "docs/*");
        assert_eq!(features[1].exclude[0].as_str(), "work/old");
        assert_eq!(file.baselines, BaselineScope::Shared);
        assert_eq!(file.worktrees, WorktreeHandling::Follow);
        assert_eq!(parse(b"").unwrap(), ProjectFile::default());
        for (text, expected) in [
            ("layout: [kiro]\n", ":1:1: unknown field `layout`"),
            ("webhook: {}\n", ":1:1: unknown field `webhook`"),
            ("limits: {}\n", ":1:1: unknown field `limits`"),
            (
                "features: ['../x']\n",
                ":1:12: features[0]: invalid pattern `../x`: the path has a `..`",
            ),
            ("features: [{includes: x}]\n", ":1:13: features[0]: unknown field `includes`"),
            ("project: {uuid: x}\n", "`x` is not a UUID"),
            ("baselines: global\n", "unknown variant `global`, expected `local` or `shared`"),
            ("layouts: []\nlayouts: []\n", ":2:1: duplicate"),
            ("- a\n", "expected keys and values"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(CONFIG_FILE) && error.contains(expected), "{text}: {error}");
        }
    }
}
