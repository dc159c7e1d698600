//! Where a root has missions: the directories below it, in order of precedence, and which of the embedded
//! ones apply (`docs/specification.md#manifest-layers`).

use std::path::Path;

use serde_yaml::Value;

use crate::core::layout::state_document::StateDocument;
use crate::core::manifest::MissionEdition;
use crate::core::path::RelPath;
use crate::core::pattern::Pattern;
use crate::project::identity::{CONFIG_FILE, is_spec_kitty_3};
use crate::project::layouts::PROJECT_LAYOUTS_DIR;
use crate::project::root_dir::RootDir;

/// The files of a mission.
pub(super) const MANIFEST_FILE: &str = "expected-artifacts.yaml";
pub(super) const MISSION_FILE: &str = "mission.yaml";
pub(super) const RUNTIME_FILE: &str = "mission-runtime.yaml";
/// Directory of missions that spec-kitty 3 does not read any more.
pub(super) const OVERRIDES_DIR: &str = ".kittify/overrides/missions";
/// Directories of missions below the root, in order of precedence. That of layouts has the main
/// mission of each.
const PROJECT_DIRS: [&str; 4] =
    [".dossierd/missions", OVERRIDES_DIR, ".kittify/missions", PROJECT_LAYOUTS_DIR];
/// Key of the packs of an organisation in `.kittify/config.yaml`.
const PACKS_KEY: &str = "doctrine.org.packs";
const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// Maximum number of packs; further ones are not read.
const MAX_PACKS: usize = 64;

/// Where a root has missions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MissionSources {
    /// Which embedded missions apply.
    pub(super) edition: MissionEdition,
    /// Directories of the missions of an organisation; the last one in the configuration comes first.
    pack_dirs: Vec<RelPath>,
}

impl MissionSources {
    /// Finds out which version of spec-kitty a root is of, and its packs.
    pub(super) fn read(root_dir: &RootDir, root: &Path) -> Self {
        if !is_spec_kitty_3(root_dir) {
            return Self::default();
        }
        let mut pack_dirs = read_packs(root_dir, root).unwrap_or_default();
        pack_dirs.truncate(MAX_PACKS);
        pack_dirs.reverse();
        Self { edition: MissionEdition::SpecKitty3, pack_dirs }
    }

    /// Returns the directories of missions below the root, in order of precedence.
    pub(super) fn project_dirs(&self) -> Vec<String> {
        let of_pack = self.pack_dirs.iter().map(|dir| dir.text().into_owned());
        let is_read = |dir: &&str| self.edition == MissionEdition::First || *dir != OVERRIDES_DIR;
        let own = PROJECT_DIRS.into_iter().filter(is_read).map(str::to_owned);
        own.chain(of_pack).collect()
    }

    /// Returns the patterns of the files in packs.
    pub(super) fn pack_files(&self) -> Vec<Pattern> {
        let files = [MANIFEST_FILE, MISSION_FILE, RUNTIME_FILE];
        let of_dir =
            |dir: &RelPath| files.map(|file| Pattern::new(&format!("{}/*/{file}", dir.text())));
        self.pack_dirs.iter().flat_map(of_dir).flatten().collect()
    }
}

/// Returns the directories of missions in the packs that are below the root.
fn read_packs(root_dir: &RootDir, root: &Path) -> Option<Vec<RelPath>> {
    let path = RelPath::new(CONFIG_FILE.as_bytes()).ok()?;
    // An error in the file is reported where the identity is read.
    let bytes = root_dir.read(&path, MAX_CONFIG_BYTES).ok()??;
    let document = StateDocument::parse(&path, &bytes).ok()?;
    let packs = document.find(Some(PACKS_KEY))?.as_sequence()?;
    let dir_of = |pack: &Value| {
        let local = Path::new(pack.get("local_path")?.as_str()?);
        let relative = local.strip_prefix(root).unwrap_or(local);
        let text = relative.to_str()?.trim_start_matches("./").trim_end_matches('/');
        // One that is absolute, or leads out of the root, is none.
        RelPath::new(format!("{text}/missions").into_bytes()).ok()
    };
    Some(packs.iter().filter_map(dir_of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::pattern::PatternSet;

    #[test]
    fn packs_below_the_root_are_read_the_last_one_first() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let root_dir = RootDir::open(&root).unwrap();
        std::fs::create_dir(root.join(".kittify")).unwrap();
        let packs = [
            "{name: a, local_path: ./packs/a/}".to_owned(),
            format!("{{name: b, local_path: {}/packs/b}}", root.display()),
            "{name: c, local_path: ../c}".to_owned(),
            "{name: d, local_path: /elsewhere/d}".to_owned(),
            "{name: e}".to_owned(),
            "7".to_owned(),
        ];
        let config = format!("doctrine: {{org: {{packs: [{}]}}}}\n", packs.join(", "));
        std::fs::write(root.join(CONFIG_FILE), config).unwrap();
        for (version, dirs) in [
            (
                "2.1.0",
                ".dossierd/missions .kittify/overrides/missions .kittify/missions .dossierd/layouts",
            ),
            (
                "3.1.0",
                ".dossierd/missions .kittify/missions .dossierd/layouts packs/b/missions packs/a/missions",
            ),
        ] {
            let metadata = format!("spec_kitty:\n  version: {version}\n");
            std::fs::write(root.join(".kittify/metadata.yaml"), metadata).unwrap();
            let sources = MissionSources::read(&root_dir, &root);
            assert_eq!(sources.project_dirs().join(" "), dirs, "{version}");
        }
        let files = MissionSources::read(&root_dir, &root).pack_files();
        assert_eq!(files.len(), 6);
        let manifest = RelPath::new(&b"packs/a/missions/plan/expected-artifacts.yaml"[..]).unwrap();
        assert!(PatternSet::new(&files).unwrap().is_match(&manifest));
    }
}
