//! The example project: the exact output of each command, and the instructions of its README.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;
use std::time::Duration;

use insta::assert_snapshot;
use serde_json::Value;

use crate::support::{CommandOutput, Project, bakery_dir, find_artifact, git, read_tree, run};

/// Returns output and exit code of a command in the example project.
fn example_output(arguments: &[&str]) -> String {
    let project = Project::copy_of(&bakery_dir());
    let CommandOutput { code, stdout, stderr } = project.run(arguments);
    let (stdout, stderr) = (project.redact_paths(&stdout), project.redact_paths(&stderr));
    format!("{stdout}\n--- standard error\n{stderr}\n--- exit code {code}\n")
}

#[test]
fn scan_output() {
    assert_snapshot!(example_output(&["scan"]));
}

#[test]
fn check_output_of_incomplete_and_drifted_features() {
    let output = example_output(&["check"]);
    assert!(output.ends_with("--- exit code 12\n"), "{output}");
    assert_snapshot!(output);
}

#[test]
fn drift_output_of_missing_changed_added_and_churned_artifacts() {
    assert_snapshot!(example_output(&["drift", "003-delivery-slots"]));
}

#[test]
fn artifacts_output_of_present_and_expected_artifacts() {
    assert_snapshot!(example_output(&["artifacts", "002-loyalty-card"]));
}

#[test]
fn show_output_of_an_artifact_with_content() {
    assert_snapshot!(example_output(&[
        "show",
        "004-supplier-survey",
        "output.tasks.per_wp.WP01-mills-and-prices"
    ]));
}

#[test]
fn baseline_show_output() {
    assert_snapshot!(example_output(&["baseline", "show", "003-delivery-slots"]));
}

#[test]
fn scan_json_has_every_field() {
    let project = Project::copy_of(&bakery_dir());
    let mut snapshot =
        project.run(&["scan", "kitty-specs/002-loyalty-card", "--json"]).assert_success().json();
    for field in ["snapshot_id", "computed_at"] {
        let text = snapshot[field].as_str().expect("a string");
        assert!(text.len() >= 20, "{field}: {text}");
        snapshot[field] = Value::from("…");
    }
    assert_snapshot!(serde_json::to_string_pretty(&snapshot).unwrap());
}

#[test]
fn read_only_commands_write_nothing() {
    let project = Project::copy_of(&bakery_dir());
    let before = read_tree(&project.root);
    for arguments in [
        &["scan"][..],
        &["scan", "--json"],
        &["check", "--strict"],
        &["artifacts", "001-order-page"],
        &["show", "001-order-page", "input.spec.main"],
        &["drift", "003-delivery-slots"],
        &["baseline", "show", "003-delivery-slots"],
    ] {
        project.run(arguments);
        assert_eq!(read_tree(&project.root), before, "{arguments:?}");
        assert_eq!(fs::read_dir(project.home()).unwrap().count(), 0, "{arguments:?}");
    }
}

#[test]
fn instructions_of_the_example_work() {
    let project = Project::copy_of(&bakery_dir());
    fs::remove_file(project.root.join("kitty-specs/001-order-page/plan.md")).unwrap();
    let check = project.run(&["check", "."]);
    assert_eq!(check.code, 12);
    assert!(check.stdout.contains("001-order-page: incomplete"), "{}", check.stdout);
    let root = project.root.to_str().unwrap();
    project.run(&["baseline", "accept", "003-delivery-slots", "--project", root]).assert_success();
    assert_eq!(
        project.run(&["check"]).code,
        10,
        "no drift, but a required artifact is still missing"
    );

    let manifest = fs::read(
        crate::support::repository().join("manifests/software-dev/expected-artifacts.yaml"),
    );
    let manifest = String::from_utf8(manifest.unwrap()).unwrap();
    let edited = manifest.replacen("path_pattern: plan.md", "path_pattern: the-plan.md", 1);
    assert_ne!(edited, manifest);
    project.write(".dossierd/missions/software-dev/expected-artifacts.yaml", edited);
    let missing = project.run(&["artifacts", "001-order-page", "--missing"]).assert_success();
    assert!(missing.stdout.contains("the-plan.md"), "{}", missing.stdout);
}

/// Returns the examples in the help of a command and of its subcommands, each once.
fn help_examples(project: &Project, words: &[&str]) -> Vec<String> {
    let help = project.run(&[words, &["--help"]].concat()).assert_success().stdout;
    let (rest, examples) = help.split_once("\nExamples:\n").expect("examples in each help");
    let lines = examples.lines().filter_map(|line| line.strip_prefix("  dossierd "));
    let mut examples: Vec<String> = lines.map(str::to_owned).collect();
    let commands = rest.split_once("\nCommands:\n").map_or("", |(_, commands)| commands);
    let names = commands.lines().take_while(|line| !line.is_empty()).filter_map(|line| {
        line.strip_prefix("  ").filter(|line| !line.starts_with(' '))?.split(' ').next()
    });
    for name in names.filter(|name| *name != "help") {
        examples.extend(help_examples(project, &[words, &[name]].concat()));
    }
    let mut seen = std::collections::HashSet::new();
    examples.retain(|example| seen.insert(example.clone()));
    examples
}

/// Examples that do not end, open a browser, change the user's session, or need hours of history: only their arguments
/// are checked.
const PARSED_ONLY: [&str; 9] = [
    "run ",
    "watch",
    "top",
    "events --follow",
    "dashboard",
    "service ",
    "man |",
    "diff 001-order-page spec.md --from 2h",
    "restore 001-order-page spec.md --from @17",
];
/// Exit codes of examples that report what is wrong in the example project.
const OTHER_CODES: [(&str, i32); 3] =
    [("check --changed-since", 0), ("check", 12), ("status --short", 12)];

#[test]
fn every_example_of_the_help_works() {
    let project = Project::copy_of(&bakery_dir());
    std::os::unix::fs::symlink(bakery_dir().parent().unwrap(), project.root.join("examples"))
        .unwrap();
    fs::create_dir_all(project.home().join("some/project/.kittify")).unwrap();
    git(&project.root, &["init", "-q", "-b", "main"]);
    git(&project.root, &["add", "-A"]);
    git(&project.root, &["commit", "-q", "-m", "x"]);
    let mut examples = help_examples(&project, &[]);
    assert!(examples.len() > 60, "{examples:#?}");
    // What removes something comes last, and a baseline of the team hides the local one.
    let is_last = |example: &String| {
        let last = ["--shared", "purge", "clear", "stop"];
        last.iter().position(|word| example.contains(word)).map_or(0, |at| at + 1)
    };
    examples.sort_by_key(is_last);
    let _daemon = project.start_daemon();
    let of_client = project.client_command(&[]);
    let program_dir = std::path::Path::new(env!("CARGO_BIN_EXE_dossierd")).parent().unwrap();
    for _ in 0..2 {
        project.run_client(&["baseline", "accept", "001-order-page"]).assert_success();
    }
    for example in examples {
        let is_parsed_only = PARSED_ONLY.iter().any(|begin| example.starts_with(begin));
        let line = match example.split_once(" | ") {
            Some((arguments, _)) if is_parsed_only => format!("dossierd {arguments} --help"),
            _ if is_parsed_only => format!("dossierd {example} --help"),
            _ => format!("dossierd {example}"),
        };
        if example.starts_with("init") {
            let _ = fs::remove_file(project.root.join(".dossierd/config.yaml"));
        }
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).env_clear();
        shell.envs(of_client.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.env("PATH", format!("{}:/usr/bin:/bin", program_dir.display()));
        let feature =
            if example.starts_with("artifacts .") { "kitty-specs/001-order-page" } else { "" };
        shell.current_dir(project.root.join(feature));
        let run = run(shell, Duration::from_mins(1));
        let code = OTHER_CODES.iter().find(|(begin, _)| example.starts_with(begin));
        let code = code.filter(|_| !is_parsed_only).map_or(0, |(_, code)| *code);
        assert_eq!(run.code, code, "{line}: {run:?}");
    }
}

/// File names with characters that are special on terminals, in shells or in JSON.
pub(crate) const HOSTILE_NAMES: [&[u8]; 12] = [
    b"line\nbreak.md",
    b"\x1b[31mred\x1b[0m.md",
    b"quote\"and'and`.md",
    "party \u{1f389}.md".as_bytes(),
    b"not-utf8-\xff\xfe.md",
    "right\u{202e}dm.tfel".as_bytes(),
    "iso\u{2066}late\u{2069}.md".as_bytes(),
    b"back\\slash.md",
    b"bell\x07 and \x7f and tab\t.md",
    "c1 \u{9b}31m.md".as_bytes(),
    b"-rf *.md",
    b" ",
];

/// Creates the example project with a feature of hostile names, one of which has 255 bytes.
pub(crate) fn with_hostile_names() -> Project {
    let project = Project::copy_of(&bakery_dir());
    let dir = project.root.join("kitty-specs/005-hostile-names");
    fs::create_dir(&dir).unwrap();
    for (index, name) in HOSTILE_NAMES.iter().enumerate() {
        fs::write(dir.join(OsStr::from_bytes(name)), format!("{index}\n")).unwrap();
    }
    fs::write(dir.join("n".repeat(252) + ".md"), "long\n").unwrap();
    fs::create_dir(dir.join(OsStr::from_bytes(b"dir\n\xff"))).unwrap();
    fs::write(dir.join(OsStr::from_bytes(b"dir\n\xff/WP01\x1b.md")), "deep\n").unwrap();
    project
}

#[test]
fn artifacts_output_of_hostile_names_is_escaped() {
    let project = with_hostile_names();
    let run = project.run(&["artifacts", "005-hostile-names"]).assert_success();
    assert_snapshot!(project.redact_paths(&run.stdout));
    let scan = project.run(&["scan", "kitty-specs/005-hostile-names", "--json"]).assert_success();
    let snapshot = scan.json();
    for (path, content) in [
        ("line\nbreak.md", "0\n"),
        ("\u{1b}[31mred\u{1b}[0m.md", "1\n"),
        ("not-utf8-\\xff\\xfe.md", "4\n"),
        ("right\u{202e}dm.tfel", "5\n"),
        ("back\\\\slash.md", "7\n"),
        ("dir\n\\xff/WP01\u{1b}.md", "deep\n"),
    ] {
        let artifact = find_artifact(&snapshot, path);
        assert_eq!(artifact["is_present"], true);
        assert_eq!(artifact["content_hash_sha256"], crate::support::sha256(content.as_bytes()));
    }
}
