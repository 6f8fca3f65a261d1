//! Verification of a quote: what `dcap-qvl` does not check, then `dcap-qvl`, then what it found as claims.

use std::collections::BTreeMap;

use dcap_qvl::verify::QuoteVerifier;
use dcap_qvl::{PckCertFlag, QuoteClaims, QuotePolicy};
use nautilus_core::{
    DeviceIdentity, Endorsements, Revocation, Tcb, UnixMillis, UnsignedFact, VerifyError, Want,
};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::chain::Platform;
use super::wire::{Extent, Header, INTEL_QE_VENDOR_ID, SignatureData, unsupported};
use super::{collateral, fault, tcb, unsigned};

/// Intel's root of all SGX and TDX platforms, "Intel SGX Root CA", as published at
/// <https://certificates.trustedservices.intel.com/Intel_SGX_Provisioning_Certification_RootCA.cer>.
const INTEL_ROOT: &[u8] = include_bytes!("intel-sgx-root-ca.der");
/// The QE authentication data that Intel's quoting enclaves make, and the only length that `dcap-qvl` takes.
const QE_AUTH_DATA_LEN: usize = 32;

/// The family that a platform's quote and collateral belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// SGX enclaves.
    Sgx,
    /// TDX trust domains.
    Tdx,
}

impl Family {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sgx => "SGX",
            Self::Tdx => "TDX",
        }
    }

    /// `id` in TCB Info.
    pub(super) const fn tcb_info_id(self) -> &'static str {
        self.name()
    }

    /// First part of the path in Intel's PCS.
    pub(super) const fn pcs_path(self) -> &'static str {
        match self {
            Self::Sgx => "sgx",
            Self::Tdx => "tdx",
        }
    }
}

/// The certificate in which a chain must end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Root {
    der: Vec<u8>,
}

impl Root {
    pub(crate) fn intel() -> Self {
        Self {
            der: INTEL_ROOT.to_vec(),
        }
    }

    pub(crate) const fn of_der(der: Vec<u8>) -> Self {
        Self { der }
    }

    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }

    pub(super) fn is_intel(&self) -> bool {
        self.der == INTEL_ROOT
    }

    /// Whether a certificate names this root as its issuer. Its signature is `dcap-qvl`'s to verify.
    pub(super) fn issued(&self, certificate: &Certificate) -> bool {
        Certificate::from_der(&self.der)
            .is_ok_and(|root| certificate.tbs_certificate().issuer() == root.tbs_certificate().subject())
    }
}

/// What the two families' quotes have in common.
pub(crate) struct Subject<'a> {
    pub family: Family,
    /// The evidence, with what may follow the quote.
    pub bytes: &'a [u8],
    pub header: &'a Header,
    pub signature: &'a SignatureData,
    pub extent: Extent,
    /// `TEE_TCB_SVN`, and where the report has it `TEE_TCB_SVN2`; empty for SGX.
    pub tee_tcb_svns: Vec<[u8; 16]>,
}

/// What verification vouches for, beside the report itself.
pub(crate) struct Vouched {
    pub device: DeviceIdentity,
    pub tcb: Tcb,
    pub attributes: BTreeMap<String, String>,
    pub unsigned: Vec<UnsignedFact>,
    pub revocation: Revocation,
    pub endorsed_until: UnixMillis,
}

/// The endorsements that a quote needs.
pub(crate) fn wants(subject: &Subject<'_>, root: &Root) -> Result<Vec<Want>, VerifyError> {
    let platform = Platform::read(&subject.signature.certification)?;
    Ok(collateral::wants(subject.family, &platform, root))
}

/// Verifies a quote: its certificates up to `root`, every signature, the quoting enclave and the TCB, at
/// `now`.
pub(crate) fn verify(
    subject: &Subject<'_>,
    endorsements: &Endorsements,
    now: UnixMillis,
    root: &Root,
) -> Result<Vouched, VerifyError> {
    let platform = Platform::read(&subject.signature.certification)?;
    check_quoting_enclave(subject)?;
    let chosen = collateral::choose(subject.family, &platform, endorsements, now, root)?;
    let versions = tcb::Versions {
        platform: &platform,
        tee_tcb_svns: &subject.tee_tcb_svns,
        qe_isv_svn: subject.signature.qe_report.isv_svn,
    };
    let quote = subject.bytes.get(..subject.extent.length).unwrap_or_default();
    let now = now.as_secs();
    // Debug is a claim: the facade rates such evidence as simulated. Service TDs are not allowed for.
    let claims = QuoteVerifier::new(root.der().to_vec())
        .allow_debug(true)
        .verify_with_policy(quote, &chosen.documents, now, &QuotePolicy::claims_only(now))
        .map_err(|error| {
            let no_level = || tcb::shortfalls(&chosen.documents, &versions, tcb::Level::Lowest);
            fault::typed(format!("{error:#}"), &chosen.origin, no_level)
        })?;
    let shortfalls = tcb::shortfalls(&chosen.documents, &versions, tcb::Level::Newest);
    Ok(Vouched {
        device: DeviceIdentity {
            scheme: "intel-ppid",
            id: hex::encode(&claims.platform.pck.ppid),
            family: Some(hex::encode_upper(claims.platform.pck.fmspc)),
        },
        tcb: tcb::verdict(&claims, shortfalls),
        attributes: attributes(subject.header, &claims),
        unsigned: unsigned::facts(subject.signature, subject.extent, &platform, root),
        revocation: Revocation::Checked {
            until: Some(UnixMillis::from_secs(claims.earliest_expiration_date)),
        },
        endorsed_until: UnixMillis::from_secs(claims.earliest_expiration_date),
    })
}

/// What the verdict on a file is that does not parse. Bytes after the quote are refused, but a fault of the
/// quote itself is the graver one and is named in their place.
pub(crate) fn graver_fault(
    evidence: &[u8],
    fault: VerifyError,
    verify: impl FnOnce(&[u8]) -> Result<nautilus_core::RawClaims, VerifyError>,
) -> VerifyError {
    match fault {
        VerifyError::TrailingBytes { offset, .. } => evidence
            .get(..offset)
            .and_then(|quote| verify(quote).err())
            .unwrap_or(fault),
        other => other,
    }
}

/// What can be told of the quoting enclave without its endorsements.
fn check_quoting_enclave(subject: &Subject<'_>) -> Result<(), VerifyError> {
    let vendor = subject.header.qe_vendor_id;
    if vendor != INTEL_QE_VENDOR_ID {
        let what = format!(
            "quoting enclave is of vendor {}, not of Intel",
            hex::encode(vendor)
        );
        return Err(VerifyError::ComponentInvalid { what });
    }
    let length = subject.signature.qe_auth_data.len();
    if length != QE_AUTH_DATA_LEN {
        return Err(unsupported(format!(
            "QE authentication data of {length} bytes, not {QE_AUTH_DATA_LEN}"
        )));
    }
    // SHA-256 of attestation key and authentication data, then 32 zeros (SGX QuoteLib reference, "QE
    // Report").
    let (_, rest) = subject.signature.qe_report.report_data.split_at(32);
    if rest.iter().any(|byte| *byte != 0) {
        let what =
            "QE report binds more than the attestation key: its report data does not end in zeros".to_owned();
        return Err(VerifyError::ComponentInvalid { what });
    }
    Ok(())
}

fn attributes(header: &Header, claims: &QuoteClaims) -> BTreeMap<String, String> {
    let (pck, qe, platform) = (&claims.platform.pck, &claims.qe, &claims.platform);
    let mut attributes = BTreeMap::new();
    let mut set = |name: &str, value: String| {
        attributes.insert(name.to_owned(), value);
    };
    set("quote_version", header.version.to_string());
    set("quote_user_data", hex::encode(header.user_data));
    if header.version == 3 {
        set("qe_svn", header.qe_svn.to_string());
        set("pce_svn", header.pce_svn.to_string());
    }
    set("pck_cpu_svn", hex::encode(pck.cpu_svn));
    set("pck_pce_svn", pck.pce_svn.to_string());
    set("pce_id", hex::encode_upper(&pck.pce_id));
    set("sgx_type", sgx_type(pck.sgx_type));
    set("smt_enabled", flag(pck.smt_enabled));
    set("dynamic_platform", flag(pck.dynamic_platform));
    set("cached_keys", flag(pck.cached_keys));
    if let Some(id) = pck.platform_instance_id {
        set("platform_instance_id", hex::encode(id));
    }
    set(
        "platform_status",
        tcb::status(platform.tcb_level.tcb_status).to_string(),
    );
    if let Some(level) = &platform.current_tcb_level {
        set(
            "current_platform_status",
            tcb::status(level.tcb_status).to_string(),
        );
    }
    set("qe_status", tcb::status(qe.tcb_level.tcb_status).to_string());
    set("qe_tcb_date", qe.tcb_level.tcb_date.clone());
    set("qe_isvsvn", qe.report.isv_svn.to_string());
    set("qe_mrsigner", hex::encode(qe.report.mr_signer));
    set("pck_crl_number", platform.pck_crl_num.to_string());
    set("root_ca_crl_number", platform.root_ca_crl_num.to_string());
    attributes
}

fn flag(flag: PckCertFlag) -> String {
    match flag {
        PckCertFlag::True => "true",
        PckCertFlag::False => "false",
        PckCertFlag::Undefined => "undefined",
    }
    .to_owned()
}

/// Names from Intel's PCK certificate profile, "SGX Type".
fn sgx_type(kind: u8) -> String {
    match kind {
        0 => "standard".to_owned(),
        1 => "scalable".to_owned(),
        2 => "scalable with integrity".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
