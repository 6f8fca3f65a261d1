//! Intel's collateral: which of the documents that were brought along fits, is current, and was signed in
//! the right role.
//!
//! A document is the JSON of `dcap-qvl`'s `QuoteCollateralV3`: TCB Info, QE Identity, CRLs and their
//! certificate chains. TCB Info and QE Identity are described in Intel's PCS API, version 4, "Get TCB Info"
//! and "Get QE Identity".

use dcap_qvl::QuoteCollateralV3;
use nautilus_core::{Endorsement, EndorsementKind, Endorsements, UnixMillis, VerifyError, Want};
use serde::Deserialize;
use x509_cert::Certificate;
use x509_cert::certificate::Rfc5280;
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::{ObjectIdentifier, Uint};
use x509_cert::time::Validity;

use super::chain::{Platform, certificates_in};
use super::verify::{Family, Root};

/// Common name of the certificate that signs TCB Info and QE Identity (Intel, *SGX PCK Certificate and CRL
/// Profile Specification*, "Intel SGX TCB Signing Certificate").
const TCB_SIGNING: &str = "Intel SGX TCB Signing";
/// The extension that makes a certificate a PCK.
const PCK_EXTENSION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1");
const CRL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// The collateral that a quote is verified with.
pub(super) struct Collateral {
    /// Where it came from.
    pub origin: String,
    /// The documents.
    pub documents: QuoteCollateralV3,
}

/// A document that could be read, and what it says it is for.
struct Candidate {
    origin: String,
    documents: QuoteCollateralV3,
    tcb_info: TcbInfoHead,
    windows: Vec<Window>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TcbInfoHead {
    /// Absent before version 3.
    id: Option<String>,
    version: u32,
    issue_date: String,
    next_update: String,
    fmspc: String,
    pce_id: String,
    tcb_type: u32,
    tcb_evaluation_data_number: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct QeIdentityHead {
    issue_date: String,
    next_update: String,
}

/// When a part of the collateral is valid, both ends included.
struct Window {
    what: &'static str,
    from: UnixMillis,
    until: UnixMillis,
}

/// How new a document is, by what is compared first. CRLs count, so that today's TCB Info cannot be paired
/// with a CRL from before a revocation and be preferred over the whole of the same day.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    evaluation: u32,
    tcb_info: Option<UnixMillis>,
    root_ca_crl: Option<CrlNumber>,
    pck_crl: Option<CrlNumber>,
}

/// A CRL's number (RFC 5280, section 5.2.3), which grows with every issue. The shorter is the smaller: DER has no
/// leading zeros.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct CrlNumber {
    length: usize,
    big_endian: Vec<u8>,
}

/// What has to be brought along for a platform.
pub(super) fn wants(family: Family, platform: &Platform, root: &Root) -> Vec<Want> {
    vec![want(platform.subject(family), family, platform, root)]
}

/// The collateral to verify with: it fits platform and family, is current at `now`, and of these has the
/// highest [`Rank`]. It has been checked for what `dcap-qvl` does not check; its signatures have not.
pub(super) fn choose(
    family: Family,
    platform: &Platform,
    endorsements: &Endorsements,
    now: UnixMillis,
    root: &Root,
) -> Result<Collateral, VerifyError> {
    let mut unreadable = None;
    let mut others = Vec::new();
    let mut fitting = Vec::new();
    for endorsement in endorsements.of_kind(EndorsementKind::DcapCollateral) {
        match Candidate::read(endorsement) {
            Ok(candidate) if candidate.fits(family, platform) => fitting.push(candidate),
            Ok(candidate) => others.push(candidate.offer()),
            Err(error) => unreadable = unreadable.or(Some(error)),
        }
    }
    if fitting.is_empty() {
        return Err(unreadable.unwrap_or_else(|| {
            let mut subject = platform.subject(family);
            if !others.is_empty() {
                subject = format!("{subject}; offered: {}", others.join(", "));
            }
            VerifyError::EndorsementsMissing {
                wants: vec![want(subject, family, platform, root)],
            }
        }));
    }
    let supported = partition(fitting, |candidate| {
        let version = candidate.tcb_info.version;
        let what = format!(
            "TCB Info version {version} is not supported: version 3 comes from version 4 of Intel's PCS"
        );
        (version < 3).then(|| VerifyError::EndorsementInvalid {
            origin: candidate.origin.clone(),
            what,
        })
    })?;
    let current = partition(supported, |candidate| candidate.not_current(now))?;
    let Some(best) = best(current) else {
        return Err(VerifyError::EndorsementsMissing {
            wants: wants(family, platform, root),
        });
    };
    best.check(platform, now, root)?;
    Ok(Collateral {
        origin: best.origin,
        documents: best.documents,
    })
}

/// The newest; of equals the one that was offered first.
fn best(candidates: Vec<Candidate>) -> Option<Candidate> {
    // Of equal ones `max_by_key` takes the last.
    candidates.into_iter().rev().max_by_key(Candidate::rank)
}

/// Those without a fault; if all have one, the first fault.
fn partition(
    candidates: Vec<Candidate>,
    fault: impl Fn(&Candidate) -> Option<VerifyError>,
) -> Result<Vec<Candidate>, VerifyError> {
    let mut first = None;
    let mut good = Vec::new();
    for candidate in candidates {
        match fault(&candidate) {
            None => good.push(candidate),
            Some(error) => first = first.or(Some(error)),
        }
    }
    match first {
        Some(error) if good.is_empty() => Err(error),
        _ => Ok(good),
    }
}

fn want(subject: String, family: Family, platform: &Platform, root: &Root) -> Want {
    const PCS: &str = "https://api.trustedservices.intel.com";
    let mut urls = Vec::new();
    if root.is_intel() {
        let path = family.pcs_path();
        urls.push(format!(
            "{PCS}/{path}/certification/v4/tcb?fmspc={}",
            platform.fmspc()
        ));
        urls.push(format!("{PCS}/{path}/certification/v4/qe/identity"));
        if let Some(ca) = platform.ca {
            urls.push(format!(
                "{PCS}/sgx/certification/v4/pckcrl?ca={}&encoding=der",
                ca.as_id_str()
            ));
        }
        urls.push("https://certificates.trustedservices.intel.com/IntelSGXRootCA.der".to_owned());
    }
    Want {
        kind: EndorsementKind::DcapCollateral,
        subject,
        urls,
    }
}

impl Candidate {
    fn read(endorsement: &Endorsement) -> Result<Self, VerifyError> {
        let size = endorsement.bytes.len();
        let invalid = |what: String| VerifyError::EndorsementInvalid {
            origin: endorsement.origin.clone(),
            what,
        };
        if size > Endorsements::MAX_SIZE {
            return Err(invalid(format!(
                "{size} bytes, more than the {} allowed",
                Endorsements::MAX_SIZE
            )));
        }
        let mut documents: QuoteCollateralV3 = serde_json::from_slice(&endorsement.bytes)
            .map_err(|error| invalid(format!("not DCAP collateral: {error}")))?;
        // The quote names its platform; nothing else may do so in its place.
        documents.pck_certificate_chain = None;
        let tcb_info: TcbInfoHead = serde_json::from_str(&documents.tcb_info)
            .map_err(|error| invalid(format!("TCB Info cannot be read: {error}")))?;
        let qe_identity: QeIdentityHead = serde_json::from_str(&documents.qe_identity)
            .map_err(|error| invalid(format!("QE Identity cannot be read: {error}")))?;
        let windows = vec![
            Window::read("TCB Info", &tcb_info.issue_date, &tcb_info.next_update).map_err(invalid)?,
            Window::read("QE Identity", &qe_identity.issue_date, &qe_identity.next_update)
                .map_err(invalid)?,
        ];
        Ok(Self {
            origin: endorsement.origin.clone(),
            documents,
            tcb_info,
            windows,
        })
    }

    fn fits(&self, family: Family, platform: &Platform) -> bool {
        let id_fits = match (&self.tcb_info.id, family) {
            (Some(id), _) => id == family.tcb_info_id(),
            (None, Family::Sgx) => self.tcb_info.version < 3,
            (None, Family::Tdx) => false,
        };
        id_fits && self.tcb_info.fmspc.eq_ignore_ascii_case(&platform.fmspc())
    }

    /// What this document is for, for a message.
    fn offer(&self) -> String {
        let id = self.tcb_info.id.as_deref().unwrap_or("SGX");
        let name = |text: &str| {
            text.chars()
                .take(16)
                .collect::<String>()
                .escape_default()
                .to_string()
        };
        format!(
            "{} platform {} from {}",
            name(id),
            name(&self.tcb_info.fmspc),
            self.origin
        )
    }

    fn rank(&self) -> Rank {
        Rank {
            evaluation: self.tcb_info.tcb_evaluation_data_number,
            tcb_info: self.windows.first().map(|window| window.from),
            root_ca_crl: CrlNumber::of(&self.documents.root_ca_crl),
            pck_crl: CrlNumber::of(&self.documents.pck_crl),
        }
    }

    fn not_current(&self, now: UnixMillis) -> Option<VerifyError> {
        self.windows
            .iter()
            .find_map(|window| window.fault(&self.origin, now))
    }

    /// What `dcap-qvl` leaves unchecked, and what it would not name.
    fn check(&self, platform: &Platform, now: UnixMillis, root: &Root) -> Result<(), VerifyError> {
        let invalid = |what: String| VerifyError::EndorsementInvalid {
            origin: self.origin.clone(),
            what,
        };
        let pce_id = hex::encode_upper(&platform.pck.pce_id);
        if !self.tcb_info.pce_id.eq_ignore_ascii_case(&pce_id) {
            let found = self.tcb_info.pce_id.escape_default();
            return Err(invalid(format!(
                "TCB Info is for PCE {found}, the platform has {pce_id}"
            )));
        }
        if self.tcb_info.tcb_type != 0 {
            return Err(invalid(format!(
                "TCB Info has TCB type {}, type 0 is supported",
                self.tcb_info.tcb_type
            )));
        }
        for (what, chain) in [
            ("TCB Info", &self.documents.tcb_info_issuer_chain),
            ("QE Identity", &self.documents.qe_identity_issuer_chain),
        ] {
            self.check_signer(what, chain, now, root)?;
        }
        for (what, crl) in [
            ("root CA CRL", &self.documents.root_ca_crl),
            ("PCK CRL", &self.documents.pck_crl),
        ] {
            let crl: CertificateList<Rfc5280> = CertificateList::from_der(crl)
                .map_err(|error| invalid(format!("{what} cannot be read: {error}")))?;
            if let Some(next) = crl.tbs_cert_list.next_update {
                let from = millis(crl.tbs_cert_list.this_update);
                let window = Window {
                    what,
                    from,
                    until: millis(next),
                };
                window.fault(&self.origin, now).map_or(Ok(()), Err)?;
            }
        }
        Ok(())
    }

    /// `dcap-qvl` takes any certificate that the root issued, a PCK's included, for the signer of TCB Info.
    fn check_signer(&self, what: &str, chain: &str, now: UnixMillis, root: &Root) -> Result<(), VerifyError> {
        let origin = || self.origin.clone();
        let invalid = |why: String| VerifyError::EndorsementInvalid {
            origin: origin(),
            what: format!("signer of {what}: {why}"),
        };
        let certificates = certificates_in(chain.as_bytes()).map_err(invalid)?;
        let leaf = certificates
            .first()
            .ok_or_else(|| invalid("no certificate".to_owned()))?;
        let certificate = Certificate::from_der(leaf).map_err(|error| invalid(error.to_string()))?;
        let leaf = certificate.tbs_certificate();
        let mut names = leaf.subject().iter().filter(|name| name.oid == COMMON_NAME);
        let is_signer = match (names.next(), names.next()) {
            (Some(name), None) => name.value.value() == TCB_SIGNING.as_bytes(),
            _ => false,
        };
        if !is_signer {
            return Err(invalid(format!(
                "certificate of `{}`, not of `{TCB_SIGNING}`",
                leaf.subject()
            )));
        }
        if leaf
            .extensions()
            .into_iter()
            .flatten()
            .any(|extension| extension.extn_id == PCK_EXTENSION)
        {
            return Err(invalid("a platform's PCK certificate may not sign it".to_owned()));
        }
        if !root.issued(&certificate) {
            let what = format!(
                "signer of {what} from {} was issued by `{}`",
                self.origin,
                leaf.issuer()
            );
            return Err(VerifyError::Untrusted { what });
        }
        Window::of("TCB signing certificate", leaf.validity())
            .fault(&self.origin, now)
            .map_or(Ok(()), Err)
    }
}

impl CrlNumber {
    /// None, and so the least, where there is no such number.
    fn of(crl: &[u8]) -> Option<Self> {
        let crl: CertificateList<Rfc5280> = CertificateList::from_der(crl).ok()?;
        let extensions = crl.tbs_cert_list.crl_extensions?;
        let number = extensions
            .iter()
            .find(|extension| extension.extn_id == CRL_NUMBER)?;
        let number = Uint::from_der(number.extn_value.as_bytes()).ok()?;
        let big_endian = number.as_bytes().to_vec();
        Some(Self {
            length: big_endian.len(),
            big_endian,
        })
    }
}

impl Window {
    fn read(what: &'static str, from: &str, until: &str) -> Result<Self, String> {
        let parse = |text: &str| text.parse().map_err(|error| format!("{what}: {error}"));
        Ok(Self {
            what,
            from: parse(from)?,
            until: parse(until)?,
        })
    }

    fn of(what: &'static str, validity: &Validity<Rfc5280>) -> Self {
        Self {
            what,
            from: millis(validity.not_before),
            until: millis(validity.not_after),
        }
    }

    /// Whole seconds decide, as in X.509 and in Intel's documents.
    fn fault(&self, origin: &str, now: UnixMillis) -> Option<VerifyError> {
        let state = if now.as_secs() < self.from.as_secs() {
            "is not valid yet"
        } else if now.as_secs() > self.until.as_secs() {
            "has expired"
        } else {
            return None;
        };
        let Self { what, from, until } = self;
        let what = format!("{what} {state}: valid from {from} until {until}, now {now}");
        Some(VerifyError::EndorsementNotCurrent {
            origin: origin.to_owned(),
            what,
        })
    }
}

fn millis(time: x509_cert::time::Time) -> UnixMillis {
    UnixMillis::from_secs(time.to_unix_duration().as_secs())
}

#[cfg(test)]
mod tests;
