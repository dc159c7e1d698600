//! The house: which room may import which (ARCHITECTURE.md), held by reading every path in `src`.
//!
//! Files are read as tokens, not as text, so groups, macros, inline modules and `#[cfg(test)]` code
//! all count, and comments and strings do not. What is not looked at: names that come in through a
//! glob or a macro of another crate.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Each room and what it may import.
const ROOMS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("wire", &["core"]),
    ("config", &["core"]),
    ("project", &["core"]),
    ("scan", &["core"]),
    ("watch", &["core"]),
    ("store", &["core"]),
    ("engine", &["core", "config", "project", "scan", "watch", "store"]),
    ("api", &["core", "wire", "config", "store", "engine"]),
    ("deliver", &["core", "wire", "config", "store", "engine"]),
    ("client", &["core", "wire"]),
    ("service", &["core", "config", "watch", "engine", "api", "deliver"]),
    (
        "cli",
        &[
            "core", "wire", "config", "project", "scan", "engine", "api", "deliver", "client",
            "service",
        ],
    ),
];

/// Paths of other crates that only one room may name, or that a room must not name.
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

/// A path that leads somewhere, by the line it stands in.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    line: usize,
    what: What,
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    /// Into a room of this crate.
    Room(String),
    /// Into another crate, or through a name in scope: all of the path.
    Foreign(String),
    /// Somewhere that cannot be judged, in words.
    Refused(String),
}

/// All paths of one file.
fn paths(text: &str, module: &[String]) -> Vec<Found> {
    let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{module:?}: {error}"));
    let mut found = Vec::new();
    read(tokens, module, &mut found);
    found
}

fn read(tokens: TokenStream, module: &[String], found: &mut Vec<Found>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        let line = tokens[at].span().start().line;
        let mut refuse =
            |why: &str| found.push(Found { line, what: What::Refused(why.to_owned()) });
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
                at = follow(&tokens, at, Place::Here(module), found);
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

/// Where a path has come.
#[derive(Clone)]
enum Place<'a> {
    /// Nowhere yet; the module it stands in.
    Here(&'a [String]),
    /// To a module of this crate.
    Module(Vec<String>),
    /// Into another crate, or through a name in scope.
    Foreign(String),
}

/// Follows the path whose next segment is at `at`, and all of it where it is a group; returns the
/// place after it.
fn follow(
    tokens: &[TokenTree],
    mut at: usize,
    mut place: Place<'_>,
    found: &mut Vec<Found>,
) -> usize {
    loop {
        let Some(token) = tokens.get(at) else { return at };
        let line = token.span().start().line;
        let mut refuse =
            |why: &str| found.push(Found { line, what: What::Refused(why.to_owned()) });
        match token {
            TokenTree::Ident(word) => {
                let word = word.to_string();
                let first = matches!(place, Place::Here(_));
                // `pub(crate)`, `self.x`, `fn super_`: a word with no path behind it leads nowhere.
                if first && !is_path(tokens, at) {
                    return at + 1;
                }
                place = match (place, word.as_str()) {
                    (Place::Here(_), "crate") => Place::Module(Vec::new()),
                    (Place::Here(module), "self") => Place::Module(module.to_vec()),
                    (Place::Here(module), "super") => match module.split_last() {
                        Some((_, parent)) => Place::Module(parent.to_vec()),
                        None => {
                            refuse("`super` of the crate itself");
                            return at + 1;
                        }
                    },
                    (Place::Module(module), "super") => match module.split_last() {
                        Some((_, parent)) => Place::Module(parent.to_vec()),
                        None => {
                            refuse("`super` of the crate itself");
                            return at + 1;
                        }
                    },
                    (Place::Module(module), "self") if module.is_empty() => {
                        refuse("all of the crate at once");
                        return at + 1;
                    }
                    (Place::Module(module), _) => {
                        let room = module.first().map_or(word, Clone::clone);
                        found.push(Found { line, what: What::Room(room) });
                        return skip_path(tokens, at);
                    }
                    (Place::Here(_), _) => Place::Foreign(word),
                    (Place::Foreign(path), _) => Place::Foreign(format!("{path}::{word}")),
                };
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                let members: Vec<TokenTree> = group.stream().into_iter().collect();
                for member in members.split(|token| token.to_string() == ",") {
                    if !member.is_empty() {
                        follow(member, 0, place.clone(), found);
                    }
                }
                return at + 1;
            }
            TokenTree::Punct(star) if star.as_char() == '*' => {
                if matches!(&place, Place::Module(module) if module.is_empty()) {
                    refuse("all of the crate at once");
                }
                return at + 1;
            }
            _ => return at,
        }
        if !is_path(tokens, at) {
            if let Place::Foreign(path) = place {
                found.push(Found { line, what: What::Foreign(path) });
            }
            return at + 1;
        }
        at += 3;
    }
}

/// Whether `::` and more of a path come after the token at `at`.
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

/// The place after the plain path that goes on at `at`; a group at its end is passed over too.
fn skip_path(tokens: &[TokenTree], mut at: usize) -> usize {
    while is_path(tokens, at) {
        at += 3;
    }
    at + 1
}

/// The crate's name for the module in a file of `src`.
fn module_of(file: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

/// What is wrong with one file, and into which other rooms it leads.
fn inspect(file: &Path, text: &str) -> (Vec<String>, BTreeSet<String>) {
    let mut wrong = Vec::new();
    let mut say =
        |line: usize, why: String| wrong.push(format!("src/{}:{line}: {why}", file.display()));
    if !text.starts_with("//! ") {
        say(1, "does not begin with `//! ` and what the file is for".to_owned());
    }
    let module = module_of(file);
    let mut rooms = BTreeSet::new();
    for Found { line, what } in paths(text, &module) {
        match (module.first(), what) {
            (_, What::Refused(why)) => say(line, why),
            (None, What::Room(_)) => say(line, "the map leads into a room".to_owned()),
            (None, What::Foreign(path)) => {
                let own = path.strip_prefix("dossierd::");
                if own.is_some_and(|own| own != "cli" && !own.starts_with("cli::")) {
                    say(line, format!("`{path}`: only `dossierd::cli` is for the binary"));
                }
            }
            (Some(room), What::Room(other)) => {
                if *room == other {
                    continue;
                }
                match ROOMS.iter().find(|(name, _)| name == room) {
                    None => say(line, format!("`{room}` is no room of the table")),
                    Some((_, may)) if !may.contains(&other.as_str()) => {
                        say(line, format!("`{room}` must not import `{other}`"));
                    }
                    Some(_) => {}
                }
                rooms.insert(other);
            }
            (Some(room), What::Foreign(path)) => {
                for (named, only) in FOREIGN {
                    let inside = format!("::{path}::").contains(&format!("::{named}::"));
                    match only {
                        Only::In(home) if inside && path.starts_with(named) && room != home => {
                            say(line, format!("only `{home}` names `{named}`"));
                        }
                        Only::NotIn(pure) if inside && room == pure => {
                            say(line, format!("`{pure}` is pure and does not name `{named}`"));
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    if let Some(room) = module.first()
        && !ROOMS.iter().any(|(name, _)| name == room)
    {
        say(1, format!("`{room}` is no room of the table"));
    }
    (wrong, rooms)
}

/// A way through `imports` that comes back to where it began.
fn cycle(imports: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn walk(
        at: &str,
        way: &mut Vec<String>,
        imports: &BTreeMap<String, BTreeSet<String>>,
    ) -> Option<Vec<String>> {
        if let Some(begin) = way.iter().position(|room| room == at) {
            way.push(at.to_owned());
            return Some(way.split_off(begin));
        }
        way.push(at.to_owned());
        let found = imports.get(at).into_iter().flatten().find_map(|next| walk(next, way, imports));
        way.pop();
        found
    }
    imports.keys().find_map(|room| walk(room, &mut Vec::new(), imports))
}

fn source_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
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

#[test]
fn rooms_import_only_by_the_table_and_every_file_says_what_it_is_for() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut imports = BTreeMap::<String, BTreeSet<String>>::new();
    for path in source_files(&src) {
        let file = path.strip_prefix(&src).unwrap();
        let (found, rooms) = inspect(file, &fs::read_to_string(&path).unwrap());
        wrong.extend(found);
        if let Some(room) = module_of(file).into_iter().next() {
            imports.entry(room).or_default().extend(rooms);
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert_eq!(cycle(&imports), None);
    // Were paths not seen, nothing could be wrong with them.
    assert!(imports["cli"].contains("engine") && imports["engine"].contains("scan"), "{imports:?}");
    assert!(imports["core"].is_empty(), "{imports:?}");
}

#[test]
fn the_table_has_no_cycle_and_names_only_rooms() {
    let table: BTreeMap<String, BTreeSet<String>> = ROOMS
        .iter()
        .map(|(room, may)| ((*room).to_owned(), may.iter().map(|&to| to.to_owned()).collect()))
        .collect();
    assert_eq!(cycle(&table), None);
    for (room, may) in &table {
        for other in may {
            assert!(table.contains_key(other), "`{room}` may import `{other}`, which is no room");
        }
    }
}

#[test]
fn a_broken_file_is_refused() {
    // file, its text after the first line, what is said
    for (file, text, said) in [
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
        ("api/mod.rs", "use crate::deliver::x;", "`api` must not import `deliver`"),
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
        ("common/mod.rs", "", "`common` is no room of the table"),
        ("lib.rs", "pub use crate::core::key;", "the map leads into a room"),
        (
            "main.rs",
            "fn main() { dossierd::engine::go() }",
            "only `dossierd::cli` is for the binary",
        ),
    ] {
        let (wrong, _) = inspect(Path::new(file), &format!("//! What it is.\n{text}\n"));
        assert!(wrong.iter().any(|why| why.contains(said)), "{file}: {text}: {wrong:?}");
    }
    let (wrong, _) = inspect(Path::new("core/x.rs"), "/// Of the wrong kind.\nfn f() {}\n");
    assert!(wrong[0].contains("src/core/x.rs:1: does not begin with `//! `"), "{wrong:?}");
}

#[test]
fn a_sound_file_is_not_refused() {
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
        let (wrong, _) = inspect(Path::new(file), &format!("//! What it is.\n{text}\n"));
        assert!(wrong.is_empty(), "{file}: {text}: {wrong:?}");
    }
}

#[test]
fn a_cycle_is_found() {
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
