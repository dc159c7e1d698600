//! `dossierd layouts`: lists the layouts, and which of them apply to a project and why.

use std::io::Write as _;

use owo_colors::OwoColorize as _;
use serde::Serialize;

use crate::cli::args::LayoutsArgs;
use crate::cli::exit::CommandExit;
use crate::cli::local::target::LocalTarget;
use crate::cli::render::{output, table};
use crate::core::layout::recognition::AppliedLayout;
use crate::core::layout::{FeatureKind, Layout};
use crate::core::path::{escape_bytes, escape_unprintable};
use std::os::unix::ffi::OsStrExt as _;

/// The output of `layouts --json`.
#[derive(Debug, Serialize)]
struct LayoutReport {
    /// Root of the project; `None` if the path is in none.
    root: Option<String>,
    layouts: Vec<LayoutItem>,
}

/// One layout.
#[derive(Debug, Serialize)]
struct LayoutItem {
    name: String,
    /// Where its file is: `embedded`, `user` or `project`.
    source: String,
    applies: bool,
    /// Why it applies: the marker that was found, or that the configuration names it.
    reason: Option<String>,
    markers: Vec<String>,
    /// Patterns of its features.
    features: Vec<String>,
}

pub(crate) fn run(args: &LayoutsArgs) -> anyhow::Result<CommandExit> {
    let target = LocalTarget::for_layouts(&args.path)?;
    let applied = target.project.applied_layouts();
    let item = |layout: &Layout| LayoutItem {
        name: layout.name.clone(),
        source: target.project.layout_source(&layout.name).to_string(),
        applies: applied.iter().any(|one| one.layout.name == layout.name),
        reason: applied.iter().find(|one| one.layout.name == layout.name).map(reason),
        markers: layout.markers.iter().map(|one| one.path.as_str().to_owned()).collect(),
        features: feature_patterns(layout),
    };
    let known = target.project.known_layouts();
    let mut layouts: Vec<LayoutItem> = applied.iter().map(|one| item(&one.layout)).collect();
    let is_applied = |name: &str| applied.iter().any(|one| one.layout.name == name);
    layouts.extend(known.iter().filter(|one| !is_applied(&one.name)).map(|one| item(one)));
    let root = escape_bytes(target.project.root.as_os_str().as_bytes()).into_owned();
    let root = target.is_recognised.then_some(root);
    if args.json {
        output::print_json(&LayoutReport { root, layouts })?;
    } else {
        print(root.as_deref(), &layouts)?;
    }
    Ok(target.finish())
}

fn reason(applied: &AppliedLayout) -> String {
    match &applied.marker {
        Some(marker) => format!("found {}", marker.text()),
        None => "named in .dossierd/config.yaml".to_owned(),
    }
}

fn feature_patterns(layout: &Layout) -> Vec<String> {
    let rules = layout.features.iter().filter(|rule| rule.kind != FeatureKind::Documents);
    rules.flat_map(|rule| rule.include.iter().map(ToString::to_string)).collect()
}

fn print(root: Option<&str>, layouts: &[LayoutItem]) -> anyhow::Result<()> {
    let mut out = output::stdout_human();
    match root {
        Some(root) => writeln!(out, "{}", escape_unprintable(root).bold())?,
        None => output::note("the path is in no project; these layouts are known"),
    }
    let mut table = table::with_headings(&["LAYOUT", "SOURCE", "APPLIES", "FEATURES"]);
    for layout in layouts {
        let applies = layout
            .reason
            .as_deref()
            .map_or("-".to_owned(), |reason| escape_unprintable(reason).green().to_string());
        let features = escape_unprintable(&layout.features.join(" ")).into_owned();
        table.add_row([layout.name.clone(), layout.source.clone(), applies, features]);
    }
    out.write_all(table::render(table).as_bytes())?;
    Ok(out.flush()?)
}
