//! Reads the step that a runtime has issued: `feature-runs.json`, and `state.json` of the run
//! (`docs/specification.md#current-step`).

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde_json::{Map, Value};

use crate::core::manifest::parse_runtime_steps;
use crate::core::path::RelPath;
use crate::core::yaml::parse_json;
use crate::project::root_dir::RootDir;

const RUNS_FILE: &str = ".kittify/runtime/feature-runs.json";
/// The file in the directory of a run that has its step.
pub(super) const STATE_FILE: &[u8] = b"state.json";
/// The copy of a mission's steps in the directory of a run.
const TEMPLATE_FILE: &str = "mission_template_frozen.yaml";
const MAX_FILE_BYTES: u64 = 4 << 20;

/// The runs of a project, by slug.
#[derive(Debug)]
pub(super) struct FeatureRuns(Result<Map<String, Value>, StepError>);

/// Why no step can be read from a runtime's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StepError {
    pub(super) message: String,
    /// True if a file exists that cannot be read or is invalid; false if it is ignored because it
    /// is outside the project.
    pub(super) unreadable: bool,
}

impl StepError {
    fn unreadable(message: String) -> Self {
        Self { message, unreadable: true }
    }

    fn outside_project(message: String) -> Self {
        Self { message, unreadable: false }
    }
}

impl FeatureRuns {
    /// Reads `feature-runs.json`; a missing file has no runs.
    pub(super) fn read(root_dir: &RootDir, root: &Path) -> Self {
        Self(read_object(root_dir, root, Path::new(RUNS_FILE)))
    }

    /// Returns `run_id` of the feature's run.
    pub(super) fn run_id(&self, slug: &str) -> Option<String> {
        let id = self.0.as_ref().ok()?.get(slug)?.get("run_id")?.as_str()?;
        Some(id.to_owned())
    }

    /// Returns the directories of the runs that are below `root`.
    pub(super) fn run_dirs(&self, root: &Path) -> impl Iterator<Item = RelPath> {
        let runs = self.0.iter().flat_map(Map::values);
        let run_dirs = runs.filter_map(|run| run.get("run_dir")?.as_str());
        run_dirs.filter_map(move |run_dir| relative_to_root(root, Path::new(run_dir)))
    }

    /// Returns `issued_step_id` of the feature's run; `None` without a run or an issued step.
    pub(super) fn issued_step(
        &self,
        root_dir: &RootDir,
        root: &Path,
        slug: &str,
    ) -> Result<Option<String>, StepError> {
        let runs = self.0.as_ref().map_err(Clone::clone)?;
        let Some(run) = runs.get(slug) else {
            return Ok(None);
        };
        let Some(run_dir) = run.get("run_dir").and_then(Value::as_str) else {
            let message = format!("{RUNS_FILE}: the run of `{slug}` has no `run_dir`");
            return Err(StepError::unreadable(message));
        };
        let state = read_object(root_dir, root, &Path::new(run_dir).join("state.json"))?;
        match state.get("issued_step_id") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(step)) => Ok(Some(step.clone())),
            Some(_) => {
                let message = format!("{run_dir}/state.json: `issued_step_id` is not a string");
                Err(StepError::unreadable(message))
            }
        }
    }

    /// Returns the steps of the template that the feature's run was started with; `None` if there is none
    /// that can be used.
    pub(super) fn template_steps(
        &self,
        root_dir: &RootDir,
        root: &Path,
        slug: &str,
    ) -> Option<Vec<String>> {
        let run_dir = self.0.as_ref().ok()?.get(slug)?.get("run_dir")?.as_str()?;
        let path = relative_to_root(root, &Path::new(run_dir).join(TEMPLATE_FILE))?;
        let bytes = root_dir.read(&path, MAX_FILE_BYTES).ok()??;
        parse_runtime_steps(&bytes).ok().filter(|steps| !steps.is_empty())
    }
}

/// Reads the JSON object in the file at `path`, absolute or relative to `root`. A missing file is
/// an empty object; a file that is not below `root` is an error.
fn read_object(
    root_dir: &RootDir,
    root: &Path,
    path: &Path,
) -> Result<Map<String, Value>, StepError> {
    let display = path.display();
    if root_dir.is_unavailable() {
        // Resolving the path would access its file system.
        return Err(StepError::unreadable(format!("{display}: the project cannot be read")));
    }
    let relative = relative_to_root(root, path).ok_or_else(|| {
        StepError::outside_project(format!("{display} is outside the project and is not read"))
    })?;
    match root_dir.read(&relative, MAX_FILE_BYTES) {
        Ok(None) => Ok(Map::new()),
        Ok(Some(bytes)) => {
            parse_json(&bytes).map_err(|error| StepError::unreadable(format!("{display}:{error}")))
        }
        Err(error) => Err(StepError::unreadable(format!("{display}: {error}"))),
    }
}

/// Converts a path, absolute or relative to `root`, to one below `root`. Its directory, if it
/// exists, is resolved first, so that `..` and links into the project are accepted.
fn relative_to_root(root: &Path, path: &Path) -> Option<RelPath> {
    let absolute = root.join(path);
    let parent = absolute.parent().and_then(|parent| parent.canonicalize().ok());
    let absolute = match (parent, absolute.file_name()) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => absolute,
    };
    // `components` drops `.` and repeated slashes.
    let relative = absolute.strip_prefix(root).ok()?.components().collect::<std::path::PathBuf>();
    RelPath::new(relative.as_os_str().as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn issued_step_is_returned_or_its_error_reported() {
        let (dir, outer) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = dir.path().canonicalize().unwrap();
        let root_dir = RootDir::open(&root).unwrap();
        let issued_step = || {
            let step = FeatureRuns::read(&root_dir, &root).issued_step(&root_dir, &root, "x");
            step.map_err(|error| error.message)
        };
        assert_eq!(issued_step(), Ok(None));

        fs::create_dir_all(root.join(".kittify/runtime/runs/1")).unwrap();
        let write_run = |run_dir: &str| {
            let runs =
                serde_json::json!({"x": {"run_id": "r", "run_dir": run_dir, "mission_key": "m"}});
            fs::write(root.join(RUNS_FILE), runs.to_string()).unwrap();
        };
        let write_state =
            |text: &str| fs::write(root.join(".kittify/runtime/runs/1/state.json"), text).unwrap();

        write_run(".kittify/runtime/runs/1");
        assert_eq!(issued_step(), Ok(None), "a run without `state.json`");
        write_state(r#"{"issued_step_id": "plan"}"#);
        assert_eq!(issued_step(), Ok(Some("plan".into())));
        write_run(root.join(".kittify/./runtime//runs/1").to_str().unwrap());
        assert_eq!(issued_step(), Ok(Some("plan".into())));
        std::os::unix::fs::symlink(&root, outer.path().join("link")).unwrap();
        for run_dir in [
            outer.path().join("link/.kittify/runtime/runs/1"),
            ".kittify/x/../runtime/runs/1".into(),
        ] {
            fs::create_dir_all(root.join(".kittify/x")).unwrap();
            write_run(run_dir.to_str().unwrap());
            assert_eq!(issued_step(), Ok(Some("plan".into())), "{run_dir:?}");
        }
        write_state(r#"{"issued_step_id": null}"#);
        assert_eq!(issued_step(), Ok(None));
        write_state(r#"{"issued_step_id": 7}"#);
        assert!(issued_step().unwrap_err().ends_with("`issued_step_id` is not a string"));
        write_state("");
        assert!(
            issued_step().unwrap_err().contains("state.json:1:1: EOF"),
            "{step:?}",
            step = issued_step()
        );

        for outside in ["/etc", "../x", ".kittify/../../x"] {
            write_run(outside);
            assert!(issued_step().unwrap_err().contains("outside the project"), "{outside}");
        }
        fs::write(root.join(RUNS_FILE), "[").unwrap();
        assert!(issued_step().unwrap_err().starts_with(RUNS_FILE));
        fs::write(root.join(RUNS_FILE), r#"{"x": {}}"#).unwrap();
        assert!(issued_step().unwrap_err().contains("has no `run_dir`"));
    }
}
