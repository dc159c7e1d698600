//! `dossierd drift`: prints how a feature differs from its baseline.

use std::io::Write as _;

use owo_colors::OwoColorize as _;

use crate::cli::args::DriftArgs;
use crate::cli::daemon::query::FeatureQuery;
use crate::cli::exit::CommandExit;
use crate::cli::local::target::LocalTarget;
use crate::cli::render::{labels, output, table};
use crate::core::digest::Digest;
use crate::core::path::escape_unprintable;
use crate::wire::drift::DriftDetail;

pub(crate) fn run(args: &DriftArgs) -> anyhow::Result<CommandExit> {
    let query = FeatureQuery::run(&args.feature, |scope| scope.request_path("/api/dossier/drift"))?;
    if let Some(query) = query {
        if args.feature.project.json {
            output::print_body(&query.response.body)?;
        } else {
            print(&query.response.parse()?)?;
        }
        return query.finish();
    }
    let target = LocalTarget::from_feature_args(&args.feature)?;
    let feature = target.scan_one()?;
    let detail = DriftDetail::from(&feature);
    if args.feature.project.json {
        output::print_json(&detail)?;
    } else {
        print(&detail)?;
    }
    Ok(target.finish())
}

fn print(drift: &DriftDetail<'_>) -> anyhow::Result<()> {
    let mut out = output::stdout_human();
    let label = labels::drift_state_label(drift.state, drift.severity);
    writeln!(out, "{}: {label}", escape_unprintable(&drift.feature_slug).bold())?;
    writeln!(out, "{}", output::printable(&drift.detail))?;
    if !drift.differences.is_empty() {
        let mut table = table::with_headings(&["KIND", "KEY", "PATH", "BASELINE", "NOW", "CHURN"]);
        let hash = |digest: &Option<Digest>| digest.as_ref().map_or("-".into(), labels::short_hash);
        for difference in &*drift.differences {
            table.add_row([
                labels::difference_label(difference.kind).to_owned(),
                escape_unprintable(&difference.artifact_key).into_owned(),
                escape_unprintable(&difference.relative_path.text()).into_owned(),
                hash(&difference.baseline_hash),
                hash(&difference.local_hash),
                if difference.churn { "churn".into() } else { String::new() },
            ]);
        }
        // A narrow terminal leaves out the hashes and the column of churn.
        write!(out, "\n{}", table::render_with(table, &[3, 4, 5]))?;
    }
    Ok(out.flush()?)
}
