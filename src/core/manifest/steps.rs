//! The order of a mission's steps, out of `mission.yaml`, `mission-runtime.yaml` and the manifest.
//!
//! These files belong to others: only the ids are read, everything else in them is passed over.

use serde::Deserialize;
use serde_yaml::Value;

use crate::core::yaml::{TextError, parse};

#[derive(Deserialize)]
struct States {
    states: Vec<Named>,
}

#[derive(Deserialize)]
#[serde(expecting = "an entry with `name`")]
struct Named {
    name: String,
}

/// Step ids of a `mission.yaml`: `states[].name`, else `workflow.phases[].name`, else
/// `steps[].id` or `mission.steps[].id`. What comes after the first of these that is there is not
/// looked at.
///
/// # Errors
/// [`TextError`] when the text or that list is not what it should be.
pub fn parse_mission_steps(bytes: &[u8]) -> Result<Vec<String>, TextError> {
    let file: Value = parse(bytes)?;
    if is_there(&file["states"]) {
        let States { states } = parse(bytes)?;
        return Ok(states.into_iter().map(|state| state.name).collect());
    }
    if is_there(&file["workflow"]["phases"]) {
        return ids(&file["workflow"]["phases"], "workflow.phases", "name");
    }
    runtime_steps(&file)
}

/// Step ids of a `mission-runtime.yaml`: `steps[].id` or `mission.steps[].id`.
///
/// # Errors
/// [`TextError`] when the text or that list is not what it should be.
pub fn parse_runtime_steps(bytes: &[u8]) -> Result<Vec<String>, TextError> {
    runtime_steps(&parse(bytes)?)
}

fn runtime_steps(file: &Value) -> Result<Vec<String>, TextError> {
    if is_there(&file["steps"]) {
        ids(&file["steps"], "steps", "id")
    } else if is_there(&file["mission"]["steps"]) {
        ids(&file["mission"]["steps"], "mission.steps", "id")
    } else {
        Ok(Vec::new())
    }
}

fn is_there(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Sequence(list) => !list.is_empty(),
        _ => true,
    }
}

fn ids(list: &Value, place: &str, field: &str) -> Result<Vec<String>, TextError> {
    let Value::Sequence(list) = list else {
        return Err(TextError::whole(format!("`{place}` is not a list")));
    };
    list.iter()
        .enumerate()
        .map(|(at, entry)| match &entry[field] {
            Value::String(id) => Ok(id.clone()),
            _ => Err(TextError::whole(format!("`{place}[{at}]` has no `{field}`"))),
        })
        .collect()
}

/// `known`, and each id of `more` that it lacks right after the one written before it in `more`
/// (at the front where none is).
#[must_use]
pub fn step_order(known: &[String], more: &[String]) -> Vec<String> {
    let mut order: Vec<String> = Vec::with_capacity(known.len() + more.len());
    for id in known {
        if !order.contains(id) {
            order.push(id.clone());
        }
    }
    let mut after = 0;
    for id in more {
        after = match order.iter().position(|known| known == id) {
            Some(place) => place + 1,
            None => {
                order.insert(after, id.clone());
                after + 1
            }
        };
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_ids_follow_their_predecessor() {
        for (known, more, expect) in [
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
            assert_eq!(step_order(&list(known), &list(more)).join(" "), expect);
        }
    }

    #[test]
    fn each_kind_of_file() {
        for (text, expect) in [
            ("states: [{name: a, x: 1}, {name: b}]\nworkflow: {phases: [{name: z}]}", "a b"),
            ("name: X\nworkflow: {phases: [{name: c}]}\nsteps: [{id: z}]", "c"),
            ("steps: [{id: d}]\nmission: {steps: [{id: z}]}", "d"),
            ("mission: {key: plan, steps: [{id: e}, {id: f}]}", "e f"),
            ("mission: software-dev\nstates: [{name: a}]\nsteps: [x, y]", "a"),
            ("states: []\nworkflow: none\nsteps: [{id: g}]", "g"),
            ("unrelated: 1", ""),
            ("", ""),
        ] {
            assert_eq!(parse_mission_steps(text.as_bytes()).unwrap().join(" "), expect);
        }
        assert_eq!(parse_runtime_steps(b"states: [{name: a}]\nsteps: [{id: b}]").unwrap(), ["b"]);
        for bad in ["states: 7", "states: [{nme: a}]", "steps: x", "steps: [{id: [1]}]"] {
            assert!(parse_mission_steps(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
