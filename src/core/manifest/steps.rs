//! The order of a mission's steps, out of `mission.yaml`, `mission-runtime.yaml` and the manifest.
//!
//! These files belong to others: only the ids are read, everything else in them is passed over.

use serde::Deserialize;

use crate::core::yaml::{TextError, parse};

#[derive(Deserialize, Default)]
#[serde(default)]
struct MissionFile {
    states: Vec<Named>,
    workflow: Workflow,
    steps: Vec<Identified>,
    mission: Inner,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Workflow {
    phases: Vec<Named>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RuntimeFile {
    steps: Vec<Identified>,
    mission: Inner,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Inner {
    steps: Vec<Identified>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Identified {
    id: String,
}

/// Step ids of a `mission.yaml`: `states[].name`, else `workflow.phases[].name`, else
/// `steps[].id` or `mission.steps[].id`.
///
/// # Errors
/// [`TextError`] when the file or one of these lists is not what it should be.
pub fn parse_mission_steps(bytes: &[u8]) -> Result<Vec<String>, TextError> {
    let file: MissionFile = parse(bytes)?;
    let named = |list: Vec<Named>| list.into_iter().map(|item| item.name).collect();
    if !file.states.is_empty() {
        Ok(named(file.states))
    } else if !file.workflow.phases.is_empty() {
        Ok(named(file.workflow.phases))
    } else {
        Ok(first_filled(file.steps, file.mission.steps))
    }
}

/// Step ids of a `mission-runtime.yaml`: `steps[].id` or `mission.steps[].id`.
///
/// # Errors
/// [`TextError`] when the file or one of these lists is not what it should be.
pub fn parse_runtime_steps(bytes: &[u8]) -> Result<Vec<String>, TextError> {
    let file: RuntimeFile = parse(bytes)?;
    Ok(first_filled(file.steps, file.mission.steps))
}

fn first_filled(steps: Vec<Identified>, inner: Vec<Identified>) -> Vec<String> {
    let list = if steps.is_empty() { inner } else { steps };
    list.into_iter().map(|item| item.id).collect()
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
            ("unrelated: 1", ""),
        ] {
            assert_eq!(parse_mission_steps(text.as_bytes()).unwrap().join(" "), expect);
        }
        assert_eq!(parse_runtime_steps(b"states: [{name: a}]\nsteps: [{id: b}]").unwrap(), ["b"]);
        assert!(parse_mission_steps(b"states: 7").is_err());
    }
}
