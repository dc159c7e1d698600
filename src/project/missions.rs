//! Finds and loads the manifest of a mission (`docs/specification.md#manifest-layers`).
//!
//! The first layer that contains `expected-artifacts.yaml` is used, without merging. If it is
//! invalid, keys and classes come from the last valid manifest, or from the embedded one if none is
//! known; completeness is `unknown`, and the error is reported.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::core::diagnostics::FileError;
use crate::core::manifest::{
    DerivedManifest, InvalidMissionType, Mission, MissionEdition, MissionType, SchemaSpecs,
    derive_manifest, find_embedded_mission, merge_step_order, parse_manifest, parse_mission_steps,
    parse_runtime_steps,
};
use crate::core::path::{RelPath, escape_bytes};
use crate::core::pattern::Pattern;
use crate::core::sync::lock;
use crate::core::yaml::ParseError;
use crate::project::mission_sources::{
    MANIFEST_FILE, MISSION_FILE, MissionSources, OVERRIDES_DIR, RUNTIME_FILE,
};
use crate::project::root_dir::{ReadError, RootDir};

const MAX_FILE_BYTES: u64 = 1 << 20;

/// Name of the layout of OpenSpec, and how the missions of its schemas begin.
pub(super) const OPENSPEC: &str = "openspec";
/// The schema that OpenSpec uses where none is named.
const DEFAULT_SCHEMA: &str = "spec-driven";
/// How the missions of changes without specs end.
const NO_SPECS: &str = "-no-specs";
/// Directory of the schemas of a project, below the root.
pub(super) const SCHEMAS_DIR: &str = "openspec/schemas";
/// File of a schema, in its directory.
pub(super) const SCHEMA_FILE: &str = "schema.yaml";

/// The missions of a project; each is loaded at most once.
#[derive(Debug)]
pub(super) struct Missions {
    user_dir: Option<PathBuf>,
    sources: MissionSources,
    loaded: Mutex<BTreeMap<MissionType, Arc<LoadedMission>>>,
    listing_errors: Mutex<Vec<FileError>>,
    /// The last valid manifests, from before the files were read again.
    last_valid: BTreeMap<MissionType, ValidMission>,
}

/// A mission that was valid, and the file with the boxes of its tasks.
type ValidMission = (Arc<Mission>, Option<Pattern>);

/// The result of loading a mission.
#[derive(Debug, Clone, Default)]
pub(super) struct LoadedMission {
    /// The mission; `None` if no layer has a manifest.
    pub(super) mission: Option<Arc<Mission>>,
    /// Why the manifest that applies is invalid, so that `mission` is a fallback; `None` if it is valid.
    pub(super) error: Option<FileError>,
    /// The file with the boxes of the tasks, if a schema names one.
    pub(super) tracks: Option<Pattern>,
    warnings: Vec<String>,
}

/// Errors and warnings of all manifests that a project contains or its features use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManifestDiagnostics {
    /// Files that cannot be used, ordered by mission.
    pub errors: Vec<FileError>,
    /// Mistakes in usable files, ordered by mission.
    pub warnings: Vec<String>,
}

/// A directory that may contain a manifest.
enum Layer<'a> {
    Project(&'a RootDir, String),
    User(&'a RootDir, PathBuf),
    /// A schema of the tool, from which the manifest is derived.
    Schema(&'a RootDir, RelPath, SchemaSpecs),
}

impl Missions {
    /// Creates an empty cache; `user_dir` is the directory of the user's own missions.
    pub(super) fn new(user_dir: Option<&Path>, sources: MissionSources) -> Self {
        Self {
            user_dir: user_dir.map(Path::to_owned),
            sources,
            loaded: Mutex::default(),
            listing_errors: Mutex::default(),
            last_valid: BTreeMap::new(),
        }
    }

    /// Returns which embedded missions apply.
    pub(super) fn edition(&self) -> MissionEdition {
        self.sources.edition
    }

    /// Returns the directories of missions below the root, in order of precedence.
    pub(super) fn project_dirs(&self) -> Vec<String> {
        self.sources.project_dirs()
    }

    /// Returns the patterns of the files of missions in packs.
    pub(super) fn pack_files(&self) -> Vec<Pattern> {
        self.sources.pack_files()
    }

    /// Takes the last valid manifests from `previous`.
    pub(super) fn inherit_last_valid(&mut self, previous: &Self) {
        self.last_valid.clone_from(&previous.last_valid);
        let loaded = lock(&previous.loaded);
        for (mission_type, loaded) in loaded.iter().filter(|(_, loaded)| loaded.error.is_none()) {
            match &loaded.mission {
                Some(mission) => {
                    let valid = (Arc::clone(mission), loaded.tracks.clone());
                    self.last_valid.insert(mission_type.clone(), valid);
                }
                None => {
                    self.last_valid.remove(mission_type);
                }
            }
        }
    }

    /// Returns the mission of that type, and loads it on first use.
    pub(super) fn load(&self, root_dir: &RootDir, mission_type: &MissionType) -> LoadedMission {
        let mut loaded = lock(&self.loaded);
        let entry = loaded.entry(mission_type.clone()).or_insert_with(|| {
            let mut loaded = load_mission(
                &self.layers(root_dir, mission_type),
                mission_type,
                self.sources.edition,
            );
            if let Some((mission, tracks)) =
                self.last_valid.get(mission_type).filter(|_| loaded.error.is_some())
            {
                loaded.mission = Some(Arc::clone(mission));
                loaded.tracks.clone_from(tracks);
            }
            Arc::new(loaded)
        });
        LoadedMission::clone(entry)
    }

    /// Loads every mission of the project's own layers, including unused ones, to find their
    /// errors.
    pub(super) fn load_project_missions(&self, root_dir: &RootDir) {
        for layer in self.sources.project_dirs() {
            let listed = match RelPath::new(layer.as_bytes()) {
                Ok(path) => root_dir.list(Some(&path)),
                Err(_) => continue,
            };
            match listed {
                Ok(entries) => {
                    for entry in entries {
                        let name = std::str::from_utf8(&entry.name).ok();
                        if let Some(mission_type) =
                            name.and_then(|name| MissionType::new(name).ok())
                        {
                            self.load(root_dir, &mission_type);
                        }
                    }
                }
                Err(error) => {
                    let error = FileError::without_position(layer.as_str(), error.to_string());
                    let mut listing_errors = lock(&self.listing_errors);
                    if !listing_errors.contains(&error) {
                        listing_errors.push(error);
                    }
                }
            }
        }
    }

    /// Returns errors and warnings of the missions that were loaded.
    pub(super) fn diagnostics(&self) -> ManifestDiagnostics {
        let loaded = lock(&self.loaded);
        let mut errors = lock(&self.listing_errors).clone();
        errors.extend(loaded.values().filter_map(|loaded| loaded.error.clone()));
        let warnings = loaded.values().flat_map(|loaded| loaded.warnings.iter().cloned());
        ManifestDiagnostics { errors, warnings: warnings.collect() }
    }

    /// Returns a warning for each manifest where spec-kitty 3 does not read one.
    pub(super) fn inert_manifests(&self, root_dir: &RootDir) -> Vec<String> {
        if self.sources.edition == MissionEdition::First {
            return Vec::new();
        }
        let dir = RelPath::new(OVERRIDES_DIR.as_bytes());
        let listed = dir.map(|dir| root_dir.list(Some(&dir)).unwrap_or_default());
        let names = listed.unwrap_or_default().into_iter().map(|entry| entry.name);
        let mut inert: Vec<String> = names
            .filter_map(|name| {
                let name = String::from_utf8(name).ok()?;
                let file = format!("{OVERRIDES_DIR}/{name}/{MANIFEST_FILE}");
                let path = RelPath::new(file.as_bytes()).ok()?;
                root_dir.open_file(&path).map(|_| {
                    format!(
                        "{file} is not used: spec-kitty 3 does not read it; move it to \
                         .dossierd/missions/{name} to use it"
                    )
                })
            })
            .collect();
        inert.sort();
        inert
    }

    fn layers<'a>(&self, root_dir: &'a RootDir, mission_type: &MissionType) -> Vec<Layer<'a>> {
        let name = mission_type.as_str();
        let project = self
            .sources
            .project_dirs()
            .into_iter()
            .map(|layer| Layer::Project(root_dir, format!("{layer}/{name}")));
        let user = self.user_dir.iter().flat_map(|user_dir| {
            // Next to them are the user's layouts, each with its main mission.
            [user_dir.join(name), user_layouts_dir(user_dir).join(name)]
        });
        let schema = schema_file(name).map(|(file, specs)| Layer::Schema(root_dir, file, specs));
        project.chain(schema).chain(user.map(|dir| Layer::User(root_dir, dir))).collect()
    }
}

impl Layer<'_> {
    fn read(&self, file: &str) -> Result<Option<Vec<u8>>, ReadError> {
        match self {
            Self::Project(root_dir, layer) => {
                match RelPath::new(format!("{layer}/{file}").as_bytes()) {
                    Ok(path) => root_dir.read(&path, MAX_FILE_BYTES),
                    Err(_) => Ok(None),
                }
            }
            Self::User(root_dir, layer) => root_dir.read_outside(&layer.join(file), MAX_FILE_BYTES),
            Self::Schema(root_dir, path, _) => root_dir.read(path, MAX_FILE_BYTES),
        }
    }

    fn display_path(&self, file: &str) -> String {
        match self {
            Self::Project(_, layer) => format!("{layer}/{file}"),
            Self::User(_, layer) => {
                escape_bytes(layer.join(file).as_os_str().as_bytes()).into_owned()
            }
            Self::Schema(_, path, _) => path.text().into_owned(),
        }
    }

    /// Reads and parses a file of the layer; returns `None` if there is no such file.
    fn parse<T>(
        &self,
        file: &str,
        parse: impl Fn(&[u8]) -> Result<T, ParseError>,
    ) -> Result<Option<T>, FileError> {
        let bytes = self.read(file).map_err(|error| {
            FileError::without_position(self.display_path(file), error.to_string())
        })?;
        bytes
            .map(|bytes| parse(&bytes))
            .transpose()
            .map_err(|error| FileError::new(self.display_path(file), error))
    }
}

/// Returns the directory of the user's layouts, which is next to that of the user's missions.
#[must_use]
pub fn user_layouts_dir(user_missions: &Path) -> PathBuf {
    user_missions.with_file_name("layouts")
}

fn load_mission(
    layers: &[Layer<'_>],
    mission_type: &MissionType,
    edition: MissionEdition,
) -> LoadedMission {
    for layer in layers {
        match load_layer(layer, mission_type, edition) {
            Ok(None) => {}
            Ok(Some(loaded)) => return loaded,
            Err(error) => {
                return LoadedMission {
                    mission: load_embedded(mission_type, edition),
                    error: Some(error),
                    ..LoadedMission::default()
                };
            }
        }
    }
    LoadedMission { mission: load_embedded(mission_type, edition), ..LoadedMission::default() }
}

fn load_layer(
    layer: &Layer<'_>,
    mission_type: &MissionType,
    edition: MissionEdition,
) -> Result<Option<LoadedMission>, FileError> {
    if let Layer::Schema(_, _, specs) = layer {
        return load_schema(layer, *specs, mission_type);
    }
    let Some(manifest) = layer.parse(MANIFEST_FILE, parse_manifest)? else {
        return Ok(None);
    };
    let file = layer.display_path(MANIFEST_FILE);
    let mut warnings = Vec::new();
    if manifest.mission_type != mission_type.as_str() {
        let (declared, expected) = (&manifest.mission_type, mission_type.as_str());
        warnings.push(format!(
            "{file}: `mission_type` is `{declared}`, but the directory is that of mission \
             `{expected}`"
        ));
    }
    let steps = match layer.parse(MISSION_FILE, parse_mission_steps)? {
        Some(steps) => steps,
        None => embedded_steps(mission_type, edition),
    };
    let runtime = layer.parse(RUNTIME_FILE, parse_runtime_steps)?.unwrap_or_default();
    let mission = Mission::new(manifest, &merge_step_order(&steps, &runtime))
        .map_err(|error| FileError::new(file.as_str(), error))?;
    warnings.extend(mission.warnings.iter().map(|warning| format!("{file}: {warning}")));
    let mission = Some(Arc::new(mission));
    Ok(Some(LoadedMission { mission, warnings, ..LoadedMission::default() }))
}

/// Loads the manifest that is derived from a schema of OpenSpec.
fn load_schema(
    layer: &Layer<'_>,
    specs: SchemaSpecs,
    mission_type: &MissionType,
) -> Result<Option<LoadedMission>, FileError> {
    let known = find_embedded_mission(OPENSPEC, MissionEdition::First)
        .and_then(|found| parse_manifest(found.manifest.as_bytes()).ok());
    let name = mission_type.as_str();
    let derive = |bytes: &[u8]| {
        let derived = derive_manifest(bytes, name, specs, known.as_ref())?;
        let DerivedManifest { manifest, steps, tracks } = derived;
        Ok((Mission::new(manifest, &steps)?, tracks))
    };
    let Some((mission, tracks)) = layer.parse(SCHEMA_FILE, derive)? else {
        return Ok(None);
    };
    let mission = Some(Arc::new(mission));
    Ok(Some(LoadedMission { mission, tracks, ..LoadedMission::default() }))
}

/// Returns the mission of changes by a schema of OpenSpec.
pub(super) fn mission_of_schema(
    schema: &str,
    specs: SchemaSpecs,
) -> Result<MissionType, InvalidMissionType> {
    let own = if schema == DEFAULT_SCHEMA { String::new() } else { format!("-{schema}") };
    let suffix = if specs == SchemaSpecs::Skipped { NO_SPECS } else { "" };
    MissionType::new(&format!("{OPENSPEC}{own}{suffix}"))
}

/// Returns the file of the schema of such a mission, and whether its changes have specs; `None` for
/// another mission.
fn schema_file(mission: &str) -> Option<(RelPath, SchemaSpecs)> {
    let rest = mission.strip_prefix(OPENSPEC)?;
    let (rest, specs) = match rest.strip_suffix(NO_SPECS) {
        Some(rest) => (rest, SchemaSpecs::Skipped),
        None => (rest, SchemaSpecs::Required),
    };
    let schema = if rest.is_empty() { DEFAULT_SCHEMA } else { rest.strip_prefix('-')? };
    let path = format!("{SCHEMAS_DIR}/{schema}/{SCHEMA_FILE}");
    Some((RelPath::new(path.as_bytes()).ok()?, specs))
}

/// Returns the embedded mission of that type. A test checks that all of them are valid.
fn load_embedded(mission_type: &MissionType, edition: MissionEdition) -> Option<Arc<Mission>> {
    let manifest =
        parse_manifest(find_embedded_mission(mission_type.as_str(), edition)?.manifest.as_bytes())
            .ok()?;
    Mission::new(manifest, &embedded_steps(mission_type, edition)).ok().map(Arc::new)
}

fn embedded_steps(mission_type: &MissionType, edition: MissionEdition) -> Vec<String> {
    let steps = find_embedded_mission(mission_type.as_str(), edition)
        .map(|found| parse_mission_steps(found.mission.as_bytes()));
    steps.and_then(Result::ok).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Fixture {
        dir: tempfile::TempDir,
        user: tempfile::TempDir,
    }

    impl Fixture {
        fn new() -> Self {
            Self { dir: tempfile::tempdir().unwrap(), user: tempfile::tempdir().unwrap() }
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn load(&self, name: &str) -> LoadedMission {
            let missions = Missions::new(Some(self.user.path()), MissionSources::default());
            missions
                .load(&RootDir::open(self.dir.path()).unwrap(), &MissionType::new(name).unwrap())
        }

        fn version(&self, name: &str) -> Option<String> {
            let loaded = self.load(name);
            assert_eq!(loaded.error, None);
            loaded.mission.map(|mission| mission.manifest.manifest_version.clone())
        }
    }

    #[test]
    fn a_schema_of_openspec_is_between_the_project_and_the_embedded_manifest() {
        for (mission, file, specs) in [
            ("openspec", Some("spec-driven"), SchemaSpecs::Required),
            ("openspec-no-specs", Some("spec-driven"), SchemaSpecs::Skipped),
            ("openspec-rapid", Some("rapid"), SchemaSpecs::Required),
            ("openspec-rapid-no-specs", Some("rapid"), SchemaSpecs::Skipped),
            ("openspecs", None, SchemaSpecs::Required),
            ("kiro", None, SchemaSpecs::Required),
        ] {
            let found = schema_file(mission);
            let expected = file.map(|name| format!("openspec/schemas/{name}/schema.yaml"));
            let text = found.as_ref().map(|(path, _)| path.text().into_owned());
            assert_eq!(text, expected, "{mission}");
            if let Some(schema) = file {
                assert_eq!(found.unwrap().1, specs, "{mission}");
                assert_eq!(mission_of_schema(schema, specs).unwrap().as_str(), mission);
            }
        }
        let fixture = Fixture::new();
        assert_eq!(fixture.version("openspec").as_deref(), Some("1"));
        assert_eq!(fixture.version("openspec-rapid"), None);
        let schema = "artifacts: [{id: plan, generates: plan.md}]\napply: {tracks: plan.md}\n";
        for name in ["spec-driven", "rapid"] {
            fixture.write(&format!("openspec/schemas/{name}/schema.yaml"), schema);
        }
        let version = Some(
            crate::core::digest::Digest::of(schema.as_bytes()).hex().as_str()[..12].to_owned(),
        );
        for mission in ["openspec", "openspec-no-specs", "openspec-rapid"] {
            assert_eq!(fixture.version(mission), version, "{mission}");
            let tracks = fixture.load(mission).tracks.map(|tracks| tracks.as_str().to_owned());
            assert_eq!(tracks.as_deref(), Some("plan.md"), "{mission}");
        }
        fixture.write(".dossierd/missions/openspec-rapid/expected-artifacts.yaml", &manifest("9"));
        assert_eq!(fixture.version("openspec-rapid").as_deref(), Some("9"));
        fixture.write("openspec/schemas/rapid/schema.yaml", "artifacts: 7\n");
        fixture.write("openspec/schemas/spec-driven/schema.yaml", "artifacts: 7\n");
        let loaded = fixture.load("openspec");
        assert!(loaded.mission.is_some());
        let error = loaded.error.unwrap().to_string();
        assert!(
            error.starts_with("openspec/schemas/spec-driven/schema.yaml: `artifacts`"),
            "{error}"
        );
    }

    fn manifest(version: &str) -> String {
        format!("mission_type: plan\nmanifest_version: '{version}'\n")
    }

    #[test]
    fn first_layer_with_a_manifest_is_used_alone() {
        let fixture = Fixture::new();
        assert_eq!(fixture.version("plan").as_deref(), Some("1"), "embedded");
        assert_eq!(fixture.version("unknown-mission"), None);
        fs::create_dir(fixture.user.path().join("plan")).unwrap();
        fs::write(fixture.user.path().join("plan/expected-artifacts.yaml"), manifest("user"))
            .unwrap();
        assert_eq!(fixture.version("plan").as_deref(), Some("user"));
        fixture.write(".kittify/missions/plan/expected-artifacts.yaml", &manifest("project"));
        assert_eq!(fixture.version("plan").as_deref(), Some("project"));
        fixture.write(".kittify/overrides/missions/plan/mission.yaml", "states: [{name: a}]");
        assert_eq!(
            fixture.version("plan").as_deref(),
            Some("project"),
            "a directory without a manifest is not a layer"
        );
        fixture.write(
            ".kittify/overrides/missions/plan/expected-artifacts.yaml",
            &manifest("override"),
        );
        assert_eq!(fixture.version("plan").as_deref(), Some("override"));
    }

    #[test]
    fn spec_kitty_3_has_missions_of_its_own_and_reads_no_overrides() {
        let fixture = Fixture::new();
        fixture.write(".kittify/metadata.yaml", "spec_kitty: {version: 3.2.7}\n");
        let packs = "doctrine: {org: {packs: [{local_path: packs/a}, {local_path: packs/b}]}}\n";
        fixture.write(".kittify/config.yaml", packs);
        let root = fixture.dir.path();
        let root_dir = RootDir::open(root).unwrap();
        let missions =
            || Missions::new(Some(fixture.user.path()), MissionSources::read(&root_dir, root));
        let version = || {
            let loaded = missions().load(&root_dir, &MissionType::new("plan").unwrap());
            loaded.mission.unwrap().manifest.manifest_version.clone()
        };
        assert_eq!(version(), "3.2/1");
        fixture
            .write(".kittify/overrides/missions/plan/expected-artifacts.yaml", &manifest("inert"));
        fixture.write(".kittify/overrides/missions/own/mission.yaml", "states: [{name: a}]");
        assert_eq!(version(), "3.2/1");
        assert_eq!(
            missions().inert_manifests(&root_dir),
            [
                ".kittify/overrides/missions/plan/expected-artifacts.yaml is not used: spec-kitty 3 does not \
              read it; move it to .dossierd/missions/plan to use it"
            ]
        );
        for dir in
            ["packs/a/missions", "packs/b/missions", ".kittify/missions", ".dossierd/missions"]
        {
            fixture.write(&format!("{dir}/plan/expected-artifacts.yaml"), &manifest(dir));
            assert_eq!(version(), dir);
        }
        fixture.write(".kittify/metadata.yaml", "spec_kitty: {version: 2.1.0}\n");
        fs::remove_dir_all(root.join(".dossierd")).unwrap();
        assert_eq!(version(), "inert");
        assert!(missions().inert_manifests(&root_dir).is_empty());
    }

    #[test]
    fn steps_come_from_the_layer_of_the_manifest() {
        let fixture = Fixture::new();
        let step_names = || {
            let mission = fixture.load("plan").mission.unwrap();
            mission.steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        let embedded = step_names();
        fixture.write(".kittify/missions/plan/expected-artifacts.yaml", &manifest("2"));
        assert_eq!(step_names(), embedded, "without a mission.yaml in the layer");
        fixture.write(".kittify/missions/plan/mission.yaml", "states: [{name: a}, {name: b}]");
        assert_eq!(step_names(), "a b");
        fixture.write(".kittify/missions/plan/mission-runtime.yaml", "steps: [{id: a}, {id: x}]");
        assert_eq!(step_names(), "a x b");
    }

    #[test]
    fn invalid_manifest_is_reported_and_the_embedded_one_used() {
        let fixture = Fixture::new();
        let path = ".kittify/missions/plan/expected-artifacts.yaml";
        for (manifest, mission_file, error) in [
            ("mission_type: plan\nrequierd_always: []\n", None, ":2:1: unknown field"),
            ("mission_type: plan\n", Some("states: 7"), ":1:9: states"),
        ] {
            fixture.write(path, manifest);
            if let Some(mission_file) = mission_file {
                fixture.write(".kittify/missions/plan/mission.yaml", mission_file);
            }
            let loaded = fixture.load("plan");
            let found = loaded.error.unwrap().to_string();
            assert!(found.contains(error), "{found}");
            assert_eq!(loaded.mission.unwrap().manifest.manifest_version, "1");
        }
    }

    #[test]
    fn unused_project_missions_are_checked() {
        let fixture = Fixture::new();
        fixture.write(".kittify/overrides/missions/own/expected-artifacts.yaml", "nonsense");
        let root_dir = RootDir::open(fixture.dir.path()).unwrap();
        let missions = Missions::new(None, MissionSources::default());
        assert!(missions.diagnostics().errors.is_empty());
        missions.load_project_missions(&root_dir);
        assert_eq!(missions.diagnostics().errors.len(), 1);
    }
}
