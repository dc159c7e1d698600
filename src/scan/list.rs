//! Lists a directory tree with the signatures of its files. Opens directories only, never files.
//!
//! The engine compares its index with such a listing. Each directory is announced before it is
//! listed, so that the caller can watch it first and misses no entry created in between.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, RawDir, statat};
use rustix::io::Errno;

use super::entry::open_dir;
use super::hash::{is_resource_exhausted, signature_of};
use super::limits::{LimitExceeded, ScanLimits};
use crate::core::artifact::FileSignature;
use crate::core::layout::DocumentSet;
use crate::core::path::RelPath;
use crate::core::pattern::PatternSet;
use crate::core::progress::begin_step;

/// An entry that is not a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    /// Its path below the feature.
    pub path: RelPath,
    /// Its signature; `None` if it is not a regular file or stat failed.
    pub signature: Option<FileSignature>,
    /// True if it has other names (hard links).
    pub is_linked: bool,
}

/// A directory that cannot be listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableDir {
    /// Its path below the feature.
    pub path: RelPath,
    /// The error of the operating system.
    pub reason: String,
}

/// The entries of a directory tree.
#[derive(Debug, Default)]
pub struct Listing {
    /// All entries except directories, one list per directory, in no order. A single list would be
    /// a block so large that the allocator keeps it after use.
    pub files: Vec<Vec<ListedFile>>,
    /// Directories that cannot be listed.
    pub unreadable: Vec<UnreadableDir>,
    /// Number of entries, including directories and ignored entries, without hidden ones.
    pub entries: u64,
    /// The first limit that was exceeded; entries are then missing.
    pub limit_exceeded: Option<LimitExceeded>,
}

/// Which of the entries below a feature's directory are listed.
#[derive(Debug, Clone, Copy)]
pub struct FileSelection<'a> {
    /// Patterns of those that are not.
    pub ignore: &'a PatternSet,
    /// The files that are, of the documents of a project: hidden ones, too, but no others.
    pub documents: Option<&'a DocumentSet>,
}

/// Returns true if an entry is a document, or a directory in which some may be.
pub(super) fn is_wanted(documents: &DocumentSet, path: &RelPath, is_dir: bool) -> bool {
    if is_dir { documents.may_be_below(path) } else { documents.has_file(path) }
}

struct PendingDir {
    parent: Arc<OwnedFd>,
    name: CString,
    path: RelPath,
    depth: usize,
}

/// Lists the directory `dir` and all directories below it. `path` is its path below the feature;
/// `None` for the feature directory. `enter` is called for each directory before it is listed.
///
/// # Errors
/// If `dir` cannot be listed, or if the process is out of file descriptors or memory.
pub fn list_tree(
    dir: OwnedFd,
    path: Option<&RelPath>,
    limits: &ScanLimits,
    selection: FileSelection<'_>,
    mut enter: impl FnMut(Option<&RelPath>),
) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let mut lister = TreeLister { limits, selection, pending_dirs: Vec::new() };
    let depth = path.map_or(0, |path| path.components().count());
    if lister.is_too_deep(depth, &mut listing) {
        return Ok(listing);
    }
    enter(path);
    lister.list_dir(&Arc::new(dir), path, depth, &mut listing)?;
    while let Some(pending) = lister.pending_dirs.pop() {
        if lister.is_too_deep(pending.depth, &mut listing) {
            continue;
        }
        enter(Some(&pending.path));
        let result = open_dir(pending.parent.as_fd(), &pending.name)
            .map_err(io::Error::from)
            .and_then(|opened| {
                lister.list_dir(&Arc::new(opened), Some(&pending.path), pending.depth, &mut listing)
            });
        if let Err(error) = result {
            match Errno::from_io_error(&error) {
                // Removed or replaced since its parent was listed; the parent's watch reports that.
                Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                _ if is_resource_exhausted(&error) => return Err(error),
                _ => listing
                    .unreadable
                    .push(UnreadableDir { path: pending.path, reason: error.to_string() }),
            }
        }
    }
    Ok(listing)
}

struct TreeLister<'a> {
    limits: &'a ScanLimits,
    selection: FileSelection<'a>,
    pending_dirs: Vec<PendingDir>,
}

impl TreeLister<'_> {
    /// Returns true, and records it, if `depth` exceeds the limit.
    fn is_too_deep(&self, depth: usize, listing: &mut Listing) -> bool {
        let is_too_deep = depth > self.limits.max_depth;
        if is_too_deep {
            listing.limit_exceeded.get_or_insert(self.limits.too_deep());
        }
        is_too_deep
    }

    /// Lists one directory and pushes its subdirectories. If that fails, none of its entries are
    /// recorded.
    fn list_dir(
        &mut self,
        dir: &Arc<OwnedFd>,
        path: Option<&RelPath>,
        depth: usize,
        listing: &mut Listing,
    ) -> io::Result<()> {
        let mut files = Vec::new();
        let mut subdirs = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); 8 << 10];
        let mut entries = RawDir::new(dir, &mut buffer);
        begin_step();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            begin_step();
            let name = entry.file_name();
            let documents = self.selection.documents;
            if documents.is_none() && name.to_bytes().starts_with(b".") {
                continue;
            }
            let entry_path = match path {
                Some(path) => path.join(name.to_bytes()),
                None => RelPath::new(name.to_bytes()),
            };
            let may_be_document = |path: &RelPath| {
                documents.is_none_or(|set| set.has_file(path) || set.may_be_below(path))
            };
            let entry_path = entry_path.ok();
            if !entry_path.as_ref().is_some_and(may_be_document) {
                continue;
            }
            listing.entries += 1;
            if listing.entries > self.limits.max_entries {
                listing.limit_exceeded.get_or_insert(self.limits.too_many());
                break;
            }
            let Some(entry_path) = entry_path.filter(|path| !self.selection.ignore.is_match(path))
            else {
                continue;
            };
            let stat = match entry.file_type() {
                FileType::Directory => None,
                _ => statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok(),
            };
            let kind = stat
                .as_ref()
                .map_or(entry.file_type(), |stat| FileType::from_raw_mode(stat.st_mode));
            let is_dir = kind == FileType::Directory;
            if !documents.is_none_or(|set| is_wanted(set, &entry_path, is_dir)) {
                continue;
            }
            if is_dir {
                let (parent, name) = (Arc::clone(dir), name.to_owned());
                subdirs.push(PendingDir { parent, name, path: entry_path, depth: depth + 1 });
            } else {
                let regular_stat = stat.filter(|_| kind == FileType::RegularFile);
                let signature = regular_stat.as_ref().map(signature_of);
                let is_linked = regular_stat.is_some_and(|stat| stat.st_nlink > 1);
                files.push(ListedFile { path: entry_path, signature, is_linked });
            }
        }
        listing.files.push(files);
        self.pending_dirs.append(&mut subdirs);
        Ok(())
    }
}
