//! Converts artifacts and inventory entries to rows and back, without loss.

use std::sync::Arc;

use rusqlite::types::Type;
use rusqlite::{Row, Statement, params};

use crate::core::artifact::{
    Absence, ArtifactClass, ArtifactRef, ArtifactState, ErrorReason, FileSignature, RequiredStatus,
};
use crate::core::digest::Digest;
use crate::core::inventory::InventoryEntry;
use crate::core::path::RelPath;
use crate::core::time::Timestamp;

/// Statement for [`put_entry`].
pub(super) const PUT_ENTRY: &str = "
    INSERT OR REPLACE INTO artifact
        (feature, path, key, class, wp_id, step_id, status, size, hash, static_hash, reason,
         detail, indexed_at, file_size, modified_ns, changed_ns, inode, device, racy)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";

/// Statement for [`put_tombstone`].
pub(super) const PUT_TOMBSTONE: &str = "
    INSERT OR REPLACE INTO tombstone
        (feature, path, key, class, wp_id, step_id, status, size, hash, static_hash, reason,
         detail, indexed_at, seq)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";

/// Query for [`entry_from_row`]: the files of a feature.
pub(super) const SELECT_ENTRIES: &str = "
    SELECT path, key, class, wp_id, step_id, status, size, hash, static_hash, reason, detail,
           indexed_at, file_size, modified_ns, changed_ns, inode, device, racy
    FROM artifact WHERE feature = ?1 ORDER BY path";

/// Query for [`artifact_from_row`]: the tombstones of a feature.
pub(super) const SELECT_TOMBSTONES: &str = "
    SELECT path, key, class, wp_id, step_id, status, size, hash, static_hash, reason, detail,
           indexed_at
    FROM tombstone WHERE feature = ?1 ORDER BY seq, path";

/// Inserts or replaces a file of a feature.
pub(super) fn put_entry(
    statement: &mut Statement<'_>,
    feature: i64,
    entry: &InventoryEntry,
) -> rusqlite::Result<()> {
    let (artifact, signature) = (&*entry.artifact, entry.signature);
    let (hash, static_hash, absence) = state_columns(&artifact.state);
    statement.execute(params![
        feature,
        artifact.relative_path.as_bytes(),
        artifact.artifact_key,
        artifact.artifact_class.as_str(),
        artifact.wp_id,
        artifact.step_id,
        artifact.required_status.as_str(),
        artifact.size_bytes.cast_signed(),
        hash,
        static_hash,
        absence.map(|absence| absence.reason.as_str()),
        absence.and_then(|absence| absence.detail.as_deref()),
        artifact.indexed_at.as_millis(),
        signature.map(|signature| signature.size.cast_signed()),
        signature.map(|signature| signature.modified_ns),
        signature.map(|signature| signature.changed_ns),
        signature.map(|signature| signature.inode.cast_signed()),
        signature.map(|signature| signature.device.cast_signed()),
        entry.racy,
    ])?;
    Ok(())
}

/// Inserts or replaces a tombstone of a feature. `seq` is the number of its event.
pub(super) fn put_tombstone(
    statement: &mut Statement<'_>,
    feature: i64,
    artifact: &ArtifactRef,
    seq: u64,
) -> rusqlite::Result<()> {
    let (hash, static_hash, absence) = state_columns(&artifact.state);
    statement.execute(params![
        feature,
        artifact.relative_path.as_bytes(),
        artifact.artifact_key,
        artifact.artifact_class.as_str(),
        artifact.wp_id,
        artifact.step_id,
        artifact.required_status.as_str(),
        artifact.size_bytes.cast_signed(),
        hash,
        static_hash,
        absence.map(|absence| absence.reason.as_str()),
        absence.and_then(|absence| absence.detail.as_deref()),
        artifact.indexed_at.as_millis(),
        seq.cast_signed(),
    ])?;
    Ok(())
}

/// Strings that many rows share, so that each is in memory once.
#[derive(Default)]
pub(super) struct StringInterner(Vec<Arc<str>>);

impl StringInterner {
    fn intern(&mut self, text: &str) -> Arc<str> {
        // Only step ids are interned, of which a mission has a few.
        if let Some(known) = self.0.iter().find(|known| ***known == *text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        self.0.push(Arc::clone(&text));
        text
    }
}

/// Reads a row of [`SELECT_ENTRIES`].
pub(super) fn entry_from_row(
    row: &Row<'_>,
    strings: &mut StringInterner,
) -> rusqlite::Result<InventoryEntry> {
    let unsigned = |index| row.get::<_, i64>(index).map(i64::cast_unsigned);
    let signature = match row.get::<_, Option<i64>>(12)? {
        None => None,
        Some(size) => Some(FileSignature {
            size: size.cast_unsigned(),
            modified_ns: row.get(13)?,
            changed_ns: row.get(14)?,
            inode: unsigned(15)?,
            device: unsigned(16)?,
        }),
    };
    Ok(InventoryEntry {
        artifact: Arc::new(artifact_from_row(row, strings)?),
        signature,
        racy: row.get(17)?,
    })
}

/// Reads a row of [`SELECT_TOMBSTONES`], or the same columns of [`SELECT_ENTRIES`].
pub(super) fn artifact_from_row(
    row: &Row<'_>,
    strings: &mut StringInterner,
) -> rusqlite::Result<ArtifactRef> {
    let path = RelPath::new(row.get_ref(0)?.as_blob()?);
    Ok(ArtifactRef {
        relative_path: path.map_err(|error| invalid_column(0, error.to_string()))?,
        artifact_key: row.get_ref(1)?.as_str()?.into(),
        artifact_class: enum_column(row, 2, ArtifactClass::parse)?,
        wp_id: row.get_ref(3)?.as_str_or_null()?.map(Into::into),
        step_id: row.get_ref(4)?.as_str_or_null()?.map(|step| strings.intern(step)),
        required_status: enum_column(row, 5, RequiredStatus::parse)?,
        size_bytes: row.get::<_, i64>(6)?.cast_unsigned(),
        state: match row.get::<_, Option<[u8; 32]>>(7)? {
            Some(hash) => ArtifactState::Present {
                hash: Digest::from_bytes(hash),
                static_hash: row
                    .get::<_, Option<[u8; 32]>>(8)?
                    .map(|hash| Digest::from_bytes(hash).into()),
            },
            None => ArtifactState::Absent(Absence {
                reason: enum_column(row, 9, ErrorReason::parse)?,
                detail: row.get_ref(10)?.as_str_or_null()?.map(Into::into),
            }),
        },
        indexed_at: timestamp_column(row, 11)?,
    })
}

/// Reads a time in milliseconds since 1970.
pub(super) fn timestamp_column(row: &Row<'_>, index: usize) -> rusqlite::Result<Timestamp> {
    let millis = row.get(index)?;
    Timestamp::from_millis(millis)
        .ok_or_else(|| invalid_column(index, format!("{millis} is not a valid time")))
}

/// Reads a text and parses it with `parse`.
pub(super) fn enum_column<T>(
    row: &Row<'_>,
    index: usize,
    parse: impl FnOnce(&str) -> Option<T>,
) -> rusqlite::Result<T> {
    let text = row.get_ref(index)?.as_str()?;
    parse(text).ok_or_else(|| {
        invalid_column(index, format!("`{text}` is not a valid value of this column"))
    })
}

/// Returns the error for a value that no version of this program writes; it means that the file is
/// corrupt.
pub(super) fn invalid_column(index: usize, detail: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(index, Type::Null, detail.into())
}

type StateColumns<'a> = (Option<&'a [u8; 32]>, Option<&'a [u8; 32]>, Option<&'a Absence>);

fn state_columns(state: &ArtifactState) -> StateColumns<'_> {
    match state {
        ArtifactState::Present { hash, static_hash } => {
            (Some(hash.as_bytes()), static_hash.as_deref().map(Digest::as_bytes), None)
        }
        ArtifactState::Absent(absence) => (None, None, Some(absence)),
    }
}
