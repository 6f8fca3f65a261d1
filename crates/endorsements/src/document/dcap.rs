//! Intel's DCAP collateral as one JSON object: what it is for and when all of its parts hold.
//!
//! TCB Info and QE Identity are described in Intel's PCS API, version 4, "Get TCB Info" and "Get QE Identity".

use nautilus_core::UnixMillis;
use serde::{Deserialize, Serialize};

use super::x509::{self, Crl};
use super::{IntelTee, PckCa, Subject, Validity, shown};

/// Longest certificate chain, in certificates: signer and root, with room for an authority between them.
const MAX_CHAIN: usize = 4;

/// The document, as verification reads it: byte strings in hex.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Collateral {
    pub(crate) pck_crl_issuer_chain: String,
    pub(crate) root_ca_crl: String,
    pub(crate) pck_crl: String,
    pub(crate) tcb_info_issuer_chain: String,
    /// The exact text that was signed.
    pub(crate) tcb_info: String,
    pub(crate) tcb_info_signature: String,
    pub(crate) qe_identity_issuer_chain: String,
    /// The exact text that was signed.
    pub(crate) qe_identity: String,
    pub(crate) qe_identity_signature: String,
    /// Some tools write the platform's certificates beside. Nothing here or in verification reads them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pck_certificate_chain: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TcbInfo {
    id: String,
    version: u32,
    issue_date: String,
    next_update: String,
    fmspc: String,
    tcb_evaluation_data_number: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct QeIdentity {
    id: String,
    issue_date: String,
    next_update: String,
}

pub(super) fn read(bytes: &[u8]) -> Result<(Subject, Validity), String> {
    let document: Collateral = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let (tee, fmspc, evaluation, tcb_info) = read_tcb_info(&document.tcb_info)?;
    let (qe_tee, qe_identity) = read_qe_identity(&document.qe_identity)?;
    if qe_tee != tee {
        let (tee, other) = (tee.as_str(), qe_tee.as_str());
        return Err(format!("TCB Info is for {tee}, QE Identity for {other}"));
    }
    for (what, signature) in [
        ("TCB Info", &document.tcb_info_signature),
        ("QE Identity", &document.qe_identity_signature),
    ] {
        read_signature(signature).map_err(|why| format!("signature of {what}: {why}"))?;
    }
    let mut validity = tcb_info.and(qe_identity);
    for (what, chain) in [
        ("TCB Info", &document.tcb_info_issuer_chain),
        ("QE Identity", &document.qe_identity_issuer_chain),
        ("PCK CRL", &document.pck_crl_issuer_chain),
    ] {
        let chain = read_chain(chain).map_err(|why| format!("issuer chain of {what}: {why}"))?;
        validity = validity.and(chain);
    }
    let crl = |what: &str, text: &str| {
        let der = hex::decode(text).map_err(|error| format!("{what}: {error}"))?;
        x509::parse_crl(&der).map_err(|why| format!("{what}: {why}"))
    };
    let pck_crl = crl("PCK CRL", &document.pck_crl)?;
    let root_crl = crl("root CA CRL", &document.root_ca_crl)?;
    let ca = pck_ca(&pck_crl)?;
    is_of_root(&root_crl)?;
    let subject = Subject::Dcap {
        tee,
        fmspc,
        ca,
        evaluation,
    };
    Ok((subject, validity.and(pck_crl.validity).and(root_crl.validity)))
}

/// What TCB Info is for, its evaluation data number, and when it holds.
pub(crate) fn read_tcb_info(text: &str) -> Result<(IntelTee, [u8; 6], u32, Validity), String> {
    let info: TcbInfo = serde_json::from_str(text).map_err(|error| format!("TCB Info: {error}"))?;
    let tee = match info.id.as_str() {
        "SGX" => IntelTee::Sgx,
        "TDX" => IntelTee::Tdx,
        other => return Err(format!("TCB Info is for `{}`, neither SGX nor TDX", shown(other))),
    };
    if info.version != 3 {
        let version = info.version;
        return Err(format!(
            "TCB Info has version {version}: version 3 comes from version 4 of Intel's PCS"
        ));
    }
    let mut fmspc = [0; 6];
    hex::decode_to_slice(&info.fmspc, &mut fmspc)
        .map_err(|_| format!("FMSPC `{}` is not the hex of 6 bytes", shown(&info.fmspc)))?;
    let validity = window("TCB Info", &info.issue_date, &info.next_update)?;
    Ok((tee, fmspc, info.tcb_evaluation_data_number, validity))
}

/// What QE Identity is for, and when it holds.
pub(crate) fn read_qe_identity(text: &str) -> Result<(IntelTee, Validity), String> {
    let identity: QeIdentity = serde_json::from_str(text).map_err(|error| format!("QE Identity: {error}"))?;
    let tee = match identity.id.as_str() {
        "QE" => IntelTee::Sgx,
        "TD_QE" => IntelTee::Tdx,
        other => {
            let other = shown(other);
            return Err(format!("QE Identity is for `{other}`, neither QE nor TD_QE"));
        }
    };
    let validity = window("QE Identity", &identity.issue_date, &identity.next_update)?;
    Ok((tee, validity))
}

/// An ECDSA signature over P-256, `r` and `s`.
pub(crate) fn read_signature(text: &str) -> Result<[u8; 64], String> {
    let mut signature = [0; 64];
    hex::decode_to_slice(text, &mut signature).map_err(|_| "not the hex of 64 bytes".to_owned())?;
    Ok(signature)
}

/// A chain of certificates in PEM and nothing else: when all of them hold.
pub(crate) fn read_chain(text: &str) -> Result<Validity, String> {
    let blocks = pem::parse_many(text).map_err(|error| error.to_string())?;
    if blocks.is_empty() || blocks.len() > MAX_CHAIN {
        return Err(format!(
            "{} certificates, expected 1 to {MAX_CHAIN}",
            blocks.len()
        ));
    }
    let mut validity = Validity {
        from: UnixMillis(0),
        until: None,
    };
    for block in blocks {
        if block.tag() != "CERTIFICATE" {
            return Err(format!("PEM block `{}` is no certificate", shown(block.tag())));
        }
        validity = validity.and(x509::parse_certificate(block.contents())?.validity);
    }
    Ok(validity)
}

/// The authority whose CRL it is (Intel, *SGX PCK Certificate and CRL Profile Specification*, "Issuer").
pub(crate) fn pck_ca(crl: &Crl) -> Result<PckCa, String> {
    match crl.issuer_name.as_deref() {
        Some("Intel SGX PCK Processor CA") => Ok(PckCa::Processor),
        Some("Intel SGX PCK Platform CA") => Ok(PckCa::Platform),
        _ => Err(format!(
            "PCK CRL was issued by `{}`, not by one of Intel's PCK authorities",
            crl.issuer
        )),
    }
}

pub(crate) fn is_of_root(crl: &Crl) -> Result<(), String> {
    if crl.issuer_name.as_deref() == Some("Intel SGX Root CA") {
        return Ok(());
    }
    let issuer = &crl.issuer;
    Err(format!(
        "root CA CRL was issued by `{issuer}`, not by Intel's root"
    ))
}

fn window(what: &str, from: &str, until: &str) -> Result<Validity, String> {
    let parse = |text: &str| {
        text.parse::<UnixMillis>()
            .map_err(|error| format!("{what}: {error}"))
    };
    Ok(Validity {
        from: parse(from)?,
        until: Some(parse(until)?),
    })
}
