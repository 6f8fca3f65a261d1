//! Verification of a quote: what `dcap-qvl` does not check, which document counts, and what came of it as claims.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use nautilus_core::{
    DeviceIdentity, Endorsements, Revocation, Tcb, UnixMillis, UnsignedFact, VerifyError, Want,
};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::chain::Platform;
use super::examination::Examination;
use super::memory::{self, Memory};
use super::wire::{Extent, Header, INTEL_QE_VENDOR_ID, SIGNATURE_LEN, SignatureData, unsupported};
use super::{collateral, unsigned};

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
    /// The signed bytes, in order, without those that are claims and nothing else: whatever they are, the platform
    /// is judged the same.
    pub judged: Vec<&'a [u8]>,
}

impl<'a> Subject<'a> {
    /// The bytes of a quote up to `signed` without the `claims`, which are ranges from the start of the body at
    /// `body`, in order and apart from each other.
    pub(crate) fn without_claims(
        bytes: &'a [u8],
        signed: usize,
        body: usize,
        claims: &[Range<usize>],
    ) -> Vec<&'a [u8]> {
        let mut judged = Vec::new();
        let mut from = 0;
        for claim in claims {
            let start = body.saturating_add(claim.start).min(signed);
            judged.push(bytes.get(from..start).unwrap_or_default());
            from = body.saturating_add(claim.end).min(signed);
        }
        judged.push(bytes.get(from..signed).unwrap_or_default());
        judged
    }

    /// What the attestation key signed.
    pub(super) fn signed(&self) -> &'a [u8] {
        self.bytes
            .get(..self.signature.signed_length())
            .unwrap_or_default()
    }

    /// What certifies the attestation key, from that key up to the certificates.
    pub(super) fn certified(&self) -> &'a [u8] {
        let start = self.signature.offset.saturating_add(SIGNATURE_LEN);
        self.bytes
            .get(start..self.signature.certification.offset)
            .unwrap_or_default()
    }
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
/// `now`. What was verified before, as `memory` has it, is not verified again; only that which verifies is
/// remembered, and whatever is not remembered is verified as if nothing were.
pub(crate) fn verify(
    subject: &Subject<'_>,
    endorsements: &Endorsements,
    now: UnixMillis,
    root: &Root,
    memory: &Memory,
) -> Result<Vouched, VerifyError> {
    let chain = memory::chain_key(&subject.signature.certification);
    let platform = match memory.platform(chain, now) {
        Some(platform) => platform,
        None => Arc::new(Platform::read(&subject.signature.certification)?),
    };
    check_quoting_enclave(subject)?;
    let examination = Examination {
        subject,
        chain,
        evidence: memory::evidence_key(subject, &chain),
        platform: &platform,
        now,
        root,
        memory,
    };
    let chosen = collateral::choose(subject.family, &platform, endorsements, now, root, memory)?;
    let proven = examination.decide(&chosen.best)?;
    let mut unsigned = unsigned::of_quote(subject.signature, subject.extent);
    unsigned.extend_from_slice(&proven.unsigned);
    let mut tcb = proven.tcb.clone();
    for other in &chosen.others {
        match examination.compare(other)? {
            Ok(judged) => tcb.other_evaluations.push(judged),
            Err(fact) => unsigned.push(fact),
        }
    }
    if chosen.left_out > 0 {
        unsigned.push(UnsignedFact {
            what: "collateral of other evaluations left out",
            detail: format!("{} evaluations older than those compared", chosen.left_out),
        });
    }
    for document in &chosen.unknown {
        // What was verified with just now is known already.
        if memory.document(document.bytes(), now).is_none() && document.is_authentic(root) {
            memory.remember_document(document);
        }
    }
    Ok(Vouched {
        device: proven.device.clone(),
        tcb,
        attributes: proven.attributes.clone(),
        unsigned,
        revocation: Revocation::Checked {
            until: Some(proven.endorsed_until),
        },
        endorsed_until: proven.endorsed_until,
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

#[cfg(test)]
mod tests;
