//! Where the status of a mission of spec-kitty 3.2 is that is coordinated in a worktree of its own
//! (`docs/specification.md#coordination-worktrees`). Pure.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde_json::{Map, Value};

use crate::core::path::RelPath;

/// Directory in which spec-kitty creates worktrees.
const WORKTREES_DIR: &str = ".worktrees";
/// Directory of the missions in each work tree.
const MISSIONS_DIR: &str = "kitty-specs";
/// Values of `topology` of missions that have a coordination worktree.
const COORDINATED: [&str; 2] = ["coord", "lanes_with_coord"];
/// Values of `topology` of all others.
const NOT_COORDINATED: [&str; 2] = ["single_branch", "lanes"];
/// Length of the short id of a mission: the beginning of its ULID.
const SHORT_ID_LENGTH: usize = 8;

/// Returns the directory of the mission in its coordination worktree, below the root, by the content of
/// its `meta.json` and the name of its directory, as spec-kitty 3.2.7 finds it
/// (`coordination/surface_resolver.py`). `None` if the mission has no such worktree. It may not exist.
pub(super) fn status_dir(meta: &Map<String, Value>, name: &str) -> Option<RelPath> {
    let text = |field: &str| {
        let value = meta.get(field).and_then(Value::as_str);
        value.filter(|value| !value.is_empty())
    };
    let branch = text("coordination_branch");
    // A mission of an older version has a branch and no topology.
    let is_coordinated = match text("topology") {
        Some(topology) if COORDINATED.contains(&topology) => true,
        Some(topology) if NOT_COORDINATED.contains(&topology) => false,
        Some(_) | None => branch.is_some(),
    };
    if !is_coordinated || branch.is_none() {
        return None;
    }
    let of_mission = text("mission_id").and_then(|id| id.get(..SHORT_ID_LENGTH));
    let of_name = || name.rsplit_once('-').map(|(_, tail)| tail).filter(|tail| is_short_id(tail));
    let id = text("mid8").or(of_mission).or_else(of_name)?;
    // It becomes a part of a path.
    if !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let has_id = name.strip_suffix(id).is_some_and(|rest| rest.ends_with('-'));
    let name = if has_id { name.to_owned() } else { format!("{name}-{id}") };
    RelPath::new(format!("{WORKTREES_DIR}/{name}-coord/{MISSIONS_DIR}/{name}").as_bytes()).ok()
}

/// Returns the worktree, below the root, of a mission's directory in it.
pub(super) fn worktree_of(status_dir: &RelPath) -> Option<RelPath> {
    let components: Vec<&[u8]> = status_dir.components().take(2).collect();
    RelPath::new(components.join(&b'/')).ok()
}

/// Returns true if a worktree of the repository with this root is one in which a mission is coordinated,
/// by its name: nothing but the status of the mission is in it.
pub(super) fn is_worktree(root: &Path, top: &Path) -> bool {
    let name = top.strip_prefix(root.join(WORKTREES_DIR)).ok();
    name.is_some_and(|name| {
        name.components().count() == 1 && name.as_os_str().as_bytes().ends_with(b"-coord")
    })
}

/// Returns true for a short id: 8 of `0-9A-Z` without I, L, O and U.
fn is_short_id(text: &str) -> bool {
    let is_digit = |byte: u8| {
        byte.is_ascii_digit()
            || byte.is_ascii_uppercase() && !matches!(byte, b'I' | b'L' | b'O' | b'U')
    };
    text.len() == SHORT_ID_LENGTH && text.bytes().all(is_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worktrees_for_coordination_are_known_by_place_and_name() {
        for (top, expected) in [
            ("/p/.worktrees/x-coord", true),
            ("/p/.worktrees/x-lane-a", false),
            ("/p/.worktrees/x-coord/y-coord", false),
            ("/p/x-coord", false),
            ("/q/.worktrees/x-coord", false),
        ] {
            assert_eq!(is_worktree(Path::new("/p"), Path::new(top)), expected, "{top}");
        }
    }

    #[test]
    fn status_is_where_topology_branch_and_id_of_the_mission_say() {
        let new = "orders-page-01M8NWVK";
        let at_new = Some(".worktrees/orders-page-01M8NWVK-coord/kitty-specs/orders-page-01M8NWVK");
        let at_old = Some(".worktrees/007-old-01M8NWVK-coord/kitty-specs/007-old-01M8NWVK");
        let id = r#""mission_id": "01M8NWVKTC2725KFWBR72TP52J""#;
        for (name, meta, expected) in [
            (new, format!(r#"{{"topology": "coord", "coordination_branch": "b", {id}}}"#), at_new),
            (
                new,
                format!(r#"{{"topology": "lanes_with_coord", "coordination_branch": "b", {id}}}"#),
                at_new,
            ),
            (new, format!(r#"{{"coordination_branch": "b", {id}}}"#), at_new),
            (new, format!(r#"{{"topology": "new", "coordination_branch": "b", {id}}}"#), at_new),
            // The worktree of one that was merged is of no use.
            (new, format!(r#"{{"topology": "lanes", "coordination_branch": "b", {id}}}"#), None),
            (
                new,
                format!(r#"{{"topology": "single_branch", "coordination_branch": "b", {id}}}"#),
                None,
            ),
            (new, format!(r#"{{"topology": "coord", "coordination_branch": "", {id}}}"#), None),
            (new, format!(r#"{{"topology": "coord", {id}}}"#), None),
            (new, "{}".to_owned(), None),
            ("007-old", format!(r#"{{"coordination_branch": "b", {id}}}"#), at_old),
            ("007-old", r#"{"coordination_branch": "b", "mid8": "01M8NWVK"}"#.to_owned(), at_old),
            (new, r#"{"coordination_branch": "b"}"#.to_owned(), at_new),
            ("007-old", r#"{"coordination_branch": "b"}"#.to_owned(), None),
            ("x-internal", r#"{"coordination_branch": "b"}"#.to_owned(), None),
            ("x", r#"{"coordination_branch": "b", "mid8": "../../.."}"#.to_owned(), None),
            ("x", r#"{"coordination_branch": "b", "mission_id": "é1234567"}"#.to_owned(), None),
            ("x", r#"{"coordination_branch": "b", "mission_id": "short"}"#.to_owned(), None),
            ("x", r#"{"coordination_branch": 7, "mid8": 7}"#.to_owned(), None),
        ] {
            let object: Map<String, Value> = serde_json::from_str(&meta).unwrap();
            let found = status_dir(&object, name);
            let found = found.as_ref().map(|path| std::str::from_utf8(path.as_bytes()).unwrap());
            assert_eq!(found, expected, "{name} {meta}");
        }
    }
}
