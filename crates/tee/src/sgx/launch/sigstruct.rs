//! SIGSTRUCT: Intel SDM, volume 3D, §38.13 "Enclave Signature Structure (SIGSTRUCT)".

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use nautilus_core::TeeKind;
use sha2::{Digest as _, Sha256};

use crate::dcap::wire::{EnclaveReport, flag_names};
use crate::launch::bytes::Bytes;
use crate::launch::{Expected, LaunchError};
use crate::sgx::verify::FLAGS;
use crate::signature;

const IMAGE: &str = "SIGSTRUCT";

const HEADER: [u8; 16] = [6, 0, 0, 0, 0xe1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0];
const VENDOR: usize = 16;
const DATE: usize = 20;
const HEADER_2: usize = 24;
const HEADER_2_VALUE: [u8; 16] = [1, 1, 0, 0, 0x60, 0, 0, 0, 0x60, 0, 0, 0, 1, 0, 0, 0];
const SWDEFINED: usize = 40;
const MODULUS: usize = 128;
const EXPONENT: usize = 512;
const SIGNATURE: usize = 516;
const MISCSELECT: usize = 900;
const MISCMASK: usize = 904;
const FAMILY_ID: usize = 912;
const ATTRIBUTES: usize = 928;
const ATTRIBUTE_MASK: usize = 944;
const ENCLAVE_HASH: usize = 960;
const EXT_PROD_ID: usize = 1008;
const PROD_ID: usize = 1024;
const SVN: usize = 1026;
const Q1: usize = 1040;
const Q2: usize = 1424;
/// Bytes of the modulus, of the signature, and of the numbers that help the processor to verify it.
const RSA: usize = 384;
const KEY_LEN: usize = RSA;

/// Reserved bytes that must be zero, by offset and length.
const RESERVED: [(usize, usize); 4] = [(44, 84), (910, 2), (992, 16), (1028, 12)];
/// What the signature covers: the header, and everything of the enclave itself.
const SIGNED: [(usize, usize); 2] = [(0, 128), (900, 128)];

const VENDOR_INTEL: u32 = 0x8086;

/// An enclave's signature structure. Its signature is verified by [`Sigstruct::verify`], by the key that it carries:
/// whose key that is, MRSIGNER tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sigstruct {
    /// Whether the enclave says that Intel made it. Nothing proves that.
    pub vendor_is_intel: bool,
    /// The date of its making, as YYYYMMDD in decimal.
    pub date: u32,
    /// For the maker's own use.
    pub sw_defined: u32,
    /// Modulus of the signer's key, little-endian.
    pub modulus: [u8; KEY_LEN],
    /// RSASSA-PKCS1-v1_5 with SHA-256, little-endian.
    pub signature: [u8; RSA],
    /// Which fields an exception leaves behind.
    pub misc_select: u32,
    /// Which bits of it the processor enforces.
    pub misc_mask: u32,
    /// The product's family.
    pub family_id: [u8; 16],
    /// `ATTRIBUTES.FLAGS` that the enclave asks for.
    pub flags: u64,
    /// `ATTRIBUTES.XFRM` that the enclave asks for.
    pub xfrm: u64,
    /// Which of these flags the processor enforces.
    pub flags_mask: u64,
    /// Which bits of XFRM the processor enforces.
    pub xfrm_mask: u64,
    /// MRENCLAVE that the enclave must have.
    pub mrenclave: [u8; 32],
    /// Extended product.
    pub ext_prod_id: [u8; 16],
    /// Product.
    pub isv_prod_id: u16,
    /// Security version of the product.
    pub isv_svn: u16,
    /// `floor(signature² / modulus)`, little-endian. Helps the processor, and EINIT checks it; nothing here does.
    pub q1: [u8; RSA],
    /// `floor((signature³ − q1 · signature · modulus) / modulus)`, likewise.
    pub q2: [u8; RSA],
    digest_input: [[u8; 128]; 2],
}

impl Sigstruct {
    /// Bytes of a SIGSTRUCT.
    pub const LEN: usize = 1808;

    /// Whether bytes are a SIGSTRUCT, by their length and the constant that they start with.
    pub fn recognises(bytes: &[u8]) -> bool {
        bytes.len() == Self::LEN && bytes.starts_with(&HEADER)
    }

    /// Parses a SIGSTRUCT: Gramine's `.sig` file, or what an enclave's signing tool gives.
    ///
    /// # Errors
    /// [`LaunchError::Malformed`] with the field and its offset: another length, another constant, an exponent that is
    /// not 3, a reserved byte that is not zero.
    pub fn parse(bytes: &[u8]) -> Result<Self, LaunchError> {
        let raw = Bytes::bounded(IMAGE, bytes, Self::LEN)?;
        raw.slice(0, Self::LEN, "structure")?;
        constant(&raw, 0, HEADER, "HEADER")?;
        constant(&raw, HEADER_2, HEADER_2_VALUE, "HEADER2")?;
        constant(&raw, EXPONENT, 3_u32.to_le_bytes(), "EXPONENT")?;
        for (offset, length) in RESERVED {
            let reserved = raw.slice(offset, length, "reserved bytes")?;
            if let Some(place) = reserved.iter().position(|byte| *byte != 0) {
                let what = "a reserved byte that is not zero".to_owned();
                return Err(raw.malformed(offset.saturating_add(place), what));
            }
        }
        let vendor = raw.u32(VENDOR, "VENDOR")?;
        if vendor != 0 && vendor != VENDOR_INTEL {
            return Err(raw.malformed(VENDOR, format!("VENDOR is {vendor:#010x}, not 0 or 0x00008086")));
        }
        let modulus: [u8; KEY_LEN] = raw.array(MODULUS, "MODULUS")?;
        // RSA-3072: nothing shorter passes for it.
        if modulus.last().is_none_or(|top| top & 0x80 == 0) || modulus.first().is_none_or(|low| low & 1 == 0)
        {
            return Err(raw.malformed(MODULUS, "MODULUS is no odd number of 3,072 bits".to_owned()));
        }
        let [first, second] = SIGNED;
        Ok(Self {
            vendor_is_intel: vendor == VENDOR_INTEL,
            date: date(&raw)?,
            sw_defined: raw.u32(SWDEFINED, "SWDEFINED")?,
            modulus,
            signature: raw.array(SIGNATURE, "SIGNATURE")?,
            misc_select: raw.u32(MISCSELECT, "MISCSELECT")?,
            misc_mask: raw.u32(MISCMASK, "MISCMASK")?,
            family_id: raw.array(FAMILY_ID, "ISVFAMILYID")?,
            flags: raw.u64(ATTRIBUTES, "ATTRIBUTES.FLAGS")?,
            xfrm: raw.u64(ATTRIBUTES.saturating_add(8), "ATTRIBUTES.XFRM")?,
            flags_mask: raw.u64(ATTRIBUTE_MASK, "ATTRIBUTEMASK")?,
            xfrm_mask: raw.u64(ATTRIBUTE_MASK.saturating_add(8), "ATTRIBUTEMASK")?,
            mrenclave: raw.array(ENCLAVE_HASH, "ENCLAVEHASH")?,
            ext_prod_id: raw.array(EXT_PROD_ID, "ISVEXTPRODID")?,
            isv_prod_id: raw.u16(PROD_ID, "ISVPRODID")?,
            isv_svn: raw.u16(SVN, "ISVSVN")?,
            q1: raw.array(Q1, "Q1")?,
            q2: raw.array(Q2, "Q2")?,
            digest_input: [raw.array(first.0, "header")?, raw.array(second.0, "body")?],
        })
    }

    /// MRSIGNER: SHA-256 of the signer's modulus, as it stands here.
    pub fn mrsigner(&self) -> [u8; 32] {
        Sha256::digest(self.modulus).into()
    }

    /// Whether a debugger may look into the enclave if its host asks for that.
    pub const fn allows_debug(&self) -> bool {
        // The bit is as it stands here if the mask has it; the host chooses it otherwise.
        self.flags & EnclaveReport::DEBUG != 0 || self.flags_mask & EnclaveReport::DEBUG == 0
    }

    /// Verifies the signature by the key that is in the structure.
    ///
    /// # Errors
    /// [`LaunchError::SignatureInvalid`].
    pub fn verify(&self) -> Result<(), LaunchError> {
        let big_endian = |number: &[u8]| number.iter().rev().copied().collect::<Vec<u8>>();
        let (modulus, sig) = (big_endian(&self.modulus), big_endian(&self.signature));
        let key = RsaPublicKeyComponents {
            n: modulus.as_slice(),
            e: [3].as_slice(),
        };
        let message = self.digest_input.concat();
        signature::by_rsa(&RSA_PKCS1_2048_8192_SHA256, &key, &message, &sig).map_err(|_| {
            LaunchError::SignatureInvalid {
                what: format!(
                    "over the enclave's SIGSTRUCT, by the key in it (MRSIGNER {})",
                    hex::encode(self.mrsigner())
                ),
            }
        })
    }

    /// What evidence of the enclave will say.
    pub fn expected(&self) -> Expected {
        let mut expected = Expected::new(TeeKind::Sgx, "SGX enclave's SIGSTRUCT")
            .measured("mrenclave", &self.mrenclave)
            .measured("mrsigner", &self.mrsigner());
        let mut set = |name: &str, value: String| {
            expected.attributes.insert(name.to_owned(), value);
        };
        set("isvprodid", self.isv_prod_id.to_string());
        set("isvsvn", self.isv_svn.to_string());
        set("isvextprodid", hex::encode(self.ext_prod_id));
        set("isvfamilyid", hex::encode(self.family_id));
        let mut tell = |name, value: String| expected.facts.insert(name, value);
        tell("made on", iso_date(self.date));
        tell(
            "attributes asked for",
            flag_names(self.flags & self.flags_mask, &FLAGS),
        );
        tell(
            "debugger",
            if self.allows_debug() {
                "allowed: a host may launch it with DEBUG, and a policy must refuse such evidence"
            } else {
                "refused by the processor"
            }
            .to_owned(),
        );
        expected
    }
}

fn constant<const N: usize>(
    raw: &Bytes<'_>,
    offset: usize,
    value: [u8; N],
    name: &str,
) -> Result<(), LaunchError> {
    let found: [u8; N] = raw.array(offset, name)?;
    if found == value {
        return Ok(());
    }
    let what = format!("{name} is {}, not {}", hex::encode(found), hex::encode(value));
    Err(raw.malformed(offset, what))
}

/// Reads YYYYMMDD in binary-coded decimal.
fn date(raw: &Bytes<'_>) -> Result<u32, LaunchError> {
    let coded = raw.u32(DATE, "DATE")?;
    // A number whose hexadecimal text has decimal digits alone.
    format!("{coded:08x}")
        .parse()
        .map_err(|_| raw.malformed(DATE, format!("DATE {coded:08x} is not in decimal digits")))
}

fn iso_date(date: u32) -> String {
    let text = format!("{date:08}");
    let (year, day) = text.split_at_checked(4).unwrap_or((&text, ""));
    let (month, day) = day.split_at_checked(2).unwrap_or((day, ""));
    format!("{year}-{month}-{day}")
}
