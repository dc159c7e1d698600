//! `git apply` turns the first content into the second one, for edge cases, random pairs and pairs of
//! real documents.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dossierd::core::history::text_diff::{ContentDiff, diff_contents};
use dossierd::core::history::unified::{UnifiedBody, UnifiedHeader, write_unified};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::{not_run, repository, write_file};

/// A file: path and content; `None` if there is none.
type Side<'a> = Option<(&'a [u8], &'a str)>;

fn unified(from: Side<'_>, to: Side<'_>) -> Vec<u8> {
    let (old, new) = (from.map_or("", |side| side.1), to.map_or("", |side| side.1));
    let ContentDiff::Text(diff) = diff_contents(old.as_bytes(), new.as_bytes()) else {
        panic!("not text");
    };
    let (from, to) = (from.map(|side| side.0), to.map(|side| side.0));
    let mut out = Vec::new();
    let header = UnifiedHeader { from, to, mode: 0o644 };
    write_unified(&mut out, &header, UnifiedBody::Text(&diff));
    out
}

fn os(path: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    PathBuf::from(std::ffi::OsStr::from_bytes(path))
}

/// Applies the difference in a directory of its own, and checks the result.
fn check(from: Side<'_>, to: Side<'_>) {
    if from == to {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    if let Some((path, content)) = from {
        write_file(&dir.path().join(os(path)), content.as_bytes());
    }
    let patch = unified(from, to);
    apply(dir.path(), &patch);
    if let Some((path, content)) = to {
        let found = std::fs::read(dir.path().join(os(path))).unwrap();
        assert_eq!(String::from_utf8_lossy(&found), content, "{}", String::from_utf8_lossy(&patch));
    }
    if let Some((path, _)) = from.filter(|side| to.map(|to| to.0) != Some(side.0)) {
        assert!(!dir.path().join(os(path)).exists());
    }
}

fn apply(dir: &Path, patch: &[u8]) {
    let mut git = Command::new("git")
        .args(["apply", "--whitespace=nowarn", "-"])
        .current_dir(dir)
        // Not the repository around the temporary directory, if there is one.
        .env("GIT_CEILING_DIRECTORIES", dir.parent().unwrap())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut git.stdin.take().unwrap(), patch).unwrap();
    let output = git.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}\n{}", String::from_utf8_lossy(patch));
}

#[test]
fn git_applies_additions_removals_renames_and_odd_characters() {
    for (from, to) in [
        (None, Some((&b"d/new file"[..], "1\n2"))),
        (None, Some((b"empty", ""))),
        (Some((&b"gone"[..], "1\r\n2\r\n")), None),
        (Some((b"gone", "")), None),
        (Some((b"old", "1\n")), Some((b"sub/new", "1\n"))),
        (Some((b"a\"\\\t\xc3\xa9", "1\n")), Some((b"a\"\\\t\xc3\xa9", "2\n"))),
        (Some((b"crlf", "a\r\nb\r\n")), Some((b"crlf", "a\nb\r\n"))),
        (
            Some((b"markers", "--- a\n+++ b\n@@ -1 +1 @@\n")),
            Some((b"markers", "-- x\n++ b\n\\ No\n")),
        ),
        (
            Some((b"feeds", "a\x0cb\x0bc\u{85}d\u{2028}e\rf\n")),
            Some((b"feeds", "a\x0cb\x0bc\u{85}x\u{2028}e\rf\n")),
        ),
    ] {
        check(from, to);
    }
}

#[test]
fn git_applies_random_pairs() {
    let line = prop::sample::select(vec![
        "",
        "a",
        "b",
        "  indented",
        "- [ ] task",
        "- [x] task",
        "# Heading",
        "-",
        "+",
        "\\ No newline",
        "@@ -1 +1 @@",
        "text\r",
        "größe",
        "\u{1b}[31m",
        "<script>",
    ]);
    let text = (prop::collection::vec(line, 0..40), any::<bool>()).prop_map(|(lines, ends)| {
        let text = lines.join("\n");
        if ends && !text.is_empty() { text + "\n" } else { text }
    });
    let config = Config { cases: 100, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&(text.clone(), text), |(from, to)| {
        check(Some((b"f", &from)), Some((b"f", &to)));
        Ok(())
    });
    result.unwrap();
}

/// Each document of the corpus against the next one in its directory, which has the same structure and
/// another content.
#[test]
fn git_applies_pairs_of_real_documents() {
    let corpus = repository().parent().unwrap().join("shared/corpus");
    if !corpus.is_dir() {
        return not_run("pairs of real documents (../shared/corpus does not exist)");
    }
    let (mut dirs, mut pairs) = (vec![corpus], 0);
    while let Some(dir) = dirs.pop() {
        let entries = std::fs::read_dir(dir).unwrap();
        let mut entries: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        dirs.extend(entries.iter().filter(|path| path.is_dir() && !path.is_symlink()).cloned());
        let files = entries.iter().filter(|path| path.is_file());
        let texts: Vec<String> =
            files.filter_map(|path| std::fs::read_to_string(path).ok()).collect();
        for pair in texts.windows(2).filter(|pair| pair.iter().all(|text| text.len() < 200_000)) {
            check(Some((b"f", &pair[0])), Some((b"f", &pair[1])));
            pairs += 1;
            if pairs == 200 {
                return;
            }
        }
    }
    panic!("only {pairs} pairs");
}
