//! The history of a feature without a daemon: a one-time scan and what the content store has.

use std::time::SystemTime;

use anyhow::{Context as _, bail};

use crate::cli::args::FeatureArgs;
use crate::cli::local::target::LocalTarget;
use crate::cli::user_dirs::user_dirs;
use crate::core::artifact::ArtifactClass;
use crate::core::digest::Digest;
use crate::core::feature::Feature;
use crate::core::history::revision::Revision;
use crate::core::path::RelPath;
use crate::core::time::Timestamp;
use crate::history::compare::{Comparison, DiffLines, compare};
use crate::history::present_content::{MAX_PRESENT_BYTES, PresentContent, StoreContentError};
use crate::history::states::FeatureHistory;
use crate::history::{ContentReader, NotStored, VersionedFile};
use crate::scan::read_file;
use crate::wire::history::StateDiff;

/// A scanned feature and its stored versions.
pub(crate) struct LocalHistory {
    pub(crate) target: LocalTarget,
    pub(crate) feature: Feature,
    pub(crate) history: FeatureHistory,
    pub(crate) reader: ContentReader,
    pub(crate) now: Timestamp,
}

impl LocalHistory {
    /// Scans the selected feature, unless it is gone, and reads its versions.
    pub(crate) fn open(args: &FeatureArgs) -> anyhow::Result<Self> {
        let (target, feature) = match LocalTarget::from_feature_args(args) {
            Ok(target) => {
                let feature = target.scan_one()?;
                (target, feature)
            }
            Err(error) => match LocalTarget::from_gone_feature(&args.feature, &args.project) {
                Ok(Some(target)) => {
                    let feature = target.gone_one()?;
                    (target, feature)
                }
                _ => return Err(error),
            },
        };
        let reader = ContentReader::new(&user_dirs()?.state_dir);
        let slug = &feature.dossier.context.feature_slug;
        let versions = reader.versions(&target.project.root_id, slug, None);
        let versions = versions.context("cannot read the history")?;
        let history = FeatureHistory::new(&feature, versions);
        Ok(Self { target, feature, history, reader, now: SystemTime::now().into() })
    }

    /// Returns a file of the feature in the history.
    pub(crate) fn file(&self, path: &RelPath) -> VersionedFile {
        VersionedFile {
            root_id: self.target.project.root_id.clone(),
            feature: self.feature.dossier.context.feature_slug.clone(),
            path: path.clone(),
        }
    }

    /// Returns a content: a stored one, or that of the present file; `None` if there is none.
    pub(crate) fn content(&self, path: &RelPath, hash: &Digest) -> anyhow::Result<Option<Vec<u8>>> {
        if let Some(stored) = self.reader.content(hash).context("cannot read the history")? {
            return Ok(Some(stored));
        }
        let present = self.feature.entries.get(path).map(|entry| &entry.artifact);
        match present.filter(|artifact| artifact.hash() == Some(*hash)) {
            Some(artifact) => self.target.read_content(artifact),
            None => Ok(None),
        }
    }

    /// Reads the present content of a file, if it is still that of the scan.
    pub(crate) fn read_present(
        &self,
        path: &RelPath,
        hash: &Digest,
    ) -> anyhow::Result<PresentContent> {
        let dir = self.target.features.first().context("the feature was removed")?;
        let read = self.target.project.open_feature(dir);
        let read = read.and_then(|feature| read_file(feature, path, MAX_PRESENT_BYTES + 1));
        let (bytes, mode) = read.context("its present content cannot be read")?;
        if bytes.len() as u64 > MAX_PRESENT_BYTES {
            return Err(StoreContentError::NotStored(NotStored::TooLarge).into());
        }
        if Digest::of(&bytes) != *hash {
            bail!("the file changed meanwhile; retry");
        }
        let artifact = self.feature.entries.get(path).map(|entry| &entry.artifact);
        let class = artifact.map_or(ArtifactClass::Other, |artifact| artifact.artifact_class);
        let key = artifact.map(|artifact| artifact.artifact_key.clone()).unwrap_or_default();
        Ok(PresentContent { file: self.file(path), key, class, bytes, mode })
    }

    /// Returns what changed since the baseline; `None` if there is none, or contents cannot be read.
    pub(crate) fn changes_since_baseline(&self) -> Option<StateDiff> {
        let (from, to) = (Revision::Baseline, Revision::Now);
        let comparison = compare(&self.history, &from, &to, &[], self.now).ok()?;
        self.state_diff(&comparison, (&from, &to), DiffLines::Return).ok()
    }

    /// Returns the difference between two states that were compared.
    pub(crate) fn state_diff(
        &self,
        comparison: &Comparison,
        (from, to): (&Revision, &Revision),
        lines: DiffLines,
    ) -> anyhow::Result<StateDiff> {
        let content = |path: &RelPath, hash: &Digest| self.content(path, hash);
        Ok(StateDiff {
            feature_slug: self.feature.dossier.context.feature_slug.to_string(),
            feature_path: self.feature_path(),
            from: from.to_string(),
            to: to.to_string(),
            files: comparison.files(&self.history, lines, content)?,
        })
    }

    /// Returns the path of the feature's directory below the root, as text.
    fn feature_path(&self) -> String {
        let dir = self.target.features.first().and_then(|dir| dir.path.as_ref());
        dir.map(|path| path.text().into_owned()).unwrap_or_default()
    }
}
