//! Deviations among the bytes of a quote that no signature covers. They change nothing that is claimed;
//! they are why evidence must not be identified by its digest.

use nautilus_core::UnsignedFact;
use pem::{EncodeConfig, LineEnding, Pem};

use super::chain::Platform;
use super::verify::Root;
use super::wire::{Certification, Extent, SignatureData};

/// Half the order of P-256, rounded down (FIPS 186-4, D.1.2.3).
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xde,
    0x73, 0x7d, 0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
];
/// Leaf, platform or processor CA, root.
const CHAIN_LEN: usize = 3;

/// What is unusual of this quote alone: what follows it, and its own signature.
pub(super) fn of_quote(signature: &SignatureData, extent: Extent) -> Vec<UnsignedFact> {
    let high = high_s("high-s quote signature", &signature.signature, signature.offset);
    extent.fact().into_iter().chain(high).collect()
}

/// What is unusual of that which certifies the attestation key, and so is the same for every quote by that key.
pub(super) fn of_certification(
    signature: &SignatureData,
    platform: &Platform,
    root: &Root,
) -> Vec<UnsignedFact> {
    let high = high_s(
        "high-s QE report signature",
        &signature.qe_report_signature,
        signature.qe_report_signature_offset,
    );
    let mut facts: Vec<UnsignedFact> = high.into_iter().collect();
    let certificates = &platform.certificates;
    if certificates.len() != CHAIN_LEN {
        let detail = format!("{} certificates, Intel writes {CHAIN_LEN}", certificates.len());
        facts.push(UnsignedFact {
            what: "unusual number of certificates",
            detail,
        });
    }
    if certificates.last().is_none_or(|last| last != root.der()) {
        let detail = "the last certificate of the chain; the trusted one was used in its place".to_owned();
        facts.push(UnsignedFact {
            what: "root certificate is not the trusted one",
            detail,
        });
    }
    facts.extend(encoding_fact(&signature.certification, certificates));
    facts
}

fn high_s(what: &'static str, signature: &[u8; 64], offset: usize) -> Option<UnsignedFact> {
    is_high(signature).then(|| UnsignedFact {
        what,
        detail: format!(
            "s at offset {} has a lower twin that verifies as well",
            offset.saturating_add(32)
        ),
    })
}

fn is_high(signature: &[u8; 64]) -> bool {
    signature.last_chunk::<32>().is_some_and(|s| *s > HALF_ORDER)
}

/// Intel's libraries write PEM in lines of 64, one line feed after each, and a zero at the end.
fn encoding_fact(certification: &Certification, certificates: &[Vec<u8>]) -> Option<UnsignedFact> {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    let mut usual: Vec<u8> = certificates
        .iter()
        .flat_map(|der| pem::encode_config(&Pem::new("CERTIFICATE", der.as_slice()), config).into_bytes())
        .collect();
    usual.push(0);
    let differs = certification
        .data
        .iter()
        .zip(&usual)
        .position(|(found, usual)| found != usual);
    let at = match differs {
        None if certification.data.len() == usual.len() => return None,
        None => certification.data.len().min(usual.len()),
        Some(at) => at,
    };
    let (found, offset) = (certification.data.len(), certification.offset.saturating_add(at));
    Some(UnsignedFact {
        what: "unusual encoding of the certificate chain",
        detail: format!(
            "{found} bytes, usual are {}; first difference at offset {offset}",
            usual.len()
        ),
    })
}
