//! Checks the module graph of `src` against the rules of ARCHITECTURE.md by reading every path.
//!
//! Files are read as tokens, not as text, so groups, macros, inline modules and `#[cfg(test)]` code
//! all count, and comments and strings do not. A name that a file imports or re-exports is followed
//! to the file that defines it. Names that a glob import or a macro of another crate brings into
//! scope are not seen.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Each top-level module and the ones it may import.
const LAYERS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("wire", &["core"]),
    ("ownership", &["core"]),
    ("config", &["core", "ownership"]),
    ("project", &["core"]),
    ("scan", &["core"]),
    ("watch", &["core"]),
    ("store", &["core", "ownership"]),
    ("engine", &["core", "config", "project", "scan", "watch", "store"]),
    ("history", &["core", "wire", "config", "store", "engine"]),
    ("api", &["core", "wire", "ownership", "config", "project", "store", "engine", "history"]),
    ("delivery", &["core", "wire", "ownership", "config", "store", "engine"]),
    ("client", &["core", "wire"]),
    ("daemon", &["core", "ownership", "config", "watch", "engine", "history", "api", "delivery"]),
    (
        "cli",
        &[
            "core",
            "wire",
            "ownership",
            "config",
            "project",
            "scan",
            "engine",
            "history",
            "api",
            "delivery",
            "client",
            "daemon",
        ],
    ),
];

/// The modules of `engine`, highest first; each may import only those after it. Modules that are
/// compiled only for tests are not listed: they may import all of these.
const ENGINE_ORDER: &[&str] = &[
    "runtime",
    "io",
    "inbox",
    "messages",
    "reconcile",
    "read_model",
    "command",
    "sinks",
    "oneshot",
    "offline_projects",
    "settings",
    "timeouts",
    "clock",
    "ids",
    "metrics",
    "failpoint",
];

/// Crates that only one module may name.
const FOREIGN: &[(&str, &str)] =
    &[("notify", "watch"), ("rusqlite", "store"), ("clap", "cli"), ("pulldown_cmark", "wire")];

/// A module without side effects.
struct Pure {
    module: &'static [&'static str],
    /// Paths that it must not name in addition to [`IMPURE`].
    impure: &'static [&'static str],
    /// What it may import of modules with side effects; `None` if the module table forbids these.
    values: Option<&'static [&'static [&'static str]]>,
    /// True if its `#[cfg(test)]` code may have side effects.
    tests_are_exempt: bool,
}

const PURE: &[Pure] = &[
    Pure { module: &["core"], impure: &[], values: None, tests_are_exempt: false },
    Pure {
        module: &["engine", "reconcile"],
        impure: &["Instant", "SystemTime"],
        values: Some(&[
            &["core"],
            &["engine"],
            &["project", "FeatureDir"],
            &["project", "FeatureInputs"],
            &["project", "FeaturePatterns"],
            &["project", "LayoutPaths"],
            &["project", "MetadataKind"],
            &["project", "ProjectSettings"],
            &["project", "StateFiles"],
            &["project", "Worktree"],
            &["project", "is_dossier_dir"],
            &["project", "is_dossiers_home"],
            &["project", "is_worktree_path"],
            &["project", "name_of_baseline"],
            &["scan", "Listing"],
            &["scan", "PathState"],
            &["scan", "ScanLimits"],
            &["scan", "UnreadableDir"],
            &["watch", "DebounceTimes"],
            &["watch", "Debouncer"],
            &["watch", "HintKind"],
            &["watch", "ReadCost"],
        ]),
        tests_are_exempt: true,
    },
];

/// Paths that no pure module names: files, processes, threads, sockets, clocks, chance, logs.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::io",
    "std::env",
    "std::net",
    "std::os::fd",
    "std::os::unix::fs",
    "std::process",
    "std::thread",
    "rusqlite",
    "rustix",
    "tokio",
    "tracing",
    "SystemTime::now",
    "Instant::now",
    "Utc::now",
    "Uuid::new_v4",
];

/// Methods of `std::path::Path` and the clocks of `std::time` that no pure module calls.
const IMPURE_METHODS: &[&str] = &[
    "canonicalize",
    "elapsed",
    "exists",
    "is_dir",
    "is_file",
    "is_symlink",
    "metadata",
    "read_dir",
    "read_link",
    "symlink_metadata",
    "try_exists",
];

/// A path or method call in the source, and the line where it starts.
#[derive(Debug, PartialEq, Eq)]
struct PathUse {
    line: usize,
    target: Target,
    /// The name that it has in this file: its last segment, or that after `as`.
    name: String,
    role: Role,
    /// True within `#[cfg(test)]`.
    is_test: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// A path of this crate, from its root.
    Own(Vec<String>),
    /// A path of another crate, or one that starts with a name in scope.
    Foreign(String),
    /// A call of a method of this name.
    Method(String),
    /// A path that cannot be checked, and why.
    Refused(String),
}

/// The part of a file that a path is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// In code.
    Mention,
    /// In a `use` at the top of its file.
    Import,
    /// In a `pub use` there.
    Reexport,
    /// In `pub(in path)`, which names a module that contains the file.
    Visibility,
}

/// Returns all paths of one file.
fn paths(text: &str, module: &[String]) -> Vec<PathUse> {
    let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{module:?}: {error}"));
    let mut reader =
        PathReader { found: Vec::new(), role: Role::Mention, is_test: false, depth: 0 };
    reader.read(tokens, module);
    reader.found
}

/// Collects the paths of one file.
struct PathReader {
    found: Vec<PathUse>,
    /// Role of the paths that are being read.
    role: Role,
    /// True while an item with `#[cfg(test)]` is being read.
    is_test: bool,
    /// Number of groups around the tokens that are being read.
    depth: usize,
}

impl PathReader {
    fn add(&mut self, line: usize, target: Target, name: &str) {
        let (role, is_test) = (self.role, self.is_test);
        self.found.push(PathUse { line, target, name: name.to_owned(), role, is_test });
    }

    fn refuse(&mut self, line: usize, why: &str) {
        self.add(line, Target::Refused(why.to_owned()), "");
    }

    fn read(&mut self, tokens: TokenStream, module: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let word = |at: usize| tokens.get(at).map(ToString::to_string).unwrap_or_default();
        let is_test_outside = self.is_test;
        self.depth += 1;
        let mut angles = 0_usize;
        let mut at = 0;
        while at < tokens.len() {
            let line = tokens[at].span().start().line;
            match &tokens[at] {
                TokenTree::Ident(_) => {
                    let next = word(at + 1);
                    match word(at).as_str() {
                        "crate" if next == "as" => self.refuse(line, "`crate` under another name"),
                        "extern" if next == "crate" => self.refuse(line, "`extern crate`"),
                        "use" if self.depth == 1 => {
                            let is_public = tokens[..at].iter().rev().take(2).any(is_pub);
                            self.role = if is_public { Role::Reexport } else { Role::Import };
                        }
                        "mod" => {
                            if let Some(TokenTree::Group(body)) = tokens.get(at + 2) {
                                self.read(body.stream(), &[module, &[next]].concat());
                                self.is_test = is_test_outside;
                                at += 3;
                                continue;
                            }
                        }
                        name if at > 0
                            && word(at - 1) == "."
                            && matches!(tokens.get(at + 1), Some(TokenTree::Group(_))) =>
                        {
                            self.add(line, Target::Method(name.to_owned()), name);
                        }
                        _ => {}
                    }
                    at = self.follow(&tokens, at, Prefix::Start(module));
                }
                TokenTree::Group(group) => {
                    let inside = group.stream().to_string();
                    let is_attribute = at > 0 && word(at - 1) == "#";
                    if is_attribute && inside.starts_with("path =") {
                        self.refuse(line, "a module at another path");
                    }
                    let role = self.role;
                    if at > 0 && is_pub(&tokens[at - 1]) {
                        self.role = Role::Visibility;
                    }
                    self.read(group.stream(), module);
                    self.role = role;
                    if is_attribute {
                        self.is_test |= inside == "cfg (test)";
                    } else if group.delimiter() == Delimiter::Brace {
                        self.is_test = is_test_outside;
                    }
                    at += 1;
                }
                TokenTree::Punct(punct) => {
                    match punct.as_char() {
                        '<' => angles += 1,
                        '>' => angles = angles.saturating_sub(1),
                        ';' => (self.role, self.is_test) = (Role::Mention, is_test_outside),
                        ',' if angles == 0 => self.is_test = is_test_outside,
                        _ => {}
                    }
                    at += 1;
                }
                TokenTree::Literal(_) => at += 1,
            }
        }
        self.depth -= 1;
        self.is_test = is_test_outside;
    }

    /// Resolves the path whose next segment is at `at`, with all members if it is a group; returns
    /// the index of the token after it.
    fn follow(&mut self, tokens: &[TokenTree], mut at: usize, mut prefix: Prefix<'_>) -> usize {
        loop {
            let Some(token) = tokens.get(at) else { return at };
            let line = token.span().start().line;
            match token {
                TokenTree::Ident(word) => {
                    let word = word.to_string();
                    let first = matches!(prefix, Prefix::Start(_));
                    // `pub(crate)`, `self.x`, `fn super_`: a word without `::` after it is not a
                    // path.
                    if first && !is_path(tokens, at) {
                        return at + 1;
                    }
                    prefix = match (prefix, word.as_str()) {
                        (Prefix::Start(_), "crate") => Prefix::Module(Vec::new()),
                        (Prefix::Start(module), "self") => Prefix::Module(module.to_vec()),
                        (Prefix::Start(module), "super") => match module.split_last() {
                            Some((_, parent)) => Prefix::Module(parent.to_vec()),
                            None => {
                                self.refuse(line, "`super` of the crate itself");
                                return at + 1;
                            }
                        },
                        (Prefix::Module(module), "super") => match module.split_last() {
                            Some((_, parent)) => Prefix::Module(parent.to_vec()),
                            None => {
                                self.refuse(line, "`super` of the crate itself");
                                return at + 1;
                            }
                        },
                        (Prefix::Module(module), "self") if module.is_empty() => {
                            self.refuse(line, "all of the crate at once");
                            return at + 1;
                        }
                        // `use a::{self, b}`
                        (prefix, "self") => prefix,
                        (Prefix::Module(module), _) => {
                            Prefix::Module([module, vec![word]].concat())
                        }
                        (Prefix::Start(_), _) => Prefix::Foreign(word),
                        (Prefix::Foreign(path), _) => Prefix::Foreign(format!("{path}::{word}")),
                    };
                }
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                    let members: Vec<TokenTree> = group.stream().into_iter().collect();
                    for member in members.split(|token| token.to_string() == ",") {
                        if !member.is_empty() {
                            self.follow(member, 0, prefix.clone());
                        }
                    }
                    return at + 1;
                }
                TokenTree::Punct(star) if star.as_char() == '*' => {
                    match prefix {
                        Prefix::Module(module) if module.is_empty() => {
                            self.refuse(line, "all of the crate at once");
                        }
                        Prefix::Module(module) => self.add(line, Target::Own(module), "*"),
                        _ => {}
                    }
                    return at + 1;
                }
                _ => return at,
            }
            if !is_path(tokens, at) {
                let renamed = match (tokens.get(at + 1), tokens.get(at + 2)) {
                    (Some(TokenTree::Ident(word)), Some(name)) if word == "as" => {
                        Some(name.to_string())
                    }
                    _ => None,
                };
                match prefix {
                    Prefix::Foreign(path) => {
                        let last = path.rsplit("::").next().unwrap_or_default().to_owned();
                        self.add(line, Target::Foreign(path), &renamed.unwrap_or(last));
                    }
                    Prefix::Module(module) => {
                        let last = module.last().cloned().unwrap_or_default();
                        self.add(line, Target::Own(module), &renamed.unwrap_or(last));
                    }
                    Prefix::Start(_) => {}
                }
                return at + 1;
            }
            at += 3;
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

fn is_pub(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Ident(word) if word == "pub")
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
    /// Violations that are allowed if the whole file is compiled only for tests.
    unless_test: Vec<String>,
    /// Paths of this crate that the file names.
    uses: Vec<OwnPath>,
    /// What the names that it imports or re-exports stand for, from the crate's root.
    imports: BTreeMap<String, Vec<String>>,
    /// Modules that it declares with `#[cfg(test)] mod name;`.
    test_modules: Vec<Vec<String>>,
}

/// A path of this crate, from its root.
#[derive(Debug)]
struct OwnPath {
    path: Vec<String>,
    role: Role,
}

/// Checks one file against the module tables and collects the paths of this crate that it names.
fn inspect(file: &Path, text: &str) -> FileReport {
    let mut report = FileReport::default();
    let module = module_of(file);
    let children = child_modules(text);
    let place = |line: usize, why: String| format!("src/{}:{line}: {why}", file.display());
    if !text.starts_with("//! ") {
        let why = "does not begin with `//! ` and the purpose of the file".to_owned();
        report.violations.push(place(1, why));
    }
    let mut found = paths(text, &module);
    for PathUse { target, name, role, .. } in &mut found {
        let is_child = |name: &str| children.contains_key(name);
        own_path(target, |name| is_child(name).then(|| [&module[..], &owned(&[name])].concat()));
        if let (Target::Own(path), Role::Import | Role::Reexport) = (target, role)
            && name != "*"
        {
            report.imports.insert(name.clone(), path.clone());
        }
    }
    for PathUse { line, mut target, role, is_test, .. } in found {
        own_path(&mut target, |name| report.imports.get(name).cloned());
        if let Some(pure) = Pure::containing(&module) {
            let why = pure.side_effect(&target).map(|why| place(line, why));
            match pure.tests_are_exempt {
                true if is_test => {}
                true => report.unless_test.extend(why),
                false => report.violations.extend(why),
            }
        }
        let refused = match (module.first(), &target) {
            (_, Target::Refused(why)) => Some(why.clone()),
            (None, Target::Own(_)) => Some("the crate root imports a module".to_owned()),
            (None, Target::Foreign(path)) => {
                let own = path.strip_prefix("dossierd::");
                own.is_some_and(|own| own != "cli" && !own.starts_with("cli::"))
                    .then(|| format!("`{path}`: the binary uses only `dossierd::cli`"))
            }
            (Some(layer), Target::Own(path)) => refuse_import(layer, path),
            (Some(layer), Target::Foreign(path)) => FOREIGN
                .iter()
                .find(|(named, home)| first_segment(path) == *named && layer != home)
                .map(|(named, home)| format!("only `{home}` names `{named}`")),
            (_, Target::Method(_)) => None,
        };
        report.violations.extend(refused.map(|why| place(line, why)));
        if let Target::Own(path) = &target {
            report.unless_test.extend(refuse_upward(&module, path).map(|why| place(line, why)));
        }
        if let (Target::Own(path), false) = (target, module.is_empty()) {
            report.uses.push(OwnPath { path, role });
        }
    }
    for (name, is_test) in children {
        if is_test {
            report.test_modules.push([module.clone(), vec![name]].concat());
        }
    }
    if let Some(layer) = module.first()
        && !LAYERS.iter().any(|(name, _)| name == layer)
    {
        report.violations.push(place(1, format!("`{layer}` is not in the module table")));
    }
    report
}

/// Makes a path that starts with a name in scope one of this crate, if `find` knows the name.
fn own_path(target: &mut Target, find: impl Fn(&str) -> Option<Vec<String>>) {
    if let Target::Foreign(path) = target {
        let mut segments = path.split("::");
        if let Some(start) = segments.next().and_then(find) {
            *target = Target::Own(start.into_iter().chain(segments.map(str::to_owned)).collect());
        }
    }
}

fn first_segment(path: &str) -> &str {
    path.split("::").next().unwrap_or_default()
}

/// Returns why a file of a layer must not import a path of this crate, if it must not.
fn refuse_import(layer: &str, path: &[String]) -> Option<String> {
    let other = path.first().filter(|other| *other != layer)?;
    match LAYERS.iter().find(|(name, _)| *name == layer) {
        None => Some(format!("`{layer}` is not in the module table")),
        Some((_, allowed)) => (!allowed.contains(&other.as_str()))
            .then(|| format!("`{layer}` must not import `{other}`")),
    }
}

/// Returns why a file of the engine must not import a path of the engine, if it must not.
fn refuse_upward(module: &[String], path: &[String]) -> Option<String> {
    let ([engine, part, ..], [other_engine, other, ..]) = (module, path) else { return None };
    if engine != "engine" || other_engine != engine || part == other {
        return None;
    }
    let rank = |part: &str| ENGINE_ORDER.iter().position(|known| *known == part);
    match (rank(part), rank(other)) {
        (Some(from), Some(to)) if from < to => None,
        (Some(_), Some(_)) => Some(format!("`engine::{part}` must not import `engine::{other}`")),
        _ => Some(format!("`{part}` or `{other}` is not in the order of the engine's modules")),
    }
}

impl Pure {
    /// Finds the pure module that contains a module.
    fn containing(module: &[String]) -> Option<&'static Self> {
        PURE.iter().find(|pure| module.starts_with(&owned(pure.module)))
    }

    /// Returns the side effect that a path or call has, if it has one.
    fn side_effect(&self, target: &Target) -> Option<String> {
        let refused = match target {
            Target::Foreign(path) => {
                let is_named =
                    |named: &&&str| format!("::{path}::").contains(&format!("::{named}::"));
                let named = IMPURE.iter().chain(self.impure).find(is_named)?;
                format!("does not name `{named}`")
            }
            Target::Method(name) if IMPURE_METHODS.contains(&name.as_str()) => {
                format!("does not call `{name}`")
            }
            Target::Own(path) => {
                let mut values = self.values?.iter();
                if values.any(|value| path.starts_with(&owned(value))) {
                    return None;
                }
                format!("does not use `{}`", path.join("::"))
            }
            Target::Method(_) | Target::Refused(_) => return None,
        };
        Some(format!("`{}` is pure and {refused}", self.module.join("::")))
    }
}

/// Returns the modules that a file declares with `mod name;`, and whether each is only for tests.
fn child_modules(text: &str) -> BTreeMap<String, bool> {
    let tokens: Vec<TokenTree> = text.parse::<TokenStream>().unwrap().into_iter().collect();
    let words: Vec<String> = tokens.iter().map(ToString::to_string).collect();
    let mut children = BTreeMap::new();
    let mut is_test = false;
    for (at, word) in words.iter().enumerate() {
        match word.as_str() {
            "mod" if words.get(at + 2).is_some_and(|end| end == ";") => {
                children.insert(words[at + 1].clone(), is_test);
            }
            "[cfg (test)]" => is_test = true,
            ";" => is_test = false,
            word if word.starts_with('{') => is_test = false,
            _ => {}
        }
    }
    children
}

/// Returns all violations that concern one file each.
fn violations(reports: &BTreeMap<Vec<String>, FileReport>) -> Vec<&String> {
    let mut violations = Vec::new();
    for (module, report) in reports {
        violations.extend(&report.violations);
        if !is_test_module(module, reports) {
            violations.extend(&report.unless_test);
        }
    }
    violations
}

/// Returns true if a module is compiled only for tests.
fn is_test_module(module: &[String], reports: &BTreeMap<Vec<String>, FileReport>) -> bool {
    let mut tests = reports.values().flat_map(|report| &report.test_modules);
    tests.any(|test| module.starts_with(test))
}

fn owned(module: &[&str]) -> Vec<String> {
    module.iter().map(|&part| part.to_owned()).collect()
}

/// Returns the file that defines what a path names: imports and re-exports on the way are followed.
fn defining_file(
    path: &[String],
    reports: &BTreeMap<Vec<String>, FileReport>,
) -> Option<Vec<String>> {
    let mut path = path.to_vec();
    // More steps than any chain of re-exports has; a chain that ends where it began stops here.
    for _ in 0..16 {
        let length =
            (1..=path.len()).rev().find(|length| reports.contains_key(&path[..*length]))?;
        let (file, rest) = path.split_at(length);
        let imported = rest.first().and_then(|name| reports[file].imports.get(name));
        match imported {
            Some(target) => path = [target, &rest[1..]].concat(),
            None => return Some(file.to_vec()),
        }
    }
    None
}

/// Returns the import graph of the files of `src`: edges to other files, named by module path.
///
/// A file that declares or re-exports its own child modules does not import them: who uses a
/// re-exported name imports the file that defines it.
fn file_graph(reports: &BTreeMap<Vec<String>, FileReport>) -> BTreeMap<String, BTreeSet<String>> {
    let mut graph = BTreeMap::<String, BTreeSet<String>>::new();
    for (module, report) in reports {
        let edges = graph.entry(module.join("::")).or_default();
        for OwnPath { path, role } in &report.uses {
            let Some(target) = defining_file(path, reports) else { continue };
            let is_own_export = *role == Role::Reexport && target.starts_with(module);
            if target != *module && !is_own_export && *role != Role::Visibility {
                edges.insert(target.join("::"));
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

/// Returns the text of each file of `src` that is not compiled only for tests, by its path below it.
fn program_sources() -> Vec<(PathBuf, String)> {
    let reports = reports();
    let sources = sources().into_iter();
    sources.filter(|(file, _)| !is_test_module(&module_of(file), &reports)).collect()
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
fn modules_import_only_by_the_tables() {
    let reports = reports();
    let violations = violations(&reports);
    assert!(violations.is_empty(), "\n{violations:#?}\n");

    let mut layers = BTreeMap::<String, BTreeSet<String>>::new();
    for (module, report) in &reports {
        let Some(layer) = module.first() else { continue };
        let others = report.uses.iter().filter_map(|used| used.path.first());
        let others = others.filter(|other| *other != layer).cloned();
        layers.entry(layer.clone()).or_default().extend(others);
    }
    assert_eq!(cycle(&layers), None);
    // Guards the reader of paths itself: with no path seen there would be no violation.
    assert!(layers["cli"].contains("engine") && layers["engine"].contains("scan"), "{layers:?}");
    assert!(layers["core"].is_empty(), "{layers:?}");
}

#[test]
fn no_import_cycle_exists_between_files() {
    let graph = file_graph(&reports());
    for (file, imported) in [
        ("core::snapshot", "core::digest"),
        ("engine::runtime::event_loop", "engine::runtime::registry"),
        ("engine::reconcile::feature", "engine::reconcile::path_work"),
        ("engine::reconcile::project", "engine::read_model::feature"),
    ] {
        assert!(graph[file].contains(imported), "{file} -> {imported}: {:?}", graph[file]);
    }
    assert_eq!(cycle(&graph), None);
}

#[test]
fn public_type_names_are_unique() {
    let mut places = BTreeMap::<String, Vec<String>>::new();
    for (file, text) in program_sources() {
        for name in type_names(&text).public {
            places.entry(name).or_default().push(file.display().to_string());
        }
    }
    assert!(places.contains_key("FeatureSlug"), "{places:?}");
    places.retain(|_, files| files.len() > 1);
    assert!(places.is_empty(), "{places:#?}");
}

#[test]
fn no_type_is_implemented_in_more_than_two_files() {
    let mut places = BTreeMap::<String, BTreeSet<String>>::new();
    let mut own = BTreeSet::new();
    for (file, text) in program_sources() {
        let names = type_names(&text);
        own.extend(names.public);
        for name in names.implemented {
            places.entry(name).or_default().insert(file.display().to_string());
        }
    }
    assert!(own.contains("RelPath") && places["ProjectState"].len() == 2, "{places:?}");
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
fn the_map_of_the_engine_lists_its_modules_in_their_order() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let text = fs::read_to_string(src.join("engine/mod.rs")).unwrap();
    let listed: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("//! - ")?.split_once(": "))
        .map(|(name, _)| name.trim_matches(['[', ']', '`']))
        .collect();
    assert_eq!(listed, ENGINE_ORDER);
    let children = child_modules(&text).into_iter().filter(|(_, is_test)| !is_test);
    let declared: Vec<String> = children.map(|(name, _)| name).collect();
    let mut known = owned(ENGINE_ORDER);
    known.sort();
    assert_eq!(declared, known);
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

/// Returns the violations of one file that begins with a module comment.
fn refused(file: &str, text: &str) -> Vec<String> {
    let report = inspect(Path::new(file), &format!("//! Purpose.\n{text}\n"));
    [report.violations, report.unless_test].concat()
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
        let wrong = refused(file, text);
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
        ("cli/out.rs", "use crate::wire::json;\nuse crate::{scan::Progress, engine::oneshot::*};"),
        ("lib.rs", "pub mod core;\npub mod cli;"),
        ("main.rs", "fn main() -> std::process::ExitCode { dossierd::cli::main() }"),
    ] {
        let wrong = refused(file, text);
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

/// Returns the reports of files that begin with a module comment.
fn reports_of(files: &[(&str, &str)]) -> BTreeMap<Vec<String>, FileReport> {
    let report = |(file, text): &(&str, &str)| {
        let file = Path::new(file);
        (module_of(file), inspect(file, &format!("//! Purpose.\n{text}\n")))
    };
    files.iter().map(report).collect()
}

#[test]
fn file_graph_resolves_names_to_the_files_that_define_them() {
    let graph = file_graph(&reports_of(&[
        ("a/mod.rs", "mod b;\npub use b::Z;\npub use crate::c::d::W;\nuse crate::c::{X, d::Y};"),
        ("a/b.rs", "use super::{W, X};\npub(in crate::a) fn f() { super::g() }"),
        ("c/mod.rs", "pub(crate) mod d;\npub use self::d::{Y, V as U};\nfn f() { d::h() }"),
        ("c/d.rs", "use crate::*;\nuse crate::a::Z;"),
        ("e.rs", "use crate::{c, a::*};\nfn f() { c::Y::new(c::U) }"),
    ]));
    let edges = |file: &str| graph[file].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(edges("a"), ["c", "c::d"], "a re-export of its own child is not an import");
    assert_eq!(edges("a::b"), ["a", "c", "c::d"]);
    assert_eq!(edges("c"), ["c::d"]);
    assert_eq!(edges("c::d"), ["a::b"]);
    assert_eq!(edges("e"), ["a", "c", "c::d"]);
}

#[test]
fn planted_import_cycle_is_found() {
    let hash_pool = ("engine/io/hash_pool.rs", "use super::executor::ProjectIo;");
    for (files, expected) in [
        // two siblings
        (
            vec![("engine/io/executor.rs", "use super::hash_pool::HashPool;"), hash_pool],
            "engine::io::executor engine::io::hash_pool engine::io::executor",
        ),
        // in code instead of a `use`, through a re-export, in a test
        (
            vec![
                ("engine/io/mod.rs", "mod executor;\npub(super) use executor::ProjectIo as Io;"),
                ("engine/io/executor.rs", "fn f() { crate::engine::io::hash_pool::start() }"),
                ("engine/io/hash_pool.rs", "#[cfg(test)] mod tests { use crate::engine::io::Io; }"),
            ],
            "engine::io::executor engine::io::hash_pool engine::io::executor",
        ),
        // a parent that uses its child, and a child that uses its parent
        (
            vec![
                ("engine/runtime/mod.rs", "mod commit;\nfn f() { commit::commit() }"),
                ("engine/runtime/commit.rs", "use super::Engine;"),
            ],
            "engine::runtime engine::runtime::commit engine::runtime",
        ),
        // three files
        (
            vec![
                ("engine/reconcile/feature.rs", "use super::pending::PendingChanges;"),
                ("engine/reconcile/pending.rs", "use crate::engine::reconcile::project;"),
                ("engine/reconcile/project.rs", "type F = super::feature::FeatureState;"),
            ],
            "engine::reconcile::feature engine::reconcile::pending engine::reconcile::project \
             engine::reconcile::feature",
        ),
    ] {
        let reports = reports_of(&files);
        assert_eq!(violations(&reports), [""; 0], "{files:?}");
        let found = cycle(&file_graph(&reports)).unwrap_or_else(|| panic!("{files:?}"));
        assert_eq!(found.join(" "), expected);
    }
}

#[test]
fn planted_upward_import_in_the_engine_is_refused() {
    for (file, text, expected) in [
        ("io/executor.rs", "use crate::engine::runtime::start;", "`io` `runtime`"),
        ("inbox.rs", "use super::io::hash_pool::HashPool;", "`inbox` `io`"),
        ("reconcile/feature.rs", "use super::super::io::executor;", "`reconcile` `io`"),
        (
            "reconcile/feature.rs",
            "type F = crate::engine::messages::FileJob;",
            "`reconcile` `messages`",
        ),
        (
            "read_model/feature.rs",
            "use crate::engine::{ids, reconcile};",
            "`read_model` `reconcile`",
        ),
        ("ids.rs", "#[cfg(test)] use super::clock::Tick;", "`ids` `clock`"),
    ] {
        let expected = expected.replace("` `", "` must not import `engine::");
        let expected = expected.replacen('`', "`engine::", 1);
        let wrong = refused(&format!("engine/{file}"), text);
        assert!(wrong.iter().any(|why| why.contains(&expected)), "{file}: {text}: {wrong:?}");
    }
    for (file, text) in [
        ("runtime/commit.rs", "use super::watched_project;\nuse crate::engine::{io, reconcile};"),
        ("io/executor.rs", "use super::hash_pool;\nuse crate::engine::reconcile::effect::Effect;"),
        ("reconcile/feature.rs", "use crate::engine::{clock::Tick, read_model::FeatureView};"),
        ("mod.rs", "pub mod runtime;\nmod io;"),
    ] {
        assert_eq!(refused(&format!("engine/{file}"), text), [""; 0], "{file}: {text}");
    }
    assert!(
        refused("engine/x.rs", "use super::ids;")[0].contains("`x` or `ids` is not in the order")
    );
    let files = |attribute: &str| {
        let declared = format!("mod runtime;\n{attribute} mod simulation;");
        let files = [
            ("engine/mod.rs", &*declared),
            ("engine/simulation/mod.rs", "mod disk;"),
            ("engine/simulation/disk.rs", "use crate::engine::runtime::start;"),
        ];
        violations(&reports_of(&files)).len()
    };
    assert_eq!((files(""), files("#[cfg(test)]")), (1, 0), "a module that is only for tests");
}

#[test]
fn planted_side_effect_in_the_reconciler_is_refused() {
    for (text, named) in [
        ("use std::fs;", "std::fs"),
        ("use std::{fmt, fs::File};", "std::fs"),
        ("fn f() { std::thread::sleep(T) }", "std::thread"),
        ("use std::net::TcpStream;", "std::net"),
        ("fn f() -> u32 { std::process::id() }", "std::process"),
        ("fn f() { std::env::var_os(\"X\"); }", "std::env"),
        ("use std::time::{Duration, Instant};", "Instant"),
        ("struct S { at: std::time::Instant }", "Instant"),
        ("fn f() { now = Instant::now(); }", "Instant::now"),
        ("use std::time::SystemTime;", "SystemTime"),
        ("fn f() { tracing::warn!(\"x\") }", "tracing"),
        ("use tracing::info;", "tracing"),
        ("use rustix::fs::open;", "rustix"),
        ("use tokio::sync::oneshot;", "tokio"),
        ("use rusqlite::Connection;", "rusqlite"),
        ("fn f() { Uuid::new_v4() }", "Uuid::new_v4"),
        ("use crate::scan::list_tree;", "scan::list_tree"),
        ("use crate::project::{FeatureDir, Project};", "project::Project"),
        ("use crate::watch::*;", "watch"),
        ("fn f(path: &Path) -> bool { path.exists() }", "exists"),
        ("fn f() { self.path.symlink_metadata() }", "symlink_metadata"),
        // The attribute ends with its item.
        ("#[cfg(test)] use std::fmt;\nuse std::fs;", "std::fs"),
        ("#[cfg(test)] mod tests { fn f() {} }\nfn g() { std::fs::read(p) }", "std::fs"),
        ("struct S { #[cfg(test)] a: u8, b: std::fs::File }", "std::fs"),
        ("#[cfg(not(test))] use std::fs;", "std::fs"),
    ] {
        let reports = reports_of(&[("engine/reconcile/x.rs", text)]);
        let wrong = violations(&reports);
        let expected = ["name", "use", "call"].map(|verb| format!("does not {verb} `{named}`"));
        let is_found = wrong.iter().any(|why| expected.iter().any(|end| why.ends_with(end)));
        assert!(is_found, "{text}: {wrong:?}");
    }
    for text in [
        "#[cfg(test)] mod tests { use std::fs; fn f(p: &Path) { p.exists() } }",
        "#[cfg(test)] use crate::scan::list_tree;",
        "#[cfg(test)] fn f() { std::thread::sleep(T) }",
        "use std::path::{Path, PathBuf};\nuse std::time::Duration;",
        "use crate::scan::{Listing, PathState};\nfn f(metadata: &M) { metadata.exists }",
        "// std::fs\nfn f() -> &'static str { \"std::fs\" }",
    ] {
        let reports = reports_of(&[("engine/reconcile/x.rs", text)]);
        assert_eq!(violations(&reports), [""; 0], "{text}");
    }
    let files = |attribute: &str| {
        let declared = format!("mod a;\n{attribute} mod x;");
        let files =
            [("engine/reconcile/mod.rs", &*declared), ("engine/reconcile/x.rs", "use std::fs;")];
        violations(&reports_of(&files)).len()
    };
    assert_eq!((files(""), files("#[cfg(test)]")), (1, 0), "a file that is only for tests");
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
