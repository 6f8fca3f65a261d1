//! Files that belong to their owner alone: keys, and what must survive a power cut whole.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Creates `path` and its parents, open to the owner alone. One that is there stays as it is.
///
/// # Errors
/// If it cannot be created.
pub fn create_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    sync_directory_of(path)
}

/// Writes a whole file that only its owner can read, or none: neither a kill nor a power cut leaves half a file,
/// and once this returns the file is there to stay.
///
/// # Errors
/// If it cannot be written; a file that was there is then as it was.
pub fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    let temporary = beside(path);
    // Created anew: a file or link that is there already could be somebody else's to read.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(contents)?;
    file.sync_all()?;
    rename(&temporary, path)
}

/// Gives a file of the same directory another name, to stay.
///
/// # Errors
/// If it cannot be renamed.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_directory_of(to)
}

/// Whether others than its owner may read or write the file.
///
/// # Errors
/// If there is no such file.
pub fn is_exposed(path: &Path) -> io::Result<bool> {
    Ok(fs::metadata(path)?.mode() & 0o077 != 0)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// A name is durable only once its directory is.
fn sync_directory_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => File::open(directory)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_file_is_its_owners_alone_and_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/key");
        create_directory(path.parent().unwrap()).unwrap();
        create_directory(path.parent().unwrap()).unwrap();
        write(&path, b"first").unwrap();
        write(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert!(!is_exposed(&path).unwrap());
        assert!(!is_exposed(path.parent().unwrap()).unwrap());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(is_exposed(&path).unwrap());
    }

    #[test]
    fn a_leftover_is_neither_followed_nor_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let elsewhere = directory.path().join("elsewhere");
        fs::write(&elsewhere, b"theirs").unwrap();
        symlink(&elsewhere, beside(&path)).unwrap();
        write(&path, b"ours").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"ours");
        assert_eq!(fs::read(&elsewhere).unwrap(), b"theirs");
        assert!(!fs::exists(beside(&path)).unwrap());
    }
}
