//! Output on terminals: colours, progress, and the escaping of hostile names and contents.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::cli::examples::with_hostile_names;
use crate::support::{COMMAND_TIMEOUT, Project, bakery_dir, not_run, run};

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

/// Returns true if a text has no characters that must not reach a terminal, see
/// `docs/specification.md#path-text`.
fn is_safe(text: &str) -> bool {
    let unsafe_char = |c: char| {
        matches!(c, '\0'..='\x09' | '\x0b'..='\x1f' | '\x7f'..='\u{9f}')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    !text.contains(unsafe_char)
}

/// Creates a project with hostile texts everywhere: names, contents, JSON and YAML values, baseline
/// keys.
fn hostile_project() -> Project {
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
    // The error message has the expected hash of the key; with it the baseline is valid.
    project.write(".kittify/dossiers/007-evil/parity-baseline.json", json(baseline.clone()));
    let output = project.run(&["baseline", "show", "007-evil"]).stdout;
    let hash = output.split("which is ").nth(1).expect("the expected hash").trim();
    let mut valid = baseline;
    valid["baseline_key_hash"] = hash.into();
    project.write(".kittify/dossiers/007-evil/parity-baseline.json", json(valid));
    let shown = project.run(&["baseline", "show", "007-evil"]).stdout;
    assert!(shown.contains("key mismatch"), "{shown}");
    project
}

#[test]
fn hostile_texts_are_escaped_in_text_and_json_output() {
    let project = hostile_project();
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
        let text = project.run(&arguments);
        assert!(is_safe(&text.stdout), "{arguments:?}: {:?}", text.stdout);
        assert!(is_safe(&text.stderr), "{arguments:?}: {:?}", text.stderr);
        arguments.push("--json");
        let json = project.run(&arguments);
        assert!(is_safe(&json.stdout), "{arguments:?}: {:?}", json.stdout);
        assert!(is_safe(&json.stderr), "{arguments:?}: {:?}", json.stderr);
        assert_eq!(json.lines().len(), json.stdout.lines().count());
        assert_eq!(json.code, text.code, "{arguments:?}");
    }
    let scan = project.run(&["scan"]);
    assert!(scan.stderr.contains("\\u{1b}"), "escaped characters are shown: {}", scan.stderr);
}

/// Returns the text without `ESC [ digits m`, which sets colours.
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
            // `CLICOLOR_FORCE` makes the output equal to that on a terminal.
            for project in [Project::empty(), Project::empty().env("CLICOLOR_FORCE", "1")] {
                let run = project.run(arguments);
                let plain = without_colour(&run.stderr);
                assert!(run.code == 2 || run.code == 1, "{arguments:?}: {run:?}");
                assert!(is_safe(&plain) && !plain.is_empty(), "{arguments:?}: {plain:?}");
            }
        }
    }
    let coloured = project.env("CLICOLOR_FORCE", "1").run(&["check", "--nonsense"]);
    assert!(coloured.stderr.contains("\x1b["), "colours of clap remain");
}

#[test]
fn progress_is_shown_only_on_a_terminal() {
    let project = Project::complete();
    // A sparse file takes no space, and long enough to hash for progress to be shown.
    let large = fs::File::create(project.feature_dir().join("large.bin")).unwrap();
    large.set_len(1 << 30).unwrap();
    let piped = project.run(&["scan"]).assert_success();
    assert!(!piped.stderr.contains("files, "), "{}", piped.stderr);

    if Command::new("script").arg("--version").output().is_err() {
        return not_run("progress on a terminal (no `script`)");
    }
    let mut on_terminal = Command::new("script");
    let home = project.home();
    on_terminal
        .args(["-qec", concat!(env!("CARGO_BIN_EXE_dossierd"), " scan"), "/dev/null"])
        .current_dir(&project.root)
        .env("HOME", &home)
        .env_remove("XDG_CONFIG_HOME")
        .env("TERM", "xterm");
    let shown = run(on_terminal, COMMAND_TIMEOUT);
    assert!(shown.stdout.contains("files, "), "{shown:?}");
}
