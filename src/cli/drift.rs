//! `dossierd drift`: how a feature differs from its baseline.

use std::io::Write as _;

use owo_colors::OwoColorize as _;

use super::args::DriftArgs;
use super::asked::Asked;
use super::exit::Exit;
use super::target::Target;
use super::{out, table, words};
use crate::core::digest::Digest;
use crate::core::path::printable;
use crate::wire::drift::DriftDetail;

pub(super) fn run(args: &DriftArgs) -> anyhow::Result<Exit> {
    let asked = Asked::about(&args.feature, |place| place.target("/api/dossier/drift"))?;
    if let Some(asked) = asked {
        if args.feature.project.json {
            out::print_body(&asked.answer.body)?;
        } else {
            print(&asked.answer.read()?)?;
        }
        return asked.end();
    }
    let target = Target::of_feature(&args.feature)?;
    let feature = target.survey_one()?;
    let detail = DriftDetail::from(&feature);
    if args.feature.project.json {
        out::print_json(&detail)?;
    } else {
        print(&detail)?;
    }
    Ok(target.end())
}

fn print(drift: &DriftDetail<'_>) -> anyhow::Result<()> {
    let mut out = out::people();
    let verdict = words::verdict(drift.state, drift.severity);
    writeln!(out, "{}: {verdict}", printable(&drift.feature_slug).bold())?;
    writeln!(out, "{}", printable(&drift.detail))?;
    if !drift.differences.is_empty() {
        let mut table = table::table(&["KIND", "KEY", "PATH", "BASELINE", "NOW", "CHURN"]);
        let hash = |digest: &Option<Digest>| digest.as_ref().map_or("-".into(), words::short);
        for difference in &*drift.differences {
            table.add_row([
                difference.kind.to_string(),
                printable(&difference.artifact_key).into_owned(),
                printable(&difference.relative_path.text()).into_owned(),
                hash(&difference.baseline_hash),
                hash(&difference.local_hash),
                if difference.churn { "churn".into() } else { String::new() },
            ]);
        }
        write!(out, "\n{}", table::text(table))?;
    }
    Ok(out.flush()?)
}
