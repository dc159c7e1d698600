//! Which entries of a feature are not artifacts although they exist
//! (`docs/specification.md#ignored-files`): what the configuration ignores, and the temporary files and
//! copies of editors and of programs that synchronise directories. Listing them is the task of `scan`.

use std::collections::BTreeSet;

use serde::Serialize;

use super::baseline::BaselineFile;
use super::manifest::Mission;
use super::path::RelPath;
use super::pattern::{Pattern, PatternSet, PatternSetError};

/// Names of files that are ignored by default. `*` is any number of bytes; all other characters are
/// themselves.
pub const DEFAULT_IGNORED_NAMES: [&str; 12] = [
    "#*#",
    ".#*",
    "*~",
    "*.swp",
    "*.swo",
    "*.orig",
    "*.rej",
    "*.sync-conflict-*",
    "* (conflicted copy*)*",
    "*.tmp.*",
    "~$*",
    "4913",
];

/// What is ignored in the features of a project.
#[derive(Debug, Clone, Default)]
pub struct IgnoreRules {
    configured: PatternSet,
    /// The patterns of `configured` as they were written.
    texts: Vec<String>,
    defaults: DefaultNames,
}

/// Whether [`DEFAULT_IGNORED_NAMES`] are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DefaultNames {
    /// They are.
    #[default]
    Ignored,
    /// They are artifacts like others.
    Listed,
}

/// Why a path is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IgnoredBy {
    /// A pattern of the configuration.
    Configuration,
    /// One of [`DEFAULT_IGNORED_NAMES`].
    #[serde(rename = "default")]
    DefaultName,
}

impl IgnoreRules {
    /// Compiles the patterns of the configuration.
    ///
    /// # Errors
    /// [`PatternSetError`] if together they are too large.
    pub fn new(configured: &[Pattern], defaults: DefaultNames) -> Result<Self, PatternSetError> {
        let texts = configured.iter().map(|pattern| pattern.as_str().to_owned()).collect();
        Ok(Self { configured: PatternSet::new(configured)?, texts, defaults })
    }

    /// Returns rules without patterns of the configuration.
    #[must_use]
    pub fn without_patterns(defaults: DefaultNames) -> Self {
        Self { defaults, ..Self::default() }
    }

    /// Returns the patterns of the configuration. What they match is ignored with all that is below.
    #[must_use]
    pub fn configured(&self) -> &PatternSet {
        &self.configured
    }

    /// Returns the pattern of the configuration by which a path is ignored: it matches the path, or a
    /// directory above it.
    #[must_use]
    pub fn configured_pattern(&self, path: &RelPath) -> Option<&str> {
        if self.configured.is_empty() {
            return None;
        }
        let mut indices = Vec::new();
        path.dirs_above().chain([path.clone()]).find_map(|path| {
            self.configured.matches_into(&path, &mut indices);
            self.texts.get(*indices.first()?).map(String::as_str)
        })
    }

    /// Returns the default name that the last component of a path matches. It is ignored, unless it is a
    /// directory or one of the [exceptions](Self::exceptions).
    #[must_use]
    pub fn default_name(&self, path: &RelPath) -> Option<&'static str> {
        if self.defaults == DefaultNames::Listed {
            return None;
        }
        let name = path.as_bytes().rsplit(|byte| *byte == b'/').next()?;
        DEFAULT_IGNORED_NAMES.into_iter().find(|pattern| matches_name(pattern.as_bytes(), name))
    }

    /// Returns the paths of a feature that are artifacts whatever their names are: those that a literal
    /// spec of its manifest matches, and those that its baseline names.
    #[must_use]
    pub fn exceptions(
        &self,
        mission: Option<&Mission>,
        baseline: &BaselineFile,
    ) -> BTreeSet<RelPath> {
        let specs = mission.into_iter().flat_map(Mission::literal_paths);
        let accepted = match baseline {
            BaselineFile::Valid(baseline) => baseline.artifacts.as_deref().unwrap_or_default(),
            BaselineFile::Absent | BaselineFile::Corrupt(_) => &[],
        };
        let accepted = accepted.iter().map(|artifact| &artifact.relative_path);
        let paths = specs.chain(accepted).filter(|path| self.default_name(path).is_some());
        paths.cloned().collect()
    }
}

/// Returns true if a name matches a pattern whose only wildcard is `*`.
fn matches_name(pattern: &[u8], name: &[u8]) -> bool {
    let mut parts = pattern.split(|byte| *byte == b'*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        // There is no wildcard.
        return rest.is_empty();
    };
    let Some(until_last) = rest.strip_suffix(last) else {
        return false;
    };
    rest = until_last;
    for part in parts {
        let Some(at) = rest.windows(part.len()).position(|window| window == part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::core::baseline::Baseline;
    use crate::core::identity::BaselineKey;
    use crate::core::inventory::Inventory;
    use crate::core::manifest::parse_manifest;
    use crate::core::snapshot::MissionDossierSnapshot;
    use crate::core::testing::{feature_context, observed};
    use crate::core::time::Timestamp;

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn names_of_editors_and_sync_programs_are_ignored_by_default() {
        let rules = IgnoreRules::default();
        for (name, expected) in [
            ("#spec.md#", Some("#*#")),
            ("##", Some("#*#")),
            ("#", None),
            ("#1 idea.md", None),
            ("tasks/.#WP01.md", Some(".#*")),
            ("tasks/WP01.md~", Some("*~")),
            ("~", Some("*~")),
            ("~/spec.md", None),
            ("spec.md.swp", Some("*.swp")),
            ("spec.swo", Some("*.swo")),
            ("a/b/spec.md.orig", Some("*.orig")),
            ("original", None),
            ("orig", None),
            ("spec.md.rej", Some("*.rej")),
            ("spec.sync-conflict-20260221-100000-ABC.md", Some("*.sync-conflict-*")),
            ("sync-conflict-notes.md", None),
            ("spec (conflicted copy 2026-02-21).md", Some("* (conflicted copy*)*")),
            ("spec (conflicted copy 2026-02-21.md", None),
            ("spec (copy).md", None),
            ("spec.md.tmp.1234", Some("*.tmp.*")),
            ("spec.tmp", None),
            ("~$plan.docx", Some("~$*")),
            ("4913", Some("4913")),
            ("tasks/4913", Some("4913")),
            ("49130", None),
            ("4913.md", None),
            ("spec.md", None),
        ] {
            assert_eq!(rules.default_name(&path(name)), expected, "{name}");
        }
        let listed = IgnoreRules::without_patterns(DefaultNames::Listed);
        assert_eq!(listed.default_name(&path("spec.md~")), None);
    }

    #[test]
    fn names_match_like_patterns_of_the_configuration() {
        let names = DEFAULT_IGNORED_NAMES.map(|name| Pattern::new(name).unwrap());
        let parts =
            ["#", ".", "~", "$", "a", "4913", ".swp", ".orig", ".tmp.", " (conflicted copy", ")"];
        for first in parts {
            for second in parts {
                for third in parts {
                    let name = path(&[first, second, third].concat());
                    if name.as_bytes().iter().all(|byte| *byte == b'.') {
                        continue;
                    }
                    let expected = names
                        .iter()
                        .find(|pattern| PatternSet::new([*pattern]).unwrap().is_match(&name));
                    let found = IgnoreRules::default().default_name(&name);
                    assert_eq!(found, expected.map(Pattern::as_str), "{name:?}");
                }
            }
        }
    }

    #[test]
    fn configured_patterns_also_match_what_is_below() {
        let patterns = ["scratch", "**/*.log"].map(|text| Pattern::new(text).unwrap());
        let rules = IgnoreRules::new(&patterns, DefaultNames::Ignored).unwrap();
        for (name, expected) in [
            ("scratch/a.log", Some("scratch")),
            ("a/scratch/b.md", None),
            ("a/x.log", Some("**/*.log")),
            ("a~", None),
        ] {
            assert_eq!(rules.configured_pattern(&path(name)), expected, "{name}");
        }
    }

    #[test]
    fn literal_specs_and_baselines_name_exceptions() {
        let manifest = "mission_type: sample\nrequired_always:\n\
            - {artifact_key: a, artifact_class: input, path_pattern: 'notes.orig'}\n\
            - {artifact_key: b, artifact_class: input, path_pattern: 'spec.md'}\n\
            - {artifact_key: c, artifact_class: input, path_pattern: 'more/*.orig'}\n";
        let manifest = parse_manifest(manifest.as_bytes()).unwrap();
        let mission = Mission::new(manifest, &[]).unwrap();
        let now = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
        let files = vec![observed("plan.md", "x"), observed("tasks/4913", "y")];
        let dossier =
            Inventory::from_observations(feature_context(None, None), files, now).to_dossier(now);
        let snapshot = MissionDossierSnapshot::compute(&dossier, Uuid::nil(), now);
        let key = BaselineKey {
            project_uuid: "u".into(),
            node_id: "n".into(),
            feature_slug: "001-x".into(),
            target_branch: "main".into(),
            mission_key: "sample".into(),
            manifest_version: "1".into(),
        };
        let baseline = BaselineFile::Valid(Box::new(Baseline::capture(&snapshot, &key, now)));
        let rules = IgnoreRules::default();
        for (mission, baseline, expected) in [
            (None, &BaselineFile::Absent, vec![]),
            (Some(&mission), &BaselineFile::Absent, vec!["notes.orig"]),
            (None, &baseline, vec!["tasks/4913"]),
            (Some(&mission), &baseline, vec!["notes.orig", "tasks/4913"]),
        ] {
            let expected: BTreeSet<RelPath> = expected.into_iter().map(path).collect();
            assert_eq!(rules.exceptions(mission, baseline), expected);
        }
    }
}
