//! Commits changes of features and their events in one transaction. Does not decide what has changed.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::event_id::EventIdGenerator;
use super::journal::{CommittedEvent, StoredEvent};
use super::rows;
use crate::core::artifact::ArtifactRef;
use crate::core::event::{Envelope, Payload};
use crate::core::hidden_files::FilesOnMounts;
use crate::core::inventory::InventoryEntry;
use crate::core::path::{FeatureSlug, RelPath};
use crate::core::time::Timestamp;
use crate::core::transition::LastPublished;

/// Origin of an event, which is part of every envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventOrigin {
    /// Last component of the project's root.
    pub project: String,
    /// Identity of that root on this machine; rows refer to the project by it.
    pub root_id: String,
    /// Identity of the project.
    pub project_uuid: String,
    /// Identity of the machine and user.
    pub node_id: String,
}

/// Changes of one feature. What is `None` or empty stays unchanged.
#[derive(Debug, Clone)]
pub struct FeatureChange {
    /// Project of the feature.
    pub origin: Arc<EventOrigin>,
    /// Name of the feature.
    pub slug: FeatureSlug,
    /// Its directory below the root; `Some(None)` if the root is the feature itself.
    pub dir: Option<Option<RelPath>>,
    /// On which mounts its files were seen.
    pub mounts: Option<FilesOnMounts>,
    /// Files to insert or replace.
    pub upserts: Vec<InventoryEntry>,
    /// Files to remove.
    pub removed: Vec<RelPath>,
    /// Keys of all absent specs.
    pub absent: Option<Vec<String>>,
    /// Deleted artifacts. Retention removes each with its event, which is among `events`.
    pub tombstones: Vec<Arc<ArtifactRef>>,
    /// Paths whose tombstones are removed.
    pub cleared_tombstones: Vec<RelPath>,
    /// State that is published in the last of `events`.
    pub last_published: Option<LastPublished>,
    /// `Some(Some(..))` is the time since which the directory is missing; `Some(None)` means that it
    /// exists.
    pub gone_since: Option<Option<Timestamp>>,
    /// Events, in order.
    pub events: Vec<Payload>,
    /// Remove everything of the feature except its events, which include those of this change.
    pub forget: bool,
}

impl FeatureChange {
    /// Creates a value without changes.
    #[must_use]
    pub fn new(origin: Arc<EventOrigin>, slug: FeatureSlug) -> Self {
        Self {
            origin,
            slug,
            dir: None,
            mounts: None,
            upserts: Vec::new(),
            removed: Vec::new(),
            absent: None,
            tombstones: Vec::new(),
            cleared_tombstones: Vec::new(),
            last_published: None,
            gone_since: None,
            events: Vec::new(),
            forget: false,
        }
    }
}

/// Maximum number of events that a commit returns.
const MAX_RETURNED_EVENTS: usize = 32;

/// Result of a commit.
#[derive(Debug, Default)]
pub struct Committed {
    /// Types of the events, in order.
    pub types: Vec<&'static str>,
    /// The events; none if they are more than 32.
    pub events: Vec<CommittedEvent>,
    /// Size of all envelopes in the journal in bytes; `None` if there was no event.
    pub(super) journal_bytes: Option<u64>,
}

/// Commits changes and their events, which are numbered from `seq + 1`.
pub(super) fn commit(
    connection: &mut Connection,
    ids: &mut EventIdGenerator,
    seq: u64,
    changes: Vec<FeatureChange>,
    at: Timestamp,
) -> rusqlite::Result<Committed> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let events = changes.iter().map(|change| change.events.len()).sum();
    let committed = Committed { types: Vec::with_capacity(events), ..Committed::default() };
    let is_small = events <= MAX_RETURNED_EVENTS;
    let mut batch =
        CommitBatch { transaction: &transaction, ids, at, seq, bytes: 0, is_small, committed };
    for change in changes {
        batch.apply_change(change)?;
    }
    let CommitBatch { ids, seq, bytes, mut committed, .. } = batch;
    if !committed.types.is_empty() {
        let last_ms = ids.last_ms().cast_signed();
        let bytes: i64 = transaction
            .prepare_cached(
                "UPDATE store SET seq = ?1, last_event_ms = ?2,
                                  journal_bytes = journal_bytes + ?3
                 RETURNING journal_bytes",
            )?
            .query_row(params![seq.cast_signed(), last_ms, bytes], |row| row.get(0))?;
        committed.journal_bytes = Some(bytes.cast_unsigned());
    }
    transaction.commit()?;
    Ok(committed)
}

/// State of the transaction of a commit.
struct CommitBatch<'a> {
    transaction: &'a Transaction<'a>,
    ids: &'a mut EventIdGenerator,
    at: Timestamp,
    /// Number of the last event.
    seq: u64,
    /// Size of the envelopes of this commit.
    bytes: i64,
    /// The events are returned.
    is_small: bool,
    committed: Committed,
}

impl CommitBatch<'_> {
    fn apply_change(&mut self, mut change: FeatureChange) -> rusqlite::Result<()> {
        let events = std::mem::take(&mut change.events);
        let has_events = !events.is_empty();
        let missing_seqs = self.insert_events(&change.origin, &change.slug, events)?;
        if change.forget {
            return self.delete_feature(&change);
        }
        let feature = self.put_feature(&change, has_events)?;
        self.delete("DELETE FROM artifact WHERE feature = ?1 AND path = ?2", feature, {
            &change.removed
        })?;
        self.delete("DELETE FROM tombstone WHERE feature = ?1 AND path = ?2", feature, {
            &change.cleared_tombstones
        })?;
        if !change.upserts.is_empty() {
            let mut statement = self.transaction.prepare_cached(rows::PUT_ENTRY)?;
            for entry in &change.upserts {
                rows::put_entry(&mut statement, feature, entry)?;
            }
        }
        self.put_tombstones(feature, &change.tombstones, &missing_seqs)
    }

    /// Inserts events. Returns the numbers of those that report a missing path.
    fn insert_events(
        &mut self,
        origin: &EventOrigin,
        slug: &FeatureSlug,
        events: Vec<Payload>,
    ) -> rusqlite::Result<HashMap<RelPath, u64>> {
        let mut missing_seqs = HashMap::new();
        if events.is_empty() {
            return Ok(missing_seqs);
        }
        let mut statement = self.transaction.prepare_cached(
            "INSERT INTO event (seq, emitted_at, root_id, feature, type, envelope)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        for payload in events {
            self.seq += 1;
            let envelope = Envelope {
                event_id: self.ids.next(self.at).to_string(),
                seq: self.seq,
                event_type: payload.event_type(),
                project: origin.project.clone(),
                root_id: origin.root_id.clone(),
                project_uuid: origin.project_uuid.clone(),
                node_id: origin.node_id.clone(),
                feature_slug: slug.clone(),
                emitted_at: self.at,
                payload,
            };
            let text = serde_json::to_string(&envelope)
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
            #[cfg(test)]
            crate::core::event_schema::assert_valid_event(
                &serde_json::from_str(&text).unwrap_or_default(),
            );
            statement.execute(params![
                self.seq.cast_signed(),
                self.at.as_millis(),
                origin.root_id,
                slug.as_str(),
                envelope.event_type,
                text,
            ])?;
            self.bytes += i64::try_from(text.len()).unwrap_or(i64::MAX);
            self.committed.types.push(envelope.event_type);
            if self.is_small {
                self.committed.events.push(CommittedEvent {
                    stored: StoredEvent {
                        seq: self.seq,
                        event_type: envelope.event_type.to_owned(),
                        envelope_json: text,
                    },
                    root_id: origin.root_id.clone(),
                    feature: slug.clone(),
                });
            }
            if let Payload::ArtifactMissing(payload) = envelope.payload {
                missing_seqs.extend(payload.relative_path.map(|path| (path, envelope.seq)));
            }
        }
        Ok(missing_seqs)
    }

    /// Inserts or updates the row of a feature. Returns its id.
    fn put_feature(&self, change: &FeatureChange, has_events: bool) -> rusqlite::Result<i64> {
        let json =
            |error: serde_json::Error| rusqlite::Error::ToSqlConversionFailure(Box::new(error));
        let absent = change.absent.as_ref().map(serde_json::to_string).transpose().map_err(json)?;
        let published =
            change.last_published.as_ref().map(serde_json::to_string).transpose().map_err(json)?;
        let dir = change.dir.as_ref().map(|dir| dir.as_ref().map_or(&b""[..], RelPath::as_bytes));
        self.transaction
            .prepare_cached(
                "INSERT INTO feature (root_id, slug, first_seen, updated_at, dir, absent,
                                      announced, gone_since, mounts)
                 VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7, ?10)
                 ON CONFLICT DO UPDATE SET
                     updated_at = iif(?8, excluded.updated_at, updated_at),
                     dir = coalesce(excluded.dir, dir),
                     absent = coalesce(excluded.absent, absent),
                     announced = coalesce(excluded.announced, announced),
                     mounts = coalesce(excluded.mounts, mounts),
                     gone_since = iif(?9, excluded.gone_since, gone_since)
                 RETURNING id",
            )?
            .query_row(
                params![
                    change.origin.root_id,
                    change.slug.as_str(),
                    self.at.as_millis(),
                    dir,
                    absent,
                    published,
                    change.gone_since.flatten().map(Timestamp::as_millis),
                    has_events,
                    change.gone_since.is_some(),
                    change.mounts.as_ref().map(FilesOnMounts::to_text),
                ],
                |row| row.get(0),
            )
    }

    /// Executes `sql` for each path.
    fn delete(&self, sql: &str, feature: i64, paths: &[RelPath]) -> rusqlite::Result<()> {
        if paths.is_empty() {
            return Ok(());
        }
        let mut statement = self.transaction.prepare_cached(sql)?;
        for path in paths {
            statement.execute(params![feature, path.as_bytes()])?;
        }
        Ok(())
    }

    /// Inserts tombstones, each with the number of its event. One without an event gets that of the
    /// last event.
    fn put_tombstones(
        &self,
        feature: i64,
        tombstones: &[Arc<ArtifactRef>],
        missing_seqs: &HashMap<RelPath, u64>,
    ) -> rusqlite::Result<()> {
        if tombstones.is_empty() {
            return Ok(());
        }
        let mut statement = self.transaction.prepare_cached(rows::PUT_TOMBSTONE)?;
        for tombstone in tombstones {
            let seq = missing_seqs.get(&tombstone.relative_path).copied().unwrap_or(self.seq);
            rows::put_tombstone(&mut statement, feature, tombstone, seq)?;
        }
        Ok(())
    }

    fn delete_feature(&self, change: &FeatureChange) -> rusqlite::Result<()> {
        let of_feature = "(SELECT id FROM feature WHERE root_id = ?1 AND slug = ?2)";
        for (table, column) in
            [("artifact", "feature"), ("tombstone", "feature"), ("feature", "id")]
        {
            self.transaction.execute(
                &format!("DELETE FROM {table} WHERE {column} IN {of_feature}"),
                params![change.origin.root_id, change.slug.as_str()],
            )?;
        }
        Ok(())
    }
}
