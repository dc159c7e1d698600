//! `dossierd show`: one artifact with its content.

use std::io::Write as _;

use anyhow::{Context as _, bail};
use owo_colors::OwoColorize as _;

use super::args::ShowArgs;
use super::asked::Asked;
use super::exit::Exit;
use super::target::Target;
use super::{out, words};
use crate::client::encode;
use crate::core::artifact::ArtifactRef;
use crate::core::feature::Feature;
use crate::core::key::similar;
use crate::core::path::printable;
use crate::engine::content::content as bytes_of;
use crate::wire::artifacts::{ArtifactDetail, CONTENT_MAX};

pub(super) fn run(args: &ShowArgs) -> anyhow::Result<Exit> {
    let path = format!("/api/dossier/artifacts/{}", encode(&args.key));
    if let Some(asked) = Asked::about(&args.feature, |place| place.target(&path))? {
        if args.feature.project.json {
            out::print_body(&asked.answer.body)?;
        } else {
            print(&asked.answer.read()?)?;
        }
        return asked.end();
    }
    let target = Target::of_feature(&args.feature)?;
    let feature = target.survey_one()?;
    let Some(artifact) = feature.dossier.artifact(&args.key) else {
        bail!("{}", unknown(&feature, &args.key));
    };
    let content = content(&target, artifact)?;
    let detail = ArtifactDetail::new(artifact, content.as_deref());
    if args.feature.project.json {
        out::print_json(&detail)?;
    } else {
        print(&detail)?;
    }
    Ok(target.end())
}

/// The bytes of a present artifact that is not too large; those that were hashed, or none.
pub(super) fn content(target: &Target, artifact: &ArtifactRef) -> anyhow::Result<Option<Vec<u8>>> {
    let [feature] = target.features.as_slice() else {
        return Ok(None);
    };
    bytes_of(&target.project, feature, artifact, CONTENT_MAX)
        .with_context(|| artifact.relative_path.text().to_string())
}

fn unknown(feature: &Feature, key: &str) -> String {
    let slug = &feature.dossier.terms.feature_slug;
    let known = feature.dossier.artifacts.iter().map(|artifact| &*artifact.artifact_key);
    let similar = similar(known, key);
    let mend = match similar.as_slice() {
        [] => format!("`dossierd artifacts {slug}` lists them"),
        some => format!("did you mean {}?", some.join(", ")),
    };
    format!("{slug} has no artifact `{key}`; {mend}")
}

fn print(detail: &ArtifactDetail<'_>) -> anyhow::Result<()> {
    let mut out = out::people();
    let or_dash = |text: Option<&str>| text.map_or("-".into(), |text| printable(text).into_owned());
    let hash = detail.content_hash_sha256.0;
    let hash = hash.map_or_else(|| "-".to_owned(), |hash| hash.to_string());
    let state = words::presence(detail.error_reason, detail.error_detail.as_deref());
    for (name, value) in [
        ("key", printable(&detail.artifact_key).into_owned()),
        ("class", detail.artifact_class.to_string()),
        ("path", printable(&detail.relative_path.text()).into_owned()),
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
        let text = out::printable_lines(content);
        write!(out, "\n{text}{}", if text.ends_with('\n') || text.is_empty() { "" } else { "\n" })?;
    }
    if let Some(notice) = &detail.truncation_notice {
        writeln!(out, "\n{}", printable(notice))?;
    }
    Ok(out.flush()?)
}
