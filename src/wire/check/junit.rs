//! A JUnit report: each feature is a test case. The format is that of
//! <https://github.com/testmoapp/junitxml>.

use std::fmt::Write as _;

use crate::wire::check::{CheckFinding, CheckSummary};

/// Name of the suite, and of the test case for what concerns no feature.
const SUITE: &str = "dossierd";

/// Returns the report. Findings that do not affect the exit code are output of a test case that passes.
#[must_use]
pub fn junit_report(summary: &CheckSummary<'_>) -> String {
    let mut cases = Vec::new();
    if !summary.general.is_empty() {
        cases.push(case(SUITE, "project", &summary.general, summary.strict));
    }
    for checked in &summary.features {
        let slug = checked.feature.dossier.context.feature_slug.as_str();
        cases.push(case(&checked.feature.project, slug, &checked.findings, summary.strict));
    }
    let failures = cases.iter().filter(|case| case.has_failed).count();
    let tests = cases.len();
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"{SUITE}\" tests=\"{tests}\" \
         failures=\"{failures}\" errors=\"0\">\n<testsuite name=\"{SUITE}\" tests=\"{tests}\" \
         failures=\"{failures}\" errors=\"0\" skipped=\"0\">\n"
    );
    out.extend(cases.into_iter().map(|case| case.xml));
    out.push_str("</testsuite>\n</testsuites>\n");
    out
}

struct TestCase {
    xml: String,
    has_failed: bool,
}

fn case(class: &str, name: &str, findings: &[CheckFinding], strict: bool) -> TestCase {
    let mut xml = format!("<testcase classname=\"{}\" name=\"{}\"", escape(class), escape(name));
    let is_failure = |one: &&CheckFinding| one.fails(strict);
    let failures: Vec<&CheckFinding> = findings.iter().filter(is_failure).collect();
    let notes: Vec<&CheckFinding> = findings.iter().filter(|one| !is_failure(one)).collect();
    if findings.is_empty() {
        xml.push_str("/>\n");
        return TestCase { xml, has_failed: false };
    }
    xml.push_str(">\n");
    if let Some(first) = failures.first() {
        let (message, kind) = (escape(&first.message), first.rule.id());
        let _ = writeln!(
            xml,
            "<failure message=\"{message}\" type=\"{kind}\">{}</failure>",
            lines(&failures)
        );
    }
    if !notes.is_empty() {
        let _ = writeln!(xml, "<system-out>{}</system-out>", lines(&notes));
    }
    xml.push_str("</testcase>\n");
    TestCase { xml, has_failed: !failures.is_empty() }
}

fn lines(findings: &[&CheckFinding]) -> String {
    let line = |one: &&CheckFinding| format!("{}: {}", one.rule.id(), one.message);
    escape(&findings.iter().map(line).collect::<Vec<_>>().join("\n"))
}

/// Escapes markup, and the characters that XML 1.0 does not allow at all.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push('\n'),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                out.extend(c.escape_default());
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
    fn texts_are_no_markup_and_notes_are_no_failures() {
        let finding =
            |rule, message: &str| CheckFinding::new(rule, String::new(), message.to_owned());
        let error = finding(CheckRule::Unreadable, "a<b>&\"\u{1b}");
        let note = finding(CheckRule::DriftAdded, "added");
        let both = case("p", "x", &[note.clone(), error], false);
        assert!(both.has_failed);
        assert_eq!(
            both.xml,
            "<testcase classname=\"p\" name=\"x\">\n<failure message=\"a&lt;b&gt;&amp;&quot;\\u{1b}\" \
             type=\"unreadable\">unreadable: a&lt;b&gt;&amp;&quot;\\u{1b}</failure>\n<system-out>drift-added: \
             added</system-out>\n</testcase>\n"
        );
        assert!(!case("p", "x", std::slice::from_ref(&note), false).has_failed);
        assert!(case("p", "x", &[note], true).has_failed);
        assert_eq!(case("p", "x", &[], true).xml, "<testcase classname=\"p\" name=\"x\"/>\n");
    }
}
