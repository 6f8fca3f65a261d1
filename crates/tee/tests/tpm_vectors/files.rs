//! The files that tpm2-tools writes, and the evidence that is made of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use nautilus_core::{
    AnchorRole, Endorsement, EndorsementKind, Endorsements, RawClaims, TeeVerifier as _, TrustAnchor,
    TrustAnchors, UnixMillis, VerifyError,
};
use nautilus_tee::tpm::{Evidence, HashAlgorithm, PcrValues, Verifier};

/// 2026-11-22T18:00:00Z, at which the certificates in the corpus are valid.
pub const NOW: UnixMillis = UnixMillis::from_secs(1_795_370_400);

pub fn read(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../vectors/tpm")
        .join(path);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The evidence of which tpm2-tools wrote the parts.
pub fn evidence(attest: &str, signature: &str, ak_public: &str, pcrs: PcrValues) -> Evidence {
    Evidence {
        attest: read(attest),
        signature: read(signature),
        ak_public: read(ak_public),
        ak_certificate: None,
        ek_certificate: None,
        pcrs,
    }
}

/// The quote of a software TPM over nine PCRs.
pub fn swtpm() -> Evidence {
    let pcrs = pcrs_in(&read("swtpm/quote.pcrs"));
    evidence("swtpm/quote.msg", "swtpm/quote.sig", "swtpm/ak.pub", pcrs)
}

/// The file of `tpm2_quote --pcr`: C structures of tpm2-tss, little-endian. Of one bank.
pub fn pcrs_in(file: &[u8]) -> PcrValues {
    const SELECTIONS: usize = 4 + 16 * 8;
    const DIGEST_LIST: usize = 4 + 8 * 66;
    let number = |at: usize| usize::from(u16::from_le_bytes([file[at], file[at + 1]]));
    assert_eq!(number(0), 1, "one bank");
    let bank = match number(4) {
        0x0b => HashAlgorithm::Sha256,
        0x0c => HashAlgorithm::Sha384,
        other => panic!("bank {other:#x}"),
    };
    let selected = (0..24u8).filter(|pcr| file[7 + usize::from(pcr / 8)] >> (pcr % 8) & 1 == 1);
    let lists = file[SELECTIONS + 4..].chunks_exact(DIGEST_LIST);
    let digests = lists.flat_map(|list| {
        let count = usize::from(list[0]);
        list[4..].chunks_exact(66).take(count).map(|digest| {
            let length = usize::from(u16::from_le_bytes([digest[0], digest[1]]));
            digest[2..2 + length].to_vec()
        })
    });
    PcrValues {
        bank,
        values: selected.zip(digests).collect(),
    }
}

pub fn sha256_pcrs(values: &[(u8, [u8; 32])]) -> PcrValues {
    PcrValues {
        bank: HashAlgorithm::Sha256,
        values: values
            .iter()
            .map(|(pcr, value)| (*pcr, value.to_vec()))
            .collect::<BTreeMap<_, _>>(),
    }
}

pub fn anchors(anchors: &[(AnchorRole, Vec<u8>)]) -> TrustAnchors {
    let anchor = |(role, bytes): &(AnchorRole, Vec<u8>)| TrustAnchor {
        role: *role,
        bytes: bytes.clone(),
        origin: "the test".to_owned(),
    };
    TrustAnchors(anchors.iter().map(anchor).collect())
}

pub fn verifier(list: &[(AnchorRole, Vec<u8>)]) -> Verifier {
    Verifier::new(&anchors(list)).unwrap()
}

/// A verifier for which that key is enrolled.
pub fn enrolled(ak: &[u8]) -> Verifier {
    verifier(&[(AnchorRole::TpmAttestationKey, ak.to_vec())])
}

pub fn verify(verifier: &Verifier, evidence: &Evidence) -> Result<RawClaims, VerifyError> {
    verifier.verify(evidence.to_json().as_bytes(), &Endorsements::default(), NOW)
}

pub fn endorsement(kind: EndorsementKind, bytes: Vec<u8>) -> Endorsement {
    Endorsement {
        kind,
        bytes,
        origin: "the test".to_owned(),
    }
}

pub fn der_of(pem_text: &[u8]) -> Vec<u8> {
    pem::parse(pem_text).unwrap().into_contents()
}
