//! Compares a feature's snapshot file, `.kittify/dossiers/{slug}/snapshot-latest.json`, with a
//! snapshot.
//!
//! The file can be recomputed at any time, and is not written again if it is current.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write};

use crate::core::path::FeatureSlug;
use crate::core::snapshot::MissionDossierSnapshot;
use crate::project::dossiers_dir::{DOSSIERS_DIR, rel_path};
use crate::project::root_dir::RootDir;

/// Upper bound for the bytes of a snapshot's JSON from `computed_at` to the end.
const TAIL_BYTES: u64 = 256;

/// Returns true if the file is equal to `snapshot` except for `computed_at`.
pub(super) fn matches_on_disk(root_dir: &RootDir, snapshot: &MissionDossierSnapshot) -> bool {
    let file =
        rel_path(&file_path(&snapshot.feature_slug)).and_then(|path| root_dir.open_file(&path));
    file.is_some_and(|file| file_matches(file, snapshot).is_ok_and(|matches| matches))
}

fn file_matches(mut file: File, snapshot: &MissionDossierSnapshot) -> io::Result<bool> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    (&file).take(TAIL_BYTES).read_to_end(&mut tail)?;
    let Some(computed_at) = MissionDossierSnapshot::parse_computed_at(&tail) else {
        return Ok(false);
    };
    file.rewind()?;
    let mut comparing = ComparingWriter(BufReader::new(file));
    serde_json::to_writer(
        &mut comparing,
        &MissionDossierSnapshot { computed_at, ..snapshot.clone() },
    )?;
    comparing.write_all(b"\n")?;
    Ok(comparing.0.fill_buf()?.is_empty())
}

/// Fails at the first byte that differs from the file. Comparing while writing avoids holding a
/// large file in memory.
struct ComparingWriter(BufReader<File>);

impl Write for ComparingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let on_disk = self.0.fill_buf()?;
        let length = on_disk.len().min(bytes.len());
        if length == 0 || on_disk[..length] != bytes[..length] {
            return Err(io::Error::other("the file differs from the snapshot"));
        }
        self.0.consume(length);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn file_path(slug: &FeatureSlug) -> String {
    format!("{DOSSIERS_DIR}/{slug}/snapshot-latest.json")
}
