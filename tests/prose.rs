//! Checks comments, string literals and documents for words that have a standard term.
//!
//! The words are in `tests/prose/banned.txt`, each with what to write instead; exceptions are in
//! `tests/prose/allowed.txt`. Spelling is checked by `typos`, see `typos.toml`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fancy_regex::Regex;

/// Directories and files that are read, relative to the repository.
const READ: &[&str] = &[
    ".ci",
    "benches",
    "docs",
    "examples",
    "integrations",
    "manifests",
    "src",
    "systemd",
    "tests",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.toml",
    "Makefile",
    "README.md",
    "clippy.toml",
    "deny.toml",
    "typos.toml",
];

/// Paths that are not prose of this project: data of the example, dependencies, recorded output,
/// foreign formats, and the lists of this check.
const SKIPPED: &[&str] = &[
    "examples/bakery",
    "node_modules",
    "package-lock.json",
    "snapshots",
    "tests/fixtures",
    "tests/golden",
    "tests/prose",
    "tests/prose.rs",
];

/// Extensions of text files that are read as a whole; in Rust only comments and strings are.
const WHOLE: &[&str] = &[
    "css", "html", "js", "json", "md", "mjs", "py", "service", "socket", "conf", "toml", "yaml",
    "yml",
];

struct Banned {
    pattern: Regex,
    instead: String,
}

struct Allowed {
    path: String,
    text: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn lines_of(name: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("tests/prose").join(name)).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

fn banned() -> Vec<Banned> {
    let parse = |line: &String| {
        let (pattern, instead) = line.split_once('\t').unwrap_or_else(|| panic!("{line}"));
        let pattern = Regex::new(&format!("(?i){pattern}")).unwrap();
        Banned { pattern, instead: instead.to_owned() }
    };
    lines_of("banned.txt").iter().map(parse).collect()
}

fn allowed() -> Vec<Allowed> {
    let parse = |line: &String| {
        let parts: Vec<&str> = line.split('\t').collect();
        assert_eq!(parts.len(), 3, "path, text and reason: {line}");
        Allowed { path: parts[0].to_owned(), text: parts[1].to_owned() }
    };
    lines_of("allowed.txt").iter().map(parse).collect()
}

fn files(path: &Path, found: &mut Vec<PathBuf>) {
    let relative = path.strip_prefix(root()).unwrap();
    if SKIPPED.iter().any(|skipped| relative.ends_with(skipped)) {
        return;
    }
    if path.is_dir() {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for entry in &entries {
            files(entry, found);
        }
    } else {
        found.push(path.to_owned());
    }
}

/// Returns the lines of a file that are prose, with their numbers.
fn prose(path: &Path) -> Vec<(usize, String)> {
    let extension = path.extension().unwrap_or_default().to_string_lossy().into_owned();
    if extension == "rs" {
        return rust_prose(&fs::read_to_string(path).unwrap());
    }
    let is_script = extension.is_empty();
    if !is_script && !WHOLE.contains(&extension.as_str()) {
        return Vec::new();
    }
    let Ok(text) = fs::read_to_string(path) else { return Vec::new() };
    text.lines().enumerate().map(|(at, line)| (at + 1, line.to_owned())).collect()
}

/// Returns the comments and string literals of Rust source, line by line.
fn rust_prose(source: &str) -> Vec<(usize, String)> {
    #[derive(PartialEq)]
    enum Inside {
        Code,
        LineComment,
        BlockComment,
        /// A string that ends with a quote and this many `#`; escapes count only in plain ones.
        String {
            hashes: usize,
            raw: bool,
        },
    }
    let chars: Vec<char> = source.chars().collect();
    let mut inside = Inside::Code;
    let mut found = vec![(1, String::new())];
    let mut at = 0;
    while at < chars.len() {
        let here = chars[at];
        let starts =
            |text: &str| text.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
        if here == '\n' {
            let line = found.last().unwrap().0;
            found.push((line + 1, String::new()));
            if inside == Inside::LineComment {
                inside = Inside::Code;
            }
            at += 1;
            continue;
        }
        match inside {
            Inside::Code if starts("//") => {
                inside = Inside::LineComment;
                at += 1;
            }
            Inside::Code if starts("/*") => {
                inside = Inside::BlockComment;
                at += 1;
            }
            Inside::Code if here == '\'' => {
                // A character literal, which may be a quote; a lifetime has no closing quote.
                let length = if chars.get(at + 1) == Some(&'\\') { 3 } else { 2 };
                if chars.get(at + length) == Some(&'\'') {
                    at += length;
                }
            }
            Inside::Code if here == '"' => {
                let before = chars[..at].iter().rev();
                let hashes = before.clone().take_while(|&&c| c == '#').count();
                let prefix = chars.get(at.wrapping_sub(hashes + 1));
                let raw = prefix == Some(&'r');
                inside = Inside::String { hashes: if raw { hashes } else { 0 }, raw };
            }
            Inside::Code => {}
            Inside::BlockComment if starts("*/") => inside = Inside::Code,
            Inside::String { raw: false, .. } if here == '\\' => {
                if chars.get(at + 1) != Some(&'\n') {
                    found.last_mut().unwrap().1.push(' ');
                    at += 1;
                }
            }
            Inside::String { hashes, .. }
                if here == '"' && (1..=hashes).all(|i| chars.get(at + i) == Some(&'#')) =>
            {
                inside = Inside::Code;
                found.last_mut().unwrap().1.push_str(" | ");
            }
            _ => found.last_mut().unwrap().1.push(here),
        }
        at += 1;
    }
    found.retain(|(_, text)| !text.trim().is_empty());
    found
}

#[test]
fn no_banned_word_in_comments_strings_or_documents() {
    let (banned, allowed) = (banned(), allowed());
    let mut used = BTreeSet::new();
    let mut violations = Vec::new();
    let mut read = Vec::new();
    for name in READ {
        let path = root().join(name);
        if path.exists() {
            files(&path, &mut read);
        }
    }
    for path in &read {
        let relative = path.strip_prefix(root()).unwrap().display().to_string();
        for (line, text) in prose(path) {
            for Banned { pattern, instead } in &banned {
                let Some(hit) = pattern.find(&text).unwrap() else { continue };
                let exception = allowed
                    .iter()
                    .position(|allowed| allowed.path == relative && text.contains(&allowed.text));
                match exception {
                    Some(index) => drop(used.insert(index)),
                    None => violations.push(format!(
                        "{relative}:{line}: `{}`: write {instead}: {}",
                        hit.as_str(),
                        text.trim()
                    )),
                }
            }
        }
    }
    for (index, Allowed { path, text }) in allowed.iter().enumerate() {
        if !used.contains(&index) {
            violations.push(format!("tests/prose/allowed.txt: not needed: {path}: {text}"));
        }
    }
    assert!(
        violations.is_empty(),
        "\n{}\n{} banned words\n",
        violations.join("\n"),
        violations.len()
    );
}

#[test]
fn rust_prose_is_comments_and_strings_without_code() {
    let source = "//! Head\nlet said = \"one \\\" two\"; // three\nlet c = '\"'; /* four\nfive */ fn told() {}\nr#\"six \" seven\"#";
    let text: Vec<String> =
        rust_prose(source).into_iter().map(|(line, text)| format!("{line}:{text}")).collect();
    assert_eq!(
        text,
        ["1:! Head", "2:one   two |  three", "3: four", "4:five ", "5:six \" seven | "]
    );
}

#[test]
fn banned_words_are_found_as_whole_words() {
    let banned = banned();
    let hits =
        |text: &str| banned.iter().filter(|word| word.pattern.is_match(text).unwrap()).count();
    for text in [
        "It is no file",
        "made anew",
        "Gives the hash",
        "a letter",
        "comes to lie there",
        "see ../shared/README.md",
        "see contract-2, section 3",
        "by design/style.md",
    ] {
        assert!(hits(text) > 0, "{text}");
    }
    for text in
        ["It is no longer there", "there is no file", "dead letters", "in flight", "renewed"]
    {
        assert_eq!(hits(text), 0, "{text}");
    }
}
