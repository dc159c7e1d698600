//! `dossierd verify`: whether what the daemon shows is what a fresh scan sees.
//!
//! Files may change between the two looks, so a difference counts only if it is found each time of
//! several.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use owo_colors::OwoColorize as _;
use serde::Serialize;
use serde_json::{Map, Value};

use super::args::OptionalFeatureArgs;
use super::exit::Exit;
use super::link::{Link, is_refusal};
use super::out;
use super::place::{Place, root_text};
use super::target::Target;
use crate::client::Target as Request;
use crate::core::feature::{Feature, Watch};
use crate::core::path::printable;
use crate::wire::overview::Overview;
use crate::wire::status::Status;

/// How often a difference must be found.
const TIMES: usize = 3;
/// Fields of a snapshot that differ between two of one state, or that the artifacts explain.
const PASSED_OVER: [&str; 4] =
    ["snapshot_id", "computed_at", "artifact_summaries", "parity_hash_components"];
/// Fields of an overview that a snapshot lacks and both looks must agree on.
const OF_OVERVIEW: [&str; 6] =
    ["mission", "manifest_version", "step", "step_source", "meta_error", "drift"];

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Difference {
    feature_slug: String,
    /// `None` where the feature as a whole differs.
    artifact_key: Option<String>,
    relative_path: Option<String>,
    field: String,
    /// As JSON.
    #[serde(serialize_with = "as_json")]
    daemon: String,
    #[serde(serialize_with = "as_json")]
    disk: String,
}

/// `--json`.
#[derive(Serialize)]
struct Report<'a> {
    features: usize,
    differences: &'a BTreeSet<Difference>,
}

fn as_json<S: serde::Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    value.serialize(serializer)
}

pub(super) fn run(args: &OptionalFeatureArgs) -> anyhow::Result<Exit> {
    let place = Place::of(args.feature.as_deref(), &args.project)?;
    let mut link = Link::open(&args.project.socket)?;
    let target = match &args.feature {
        Some(feature) => Target::of_name(feature, &args.project)?,
        None => Target::of_project(&args.project)?,
    };
    let root = root_text(&target.project.root);
    let (mut features, mut differences) = compare(&mut link, &target, &root, &place)?;
    let mut moving = false;
    for _ in 1..TIMES {
        if differences.is_empty() {
            break;
        }
        // Discovered and read anew: also what steers may be changing.
        let target = match &args.feature {
            Some(feature) => Target::of_name(feature, &args.project)?,
            None => Target::of_project(&args.project)?,
        };
        let again;
        (features, again) = compare(&mut link, &target, &root, &place)?;
        moving |= again != differences;
        differences = lasting(&differences, &again);
    }
    if args.project.json {
        out::print_json(&Report { features, differences: &differences })?;
    } else {
        print(features, &differences)?;
    }
    if moving {
        out::note("files were changing meanwhile; only what differed each time is shown");
    }
    Ok(if differences.is_empty() { Exit::Done } else { Exit::Failed })
}

/// The differences of those artifacts that differ in exactly the same way again: one that changes
/// meanwhile differs each time, and by chance in a field or two as before.
fn lasting(before: &BTreeSet<Difference>, again: &BTreeSet<Difference>) -> BTreeSet<Difference> {
    let artifacts = |all: &BTreeSet<Difference>| {
        let mut artifacts: BTreeMap<_, Vec<Difference>> = BTreeMap::new();
        for one in all {
            let artifact = (one.feature_slug.clone(), one.artifact_key.clone());
            artifacts.entry(artifact).or_default().push(one.clone());
        }
        artifacts
    };
    let again = artifacts(again);
    let before = artifacts(before).into_iter();
    before
        .filter(|(artifact, all)| again.get(artifact) == Some(all))
        .flat_map(|(_, all)| all)
        .collect()
}

/// Looks at both once.
fn compare(
    link: &mut Link,
    target: &Target,
    root: &str,
    place: &Place,
) -> anyhow::Result<(usize, BTreeSet<Difference>)> {
    let status: Status<'_> = link.read(&Request::new("/api/status").synced())?;
    let Some(project) = status.projects.iter().find(|project| project.root == root) else {
        anyhow::bail!("the daemon does not watch {root}; `dossierd project add .`");
    };
    let mut scanned: Vec<Feature> = Vec::new();
    target.survey(|feature| feature, |feature| scanned.push(feature))?;
    let mut found = BTreeSet::new();
    for feature in &scanned {
        let slug = feature.dossier.terms.feature_slug.as_str();
        let about =
            |path: &str| Request::new(path).with("feature", slug).with("project", root).synced();
        let export = link.get(&about("/api/dossier/snapshots/export"));
        let export: Value = match export {
            Ok(answer) => answer.read()?,
            Err(error) if is_refusal(&error, 404) => {
                found.insert(whole(slug, "feature", &Value::Null, &"present".into()));
                continue;
            }
            Err(error) => return Err(error),
        };
        let overview: Value = link.read(&about("/api/dossier/overview"))?;
        let snapshot = serde_json::to_value(&*feature.snapshot)?;
        let own = serde_json::to_value(Overview::from(feature))?;
        snapshots(slug, &export, &snapshot, &mut found);
        for field in OF_OVERVIEW {
            if overview[field] != own[field] {
                found.insert(whole(slug, field, &overview[field], &own[field]));
            }
        }
    }
    if place.feature.is_none() {
        let seen: BTreeSet<&str> =
            scanned.iter().map(|feature| feature.dossier.terms.feature_slug.as_str()).collect();
        for shown in &project.features {
            if shown.watch != Watch::Gone && !seen.contains(&*shown.feature_slug) {
                let slug = &shown.feature_slug;
                found.insert(whole(slug, "feature", &"present".into(), &Value::Null));
            }
        }
    }
    Ok((scanned.len(), found))
}

fn whole(slug: &str, field: &str, daemon: &Value, disk: &Value) -> Difference {
    Difference {
        feature_slug: slug.to_owned(),
        artifact_key: None,
        relative_path: None,
        field: field.to_owned(),
        daemon: daemon.to_string(),
        disk: disk.to_string(),
    }
}

/// Every field in which two snapshots differ.
fn snapshots(slug: &str, daemon: &Value, disk: &Value, found: &mut BTreeSet<Difference>) {
    let empty = Map::new();
    let (left, right) = (daemon.as_object().unwrap_or(&empty), disk.as_object().unwrap_or(&empty));
    for (field, left, right) in fields(left, right) {
        if !PASSED_OVER.contains(&field.as_str()) {
            found.insert(whole(slug, &field, left, right));
        }
    }
    let by_key = |snapshot: &Value| -> BTreeMap<String, Map<String, Value>> {
        let list = snapshot["artifact_summaries"].as_array().into_iter().flatten();
        let named = list.filter_map(|artifact| {
            let fields = artifact.as_object()?.clone();
            Some((fields.get("artifact_key")?.as_str()?.to_owned(), fields))
        });
        named.collect()
    };
    let (left, right) = (by_key(daemon), by_key(disk));
    for key in left.keys().chain(right.keys()) {
        let (left, right) = (left.get(key), right.get(key));
        let path = left.or(right).and_then(|fields| fields.get("relative_path"));
        let path = path.and_then(Value::as_str).map(str::to_owned);
        let mut differ = |field: &str, left: &Value, right: &Value| {
            found.insert(Difference {
                artifact_key: Some(key.clone()),
                relative_path: path.clone(),
                ..whole(slug, field, left, right)
            });
        };
        match (left, right) {
            (Some(left), Some(right)) => {
                for (field, left, right) in fields(left, right) {
                    differ(&field, left, right);
                }
            }
            (left, right) => {
                let state = |side: Option<&Map<String, Value>>| {
                    side.map_or(Value::Null, |_| Value::from("listed"))
                };
                differ("artifact", &state(left), &state(right));
            }
        }
    }
}

/// Fields that are not equal.
fn fields<'v>(
    left: &'v Map<String, Value>,
    right: &'v Map<String, Value>,
) -> Vec<(String, &'v Value, &'v Value)> {
    let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    let pairs = names.into_iter().map(|name| {
        let of = |side: &'v Map<String, Value>| side.get(name).unwrap_or(&Value::Null);
        (name.clone(), of(left), of(right))
    });
    pairs.filter(|(_, left, right)| left != right).collect()
}

fn print(features: usize, differences: &BTreeSet<Difference>) -> anyhow::Result<()> {
    let mut out = out::people();
    for difference in differences {
        let Difference { feature_slug, artifact_key, relative_path, field, daemon, disk } =
            difference;
        let mut subject = printable(feature_slug).bold().to_string();
        if let Some(key) = artifact_key {
            let path = relative_path.as_deref().unwrap_or_default();
            subject.push_str(&format!(": {} ({})", printable(key), printable(path)));
        }
        let (daemon, disk) = (printable(daemon), printable(disk));
        writeln!(out, "{subject}: {field}: daemon {}, disk {}", daemon.red(), disk.green())?;
    }
    let verdict = match differences.len() {
        0 => "the daemon shows what is there".green().to_string(),
        count => format!("{count} differences").red().to_string(),
    };
    writeln!(out, "{features} features compared: {verdict}")?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_in_another_way_is_changing() {
        let one = |key: Option<&str>, field: &str, disk: &str| Difference {
            artifact_key: key.map(str::to_owned),
            ..whole("s", field, &"daemon".into(), &disk.into())
        };
        let before = BTreeSet::from([
            one(Some("a"), "hash", "1"),
            one(Some("a"), "size", "0"),
            one(Some("b"), "hash", "1"),
            one(None, "tree", "1"),
        ]);
        let again = BTreeSet::from([
            one(Some("a"), "hash", "2"),
            one(Some("a"), "size", "0"),
            one(Some("b"), "hash", "1"),
            one(None, "tree", "2"),
        ]);
        assert_eq!(lasting(&before, &again), BTreeSet::from([one(Some("b"), "hash", "1")]));
    }

    #[test]
    fn every_field_of_every_artifact() {
        let artifact = |key: &str, hash: &str| json!({"artifact_key": key, "relative_path": format!("{key}.md"), "hash": hash});
        let daemon = json!({
            "snapshot_id": "1", "tree": "t", "artifact_summaries": [artifact("a", "1"), artifact("b", "1")],
        });
        let disk = json!({
            "snapshot_id": "2", "tree": "u", "artifact_summaries": [artifact("a", "2"), artifact("c", "1")],
        });
        let mut found = BTreeSet::new();
        snapshots("s", &daemon, &daemon, &mut found);
        assert!(found.is_empty());
        snapshots("s", &daemon, &disk, &mut found);
        let found: Vec<_> = found
            .iter()
            .map(|d| (d.artifact_key.as_deref(), d.field.as_str(), &*d.daemon, &*d.disk))
            .collect();
        assert_eq!(
            found,
            [
                (None, "tree", "\"t\"", "\"u\""),
                (Some("a"), "hash", "\"1\"", "\"2\""),
                (Some("b"), "artifact", "\"listed\"", "null"),
                (Some("c"), "artifact", "null", "\"listed\""),
            ]
        );
    }
}
