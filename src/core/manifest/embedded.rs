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
    ($($name:literal),+) => {
        [$(EmbeddedMission {
            mission_type: $name,
            manifest: include_str!(concat!("../../../manifests/", $name, "/expected-artifacts.yaml")),
            mission: include_str!(concat!("../../../manifests/", $name, "/mission.yaml")),
        }),+]
    };
}

/// All embedded missions.
pub const EMBEDDED_MISSIONS: [EmbeddedMission; 18] = embed!(
    "software-dev",
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

/// Returns the embedded mission of a type.
#[must_use]
pub fn find_embedded_mission(mission_type: &str) -> Option<&'static EmbeddedMission> {
    EMBEDDED_MISSIONS.iter().find(|embedded| embedded.mission_type == mission_type)
}

#[cfg(test)]
mod tests {
    use super::super::{Mission, parse_manifest, parse_mission_steps};
    use super::EMBEDDED_MISSIONS;

    #[test]
    fn embedded_missions_are_valid_and_name_only_known_steps() {
        for embedded in EMBEDDED_MISSIONS {
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
        let steps = parse_mission_steps(EMBEDDED_MISSIONS[0].mission.as_bytes()).unwrap();
        assert_eq!(
            steps.join(" "),
            "discovery specify plan tasks_outline tasks_packages tasks_finalize implement review accept done"
        );
    }
}
