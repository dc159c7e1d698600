//! Reads mission and target branch from a feature's `meta.json`
//! (`docs/specification.md#feature-metadata`), or the mission from the state files of its layout, and
//! remembers them for while they cannot be used.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Mutex;

use serde_json::{Map, Value};

use super::coordination;
use super::feature_dir::FeatureDir;
use super::feature_files::{FeatureFiles, StateError};
use crate::core::diagnostics::FileError;
use crate::core::digest::Digest;
use crate::core::feature::MetaFields;
use crate::core::layout::Layout;
use crate::core::manifest::{InvalidMissionType, MissionEdition, MissionType};
use crate::core::path::{FeatureSlug, PathError, RelPath};
use crate::core::sync::lock;
use crate::core::yaml::{ParseError, parse_json};
use crate::project::root_dir::{ReadError, RootDir};

const META_FILE: &[u8] = b"meta.json";
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What a feature's `meta.json`, or its state files, contain.
pub(super) struct FeatureMeta {
    /// Its fields, as far as it has them. A file that does not exist has none.
    pub(super) fields: Result<MetaFields, MetaError>,
    /// Directory of the feature in the worktree in which its mission is coordinated.
    status_dir: Option<RelPath>,
}

/// Why `meta.json` cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum MetaError {
    #[error("meta.json: {0}")]
    Path(#[from] PathError),
    #[error("meta.json: {0}")]
    Read(#[from] ReadError),
    #[error("meta.json:{0}")]
    Parse(#[from] ParseError),
    #[error("meta.json: `{0}` is not a string")]
    NotAString(&'static str),
    #[error("meta.json: {0}")]
    Mission(#[from] InvalidMissionType),
    #[error("{0}")]
    State(Rc<StateError>),
}

impl MetaError {
    /// Returns the error of the file at `path`; `None` if the file could not be read.
    fn to_file_error(&self, path: &str) -> Option<FileError> {
        match self {
            Self::Path(_) | Self::Read(_) => None,
            Self::Parse(error) => Some(FileError::new(path, error.clone())),
            Self::NotAString(field) => {
                Some(FileError::without_position(path, format!("`{field}` is not a string")))
            }
            Self::Mission(error) => Some(FileError::without_position(path, error.to_string())),
            Self::State(error) => {
                let (dir, _) = path.rsplit_once('/').unwrap_or_default();
                let place = |file: &str| format!("{dir}/{file}");
                match &**error {
                    StateError::Read(..) => None,
                    StateError::TooMuch(file, error) => {
                        Some(FileError::without_position(place(file), error.clone()))
                    }
                    StateError::Parse(file, error) => {
                        Some(FileError::new(place(file), error.clone()))
                    }
                    StateError::Mission(file, error) => {
                        Some(FileError::without_position(place(file), error.to_string()))
                    }
                }
            }
        }
    }
}

/// What was read of the `meta.json` files of a project.
#[derive(Debug, Default)]
pub(super) struct MetaCache {
    last_valid: Mutex<BTreeMap<FeatureSlug, MetaFields>>,
    /// As the files named them when they were valid last.
    status_dirs: Mutex<BTreeMap<FeatureSlug, RelPath>>,
    errors: Mutex<BTreeMap<FeatureSlug, FileError>>,
}

impl MetaCache {
    /// Records what a feature's file contained when it was valid last.
    pub(super) fn set_last_valid(&self, slug: FeatureSlug, fields: MetaFields) {
        lock(&self.last_valid).insert(slug, fields);
    }

    /// Returns what a feature's file contained when it was valid last.
    pub(super) fn last_valid(&self, slug: &FeatureSlug) -> Option<MetaFields> {
        lock(&self.last_valid).get(slug).cloned()
    }

    /// Takes what the files contained when they were valid last from `previous`.
    pub(super) fn inherit_last_valid(&mut self, previous: &Self) {
        self.last_valid = Mutex::new(lock(&previous.last_valid).clone());
        self.status_dirs = Mutex::new(lock(&previous.status_dirs).clone());
    }

    /// Returns the directory of a feature in the worktree in which its mission is coordinated.
    pub(super) fn status_dir(&self, slug: &FeatureSlug) -> Option<RelPath> {
        lock(&self.status_dirs).get(slug).cloned()
    }

    /// Returns those of all features.
    pub(super) fn status_dirs(&self) -> Vec<RelPath> {
        lock(&self.status_dirs).values().cloned().collect()
    }

    /// Records the result of reading a feature's file.
    pub(super) fn record(&self, feature: &FeatureDir, meta: &FeatureMeta) {
        let FeatureMeta { fields, status_dir } = meta;
        let path = || feature.join(META_FILE).map(|path| path.text().into_owned());
        let error = fields.as_ref().err().zip(path().ok());
        match error.and_then(|(error, path)| error.to_file_error(&path)) {
            Some(error) => drop(lock(&self.errors).insert(feature.slug.clone(), error)),
            None => drop(lock(&self.errors).remove(&feature.slug)),
        }
        if let Ok(fields) = fields {
            self.set_last_valid(feature.slug.clone(), fields.clone());
            match status_dir {
                Some(dir) => {
                    lock(&self.status_dirs).insert(feature.slug.clone(), dir.clone());
                }
                None => drop(lock(&self.status_dirs).remove(&feature.slug)),
            }
        }
    }

    /// Returns the errors of the files that were read and are invalid.
    pub(super) fn errors(&self) -> Vec<FileError> {
        lock(&self.errors).values().cloned().collect()
    }
}

/// Reads the mission of a feature from its `meta.json`, as that edition of spec-kitty writes it, or by the
/// rules of its layout. `root_schema` is the schema that the configuration of the tool names for all
/// features.
pub(super) fn read(
    root_dir: &RootDir,
    feature: &FeatureDir,
    layout: &Layout,
    edition: MissionEdition,
    files: &FeatureFiles<'_>,
    root_schema: Option<&str>,
) -> FeatureMeta {
    if layout.reads_meta() {
        let (meta, hash) = read_meta(root_dir, feature, edition);
        if let Ok(path) = RelPath::new(META_FILE) {
            files.record(&path, hash);
        }
        return meta;
    }
    let mission = files.mission(layout, root_schema);
    let fields = mission.map(|mission| MetaFields { mission, target_branch: None });
    FeatureMeta { fields: fields.map_err(MetaError::State), status_dir: None }
}

/// Reads a feature's `meta.json`. The hash is that of its content; `None` if there is none, or it cannot
/// be read.
fn read_meta(
    root_dir: &RootDir,
    feature: &FeatureDir,
    edition: MissionEdition,
) -> (FeatureMeta, Option<Digest>) {
    let content = read_file(root_dir, feature);
    let hash = content.as_ref().ok().and_then(Option::as_deref).map(Digest::of);
    let object = content.and_then(|bytes| match bytes {
        None => Ok(Map::new()),
        Some(bytes) => Ok(parse_json(&bytes)?),
    });
    let name = feature.path.as_ref().and_then(|path| std::str::from_utf8(path.file_name()).ok());
    let status_dir = object.as_ref().ok().zip(name);
    let status_dir = status_dir.and_then(|(object, name)| coordination::status_dir(object, name));
    let fields = object.and_then(|object| parse_fields(&object, edition));
    (FeatureMeta { fields, status_dir }, hash)
}

fn read_file(root_dir: &RootDir, feature: &FeatureDir) -> Result<Option<Vec<u8>>, MetaError> {
    Ok(root_dir.read(&feature.join(META_FILE)?, MAX_FILE_BYTES)?)
}

fn parse_fields(
    object: &Map<String, Value>,
    edition: MissionEdition,
) -> Result<MetaFields, MetaError> {
    let string_field = |name: &'static str| match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok((!text.is_empty()).then_some(text.as_str())),
        Some(_) => Err(MetaError::NotAString(name)),
    };
    let older = match edition {
        MissionEdition::First => string_field("mission")?,
        // It still writes this field for others, and does not read it.
        MissionEdition::SpecKitty3 => None,
    };
    let mission = match older {
        Some(mission) => Some(mission),
        None => string_field("mission_type")?,
    };
    Ok(MetaFields {
        mission: mission.map(MissionType::new).transpose()?,
        target_branch: string_field("target_branch")?.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(
        text: Option<&str>,
        edition: MissionEdition,
    ) -> (Option<String>, Option<String>, Option<String>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("001-x")).unwrap();
        if let Some(text) = text {
            std::fs::write(dir.path().join("001-x/meta.json"), text).unwrap();
        }
        let path = RelPath::new(&b"001-x"[..]).ok();
        let feature = FeatureDir::new(FeatureSlug::new(b"001-x").unwrap(), path);
        let (meta, _) = read_meta(&RootDir::open(dir.path()).unwrap(), &feature, edition);
        match meta.fields {
            Ok(MetaFields { mission, target_branch }) => {
                (mission.map(String::from), target_branch, None)
            }
            Err(error) => (None, None, Some(error.to_string())),
        }
    }

    #[test]
    fn meta_file_provides_mission_and_branch() {
        for (text, mission, branch, error) in [
            (None, None, None, None),
            (Some("{}"), None, None, None),
            (
                Some(r#"{"mission_type": "research", "target_branch": "2.x"}"#),
                Some("research"),
                Some("2.x"),
                None,
            ),
            (Some(r#"{"mission": "plan", "mission_type": "research"}"#), Some("plan"), None, None),
            (Some(r#"{"mission": "", "mission_type": "research"}"#), Some("research"), None, None),
            (
                Some(r#"{"mission": "../x"}"#),
                None,
                None,
                Some("meta.json: invalid mission type `../x`; use letters, digits, `_` and `-`"),
            ),
            (Some(r#"{"mission": 7}"#), None, None, Some("meta.json: `mission` is not a string")),
            (Some("{"), None, None, Some("meta.json:1:1: EOF while parsing an object")),
            (Some("[]"), None, None, Some("meta.json:1:1: invalid type: sequence, expected a map")),
        ] {
            let expected =
                (mission.map(str::to_owned), branch.map(str::to_owned), error.map(str::to_owned));
            assert_eq!(read_text(text, MissionEdition::First), expected, "{text:?}");
        }
        let both = r#"{"mission": 7, "mission_type": "research"}"#;
        let (mission, ..) = read_text(Some(both), MissionEdition::SpecKitty3);
        assert_eq!(mission.as_deref(), Some("research"), "only `mission_type` counts");
        let (mission, ..) = read_text(Some(r#"{"mission": "plan"}"#), MissionEdition::SpecKitty3);
        assert_eq!(mission, None);
    }
}
