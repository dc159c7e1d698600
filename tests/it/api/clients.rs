//! Programs that other people write: the examples in `examples/clients`, a client that is generated from the OpenAPI
//! document, and a fuzzer that reads it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use crate::support::client::RunningCommand;
use crate::support::wait::WAIT_TIMEOUT;
use crate::support::{FEATURE, Project, bakery_dir, not_run, repository, run, with_program};

#[path = "../../../examples/clients/follow.rs"]
mod follow_example;

/// Number of requests that the fuzzer generates for each operation, in each of its modes.
const FUZZ_EXAMPLES: &str = "25";
/// Seed of the fuzzer; any other one works as well.
const FUZZ_SEED: &str = "1";

/// Returns the directory of the programs of `tests/clients/requirements.txt`; `None`, which is reported, without them.
fn client_tools() -> Option<PathBuf> {
    let dir = std::env::var_os("DOSSIERD_CLIENT_TOOLS").map(PathBuf::from);
    let dir = dir.unwrap_or_else(|| repository().join("target/ci/clients/bin"));
    if dir.join("schemathesis").exists() {
        return Some(dir);
    }
    let why = "a fuzzer and a generated client (no programs of `tests/clients/requirements.txt`)";
    assert!(std::env::var_os("CI").is_none(), "{why}; CI requires them");
    not_run(why);
    None
}

/// Returns a command in the environment of the project, whose program is not ours.
fn client_command(project: &Project, program: &Path) -> Command {
    let mut command = with_program(program, &project.client_command(&[]));
    command.env("DOSSIERD_SOCKET", project.socket()).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn example(name: &str) -> PathBuf {
    repository().join("examples/clients").join(name)
}

/// Writes the OpenAPI document of the daemon.
fn write_document(project: &Project, daemon: &crate::support::process::Daemon) -> PathBuf {
    let path = project.home().join("openapi.json");
    fs::write(&path, daemon.get("/api/openapi.json").body).unwrap();
    path
}

/// Runs an example that prints a line for each feature and each event: over a change, and a restart of the daemon.
#[track_caller]
fn assert_follows(program: &str) {
    if Command::new(program).arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "no {program}; CI requires it");
        not_run(&format!("an example of a client ({program})"));
        return;
    }
    let file = match program {
        "python3" => example("follow.py"),
        "node" => example("follow.mjs"),
        _ => unreachable!("{program}"),
    };
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mut command = client_command(&project, Path::new(program));
    // The end of the second change.
    command.arg(file).arg("4");
    let mut client = RunningCommand::start(command);
    assert_eq!(client.next_line(), "001-x: complete, no_baseline");
    project.write("kitty-specs/001-x/new.md", "new");
    let (indexed, computed) = (client.next_line(), client.next_line());
    let seq = seq_of(&indexed);
    assert_eq!(indexed, format!("{seq} mission_dossier_artifact_indexed 001-x"));
    assert_eq!(computed, format!("{} mission_dossier_snapshot_computed 001-x", seq + 1));
    daemon.stop();
    project.write("kitty-specs/001-x/meanwhile.md", "changed while no daemon ran");
    let daemon = project.start_daemon();
    let indexed = client.next_line();
    assert_eq!(indexed, format!("{} mission_dossier_artifact_indexed 001-x", seq + 2));
    assert_eq!(client.next_line(), format!("{} mission_dossier_snapshot_computed 001-x", seq + 3));
    assert_eq!(client.wait_for_exit(), Some(0));
    daemon.stop();
}

fn seq_of(line: &str) -> u64 {
    let number = line.split(' ').next().and_then(|word| word.parse().ok());
    number.unwrap_or_else(|| panic!("no number of an event: {line}"))
}

#[test]
fn python_example_follows_over_a_restart() {
    assert_follows("python3");
}

#[test]
fn node_example_follows_over_a_restart() {
    assert_follows("node");
}

#[test]
fn curl_example_follows_over_a_restart() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let mut client = RunningCommand::start(client_command(&project, &example("follow.sh")));
    let status = client.next_json();
    assert_eq!(status["projects"][0]["features"][0]["feature_slug"], FEATURE);
    project.write("kitty-specs/001-x/new.md", "new");
    let event = client.next_json();
    assert_eq!(event["payload"]["relative_path"], "new.md");
    let seq = event["seq"].as_u64().unwrap();
    assert_eq!(client.next_json()["seq"], seq + 1);
    daemon.stop();
    project.write("kitty-specs/001-x/meanwhile.md", "changed while no daemon ran");
    let daemon = project.start_daemon();
    let event = client.next_json();
    assert_eq!(
        (&event["seq"], &event["payload"]["relative_path"]),
        (&(seq + 2).into(), &"meanwhile.md".into())
    );
    drop(client);
    daemon.stop();
}

#[test]
fn examples_explain_what_is_wrong() {
    let project = Project::complete();
    for (program, file) in [("python3", "follow.py"), ("node", "follow.mjs"), ("sh", "follow.sh")] {
        let mut command = client_command(&project, Path::new(program));
        command.arg(example(file)).arg("1");
        if Command::new(program).args(["-c", "true"]).output().is_err() {
            continue;
        }
        let output = run(command, WAIT_TIMEOUT);
        assert_ne!(output.code, 0, "{program}: no daemon");
        assert!(!output.stderr.is_empty(), "{program}");
    }
}

#[test]
fn rust_example_follows_over_a_restart() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    let (sender, lines) = mpsc::channel();
    let socket = project.socket();
    let client = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut left = 5;
        let print = |line| {
            sender.send(line).unwrap();
            left -= 1;
            left > 0
        };
        runtime.block_on(follow_example::follow(&socket, print)).unwrap();
    });
    let next = || lines.recv_timeout(WAIT_TIMEOUT).unwrap();
    assert_eq!(next(), "001-x: complete");
    project.write("kitty-specs/001-x/new.md", "new");
    let indexed = next();
    let seq = seq_of(&indexed);
    assert_eq!(indexed, format!("{seq} mission_dossier_artifact_indexed 001-x"));
    assert_eq!(seq_of(&next()), seq + 1);
    daemon.stop();
    project.write("kitty-specs/001-x/meanwhile.md", "changed while no daemon ran");
    let daemon = project.start_daemon();
    assert_eq!(next(), format!("{} mission_dossier_artifact_indexed 001-x", seq + 2));
    assert_eq!(seq_of(&next()), seq + 3);
    client.join().unwrap();
    daemon.stop();
}

#[test]
fn client_generated_from_the_document_runs_status_artifacts_and_drift() {
    let Some(tools) = client_tools() else { return };
    let project = Project::copy_of(&bakery_dir());
    let daemon = project.start_daemon();
    let document = write_document(&project, &daemon);
    let packages = project.home().join("packages");
    fs::create_dir(&packages).unwrap();
    let mut generator = client_command(&project, &tools.join("openapi-python-client"));
    generator.args(["generate", "--meta", "none", "--path"]).arg(&document);
    generator.arg("--output-path").arg(packages.join("dossierd_client"));
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    generator.env("PATH", path);
    let generated = run(generator, Duration::from_mins(2));
    assert_eq!(generated.code, 0, "{generated:?}");
    let warnings = [generated.stdout, generated.stderr].concat();
    assert!(!warnings.contains("WARNING") && !warnings.contains("Unable"), "{warnings}");

    let mut client = client_command(&project, &tools.join("python"));
    client.arg(example("generated.py")).arg("003-delivery-slots").env("PYTHONPATH", &packages);
    let output = run(client, Duration::from_mins(1));
    assert_eq!(output.code, 0, "{output:?}");
    let expected = "\
        001-order-page: complete, no_baseline\n\
        002-loyalty-card: incomplete, no_baseline\n\
        003-delivery-slots: complete, drifted\n\
        004-supplier-survey: complete, no_baseline\n\
        input.spec.main spec.md present\n\
        output.plan.main plan.md present\n\
        output.tasks.list tasks.md present\n\
        output.tasks.per_wp.WP01-slots-and-streets tasks/WP01-slots-and-streets.md present\n\
        output.tasks.per_wp.WP03-rider-list tasks/WP03-rider-list.md present\n\
        drift: drifted\n\
        changed input.spec.main\n\
        missing_in_baseline output.contracts.rider-list.md\n\
        changed output.tasks.per_wp.WP01-slots-and-streets\n\
        missing_in_local output.tasks.per_wp.WP02-holding-places\n\
        changed runtime.status\n\
        changed runtime.status-events\n\
        404 not_found no_such_feature\n";
    assert_eq!(output.stdout, expected);
    daemon.stop();
}

#[test]
fn fuzzer_finds_no_undocumented_answer() {
    let Some(tools) = client_tools() else { return };
    let project = Project::copy_of(&bakery_dir());
    let daemon = project.start_daemon();
    project.run_client(&["baseline", "accept", "001-order-page"]).assert_success();
    let document = write_document(&project, &daemon);
    let sandbox = project.home().join("sandbox");
    fs::create_dir(&sandbox).unwrap();
    let tests = repository().join("tests/clients");
    let mut fuzzer = client_command(&project, &tools.join("schemathesis"));
    fuzzer.arg("--config-file").arg(tests.join("schemathesis.toml")).arg("run").arg(&document);
    fuzzer.args(["--url", "http://localhost", "--phases", "coverage,fuzzing", "--no-shrink"]);
    fuzzer.args(["--max-examples", FUZZ_EXAMPLES, "--seed", FUZZ_SEED]);
    fuzzer.env("SCHEMATHESIS_HOOKS", "fuzz_hooks").env("PYTHONPATH", &tests);
    fuzzer.env("FUZZ_FEATURE", "003-delivery-slots").env("FUZZ_KEY", "input.spec.main");
    fuzzer.env("FUZZ_SANDBOX", &sandbox);
    // It writes reports and examples that it has found to the current directory.
    fuzzer.current_dir(project.home());
    let output = run(fuzzer, Duration::from_mins(5));
    assert_eq!(output.code, 0, "{}\n{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("Tested: "), "{}", output.stdout);
    daemon.stop();
}
