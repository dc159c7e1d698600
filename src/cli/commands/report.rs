//! `dossierd report`: writes one HTML file about a feature, to attach to a review.

use std::collections::BTreeSet;
use std::io::Write as _;

use crate::cli::args::ReportArgs;
use crate::cli::daemon::query::FeatureQuery;
use crate::cli::exit::CommandExit;
use crate::cli::local::history::LocalHistory;
use crate::cli::output_file::{OutputAccess, write_output_file};
use crate::cli::render::output;
use crate::client::percent_encode;
use crate::core::time::Timestamp;
use crate::wire::artifacts::{ArtifactDetail, ArtifactFilters, ArtifactItem, ArtifactList};
use crate::wire::drift::DriftDetail;
use crate::wire::history::StateDiff;
use crate::wire::overview::Overview;
use crate::wire::report::{HtmlReport, MAX_REPORT_DOCUMENTS, is_included};

pub(crate) fn run(args: &ReportArgs) -> anyhow::Result<CommandExit> {
    let query =
        FeatureQuery::run(&args.feature, |scope| scope.request_path("/api/dossier/overview"))?;
    if let Some(mut query) = query {
        let overview: Overview<'_> = query.response.parse()?;
        let list: ArtifactList<'_> = query.get("/api/dossier/artifacts")?;
        let drift: DriftDetail<'_> = query.get("/api/dossier/drift")?;
        // Without a baseline there is no difference.
        let changes = match &overview.baseline {
            Some(_) => query.get::<StateDiff>("/api/dossier/diff").ok(),
            None => None,
        };
        let mut documents: Vec<ArtifactDetail<'static>> = Vec::new();
        for key in document_keys(&list.artifacts, &drift) {
            documents.push(query.get(&format!("/api/dossier/artifacts/{}", percent_encode(&key)))?);
        }
        write_report(
            args,
            &HtmlReport {
                overview,
                artifacts: list,
                drift,
                changes,
                documents,
                generated_at: now(),
            },
        )?;
        return query.finish();
    }
    let local = LocalHistory::open(&args.feature)?;
    let changes = local.changes_since_baseline();
    let LocalHistory { target, feature, .. } = &local;
    let drift = DriftDetail::from(feature);
    let origins = target.file_origins(feature);
    let rules = feature.provenance_rules(&origins);
    let list = ArtifactList::new(&feature.dossier.artifacts, rules, ArtifactFilters::default());
    let mut contents = Vec::new();
    for key in document_keys(&list.artifacts, &drift) {
        if let Some(artifact) = feature.dossier.find_artifact(&key) {
            contents.push((artifact, target.read_content(artifact)?));
        }
    }
    let documents = contents.iter();
    let documents =
        documents.map(|(artifact, text)| ArtifactDetail::new(artifact, rules, text.as_deref()));
    let documents = documents.collect();
    let overview = Overview::from(feature);
    write_report(
        args,
        &HtmlReport { overview, artifacts: list, drift, changes, documents, generated_at: now() },
    )?;
    Ok(target.finish())
}

/// Returns the keys of the artifacts whose content the report includes.
fn document_keys(items: &[ArtifactItem<'_>], drift: &DriftDetail<'_>) -> Vec<String> {
    let lists = &drift.lists;
    let churn: BTreeSet<&str> = lists.churn.iter().map(AsRef::as_ref).collect();
    let differing = lists.changed.iter().chain(&lists.missing_in_baseline).map(AsRef::as_ref);
    let differing: BTreeSet<&str> = differing.filter(|key| !churn.contains(key)).collect();
    let included = items.iter().filter(|item| is_included(item, &differing));
    included.take(MAX_REPORT_DOCUMENTS).map(|item| item.artifact_key.to_string()).collect()
}

fn now() -> Timestamp {
    Timestamp::from(std::time::SystemTime::now())
}

fn write_report(args: &ReportArgs, report: &HtmlReport<'_>) -> anyhow::Result<()> {
    let html = report.to_html();
    if args.output.as_os_str() == "-" {
        let mut out = output::stdout_machine();
        out.write_all(html.as_bytes())?;
        return Ok(out.flush()?);
    }
    let shown = args.output.display();
    write_output_file(&args.output, html.as_bytes(), OutputAccess::Private)?;
    output::note(&format!("wrote {shown}"));
    Ok(())
}
