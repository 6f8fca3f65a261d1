//! The public area of a TPM's key: what it is, what the TPM lets be done with it, and its name.
//!
//! TCG, *Trusted Platform Module Library, Part 2: Structures*: "TPMT_PUBLIC", "TPMA_OBJECT", "TPMS_RSA_PARMS",
//! "TPMS_ECC_PARMS"; *Part 1: Architecture*, "Names".

use nautilus_core::VerifyError;

use super::wire::{ALG_ECDSA, ALG_NULL, ALG_RSAPSS, ALG_RSASSA, AlgorithmId, HashAlgorithm, Reader};

/// `TPMA_OBJECT.fixedTPM`: the key cannot leave its TPM.
pub(super) const FIXED_TPM: u32 = 1 << 1;
/// `TPMA_OBJECT.fixedParent`: nor its parent.
pub(super) const FIXED_PARENT: u32 = 1 << 4;
/// `TPMA_OBJECT.sensitiveDataOrigin`: the TPM made the private part.
pub(super) const SENSITIVE_DATA_ORIGIN: u32 = 1 << 5;
/// `TPMA_OBJECT.restricted`: it signs only what the TPM made, or decrypts only what the TPM asks for.
pub(super) const RESTRICTED: u32 = 1 << 16;
/// `TPMA_OBJECT.decrypt`.
pub(super) const DECRYPT: u32 = 1 << 17;
/// `TPMA_OBJECT.sign`.
pub(super) const SIGN: u32 = 1 << 18;
const NAMES: [(u32, &str); 6] = [
    (FIXED_TPM, "fixedTPM"),
    (FIXED_PARENT, "fixedParent"),
    (SENSITIVE_DATA_ORIGIN, "sensitiveDataOrigin"),
    (RESTRICTED, "restricted"),
    (DECRYPT, "decrypt"),
    (SIGN, "sign"),
];

pub(super) const ALG_RSA: u16 = 0x0001;
pub(super) const ALG_AES: u16 = 0x0006;
const ALG_RSAES: u16 = 0x0015;
const ALG_OAEP: u16 = 0x0017;
const ALG_ECDH: u16 = 0x0019;
pub(super) const ALG_ECC: u16 = 0x0023;
pub(super) const ALG_CFB: u16 = 0x0043;
pub(super) const ECC_NIST_P256: u16 = 0x0003;
pub(super) const ECC_NIST_P384: u16 = 0x0004;
/// What an exponent of 0 stands for ("TPMS_RSA_PARMS").
const DEFAULT_EXPONENT: u32 = 65_537;
const MAX_RSA_BYTES: usize = 512;
const MAX_DIGEST: usize = 64;
const MIN_RSA_BITS: u16 = 2048;

/// A `TPMT_PUBLIC` as it stands in its bytes. Nothing in it has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Public {
    /// The hash of its name.
    pub name_algorithm: HashAlgorithm,
    /// `TPMA_OBJECT`.
    pub attributes: u32,
    /// The symmetric cipher that protects its children, where it has one: AES in CFB mode, with keys of as many
    /// bits.
    pub symmetric_bits: Option<u16>,
    /// The scheme that the key always uses, and its hash; none where each use names one.
    pub scheme: Option<(AlgorithmId, AlgorithmId)>,
    /// The key itself.
    pub key: PublicKey,
    bytes: Vec<u8>,
}

/// A public key of a kind that is relied upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// RSA, of 2,048 bits or more.
    Rsa {
        /// The modulus, big-endian, without leading zeros.
        modulus: Vec<u8>,
        /// The exponent.
        exponent: u32,
    },
    /// A point on a curve.
    Ecc {
        /// The curve.
        curve: Curve,
        /// `x`, as long as the curve's field.
        x: Vec<u8>,
        /// `y`, likewise.
        y: Vec<u8>,
    },
}

/// A curve of NIST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// P-256.
    P256,
    /// P-384.
    P384,
}

impl Curve {
    /// Bytes of a coordinate, and of the order.
    pub const fn coordinate_len(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }
}

impl PublicKey {
    /// Kind and size: `rsa2048`, `ecc-p256`.
    pub fn describe(&self) -> String {
        match self {
            Self::Rsa { modulus, .. } => format!("rsa{}", modulus.len().saturating_mul(8)),
            Self::Ecc {
                curve: Curve::P256, ..
            } => "ecc-p256".to_owned(),
            Self::Ecc {
                curve: Curve::P384, ..
            } => "ecc-p384".to_owned(),
        }
    }

    /// The point as SEC 1 writes it uncompressed; none for RSA.
    pub fn point(&self) -> Option<Vec<u8>> {
        match self {
            Self::Rsa { .. } => None,
            Self::Ecc { x, y, .. } => Some([&[4], x.as_slice(), y].concat()),
        }
    }
}

impl Public {
    /// Parses a `TPMT_PUBLIC`, or one in a `TPM2B_PUBLIC`, as `tpm2_readpublic -o` and `tpm2_createak -u` write it.
    /// `part` is what it is called in messages.
    ///
    /// # Errors
    /// `Malformed` names the field and its offset in `bytes`; `Unsupported` a kind of key that is not relied upon;
    /// `WeakKey` one that is too short.
    pub fn parse(part: &'static str, bytes: &[u8]) -> Result<Self, VerifyError> {
        // A TPMT_PUBLIC starts with its type, below 0x40; a TPM2B_PUBLIC with its size, above: no key is that short.
        let inside = match bytes.split_first_chunk::<2>() {
            Some((first, rest)) if u16::from_be_bytes(*first) >= 0x40 => {
                let size = usize::from(u16::from_be_bytes(*first));
                if size != rest.len() {
                    let what = format!("size is {size}, {} bytes follow", rest.len());
                    return Err(Reader::new(part, bytes).fault_at(0, what));
                }
                rest
            }
            _ => bytes,
        };
        let mut reader = Reader::new(part, inside);
        let kind = AlgorithmId(reader.u16("type")?);
        let name_algorithm = AlgorithmId(reader.u16("nameAlg")?);
        let Some(name_algorithm) = HashAlgorithm::of_id(name_algorithm) else {
            return Err(VerifyError::WeakKey {
                what: format!("{part} has a name by {name_algorithm}: sha256, sha384 or sha512 is needed"),
            });
        };
        let attributes = reader.u32("objectAttributes")?;
        reader.sized(MAX_DIGEST, "authPolicy")?;
        let symmetric_bits = read_symmetric(&mut reader)?;
        let (scheme, key) = match kind.0 {
            ALG_RSA => read_rsa(&mut reader, part)?,
            ALG_ECC => read_ecc(&mut reader, part)?,
            _ => {
                return Err(VerifyError::Unsupported {
                    what: format!("{part} of type {kind}: rsa and ecc are supported"),
                });
            }
        };
        reader.finish()?;
        Ok(Self {
            name_algorithm,
            attributes,
            symmetric_bits,
            scheme,
            key,
            bytes: inside.to_vec(),
        })
    }

    /// The `TPMT_PUBLIC` itself.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The `TPM2B_PUBLIC` that holds it.
    pub fn to_tpm2b(&self) -> Vec<u8> {
        // What was parsed is shorter than 64 KiB: each of its parts is bounded.
        let length = u16::try_from(self.bytes.len()).unwrap_or(u16::MAX);
        [&length.to_be_bytes(), self.bytes.as_slice()].concat()
    }

    /// The name by which a TPM knows the key: `nameAlg ‖ H(TPMT_PUBLIC)`.
    pub fn name(&self) -> Vec<u8> {
        let digest = self.name_algorithm.digest([self.bytes.as_slice()]);
        [&self.name_algorithm.id().0.to_be_bytes(), digest.as_slice()].concat()
    }

    /// Refuses what is not an attestation key: one that a TPM made, never lets out, and that signs only what the
    /// TPM itself made.
    ///
    /// # Errors
    /// `AttributeInvalid` names the attributes that are missing or too many.
    pub fn check_attestation_key(&self) -> Result<(), VerifyError> {
        let needed = FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN | RESTRICTED | SIGN;
        self.check_attributes("attestation key", needed, DECRYPT)
    }

    /// Refuses what is not an endorsement key by the templates of TCG, *EK Credential Profile*: one that decrypts
    /// only what the TPM asks for.
    ///
    /// # Errors
    /// `AttributeInvalid` names the attributes that are missing or too many.
    pub fn check_endorsement_key(&self) -> Result<(), VerifyError> {
        let needed = FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN | RESTRICTED | DECRYPT;
        self.check_attributes("endorsement key", needed, SIGN)
    }

    fn check_attributes(&self, what: &str, needed: u32, refused: u32) -> Result<(), VerifyError> {
        let missing = needed & !self.attributes;
        let extra = refused & self.attributes;
        let named = |bits: u32| {
            let names = NAMES
                .iter()
                .filter(|(bit, _)| bits & bit != 0)
                .map(|(_, name)| *name);
            names.collect::<Vec<_>>().join(", ")
        };
        if missing != 0 {
            let missing = named(missing);
            return Err(VerifyError::AttributeInvalid {
                what: format!("{what} lacks {missing}, so that a TPM's word is not behind what it signs"),
            });
        }
        if extra != 0 {
            let extra = named(extra);
            return Err(VerifyError::AttributeInvalid {
                what: format!("{what} has {extra}, which such a key must not have"),
            });
        }
        Ok(())
    }
}

/// `TPMT_SYM_DEF_OBJECT`.
fn read_symmetric(reader: &mut Reader<'_>) -> Result<Option<u16>, VerifyError> {
    let at = reader.offset();
    let algorithm = AlgorithmId(reader.u16("symmetric")?);
    match algorithm.0 {
        ALG_NULL => Ok(None),
        ALG_AES => {
            let bits = reader.u16("symmetric key bits")?;
            let mode = reader.u16("symmetric mode")?;
            if !matches!(bits, 128 | 256) || mode != ALG_CFB {
                let what = format!(
                    "symmetric cipher is AES-{bits} in mode {mode:#06x}, not AES-128 or AES-256 in CFB"
                );
                return Err(reader.fault_at(at, what));
            }
            Ok(Some(bits))
        }
        _ => Err(reader.fault_at(at, format!("symmetric cipher is {algorithm}, not aes"))),
    }
}

type Scheme = Option<(AlgorithmId, AlgorithmId)>;

fn read_rsa(reader: &mut Reader<'_>, part: &str) -> Result<(Scheme, PublicKey), VerifyError> {
    let scheme = read_scheme(reader, &[ALG_RSASSA, ALG_RSAPSS, ALG_OAEP])?;
    let bits = reader.u16("keyBits")?;
    let exponent_at = reader.offset();
    let exponent = match reader.u32("exponent")? {
        0 => DEFAULT_EXPONENT,
        other => other,
    };
    let at = reader.offset();
    let modulus = reader.sized(MAX_RSA_BYTES, "modulus")?;
    if exponent < 3 || exponent % 2 == 0 {
        return Err(reader.fault_at(
            exponent_at,
            format!("exponent is {exponent}, which is no RSA key's"),
        ));
    }
    if bits < MIN_RSA_BITS {
        return Err(VerifyError::WeakKey {
            what: format!("{part} is an RSA key of {bits} bits, {MIN_RSA_BITS} are needed"),
        });
    }
    let full = modulus.first().is_some_and(|first| first & 0x80 != 0);
    if !full || modulus.len().checked_mul(8) != Some(usize::from(bits)) {
        return Err(reader.fault_at(at, format!("modulus is not one of {bits} bits")));
    }
    let modulus = modulus.to_vec();
    Ok((scheme, PublicKey::Rsa { modulus, exponent }))
}

fn read_ecc(reader: &mut Reader<'_>, part: &str) -> Result<(Scheme, PublicKey), VerifyError> {
    let scheme = read_scheme(reader, &[ALG_ECDSA, ALG_ECDH])?;
    let curve = match reader.u16("curveID")? {
        ECC_NIST_P256 => Curve::P256,
        ECC_NIST_P384 => Curve::P384,
        other => {
            return Err(VerifyError::Unsupported {
                what: format!(
                    "{part} on curve {other:#06x}: P-256 (0x0003) and P-384 (0x0004) are supported"
                ),
            });
        }
    };
    let at = reader.offset();
    let kdf = AlgorithmId(reader.u16("kdf")?);
    if kdf.0 != ALG_NULL {
        return Err(reader.fault_at(at, format!("kdf is {kdf}, not null")));
    }
    let mut coordinate = |what| {
        let at = reader.offset();
        let bytes = reader.sized(curve.coordinate_len(), what)?;
        // Firmware may leave out leading zeros ("TPM2B_ECC_PARAMETER").
        let missing = curve.coordinate_len().saturating_sub(bytes.len());
        if bytes.is_empty() {
            return Err(reader.fault_at(at, format!("{what} is empty")));
        }
        Ok([&vec![0; missing], bytes].concat())
    };
    let (x, y) = (coordinate("x")?, coordinate("y")?);
    Ok((scheme, PublicKey::Ecc { curve, x, y }))
}

/// `TPMT_RSA_SCHEME` or `TPMT_ECC_SCHEME`: null, or one of `with_hash`, each of which has just a hash; or RSAES,
/// which has nothing.
fn read_scheme(reader: &mut Reader<'_>, with_hash: &[u16]) -> Result<Scheme, VerifyError> {
    let at = reader.offset();
    let scheme = AlgorithmId(reader.u16("scheme")?);
    match scheme.0 {
        ALG_NULL => Ok(None),
        ALG_RSAES if with_hash.contains(&ALG_OAEP) => Ok(Some((scheme, AlgorithmId(ALG_NULL)))),
        known if with_hash.contains(&known) => {
            Ok(Some((scheme, AlgorithmId(reader.u16("hash of the scheme")?))))
        }
        _ => Err(reader.fault_at(
            at,
            format!("scheme is {scheme}, which no key of this type is relied upon with"),
        )),
    }
}
