//! The missions that are embedded in the program, from `manifests/`. Which layer is used is decided
//! in `project`.

/// The files of one embedded mission.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddedMission {
    /// Mission type.
    pub mission_type: &'static str,
    /// Text of `expected-artifacts.yaml`.
    pub manifest: &'static str,
    /// Text of `mission.yaml`.
    pub mission: &'static str,
}

macro_rules! embed {
    ($dir:literal: $($name:literal),+) => {
        [$(EmbeddedMission {
            mission_type: $name,
            manifest: include_str!(
                concat!("../../../manifests/", $dir, $name, "/expected-artifacts.yaml")
            ),
            mission: include_str!(concat!("../../../manifests/", $dir, $name, "/mission.yaml")),
        }),+]
    };
}

/// Which missions apply where two versions of a tool have different ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MissionEdition {
    /// Those of the data model, which are also those of all other tools.
    #[default]
    First,
    /// Those of spec-kitty 3.
    SpecKitty3,
}

/// All embedded missions but those of [`SPEC_KITTY_3_MISSIONS`].
pub const EMBEDDED_MISSIONS: [EmbeddedMission; 18] = embed!(
    "": "software-dev",
    "research",
    "documentation",
    "plan",
    "spec-kit",
    "spec-kit-bug",
    "spec-kit-assess",
    "openspec",
    "openspec-no-specs",
    "kiro",
    "kiro-bugfix",
    "kiro-design-first",
    "gsd",
    "bmad",
    "bmad-spec",
    "conductor",
    "adr",
    "documents"
);

/// The missions that spec-kitty 3 has changed.
pub const SPEC_KITTY_3_MISSIONS: [EmbeddedMission; 4] =
    embed!("spec-kitty-3.2/": "software-dev", "research", "documentation", "plan");

/// Returns the embedded mission of a type.
#[must_use]
pub fn find_embedded_mission(
    mission_type: &str,
    edition: MissionEdition,
) -> Option<&'static EmbeddedMission> {
    let newer: &[EmbeddedMission] = match edition {
        MissionEdition::First => &[],
        MissionEdition::SpecKitty3 => &SPEC_KITTY_3_MISSIONS,
    };
    let mut embedded = newer.iter().chain(&EMBEDDED_MISSIONS);
    embedded.find(|embedded| embedded.mission_type == mission_type)
}

#[cfg(test)]
mod tests {
    use super::super::{Mission, parse_manifest, parse_mission_steps};
    use super::{EMBEDDED_MISSIONS, MissionEdition, SPEC_KITTY_3_MISSIONS, find_embedded_mission};
    use crate::core::artifact::RequiredStatus;

    #[test]
    fn embedded_missions_are_valid_and_name_only_known_steps() {
        for embedded in EMBEDDED_MISSIONS.iter().chain(&SPEC_KITTY_3_MISSIONS) {
            let manifest = parse_manifest(embedded.manifest.as_bytes()).unwrap();
            assert_eq!(manifest.mission_type, embedded.mission_type);
            let steps = parse_mission_steps(embedded.mission.as_bytes()).unwrap();
            let mission = Mission::new(manifest, &steps).unwrap();
            assert!(
                mission.warnings.is_empty(),
                "{}: {:?}",
                embedded.mission_type,
                mission.warnings
            );
            for spec in mission.specs() {
                let key = &spec.key;
                assert!(
                    !mission.has_other_glob_prefix(key, Some(spec)),
                    "{key} has the prefix of another spec"
                );
            }
        }
    }

    #[test]
    fn software_dev_has_the_steps_of_its_runtimes() {
        for (edition, tasks) in
            [(MissionEdition::First, ""), (MissionEdition::SpecKitty3, " tasks")]
        {
            let embedded = find_embedded_mission("software-dev", edition).unwrap();
            let steps = parse_mission_steps(embedded.mission.as_bytes()).unwrap();
            assert_eq!(
                steps.join(" "),
                format!(
                    "discovery specify plan{tasks} tasks_outline tasks_packages tasks_finalize implement \
                     review accept done"
                )
            );
        }
    }

    #[test]
    fn missions_that_spec_kitty_3_has_changed_have_its_blocking_documents() {
        for (mission, blocking) in [
            ("software-dev", "spec.md plan.md tasks.md tasks/WP*.md"),
            ("research", "spec.md plan.md source-register.csv findings.md report.md"),
            ("documentation", "spec.md gap-analysis.md plan.md audit-report.md release.md"),
            ("plan", "goals.md research.md plan.md"),
        ] {
            let embedded = find_embedded_mission(mission, MissionEdition::SpecKitty3).unwrap();
            let manifest = parse_manifest(embedded.manifest.as_bytes()).unwrap();
            assert_eq!(manifest.manifest_version, "3.2/1", "{mission}");
            let steps = parse_mission_steps(embedded.mission.as_bytes()).unwrap();
            let mission = Mission::new(manifest, &steps).unwrap();
            let found: Vec<&str> = mission
                .specs()
                .iter()
                .filter(|spec| spec.status == RequiredStatus::Required)
                .map(|spec| spec.pattern.as_str())
                .collect();
            assert_eq!(found.join(" "), blocking);
        }
    }
}
