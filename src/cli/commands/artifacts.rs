//! `dossierd artifacts`: lists the artifacts of a feature.

use std::io::Write as _;

use crate::cli::args::ArtifactsArgs;
use crate::cli::artifact_filters::check_filter_values;
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

pub(crate) fn run(args: &ArtifactsArgs) -> anyhow::Result<CommandExit> {
    if args.ignored {
        return list_ignored(args);
    }
    if let Some(mut query) = FeatureQuery::run(&args.feature, |scope| request_path(args, scope))? {
        if args.step.is_some() || args.wp.is_some() {
            let all: ArtifactList<'_> = query.get("/api/dossier/artifacts")?;
            check_filter_values(&query.slug(), args.step.as_deref(), args.wp.as_deref(), &all)?;
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
    let slug = feature.dossier.context.feature_slug.as_str();
    check_filter_values(slug, args.step.as_deref(), args.wp.as_deref(), &all)?;
    show(args, ArtifactList::new(artifacts, rules, filters))?;
    Ok(target.finish())
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
