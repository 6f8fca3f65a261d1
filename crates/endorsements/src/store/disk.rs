//! Files: whole or not at all, bounded, and never through a link.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use nautilus_core::UnixMillis;

use super::StoreError;

/// How the name of a file begins that is being written.
const TEMPORARY: &str = ".new-";
/// Most files and directories that are looked at.
const MAX_ENTRIES: usize = 65_536;
/// The deepest path that a document has, in directories.
const MAX_DEPTH: usize = 6;

static WRITTEN: AtomicU64 = AtomicU64::new(0);

/// Creates a directory and those above it.
pub(super) fn create_directory(path: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(path).map_err(|error| StoreError::io("create", path, error))
}

/// Refuses where a directory has no room for another document.
pub(super) fn ensure_room(directory: &Path, limit: usize) -> Result<(), StoreError> {
    let entries = fs::read_dir(directory).map_err(|error| StoreError::io("read", directory, error))?;
    if entries.take(limit).count() < limit {
        return Ok(());
    }
    Err(StoreError::TooMany {
        path: directory.to_owned(),
        limit,
    })
}

/// Writes a whole file or none: a kill or a power cut leaves at most a leftover under another name, and once this
/// returns the file is there to stay.
pub(super) fn write(path: &Path, contents: &[u8]) -> Result<(), StoreError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    // Two writers of one process, and two processes, do not share a name.
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let temporary = directory.join(format!("{TEMPORARY}{}-{number}", std::process::id()));
    let result = write_new(&temporary, contents)
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| File::open(directory)?.sync_all());
    if result.is_err() {
        // What failed is told below; that this may fail as well leaves a leftover, which `prune` removes.
        let _ = fs::remove_file(&temporary);
    }
    result.map_err(|error| StoreError::io("write", path, error))
}

fn write_new(path: &Path, contents: &[u8]) -> io::Result<()> {
    // A leftover of a process that had the same number.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(contents)?;
    file.sync_all()
}

/// Reads a file of at most `limit` bytes.
pub(super) fn read(path: &Path, limit: usize) -> Result<Vec<u8>, StoreError> {
    let cannot = |error| StoreError::io("read", path, error);
    let file = File::open(path).map_err(cannot)?;
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() > limit {
        return Err(StoreError::Damaged {
            path: path.to_owned(),
            what: format!("it has more than the {limit} bytes allowed"),
        });
    }
    Ok(bytes)
}

/// Removes a file; one that is gone is removed.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path, error)),
        _ => Ok(()),
    }
}

/// The documents below a directory, in order. A directory that is not there has none.
pub(super) fn documents_under(root: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut documents = files_under(root)?;
    documents
        .retain(|path| !is_temporary(path) && path.extension().is_none_or(|extension| extension != "meta"));
    Ok(documents)
}

/// Removes what no document belongs to and was last written before a time.
pub(super) fn remove_leftovers(root: &Path, before: UnixMillis) -> Result<Vec<PathBuf>, StoreError> {
    let mut removed = Vec::new();
    for path in files_under(root)? {
        let is_meta = path.extension().is_some_and(|extension| extension == "meta");
        let is_leftover = is_temporary(&path) || is_meta && !path.with_extension("").exists();
        if is_leftover && written_at(&path).is_some_and(|written| written < before) {
            remove(&path)?;
            removed.push(path);
        }
    }
    Ok(removed)
}

fn is_temporary(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

fn written_at(path: &Path) -> Option<UnixMillis> {
    let modified = fs::symlink_metadata(path).ok()?.modified().ok()?;
    let since = modified.duration_since(UNIX_EPOCH).ok()?;
    Some(UnixMillis(u64::try_from(since.as_millis()).ok()?))
}

fn files_under(root: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut files = Vec::new();
    let mut directories = vec![(root.to_owned(), 0_usize)];
    let mut seen = 0_usize;
    while let Some((directory, depth)) = directories.pop() {
        let cannot = |error| StoreError::io("read", &directory, error);
        let entries = match fs::read_dir(&directory) {
            // Not there, or removed by another process.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(cannot)?,
        };
        for entry in entries {
            let entry = entry.map_err(cannot)?;
            seen = seen.saturating_add(1);
            if seen > MAX_ENTRIES {
                return Err(StoreError::TooMany {
                    path: root.to_owned(),
                    limit: MAX_ENTRIES,
                });
            }
            let kind = entry.file_type().map_err(cannot)?;
            if kind.is_file() {
                files.push(entry.path());
            } else if kind.is_dir() && depth < MAX_DEPTH {
                directories.push((entry.path(), depth.saturating_add(1)));
            }
        }
    }
    files.sort();
    Ok(files)
}
