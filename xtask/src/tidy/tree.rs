//! The repository's files, read once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// What a build, a fuzz run or git makes; no check looks there.
const SKIPPED: [&str; 7] = [
    ".git",
    "benches/target",
    "fuzz/artifacts",
    "fuzz/corpus",
    "fuzz/target",
    "interop/ear/target",
    "target",
];

/// Every file by its path from the root, with `/` between components.
pub struct Tree {
    files: BTreeMap<String, Contents>,
}

/// What a file holds.
enum Contents {
    Text(String),
    Binary,
}

impl Tree {
    /// Reads the files under `root`. Symbolic links are not followed: what they lead to is either here
    /// already or not ours.
    pub fn read(root: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        let mut pending = vec![String::new()];
        while let Some(dir) = pending.pop() {
            let on_disk = root.join(&dir);
            for entry in fs::read_dir(&on_disk).with_context(|| format!("reading {}", on_disk.display()))? {
                let entry = entry.with_context(|| format!("reading {}", on_disk.display()))?;
                let name = entry.file_name();
                let name = name
                    .to_str()
                    .with_context(|| format!("{name:?} in {dir} is not UTF-8"))?;
                let path = if dir.is_empty() {
                    name.to_owned()
                } else {
                    format!("{dir}/{name}")
                };
                let kind = entry.file_type().with_context(|| format!("reading {path}"))?;
                if kind.is_dir() && !SKIPPED.contains(&path.as_str()) {
                    pending.push(path);
                } else if kind.is_file() {
                    let bytes = fs::read(entry.path()).with_context(|| format!("reading {path}"))?;
                    files.insert(path, Contents::of(bytes));
                }
            }
        }
        Ok(Self { files })
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether `path` is a file, or a directory that holds one.
    pub fn holds(&self, path: &str) -> bool {
        let inside = format!("{path}/");
        path.is_empty()
            || self.files.contains_key(path)
            || self
                .files
                .range(inside.clone()..)
                .next()
                .is_some_and(|(found, _)| found.starts_with(&inside))
    }

    /// The text of the file at `path`, if it is there and is text.
    pub fn text(&self, path: &str) -> Option<&str> {
        match self.files.get(path)? {
            Contents::Text(text) => Some(text),
            Contents::Binary => None,
        }
    }

    /// Every text file whose name ends in one of `extensions`, with its text.
    pub fn texts<'t>(&'t self, extensions: &'t [&str]) -> impl Iterator<Item = (&'t str, &'t str)> {
        self.files.iter().filter_map(|(path, contents)| match contents {
            Contents::Text(text) if extensions.contains(&extension(path)) => {
                Some((path.as_str(), text.as_str()))
            }
            _ => None,
        })
    }

    /// Every file that is not text, or says by its name that it is not.
    pub fn binaries(&self) -> impl Iterator<Item = &str> {
        self.files.iter().filter_map(|(path, contents)| {
            (matches!(contents, Contents::Binary) || extension(path) == "bin").then_some(path.as_str())
        })
    }
}

impl Contents {
    fn of(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or(Self::Binary, Self::Text)
    }
}

fn extension(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(_, extension)| extension)
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &[u8]); N]> for Tree {
    fn from(files: [(&str, &[u8]); N]) -> Self {
        let files = files.into_iter();
        Self {
            files: files
                .map(|(path, bytes)| (path.to_owned(), Contents::of(bytes.to_vec())))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_held_only_by_its_whole_name() {
        let tree = Tree::from([("docs/tee/sgx.md", b"x".as_slice()), ("docs/tee-x/y", b"y")]);
        for held in ["", "docs", "docs/tee", "docs/tee/sgx.md", "docs/tee-x"] {
            assert!(tree.holds(held), "{held}");
        }
        for absent in ["doc", "docs/te", "docs/tee/sgx", "docs/tee/sgx.md/x"] {
            assert!(!tree.holds(absent), "{absent}");
        }
    }

    #[test]
    fn binary_is_by_content_and_by_name() {
        let tree = Tree::from([
            ("a.bin", b"text".as_slice()),
            ("b.quote", &[0xff]),
            ("c.json", b"{}"),
        ]);
        assert_eq!(tree.binaries().collect::<Vec<_>>(), ["a.bin", "b.quote"]);
    }

    #[test]
    fn reads_this_repository_without_what_builds_made() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let tree = Tree::read(root).unwrap();
        assert!(tree.text("xtask/src/main.rs").is_some());
        assert!(!tree.holds("target"));
        assert!(!tree.holds(".git"));
    }
}
