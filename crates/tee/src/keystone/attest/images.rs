//! The three files that an enclave is made of, and where they are in its memory.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use nautilus_core::AttestError;
use nautilus_sys::keystone::{Layout, PAGE};

/// Where the files are: Keystone's loader, its runtime Eyrie, and our application (`deploy/keystone/nautilus-eapp`).
/// The enclave's hash is theirs, so that who changes one is another enclave.
const DIRECTORY: &str = "/usr/lib/nautilus/keystone";
const LOADER: &str = "loader.bin";
const RUNTIME: &str = "eyrie-rt";
const APPLICATION: &str = "nautilus-eapp";

/// Largest file. Eyrie has some hundred kilobytes.
const MAX_FILE: usize = 16 * 1024 * 1024;
/// What Keystone's SDK adds for page tables and zeroed segments (`calculateEpmPages`).
const EXTRA_PAGES: u64 = 16;
/// What the runtime gets for stack and heap.
const FREE_PAGES: u64 = 256;
/// [`PAGE`] as the driver counts.
const PAGE_LEN: u64 = 4096;

/// Loader, runtime and application, in the order in which they are loaded and measured.
pub(super) struct Images {
    files: [Vec<u8>; 3],
}

impl Images {
    /// Reads them from where they are installed.
    pub(super) fn read() -> Result<Self, AttestError> {
        let directory = Path::new(DIRECTORY);
        Ok(Self {
            files: [
                read(&directory.join(LOADER))?,
                read(&directory.join(RUNTIME))?,
                read(&directory.join(APPLICATION))?,
            ],
        })
    }

    /// How many pages to ask the driver for.
    pub(super) fn pages_wanted(&self) -> u64 {
        self.image_pages()
            .iter()
            .fold(EXTRA_PAGES, |sum, pages| sum.saturating_add(*pages))
            .saturating_add(FREE_PAGES)
    }

    pub(super) fn bytes_wanted(&self) -> u64 {
        self.pages_wanted().saturating_mul(PAGE_LEN)
    }

    /// Where each part starts: one after the other, each at a page.
    pub(super) fn layout(&self) -> Layout {
        let [loader, runtime, application] = self.image_pages().map(|pages| pages.saturating_mul(PAGE_LEN));
        let second = loader.saturating_add(runtime);
        Layout {
            runtime: loader,
            application: second,
            free: second.saturating_add(application),
            free_requested: FREE_PAGES.saturating_mul(PAGE_LEN),
        }
    }

    /// The pages with their offsets, the last of each file filled up with zeros.
    pub(super) fn pages(&self) -> impl Iterator<Item = (u64, [u8; PAGE])> {
        let chunks = self.files.iter().flat_map(|file| file.chunks(PAGE));
        (0_u64..).step_by(PAGE).zip(chunks).map(|(offset, chunk)| {
            let mut page = [0; PAGE];
            for (room, byte) in page.iter_mut().zip(chunk) {
                *room = *byte;
            }
            (offset, page)
        })
    }

    fn image_pages(&self) -> [u64; 3] {
        // A file has at most `MAX_FILE` bytes.
        self.files
            .each_ref()
            .map(|file| u64::try_from(file.len().div_ceil(PAGE)).unwrap_or(u64::MAX))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, AttestError> {
    let failed = |action, source| AttestError::Io {
        action,
        interface: path.display().to_string(),
        source,
    };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(AttestError::Missing {
                interface: path.display().to_string(),
                hint: format!(
                    "an enclave is made of {LOADER}, {RUNTIME} and {APPLICATION} there; docs/tee/keystone.md says how \
                     to build them"
                ),
            });
        }
        opened => opened.map_err(|source| failed("open", source))?,
    };
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_FILE).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(|source| failed("read", source))?;
    if bytes.is_empty() || bytes.len() > MAX_FILE {
        return Err(AttestError::Malformed {
            interface: path.display().to_string(),
            what: format!("an image has 1 to {MAX_FILE} bytes"),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other_from_page_to_page() {
        let images = Images {
            files: [vec![1; 1], vec![2; PAGE], vec![3; PAGE + 1]],
        };
        assert_eq!(images.pages_wanted(), 4 + 16 + 256);
        assert_eq!(
            images.layout(),
            Layout {
                runtime: 4096,
                application: 8192,
                free: 16384,
                free_requested: 256 * 4096,
            }
        );
        let pages: Vec<_> = images.pages().collect();
        let offsets: Vec<u64> = pages.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(offsets, [0, 4096, 8192, 12288]);
        let firsts: Vec<[u8; 2]> = pages.iter().map(|(_, page)| [page[0], page[1]]).collect();
        assert_eq!(firsts, [[1, 0], [2, 2], [3, 3], [3, 0]]);
    }
}
