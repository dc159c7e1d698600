//! `dossierd status`: with and without a daemon, on a terminal and into a pipe.

use std::fs;

use serde_json::Value;

use crate::support::client::{RunningCommand, redact_times};
use crate::support::wait::wait_for;
use crate::support::{COMMAND_TIMEOUT, FEATURE, Project, bakery_dir, run, write_file};

/// Creates a copy of the example with one more feature, whose name is long.
fn example() -> Project {
    let project = Project::copy_of(&bakery_dir());
    project
        .write("kitty-specs/005-a-slug-that-is-far-too-long-for-any-narrow-terminal/spec.md", "x");
    project
}

/// Replaces everything in the output that differs between runs and machines.
fn redact(project: &Project, text: &str) -> String {
    let text = redact_times(&project.redact_paths(text));
    // The number of watched directories depends on whether the daemon has written snapshot files.
    let line = |line: &str| match line.split_once("live, ") {
        Some((before, _)) => format!("{before}live, SOME directories\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn status_output_of_all_features() {
    let project = example();
    let _daemon = project.start_daemon();
    let output = project.run_client(&["status"]).assert_success();
    assert_eq!(output.stderr, "");
    insta::assert_snapshot!(redact(&project, &output.stdout));
    // Outside the project, all watched projects are shown.
    let mut elsewhere = project.client_command(&["status"]);
    elsewhere.current_dir("/");
    let elsewhere = run(elsewhere, COMMAND_TIMEOUT).assert_success();
    assert_eq!(redact(&project, &elsewhere.stdout), redact(&project, &output.stdout));
}

#[test]
fn status_output_of_one_feature() {
    let project = example();
    let _daemon = project.start_daemon();
    let run = project.run_client(&["status", "003-delivery-slots"]).assert_success();
    insta::assert_snapshot!(redact(&project, &run.stdout));
    let by_path =
        project.run_client(&["status", "kitty-specs/003-delivery-slots"]).assert_success();
    assert_eq!(redact_times(&by_path.stdout), redact_times(&run.stdout));
    project
        .run_client(&["status", "no-such-feature"])
        .assert_failure(1, "there is no feature `no-such-feature`");
}

#[test]
fn json_equals_the_response_of_the_api() {
    let project = example();
    let daemon = project.start_daemon();
    let without_volatile = |mut value: Value| {
        for name in ["uptime_s", "inotify"] {
            value.as_object_mut().unwrap().remove(name).unwrap();
        }
        // These change without a change of files.
        for project in value["projects"].as_array_mut().unwrap() {
            project.as_object_mut().unwrap().remove("watch").unwrap();
            for feature in project["features"].as_array_mut().unwrap() {
                feature.as_object_mut().unwrap().remove("racy").unwrap();
            }
        }
        value
    };
    let printed = project.run_client(&["status", "--json"]).assert_success().json();
    assert_eq!(without_volatile(printed), without_volatile(daemon.status()));
    let printed = project.run_client(&["status", "003-delivery-slots", "--json"]).assert_success();
    let response = daemon.get("/api/dossier/overview?feature=003-delivery-slots&sync=true");
    assert_eq!(without_racy(&printed.stdout), without_racy(&response.body));
}

/// Returns a response without the number of racy artifacts, which changes without a change of
/// files.
fn without_racy(text: &str) -> String {
    let (before, after) = text.split_once("\"racy\":").unwrap();
    before.to_owned() + after.trim_start_matches(|c: char| c.is_ascii_digit())
}

#[test]
fn unwatched_project_is_scanned_once() {
    let project = Project::complete();
    let note = "not watched; run `dossierd project add .` to watch it";
    let without_daemon = project.run_client(&["status"]).assert_success();
    assert!(without_daemon.stderr.contains(note), "{without_daemon:?}");
    insta::assert_snapshot!(project.redact(&without_daemon.stdout), @r"
    project  ROOT  not watched
      FEATURE  COMPLETENESS  REQUIRED  DRIFT        PROGRESS  STEP  ARTIFACTS
      001-x    complete      4/4       no baseline  0/1       -     5
    ");
    let json = |arguments: &[&str]| project.run_client(arguments).assert_success().json();
    let (all, one) = (json(&["status", "--json"]), json(&["status", FEATURE, "--json"]));
    assert_eq!(all["pid"], Value::Null);
    assert_eq!(all["projects"][0]["watch"]["state"], "unwatched");
    assert_eq!(all["projects"][0]["features"][0]["feature_slug"], FEATURE);
    assert_eq!((&all["config"]["state"], &all["delivery"]), (&"ok".into(), &Value::Null));
    // The members are those that it has with a daemon.
    let names = |value: &Value| -> Vec<String> {
        let mut names: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        names.sort();
        names
    };
    let daemon = project.start_daemon();
    assert_eq!(names(&all), names(&json(&["status", "--json"])));
    assert_eq!(names(&all["projects"][0]), names(&daemon.status()["projects"][0]));
    assert_eq!(names(&one), names(&json(&["status", FEATURE, "--json"])));
    daemon.stop();

    // The same while a daemon runs for another project.
    let other = Project::complete();
    let _daemon = project.start_daemon();
    let mut in_other = project.client_command(&["status"]);
    in_other.current_dir(&other.root);
    let in_other = run(in_other, COMMAND_TIMEOUT).assert_success();
    assert!(in_other.stderr.contains(note), "{in_other:?}");
    assert_eq!(other.redact_paths(&in_other.stdout), project.redact_paths(&without_daemon.stdout));
    let mut feature = project.client_command(&["status", FEATURE]);
    feature.current_dir(&other.root);
    let feature = run(feature, COMMAND_TIMEOUT).assert_success();
    assert!(feature.stderr.contains(note) && feature.stdout.starts_with("001-x\n"), "{feature:?}");
}

#[test]
fn status_without_project_and_daemon_exits_with_3() {
    let project = Project::empty();
    fs::create_dir(project.root.join("empty")).unwrap();
    let mut nowhere = project.client_command(&["status"]);
    nowhere.current_dir(project.root.join("empty"));
    let nowhere = run(nowhere, COMMAND_TIMEOUT);
    nowhere.assert_failure(3, "no daemon listens at");
    assert!(nowhere.stderr.contains("dossierd run"), "{nowhere:?}");
}

#[test]
fn table_fits_the_width_of_the_terminal() {
    let project = example();
    let _daemon = project.start_daemon();
    for columns in [100, 72, 50] {
        let Some(run) = project.run_on_terminal(columns, &["status"]) else { return };
        let plain = anstream::adapter::strip_str(&run.stdout).to_string();
        let table = plain.lines().filter(|line| line.starts_with("  0"));
        let widest = table.map(|line| line.trim_end().chars().count()).max().unwrap();
        assert!(widest <= usize::from(columns), "{columns}:\n{plain}");
        assert!(run.stdout.contains("\x1b["), "no colours:\n{}", run.stdout);
        assert!(
            plain.contains("incomplete") && (columns < 72 || plain.contains("drifted")),
            "truncated words:\n{plain}"
        );
    }
    let narrow = project.run_on_terminal(72, &["status"]).unwrap();
    let plain = anstream::adapter::strip_str(&narrow.stdout).to_string();
    let table: Vec<&str> = plain.lines().map(str::trim_end).skip(1).collect();
    insta::assert_snapshot!(table.join("\n"));
}

#[test]
fn watch_prints_again_after_a_change() {
    let project = Project::complete();
    let _daemon = project.start_daemon();
    let mut piped = RunningCommand::start(project.client_command(&["status", "--watch"]));
    assert!(piped.lines_until("001-x").pop().unwrap().contains("complete"), "the first output");
    fs::remove_file(project.feature_dir().join("plan.md")).unwrap();
    piped.lines_until("incomplete    3/4");
    piped.interrupt();

    let mut json =
        RunningCommand::start(project.client_command(&["status", FEATURE, "--watch", "--json"]));
    assert_eq!(json.next_json()["completeness_status"], "incomplete");
    project.write(&format!("kitty-specs/{FEATURE}/plan.md"), "# Plan\n");
    assert_eq!(json.next_json()["completeness_status"], "complete");
    json.interrupt();
}

#[test]
fn watch_on_a_terminal_uses_and_leaves_the_alternate_screen() {
    let project = Project::complete();
    let _daemon = project.start_daemon();
    let Some(command) = project.terminal_command(80, &["status", "--watch"]) else { return };
    let mut screen = RunningCommand::start(command);
    // A line is read when the next one begins.
    let first = screen.lines_until("FEATURE").concat();
    assert!(first.contains("\x1b[?1049h"), "the alternate screen: {first:?}");
    project.write(&format!("kitty-specs/{FEATURE}/more.md"), "more\n");
    screen.lines_until("FEATURE");
    screen.type_text("\x03");
    assert_eq!(screen.wait_for_exit(), Some(0));
    let rest = screen.remaining_lines().concat();
    assert!(rest.ends_with(LEAVE_SCREEN), "{rest:?}");
}

/// Control sequences that enable line wrapping, show the cursor and leave the alternate screen.
const LEAVE_SCREEN: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

#[test]
fn watch_on_a_terminal_shows_errors_and_leaves_the_screen_before_failing() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let Some(command) = project.terminal_command(80, &["status", "--watch"]) else { return };
    let mut screen = RunningCommand::start(command);
    screen.lines_until("FEATURE");
    write_file(&project.config_file(), b"nonsense: 1\n");
    screen.lines_until("unknown field `nonsense`");
    write_file(&project.config_file(), b"");
    let root = project.root.to_str().unwrap();
    project.run_client(&["project", "remove", root]).assert_success();
    assert_eq!(screen.wait_for_exit(), Some(1));
    let rest = screen.remaining_lines().concat();
    let (_, after) = rest.split_once(LEAVE_SCREEN).expect("the alternate screen is left");
    assert!(after.contains("the project is no longer watched"), "{rest:?}");
    daemon.stop();
}

#[test]
fn invalid_project_configuration_exits_with_78_with_and_without_daemon() {
    let project = Project::complete().file(".kittify/config.yaml", ": [");
    let commands = [vec!["status"], vec!["status", FEATURE], vec!["status", FEATURE, "--json"]];
    let codes =
        || commands.iter().map(|arguments| project.run_client(arguments).code).collect::<Vec<_>>();
    assert_eq!(codes(), [78, 78, 78]);
    let daemon = project.start_daemon();
    assert_eq!(codes(), [78, 78, 78]);
    let output = project.run_client(&["status", FEATURE, "--json"]);
    assert_eq!(output.json()["feature_slug"], FEATURE);
    assert!(output.stderr.contains(".kittify/config.yaml:1:"), "{output:?}");
    daemon.stop();
}

#[test]
fn feature_is_found_while_the_user_configuration_is_invalid() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    write_file(&project.config_file(), b"nonsense: 1\n");
    // At once: the daemon may not have read the file again.
    for arguments in [
        &["status", FEATURE][..],
        &["status", "kitty-specs/001-x"],
        &["status", "--json"],
        &["status"],
        &["artifacts", FEATURE],
        &["show", FEATURE, "input.spec.main"],
        &["drift", FEATURE, "--json"],
        &["report", FEATURE, "-o", "-"],
        &["baseline", "show", FEATURE],
    ] {
        let run = project.run_client(arguments);
        run.assert_failure(78, "config.yaml:1:1: unknown field `nonsense`");
        assert!(!run.stdout.is_empty(), "data are printed first: {run:?}");
    }
    write_file(&project.config_file(), b"");
    wait_for("the valid configuration", || {
        (project.run_client(&["status"]).code == 0).then_some(())
    });
    daemon.stop();
}

/// Returns exit code and line of `status --short`.
fn short(project: &Project, arguments: &[&str]) -> (i32, String) {
    let run = project.run_client(&[&["status", "--short"], arguments].concat());
    (run.code, run.stdout)
}

#[test]
fn short_status_is_a_line_and_an_exit_code() {
    let project = Project::complete();
    let none = project.run_client(&["status", "--short"]);
    none.assert_failure(3, "no daemon listens at");
    assert_eq!(none.stdout, "");
    let daemon = project.start_daemon();
    let expect = |arguments: &[&str], code: i32, line: &str| {
        assert_eq!(short(&project, arguments), (code, format!("{line}\n")), "{arguments:?}");
    };
    expect(&[], 0, "project: 1 in order");
    project.run_client(&["baseline", "accept", FEATURE]).assert_success();
    project.write(&format!("kitty-specs/{FEATURE}/more.md"), "more\n");
    expect(&[], 0, "project: 1 in order");
    project.write(&format!("kitty-specs/{FEATURE}/plan.md"), "# Changed\n");
    expect(&[], 11, "project: 1 drifted");
    project.write("kitty-specs/002-y/spec.md", "x");
    expect(&[], 12, "project: 1 incomplete, 1 drifted of 2");
    expect(&["002-y"], 10, "002-y: 1 incomplete");
    expect(&[FEATURE], 11, "001-x: 1 drifted");
    let json = project.run_client(&["status", "--short", "--json"]).json();
    assert_eq!((&json["exit_code"], &json["incomplete"]), (&12.into(), &1.into()));
    std::os::unix::fs::symlink("x", project.root.join("kitty-specs/002-y/link.md")).unwrap();
    expect(&[], 13, "project: 1 incomplete, 1 drifted, 1 not seen of 2");
    // A mission without a manifest requires nothing.
    project.write("kitty-specs/003-z/meta.json", "{\"mission\": \"unheard-of\"}");
    expect(&["003-z"], 0, "003-z: 1 in order");
    project.write(".kittify/missions/x/expected-artifacts.yaml", "x");
    wait_for("the invalid manifest", || (short(&project, &[]).0 == 78).then_some(()));
    // A project that the daemon does not watch is not seen.
    let other = Project::complete();
    let mut in_other = project.client_command(&["status", "--short"]);
    in_other.current_dir(&other.root);
    let in_other = run(in_other, COMMAND_TIMEOUT);
    assert_eq!((in_other.code, in_other.stdout.as_str()), (13, "project: 1 not seen\n"));
    daemon.stop();
}

#[test]
fn problems_are_listed_with_their_reasons_until_they_end() {
    let project = Project::complete()
        .file("kitty-specs/002-y/spec.md", "x")
        .file("kitty-specs/003-z/meta.json", "{\"mission\": \"software-dv\"}");
    let lines = |arguments: &[&str]| -> Vec<String> {
        let run =
            project.run_client(&[&["status", "--problems"], arguments].concat()).assert_success();
        let lines = project.redact(&run.stdout);
        lines.lines().filter(|line| !line.contains("no baseline: ")).map(str::to_owned).collect()
    };
    let unknown = "  003-z: completeness unknown: no manifest for mission `software-dv`; did you mean \
                   `software-dev`?";
    let incomplete = "  002-y: incomplete, 3 of 4 required missing";
    let scanned = lines(&[]);
    assert_eq!(scanned[1..], [incomplete, unknown]);
    let daemon = project.start_daemon();
    assert_eq!(lines(&[]), scanned);
    assert_eq!(lines(&[FEATURE]), ["001-x: no problems"]);
    // A deleted file of a feature that is archived or at an earlier step is a problem, too.
    fs::remove_file(project.feature_dir().join("plan.md")).unwrap();
    let deleted = lines(&[FEATURE]);
    assert_eq!(deleted, ["001-x: incomplete, 1 of 4 required missing; deleted output.plan.main"]);
    let slugs = |arguments: &[&str]| -> Vec<Value> {
        let json = project.run_client(arguments).assert_success().json();
        let features = json["projects"][0]["features"].as_array().unwrap().clone();
        features.into_iter().map(|feature| feature["feature_slug"].clone()).collect()
    };
    assert_eq!(slugs(&["status", "--problems", "--json"]), [FEATURE, "002-y", "003-z"]);
    project.write(&format!("kitty-specs/{FEATURE}/plan.md"), "# Plan\n");
    assert_eq!(slugs(&["status", "--problems", "--json"]), ["002-y", "003-z"]);
    daemon.stop();
    assert_eq!(slugs(&["status", "--problems", "--json"]), ["002-y", "003-z"]);
}

#[test]
fn features_are_sorted_by_trouble_name_or_change() {
    let project = Project::complete()
        .file("kitty-specs/002-y/spec.md", "x")
        .file("kitty-specs/003-z/spec.md", "x");
    project.write("kitty-specs/003-z/plan.md", "x");
    let daemon = project.start_daemon();
    for slug in ["001-x", "002-y", "003-z"] {
        project.run_client(&["baseline", "accept", slug]).assert_success();
    }
    fs::remove_file(project.root.join("kitty-specs/003-z/plan.md")).unwrap();
    write_file(&project.feature_dir().join("spec.md"), b"# Changed\n");
    daemon.get_json("/api/status?sync=true");
    let order = |arguments: &[&str]| -> Vec<String> {
        let output = project.run_client(&[&["status"], arguments].concat()).assert_success();
        let slugs = output.stdout.lines().filter_map(|line| line.split_whitespace().next());
        slugs.filter(|word| word.starts_with("00")).map(str::to_owned).collect()
    };
    // A required document that was accepted is missing; one never existed; one has changed.
    assert_eq!(order(&[]), ["003-z", "002-y", "001-x"]);
    assert_eq!(order(&["--sort", "trouble"]), order(&[]));
    assert_eq!(order(&["--sort", "name"]), ["001-x", "002-y", "003-z"]);
    assert_eq!(order(&["--sort", "changed"])[2], "002-y");
    daemon.stop();
}
