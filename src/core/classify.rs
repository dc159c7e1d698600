//! The class of a file that no spec names: a table of the names and directories by which these
//! projects go. The first row that fits decides; what fits none is `other`.

use super::artifact::ArtifactClass::{
    self, Evidence, Input, Other, Output, Policy, Runtime, Workflow,
};
use super::path::RelPath;

/// What of a path a row looks at.
#[derive(Debug, Clone, Copy)]
enum PathRule {
    /// The whole path: a file at the top of the feature directory.
    File(&'static str),
    /// The whole path without its extension.
    FileStem(&'static str),
    /// The first directory.
    Dir(&'static str),
    /// A part of the first directory's name.
    DirContaining(&'static str),
    /// The beginning of a top file's name.
    FilePrefix(&'static str),
    /// A part of a top file's name.
    FileContaining(&'static str),
}
use PathRule::{Dir, DirContaining, File, FileContaining, FilePrefix, FileStem};

/// The table (contract, section 2, and what the corpus shows beyond it).
const RULES: &[(PathRule, ArtifactClass)] = &[
    // What runtimes write while work goes on.
    (File("meta.json"), Runtime),
    (File("status.json"), Runtime),
    (File("status.events.jsonl"), Runtime),
    (File("lanes.json"), Runtime),
    (File("mission-events.jsonl"), Runtime),
    // Where the work starts, and what it makes.
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
    // What steers it.
    (Dir("tasks"), Workflow),
    (FileStem("wps"), Workflow),
    (FileStem("occurrence_map"), Workflow),
    (FilePrefix("release"), Workflow),
    // What was decided.
    (Dir("decisions"), Policy),
    (Dir("adr"), Policy),
    (FilePrefix("decision"), Policy),
    (FileStem("mission-exception"), Policy),
    // What shows that it was done well.
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

/// The conventional class of `path`.
#[must_use]
pub fn conventional_class(path: &RelPath) -> ArtifactClass {
    RULES.iter().find(|(shape, _)| shape.is_match(path)).map_or(Other, |(_, class)| *class)
}

impl PathRule {
    fn is_match(self, path: &RelPath) -> bool {
        let mut components = path.components();
        let first = components.next().unwrap_or_default();
        let in_folder = components.next().is_some();
        match self {
            File(name) => !in_folder && first == name.as_bytes(),
            FileStem(stem) => !in_folder && stem_of(first) == stem.as_bytes(),
            FilePrefix(start) => !in_folder && first.starts_with(start.as_bytes()),
            FileContaining(part) => !in_folder && contains(first, part.as_bytes()),
            Dir(name) => in_folder && first == name.as_bytes(),
            DirContaining(part) => in_folder && contains(first, part.as_bytes()),
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
    starts.map(|(_, at)| &name[at..]).any(|rest| rest.starts_with(part))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn class(path: &str) -> ArtifactClass {
        conventional_class(&RelPath::new(path.as_bytes()).unwrap())
    }

    /// A path for each row: it must be that row, and no earlier one, that decides.
    #[test]
    fn each_row_decides_for_some_path() {
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
                RULES.iter().position(|(shape, _)| shape.is_match(&path)).expect("a row")
            })
            .collect();
        let never: Vec<_> =
            (0..RULES.len()).filter(|row| !decided.contains(row)).map(|row| RULES[row]).collect();
        assert!(never.is_empty(), "no example for {never:?}");
    }

    #[test]
    fn classes_by_path() {
        for (path, expect) in [
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
            assert_eq!(class(path), expect, "{path}");
        }
        assert_eq!(conventional_class(&RelPath::new(&b"\xff"[..]).unwrap()), Other);
    }
}
