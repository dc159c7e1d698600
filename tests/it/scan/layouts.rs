//! Projects of each layout: which features are found, their step, progress and what is missing.

use std::fs;

use serde_json::Value;

use crate::support::{Project, copy_dir, repository, strings};

/// Returns slug, mission, completeness, step, what is next and progress of each feature, a line for
/// each.
fn checked(project: &Project) -> Vec<String> {
    let run = project.run(&["check", "--json"]);
    let features = run.json()["features"].as_array().unwrap().clone();
    features.iter().filter(|one| !is_documents(one)).map(summary).collect()
}

/// Returns true for the documents of a project, which are none of the features that were found.
pub(crate) fn is_documents(overview: &Value) -> bool {
    overview["mission"] == "documents"
}

pub(crate) fn summary(overview: &Value) -> String {
    let text = |name: &str| overview[name].as_str().unwrap_or("-").to_owned();
    let progress = match &overview["progress"] {
        Value::Null => "no progress".to_owned(),
        progress => format!("{}/{}", progress["done"], progress["total"]),
    };
    let next = match overview["next_step"].as_str() {
        Some(next) => format!("next {next} ({})", strings(&overview["next_missing"]).join(" ")),
        None => "next nothing".to_owned(),
    };
    let archived = if overview["archived"] == true { ", archived" } else { "" };
    format!(
        "{}: {} {} at {} from {}, {next}, {progress}{archived}",
        text("feature_slug"),
        text("mission"),
        text("completeness_status"),
        text("step"),
        text("step_source"),
    )
}

fn project(files: &[(&str, &str)]) -> Project {
    files.iter().fold(Project::empty(), |project, (path, text)| project.file(path, text))
}

#[test]
fn spec_kit_features_have_the_step_that_their_files_show() {
    let project = project(&[
        (".specify/memory/constitution.md", "x"),
        ("specs/001-begun/spec.md", "x"),
        ("specs/002-planned/spec.md", "x"),
        ("specs/002-planned/plan.md", "x"),
        ("specs/003-tasks/spec.md", "x"),
        ("specs/003-tasks/plan.md", "x"),
        ("specs/003-tasks/tasks.md", "- [x] T001\n- [ ] T002\n```\n- [ ] no\n```\n"),
        ("specs/004-gap/spec.md", "x"),
        ("specs/004-gap/tasks.md", ""),
        ("specs/loose.md", "x"),
        (".specify/bugs/crash/assessment.md", "x"),
    ]);
    fs::create_dir(project.root.join("specs/005-empty")).unwrap();
    assert_eq!(
        checked(&project),
        [
            "001-begun: spec-kit complete at specify from files, next plan (output.plan), no progress",
            "002-planned: spec-kit complete at plan from files, next tasks (workflow.tasks), no progress",
            "003-tasks: spec-kit complete at tasks from files, next nothing, 1/2",
            "004-gap: spec-kit incomplete at tasks from files, next nothing, no progress",
            "005-empty: spec-kit incomplete at specify from files, next plan (output.plan), no progress",
            "crash: spec-kit-bug complete at assess from files, next fix (output.fix), no progress",
        ]
    );
    assert_eq!(project.run(&["check"]).code, 10);
}

#[test]
fn openspec_changes_are_active_or_archived() {
    let project = project(&[
        ("openspec/config.yaml", "schema: spec-driven\n"),
        ("openspec/changes/add-x/proposal.md", "x"),
        ("openspec/changes/add-y/proposal.md", "x"),
        ("openspec/changes/add-y/specs/a/b/spec.md", "x"),
        ("openspec/changes/add-y/tasks.md", "```\n- [x] counts\n```\n- [ ] 1.1 a\n"),
        ("openspec/changes/no-specs/.openspec.yaml", "skip_specs: true\n"),
        ("openspec/changes/no-specs/proposal.md", "x"),
        ("openspec/changes/no-specs/tasks.md", "- [ ] a\n"),
        ("openspec/changes/archive/2026-01-02-old/proposal.md", "x"),
        ("openspec/specs/auth/spec.md", "x"),
    ]);
    assert_eq!(
        checked(&project),
        [
            "add-x: openspec complete at proposal from files, next specs (input.delta), no progress",
            "add-y: openspec complete at tasks from files, next nothing, 1/2",
            "archive/2026-01-02-old: openspec incomplete at archive from files, next nothing, no \
             progress, archived",
            "no-specs: openspec-no-specs complete at tasks from files, next nothing, 0/1",
        ]
    );
    assert_eq!(project.run(&["check"]).code, 0, "what is archived does not count");
    let run = project.run(&["artifacts", "archive/2026-01-02-old", "--json"]).assert_success();
    assert_eq!(run.json()["total_count"], 4);
    project.write("openspec/changes/add-x/.openspec.yaml", "skip_specs: [");
    let run = project.run(&["check"]);
    assert_eq!(run.code, 78, "{run:?}");
    let place = "openspec/changes/add-x/.openspec.yaml:2:1: ";
    assert!(run.stderr.contains(place), "{run:?}");
}

#[test]
fn kiro_specs_follow_their_type_and_the_state_of_cc_sdd() {
    let config = |workflow: &str, kind: &str| {
        format!(r#"{{"specId": "1", "workflowType": "{workflow}", "specType": "{kind}"}}"#)
    };
    let bug = config("requirements-first", "bugfix");
    let design_first = config("design-first", "feature");
    let project = project(&[
        (".kiro/specs/a/requirements.md", "x"),
        (".kiro/specs/b/.config.kiro", &bug),
        (".kiro/specs/b/bugfix.md", "x"),
        (".kiro/specs/c/.config.kiro", &design_first),
        (".kiro/specs/c/design.md", "x"),
        (".kiro/specs/d/spec.json", r#"{"phase": "tasks-generated"}"#),
        (".kiro/specs/d/requirements.md", "x"),
        (".kiro/specs/d/tasks.md", "- [x] 1. a\n  - [-] 1.1 b\n- [ ]* 2. c\n"),
        (".kiro/specs/e/spec.json", r#"{"phase": "initialized"}"#),
        (".kiro/specs/e/requirements.md", "x"),
        (".kiro/specs/e/design.md", "x"),
        (".kiro/specs/f/spec.json", r#"{"phase": "implementation-completed"}"#),
        (".kiro/specs/f/requirements.md", "x"),
        (".kiro/specs/f/design.md", "x"),
        (".kiro/specs/f/tasks.md", "- [x] 1. a\n"),
        (".kiro/specs/\u{30e6}\u{30fc}\u{30b6}\u{30fc} x/requirements.md", "x"),
        (".kiro/steering/product.md", "x"),
    ]);
    assert_eq!(
        checked(&project),
        [
            "a: kiro complete at requirements from files, next design (output.design), no progress",
            "b: kiro-bugfix complete at bugfix from files, next design (output.design), no progress",
            "c: kiro-design-first complete at design from files, next requirements \
             (input.requirements), no progress",
            "d: kiro incomplete at tasks from state, next nothing, 1/2",
            "e: kiro complete at design from files, next tasks (workflow.tasks), no progress",
            "f: kiro complete at implement from state, next nothing, 1/1",
            "\u{30e6}\u{30fc}\u{30b6}\u{30fc} x: kiro complete at requirements from files, next \
             design (output.design), no progress",
        ]
    );
    let features = project.run(&["check", "--json"]).json()["features"].clone();
    let warning = "spec.json names step `requirements`, but step `design` is reached";
    assert_eq!(features[4]["step_warning"], warning);
    let progress = &features[3]["progress"];
    assert_eq!((&progress["in_progress"], &progress["optional_open"]), (&1.into(), &1.into()));
    let artifacts = project.run(&["artifacts", "d", "--json"]).assert_success().json();
    assert!(!artifacts.to_string().contains("spec.json"), "it is metadata: {artifacts:#}");
    project.write(".kiro/specs/d/spec.json", "{");
    let run = project.run(&["check"]);
    assert_eq!(run.code, 13);
    assert!(run.stdout.contains("spec.json:1:1: EOF"), "{run:?}");
}

#[test]
fn gsd_phases_need_a_summary_for_each_plan() {
    let project = project(&[
        (".planning/STATE.md", "x"),
        (".planning/phases/01-a/01-CONTEXT.md", "x"),
        (".planning/phases/02-b/02-01-PLAN.md", "x"),
        (".planning/phases/02-b/02-02-PLAN.md", "x"),
        (".planning/phases/02-b/02-01-SUMMARY.md", "x"),
        (".planning/phases/03-c/03-01-PLAN.md", "x"),
        (".planning/phases/03-c/03-01-SUMMARY.md", "x"),
        (".planning/phases/04-d/04-01-PLAN.md", "x"),
        (".planning/phases/04-d/04-02-PLAN.md", "x"),
        (".planning/phases/04-d/04-01-SUMMARY.md", "x"),
        (".planning/phases/04-d/04-VERIFICATION.md", "x"),
        (".planning/milestones/v1.0-phases/01-x/01-01-PLAN.md", "x"),
    ]);
    assert_eq!(
        checked(&project),
        [
            "01-a: gsd complete at discuss from files, next plan (workflow.plan), no progress",
            "02-b: gsd complete at plan from files, next execute (output.summary), 1/2",
            "03-c: gsd complete at execute from files, next nothing, 1/1",
            "04-d: gsd incomplete at verify from files, next nothing, 1/2",
            "archive/v1.0-phases/01-x: gsd incomplete at verify from files, next nothing, 0/1, \
             archived",
        ]
    );
}

#[test]
fn bmad_conductor_and_adr_are_recognised() {
    let sprint = "development_status:\n  epic-1: done\n  1-1-a: done\n  1-2-b: in-progress\n  \
                  epic-1-retrospective: optional\n";
    let bmad = project(&[
        ("_bmad/bmm/config.yaml", "output_folder: '{project-root}/docs/out'\n"),
        ("docs/out/planning-artifacts/prd.md", "x"),
        ("docs/out/planning-artifacts/architecture.md", "x"),
        ("docs/out/planning-artifacts/epics.md", "x"),
        ("docs/out/implementation-artifacts/sprint-status.yaml", sprint),
        ("docs/out/specs/spec-login/SPEC.md", "x"),
    ]);
    assert_eq!(
        checked(&bmad),
        [
            "out: bmad complete at implementation from files, next nothing, 1/2",
            "spec-login: bmad-spec complete at spec from files, next nothing, no progress",
        ]
    );
    let conductor = project(&[
        ("conductor/tracks.md", "x"),
        ("conductor/tracks/t1/spec.md", "x"),
        ("conductor/tracks/t1/metadata.json", r#"{"status": "new"}"#),
        ("conductor/tracks/t2/metadata.json", r#"{"status": "in_progress"}"#),
        ("conductor/tracks/t2/spec.md", "x"),
        ("conductor/tracks/t2/plan.md", "- [x] a\n- [~] b\n"),
        ("conductor/archive/t0/spec.md", "x"),
    ]);
    assert_eq!(
        checked(&conductor),
        [
            "archive/t0: conductor incomplete at implement from files, next nothing, no progress, \
             archived",
            "t1: conductor complete at spec from state, next plan (workflow.plan), no progress",
            "t2: conductor complete at implement from state, next nothing, 1/2",
        ]
    );
    let adr = project(&[(".adr-dir", "notes/adr\n"), ("notes/adr/0001-x.md", "x")]);
    let expected = "adr: adr complete at record from files, next nothing, no progress";
    assert_eq!(checked(&adr), [expected]);
}

#[test]
fn several_layouts_in_one_root_share_no_slug() {
    let project = project(&[
        (".specify/x", "x"),
        ("specs/001-x/spec.md", "x"),
        ("openspec/changes/001-x/proposal.md", "x"),
        ("openspec/changes/archive/001-x/proposal.md", "x"),
        ("docs/adr/0001-x.md", "x"),
    ]);
    let slugs: Vec<String> =
        checked(&project).iter().map(|line| line.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(slugs, ["001-x", "openspec/001-x", "openspec/archive/001-x"]);
    project.run(&["artifacts", "openspec/001-x"]).assert_success();
    project.run(&["artifacts", "./openspec/changes/001-x"]).assert_success();
    project.run(&["baseline", "accept", "openspec/001-x"]).assert_success();
    let name = "openspec%2F001-x/parity-baseline.json";
    assert!(project.root.join(".dossierd/dossiers").join(name).exists());
    assert!(!project.root.join(".kittify").exists());
    project.write("openspec/changes/001-x/proposal.md", "other");
    assert_eq!(project.run(&["check"]).code, 11);
}

#[test]
fn projects_below_a_directory_are_checked_together() {
    let project = project(&[
        ("apps/desktop/openspec/changes/a/proposal.md", "x"),
        ("libs/b/.kiro/specs/c/requirements.md", "x"),
        ("node_modules/x/.specify/x", "x"),
        (".gitignore", "node_modules\n"),
    ]);
    let mut git = std::process::Command::new("git");
    let initialised = git.current_dir(&project.root).args(["init", "-q"]).output().unwrap();
    assert!(initialised.status.success());
    let found = checked(&project);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(project.run(&["scan", "--json"]).lines().len(), 2);
    let status = project.run_client(&["status", "--json"]).assert_success().json();
    assert_eq!(status["projects"].as_array().unwrap().len(), 2);
}

#[test]
fn layouts_of_the_project_are_strict_and_win() {
    let layout = "schema_version: 1\nname: agent-os\nmarkers: [{path: agent-os, kind: dir}]\n\
                  features: [{include: agent-os/specs/*}]\nmissions: [{use: agent-os}]\n\
                  step: [{source: files}]\nprogress: [{from: checkboxes, files: plan.md}]\n";
    let manifest = "mission_type: agent-os\nrequired_by_step:\n  plan:\n\
                    \x20   - {artifact_key: p, artifact_class: workflow, path_pattern: plan.md, \
                    blocking: true}\n";
    let project = project(&[
        (".dossierd/layouts/agent-os/layout.yaml", layout),
        (".dossierd/layouts/agent-os/expected-artifacts.yaml", manifest),
        ("agent-os/specs/2026-01-01-x/plan.md", "- [x] a\n"),
    ]);
    let expected = "2026-01-01-x: agent-os complete at plan from files, next nothing, 1/1";
    assert_eq!(checked(&project), [expected]);
    project.write(".dossierd/layouts/agent-os/layout.yaml", layout.replace("features", "featurs"));
    let run = project.run(&["check", "."]);
    assert_eq!(run.code, 2, "nothing recognises it: {run:?}");
    project.write(".dossierd/config.yaml", "layouts: [agent-os]\n");
    let run = project.run(&["check"]);
    assert_eq!(run.code, 78, "{run:?}");
    let place = ".dossierd/layouts/agent-os/layout.yaml:4:1: unknown field `featurs`";
    assert!(run.stderr.contains(place), "{run:?}");
    assert!(run.stderr.contains("layouts: unknown layout `agent-os`"), "{run:?}");
}

#[test]
fn the_configuration_of_the_project_counts_without_one_of_the_user() {
    let project = project(&[
        (
            ".dossierd/config.yaml",
            "features:\n- {include: work/*, exclude: work/old, mission: kiro}\n\
          ignore: ['*.log']\nstep: {a: tasks}\n",
        ),
        (".kiro/specs/other/requirements.md", "x"),
        ("work/a/requirements.md", "x"),
        ("work/a/run.log", "x"),
        ("work/b/requirements.md", "x"),
        ("work/old/requirements.md", "x"),
    ]);
    assert_eq!(
        checked(&project),
        [
            "a: kiro incomplete at tasks from config, next nothing, no progress",
            "b: kiro complete at requirements from files, next design (output.design), no progress",
        ]
    );
    let artifacts = project.run(&["artifacts", "a", "--json"]).assert_success().json();
    assert_eq!(artifacts["total_count"], 3, "{artifacts:#}");
    let root = project.root.to_str().unwrap().to_owned();
    let config = format!("projects: [{{path: {root}, step: {{a: requirements}}}}]\n");
    let project = project.config(&config);
    assert!(checked(&project)[0].contains("complete at requirements from config"));
    project.write(".dossierd/config.yaml", "webhook: {url: x}\n");
    let run = project.run(&["check"]);
    run.assert_failure(78, ".dossierd/config.yaml:1:1: unknown field `webhook`");
}

#[test]
fn example_projects_of_other_tools_are_recognised() {
    for (name, code, expected) in [
        (
            "spec-kit",
            0,
            &[
                "001-gift-cards: spec-kit complete at tasks from files, next nothing, 2/4",
                "002-bread-club: spec-kit complete at plan from files, next tasks (workflow.tasks), no \
                 progress",
                "003-oven-alarm: spec-kit complete at specify from files, next plan (output.plan), no \
                 progress",
            ][..],
        ),
        (
            "openspec",
            0,
            &[
                "add-holiday-hours: openspec complete at tasks from files, next nothing, 1/3",
                "archive/2026-03-02-add-opening-hours: openspec complete at archive from files, next \
                 nothing, 2/2, archived",
                "fix-time-zone: openspec-no-specs complete at proposal from files, next tasks \
                 (workflow.tasks), no progress",
            ],
        ),
        (
            "kiro",
            0,
            &[
                "allergen-list: kiro complete at tasks from files, next nothing, 2/4",
                "double-charge: kiro-bugfix complete at design from files, next tasks \
                 (workflow.tasks), no progress",
                "pickup-times: kiro complete at requirements from files, next design \
                 (output.design), no progress",
            ],
        ),
    ] {
        let project = Project::copy_of(&repository().join("examples").join(name));
        assert_eq!(checked(&project), expected);
        assert_eq!(project.run(&["check"]).code, code, "{name}");
    }
}

#[test]
fn example_layouts_need_no_code() {
    let kep = "status: implemented\n";
    for (name, files, expected) in [
        (
            "agent-os",
            &[
                ("agent-os/specs/2026-01-02-1030-x/shape.md", "x"),
                ("agent-os/specs/2026-01-03-y/plan.md", "- [x] a\n- [ ] b\n"),
            ][..],
            &[
                "2026-01-02-1030-x: agent-os complete at shape from files, next plan \
                 (workflow.plan), no progress",
                "2026-01-03-y: agent-os complete at plan from files, next nothing, 1/2",
            ][..],
        ),
        (
            "spec-workflow",
            &[
                (".spec-workflow/specs/a/requirements.md", "x"),
                (".spec-workflow/archive/specs/b/tasks.md", "- [x] a\n"),
            ],
            &[
                "a: spec-workflow complete at requirements from files, next design \
                 (output.design), no progress",
                "archive/b: spec-workflow incomplete at tasks from files, next nothing, 1/1, archived",
            ],
        ),
        (
            "kep",
            &[
                ("keps/sig-node/0001-a/README.md", "x"),
                ("keps/sig-node/0001-a/kep.yaml", kep),
                ("keps/sig-node/0002-b/README.md", "x"),
                ("keps/sig-node/notes/x.md", "x"),
            ],
            &[
                "0001-a: kep complete at implemented from state, next nothing, no progress",
                "0002-b: kep incomplete at - from none, next nothing, no progress",
            ],
        ),
        (
            "backlog",
            &[
                ("backlog/config.yml", "x: 1\n"),
                ("backlog/tasks/task-1 - First-Task.md", "---\nstatus: To Do\n---\n"),
                ("backlog/tasks/epics/task-2 - Second.md", "---\nstatus: In Progress\n---\n"),
                ("backlog/completed/task-3 - Third.md", "---\nstatus: Done\n---\n"),
            ],
            &["backlog: backlog complete at tasks from files, next nothing, 1/3"],
        ),
    ] {
        let project = project(files);
        let layout = repository().join("examples/layouts").join(name);
        copy_dir(&layout, &project.root.join(".dossierd/layouts").join(name));
        assert_eq!(checked(&project), expected, "{name}");
    }
}

#[test]
fn ticking_boxes_after_acceptance_is_churn_and_editing_a_requirement_is_not() {
    let project = project(&[
        (".specify/x", "x"),
        ("specs/001-x/spec.md", "FR-001\n"),
        ("specs/001-x/plan.md", "x"),
        ("specs/001-x/tasks.md", "- [ ] T001 a\n- [ ] T002 b\n"),
        ("specs/001-x/checklists/requirements.md", "- [ ] CHK001\n"),
    ]);
    project.run(&["baseline", "accept", "001-x"]).assert_success();
    project.write("specs/001-x/tasks.md", "- [x] T001 a\n- [ ] T002 b\n");
    project.write("specs/001-x/checklists/requirements.md", "- [X] CHK001\n");
    let drift = project.run(&["drift", "001-x", "--json"]).json();
    assert_eq!(drift["severity"], "info", "{drift:#}");
    let churn = strings(&drift["churn"]);
    assert_eq!(churn, ["evidence.checklist.requirements", "workflow.tasks"]);
    assert_eq!(project.run(&["check"]).code, 0);
    project.write("specs/001-x/tasks.md", "- [x] T001 a\n- [ ] T002 other\n");
    assert_eq!(project.run(&["check"]).code, 11);
    project.write("specs/001-x/tasks.md", "- [x] T001 a\n- [x] T002 b\n");
    project.write("specs/001-x/spec.md", "FR-002\n");
    assert_eq!(project.run(&["check"]).code, 11);
}

#[test]
fn documents_of_a_project_are_one_feature_of_each_layout() {
    let project = project(&[
        (".specify/memory/constitution.md", "x"),
        (".specify/memory/.draft.md", "x"),
        (".specify/templates/plan.md", "x"),
        ("specs/001-x/spec.md", "x"),
        ("specs/project/spec.md", "x"),
        ("openspec/project.md", "x"),
        ("openspec/specs/auth/spec.md", "x"),
        ("src/main.rs", "x"),
    ]);
    let check = project.run(&["check", "--json"]).json();
    let slugs: Vec<&str> = check["features"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["feature_slug"].as_str().unwrap())
        .collect();
    assert_eq!(slugs, ["001-x", "feature/project", "openspec/project", "project"]);
    let overview = &check["features"][3];
    assert_eq!(
        summary(overview),
        "project: documents complete at - from none, next nothing, no progress"
    );
    let root = project.root.canonicalize().unwrap();
    assert_eq!(overview["feature_dir"], root.to_str().unwrap());
    let paths = |slug: &str| {
        let list = project.run(&["artifacts", slug, "--json"]).assert_success().json();
        let artifacts = list["artifacts"].as_array().unwrap().clone();
        let path = |one: &Value| one["relative_path"].as_str().unwrap().to_owned();
        artifacts.iter().map(path).collect::<Vec<_>>()
    };
    assert_eq!(paths("project"), [".specify/memory/constitution.md"]);
    assert_eq!(paths("openspec/project"), ["openspec/specs/auth/spec.md"]);
    let run = project.run(&["check"]);
    assert!(run.stdout.contains("\n2 checked: "), "documents are not counted: {run:?}");
    project.run(&["baseline", "accept", "project"]).assert_success();
    project.write(".specify/memory/constitution.md", "other");
    assert_eq!(project.run(&["check"]).code, 11);
    project.write(".specify/memory/constitution.md", "x");
    assert_eq!(project.run(&["check", "specs/001-x"]).code, 0);

    let only_documents = self::project(&[(".kiro/steering/product.md", "x")]);
    let run = only_documents.run(&["check"]);
    assert_eq!(
        (run.code, run.stderr.contains("no feature directory matches")),
        (0, true),
        "{run:?}"
    );
    assert_eq!(only_documents.run(&["check", "--strict"]).code, 13);
}
