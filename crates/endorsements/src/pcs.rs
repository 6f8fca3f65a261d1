//! DCAP collateral put together from the answers of Intel's PCS, or of a caching service in front of it (PCCS).
//!
//! Intel, *PCS API*, version 4: "Get TCB Info", "Get QE Identity", "Get Revocation List". The signature of the
//! first two is over the exact text of the inner object, so that text is cut out and never written anew.

#[cfg(test)]
mod tests;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::document::dcap::{self, Collateral};
use crate::document::{IntelTee, PckCa, x509};

/// Where TCB Info's certificates are; older caching services use the second name.
pub(crate) const TCB_INFO_CHAIN: [&str; 2] = ["TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain"];
/// Where QE Identity's certificates are.
pub(crate) const QE_IDENTITY_CHAIN: [&str; 1] = ["SGX-Enclave-Identity-Issuer-Chain"];
/// Where the PCK CRL's certificates are.
pub(crate) const PCK_CRL_CHAIN: [&str; 1] = ["SGX-PCK-CRL-Issuer-Chain"];

/// A document that Intel signed as text, with its signer's certificates.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SignedText {
    text: String,
    signature: String,
    chain: String,
}

/// A revocation list, with its issuer's certificates where the answer has them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RevocationList {
    der: Vec<u8>,
    chain: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TcbInfoBody<'a> {
    #[serde(borrow, rename = "tcbInfo")]
    text: &'a RawValue,
    signature: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QeIdentityBody<'a> {
    #[serde(borrow, rename = "enclaveIdentity")]
    text: &'a RawValue,
    signature: &'a str,
}

/// TCB Info, if it is for the platform.
pub(crate) fn read_tcb_info(
    body: &[u8],
    chain: &str,
    tee: IntelTee,
    fmspc: &[u8; 6],
) -> Result<SignedText, Wrong> {
    let body: TcbInfoBody<'_> =
        serde_json::from_slice(body).map_err(|error| Wrong::Form(error.to_string()))?;
    let signed = SignedText::read(body.text, body.signature, chain)?;
    let (found_tee, found, _, _) = dcap::read_tcb_info(&signed.text).map_err(Wrong::Form)?;
    if (found_tee, &found) != (tee, fmspc) {
        let name = |tee: IntelTee, fmspc| format!("{} platform {}", tee.as_str(), hex::encode_upper(fmspc));
        return Err(Wrong::Subject {
            asked: name(tee, fmspc),
            got: name(found_tee, &found),
        });
    }
    Ok(signed)
}

/// QE Identity, if it is for the TEE.
pub(crate) fn read_qe_identity(body: &[u8], chain: &str, tee: IntelTee) -> Result<SignedText, Wrong> {
    let body: QeIdentityBody<'_> =
        serde_json::from_slice(body).map_err(|error| Wrong::Form(error.to_string()))?;
    let signed = SignedText::read(body.text, body.signature, chain)?;
    let (found, _) = dcap::read_qe_identity(&signed.text).map_err(Wrong::Form)?;
    if found != tee {
        return Err(Wrong::Subject {
            asked: format!("QE Identity for {}", tee.as_str()),
            got: format!("QE Identity for {}", found.as_str()),
        });
    }
    Ok(signed)
}

/// The revocation list of a PCK authority, if it is that authority's.
pub(crate) fn read_pck_crl(body: &[u8], chain: &str, ca: PckCa) -> Result<RevocationList, Wrong> {
    let der = der_of(body);
    let found = x509::parse_crl(&der)
        .and_then(|crl| dcap::pck_ca(&crl))
        .map_err(Wrong::Form)?;
    if found != ca {
        return Err(Wrong::Subject {
            asked: format!("revocations by the {} CA", ca.as_str()),
            got: format!("revocations by the {} CA", found.as_str()),
        });
    }
    let chain = decoded_chain(chain).map_err(Wrong::Form)?;
    Ok(RevocationList { der, chain })
}

/// The root's revocation list.
pub(crate) fn read_root_crl(body: &[u8]) -> Result<Vec<u8>, Wrong> {
    let der = der_of(body);
    x509::parse_crl(&der)
        .and_then(|crl| dcap::is_of_root(&crl))
        .map_err(Wrong::Form)?;
    Ok(der)
}

/// The one document that verification reads.
pub(crate) fn assemble(
    tcb_info: SignedText,
    qe_identity: SignedText,
    pck_crl: &RevocationList,
    root_ca_crl: &[u8],
) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec_pretty(&Collateral {
        pck_crl_issuer_chain: pck_crl.chain.clone(),
        root_ca_crl: hex::encode(root_ca_crl),
        pck_crl: hex::encode(&pck_crl.der),
        tcb_info_issuer_chain: tcb_info.chain,
        tcb_info: tcb_info.text,
        tcb_info_signature: tcb_info.signature,
        qe_identity_issuer_chain: qe_identity.chain,
        qe_identity: qe_identity.text,
        qe_identity_signature: qe_identity.signature,
        pck_certificate_chain: None,
    })
}

/// What is wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It cannot be read.
    Form(String),
    /// It is not what was asked for.
    Subject { asked: String, got: String },
}

impl SignedText {
    fn read(text: &RawValue, signature: &str, chain: &str) -> Result<Self, Wrong> {
        dcap::read_signature(signature).map_err(|why| Wrong::Form(format!("signature: {why}")))?;
        Ok(Self {
            text: text.get().to_owned(),
            signature: signature.to_owned(),
            chain: decoded_chain(chain).map_err(Wrong::Form)?,
        })
    }
}

/// Certificates in PEM, percent-encoded as they are in a header.
fn decoded_chain(header: &str) -> Result<String, String> {
    let text = percent_decoded(header).ok_or("issuer chain is not percent-encoded text")?;
    dcap::read_chain(&text).map_err(|why| format!("issuer chain: {why}"))?;
    Ok(text)
}

/// RFC 3986, section 2.1; a plus is a plus.
fn percent_decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut value = [0];
        hex::decode_to_slice([bytes.next()?, bytes.next()?], &mut value).ok()?;
        decoded.extend(value);
    }
    String::from_utf8(decoded).ok()
}

/// A caching service may give a list in hex where Intel's own gives DER.
fn der_of(body: &[u8]) -> Vec<u8> {
    hex::decode(body.trim_ascii()).unwrap_or_else(|_| body.to_vec())
}
