//! `dossierd scan`: scans once and prints a table or the snapshots.

use std::io::{self, Write as _};

use crate::cli::args::ScanArgs;
use crate::cli::exit::CommandExit;
use crate::cli::local::target;
use crate::cli::local::target::LocalTarget;
use crate::cli::render::{labels, output, table};
use crate::core::feature::Feature;
use crate::core::path::escape_unprintable;
use crate::wire::json;

pub(crate) fn run(args: &ScanArgs) -> anyhow::Result<CommandExit> {
    let targets = LocalTarget::all_from_path(&args.path, args.lone.into())?;
    let mut exits = Vec::with_capacity(targets.len());
    for target in &targets {
        if targets.len() > 1 {
            output::note(&format!("project {}", target.project.root.display()));
        }
        exits.push(scan_project(args, target)?);
    }
    let worst = exits.into_iter().max_by_key(|exit| exit.code());
    Ok(worst.unwrap_or(CommandExit::Success))
}

fn scan_project(args: &ScanArgs, target: &LocalTarget) -> anyhow::Result<CommandExit> {
    if args.json {
        print_snapshots(target)?;
    } else {
        print_table(target)?;
    }
    for skipped in &target.skipped {
        output::warn(&labels::skipped_dir(skipped));
    }
    if target.discovery_error.is_none() {
        for dir in &target.unreadable {
            output::warn(&labels::unreadable_dir(dir));
        }
    }
    let diagnostics = target.diagnostics();
    diagnostics.print();
    if let Some(error) = &target.discovery_error {
        output::error(error);
        return Ok(CommandExit::Failed);
    }
    Ok(diagnostics.exit())
}

/// Prints each snapshot as one line of JSON, serialised by the scanning thread.
fn print_snapshots(target: &LocalTarget) -> anyhow::Result<()> {
    let mut out = output::stdout_machine();
    let mut result: io::Result<()> = Ok(());
    target.scan(
        |feature| (json::to_line(&*feature.snapshot), target::feature_warnings(&feature)),
        |(line, warnings)| {
            for warning in &warnings {
                output::warn(warning);
            }
            if result.is_ok() {
                result = line.and_then(|line| out.write_all(&line));
            }
        },
    )?;
    result?;
    Ok(out.flush()?)
}

/// Columns that a narrow terminal leaves out: hash, mission, artifacts, progress, required, step.
const DROPPED_COLUMNS: [usize; 6] = [8, 1, 6, 4, 5, 2];

fn print_table(target: &LocalTarget) -> anyhow::Result<()> {
    let mut table = table::with_headings(&[
        "FEATURE",
        "MISSION",
        "STEP",
        "COMPLETENESS",
        "PROGRESS",
        "REQUIRED",
        "ARTIFACTS",
        "DRIFT",
        "PARITY",
    ]);
    let mut problems = String::new();
    target.scan(
        |feature| (feature_row(&feature), diagnostic_lines(&feature)),
        |(row, lines)| {
            table.add_row(row);
            problems.push_str(&lines);
        },
    )?;
    let mut out = output::stdout_human();
    if table.row_count() > 0 {
        out.write_all(table::render_with(table, &DROPPED_COLUMNS).as_bytes())?;
    }
    if !problems.is_empty() {
        write!(out, "\n{problems}")?;
    }
    Ok(out.flush()?)
}

fn feature_row(feature: &Feature) -> Vec<String> {
    let (context, counts) = (&feature.dossier.context, feature.snapshot.counts);
    vec![
        context.feature_slug.to_string(),
        context.mission_type.as_str().to_owned(),
        context
            .step
            .id
            .as_deref()
            .map_or_else(|| "-".to_owned(), |step| escape_unprintable(step).into_owned()),
        labels::completeness_label(feature.snapshot.completeness_status),
        feature.progress().map_or("-".to_owned(), |progress| labels::progress_label(&progress)),
        format!("{}/{}", counts.required_present, counts.required_artifacts),
        (counts.required_present + counts.optional_present).to_string(),
        labels::drift_label(&feature.drift),
        labels::short_hash(&feature.snapshot.parity_hash_sha256),
    ]
}

fn diagnostic_lines(feature: &Feature) -> String {
    let slug = &feature.dossier.context.feature_slug;
    labels::feature_problems(feature).into_iter().map(|line| format!("{slug}: {line}\n")).collect()
}
