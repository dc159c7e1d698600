//! Exit codes, usage errors, help, and closed output streams.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use crate::scan::hostile_input::create_fifo;
use crate::support::client::redact_times;
use crate::support::{COMMAND_TIMEOUT, FEATURE, Project, run, write_file};

#[test]
fn check_exits_with_the_first_applicable_code() {
    type Change = fn(&Project);
    let add: Change = |p| p.write("kitty-specs/001-x/research.md", "new");
    let change: Change = |p| p.write("kitty-specs/001-x/plan.md", "new");
    let remove: Change = |p| fs::remove_file(p.feature_dir().join("spec.md")).unwrap();
    let unreadable: Change = |p| create_fifo(&p.feature_dir().join("fifo"));
    let unknown: Change =
        |p| p.write("kitty-specs/002-y/meta.json", "{\"mission\": \"unheard-of\"}");
    let invalid: Change = |p| p.write(".kittify/missions/x/expected-artifacts.yaml", "x");
    let project_config: Change = |p| p.write(".kittify/config.yaml", "project: [");
    let skipped: Change = |p| fs::create_dir(p.root.join("kitty-specs/bad\nname")).unwrap();
    let meta: Change = |p| p.write("kitty-specs/002-y/meta.json", "{");
    let corrupt: Change = |p| p.write(".kittify/dossiers/001-x/parity-baseline.json", "{");
    let other_key: Change = |p| p.write(".kittify/config.yaml", "project: {uuid: x, node_id: y}\n");
    let incomplete: Change = |p| p.write("kitty-specs/002-y/spec.md", "x");
    // case, changes after a baseline of a complete feature was accepted, exit code, with `--strict`
    let table: [(&str, &[Change], i32, i32); 19] = [
        ("no change", &[], 0, 0),
        ("another feature is incomplete", &[incomplete], 10, 10),
        ("content changed", &[change], 11, 11),
        ("artifact added", &[add], 0, 11),
        ("baseline of another key", &[other_key], 0, 11),
        ("required artifact deleted", &[remove], 12, 12),
        ("artifact added, another feature incomplete", &[add, incomplete], 10, 12),
        ("content changed, another feature incomplete", &[change, incomplete], 12, 12),
        ("mission without manifest", &[unknown], 0, 13),
        ("mission without manifest, content changed", &[unknown, change], 11, 13),
        ("unreadable artifact", &[unreadable], 13, 13),
        (
            "unreadable artifact, content changed, required deleted",
            &[unreadable, change, remove],
            13,
            13,
        ),
        ("directory that is not a feature", &[skipped], 0, 13),
        ("directory that is not a feature, content changed", &[skipped, change], 11, 13),
        ("meta.json invalid", &[meta], 78, 78),
        ("baseline corrupt", &[corrupt], 13, 13),
        ("manifest invalid", &[invalid], 78, 78),
        ("project configuration invalid", &[project_config], 78, 78),
        ("all of these", &[invalid, unreadable, change, remove, unknown, incomplete], 78, 78),
    ];
    for (case, changes, code, strict) in table {
        let project = Project::complete();
        project.run(&["baseline", "accept", FEATURE]).assert_success();
        for change in changes {
            change(&project);
        }
        assert_eq!(project.run(&["check"]).code, code, "{case}");
        assert_eq!(project.run(&["check", "--strict"]).code, strict, "{case}");
        for (arguments, code) in
            [(&["check", "--json"][..], code), (&["check", "--json", "--strict"], strict)]
        {
            let run = project.run(arguments);
            assert_eq!(
                (run.code, run.json()["exit_code"].as_i64()),
                (code, Some(code.into())),
                "{case}"
            );
        }
    }
}

#[test]
fn invalid_usage_exits_with_2_and_missing_objects_with_1() {
    let project = Project::complete();
    for arguments in [
        &[][..],
        &["nonsense"],
        &["scan", "--nonsense"],
        &["scan", ".", "."],
        &["artifacts"],
        &["artifacts", FEATURE, "--class", "nonsense"],
        &["show", FEATURE],
        &["baseline"],
        &["baseline", "accept"],
        &["completions", "nonsense"],
        &["check", "--color", "sometimes"],
        &["run", "--log", "foo=bar=baz"],
    ] {
        let run = project.run(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(run.stderr.contains("--help") || run.stderr.contains("Usage"), "{}", run.stderr);
    }
    for (arguments, expected) in [
        (&["scan", "nowhere"][..], "error: cannot access nowhere: No such file or directory"),
        (&["check", "nowhere"], "error: cannot access nowhere: No such file or directory"),
        (
            &["artifacts", "002-z"],
            "error: there is no feature `002-z` in ROOT; did you mean 001-x?",
        ),
        (&["drift", "./kitty-specs"], "./kitty-specs is not a feature of ROOT; it has 001-x"),
        (
            &["show", FEATURE, "input.spec"],
            "no artifact `input.spec`; did you mean input.spec.main?",
        ),
        (&["show", FEATURE, "zzz"], "run `dossierd artifacts 001-x` to list them"),
        (
            &["drift", FEATURE, "--project", "nowhere"],
            "error: cannot access nowhere: No such file or directory",
        ),
    ] {
        let run = project.run(arguments);
        let stderr = project.redact_paths(&run.stderr);
        let code = i32::from(!expected.is_empty());
        run.assert_failure(code, "");
        assert_eq!((run.code, run.stdout.is_empty()), (code, code == 1), "{arguments:?}: {run:?}");
        assert!(stderr.contains(expected), "`{expected}` is not in {stderr}");
    }
}

#[test]
fn help_version_man_pages_and_completions_cover_every_command() {
    let project = Project::empty();
    let top = project.run(&["--help"]).assert_success();
    assert_eq!(top.stderr, "");
    for command in ["scan", "check", "artifacts", "show", "drift", "baseline", "completions", "man"]
    {
        assert!(top.stdout.contains(&format!("\n  {command} ")), "{command}: {}", top.stdout);
        let help = project.run(&[command, "--help"]).assert_success();
        assert!(help.stdout.contains("Usage: dossierd"), "{}", help.stdout);
        assert!(help.stdout.contains("\nExamples:\n  dossierd "), "{}", help.stdout);
    }
    // What changes something takes no part of a slug.
    for (command, names) in [
        (&["status"][..], "slug, path, number or part of the slug"),
        (&["restore"], "slug, path or number\n"),
        (&["baseline", "accept"], "slug, path or number\n"),
        (&["baseline", "clear"], "slug, path or number\n"),
        (&["history", "purge"], "slug, path or number ["),
    ] {
        let help = project.run(&[command, &["-h"]].concat()).assert_success().stdout;
        assert!(help.contains(names), "{command:?}: {help}");
    }
    let check = project.run(&["check", "--help"]).assert_success().stdout;
    for code in ["78", "13", "12", "11", "10"] {
        assert!(check.contains(code), "the exit codes are explained: {check}");
    }
    let version = project.run(&["--version"]).assert_success().stdout;
    assert_eq!(version, format!("dossierd {}\n", env!("CARGO_PKG_VERSION")));
    assert!(project.run(&["man"]).assert_success().stdout.contains(".TH dossierd 1"));
    let pages = project.root.join("pages");
    project.run(&["man", "--dir", "pages"]).assert_success();
    for page in fs::read_dir(&pages).unwrap() {
        let text = fs::read_to_string(page.unwrap().path()).unwrap();
        for section in ["\"EXIT STATUS\"", "FILES", "ENVIRONMENT", "EXAMPLES"] {
            assert!(text.contains(&format!("\n.SH {section}\n.TP\n")), "{section} in {text}");
        }
        assert!(!text.contains(".SH EXTRA"), "{text}");
    }
    let pages: Vec<_> =
        fs::read_dir(pages).unwrap().map(|page| page.unwrap().file_name()).collect();
    for page in ["dossierd.1", "dossierd-check.1", "dossierd-baseline-accept.1"] {
        assert!(pages.iter().any(|name| name == page), "{pages:?}");
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = project.run(&["completions", shell]).assert_success().stdout;
        assert!(script.contains("baseline") && script.contains("strict"), "{shell}");
    }
}

/// Runs a command whose standard output is closed after one line; returns exit code and standard
/// error.
fn read_one_line(mut command: Command) -> (i32, String) {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut byte = [0];
    while stdout.read(&mut byte).unwrap() == 1 && byte != *b"\n" {}
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8(output.stderr).unwrap())
}

/// Creates a project whose output does not fit into a pipe.
fn large_project() -> Project {
    let project = Project::complete();
    for number in 0..3_000 {
        let name = format!("research/{number}-{}.md", "n".repeat(60));
        write_file(&project.feature_dir().join(name), b"x");
    }
    project.artifact("long.md", "line\n".repeat(60_000))
}

#[test]
fn closed_stdout_causes_no_error_message() {
    let project = large_project();
    fs::remove_file(project.feature_dir().join("plan.md")).unwrap();
    symlink("x", project.feature_dir().join("link.md")).unwrap();
    for (arguments, code) in [
        (&["scan", "--json"][..], 0),
        (&["artifacts", FEATURE], 0),
        (&["artifacts", FEATURE, "--json"], 0),
        (&["show", FEATURE, "other.long.md"], 0),
        (&["completions", "bash"], 0),
        (&["man"], 0),
    ] {
        let (exit_code, stderr) = read_one_line(project.command(arguments));
        assert_eq!(exit_code, code, "{arguments:?}: {stderr}");
        assert!(!stderr.contains("panic") && !stderr.contains("ipe"), "{arguments:?}: {stderr}");
    }
    // Both output streams are closed from the start.
    let shell = format!("{} scan >&- 2>&-", env!("CARGO_BIN_EXE_dossierd"));
    let mut command = Command::new("sh");
    command.args(["-c", &shell]).current_dir(&project.root).env_clear().env("HOME", project.home());
    assert!([0, 1].contains(&run(command, COMMAND_TIMEOUT).code));
}

/// Runs a command whose standard output is closed at once; returns exit code and standard error.
fn run_with_closed_stdout(mut command: Command) -> (i32, String) {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn closed_stdout_does_not_interrupt_check_and_accept() {
    let project = Project::complete().file("kitty-specs/002-y/spec.md", "x");
    for arguments in [&["check"][..], &["check", "--json"]] {
        let (code, stderr) = run_with_closed_stdout(project.command(arguments));
        assert_eq!((code, stderr.as_str()), (10, ""), "{arguments:?}");
    }
    let (code, stderr) = run_with_closed_stdout(project.command(&["baseline", "accept", "--all"]));
    assert_eq!((code, stderr.contains("error")), (0, false), "{stderr}");
    for slug in [FEATURE, "002-y"] {
        assert!(
            project.root.join(format!(".kittify/dossiers/{slug}/parity-baseline.json")).exists()
        );
    }
}

#[test]
fn check_summary_counts_key_mismatches_separately() {
    let project = Project::complete();
    project.run(&["baseline", "accept", FEATURE]).assert_success();
    project.write("kitty-specs/001-x/meta.json", "{\"target_branch\": \"other\"}\n");
    let run = project.run(&["check", "--strict"]);
    assert_eq!(run.code, 11, "{run:?}");
    assert!(run.stdout.ends_with("0 drifted, 1 with a key mismatch\n"), "{run:?}");
}

#[test]
fn options_precede_or_follow_the_command() {
    let project = Project::complete().file("kitty-specs/002-y/spec.md", "x");
    let root = project.root.to_str().unwrap();
    let list = |arguments: &[&str]| redact_times(&project.run(arguments).assert_success().stdout);
    let expected = list(&["artifacts", FEATURE, "--json"]);
    for arguments in [
        &["ls", FEATURE, "-j"][..],
        &["-j", "ls", FEATURE],
        &["--json", "-p", root, "ls", FEATURE],
        &["ls", FEATURE, "-j", "-p", root],
    ] {
        assert_eq!(list(arguments), expected, "{arguments:?}");
    }
    for arguments in
        [&["-C", root, "st", "--json"][..], &["st", "-C", root, "-j"], &["-j", "-C", root, "st"]]
    {
        let mut elsewhere = project.command(arguments);
        elsewhere.current_dir("/").env("DOSSIERD_SOCKET", project.home().join("none.sock"));
        let json = run(elsewhere, COMMAND_TIMEOUT).assert_success().json();
        assert_eq!(json["projects"][0]["root"], root, "{arguments:?}");
    }
    let quiet = project.run(&["-q", "check"]);
    assert_eq!((quiet.code, quiet.stdout.as_str(), quiet.stderr.as_str()), (10, "", ""));
    let quiet = project.run(&["status", "-q"]).assert_success();
    assert!(quiet.stderr.is_empty() && quiet.stdout.contains(FEATURE), "{quiet:?}");
    project
        .run(&["-C", "nowhere", "check"])
        .assert_failure(2, "cannot change to the directory nowhere");
}
