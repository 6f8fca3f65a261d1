//! Versioned endorsement keys: what the certificate of a VCEK or VLEK says, and which of those offered fits a
//! report.
//!
//! Extensions: AMD 57230, table "VCEK Certificate Fields" and its twin for the VLEK.

use std::sync::LazyLock;

use nautilus_core::{Endorsement, EndorsementKind, Endorsements, VerifyError};
use x509_cert::der::asn1::{Ia5StringRef, OctetStringRef};
use x509_cert::der::{Decode as _, Error};
use x509_cert::ext::pkix::BasicConstraints;

use super::product::Product;
use super::wire::{Report, SigningKey};
use crate::x509::{Certificate, Extension, Fault, oid};

const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
// 1.3.6.1.4.1.3704.1 and one arc more.
const STRUCT_VERSION: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x9c, 0x78, 0x01, 0x01];
const PRODUCT_NAME: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x9c, 0x78, 0x01, 0x02];
const TCB: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x9c, 0x78, 0x01, 0x03];
const HWID: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x9c, 0x78, 0x01, 0x04];
const CSP_ID: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x9c, 0x78, 0x01, 0x05];

/// Certificates that fit one report and are tried: renewed ones differ in nothing but their dates.
const MAX_FITS: usize = 8;
/// Authorities that are tried beside those built in.
const MAX_AUTHORITIES: usize = 4;

/// What the certificate of an endorsement key says. Nothing of it is verified yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vek<'a> {
    pub der: &'a [u8],
    pub parts: Certificate<'a>,
    pub key: SigningKey,
    pub product: Product,
    /// The product's name with its stepping, such as `Milan-B0`.
    pub product_name: &'a str,
    /// The chip, of a VCEK.
    pub hwid: Option<&'a [u8]>,
    /// The cloud provider, of a VLEK.
    pub csp: Option<&'a str>,
    /// Security versions by the last arc of their extension.
    versions: [Option<u8>; 10],
}

/// Why a certificate does not fit a report. Ordered: later ones come closer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Misfit {
    Key,
    Product,
    Chip,
    Tcb,
}

/// The certificates that were brought along and are AMD's by name.
pub(super) struct Offered<'a> {
    veks: Vec<(&'a Endorsement, Vek<'a>)>,
    /// Endorsement keys that say something they must not, and certificates that are none.
    unusable: Option<(&'a Endorsement, Fault)>,
    others: Vec<(&'a Endorsement, Certificate<'a>)>,
}

impl<'a> Offered<'a> {
    /// Looks through everything that was brought along.
    pub fn scan(endorsements: &'a Endorsements) -> Self {
        let mut offered = Self {
            veks: Vec::new(),
            unusable: None,
            others: Vec::new(),
        };
        for endorsement in endorsements.of_kind(EndorsementKind::Certificate) {
            let read = Certificate::parse(&endorsement.bytes)
                .and_then(|parts| Vek::read(&endorsement.bytes, parts).map(|vek| (parts, vek)));
            match read {
                Ok((_, Some(vek))) => offered.veks.push((endorsement, vek)),
                Ok((parts, None)) => offered.others.push((endorsement, parts)),
                Err(fault) => {
                    offered.unusable.get_or_insert((endorsement, fault));
                }
            }
        }
        offered
    }

    /// Those that fit a report, as many as are tried; none if no endorsement key came along that could be
    /// meant.
    ///
    /// # Errors If the only one that came along, or one of the same chip, does not fit. Keys of other chips
    /// alone are a store of many that lacks this one.
    pub fn fitting(&self, report: &Report) -> Result<Vec<(&'a Endorsement, Vek<'a>)>, VerifyError> {
        let mut fits = Vec::new();
        let mut closest: Option<(Misfit, &(&Endorsement, Vek<'_>))> = None;
        for offer in &self.veks {
            match offer.1.misfit(report) {
                None => fits.push(*offer),
                Some(misfit) if closest.is_none_or(|(other, _)| misfit > other) => {
                    closest = Some((misfit, offer));
                }
                Some(_) => {}
            }
        }
        if !fits.is_empty() {
            fits.truncate(MAX_FITS);
            return Ok(fits);
        }
        let invalid = |origin: &str, what: String| VerifyError::EndorsementInvalid {
            origin: origin.to_owned(),
            what,
        };
        match (closest, &self.unusable) {
            (Some((misfit, (endorsement, vek))), _) if misfit == Misfit::Tcb || self.veks.len() == 1 => {
                Err(invalid(&endorsement.origin, vek.explain(misfit, report)))
            }
            (None, Some((endorsement, fault))) => {
                Err(invalid(&endorsement.origin, format!("the certificate {fault}")))
            }
            _ => Ok(fits),
        }
    }

    /// Certificates with this subject that are not among those built in, as many as are tried.
    pub fn authorities(
        &self,
        subject: &[u8],
        built_in: &[Vec<u8>],
    ) -> impl Iterator<Item = (&'a Endorsement, Certificate<'a>)> {
        self.others
            .iter()
            .filter(move |(endorsement, parts)| {
                parts.subject == subject && !built_in.contains(&endorsement.bytes)
            })
            .take(MAX_AUTHORITIES)
            .copied()
    }
}

impl<'a> Vek<'a> {
    /// Reads a certificate if it names itself an endorsement key.
    ///
    /// # Errors
    /// If it does, and then says something else than AMD writes into such a certificate.
    pub fn read(der: &'a [u8], parts: Certificate<'a>) -> Result<Option<Self>, Fault> {
        let names = &*NAMES;
        let key = if parts.subject == names.vcek {
            SigningKey::Vcek
        } else if parts.subject == names.vlek {
            SigningKey::Vlek
        } else {
            return Ok(None);
        };
        let product = match names.authority(parts.issuer) {
            Some((of, product)) if of == key => product,
            _ => {
                return Err(format!(
                    "is a {} by name, but of an issuer that makes none",
                    key.as_str()
                ));
            }
        };
        let mut product_name = None;
        let mut hwid = None;
        let mut csp = None;
        let mut struct_version = None;
        let mut is_authority = false;
        let mut versions = [None; 10];
        for extension in parts.extensions()? {
            let unreadable = |error: Error| {
                format!(
                    "has extension {} with a value that cannot be read: {error}",
                    oid(extension.id)
                )
            };
            match extension.id {
                STRUCT_VERSION => {
                    struct_version = Some(u8::from_der(extension.value).map_err(unreadable)?);
                }
                PRODUCT_NAME => {
                    product_name = Some(text(extension.value).map_err(unreadable)?);
                }
                HWID => hwid = Some(read_hwid(&extension, product)?),
                CSP_ID => csp = Some(text(extension.value).map_err(unreadable)?),
                BASIC_CONSTRAINTS => {
                    let constraints = BasicConstraints::from_der(extension.value).map_err(unreadable)?;
                    is_authority = constraints.ca;
                }
                id if id.len() > TCB.len() && id.starts_with(TCB) => {
                    let slot = match id.strip_prefix(TCB) {
                        Some([arc @ 1..=u8::MAX]) => versions.get_mut(usize::from(*arc)),
                        _ => None,
                    };
                    let slot =
                        slot.ok_or_else(|| format!("has the TCB extension {}, which is unknown", oid(id)))?;
                    *slot = Some(u8::from_der(extension.value).map_err(unreadable)?);
                }
                id if extension.critical => {
                    return Err(format!(
                        "has the critical extension {}, which is unknown",
                        oid(id)
                    ));
                }
                _ => {}
            }
        }
        if is_authority {
            return Err("is one of an authority".to_owned());
        }
        match struct_version {
            Some(0 | 1) => {}
            Some(other) => return Err(format!("has a structure of version {other}; 0 and 1 are known")),
            None => {
                return Err(format!(
                    "lacks extension {}, the structure's version",
                    oid(STRUCT_VERSION)
                ));
            }
        }
        check_versions(&versions, product)?;
        match (key, hwid, csp) {
            (SigningKey::Vcek, Some(_), None) | (SigningKey::Vlek, None, Some(_)) => {}
            (SigningKey::Vcek, None, _) => return Err(format!("lacks extension {}, the chip", oid(HWID))),
            (SigningKey::Vlek, _, None) => {
                return Err(format!("lacks extension {}, the provider", oid(CSP_ID)));
            }
            (SigningKey::Vcek, _, Some(_)) => return Err("of a chip's key names a provider".to_owned()),
            (SigningKey::Vlek, Some(_), _) => return Err("of a provider's key names a chip".to_owned()),
        }
        let product_name = product_name
            .ok_or_else(|| format!("lacks extension {}, the product's name", oid(PRODUCT_NAME)))?;
        let family = product_name
            .split_once('-')
            .map_or(product_name, |(family, _)| family);
        if family != product.as_str() {
            let product_name: String = product_name.chars().take(32).collect();
            return Err(format!(
                "is of product {product_name:?}, but of the issuer of product {product}"
            ));
        }
        Ok(Some(Self {
            der,
            parts,
            key,
            product,
            product_name,
            hwid,
            csp,
            versions,
        }))
    }

    /// What it is, for messages.
    pub fn describe(&self) -> String {
        format!("{} of {}", self.key.as_str(), self.product)
    }

    fn misfit(&self, report: &Report) -> Option<Misfit> {
        if self.key != report.signing_key {
            return Some(Misfit::Key);
        }
        // A processor that is none of the products is refused before this.
        if report
            .product()
            .is_ok_and(|product| product.is_some_and(|product| product != self.product))
        {
            return Some(Misfit::Product);
        }
        if self.hwid.is_some() && self.hwid != report.hwid(self.product) {
            return Some(Misfit::Chip);
        }
        let differs = |(arc, value): (u8, u8)| self.version(arc) != Some(value);
        reported(report, self.product).any(differs).then_some(Misfit::Tcb)
    }

    fn explain(&self, misfit: Misfit, report: &Report) -> String {
        let what = self.describe();
        match misfit {
            Misfit::Key => format!(
                "the certificate is that of a {what}, the report is signed by a {}",
                report.signing_key.as_str()
            ),
            Misfit::Product => {
                let product = report.product().ok().flatten().map_or("another", Product::as_str);
                format!("the certificate is that of a {what}, the report is of {product}")
            }
            Misfit::Chip => format!(
                "the {what} is of chip {}, the report is of chip {}",
                hex::encode(self.hwid.unwrap_or_default()),
                hex::encode(report.hwid(self.product).unwrap_or_default()),
            ),
            Misfit::Tcb => {
                let parts = self.product.parts().iter();
                let differing: Vec<String> = parts
                    .map(|part| {
                        (
                            part.name,
                            self.version(part.arc).unwrap_or_default(),
                            report.reported_tcb.of(part),
                        )
                    })
                    .filter(|(_, have, needs)| have != needs)
                    .map(|(name, have, needs)| format!("{name} {have}, the report says {needs}"))
                    .collect();
                format!("the {what} is for another TCB: {}", differing.join("; "))
            }
        }
    }

    fn version(&self, arc: u8) -> Option<u8> {
        self.versions.get(usize::from(arc)).copied().flatten()
    }
}

/// The reported TCB as the extensions have it: the last arc, and the security version.
fn reported(report: &Report, product: Product) -> impl Iterator<Item = (u8, u8)> {
    let tcb = report.reported_tcb;
    product.parts().iter().map(move |part| (part.arc, tcb.of(part)))
}

/// All parts of a TCB have to be there; those that the product reserves may be, with a zero.
fn check_versions(versions: &[Option<u8>; 10], product: Product) -> Result<(), Fault> {
    for (arc, version) in versions.iter().enumerate() {
        let known = product.parts().iter().any(|part| usize::from(part.arc) == arc);
        match version {
            None if known => return Err(format!("lacks extension {}.{arc}, a part of the TCB", oid(TCB))),
            Some(1..) if !known => {
                return Err(format!(
                    "has extension {}.{arc}, which {product} reserves, with a value",
                    oid(TCB)
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The chip's name stands there bare; a few early certificates have it as an OCTET STRING.
fn read_hwid<'a>(extension: &Extension<'a>, product: Product) -> Result<&'a [u8], Fault> {
    let length = product.hwid_len();
    let bare = (extension.value.len() == length).then_some(extension.value);
    let wrapped = || {
        let octets = <&OctetStringRef>::from_der(extension.value).ok()?.as_bytes();
        (octets.len() == length).then_some(octets)
    };
    bare.or_else(wrapped).ok_or_else(|| {
        format!(
            "has extension {} with something that is no chip's name of {length} bytes",
            oid(HWID)
        )
    })
}

fn text(value: &[u8]) -> Result<&str, Error> {
    Ia5StringRef::from_der(value).map(|text| text.as_str())
}

/// The subjects that AMD's certificates have, in DER, byte for byte.
struct Names {
    vcek: Vec<u8>,
    vlek: Vec<u8>,
    authorities: Vec<(Vec<u8>, SigningKey, Product)>,
}

static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let of = |key: SigningKey| {
        Product::ALL.map(|product| (distinguished_name(&authority_name(key, product)), key, product))
    };
    Names {
        vcek: distinguished_name("SEV-VCEK"),
        vlek: distinguished_name("SEV-VLEK"),
        authorities: [of(SigningKey::Vcek), of(SigningKey::Vlek)].concat(),
    }
});

impl Names {
    fn authority(&self, name: &[u8]) -> Option<(SigningKey, Product)> {
        let mut authorities = self.authorities.iter();
        authorities
            .find(|(der, _, _)| der == name)
            .map(|(_, key, product)| (*key, *product))
    }
}

/// The common name of the authority that certifies a product's endorsement keys.
pub(super) fn authority_name(key: SigningKey, product: Product) -> String {
    match key {
        SigningKey::Vcek => format!("SEV-{product}"),
        SigningKey::Vlek => format!("SEV-VLEK-{product}"),
    }
}

/// The common name of a product's root.
pub(super) fn root_name(product: Product) -> String {
    format!("ARK-{product}")
}

/// AMD's distinguished name with this common name, in DER.
pub(super) fn distinguished_name(common_name: &str) -> Vec<u8> {
    const PRINTABLE: u8 = 0x13;
    const UTF8: u8 = 0x0c;
    let attribute = |arc: u8, tag: u8, value: &str| {
        let value = tlv(tag, value.as_bytes());
        let kind = tlv(0x06, &[0x55, 0x04, arc]);
        tlv(0x31, &tlv(0x30, &[kind, value].concat()))
    };
    let attributes = [
        attribute(11, UTF8, "Engineering"),
        attribute(6, PRINTABLE, "US"),
        attribute(7, UTF8, "Santa Clara"),
        attribute(8, UTF8, "CA"),
        attribute(10, UTF8, "Advanced Micro Devices"),
        attribute(3, UTF8, common_name),
    ];
    tlv(0x30, &attributes.concat())
}

/// DER of a value below 256 bytes (X.690, 8.1.3).
fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    match u8::try_from(value.len()).unwrap_or(u8::MAX) {
        short @ 0..=0x7f => der.push(short),
        long => der.extend([0x81, long]),
    }
    der.extend(value);
    der
}
