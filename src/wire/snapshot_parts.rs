//! The JSON of a snapshot in parts, so that a large one is written as it is read and is never held as a
//! whole. The parts together are what `json::write` writes.

use std::io;
use std::sync::Arc;

use crate::core::snapshot::{MissionDossierSnapshot, SnapshotElement};
use crate::wire::json;

/// The lists in the JSON of a snapshot without artifacts. A string cannot contain this text, because its
/// quotes would be escaped.
const EMPTY_LISTS: &str = "\"parity_hash_components\":[],\"artifact_summaries\":[]";
const HASHES: &str = "\"parity_hash_components\":[";
const ARTIFACTS: &str = "],\"artifact_summaries\":[";

/// The rest of a snapshot's JSON.
#[derive(Debug)]
pub struct SnapshotParts {
    snapshot: Arc<MissionDossierSnapshot>,
    rest: Rest,
}

#[derive(Debug, Clone, Copy)]
enum Rest {
    All,
    /// The hashes from this one on.
    Hashes(usize),
    /// The artifacts from this one on.
    Artifacts(usize),
    Nothing,
}

impl SnapshotParts {
    /// Returns all of a snapshot's JSON.
    #[must_use]
    pub fn new(snapshot: Arc<MissionDossierSnapshot>) -> Self {
        Self { snapshot, rest: Rest::All }
    }

    /// Appends the next part to `out`, which ends soon after `out` has `length` bytes. Returns false
    /// after the last part.
    ///
    /// # Errors
    /// Only if the snapshot has no JSON form.
    pub fn write_next(&mut self, out: &mut Vec<u8>, length: usize) -> io::Result<bool> {
        while out.len() < length {
            let snapshot = &*self.snapshot;
            self.rest = match self.rest {
                Rest::All => {
                    let (head, _) = head_and_tail(snapshot)?;
                    out.extend(head.as_bytes());
                    out.extend(HASHES.as_bytes());
                    Rest::Hashes(0)
                }
                Rest::Hashes(from) => {
                    match write_elements(out, length, snapshot.hash_elements(), from)? {
                        Some(next) => Rest::Hashes(next),
                        None => {
                            out.extend(ARTIFACTS.as_bytes());
                            Rest::Artifacts(0)
                        }
                    }
                }
                Rest::Artifacts(from) => {
                    match write_elements(out, length, snapshot.artifact_elements(), from)? {
                        Some(next) => Rest::Artifacts(next),
                        None => {
                            let (_, tail) = head_and_tail(snapshot)?;
                            out.push(b']');
                            out.extend(tail.as_bytes());
                            Rest::Nothing
                        }
                    }
                }
                Rest::Nothing => return Ok(false),
            };
        }
        Ok(!matches!(self.rest, Rest::Nothing))
    }
}

/// Returns the JSON before the lists, and after them.
fn head_and_tail(snapshot: &MissionDossierSnapshot) -> io::Result<(String, String)> {
    let mut text = Vec::new();
    json::write(&mut text, &snapshot.without_lists())?;
    let text = String::from_utf8(text).map_err(io::Error::other)?;
    let parts = text.split_once(EMPTY_LISTS);
    let (head, tail) = parts.ok_or_else(|| io::Error::other("a snapshot without its lists"))?;
    Ok((head.to_owned(), tail.to_owned()))
}

/// Appends the elements from `from` on, until `out` has `length` bytes. Returns the number of the next
/// one; `None` if all are written.
fn write_elements<'a>(
    out: &mut Vec<u8>,
    length: usize,
    elements: impl ExactSizeIterator<Item = SnapshotElement<'a>>,
    from: usize,
) -> io::Result<Option<usize>> {
    for (index, element) in elements.enumerate().skip(from) {
        if out.len() >= length {
            return Ok(Some(index));
        }
        if index > 0 {
            out.push(b',');
        }
        json::write(out, &element)?;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::core::inventory::Inventory;
    use crate::core::testing::{feature_context, observed, unreadable};
    use crate::core::time::Timestamp;

    #[test]
    fn parts_of_any_length_together_are_the_json_of_the_snapshot() {
        let now = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
        let hostile = r#"","parity_hash_components":[],"artifact_summaries":[]"#;
        for count in [0, 1, 2, 30] {
            let mut files: Vec<_> =
                (0..count).map(|number| observed(&format!("{number}.md"), "x")).collect();
            if count > 1 {
                files.extend([observed(hostile, "y"), unreadable("z")]);
            }
            let context = feature_context(None, None);
            let dossier = Inventory::from_observations(context, files, now).to_dossier(now);
            let snapshot = Arc::new(MissionDossierSnapshot::compute(&dossier, Uuid::nil(), now));
            let mut expected = Vec::new();
            json::write(&mut expected, &*snapshot).unwrap();
            for length in [1, 500, 1 << 20] {
                let (mut parts, mut all) = (SnapshotParts::new(Arc::clone(&snapshot)), Vec::new());
                loop {
                    let mut part = Vec::new();
                    let has_more = parts.write_next(&mut part, length).unwrap();
                    assert!(part.len() < length + 1_000, "{} of {length}", part.len());
                    all.extend(part);
                    if !has_more {
                        break;
                    }
                }
                assert_eq!(String::from_utf8(all), String::from_utf8(expected.clone()));
            }
        }
    }
}
