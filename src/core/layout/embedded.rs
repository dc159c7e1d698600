//! The layouts that are embedded in the program, from `manifests/`, in the order in which they are
//! considered.

use std::sync::{Arc, LazyLock};

use super::model::Layout;
use super::parse::parse_layout;

macro_rules! embed {
    ($($name:literal),+) => {
        [$(($name, include_str!(concat!("../../../manifests/", $name, "/layout.yaml")))),+]
    };
}

/// Name and text of each embedded layout.
pub const EMBEDDED_LAYOUTS: [(&str, &str); 8] =
    embed!("spec-kitty", "spec-kit", "openspec", "kiro", "gsd", "bmad", "conductor", "adr");

/// Returns the embedded layouts. A test checks that all of them are valid.
#[must_use]
pub fn embedded_layouts() -> &'static [Arc<Layout>] {
    static LAYOUTS: LazyLock<Vec<Arc<Layout>>> = LazyLock::new(|| {
        let texts = EMBEDDED_LAYOUTS.iter().map(|(_, text)| text.as_bytes());
        texts.filter_map(|text| parse_layout(text).ok().map(Arc::new)).collect()
    });
    &LAYOUTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::layout::StepOrigin;
    use crate::core::manifest::{
        MissionEdition, MissionType, find_embedded_mission, parse_mission_steps,
    };

    #[test]
    fn embedded_layouts_are_valid_and_have_their_missions() {
        for (name, text) in EMBEDDED_LAYOUTS {
            let layout =
                parse_layout(text.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(layout.name, name);
            let of_features = layout.features.iter().filter_map(|rule| rule.mission.clone());
            let of_missions = layout.missions.iter().filter_map(|rule| rule.mission.clone());
            let missions: Vec<MissionType> = of_features.chain(of_missions).collect();
            assert!(!missions.is_empty(), "{name}");
            for mission in missions {
                let found = find_embedded_mission(mission.as_str(), MissionEdition::First);
                let found = found.unwrap_or_else(|| panic!("{name}: no manifest for {mission:?}"));
                let steps = parse_mission_steps(found.mission.as_bytes()).unwrap();
                let mapped = layout.step.iter().flat_map(|rule| rule.map.values());
                for step in mapped.chain(&layout.optional_steps) {
                    let is_main = mission.as_str() == name;
                    assert!(!is_main || steps.contains(step), "{name}: no step `{step}`");
                }
            }
        }
        let spec_kitty = &embedded_layouts()[0];
        assert!(spec_kitty.reads_meta() && !spec_kitty.has_step_from(StepOrigin::Files));
    }
}
