//! Checks that git ignores the files that dossierd writes into a project.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::cli::commands::doctor::finding::Findings;
use crate::cli::commands::doctor::shell::shell_quote;

/// A path like those that the daemon writes for each feature.
const SAMPLE_SNAPSHOT_PATH: &str = ".kittify/dossiers/some-feature/snapshot-latest.json";

pub(crate) fn check_gitignore(findings: &mut Findings, root: &Path) {
    let check = "git";
    let (shown, quoted) = (root.display(), shell_quote(root));
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
        findings.warning(
            check,
            format!("{shown}: snapshots are tracked by git, but change with every edit"),
            &format!(
                "`git -C {quoted} rm --cached '.kittify/dossiers/*/snapshot-latest.json'`; \
                 baselines may stay tracked"
            ),
        );
        return;
    }
    match run_git(root, &["check-ignore", "--quiet", "--no-index", "--", SAMPLE_SNAPSHOT_PATH]) {
        Some((0, _)) => findings.ok(check, format!("{shown}: .kittify/dossiers is ignored")),
        Some((1, _)) => findings.warning(
            check,
            format!("{shown}: .kittify/dossiers is not ignored; snapshots show as untracked files"),
            &format!("`cd {quoted} && mkdir -p .kittify/dossiers && echo '*' >.kittify/dossiers/.gitignore`"),
        ),
        _ => {}
    }
}

/// Runs git in `root`; returns its exit code and output, or `None` if it cannot be run.
fn run_git(root: &Path, arguments: &[&str]) -> Option<(i32, String)> {
    let mut command = Command::new("git");
    // The project's git configuration must not start a program.
    command.args(["-c", "core.fsmonitor=false", "-C"]).arg(root).args(arguments);
    // A git hook that runs this command sets variables for its own repository.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    let output = command.output().ok()?;
    Some((output.status.code()?, String::from_utf8_lossy(&output.stdout).into_owned()))
}
