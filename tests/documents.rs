//! Checks that documents name only tests, files, functions and commands that exist.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};

/// Documents with tables of tests.
const DOCUMENTS: &[&str] = &["docs/doctor.md", "docs/reliability.md"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the code spans of Markdown.
fn code_spans(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Returns the Rust files below a directory, with the module path of each.
fn modules(dir: &str) -> Vec<(String, PathBuf)> {
    fn visit(dir: &Path, prefix: &str, found: &mut Vec<(String, PathBuf)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let module = match (prefix, name) {
                ("", _) => name.to_owned(),
                (_, "mod") => prefix.to_owned(),
                _ => format!("{prefix}::{name}"),
            };
            if path.is_dir() {
                visit(&path, &module, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((module, path));
            }
        }
    }
    let mut found = Vec::new();
    visit(&root().join(dir), "", &mut found);
    found
}

/// Collects the test functions of a module and its inline modules, with their paths. Functions in
/// macro calls, such as `proptest!`, are included.
fn collect_tests(tokens: TokenStream, module: &str, tests: &mut BTreeSet<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let word = |at: usize| tokens.get(at).map(ToString::to_string).unwrap_or_default();
    let mut is_test = false;
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Group(group) if at > 0 && word(at - 1) == "#" => {
                let attribute = group.stream().to_string();
                is_test |= attribute == "test" || attribute.ends_with(":: test");
            }
            TokenTree::Group(group) => collect_tests(group.stream(), module, tests),
            TokenTree::Ident(_) if word(at) == "fn" => {
                if is_test {
                    tests.insert(format!("{module}::{}", word(at + 1)));
                }
                is_test = false;
            }
            TokenTree::Ident(_) if word(at) == "mod" => {
                if let Some(TokenTree::Group(body)) = tokens.get(at + 2) {
                    collect_tests(body.stream(), &format!("{module}::{}", word(at + 1)), tests);
                    at += 2;
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// Returns the paths of all tests of the library and of `tests/it`.
fn tests() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for (module, path) in modules("src").into_iter().chain(modules("tests/it")) {
        collect_tests(fs::read_to_string(path).unwrap().parse().unwrap(), &module, &mut tests);
    }
    tests
}

/// Returns true if a path names a test, or a module that contains one.
fn names_tests(path: &str, tests: &BTreeSet<String>) -> bool {
    let prefix = format!("{path}::");
    tests.contains(path) || tests.iter().any(|test| test.starts_with(&prefix))
}

/// Returns the code spans in the column `tests` of the tables of a document.
fn named_tests(text: &str) -> Vec<String> {
    let mut is_table_of_tests = false;
    let mut spans = Vec::new();
    for line in text.lines() {
        let Some(cells) = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |")) else {
            is_table_of_tests = false;
            continue;
        };
        let last = cells.rsplit(" | ").next().unwrap_or_default();
        is_table_of_tests |= last == "tests";
        if is_table_of_tests {
            spans.extend(code_spans(last).into_iter().map(str::to_owned));
        }
    }
    spans
}

#[test]
fn documents_name_only_tests_and_files_that_exist() {
    let tests = tests();
    let targets = make_targets();
    let benches = read("Cargo.toml");
    for document in DOCUMENTS {
        let text = read(document);
        let named = named_tests(&text);
        assert!(named.len() > 20, "{document}: {named:?}");
        let paths = code_spans(&text).into_iter().filter(|span| span.contains("::"));
        let spans: BTreeSet<String> = named.into_iter().chain(paths.map(str::to_owned)).collect();
        let missing: Vec<&String> = spans
            .iter()
            .filter(|span| match span.split_once(' ') {
                Some(("make", target)) => !targets.contains_key(target),
                Some(("cargo", bench)) => !is_bench(bench, &benches),
                _ if span.starts_with("tests/") => !root().join(span).is_file(),
                _ => !names_tests(span, &tests),
            })
            .collect();
        assert!(missing.is_empty(), "{document}: {missing:#?}");
    }
}

/// Collects the names of all functions of a file.
fn collect_functions(tokens: TokenStream, functions: &mut BTreeSet<String>) {
    let mut is_name = false;
    for token in tokens {
        match token {
            TokenTree::Group(group) => collect_functions(group.stream(), functions),
            TokenTree::Ident(word) if is_name => drop(functions.insert(word.to_string())),
            _ => {
                is_name = token.to_string() == "fn";
                continue;
            }
        }
        is_name = false;
    }
}

fn is_rust(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|extension| extension == "rs")
}

/// Returns the code spans of a document that name a file below `src`, each with its function, as in
/// `engine/inbox.rs::hint`.
fn named_functions(text: &str) -> BTreeSet<(&str, Option<&str>)> {
    let spans = code_spans(text).into_iter().filter(|span| !span.starts_with("tests/"));
    spans
        .filter_map(|span| match span.split_once("::") {
            Some((file, function)) => is_rust(file).then_some((file, Some(function))),
            None => (is_rust(span) && span.contains('/')).then_some((span, None)),
        })
        .collect()
}

#[test]
fn architecture_names_only_functions_that_exist() {
    let text = read("ARCHITECTURE.md");
    let (map, rest) = text.split_once("\n```text\n").unwrap();
    let (_, rest) = rest.split_once("\n```\n").unwrap();
    let named: BTreeSet<_> =
        named_functions(map).into_iter().chain(named_functions(rest)).collect();
    assert!(named.len() > 50, "{named:?}");
    let mut missing = Vec::new();
    for (file, function) in named {
        let mut functions = BTreeSet::new();
        match fs::read_to_string(root().join("src").join(file)) {
            Ok(source) => collect_functions(source.parse().unwrap(), &mut functions),
            Err(error) => missing.push(format!("src/{file}: {error}")),
        }
        if let Some(function) = function.filter(|name| !functions.contains(*name)) {
            missing.push(format!("src/{file} has no function `{function}`"));
        }
    }
    for (name, file) in [("Effect", "effect.rs"), ("Event", "event.rs")] {
        let source = read(&format!("src/engine/reconcile/{file}"));
        let spans = code_spans(rest).into_iter().filter_map(|span| span.split_once("::"));
        let variants = spans.filter(|(first, _)| *first == name).map(|(_, variant)| variant);
        missing.extend(
            variants
                .filter(|variant| !source.contains(&format!("\n    {variant}")))
                .map(|variant| format!("{file} has no `{name}::{variant}`")),
        );
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn architecture_lists_every_file_of_the_engine() {
    let text = read("ARCHITECTURE.md");
    let (_, map) = text.split_once("\n```text\nsrc/engine/\n").unwrap();
    let (map, _) = map.split_once("\n```\n").unwrap();
    let mut listed = BTreeSet::new();
    let mut dir = "";
    for line in map.lines() {
        let name = line.split_whitespace().next().unwrap();
        let is_nested = line.starts_with("    ");
        if name.ends_with('/') {
            dir = name;
        } else {
            listed.insert(format!("{}{name}", if is_nested { dir } else { "" }));
        }
    }
    let engine = root().join("src/engine");
    let existing = modules("src/engine").into_iter().map(|(_, path)| path);
    let existing: BTreeSet<String> = existing
        .map(|path| path.strip_prefix(&engine).unwrap().to_str().unwrap().to_owned())
        .filter(|path| !path.ends_with("mod.rs"))
        .collect();
    assert_eq!(listed, existing);
}

#[test]
fn functions_are_named_by_file_and_found_in_impl_blocks_and_macros() {
    let text = "`a/b.rs::c` and `a/b.rs`, not `x::y`, `tests/a.rs`, `b.rs` or `make lint`";
    let named: Vec<_> = named_functions(text).into_iter().collect();
    assert_eq!(named, [("a/b.rs", None), ("a/b.rs", Some("c"))]);
    let mut functions = BTreeSet::new();
    let source =
        "pub(super) fn a() { fn b() {} } impl X { async fn c<T>(f: fn(T)) {} } m! { fn d() }";
    collect_functions(source.parse().unwrap(), &mut functions);
    assert_eq!(functions.iter().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
}

/// Returns true if the arguments of cargo select a benchmark of `Cargo.toml`.
fn is_bench(arguments: &str, manifest: &str) -> bool {
    let name = arguments.strip_prefix("bench --bench ");
    name.is_some_and(|name| manifest.contains(&format!("[[bench]]\nname = \"{name}\"\n")))
}

/// Returns the targets of the Makefile, with the text from each to the end of its recipe.
fn make_targets() -> BTreeMap<String, String> {
    let mut targets = BTreeMap::new();
    let mut current = String::new();
    for line in read("Makefile").lines() {
        if let Some((name, rest)) = line.split_once(':')
            && name.bytes().all(|byte| byte.is_ascii_lowercase())
            && !rest.starts_with('=')
        {
            name.clone_into(&mut current);
        }
        let recipe: &mut String = targets.entry(current.clone()).or_default();
        recipe.push_str(line);
        recipe.push('\n');
    }
    targets.remove("");
    targets
}

/// Returns the commands in the table of CONTRIBUTING.md: every code span that begins with `cargo`
/// or `make`.
fn documented_commands() -> Vec<String> {
    let text = read("CONTRIBUTING.md");
    let (_, section) = text.split_once("\n## Commands\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let table: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(table.len() >= 8, "{table:?}");
    let spans = table.iter().flat_map(|line| code_spans(line));
    spans
        .filter(|span| span.starts_with("cargo ") || span.starts_with("make"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn documented_commands_exist_and_every_make_target_is_documented() {
    let targets = make_targets();
    let benches = read("Cargo.toml");
    let mut documented = BTreeSet::new();
    for command in documented_commands() {
        let words: Vec<&str> = command.split(' ').collect();
        match words[..] {
            ["make"] => {}
            ["make", target] => {
                assert!(
                    targets.contains_key(target),
                    "`{command}`: the Makefile has no `{target}`"
                );
                documented.insert(target.to_owned());
            }
            ["cargo", "test"] => {
                assert!(targets["test"].contains("\tcargo test\n"), "{}", targets["test"]);
            }
            ["cargo", "bench", "--bench", name] => {
                assert!(is_bench(&format!("bench --bench {name}"), &benches), "`{command}`");
            }
            _ => panic!("`{command}`: unknown kind of command"),
        }
    }
    let existing: BTreeSet<String> = targets.keys().cloned().collect();
    assert_eq!(documented, existing);
}

#[test]
fn ci_runs_the_documented_checks_with_the_documented_profile() {
    let script = read(".ci/run");
    let runs = |command: &str| {
        script.lines().any(|line| {
            let first = line.split(" 2>&1").next().unwrap_or(line);
            first.trim().ends_with(command) && !line.starts_with('#')
        })
    };
    for command in ["cargo test", "make lint", "make doc"] {
        assert!(runs(command), "`.ci/run` does not run `{command}`");
    }
    assert!(script.contains("cargo deny --locked check"), "`.ci/run` does not check dependencies");
    assert!(
        read(".ci/package").contains("\nmake deb\n"),
        "`.ci/package` does not build the package"
    );
    assert_eq!(make_targets()["ci"], "ci:\n\tbash .ci/run\n");
    let makefile = read("Makefile");
    for line in script.lines().chain(makefile.lines()).filter(|line| line.contains("cargo test")) {
        assert!(!line.contains("--release"), "tests use the profile `dev`: {line}");
    }
}

#[test]
fn make_endure_selects_modules_that_contain_tests() {
    let recipe = make_targets()["endure"].clone();
    let (_, filters) = recipe.split_once("--nocapture ").unwrap();
    let tests = tests();
    for filter in filters.lines().next().unwrap().split_whitespace() {
        assert!(names_tests(filter, &tests), "no test in `{filter}`");
    }
}

#[test]
fn test_paths_include_inline_modules_and_macros_and_exclude_other_functions() {
    let source = "
        #[test] fn a() {}
        fn b() {}
        #[cfg(test)] mod tests {
            #[test] #[should_panic] fn c() {}
            #[tokio::test] async fn d() {}
            proptest! { #[test] fn e(x in 0..1) {} }
        }";
    let mut tests = BTreeSet::new();
    collect_tests(source.parse().unwrap(), "m", &mut tests);
    let expected = ["m::a", "m::tests::c", "m::tests::d", "m::tests::e"];
    assert_eq!(tests.iter().collect::<Vec<_>>(), expected);
    assert!(names_tests("m::tests", &tests) && names_tests("m::a", &tests));
    assert!(!names_tests("m::b", &tests) && !names_tests("m::test", &tests));
}
