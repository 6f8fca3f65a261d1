//! What a TPM signs and the signature it makes, as they stand in their bytes. Big-endian throughout.
//!
//! Layouts: TCG, *Trusted Platform Module Library, Part 2: Structures*, family 2.0: "TPMS_ATTEST",
//! "TPMS_QUOTE_INFO", "TPML_PCR_SELECTION", "TPMT_SIGNATURE". Numbers: its "TPM_ALG_ID" and the TCG *Algorithm
//! Registry*.

use std::collections::BTreeSet;
use std::fmt;

use nautilus_core::VerifyError;
use sha2::{Sha256, Sha384, Sha512};

/// PCRs that a PC's TPM has (TCG, *PC Client Platform TPM Profile*, "PCR Attributes"): `pcr0` to `pcr23`.
pub const PCR_COUNT: u8 = 24;

/// `TPM_GENERATED_VALUE`: a restricted key signs nothing from outside that starts with it, so that what does was
/// made by a TPM.
const TPM_GENERATED: u32 = 0xff54_4347;
const ST_ATTEST_QUOTE: u16 = 0x8018;
/// Most banks in a selection (`HASH_COUNT` of any TPM is below).
const MAX_SELECTIONS: u32 = 16;
/// `sizeof(TPMT_HA)` with the largest digest: the bound of `TPM2B_NAME` and of `TPM2B_DATA`.
const MAX_TAGGED_DIGEST: usize = 2 + MAX_DIGEST;
/// Largest digest, SHA-512's.
const MAX_DIGEST: usize = 64;
/// Largest RSA signature, of 4,096 bits.
const MAX_RSA_BYTES: usize = 512;
/// Largest coordinate, of P-521.
const MAX_ECC_BYTES: usize = 66;

const ALG_SHA1: u16 = 0x0004;
const ALG_SHA256: u16 = 0x000b;
const ALG_SHA384: u16 = 0x000c;
const ALG_SHA512: u16 = 0x000d;
pub(super) const ALG_NULL: u16 = 0x0010;
pub(super) const ALG_RSASSA: u16 = 0x0014;
pub(super) const ALG_RSAPSS: u16 = 0x0016;
pub(super) const ALG_ECDSA: u16 = 0x0018;

/// A `TPM_ALG_ID`, known or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlgorithmId(pub u16);

impl fmt::Display for AlgorithmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            0x0001 => "rsa",
            ALG_SHA1 => "sha1",
            0x0005 => "hmac",
            0x0006 => "aes",
            ALG_SHA256 => "sha256",
            ALG_SHA384 => "sha384",
            ALG_SHA512 => "sha512",
            ALG_NULL => "null",
            0x0012 => "sm3-256",
            ALG_RSASSA => "rsassa",
            0x0015 => "rsaes",
            ALG_RSAPSS => "rsapss",
            0x0017 => "oaep",
            ALG_ECDSA => "ecdsa",
            0x0019 => "ecdh",
            0x001a => "ecdaa",
            0x001b => "sm2",
            0x001c => "ecschnorr",
            0x0023 => "ecc",
            0x0027 => "sha3-256",
            0x0028 => "sha3-384",
            0x0029 => "sha3-512",
            other => return write!(f, "algorithm {other:#06x}"),
        };
        f.write_str(name)
    }
}

/// A hash that is relied upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashAlgorithm {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl HashAlgorithm {
    /// The hash of that number; none for SHA-1, which collides, and for what is not in use.
    pub const fn of_id(id: AlgorithmId) -> Option<Self> {
        match id.0 {
            ALG_SHA256 => Some(Self::Sha256),
            ALG_SHA384 => Some(Self::Sha384),
            ALG_SHA512 => Some(Self::Sha512),
            _ => None,
        }
    }

    /// Its number.
    pub const fn id(self) -> AlgorithmId {
        AlgorithmId(match self {
            Self::Sha256 => ALG_SHA256,
            Self::Sha384 => ALG_SHA384,
            Self::Sha512 => ALG_SHA512,
        })
    }

    /// The bank's name, as `tpm2-tools` writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of its digests in bytes.
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => MAX_DIGEST,
        }
    }

    /// The digest of all parts, one after the other.
    pub fn digest<'a>(self, parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        fn over<'a, D: sha2::Digest>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
            let chained = parts.into_iter().fold(D::new(), D::chain_update);
            chained.finalize().to_vec()
        }
        match self {
            Self::Sha256 => over::<Sha256>(parts),
            Self::Sha384 => over::<Sha384>(parts),
            Self::Sha512 => over::<Sha512>(parts),
        }
    }
}

/// A quote: `TPMS_ATTEST` of type `TPM_ST_ATTEST_QUOTE`. All of it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attest {
    /// Qualified name of the key that signed: hash over the names of its parents and its own.
    pub qualified_signer: Vec<u8>,
    /// What the caller had signed (`qualifyingData` of `TPM2_Quote`).
    pub extra_data: Vec<u8>,
    /// When, by the TPM's own count.
    pub clock: ClockInfo,
    /// Version of the TPM's firmware, in its maker's notation.
    pub firmware_version: u64,
    /// The PCRs that are quoted, bank by bank in the order of the quote.
    pub selections: Vec<PcrSelection>,
    /// Digest over their values.
    pub pcr_digest: Vec<u8>,
}

/// `TPMS_CLOCK_INFO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockInfo {
    /// Milliseconds during which the TPM had power.
    pub clock: u64,
    /// Resets of the TPM: restarts of the machine, but for those from hibernation.
    pub reset_count: u32,
    /// Restarts and resumes since the last reset.
    pub restart_count: u32,
    /// Whether no greater value of `clock` was reported before.
    pub safe: bool,
}

/// The PCRs selected in one bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PcrSelection {
    /// The bank.
    pub bank: AlgorithmId,
    /// Which PCRs, none above 23.
    pub pcrs: BTreeSet<u8>,
}

impl fmt::Display for PcrSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pcrs: Vec<String> = self.pcrs.iter().map(u8::to_string).collect();
        write!(
            f,
            "{}:{}",
            self.bank,
            if pcrs.is_empty() {
                "none".to_owned()
            } else {
                pcrs.join(",")
            }
        )
    }
}

#[cfg(feature = "attest")]
impl PcrSelection {
    /// The `TPML_PCR_SELECTION` of this bank alone.
    pub(super) fn to_list(&self) -> Vec<u8> {
        let mut bitmap = [0_u8; 3];
        for pcr in &self.pcrs {
            if let Some(byte) = bitmap.get_mut(usize::from(pcr >> 3)) {
                *byte |= 1 << (pcr & 7);
            }
        }
        let [high, low] = self.bank.0.to_be_bytes();
        let [first, second, third] = bitmap;
        vec![0, 0, 0, 1, high, low, 3, first, second, third]
    }
}

impl Attest {
    /// Parses a `TPMS_ATTEST`, as `tpm2_quote --message` writes it.
    ///
    /// # Errors
    /// `Malformed` names the field and its offset in `bytes`; `Unsupported` says that a TPM attests to something
    /// other than PCRs.
    pub fn parse(bytes: &[u8]) -> Result<Self, VerifyError> {
        let mut reader = Reader::new("attest", bytes);
        let magic = reader.u32("magic")?;
        if magic != TPM_GENERATED {
            return Err(reader.fault_at(
                0,
                format!("magic is {magic:#010x}, that of a TPM is {TPM_GENERATED:#010x}"),
            ));
        }
        let kind = reader.u16("type")?;
        if kind != ST_ATTEST_QUOTE {
            return Err(VerifyError::Unsupported {
                what: format!(
                    "a TPM's attestation of type {kind:#06x}: {ST_ATTEST_QUOTE:#06x}, a quote, is supported"
                ),
            });
        }
        let qualified_signer = reader.sized(MAX_TAGGED_DIGEST, "qualifiedSigner")?.to_vec();
        let extra_data = reader.sized(MAX_TAGGED_DIGEST, "extraData")?.to_vec();
        let clock = ClockInfo {
            clock: reader.u64("clock")?,
            reset_count: reader.u32("resetCount")?,
            restart_count: reader.u32("restartCount")?,
            safe: reader.yes_or_no("safe")?,
        };
        let firmware_version = reader.u64("firmwareVersion")?;
        let selections = read_selections(&mut reader)?;
        let pcr_digest = reader.sized(MAX_DIGEST, "pcrDigest")?.to_vec();
        reader.finish()?;
        Ok(Self {
            qualified_signer,
            extra_data,
            clock,
            firmware_version,
            selections,
            pcr_digest,
        })
    }
}

/// `TPML_PCR_SELECTION`.
pub(super) fn read_selections(reader: &mut Reader<'_>) -> Result<Vec<PcrSelection>, VerifyError> {
    let at = reader.offset;
    let count = reader.u32("number of PCR banks")?;
    if count > MAX_SELECTIONS {
        return Err(reader.fault_at(at, format!("{count} PCR banks, {MAX_SELECTIONS} at most")));
    }
    let mut selections = Vec::new();
    for _ in 0..count {
        selections.push(read_selection(reader)?);
    }
    Ok(selections)
}

fn read_selection(reader: &mut Reader<'_>) -> Result<PcrSelection, VerifyError> {
    let bank = AlgorithmId(reader.u16("PCR bank")?);
    let at = reader.offset;
    let size = reader.u8("sizeofSelect")?;
    // `PCR_SELECT_MIN` is 3 on a PC's TPM; a fourth byte leaves room for PCRs that none has.
    if !(3..=4).contains(&size) {
        return Err(reader.fault_at(at, format!("sizeofSelect is {size}, not 3 or 4")));
    }
    let bitmap = reader.take(usize::from(size), "pcrSelect")?;
    let bit_is_set = |pcr: &u8| {
        bitmap
            .get(usize::from(pcr >> 3))
            .is_some_and(|byte| byte >> (pcr & 7) & 1 == 1)
    };
    if let Some(pcr) = (PCR_COUNT..32).find(bit_is_set) {
        return Err(reader.fault_at(
            at,
            format!(
                "PCR {pcr} is selected, the last one is {}",
                PCR_COUNT.saturating_sub(1)
            ),
        ));
    }
    let pcrs = (0..PCR_COUNT).filter(bit_is_set).collect();
    Ok(PcrSelection { bank, pcrs })
}

/// A `TPMT_SIGNATURE` of a kind that attestation keys make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// RSASSA-PKCS1-v1_5 or RSASSA-PSS.
    Rsa {
        /// Which of the two: `TPM_ALG_RSASSA` or `TPM_ALG_RSAPSS`.
        scheme: AlgorithmId,
        /// Hash over what is signed.
        hash: AlgorithmId,
        /// The signature.
        signature: Vec<u8>,
    },
    /// ECDSA.
    Ecdsa {
        /// Hash over what is signed.
        hash: AlgorithmId,
        /// `r`, at most as long as the curve's order.
        r: Vec<u8>,
        /// `s`, likewise.
        s: Vec<u8>,
    },
}

impl Signature {
    /// Parses a `TPMT_SIGNATURE`, as `tpm2_quote --signature` writes it by default.
    ///
    /// # Errors
    /// `Malformed` names the field and its offset in `bytes`; `Unsupported` names another scheme.
    pub fn parse(bytes: &[u8]) -> Result<Self, VerifyError> {
        let mut reader = Reader::new("signature", bytes);
        let scheme = AlgorithmId(reader.u16("sigAlg")?);
        let signature = match scheme.0 {
            ALG_RSASSA | ALG_RSAPSS => Self::Rsa {
                scheme,
                hash: AlgorithmId(reader.u16("hash")?),
                signature: reader.sized(MAX_RSA_BYTES, "sig")?.to_vec(),
            },
            ALG_ECDSA => Self::Ecdsa {
                hash: AlgorithmId(reader.u16("hash")?),
                r: reader.sized(MAX_ECC_BYTES, "signatureR")?.to_vec(),
                s: reader.sized(MAX_ECC_BYTES, "signatureS")?.to_vec(),
            },
            _ => {
                return Err(VerifyError::Unsupported {
                    what: format!("signature of scheme {scheme}: rsassa, rsapss and ecdsa are supported"),
                });
            }
        };
        reader.finish()?;
        Ok(signature)
    }

    /// The scheme and the hash.
    pub const fn algorithms(&self) -> (AlgorithmId, AlgorithmId) {
        match self {
            Self::Rsa { scheme, hash, .. } => (*scheme, *hash),
            Self::Ecdsa { hash, .. } => (AlgorithmId(ALG_ECDSA), *hash),
        }
    }
}

/// Reads one part of the evidence front to back and knows where it is. Nothing it does can panic or read past
/// the end.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    part: &'static str,
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(part: &'static str, bytes: &'a [u8]) -> Self {
        Self {
            part,
            rest: bytes,
            offset: 0,
        }
    }

    pub(super) const fn offset(&self) -> usize {
        self.offset
    }

    pub(super) fn take(&mut self, length: usize, what: &str) -> Result<&'a [u8], VerifyError> {
        let Some((head, rest)) = self.rest.split_at_checked(length) else {
            let left = self.rest.len();
            return Err(self.fault_at(
                self.offset,
                format!("{what} needs {length} bytes, {left} are left"),
            ));
        };
        self.rest = rest;
        self.offset = self.offset.saturating_add(length);
        Ok(head)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], VerifyError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self, what: &str) -> Result<u8, VerifyError> {
        self.array(what).map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self, what: &str) -> Result<u16, VerifyError> {
        self.array(what).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, VerifyError> {
        self.array(what).map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, VerifyError> {
        self.array(what).map(u64::from_be_bytes)
    }

    /// `TPMI_YES_NO`.
    pub(super) fn yes_or_no(&mut self, what: &str) -> Result<bool, VerifyError> {
        let at = self.offset;
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.fault_at(at, format!("{what} is {other}, neither 0 nor 1"))),
        }
    }

    /// The content of a `TPM2B`: a length of two bytes, and as many bytes.
    pub(super) fn sized(&mut self, most: usize, what: &str) -> Result<&'a [u8], VerifyError> {
        let at = self.offset;
        let length = usize::from(self.u16(what)?);
        if length > most {
            return Err(self.fault_at(at, format!("{what} has {length} bytes, {most} at most")));
        }
        self.take(length, what)
    }

    /// What was not read yet, which reads it.
    #[cfg(feature = "attest")]
    pub(super) fn rest(&mut self) -> &'a [u8] {
        let rest = std::mem::take(&mut self.rest);
        self.offset = self.offset.saturating_add(rest.len());
        rest
    }

    pub(super) fn finish(&self) -> Result<(), VerifyError> {
        match self.rest.len() {
            0 => Ok(()),
            extra => Err(self.fault_at(
                self.offset,
                format!("{extra} bytes follow that belong to nothing"),
            )),
        }
    }

    pub(super) fn fault_at(&self, offset: usize, what: impl fmt::Display) -> VerifyError {
        VerifyError::Malformed {
            what: format!("{}: {what}", self.part),
            offset,
        }
    }
}
