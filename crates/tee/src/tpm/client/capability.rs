//! `TPM2_GetCapability`: what the TPM can do. *Part 2*, "TPM_CAP", "TPMS_CAPABILITY_DATA".

use nautilus_core::VerifyError;

use super::command::Command;
use super::{Error, Tpm, code};
use crate::tpm::wire::{PcrSelection, Reader, read_selections};

const CAP_PCRS: u32 = 5;
const CAP_TPM_PROPERTIES: u32 = 6;
const CAP_ECC_CURVES: u32 = 8;
/// `TPM_PT_NV_BUFFER_MAX`: most bytes that one command reads of an index.
const PT_NV_BUFFER_MAX: u32 = 0x12c;
/// Most entries that are taken: no TPM has as many curves.
const MAX_ENTRIES: u32 = 64;

impl Tpm {
    /// The banks that are active, and the PCRs in each.
    pub(in crate::tpm) fn pcr_banks(&self) -> Result<Vec<PcrSelection>, Error> {
        self.capability(CAP_PCRS, 0, read_selections)
    }

    /// Whether keys can be on the curve of that number (`TPM_ECC_CURVE`).
    pub(in crate::tpm) fn has_curve(&self, curve: u16) -> Result<bool, Error> {
        self.capability(CAP_ECC_CURVES, 0, |reader| {
            let mut found = false;
            for _ in 0..read_count(reader)? {
                found |= reader.u16("curve")? == curve;
            }
            Ok(found)
        })
    }

    /// Most bytes that `TPM2_NV_Read` gives at once; none if the TPM does not say.
    pub(super) fn nv_buffer(&self) -> Result<Option<u32>, Error> {
        self.capability(CAP_TPM_PROPERTIES, PT_NV_BUFFER_MAX, |reader| {
            let mut found = None;
            for _ in 0..read_count(reader)? {
                let (property, value) = (reader.u32("property")?, reader.u32("value")?);
                if property == PT_NV_BUFFER_MAX {
                    found = Some(value);
                }
            }
            Ok(found)
        })
    }

    fn capability<T>(
        &self,
        capability: u32,
        first: u32,
        read: impl FnOnce(&mut Reader<'_>) -> Result<T, VerifyError>,
    ) -> Result<T, Error> {
        const NAME: &str = "TPM2_GetCapability";
        let command = Command::new(NAME, code::CC_GET_CAPABILITY)
            .u32(capability)
            .u32(first)
            .u32(if capability == CAP_TPM_PROPERTIES {
                1
            } else {
                MAX_ENTRIES
            });
        let response = self.run(command)?;
        self.read(&response, NAME, |reader| {
            reader.yes_or_no("moreData")?;
            let at = reader.offset();
            let found = reader.u32("capability")?;
            if found != capability {
                return Err(reader.fault_at(at, format!("capability {found}, {capability} was asked for")));
            }
            read(reader)
        })
    }
}

fn read_count(reader: &mut Reader<'_>) -> Result<u32, VerifyError> {
    let at = reader.offset();
    match reader.u32("count")? {
        count if count <= MAX_ENTRIES => Ok(count),
        count => Err(reader.fault_at(at, format!("{count} entries, {MAX_ENTRIES} were asked for"))),
    }
}
