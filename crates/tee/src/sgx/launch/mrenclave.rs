//! MRENCLAVE: the SHA-256 over what ECREATE, EADD and EEXTEND did (Intel SDM, volume 3D, "ECREATE", "EADD",
//! "EEXTEND"), and SGXS, the file format that is this very stream (Fortanix, *SGX stream format*).

use sha2::{Digest as _, Sha256};

use crate::launch::bytes::Bytes;
use crate::launch::{LaunchError, MAX_IMAGE};

const IMAGE: &str = "SGXS enclave";
const RECORD: usize = 64;
/// What EEXTEND measures at once.
const CHUNK: usize = 256;
const PAGE: u64 = 4096;

const ECREATE: [u8; 8] = *b"ECREATE\0";
const EADD: [u8; 8] = *b"EADD\0\0\0\0";
const EEXTEND: [u8; 8] = *b"EEXTEND\0";
const UNMEASURED: [u8; 8] = *b"UNMEASRD";
const UNSIZED: [u8; 8] = *b"UNSIZED\0";

/// 256 bytes of a page, as one EEXTEND measures them.
pub type Chunk = [u8; CHUNK];

/// Builds an MRENCLAVE by the instructions that build the enclave.
#[derive(Clone, Debug)]
pub struct MrEnclave {
    digest: Sha256,
    size: u64,
    /// The page that was added last, and from where on it may be extended.
    page: Option<u64>,
    extended: u16,
}

impl MrEnclave {
    /// ECREATE: an enclave of `size` bytes, whose pages save `ssa_frame_size` pages of state.
    ///
    /// # Errors
    /// [`LaunchError::Configuration`] if the size is no power of two of at least two pages, or the frame size is 0.
    pub fn create(ssa_frame_size: u32, size: u64) -> Result<Self, LaunchError> {
        if !size.is_power_of_two() || size < PAGE.saturating_mul(2) || ssa_frame_size == 0 {
            return Err(configuration(format!(
                "an enclave of {size} bytes with state frames of {ssa_frame_size} pages: the size must be a power of \
                 two, of 8,192 at least, and a frame have a page"
            )));
        }
        let mut digest = Sha256::new();
        digest.update(ECREATE);
        digest.update(ssa_frame_size.to_le_bytes());
        digest.update(size.to_le_bytes());
        digest.update([0; 44]);
        Ok(Self {
            digest,
            size,
            page: None,
            extended: 0,
        })
    }

    /// EADD: a page at `offset` with SECINFO's flags; the rest of SECINFO is zero.
    ///
    /// # Errors
    /// [`LaunchError::Configuration`] if no page can be there, or it does not follow the page before.
    pub fn add(&mut self, offset: u64, flags: u64) -> Result<(), LaunchError> {
        let mut secinfo = [0; 48];
        if let Some(first) = secinfo.first_chunk_mut() {
            *first = flags.to_le_bytes();
        }
        self.add_with(offset, &secinfo)
    }

    fn add_with(&mut self, offset: u64, secinfo: &[u8; 48]) -> Result<(), LaunchError> {
        if !offset.is_multiple_of(PAGE) || offset >= self.size {
            return Err(configuration(format!(
                "EADD at {offset:#x}: no page of an enclave of {:#x} bytes is there",
                self.size
            )));
        }
        // Any order could be measured. A page twice could not be added, and in this order none is.
        if self.page.is_some_and(|page| offset <= page) {
            return Err(configuration(format!(
                "EADD at {offset:#x}: pages are added in ascending order"
            )));
        }
        self.page = Some(offset);
        self.extended = 0;
        self.digest.update(EADD);
        self.digest.update(offset.to_le_bytes());
        self.digest.update(secinfo);
        Ok(())
    }

    /// EEXTEND: measures 256 bytes of the page that was added last, which stand at `offset` of the enclave.
    ///
    /// # Errors
    /// [`LaunchError::Configuration`] if they are not of that page, or were measured already.
    pub fn extend(&mut self, offset: u64, chunk: &Chunk) -> Result<(), LaunchError> {
        self.mark(offset, "EEXTEND")?;
        self.digest.update(EEXTEND);
        self.digest.update(offset.to_le_bytes());
        self.digest.update([0; 48]);
        self.digest.update(chunk);
        Ok(())
    }

    /// Notes that a part of the page is there, so that nothing says two things of it.
    fn mark(&mut self, offset: u64, instruction: &str) -> Result<(), LaunchError> {
        let place = self.page.and_then(|page| offset.checked_sub(page));
        let chunk = place
            .filter(|place| *place < PAGE && place.is_multiple_of(256))
            .and_then(|place| u32::try_from(place >> 8).ok())
            .and_then(|index| 1_u16.checked_shl(index));
        let Some(bit) = chunk else {
            return Err(configuration(format!(
                "{instruction} at {offset:#x}: it is no part of the page that was added last"
            )));
        };
        if self.extended & bit != 0 {
            return Err(configuration(format!("{instruction} at {offset:#x} twice")));
        }
        self.extended |= bit;
        Ok(())
    }

    /// MRENCLAVE, as EINIT makes it final.
    pub fn finish(self) -> [u8; 32] {
        self.digest.finalize().into()
    }
}

/// Whether bytes start like an SGXS file.
pub fn recognises_sgxs(bytes: &[u8]) -> bool {
    bytes.len() >= RECORD && (bytes.starts_with(&ECREATE) || bytes.starts_with(&UNSIZED))
}

/// MRENCLAVE of an enclave in the SGX stream format.
///
/// # Errors
/// [`LaunchError::Malformed`] with the offset of the record, if it is none, is cut, has reserved bytes that are not
/// zero, or stands where a canonical stream cannot have it; [`LaunchError::Unsupported`] for an enclave without a size.
pub fn sgxs(bytes: &[u8]) -> Result<[u8; 32], LaunchError> {
    let raw = Bytes::bounded(IMAGE, bytes, MAX_IMAGE)?;
    let first: [u8; RECORD] = raw.array(0, "ECREATE")?;
    if first.starts_with(&UNSIZED) {
        return Err(raw.unsupported(
            "it has no size yet (UNSIZED), so that its measurement is not decided: give it one",
        ));
    }
    if !first.starts_with(&ECREATE) {
        return Err(raw.malformed(0, "it does not start with ECREATE".to_owned()));
    }
    zero(&raw, 20, 44)?;
    let at = |offset: usize, error: LaunchError| match error {
        LaunchError::Configuration { what } => raw.malformed(offset, what),
        other => other,
    };
    let mut enclave =
        MrEnclave::create(raw.u32(8, "frame size")?, raw.u64(12, "size")?).map_err(|error| at(0, error))?;
    let mut offset = RECORD;
    while offset < raw.len() {
        let tag: [u8; 8] = raw.array(offset, "record")?;
        let place = raw.u64(offset.saturating_add(8), "record")?;
        let body = offset.saturating_add(16);
        let next = offset.saturating_add(RECORD);
        match tag {
            EADD => {
                let secinfo = raw.array(body, "SECINFO")?;
                enclave
                    .add_with(place, &secinfo)
                    .map_err(|error| at(offset, error))?;
                zero(&raw, body.saturating_add(8), 40)?;
                offset = next;
            }
            EEXTEND | UNMEASURED => {
                zero(&raw, body, 48)?;
                let chunk: Chunk = raw.array(next, "contents")?;
                if tag == EEXTEND {
                    enclave.extend(place, &chunk).map_err(|error| at(offset, error))?;
                } else {
                    enclave
                        .mark(place, "UNMEASRD")
                        .map_err(|error| at(offset, error))?;
                }
                offset = next.saturating_add(CHUNK);
            }
            other => {
                let name = other.escape_ascii();
                return Err(raw.malformed(offset, format!("a record `{name}` that is none")));
            }
        }
    }
    Ok(enclave.finish())
}

fn zero(raw: &Bytes<'_>, offset: usize, length: usize) -> Result<(), LaunchError> {
    let reserved = raw.slice(offset, length, "reserved bytes")?;
    match reserved.iter().position(|byte| *byte != 0) {
        None => Ok(()),
        Some(place) => Err(raw.malformed(
            offset.saturating_add(place),
            "a reserved byte that is not zero".to_owned(),
        )),
    }
}

const fn configuration(what: String) -> LaunchError {
    LaunchError::Configuration { what }
}
