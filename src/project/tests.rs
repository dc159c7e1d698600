//! Reading a project as a whole: without file descriptors, and with the steps of a run.

use std::fs;

use super::root_dir::open_limit;
use super::*;

/// Returns all that is read of a project, as text; `None` if that was not possible because of a lack of
/// descriptors.
fn read_all(root: &Path, user_missions: &Path, machine: &Machine) -> Option<String> {
    let settings = ProjectSettings::default();
    let project = Project::open(root, settings, machine, Some(user_missions)).ok()?;
    let Ok(found) = project.discover() else {
        assert!(project.take_exhausted());
        return None;
    };
    let inputs = found.features.iter().map(|feature| project.read_feature_inputs(feature));
    let inputs: Vec<FeatureInputs> = inputs.collect();
    let outside = project.outside_state_files();
    let text = format!(
        "{} {} {} {:?} {:?} {outside:?} {inputs:?} {:?} {:?} {:?}",
        project.project_uuid,
        project.node_id,
        project.branch,
        project.errors,
        found.skipped,
        project.manifest_diagnostics(),
        project.metadata_dirs(),
        project.dossier_dirs(),
    );
    (!project.take_exhausted()).then_some(text)
}

#[test]
fn lack_of_descriptors_is_never_taken_for_a_state_of_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().canonicalize().unwrap();
    let root = base.join("project");
    let write = |path: &str, text: &str| {
        let path = base.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("project/.git", "gitdir: ../git/worktrees/w\n");
    write("git/worktrees/w/HEAD", "ref: refs/heads/w\n");
    write("project/.kittify/config.yaml", "project: {uuid: own, node_id: abc}\n");
    let manifest = "mission_type: plan\nmanifest_version: '7'\n";
    write("project/.kittify/missions/plan/expected-artifacts.yaml", manifest);
    write("project/.kittify/missions/plan/mission.yaml", "states: [{name: a}, {name: b}]\n");
    write("missions/research/expected-artifacts.yaml", "mission_type: research\n");
    let runs = r#"{"001-x": {"run_id": "r", "run_dir": ".kittify/runtime/1"}}"#;
    write("project/.kittify/runtime/feature-runs.json", runs);
    write("project/.kittify/runtime/1/state.json", r#"{"issued_step_id": "b"}"#);
    write("project/.kittify/dossiers/002-y/parity-baseline.json", "{}");
    write("project/kitty-specs/001-x/meta.json", r#"{"mission": "plan"}"#);
    write("project/kitty-specs/002-y/meta.json", r#"{"mission": "research"}"#);
    let (missions, machine) = (base.join("missions"), Machine::current());
    let expected = read_all(&root, &missions, &machine).unwrap();
    for part in ["own", "abc", "\"w\"", "7", "Runtime"] {
        assert!(expected.contains(part.trim_matches('"')), "{part}: {expected}");
    }
    for calls in 0.. {
        open_limit::set(calls);
        let read = read_all(&root, &missions, &machine);
        if open_limit::is_unused() {
            assert!(calls > 30, "{calls}");
            assert_eq!(read, Some(expected));
            return;
        }
        assert_eq!(read, None, "without a descriptor for call {calls}");
    }
}

#[test]
fn steps_that_only_the_template_of_a_run_has_are_those_of_the_feature() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(".kittify/metadata.yaml", "spec_kitty: {version: 3.2.7}\n");
    let runs = r#"{"001-x": {"run_id": "r", "run_dir": ".kittify/runtime/runs/r"}}"#;
    write(".kittify/runtime/feature-runs.json", runs);
    write(".kittify/runtime/runs/r/state.json", r#"{"issued_step_id": "polish"}"#);
    write("kitty-specs/001-x/meta.json", r#"{"mission_type": "software-dev"}"#);
    let read = || {
        let settings = ProjectSettings::default();
        let project = Project::open(&root, settings, &Machine::current(), None).unwrap();
        let found = project.discover().unwrap();
        let inputs = project.read_feature_inputs(&found.features[0]);
        let steps = inputs.context.mission.unwrap().steps.join(" ");
        (steps, inputs.metadata.step_error)
    };
    let (steps, error) = read();
    assert!(error.unwrap().contains("the mission has no step `polish`"));
    let template = ".kittify/runtime/runs/r/mission_template_frozen.yaml";
    write(template, "steps: [{id: specify}, {id: polish}, {id: plan}]\n");
    let with_template = read();
    assert_eq!(with_template, (steps.replace("specify ", "specify polish "), None));
    for unusable in ["steps: 7\n", "", "mission: {key: software-dev}\n"] {
        write(template, unusable);
        assert_eq!(read().0, steps, "{unusable}");
    }
}
