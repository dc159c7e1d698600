//! Whether git leaves alone what dossierd writes into a project.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::cli::commands::doctor::finding::Findings;
use crate::cli::commands::doctor::shell::shell_quote;

/// What the daemon writes there, of whatever feature.
const SAMPLE_SNAPSHOT_PATH: &str = ".kittify/dossiers/some-feature/snapshot-latest.json";

pub(crate) fn check_gitignore(found: &mut Findings, root: &Path) {
    let check = "git";
    let (shown, word) = (root.display(), shell_quote(root));
    let Some((0, inside)) = run_git(root, &["rev-parse", "--is-inside-work-tree"]) else {
        return;
    };
    if inside.trim() != "true" {
        return;
    }
    let tracked = run_git(root, &["ls-files", "--", ".kittify/dossiers/*/snapshot-latest.json"]);
    if let Some((0, tracked)) = tracked
        && !tracked.is_empty()
    {
        found.warning(
            check,
            format!("{shown}: snapshots are tracked, and change with every edit"),
            &format!(
                "`git -C {word} rm --cached '.kittify/dossiers/*/snapshot-latest.json'`; \
                 baselines may be tracked"
            ),
        );
        return;
    }
    match run_git(root, &["check-ignore", "--quiet", "--no-index", "--", SAMPLE_SNAPSHOT_PATH]) {
        Some((0, _)) => found.ok(check, format!("{shown}: .kittify/dossiers is ignored")),
        Some((1, _)) => found.warning(
            check,
            format!("{shown}: .kittify/dossiers is not ignored; snapshots show as untracked files"),
            &format!("`cd {word} && mkdir -p .kittify/dossiers && echo '*' >.kittify/dossiers/.gitignore`"),
        ),
        _ => {}
    }
}

/// Exit code and output of git; `None` where there is none.
fn run_git(root: &Path, arguments: &[&str]) -> Option<(i32, String)> {
    let mut command = Command::new("git");
    // No program that the project's own configuration names is run.
    command.args(["-c", "core.fsmonitor=false", "-C"]).arg(root).args(arguments);
    // Of the root, whatever repository a hook of git's runs this in.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    let output = command.output().ok()?;
    Some((output.status.code()?, String::from_utf8_lossy(&output.stdout).into_owned()))
}
