//! The domain: artifacts, manifests, inventories, snapshots, baselines, drift and events. Pure: no
//! files, clocks, threads or sockets.
//!
//! Bytes, paths and times are arguments, so each rule can be tested with a table. A reading order,
//! from the bytes of one file to the evaluation of a feature: [`path`], [`digest`], [`content`],
//! [`artifact`], [`manifest`], [`key`], [`inventory`], [`dossier`], [`snapshot`], [`baseline`],
//! [`drift`], [`transition`], [`event`].
//!
//! # Examples
//! From the files of a feature to drift:
//! ```
//! use dossierd::core::artifact::{ArtifactState, Observation};
//! use dossierd::core::baseline::{Baseline, BaselineFile};
//! use dossierd::core::current_step::{CurrentStep, StepInputs};
//! use dossierd::core::digest::Digest;
//! use dossierd::core::drift::{DifferenceKind, Drift, DriftState};
//! use dossierd::core::feature_context::FeatureContext;
//! use dossierd::core::identity::BaselineKey;
//! use dossierd::core::inventory::Inventory;
//! use dossierd::core::manifest::MissionType;
//! use dossierd::core::path::{FeatureSlug, RelPath};
//! use dossierd::core::pattern::PatternSet;
//! use dossierd::core::snapshot::MissionDossierSnapshot;
//! use dossierd::core::time::Timestamp;
//! use uuid::Uuid;
//!
//! let now = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
//! let mut inventory = Inventory::new(FeatureContext {
//!     feature_slug: FeatureSlug::new(b"001-order-page").unwrap(),
//!     feature_dir: "/srv/shop/kitty-specs/001-order-page".into(),
//!     mission_type: MissionType::default(),
//!     mission_run_id: "run".into(),
//!     mission: None,
//!     named_step: None,
//!     step_inputs: StepInputs::default(),
//!     state_files: PatternSet::default(),
//!     step: CurrentStep::default(),
//!     unknown_reason: None,
//! });
//! let mut write = |content: &str| {
//!     inventory.set(
//!         Observation {
//!             path: RelPath::new(*b"spec.md").unwrap(),
//!             size_bytes: content.len() as u64,
//!             state: ArtifactState::Present {
//!                 hash: Digest::of(content.as_bytes()),
//!                 static_hash: None,
//!             },
//!             wp_id: None,
//!             signature: None,
//!             racy: false,
//!             is_linked: false,
//!         },
//!         now,
//!     );
//!     MissionDossierSnapshot::compute(&inventory.to_dossier(now), Uuid::nil(), now)
//! };
//!
//! let key = BaselineKey {
//!     project_uuid: "550e8400-e29b-41d4-a716-446655440000".into(),
//!     node_id: "abcdef123456".into(),
//!     feature_slug: "001-order-page".into(),
//!     target_branch: "main".into(),
//!     mission_key: "software-dev".into(),
//!     manifest_version: "none".into(),
//! };
//! let accepted = Baseline::capture(&write("first draft"), &key, now);
//! let current = write("second draft");
//!
//! let drift = Drift::compare(&BaselineFile::Valid(Box::new(accepted)), &key, &current);
//! assert_eq!(drift.state, Some(DriftState::Drifted));
//! assert_eq!(drift.keys(DifferenceKind::Changed), ["input.spec.md"]);
//! ```

pub mod artifact;
pub mod artifact_list;
pub mod backoff;
pub mod baseline;
pub mod churn;
pub mod classify;
pub mod content;
pub mod counts;
pub mod current_step;
pub mod diagnostics;
pub mod digest;
pub mod dossier;
pub mod drift;
pub mod error;
pub mod event;
#[cfg(test)]
pub(crate) mod event_schema;
pub mod feature;
pub mod feature_context;
pub mod feature_name;
pub mod file_kind;
pub mod frontmatter;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod git_index;
pub mod hidden_files;
pub mod history;
pub mod identity;
pub mod ignore;
mod incremental_hash;
pub mod inventory;
pub mod key;
pub mod layout;
pub mod manifest;
pub mod mounts;
pub mod path;
pub mod pattern;
pub mod progress;
pub mod provenance;
pub mod quantity;
pub mod snapshot;
pub mod sorted_chunks;
pub mod suggest;
pub mod sync;
pub mod task_progress;
pub mod time;
pub mod transition;
pub mod warning_limit;
pub mod yaml;

#[cfg(test)]
pub(crate) mod testing;
