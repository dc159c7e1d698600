//! The project that benchmarks measure, and the output of promises.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// Number of files of the project.
pub(crate) const FILES: usize = 10_000;
/// Mean size of the files if they are padded; that of the corpus.
const MEAN_BYTES: u64 = 9_600;

/// Prints whether a promise is met.
pub(crate) fn promise(text: &str, is_met: bool) {
    println!("PROMISE {}: {text}", if is_met { "MET" } else { "BROKEN" });
}

/// The project whose features are repeated.
pub(crate) struct Source {
    /// Name of the project for the output.
    pub(crate) name: &'static str,
    root: PathBuf,
}

impl Source {
    /// Returns a real project if there is one next to the repository, otherwise the example.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (name, path) in [
            ("the corpus", "../shared/corpus/spec-kitty"),
            ("the example, padded", "examples/bakery"),
        ] {
            let root = here.join(path);
            if root.join("kitty-specs").is_dir() {
                return Ok(Self { name, root });
            }
        }
        bail!("no project to repeat in {}", here.display())
    }

    /// Creates a project of exactly [`FILES`] files by repeating the features; returns their total
    /// size.
    pub(crate) fn repeat(&self, to: &Path) -> anyhow::Result<u64> {
        copy_tree(&self.root.join(".kittify/overrides"), &to.join(".kittify/overrides"))?;
        fs::create_dir_all(to.join(".kittify"))?;
        let mut files = Vec::new();
        list(&self.root.join("kitty-specs"), Path::new(""), &mut files)?;
        let copies = self.copies_of_markdown(&files)?;
        let mut bytes = 0;
        for (index, path) in files.iter().cycle().take(FILES).enumerate() {
            let from = self.root.join("kitty-specs").join(path);
            let repetition = index / files.len();
            let to = to.join("kitty-specs").join(format!("r{repetition:03}-{}", path.display()));
            fs::create_dir_all(to.parent().context("no parent directory")?)?;
            let content = fs::read(&from)?;
            let copies = if is_markdown(path) { copies } else { 1 };
            let mut file = BufWriter::new(File::create(&to)?);
            for _ in 0..copies {
                file.write_all(&content)?;
                bytes += content.len() as u64;
            }
            file.flush()?;
        }
        Ok(bytes)
    }

    /// Returns how often the content of Markdown files is repeated to reach the mean size.
    fn copies_of_markdown(&self, files: &[PathBuf]) -> anyhow::Result<u64> {
        let (mut markdown, mut other) = (0, 0);
        for path in files {
            let size = fs::metadata(self.root.join("kitty-specs").join(path))?.len();
            *(if is_markdown(path) { &mut markdown } else { &mut other }) += size;
        }
        let wanted = (MEAN_BYTES * files.len() as u64).saturating_sub(other);
        Ok(wanted.checked_div(markdown).unwrap_or_default().max(1))
    }
}

fn is_markdown(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "md")
}

/// Appends the files below `root` that could be artifacts, relative to it, sorted by name.
pub(crate) fn list(root: &Path, below: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let mut entries = fs::read_dir(root.join(below))?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = below.join(entry.file_name());
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        match entry.file_type()? {
            kind if kind.is_dir() => list(root, &path, files)?,
            kind if kind.is_file() => files.push(path),
            _ => {}
        }
    }
    Ok(())
}

/// Copies the files of `from`, if it exists.
fn copy_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut files = Vec::new();
    if from.is_dir() {
        list(from, Path::new(""), &mut files)?;
    }
    for path in files {
        let to = to.join(&path);
        fs::create_dir_all(to.parent().context("no parent directory")?)?;
        fs::copy(from.join(&path), to)?;
    }
    Ok(())
}
