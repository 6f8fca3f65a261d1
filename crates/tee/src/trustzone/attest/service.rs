//! OP-TEE's `attestation` service (`lib/libutee/include/pta_attestation.h`, `core/pta/attestation.c` of OP-TEE).

use nautilus_core::AttestError;
use nautilus_sys::tee_client::{Parameter, Session, SharedMemory};
use ring::signature::{RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents};
use sha2::{Digest as _, Sha256};

use super::client::{OpTee, Refusal, code};
use crate::trustzone::optee::Command;

const UUID: [u8; 16] = [
    0x39, 0x80, 0x08, 0x61, 0x18, 0x2a, 0x47, 0x20, 0x9b, 0x67, 0x2b, 0xcd, 0x62, 0x2b, 0xc0, 0xb5,
];
const GET_PUBKEY: u32 = 0;
/// `TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256`.
const RSASSA_PSS_SHA256: u64 = 0x7041_4930;
const MEASUREMENT_LEN: usize = 32;
/// Lengths in bytes: OP-TEE's exponent is 65537, its modulus has up to 4,096 bits.
const EXPONENT_LEN: std::ops::RangeInclusive<usize> = 1..=4;
const MODULUS_LEN: std::ops::RangeInclusive<usize> = 256..=1024;
/// Where the second of two buffers starts in the shared memory.
const SECOND: usize = 4096;

/// A session with the service.
pub(super) struct AttestationService<'t> {
    tee: &'t OpTee,
    session: Session<'t>,
}

/// The key that the service signs with, as it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    exponent: Vec<u8>,
    modulus: Vec<u8>,
}

impl<'t> AttestationService<'t> {
    pub(super) fn open(tee: &'t OpTee) -> Result<Self, AttestError> {
        match tee.session(UUID)? {
            Ok(session) => Ok(Self { tee, session }),
            Err(Refusal(status)) if status.code == code::ITEM_NOT_FOUND => Err(AttestError::Missing {
                interface: format!("OP-TEE's attestation service at {}", tee.path()),
                hint: "build OP-TEE with CFG_ATTESTATION_PTA=y, which is off by default".to_owned(),
            }),
            Err(refusal) => Err(AttestError::Refused {
                interface: format!("OP-TEE's attestation service at {}", tee.path()),
                what: format!("a session: {refusal}"),
            }),
        }
    }

    pub(super) fn name(&self) -> String {
        format!("OP-TEE's attestation service at {}", self.tee.path())
    }

    /// `PTA_ATTESTATION_GET_PUBKEY`. Makes the key, where there is none yet.
    pub(super) fn public_key(&self) -> Result<Key, AttestError> {
        let algorithm = Parameter::ValueOut { a: 0, b: 0 };
        let [exponent_len, modulus_len, ..] =
            self.lengths(GET_PUBKEY, [ASK, ASK, algorithm, Parameter::Nothing])?;
        let exponent_len = self.within("its exponent", exponent_len, &EXPONENT_LEN)?;
        let modulus_len = self.within("its modulus", modulus_len, &MODULUS_LEN)?;
        let memory = self.tee.memory(SECOND.saturating_add(modulus_len))?;
        let mut parameters = [
            output(&memory, 0, exponent_len),
            output(&memory, SECOND, modulus_len),
            algorithm,
            Parameter::Nothing,
        ];
        self.invoke(GET_PUBKEY, &mut parameters)?;
        let key = Key {
            exponent: self.taken(&parameters[0], exponent_len)?,
            modulus: self.taken(&parameters[1], modulus_len)?,
        };
        match parameters[2] {
            Parameter::ValueOut { a, .. } if a == RSASSA_PSS_SHA256 => Ok(key),
            Parameter::ValueOut { a, .. } => Err(self.malformed(format!(
                "its key is for algorithm 0x{a:x}, not RSASSA-PSS with SHA-256 (0x{RSASSA_PSS_SHA256:x})"
            ))),
            _ => Err(self.malformed("its key is for no algorithm".to_owned())),
        }
    }

    /// `PTA_ATTESTATION_HASH_TEE_MEMORY`: OP-TEE's measurement, and the signature over nonce and measurement.
    pub(super) fn hash_tee_memory(&self, nonce: &[u8; 64], key: &Key) -> Result<Vec<u8>, AttestError> {
        let number = Command::TeeMemory.number();
        let expected = MEASUREMENT_LEN.saturating_add(key.modulus.len());
        let mut memory = self.tee.memory(SECOND.saturating_add(expected))?;
        memory
            .write(0, nonce)
            .map_err(|source| self.tee.failed("write to shared memory of", source))?;
        let input = Parameter::Input {
            memory: &memory,
            offset: 0,
            length: nonce.len(),
        };
        let [_, needed, ..] = self.lengths(number, [input, ASK, Parameter::Nothing, Parameter::Nothing])?;
        if u64::try_from(expected) != Ok(needed) {
            return Err(self.malformed(format!(
                "it has {needed} bytes to give, where measurement and signature have {expected}"
            )));
        }
        let mut parameters = [
            input,
            output(&memory, SECOND, expected),
            Parameter::Nothing,
            Parameter::Nothing,
        ];
        self.invoke(number, &mut parameters)?;
        self.taken(&parameters[1], expected)
    }

    /// Asks a command how many bytes it gives: it refuses, because nothing fits where nothing is.
    fn lengths(&self, function: u32, mut parameters: [Parameter<'_>; 4]) -> Result<[u64; 4], AttestError> {
        let status = self
            .session
            .invoke(function, &mut parameters)
            .map_err(|source| self.tee.failed("invoke a command at", source))?;
        if status.code != code::SHORT_BUFFER {
            return Err(match status.code {
                0 => self.malformed(format!("command {function} gave something where nothing fits")),
                _ => self.refused(function, Refusal(status)),
            });
        }
        Ok(parameters.map(|parameter| match parameter {
            Parameter::Output { length, .. } => length,
            _ => 0,
        }))
    }

    fn invoke(&self, function: u32, parameters: &mut [Parameter<'_>; 4]) -> Result<(), AttestError> {
        let status = self
            .session
            .invoke(function, parameters)
            .map_err(|source| self.tee.failed("invoke a command at", source))?;
        match status.code {
            0 => Ok(()),
            _ => Err(self.refused(function, Refusal(status))),
        }
    }

    /// What stands in an output after a call, which must be as long as was said before.
    fn taken(&self, parameter: &Parameter<'_>, expected: usize) -> Result<Vec<u8>, AttestError> {
        let Parameter::Output {
            memory: Some(memory),
            offset,
            length,
        } = *parameter
        else {
            return Err(self.malformed("an output that is none".to_owned()));
        };
        if u64::try_from(expected) != Ok(length) {
            return Err(self.malformed(format!("{length} bytes, where it said {expected} before")));
        }
        memory
            .read(offset, expected)
            .map_err(|source| self.tee.failed("read shared memory of", source))
    }

    fn within(
        &self,
        what: &str,
        length: u64,
        range: &std::ops::RangeInclusive<usize>,
    ) -> Result<usize, AttestError> {
        usize::try_from(length)
            .ok()
            .filter(|length| range.contains(length))
            .ok_or_else(|| {
                let (least, most) = (range.start(), range.end());
                self.malformed(format!("{what} has {length} bytes, not {least} to {most}"))
            })
    }

    fn malformed(&self, what: String) -> AttestError {
        AttestError::Malformed {
            interface: self.name(),
            what,
        }
    }

    fn refused(&self, function: u32, refusal: Refusal) -> AttestError {
        AttestError::Refused {
            interface: self.name(),
            what: format!("command {function}: {refusal}"),
        }
    }
}

/// Asks for a length.
const ASK: Parameter<'static> = Parameter::Output {
    memory: None,
    offset: 0,
    length: 0,
};

fn output(memory: &SharedMemory, offset: usize, length: usize) -> Parameter<'_> {
    Parameter::Output {
        memory: Some(memory),
        offset,
        // What was within a range of lengths fits.
        length: u64::try_from(length).unwrap_or(0),
    }
}

impl Key {
    /// SHA-256 of the modulus: the key's name in the evidence.
    pub(super) fn id(&self) -> [u8; 32] {
        Sha256::digest(&self.modulus).into()
    }

    /// Whether `output` is a measurement that this key signed for this nonce.
    pub(super) fn signed(&self, nonce: &[u8; 64], output: &[u8]) -> bool {
        let Some((measurement, signature)) = output.split_first_chunk::<MEASUREMENT_LEN>() else {
            return false;
        };
        let key = RsaPublicKeyComponents {
            n: &self.modulus,
            e: &self.exponent,
        };
        let message = [nonce.as_slice(), measurement].concat();
        key.verify(&RSA_PSS_2048_8192_SHA256, &message, signature).is_ok()
    }
}
