//! Reads the inputs of a feature's dossier other than its artifacts: mission, step, run, baseline.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use super::feature_dir::FeatureDir;
use super::feature_files::{FeatureFiles, StateFiles, StateStep, relation};
use super::step::StepError;
use super::{Project, baseline, meta, worktrees};
use crate::core::artifact::DevIno;
use crate::core::baseline::{BaselineFile, BaselineScope};
use crate::core::churn::ChurnRules;
use crate::core::current_step::{CurrentStep, StepInputs, StepSource};
use crate::core::feature::{FeatureMetadata, MetaFields};
use crate::core::feature_context::{FeatureContext, UnknownReason};
use crate::core::identity::{self as ids, BaselineKey, NO_MANIFEST_VERSION};
use crate::core::layout::{
    DOCUMENTS_MISSION, FeatureKind, Layout, SPEC_KITTY, StepOrigin, embedded_layouts,
};
use crate::core::manifest::{Mission, MissionType, merge_step_order};
use crate::core::path::{FeatureSlug, RelPath};
use crate::core::pattern::PatternSet;

/// The inputs of a feature's dossier other than its artifacts.
#[derive(Debug)]
pub struct FeatureInputs {
    /// The feature, and what its completeness is evaluated against.
    pub context: FeatureContext,
    /// Errors in its files, its progress, and its baseline.
    pub metadata: FeatureMetadata,
    /// The files of the feature that they depend on.
    pub state_files: StateFiles,
}

/// The steps that other programs and the configuration name for a feature.
struct ResolvedSteps {
    named: Option<(Arc<str>, StepSource)>,
    /// Of a state file, whose name is second.
    state: Option<(Arc<str>, Arc<str>)>,
    error: Option<String>,
    is_unreadable: bool,
}

/// The baseline of a feature.
struct CountingBaseline {
    baseline: BaselineFile,
    baseline_scope: BaselineScope,
    /// The slug that it was accepted under, if that is another one.
    former_slug: Option<FeatureSlug>,
}

impl Project {
    /// Reads the inputs of a feature's dossier other than its artifacts. While `meta.json` cannot be
    /// used, what it contained when it was valid last counts.
    #[must_use]
    pub fn read_feature_inputs(&self, feature: &FeatureDir) -> FeatureInputs {
        let layout = self.layout_of(feature);
        let files = FeatureFiles::new(&self.root_dir, feature);
        let root_schema = self.layouts.value(&layout.name, "schema");
        let meta = meta::read(
            &self.root_dir,
            feature,
            &layout,
            self.missions.edition(),
            &files,
            root_schema,
        );
        self.metas.record(feature, &meta);
        let meta_error = meta.fields.err().map(|error| error.to_string());
        self.read_other_inputs(feature, &layout, meta_error, files)
    }

    /// Reads what is left of the inputs of a feature whose directory does not exist; of its
    /// `meta.json`, what it contained last counts.
    #[must_use]
    pub fn read_gone_feature_inputs(&self, feature: &FeatureDir) -> FeatureInputs {
        let layout = self.layout_of(feature);
        let files = FeatureFiles::new(&self.root_dir, feature);
        self.read_other_inputs(feature, &layout, None, files)
    }

    /// Returns what is bookkeeping in the files of a feature by its layout.
    #[must_use]
    pub fn churn_rules(&self, feature: &FeatureDir) -> Arc<ChurnRules> {
        self.layouts.known.churn_rules(&self.layout_of(feature))
    }

    /// Returns the layout of a feature: that of the rule for its directory, or else spec-kitty.
    fn layout_of(&self, feature: &FeatureDir) -> Arc<Layout> {
        let rule =
            feature.path.as_ref().and_then(|path| self.layouts.rule_for(&self.root_dir, path));
        if feature.is_documents() {
            // Nothing names their mission or step.
            return Arc::new(Layout::of_documents());
        }
        let layout = rule.and_then(|rule| rule.layout.clone());
        let spec_kitty = || self.layouts.known.find(SPEC_KITTY).cloned();
        layout.or_else(spec_kitty).unwrap_or_else(|| Arc::clone(&embedded_layouts()[0]))
    }

    fn read_other_inputs(
        &self,
        feature: &FeatureDir,
        layout: &Layout,
        meta_error: Option<String>,
        files: FeatureFiles<'_>,
    ) -> FeatureInputs {
        let slug = feature.slug.as_str();
        let rule =
            feature.path.as_ref().and_then(|path| self.layouts.rule_for(&self.root_dir, path));
        let last_valid_meta = self.metas.last_valid(&feature.slug);
        let MetaFields { mission, target_branch } = last_valid_meta.clone().unwrap_or_default();
        let of_documents =
            feature.is_documents().then(|| MissionType::new(DOCUMENTS_MISSION).ok()).flatten();
        let of_rule = rule.and_then(|rule| rule.mission.clone());
        let of_settings = self.settings.mission.clone();
        let mission_type = if layout.reads_meta() {
            mission.or(of_rule).or(of_settings)
        } else {
            of_settings.or(of_rule).or(mission)
        };
        let mission_type = of_documents.or(mission_type).unwrap_or_default();
        let mut loaded = self.missions.load(&self.root_dir, &mission_type);
        let issued = self.issued_step(slug, layout);
        if let Ok(Some(step)) = &issued {
            loaded.mission =
                loaded.mission.map(|mission| self.with_step_of_run(slug, step, mission));
        }
        let steps = self.resolve_step(slug, layout, issued, loaded.mission.as_deref(), &files);
        let is_archived = rule.is_some_and(|rule| rule.kind == FeatureKind::Archived);
        let unknown_reason = if meta_error.is_some() {
            Some(UnknownReason::UnreadableMeta)
        } else {
            loaded.error.map(|error| UnknownReason::InvalidManifest(error.place()))
        };
        let manifest_version = loaded
            .mission
            .as_ref()
            .map_or(NO_MANIFEST_VERSION, |mission| mission.manifest.manifest_version.as_str());
        let baseline_key = BaselineKey {
            project_uuid: self.project_uuid.clone(),
            node_id: self.node_id.clone(),
            feature_slug: slug.to_owned(),
            target_branch: target_branch.unwrap_or_else(|| self.branch.clone()),
            mission_key: mission_type.as_str().to_owned(),
            manifest_version: manifest_version.to_owned(),
        };
        let progress = match loaded.tracks {
            Some(tracks) => files.progress_in_boxes(tracks),
            None => {
                let status_dir = self.metas.status_dir(&feature.slug);
                files.progress(layout, status_dir.as_ref(), |worktree| self.has_worktree(worktree))
            }
        };
        let (progress, progress_error) = match progress {
            Ok(progress) => (progress, None),
            Err(error) => (None, Some(error)),
        };
        let run_id = self.runs.run_id(slug);
        let CountingBaseline { baseline, baseline_scope, former_slug } =
            self.counting_baseline(&feature.slug, is_archived);
        FeatureInputs {
            context: FeatureContext {
                feature_slug: feature.slug.clone(),
                feature_dir: self.feature_path(feature),
                mission_type,
                mission_run_id: run_id.unwrap_or_else(|| ids::derived_run_id(&self.root_id, slug)),
                mission: loaded.mission,
                // A layout whose patterns are too large together is none.
                state_files: PatternSet::new(&layout.state_files).unwrap_or_default(),
                named_step: steps.named,
                step_inputs: StepInputs {
                    state: steps.state,
                    by_files: layout.has_step_from(StepOrigin::Files),
                    is_archived,
                    optional_steps: layout
                        .optional_steps
                        .iter()
                        .map(|id| id.as_str().into())
                        .collect(),
                    relation: relation(layout),
                },
                step: CurrentStep::default(),
                unknown_reason,
            },
            metadata: FeatureMetadata {
                step_error: steps.error,
                step_unreadable: steps.is_unreadable,
                meta_error,
                last_valid_meta,
                dir: self.dir_id(feature),
                progress,
                progress_error,
                baseline_key,
                baseline,
                baseline_foreign: baseline::has_foreign(&self.root_dir, self.home(), &feature.slug),
                churn: self.layouts.known.churn_rules(layout),
                baseline_scope,
                former_slug,
            },
            state_files: files.state_files(),
        }
    }

    /// Returns true if git has a worktree below the root, whether it exists or not.
    fn has_worktree(&self, worktree: &RelPath) -> bool {
        let name = OsStr::from_bytes(worktree.file_name());
        self.git_dir.as_ref().is_some_and(|dir| worktrees::is_registered(dir, name))
    }

    fn dir_id(&self, feature: &FeatureDir) -> Option<DevIno> {
        let found = self.root_dir.find_dir(feature.path.as_ref()?).ok()??;
        Some(found.1)
    }

    /// Returns the baseline of a feature that counts; that of its former slug where an archived one
    /// has none.
    fn counting_baseline(&self, slug: &FeatureSlug, is_archived: bool) -> CountingBaseline {
        let read = |slug: &FeatureSlug| {
            baseline::read_counting(&self.root_dir, self.home(), self.file.baselines, slug)
        };
        let (baseline, baseline_scope) = read(slug);
        if is_archived && baseline == BaselineFile::Absent {
            for former in self.former_slugs(slug) {
                let (baseline, baseline_scope) = read(&former);
                if baseline != BaselineFile::Absent {
                    return CountingBaseline {
                        baseline,
                        baseline_scope,
                        former_slug: Some(former),
                    };
                }
            }
        }
        CountingBaseline { baseline, baseline_scope, former_slug: None }
    }

    /// Returns the step that a runtime has issued, if the layout has one.
    fn issued_step(&self, slug: &str, layout: &Layout) -> Result<Option<String>, StepError> {
        if !layout.has_step_from(StepOrigin::Runtime) {
            return Ok(None);
        }
        self.runs.issued_step(&self.root_dir, &self.root, slug)
    }

    /// Returns the mission with a step that a run has issued: if it has none of that name, with the steps
    /// of the run's template.
    fn with_step_of_run(&self, slug: &str, step: &str, mission: Arc<Mission>) -> Arc<Mission> {
        let template = || self.runs.template_steps(&self.root_dir, &self.root, slug);
        let Some(template) = (!mission.has_step(step)).then(template).flatten() else {
            return mission;
        };
        let known: Vec<String> = mission.steps.iter().map(ToString::to_string).collect();
        let merged = Mission::new(mission.manifest.clone(), &merge_step_order(&known, &template));
        merged.map_or(mission, Arc::new)
    }

    fn resolve_step(
        &self,
        slug: &str,
        layout: &Layout,
        issued: Result<Option<String>, StepError>,
        mission: Option<&Mission>,
        files: &FeatureFiles<'_>,
    ) -> ResolvedSteps {
        let (issued, mut errors) = match issued {
            Ok(issued) => (issued, Vec::new()),
            Err(error) => (None, vec![error]),
        };
        let of_config = self.settings.step.get(slug);
        let named: Option<(Arc<str>, StepSource)> = match (issued, of_config) {
            (Some(step), _) => Some((step.into(), StepSource::Runtime)),
            (None, Some(step)) => Some((step.as_str().into(), StepSource::Config)),
            (None, None) => None,
        };
        let state = files.state_step(layout).unwrap_or_else(|error| {
            errors.push(StepError { message: error.to_string(), unreadable: true });
            None
        });
        let is_unreadable = errors.iter().any(|error| error.unreadable);
        let mut error = errors.into_iter().next().map(|error| error.message);
        let has_step = |step: &str| mission.is_none_or(|mission| mission.has_step(step));
        if let Some((step, _)) = &named
            && !has_step(step)
        {
            let message = format!("the mission has no step `{step}`; the specs of all steps apply");
            error.get_or_insert(message);
        }
        if let Some(StateStep { step, file }) = &state
            && !has_step(step)
        {
            error.get_or_insert_with(|| format!("{file}: the mission has no step `{step}`"));
        }
        let state = state.map(|state| (state.step.into(), state.file.into()));
        ResolvedSteps { named, state, error, is_unreadable }
    }
}
