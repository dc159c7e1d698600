//! The command line itself: exit codes, what goes where, and what a terminal receives.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::cli::examples::with_hostile_names;
use crate::scan::hostile_input::create_fifo;
use crate::support::{COMMAND_TIMEOUT, FEATURE, Project, bakery_dir, not_run, run};

#[test]
fn check_exits_with_the_first_applicable_code() {
    type Done = fn(&Project);
    let add: Done = |p| p.write("kitty-specs/001-x/research.md", "new");
    let change: Done = |p| p.write("kitty-specs/001-x/plan.md", "new");
    let remove: Done = |p| fs::remove_file(p.feature_dir().join("spec.md")).unwrap();
    let unseen: Done = |p| create_fifo(&p.feature_dir().join("fifo"));
    let unknown: Done = |p| p.write("kitty-specs/002-y/meta.json", "{\"mission\": \"unheard-of\"}");
    let broken: Done = |p| p.write(".kittify/missions/x/expected-artifacts.yaml", "x");
    let foreign: Done = |p| p.write(".kittify/config.yaml", "project: [");
    let meta: Done = |p| p.write("kitty-specs/002-y/meta.json", "{");
    let corrupt: Done = |p| p.write(".kittify/dossiers/001-x/parity-baseline.json", "{");
    let other_key: Done = |p| p.write(".kittify/config.yaml", "project: {uuid: x, node_id: y}\n");
    let incomplete: Done = |p| p.write("kitty-specs/002-y/spec.md", "x");
    // what happens after a complete feature was accepted, exit code, and with `--strict`
    let table: [(&str, &[Done], i32, i32); 17] = [
        ("nothing", &[], 0, 0),
        ("another feature is incomplete", &[incomplete], 10, 10),
        ("content changed", &[change], 11, 11),
        ("only added", &[add], 0, 11),
        ("accepted for another key", &[other_key], 0, 11),
        ("required and gone", &[remove], 12, 12),
        ("added, and another incomplete", &[add, incomplete], 10, 12),
        ("changed, and another incomplete", &[change, incomplete], 12, 12),
        ("a mission without manifest", &[unknown], 0, 13),
        ("a mission without manifest, and changed", &[unknown, change], 11, 13),
        ("something not seen", &[unseen], 13, 13),
        ("something not seen, changed, gone", &[unseen, change, remove], 13, 13),
        ("meta.json unreadable", &[meta], 13, 13),
        ("baseline corrupt", &[corrupt], 13, 13),
        ("a manifest broken", &[broken], 78, 78),
        ("the project's own configuration broken", &[foreign], 78, 78),
        ("all of it", &[broken, unseen, change, remove, unknown, incomplete], 78, 78),
    ];
    for (what, done, code, strict) in table {
        let project = Project::complete();
        project.run(&["baseline", "accept", FEATURE]).assert_success();
        for step in done {
            step(&project);
        }
        assert_eq!(project.run(&["check"]).code, code, "{what}");
        assert_eq!(project.run(&["check", "--strict"]).code, strict, "{what}");
        for (arguments, code) in
            [(&["check", "--json"][..], code), (&["check", "--json", "--strict"], strict)]
        {
            let run = project.run(arguments);
            assert_eq!(
                (run.code, run.json()["exit_code"].as_i64()),
                (code, Some(code.into())),
                "{what}"
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
    for (arguments, said) in [
        (&["scan", "nowhere"][..], "error: nowhere: No such file or directory"),
        (&["check", "nowhere"], "error: nowhere: No such file or directory"),
        (&["artifacts", "002-z"], "error: there is no feature `002-z` in ROOT; it has 001-x"),
        (&["drift", "./kitty-specs"], "./kitty-specs is no feature of ROOT; it has 001-x"),
        (
            &["show", FEATURE, "input.spec"],
            "no artifact `input.spec`; did you mean input.spec.main?",
        ),
        (&["show", FEATURE, "zzz"], "`dossierd artifacts 001-x` lists them"),
        (&["drift", FEATURE, "--project", "nowhere"], "error: nowhere: No such file or directory"),
    ] {
        let run = project.run(arguments);
        let stderr = project.redact_paths(&run.stderr);
        let code = i32::from(!said.is_empty());
        run.assert_failure(code, "");
        assert_eq!((run.code, run.stdout.is_empty()), (code, code == 1), "{arguments:?}: {run:?}");
        assert!(stderr.contains(said), "`{said}` is not in {stderr}");
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

/// Runs with a standard output that its reader closes after one line.
fn read_one_line(mut command: Command) -> (i32, String) {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut byte = [0];
    while out.read(&mut byte).unwrap() == 1 && byte != *b"\n" {}
    drop(out);
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8(output.stderr).unwrap())
}

/// A project whose output no pipe holds at once.
fn large() -> Project {
    let project = Project::complete();
    for number in 0..3_000 {
        let name = format!("research/{number}-{}.md", "n".repeat(60));
        crate::support::write_file(&project.feature_dir().join(name), b"x");
    }
    project.artifact("long.md", "line\n".repeat(60_000))
}

#[test]
fn closed_stdout_causes_no_error_message() {
    let project = large();
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
        let (ended, stderr) = read_one_line(project.command(arguments));
        assert_eq!(ended, code, "{arguments:?}: {stderr}");
        assert!(!stderr.contains("panic") && !stderr.contains("ipe"), "{arguments:?}: {stderr}");
    }
    // Both ends closed before a word is said.
    let shell = format!("{} scan >&- 2>&-", env!("CARGO_BIN_EXE_dossierd"));
    let mut command = Command::new("sh");
    command.args(["-c", &shell]).current_dir(&project.root).env_clear().env("HOME", project.home());
    assert!([0, 1].contains(&run(command, COMMAND_TIMEOUT).code));
}

/// Runs with a standard output that no one reads.
fn unread(mut command: Command) -> (i32, String) {
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
        let (code, stderr) = unread(project.command(arguments));
        assert_eq!((code, stderr.as_str()), (10, ""), "{arguments:?}");
    }
    let (code, stderr) = unread(project.command(&["baseline", "accept", "--all"]));
    assert_eq!((code, stderr.contains("error")), (0, false), "{stderr}");
    for slug in [FEATURE, "002-y"] {
        assert!(
            project.root.join(format!(".kittify/dossiers/{slug}/parity-baseline.json")).exists()
        );
    }
}

#[test]
fn colour_is_used_on_terminals_or_on_request() {
    let coloured = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut project = Project::copy_of(&bakery_dir());
        for (name, value) in variables {
            project = project.env(name, value);
        }
        let run = project.run(arguments);
        run.stdout.contains("\x1b[")
    };
    // variables, arguments, coloured
    for (variables, arguments, expect) in [
        (&[][..], &["check"][..], false),
        (&[("CLICOLOR_FORCE", "1")], &["check"], true),
        (&[("NO_COLOR", "1")], &["check"], false),
        (&[("CLICOLOR_FORCE", "1")], &["check", "--color", "never"], false),
        (&[("NO_COLOR", "1")], &["check", "--color", "always"], true),
        (&[], &["check", "--color", "always"], true),
        (&[], &["--color", "always", "scan"], true),
        (&[("CLICOLOR_FORCE", "0")], &["check"], false),
        (&[], &["--help", "--color", "always"], true),
        (&[("CLICOLOR_FORCE", "1")], &["--color=never", "check", "--help"], false),
        (&[("CLICOLOR_FORCE", "0")], &["--help"], false),
        (&[("TERM", "dumb")], &["check", "--color", "auto"], false),
        (&[("CLICOLOR_FORCE", "1")], &["check", "--json"], false),
        (&[("CLICOLOR_FORCE", "1")], &["scan", "--json", "--color", "always"], false),
        (&[("CLICOLOR_FORCE", "1")], &["artifacts", "001-order-page"], true),
        (&[("CLICOLOR_FORCE", "1")], &["drift", "003-delivery-slots"], true),
    ] {
        assert_eq!(coloured(variables, arguments), expect, "{variables:?} {arguments:?}");
    }
    let wrong = |color| Project::new().run(&["chek", "--color", color]);
    for (color, expect) in [("always", true), ("never", false)] {
        let run = wrong(color);
        assert_eq!((run.code, run.stderr.contains("\x1b[")), (2, expect), "{run:?}");
    }
}

#[test]
fn check_summary_counts_key_mismatches_separately() {
    let project = Project::complete();
    project.run(&["baseline", "accept", FEATURE]).assert_success();
    project.write("kitty-specs/001-x/meta.json", "{\"target_branch\": \"other\"}\n");
    let run = project.run(&["check", "--strict"]);
    assert_eq!(run.code, 11, "{run:?}");
    assert!(run.stdout.ends_with("0 drifted, 1 with a baseline for another key\n"), "{run:?}");
}

/// What a terminal must never receive from foreign names and contents (contract, section 2).
fn is_safe(text: &str) -> bool {
    let unsafe_char = |c: char| {
        matches!(c, '\0'..='\x09' | '\x0b'..='\x1f' | '\x7f'..='\u{9f}')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    !text.contains(unsafe_char)
}

/// Hostile in every text that is shown: names, contents, JSON and YAML values, keys of a baseline.
fn hostile_everywhere() -> Project {
    let evil = "a\u{1b}[2J\u{9b}31m\u{7}\u{202e}\u{2066}\u{7f}z";
    let project = with_hostile_names();
    let json = |value: Value| value.to_string();
    project.write(
        "kitty-specs/006-evil/meta.json",
        json(serde_json::json!({"mission": evil, "target_branch": evil})),
    );
    project
        .write("kitty-specs/007-evil/meta.json", json(serde_json::json!({"target_branch": evil})));
    project.write(
        "kitty-specs/007-evil/tasks/WP01.md",
        format!("---\nwork_package_id: {evil}\n---\n{evil}\r\n\ttext\n"),
    );
    project.write("kitty-specs/007-evil/broken.json", b"{\xff\x1b[31m");
    project.write(&format!("kitty-specs/{evil}/spec.md"), "x");
    project.write(
        ".kittify/runtime/feature-runs.json",
        json(
            serde_json::json!({"007-evil": {"run_id": evil, "run_dir": evil, "mission_key": evil}}),
        ),
    );
    project.write(&format!("{evil}/state.json"), json(serde_json::json!({"issued_step_id": evil})));
    project.write(
        ".kittify/missions/bad/expected-artifacts.yaml",
        "mission_type: bad\n\"e\\e[31mvil\\u202e\": 1\n",
    );
    project.write(
        ".kittify/missions/warned/expected-artifacts.yaml",
        "mission_type: \"w\\e[31m\"\nrequired_by_step: {\"s\\e[31m\\u009b\": []}\n",
    );
    project.write(".kittify/dossiers/006-evil/parity-baseline.json", "{\"a\\u001b\": \u{1b}");
    let key = serde_json::json!({
        "project_uuid": evil, "node_id": evil, "feature_slug": evil, "target_branch": evil,
        "mission_key": evil, "manifest_version": evil,
    });
    let baseline = serde_json::json!({
        "baseline_key": key, "baseline_key_hash": "0".repeat(64),
        "parity_hash_sha256": "0".repeat(64), "captured_at": evil, "captured_by": evil,
    });
    // The program itself says which hash it wants: so the file is sound, and only foreign.
    project.write(".kittify/dossiers/007-evil/parity-baseline.json", json(baseline.clone()));
    let said = project.run(&["baseline", "show", "007-evil"]).stdout;
    let wanted = said.split("which is ").nth(1).expect("the hash it wants").trim();
    let mut sound = baseline;
    sound["baseline_key_hash"] = wanted.into();
    project.write(".kittify/dossiers/007-evil/parity-baseline.json", json(sound));
    let shown = project.run(&["baseline", "show", "007-evil"]).stdout;
    assert!(shown.contains("key mismatch"), "{shown}");
    project
}

#[test]
fn hostile_texts_are_escaped_in_text_and_json_output() {
    let project = hostile_everywhere();
    let slugs = ["005-hostile-names", "006-evil", "007-evil"];
    let mut commands: Vec<Vec<String>> = vec![vec!["scan".into()], vec!["check".into()]];
    for slug in slugs {
        for command in [&["artifacts"][..], &["drift"], &["baseline", "show"]] {
            commands
                .push([command, &[slug]].concat().iter().map(|&word| word.to_owned()).collect());
        }
        let list = project.run(&["artifacts", slug, "--json"]).json();
        for artifact in list["artifacts"].as_array().unwrap() {
            let key = artifact["artifact_key"].as_str().unwrap();
            commands.push(["show", slug, key].map(str::to_owned).to_vec());
        }
    }
    commands.push(["show", "007-evil", "n\x1b[31mo\u{202e}"].map(str::to_owned).to_vec());
    commands.push(["artifacts", "n\x1b[31mo\u{202e}"].map(str::to_owned).to_vec());
    commands.push(["scan", "n\x1b[31mo\u{202e}"].map(str::to_owned).to_vec());
    assert!(commands.len() > 30);
    for command in commands {
        let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        let people = project.run(&arguments);
        assert!(is_safe(&people.stdout), "{arguments:?}: {:?}", people.stdout);
        assert!(is_safe(&people.stderr), "{arguments:?}: {:?}", people.stderr);
        arguments.push("--json");
        let programs = project.run(&arguments);
        assert!(is_safe(&programs.stdout), "{arguments:?}: {:?}", programs.stdout);
        assert!(is_safe(&programs.stderr), "{arguments:?}: {:?}", programs.stderr);
        assert_eq!(programs.lines().len(), programs.stdout.lines().count());
        assert_eq!(programs.code, people.code, "{arguments:?}");
    }
    let scan = project.run(&["scan"]);
    assert!(scan.stderr.contains("\\u{1b}"), "what was escaped is still told: {}", scan.stderr);
}

/// Without `ESC [ digits m`, which only colours.
fn without_colour(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        match rest.strip_prefix('m') {
            Some(rest) => plain.push_str(rest),
            None => plain.push_str(&format!("\x1b[{part}")),
        }
    }
    plain
}

#[test]
fn hostile_arguments_are_escaped_in_usage_errors() {
    let project = Project::complete();
    for evil in ["--x\x1b[2J", "--\u{202e}x", "-\x07", "\u{9b}2J"] {
        for arguments in
            [&["check", evil][..], &["check", ".", evil], &[evil], &["check", "--color", evil]]
        {
            // A terminal would get what anybody gets who forces colour.
            for project in [Project::empty(), Project::empty().env("CLICOLOR_FORCE", "1")] {
                let run = project.run(arguments);
                let told = without_colour(&run.stderr);
                assert!(run.code == 2 || run.code == 1, "{arguments:?}: {run:?}");
                assert!(is_safe(&told) && !told.is_empty(), "{arguments:?}: {told:?}");
            }
        }
    }
    let plain = project.env("CLICOLOR_FORCE", "1").run(&["check", "--nonsense"]);
    assert!(plain.stderr.contains("\x1b["), "colour is kept where it is clap's own");
}

#[test]
fn artifact_filters_select_matching_artifacts() {
    let project = Project::copy_of(&bakery_dir());
    let keys = |filters: &[&str]| -> Vec<String> {
        let arguments = [&["artifacts", "001-order-page", "--json"], filters].concat();
        let list = project.run(&arguments).assert_success().json();
        assert_eq!(list["total_count"], 14);
        let artifacts = list["artifacts"].as_array().unwrap();
        assert_eq!(list["filtered_count"], artifacts.len());
        artifacts.iter().map(|a| a["artifact_key"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys(&[]).len(), 14);
    assert_eq!(keys(&["--wp", "WP02"]), ["output.tasks.per_wp.WP02-reservations"]);
    assert_eq!(keys(&["--class", "input"]), ["input.spec.main"]);
    assert_eq!(keys(&["--step", "plan", "--required"]), ["output.plan.main"]);
    assert_eq!(keys(&["--missing"]), Vec::<String>::new());
    assert_eq!(keys(&["--required"]).len(), 6);
    let missing = project
        .run(&["artifacts", "002-loyalty-card", "--missing", "--json"])
        .assert_success()
        .json();
    assert_eq!(missing["artifacts"][0]["artifact_key"], "output.plan.main");
    assert_eq!(missing["artifacts"][0]["error_reason"], "not_found");
}

#[test]
fn content_is_shown_only_below_the_size_limit() {
    let limit = 5_242_880;
    let project = Project::complete()
        .artifact("small.md", "x".repeat(limit - 1))
        .artifact("large.md", "x".repeat(limit))
        .artifact("bytes.bin", b"\xff\xfe");
    let show = |key: &str| project.run(&["show", FEATURE, key, "--json"]).assert_success().json();
    let small = show("other.small.md");
    assert_eq!(small["content"].as_str().map(str::len), Some(limit - 1));
    assert_eq!(small["content_truncated"], false);
    let large = show("other.large.md");
    assert_eq!((&large["content"], &large["content_truncated"]), (&Value::Null, &true.into()));
    assert_eq!(large["truncation_notice"], "File >5MB, content not included");
    let bytes = show("other.bytes.bin");
    assert_eq!(
        (&bytes["content"], &bytes["truncation_notice"]),
        (&Value::Null, &"not text".into())
    );
    let absent = Project::new().artifact("plan.md", "x");
    let absent =
        absent.run(&["show", FEATURE, "input.spec.main", "--json"]).assert_success().json();
    assert_eq!((&absent["is_present"], &absent["content"]), (&false.into(), &Value::Null));
}

#[test]
fn progress_is_shown_only_on_a_terminal() {
    let project = Project::complete();
    // Sparse: nothing on the disk, and enough to hash for it to be worth showing.
    let large = fs::File::create(project.feature_dir().join("large.bin")).unwrap();
    large.set_len(1 << 30).unwrap();
    let piped = project.run(&["scan"]).assert_success();
    assert!(!piped.stderr.contains("files, "), "{}", piped.stderr);

    if Command::new("script").arg("--version").output().is_err() {
        return not_run("progress on a terminal: `script` is not there");
    }
    let mut terminal = Command::new("script");
    let home = project.home();
    terminal
        .args(["-qec", concat!(env!("CARGO_BIN_EXE_dossierd"), " scan"), "/dev/null"])
        .current_dir(&project.root)
        .env("HOME", &home)
        .env_remove("XDG_CONFIG_HOME")
        .env("TERM", "xterm");
    let shown = run(terminal, COMMAND_TIMEOUT);
    assert!(shown.stdout.contains("files, "), "{shown:?}");
}
