//! What the store knows of a project's features, for a start.

use std::sync::Arc;

use rusqlite::{Connection, Row};

use super::Store;
use super::error::{StoreError, reading};
use super::rows::{self, Shared, odd, time, word};
use crate::core::artifact::ArtifactRef;
use crate::core::chunks::Chunks;
use crate::core::inventory::Entry;
use crate::core::path::FeatureSlug;
use crate::core::time::Timestamp;
use crate::core::transition::Announced;

/// A feature as it was last committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFeature {
    /// Its name.
    pub slug: FeatureSlug,
    /// When it was first committed.
    pub first_seen: Timestamp,
    /// When an event of it was last committed.
    pub updated_at: Timestamp,
    /// Its files, in order of path.
    pub entries: Chunks<Entry>,
    /// Keys of the absent specs that are announced.
    pub absent: Vec<String>,
    /// What was deleted, in order of path.
    pub tombstones: Vec<Arc<ArtifactRef>>,
    /// What decided its verdict besides its files, in the engine's words.
    pub inputs: Option<String>,
    /// What was last put into an event of it.
    pub announced: Option<Announced>,
    /// Identity of the snapshot that was last written to its file.
    pub written_snapshot_id: Option<String>,
    /// Since when its directory is not there.
    pub gone_since: Option<Timestamp>,
}

impl Store {
    /// The features of a project, in order of slug.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`], [`StoreError::Untrusted`].
    pub fn load_features(&self, root_id: &str) -> Result<Vec<StoredFeature>, StoreError> {
        self.check_trusted()?;
        load(&self.connection, root_id).map_err(reading("read what was known", &self.path))
    }
}

fn load(connection: &Connection, root_id: &str) -> rusqlite::Result<Vec<StoredFeature>> {
    let mut statement = connection.prepare_cached(
        "SELECT slug, first_seen, updated_at, absent, inputs, announced, written_snapshot_id,
                gone_since, id
         FROM feature WHERE root_id = ?1 ORDER BY slug",
    )?;
    let mut entries = connection.prepare_cached(rows::ENTRIES)?;
    let mut tombstones = connection.prepare_cached(rows::TOMBSTONES)?;
    let mut shared = Shared::default();
    let mut features = Vec::new();
    let mut found = statement.query([root_id])?;
    while let Some(row) = found.next()? {
        let id: i64 = row.get(8)?;
        let mut feature = feature(row)?;
        feature.entries = entries
            .query_map([id], |row| rows::entry(row, &mut shared))?
            .collect::<Result<_, _>>()?;
        feature.tombstones = tombstones
            .query_map([id], |row| rows::artifact(row, &mut shared).map(Arc::new))?
            .collect::<Result<_, _>>()?;
        features.push(feature);
    }
    Ok(features)
}

/// A feature without what stands in tables of its own.
fn feature(row: &Row<'_>) -> rusqlite::Result<StoredFeature> {
    let gone_since = row.get_ref(7)?.as_i64_or_null()?;
    Ok(StoredFeature {
        slug: word(row, 0, |slug| FeatureSlug::new(slug.as_bytes()))?,
        first_seen: time(row, 1)?,
        updated_at: time(row, 2)?,
        entries: Chunks::default(),
        absent: json(row, 3)?.unwrap_or_default(),
        tombstones: Vec::new(),
        inputs: row.get(4)?,
        announced: json(row, 5)?,
        written_snapshot_id: row.get(6)?,
        gone_since: gone_since.map(|_| time(row, 7)).transpose()?,
    })
}

fn json<T: serde::de::DeserializeOwned>(
    row: &Row<'_>,
    index: usize,
) -> rusqlite::Result<Option<T>> {
    let text = row.get_ref(index)?.as_str_or_null()?;
    let value = text.map(serde_json::from_str).transpose();
    value.map_err(|error| odd(index, error.to_string()))
}
