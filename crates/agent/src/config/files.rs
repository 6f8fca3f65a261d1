//! Which files are read, in which order, and how much of them.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::error::{ConfigError, Origin, Warning};

/// The configuration has eleven keys; a file beyond this is not one.
const MAX_BYTES: u64 = 1024 * 1024;
/// Files in `config.d`.
const MAX_FILES: usize = 256;

/// The files to read, the weakest first, and those that only look as if they were read.
///
/// A file named by the caller stands alone. Otherwise `config.yaml` comes first, if there is one, and then
/// `config.d/*.yaml` by name, hidden files left out.
///
/// # Errors
/// A `config.d` that cannot be listed, or with too many files.
pub(super) fn list(
    named: Option<&Path>,
    directory: &Path,
) -> Result<(Vec<PathBuf>, Vec<Warning>), ConfigError> {
    if let Some(named) = named {
        return Ok((vec![named.to_owned()], Vec::new()));
    }
    let drop_ins = directory.join("config.d");
    let (mut files, mut warnings) = (Vec::new(), Vec::new());
    for entry in entries(&drop_ins)? {
        let path = entry.map_err(|source| unreadable(&drop_ins, source))?.path();
        let is_hidden = path
            .file_name()
            .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        match path.extension().and_then(|extension| extension.to_str()) {
            _ if is_hidden => {}
            Some("yaml") => files.push(path),
            Some("yml" | "json") => warnings.push(Warning::IgnoredFile { path }),
            _ => {}
        }
        if files.len() > MAX_FILES || warnings.len() > MAX_FILES {
            return Err(ConfigError::TooManyFiles {
                path: drop_ins,
                limit: MAX_FILES,
            });
        }
    }
    files.sort();
    warnings.sort_by_key(ToString::to_string);
    let main = directory.join("config.yaml");
    // Whether it is readable shows when it is read; here it is only whether it is there.
    if fs::symlink_metadata(&main).map_or_else(|error| error.kind() != io::ErrorKind::NotFound, |_| true) {
        files.insert(0, main);
    }
    Ok((files, warnings))
}

/// The file's text without byte order mark, with `\n` as the only line break.
///
/// # Errors
/// A file that cannot be read, is too large, or is not UTF-8.
pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| unreadable(path, source);
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(ConfigError::TooLarge {
            path: path.to_owned(),
            limit: MAX_BYTES,
        });
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| not_utf8(path, error.as_bytes(), error.utf8_error().valid_up_to()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    Ok(text.replace("\r\n", "\n").replace('\r', "\n"))
}

/// The directory's entries; none if there is no such directory.
fn entries(directory: &Path) -> Result<impl Iterator<Item = io::Result<fs::DirEntry>> + use<>, ConfigError> {
    let listed = match fs::read_dir(directory) {
        Ok(listed) => Some(listed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(unreadable(directory, error)),
    };
    Ok(listed.into_iter().flatten())
}

fn unreadable(path: &Path, source: io::Error) -> ConfigError {
    let advice = match source.kind() {
        io::ErrorKind::NotFound => "name a file that exists",
        io::ErrorKind::PermissionDenied => "let this user read it, or run as its owner",
        io::ErrorKind::IsADirectory => "name a file, not a directory",
        io::ErrorKind::NotADirectory => "make it a directory of *.yaml files, or remove it",
        _ => "check the file and the disk that it is on",
    };
    ConfigError::Io {
        path: path.to_owned(),
        advice,
        source,
    }
}

fn not_utf8(path: &Path, bytes: &[u8], valid: usize) -> ConfigError {
    let before = String::from_utf8_lossy(bytes.get(..valid).unwrap_or(bytes));
    let before = before.strip_prefix('\u{feff}').unwrap_or(&before);
    let last = before.rsplit('\n').next().unwrap_or("");
    let number = |n: usize| u32::try_from(n.saturating_add(1)).unwrap_or(u32::MAX);
    let (line, column) = (number(before.matches('\n').count()), number(last.chars().count()));
    ConfigError::NotUtf8 {
        origin: Origin::File {
            path: path.into(),
            line,
            column,
        },
    }
}
