//! Reading what is left of a damaged file, without writing to it.
//!
//! The database refuses a file that is shorter than its header says. Here the missing end reads as zeros: what does not
//! lie in it can be read, and what does is a fault.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use redb::{Builder, StorageBackend};

use super::error::StoreError;
use super::file::File;

/// "redb" and what follows it at the start of every file (redb's design document, "Database header").
const MAGIC: [u8; 9] = [b'r', b'e', b'd', b'b', 0x1a, 0x0a, 0xa9, 0x0d, 0x0a];
const STATE: usize = 9;
const STATE_RECOVERY: u8 = 2;
const HEADER: usize = 32;
const PAGE: u64 = 4096;
/// No store is larger: what a damaged header says beyond is not believed.
const MAX_LENGTH: u64 = 1 << 44;

/// What the file's header says of it.
struct Layout {
    clean: bool,
    length: u64,
}

/// How long the file is and how long it should be. None if there is no file, it is empty, it is no database, or its
/// writer was killed: then the database repairs it, and finds its length itself.
pub(super) fn lengths(path: &Path) -> Result<Option<(u64, u64)>, StoreError> {
    Ok(layout(path)?
        .filter(|(_, layout)| layout.clean)
        .map(|(length, layout)| (length, layout.length)))
}

/// As [`lengths`], whoever wrote last.
pub(super) fn lengths_as_written(path: &Path) -> Result<Option<(u64, u64)>, StoreError> {
    Ok(layout(path)?.map(|(length, layout)| (length, layout.length)))
}

fn layout(path: &Path) -> Result<Option<(u64, Layout)>, StoreError> {
    let failed = |source| StoreError::Io {
        path: path.to_owned(),
        source,
    };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let length = file.metadata().map_err(failed)?.len();
    let mut header = [0; HEADER];
    match file.read_exact_at(&mut header, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    Ok(parse(&header).map(|layout| (length, layout)))
}

fn parse(header: &[u8; HEADER]) -> Option<Layout> {
    let state = *header.strip_prefix(&MAGIC)?.first()?;
    let word = |at: usize| -> Option<u64> {
        let bytes = header.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes).into())
    };
    let (page, header_pages, most, full, trailing) = (word(12)?, word(16)?, word(20)?, word(24)?, word(28)?);
    if page != PAGE {
        return None;
    }
    let pages = |data: u64| data.checked_add(header_pages)?.checked_mul(PAGE);
    let last = if trailing == 0 { 0 } else { pages(trailing)? };
    let length = pages(most)?
        .checked_mul(full)?
        .checked_add(last)?
        .checked_add(PAGE)
        .filter(|length| *length <= MAX_LENGTH)?;
    Some(Layout {
        clean: state & STATE_RECOVERY == 0,
        length,
    })
}

/// Opens what is left of a file for reading alone.
pub(super) fn open(path: &Path, cache_bytes: usize) -> Result<File, StoreError> {
    let failed = |source| StoreError::Io {
        path: path.to_owned(),
        source,
    };
    let damaged = |what: &str| StoreError::Damaged {
        path: path.to_owned(),
        what: what.to_owned(),
    };
    let (_, expected) = lengths_as_written(path)?.ok_or_else(|| damaged("its header is not a database's"))?;
    let remains = Remains {
        file: fs::File::open(path).map_err(failed)?,
        length: expected,
    };
    super::file::contained(path, || {
        Ok(Builder::new()
            .set_cache_size(cache_bytes)
            .open_read_only_with_backend(remains)?)
    })
    .map(|database| File::read_only(path, database))
}

/// The file as it would be had it been closed in order and not been cut.
#[derive(Debug)]
struct Remains {
    file: fs::File,
    length: u64,
}

impl StorageBackend for Remains {
    fn len(&self) -> io::Result<u64> {
        Ok(self.length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        out.fill(0);
        let mut at = offset;
        let mut left = &mut *out;
        while !left.is_empty() {
            let count = match self.file.read_at(left, at) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            at = at.saturating_add(count as u64);
            left = left.get_mut(count..).unwrap_or_default();
        }
        let state = usize::try_from(offset)
            .ok()
            .and_then(|offset| STATE.checked_sub(offset));
        if let Some(byte) = state.and_then(|state| out.get_mut(state)) {
            *byte &= !STATE_RECOVERY;
        }
        Ok(())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }
}
