//! The published state: immutable views of all projects and features, which readers share without
//! holding a lock. It contains no file content.

mod content;
mod feature;
mod files;
mod project;
mod publisher;
mod recent_events;

pub use content::{ContentError, content};
pub use feature::{FeatureView, evaluate_drift};
pub use files::BaselineError;
pub use project::{ProjectView, ProjectWatchStatus, WatchState};
pub use publisher::{EngineState, StatePublisher};
pub use recent_events::RecentEvents;
