//! Indices of the TPM's own memory: *Part 3*, "TPM2_NV_ReadPublic", "TPM2_NV_Read", "TPM2_NV_DefineSpace",
//! "TPM2_NV_Increment"; *Part 2*, "TPMA_NV", "TPMS_NV_PUBLIC".

use super::command::{Authorization, Command};
use super::session::RH_OWNER;
use super::{Error, Tpm, code};
use crate::tpm::wire::HashAlgorithm;

/// `TPMA_NV`: who reads and writes, and that its use does not count towards the lockout.
pub(in crate::tpm) const NV_AUTHWRITE: u32 = 1 << 2;
pub(in crate::tpm) const NV_OWNERREAD: u32 = 1 << 17;
pub(in crate::tpm) const NV_AUTHREAD: u32 = 1 << 18;
pub(in crate::tpm) const NV_NO_DA: u32 = 1 << 25;
/// `TPM_NT_COUNTER` in `TPMA_NV.TPM_NT`.
pub(in crate::tpm) const NV_COUNTER: u32 = 1 << 4;
/// `TPMA_NV.WRITTEN`, which the TPM sets.
pub(in crate::tpm) const NV_WRITTEN: u32 = 1 << 29;
/// Most bytes that are read in one command, if the TPM allows as many.
const CHUNK: u16 = 1024;
const MAX_DIGEST: usize = 64;
const MAX_NAME: usize = 66;
const MAX_PUBLIC: usize = 256;

/// What an index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tpm) struct NvPublic {
    /// `TPMA_NV`.
    pub(in crate::tpm) attributes: u32,
    /// Bytes of its content.
    pub(in crate::tpm) size: u16,
}

impl Tpm {
    /// What the index is; none if it is not defined.
    pub(in crate::tpm) fn nv_public(&self, index: u32) -> Result<Option<NvPublic>, Error> {
        const NAME: &str = "TPM2_NV_ReadPublic";
        let command = Command::new(NAME, code::CC_NV_READ_PUBLIC).handle(index);
        let response = match self.run(command) {
            Err(Error::Refused { code, .. }) if code::is_no_such_handle(code) => return Ok(None),
            response => response?,
        };
        self.read(&response, NAME, |reader| {
            let start = reader.offset();
            let size = usize::from(reader.u16("size of nvPublic")?);
            let at = reader.offset();
            if size > MAX_PUBLIC {
                return Err(
                    reader.fault_at(start, format!("nvPublic has {size} bytes, {MAX_PUBLIC} at most"))
                );
            }
            let found = reader.u32("nvIndex")?;
            if found != index {
                return Err(reader.fault_at(at, format!("index {found:#x}, {index:#x} was asked for")));
            }
            reader.u16("nameAlg")?;
            let attributes = reader.u32("attributes")?;
            reader.sized(MAX_DIGEST, "authPolicy")?;
            let public = NvPublic {
                attributes,
                size: reader.u16("dataSize")?,
            };
            if reader.offset().saturating_sub(at) != size {
                return Err(reader.fault_at(start, format!("size of nvPublic is {size}, which it has not")));
            }
            reader.sized(MAX_NAME, "nvName")?;
            Ok(Some(public))
        })
    }

    /// The content of the index, of at most `most` bytes; none if it is not defined, or nothing was written to it.
    pub(in crate::tpm) fn nv_read(&self, index: u32, most: usize) -> Result<Option<Vec<u8>>, Error> {
        let Some(public) = self.nv_public(index)? else {
            return Ok(None);
        };
        if public.attributes & NV_WRITTEN == 0 {
            return Ok(None);
        }
        if usize::from(public.size) > most {
            let what = format!("index {index:#x} has {} bytes, {most} at most", public.size);
            return Err(self.malformed("TPM2_NV_ReadPublic", &what));
        }
        let by = if public.attributes & NV_AUTHREAD != 0 {
            index
        } else {
            RH_OWNER
        };
        let chunk = self
            .nv_buffer()?
            .and_then(|most| u16::try_from(most).ok())
            .map_or(CHUNK, |most| most.clamp(1, CHUNK));
        let mut content = Vec::new();
        while let Some(left) = public
            .size
            .checked_sub(offset_of(&content))
            .filter(|left| *left > 0)
        {
            let read = self.nv_read_part(index, by, offset_of(&content), left.min(chunk))?;
            content.extend_from_slice(&read);
        }
        Ok(Some(content))
    }

    fn nv_read_part(&self, index: u32, by: u32, offset: u16, length: u16) -> Result<Vec<u8>, Error> {
        const NAME: &str = "TPM2_NV_Read";
        let command = Command::new(NAME, code::CC_NV_READ)
            .authorized(by, Authorization::EmptyPassword)
            .handle(index)
            .u16(length)
            .u16(offset);
        let response = self.run(command)?;
        self.read(&response, NAME, |reader| {
            let at = reader.offset();
            let data = reader.sized(usize::from(length), "data")?;
            if data.len() != usize::from(length) {
                let what = format!("{} bytes of data, {length} were asked for", data.len());
                return Err(reader.fault_at(at, what));
            }
            Ok(data.to_vec())
        })
    }

    /// Defines an index of the owner's, with the empty password.
    pub(in crate::tpm) fn nv_define(&self, index: u32, public: NvPublic) -> Result<(), Error> {
        const NAME: &str = "TPM2_NV_DefineSpace";
        let described = [
            &index.to_be_bytes()[..],
            &HashAlgorithm::Sha256.id().0.to_be_bytes(),
            &public.attributes.to_be_bytes(),
            &[0, 0],
            &public.size.to_be_bytes(),
        ]
        .concat();
        let command = Command::new(NAME, code::CC_NV_DEFINE_SPACE)
            .authorized(RH_OWNER, Authorization::EmptyPassword)
            .sized(&[])
            .sized(&described);
        match self.run(command) {
            Err(error) if error.code() == Some(code::RC_NV_DEFINED) => Ok(()),
            Err(error) => Err(error),
            Ok(response) => self.read(&response, NAME, |_| Ok(())),
        }
    }

    /// Adds one to a counter.
    pub(in crate::tpm) fn nv_increment(&self, index: u32) -> Result<(), Error> {
        const NAME: &str = "TPM2_NV_Increment";
        let command = Command::new(NAME, code::CC_NV_INCREMENT)
            .authorized(index, Authorization::EmptyPassword)
            .handle(index);
        let response = self.run(command)?;
        self.read(&response, NAME, |_| Ok(()))
    }
}

/// Below the size of an index, which is a `u16`.
fn offset_of(content: &[u8]) -> u16 {
    u16::try_from(content.len()).unwrap_or(u16::MAX)
}
