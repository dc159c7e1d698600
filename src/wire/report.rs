//! A feature as one HTML file that needs nothing else: no script, no network, all text escaped.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::core::artifact::RequiredStatus;
use crate::core::digest::Digest;
use crate::core::dossier::Completeness;
use crate::core::drift::{DifferenceKind, DriftState, Severity};
use crate::core::time::Timestamp;
use crate::wire::artifacts::{ArtifactDetail, ArtifactItem, ArtifactList};
use crate::wire::drift::DriftDetail;
use crate::wire::overview::Overview;
use crate::wire::rendered::{escape_html, push_html, rendered};

/// Contents in a report, at most.
pub const DOCUMENTS_MAX: usize = 200;
/// Bytes of all contents of a report, at most.
const CONTENT_MAX: usize = 8 << 20;

const CSS: &str = include_str!("report.css");

/// What a report is made of.
#[derive(Debug)]
pub struct Report<'a> {
    /// The feature at a glance.
    pub overview: Overview<'a>,
    /// Its artifacts.
    pub list: ArtifactList<'a>,
    /// How it differs from its baseline.
    pub drift: DriftDetail<'a>,
    /// The contents that a reviewer looks at.
    pub documents: Vec<ArtifactDetail<'a>>,
    /// When it was made.
    pub made: Timestamp,
}

/// Whether an artifact's content is part of a report: what is required, and what differs.
#[must_use]
pub fn belongs(item: &ArtifactItem<'_>, differing: &BTreeSet<&str>) -> bool {
    let required = item.required_status == RequiredStatus::Required;
    item.is_present && (required || differing.contains(&*item.artifact_key))
}

impl Report<'_> {
    /// The file.
    #[must_use]
    pub fn html(&self) -> String {
        let slug = escape_html(&self.overview.feature_slug);
        let mut out = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
             style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{slug} \u{2013} dossier</title>\n<style>{CSS}</style>\n</head>\n<body>\n\
             <main>\n"
        );
        self.head(&mut out, &slug);
        self.missing(&mut out);
        self.differences(&mut out);
        self.artifacts(&mut out);
        self.contents(&mut out);
        out.push_str("</main>\n</body>\n</html>\n");
        out
    }

    fn head(&self, out: &mut String, slug: &str) {
        let overview = &self.overview;
        let counts = &overview.artifact_counts;
        let _ = write!(
            out,
            "<h1>{slug}</h1>\n<p class=\"made\">Dossier of {}, made {} by dossierd {}</p>\n<dl>",
            escape_html(&overview.project),
            self.made,
            env!("CARGO_PKG_VERSION")
        );
        let (tone, word) = match overview.completeness_status {
            Completeness::Complete => ("good", "complete"),
            Completeness::Incomplete => ("bad", "incomplete"),
            Completeness::Unknown => ("dim", "unknown"),
        };
        fact(out, "completeness", &format!("<span class=\"{tone}\">{word}</span>"));
        let required = format!("{} of {} present", counts.required_present, counts.required);
        fact(out, "required", &required);
        fact(out, "artifacts", &counts.total.to_string());
        let (tone, word) = verdict(self.drift.state, self.drift.severity);
        fact(out, "drift", &format!("<span class=\"{tone}\">{word}</span>"));
        fact(out, "mission", &escape_html(&overview.mission));
        fact(out, "step", &overview.step.as_deref().map_or("\u{2013}".into(), escape_html));
        let baseline = overview.baseline.as_ref();
        fact(out, "baseline", &baseline.map_or("none".into(), |it| escape_html(&it.captured_at)));
        fact(out, "tree", &format!("<code>{}</code>", overview.tree_hash_sha256));
        fact(out, "parity", &format!("<code>{}</code>", overview.parity_hash_sha256));
        out.push_str("</dl>\n");
        for wrong in [&overview.meta_error, &overview.step_error].into_iter().flatten() {
            let _ = writeln!(out, "<p class=\"bad\">{}</p>", escape_html(wrong));
        }
    }

    fn missing(&self, out: &mut String) {
        let required = |item: &&ArtifactItem<'_>| {
            !item.is_present && item.required_status == RequiredStatus::Required
        };
        let missing: Vec<_> = self.list.artifacts.iter().filter(required).collect();
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

    fn differences(&self, out: &mut String) {
        let _ = writeln!(out, "<h2>Drift</h2>\n<p>{}</p>", escape_html(&self.drift.detail));
        if self.drift.differences.is_empty() {
            return;
        }
        table(out, &["Kind", "Artifact", "Path", "Baseline", "Now", "Note"]);
        let hash = |hash: &Option<Digest>| {
            hash.as_ref().map_or_else(
                || "\u{2013}".to_owned(),
                |hash| format!("<code>{}</code>", &hash.to_string()[..12]),
            )
        };
        for difference in &*self.drift.differences {
            let (tone, kind) = match difference.kind {
                DifferenceKind::Changed => ("fair", "changed"),
                DifferenceKind::MissingInLocal => ("bad", "removed"),
                DifferenceKind::MissingInBaseline => ("good", "added"),
            };
            row(
                out,
                &[
                    &format!("<span class=\"{tone}\">{kind}</span>"),
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

    fn artifacts(&self, out: &mut String) {
        let _ = writeln!(out, "<h2>Artifacts: {}</h2>", self.list.artifacts.len());
        table(out, &["Key", "Path", "Class", "Status", "Work package", "State", "Bytes"]);
        for item in &self.list.artifacts {
            let state = match item.error_reason {
                None => "<span class=\"good\">present</span>".to_owned(),
                Some(reason) => format!("<span class=\"bad\">{reason}</span>"),
            };
            row(
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

    fn contents(&self, out: &mut String) {
        if self.documents.is_empty() {
            return;
        }
        out.push_str("<h2>Contents of what is required, and of what differs</h2>\n");
        let mut left = CONTENT_MAX;
        for document in &self.documents {
            let path = document.relative_path.text();
            let _ = write!(
                out,
                "<details><summary><code>{}</code> {}</summary>\n<div class=\"content\">",
                escape_html(&document.artifact_key),
                escape_html(&path)
            );
            match &document.content {
                Some(text) if text.len() <= left => {
                    left -= text.len();
                    match rendered(&document.media_type_hint, text) {
                        Some(nodes) => push_html(out, &nodes),
                        None => {
                            let _ = write!(out, "<pre>{}</pre>", escape_html(text));
                        }
                    }
                }
                Some(_) => out.push_str("<p class=\"dim\">not included: the report is full</p>"),
                None => {
                    let notice = document.truncation_notice.as_deref();
                    let notice = escape_html(notice.unwrap_or("no content"));
                    let _ = write!(out, "<p class=\"dim\">{notice}</p>");
                }
            }
            out.push_str("</div></details>\n");
        }
        if self.documents.len() == DOCUMENTS_MAX {
            let _ = writeln!(out, "<p class=\"dim\">Only the first {DOCUMENTS_MAX}.</p>");
        }
    }
}

fn verdict(state: Option<DriftState>, severity: Option<Severity>) -> (&'static str, &'static str) {
    match (state, severity) {
        (None, _) => ("dim", "not judged"),
        (Some(DriftState::NoBaseline), _) => ("dim", "no baseline"),
        (Some(DriftState::InParity), _) => ("good", "in parity"),
        (Some(DriftState::KeyMismatch), _) => ("fair", "baseline of another state"),
        (Some(DriftState::BaselineCorrupt), _) => ("bad", "baseline corrupt"),
        (Some(DriftState::Drifted), Some(Severity::Error)) => ("bad", "drifted: error"),
        (Some(DriftState::Drifted), Some(Severity::Warning)) => ("fair", "drifted: warning"),
        (Some(DriftState::Drifted), _) => ("dim", "drifted: info"),
    }
}

/// A fact whose value is HTML.
fn fact(out: &mut String, name: &str, value: &str) {
    let _ = write!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>");
}

/// The head of a table.
fn table(out: &mut String, names: &[&str]) {
    out.push_str("<table><thead><tr>");
    for name in names {
        let _ = write!(out, "<th scope=\"col\">{name}</th>");
    }
    out.push_str("</tr></thead><tbody>\n");
}

/// A row of a table; the cells are HTML.
fn row(out: &mut String, cells: &[&str]) {
    out.push_str("<tr>");
    for cell in cells {
        let _ = write!(out, "<td>{cell}</td>");
    }
    out.push_str("</tr>\n");
}
