//! Which features the list shows, and in which order. Pure.

use std::cmp::Reverse;

use crate::cli::render::status_view::{main_project, shown_features, trouble};
use crate::wire::overview::Overview;
use crate::wire::status::{ProjectStatus, Status};

/// A feature among all projects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FeatureId {
    pub(super) root_id: String,
    pub(super) slug: String,
}

/// Order of the list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum SortOrder {
    /// The worst first.
    #[default]
    Trouble,
    /// The last changed first.
    Recent,
    /// The least finished first.
    Progress,
    /// By project and slug.
    Name,
}

impl SortOrder {
    /// Returns the order that follows.
    pub(super) fn next(self) -> Self {
        match self {
            Self::Trouble => Self::Recent,
            Self::Recent => Self::Progress,
            Self::Progress => Self::Name,
            Self::Name => Self::Trouble,
        }
    }

    /// Returns its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Trouble => "trouble",
            Self::Recent => "recent",
            Self::Progress => "progress",
            Self::Name => "name",
        }
    }
}

/// The place of a feature in the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    project: usize,
    feature: usize,
}

impl Row {
    /// Returns project and feature; `None` if the status is another one.
    pub(super) fn find<'s, 'a>(
        self,
        status: &'s Status<'a>,
    ) -> Option<(&'s ProjectStatus<'a>, &'s Overview<'a>)> {
        let project = status.projects.get(self.project)?;
        Some((project, project.features.get(self.feature)?))
    }

    /// Returns the identity of the feature.
    pub(super) fn id(self, status: &Status<'_>) -> Option<FeatureId> {
        self.find(status).map(|(project, overview)| FeatureId {
            root_id: project.root_id.to_string(),
            slug: overview.feature_slug.to_string(),
        })
    }
}

/// Returns the features of `status` whose slug or project contains `filter`, in this order. Of a worktree only
/// those that differ are listed.
pub(super) fn rows(status: &Status<'_>, filter: &str, order: SortOrder) -> Vec<Row> {
    let filter = filter.to_lowercase();
    let mut rows: Vec<(Row, &ProjectStatus<'_>, &Overview<'_>)> = Vec::new();
    for (project, one) in status.projects.iter().enumerate() {
        let (shown, _) = shown_features(one, main_project(one, &status.projects));
        let has_all = shown.len() == one.features.len();
        for (feature, overview) in one.features.iter().enumerate() {
            let is_shown = has_all || shown.iter().any(|other| std::ptr::eq(*other, overview));
            if is_shown && matches(one, overview, &filter) {
                rows.push((Row { project, feature }, one, overview));
            }
        }
    }
    let name = |project: &ProjectStatus<'_>, overview: &Overview<'_>| {
        (project.root.to_string(), overview.feature_slug.to_string())
    };
    match order {
        SortOrder::Trouble => {
            rows.sort_by_cached_key(|(_, project, one)| {
                (Reverse(trouble(one)), name(project, one))
            });
        }
        SortOrder::Recent => rows.sort_by_cached_key(|(_, project, one)| {
            (Reverse(one.dossier_updated_at), name(project, one))
        }),
        SortOrder::Progress => {
            rows.sort_by_cached_key(|(_, project, one)| (unfinished(one), name(project, one)));
        }
        SortOrder::Name => rows.sort_by_cached_key(|(_, project, one)| name(project, one)),
    }
    rows.into_iter().map(|(row, ..)| row).collect()
}

fn matches(project: &ProjectStatus<'_>, overview: &Overview<'_>, filter: &str) -> bool {
    filter.is_empty()
        || overview.feature_slug.to_lowercase().contains(filter)
        || project.project.to_lowercase().contains(filter)
}

/// Returns a number that is small for features with much to do, and large for those that count nothing.
fn unfinished(overview: &Overview<'_>) -> u64 {
    match overview.progress {
        Some(progress) if progress.total > 0 => progress.done * 1_000 / progress.total,
        _ => u64::MAX,
    }
}
