//! `--exec`: the command gets each event; one that hangs, fails, is slow or prints much harms nothing.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::client::RunningCommand;
use crate::support::wait::wait_for;
use crate::support::{COMMAND_TIMEOUT, FEATURE, Project, run, with_program};

fn watch(project: &Project, command: &str) -> RunningCommand {
    let mut live = RunningCommand::start(project.client_command(&["watch", "--exec", command]));
    live.lines_until("features without problems");
    live
}

/// Returns the lines of a file that a command writes, if there are so many.
fn lines(file: &Path, count: usize) -> Option<Vec<String>> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    (text.ends_with('\n') && lines.len() >= count).then_some(lines)
}

fn output_file(project: &Project, name: &str) -> PathBuf {
    project.home().join(name)
}

#[test]
fn command_gets_the_event_on_standard_input_and_in_its_environment() {
    let project = Project::complete();
    let _daemon = project.start_daemon();
    let (events, variables) = (output_file(&project, "events"), output_file(&project, "variables"));
    let command = format!(
        "cat >> {0}; printf '%s|%s|%s|%s|%s|%s|%s|%s|%s\\n' $DOSSIERD_EVENT_TYPE $DOSSIERD_EVENT_SEQ \
         \"$DOSSIERD_EVENT_CURSOR\" \"$DOSSIERD_EVENT_ROOT\" $DOSSIERD_EVENT_FEATURE \"$DOSSIERD_EVENT_KEY\" \
         \"$DOSSIERD_EVENT_PATH\" \"$DOSSIERD_EVENT_REASON\" \"$DOSSIERD_EVENT_SEVERITY\" >> {1}",
        events.display(),
        variables.display()
    );
    let live = watch(&project, &command);
    fs::remove_file(project.feature_dir().join("plan.md")).unwrap();
    let found = wait_for("the commands", || lines(&variables, 2));
    let envelopes: Vec<Value> = wait_for("the events", || lines(&events, 2))
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let instance = project.run_client(&["status", "--json"]).json()["instance"].clone();
    let (instance, root) = (instance.as_str().unwrap(), project.root.to_str().unwrap());
    let seq = envelopes[0]["seq"].as_u64().unwrap();
    assert_eq!(
        found[0],
        format!(
            "mission_dossier_artifact_missing|{seq}|{instance}:{seq}|{root}|{FEATURE}|output.plan.main|plan.md|\
             deleted_after_scan|"
        )
    );
    let seq = seq + 1;
    assert_eq!(
        found[1],
        format!("mission_dossier_snapshot_computed|{seq}|{instance}:{seq}|{root}|{FEATURE}||||")
    );
    assert_eq!(envelopes[1]["seq"], seq);
    live.interrupt();
}

#[test]
fn journal_is_passed_completely_and_in_order_before_the_end() {
    let project = Project::complete();
    for number in 0..20 {
        project.write(&format!("kitty-specs/{FEATURE}/notes/{number}.md"), "x");
    }
    let _daemon = project.start_daemon();
    let file = output_file(&project, "seqs");
    let command = format!("echo $DOSSIERD_EVENT_SEQ >> {}", file.display());
    let run = project.run_client(&["events", "--exec", &command]).assert_success();
    let expected: Vec<String> = (1..=run.stdout.lines().count()).map(|n| n.to_string()).collect();
    assert!(expected.len() > 20, "{run:?}");
    assert_eq!(lines(&file, 0), Some(expected));
    // Only the selected events.
    let file = output_file(&project, "types");
    let command = format!("echo $DOSSIERD_EVENT_TYPE >> {}", file.display());
    let arguments = ["events", "--type", "snapshot_computed", "--json", "--exec", &command];
    project.run_client(&arguments).assert_success();
    assert_eq!(lines(&file, 1).unwrap(), ["mission_dossier_snapshot_computed"]);
}

#[test]
fn a_command_that_hangs_delays_only_its_feature_and_ends_with_watch() {
    let project = Project::complete().file("kitty-specs/002-y/spec.md", "x");
    let _daemon = project.start_daemon();
    let (pids, done) = (output_file(&project, "pids"), output_file(&project, "done"));
    let command = format!(
        "case $DOSSIERD_EVENT_FEATURE in {FEATURE}) echo $$ >> {}; while :; do sleep 0.1; done ;; esac; echo \
         $DOSSIERD_EVENT_FEATURE >> {}",
        pids.display(),
        done.display()
    );
    let live = watch(&project, &command);
    project.write(&format!("kitty-specs/{FEATURE}/spec.md"), "# Changed\n");
    let pid = wait_for("the command that hangs", || lines(&pids, 1)).remove(0);
    project.write("kitty-specs/002-y/spec.md", "changed");
    wait_for("the commands of the other feature", || lines(&done, 2));
    live.interrupt();
    wait_for("the end of the command", || (!Path::new("/proc").join(&pid).exists()).then_some(()));
    assert_eq!(lines(&pids, 1).unwrap(), [pid], "one at a time for a feature");
    assert_eq!(lines(&done, 2).unwrap(), ["002-y", "002-y"]);
}

#[test]
fn a_command_that_fails_or_prints_much_is_reported_and_watch_continues() {
    let project = Project::complete();
    let _daemon = project.start_daemon();
    let mut live = watch(&project, "exit 3");
    project.write(&format!("kitty-specs/{FEATURE}/spec.md"), "# Changed\n");
    live.lines_until("modified");
    live.wait_for_stderr("of 001-x failed: exit status: 3");
    live.interrupt();

    let file = output_file(&project, "count");
    let command = format!("yes | head -c 3000000; echo $DOSSIERD_EVENT_SEQ >> {}", file.display());
    let mut json =
        RunningCommand::start(project.client_command(&["watch", "--json", "--exec", &command]));
    assert_eq!(json.next_json()["event_type"], "state");
    project.write(&format!("kitty-specs/{FEATURE}/spec.md"), "# Again\n");
    // Its output is not mixed with the data.
    assert_eq!(json.next_json()["event_type"], "mission_dossier_artifact_indexed");
    assert_eq!(json.next_json()["event_type"], "mission_dossier_snapshot_computed");
    wait_for("both commands", || lines(&file, 2));
    json.interrupt();
}

#[test]
fn events_beyond_a_thousand_that_wait_are_skipped_and_counted() {
    let project = Project::complete();
    let _daemon = project.start_daemon();
    let (file, gate) = (output_file(&project, "seqs"), output_file(&project, "gate"));
    let command = format!(
        "while ! test -e {}; do sleep 0.05; done; echo $DOSSIERD_EVENT_SEQ >> {}",
        gate.display(),
        file.display()
    );
    let mut live = watch(&project, &command);
    for number in 0..1_100 {
        project.write(&format!("kitty-specs/{FEATURE}/notes/{number}.md"), "x");
    }
    live.lines_until("notes/1099.md");
    live.lines_until("complete");
    live.wait_for_stderr("1000 events wait for the command of `--exec`; the oldest are skipped");
    let events = project.run_client(&["events", "--json"]).assert_success();
    let last = events.lines().pop().unwrap()["seq"].to_string();
    fs::write(&gate, "").unwrap();
    wait_for("the last event", || lines(&file, 1).filter(|lines| lines.last() == Some(&last)));
    live.wait_for_stderr("events were skipped, and their commands not run");
    let ran = lines(&file, 1).unwrap().len();
    assert!((1_000..=1_002).contains(&ran), "{ran}");
    live.interrupt();
}

#[test]
fn command_has_the_limit_of_descriptors_that_the_user_has() {
    let project = Project::complete();
    let _daemon = project.start_daemon();
    let file = output_file(&project, "limits");
    let mut command = with_program(Path::new("sh"), &project.client_command(&[]));
    let text = format!(
        "ulimit -S -n 500; exec {} events --exec 'ulimit -S -n >> {}'",
        env!("CARGO_BIN_EXE_dossierd"),
        file.display()
    );
    command.args(["-c", &text]);
    let run = run(command, COMMAND_TIMEOUT).assert_success();
    let expected = vec!["500"; run.stdout.lines().count()];
    assert!(!expected.is_empty());
    assert_eq!(lines(&file, 0).unwrap(), expected);
}
