//! `meta.json` of a feature: its mission and its target branch.

use serde_json::{Map, Value};

use super::feature_dir::FeatureDir;
use crate::core::manifest::MissionType;
use crate::core::yaml::parse_json;
use crate::project::root_dir::RootDir;

const META_FILE: &[u8] = b"meta.json";
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What `meta.json` says, or what stands in for it.
pub(super) struct FeatureMeta {
    pub(super) mission: MissionType,
    pub(super) target_branch: Option<String>,
    pub(super) error: Option<String>,
}

/// Reads a feature's `meta.json`. Where it cannot be read the default mission stands in, and the
/// error is said.
pub(super) fn read(
    folder: &RootDir,
    feature: &FeatureDir,
    default: Option<&MissionType>,
) -> FeatureMeta {
    let default = default.cloned().unwrap_or_default();
    match read_object(folder, feature).and_then(|object| parse_fields(&object)) {
        Ok((mission, target_branch)) => {
            FeatureMeta { mission: mission.unwrap_or(default), target_branch, error: None }
        }
        Err(error) => FeatureMeta { mission: default, target_branch: None, error: Some(error) },
    }
}

fn read_object(folder: &RootDir, feature: &FeatureDir) -> Result<Map<String, Value>, String> {
    let path = feature.join(META_FILE).map_err(|error| error.to_string())?;
    match folder.read(&path, MAX_FILE_BYTES) {
        Ok(None) => Ok(Map::new()),
        Ok(Some(bytes)) => parse_json(&bytes).map_err(|error| format!("meta.json:{error}")),
        Err(error) => Err(format!("meta.json: {error}")),
    }
}

type MetaFields = (Option<MissionType>, Option<String>);

fn parse_fields(object: &Map<String, Value>) -> Result<MetaFields, String> {
    let text = |name: &str| match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok((!text.is_empty()).then_some(text.as_str())),
        Some(_) => Err(format!("meta.json: `{name}` is not a text")),
    };
    let mission = match text("mission")? {
        Some(mission) => Some(mission),
        None => text("mission_type")?,
    };
    let mission = mission.map(|name| {
        MissionType::new(name).ok_or_else(|| {
            format!("meta.json: `{name}` is no mission type; use letters, digits, `_` and `-`")
        })
    });
    Ok((mission.transpose()?, text("target_branch")?.map(str::to_owned)))
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
        (meta.mission.as_str().to_owned(), meta.target_branch, meta.error)
    }

    #[test]
    fn missions_and_branches() {
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
                Some("meta.json: `../x` is no mission type; use letters, digits, `_` and `-`"),
            ),
            (
                Some(r#"{"mission": 7}"#),
                "software-dev",
                None,
                Some("meta.json: `mission` is not a text"),
            ),
            (Some("{"), "software-dev", None, Some("meta.json:1:1: EOF while parsing an object")),
            (
                Some("[]"),
                "software-dev",
                None,
                Some("meta.json:1:1: invalid type: sequence, expected a map"),
            ),
        ] {
            let expect = (mission.to_owned(), branch.map(str::to_owned), error.map(str::to_owned));
            assert_eq!(read_text(text), expect, "{text:?}");
        }
    }
}
