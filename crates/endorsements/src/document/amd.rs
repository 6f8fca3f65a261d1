//! What AMD's certificates say of a chip and its TCB.
//!
//! AMD, *Versioned Chip Endorsement Key (VCEK) Certificate and KDS Interface Specification* (publication 57230),
//! section 3.1, names the extensions.

use std::fmt;
use std::str::FromStr;

use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::{ObjectIdentifier, OctetStringRef};

use super::{Subject, shown};

const BOOT_LOADER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.1");
const TEE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.2");
const SNP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.3");
const MICROCODE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.8");
const FMC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.9");
const HWID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.4");

/// The name of a product, such as `Milan`: at most 16 letters and digits, so that it can be part of an address
/// and of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Product(String);

/// The security versions that a certificate is for, or is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AmdTcb {
    /// Boot loader.
    pub boot_loader: u8,
    /// TEE.
    pub tee: u8,
    /// SNP firmware.
    pub snp: u8,
    /// Microcode.
    pub microcode: u8,
    /// FMC, which products before Turin do not have.
    pub fmc: Option<u8>,
}

impl FromStr for Product {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_name = (1..=16).contains(&text.len())
            && text.starts_with(|first: char| first.is_ascii_uppercase())
            && text.chars().all(|character| character.is_ascii_alphanumeric());
        if !is_name {
            return Err(format!("`{}` is no name of an AMD product", shown(text)));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for AmdTcb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(fmc) = self.fmc {
            write!(f, "fmc{fmc:02}-")?;
        }
        let Self {
            boot_loader,
            tee,
            snp,
            microcode,
            ..
        } = self;
        write!(
            f,
            "bl{boot_loader:02}-tee{tee:02}-snp{snp:02}-ucode{microcode:02}"
        )
    }
}

/// What a certificate is for, if its names are those of AMD's.
pub(super) fn subject(
    certificate: &Certificate,
    name: &str,
    issuer: Option<&str>,
) -> Result<Option<Subject>, String> {
    let product = |prefix: &str| {
        let issuer = issuer.unwrap_or_default();
        let product = issuer
            .strip_prefix(prefix)
            .ok_or_else(|| format!("a {name} certificate issued by `{}`", shown(issuer)))?;
        product.parse::<Product>()
    };
    match name {
        "SEV-VCEK" => Ok(Some(Subject::Vcek {
            product: product("SEV-")?,
            hwid: hwid(certificate)?,
            tcb: tcb(certificate)?,
        })),
        "SEV-VLEK" => Ok(Some(Subject::Vlek {
            product: product("SEV-VLEK-")?,
            tcb: tcb(certificate)?,
        })),
        _ => Ok(None),
    }
}

fn tcb(certificate: &Certificate) -> Result<AmdTcb, String> {
    let needed = |oid, what: &str| {
        version(certificate, oid)?.ok_or_else(|| format!("no extension for the {what}'s security version"))
    };
    Ok(AmdTcb {
        boot_loader: needed(BOOT_LOADER, "boot loader")?,
        tee: needed(TEE, "TEE")?,
        snp: needed(SNP, "SNP firmware")?,
        microcode: needed(MICROCODE, "microcode")?,
        fmc: version(certificate, FMC)?,
    })
}

fn version(certificate: &Certificate, oid: ObjectIdentifier) -> Result<Option<u8>, String> {
    extension(certificate, oid)?
        .map(|value| u8::from_der(value).map_err(|error| format!("extension {oid}: {error}")))
        .transpose()
}

/// The chip's id: older certificates have its bytes as they are, newer ones an OCTET STRING of them.
fn hwid(certificate: &Certificate) -> Result<Vec<u8>, String> {
    let value = extension(certificate, HWID)?.ok_or("no extension for the chip's id")?;
    let id = match value.len() {
        8 | 64 => value,
        _ => <&OctetStringRef>::from_der(value)
            .map_err(|error| format!("extension {HWID}: {error}"))?
            .as_bytes(),
    };
    if !matches!(id.len(), 8 | 64) {
        return Err(format!(
            "chip id of {} bytes, expected 64, or 8 on Turin",
            id.len()
        ));
    }
    Ok(id.to_vec())
}

fn extension(certificate: &Certificate, oid: ObjectIdentifier) -> Result<Option<&[u8]>, String> {
    let extensions = certificate.tbs_certificate().extensions();
    let mut found = extensions
        .into_iter()
        .flatten()
        .filter(|extension| extension.extn_id == oid);
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(format!("extension {oid} twice")),
        (first, None) => Ok(first.map(|extension| extension.extn_value.as_bytes())),
    }
}
