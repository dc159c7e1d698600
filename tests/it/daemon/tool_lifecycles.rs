//! A feature of each tool from its first file to its archive: completeness, step and progress at each stage.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::layouts::shown;
use crate::support::Project;
use crate::support::process::Daemon;

/// What happens at a stage. Paths are relative to the feature.
enum Step {
    Write(&'static str, &'static str),
    Remove(&'static str),
    /// Accept the baseline.
    Accept,
    /// Move the feature to this path below the root.
    Archive(&'static str),
}
use Step::{Accept, Archive, Remove, Write as Put};

/// A tool, the files by which it is recognised, and where its feature is.
struct Lifecycle {
    tool: &'static str,
    markers: &'static [(&'static str, &'static str)],
    feature: &'static str,
    /// The slug that the feature has, and after it was archived.
    slugs: (&'static str, &'static str),
    steps: &'static [Step],
}

const OPEN: &str = "# Tasks\n\n- [ ] 1.1 One\n- [ ] 1.2 Two\n";
const HALF: &str = "# Tasks\n\n- [x] 1.1 One\n- [ ] 1.2 Two\n";
const DONE: &str = "# Tasks\n\n- [x] 1.1 One\n- [x] 1.2 Two\n";
const OTHER: &str = "# Tasks\n\n- [x] 1.1 One\n- [x] 1.2 Two, differently\n";

const LIFECYCLES: &[Lifecycle] = &[
    Lifecycle {
        tool: "spec-kitty",
        markers: &[(".kittify/config.yaml", "")],
        feature: "kitty-specs/001-x",
        slugs: ("001-x", "001-x"),
        steps: &[
            Put("spec.md", "# Spec\n"),
            Put("plan.md", "# Plan\n"),
            Put("tasks.md", OPEN),
            Put("tasks/WP01.md", "---\nlane: planned\n---\n# One\n"),
            Accept,
            Put("tasks/WP01.md", "---\nlane: done\n---\n# One\n"),
            Put("spec.md", "# Spec, edited\n"),
            Remove("plan.md"),
            Put("plan.md", "# Plan\n"),
        ],
    },
    Lifecycle {
        tool: "spec-kit",
        markers: &[(".specify/memory/constitution.md", "# Constitution\n")],
        feature: "specs/001-x",
        slugs: ("001-x", "001-x"),
        steps: &[
            Put("spec.md", "# Spec\n"),
            Put("plan.md", "# Plan\n"),
            Put("tasks.md", OPEN),
            Put("tasks.md", HALF),
            Accept,
            Put("tasks.md", DONE),
            Put("tasks.md", OTHER),
            Put("spec.md", "# Spec, edited\n"),
            Remove("plan.md"),
            Put("plan.md", "# Plan\n"),
        ],
    },
    Lifecycle {
        tool: "openspec",
        markers: &[("openspec/project.md", "# Project\n")],
        feature: "openspec/changes/x",
        slugs: ("x", "archive/2026-01-02-x"),
        steps: &[
            Put("proposal.md", "# Proposal\n"),
            Put("specs/api/spec.md", "# Delta\n"),
            Put("tasks.md", OPEN),
            Accept,
            Put("tasks.md", DONE),
            Put("proposal.md", "# Proposal, edited\n"),
            Remove("specs/api/spec.md"),
            Put("specs/api/spec.md", "# Delta\n"),
            Put("proposal.md", "# Proposal\n"),
            Archive("openspec/changes/archive/2026-01-02-x"),
        ],
    },
    Lifecycle {
        tool: "kiro",
        markers: &[(".kiro/specs/.gitkeep", "")],
        feature: ".kiro/specs/x",
        slugs: ("x", "x"),
        steps: &[
            Put("requirements.md", "# Requirements\n"),
            Put("design.md", "# Design\n"),
            Put("tasks.md", OPEN),
            Accept,
            Put("tasks.md", HALF),
            Put("requirements.md", "# Requirements, edited\n"),
            Remove("design.md"),
            Put("design.md", "# Design\n"),
            Remove("design.md"),
            Remove("tasks.md"),
            // The last document.
            Remove("requirements.md"),
        ],
    },
    Lifecycle {
        tool: "gsd",
        markers: &[(".planning/ROADMAP.md", "# Roadmap\n"), (".planning/STATE.md", "# State\n")],
        feature: ".planning/phases/01-x",
        slugs: ("01-x", "archive/v1-phases/01-x"),
        steps: &[
            Put("01-CONTEXT.md", "# Context\n"),
            Put("01-01-PLAN.md", "# Plan\n"),
            Put("01-02-PLAN.md", "# Plan 2\n"),
            Put("01-01-SUMMARY.md", "# Summary\n"),
            Put("01-02-SUMMARY.md", "# Summary 2\n"),
            Accept,
            Put("01-01-PLAN.md", "# Plan, edited\n"),
            Remove("01-02-SUMMARY.md"),
            Put("01-02-SUMMARY.md", "# Summary 2\n"),
            Put("01-01-PLAN.md", "# Plan\n"),
            Archive(".planning/milestones/v1-phases/01-x"),
        ],
    },
    Lifecycle {
        tool: "bmad",
        markers: &[("_bmad/bmm/config.yaml", "output_folder: _bmad-output\n")],
        feature: "_bmad-output",
        slugs: ("_bmad-output", "_bmad-output"),
        steps: &[
            Put("planning-artifacts/prd.md", "# PRD\n"),
            Put("planning-artifacts/architecture.md", "# Architecture\n"),
            Put("planning-artifacts/epics.md", "# Epics\n"),
            Put(
                "implementation-artifacts/sprint-status.yaml",
                "development_status:\n  epic-1: in-progress\n  1-1-one: done\n  1-2-two: backlog\n",
            ),
            Accept,
            Put(
                "implementation-artifacts/sprint-status.yaml",
                "development_status:\n  epic-1: in-progress\n  1-1-one: done\n  1-2-two: done\n",
            ),
            Put("planning-artifacts/prd.md", "# PRD, edited\n"),
            Remove("planning-artifacts/architecture.md"),
            Put("planning-artifacts/architecture.md", "# Architecture\n"),
        ],
    },
];

#[test]
fn features_of_each_tool_go_through_their_steps_live() {
    let mut shown = String::new();
    for lifecycle in LIFECYCLES {
        writeln!(shown, "{}", lifecycle.tool).unwrap();
        run(lifecycle, &mut shown);
    }
    insta::assert_snapshot!(shown);
}

fn run(lifecycle: &Lifecycle, out: &mut String) {
    let mut project = Project::empty();
    for (path, text) in lifecycle.markers {
        project = project.file(path, text);
    }
    let daemon = project.start_daemon();
    let dir = project.root.join(lifecycle.feature);
    let mut slug = lifecycle.slugs.0;
    for step in lifecycle.steps {
        let stage = match step {
            Put(name, text) => {
                project.write(&format!("{}/{name}", lifecycle.feature), text);
                format!("{name} {:?}", text.lines().last().unwrap_or_default())
            }
            Remove(name) => {
                fs::remove_file(dir.join(name)).unwrap();
                format!("no {name}")
            }
            Accept => {
                project.run_client(&["baseline", "accept", slug]).assert_success();
                "accepted".to_owned()
            }
            Archive(to) => {
                slug = lifecycle.slugs.1;
                archive(&project.root, &dir, to);
                "archived".to_owned()
            }
        };
        let lines = shown(&daemon).join("; ");
        writeln!(out, "  {stage}\n    {lines}, {}", judged(&daemon, slug)).unwrap();
    }
    let last = project.run_client(&["events", "--json", "--type", "artifact_missing"]);
    let deleted = last.lines().iter().filter(|event| is_deletion(event)).count();
    writeln!(out, "  deletions: {deleted}").unwrap();
    daemon.stop();
}

fn archive(root: &Path, from: &Path, to: &str) {
    let to = root.join(to);
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::rename(from, to).unwrap();
}

/// Returns the state of the drift of a feature, and its severity.
fn judged(daemon: &Daemon, slug: &str) -> String {
    let status = daemon.status();
    let features = status["projects"][0]["features"].as_array().unwrap().clone();
    let Some(feature) = features.iter().find(|feature| feature["feature_slug"] == slug) else {
        return format!("no feature {slug}");
    };
    let drift = &feature["drift"];
    let (state, severity) = (drift["state"].as_str().unwrap(), drift["severity"].as_str());
    format!("drift {state} {}", severity.unwrap_or("-"))
}

fn is_deletion(event: &Value) -> bool {
    event["payload"]["reason_code"] == "deleted_after_scan"
}
