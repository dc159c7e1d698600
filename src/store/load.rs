//! Loads the features of a project at a start.

use std::sync::Arc;

use rusqlite::{Connection, Row};

use super::rows::{self, StringInterner, enum_column, invalid_column, timestamp_column};
use crate::core::artifact::ArtifactRef;
use crate::core::hidden_files::FilesOnMounts;
use crate::core::inventory::InventoryEntry;
use crate::core::path::{FeatureSlug, RelPath};
use crate::core::sorted_chunks::SortedChunks;
use crate::core::time::Timestamp;
use crate::core::transition::LastPublished;

/// A feature as it was last committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedFeature {
    /// Name of the feature.
    pub slug: FeatureSlug,
    /// Time of its first commit.
    pub first_seen: Timestamp,
    /// Time of its last commit with an event.
    pub updated_at: Timestamp,
    /// Its directory below the root; `Some(None)` if the root is the feature itself, `None` if the
    /// directory is unknown.
    pub dir: Option<Option<RelPath>>,
    /// Its files, in order of path.
    pub entries: SortedChunks<InventoryEntry>,
    /// Keys of the absent specs that were published.
    pub absent: Vec<String>,
    /// Deleted artifacts, in order of deletion.
    pub tombstones: Vec<Arc<ArtifactRef>>,
    /// State that was last published in an event.
    pub last_published: Option<LastPublished>,
    /// Time since which its directory is missing; `None` if it exists.
    pub gone_since: Option<Timestamp>,
    /// On which mounts its files were seen, if that is known.
    pub mounts: Option<FilesOnMounts>,
}

/// Returns the features of a project, in order of slug.
pub(super) fn load_features(
    connection: &Connection,
    root_id: &str,
) -> rusqlite::Result<Vec<LoadedFeature>> {
    let mut statement = connection.prepare_cached(
        "SELECT slug, first_seen, updated_at, dir, absent, announced, gone_since, id, mounts
         FROM feature WHERE root_id = ?1 ORDER BY slug",
    )?;
    let mut entries = connection.prepare_cached(rows::SELECT_ENTRIES)?;
    let mut tombstones = connection.prepare_cached(rows::SELECT_TOMBSTONES)?;
    let mut strings = StringInterner::default();
    let mut features = Vec::new();
    let mut rows = statement.query([root_id])?;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(7)?;
        let mut feature = feature_from_row(row)?;
        feature.entries = entries
            .query_map([id], |row| rows::entry_from_row(row, &mut strings))?
            .collect::<Result<_, _>>()?;
        feature.tombstones = tombstones
            .query_map([id], |row| rows::artifact_from_row(row, &mut strings).map(Arc::new))?
            .collect::<Result<_, _>>()?;
        features.push(feature);
    }
    Ok(features)
}

/// Returns a feature without its files and tombstones, which are in other tables.
fn feature_from_row(row: &Row<'_>) -> rusqlite::Result<LoadedFeature> {
    let dir = row.get_ref(3)?.as_blob_or_null()?;
    let parse = |dir: &[u8]| match dir {
        [] => Ok(None),
        dir => RelPath::new(dir).map(Some).map_err(|error| invalid_column(3, error.to_string())),
    };
    let gone_since = row.get_ref(6)?.as_i64_or_null()?;
    Ok(LoadedFeature {
        slug: enum_column(row, 0, |slug| FeatureSlug::new(slug.as_bytes()))?,
        first_seen: timestamp_column(row, 1)?,
        updated_at: timestamp_column(row, 2)?,
        dir: dir.map(parse).transpose()?,
        entries: SortedChunks::default(),
        absent: json_column(row, 4)?.unwrap_or_default(),
        tombstones: Vec::new(),
        last_published: json_column(row, 5)?,
        gone_since: gone_since.map(|_| timestamp_column(row, 6)).transpose()?,
        mounts: row.get_ref(8)?.as_str_or_null()?.and_then(FilesOnMounts::parse),
    })
}

fn json_column<T: serde::de::DeserializeOwned>(
    row: &Row<'_>,
    index: usize,
) -> rusqlite::Result<Option<T>> {
    let text = row.get_ref(index)?.as_str_or_null()?;
    let value = text.map(serde_json::from_str).transpose();
    value.map_err(|error| invalid_column(index, error.to_string()))
}
