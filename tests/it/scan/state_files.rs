//! State files of tools that lie, are huge, hostile or half-written: the evaluation is never wrong.

use std::fs;
use std::os::unix::fs::symlink;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::support::Project;

/// What is in place of a state file.
enum State<'a> {
    Text(&'a str),
    Link,
    Directory,
    Fifo,
}
use State::{Directory, Fifo, Link, Text};

const DIR: &str = ".kiro/specs/a";

fn check(state: &State<'_>) -> (i32, String) {
    let project = Project::empty().file(&format!("{DIR}/requirements.md"), "# Requirements\n");
    let path = project.root.join(DIR).join("spec.json");
    match state {
        Text(text) => fs::write(&path, text).unwrap(),
        Link => {
            fs::write(project.root.join("elsewhere"), r#"{"phase": "initialized"}"#).unwrap();
            symlink(project.root.join("elsewhere"), &path).unwrap();
        }
        Directory => fs::create_dir(&path).unwrap(),
        Fifo => mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap(),
    }
    let run = project.run(&["check", "--json"]);
    let feature = &run.json()["features"][0];
    let text = |name: &str| feature[name].as_str().unwrap_or("-").to_owned();
    let (completeness, step) = (text("completeness_status"), text("step"));
    (run.code, format!("{completeness} at {step}: {}{}", text("step_error"), text("step_warning")))
}

#[test]
fn state_files_that_lie_are_huge_hostile_or_half_written_cause_no_wrong_evaluation() {
    let huge = format!(r#"{{"phase": "initialized", "x": "{}"}}"#, "x".repeat(4 << 20));
    let deep = format!(r#"{{"phase": {}1{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    for (case, state, code, expected) in [
        ("true", Text(r#"{"phase": "initialized"}"#), 0, "complete at requirements: --"),
        ("too far", Text(r#"{"phase": "completed"}"#), 10, "incomplete at implement: --"),
        (
            "unknown",
            Text(r#"{"phase": "great"}"#),
            0,
            "complete at requirements: spec.json: the mission has no step `great`-",
        ),
        ("of another type", Text(r#"{"phase": {"a": 1}}"#), 0, "complete at requirements: --"),
        ("a list", Text("[]"), 0, "complete at requirements: --"),
        ("half", Text(r#"{"phase": "initi"#), 13, "spec.json:1:"),
        ("empty", Text(""), 13, "spec.json:1:1: EOF"),
        ("huge", Text(&huge), 13, "spec.json: "),
        ("deep", Text(&deep), 13, "spec.json:1:"),
        ("a link", Link, 13, "spec.json: "),
        ("a directory", Directory, 13, "spec.json: "),
        ("a FIFO", Fifo, 13, "spec.json: "),
    ] {
        let (found_code, found) = check(&state);
        assert_eq!(found_code, code, "{case}: {found}");
        assert!(found.contains(expected), "{case}: {found}");
    }
}

/// What is counted is not what decides.
#[test]
fn task_files_that_lie_are_huge_or_half_written_cause_no_wrong_progress() {
    let many = "- [x] a\n".repeat(600_000);
    for (case, text, progress) in [
        ("true", &b"- [x] a\n- [ ] b\n"[..], "1/2"),
        ("huge", many.as_bytes(), "tasks.md: "),
        ("half a character", b"- [x] a\n- [ ] \xe2\x82", "tasks.md: invalid UTF-8 at byte 14"),
        ("no box", b"all is done\n", "-"),
        ("a fence that does not end", b"- [x] a\n```\n- [ ] b\n", "1/1"),
    ] {
        let project = Project::empty()
            .file(&format!("{DIR}/requirements.md"), "x")
            .file(&format!("{DIR}/design.md"), "x")
            .file(&format!("{DIR}/tasks.md"), text);
        let run = project.run(&["check", "--json"]);
        let feature = &run.json()["features"][0];
        let found = match (&feature["progress"], feature["progress_error"].as_str()) {
            (_, Some(error)) => error.to_owned(),
            (progress, None) if progress.is_null() => "-".to_owned(),
            (progress, None) => format!("{}/{}", progress["done"], progress["total"]),
        };
        assert!(found.starts_with(progress), "{case}: {found}");
        // A text that is not valid does not count as a document.
        let expected = if case == "half a character" { 10 } else { 0 };
        assert_eq!(run.code, expected, "{case}");
    }
}
