//! The kernel's files: read whole into a buffer that is kept, bounded before anything is parsed.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use rustix::io::Errno;

use crate::error::CollectError;
use crate::parse::Malformed;

/// More than this of one file is refused. The longest is `/proc/stat`: about 100 bytes a CPU, and at most 21
/// for each interrupt line; 1 MiB is enough for thousands of CPUs.
pub const MAX_FILE: usize = 1 << 20;

/// Enough for every file of an ordinary machine, so that the buffer does not grow.
pub(crate) const BUFFER: usize = 32 << 10;

/// What a file says.
pub(crate) fn parsed<T>(
    path: &Path,
    buffer: &mut Vec<u8>,
    parse: impl FnOnce(&[u8]) -> Result<T, Malformed>,
) -> Result<T, CollectError> {
    parse(contents(path, buffer)?).map_err(|fault| CollectError::malformed(path, fault))
}

/// What a file says that not every kernel has; none where it has none. What is there must be well formed.
pub(crate) fn parsed_if_there<T>(
    path: &Path,
    buffer: &mut Vec<u8>,
    parse: impl FnOnce(&[u8]) -> Result<T, Malformed>,
) -> Result<Option<T>, CollectError> {
    match parsed(path, buffer, parse) {
        Ok(value) => Ok(Some(value)),
        Err(CollectError::Missing { .. }) => Ok(None),
        // Pressure of a kernel that was booted with psi=0 has its files, and they cannot be read.
        Err(CollectError::Io { source, .. }) if Errno::from_io_error(&source) == Some(Errno::OPNOTSUPP) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A file's bytes.
pub(crate) fn contents<'a>(path: &Path, buffer: &'a mut Vec<u8>) -> Result<&'a [u8], CollectError> {
    const LIMIT: u64 = MAX_FILE as u64 + 1;
    buffer.clear();
    let file = File::open(path).map_err(|source| CollectError::io(path, source))?;
    file.take(LIMIT)
        .read_to_end(buffer)
        .map_err(|source| CollectError::io(path, source))?;
    if buffer.len() > MAX_FILE {
        return Err(CollectError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(buffer)
}
