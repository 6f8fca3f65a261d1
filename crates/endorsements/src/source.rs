//! Which documents vendors publish, and where.
//!
//! Evidence says what it needs in addresses, and evidence is hostile: an address counts only if it is one of the
//! vendors' own, taken apart and built again. Nothing else is ever contacted.

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use nautilus_core::{EndorsementKind, Want};
use serde::{Deserialize, Serialize};
use ureq::http::Uri;

use crate::document::{AmdTcb, IntelTee, PckCa, Product, shown};

/// Intel's Provisioning Certification Service.
const PCS: &str = "https://api.trustedservices.intel.com";
/// Where Intel's root publishes its revocation list.
const PCS_CERTIFICATES: &str = "https://certificates.trustedservices.intel.com";
/// AMD's Key Distribution Service.
const KDS: &str = "https://kdsintf.amd.com";
/// Longest address that is looked at.
const MAX_URL: usize = 1024;

/// Which of Intel's TCB evaluations: after a TCB recovery there are two for about a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Update {
    /// The one that counts now.
    Standard,
    /// The one that will count: what a platform will be rated when it does.
    Early,
}

impl Update {
    /// Its name in Intel's API, and for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Early => "early",
        }
    }
}

/// A document of a vendor's service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Source {
    /// Intel's TCB Info for a platform.
    TcbInfo {
        /// The TEE.
        tee: IntelTee,
        /// The platform's FMSPC.
        fmspc: [u8; 6],
    },
    /// Intel's QE Identity.
    QeIdentity {
        /// The TEE.
        tee: IntelTee,
    },
    /// The revocation list of one of Intel's PCK authorities.
    PckCrl {
        /// Which.
        ca: PckCa,
    },
    /// The revocation list of Intel's root.
    RootCaCrl,
    /// AMD's certificate for a chip.
    Vcek {
        /// The chip's product.
        product: Product,
        /// Its id.
        hwid: Vec<u8>,
        /// The TCB that it reports.
        tcb: AmdTcb,
    },
    /// The revocation list of AMD's root for a product.
    AmdCrl {
        /// The product.
        product: Product,
        /// The kind of key.
        key: AmdKey,
    },
    /// AMD's root and intermediate for a product.
    AmdChain {
        /// The product.
        product: Product,
        /// The kind of key.
        key: AmdKey,
    },
}

/// Which of AMD's keys sign reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AmdKey {
    /// A chip's.
    Vcek,
    /// A cloud provider's.
    Vlek,
}

impl AmdKey {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Vcek => "vcek",
            Self::Vlek => "vlek",
        }
    }
}

/// Where a service is: scheme, host and port, and a path before its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base(String);

/// Why a text is no base address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no address of a service: {why}")]
pub struct BaseError {
    text: String,
    why: &'static str,
}

impl FromStr for Base {
    type Err = BaseError;

    /// Takes `https://pccs.example:8081`, with or without the path `/sgx/certification/v4`.
    fn from_str(text: &str) -> Result<Self, BaseError> {
        let refused = |why| BaseError {
            text: shown(text),
            why,
        };
        if text.len() > MAX_URL {
            return Err(refused("it is too long"));
        }
        let uri: Uri = text
            .parse()
            .map_err(|_| refused("expected https://HOST or https://HOST:PORT"))?;
        if !matches!(uri.scheme_str(), Some("https" | "http")) {
            return Err(refused(
                "begin it with https://, or with http:// where the way there is safe",
            ));
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err(refused("it names no host"));
        }
        if uri
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err(refused("leave name and password out"));
        }
        if uri.query().is_some() || text.contains('#') {
            return Err(refused("leave out what follows the path"));
        }
        let mut base = text.trim_end_matches('/');
        for version in ["/sgx/certification/v4", "/tdx/certification/v4"] {
            base = base.strip_suffix(version).unwrap_or(base);
        }
        if ["/sgx/certification", "/tdx/certification"]
            .iter()
            .any(|path| base.contains(path))
        {
            return Err(refused(
                "version 4 of the API is needed: end it before /sgx/certification",
            ));
        }
        Ok(Self(base.to_owned()))
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where the vendors' services are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bases {
    /// A caching service (PCCS) in place of Intel's own.
    pub(crate) pccs: Option<Base>,
    /// A mirror of AMD's.
    pub(crate) kds: Option<Base>,
}

impl Source {
    /// The document that one of the vendors' own addresses stands for; `None` for any other address.
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        if url.len() > MAX_URL || url.contains('#') {
            return None;
        }
        let (rest, parse): (_, fn(&str, &Query<'_>) -> Option<Self>) = [
            (PCS, Self::parse_pcs as _),
            (PCS_CERTIFICATES, Self::parse_pcs_certificates as _),
            (KDS, Self::parse_kds as fn(&str, &Query<'_>) -> Option<Self>),
        ]
        .into_iter()
        .find_map(|(base, parse)| Some((url.strip_prefix(base)?.strip_prefix('/')?, parse)))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        parse(path, &Query::parse(query)?)
    }

    fn parse_pcs(path: &str, query: &Query<'_>) -> Option<Self> {
        let (tee, document) = if let Some(document) = path.strip_prefix("sgx/certification/v4/") {
            (IntelTee::Sgx, document)
        } else {
            (IntelTee::Tdx, path.strip_prefix("tdx/certification/v4/")?)
        };
        let update = query.all_in(&["fmspc", "update", "ca", "encoding"]);
        match document {
            "tcb" if update => {
                let mut fmspc = [0; 6];
                hex::decode_to_slice(query.one("fmspc")?, &mut fmspc).ok()?;
                Some(Self::TcbInfo { tee, fmspc })
            }
            "qe/identity" if update => Some(Self::QeIdentity { tee }),
            "pckcrl" if update && tee == IntelTee::Sgx => match query.one("ca")? {
                "processor" => Some(Self::PckCrl { ca: PckCa::Processor }),
                "platform" => Some(Self::PckCrl { ca: PckCa::Platform }),
                _ => None,
            },
            "rootcacrl" if tee == IntelTee::Sgx => Some(Self::RootCaCrl),
            _ => None,
        }
    }

    fn parse_pcs_certificates(path: &str, query: &Query<'_>) -> Option<Self> {
        (path == "IntelSGXRootCA.der" && query.all_in(&[])).then_some(Self::RootCaCrl)
    }

    fn parse_kds(path: &str, query: &Query<'_>) -> Option<Self> {
        let mut parts = path.split('/');
        let key = match parts.next()? {
            "vcek" => AmdKey::Vcek,
            "vlek" => AmdKey::Vlek,
            _ => return None,
        };
        if parts.next()? != "v1" {
            return None;
        }
        let product: Product = parts.next()?.parse().ok()?;
        let document = parts.next()?;
        if parts.next().is_some() {
            return None;
        }
        match (document, key) {
            ("crl", _) if query.all_in(&[]) => Some(Self::AmdCrl { product, key }),
            ("cert_chain", _) if query.all_in(&[]) => Some(Self::AmdChain { product, key }),
            (hwid, AmdKey::Vcek) if matches!(hwid.len(), 16 | 128) => {
                let names = ["blSPL", "teeSPL", "snpSPL", "ucodeSPL", "fmcSPL"];
                if !query.all_in(&names) {
                    return None;
                }
                let version = |name| query.one(name)?.parse::<u8>().ok();
                Some(Self::Vcek {
                    product,
                    hwid: hex::decode(hwid).ok()?,
                    tcb: AmdTcb {
                        boot_loader: version("blSPL")?,
                        tee: version("teeSPL")?,
                        snp: version("snpSPL")?,
                        microcode: version("ucodeSPL")?,
                        fmc: match query.one("fmcSPL") {
                            Some(fmc) => Some(fmc.parse().ok()?),
                            None => None,
                        },
                    },
                })
            }
            _ => None,
        }
    }

    /// Where to ask for it.
    pub(crate) fn url(&self, bases: &Bases, update: Update) -> String {
        let pcs = bases.pccs.as_ref().map_or(PCS, |base| &base.0);
        let kds = bases.kds.as_ref().map_or(KDS, |base| &base.0);
        let update = update.as_str();
        match self {
            Self::TcbInfo { tee, fmspc } => {
                let (tee, fmspc) = (tee.as_str(), hex::encode_upper(fmspc));
                format!("{pcs}/{tee}/certification/v4/tcb?fmspc={fmspc}&update={update}")
            }
            Self::QeIdentity { tee } => {
                format!(
                    "{pcs}/{}/certification/v4/qe/identity?update={update}",
                    tee.as_str()
                )
            }
            Self::PckCrl { ca } => {
                format!(
                    "{pcs}/sgx/certification/v4/pckcrl?ca={}&encoding=der",
                    ca.as_str()
                )
            }
            // A caching service has it itself; Intel's own leaves it to the root's distribution point.
            Self::RootCaCrl => match &bases.pccs {
                Some(pccs) => format!("{pccs}/sgx/certification/v4/rootcacrl"),
                None => format!("{PCS_CERTIFICATES}/IntelSGXRootCA.der"),
            },
            Self::Vcek { product, hwid, tcb } => {
                let AmdTcb {
                    boot_loader,
                    tee,
                    snp,
                    microcode,
                    fmc,
                } = tcb;
                let fmc = fmc.map(|fmc| format!("fmcSPL={fmc:02}&")).unwrap_or_default();
                format!(
                    "{kds}/vcek/v1/{product}/{}?{fmc}blSPL={boot_loader:02}&teeSPL={tee:02}&snpSPL={snp:02}&ucodeSPL={microcode:02}",
                    hex::encode(hwid)
                )
            }
            Self::AmdCrl { product, key } => format!("{kds}/{}/v1/{product}/crl", key.as_str()),
            Self::AmdChain { product, key } => format!("{kds}/{}/v1/{product}/cert_chain", key.as_str()),
        }
    }
}

/// What a want stands for, by the documents behind its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// All that makes up DCAP collateral.
    Dcap {
        tee: IntelTee,
        fmspc: [u8; 6],
        /// Unknown where the quote's certificate names no authority of Intel's.
        ca: Option<PckCa>,
    },
    /// A chip's certificate.
    Vcek {
        product: Product,
        hwid: Vec<u8>,
        tcb: AmdTcb,
    },
    /// A cloud provider's certificate, which only its hosts have.
    Vlek { product: Product },
    /// A product's revocation list.
    AmdCrl { product: Product, key: AmdKey },
    /// A product's root and intermediate.
    AmdChain { product: Product },
    /// A document that no known service publishes.
    Unpublished { kind: EndorsementKind },
}

/// An address that is none of a vendor's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Foreign {
    pub(crate) url: String,
}

impl Need {
    /// What a want stands for. Several are for products that evidence could be of: one chip's certificate among them,
    /// and everybody's revocation list.
    pub(crate) fn of(want: &Want) -> Result<Vec<Self>, Foreign> {
        let sources = want
            .urls
            .iter()
            .map(|url| Source::parse(url).ok_or_else(|| Foreign { url: shown_url(url) }))
            .collect::<Result<Vec<_>, _>>()?;
        let kind = want.kind;
        let mut needs = match kind {
            EndorsementKind::DcapCollateral => Self::of_collateral(&sources).into_iter().collect(),
            EndorsementKind::Certificate => Self::of_certificate(sources),
            EndorsementKind::Crl => sources
                .into_iter()
                .filter_map(|source| match source {
                    Source::AmdCrl { product, key } => Some(Self::AmdCrl { product, key }),
                    _ => None,
                })
                .collect(),
        };
        if needs.is_empty() {
            needs.push(Self::Unpublished { kind });
        }
        Ok(needs)
    }

    fn of_collateral(sources: &[Source]) -> Option<Self> {
        let ca = sources.iter().find_map(|source| match source {
            Source::PckCrl { ca } => Some(*ca),
            _ => None,
        });
        sources.iter().find_map(|source| match source {
            Source::TcbInfo { tee, fmspc } => Some(Self::Dcap {
                tee: *tee,
                fmspc: *fmspc,
                ca,
            }),
            _ => None,
        })
    }

    /// A leaf's address comes with that of its chain, which verification has built in.
    fn of_certificate(sources: Vec<Source>) -> Vec<Self> {
        let (leaves, chains): (Vec<_>, Vec<_>) = sources
            .into_iter()
            .filter_map(|source| match source {
                Source::Vcek { product, hwid, tcb } => Some(Self::Vcek { product, hwid, tcb }),
                Source::AmdChain { product, key } => Some(match key {
                    AmdKey::Vcek => Self::AmdChain { product },
                    AmdKey::Vlek => Self::Vlek { product },
                }),
                _ => None,
            })
            .partition(|need| matches!(need, Self::Vcek { .. }));
        if leaves.is_empty() { chains } else { leaves }
    }
}

fn shown_url(url: &str) -> String {
    url.chars().take(200).flat_map(char::escape_default).collect()
}

/// The parameters of an address: each name once, nothing to be decoded.
struct Query<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Query<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for pair in text.split('&').filter(|_| !text.is_empty()) {
            let (name, value) = pair.split_once('=')?;
            let is_plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric());
            if !is_plain(name) || !is_plain(value) || pairs.iter().any(|(other, _)| *other == name) {
                return None;
            }
            pairs.push((name, value));
        }
        Some(Self(pairs))
    }

    fn one(&self, name: &str) -> Option<&'a str> {
        self.0
            .iter()
            .find(|(other, _)| *other == name)
            .map(|(_, value)| *value)
    }

    fn all_in(&self, names: &[&str]) -> bool {
        self.0.iter().all(|(name, _)| names.contains(name))
    }
}
