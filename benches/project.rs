//! The project that benchmarks measure, and the output of promises.
#![allow(dead_code, reason = "each benchmark uses a part")]

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};

/// Number of files of the project, and of features that contain them.
pub(crate) const FILES: usize = 10_437;
const FEATURES: usize = 412;
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

    /// Copies the project.
    pub(crate) fn copy(&self, to: &Path) -> anyhow::Result<()> {
        copy_tree(&self.root.join("kitty-specs"), &to.join("kitty-specs"))?;
        Ok(fs::create_dir_all(to.join(".kittify"))?)
    }

    /// Creates a project of exactly [`FILES`] files in [`FEATURES`] features by repeating the
    /// features; returns the total size of the files.
    pub(crate) fn repeat(&self, to: &Path) -> anyhow::Result<u64> {
        copy_tree(&self.root.join(".kittify/overrides"), &to.join(".kittify/overrides"))?;
        fs::create_dir_all(to.join(".kittify"))?;
        let specs = self.root.join("kitty-specs");
        let mut files = Vec::new();
        list(&specs, Path::new(""), &mut files)?;
        let copies = repeat_features(&files)?;
        let repetitions = repetitions_of_markdown(&specs, &copies)?;
        let mut bytes = 0;
        for (from, name) in copies {
            let to = to.join("kitty-specs").join(name);
            fs::create_dir_all(to.parent().context("no parent directory")?)?;
            let content = fs::read(specs.join(from))?;
            let mut file = BufWriter::new(File::create_new(&to)?);
            for _ in 0..if is_markdown(from) { repetitions } else { 1 } {
                file.write_all(&content)?;
                bytes += content.len() as u64;
            }
            file.flush()?;
        }
        Ok(bytes)
    }
}

/// Documents of a feature in the layout of spec-kit; all else is in `contracts/`.
const SPEC_KIT_FILES: [&str; 6] =
    ["spec.md", "plan.md", "tasks.md", "research.md", "data-model.md", "quickstart.md"];

impl Source {
    /// Creates the same project in the layout of spec-kit: as many features, files and bytes.
    pub(crate) fn repeat_in_spec_kit(&self, to: &Path) -> anyhow::Result<u64> {
        let bytes = self.repeat(to)?;
        fs::remove_dir_all(to.join(".kittify"))?;
        fs::create_dir_all(to.join(".specify/memory"))?;
        fs::write(to.join(".specify/memory/constitution.md"), "# Constitution\n")?;
        let (from, specs) = (to.join("kitty-specs"), to.join("specs"));
        let mut features = fs::read_dir(&from)?.collect::<Result<Vec<_>, _>>()?;
        features.sort_by_key(fs::DirEntry::file_name);
        for (number, feature) in features.iter().enumerate() {
            let name = feature.file_name();
            let dir = specs.join(format!("{number:03}-{}", name.display()));
            fs::create_dir_all(dir.join("contracts"))?;
            let mut files = Vec::new();
            list(&feature.path(), Path::new(""), &mut files)?;
            for (index, file) in files.iter().enumerate() {
                let is_document = SPEC_KIT_FILES.iter().any(|known| Path::new(known) == file);
                let name = file.file_name().context("no file name")?.display().to_string();
                let to = if is_document {
                    dir.join(&name)
                } else {
                    dir.join("contracts").join(format!("{index:03}-{name}"))
                };
                fs::rename(feature.path().join(file), to)?;
            }
        }
        fs::remove_dir_all(from)?;
        Ok(bytes)
    }
}

/// Returns [`FILES`] files of [`FEATURES`] features: which file each copies, and its name.
///
/// Every feature has all files of its own directory, which determine its step and completeness.
/// Those of its subdirectories are omitted or copied, evenly, until the number is exact.
fn repeat_features(files: &[PathBuf]) -> anyhow::Result<Vec<(&Path, PathBuf)>> {
    let feature = |path: &PathBuf| path.components().next().map(|name| name.as_os_str().to_owned());
    let features: Vec<_> = files.chunk_by(|a, b| feature(a) == feature(b)).collect();
    let is_nested = |path: &Path| path.components().count() > 2;
    let repeated: Vec<(usize, &Path)> = (0..FEATURES)
        .flat_map(|number| {
            let (repetition, index) = (number / features.len(), number % features.len());
            features[index].iter().map(move |file| (repetition, file.as_path()))
        })
        .collect();
    let nested = repeated.iter().filter(|(_, file)| is_nested(file)).count();
    let wanted =
        FILES.checked_sub(repeated.len() - nested).context("the features are too large")?;
    ensure!(nested > 0, "no feature has a subdirectory");
    let mut copies = Vec::with_capacity(FILES);
    let mut index = 0;
    for (repetition, file) in repeated {
        let name = PathBuf::from(format!("r{repetition:03}-{}", file.display()));
        if !is_nested(file) {
            copies.push((file, name));
            continue;
        }
        let count = (index + 1) * wanted / nested - index * wanted / nested;
        index += 1;
        let stem = name.file_stem().context("no file name")?;
        let extension = name.extension().unwrap_or_default();
        for copy in 1..=count {
            let suffix = if copy == 1 { String::new() } else { format!("-{copy}") };
            let stem = format!("{}{suffix}", stem.display());
            copies.push((file, name.with_file_name(stem).with_added_extension(extension)));
        }
    }
    Ok(copies)
}

/// Returns how often the content of Markdown files is repeated to reach the mean size.
fn repetitions_of_markdown(specs: &Path, copies: &[(&Path, PathBuf)]) -> anyhow::Result<u64> {
    let (mut markdown, mut other) = (0, 0);
    for (from, _) in copies {
        let size = fs::metadata(specs.join(from))?.len();
        *(if is_markdown(from) { &mut markdown } else { &mut other }) += size;
    }
    let wanted = (MEAN_BYTES * copies.len() as u64).saturating_sub(other);
    Ok(wanted.checked_div(markdown).unwrap_or_default().max(1))
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

/// Returns the Markdown files below a directory.
pub(crate) fn markdown(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = files(dir)?;
    files.retain(|file| is_markdown(file));
    Ok(files)
}

/// Returns the paths of all files below `dir`.
pub(crate) fn files(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    list(dir, Path::new(""), &mut files)?;
    Ok(files.into_iter().map(|file| dir.join(file)).collect())
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
