//! Which directories of a root are features, and their slugs (`docs/specification.md#slugs`). A slug
//! is a function of layout and path alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::document_set::DocumentSet;
use super::model::{FeatureKind, FeatureRule, Layout};
use super::path_template::PathTemplate;
use super::recognition::{AppliedLayout, RootListing, find_path};
use crate::core::manifest::MissionType;
use crate::core::path::{FeatureSlug, RelPath};
use crate::core::pattern::{Pattern, PatternSet, PatternSetError};

/// Slug of the documents of a project.
pub const PROJECT_SLUG: &str = "project";
/// How the slugs of archived features of the first layout begin.
const ARCHIVE_PREFIX: &str = "archive/";

/// A rule for the features of one root: patterns without variables.
#[derive(Debug, Clone)]
pub struct SearchRule {
    /// Pattern of the directories.
    pub include: Pattern,
    exclude: PatternSet,
    only_if: Vec<PresenceCondition>,
    /// What kind of features they are.
    pub kind: FeatureKind,
    /// Their mission, if the rule names one.
    pub mission: Option<MissionType>,
    /// Their layout; `None` for patterns of the configuration.
    pub layout: Option<Arc<Layout>>,
    /// Part of their slugs, unless the layout is the first of the root.
    prefix: Option<String>,
    matcher: PatternSet,
}

/// A path that must exist.
#[derive(Debug, Clone)]
struct PresenceCondition {
    /// Whether it is looked for in the directory that is a feature.
    is_in_feature: bool,
    path: Pattern,
}

impl SearchRule {
    /// Returns a rule for directories that the configuration lists.
    ///
    /// # Errors
    /// [`PatternSetError`] if the patterns together are too large.
    pub fn configured(
        include: Pattern,
        exclude: &[Pattern],
        mission: Option<MissionType>,
        layout: Option<Arc<Layout>>,
    ) -> Result<Self, PatternSetError> {
        Ok(Self {
            matcher: PatternSet::new([&include])?,
            exclude: PatternSet::new(exclude)?,
            include,
            only_if: Vec::new(),
            kind: FeatureKind::Active,
            mission,
            layout,
            prefix: None,
        })
    }

    /// Returns true if the rule is for a directory at `path`, whatever exists.
    #[must_use]
    pub fn is_match(&self, path: &RelPath) -> bool {
        self.matcher.is_match(path) && !self.exclude.is_match(path)
    }

    /// Returns true if what the rule requires exists for a feature at `path`.
    #[must_use]
    pub fn is_satisfied(&self, path: &RelPath, listing: &dyn RootListing) -> bool {
        self.only_if.is_empty()
            || self.only_if.iter().any(|condition| {
                let full = format!("{}/{}", path.text(), condition.path.as_str());
                let in_feature = || Pattern::new(&escape_wildcards(path, &full)).ok();
                let pattern = if condition.is_in_feature {
                    in_feature()
                } else {
                    Some(condition.path.clone())
                };
                pattern.is_some_and(|pattern| find_path(&pattern, None, listing).is_some())
            })
    }

    /// Returns the patterns of what the rule requires, below the root.
    pub fn conditions(&self) -> impl Iterator<Item = Pattern> {
        self.only_if.iter().filter_map(|condition| {
            if condition.is_in_feature {
                Pattern::new(&format!("{}/{}", self.include, condition.path)).ok()
            } else {
                Some(condition.path.clone())
            }
        })
    }

    /// Returns the slug of the feature at a path that the rule matches.
    ///
    /// # Errors
    /// [`InvalidName`] if a name on the way is none of a feature.
    pub fn slug(&self, path: &RelPath) -> Result<FeatureSlug, InvalidName> {
        let components: Vec<&[u8]> = path.components().collect();
        let first = match self.kind {
            FeatureKind::Archived => self.include.literal_components().min(components.len() - 1),
            FeatureKind::Active | FeatureKind::Documents => components.len() - 1,
        };
        let mut parts: Vec<&str> = Vec::new();
        for name in &components[first..] {
            if !FeatureSlug::is_name(name) {
                return Err(InvalidName(name.to_vec()));
            }
            parts.extend(std::str::from_utf8(name));
        }
        let is_reserved = self.kind == FeatureKind::Active && parts == [PROJECT_SLUG];
        let kind = match self.kind {
            FeatureKind::Archived => Some("archive"),
            FeatureKind::Active if is_reserved => Some("feature"),
            FeatureKind::Active | FeatureKind::Documents => None,
        };
        let prefix = self.prefix.as_deref().into_iter().chain(kind);
        let text = prefix.chain(parts).collect::<Vec<_>>().join("/");
        FeatureSlug::new(text.as_bytes()).ok_or_else(|| InvalidName(path.file_name().to_vec()))
    }
}

/// Returns the slugs that an archived feature may have had before it was moved to the archive, the most
/// likely first: that of its last component without a date before it, and with it. A feature that is
/// not archived has none.
#[must_use]
pub fn former_slugs(slug: &FeatureSlug) -> Vec<FeatureSlug> {
    let text = slug.as_str();
    let at = if text.starts_with(ARCHIVE_PREFIX) { Some(0) } else { text.find("/archive/") };
    let Some(prefix) = at.map(|at| &text[..at]) else {
        return Vec::new();
    };
    let name = text.rsplit('/').next().unwrap_or(text);
    let of_name = |name: &str| {
        let reserved = (name == PROJECT_SLUG).then_some("feature");
        let parts = [prefix, reserved.unwrap_or_default(), name];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        FeatureSlug::new(parts.join("/").as_bytes())
    };
    without_date(name).into_iter().chain([name]).filter_map(of_name).collect()
}

/// Returns what follows `YYYY-MM-DD-` in a name; `None` without it.
fn without_date(name: &str) -> Option<&str> {
    let (date, rest) = name.split_at_checked(11)?;
    let is_date = date.bytes().enumerate().all(|(index, byte)| match index {
        4 | 7 | 10 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    (is_date && !rest.is_empty()).then_some(rest)
}

/// A name that no feature can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidName(
    /// The name.
    pub Vec<u8>,
);

/// Returns a pattern that matches `path` literally, followed by the rest of `full`.
fn escape_wildcards(path: &RelPath, full: &str) -> String {
    let text = path.text();
    let escaped: String = text
        .chars()
        .flat_map(|c| {
            let needs_escape = matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | '\\');
            needs_escape.then_some('\\').into_iter().chain([c])
        })
        .collect();
    escaped + &full[text.len()..]
}

/// The rules of a root, and what is wrong with them.
#[derive(Debug, Default)]
pub struct FoundRules {
    /// The rules, in the order of the layouts.
    pub rules: Vec<SearchRule>,
    /// The documents of each layout that has some.
    pub documents: Vec<(FeatureSlug, Arc<DocumentSet>)>,
    /// Layouts, and why a rule of theirs is left out.
    pub problems: Vec<(Arc<Layout>, String)>,
}

/// Returns the rules of the layouts of a root. `values` are the variables of each layout, by its name.
#[must_use]
pub fn search_rules(
    applied: &[AppliedLayout],
    values: &BTreeMap<String, BTreeMap<String, String>>,
) -> FoundRules {
    let mut found = FoundRules::default();
    for (index, AppliedLayout { layout, .. }) in applied.iter().enumerate() {
        let values = values.get(&layout.name);
        let value = |name: &str| {
            let own = values.and_then(|values| values.get(name)).map(String::as_str);
            own.or_else(|| layout.variables.get(name).map(|variable| variable.default.as_str()))
        };
        let problem = |number: usize, problem: String| {
            (Arc::clone(layout), format!("features[{number}]: {problem}"))
        };
        let mut documents = Vec::new();
        for (number, rule) in layout.features.iter().enumerate() {
            if rule.kind == FeatureKind::Documents {
                match resolve_all(&rule.include, &value) {
                    Ok(mut patterns) => documents.append(&mut patterns),
                    Err(cause) => found.problems.push(problem(number, cause)),
                }
                continue;
            }
            match rules_of(layout, rule, &value) {
                Ok(rules) => found.rules.extend(rules.into_iter().map(|one| SearchRule {
                    prefix: (index > 0).then(|| layout.name.clone()),
                    ..one
                })),
                Err(cause) => found.problems.push(problem(number, cause)),
            }
        }
        let prefix = if index > 0 { format!("{}/", layout.name) } else { String::new() };
        let slug = FeatureSlug::new(format!("{prefix}{PROJECT_SLUG}").as_bytes());
        if let Some(slug) = slug.filter(|_| !documents.is_empty()) {
            match DocumentSet::new(documents) {
                Ok(set) => found.documents.push((slug, Arc::new(set))),
                Err(cause) => found.problems.push((Arc::clone(layout), cause.to_string())),
            }
        }
    }
    found
}

fn resolve_all<'v>(
    templates: &[PathTemplate],
    value: &dyn Fn(&str) -> Option<&'v str>,
) -> Result<Vec<Pattern>, String> {
    let patterns = templates.iter().map(|template| template.resolve(value));
    patterns.collect::<Result<_, _>>().map_err(|error| error.to_string())
}

/// Returns one rule for each pattern of a rule of a layout.
fn rules_of<'v>(
    layout: &Arc<Layout>,
    rule: &FeatureRule,
    value: &dyn Fn(&str) -> Option<&'v str>,
) -> Result<Vec<SearchRule>, String> {
    let resolve = |templates: &[PathTemplate]| resolve_all(templates, value);
    let (exclude, needed) = (resolve(&rule.exclude)?, resolve(&rule.only_if)?);
    let mut rules = Vec::new();
    for include in resolve(&rule.include)? {
        let inside = format!("{}/", include.as_str());
        let only_if = needed.iter().map(|path| match path.as_str().strip_prefix(&inside) {
            Some(rest) => {
                let path = Pattern::new(rest).map_err(|error| error.to_string())?;
                Ok(PresenceCondition { is_in_feature: true, path })
            }
            None => Ok(PresenceCondition { is_in_feature: false, path: path.clone() }),
        });
        let only_if = only_if.collect::<Result<_, String>>()?;
        let (mission, layout) = (rule.mission.clone(), Some(Arc::clone(layout)));
        let own = SearchRule::configured(include, &exclude, mission, layout);
        let own = own.map_err(|error| error.to_string())?;
        rules.push(SearchRule { only_if, kind: rule.kind, ..own });
    }
    Ok(rules)
}

/// Returns the value of a variable as a path below the root: `{project-root}/` and `./` at its
/// beginning are left out. `None` if it is outside of the root.
#[must_use]
pub fn variable_path(text: &str) -> Option<String> {
    let text = text.trim().trim_matches(['"', '\'']);
    let text =
        text.strip_prefix("{project-root}").map_or(text, |rest| rest.trim_start_matches('/'));
    let text = text.strip_prefix("./").unwrap_or(text).trim_end_matches('/');
    let pattern = Pattern::new(text).ok()?;
    pattern.is_literal().then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::recognition::recognise;
    use super::super::recognition::testing::Tree;
    use super::super::{embedded_layouts, parse_layout};
    use super::*;

    fn rules(files: &[&'static str], named: Option<&[String]>) -> Vec<SearchRule> {
        let applied = recognise(embedded_layouts(), named, &Tree(files.to_vec()));
        let found = search_rules(&applied, &BTreeMap::new());
        assert!(found.problems.is_empty());
        found.rules
    }

    fn slug(rules: &[SearchRule], files: &[&'static str], path: &str) -> Option<String> {
        let path = RelPath::new(path.as_bytes()).unwrap();
        let tree = Tree(files.to_vec());
        let rule =
            rules.iter().find(|rule| rule.is_match(&path) && rule.is_satisfied(&path, &tree))?;
        rule.slug(&path).ok().map(|slug| slug.to_string())
    }

    #[test]
    fn slugs_follow_from_layout_and_path() {
        let files = [
            ".specify/x",
            "specs/001-a/spec.md",
            "openspec/config.yaml",
            "openspec/changes/archive/2026-01-01-b/proposal.md",
            ".planning/STATE.md",
        ];
        let both = rules(&files, None);
        for (path, expected) in [
            ("specs/001-a", Some("001-a")),
            ("specs/project", Some("feature/project")),
            ("specs/.x", None),
            ("openspec/changes/add-x", Some("openspec/add-x")),
            ("openspec/changes/project", Some("openspec/feature/project")),
            ("openspec/changes/archive", None),
            ("openspec/changes/archive/2026-01-01-b", Some("openspec/archive/2026-01-01-b")),
            (".planning/phases/01-x", Some("gsd/01-x")),
            (".planning/milestones/v1.0-phases/01-x", Some("gsd/archive/v1.0-phases/01-x")),
            (
                "specs/\u{30e6}\u{30fc}\u{30b6}\u{30fc} a",
                Some("\u{30e6}\u{30fc}\u{30b6}\u{30fc} a"),
            ),
            ("other/x", None),
        ] {
            assert_eq!(slug(&both, &files, path).as_deref(), expected, "{path}");
        }
        let alone = rules(&["openspec/config.yaml"], None);
        let archived = slug(&alone, &[], "openspec/changes/archive/2026-01-01-b");
        assert_eq!(archived.as_deref(), Some("archive/2026-01-01-b"));
    }

    #[test]
    fn archived_features_had_a_slug_before() {
        for (slug, expected) in [
            ("archive/2026-01-02-add-x", "add-x 2026-01-02-add-x"),
            ("openspec/archive/2026-01-02-add-x", "openspec/add-x openspec/2026-01-02-add-x"),
            ("gsd/archive/v1.0-phases/01-x", "gsd/01-x"),
            ("archive/2026-01-02-project", "feature/project 2026-01-02-project"),
            ("archive/2026-01-02-", "2026-01-02-"),
            ("archive/2026-1-02-x", "2026-1-02-x"),
            ("archives", ""),
            ("add-x", ""),
        ] {
            let former = former_slugs(&FeatureSlug::new(slug.as_bytes()).unwrap());
            let former: Vec<&str> = former.iter().map(FeatureSlug::as_str).collect();
            assert_eq!(former.join(" "), expected, "{slug}");
        }
    }

    #[test]
    fn a_condition_is_looked_for_in_the_root_or_in_the_feature() {
        let weak = ["specs/001-a/spec.md", "specs/api/openapi.yaml", "specs/[x]/spec.md"];
        let found = rules(&weak, None);
        assert_eq!(slug(&found, &weak, "specs/001-a").as_deref(), Some("001-a"));
        assert_eq!(slug(&found, &weak, "specs/[x]").as_deref(), Some("[x]"));
        assert_eq!(slug(&found, &weak, "specs/api"), None);
        let strong = ["specs/api/x.yaml", ".specify/x"];
        assert_eq!(slug(&rules(&strong, None), &strong, "specs/api").as_deref(), Some("api"));
    }

    #[test]
    fn a_pattern_that_is_none_with_its_variables_is_reported() {
        let text = "schema_version: 1\nname: own\nvariables: {out: {file: a.yaml, default: x}}\n\
                    features:\n- {include: a/*}\n- {include: '${out}/*'}\n";
        let layout = Arc::new(parse_layout(text.as_bytes()).unwrap());
        let applied = AppliedLayout { layout, marker: None, is_weak: false };
        let own = BTreeMap::from([("out".to_owned(), "../x".to_owned())]);
        let values = BTreeMap::from([("own".to_owned(), own)]);
        let found = search_rules(&[applied], &values);
        let problems: Vec<&str> = found.problems.iter().map(|(_, problem)| &**problem).collect();
        assert_eq!(found.rules.len(), 1);
        assert!(problems[0].starts_with("features[1]: invalid pattern `../x/*`"), "{problems:?}");
    }

    #[test]
    fn variables_are_paths_below_the_root() {
        for (text, expected) in [
            ("{project-root}/_bmad-output", Some("_bmad-output")),
            ("./docs/out/", Some("docs/out")),
            ("doc/adr", Some("doc/adr")),
            ("../x", None),
            ("/etc", None),
            ("a/*", None),
            ("{project-root}", None),
        ] {
            assert_eq!(variable_path(text).as_deref(), expected, "{text}");
        }
    }
}
