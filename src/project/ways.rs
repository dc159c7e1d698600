//! The ways on which `features` patterns lead to features: a pattern by its components.

use crate::core::path::RelPath;
use crate::core::pattern::{Pattern, PatternSet};

/// Levels that `**` descends.
pub(super) const ANY_DEPTH: usize = 16;

/// One component of a pattern.
#[derive(Debug)]
pub(super) enum Component {
    Literal(Vec<u8>),
    Wild(PatternSet),
    AnyDepth,
}

pub(super) fn components(pattern: &Pattern) -> Result<Vec<Component>, String> {
    pattern
        .as_str()
        .split('/')
        .map(|part| match Pattern::new(part) {
            _ if part == "**" => Ok(Component::AnyDepth),
            Ok(literal) if literal.is_literal() => Ok(Component::Literal(part.into())),
            Ok(wild) => PatternSet::new([&wild]).map(Component::Wild),
            Err(error) => Err(format!("{error}; a wildcard must not reach over a `/` here")),
        })
        .collect()
}

/// The ways of a project's patterns.
#[derive(Debug)]
pub struct Ways(Vec<Vec<Component>>);

impl Ways {
    /// Those of all patterns that can be used.
    #[must_use]
    pub fn new(patterns: &[Pattern]) -> Self {
        Self(patterns.iter().filter_map(|pattern| components(pattern).ok()).collect())
    }

    /// Whether a folder at that path would be a feature, or on the way to one.
    #[must_use]
    pub fn lead_to(&self, path: &RelPath) -> bool {
        self.0.iter().any(|way| {
            // Told apart by length first: nearly all paths are those of files in features.
            let any = way.iter().filter(|part| matches!(part, Component::AnyDepth)).count();
            let longest = way.len() + any * ANY_DEPTH;
            let names: Vec<&[u8]> = path.components().take(longest + 1).collect();
            names.len() <= longest && leads(way, &names)
        })
    }
}

fn leads(way: &[Component], names: &[&[u8]]) -> bool {
    let (Some((first, rest)), Some((name, below))) = (way.split_first(), names.split_first())
    else {
        return names.is_empty();
    };
    // A hidden folder leads to no feature, and is only said to be none.
    let open = |is_last: bool| is_last || !name.starts_with(b".");
    match first {
        Component::Literal(literal) => literal == name && leads(rest, below),
        Component::Wild(set) => {
            open(rest.is_empty())
                && RelPath::new(*name).is_ok_and(|name| set.is_match(&name))
                && leads(rest, below)
        }
        Component::AnyDepth => {
            leads(rest, names) || open(rest.is_empty() && below.is_empty()) && leads(way, below)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_on_the_way_to_features() {
        for (pattern, path, expect) in [
            ("kitty-specs/*", "kitty-specs", true),
            ("kitty-specs/*", "kitty-specs/001-x", true),
            ("kitty-specs/*", "kitty-specs/.x", true),
            ("kitty-specs/*", "kitty-specs/001-x/spec.md", false),
            ("kitty-specs/*", "src", false),
            ("teams/*/specs/*", "teams/a", true),
            ("teams/*/specs/*", "teams/.a", false),
            ("teams/*/specs/*", "teams/a/specs", true),
            ("teams/*/specs/*", "teams/a/other", false),
            ("teams/*/specs/00?", "teams/a/specs/001", true),
            ("teams/*/specs/00?", "teams/a/specs/101", false),
            ("teams/**", "teams/a/b/c", true),
            ("teams/**", "teams/.a/b", false),
            ("**/specs/*", "a", true),
            ("**/specs/*", "a/specs/b", true),
            ("**/specs/*", "specs", true),
            ("**/specs/*", ".git", false),
            ("**/specs/*", ".git/specs", false),
            ("**/.specs/*", ".specs/x", true),
        ] {
            let ways = Ways::new(&[Pattern::new(pattern).unwrap()]);
            let path = RelPath::new(path.as_bytes()).unwrap();
            assert_eq!(ways.lead_to(&path), expect, "{pattern} on {path:?}");
        }
        let deep = RelPath::new(vec!["a"; 999].join("/").as_bytes()).unwrap();
        let many = Pattern::new("**/b/**/c/**/d").unwrap();
        assert!(!Ways::new(&[many]).lead_to(&deep), "and at once");
    }
}
