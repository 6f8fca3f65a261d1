//! `TPM2_Quote` and `TPM2_PCR_Read`.

use std::collections::{BTreeMap, BTreeSet};

use super::command::{Authorization, Command};
use super::{Error, Tpm, code};
use crate::tpm::wire::{ALG_NULL, HashAlgorithm, PcrSelection, read_selections};

const MAX_STRUCTURE: usize = 1024;
/// Most digests that a response has (`TPML_DIGEST`).
const MAX_DIGESTS: u32 = 8;
/// Most rounds of reading: a TPM that gives one value a round needs as many.
const MAX_ROUNDS: usize = 24;
const NAME: &str = "TPM2_PCR_Read";

impl Tpm {
    /// A quote by the key: `TPMS_ATTEST` and `TPMT_SIGNATURE`.
    pub(in crate::tpm) fn quote(
        &self,
        key: u32,
        qualifying_data: &[u8],
        selection: &PcrSelection,
    ) -> Result<(Vec<u8>, Vec<u8>), Error> {
        const NAME: &str = "TPM2_Quote";
        let command = Command::new(NAME, code::CC_QUOTE)
            .authorized(key, Authorization::EmptyPassword)
            .sized(qualifying_data)
            // By the key's own scheme.
            .u16(ALG_NULL)
            .bytes(&selection.to_list());
        let response = self.run(command)?;
        self.read(&response, NAME, |reader| {
            let attest = reader.sized(MAX_STRUCTURE, "quoted")?.to_vec();
            Ok((attest, reader.rest().to_vec()))
        })
    }

    /// The values of all selected PCRs, which may change while they are read.
    pub(in crate::tpm) fn pcr_values(
        &self,
        bank: HashAlgorithm,
        pcrs: &BTreeSet<u8>,
    ) -> Result<BTreeMap<u8, Vec<u8>>, Error> {
        let mut values = BTreeMap::new();
        for _ in 0..MAX_ROUNDS {
            let left: BTreeSet<u8> = pcrs
                .iter()
                .filter(|pcr| !values.contains_key(*pcr))
                .copied()
                .collect();
            if left.is_empty() {
                return Ok(values);
            }
            let read = self.read_some(&PcrSelection {
                bank: bank.id(),
                pcrs: left.clone(),
            })?;
            for (pcr, value) in read {
                if !left.contains(&pcr) || value.len() != bank.digest_len() {
                    let what = format!("PCR {pcr} with {} bytes was not asked for", value.len());
                    return Err(self.malformed(NAME, &what));
                }
                values.insert(pcr, value);
            }
        }
        Err(self.malformed(NAME, &"it does not give all PCRs that were asked for"))
    }

    fn read_some(&self, selection: &PcrSelection) -> Result<Vec<(u8, Vec<u8>)>, Error> {
        let response = self.run(Command::new(NAME, code::CC_PCR_READ).bytes(&selection.to_list()))?;
        self.read(&response, NAME, |reader| {
            reader.u32("pcrUpdateCounter")?;
            let at = reader.offset();
            let given = read_selections(reader)?;
            let [given] = given.as_slice() else {
                return Err(reader.fault_at(at, format!("{} PCR banks, 1 was asked for", given.len())));
            };
            if given.bank != selection.bank {
                return Err(reader.fault_at(at, format!("bank {}, not {}", given.bank, selection.bank)));
            }
            let at = reader.offset();
            let count = reader.u32("number of digests")?;
            if count > MAX_DIGESTS || usize::try_from(count).ok() != Some(given.pcrs.len()) {
                let what = format!("{count} digests for {} PCRs", given.pcrs.len());
                return Err(reader.fault_at(at, what));
            }
            let mut values = Vec::new();
            for pcr in &given.pcrs {
                values.push((*pcr, reader.sized(64, "digest")?.to_vec()));
            }
            Ok(values)
        })
    }
}
