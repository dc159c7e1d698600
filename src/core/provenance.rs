//! Where an artifact comes from (`docs/specification.md#provenance`): a function of its class, its
//! spec, and the identity of the machine and user that indexed it.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::artifact::{ArtifactClass, ArtifactRef};
use super::digest::Digest;
use super::manifest::Mission;
use super::path::RelPath;
use super::time::Timestamp;

/// Kind of the origin of an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// Its bytes are those that are staged in git.
    Git,
    /// Written by a runtime.
    Runtime,
    /// Written by a program, as its spec in the manifest declares, or brought back by a restore.
    Generated,
    /// None of the others.
    Manual,
}

/// Origin of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance<'a> {
    /// Kind of the origin.
    pub source_kind: SourceKind,
    /// `node_id` of the machine and user that indexed it.
    pub actor_id: Cow<'a, str>,
    /// Time at which its present content was indexed first.
    pub captured_at: Timestamp,
}

/// What is known of who wrote the files of a feature; a part is `None` if it is not known.
#[derive(Debug, Clone, Default)]
pub struct FileOrigins {
    /// The files whose content is staged in git.
    pub staged: Option<HashSet<RelPath>>,
    /// The hashes of what was restored last, by file.
    pub restored: Option<HashMap<RelPath, Digest>>,
}

/// What the provenance of a feature's artifacts depends on.
#[derive(Debug, Clone, Copy)]
pub struct ProvenanceRules<'a> {
    mission: Option<&'a Mission>,
    node_id: &'a str,
    origins: &'a FileOrigins,
}

impl<'a> ProvenanceRules<'a> {
    /// Returns the rules for a mission, the `node_id` of the machine and user, and the origins of the
    /// files.
    #[must_use]
    pub fn new(mission: Option<&'a Mission>, node_id: &'a str, origins: &'a FileOrigins) -> Self {
        Self { mission, node_id, origins }
    }

    /// Returns the origin of an artifact; `None` if it is not present, or the origin is not known.
    #[must_use]
    pub fn provenance(&self, artifact: &ArtifactRef) -> Option<Provenance<'a>> {
        if !artifact.is_present() {
            return None;
        }
        Some(Provenance {
            source_kind: self.source_kind(artifact)?,
            actor_id: self.node_id.into(),
            captured_at: artifact.indexed_at,
        })
    }

    fn source_kind(&self, artifact: &ArtifactRef) -> Option<SourceKind> {
        let path = &artifact.relative_path;
        let spec = || self.mission?.primary_spec(path);
        Some(if artifact.artifact_class == ArtifactClass::Runtime {
            SourceKind::Runtime
        } else if spec().is_some_and(|spec| spec.generated) || self.is_restored(artifact)? {
            SourceKind::Generated
        } else if self.origins.staged.as_ref()?.contains(path) {
            SourceKind::Git
        } else {
            SourceKind::Manual
        })
    }

    fn is_restored(&self, artifact: &ArtifactRef) -> Option<bool> {
        let restored = self.origins.restored.as_ref()?.get(&artifact.relative_path);
        Some(restored.is_some_and(|hash| artifact.hash() == Some(*hash)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::inventory::Inventory;
    use crate::core::manifest::parse_manifest;
    use crate::core::testing::{feature_context, observed, unreadable};

    const MANIFEST: &str = "mission_type: x\noptional_always:\n\
        \x20 - {artifact_key: a, artifact_class: output, path_pattern: \"g/**\", generated: true}\n\
        \x20 - {artifact_key: b, artifact_class: output, path_pattern: \"g/h/**\"}\n\
        \x20 - {artifact_key: c, artifact_class: runtime, path_pattern: c, generated: true}\n";

    #[test]
    fn source_kind_follows_class_spec_and_git_index_of_present_artifacts() {
        let mission = Mission::new(parse_manifest(MANIFEST.as_bytes()).unwrap(), &[]).unwrap();
        let now = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
        let files = vec![
            observed("c", ""),
            observed("g/x", ""),
            observed("g/h/y", ""),
            observed("meta.json", ""),
            observed("note.md", ""),
            observed("other.md", ""),
            observed("restored.md", ""),
            observed("rewritten.md", ""),
            unreadable("u.md"),
        ];
        let context = feature_context(Some(mission), None);
        let dossier = Inventory::from_observations(context, files, now).to_dossier(now);
        let mission = dossier.context.mission.as_deref();
        let path = |text: &str| RelPath::new(text.as_bytes()).unwrap();
        let hash_of = |name: &str| {
            dossier.artifacts.iter().find(|one| one.relative_path == path(name)).unwrap().hash()
        };
        let restored = HashMap::from([
            (path("restored.md"), hash_of("restored.md").unwrap()),
            (path("rewritten.md"), Digest::of(b"what was restored before it was rewritten")),
        ]);
        let kinds = |staged, restored| -> Vec<(String, Option<SourceKind>)> {
            let origins = FileOrigins { staged, restored };
            let rules = ProvenanceRules::new(mission, "abcdef123456", &origins);
            let kinds = dossier.artifacts.iter().map(|artifact| {
                let provenance = rules.provenance(artifact);
                if let Some(Provenance { actor_id, captured_at, .. }) = &provenance {
                    assert_eq!((&**actor_id, *captured_at), ("abcdef123456", now));
                }
                (artifact.relative_path.text().into_owned(), provenance.map(|one| one.source_kind))
            });
            let mut kinds: Vec<_> = kinds.collect();
            kinds.sort();
            kinds
        };
        let expected = |note, other, restored| {
            [
                ("c", Some(SourceKind::Runtime)),
                ("g/h/y", Some(SourceKind::Generated)),
                ("g/x", Some(SourceKind::Generated)),
                ("meta.json", Some(SourceKind::Runtime)),
                ("note.md", note),
                ("other.md", other),
                ("restored.md", restored),
                ("rewritten.md", other),
                ("u.md", None),
            ]
            .map(|(path, kind)| (path.to_owned(), kind))
        };
        let staged = Some(HashSet::from(["c", "g/x", "note.md", "restored.md", "u.md"].map(path)));
        let (git, manual) = (Some(SourceKind::Git), Some(SourceKind::Manual));
        let (generated, restored) = (Some(SourceKind::Generated), Some(restored));
        assert_eq!(kinds(staged.clone(), restored.clone()), expected(git, manual, generated));
        let none = Some(HashSet::new());
        assert_eq!(kinds(none, restored.clone()), expected(manual, manual, generated));
        assert_eq!(kinds(None, restored), expected(None, None, generated), "git not known");
        assert_eq!(kinds(staged, None), expected(None, None, None), "restores not known");
    }
}
