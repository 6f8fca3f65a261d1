//! TCB info, QE identity and CRLs of the simulated vendor. Pure: keys, certificates and term in, documents out.
//!
//! Shapes: Intel, *PCS API version 4*, "Get SGX TCB Info" and "Get SGX QE Identity"; the CRLs as in *SGX PCK
//! Certificate and Certificate Revocation List Profile Specification*.

use dcap_qvl::QuoteCollateralV3;
use nautilus_core::UnixMillis;
use rcgen::{
    CertificateRevocationListParams, Issuer, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use serde::{Deserialize, Serialize};

use super::certificates::{FMSPC, NEWEST_CPU_SVN, NEWEST_PCE_SVN, PCE_ID, Role, Term, at, pem_chain};
use crate::simulated::SimulatedError;
use crate::simulated::description::QuotingEnclave;
use crate::simulated::key::{CaKey, RawKey};

/// Security version of the current quoting enclave.
pub(super) const QE_ISV_SVN: u16 = 8;

/// What the vendor makes of its platforms at one time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evaluation {
    pub(super) number: u32,
    /// Components of the newest level.
    pub(super) cpu_svn: [u8; 16],
    pub(super) pce_svn: u16,
}

/// The only evaluation that the vendor publishes: its new platforms lack nothing.
pub(super) const CURRENT: Evaluation = Evaluation {
    number: 1,
    cpu_svn: NEWEST_CPU_SVN,
    pce_svn: NEWEST_PCE_SVN,
};

/// When the newest and the older level came to be.
const NEWEST_DATE: &str = "2026-01-14T00:00:00Z";
const OLDER_DATE: &str = "2025-01-15T00:00:00Z";
/// What the older level suffers from. No such advisory exists.
const OLDER_ADVISORY: &str = "SIMULATED-SA-00001";
/// Components of the older level.
const OLDER_CPU_SVN: [u8; 16] = [6, 8, 3, 3, 255, 1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0];
const OLDER_PCE_SVN: u16 = 11;
/// What Intel calls the components that have names.
const COMPONENTS: [(&str, &str); 8] = [
    ("BIOS", "Early Microcode Update"),
    ("OS/VMM", "SGX Late Microcode Update"),
    ("OS/VMM", "TXT SINIT"),
    ("BIOS", ""),
    ("BIOS", ""),
    ("BIOS", ""),
    ("", ""),
    ("OS/VMM", "SEAMLDR ACM"),
];

/// Who signs collateral, for what, and when.
pub(super) struct Issue<'a> {
    pub(super) root: &'a CaKey,
    pub(super) root_der: &'a [u8],
    pub(super) pck_ca: &'a CaKey,
    pub(super) pck_ca_der: &'a [u8],
    pub(super) tcb_signing: &'a RawKey,
    pub(super) tcb_signing_der: &'a [u8],
    pub(super) qe: &'a QuotingEnclave,
    pub(super) term: Term,
    pub(super) evaluation: Evaluation,
    /// Serial numbers of revoked PCK certificates.
    pub(super) revoked: &'a [Vec<u8>],
}

/// Makes the collateral of the vendor's platforms.
///
/// # Errors
/// If the term lies beyond what X.509 can express, or a key does not sign.
pub(super) fn make(issue: &Issue<'_>) -> Result<QuoteCollateralV3, SimulatedError> {
    let Issue {
        root_der,
        pck_ca_der,
        tcb_signing_der,
        term,
        evaluation,
        ..
    } = *issue;
    let tcb_info = to_json(&tcb_info(term, evaluation))?;
    let qe_identity = to_json(&qe_identity(issue.qe, term, evaluation.number))?;
    let sign = |text: &str| {
        let signature = issue.tcb_signing.sign(text.as_bytes());
        signature
            .map(|signature| signature.to_vec())
            .ok_or_else(|| SimulatedError::Crypto {
                what: "collateral was not signed".to_owned(),
            })
    };
    let root = issue.root.point();
    let tcb_signing_chain = pem_chain(&[tcb_signing_der, root_der]);
    Ok(QuoteCollateralV3 {
        pck_crl_issuer_chain: pem_chain(&[pck_ca_der, root_der]),
        root_ca_crl: crl(&Role::Root.issuer(root, term, issue.root)?, term, &[])?,
        pck_crl: crl(
            &Role::PckCa.issuer(root, term, issue.pck_ca)?,
            term,
            issue.revoked,
        )?,
        tcb_info_issuer_chain: tcb_signing_chain.clone(),
        tcb_info_signature: sign(&tcb_info)?,
        tcb_info,
        qe_identity_issuer_chain: tcb_signing_chain,
        qe_identity_signature: sign(&qe_identity)?,
        qe_identity,
        pck_certificate_chain: None,
    })
}

/// When collateral is valid: all its parts are made for the same term.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn term(collateral: &QuoteCollateralV3) -> Result<Term, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Dates {
        issue_date: String,
        next_update: String,
    }
    let dates: Dates = serde_json::from_str(&collateral.tcb_info)
        .map_err(|error| format!("its TCB info has no dates: {error}"))?;
    let parse = |text: &str| {
        text.parse::<UnixMillis>()
            .map_err(|error| format!("its TCB info: {error}"))
    };
    Ok(Term {
        from: parse(&dates.issue_date)?,
        until: parse(&dates.next_update)?,
    })
}

fn crl(issuer: &Issuer<'_, &CaKey>, term: Term, revoked: &[Vec<u8>]) -> Result<Vec<u8>, SimulatedError> {
    let from = at(date_time_ymd(1970, 1, 1), term.from)?;
    let next_update = at(date_time_ymd(1970, 1, 1), term.until)?;
    // Grows with every CRL, and is read as 32 bits: minutes do until the year 9999.
    let minutes = term.from.as_secs() / 60;
    let number = u32::try_from(minutes).map_err(|_| SimulatedError::Clock { now: term.from })?;
    let revoked_certs = revoked
        .iter()
        .map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: from,
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        })
        .collect();
    let params = CertificateRevocationListParams {
        this_update: from,
        next_update,
        crl_number: SerialNumber::from_slice(&number.to_be_bytes()),
        issuing_distribution_point: None,
        revoked_certs,
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let crl = params.signed_by(issuer).map_err(|error| SimulatedError::Crypto {
        what: format!("CRL: {error}"),
    })?;
    Ok(crl.der().to_vec())
}

fn to_json(document: &impl Serialize) -> Result<String, SimulatedError> {
    serde_json::to_string(document).map_err(|error| SimulatedError::Crypto {
        what: error.to_string(),
    })
}

/// Whole seconds, as Intel writes time.
fn date(when: UnixMillis) -> String {
    UnixMillis::from_secs(when.as_secs())
        .to_string()
        .replace(".000Z", "Z")
}

fn tcb_info(term: Term, evaluation: Evaluation) -> TcbInfo {
    let level = |cpu_svn, pcesvn, tcb_date, tcb_status, advisory_ids| TcbLevel {
        tcb: PlatformTcb {
            sgxtcbcomponents: components(cpu_svn),
            pcesvn,
        },
        tcb_date,
        tcb_status,
        advisory_ids,
    };
    TcbInfo {
        id: "SGX",
        version: 3,
        issue_date: date(term.from),
        next_update: date(term.until),
        fmspc: hex::encode_upper(FMSPC),
        pce_id: hex::encode_upper(PCE_ID),
        tcb_type: 0,
        tcb_evaluation_data_number: evaluation.number,
        tcb_levels: vec![
            level(
                evaluation.cpu_svn,
                evaluation.pce_svn,
                NEWEST_DATE,
                "UpToDate",
                &[],
            ),
            level(
                OLDER_CPU_SVN,
                OLDER_PCE_SVN,
                OLDER_DATE,
                "OutOfDate",
                &[OLDER_ADVISORY],
            ),
        ],
    }
}

fn components(cpu_svn: [u8; 16]) -> Vec<Component> {
    let names = COMPONENTS.into_iter().chain(std::iter::repeat(("", "")));
    cpu_svn
        .into_iter()
        .zip(names)
        .map(|(svn, (category, kind))| Component { svn, category, kind })
        .collect()
}

fn qe_identity(qe: &QuotingEnclave, term: Term, evaluation: u32) -> QeIdentity {
    QeIdentity {
        id: "QE",
        version: 2,
        issue_date: date(term.from),
        next_update: date(term.until),
        tcb_evaluation_data_number: evaluation,
        miscselect: "00000000",
        miscselect_mask: "FFFFFFFF",
        // INIT and PROVISIONKEY, not DEBUG; MODE64BIT and all of XFRM are not looked at.
        attributes: "11000000000000000000000000000000",
        attributes_mask: "FBFFFFFFFFFFFFFF0000000000000000",
        mrsigner: hex::encode_upper(qe.mrsigner),
        isvprodid: qe.isv_prod_id,
        tcb_levels: vec![TcbLevel {
            tcb: EnclaveTcb { isvsvn: qe.isv_svn },
            tcb_date: NEWEST_DATE,
            tcb_status: "UpToDate",
            advisory_ids: &[],
        }],
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TcbInfo {
    id: &'static str,
    version: u8,
    issue_date: String,
    next_update: String,
    fmspc: String,
    pce_id: String,
    tcb_type: u8,
    tcb_evaluation_data_number: u32,
    tcb_levels: Vec<TcbLevel<PlatformTcb>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QeIdentity {
    id: &'static str,
    version: u8,
    issue_date: String,
    next_update: String,
    tcb_evaluation_data_number: u32,
    miscselect: &'static str,
    miscselect_mask: &'static str,
    attributes: &'static str,
    attributes_mask: &'static str,
    mrsigner: String,
    isvprodid: u16,
    tcb_levels: Vec<TcbLevel<EnclaveTcb>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TcbLevel<T> {
    tcb: T,
    tcb_date: &'static str,
    tcb_status: &'static str,
    #[serde(rename = "advisoryIDs", skip_serializing_if = "<[_]>::is_empty")]
    advisory_ids: &'static [&'static str],
}

#[derive(Serialize)]
struct PlatformTcb {
    sgxtcbcomponents: Vec<Component>,
    pcesvn: u16,
}

#[derive(Serialize)]
struct EnclaveTcb {
    isvsvn: u16,
}

#[derive(Serialize)]
struct Component {
    svn: u8,
    #[serde(skip_serializing_if = "str::is_empty")]
    category: &'static str,
    #[serde(rename = "type", skip_serializing_if = "str::is_empty")]
    kind: &'static str,
}
