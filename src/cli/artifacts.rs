//! `dossierd artifacts`: the artifacts of a feature.

use std::io::Write as _;

use super::args::ArtifactsArgs;
use super::asked::Asked;
use super::exit::Exit;
use super::place::Place;
use super::target::Target;
use super::{out, table, words};
use crate::client::Target as Request;
use crate::core::artifact::ArtifactClass;
use crate::core::path::printable;
use crate::wire::artifacts::{ArtifactList, Filters};

pub(super) fn run(args: &ArtifactsArgs) -> anyhow::Result<Exit> {
    if let Some(asked) = Asked::about(&args.feature, |place| request(args, place))? {
        if args.feature.project.json {
            out::print_body(&asked.answer.body)?;
        } else {
            show(args, asked.answer.read()?)?;
        }
        return asked.end();
    }
    let target = Target::of_feature(&args.feature)?;
    let feature = target.survey_one()?;
    let filters = Filters {
        class: args.class.as_deref().and_then(ArtifactClass::parse),
        wp_id: args.wp.clone(),
        step_id: args.step.clone(),
        required_only: args.required,
    };
    let artifacts = &feature.dossier.artifacts;
    show(args, ArtifactList::new(artifacts, filters))?;
    Ok(target.end())
}

fn request(args: &ArtifactsArgs, place: &Place) -> Request {
    let request = place
        .target("/api/dossier/artifacts")
        .with_some("class", args.class.as_deref())
        .with_some("wp_id", args.wp.as_deref())
        .with_some("step_id", args.step.as_deref());
    let request = if args.required { request.with("required_only", "true") } else { request };
    if args.missing { request.with("missing_only", "true") } else { request }
}

fn show(args: &ArtifactsArgs, mut list: ArtifactList<'_>) -> anyhow::Result<()> {
    if args.missing {
        list.keep_missing();
    }
    if args.feature.project.json {
        return Ok(out::print_json(&list)?);
    }
    print(&list)
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
    if list.tombstones > 0 {
        writeln!(out, "{} of the {} deleted after a scan", list.tombstones, list.total_count)?;
    }
    Ok(out.flush()?)
}
