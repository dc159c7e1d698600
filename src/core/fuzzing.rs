//! Fuzzing of manifests and of what is read from other files in a project.

use crate::core::baseline::Baseline;
use crate::core::frontmatter::{find_front_matter, parse_work_package_id};
use crate::core::git_index::GitIndex;
use crate::core::manifest::{parse_manifest, parse_mission_steps, parse_runtime_steps};

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
