//! `dossierd show`: prints one artifact and its content.

use std::io::{IsTerminal as _, Write as _};

use anyhow::bail;
use owo_colors::OwoColorize as _;

use crate::cli::args::ShowArgs;
use crate::cli::artifact_names::resolve_artifact_names;
use crate::cli::daemon::query::FeatureQuery;
use crate::cli::exit::CommandExit;
use crate::cli::local::history::LocalHistory;
use crate::cli::local::target::LocalTarget;
use crate::cli::render::{labels, output};
use crate::client::percent_encode;
use crate::core::feature::Feature;
use crate::core::history::revision::Revision;
use crate::core::key::suggest_similar;
use crate::core::path::escape_unprintable;
use crate::history::states::PastStateError;
use crate::wire::artifacts::ArtifactDetail;
use crate::wire::history::VersionContentDetail;

pub(crate) fn run(args: &ShowArgs) -> anyhow::Result<CommandExit> {
    let names = resolve_artifact_names(std::slice::from_ref(&args.key), &args.feature);
    let name = names.first().unwrap_or(&args.key);
    if let Some(at) = args.at.as_deref().or(args.raw.then_some("now")) {
        return show_content(args, name, at);
    }
    let path = format!("/api/dossier/artifacts/{}", percent_encode(name));
    if let Some(query) = FeatureQuery::run(&args.feature, |scope| scope.request_path(&path))? {
        if args.feature.project.json {
            output::print_body(&query.response.body)?;
        } else {
            print(&query.response.parse()?)?;
        }
        return query.finish();
    }
    let target = LocalTarget::from_feature_args(&args.feature)?;
    let feature = target.scan_one()?;
    let Some(artifact) = feature.dossier.find_by_name(name) else {
        bail!("{}", unknown_artifact_message(&feature, &args.key));
    };
    let content = target.read_content(artifact)?;
    let origins = target.file_origins(&feature);
    let rules = feature.provenance_rules(&origins);
    let detail = ArtifactDetail::new(artifact, rules, content.as_deref());
    if args.feature.project.json {
        output::print_json(&detail)?;
    } else {
        print(&detail)?;
    }
    Ok(target.finish())
}

/// Prints the content that an artifact has in a state.
fn show_content(args: &ShowArgs, name: &str, at: &str) -> anyhow::Result<CommandExit> {
    let revision = Revision::parse(at)?;
    let query = FeatureQuery::run(&args.feature, |scope| {
        let path = scope.request_path("/api/dossier/content").with("at", at);
        path.with("artifact_key", name)
    })?;
    if let Some(query) = query {
        if args.feature.project.json {
            output::print_body(&query.response.body)?;
        } else {
            print_content(&query.response.parse()?)?;
        }
        return query.finish();
    }
    let local = LocalHistory::open(&args.feature)?;
    let (path, hash) = local.history.version_of(name, &revision, local.now)?;
    let Some(bytes) = local.content(&path, &hash)? else {
        let reason = local.history.not_stored_reason(&path, &hash);
        return Err(PastStateError::NotStored { path, hash, reason }.into());
    };
    let detail = VersionContentDetail {
        content_hash_sha256: hash,
        size_bytes: bytes.len() as u64,
        content: String::from_utf8(bytes).ok(),
    };
    if args.feature.project.json {
        output::print_json(&detail)?;
    } else {
        print_content(&detail)?;
    }
    Ok(local.target.finish())
}

/// Prints the content alone: unchanged into a pipe or file, escaped on a terminal.
fn print_content(detail: &VersionContentDetail) -> anyhow::Result<()> {
    let Some(content) = &detail.content else {
        bail!(
            "the content {:.12} is not text, and is not printed; open the file itself",
            detail.content_hash_sha256
        );
    };
    if std::io::stdout().is_terminal() {
        let mut out = output::stdout_human();
        let text = output::printable_lines(content);
        write!(out, "{text}{}", if text.ends_with('\n') || text.is_empty() { "" } else { "\n" })?;
        return Ok(out.flush()?);
    }
    Ok(output::print_body(content.as_bytes())?)
}

fn unknown_artifact_message(feature: &Feature, key: &str) -> String {
    let slug = &feature.dossier.context.feature_slug;
    let known = feature.dossier.artifacts.iter().map(|artifact| &*artifact.artifact_key);
    let similar = suggest_similar(known, key);
    let fix = match similar.as_slice() {
        [] => format!("run `dossierd artifacts {slug}` to list them"),
        some => format!("did you mean {}?", some.join(", ")),
    };
    format!("{slug} has no artifact `{key}`; {fix}")
}

fn print(detail: &ArtifactDetail<'_>) -> anyhow::Result<()> {
    let mut out = output::stdout_human();
    let or_dash =
        |text: Option<&str>| text.map_or("-".into(), |text| escape_unprintable(text).into_owned());
    let hash = detail.content_hash_sha256.0;
    let hash = hash.map_or_else(|| "-".to_owned(), |hash| hash.to_string());
    let state = labels::presence_label(detail.error_reason, detail.error_detail.as_deref());
    for (name, value) in [
        ("key", escape_unprintable(&detail.artifact_key).into_owned()),
        ("class", detail.artifact_class.to_string()),
        ("path", escape_unprintable(&detail.relative_path.text()).into_owned()),
        ("state", state),
        ("status", detail.required_status.to_string()),
        ("step", or_dash(detail.step_id.as_deref())),
        ("work package", or_dash(detail.wp_id.as_deref())),
        ("size", format!("{} bytes", detail.size_bytes)),
        ("sha256", hash),
    ] {
        writeln!(out, "{:<13} {value}", name.dimmed())?;
    }
    if let Some(content) = &detail.content {
        let text = output::printable_lines(content);
        write!(out, "\n{text}{}", if text.ends_with('\n') || text.is_empty() { "" } else { "\n" })?;
    }
    if let Some(notice) = &detail.truncation_notice {
        writeln!(out, "\n{}", escape_unprintable(notice))?;
    }
    Ok(out.flush()?)
}
