//! Reads mission and target branch from a feature's `meta.json`
//! (`docs/specification.md#feature-metadata`).

use serde_json::{Map, Value};

use super::feature_dir::FeatureDir;
use crate::core::digest::Digest;
use crate::core::manifest::{InvalidMissionType, MissionType};
use crate::core::path::PathError;
use crate::core::yaml::{ParseError, parse_json};
use crate::project::root_dir::{ReadError, RootDir};

const META_FILE: &[u8] = b"meta.json";
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The fields of `meta.json` that dossierd uses, or their defaults.
pub(super) struct FeatureMeta {
    pub(super) mission: MissionType,
    pub(super) target_branch: Option<String>,
    /// Why the file cannot be used.
    pub(super) error: Option<MetaError>,
    /// Hash of its content; `None` if there is none, or it cannot be read.
    pub(super) hash: Option<Digest>,
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
}

/// The fields of a valid `meta.json`.
#[derive(Default)]
struct MetaFields {
    mission: Option<MissionType>,
    target_branch: Option<String>,
}

/// Reads a feature's `meta.json`. If it cannot be used, the mission is `default` and
/// [`FeatureMeta::error`] is set.
pub(super) fn read(
    root_dir: &RootDir,
    feature: &FeatureDir,
    default: Option<&MissionType>,
) -> FeatureMeta {
    let content = read_file(root_dir, feature);
    let hash = content.as_ref().ok().and_then(Option::as_deref).map(Digest::of);
    let fields = content.and_then(|bytes| match bytes {
        None => Ok(MetaFields::default()),
        Some(bytes) => parse_fields(&parse_json(&bytes)?),
    });
    let (fields, error) = match fields {
        Ok(fields) => (fields, None),
        Err(error) => (MetaFields::default(), Some(error)),
    };
    let mission = fields.mission.or_else(|| default.cloned()).unwrap_or_default();
    FeatureMeta { mission, target_branch: fields.target_branch, error, hash }
}

fn read_file(root_dir: &RootDir, feature: &FeatureDir) -> Result<Option<Vec<u8>>, MetaError> {
    Ok(root_dir.read(&feature.join(META_FILE)?, MAX_FILE_BYTES)?)
}

fn parse_fields(object: &Map<String, Value>) -> Result<MetaFields, MetaError> {
    let string_field = |name: &'static str| match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok((!text.is_empty()).then_some(text.as_str())),
        Some(_) => Err(MetaError::NotAString(name)),
    };
    let mission = match string_field("mission")? {
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
    use crate::core::path::{FeatureSlug, RelPath};

    fn read_text(text: Option<&str>) -> (String, Option<String>, Option<String>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("001-x")).unwrap();
        if let Some(text) = text {
            std::fs::write(dir.path().join("001-x/meta.json"), text).unwrap();
        }
        let feature = FeatureDir {
            slug: FeatureSlug::new(b"001-x").unwrap(),
            path: RelPath::new(&b"001-x"[..]).ok(),
        };
        let meta = read(&RootDir::open(dir.path()).unwrap(), &feature, None);
        let error = meta.error.map(|error| error.to_string());
        (meta.mission.as_str().to_owned(), meta.target_branch, error)
    }

    #[test]
    fn meta_file_provides_mission_and_branch() {
        for (text, mission, branch, error) in [
            (None, "software-dev", None, None),
            (Some("{}"), "software-dev", None, None),
            (
                Some(r#"{"mission_type": "research", "target_branch": "2.x"}"#),
                "research",
                Some("2.x"),
                None,
            ),
            (Some(r#"{"mission": "plan", "mission_type": "research"}"#), "plan", None, None),
            (Some(r#"{"mission": "", "mission_type": "research"}"#), "research", None, None),
            (
                Some(r#"{"mission": "../x"}"#),
                "software-dev",
                None,
                Some("meta.json: invalid mission type `../x`; use letters, digits, `_` and `-`"),
            ),
            (
                Some(r#"{"mission": 7}"#),
                "software-dev",
                None,
                Some("meta.json: `mission` is not a string"),
            ),
            (Some("{"), "software-dev", None, Some("meta.json:1:1: EOF while parsing an object")),
            (
                Some("[]"),
                "software-dev",
                None,
                Some("meta.json:1:1: invalid type: sequence, expected a map"),
            ),
        ] {
            let expected =
                (mission.to_owned(), branch.map(str::to_owned), error.map(str::to_owned));
            assert_eq!(read_text(text), expected, "{text:?}");
        }
    }
}
