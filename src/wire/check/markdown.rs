//! A Markdown report, for the summary of a workflow or a comment.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::core::drift::{Drift, DriftState};
use crate::core::feature::Feature;
use crate::core::path::escape_unprintable;
use crate::wire::check::{CheckFinding, CheckSummary};

/// Maximum number of findings that are listed.
const MAX_LISTED: usize = 200;
/// Maximum size in bytes of a report: a comment on GitHub has at most 65,536 characters, the summary of a step at
/// most 1 MiB.
const MAX_BYTES: usize = 65_000;
/// Maximum size in bytes of the rows of features.
const MAX_ROW_BYTES: usize = 40_000;
/// Size in bytes that the line about findings that are left out needs at most.
const LEFT_OUT_BYTES: usize = 1_000;

/// Returns a table of the features, and a list of the findings. What has no place is counted.
#[must_use]
pub fn markdown_report(summary: &CheckSummary<'_>) -> String {
    let rows = summary.features.iter().map(|checked| Row {
        has_findings: !checked.findings.is_empty(),
        text: row_text(checked.feature),
    });
    report(rows.collect(), summary.findings().collect())
}

/// A feature in the table.
struct Row {
    has_findings: bool,
    text: String,
}

fn report(rows: Vec<Row>, findings: Vec<&CheckFinding>) -> String {
    let mut out = String::from("## dossierd check\n\n");
    write_table(&mut out, rows);
    if !findings.is_empty() {
        out.push_str("\n### Findings\n\n");
        write_findings(&mut out, findings);
    }
    out
}

fn write_table(out: &mut String, mut rows: Vec<Row>) {
    if rows.is_empty() {
        return;
    }
    out.push_str("| feature | completeness | required | drift | progress |\n| --- | --- | --- | --- | --- |\n");
    if rows.iter().map(|row| row.text.len()).sum::<usize>() > MAX_ROW_BYTES {
        rows.sort_by_key(|row| !row.has_findings);
    }
    let mut bytes = 0;
    let fits = |row: &Row| {
        bytes += row.text.len();
        bytes <= MAX_ROW_BYTES
    };
    let count = rows.iter().map(fits).take_while(|fits| *fits).count();
    let left_out = rows.split_off(count);
    out.extend(rows.into_iter().map(|row| row.text));
    if !left_out.is_empty() {
        let with_findings = left_out.iter().filter(|row| row.has_findings).count();
        let _ = writeln!(
            out,
            "\n{} more features, {with_findings} of them with findings, have no place here; `dossierd check` lists all",
            left_out.len()
        );
    }
}

fn write_findings(out: &mut String, mut findings: Vec<&CheckFinding>) {
    let lines: usize = findings.iter().map(|finding| finding_text(finding).len()).sum();
    if findings.len() > MAX_LISTED || out.len() + lines > MAX_BYTES - LEFT_OUT_BYTES {
        findings.sort_by_key(|finding| Reverse(finding.level));
    }
    let mut left_out: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, finding) in findings.iter().enumerate() {
        let text = finding_text(finding);
        if index < MAX_LISTED && out.len() + text.len() <= MAX_BYTES - LEFT_OUT_BYTES {
            out.push_str(&text);
        } else {
            *left_out.entry(finding.rule.id()).or_default() += 1;
        }
    }
    if !left_out.is_empty() {
        let kinds: Vec<String> =
            left_out.iter().map(|(rule, count)| format!("{count} **{rule}**")).collect();
        let count: usize = left_out.values().sum();
        let kinds = kinds.join(", ");
        let _ = writeln!(out, "- and {count} more: {kinds}; `dossierd check` lists all");
    }
}

fn finding_text(finding: &CheckFinding) -> String {
    let at = match finding.line {
        Some(line) => format!("{}:{line}", finding.file),
        None => finding.file.clone(),
    };
    format!("- **{}** {} {}\n", finding.rule.id(), code(&at), escape(&finding.message))
}

fn row_text(feature: &Feature) -> String {
    let (counts, progress) = (&feature.snapshot.counts, feature.progress());
    format!(
        "| {} | {}{} | {}/{} | {} | {} |\n",
        code(feature.dossier.context.feature_slug.as_str()),
        feature.snapshot.completeness_status,
        if feature.is_archived() { ", archived" } else { "" },
        counts.required_present,
        counts.required_present + counts.required_missing,
        drift_text(&feature.drift),
        progress.map_or_else(|| "-".to_owned(), |one| format!("{}/{}", one.done, one.total)),
    )
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
    use crate::wire::check::CheckRule;

    #[test]
    fn report_is_bounded_and_names_what_was_left_out() {
        let row = |number: usize| Row {
            has_findings: number >= 950,
            text: format!("| `{number:03}-{}` | complete |\n", "x".repeat(60)),
        };
        let finding = |rule, length: usize| {
            CheckFinding::new(rule, "a/b.md".to_owned(), "\u{e9}*".repeat(length))
        };
        // The one that matters most comes last.
        let mut findings = vec![finding(CheckRule::DriftAdded, 100); 150];
        findings.push(finding(CheckRule::DriftChanged, 40_000));
        findings.extend(vec![finding(CheckRule::DriftChanged, 10); 60]);
        findings.push(finding(CheckRule::RequiredMissing, 1));
        let text = report((0..1_000).map(row).collect(), findings.iter().collect());
        assert!(text.len() <= MAX_BYTES, "{}", text.len());
        assert!(
            text.contains("| `950-x") && text.contains("| `000-x"),
            "those with findings first"
        );
        let has_line = |begin: &str, end: &str| {
            text.lines().any(|line| line.starts_with(begin) && line.ends_with(end))
        };
        assert!(has_line(
            "",
            "more features, 0 of them with findings, have no place here; `dossierd check` lists all"
        ));
        assert!(has_line("- **required-missing** `a/b.md`", ""), "errors first");
        let shown = |rule: &str| text.matches(&format!("- **{rule}** ")).count();
        let (added, changed) = (150 - shown("drift-added"), 61 - shown("drift-changed"));
        assert_eq!((changed, added > 11), (1, true), "what is too long has no place");
        let count = added + changed;
        let expected = format!(
            "- and {count} more: {added} **drift-added**, 1 **drift-changed**; `dossierd check` lists all"
        );
        assert!(has_line(&expected, ""), "{}", text.lines().last().unwrap());
    }

    #[test]
    fn report_that_fits_keeps_the_order() {
        let rows = (0..3).map(|n| Row { has_findings: n == 2, text: format!("| {n} |\n") });
        let findings = [CheckRule::DriftAdded, CheckRule::RequiredMissing]
            .map(|rule| CheckFinding::new(rule, "f".to_owned(), "m".to_owned()));
        let text = report(rows.collect(), findings.iter().collect());
        let (_, rest) = text.split_once("| --- |\n").unwrap();
        assert_eq!(
            rest,
            "| 0 |\n| 1 |\n| 2 |\n\n### Findings\n\n- **drift-added** `f` m\n- **required-missing** `f` m\n"
        );
    }

    #[test]
    fn texts_are_no_markup() {
        assert_eq!(escape("<b>*x*</b> @me [a](b)"), "&lt;b>\\*x\\*&lt;/b> &#64;me \\[a\\](b)");
        assert_eq!(code("a|b"), "`a\\|b`");
        assert_eq!(code("a`b<"), "a\\`b&lt;");
    }
}
