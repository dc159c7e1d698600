//! Renders a feature as a self-contained HTML file: no script, no network, all text escaped.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::core::artifact::RequiredStatus;
use crate::core::digest::Digest;
use crate::core::drift::{DifferenceKind, DriftState, Severity};
use crate::core::feature_context::Completeness;
use crate::core::history::text_diff::{DiffHunk, DiffLine, LineKind};
use crate::core::history::unified::{NO_NEWLINE, hunk_heading};
use crate::core::task_progress::TaskProgress;
use crate::core::time::Timestamp;
use crate::wire::artifacts::{ArtifactDetail, ArtifactItem, ArtifactList};
use crate::wire::drift::DriftDetail;
use crate::wire::history::{FileDiff, StateDiff};
use crate::wire::overview::Overview;
use crate::wire::rich_text::{escape_html, render_text, write_html};

/// Maximum number of documents with content in a report; further ones are left out.
pub const MAX_REPORT_DOCUMENTS: usize = 200;
/// Maximum size in bytes of all contents of a report; beyond it contents are left out.
const MAX_REPORT_CONTENT_BYTES: usize = 8 << 20;

const CSS: &str = include_str!("report.css");

/// The data of a report.
#[derive(Debug)]
pub struct HtmlReport<'a> {
    /// Summary of the feature.
    pub overview: Overview<'a>,
    /// Artifacts of the feature.
    pub artifacts: ArtifactList<'a>,
    /// Differences from the baseline.
    pub drift: DriftDetail<'a>,
    /// What changed since the baseline, line by line; `None` without a baseline.
    pub changes: Option<StateDiff>,
    /// Artifacts whose content is shown; see [`is_included`].
    pub documents: Vec<ArtifactDetail<'a>>,
    /// Time of the report.
    pub generated_at: Timestamp,
}

/// Returns true if the report shows the content of this artifact: it is present, and is required or
/// has one of the `differing` keys.
#[must_use]
pub fn is_included(item: &ArtifactItem<'_>, differing: &BTreeSet<&str>) -> bool {
    let is_required = item.required_status == RequiredStatus::Required;
    item.is_present && (is_required || differing.contains(&*item.artifact_key))
}

impl HtmlReport<'_> {
    /// Returns the content of the file.
    #[must_use]
    pub fn to_html(&self) -> String {
        let slug = escape_html(&self.overview.feature_slug);
        let mut out = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
             style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{slug} \u{2013} dossier</title>\n<style>{CSS}</style>\n</head>\n<body>\n\
             <main>\n"
        );
        self.write_head(&mut out, &slug);
        self.write_missing(&mut out);
        self.write_differences(&mut out);
        self.write_changes(&mut out);
        self.write_artifacts(&mut out);
        self.write_contents(&mut out);
        out.push_str("</main>\n</body>\n</html>\n");
        out
    }

    fn write_head(&self, out: &mut String, slug: &str) {
        let overview = &self.overview;
        let counts = &overview.artifact_counts;
        let _ = write!(
            out,
            "<h1>{slug}</h1>\n<p class=\"made\">Dossier of {}, made {} by dossierd {}</p>\n<dl>",
            escape_html(&overview.project),
            self.generated_at,
            env!("CARGO_PKG_VERSION")
        );
        let completeness = match overview.completeness_status {
            Completeness::Complete => Label { class: "good", text: "complete" },
            Completeness::Incomplete => Label { class: "bad", text: "incomplete" },
            Completeness::Unknown => Label { class: "dim", text: "unknown" },
        };
        write_field(out, "completeness", &completeness.to_html());
        if let Some(reason) = &overview.unknown_reason {
            write_field(out, "because", &escape_html(reason));
        }
        let required = format!("{} of {} present", counts.required_present, counts.required);
        write_field(out, "required", &required);
        write_field(out, "artifacts", &counts.total.to_string());
        let drift = drift_label(self.drift.state, self.drift.severity);
        write_field(out, "drift", &drift.to_html());
        write_field(out, "mission", &escape_html(&overview.mission));
        write_field(out, "step", &overview.step.as_deref().map_or("\u{2013}".into(), escape_html));
        if let Some(next) = &overview.next_step {
            write_field(out, "next step", &escape_html(next));
        }
        if let Some(TaskProgress { done, total, .. }) = &overview.progress {
            write_field(out, "progress", &format!("{done} of {total} done"));
        }
        let baseline = overview.baseline.as_ref();
        write_field(
            out,
            "baseline",
            &baseline.map_or("none".into(), |it| escape_html(&it.captured_at)),
        );
        write_field(out, "tree", &format!("<code>{}</code>", overview.tree_hash_sha256));
        write_field(out, "parity", &format!("<code>{}</code>", overview.parity_hash_sha256));
        out.push_str("</dl>\n");
        let errors = [
            &overview.meta_error,
            &overview.step_error,
            &overview.step_warning,
            &overview.progress_error,
        ];
        for error in errors.into_iter().flatten() {
            let _ = writeln!(out, "<p class=\"bad\">{}</p>", escape_html(error));
        }
    }

    fn write_missing(&self, out: &mut String) {
        let is_missing = |item: &&ArtifactItem<'_>| {
            !item.is_present && item.required_status == RequiredStatus::Required
        };
        let missing: Vec<_> = self.artifacts.artifacts.iter().filter(is_missing).collect();
        if missing.is_empty() {
            return;
        }
        out.push_str("<h2>Missing</h2>\n<ul>\n");
        for item in missing {
            let (key, path) = (escape_html(&item.artifact_key), item.relative_path.text());
            let _ = writeln!(
                out,
                "<li class=\"bad\"><code>{key}</code>, expected at {}{}</li>",
                escape_html(&path),
                item.error_detail
                    .as_deref()
                    .map_or(String::new(), |why| format!(": {}", escape_html(why)))
            );
        }
        out.push_str("</ul>\n");
    }

    fn write_differences(&self, out: &mut String) {
        let _ = writeln!(out, "<h2>Drift</h2>\n<p>{}</p>", escape_html(&self.drift.detail));
        if self.drift.differences.is_empty() {
            return;
        }
        write_table_head(out, &["Kind", "Artifact", "Path", "Baseline", "Now", "Note"]);
        let hash = |hash: &Option<Digest>| {
            hash.as_ref().map_or_else(
                || "\u{2013}".to_owned(),
                |hash| format!("<code>{}</code>", &hash.to_string()[..12]),
            )
        };
        for difference in &*self.drift.differences {
            let kind = match difference.kind {
                DifferenceKind::Changed => Label { class: "fair", text: "changed" },
                DifferenceKind::MissingInLocal => Label { class: "bad", text: "removed" },
                DifferenceKind::FeatureMissing => Label { class: "bad", text: "feature missing" },
                DifferenceKind::MissingInBaseline => Label { class: "good", text: "added" },
            };
            write_table_row(
                out,
                &[
                    &kind.to_html(),
                    &escape_html(&difference.artifact_key),
                    &escape_html(&difference.relative_path.text()),
                    &hash(&difference.baseline_hash),
                    &hash(&difference.local_hash),
                    if difference.churn { "runtime bookkeeping" } else { "" },
                ],
            );
        }
        out.push_str("</tbody></table>\n");
    }

    /// Writes the changed lines of each file, up to the maximum size of contents.
    fn write_changes(&self, out: &mut String) {
        let files = self.changes.iter().flat_map(|changes| &changes.files);
        let with_lines: Vec<&FileDiff> = files.filter(|file| !file.hunks.is_empty()).collect();
        if with_lines.is_empty() {
            return;
        }
        out.push_str("<h2>Changed lines</h2>\n");
        let mut remaining_bytes = MAX_REPORT_CONTENT_BYTES;
        for file in with_lines {
            let size: usize = file.hunks.iter().map(DiffHunk::text_bytes).sum();
            let Some(left) = remaining_bytes.checked_sub(size) else {
                out.push_str(
                    "<p class=\"dim\">more is not included: the report has reached its maximum size</p>\n",
                );
                return;
            };
            remaining_bytes = left;
            let path = escape_html(&file.relative_path.text());
            let (added, removed) =
                (file.added_lines.unwrap_or_default(), file.removed_lines.unwrap_or_default());
            let _ = write!(
                out,
                "<details><summary>{path} +{added} -{removed}</summary>\n<pre class=\"diff\">"
            );
            for hunk in &file.hunks {
                let _ = writeln!(out, "<span class=\"dim\">{}</span>", hunk_heading(hunk));
                for line in &hunk.lines {
                    write_diff_line(out, line);
                }
            }
            out.push_str("</pre></details>\n");
        }
    }

    fn write_artifacts(&self, out: &mut String) {
        let _ = writeln!(out, "<h2>Artifacts: {}</h2>", self.artifacts.artifacts.len());
        write_table_head(
            out,
            &["Key", "Path", "Class", "Status", "Work package", "State", "Bytes"],
        );
        for item in &self.artifacts.artifacts {
            let state = match item.error_reason {
                None => "<span class=\"good\">present</span>".to_owned(),
                Some(reason) => format!("<span class=\"bad\">{reason}</span>"),
            };
            write_table_row(
                out,
                &[
                    &escape_html(&item.artifact_key),
                    &escape_html(&item.relative_path.text()),
                    item.artifact_class.as_str(),
                    &item.required_status.to_string(),
                    &item.wp_id.as_deref().map_or(String::new(), escape_html),
                    &state,
                    &item.size_bytes.to_string(),
                ],
            );
        }
        out.push_str("</tbody></table>\n");
    }

    fn write_contents(&self, out: &mut String) {
        if self.documents.is_empty() {
            return;
        }
        out.push_str("<h2>Contents of required and of changed artifacts</h2>\n");
        let mut remaining_bytes = MAX_REPORT_CONTENT_BYTES;
        for document in &self.documents {
            let path = document.relative_path.text();
            let _ = write!(
                out,
                "<details><summary><code>{}</code> {}</summary>\n<div class=\"content\">",
                escape_html(&document.artifact_key),
                escape_html(&path)
            );
            match &document.content {
                Some(text) if text.len() <= remaining_bytes => {
                    remaining_bytes -= text.len();
                    match render_text(&document.media_type_hint, text) {
                        Ok(Some(nodes)) => write_html(out, &nodes),
                        Ok(None) | Err(_) => {
                            let _ = write!(out, "<pre>{}</pre>", escape_html(text));
                        }
                    }
                }
                Some(_) => out.push_str(
                    "<p class=\"dim\">not included: the report has reached its maximum size</p>",
                ),
                None => {
                    let notice = document.truncation_notice.as_deref();
                    let notice = escape_html(notice.unwrap_or("no content"));
                    let _ = write!(out, "<p class=\"dim\">{notice}</p>");
                }
            }
            out.push_str("</div></details>\n");
        }
        if self.documents.len() == MAX_REPORT_DOCUMENTS {
            let _ = writeln!(
                out,
                "<p class=\"dim\">Only the first {MAX_REPORT_DOCUMENTS} are shown.</p>"
            );
        }
    }
}

fn write_diff_line(out: &mut String, line: &DiffLine<'_>) {
    let text = escape_html(&line.text);
    let _ = match line.kind {
        LineKind::Context => writeln!(out, " {text}"),
        LineKind::Removed => writeln!(out, "<span class=\"bad\">-{text}</span>"),
        LineKind::Added => writeln!(out, "<span class=\"good\">+{text}</span>"),
    };
    if line.no_newline {
        let _ = writeln!(out, "{NO_NEWLINE}");
    }
}

/// A coloured word.
struct Label {
    /// Class in `report.css`.
    class: &'static str,
    text: &'static str,
}

impl Label {
    fn to_html(&self) -> String {
        format!("<span class=\"{}\">{}</span>", self.class, self.text)
    }
}

fn drift_label(state: Option<DriftState>, severity: Option<Severity>) -> Label {
    let (class, text) = match (state, severity) {
        (None, _) => ("dim", "not evaluated"),
        (Some(DriftState::NoBaseline), _) => ("dim", "no baseline"),
        (Some(DriftState::InParity), _) => ("good", "in parity"),
        (Some(DriftState::KeyMismatch), _) => ("fair", "baseline key mismatch"),
        (Some(DriftState::BaselineCorrupt), _) => ("bad", "baseline corrupt"),
        (Some(DriftState::Drifted), Some(Severity::Error)) => ("bad", "drifted: error"),
        (Some(DriftState::Drifted), Some(Severity::Warning)) => ("fair", "drifted: warning"),
        (Some(DriftState::Drifted), _) => ("dim", "drifted: info"),
    };
    Label { class, text }
}

/// Writes a name and its value. The value is HTML.
fn write_field(out: &mut String, name: &str, value: &str) {
    let _ = write!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>");
}

/// Writes the start of a table and its header row.
fn write_table_head(out: &mut String, names: &[&str]) {
    out.push_str("<table><thead><tr>");
    for name in names {
        let _ = write!(out, "<th scope=\"col\">{name}</th>");
    }
    out.push_str("</tr></thead><tbody>\n");
}

/// Writes a row of a table. The cells are HTML.
fn write_table_row(out: &mut String, cells: &[&str]) {
    out.push_str("<tr>");
    for cell in cells {
        let _ = write!(out, "<td>{cell}</td>");
    }
    out.push_str("</tr>\n");
}
