//! The dashboard's page in Chromium: runs `tests/browser`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::{not_run, repository, run};

/// Timeout for all browser tests, chosen for a busy machine.
const BROWSER_TESTS_TIMEOUT: Duration = Duration::from_mins(10);

#[test]
fn browser_tests_pass() {
    let tests = repository().join("tests/browser");
    let browser = std::env::var_os("CHROMIUM").map_or("/usr/bin/chromium".into(), PathBuf::from);
    let node = Command::new("node").arg("--version").output().is_ok_and(|it| it.status.success());
    let requirements = [
        (node, "no `node`"),
        (browser.exists(), "no Chromium"),
        (
            tests.join("node_modules/playwright-core").is_dir(),
            "`npm ci` in tests/browser was not run",
        ),
    ];
    if let Some((_, why)) = requirements.iter().find(|(is_met, _)| !is_met) {
        assert!(std::env::var_os("CI").is_none(), "{why}; CI requires it");
        not_run(&format!("the dashboard's page in a browser ({why})"));
        return;
    }
    let mut command = Command::new("node");
    command.args(["--test", "--test-concurrency=1", "--test-reporter=tap"]);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&tests)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".test.mjs"))
        .collect();
    files.sort();
    assert!(files.len() >= 3, "{files:?}");
    command.args(files).current_dir(&tests);
    command.env("DOSSIERD", Path::new(env!("CARGO_BIN_EXE_dossierd"))).env("CHROMIUM", browser);
    let run = run(command, BROWSER_TESTS_TIMEOUT);
    assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("\n# skipped 0\n") && run.stdout.contains("\n# todo 0\n"));
}
