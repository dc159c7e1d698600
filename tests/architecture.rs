//! Checks the module graph of `src` against the rules of ARCHITECTURE.md by reading every path.
//!
//! Files are read as tokens, not as text, so groups, macros, inline modules and `#[cfg(test)]` code
//! all count, and comments and strings do not. Names that a glob import or a macro of another crate
//! brings into scope are not seen.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Each top-level module and the ones it may import.
const LAYERS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("wire", &["core"]),
    ("config", &["core"]),
    ("project", &["core"]),
    ("scan", &["core"]),
    ("watch", &["core"]),
    ("store", &["core"]),
    ("engine", &["core", "config", "project", "scan", "watch", "store"]),
    ("api", &["core", "wire", "config", "store", "engine"]),
    ("delivery", &["core", "wire", "config", "store", "engine"]),
    ("client", &["core", "wire"]),
    ("daemon", &["core", "config", "watch", "engine", "api", "delivery"]),
    (
        "cli",
        &[
            "core", "wire", "config", "project", "scan", "engine", "api", "delivery", "client",
            "daemon",
        ],
    ),
];

/// Paths of other crates that only one module may name, or that a module must not name.
const FOREIGN: &[(&str, Only)] = &[
    ("notify", Only::In("watch")),
    ("rusqlite", Only::In("store")),
    ("clap", Only::In("cli")),
    ("pulldown_cmark", Only::In("wire")),
    ("std::fs", Only::NotIn("core")),
    ("std::io", Only::NotIn("core")),
    ("std::env", Only::NotIn("core")),
    ("std::net", Only::NotIn("core")),
    ("std::os::fd", Only::NotIn("core")),
    ("std::os::unix::fs", Only::NotIn("core")),
    ("std::process", Only::NotIn("core")),
    ("std::thread", Only::NotIn("core")),
    ("rustix", Only::NotIn("core")),
    ("tokio", Only::NotIn("core")),
    ("SystemTime::now", Only::NotIn("core")),
    ("Instant::now", Only::NotIn("core")),
    ("Utc::now", Only::NotIn("core")),
    ("Uuid::new_v4", Only::NotIn("core")),
];

#[derive(Clone, Copy)]
enum Only {
    In(&'static str),
    NotIn(&'static str),
}

/// A path in the source, and the line where it starts.
#[derive(Debug, PartialEq, Eq)]
struct PathUse {
    line: usize,
    target: Target,
}

#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// A path of this crate, from its root.
    Own(Vec<String>),
    /// A path of another crate, or one that starts with a name in scope.
    Foreign(String),
    /// A path that cannot be checked, and why.
    Refused(String),
}

/// Returns all paths of one file.
fn paths(text: &str, module: &[String]) -> Vec<PathUse> {
    let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{module:?}: {error}"));
    let mut found = Vec::new();
    read(tokens, module, &mut found);
    found
}

fn read(tokens: TokenStream, module: &[String], found: &mut Vec<PathUse>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        let line = tokens[at].span().start().line;
        let mut refuse =
            |why: &str| found.push(PathUse { line, target: Target::Refused(why.to_owned()) });
        match &tokens[at] {
            TokenTree::Ident(word) => {
                let word = word.to_string();
                let next = tokens.get(at + 1).map(ToString::to_string).unwrap_or_default();
                if word == "crate" && next == "as" {
                    refuse("`crate` under another name");
                }
                if word == "extern" && next == "crate" {
                    refuse("`extern crate`");
                }
                if word == "mod"
                    && let Some(TokenTree::Group(body)) = tokens.get(at + 2)
                {
                    read(body.stream(), &[module, &[next]].concat(), found);
                    at += 3;
                    continue;
                }
                at = follow(&tokens, at, Prefix::Start(module), found);
            }
            TokenTree::Group(group) => {
                let inside = group.stream().to_string();
                let attribute = at > 0 && tokens[at - 1].to_string() == "#";
                if attribute && inside.starts_with("path =") {
                    refuse("a module at another path");
                }
                read(group.stream(), module, found);
                at += 1;
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => at += 1,
        }
    }
}

/// The part of a path that was resolved so far.
#[derive(Clone)]
enum Prefix<'a> {
    /// Nothing yet; the path is written in this module.
    Start(&'a [String]),
    /// A module of this crate.
    Module(Vec<String>),
    /// Another crate, or a name in scope.
    Foreign(String),
}

/// Resolves the path whose next segment is at `at`, with all members if it is a group; returns the
/// index of the token after it.
fn follow(
    tokens: &[TokenTree],
    mut at: usize,
    mut prefix: Prefix<'_>,
    found: &mut Vec<PathUse>,
) -> usize {
    loop {
        let Some(token) = tokens.get(at) else { return at };
        let line = token.span().start().line;
        let mut refuse =
            |why: &str| found.push(PathUse { line, target: Target::Refused(why.to_owned()) });
        match token {
            TokenTree::Ident(word) => {
                let word = word.to_string();
                let first = matches!(prefix, Prefix::Start(_));
                // `pub(crate)`, `self.x`, `fn super_`: a word without `::` after it is not a path.
                if first && !is_path(tokens, at) {
                    return at + 1;
                }
                prefix = match (prefix, word.as_str()) {
                    (Prefix::Start(_), "crate") => Prefix::Module(Vec::new()),
                    (Prefix::Start(module), "self") => Prefix::Module(module.to_vec()),
                    (Prefix::Start(module), "super") => match module.split_last() {
                        Some((_, parent)) => Prefix::Module(parent.to_vec()),
                        None => {
                            refuse("`super` of the crate itself");
                            return at + 1;
                        }
                    },
                    (Prefix::Module(module), "super") => match module.split_last() {
                        Some((_, parent)) => Prefix::Module(parent.to_vec()),
                        None => {
                            refuse("`super` of the crate itself");
                            return at + 1;
                        }
                    },
                    (Prefix::Module(module), "self") if module.is_empty() => {
                        refuse("all of the crate at once");
                        return at + 1;
                    }
                    (Prefix::Module(module), _) => Prefix::Module([module, vec![word]].concat()),
                    (Prefix::Start(_), _) => Prefix::Foreign(word),
                    (Prefix::Foreign(path), _) => Prefix::Foreign(format!("{path}::{word}")),
                };
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                let members: Vec<TokenTree> = group.stream().into_iter().collect();
                for member in members.split(|token| token.to_string() == ",") {
                    if !member.is_empty() {
                        follow(member, 0, prefix.clone(), found);
                    }
                }
                return at + 1;
            }
            TokenTree::Punct(star) if star.as_char() == '*' => {
                match prefix {
                    Prefix::Module(module) if module.is_empty() => {
                        refuse("all of the crate at once");
                    }
                    Prefix::Module(module) => {
                        found.push(PathUse { line, target: Target::Own(module) });
                    }
                    _ => {}
                }
                return at + 1;
            }
            _ => return at,
        }
        if !is_path(tokens, at) {
            match prefix {
                Prefix::Foreign(path) => {
                    found.push(PathUse { line, target: Target::Foreign(path) });
                }
                Prefix::Module(module) => {
                    found.push(PathUse { line, target: Target::Own(module) });
                }
                Prefix::Start(_) => {}
            }
            return at + 1;
        }
        at += 3;
    }
}

/// Returns true if `::` and another segment follow the token at `at`.
fn is_path(tokens: &[TokenTree], at: usize) -> bool {
    let colon =
        |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == ':');
    let more = match tokens.get(at + 3) {
        Some(TokenTree::Ident(_)) => true,
        Some(TokenTree::Group(group)) => group.delimiter() == Delimiter::Brace,
        Some(TokenTree::Punct(punct)) => punct.as_char() == '*',
        _ => false,
    };
    colon(at + 1) && colon(at + 2) && more
}

/// Returns the module path of a file of `src`.
fn module_of(file: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

/// What one file contributes to the checks.
#[derive(Debug, Default)]
struct FileReport {
    /// Violations of the rules that concern this file alone, with their place.
    violations: Vec<String>,
    /// Paths of this crate that the file names, from the crate's root.
    uses: Vec<Vec<String>>,
}

/// Checks one file against the module table and collects the paths of this crate that it names.
fn inspect(file: &Path, text: &str) -> FileReport {
    let mut report = FileReport::default();
    let module = module_of(file);
    let children = child_modules(text);
    let mut refuse = |line: usize, why: String| {
        report.violations.push(format!("src/{}:{line}: {why}", file.display()));
    };
    if !text.starts_with("//! ") {
        refuse(1, "does not begin with `//! ` and the purpose of the file".to_owned());
    }
    for PathUse { line, target } in paths(text, &module) {
        match (module.first(), target) {
            (_, Target::Refused(why)) => refuse(line, why),
            (None, Target::Own(_)) => refuse(line, "the crate root imports a module".to_owned()),
            (None, Target::Foreign(path)) => {
                let own = path.strip_prefix("dossierd::");
                if own.is_some_and(|own| own != "cli" && !own.starts_with("cli::")) {
                    refuse(line, format!("`{path}`: the binary uses only `dossierd::cli`"));
                }
            }
            (Some(layer), Target::Own(path)) => {
                if let Some(other) = path.first()
                    && other != layer
                {
                    match LAYERS.iter().find(|(name, _)| name == layer) {
                        None => refuse(line, format!("`{layer}` is not in the module table")),
                        Some((_, allowed)) if !allowed.contains(&other.as_str()) => {
                            refuse(line, format!("`{layer}` must not import `{other}`"));
                        }
                        Some(_) => {}
                    }
                }
                report.uses.push(path);
            }
            (Some(layer), Target::Foreign(path)) => {
                let segments: Vec<String> = path.split("::").map(str::to_owned).collect();
                if children.contains(&segments[0]) {
                    report.uses.push([module.clone(), segments].concat());
                    continue;
                }
                for (named, only) in FOREIGN {
                    let inside = format!("::{path}::").contains(&format!("::{named}::"));
                    match only {
                        Only::In(home) if inside && path.starts_with(named) && layer != home => {
                            refuse(line, format!("only `{home}` names `{named}`"));
                        }
                        Only::NotIn(pure) if inside && layer == pure => {
                            refuse(line, format!("`{pure}` is pure and does not name `{named}`"));
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    if let Some(layer) = module.first()
        && !LAYERS.iter().any(|(name, _)| name == layer)
    {
        refuse(1, format!("`{layer}` is not in the module table"));
    }
    report
}

/// Returns the modules that a file declares with `mod name;`.
fn child_modules(text: &str) -> BTreeSet<String> {
    let tokens: Vec<TokenTree> = text.parse::<TokenStream>().unwrap().into_iter().collect();
    tokens
        .windows(3)
        .filter(|three| three[0].to_string() == "mod" && three[2].to_string() == ";")
        .map(|three| three[1].to_string())
        .collect()
}

/// Returns the import graph of the files of `src`: edges to other files, named by module path.
/// A module may name its own children, so those are not edges.
fn file_graph(reports: &BTreeMap<Vec<String>, FileReport>) -> BTreeMap<String, BTreeSet<String>> {
    let name = |module: &[String]| module.join("::");
    let mut graph = BTreeMap::<String, BTreeSet<String>>::new();
    for (module, report) in reports {
        let edges = graph.entry(name(module)).or_default();
        for path in &report.uses {
            let target = (0..=path.len())
                .rev()
                .map(|length| path[..length].to_vec())
                .find(|prefix| reports.contains_key(prefix));
            if let Some(target) = target
                && !target.is_empty()
                && !target.starts_with(module)
            {
                edges.insert(name(&target));
            }
        }
    }
    graph
}

/// Returns a path through `imports` that ends where it began, if there is one.
fn cycle(imports: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn visit<'a>(
        node: &'a str,
        path: &mut Vec<&'a str>,
        finished: &mut BTreeSet<&'a str>,
        imports: &'a BTreeMap<String, BTreeSet<String>>,
    ) -> Option<Vec<String>> {
        if let Some(begin) = path.iter().position(|visited| *visited == node) {
            path.push(node);
            return Some(path[begin..].iter().map(|&node| node.to_owned()).collect());
        }
        if finished.contains(node) {
            return None;
        }
        path.push(node);
        let found = imports
            .get(node)
            .into_iter()
            .flatten()
            .find_map(|next| visit(next, path, finished, imports));
        path.pop();
        finished.insert(node);
        found
    }
    let mut finished = BTreeSet::new();
    imports.keys().find_map(|node| visit(node, &mut Vec::new(), &mut finished, imports))
}

/// A type that a file defines or implements something for.
#[derive(Debug, Default)]
struct TypeNames {
    /// Public types defined here.
    public: Vec<String>,
    /// Types that have an `impl` block here.
    implemented: BTreeSet<String>,
}

fn type_names(text: &str) -> TypeNames {
    let mut names = TypeNames::default();
    collect_type_names(text.parse().unwrap(), &mut names);
    names
}

fn collect_type_names(tokens: TokenStream, names: &mut TypeNames) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let words: Vec<String> = tokens.iter().map(ToString::to_string).collect();
    for (at, word) in words.iter().enumerate() {
        match word.as_str() {
            "struct" | "enum" | "trait" | "union" | "type" => {
                let restricted = at > 1 && words[at - 1].starts_with('(') && words[at - 2] == "pub";
                if (at > 0 && words[at - 1] == "pub") || restricted {
                    names.public.push(words[at + 1].clone());
                }
            }
            "mod" => {
                if let Some(TokenTree::Group(body)) = tokens.get(at + 2) {
                    collect_type_names(body.stream(), names);
                }
            }
            "impl" => {
                let end = words[at..].iter().position(|word| word.starts_with('{'));
                let header = &words[at + 1..at + end.unwrap_or(1)];
                names.implemented.extend(implemented_type(header));
            }
            _ => {}
        }
    }
}

/// Returns the last segment of the type that an `impl` header is for.
fn implemented_type(header: &[String]) -> Option<String> {
    let mut depth = 0_usize;
    let mut name = None;
    for (at, word) in header.iter().enumerate() {
        match word.as_str() {
            "<" => depth += 1,
            ">" if header[at - 1] != "-" => depth = depth.saturating_sub(1),
            "where" if depth == 0 => break,
            "for" if depth == 0 => name = None,
            word if depth == 0 && word.starts_with(|first: char| first.is_ascii_uppercase()) => {
                name = Some(word.to_owned());
            }
            _ => {}
        }
    }
    name
}

fn source_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(source_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Returns the text of each file of `src`, by its path below it.
fn sources() -> Vec<(PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    source_files(&src)
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (path.strip_prefix(&src).unwrap().to_owned(), text)
        })
        .collect()
}

/// Returns what each file of `src` contributes, by its module path.
fn reports() -> BTreeMap<Vec<String>, FileReport> {
    sources().iter().map(|(file, text)| (module_of(file), inspect(file, text))).collect()
}

#[test]
fn modules_import_only_by_the_table() {
    let reports = reports();
    let violations: Vec<&String> = reports.values().flat_map(|report| &report.violations).collect();
    assert!(violations.is_empty(), "\n{violations:#?}\n");

    let mut layers = BTreeMap::<String, BTreeSet<String>>::new();
    for (module, report) in &reports {
        let Some(layer) = module.first() else { continue };
        let others = report.uses.iter().filter_map(|path| path.first()).filter(|to| *to != layer);
        layers.entry(layer.clone()).or_default().extend(others.cloned());
    }
    assert_eq!(cycle(&layers), None);
    // Guards the reader of paths itself: with no path seen there would be no violation.
    assert!(layers["cli"].contains("engine") && layers["engine"].contains("scan"), "{layers:?}");
    assert!(layers["core"].is_empty(), "{layers:?}");
}

#[test]
fn files_outside_the_engine_have_no_import_cycle() {
    let mut graph = file_graph(&reports());
    assert!(graph["core::snapshot"].contains("core::digest"), "{graph:?}");
    graph.retain(|file, _| !file.starts_with("engine"));
    assert_eq!(cycle(&graph), None);
}

#[test]
fn public_type_names_outside_the_engine_are_unique() {
    let mut places = BTreeMap::<String, Vec<String>>::new();
    for (file, text) in sources() {
        if file.starts_with("engine") {
            continue;
        }
        for name in type_names(&text).public {
            places.entry(name).or_default().push(file.display().to_string());
        }
    }
    assert!(places.contains_key("FeatureSlug"), "{places:?}");
    places.retain(|_, files| files.len() > 1);
    assert!(places.is_empty(), "{places:#?}");
}

#[test]
fn no_type_outside_the_engine_is_implemented_in_more_than_two_files() {
    let mut places = BTreeMap::<String, BTreeSet<String>>::new();
    let mut own = BTreeSet::new();
    for (file, text) in sources() {
        if file.starts_with("engine") {
            continue;
        }
        let names = type_names(&text);
        own.extend(names.public);
        for name in names.implemented {
            places.entry(name).or_default().insert(file.display().to_string());
        }
    }
    assert!(own.contains("RelPath") && places.contains_key("RelPath"), "{places:?}");
    places.retain(|name, files| own.contains(name) && files.len() > 2);
    assert!(places.is_empty(), "{places:#?}");
}

#[test]
fn the_map_in_lib_rs_lists_every_module_of_the_table() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let map = fs::read_to_string(src.join("lib.rs")).unwrap();
    let listed: Vec<&str> = map
        .lines()
        .filter_map(|line| line.strip_prefix("//! - [`")?.split_once('`'))
        .map(|(name, _)| name)
        .collect();
    let table: Vec<&str> = LAYERS.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed, table);
}

#[test]
fn the_module_table_has_no_cycle_and_names_only_its_own_entries() {
    let table: BTreeMap<String, BTreeSet<String>> = LAYERS
        .iter()
        .map(|(layer, to)| ((*layer).to_owned(), to.iter().map(|&to| to.to_owned()).collect()))
        .collect();
    assert_eq!(cycle(&table), None);
    for (layer, allowed) in &table {
        for other in allowed {
            assert!(table.contains_key(other), "`{layer}` may import `{other}`, which is unknown");
        }
    }
}

#[test]
fn inspect_refuses_a_file_that_breaks_a_rule() {
    // file, its text after the first line, the violation
    for (file, text, expected) in [
        (
            "core/key.rs",
            "use crate::scan::Limits;",
            "src/core/key.rs:2: `core` must not import `scan`",
        ),
        (
            "core/key.rs",
            "\n\nuse crate::{core::a, scan::{b, c}};",
            ":4: `core` must not import `scan`",
        ),
        (
            "core/key.rs",
            "use crate::{core::{a, b::{c}},\n project};",
            ":3: `core` must not import `project`",
        ),
        ("core/key.rs", "use super::super::engine;", "`core` must not import `engine`"),
        ("core/key.rs", "use super::{key, super::engine};", "`core` must not import `engine`"),
        ("core/key.rs", "fn f() -> crate::wire::X { todo!() }", "`core` must not import `wire`"),
        (
            "core/key.rs",
            "fn f() { print!(\"{}\", [crate::cli::x(1)]) }",
            "`core` must not import `cli`",
        ),
        (
            "core/key.rs",
            "macro_rules! m { () => { $crate::scan::f() } }",
            "`core` must not import `scan`",
        ),
        ("core/key.rs", "pub(in crate::wire) fn f() {}", "`core` must not import `wire`"),
        (
            "core/key.rs",
            "mod tests { use super::super::super::cli::main; }",
            "`core` must not import `cli`",
        ),
        (
            "core/key.rs",
            "#[cfg(test)] mod tests { mod deep { use crate::scan; } }",
            "must not import `scan`",
        ),
        ("core/manifest/mod.rs", "use super::super::scan;", "`core` must not import `scan`"),
        ("core/mod.rs", "use self::super::scan;", "`core` must not import `scan`"),
        ("core/mod.rs", "use super::super::scan;", "`super` of the crate itself"),
        (
            "wire/mod.rs",
            "use crate::project::Project as Other;",
            "`wire` must not import `project`",
        ),
        ("scan/mod.rs", "use crate::project;", "`scan` must not import `project`"),
        ("api/mod.rs", "use crate::delivery::x;", "`api` must not import `delivery`"),
        ("cli/top.rs", "use crate::store;", "`cli` must not import `store`"),
        ("cli/top.rs", "use crate::*;", "all of the crate at once"),
        ("cli/top.rs", "use super::super::*;", "all of the crate at once"),
        ("cli/top.rs", "use crate::{self as all};", "all of the crate at once"),
        ("cli/top.rs", "use crate as all;", "`crate` under another name"),
        ("cli/top.rs", "extern crate self as me;", "`extern crate`"),
        ("cli/top.rs", "#[path = \"../store/x.rs\"] mod x;", "a module at another path"),
        ("cli/top.rs", "use notify::Watcher;", "only `watch` names `notify`"),
        ("cli/top.rs", "use {std::fs, notify::{self, Watcher}};", "only `watch` names `notify`"),
        ("core/x.rs", "use std::fs;", "`core` is pure and does not name `std::fs`"),
        (
            "core/x.rs",
            "use std::{fmt, fs::{self, File}};",
            "`core` is pure and does not name `std::fs`",
        ),
        (
            "core/x.rs",
            "fn f() { let _ = std::time::SystemTime::now(); }",
            "does not name `SystemTime::now`",
        ),
        ("common/mod.rs", "", "`common` is not in the module table"),
        ("lib.rs", "pub use crate::core::key;", "the crate root imports a module"),
        ("main.rs", "fn main() { dossierd::engine::go() }", "the binary uses only `dossierd::cli`"),
    ] {
        let wrong = inspect(Path::new(file), &format!("//! Purpose.\n{text}\n")).violations;
        assert!(wrong.iter().any(|why| why.contains(expected)), "{file}: {text}: {wrong:?}");
    }
    let wrong =
        inspect(Path::new("core/x.rs"), "/// Not a module comment.\nfn f() {}\n").violations;
    assert!(wrong[0].contains("src/core/x.rs:1: does not begin with `//! `"), "{wrong:?}");
}

#[test]
fn inspect_accepts_a_file_that_follows_the_rules() {
    for (file, text) in [
        ("core/key.rs", "use super::digest::Digest;\nuse crate::core::path;"),
        (
            "core/key.rs",
            "pub(crate) fn f() {}\npub(super) fn g() {}\npub(in crate::core) fn h() {}",
        ),
        (
            "core/key.rs",
            "// crate::scan\n/// [`crate::scan`]\nfn f() -> &'static str { \"crate::scan\" }",
        ),
        ("core/key.rs", "#[cfg(test)] mod tests { use super::*; use super::super::digest; }"),
        ("core/manifest/parse.rs", "use super::super::{artifact::A, path};\nuse super::Mission;"),
        ("core/time.rs", "use std::time::SystemTime;\nimpl From<SystemTime> for X {}"),
        ("engine/mod.rs", "use crate::{core::{a, b}, scan, store::{self, Journal}};"),
        ("engine/mod.rs", "fn f(core: X) { core::mem::drop(Self::new(core)); x.y::<Z>() }"),
        ("watch/mod.rs", "use notify::Watcher;"),
        ("cli/out.rs", "use crate::wire::json;\nuse crate::{scan::Progress, engine::survey::*};"),
        ("lib.rs", "pub mod core;\npub mod cli;"),
        ("main.rs", "fn main() -> std::process::ExitCode { dossierd::cli::main() }"),
    ] {
        let wrong = inspect(Path::new(file), &format!("//! Purpose.\n{text}\n")).violations;
        assert!(wrong.is_empty(), "{file}: {text}: {wrong:?}");
    }
}

#[test]
fn cycle_is_found_where_there_is_one() {
    let graph = |edges: &[(&str, &str)]| {
        let mut graph = BTreeMap::<String, BTreeSet<String>>::new();
        for (from, to) in edges {
            graph.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        graph
    };
    assert_eq!(cycle(&graph(&[("a", "b"), ("b", "c"), ("a", "c")])), None);
    let found = cycle(&graph(&[("a", "b"), ("b", "c"), ("c", "b")])).unwrap();
    assert_eq!(found, ["b", "c", "b"]);
}

#[test]
fn file_graph_resolves_paths_to_files_and_leaves_out_children() {
    let reports: BTreeMap<Vec<String>, FileReport> = [
        ("a/mod.rs", "mod b;\nuse crate::c::{X, d::Y};\nfn f() { b::g() }"),
        ("a/b.rs", "use super::Z;"),
        ("c/mod.rs", ""),
        ("c/d.rs", "use crate::*;"),
    ]
    .into_iter()
    .map(|(file, text)| {
        let file = Path::new(file);
        (module_of(file), inspect(file, &format!("//! Purpose.\n{text}\n")))
    })
    .collect();
    let graph = file_graph(&reports);
    let edges = |file: &str| graph[file].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(edges("a"), ["c", "c::d"]);
    assert_eq!(edges("a::b"), ["a"]);
    assert_eq!(edges("c::d"), [""; 0]);
}

#[test]
fn type_names_are_read_from_definitions_and_impl_headers() {
    let names = type_names(
        "pub struct A<T>(T); pub(crate) enum B {} struct C; pub type D = u8;
         impl<T: Into<A<T>>> A<T> {} impl From<B> for C {} impl crate::x::E for y::B where C: F {}
         mod inner { pub trait G {} impl G for fn() -> A<u8> {} }",
    );
    assert_eq!(names.public, ["A", "B", "D", "G"]);
    assert_eq!(names.implemented.iter().collect::<Vec<_>>(), ["A", "B", "C"]);
}
