//! A report in SARIF 2.1.0, for code scanning
//! (<https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::wire::check::{CheckFinding, CheckLevel, CheckRule, CheckSummary};

/// What is encoded in a path of a URI (RFC 3986, section 3.3).
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Returns the report of this version of the program.
#[must_use]
pub fn sarif_report(summary: &CheckSummary<'_>, version: &str) -> Value {
    let rules = CheckRule::ALL
        .map(|rule| json!({"id": rule.id(), "shortDescription": {"text": rule.description()}}));
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "dossierd", "version": version, "rules": rules}},
            "results": summary.findings().map(result).collect::<Vec<Value>>(),
            "columnKind": "unicodeCodePoints",
        }],
    })
}

fn result(finding: &CheckFinding) -> Value {
    let index = CheckRule::ALL.iter().position(|rule| *rule == finding.rule);
    let level = match finding.level {
        CheckLevel::Error => "error",
        CheckLevel::Warning => "warning",
        CheckLevel::Note => "note",
    };
    let path = utf8_percent_encode(&finding.file, ENCODED).to_string();
    // What is outside of the repository has an absolute path.
    let artifact = if finding.file.starts_with('/') {
        json!({"uri": format!("file://{path}")})
    } else {
        let path = if path.is_empty() { "." } else { &*path };
        json!({"uri": path, "uriBaseId": "%SRCROOT%"})
    };
    // Code scanning shows only results that have a region.
    let mut region = json!({"startLine": finding.line.unwrap_or(1)});
    if let Some(column) = finding.column {
        region["startColumn"] = column.into();
    }
    json!({
        "ruleId": finding.rule.id(),
        "ruleIndex": index,
        "level": level,
        "message": {"text": plain_text(&finding.message)},
        "locations": [{"physicalLocation": {"artifactLocation": artifact, "region": region}}],
    })
}

/// Escapes what would be a link in a message (section 3.11.6).
fn plain_text(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    for c in message.chars() {
        if matches!(c, '\\' | '[' | ']') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_contain_no_links() {
        assert_eq!(plain_text(r"a [b](https://x) \"), r"a \[b\](https://x) \\");
    }

    #[test]
    fn paths_are_uris() {
        let of = |file: &str| {
            let finding = CheckFinding::new(CheckRule::Skipped, file.to_owned(), "m".to_owned());
            let location =
                &result(&finding)["locations"][0]["physicalLocation"]["artifactLocation"];
            location.clone()
        };
        assert_eq!(
            of("specs/a b#?%.md"),
            json!({"uri": "specs/a%20b%23%3F%25.md", "uriBaseId": "%SRCROOT%"})
        );
        assert_eq!(of("/etc/x"), json!({"uri": "file:///etc/x"}));
    }
}
