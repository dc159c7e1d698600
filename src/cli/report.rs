//! `dossierd report`: one HTML file of a feature, to attach to a review.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::args::ReportArgs;
use super::asked::Asked;
use super::exit::Exit;
use super::out;
use super::show::content;
use super::target::Target;
use crate::client::encode;
use crate::core::time::Timestamp;
use crate::wire::artifacts::{ArtifactDetail, ArtifactItem, ArtifactList, Filters};
use crate::wire::drift::DriftDetail;
use crate::wire::overview::Overview;
use crate::wire::report::{DOCUMENTS_MAX, Report, belongs};

pub(super) fn run(args: &ReportArgs) -> anyhow::Result<Exit> {
    let asked = Asked::about(&args.feature, |place| place.target("/api/dossier/overview"))?;
    if let Some(mut asked) = asked {
        let overview: Overview<'_> = asked.answer.read()?;
        let list: ArtifactList<'_> = asked.more("/api/dossier/artifacts")?;
        let drift: DriftDetail<'_> = asked.more("/api/dossier/drift")?;
        let mut documents: Vec<ArtifactDetail<'static>> = Vec::new();
        for key in keys(&list.artifacts, &drift) {
            documents.push(asked.more(&format!("/api/dossier/artifacts/{}", encode(&key)))?);
        }
        write(args, &Report { overview, list, drift, documents, made: now() })?;
        return asked.end();
    }
    let target = Target::of_feature(&args.feature)?;
    let feature = target.survey_one()?;
    let drift = DriftDetail::from(&feature);
    let list = ArtifactList::new(&feature.dossier.artifacts, Filters::default());
    let mut contents = Vec::new();
    for key in keys(&list.artifacts, &drift) {
        if let Some(artifact) = feature.dossier.artifact(&key) {
            contents.push((artifact, content(&target, artifact)?));
        }
    }
    let documents = contents.iter();
    let documents =
        documents.map(|(artifact, text)| ArtifactDetail::new(artifact, text.as_deref()));
    let documents = documents.collect();
    let overview = Overview::from(&feature);
    write(args, &Report { overview, list, drift, documents, made: now() })?;
    Ok(target.end())
}

/// The artifacts whose content is part of a report.
fn keys(items: &[ArtifactItem<'_>], drift: &DriftDetail<'_>) -> Vec<String> {
    let lists = &drift.lists;
    let churn: BTreeSet<&str> = lists.churn.iter().map(AsRef::as_ref).collect();
    let differing = lists.changed.iter().chain(&lists.missing_in_baseline).map(AsRef::as_ref);
    let differing: BTreeSet<&str> = differing.filter(|key| !churn.contains(key)).collect();
    let wanted = items.iter().filter(|item| belongs(item, &differing));
    wanted.take(DOCUMENTS_MAX).map(|item| item.artifact_key.to_string()).collect()
}

/// Writes a file, but not through a link: whoever owns the folder may have put it there to have
/// another file overwritten. `/dev/stdout` is a link of the system's own.
fn write_file(output: &Path, html: &str) -> anyhow::Result<()> {
    let mut options = fs::File::options();
    options.write(true).create(true).truncate(true);
    if !output.starts_with("/dev") {
        options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    }
    let about = || format!("cannot write {}", output.display());
    let mut file = match options.open(output) {
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            bail!(
                "{} is a symbolic link, not followed; name the file it leads to",
                output.display()
            )
        }
        opened => opened.with_context(about)?,
    };
    file.write_all(html.as_bytes()).with_context(about)
}

fn now() -> Timestamp {
    Timestamp::from(std::time::SystemTime::now())
}

fn write(args: &ReportArgs, report: &Report<'_>) -> anyhow::Result<()> {
    let html = report.html();
    if args.output.as_os_str() == "-" {
        let mut out = out::programs();
        out.write_all(html.as_bytes())?;
        return Ok(out.flush()?);
    }
    let shown = args.output.display();
    write_file(&args.output, &html)?;
    out::note(&format!("the report is in {shown}"));
    Ok(())
}
