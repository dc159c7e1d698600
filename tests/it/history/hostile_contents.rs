//! Contents that are made to mislead, stall or break: control characters, markup, very long lines, other line ends and
//! encodings. In text they are escaped, in JSON they are exact, and all come back byte for byte.

use std::fs;

use serde_json::Value;

use super::wait_until_stored;
use crate::support::{FEATURE, Project, sha256};

/// Size of a file that may be stored, and of one that may not.
const STORED_LINE: usize = 1_000_000;
const HUGE_LINE: usize = 10_000_000;

#[test]
fn hostile_contents_are_escaped_listed_and_restored_exactly() {
    let control = "# \u{1b}[31m\u{1b}]0;title\u{7}\u{202e}<script>x</script>\u{0}\n";
    let files: [(&str, Vec<u8>); 5] = [
        ("control.md", control.replace('\0', "").into_bytes()),
        ("crlf.md", b"one\r\ntwo\r\nthree".to_vec()),
        ("long.md", "x".repeat(STORED_LINE).into_bytes()),
        ("bom.md", "\u{feff}# Mark\n".into()),
        ("wide.md", "\u{1f600}\u{5d0}\u{301}\n".repeat(500).into_bytes()),
    ];
    let mut project = Project::complete();
    for (name, bytes) in &files {
        project = project.artifact(name, bytes);
    }
    // These are not stored: not text, and too large.
    let mut project = project.artifact("latin1.md", b"caf\xe9\n");
    project = project.artifact("huge.md", "y".repeat(HUGE_LINE));
    let daemon = project.start_daemon();
    wait_until_stored(&daemon);
    project.run_client(&["baseline", "accept", FEATURE]).assert_success();
    for (name, _) in &files {
        project.write(&format!("kitty-specs/001-x/{name}"), "replaced\n");
    }
    project.write("kitty-specs/001-x/huge.md", "z".repeat(HUGE_LINE));
    wait_until_stored(&daemon);

    // Text has no control character but line ends, whichever way it is shown.
    for arguments in [
        &["diff", FEATURE][..],
        &["diff", FEATURE, "--color", "always"],
        &["diff", FEATURE, "--stat"],
        &["log", FEATURE],
    ] {
        let output = project.run_client(arguments);
        assert!(output.code <= 1, "{arguments:?}: {}", output.stderr);
        let is_coloured = arguments.contains(&"--color");
        let is_patch = arguments == ["diff", FEATURE];
        let allowed = |c: char| {
            // A patch into a pipe has the exact bytes, so that `git apply` accepts it.
            c == '\n'
                || is_patch
                || is_coloured && c == '\u{1b}'
                || !c.is_control() && c != '\u{202e}'
        };
        assert!(output.stdout.chars().all(allowed), "{arguments:?}: {:.2000}", output.stdout);
        assert!(!output.stdout.contains("\u{1b}]0;") || is_patch, "{arguments:?}");
    }
    let diff = daemon.get_json("/api/dossier/diff?feature=001-x");
    let file = |name: &str| -> Value {
        let files = diff["files"].as_array().unwrap();
        files.iter().find(|file| file["relative_path"] == name).unwrap().clone()
    };
    let is_known = |name: &str| !file(name)["hunks"].is_null();
    assert!(files.iter().all(|(name, _)| is_known(name)), "{:.2000}", diff.to_string());
    assert!(!file("huge.md")["unavailable"].is_null());
    assert!(file("crlf.md")["hunks"].to_string().contains(r"one\r"), "{}", file("crlf.md"));

    for (name, bytes) in &files {
        let prefix = &sha256(bytes)[..16];
        let query = format!("/api/dossier/content?feature=001-x&hash={prefix}");
        assert_eq!(
            daemon.get_json(&query)["content"].as_str().unwrap().as_bytes(),
            bytes,
            "{name}"
        );
        project.run_client(&["restore", FEATURE, name, "--force"]).assert_success();
        let restored = fs::read(project.feature_dir().join(name)).unwrap();
        assert!(restored == *bytes, "{name}");
    }
    daemon.stop();
}
