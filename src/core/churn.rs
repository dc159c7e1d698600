//! Which differences of a file are bookkeeping by the rules of a layout, and the content without it
//! (`docs/specification.md#churn`). What is bookkeeping in work packages and task lists by their names
//! is in [`content`](super::content).

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_yaml::Value;

use super::digest::Digest;
use super::file_kind::FileKind;
use super::frontmatter::{self, FrontMatter, find_front_matter};
use super::layout::ChurnRule;
use super::path::RelPath;
use super::pattern::PatternSet;
use super::task_progress::without_box_marks;
use super::yaml;

/// Length of the mark that [`FileChurn`] puts at the beginning of its digests.
const MARK_BYTES: usize = 4;

/// The rules of a layout for what is bookkeeping.
#[derive(Debug, Clone, Default)]
pub struct ChurnRules {
    rules: Vec<ChurnRule>,
    sets: Vec<PatternSet>,
}

impl PartialEq for ChurnRules {
    fn eq(&self, other: &Self) -> bool {
        self.rules == other.rules
    }
}

/// What is bookkeeping in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChurn {
    format: KeyFormat,
    /// Sorted, without repetitions.
    keys: Vec<String>,
    /// Whether it is a work package, of which further keys are bookkeeping.
    has_runtime_fields: bool,
    has_box_churn: bool,
}

/// Where the keys of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyFormat {
    /// In front matter.
    Markdown,
    /// At the top of a YAML document.
    Yaml,
    /// At the top of a JSON document.
    Json,
    /// Nowhere that is known.
    Other,
}

impl ChurnRules {
    /// Compiles the rules of a layout. A rule whose patterns are too large together is left out.
    #[must_use]
    pub fn new(rules: &[ChurnRule]) -> Self {
        let compiled = rules.iter().filter_map(|rule| {
            let set = PatternSet::new(&rule.files).ok()?;
            Some((rule.clone(), set))
        });
        let (rules, sets) = compiled.unzip();
        Self { rules, sets }
    }

    fn matching(&self, path: &RelPath) -> impl Iterator<Item = &ChurnRule> {
        let both = self.rules.iter().zip(&self.sets);
        both.filter(|(_, set)| set.is_match(path)).map(|(rule, _)| rule)
    }

    /// Returns true if the marks of boxes are bookkeeping in the file at a path.
    #[must_use]
    pub fn has_box_churn(&self, path: &RelPath) -> bool {
        self.matching(path).any(|rule| rule.checkboxes)
    }

    /// Returns what is bookkeeping in the file at a path; `None` if the rules add nothing to its
    /// [`FileKind`].
    #[must_use]
    pub fn of_file(&self, path: &RelPath) -> Option<FileChurn> {
        let mut keys: Vec<String> = Vec::new();
        let mut has_box_churn = None;
        for rule in self.matching(path) {
            keys.extend(rule.keys.iter().cloned());
            *has_box_churn.get_or_insert(false) |= rule.checkboxes;
        }
        keys.sort_unstable();
        keys.dedup();
        let (has_box_churn, kind) = (has_box_churn?, FileKind::from_path(path));
        let is_known_by_kind = kind == FileKind::TaskList || !has_box_churn;
        if keys.is_empty() && is_known_by_kind {
            return None;
        }
        let format = match path.extension().as_deref() {
            Some("md" | "markdown") => KeyFormat::Markdown,
            Some("yaml" | "yml") => KeyFormat::Yaml,
            Some("json") => KeyFormat::Json,
            _ => KeyFormat::Other,
        };
        let has_runtime_fields = kind == FileKind::WorkPackage;
        Some(FileChurn { format, keys, has_runtime_fields, has_box_churn })
    }
}

impl FileChurn {
    /// Returns the hash of the content without bookkeeping. Its beginning is a mark of the rule, so that
    /// hashes by different rules differ.
    #[must_use]
    pub fn static_hash(&self, bytes: &[u8]) -> Digest {
        self.mark(Digest::of(&self.without_churn(bytes)))
    }

    /// Returns the same for content of which nothing is left out, because it is too large.
    #[must_use]
    pub fn static_hash_of_all(&self, hash: Digest) -> Digest {
        self.mark(hash)
    }

    /// Returns true if a hash was computed by this rule.
    #[must_use]
    pub fn is_own(&self, static_hash: Option<&Digest>) -> bool {
        let own = self.mark(Digest::of(b""));
        static_hash
            .is_some_and(|hash| hash.as_bytes()[..MARK_BYTES] == own.as_bytes()[..MARK_BYTES])
    }

    fn mark(&self, hash: Digest) -> Digest {
        let rule = Digest::of(format!("{self:?}").as_bytes());
        let mut bytes = *hash.as_bytes();
        bytes[..MARK_BYTES].copy_from_slice(&rule.as_bytes()[..MARK_BYTES]);
        Digest::from_bytes(bytes)
    }

    /// Returns content without the keys and marks that are bookkeeping. Of content that cannot be parsed
    /// no key is left out.
    fn without_churn<'b>(&self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        let kept = match self.format {
            KeyFormat::Markdown => self.without_front_matter_keys(bytes),
            _ if self.keys.is_empty() => None,
            KeyFormat::Yaml => self.without_yaml_keys(bytes),
            KeyFormat::Json => self.without_json_keys(bytes),
            KeyFormat::Other => None,
        };
        let kept = kept.map_or(Cow::Borrowed(bytes), Cow::Owned);
        match std::str::from_utf8(&kept) {
            Ok(text) if self.has_box_churn => Cow::Owned(without_box_marks(text).into_bytes()),
            _ => kept,
        }
    }

    fn is_churn(&self, key: &str) -> bool {
        self.keys.binary_search_by(|known| known.as_str().cmp(key)).is_ok()
    }

    fn without_front_matter_keys(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (FrontMatter::Complete(block) | FrontMatter::Partial(Some(block))) =
            find_front_matter(bytes)
        else {
            return None;
        };
        let mut kept = bytes[block.clone()].to_vec();
        if self.has_runtime_fields {
            kept.clear();
            frontmatter::for_each_static_line(&bytes[block.clone()], |line| kept.extend(line));
        }
        let kept = self.without_yaml_keys(&kept).unwrap_or(kept);
        Some([&bytes[..block.start], &kept, &bytes[block.end..]].concat())
    }

    /// Leaves the lines of the keys out; returns `None` if anything else would be left out, as where a
    /// text continues at the beginning of a line.
    fn without_yaml_keys(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut kept = Vec::with_capacity(bytes.len());
        let is_churn = |key: &str| self.is_churn(key);
        frontmatter::for_each_line_without(bytes, is_churn, |line| kept.extend(line));
        let Value::Mapping(mut before) = yaml::parse(bytes).ok()? else {
            return None;
        };
        let after = match yaml::parse(&kept).ok()? {
            Value::Mapping(after) => after,
            Value::Null => serde_yaml::Mapping::new(),
            _ => return None,
        };
        before.retain(|key, _| !key.as_str().is_some_and(|key| self.is_churn(key)));
        (before == after).then_some(kept)
    }

    fn without_json_keys(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let members: JsonMembers = serde_json::from_slice(bytes).ok()?;
        let mut kept = Vec::with_capacity(bytes.len());
        for (key, value) in members.0.iter().filter(|(key, _)| !self.is_churn(key)) {
            serde_json::to_writer(&mut kept, key).ok()?;
            kept.push(b':');
            kept.extend(value.get().as_bytes());
            kept.push(b'\n');
        }
        Some(kept)
    }
}

/// Returns true if two versions of a file at `path` have the same content but for bookkeeping:
/// their static hashes are known and equal, and computed by the rules of `churn` or for the kind of the
/// file.
#[must_use]
pub fn has_same_static_part(
    path: &RelPath,
    one: Option<&Digest>,
    other: Option<&Digest>,
    churn: &ChurnRules,
) -> bool {
    let is_by_rule = || match (churn.of_file(path), FileKind::from_path(path)) {
        (Some(file), _) => file.is_own(one),
        (None, FileKind::TaskList) => churn.has_box_churn(path),
        (None, kind) => kind == FileKind::WorkPackage,
    };
    one.is_some() && one == other && is_by_rule()
}

/// The members of a JSON object in their order, with the text of their values.
struct JsonMembers<'a>(Vec<(String, &'a RawValue)>);

impl<'de> serde::Deserialize<'de> for JsonMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = JsonMembers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(JsonMembers(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::pattern::Pattern;

    fn rules(rules: &[(&str, &[&str], bool)]) -> ChurnRules {
        let rule = |(files, keys, checkboxes): &(&str, &[&str], bool)| ChurnRule {
            files: vec![Pattern::new(files).unwrap()],
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            checkboxes: *checkboxes,
        };
        ChurnRules::new(&rules.iter().map(rule).collect::<Vec<_>>())
    }

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn only_the_named_keys_and_marks_are_left_out() {
        let keys: &[&str] = &["lane", "status"];
        for (file, has_boxes, text, kept) in [
            ("a.md", false, "---\nlane: x\nb: 1\n---\nlane: x\n", "---\nb: 1\n---\nlane: x\n"),
            ("a.md", false, "---\nlane: |\n  x\n\n  y\n# c\nb: 1\n---\n", "---\n# c\nb: 1\n---\n"),
            ("a.md", false, "---\n\"lane\": x\nstatus:\n- a\n- b\n---", "---\n---"),
            ("a.md", false, "lane: x\n", "lane: x\n"),
            ("a.md", true, "---\nlane: x\n---\n- [x] a\n", "---\n---\n- [] a\n"),
            // Further keys are bookkeeping in work packages, and an agent's are not elsewhere.
            ("tasks/a.md", false, "---\nlane: x\nagent: y\nb: 1\n---\n", "---\nb: 1\n---\n"),
            ("a.md", false, "---\nlane: x\nagent: y\n---\n", "---\nagent: y\n---\n"),
            ("a.yaml", false, "status: x\nb:\n  status: y\n", "b:\n  status: y\n"),
            ("a.yml", false, "b: 1\nstatus: [\n  1]\n", "b: 1\n"),
            (
                "a.json",
                false,
                "{\n  \"status\": {\"a\": 1},\n  \"b\": [ 1.00 ]}\n",
                "\"b\":[ 1.00 ]\n",
            ),
            ("a.json", false, "{\"st\\u0061tus\": 1}", ""),
            ("a.txt", true, "status: x\n- [ ] a\n", "status: x\n- [] a\n"),
            // What cannot be parsed, and what would leave more out than the keys.
            ("a.json", false, "{\"status\": 1", "{\"status\": 1"),
            ("a.json", false, "[1]", "[1]"),
            ("a.yaml", false, "{status: x, b: 1}\n", "{status: x, b: 1}\n"),
            ("a.yaml", false, "status: &a x\nb: *a\n", "status: &a x\nb: *a\n"),
            ("a.yaml", false, "b: \"1\nstatus: 2\"\n", "b: \"1\nstatus: 2\"\n"),
            ("a.yaml", false, "status: x\n--- \nb: 1\n", "status: x\n--- \nb: 1\n"),
            ("tasks/a.md", false, "---\nb: [\nlane: x\n---\n", "---\nb: [\n---\n"),
        ] {
            let rules = rules(&[("**", keys, has_boxes)]);
            let churn = rules.of_file(&path(file)).unwrap();
            let found = churn.without_churn(text.as_bytes());
            assert_eq!(std::str::from_utf8(&found).unwrap(), kept, "{file}: {text:?}");
        }
    }

    #[test]
    fn rules_apply_to_their_files_beside_what_is_known_by_the_kind() {
        let rules = rules(&[
            ("*.md", &["b", "a"], false),
            ("x.md", &["a"], true),
            ("tasks.md", &[], true),
            ("todo/*", &[], true),
            ("none.md", &[], false),
        ]);
        let found = |text: &str| rules.of_file(&path(text));
        let x = found("x.md").unwrap();
        assert_eq!((x.keys.join(" "), x.has_box_churn), ("a b".to_owned(), true));
        assert!(found("todo/a.txt").unwrap().has_box_churn);
        assert_eq!(found("docs/plan.md"), None, "no rule matches it");
        let boxes = self::rules(&[("tasks.md", &[], true)]);
        assert_eq!(boxes.of_file(&path("tasks.md")), None, "its kind has marks already");
        assert!(boxes.has_box_churn(&path("tasks.md")) && !boxes.has_box_churn(&path("plan.md")));
        assert_eq!(ChurnRules::default().of_file(&path("x.md")), None);
        // A task list of which only keys are bookkeeping keeps its marks.
        let tasks = self::rules(&[("tasks.md", &["a"], false)]).of_file(&path("tasks.md")).unwrap();
        assert_ne!(tasks.static_hash(b"- [ ] a\n"), tasks.static_hash(b"- [x] a\n"));
    }

    #[test]
    fn static_parts_are_equal_by_the_same_rules_only() {
        let text = b"---\nlane: x\n---\n";
        let one = rules(&[("*.md", &["lane"], false)]);
        let other = rules(&[("*.md", &["lane", "status"], false)]);
        let [by_one, by_other] =
            [&one, &other].map(|rules| rules.of_file(&path("a.md")).unwrap().static_hash(text));
        assert_ne!(by_one, by_other);
        let same = |rules: &ChurnRules, hash: &Digest| {
            has_same_static_part(&path("a.md"), Some(hash), Some(hash), rules)
        };
        assert!(same(&one, &by_one) && same(&other, &by_other));
        assert!(!same(&one, &by_other) && !same(&other, &by_one));
        assert!(!same(&ChurnRules::default(), &by_one), "the rule was removed");
        assert!(!has_same_static_part(&path("a.md"), None, None, &one));
        let work_package = path("tasks/WP01.md");
        let hash = Some(&by_one);
        assert!(has_same_static_part(&work_package, hash, hash, &ChurnRules::default()));
    }

    /// A document with the key `lane` and others, in each format.
    fn document(format: &str, lane: &str, other: &str, body: &str) -> (String, RelPath) {
        let yaml = format!("title: t\nlane: '{lane}'\nother: '{other}'\n");
        match format {
            "md" => (format!("---\n{yaml}---\n{body}\n"), path("a.md")),
            "yaml" => (format!("{yaml}body: '{body}'\n"), path("a.yaml")),
            _ => {
                let value =
                    serde_json::json!({"title": "t", "lane": lane, "other": other, "body": body});
                (value.to_string(), path("a.json"))
            }
        }
    }

    proptest! {
        #[test]
        fn only_a_change_of_the_keys_keeps_the_static_hash(
            format in prop_oneof![Just("md"), Just("yaml"), Just("json")],
            one in ("[a-z: -]{0,6}", "[a-z: -]{0,6}", "[a-z: -]{0,6}"),
            other in ("[a-z: -]{0,6}", "[a-z: -]{0,6}", "[a-z: -]{0,6}"),
        ) {
            let churn = rules(&[("**", &["lane"], false)]);
            let hash = |(lane, other, body): &(String, String, String)| {
                let (text, path) = document(format, lane, other, body);
                churn.of_file(&path).unwrap().static_hash(text.as_bytes())
            };
            prop_assert_eq!(hash(&one) == hash(&other), one.1 == other.1 && one.2 == other.2);
        }

        #[test]
        fn arbitrary_edits_of_the_rest_change_the_static_hash(
            text in "(---\n)?((lane|b|'lane'|- c|  d|#|\\{|\"lane\"): ?[x\"'&*|>\\[-]{0,2}\n){0,5}(---\n)?",
            at in any::<prop::sample::Index>(),
            inserted in "[a-z]",
        ) {
            let churn = rules(&[("**", &["lane"], false)]);
            let mut edited = text.clone();
            edited.insert_str(at.index(text.len() + 1), &inserted);
            for file in ["a.md", "a.yaml"] {
                let file = churn.of_file(&path(file)).unwrap();
                let parse = |text: &str| yaml::parse::<Value>(text.trim_matches('-').as_bytes()).ok();
                let without = |value: Option<Value>| match value {
                    Some(Value::Mapping(mut map)) => {
                        map.retain(|key, _| key.as_str() != Some("lane"));
                        Some(Value::Mapping(map))
                    }
                    other => other,
                };
                let (before, after) = (without(parse(&text)), without(parse(&edited)));
                if before != after {
                    let hash = |text: &str| file.static_hash(text.as_bytes());
                    prop_assert_ne!(hash(&text), hash(&edited), "{:?} {:?}", text, edited);
                }
            }
        }
    }
}
