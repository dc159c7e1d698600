//! Artifact keys: stable, unique in their feature, and a pure function of path and manifest
//! (contract, section 2).
//!
//! A readable key is a slug of the path. Where two paths could come to the same slug, the path's
//! own hash follows: so every slug without a hash stands for exactly one path, and no slug without
//! a hash looks like one with it. The contract's hash is 8 digits long, which someone can make
//! collide; [`disambiguate_key`] is what a dossier then gives to both.

use super::artifact::{ArtifactClass, ArtifactKey};
use super::digest::Digest;
use super::manifest::{ArtifactSpec, Mission};
use super::path::RelPath;

/// Hexadecimal digits of the path's hash in a key.
const HASH_DIGITS: usize = 8;

/// Key of the file at `path`, which `spec` of `mission` names, or else its class.
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
    let faithful = match spec {
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
    let taken = mission
        .is_some_and(|mission| mission.has_key(&key) || mission.has_other_glob_prefix(&key, spec));
    if !faithful || taken {
        let digits = Digest::of(path.as_bytes()).hex();
        // A manifest may hold the very key that this makes; appending again ends that.
        while {
            key.push('-');
            key.push_str(&digits.as_str()[..HASH_DIGITS]);
            mission.is_some_and(|mission| mission.has_key(&key))
        } {}
    }
    key.into_boxed_str()
}

/// The key for a path whose key another path of the feature has too: the hash in full.
#[must_use]
pub fn disambiguate_key(key: &str, path: &RelPath) -> ArtifactKey {
    format!("{key}-{}", Digest::of(path.as_bytes())).into_boxed_str()
}

/// Whether `text` ends in `-` and the digits that mark a hashed key.
fn has_hash_suffix(text: &str) -> bool {
    let Some(at) = text.len().checked_sub(HASH_DIGITS + 1) else {
        return false;
    };
    let (dash, digits) = text.as_bytes()[at..].split_at(1);
    dash == b"-" && digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Appends a dot and the components' slug, the last without `extension`. Says whether the slug
/// stands for these components only.
fn push_slug<'a>(
    key: &mut String,
    components: impl Iterator<Item = &'a [u8]> + Clone,
    extension: Option<&str>,
) -> bool {
    let start = key.len() + 1;
    let last = components.clone().count().saturating_sub(1);
    let mut faithful = true;
    for (place, component) in components.enumerate() {
        let without = extension
            .filter(|_| place == last)
            .and_then(|extension| component.strip_suffix(extension.as_bytes())?.strip_suffix(b"."));
        let component = without.unwrap_or(component);
        let dots = component.iter().filter(|byte| **byte == b'.').count();
        let expected_dots = usize::from(place == last && without.is_none());
        faithful &= dots == expected_dots;
        key.push('.');
        for byte in component {
            let plain = byte.is_ascii_alphanumeric() || b"._-".contains(byte);
            faithful &= plain;
            key.push(if plain { char::from(*byte) } else { '-' });
        }
    }
    faithful && !has_hash_suffix(&key[start..])
}

/// Up to five keys that are most like one that is not there: which was meant?
pub fn suggest_similar<'k>(known: impl Iterator<Item = &'k str>, wanted: &str) -> Vec<&'k str> {
    let last = wanted.rsplit('.').find(|part| part.len() > 2).unwrap_or(wanted);
    let shared = |key: &str| key.bytes().zip(wanted.bytes()).take_while(|(a, b)| a == b).count();
    let mut like: Vec<(usize, &str)> = known
        .map(|key| (shared(key), key))
        .filter(|(shared, key)| key.contains(last) || *shared * 3 >= wanted.len() * 2)
        .collect();
    like.sort_by_key(|(shared, _)| std::cmp::Reverse(*shared));
    like.into_iter().take(5).map(|(_, key)| key).collect()
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
        let mut places = Vec::new();
        mission.matching_specs(&path, &mut places);
        let spec = places.first().map(|place| &mission.specs()[*place]);
        let class = spec.map_or_else(|| conventional_class(&path), |spec| spec.class);
        artifact_key(&path, class, spec, Some(mission)).into()
    }

    fn path_hash_digits(path: &[u8]) -> String {
        Digest::of(path).to_string()[..8].to_owned()
    }

    #[test]
    fn readable_where_it_can_be_and_hashed_where_not() {
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
            let expect =
                if hashed { format!("{key}-{}", path_hash_digits(path)) } else { key.to_owned() };
            assert_eq!(key_of(path, &mission), expect, "{:?}", RelPath::new(path).unwrap());
        }
    }

    #[test]
    fn without_a_manifest_the_class_leads() {
        let path = RelPath::new(&b"checklists/requirements.md"[..]).unwrap();
        let key = artifact_key(&path, conventional_class(&path), None, None);
        assert_eq!(&*key, "evidence.checklists.requirements.md");
    }

    #[test]
    fn a_manifest_may_hold_the_very_key_that_hashing_makes() {
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

    /// All paths of up to three components over an alphabet of what confuses slugs, and for each
    /// the path that mimics its hashed key.
    #[test]
    fn unique_over_enumerated_adversarial_paths() {
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
        fn keys_are_plain_and_unique(
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
