//! The order of a mission's steps, from `mission.yaml`, `mission-runtime.yaml` and the manifest
//! (`docs/specification.md#steps`).
//!
//! The first two files belong to other programs: only the ids are read, everything else is ignored.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::core::yaml::{ParseError, parse};

#[derive(Deserialize)]
struct StatesSection {
    states: Option<Vec<NamedEntry>>,
}

#[derive(Deserialize)]
struct WorkflowSection {
    workflow: Option<MapOrOther<PhasesSection>>,
}

#[derive(Deserialize)]
struct PhasesSection {
    phases: Option<Vec<NamedEntry>>,
}

#[derive(Deserialize)]
struct StepsSection {
    steps: Option<Vec<IdEntry>>,
}

#[derive(Deserialize)]
struct MissionSection {
    mission: Option<MapOrOther<StepsSection>>,
}

#[derive(Deserialize)]
#[serde(expecting = "an entry with `name`")]
struct NamedEntry {
    name: String,
}

#[derive(Deserialize)]
#[serde(expecting = "an entry with `id`")]
struct IdEntry {
    id: String,
}

/// Returns the step ids of a `mission.yaml`: `states[].name`, else `workflow.phases[].name`, else
/// `steps[].id`, else `mission.steps[].id`. Lists after the first that is not empty are not
/// checked.
///
/// # Errors
/// [`ParseError`] if the text is not YAML or the list is invalid.
pub fn parse_mission_steps(bytes: &[u8]) -> Result<Vec<String>, ParseError> {
    let names = |list: Vec<NamedEntry>| list.into_iter().map(|entry| entry.name).collect();
    let file: Option<StatesSection> = parse(bytes)?;
    if let Some(states) = non_empty(file.and_then(|file| file.states)) {
        return Ok(names(states));
    }
    let file: Option<WorkflowSection> = parse(bytes)?;
    let workflow = file.and_then(|file| file.workflow?.0);
    if let Some(phases) = non_empty(workflow.and_then(|workflow| workflow.phases)) {
        return Ok(names(phases));
    }
    parse_runtime_steps(bytes)
}

/// Returns the step ids of a `mission-runtime.yaml`: `steps[].id`, else `mission.steps[].id`.
///
/// # Errors
/// [`ParseError`] if the text is not YAML or the list is invalid.
pub fn parse_runtime_steps(bytes: &[u8]) -> Result<Vec<String>, ParseError> {
    let file: Option<StepsSection> = parse(bytes)?;
    let mut steps = non_empty(file.and_then(|file| file.steps));
    if steps.is_none() {
        let file: Option<MissionSection> = parse(bytes)?;
        steps = file.and_then(|file| file.mission?.0?.steps);
    }
    Ok(steps.unwrap_or_default().into_iter().map(|step| step.id).collect())
}

fn non_empty<T>(list: Option<Vec<T>>) -> Option<Vec<T>> {
    list.filter(|list| !list.is_empty())
}

/// A map; `None` for a value of any other type. In some files `mission` is a text.
struct MapOrOther<T>(Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for MapOrOther<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MapOrOtherVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for MapOrOtherVisitor<T> {
            type Value = MapOrOther<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MapOrOther<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|value| MapOrOther(Some(value)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<MapOrOther<T>, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(MapOrOther(None))
            }

            fn visit_str<E>(self, _: &str) -> Result<MapOrOther<T>, E> {
                Ok(MapOrOther(None))
            }

            fn visit_bool<E>(self, _: bool) -> Result<MapOrOther<T>, E> {
                Ok(MapOrOther(None))
            }

            fn visit_i64<E>(self, _: i64) -> Result<MapOrOther<T>, E> {
                Ok(MapOrOther(None))
            }

            fn visit_u64<E>(self, _: u64) -> Result<MapOrOther<T>, E> {
                Ok(MapOrOther(None))
            }

            fn visit_f64<E>(self, _: f64) -> Result<MapOrOther<T>, E> {
                Ok(MapOrOther(None))
            }

            fn visit_unit<E>(self) -> Result<MapOrOther<T>, E> {
                Ok(MapOrOther(None))
            }
        }
        deserializer.deserialize_any(MapOrOtherVisitor(PhantomData))
    }
}

/// Returns the ids of `known` without repetitions, completed by the other ids of `more`. Each of
/// those is inserted after its predecessor in `more`, or at the front if it has none.
#[must_use]
pub fn merge_step_order(known: &[String], more: &[String]) -> Vec<String> {
    let mut order: Vec<String> = Vec::with_capacity(known.len() + more.len());
    for id in known {
        if !order.contains(id) {
            order.push(id.clone());
        }
    }
    let mut insert_at = 0;
    for id in more {
        insert_at = match order.iter().position(|known| known == id) {
            Some(index) => index + 1,
            None => {
                order.insert(insert_at, id.clone());
                insert_at + 1
            }
        };
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merge_step_order_inserts_ids_after_their_predecessor() {
        for (known, more, expected) in [
            ("a b c", "", "a b c"),
            ("a b c", "a x b y", "a x b y c"),
            ("a b c", "x a", "x a b c"),
            ("a b c", "c d", "a b c d"),
            ("a b", "x y", "x y a b"),
            ("", "x y", "x y"),
            ("a a b", "", "a b"),
            (
                "discovery specify plan implement review done",
                "discovery specify plan tasks_outline tasks_packages implement review accept",
                "discovery specify plan tasks_outline tasks_packages implement review accept done",
            ),
        ] {
            let list = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(merge_step_order(&list(known), &list(more)).join(" "), expected);
        }
    }

    #[test]
    fn step_ids_are_read_from_each_file_format() {
        for (text, expected) in [
            ("states: [{name: a, x: 1}, {name: b}]\nworkflow: {phases: [{name: z}]}", "a b"),
            ("name: X\nworkflow: {phases: [{name: c}]}\nsteps: [{id: z}]", "c"),
            ("steps: [{id: d}]\nmission: {steps: [{id: z}]}", "d"),
            ("mission: {key: plan, steps: [{id: e}, {id: f}]}", "e f"),
            ("mission: software-dev\nstates: [{name: a}]\nsteps: [x, y]", "a"),
            ("states: []\nworkflow: none\nsteps: [{id: g}]", "g"),
            ("unrelated: 1", ""),
            ("", ""),
        ] {
            assert_eq!(parse_mission_steps(text.as_bytes()).unwrap().join(" "), expected);
        }
        assert_eq!(parse_runtime_steps(b"states: [{name: a}]\nsteps: [{id: b}]").unwrap(), ["b"]);
        for bad in ["states: 7", "states: [{nme: a}]", "steps: x", "steps: [{id: [1]}]"] {
            assert!(parse_mission_steps(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
