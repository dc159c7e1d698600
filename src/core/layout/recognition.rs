//! Which layouts apply to a root, given what is in it.

use std::cell::Cell;
use std::sync::Arc;

use super::model::{Layout, Marker, MarkerKind};
use crate::core::path::RelPath;
use crate::core::pattern::{Pattern, PatternSet};

/// Most directories that are listed to find a match of one pattern.
const MAX_LISTED_DIRS: usize = 1000;

/// What a directory contains, as far as it is asked.
pub trait RootListing {
    /// Returns what is at a path; `None` if there is neither a directory nor a regular file.
    fn kind(&self, path: &RelPath) -> Option<MarkerKind>;

    /// Returns the names of the directories and files in a directory; `None` lists the root.
    fn entries(&self, dir: Option<&RelPath>) -> Vec<(Vec<u8>, MarkerKind)>;
}

/// A layout that applies to a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedLayout {
    /// The layout.
    pub layout: Arc<Layout>,
    /// The marker by which it was recognised; `None` if the configuration names it.
    pub marker: Option<RelPath>,
    /// Whether the marker counts only because no other one does.
    pub is_weak: bool,
}

/// Returns the layouts that apply to a root: those that `named` lists, or else those of which a
/// marker exists, in the order of `layouts`. A weak marker counts only where nothing before it does.
#[must_use]
pub fn recognise(
    layouts: &[Arc<Layout>],
    named: Option<&[String]>,
    listing: &dyn RootListing,
) -> Vec<AppliedLayout> {
    if let Some(named) = named {
        let find = |name: &String| layouts.iter().find(|layout| layout.name == *name);
        let found = named.iter().filter_map(find);
        let apply = |layout: &Arc<Layout>| AppliedLayout {
            layout: Arc::clone(layout),
            marker: None,
            is_weak: false,
        };
        return found.map(apply).collect();
    }
    let of_strength = |weak: bool| {
        layouts.iter().filter_map(move |layout| {
            let mut markers = layout.markers.iter().filter(|marker| marker.weak == weak);
            let found = markers.find_map(|marker| find_marker(marker, listing))?;
            let layout = Arc::clone(layout);
            Some(AppliedLayout { layout, marker: Some(found), is_weak: weak })
        })
    };
    let strong: Vec<AppliedLayout> = of_strength(false).collect();
    if strong.is_empty() { of_strength(true).take(1).collect() } else { strong }
}

/// Returns the first path that a marker matches.
#[must_use]
pub fn find_marker(marker: &Marker, listing: &dyn RootListing) -> Option<RelPath> {
    let found = find_path(&marker.path, Some(marker.kind), listing)?;
    let only_ours = marker.kind == MarkerKind::Dir && has_only_dossiers(&found, listing);
    (!only_ours).then_some(found)
}

/// Returns true if a directory holds nothing but what dossierd itself writes.
fn has_only_dossiers(dir: &RelPath, listing: &dyn RootListing) -> bool {
    let entries = listing.entries(Some(dir));
    !entries.is_empty() && entries.iter().all(|(name, _)| name == b"dossiers")
}

/// Returns the first path that a pattern matches.
#[must_use]
pub fn find_path(
    pattern: &Pattern,
    kind: Option<MarkerKind>,
    listing: &dyn RootListing,
) -> Option<RelPath> {
    let is_kind = |found: MarkerKind| kind.is_none_or(|kind| kind == found);
    if pattern.is_literal() {
        let path = pattern.path();
        return listing.kind(path).is_some_and(is_kind).then(|| path.clone());
    }
    let components: Vec<&str> = pattern.as_str().split('/').collect();
    search(None, &components, &is_kind, &Cell::new(MAX_LISTED_DIRS), listing)
}

/// Searches for the first match. `budget` is the number of directories that may still be listed.
fn search(
    dir: Option<&RelPath>,
    components: &[&str],
    is_kind: &dyn Fn(MarkerKind) -> bool,
    budget: &Cell<usize>,
    listing: &dyn RootListing,
) -> Option<RelPath> {
    let (first, rest) = components.split_first()?;
    let join = |name: &[u8]| match dir {
        Some(dir) => dir.join(name).ok(),
        None => RelPath::new(name).ok(),
    };
    let pattern = Pattern::new(first).ok()?;
    let candidates: Vec<(RelPath, MarkerKind)> = if pattern.is_literal() {
        let path = join(first.as_bytes())?;
        let kind = listing.kind(&path)?;
        vec![(path, kind)]
    } else {
        budget.set(budget.get().checked_sub(1)?);
        let set = PatternSet::new([&pattern]).ok()?;
        let mut names = listing.entries(dir);
        names.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        let is_match = |name: &[u8]| RelPath::new(name).is_ok_and(|name| set.is_match(&name));
        let visible = names.into_iter().filter(|(name, _)| !name.starts_with(b"."));
        let matching = visible.filter(|(name, _)| is_match(name));
        matching.filter_map(|(name, kind)| Some((join(&name)?, kind))).collect()
    };
    candidates.into_iter().find_map(|(path, kind)| match rest {
        [] => is_kind(kind).then_some(path),
        rest if kind == MarkerKind::Dir => search(Some(&path), rest, is_kind, budget, listing),
        _ => None,
    })
}

/// Returns the texts of all markers, for messages.
#[must_use]
pub fn marker_texts(layouts: &[Arc<Layout>]) -> Vec<String> {
    let markers = layouts.iter().flat_map(|layout| &layout.markers);
    markers.map(|marker| marker.path.as_str().to_owned()).collect()
}

/// Tree in memory, for tests.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A tree, given as the paths of its files; a path that ends with `/` is a directory.
    pub(crate) struct Tree(pub(crate) Vec<&'static str>);

    impl RootListing for Tree {
        fn kind(&self, path: &RelPath) -> Option<MarkerKind> {
            let text = path.text().into_owned();
            if self.0.contains(&text.as_str()) {
                return Some(MarkerKind::File);
            }
            let dir = format!("{text}/");
            self.0.iter().any(|file| file.starts_with(&dir)).then_some(MarkerKind::Dir)
        }

        fn entries(&self, dir: Option<&RelPath>) -> Vec<(Vec<u8>, MarkerKind)> {
            let prefix = dir.map_or_else(String::new, |dir| format!("{}/", dir.text()));
            let below = self.0.iter().filter_map(|file| file.strip_prefix(&prefix));
            let mut entries: Vec<_> = below
                .filter(|rest| !rest.is_empty())
                .map(|rest| match rest.split_once('/') {
                    Some((name, _)) => (name.as_bytes().to_vec(), MarkerKind::Dir),
                    None => (rest.as_bytes().to_vec(), MarkerKind::File),
                })
                .collect();
            entries.sort_unstable_by(|one, other| one.0.cmp(&other.0));
            entries.dedup();
            entries
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::embedded_layouts;
    use super::testing::Tree;
    use super::*;

    fn recognised(files: &[&'static str]) -> Vec<String> {
        let applied = recognise(embedded_layouts(), None, &Tree(files.to_vec()));
        let text =
            |one: AppliedLayout| format!("{} by {}", one.layout.name, one.marker.unwrap().text());
        applied.into_iter().map(text).collect()
    }

    #[test]
    fn layouts_are_recognised_by_their_markers() {
        for (files, expected) in [
            (&["README.md"][..], &[][..]),
            (&[".kittify/config.yaml"], &["spec-kitty by .kittify"]),
            (&["kitty-specs/001/spec.md"], &["spec-kitty by kitty-specs"]),
            (&[".kittify/dossiers/x/parity-baseline.json"], &[]),
            (&[".specify/memory/constitution.md"], &["spec-kit by .specify"]),
            (&["specs/001-x/spec.md"], &["spec-kit by specs/001-x/spec.md"]),
            (&["specs/001-x/other.md", "specs/api.yaml"], &[]),
            (&["specs/.x/spec.md"], &[]),
            (&["openspec/config.yaml"], &["openspec by openspec/config.yaml"]),
            (&["openspec/changes/x/proposal.md"], &["openspec by openspec/changes"]),
            (&["openspec/README.md"], &[]),
            (&[".kiro/specs/x/design.md"], &["kiro by .kiro/specs"]),
            (&[".planning/STATE.md"], &["gsd by .planning/STATE.md"]),
            (&["_bmad/bmm/config.yaml"], &["bmad by _bmad"]),
            (&["conductor/tracks.md"], &["conductor by conductor/tracks.md"]),
            (&["docs/adr/0001-x.md"], &["adr by docs/adr"]),
            (&["docs/adr/0001-x.md", ".kiro/specs/x/a.md"], &["kiro by .kiro/specs"]),
            (&["docs/adr/0001-x.md", "specs/1/spec.md"], &["spec-kit by specs/1/spec.md"]),
            (
                &[".kiro/specs/x/a.md", ".specify/x", "openspec/project.md"],
                &["spec-kit by .specify", "openspec by openspec/project.md", "kiro by .kiro/specs"],
            ),
            (&["openspec/specs/x/spec.md", "specs/1/spec.md"], &["openspec by openspec/specs"]),
        ] {
            assert_eq!(recognised(files), expected, "{files:?}");
        }
    }

    #[test]
    fn a_search_for_a_marker_lists_a_bounded_number_of_directories() {
        struct Endless(Cell<usize>);
        impl RootListing for Endless {
            fn kind(&self, _: &RelPath) -> Option<MarkerKind> {
                None
            }

            fn entries(&self, _: Option<&RelPath>) -> Vec<(Vec<u8>, MarkerKind)> {
                self.0.set(self.0.get() + 1);
                let name = |number: u32| (number.to_string().into_bytes(), MarkerKind::Dir);
                (0..100).map(name).collect()
            }
        }
        let tree = Endless(Cell::new(0));
        let pattern = Pattern::new("*/*/*/*/spec.md").unwrap();
        assert_eq!(find_path(&pattern, Some(MarkerKind::File), &tree), None);
        assert_eq!(tree.0.get(), MAX_LISTED_DIRS);
    }

    #[test]
    fn named_layouts_apply_in_their_order_whatever_exists() {
        let named = ["adr".to_owned(), "kiro".to_owned(), "none".to_owned()];
        let applied = recognise(embedded_layouts(), Some(&named), &Tree(vec![".specify/x"]));
        let found: Vec<&str> = applied.iter().map(|one| one.layout.name.as_str()).collect();
        assert_eq!(found, ["adr", "kiro"]);
    }
}
