//! Real projects of other tools, if a copy of them is next to the repository: what is found in them is
//! compared with their files, counted here without dossierd, and is the table of `docs/layouts.md`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::scan::corpus::corpus;
use crate::scan::layouts::is_documents;
use crate::support::{Project, copy_dir, repository};

/// What is counted in the features of one tree.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    active: usize,
    archived: usize,
    complete: usize,
    incomplete: usize,
    done: u64,
    total: u64,
}

impl Counted {
    fn row(&self, tool: &str, note: &str) -> String {
        let Self { active, archived, complete, incomplete, done, total } = self;
        format!(
            "| {tool} | {active} | {archived} | {complete} | {incomplete} | {done}/{total} | {note} |"
        )
    }
}

/// Returns what dossierd finds.
fn checked(project: &Project) -> Counted {
    let features = project.run(&["check", "--json"]).json()["features"].clone();
    let mut counted = Counted::default();
    for feature in features.as_array().unwrap().iter().filter(|one| !is_documents(one)) {
        let is_archived = feature["archived"] == true;
        let is_complete = feature["completeness_status"] == "complete";
        assert_ne!(feature["completeness_status"], "unknown", "{feature:#}");
        counted.archived += usize::from(is_archived);
        counted.active += usize::from(!is_archived);
        counted.complete += usize::from(is_complete);
        counted.incomplete += usize::from(!is_complete);
        if let Value::Object(progress) = &feature["progress"] {
            counted.done += progress["done"].as_u64().unwrap();
            counted.total += progress["total"].as_u64().unwrap();
        }
    }
    counted
}

fn dirs_in(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_dir()).collect()
}

fn has_file_named(dir: &Path, name: &str) -> bool {
    dir.join(name).is_file() || dirs_in(dir).iter().any(|below| has_file_named(below, name))
}

/// Counts the boxes of a file as its tool does: `with_fences` also those in fenced code.
fn count_boxes(path: &Path, with_fences: bool) -> (u64, u64) {
    let text = fs::read_to_string(path).unwrap_or_default();
    let (mut done, mut total, mut fenced) = (0, 0, false);
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("```") {
            fenced = !fenced;
        }
        let item = line.strip_prefix("- [").or_else(|| line.strip_prefix("* ["));
        let Some(item) = item.filter(|_| with_fences || !fenced) else { continue };
        let is_optional = item.get(1..3) == Some("]*");
        if !is_optional && item.get(1..2) == Some("]") {
            done += u64::from(item.starts_with(['x', 'X']));
            total += u64::from(item.starts_with(['x', 'X', ' ', '-', '~']));
        }
    }
    (done, total)
}

/// Counts the features below `dirs`: each is complete if nothing is missing before the last of the
/// documents that it has, an archived one if it has all.
fn counted_by_files(
    active: &[PathBuf],
    archived: &[PathBuf],
    has: &[&dyn Fn(&Path) -> bool],
    with_fences: bool,
) -> Counted {
    let mut counted =
        Counted { active: active.len(), archived: archived.len(), ..Counted::default() };
    let of_kind = |dirs: &[PathBuf], is_archived: bool| {
        dirs.iter().map(|dir| (dir.clone(), is_archived)).collect::<Vec<_>>()
    };
    for (dir, is_archived) in [of_kind(active, false), of_kind(archived, true)].concat() {
        let present: Vec<bool> = has.iter().map(|has| has(&dir)).collect();
        let last = present.iter().rposition(|present| *present).unwrap_or(0);
        let needed = if is_archived { present.len() } else { last + 1 };
        let is_complete = present[..needed].iter().all(|present| *present);
        counted.complete += usize::from(is_complete);
        counted.incomplete += usize::from(!is_complete);
        let (done, total) = count_boxes(&dir.join("tasks.md"), with_fences);
        counted.done += done;
        counted.total += total;
    }
    counted
}

#[test]
fn real_projects_of_other_tools_are_evaluated_as_their_files_are() {
    let Some(corpus) = corpus() else { return };
    let copy = |name: &str| {
        let project = Project::empty();
        copy_dir(&corpus.join(name), &project.root);
        project
    };
    let file = |name: &'static str| move |dir: &Path| dir.join(name).is_file();
    let table = fs::read_to_string(repository().join("docs/layouts.md")).unwrap();
    let assert_documented = |row: String| assert!(table.contains(&row), "docs/layouts.md: {row}");

    let spec_kit = copy("speckit");
    let found = checked(&spec_kit);
    let dirs = dirs_in(&spec_kit.root.join("specs"));
    let (spec, plan, tasks) = (file("spec.md"), file("plan.md"), file("tasks.md"));
    assert_eq!(found, counted_by_files(&dirs, &[], &[&spec, &plan, &tasks], false));
    assert_documented(found.row("GitHub spec-kit", "nothing is missing"));

    let openspec = copy("openspec");
    let found = checked(&openspec);
    let changes = openspec.root.join("openspec/changes");
    let mut active = dirs_in(&changes);
    active.retain(|dir| !dir.ends_with("archive"));
    let proposal = file("proposal.md");
    let skips_specs = |dir: &Path| {
        fs::read_to_string(dir.join(".openspec.yaml"))
            .is_ok_and(|text| text.contains("skip_specs: true"))
    };
    let specs = |dir: &Path| has_file_named(&dir.join("specs"), "spec.md") || skips_specs(dir);
    let archived = dirs_in(&changes.join("archive"));
    let expected = counted_by_files(&active, &archived, &[&proposal, &specs, &tasks], true);
    assert_eq!(found, expected);
    assert_documented(found.row("OpenSpec", "archived changes without a file below `specs/`"));

    let kiro = copy("kiro");
    let found = checked(&kiro);
    let dirs = dirs_in(&kiro.root.join(".kiro/specs"));
    let first =
        |dir: &Path| ["requirements.md", "bugfix.md"].iter().any(|name| dir.join(name).is_file());
    let design = file("design.md");
    assert_eq!(found, counted_by_files(&dirs, &[], &[&first, &design, &tasks], false));
    assert_documented(found.row("Kiro", "nothing is missing"));

    // Few enough to be counted by hand: one phase with three plans, each with a summary; an output
    // folder with all documents, and a sprint of 116 stories.
    let gsd = Counted { active: 1, complete: 1, done: 3, total: 3, ..Counted::default() };
    assert_eq!(checked(&copy("gsd")), gsd);
    assert_documented(gsd.row("GSD", "nothing is missing"));
    let bmad = Counted { active: 1, complete: 1, done: 112, total: 116, ..Counted::default() };
    assert_eq!(checked(&copy("bmad")), bmad);
    assert_documented(bmad.row("BMAD-METHOD", "nothing is missing"));
}
