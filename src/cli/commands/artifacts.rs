//! `dossierd artifacts`: lists the artifacts of a feature.

use std::collections::BTreeSet;
use std::io::Write as _;

use crate::cli::args::ArtifactsArgs;
use crate::cli::daemon::query::FeatureQuery;
use crate::cli::exit::CommandExit;
use crate::cli::local::target::LocalTarget;
use crate::cli::render::{labels, output, table};
use crate::cli::scope::Scope;
use crate::client::RequestPath as Request;
use crate::core::artifact::ArtifactClass;
use crate::core::ignore::IgnoredBy;
use crate::core::path::escape_unprintable;
use crate::wire::artifacts::{ArtifactFilters, ArtifactList, IgnoredEntry, IgnoredList};

/// A value of `--step` or `--wp` that no artifact of the feature has.
#[derive(Debug, thiserror::Error)]
#[error("no artifact of {feature} has the {name} `{value}`; {known}")]
pub(crate) struct UnknownFilterValue {
    feature: String,
    name: &'static str,
    value: String,
    known: String,
}

pub(crate) fn run(args: &ArtifactsArgs) -> anyhow::Result<CommandExit> {
    if args.ignored {
        return list_ignored(args);
    }
    if let Some(mut query) = FeatureQuery::run(&args.feature, |scope| request_path(args, scope))? {
        if args.step.is_some() || args.wp.is_some() {
            let all: ArtifactList<'_> = query.get("/api/dossier/artifacts")?;
            reject_unknown_values(args, &query.slug(), &all)?;
        }
        if args.feature.project.json {
            output::print_body(&query.response.body)?;
        } else {
            show(args, query.response.parse()?)?;
        }
        return query.finish();
    }
    let target = LocalTarget::from_feature_args(&args.feature)?;
    let feature = target.scan_one()?;
    let filters = ArtifactFilters {
        class: args.class.as_deref().and_then(ArtifactClass::parse),
        wp_id: args.wp.clone(),
        step_id: args.step.clone(),
        required_only: args.required,
    };
    let artifacts = &feature.dossier.artifacts;
    let origins = target.file_origins(&feature);
    let rules = feature.provenance_rules(&origins);
    let all = ArtifactList::new(artifacts, rules, ArtifactFilters::default());
    reject_unknown_values(args, feature.dossier.context.feature_slug.as_str(), &all)?;
    show(args, ArtifactList::new(artifacts, rules, filters))?;
    Ok(target.finish())
}

/// Fails for a step or a work package that no artifact of the feature has, and names those that there are.
fn reject_unknown_values(
    args: &ArtifactsArgs,
    slug: &str,
    all: &ArtifactList<'_>,
) -> Result<(), UnknownFilterValue> {
    let reject = |name, value: &Option<String>, known: BTreeSet<&str>| match value {
        Some(value) if !known.contains(value.as_str()) => {
            let known: Vec<&str> = known.into_iter().collect();
            let known = if known.is_empty() {
                "none of them has one".to_owned()
            } else {
                format!("there are {}", labels::join_truncated(&known))
            };
            let (feature, value) = (slug.to_owned(), value.clone());
            Err(UnknownFilterValue { feature, name, value, known })
        }
        _ => Ok(()),
    };
    let steps = all.artifacts.iter().filter_map(|one| one.step_id.as_deref());
    let packages = all.artifacts.iter().filter_map(|one| one.wp_id.as_deref());
    reject("step", &args.step, steps.collect())?;
    reject("work package", &args.wp, packages.collect())
}

/// Lists what is on disk now; the daemon knows nothing of ignored files.
fn list_ignored(args: &ArtifactsArgs) -> anyhow::Result<CommandExit> {
    let target = LocalTarget::from_feature_args(&args.feature)?;
    let files = target.list_ignored()?;
    let files = files.iter().map(|file| IgnoredEntry {
        relative_path: &file.path,
        pattern: &file.pattern,
        ignored_by: file.ignored_by,
    });
    let list = IgnoredList { ignored: files.collect() };
    if args.feature.project.json {
        output::print_json(&list)?;
    } else {
        print_ignored(&list)?;
    }
    Ok(target.finish())
}

fn print_ignored(list: &IgnoredList<'_>) -> anyhow::Result<()> {
    let mut table = table::with_headings(&["PATTERN", "IGNORED BY", "PATH"]);
    for file in &list.ignored {
        let ignored_by = match file.ignored_by {
            IgnoredBy::Configuration => "configuration",
            IgnoredBy::DefaultName => "default",
        };
        table.add_row([
            escape_unprintable(file.pattern).into_owned(),
            ignored_by.to_owned(),
            escape_unprintable(&file.relative_path.text()).into_owned(),
        ]);
    }
    let mut out = output::stdout_human();
    if !list.ignored.is_empty() {
        writeln!(out, "{}", table::render(table))?;
    }
    writeln!(out, "{} ignored files", list.ignored.len())?;
    Ok(out.flush()?)
}

fn request_path(args: &ArtifactsArgs, scope: &Scope) -> Request {
    let request = scope
        .request_path("/api/dossier/artifacts")
        .with_optional("class", args.class.as_deref())
        .with_optional("wp_id", args.wp.as_deref())
        .with_optional("step_id", args.step.as_deref());
    let request = if args.required { request.with("required_only", "true") } else { request };
    if args.missing { request.with("missing_only", "true") } else { request }
}

fn show(args: &ArtifactsArgs, mut list: ArtifactList<'_>) -> anyhow::Result<()> {
    if args.missing {
        list.retain_missing();
    }
    if args.feature.project.json {
        return Ok(output::print_json(&list)?);
    }
    print(&list)
}

fn print(list: &ArtifactList<'_>) -> anyhow::Result<()> {
    let mut table = table::with_headings(&["KEY", "STATUS", "WP", "STEP", "SIZE", "STATE", "PATH"]);
    let or_dash =
        |text: Option<&str>| text.map_or("-".into(), |text| escape_unprintable(text).into_owned());
    for artifact in &list.artifacts {
        table.add_row([
            escape_unprintable(&artifact.artifact_key).into_owned(),
            artifact.required_status.to_string(),
            or_dash(artifact.wp_id.as_deref()),
            or_dash(artifact.step_id.as_deref()),
            if artifact.is_present { labels::size_label(artifact.size_bytes) } else { "-".into() },
            labels::presence_label(artifact.error_reason, artifact.error_detail.as_deref()),
            escape_unprintable(&artifact.relative_path.text()).into_owned(),
        ]);
    }
    let mut out = output::stdout_human();
    if !list.artifacts.is_empty() {
        // A narrow terminal leaves out step, work package and size.
        writeln!(out, "{}", table::render_with(table, &[3, 2, 4]))?;
    }
    writeln!(out, "{} of {} artifacts", list.artifacts.len(), list.total_count)?;
    if list.tombstones > 0 {
        writeln!(out, "{} of {} were deleted after a scan", list.tombstones, list.total_count)?;
    }
    Ok(out.flush()?)
}
