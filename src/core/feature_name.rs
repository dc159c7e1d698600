//! Which feature a short name selects: its number, or a part of its slug. Which one a mistyped name may mean.

use crate::core::suggest::nearest;

/// Which short names are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameForms {
    /// The number, the beginning of a slug, or another part of it.
    Any,
    /// The number only, for commands that change something.
    Number,
}

/// The features that a name selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameMatch<'a> {
    /// Exactly one.
    One(&'a str),
    /// Several; a longer name is needed.
    Ambiguous(Vec<&'a str>),
    /// None.
    Unknown,
}

/// Returns the feature of `slugs` that `name` selects: the slug itself; or else by its number, with or without
/// leading zeros; or else the only one that begins with the name; or else the only one that contains it.
/// Upper and lower case are the same.
///
/// ```
/// use dossierd::core::feature_name::{NameForms, NameMatch, match_feature};
///
/// let slugs = ["001-order-page", "042-loyalty-card"];
/// for name in ["042-loyalty-card", "42", "042-l", "loyalty"] {
///     assert_eq!(match_feature(name, &slugs, NameForms::Any), NameMatch::One("042-loyalty-card"));
/// }
/// assert_eq!(match_feature("loyalty", &slugs, NameForms::Number), NameMatch::Unknown);
/// ```
#[must_use]
pub fn match_feature<'a>(name: &str, slugs: &[&'a str], forms: NameForms) -> NameMatch<'a> {
    if let Some(exact) = slugs.iter().find(|slug| **slug == name) {
        return NameMatch::One(exact);
    }
    let wanted = name.to_lowercase();
    let select = |matches: &dyn Fn(&str) -> bool| -> Vec<&'a str> {
        slugs.iter().copied().filter(|slug| matches(&slug.to_lowercase())).collect()
    };
    let number = leading_number(&wanted).filter(|(_, rest)| rest.is_empty());
    if let Some((number, _)) = number {
        let found = select(&|slug| {
            leading_number(slug).is_some_and(|(own, rest)| {
                own == number && !rest.starts_with(|c: char| c.is_alphanumeric())
            })
        });
        if !found.is_empty() {
            return NameMatch::of(found);
        }
    }
    if forms == NameForms::Number || wanted.is_empty() {
        return NameMatch::Unknown;
    }
    let beginning = select(&|slug| slug.starts_with(&wanted));
    if !beginning.is_empty() {
        return NameMatch::of(beginning);
    }
    NameMatch::of(select(&|slug| slug.contains(&wanted)))
}

/// Returns the feature that a name may mean which selects none: the one whose slug is similar, or else the only one with
/// a part that is.
///
/// ```
/// use dossierd::core::feature_name::similar_feature;
///
/// let slugs = ["001-order-page", "042-loyalty-card"];
/// for name in ["042-loyalti-card", "loyaltie", "loyalty-ca"] {
///     assert_eq!(similar_feature(name, slugs), Some("042-loyalty-card"));
/// }
/// assert_eq!(similar_feature("invoice", slugs), None);
/// ```
#[must_use]
pub fn similar_feature<'a>(
    name: &str,
    slugs: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if name.is_empty() {
        return None;
    }
    let slugs: Vec<&str> = slugs.into_iter().collect();
    if let Some(slug) = nearest(name, slugs.iter().copied()) {
        return Some(slug);
    }
    // Parts of as many words as the name has.
    let name = name.to_lowercase();
    let count = name.split('-').count();
    let parts_of = |slug: &str| -> Vec<String> {
        let slug = slug.to_lowercase();
        let words: Vec<&str> = slug.split(['-', '/']).collect();
        words.windows(count).map(|words| words.join("-")).collect()
    };
    let parts: Vec<(String, &str)> = slugs
        .iter()
        .flat_map(|slug| parts_of(slug).into_iter().map(move |part| (part, *slug)))
        .collect();
    let similar = nearest(&name, parts.iter().map(|(part, _)| part.as_str()))?;
    let mut found = parts.iter().filter(|(part, _)| part == similar).map(|(_, slug)| *slug);
    let first = found.next()?;
    found.all(|slug| slug == first).then_some(first)
}

impl<'a> NameMatch<'a> {
    fn of(found: Vec<&'a str>) -> Self {
        match found.as_slice() {
            [] => Self::Unknown,
            [one] => Self::One(one),
            _ => Self::Ambiguous(found),
        }
    }
}

/// Returns the digits at the beginning, without leading zeros, and the rest.
fn leading_number(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    (!digits.is_empty()).then(|| (digits.trim_start_matches('0'), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_suggests_the_only_feature_that_it_may_mean() {
        let slugs = ["001-order-page", "002-Loyalty-card", "archive/7-gift-card", "plain"];
        for (name, expected) in [
            ("001-order-pag", Some("001-order-page")),
            ("orders", Some("001-order-page")),
            ("loyaltie", Some("002-Loyalty-card")),
            ("loyalty-ca", Some("002-Loyalty-card")),
            ("gift-cards", Some("archive/7-gift-card")),
            ("plains", Some("plain")),
            // Two have such a part.
            ("cards", None),
            ("invoice", None),
            ("a-name-of-more-words-than-any", None),
            ("", None),
        ] {
            assert_eq!(similar_feature(name, slugs), expected, "{name}");
        }
        assert_eq!(similar_feature("x", []), None);
    }

    #[test]
    fn short_names_select_the_one_feature_that_they_can() {
        let slugs =
            ["001-order", "010-order-page", "042-card", "042b-card", "archive/7-Old", "plain"];
        let one = NameMatch::One;
        for (name, any, number) in [
            ("042-card", one("042-card"), one("042-card")),
            ("42", one("042-card"), one("042-card")),
            ("0042", one("042-card"), one("042-card")),
            ("1", one("001-order"), one("001-order")),
            ("10", one("010-order-page"), one("010-order-page")),
            ("7", one("archive/7-Old"), NameMatch::Unknown),
            ("PLAIN", one("plain"), NameMatch::Unknown),
            ("old", one("archive/7-Old"), NameMatch::Unknown),
            ("page", one("010-order-page"), NameMatch::Unknown),
            ("042", one("042-card"), one("042-card")),
            ("04", NameMatch::Ambiguous(vec!["042-card", "042b-card"]), NameMatch::Unknown),
            (
                "order",
                NameMatch::Ambiguous(vec!["001-order", "010-order-page"]),
                NameMatch::Unknown,
            ),
            ("nothing", NameMatch::Unknown, NameMatch::Unknown),
            ("", NameMatch::Unknown, NameMatch::Unknown),
        ] {
            assert_eq!(match_feature(name, &slugs, NameForms::Any), any, "{name}");
            assert_eq!(match_feature(name, &slugs, NameForms::Number), number, "{name}");
        }
    }
}
