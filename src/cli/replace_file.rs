//! Replaces text files atomically.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Writes `text` to `path` with `.new` appended, and renames that file to `path`: a reader sees the
/// old or the new text, never a part of it.
pub(crate) fn replace_file(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut new = OsString::from(path);
    new.push(".new");
    let new = PathBuf::from(new);
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
