//! Suggestions for mistyped names. It does not know what the names mean.

/// Returns the known name that `unknown` was most likely intended to be, if one is similar enough.
///
/// A name of which `unknown` is a prefix of at least three bytes is similar, if there is exactly
/// one; otherwise the one with the smallest edit distance, at most one edit per three characters.
///
/// ```
/// use dossierd::core::suggest::nearest;
///
/// let known = ["feature", "project", "sync"];
/// assert_eq!(nearest("featrue", known), Some("feature"));
/// assert_eq!(nearest("proj", known), Some("project"));
/// assert_eq!(nearest("limit", known), None);
/// ```
#[must_use]
pub fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let known: Vec<&str> = known.into_iter().collect();
    let mut with_prefix = known.iter().filter(|known| known.starts_with(unknown));
    if let (3.., Some(known), None) = (unknown.len(), with_prefix.next(), with_prefix.next()) {
        return Some(known);
    }
    let distances = known.into_iter().map(|known| (levenshtein_distance(unknown, known), known));
    let (distance, known) = distances.min()?;
    (distance <= unknown.chars().count().div_ceil(3).max(1)).then_some(known)
}

/// Returns the minimum number of characters to insert, delete or replace to turn `from` into `to`.
fn levenshtein_distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replace = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_accepts_a_unique_prefix_or_a_small_distance() {
        let known = ["ignore", "features", "feature_limit", "interval"];
        for (unknown, expected) in [
            ("ignroe", Some("ignore")),
            ("ignor", Some("ignore")),
            ("feature", Some("features")),
            ("interv", Some("interval")),
            ("in", None),
            ("projects", None),
            ("", None),
        ] {
            assert_eq!(nearest(unknown, known), expected, "{unknown}");
        }
        assert_eq!(nearest("x", []), None);
        assert_eq!(nearest("b", ["c", "a"]), Some("a"), "the first in byte order of equal ones");
    }

    #[test]
    fn levenshtein_distance_counts_edits() {
        for (from, to, distance) in
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("ä", "a", 1)]
        {
            assert_eq!(levenshtein_distance(from, to), distance, "{from} {to}");
        }
    }
}
