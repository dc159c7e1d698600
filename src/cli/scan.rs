//! `dossierd scan`: one look, as a table or as snapshots.

use std::io::{self, Write as _};

use super::args::ScanArgs;
use super::exit::Exit;
use super::target::{self, Target};
use super::{out, table, words};
use crate::core::feature::Feature;
use crate::core::path::printable;
use crate::wire::json;

pub(super) fn run(args: &ScanArgs) -> anyhow::Result<Exit> {
    let target = Target::of_path(&args.path)?;
    if args.json {
        print_snapshots(&target)?;
    } else {
        print_table(&target)?;
    }
    for skipped in &target.skipped {
        out::warn(&format!("{} is skipped: {}", skipped.name, skipped.reason));
    }
    let findings = target.findings();
    findings.say();
    if let Some(why) = &target.undiscovered {
        out::error(why);
        return Ok(Exit::Failed);
    }
    Ok(if findings.errors.is_empty() { Exit::Done } else { Exit::BrokenFile })
}

/// One snapshot a line, each made into text where it was computed.
fn print_snapshots(target: &Target) -> anyhow::Result<()> {
    let mut out = out::programs();
    let mut result: io::Result<()> = Ok(());
    target.survey(
        |feature| (json::line(&*feature.snapshot), target::warnings(&feature)),
        |(line, warnings)| {
            for warning in &warnings {
                out::warn(warning);
            }
            if result.is_ok() {
                result = line.and_then(|line| out.write_all(&line));
            }
        },
    )?;
    result?;
    Ok(out.flush()?)
}

fn print_table(target: &Target) -> anyhow::Result<()> {
    let mut table = table::table(&[
        "FEATURE",
        "MISSION",
        "STEP",
        "COMPLETENESS",
        "REQUIRED",
        "FILES",
        "DRIFT",
        "PARITY",
    ]);
    let mut more = String::new();
    target.survey(
        |feature| (row(&feature), findings(&feature)),
        |(row, findings)| {
            table.add_row(row);
            more.push_str(&findings);
        },
    )?;
    let mut out = out::people();
    if table.row_count() > 0 {
        out.write_all(table::text(table).as_bytes())?;
    }
    if !more.is_empty() {
        write!(out, "\n{more}")?;
    }
    Ok(out.flush()?)
}

fn row(feature: &Feature) -> Vec<String> {
    let (terms, counts) = (&feature.dossier.terms, feature.snapshot.counts);
    vec![
        terms.feature_slug.to_string(),
        terms.mission_type.as_str().to_owned(),
        terms.step.as_deref().map_or_else(|| "-".to_owned(), |step| printable(step).into_owned()),
        words::completeness(feature.snapshot.completeness_status),
        format!("{}/{}", counts.required_present, counts.required_artifacts),
        (counts.required_present + counts.optional_present).to_string(),
        words::drift(&feature.drift),
        words::short(&feature.snapshot.parity_hash_sha256),
    ]
}

fn findings(feature: &Feature) -> String {
    let slug = &feature.dossier.terms.feature_slug;
    words::findings(feature).into_iter().map(|line| format!("{slug}: {line}\n")).collect()
}
