//! What OP-TEE's `attestation` service measures of memory (`core/pta/attestation.c`), computed from ELF files.

use sha2::{Digest as _, Sha256};

use crate::launch::LaunchError;
use crate::launch::bytes::Bytes;
use crate::launch::elf::{Elf, Segment};

const PAGE: usize = 4096;
const TA: &str = "trusted application's ELF file";
const TEE: &str = "OP-TEE's ELF file";
/// Largest ELF file: OP-TEE's, with its symbols, has some MiB.
const MAX_ELF: usize = 64 * 1024 * 1024;

/// `optee_ta_memory`: SHA-256 over the read-only memory of a running trusted application, from the ELF file that was
/// signed (`.stripped.elf`). The regions are the first page of the file, which the loader keeps, and the code.
///
/// Of applications that are linked statically, as OP-TEE's build does by default; this was held against what real
/// OP-TEE measured for such alone.
///
/// # Errors
/// [`LaunchError::Unsupported`] for another layout, such as one with shared libraries; [`LaunchError::Malformed`],
/// [`LaunchError::TooLarge`].
pub fn ta_memory(elf: &[u8]) -> Result<[u8; 32], LaunchError> {
    let bytes = Bytes::bounded(TA, elf, MAX_ELF)?;
    let elf = Elf::parse(bytes)?;
    let other =
        |what: &str| bytes.unsupported(format!("{what}: only statically linked applications are known"));
    if elf.needs_libraries()? {
        return Err(other("it needs shared libraries"));
    }
    let segments = elf.segments()?;
    let read_only: Vec<&Segment> = segments.iter().filter(|segment| !segment.writable).collect();
    let [code] = read_only.as_slice() else {
        return Err(other(&format!(
            "it has {} segments that are not writable, not its code alone",
            read_only.len()
        )));
    };
    if !code.executable || code.offset < PAGE || code.file_size != code.memory_size {
        return Err(other("its code does not stand in pages of its own"));
    }
    if !code.offset.is_multiple_of(PAGE) {
        return Err(other("its code does not start at a page"));
    }
    let mut first = bytes.slice(0, PAGE.min(bytes.len()), "first page")?.to_vec();
    first.resize(PAGE, 0);
    let mut text = bytes.slice(code.offset, code.file_size, "code")?.to_vec();
    text.resize(text.len().next_multiple_of(PAGE), 0);
    // Addresses are random, so the regions are put in order by size and contents.
    let mut regions = [first, text];
    regions.sort_by(|one, two| (one.len(), one).cmp(&(two.len(), two)));
    let mut digest = Sha256::new();
    for region in &regions {
        digest.update(region);
    }
    Ok(digest.finalize().into())
}

/// `optee_tee_memory`: SHA-256 over the code and constants of OP-TEE itself, from `tee.elf` with its symbols, for
/// builds without a pager (`CFG_WITH_PAGER=n`).
///
/// # Errors
/// [`LaunchError::Unsupported`] if a symbol is missing, as in a stripped file; [`LaunchError::Malformed`],
/// [`LaunchError::TooLarge`].
pub fn tee_memory(elf: &[u8]) -> Result<[u8; 32], LaunchError> {
    let bytes = Bytes::bounded(TEE, elf, MAX_ELF)?;
    let elf = Elf::parse(bytes)?;
    let symbols = elf.symbols(&[
        "__text_start",
        "__text_data_start",
        "__text_data_end",
        "__text_end",
        "__rodata_start",
        "__rodata_end",
    ])?;
    let [
        text_start,
        data_start,
        data_end,
        text_end,
        rodata_start,
        rodata_end,
    ] = symbols.as_slice()
    else {
        return Err(bytes.unsupported("its symbols are not there"));
    };
    let segments = elf.segments()?;
    let mut digest = Sha256::new();
    for (start, end) in [
        (text_start, data_start),
        (data_end, text_end),
        (rodata_start, rodata_end),
    ] {
        digest.update(elf.memory(&segments, *start, *end)?);
    }
    Ok(digest.finalize().into())
}
