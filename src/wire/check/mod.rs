//! The result of a check as reports for other programs: annotations of GitHub, SARIF, JUnit, Markdown.
//!
//! A report is made of findings. It does not decide the exit code.

mod finding;
mod github;
mod junit;
mod markdown;
mod sarif;
mod summary;

pub use finding::{
    CheckEffect, CheckFinding, CheckLevel, CheckRule, CheckedFeature, feature_findings,
};
pub use github::github_report;
pub use junit::junit_report;
pub use markdown::markdown_report;
pub use sarif::sarif_report;
pub use summary::{CheckSummary, discovery_finding, empty_finding, file_finding, skipped_finding};
