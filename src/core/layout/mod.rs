//! Layouts: the conventions of one spec-driven tool, as data (`docs/specification.md#layouts`).
//!
//! A [`Layout`] has the structure of its file. Which layouts a root has is decided in
//! [`recognition`], which directories are features and how they are named in [`feature_rules`].
//! Reading files is the task of `project`.

mod document_set;
mod embedded;
pub mod feature_rules;
mod model;
mod parse;
mod path_template;
pub mod recognition;
pub mod state_document;
mod values;

pub use document_set::{DOCUMENTS_MISSION, DocumentSet};
pub use embedded::{EMBEDDED_LAYOUTS, embedded_layouts};
pub use model::{
    ChurnRule, FeatureKind, FeatureRule, Fences, FieldCondition, ItemState, Layout, Marker,
    MarkerKind, MissionRule, ProgressOrigin, ProgressPlace, ProgressRule, SPEC_KITTY, StepOrigin,
    StepRule, Variable,
};
pub use parse::parse_layout;
pub use path_template::PathTemplate;
pub use values::one_or_many;
