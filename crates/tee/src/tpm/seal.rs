//! Sealing: a fresh key in an object of the TPM's, and the secret encrypted by it. An object holds 128 bytes at most.
//!
//! `"NAUTILUS-TPM" ‖ version u8 ‖ TPM2B_PUBLIC ‖ TPM2B_PRIVATE ‖ what [`KeySealer`] makes`. The object's parent is the
//! storage root key, which follows from the owner's seed: only the same TPM loads it, until somebody clears it.

use std::sync::Arc;

use nautilus_core::{AttestError, Counter, Protection, SealError, Sealer, VerifyError};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use super::ak::kind_of;
use super::client::{
    Error, Loaded, NV_AUTHREAD, NV_AUTHWRITE, NV_COUNTER, NV_NO_DA, NV_OWNERREAD, NV_WRITTEN, NvPublic,
    RH_OWNER, Tpm, is_about_a_parameter,
};
use super::template;
use super::wire::Reader;
use crate::sealing::KeySealer;

const HEADER: &[u8; 13] = b"NAUTILUS-TPM\x01";
const MAX_PART: usize = 1024;
/// The counter's index: in the range of the owner's, 0x01800000 to 0x01bfffff (TCG, *Registry of Reserved TPM 2.0
/// Handles and Localities*, "NV Index").
const COUNTER: u32 = 0x0180_4e54;
/// A counter is eight bytes (*Part 2*, "TPM_NT").
const COUNTER_LEN: usize = 8;
const COUNTER_SIZE: u16 = 8;
const COUNTER_ATTRIBUTES: u32 = NV_COUNTER | NV_AUTHREAD | NV_AUTHWRITE | NV_OWNERREAD | NV_NO_DA;

/// Seals with a TPM, and counts with it.
pub struct TpmSealer {
    tpm: Arc<Tpm>,
    counter: TpmCounter,
}

impl TpmSealer {
    /// A sealer with this TPM. Nothing is asked of it yet.
    pub fn new(tpm: Arc<Tpm>) -> Self {
        Self {
            counter: TpmCounter(Arc::clone(&tpm)),
            tpm,
        }
    }

    fn storage_root_key(&self) -> Result<Loaded<'_>, Error> {
        let template = template::storage_root_key(kind_of(&self.tpm)?);
        self.tpm
            .create_primary(RH_OWNER, &template)
            .map(|(loaded, _)| loaded)
    }

    fn with_key(&self, key: Zeroizing<[u8; 32]>) -> KeySealer {
        KeySealer::new(key, self.protection())
    }
}

impl Sealer for TpmSealer {
    fn protection(&self) -> Protection {
        Protection::Tee {
            bound_to: format!(
                "the TPM at {}, not the code: every program that may use the TPM can unseal",
                self.tpm.interface()
            ),
        }
    }

    fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        const ACTION: &str = "seal";
        let _turn = self.tpm.turn();
        let mut key = Zeroizing::new([0; 32]);
        SystemRandom::new()
            .fill(key.as_mut_slice())
            .map_err(|_| SealError::Tee {
                action: ACTION,
                what: "the system gives no randomness".to_owned(),
            })?;
        let created = self
            .storage_root_key()
            .and_then(|parent| self.tpm.create(&parent, &template::sealed_data(), key.as_slice()));
        let object = created.map_err(|error| error.while_sealing(ACTION))?;
        let body = self.with_key(key).seal(plaintext)?;
        let mut sealed = HEADER.to_vec();
        for part in [&object.public, &object.private] {
            let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
            sealed.extend_from_slice(&length.to_be_bytes());
            sealed.extend_from_slice(part);
        }
        sealed.extend_from_slice(&body);
        Ok(sealed)
    }

    fn unseal(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        const ACTION: &str = "unseal";
        let not_ours = |what: String| SealError::NotOurs { what };
        let parts = Parts::of(sealed).map_err(|error| not_ours(error.to_string()))?;
        let key = {
            let _turn = self.tpm.turn();
            let parent = self
                .storage_root_key()
                .map_err(|error| error.while_sealing(ACTION))?;
            let loaded = self
                .tpm
                .load(&parent, parts.public, parts.private)
                .map_err(|error| match error.code() {
                    // What is wrong is what was given, and the TPM looked at it whole.
                    Some(code) if is_about_a_parameter(code) => {
                        not_ours(AttestError::from(error).to_string())
                    }
                    _ => error.while_sealing(ACTION),
                })?;
            self.tpm
                .unseal(&loaded)
                .map_err(|error| error.while_sealing(ACTION))?
        };
        let key: [u8; 32] = key
            .as_slice()
            .try_into()
            .map_err(|_| not_ours(format!("the TPM's object holds {} bytes, not a key", key.len())))?;
        self.with_key(Zeroizing::new(key)).unseal(parts.body)
    }

    fn counter(&self) -> Option<&dyn Counter> {
        Some(&self.counter)
    }
}

/// What sealed bytes are made of.
struct Parts<'a> {
    public: &'a [u8],
    private: &'a [u8],
    body: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(sealed: &'a [u8]) -> Result<Self, VerifyError> {
        let mut reader = Reader::new("sealed state", sealed);
        if reader.take(HEADER.len(), "header")? != HEADER {
            return Err(reader.fault_at(0, "it does not start as a TPM's does"));
        }
        Ok(Self {
            public: reader.sized(MAX_PART, "object's public area")?,
            private: reader.sized(MAX_PART, "object's private area")?,
            body: reader.rest(),
        })
    }
}

/// An index of the TPM's that counts. A TPM starts a new counter above every one that it ever had (*Part 3*,
/// "TPM2_NV_Increment"): taking it away and defining it anew turns nothing back.
struct TpmCounter(Arc<Tpm>);

impl TpmCounter {
    /// Defines it where it is not, and gives it a first value, without which it cannot be read.
    fn defined(&self) -> Result<(), Error> {
        let tpm = &self.0;
        let public = match tpm.nv_public(COUNTER)? {
            Some(public) => public,
            None => {
                let new = NvPublic {
                    attributes: COUNTER_ATTRIBUTES,
                    size: COUNTER_SIZE,
                };
                tpm.nv_define(COUNTER, new)?;
                new
            }
        };
        if public.attributes & !NV_WRITTEN != COUNTER_ATTRIBUTES || public.size != COUNTER_SIZE {
            return Err(Error::Link(AttestError::Unsupported {
                what: format!(
                    "index {COUNTER:#x} of {} is not the counter that Nautilus makes (attributes {:#x}): remove it \
                     (tpm2_nvundefine {COUNTER:#x}), after which sealed state counts as old",
                    tpm.interface(),
                    public.attributes
                ),
            }));
        }
        match public.attributes & NV_WRITTEN {
            0 => tpm.nv_increment(COUNTER),
            _ => Ok(()),
        }
    }

    fn value(&self) -> Result<u64, Error> {
        let content = self.0.nv_read(COUNTER, COUNTER_LEN)?;
        let bytes = content.and_then(|content| <[u8; COUNTER_LEN]>::try_from(content).ok());
        bytes
            .map(u64::from_be_bytes)
            .ok_or_else(|| self.0.malformed("TPM2_NV_Read", &"the counter has no value"))
    }
}

impl Counter for TpmCounter {
    fn read(&self) -> Result<u64, SealError> {
        let _turn = self.0.turn();
        self.defined()
            .and_then(|()| self.value())
            .map_err(|error| error.while_sealing("read its counter"))
    }

    fn advance(&self) -> Result<u64, SealError> {
        const ACTION: &str = "advance its counter";
        let _turn = self.0.turn();
        let advanced = self.defined().and_then(|()| {
            let before = self.value()?;
            self.0.nv_increment(COUNTER)?;
            Ok((before, self.value()?))
        });
        let (before, after) = advanced.map_err(|error| error.while_sealing(ACTION))?;
        if after <= before {
            return Err(SealError::Tee {
                action: ACTION,
                what: format!("it went from {before} to {after}"),
            });
        }
        Ok(after)
    }

    fn outlives_restore(&self) -> bool {
        true
    }
}
