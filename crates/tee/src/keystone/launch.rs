//! What a Keystone enclave will report, from the files that it is made of: the security monitor hashes the enclave's
//! pages with SHA3-512 when it is created (`sm/src/attest.c` of keystone-enclave/keystone), and the boot ROM hashes the
//! security monitor (`bootrom/bootloader.c`).
//!
//! Neither free memory nor the buffer shared with the host enters the hash.

use nautilus_core::TeeKind;
use sha3::{Digest as _, Sha3_512};

use crate::launch::{Expected, LaunchError};

/// Bytes of a page: each file fills whole ones, the rest of the last is zero.
const PAGE: usize = 4096;
/// Largest file. An enclave lives in physically contiguous memory, of which Linux gives out some hundred MiB.
const MAX_FILE: usize = 1024 * 1024 * 1024;
/// What the boot ROM hashes, whatever the firmware's length.
pub const FIRMWARE_AREA: usize = 0x1f_f000;

/// The files of an enclave, in the order in which they lie in its memory.
#[derive(Clone, Copy, Debug)]
pub struct Enclave<'a> {
    /// The loader, such as `loader.bin`.
    pub loader: &'a [u8],
    /// The run-time, such as `eyrie-rt`.
    pub runtime: &'a [u8],
    /// The application.
    pub eapp: &'a [u8],
}

impl Enclave<'_> {
    /// The enclave's hash: `enclave_hash` of its evidence.
    ///
    /// # Errors
    /// [`LaunchError::Configuration`] for a file without contents, [`LaunchError::TooLarge`].
    pub fn hash(&self) -> Result<[u8; 64], LaunchError> {
        let files = [
            ("loader", self.loader),
            ("runtime", self.runtime),
            ("eapp", self.eapp),
        ];
        let mut digest = Sha3_512::new();
        for (name, file) in files {
            let padded = padded_length(name, file)?;
            digest.update(u64::try_from(padded).unwrap_or(u64::MAX).to_le_bytes());
        }
        for (name, file) in files {
            update_padded(&mut digest, file, padded_length(name, file)?);
        }
        Ok(digest.finalize().into())
    }
}

/// Hash of the security monitor with the firmware around it (`fw_jump.bin`): `sm_hash` of evidence.
///
/// # Errors
/// [`LaunchError::Configuration`] for a file without contents, [`LaunchError::TooLarge`] if the boot ROM would not hash
/// all of it.
pub fn sm_hash(firmware: &[u8]) -> Result<[u8; 64], LaunchError> {
    not_empty("security monitor", firmware)?;
    if firmware.len() > FIRMWARE_AREA {
        return Err(LaunchError::TooLarge {
            image: "security monitor",
            limit: FIRMWARE_AREA,
        });
    }
    let mut digest = Sha3_512::new();
    update_padded(&mut digest, firmware, FIRMWARE_AREA);
    Ok(digest.finalize().into())
}

/// What evidence will say: of the enclave, and with the firmware at hand of the security monitor too.
///
/// # Errors
/// As [`Enclave::hash`] and [`sm_hash`].
pub fn expected(enclave: &Enclave<'_>, firmware: Option<&[u8]>) -> Result<Expected, LaunchError> {
    let expected =
        Expected::new(TeeKind::Keystone, "Keystone enclave").measured("enclave_hash", &enclave.hash()?);
    match firmware {
        Some(firmware) => Ok(expected.measured("sm_hash", &sm_hash(firmware)?)),
        None => Ok(expected),
    }
}

fn padded_length(name: &'static str, file: &[u8]) -> Result<usize, LaunchError> {
    not_empty(name, file)?;
    if file.len() > MAX_FILE {
        return Err(LaunchError::TooLarge {
            image: name,
            limit: MAX_FILE,
        });
    }
    Ok(file.len().next_multiple_of(PAGE))
}

fn not_empty(name: &str, file: &[u8]) -> Result<(), LaunchError> {
    if file.is_empty() {
        return Err(LaunchError::Configuration {
            what: format!("the {name} is an empty file"),
        });
    }
    Ok(())
}

fn update_padded(digest: &mut Sha3_512, file: &[u8], length: usize) {
    const ZEROS: [u8; PAGE] = [0; PAGE];
    digest.update(file);
    let mut missing = length.saturating_sub(file.len());
    while missing > 0 {
        let step = missing.min(PAGE);
        digest.update(ZEROS.get(..step).unwrap_or(&ZEROS));
        missing = missing.saturating_sub(step);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Bytes that a seed gives, as `vectors/keystone/launch/make.py` makes them.
    fn made(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn hashes_are_those_of_another_implementation() {
        let text = include_str!("../../../../vectors/keystone/launch/golden.json");
        let golden: Value = serde_json::from_str(text).unwrap();
        let number = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
        for case in golden["enclaves"].as_array().unwrap() {
            let lengths: Vec<usize> = case["lengths"].as_array().unwrap().iter().map(number).collect();
            let files = [made(1, lengths[0]), made(2, lengths[1]), made(3, lengths[2])];
            let enclave = Enclave {
                loader: &files[0],
                runtime: &files[1],
                eapp: &files[2],
            };
            assert_eq!(
                hex::encode(enclave.hash().unwrap()),
                case["enclave_hash"].as_str().unwrap()
            );
        }
        for case in golden["monitors"].as_array().unwrap() {
            let firmware = made(4, number(&case["length"]));
            assert_eq!(
                hex::encode(sm_hash(&firmware).unwrap()),
                case["sm_hash"].as_str().unwrap()
            );
        }
        assert!(golden["enclaves"].as_array().unwrap().len() >= 4);
    }

    #[test]
    fn padding_is_no_content() {
        let enclave = |loader: &[u8], runtime: &[u8]| {
            Enclave {
                loader,
                runtime,
                eapp: b"eapp",
            }
            .hash()
            .unwrap()
        };
        assert_eq!(enclave(b"a", b"b"), enclave(b"a\0\0", b"b"));
        assert_ne!(enclave(b"a", b"b"), enclave(b"b", b"a"));
        assert_ne!(enclave(b"a", b"b"), enclave(&[b'a'; 4097], b"b"));
    }

    #[test]
    fn files_that_no_device_loads_are_refused() {
        let enclave = Enclave {
            loader: b"a",
            runtime: b"",
            eapp: b"c",
        };
        let what = "the runtime is an empty file".to_owned();
        assert_eq!(enclave.hash(), Err(LaunchError::Configuration { what }));
        let what = "the security monitor is an empty file".to_owned();
        assert_eq!(sm_hash(&[]), Err(LaunchError::Configuration { what }));
        assert!(sm_hash(&vec![1; FIRMWARE_AREA]).is_ok());
        assert_eq!(
            sm_hash(&vec![1; FIRMWARE_AREA + 1]),
            Err(LaunchError::TooLarge {
                image: "security monitor",
                limit: FIRMWARE_AREA
            })
        );
    }
}
