//! `dcap-qvl` says why it refuses in text. This is what its messages mean.

use nautilus_core::VerifyError;

/// Who is at fault, as far as `dcap-qvl`'s text tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Malformed,
    Unsupported,
    Endorsement,
    NotCurrent,
    Untrusted,
    Signature,
    Component,
    Attribute,
    NoTcbLevel,
    Revoked,
}

/// What `dcap-qvl` says of a quote that its attestation key did not sign.
pub(super) const QUOTE_SIGNATURE: &str = "ISV enclave report signature is invalid";

/// The first entry whose text occurs in a message decides. Contexts come before the causes that they may
/// carry.
const TABLE: &[(&str, Fault)] = &[
    // Certificates and CRLs. A chain's cause comes from webpki, and stands in the same message.
    ("CrlExpired", Fault::NotCurrent),
    ("UnknownRevocationStatus", Fault::Endorsement),
    ("Failed to parse root CA CRL", Fault::Endorsement),
    ("Failed to parse PCK CRL", Fault::Endorsement),
    ("Failed to load root ca", Fault::Untrusted),
    ("Failed to parse root CA certificate", Fault::Untrusted),
    ("Failed to verify certificate chain", Fault::Untrusted),
    ("CertRevoked", Fault::Untrusted),
    ("Too many intermediate certificates", Fault::Untrusted),
    ("Failed to create RevocationOptionsBuilder", Fault::Untrusted),
    // The quote.
    ("Failed to decode quote", Fault::Malformed),
    ("Unsupported DCAP quote version", Fault::Unsupported),
    ("Unknown QE vendor ID", Fault::Component),
    ("Unsupported TEE type", Fault::Unsupported),
    ("TEE quote must have version", Fault::Unsupported),
    ("Unsupported DCAP attestation key type", Fault::Unsupported),
    ("Unsupported DCAP PCK cert format", Fault::Unsupported),
    (
        "Failed to extract PCK certificates from collateral",
        Fault::Endorsement,
    ),
    ("Failed to extract PCK certificates from quote", Fault::Malformed),
    ("Certificate chain is too short in quote", Fault::Malformed),
    ("Failed to parse PCK certificate", Fault::Malformed),
    ("Failed to decode QE report", Fault::Malformed),
    ("Invalid QE auth data length", Fault::Unsupported),
    ("Failed to get signed quote scope", Fault::Malformed),
    ("Failed to get TD10 report", Fault::Malformed),
    ("Intel extension", Fault::Malformed),
    ("Failed to decode certificate", Fault::Malformed),
    ("Fmspc length mismatch", Fault::Malformed),
    ("Failed to find Fmspc", Fault::Malformed),
    ("CpuSvn length mismatch", Fault::Malformed),
    ("PceSvn length mismatch", Fault::Malformed),
    ("Failed to find PceSvn", Fault::Malformed),
    ("Unexpected BOOLEAN length", Fault::Malformed),
    ("Unexpected ENUMERATED length", Fault::Malformed),
    // Signatures by the platform.
    ("Signature is invalid for qe_report in quote", Fault::Signature),
    ("QE report hash mismatch", Fault::Signature),
    (QUOTE_SIGNATURE, Fault::Signature),
    ("Failed to create r INTEGER", Fault::Signature),
    ("Failed to create s INTEGER", Fault::Signature),
    ("encode ECDSA signature", Fault::Signature),
    ("finalize ECDSA signature", Fault::Signature),
    // TCB Info and QE Identity.
    ("TCBInfo issue date is in the future", Fault::NotCurrent),
    ("TCBInfo expired", Fault::NotCurrent),
    ("QE Identity issue date is in the future", Fault::NotCurrent),
    ("QE Identity expired", Fault::NotCurrent),
    ("Failed to decode TcbInfo", Fault::Endorsement),
    ("Failed to decode QeIdentity", Fault::Endorsement),
    ("Failed to parse certs", Fault::Endorsement),
    ("Failed to parse TCB Info", Fault::Endorsement),
    ("Failed to parse QE Identity", Fault::Endorsement),
    ("Failed to parse platform TCB date", Fault::Endorsement),
    ("Failed to parse certificate for time window", Fault::Endorsement),
    ("Certificate chain is too short for", Fault::Endorsement),
    (
        "signer must be issued directly by the root CA",
        Fault::Endorsement,
    ),
    ("Signature is invalid for tcb_info", Fault::Endorsement),
    ("Signature is invalid for qe_identity", Fault::Endorsement),
    ("Invalid key length", Fault::Endorsement),
    ("Unsupported QE Identity id/version", Fault::Endorsement),
    ("Failed to decode TCB FMSPC", Fault::Endorsement),
    ("Fmspc mismatch", Fault::Endorsement),
    ("TCB info in the collateral", Fault::Endorsement),
    ("component count mismatch", Fault::Endorsement),
    ("Unrecognized TCB status", Fault::Endorsement),
    ("No TCB levels found in QE Identity", Fault::Endorsement),
    ("tcbDate", Fault::Endorsement),
    ("issueDate", Fault::Endorsement),
    ("nextUpdate", Fault::Endorsement),
    ("is missing tdxModule field", Fault::Endorsement),
    ("Failed to decode tdxModule", Fault::Endorsement),
    ("has invalid length", Fault::Endorsement),
    // Intel's own components on the platform.
    ("QE report validation failed", Fault::Component),
    ("QE MRSIGNER mismatch", Fault::Component),
    ("QE ISVPRODID mismatch", Fault::Component),
    ("QE MISCSELECT mismatch", Fault::Component),
    ("QE ATTRIBUTES mismatch", Fault::Component),
    ("No TDX module identity", Fault::Component),
    ("TDX module MRSIGNER mismatch", Fault::Component),
    ("TDX module SEAMATTRIBUTES", Fault::Component),
    // The platform's TCB.
    ("No matching TCB level found", Fault::NoTcbLevel),
    (
        "is below minimum required from TDX module TCB levels",
        Fault::NoTcbLevel,
    ),
    ("from QE Identity", Fault::NoTcbLevel),
    ("TCB status is invalid: Revoked", Fault::Revoked),
    // What the enclave or TD was launched with.
    ("Debug mode is enabled", Fault::Attribute),
    ("TD profiling is enabled", Fault::Attribute),
    ("Failed to parse TD attributes", Fault::Attribute),
    ("Reserved bits in TD attributes are set", Fault::Attribute),
    ("TD migration is enabled", Fault::Attribute),
    ("SERVTD_EXT is enabled", Fault::Attribute),
    ("SEPT_VE_DISABLE is not enabled", Fault::Attribute),
    ("Invalid MR service TD", Fault::Attribute),
];

/// What a message of `dcap-qvl` means. A message that the table does not know still refuses.
pub(super) fn classify(reason: &str) -> Fault {
    TABLE
        .iter()
        .find(|(text, _)| reason.contains(text))
        .map_or(Fault::Untrusted, |(_, fault)| *fault)
}

/// Whether a refusal says that a CRL takes a certificate back.
pub(super) fn is_revocation(reason: &str) -> bool {
    reason.contains("CertRevoked")
}

/// The typed error of a refusal; `reason` is the whole chain of causes. `no_level` explains a platform
/// below every TCB level.
pub(super) fn typed(
    reason: String,
    origin: &str,
    no_level: impl FnOnce() -> Vec<nautilus_core::Shortfall>,
) -> VerifyError {
    let origin = origin.to_owned();
    match classify(&reason) {
        Fault::Malformed => VerifyError::Malformed {
            what: reason,
            offset: 0,
        },
        Fault::Unsupported => VerifyError::Unsupported { what: reason },
        Fault::Endorsement => VerifyError::EndorsementInvalid { origin, what: reason },
        Fault::NotCurrent => VerifyError::EndorsementNotCurrent { origin, what: reason },
        Fault::Untrusted => VerifyError::Untrusted { what: reason },
        Fault::Signature => VerifyError::SignatureInvalid { what: reason },
        Fault::Component => VerifyError::ComponentInvalid { what: reason },
        Fault::Attribute => VerifyError::AttributeInvalid { what: reason },
        Fault::NoTcbLevel => VerifyError::NoTcbLevel {
            shortfalls: no_level(),
        },
        Fault::Revoked => VerifyError::TcbRevoked,
    }
}

#[cfg(test)]
mod tests;
