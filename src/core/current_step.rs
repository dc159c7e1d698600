//! Which step a feature has reached, and what comes next (`docs/specification.md#current-step`).

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::manifest::Mission;
use super::task_progress::{Relation, TaskProgress};

/// Most keys of a next step that are listed.
const MAX_NEXT_MISSING: usize = 16;

/// Source of the current step (`docs/specification.md#current-step`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepSource {
    /// A runtime issued the step.
    Runtime,
    /// The configuration names the step.
    Config,
    /// A state file of the feature names it.
    State,
    /// The files of the feature show it.
    Files,
    /// There is no step.
    #[default]
    None,
}

impl fmt::Display for StepSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Runtime => "runtime",
            Self::Config => "config",
            Self::State => "state",
            Self::Files => "files",
            Self::None => "none",
        })
    }
}

/// What decides the step of a feature for which neither a runtime nor the configuration names one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepInputs {
    /// The step that a state file names, and the name of the file.
    pub state: Option<(Arc<str>, Arc<str>)>,
    /// Whether the files of the feature decide.
    pub by_files: bool,
    /// Whether it is archived: then it has passed all steps.
    pub is_archived: bool,
    /// Steps that are left out of what comes next.
    pub optional_steps: Arc<[Arc<str>]>,
    /// Files that need a partner before the step of the partners is reached.
    pub relation: Option<Relation>,
}

/// The current step, and what comes next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CurrentStep {
    /// Its id; `None` if there is none.
    pub id: Option<Arc<str>>,
    /// Where it comes from.
    pub source: StepSource,
    /// In which the sources contradict each other.
    pub warning: Option<String>,
    /// What comes next; `None` if nothing is missing.
    pub next: Option<NextStep>,
    /// Progress that follows from which files exist.
    pub file_progress: Option<TaskProgress>,
}

/// A step that is not reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextStep {
    /// Its id.
    pub id: Arc<str>,
    /// Keys of the blocking specs that are not satisfied, the first ones.
    pub missing: Vec<String>,
}

/// What is known of the specs of a mission, by their index.
#[derive(Debug, Default)]
pub struct SpecFacts {
    /// Whether a present file satisfies it.
    pub satisfied: Vec<bool>,
    /// Whether a file that satisfies it is present, or was and counts as there.
    pub reached: Vec<bool>,
}

/// Returns the current step. `named` is the step that a runtime or the configuration names.
#[must_use]
pub fn decide_step(
    mission: &Mission,
    named: Option<(&Arc<str>, StepSource)>,
    inputs: &StepInputs,
    facts: &SpecFacts,
) -> CurrentStep {
    let position = |id: &str| mission.steps.iter().position(|step| step.as_ref() == id);
    let by_files = || inputs.by_files.then(|| find_by_files(mission, facts)).flatten();
    let state = || inputs.state.as_ref().and_then(|(id, file)| Some((position(id)?, file)));
    let (index, source, warning) = match (named, by_files(), state()) {
        (Some((id, source)), ..) => {
            let next = position(id).and_then(|index| next_step(mission, index, inputs, facts));
            let id = Some(Arc::clone(id));
            return CurrentStep { id, source, next, ..CurrentStep::default() };
        }
        (None, ..) if inputs.is_archived && inputs.by_files && !mission.steps.is_empty() => {
            (mission.steps.len() - 1, StepSource::Files, None)
        }
        (None, Some(FoundStep { index, is_reached: true }), Some((state, file)))
            if index > state =>
        {
            let (found, named) = (&mission.steps[index], &mission.steps[state]);
            let warning = format!("{file} names step `{named}`, but step `{found}` is reached");
            (index, StepSource::Files, Some(warning))
        }
        (None, _, Some((index, _))) => (index, StepSource::State, None),
        (None, Some(FoundStep { index, .. }), None) => (index, StepSource::Files, None),
        (None, None, None) => return CurrentStep::default(),
    };
    CurrentStep {
        id: Some(Arc::clone(&mission.steps[index])),
        source,
        warning,
        next: next_step(mission, index, inputs, facts),
        file_progress: None,
    }
}

/// A step that the files show.
#[derive(Debug, Clone, Copy)]
struct FoundStep {
    index: usize,
    /// False for the first step of a feature that has reached none.
    is_reached: bool,
}

/// Returns the furthest step that is reached, or else the first one with blocking specs.
fn find_by_files(mission: &Mission, facts: &SpecFacts) -> Option<FoundStep> {
    let is_reached = |index: &usize| {
        let specs = mission.specs_of_step(*index);
        let mut blocking = specs.iter().filter(|(_, blocking)| *blocking).peekable();
        if blocking.peek().is_some() {
            blocking.all(|(spec, _)| facts.reached[*spec])
        } else {
            specs.iter().any(|(spec, _)| facts.reached[*spec])
        }
    };
    let has_blocking =
        |index: &usize| mission.specs_of_step(*index).iter().any(|(_, blocks)| *blocks);
    let furthest = (0..mission.steps.len()).rev().find(is_reached);
    match furthest {
        Some(index) => Some(FoundStep { index, is_reached: true }),
        None => {
            let first = (0..mission.steps.len()).find(has_blocking);
            first.map(|index| FoundStep { index, is_reached: false })
        }
    }
}

/// Returns the next step after `index` with a blocking spec that is not satisfied.
fn next_step(
    mission: &Mission,
    index: usize,
    inputs: &StepInputs,
    facts: &SpecFacts,
) -> Option<NextStep> {
    (index + 1..mission.steps.len()).find_map(|index| {
        let id = &mission.steps[index];
        let specs = mission.specs_of_step(index).iter();
        let missing = specs.filter(|(spec, blocks)| *blocks && !facts.satisfied[*spec]);
        let missing = missing.map(|(spec, _)| mission.specs()[*spec].key.to_string());
        let missing: Vec<String> = missing.take(MAX_NEXT_MISSING).collect();
        let is_next = !missing.is_empty() && !inputs.optional_steps.contains(id);
        is_next.then(|| NextStep { id: Arc::clone(id), missing })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::manifest::{
        MissionEdition, find_embedded_mission, parse_manifest, parse_mission_steps,
    };

    fn mission(name: &str) -> Mission {
        let embedded = find_embedded_mission(name, MissionEdition::First).unwrap();
        let steps = parse_mission_steps(embedded.mission.as_bytes()).unwrap();
        Mission::new(parse_manifest(embedded.manifest.as_bytes()).unwrap(), &steps).unwrap()
    }

    /// Returns step, source and next step for the keys of the specs that are satisfied; a key after
    /// `-` was satisfied once.
    fn decided(name: &str, keys: &str, inputs: &StepInputs) -> String {
        let mission = mission(name);
        let has = |key: &str| keys.split(' ').any(|one| one == key);
        let specs = || mission.specs().iter().map(|spec| spec.key.as_ref());
        let facts = SpecFacts {
            satisfied: specs().map(has).collect(),
            reached: specs().map(|key| has(key) || has(&format!("-{key}"))).collect(),
        };
        let step = decide_step(&mission, None, inputs, &facts);
        let next = step
            .next
            .map_or("none".to_owned(), |next| format!("{} ({})", next.id, next.missing.join(" ")));
        let warning = step.warning.map_or_else(String::new, |warning| format!("; {warning}"));
        format!(
            "{} from {}, next {next}{warning}",
            step.id.as_deref().unwrap_or("none"),
            step.source
        )
    }

    #[test]
    fn the_furthest_step_that_is_reached_is_the_current_one() {
        let inputs = StepInputs {
            by_files: true,
            optional_steps: Arc::from([Arc::from("clarify")]),
            ..StepInputs::default()
        };
        for (mission, keys, expected) in [
            ("spec-kit", "", "specify from files, next plan (output.plan)"),
            ("spec-kit", "input.spec", "specify from files, next plan (output.plan)"),
            ("spec-kit", "input.spec output.plan", "plan from files, next tasks (workflow.tasks)"),
            ("spec-kit", "evidence.research", "specify from files, next plan (output.plan)"),
            ("spec-kit", "input.spec output.plan workflow.tasks", "tasks from files, next none"),
            ("spec-kit", "workflow.tasks", "tasks from files, next none"),
            ("spec-kit", "input.spec -output.plan", "plan from files, next tasks (workflow.tasks)"),
            ("gsd", "", "plan from files, next execute (output.summary)"),
            ("gsd", "input.context", "discuss from files, next plan (workflow.plan)"),
            ("gsd", "workflow.plan", "plan from files, next execute (output.summary)"),
            ("gsd", "workflow.plan evidence.verification", "verify from files, next none"),
            (
                "kiro-design-first",
                "output.design",
                "design from files, next requirements (input.requirements)",
            ),
        ] {
            assert_eq!(decided(mission, keys, &inputs), expected, "{mission}: {keys}");
        }
        let archived = StepInputs { is_archived: true, ..inputs };
        assert_eq!(decided("openspec", "", &archived), "archive from files, next none");
        assert_eq!(decided("spec-kit", "", &StepInputs::default()), "none from none, next none");
    }

    #[test]
    fn a_state_that_is_behind_the_files_gives_way_to_them() {
        for (state, keys, expected) in [
            ("requirements", "", "requirements from state, next design (output.design)"),
            ("tasks", "input.requirements", "tasks from state, next none"),
            (
                "requirements",
                "input.requirements output.design",
                "design from files, next tasks (workflow.tasks); spec.json names step \
                 `requirements`, but step `design` is reached",
            ),
            (
                "nonsense",
                "input.requirements",
                "requirements from files, next design (output.design)",
            ),
        ] {
            let inputs = StepInputs {
                by_files: true,
                state: Some((state.into(), "spec.json".into())),
                ..StepInputs::default()
            };
            assert_eq!(decided("kiro", keys, &inputs), expected, "{state}: {keys}");
        }
    }
}
