//! A Markdown report, for the summary of a workflow or a comment.

use std::fmt::Write as _;

use crate::core::drift::{Drift, DriftState};
use crate::core::path::escape_unprintable;
use crate::wire::check::CheckSummary;

/// Maximum number of findings that are listed; the others are counted, because a comment on GitHub ends at
/// 65,536 characters.
const MAX_LISTED: usize = 200;

/// Returns a table of the features, and a list of the findings.
#[must_use]
pub fn markdown_report(summary: &CheckSummary<'_>) -> String {
    let mut out = String::from("## dossierd check\n\n");
    if !summary.features.is_empty() {
        out.push_str("| feature | completeness | required | drift | progress |\n| --- | --- | --- | --- | --- |\n");
    }
    for checked in &summary.features {
        let (feature, counts) = (checked.feature, &checked.feature.snapshot.counts);
        let progress = feature.progress();
        let _ = writeln!(
            out,
            "| {} | {}{} | {}/{} | {} | {} |",
            code(feature.dossier.context.feature_slug.as_str()),
            feature.snapshot.completeness_status,
            if feature.is_archived() { ", archived" } else { "" },
            counts.required_present,
            counts.required_present + counts.required_missing,
            drift_text(&feature.drift),
            progress.map_or_else(|| "-".to_owned(), |one| format!("{}/{}", one.done, one.total)),
        );
    }
    let count = summary.findings().count();
    if count > 0 {
        out.push_str("\n### Findings\n\n");
    }
    for finding in summary.findings().take(MAX_LISTED) {
        let at = match finding.line {
            Some(line) => format!("{}:{line}", finding.file),
            None => finding.file.clone(),
        };
        let _ =
            writeln!(out, "- **{}** {} {}", finding.rule.id(), code(&at), escape(&finding.message));
    }
    if count > MAX_LISTED {
        let _ = writeln!(out, "- and {} more", count - MAX_LISTED);
    }
    out
}

fn drift_text(drift: &Drift) -> String {
    let state = match drift.state {
        None => "not evaluated",
        Some(DriftState::NoBaseline) => "no baseline",
        Some(DriftState::KeyMismatch) => "key mismatch",
        Some(DriftState::BaselineCorrupt) => "baseline corrupt",
        Some(DriftState::InParity) => "in parity",
        Some(DriftState::Drifted) => "drifted",
    };
    match drift.severity {
        Some(severity) => format!("{state} ({severity})"),
        None => state.to_owned(),
    }
}

/// Returns a code span for a cell of a table. In a span only backticks and the bars of the table count.
fn code(text: &str) -> String {
    let text = escape_unprintable(text).replace('|', "\\|");
    if text.contains('`') { escape(&text) } else { format!("`{text}`") }
}

/// Escapes what Markdown or HTML would interpret.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in escape_unprintable(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            // A mention would notify people.
            '@' => out.push_str("&#64;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '!' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_no_markup() {
        assert_eq!(escape("<b>*x*</b> @me [a](b)"), "&lt;b>\\*x\\*&lt;/b> &#64;me \\[a\\](b)");
        assert_eq!(code("a|b"), "`a\\|b`");
        assert_eq!(code("a`b<"), "a\\`b&lt;");
    }
}
