//! Splits `features` patterns into components; determines which paths can contain a feature.

use crate::core::path::RelPath;
use crate::core::pattern::{Pattern, PatternError, PatternSet, PatternSetError};

/// Maximum number of directory levels that `**` matches.
pub(super) const MAX_GLOBSTAR_DEPTH: usize = 16;

/// One component of a pattern.
#[derive(Debug)]
pub(super) enum PatternComponent {
    Literal(Vec<u8>),
    Wildcard(PatternSet),
    Globstar,
}

/// Why a `features` pattern cannot be matched component by component.
#[derive(Debug, thiserror::Error)]
pub(super) enum PatternComponentError {
    #[error("{0}; braces and brackets in `features` must not contain `/`")]
    Syntax(#[from] PatternError),
    #[error(transparent)]
    Compile(#[from] PatternSetError),
}

/// Splits a pattern at each `/` and compiles its components.
pub(super) fn parse_components(
    pattern: &Pattern,
) -> Result<Vec<PatternComponent>, PatternComponentError> {
    pattern
        .as_str()
        .split('/')
        .map(|component| match Pattern::new(component) {
            _ if component == "**" => Ok(PatternComponent::Globstar),
            Ok(literal) if literal.is_literal() => Ok(PatternComponent::Literal(component.into())),
            Ok(wildcard) => Ok(PatternComponent::Wildcard(PatternSet::new([&wildcard])?)),
            Err(error) => Err(error.into()),
        })
        .collect()
}

/// The patterns of the directories of a project that are features.
#[derive(Debug, Default)]
pub struct FeaturePatterns {
    components: Vec<Vec<PatternComponent>>,
    /// The patterns as they are written, by which two values are compared.
    texts: Vec<String>,
}

impl PartialEq for FeaturePatterns {
    fn eq(&self, other: &Self) -> bool {
        self.texts == other.texts
    }
}

impl Eq for FeaturePatterns {}

impl FeaturePatterns {
    /// Creates the set of all valid `patterns`; discovery reports the invalid ones.
    #[must_use]
    pub fn new<'p>(patterns: impl IntoIterator<Item = &'p Pattern>) -> Self {
        let mut set = Self::default();
        for pattern in patterns {
            set.components.extend(parse_components(pattern));
            set.texts.push(pattern.as_str().to_owned());
        }
        set
    }

    /// Returns true if a directory at `path` is a feature or can contain one.
    #[must_use]
    pub fn could_contain_feature(&self, path: &RelPath) -> bool {
        self.components.iter().any(|components| {
            // Long paths are rejected first: nearly all paths belong to files in features.
            let globstars = components
                .iter()
                .filter(|component| matches!(component, PatternComponent::Globstar))
                .count();
            let max_depth = components.len() + globstars * MAX_GLOBSTAR_DEPTH;
            let names: Vec<&[u8]> = path.components().take(max_depth + 1).collect();
            names.len() <= max_depth && matches_prefix(components, &names)
        })
    }
}

fn matches_prefix(components: &[PatternComponent], names: &[&[u8]]) -> bool {
    let (Some((first, rest)), Some((name, below))) =
        (components.split_first(), names.split_first())
    else {
        return names.is_empty();
    };
    // Wildcards do not enter hidden directories, but the last component matches them, because
    // discovery reports them as skipped.
    let may_enter = |is_last: bool| is_last || !name.starts_with(b".");
    match first {
        PatternComponent::Literal(literal) => literal == name && matches_prefix(rest, below),
        PatternComponent::Wildcard(set) => {
            may_enter(rest.is_empty())
                && RelPath::new(*name).is_ok_and(|name| set.is_match(&name))
                && matches_prefix(rest, below)
        }
        PatternComponent::Globstar => {
            matches_prefix(rest, names)
                || may_enter(rest.is_empty() && below.is_empty())
                    && matches_prefix(components, below)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn could_contain_feature_is_true_for_features_and_their_parents() {
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
            let patterns = FeaturePatterns::new(&[Pattern::new(pattern).unwrap()]);
            let path = RelPath::new(path.as_bytes()).unwrap();
            assert_eq!(patterns.could_contain_feature(&path), expect, "{pattern} on {path:?}");
        }
        let deep_path = RelPath::new(vec!["a"; 999].join("/").as_bytes()).unwrap();
        let three_globstars = Pattern::new("**/b/**/c/**/d").unwrap();
        assert!(
            !FeaturePatterns::new(&[three_globstars]).could_contain_feature(&deep_path),
            "without exponential backtracking"
        );
    }
}
