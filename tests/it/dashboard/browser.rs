//! The dashboard's page in a real Chromium: runs `tests/browser`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::{not_run, repository, run};

/// All of them, on a machine that does other things too.
const COMMAND_TIMEOUT: Duration = Duration::from_mins(10);

#[test]
fn the_page_does_in_a_browser_what_it_should() {
    let tests = repository().join("tests/browser");
    let browser = std::env::var_os("CHROMIUM").map_or("/usr/bin/chromium".into(), PathBuf::from);
    let node = Command::new("node").arg("--version").output().is_ok_and(|it| it.status.success());
    let have = [
        (node, "no `node`"),
        (browser.exists(), "no Chromium"),
        (
            tests.join("node_modules/playwright-core").is_dir(),
            "`npm ci` in tests/browser was not run",
        ),
    ];
    if let Some((_, why)) = have.iter().find(|(have, _)| !have) {
        assert!(std::env::var_os("CI").is_none(), "{why}, and CI must not go without");
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
    let run = run(command, COMMAND_TIMEOUT);
    assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("\n# skipped 0\n") && run.stdout.contains("\n# todo 0\n"));
}
