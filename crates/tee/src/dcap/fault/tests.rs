use nautilus_core::{Shortfall, TcbStatus};

use super::*;

/// Every message of `dcap-qvl` 0.7.1 that a quote or collateral can provoke, as its chain of causes reads,
/// and what it means. From `verify.rs`, `quote.rs`, `tcb_info.rs`, `utils.rs`, `intel.rs` and
/// `signature.rs`.
const MESSAGES: &[(&str, Fault)] = &[
    ("Unsupported TEE type: 7", Fault::Unsupported),
    (
        "Failed to decode TcbInfo: missing field `sgxtcbcomponents` at line 1 column 522",
        Fault::Endorsement,
    ),
    (
        "Failed to parse TCB Info issue date: Failed to parse RFC3339 datetime: premature end",
        Fault::Endorsement,
    ),
    (
        "Failed to parse TCB Info next update: RFC3339 datetime is before Unix epoch",
        Fault::Endorsement,
    ),
    ("TCBInfo issue date is in the future", Fault::NotCurrent),
    ("TCBInfo expired", Fault::NotCurrent),
    ("Certificate chain is too short for TCB Info", Fault::Endorsement),
    (
        "Failed to parse TCB Info leaf certificate: BadDer",
        Fault::Endorsement,
    ),
    (
        "TCB Info signer must be issued directly by the root CA",
        Fault::Endorsement,
    ),
    (
        "Signature is invalid for tcb_info in quote_collateral",
        Fault::Endorsement,
    ),
    (
        "Failed to decode QeIdentity: EOF while parsing a value at line 1 column 0",
        Fault::Endorsement,
    ),
    (
        "Failed to parse QE Identity issue date: Failed to parse RFC3339 datetime: x",
        Fault::Endorsement,
    ),
    (
        "Failed to parse QE Identity next update: Failed to parse RFC3339 datetime: x",
        Fault::Endorsement,
    ),
    ("QE Identity issue date is in the future", Fault::NotCurrent),
    ("QE Identity expired", Fault::NotCurrent),
    (
        "Certificate chain is too short for QE Identity",
        Fault::Endorsement,
    ),
    (
        "Failed to parse QE Identity leaf certificate: BadDer",
        Fault::Endorsement,
    ),
    (
        "QE Identity signer must be issued directly by the root CA",
        Fault::Endorsement,
    ),
    (
        "Signature is invalid for qe_identity in quote_collateral",
        Fault::Endorsement,
    ),
    (
        "Failed to extract PCK certificates from collateral: Failed to parse certs: bad",
        Fault::Endorsement,
    ),
    (
        "Unsupported DCAP PCK cert format: 3. Use get_collateral() to fetch PCK certificate.",
        Fault::Unsupported,
    ),
    (
        "Failed to extract PCK certificates from quote: Failed to parse certs: bad",
        Fault::Malformed,
    ),
    ("Certificate chain is too short in quote", Fault::Malformed),
    ("Failed to parse PCK certificate: BadDer", Fault::Malformed),
    ("Signature is invalid for qe_report in quote", Fault::Signature),
    (
        "Failed to decode QE report: Not enough data to fill buffer",
        Fault::Malformed,
    ),
    ("Invalid QE auth data length", Fault::Unsupported),
    ("QE report hash mismatch", Fault::Signature),
    ("Failed to get signed quote scope", Fault::Malformed),
    ("ISV enclave report signature is invalid", Fault::Signature),
    ("Failed to decode TCB FMSPC", Fault::Endorsement),
    ("Fmspc mismatch", Fault::Endorsement),
    (
        "TDX quote with non-TDX TCB info in the collateral",
        Fault::Endorsement,
    ),
    (
        "SGX quote with non-SGX TCB info in the collateral",
        Fault::Endorsement,
    ),
    ("Failed to get TD10 report", Fault::Malformed),
    (
        "Failed to evaluate the current TDX TCB (TEE_TCB_SVN2): No matching TCB level found",
        Fault::NoTcbLevel,
    ),
    (
        "Unrecognized TCB status TDRelaunchAdvised in TCB Info",
        Fault::Endorsement,
    ),
    ("No matching TCB level found", Fault::NoTcbLevel),
    (
        "TDX module TCB level check: TDX module ISVSVN 1 is below minimum required from TDX module TCB levels",
        Fault::NoTcbLevel,
    ),
    (
        "TDX module TCB level check: No TDX module identity with id TDX_07 found in TCB Info",
        Fault::Component,
    ),
    (
        "Invalid TDX module tcbDate: Failed to parse RFC3339 datetime: x",
        Fault::Endorsement,
    ),
    (
        "Invalid TCB level tcbDate: Failed to parse RFC3339 datetime: x",
        Fault::Endorsement,
    ),
    (
        "TDX module identity check: TDX TCB Info is missing tdxModule field",
        Fault::Endorsement,
    ),
    (
        "TDX module identity check: Failed to decode tdxModule.mrsigner as hex: Odd number of digits",
        Fault::Endorsement,
    ),
    (
        "TDX module identity check: Failed to decode tdxModuleIdentity.mrsigner as hex: Odd number of digits",
        Fault::Endorsement,
    ),
    (
        "TDX module identity check: tdxModuleIdentity.attributes has invalid length 7, expected 8",
        Fault::Endorsement,
    ),
    (
        "TDX module identity check: TDX module MRSIGNER mismatch: expected 00, got 01",
        Fault::Component,
    ),
    (
        "TDX module identity check: TDX module SEAMATTRIBUTES mismatch at byte 0: expected 00 (masked), got 01 (masked)",
        Fault::Component,
    ),
    (
        "TDX module identity check: TDX module SEAMATTRIBUTES has bits set outside mask at byte 1",
        Fault::Component,
    ),
    ("Failed to load root ca: BadDer", Fault::Untrusted),
    ("Failed to decode quote: Invalid TEE type", Fault::Malformed),
    ("Unsupported DCAP quote version", Fault::Unsupported),
    ("Unknown QE vendor ID", Fault::Component),
    ("SGX TEE quote must have version 3", Fault::Unsupported),
    ("TDX TEE quote must have version 4 or 5", Fault::Unsupported),
    ("Unsupported DCAP attestation key type", Fault::Unsupported),
    (
        "Unsupported QE Identity id/version for the quote TEE type: QE version 2 (expected TD_QE version [2, 3])",
        Fault::Endorsement,
    ),
    ("TCB status is invalid: Revoked", Fault::Revoked),
    (
        "Failed to parse root CA certificate: unexpected ASN.1 DER tag",
        Fault::Untrusted,
    ),
    (
        "Failed to parse root CA CRL for claims: Failed to parse CRL: bad",
        Fault::Endorsement,
    ),
    (
        "Failed to parse PCK CRL for claims: CRL number too large for u32",
        Fault::Endorsement,
    ),
    (
        "Failed to parse platform TCB date: Failed to parse RFC3339 datetime: x",
        Fault::Endorsement,
    ),
    (
        "Failed to parse certificate for time window: bad",
        Fault::Endorsement,
    ),
    ("QEIdentity issueDate: x", Fault::Endorsement),
    ("QEIdentity nextUpdate: x", Fault::Endorsement),
    ("TCBInfo issueDate: x", Fault::Endorsement),
    ("TCBInfo nextUpdate: x", Fault::Endorsement),
    ("Debug mode is enabled", Fault::Attribute),
    ("Failed to parse TD attributes: x", Fault::Attribute),
    ("TD profiling is enabled", Fault::Attribute),
    ("Reserved bits in TD attributes are set", Fault::Attribute),
    ("TD migration is enabled", Fault::Attribute),
    ("SERVTD_EXT is enabled", Fault::Attribute),
    ("SEPT_VE_DISABLE is not enabled", Fault::Attribute),
    ("Invalid MR service TD", Fault::Attribute),
    ("QE MRSIGNER mismatch: expected 00, got 01", Fault::Component),
    (
        "QE report validation failed: Debug mode is enabled",
        Fault::Component,
    ),
    ("QE ISVPRODID mismatch: expected 1, got 2", Fault::Component),
    (
        "QE MISCSELECT mismatch: expected 00000000 (masked), got 00000001 (masked)",
        Fault::Component,
    ),
    (
        "QE ATTRIBUTES mismatch at byte 0: expected 11 (masked), got 13 (masked)",
        Fault::Component,
    ),
    (
        "QE ISVSVN 4 is below minimum required 5 from QE Identity",
        Fault::NoTcbLevel,
    ),
    ("No TCB levels found in QE Identity", Fault::Endorsement),
    (
        "SGX component count mismatch: expected 16, got 15",
        Fault::Endorsement,
    ),
    (
        "TDX component count mismatch: expected 16, got 15",
        Fault::Endorsement,
    ),
    ("Failed to parse certs: malformedframing", Fault::Endorsement),
    ("Invalid key length", Fault::Endorsement),
    (
        "Failed to parse root CA CRL: InvalidCrlSignatureForPublicKey",
        Fault::Endorsement,
    ),
    ("Failed to parse PCK CRL: BadDer", Fault::Endorsement),
    ("CertRevoked", Fault::Untrusted),
    ("Too many intermediate certificates: 5", Fault::Untrusted),
    (
        "Failed to create RevocationOptionsBuilder - CRLs required",
        Fault::Untrusted,
    ),
    (
        "Failed to verify certificate chain: CertRevoked",
        Fault::Untrusted,
    ),
    (
        "Failed to verify certificate chain: UnknownIssuer",
        Fault::Untrusted,
    ),
    (
        "Failed to verify certificate chain: CertExpired { time: 2, not_after: 1 }",
        Fault::Untrusted,
    ),
    (
        "Failed to verify certificate chain: CrlExpired { time: 2, next_update: 1 }",
        Fault::NotCurrent,
    ),
    (
        "Failed to verify certificate chain: UnknownRevocationStatus",
        Fault::Endorsement,
    ),
    ("Failed to decode certificate: bad", Fault::Malformed),
    ("Intel extension not found", Fault::Malformed),
    ("Intel extension path [] is missing", Fault::Malformed),
    (
        "Failed to read entry inside Intel extension: bad",
        Fault::Malformed,
    ),
    ("Failed to find Fmspc: OID is missing", Fault::Malformed),
    ("Fmspc length mismatch", Fault::Malformed),
    ("CpuSvn length mismatch", Fault::Malformed),
    (
        "Failed to find PceSvn: Failed to get subobject: OID is missing",
        Fault::Malformed,
    ),
    ("PceSvn length mismatch", Fault::Malformed),
    ("Unexpected BOOLEAN length: 2", Fault::Malformed),
    ("Unexpected ENUMERATED length", Fault::Malformed),
    ("Failed to create r INTEGER: bad", Fault::Signature),
    ("Failed to create s INTEGER: bad", Fault::Signature),
    ("Failed to encode ECDSA signature sequence: bad", Fault::Signature),
    (
        "Failed to finalize ECDSA signature sequence: bad",
        Fault::Signature,
    ),
];

#[test]
fn every_message_of_dcap_qvl_has_its_meaning() {
    for (message, fault) in MESSAGES {
        assert_eq!(classify(message), *fault, "{message}");
    }
}

#[test]
fn every_entry_of_the_table_decides_some_message() {
    for (index, (text, _)) in TABLE.iter().enumerate() {
        let deciding = |message: &str| TABLE.iter().position(|(text, _)| message.contains(text));
        let used = MESSAGES
            .iter()
            .any(|(message, _)| deciding(message) == Some(index));
        assert!(used, "`{text}` decides nothing");
    }
}

#[test]
fn a_message_nobody_knows_still_refuses_and_is_kept() {
    let error = typed("something new: and its cause".to_owned(), "here", Vec::new);
    assert_eq!(
        error,
        VerifyError::Untrusted {
            what: "something new: and its cause".to_owned()
        }
    );
}

#[test]
fn a_platform_below_every_level_is_explained() {
    let short = Shortfall {
        component: "PCE SVN".to_owned(),
        have: 1,
        needs: 5,
        level: TcbStatus::OutOfDate,
        since: "2018-01-04T00:00:00Z".to_owned(),
    };
    let error = typed("No matching TCB level found".to_owned(), "here", || {
        vec![short.clone()]
    });
    assert_eq!(
        error,
        VerifyError::NoTcbLevel {
            shortfalls: vec![short]
        }
    );
}

/// The messages are those of one version: a newer one has to be read before it is relied upon.
#[test]
fn the_messages_are_those_of_the_locked_version() {
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock")).unwrap();
    assert!(
        lock.contains("name = \"dcap-qvl\"\nversion = \"0.7.1\"\n"),
        "read dcap-qvl's messages again"
    );
}
