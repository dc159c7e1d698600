//! `dossierd report`: one HTML file of a feature, to attach to a review.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;

use anyhow::Context as _;

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
    fs::write(&args.output, html).with_context(|| format!("cannot write {shown}"))?;
    out::note(&format!("the report is in {shown}"));
    Ok(())
}
