//! The class of a file that no spec matches: a table of conventional names
//! (`docs/specification.md#classes`). The first matching row decides; without one the class is
//! `other`.

use super::artifact::ArtifactClass::{
    self, Evidence, Input, Other, Output, Policy, Runtime, Workflow,
};
use super::path::RelPath;

/// Part of a path that a row compares. Files are those at the top of the feature directory.
#[derive(Debug, Clone, Copy)]
enum PathRule {
    /// Name of a file.
    File(&'static str),
    /// Name of a file without its extension.
    FileStem(&'static str),
    /// Name of the first directory.
    Dir(&'static str),
    /// Text in the name of the first directory.
    DirContaining(&'static str),
    /// Prefix of the name of a file.
    FilePrefix(&'static str),
    /// Text in the name of a file.
    FileContaining(&'static str),
}
use PathRule::{Dir, DirContaining, File, FileContaining, FilePrefix, FileStem};

const RULES: &[(PathRule, ArtifactClass)] = &[
    // Written by runtimes while the work proceeds.
    (File("meta.json"), Runtime),
    (File("status.json"), Runtime),
    (File("status.events.jsonl"), Runtime),
    (File("lanes.json"), Runtime),
    (File("mission-events.jsonl"), Runtime),
    // Input and results of the work.
    (FileStem("spec"), Input),
    (FileStem("goals"), Input),
    (FilePrefix("brief"), Input),
    (FileStem("plan"), Output),
    (FileStem("tasks"), Output),
    (FileStem("findings"), Output),
    (FileStem("report"), Output),
    (Dir("contracts"), Output),
    (Dir("docs"), Output),
    (Dir("output"), Output),
    // Organization of the work.
    (Dir("tasks"), Workflow),
    (FileStem("wps"), Workflow),
    (FileStem("occurrence_map"), Workflow),
    (FilePrefix("release"), Workflow),
    // Decisions.
    (Dir("decisions"), Policy),
    (Dir("adr"), Policy),
    (FilePrefix("decision"), Policy),
    (FileStem("mission-exception"), Policy),
    // Evidence of the quality of the work.
    (DirContaining("review"), Evidence),
    (Dir("checklists"), Evidence),
    (Dir("research"), Evidence),
    (Dir("traces"), Evidence),
    (Dir("tracers"), Evidence),
    (Dir("notes"), Evidence),
    (Dir("evidence"), Evidence),
    (Dir("data"), Evidence),
    (FilePrefix("tracer"), Evidence),
    (FileStem("research"), Evidence),
    (FileStem("data-model"), Evidence),
    (FileStem("quickstart"), Evidence),
    (FileStem("gap-analysis"), Evidence),
    (FileStem("methodology"), Evidence),
    (FileStem("synthesis"), Evidence),
    (FileStem("retrospective"), Evidence),
    (FileStem("acceptance-matrix"), Evidence),
    (FileStem("issue-matrix"), Evidence),
    (FileStem("mission-close-ledger"), Evidence),
    (FileContaining("review"), Evidence),
    (FileContaining("report"), Evidence),
    (FileContaining("findings"), Evidence),
    (FileContaining("audit"), Evidence),
];

/// Returns the conventional class of `path`.
#[must_use]
pub fn conventional_class(path: &RelPath) -> ArtifactClass {
    RULES.iter().find(|(rule, _)| rule.is_match(path)).map_or(Other, |(_, class)| *class)
}

impl PathRule {
    fn is_match(self, path: &RelPath) -> bool {
        let mut components = path.components();
        let first = components.next().unwrap_or_default();
        let is_in_dir = components.next().is_some();
        match self {
            File(name) => !is_in_dir && first == name.as_bytes(),
            FileStem(stem) => !is_in_dir && stem_of(first) == stem.as_bytes(),
            FilePrefix(start) => !is_in_dir && first.starts_with(start.as_bytes()),
            FileContaining(part) => !is_in_dir && contains(first, part.as_bytes()),
            Dir(name) => is_in_dir && first == name.as_bytes(),
            DirContaining(part) => is_in_dir && contains(first, part.as_bytes()),
        }
    }
}

fn stem_of(name: &[u8]) -> &[u8] {
    match name.iter().rposition(|byte| *byte == b'.') {
        Some(dot) => &name[..dot],
        None => name,
    }
}

fn contains(name: &[u8], part: &[u8]) -> bool {
    let starts = name.iter().zip(0..).filter(|(byte, _)| Some(*byte) == part.first());
    starts.map(|(_, offset)| &name[offset..]).any(|rest| rest.starts_with(part))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn class(path: &str) -> ArtifactClass {
        conventional_class(&RelPath::new(path.as_bytes()).unwrap())
    }

    /// Each row needs a path for which it decides and no earlier one does.
    #[test]
    fn every_rule_decides_for_an_example() {
        let examples = [
            "meta.json",
            "status.json",
            "status.events.jsonl",
            "lanes.json",
            "mission-events.jsonl",
            "spec.md",
            "goals.md",
            "brief-intake.md",
            "plan.md",
            "tasks.md",
            "findings.md",
            "report.md",
            "contracts/api.yaml",
            "docs/a/b.md",
            "output/x",
            "tasks/WP01.md",
            "wps.yaml",
            "occurrence_map.yaml",
            "release-handoff.md",
            "decisions/DM-1.md",
            "adr/1.md",
            "decision-log.md",
            "mission-exception.md",
            "tasks-review/x.md",
            "checklists/requirements.md",
            "research/evidence-log.csv",
            "traces/approach.md",
            "tracers/approach.md",
            "notes/a.md",
            "evidence/a.md",
            "data/raw.csv",
            "tracer-approach.md",
            "research.md",
            "data-model.md",
            "quickstart.md",
            "gap-analysis.md",
            "methodology.md",
            "synthesis.md",
            "retrospective.yaml",
            "acceptance-matrix.json",
            "issue-matrix.md",
            "mission-close-ledger.md",
            "adversarial-review-notes.md",
            "wp05-verification-report.md",
            "squad-findings-post-plan.md",
            "audit.md",
        ];
        let decided: BTreeSet<usize> = examples
            .iter()
            .map(|path| {
                let path = RelPath::new(path.as_bytes()).unwrap();
                RULES.iter().position(|(rule, _)| rule.is_match(&path)).expect("a row")
            })
            .collect();
        let never: Vec<_> =
            (0..RULES.len()).filter(|row| !decided.contains(row)).map(|row| RULES[row]).collect();
        assert!(never.is_empty(), "no example for {never:?}");
    }

    #[test]
    fn conventional_class_depends_on_name_and_first_directory() {
        for (path, expected) in [
            ("meta.json", Runtime),
            ("research/meta.json", Evidence),
            ("spec.md", Input),
            ("sub/spec.md", Other),
            ("tasks/README.md", Workflow),
            ("tasks", Output),
            ("reviews/plan.merged.yaml", Evidence),
            ("analysis-report.md", Evidence),
            ("decisions/index.json", Policy),
            ("contracts/a/b.json", Output),
            ("Makefile", Other),
            ("lanes.json.bak", Other),
        ] {
            assert_eq!(class(path), expected, "{path}");
        }
        assert_eq!(conventional_class(&RelPath::new(&b"\xff"[..]).unwrap()), Other);
    }
}
