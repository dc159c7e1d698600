//! `dossierd artifacts`: the artifacts of a feature.

use std::io::Write as _;

use super::args::ArtifactsArgs;
use super::exit::Exit;
use super::target::Target;
use super::{out, table, words};
use crate::core::artifact::ArtifactClass;
use crate::core::path::printable;
use crate::wire::artifacts::{ArtifactList, Filters};

pub(super) fn run(args: &ArtifactsArgs) -> anyhow::Result<Exit> {
    let target = Target::of_feature(&args.feature)?;
    let feature = target.survey_one()?;
    let filters = Filters {
        class: args.class.as_deref().and_then(ArtifactClass::parse),
        wp_id: args.wp.clone(),
        step_id: args.step.clone(),
        required_only: args.required,
    };
    let artifacts = &feature.dossier.artifacts;
    let mut list = ArtifactList::new(artifacts, filters);
    if args.missing {
        list.keep_missing();
    }
    if args.feature.project.json {
        out::print_json(&list)?;
    } else {
        print(&list)?;
    }
    Ok(target.end())
}

fn print(list: &ArtifactList<'_>) -> anyhow::Result<()> {
    let mut table = table::table(&["KEY", "STATUS", "WP", "STEP", "SIZE", "STATE", "PATH"]);
    let or_dash = |text: Option<&str>| text.map_or("-".into(), |text| printable(text).into_owned());
    for artifact in &list.artifacts {
        table.add_row([
            printable(&artifact.artifact_key).into_owned(),
            artifact.required_status.to_string(),
            or_dash(artifact.wp_id.as_deref()),
            or_dash(artifact.step_id.as_deref()),
            artifact.size_bytes.to_string(),
            words::presence(artifact.error_reason, artifact.error_detail.as_deref()),
            printable(&artifact.relative_path.text()).into_owned(),
        ]);
    }
    let mut out = out::people();
    if !list.artifacts.is_empty() {
        writeln!(out, "{}", table::text(table))?;
    }
    writeln!(out, "{} of {} artifacts", list.artifacts.len(), list.total_count)?;
    Ok(out.flush()?)
}
