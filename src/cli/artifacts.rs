//! `dossierd artifacts`: the artifacts of a feature.

use std::io::Write as _;

use super::args::ArtifactsArgs;
use super::exit::Exit;
use super::target::Target;
use super::{out, table, words};
use crate::core::artifact::{ArtifactClass, ArtifactRef};
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
    if args.feature.project.json {
        let mut list = ArtifactList::new(artifacts, filters);
        if args.missing {
            list.artifacts.retain(|artifact| !artifact.is_present);
            list.filtered_count = list.artifacts.len();
        }
        out::print_json(&list)?;
    } else {
        let wanted = |a: &&ArtifactRef| filters.pass(a) && !(args.missing && a.is_present());
        print(
            &artifacts.iter().map(AsRef::as_ref).filter(wanted).collect::<Vec<_>>(),
            artifacts.len(),
        )?;
    }
    Ok(target.end())
}

fn print(artifacts: &[&ArtifactRef], total: usize) -> anyhow::Result<()> {
    let mut table = table::table(&["KEY", "STATUS", "WP", "STEP", "SIZE", "STATE", "PATH"]);
    let or_dash = |text: Option<&str>| text.map_or("-".into(), |text| printable(text).into_owned());
    for artifact in artifacts {
        table.add_row([
            artifact.artifact_key.to_string(),
            artifact.required_status.to_string(),
            or_dash(artifact.wp_id.as_deref()),
            or_dash(artifact.step_id.as_deref()),
            artifact.size_bytes.to_string(),
            words::presence(artifact),
            printable(&artifact.relative_path.text()).into_owned(),
        ]);
    }
    let mut out = out::people();
    if !artifacts.is_empty() {
        writeln!(out, "{}", table::text(table))?;
    }
    writeln!(out, "{} of {total} artifacts", artifacts.len())?;
    Ok(out.flush()?)
}
