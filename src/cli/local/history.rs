//! The history of a feature without a daemon: a one-time scan and what the content store has.

use std::time::SystemTime;

use anyhow::Context as _;

use crate::cli::args::FeatureArgs;
use crate::cli::local::target::LocalTarget;
use crate::cli::user_dirs::user_dirs;
use crate::core::digest::Digest;
use crate::core::feature::Feature;
use crate::core::path::RelPath;
use crate::core::time::Timestamp;
use crate::history::ContentReader;
use crate::history::states::FeatureHistory;

/// A scanned feature and its stored versions.
pub(crate) struct LocalHistory {
    pub(crate) target: LocalTarget,
    pub(crate) feature: Feature,
    pub(crate) history: FeatureHistory,
    pub(crate) reader: ContentReader,
    pub(crate) now: Timestamp,
}

impl LocalHistory {
    /// Scans the selected feature and reads its versions.
    pub(crate) fn open(args: &FeatureArgs) -> anyhow::Result<Self> {
        let target = LocalTarget::from_feature_args(args)?;
        let feature = target.scan_one()?;
        let reader = ContentReader::new(&user_dirs()?.state_dir);
        let slug = &feature.dossier.context.feature_slug;
        let versions = reader.versions(&target.project.root_id, slug, None);
        let versions = versions.context("cannot read the history")?;
        let history = FeatureHistory::new(&feature, versions);
        Ok(Self { target, feature, history, reader, now: SystemTime::now().into() })
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

    /// Returns the path of the feature's directory below the root, as text.
    pub(crate) fn feature_path(&self) -> String {
        let dir = self.target.features.first().and_then(|dir| dir.path.as_ref());
        dir.map(|path| path.text().into_owned()).unwrap_or_default()
    }
}
