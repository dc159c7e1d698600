//! Annotations for GitHub Actions, as workflow commands on standard output
//! (<https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>).

use std::fmt::Write as _;

use crate::core::path::escape_unprintable;
use crate::wire::check::{CheckFinding, CheckLevel, CheckSummary};

/// Returns one line for each finding.
#[must_use]
pub fn github_report(summary: &CheckSummary<'_>) -> String {
    summary.findings().map(line).collect()
}

fn line(finding: &CheckFinding) -> String {
    let command = match finding.level {
        CheckLevel::Error => "error",
        CheckLevel::Warning => "warning",
        CheckLevel::Note => "notice",
    };
    let mut line = format!("::{command} ");
    if !finding.file.is_empty() {
        let _ = write!(line, "file={},", escape_property(&finding.file));
    }
    for (name, number) in [("line", finding.line), ("col", finding.column)] {
        if let Some(number) = number {
            let _ = write!(line, "{name}={number},");
        }
    }
    let _ =
        writeln!(line, "title=dossierd {}::{}", finding.rule.id(), escape_data(&finding.message));
    line
}

fn escape_data(text: &str) -> String {
    let text = text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    escape_unprintable(&text).into_owned()
}

fn escape_property(text: &str) -> String {
    escape_data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::check::CheckRule;

    #[test]
    fn no_text_ends_a_command_or_begins_another() {
        let hostile = "a,b:c%\n::error::x\r\u{1b}";
        let finding = CheckFinding {
            line: Some(2),
            ..CheckFinding::new(CheckRule::Skipped, hostile.to_owned(), hostile.to_owned())
        };
        assert_eq!(
            line(&finding),
            "::warning file=a%2Cb%3Ac%25%0A%3A%3Aerror%3A%3Ax%0D\\u{1b},line=2,title=dossierd \
             skipped::a,b:c%25%0A::error::x%0D\\u{1b}\n"
        );
    }
}
