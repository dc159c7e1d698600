//! Fuzzing of manifests, layouts and of what is read from other files in a project.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::core::baseline::Baseline;
use crate::core::frontmatter::{find_front_matter, parse_work_package_id};
use crate::core::git_index::GitIndex;
use crate::core::layout::feature_rules::search_rules;
use crate::core::layout::recognition::{RootListing, recognise};
use crate::core::layout::state_document::StateDocument;
use crate::core::layout::{Fences, MarkerKind, parse_layout};
use crate::core::manifest::{parse_manifest, parse_mission_steps, parse_runtime_steps};
use crate::core::path::RelPath;
use crate::core::task_progress::{count_boxes, without_box_marks};

/// Parses one input as each kind of file.
pub fn run(bytes: &[u8]) {
    let _ = parse_manifest(bytes);
    let _ = parse_mission_steps(bytes);
    let _ = parse_runtime_steps(bytes);
    let _ = find_front_matter(bytes);
    let _ = parse_work_package_id(bytes);
    let _ = GitIndex::parse(bytes, b"", 0);
    let _ = Baseline::parse(bytes);
}

/// Parses one input as a layout, and as each kind of state file and task list that a layout names.
///
/// # Panics
/// If a property does not hold.
pub fn run_layout(bytes: &[u8]) {
    for path in ["a.json", "a.yaml", "a.toml", "a.md", "a"] {
        let Ok(path) = RelPath::new(path.as_bytes()) else { continue };
        if let Ok(document) = StateDocument::parse(&path, bytes) {
            let _ = document.find_text(Some("a.b"));
        }
    }
    let text = String::from_utf8_lossy(bytes);
    for fences in [Fences::Include, Fences::Exclude] {
        let _ = count_boxes(&text, fences);
    }
    assert_eq!(without_box_marks(&without_box_marks(&text)), without_box_marks(&text));
    let Ok(layout) = parse_layout(bytes) else { return };
    let layouts = [Arc::new(layout)];
    let named = [layouts[0].name.clone()];
    for named in [None, Some(&named[..])] {
        for rule in search_rules(&recognise(&layouts, named, &EveryPath), &BTreeMap::new()).rules {
            for path in ["specs/001-x", "a", ".a/b/c"] {
                let Ok(path) = RelPath::new(path.as_bytes()) else { continue };
                if rule.is_match(&path) && rule.is_satisfied(&path, &EveryPath) {
                    let _ = rule.slug(&path);
                }
            }
        }
    }
}

/// A root in which everything exists, up to a depth.
struct EveryPath;

impl RootListing for EveryPath {
    fn kind(&self, path: &RelPath) -> Option<MarkerKind> {
        Some(if path.extension().is_some() { MarkerKind::File } else { MarkerKind::Dir })
    }

    fn entries(&self, dir: Option<&RelPath>) -> Vec<(Vec<u8>, MarkerKind)> {
        let depth = dir.map_or(0, |dir| dir.as_bytes().split(|byte| *byte == b'/').count());
        let names = [("a", MarkerKind::Dir), (".b", MarkerKind::Dir), ("c.md", MarkerKind::File)];
        let names = names.into_iter().filter(|_| depth < 4);
        names.map(|(name, kind)| (name.as_bytes().to_vec(), kind)).collect()
    }
}
