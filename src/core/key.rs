//! Artifact keys: stable, unique in their feature, and a pure function of path and manifest
//! (`docs/specification.md#artifact-keys`).
//!
//! A key contains a slug of the path. If another path could have the same slug, the hash of the
//! path is appended. So a slug without a hash belongs to exactly one path, and none of them looks
//! like a slug with a hash. The suffix has 8 digits, for which collisions can be found by search;
//! [`disambiguate_key`] then makes both keys unique.

use super::artifact::{ArtifactClass, ArtifactKey};
use super::digest::Digest;
use super::manifest::{ArtifactSpec, Mission};
use super::path::RelPath;

/// Number of hexadecimal digits of the path's hash in a key.
const HASH_DIGITS: usize = 8;

/// Maximum number of keys that [`suggest_similar`] returns.
pub const MAX_SUGGESTIONS: usize = 5;

/// Returns the key of the file at `path`. It starts with the key of `spec`, the primary spec of the
/// file in `mission`; without one, with the class.
#[must_use]
pub fn artifact_key(
    path: &RelPath,
    class: ArtifactClass,
    spec: Option<&ArtifactSpec>,
    mission: Option<&Mission>,
) -> ArtifactKey {
    if let Some(literal) = spec.filter(|spec| spec.pattern.is_literal()) {
        return literal.key.as_ref().into();
    }
    let mut key = String::with_capacity(path.as_bytes().len() + 24);
    let is_unambiguous = match spec {
        Some(spec) => {
            key.push_str(&spec.key);
            let matched = path.components().skip(spec.pattern.literal_components());
            let extension = spec.pattern.literal_extension();
            push_slug(&mut key, matched, extension)
        }
        None => {
            key.push_str(class.as_str());
            push_slug(&mut key, path.components(), None)
        }
    };
    let is_taken = mission
        .is_some_and(|mission| mission.has_key(&key) || mission.has_other_glob_prefix(&key, spec));
    if !is_unambiguous || is_taken {
        let digits = Digest::of(path.as_bytes()).hex();
        // A manifest may contain a key with this suffix. Appending it again always ends, because a
        // manifest has a finite number of keys.
        while {
            key.push('-');
            key.push_str(&digits.as_str()[..HASH_DIGITS]);
            mission.is_some_and(|mission| mission.has_key(&key))
        } {}
    }
    key.into_boxed_str()
}

/// Returns the key for a path whose key is also that of another path: with the complete hash.
#[must_use]
pub fn disambiguate_key(key: &str, path: &RelPath) -> ArtifactKey {
    format!("{key}-{}", Digest::of(path.as_bytes())).into_boxed_str()
}

/// Returns true if `text` ends like a key with a hash: `-` and hexadecimal digits.
fn has_hash_suffix(text: &str) -> bool {
    let Some(start) = text.len().checked_sub(HASH_DIGITS + 1) else {
        return false;
    };
    let (dash, digits) = text.as_bytes()[start..].split_at(1);
    dash == b"-" && digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Appends a dot and the slug of the components, the last one without `extension`. Returns true if
/// no other components have this slug.
fn push_slug<'a>(
    key: &mut String,
    components: impl Iterator<Item = &'a [u8]> + Clone,
    extension: Option<&str>,
) -> bool {
    let start = key.len() + 1;
    let last = components.clone().count().saturating_sub(1);
    let mut is_unambiguous = true;
    for (index, component) in components.enumerate() {
        let without_extension = extension
            .filter(|_| index == last)
            .and_then(|extension| component.strip_suffix(extension.as_bytes())?.strip_suffix(b"."));
        let component = without_extension.unwrap_or(component);
        let dots = component.iter().filter(|byte| **byte == b'.').count();
        let expected_dots = usize::from(index == last && without_extension.is_none());
        is_unambiguous &= dots == expected_dots;
        key.push('.');
        for byte in component {
            let is_allowed = byte.is_ascii_alphanumeric() || b"._-".contains(byte);
            is_unambiguous &= is_allowed;
            key.push(if is_allowed { char::from(*byte) } else { '-' });
        }
    }
    is_unambiguous && !has_hash_suffix(&key[start..])
}

/// Returns the known keys that are most similar to the unknown one, at most [`MAX_SUGGESTIONS`],
/// the most similar first: those with the same last part, or two thirds of the key as common
/// prefix.
pub fn suggest_similar<'k>(known: impl Iterator<Item = &'k str>, unknown: &str) -> Vec<&'k str> {
    let last = unknown.rsplit('.').find(|part| part.len() > 2).unwrap_or(unknown);
    let common = |key: &str| key.bytes().zip(unknown.bytes()).take_while(|(a, b)| a == b).count();
    let mut similar: Vec<(usize, &str)> = known
        .map(|key| (common(key), key))
        .filter(|(common, key)| key.contains(last) || *common * 3 >= unknown.len() * 2)
        .collect();
    similar.sort_by_key(|(common, _)| std::cmp::Reverse(*common));
    similar.into_iter().take(MAX_SUGGESTIONS).map(|(_, key)| key).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::core::classify::conventional_class;
    use crate::core::manifest::parse_manifest;

    fn mission() -> Mission {
        let text = r#"
mission_type: sample
optional_always:
  - {artifact_key: input.spec.main, artifact_class: input, path_pattern: spec.md}
  - {artifact_key: output.tasks.per_wp, artifact_class: output, path_pattern: "tasks/WP*.md"}
  - {artifact_key: output.more, artifact_class: output, path_pattern: "more/**"}
  - {artifact_key: output.more.yet, artifact_class: output, path_pattern: "yet/**"}
  - {artifact_key: output.contracts.a.md, artifact_class: output, path_pattern: "elsewhere.md"}
  - {artifact_key: evidence, artifact_class: evidence, path_pattern: "proof/*.{md,txt}"}
  - {artifact_key: output.docs, artifact_class: output, path_pattern: "docs/**/*.md"}
"#;
        Mission::new(parse_manifest(text.as_bytes()).unwrap(), &[]).unwrap()
    }

    fn key_of(path: &[u8], mission: &Mission) -> String {
        let path = RelPath::new(path).unwrap();
        let mut indices = Vec::new();
        mission.matching_specs(&path, &mut indices);
        let spec = indices.first().map(|index| &mission.specs()[*index]);
        let class = spec.map_or_else(|| conventional_class(&path), |spec| spec.class);
        artifact_key(&path, class, spec, Some(mission)).into()
    }

    fn path_hash_digits(path: &[u8]) -> String {
        Digest::of(path).to_string()[..8].to_owned()
    }

    #[test]
    fn keys_have_a_hash_only_if_the_slug_is_ambiguous() {
        let mission = mission();
        for (path, key, hashed) in [
            (&b"spec.md"[..], "input.spec.main", false),
            (b"tasks/WP01-models.md", "output.tasks.per_wp.WP01-models", false),
            (b"docs/a/b.md", "output.docs.a.b", false),
            (b"docs/b.md", "output.docs.b", false),
            (b"tasks/WP01.tar.md", "output.tasks.per_wp.WP01.tar", true),
            (b"tasks/WP01-0123abcd.md", "output.tasks.per_wp.WP01-0123abcd", true),
            (b"tasks/WP01-0123ABCD.md", "output.tasks.per_wp.WP01-0123ABCD", false),
            (b"more/a.md", "output.more.a.md", false),
            (b"more/yet/a.md", "output.more.yet.a.md", true),
            (b"yet/a.md", "output.more.yet.a.md", true),
            (b"proof/a.md", "evidence.a.md", false),
            (b"research/a.md", "evidence.research.a.md", true),
            (b"contracts/a.md", "output.contracts.a.md", true),
            (b"contracts/b.md", "output.contracts.b.md", false),
            (b"a.b/c.md", "other.a.b.c.md", true),
            (b"Makefile", "other.Makefile", true),
            ("gr\u{fc}n.bin".as_bytes(), "other.gr--n.bin", true),
            (b"a b.bin", "other.a-b.bin", true),
            (b"\xff.bin", "other.-.bin", true),
        ] {
            let expected =
                if hashed { format!("{key}-{}", path_hash_digits(path)) } else { key.to_owned() };
            assert_eq!(key_of(path, &mission), expected, "{:?}", RelPath::new(path).unwrap());
        }
    }

    #[test]
    fn keys_start_with_the_class_without_a_manifest() {
        let path = RelPath::new(&b"checklists/requirements.md"[..]).unwrap();
        let key = artifact_key(&path, conventional_class(&path), None, None);
        assert_eq!(&*key, "evidence.checklists.requirements.md");
    }

    #[test]
    fn hashed_key_that_the_manifest_contains_gets_another_hash() {
        let hashed = format!("other.Makefile-{}", path_hash_digits(b"Makefile"));
        let text = format!(
            "mission_type: x\noptional_always:\n  - {{artifact_key: {hashed}, artifact_class: \
             output, path_pattern: elsewhere}}\n"
        );
        let mission = Mission::new(parse_manifest(text.as_bytes()).unwrap(), &[]).unwrap();
        assert_eq!(key_of(b"elsewhere", &mission), hashed);
        assert_eq!(
            key_of(b"Makefile", &mission),
            format!("{hashed}-{}", path_hash_digits(b"Makefile"))
        );
    }

    /// Checks all paths of up to three components that confuse slugs, and for each one paths whose
    /// slugs look like its key with a hash.
    #[test]
    fn keys_of_adversarial_paths_are_unique() {
        let mission = mission();
        let parts: [&[u8]; 15] = [
            b"a",
            b"b",
            b"a.b",
            b"a.md",
            b"a-md",
            b"a md",
            "\u{e9}.md".as_bytes(),
            b"\xff.md",
            b"tasks",
            b"more",
            b"yet",
            b"WP01.md",
            b"docs",
            b"proof",
            b"a..md",
        ];
        let mut paths: Vec<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
        let mut longest = paths.clone();
        for _ in 0..2 {
            longest = longest
                .iter()
                .flat_map(|path| parts.iter().map(|part| [path, *part].join(&b'/')))
                .collect();
            paths.extend(longest.iter().cloned());
        }
        let mut mimics = Vec::new();
        for path in &paths {
            mimics.push([path.as_slice(), b"-", path_hash_digits(path).as_bytes()].concat());
            let slug = key_of(path, &mission);
            if let Some((_, slug)) = slug.split_once('.') {
                mimics.push(slug.as_bytes().to_vec());
                mimics.push([b"tasks/", slug.as_bytes(), b".md"].concat());
            }
        }
        paths.extend(mimics);
        paths.sort();
        paths.dedup();
        let mut seen = HashMap::new();
        for path in &paths {
            if let Some(other) = seen.insert(key_of(path, &mission), path) {
                panic!("{:?} and {:?} share a key", path.escape_ascii(), other.escape_ascii());
            }
        }
        assert!(seen.len() > 9_000, "{} paths", seen.len());
    }

    proptest! {
        #[test]
        fn keys_of_random_paths_are_unique_and_have_allowed_characters(
            paths in proptest::collection::btree_set(
                proptest::collection::vec(
                    prop_oneof!["[ab.-]{1,3}", Just("tasks".into()), Just("WP1.md".into()), "\\PC{1,2}"],
                    1..4,
                ),
                2..40,
            )
        ) {
            let mission = mission();
            let mut keys = HashMap::new();
            for path in paths.into_iter().map(|parts: Vec<String>| parts.join("/")) {
                if RelPath::new(path.as_bytes()).is_err() {
                    continue;
                }
                let key = key_of(path.as_bytes(), &mission);
                prop_assert!(key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)));
                if let Some(other) = keys.insert(key, path.clone()) {
                    prop_assert_eq!(other, path);
                }
            }
        }
    }
}
