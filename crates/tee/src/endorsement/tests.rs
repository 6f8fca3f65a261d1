//! Every form on real documents, and what becomes of each when it is broken.

use std::fs;
use std::path::Path;

use super::*;

const ORIGIN: &str = "file";

fn vector(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../vectors")
        .join(path);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn sample(file: &str) -> Vec<u8> {
    vector(&format!("sgx/sgx-v3-intel-sampleapp-testroot/{file}"))
}

fn collateral() -> Vec<u8> {
    vector("sgx/sgx-v3-prod/collateral-0.json")
}

/// The certificates of the PCK chain, and a CRL, in DER.
fn documents() -> (Vec<Vec<u8>>, Vec<u8>) {
    let chain = pem::parse_many(sample("pckSignChain.pem")).unwrap();
    let crl = pem::parse(sample("rootCaCrl.pem")).unwrap();
    (
        chain.into_iter().map(pem::Pem::into_contents).collect(),
        crl.into_contents(),
    )
}

fn kinds(bytes: &[u8]) -> Vec<(EndorsementKind, String)> {
    let read = read(bytes, ORIGIN).unwrap_or_else(|error| panic!("{error}"));
    read.into_iter().map(|one| (one.kind, one.origin)).collect()
}

#[track_caller]
fn broken(bytes: &[u8], what: &str) {
    match read(bytes, ORIGIN) {
        Err(EndorsementError::Malformed { origin, what: found }) => {
            assert!(
                origin.starts_with(ORIGIN) && found.contains(what),
                "{origin}: {found}"
            );
        }
        other => panic!("{other:?}"),
    }
}

/// A certificate table with the named documents, as a host lays it out.
fn table(entries: &[(u128, &[u8])]) -> Vec<u8> {
    let mut table = Vec::new();
    let mut contents: Vec<u8> = Vec::new();
    let start = (entries.len() + 1) * Entry::LEN;
    for (guid, bytes) in entries {
        table.extend(guid.to_be_bytes());
        table.extend(((start + contents.len()) as u32).to_le_bytes());
        table.extend((bytes.len() as u32).to_le_bytes());
        contents.extend(*bytes);
    }
    table.extend([0; Entry::LEN]);
    table.extend(contents);
    // The kernel hands out whole pages.
    table.resize(table.len().next_multiple_of(4096), 0);
    table
}

const VCEK: u128 = GUIDS[0].0;
const ASK: u128 = GUIDS[2].0;
const CRL: u128 = GUIDS[4].0;

#[test]
fn every_form_is_told_by_its_content() {
    use EndorsementKind::{Certificate, Crl, DcapCollateral};
    let (chain, crl) = documents();
    let whole = || ORIGIN.to_owned();
    assert_eq!(kinds(&collateral()), [(DcapCollateral, whole())]);
    assert_eq!(kinds(&chain[0]), [(Certificate, whole())]);
    assert_eq!(kinds(&crl), [(Crl, whole())]);
    assert_eq!(kinds(&sample("pckCert.pem")), [(Certificate, whole())]);
    assert_eq!(kinds(&sample("intermediateCaCrl.pem")), [(Crl, whole())]);
    let bundle = [sample("pckSignChain.pem"), sample("rootCaCrl.pem")].concat();
    assert_eq!(
        kinds(&bundle),
        [
            (Certificate, "file (block 1)".to_owned()),
            (Certificate, "file (block 2)".to_owned()),
            (Crl, "file (block 3)".to_owned()),
        ]
    );
    let read = read(&bundle, ORIGIN).unwrap();
    assert_eq!((&read[0].bytes, &read[2].bytes), (&chain[0], &crl));
}

#[test]
fn an_amd_hosts_certificate_table_is_read() {
    use EndorsementKind::{Certificate, Crl};
    let (chain, crl) = documents();
    // The GUID in the first place is a host's own.
    let whole = table(&[(7, b"anything"), (VCEK, &chain[0]), (ASK, &chain[1]), (CRL, &crl)]);
    assert_eq!(
        kinds(&whole),
        [
            (Certificate, "file (VCEK)".to_owned()),
            (Certificate, "file (ASK)".to_owned()),
            (Crl, "file (CRL)".to_owned()),
        ]
    );
    let read = read(&whole, ORIGIN).unwrap();
    assert_eq!(
        (&read[0].bytes, &read[1].bytes, &read[2].bytes),
        (&chain[0], &chain[1], &crl)
    );
    broken(&table(&[(VCEK, &chain[0]), (VCEK, &chain[1])]), "VCEK twice");
    broken(
        &table(&[(VCEK, &chain[0]), (CRL, &chain[1])]),
        "CRL of the certificate table is a certificate",
    );
    broken(&table(&[(VCEK, b"")]), "VCEK has 0 bytes");
    broken(
        &table(&[(VCEK, &[chain[0].as_slice(), &[0]].concat())]),
        "neither a certificate",
    );
    let mut outside = table(&[(VCEK, &chain[0])]);
    outside[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
    broken(&outside, "at 4294967295, where there are none");
    let mut inside = table(&[(VCEK, &chain[0])]);
    inside[16..20].copy_from_slice(&24_u32.to_le_bytes());
    broken(&inside, "at 24, where there are none");
    let endless: Vec<u8> = table(&[(VCEK, &chain[0])])[..24].to_vec();
    broken(&endless, "no end at byte 24");
    let mut many = endless.clone();
    while many.len() < 200 * Entry::LEN {
        many.extend([1; Entry::LEN]);
    }
    assert_eq!(
        read_error(&many),
        EndorsementError::TooMany {
            origin: ORIGIN.to_owned()
        }
    );
}

#[track_caller]
fn read_error(bytes: &[u8]) -> EndorsementError {
    read(bytes, ORIGIN).unwrap_err()
}

#[test]
fn what_is_broken_is_refused_as_a_whole() {
    let (chain, _) = documents();
    let two = sample("pckSignChain.pem");
    let cut = two.len() - 30;
    broken(&two[..cut], "2 PEM blocks begin, 1 are whole");
    let text = String::from_utf8(two.clone()).unwrap();
    broken(
        text.replace("CERTIFICATE", "X509 CRL").as_bytes(),
        "said to be `X509 CRL` holds a certificate",
    );
    broken(
        text.replace("CERTIFICATE", "PUBLIC KEY").as_bytes(),
        "said to be `PUBLIC KEY`",
    );
    let key = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    broken(format!("{text}{key}").as_bytes(), "neither a certificate");
    for length in [4, 100, chain[0].len() - 1] {
        broken(&chain[0][..length], "neither a certificate");
    }
    broken(&[chain[0].as_slice(), &[0]].concat(), "neither a certificate");
    let many = text.repeat(65);
    assert!(
        matches!(read_error(many.as_bytes()), EndorsementError::TooMany { .. }),
        "130 blocks"
    );
}

#[test]
fn what_is_no_endorsement_is_named() {
    // Its certificates are the evidence's own.
    let quote = vector("sgx/sgx-v3-prod/quote.bin");
    assert!(
        quote
            .windows(BEGIN.len())
            .any(|window| window == BEGIN.as_bytes())
    );
    assert!(matches!(
        read_error(&quote),
        EndorsementError::NotRecognised { .. }
    ));
    for bytes in [
        &b""[..],
        b"hello",
        &[0; 4096],
        &[0x30, 0x03, 2, 1, 1],
        b"\x89PNG\r\n\x1a\n",
    ] {
        assert_eq!(
            read_error(bytes),
            EndorsementError::NotRecognised {
                origin: ORIGIN.to_owned()
            }
        );
    }
    assert_eq!(
        read_error(&vec![0x30; Endorsements::MAX_SIZE + 1]),
        EndorsementError::TooLarge {
            origin: ORIGIN.to_owned()
        }
    );
    let meta = vector("sgx/sgx-v3-prod/meta.json");
    let no_collateral = |bytes: &[u8], what: &str| match read_error(bytes) {
        EndorsementError::NotCollateral { what: found, .. } => assert!(found.contains(what), "{found}"),
        other => panic!("{other:?}"),
    };
    no_collateral(&meta, "missing field `tcb_info`");
    no_collateral(b" {}", "missing field `tcb_info`");
    no_collateral(
        b"{\"tcb_info\":\"\",\"tcb_info\":\"\"}",
        "duplicate field `tcb_info`",
    );
    no_collateral("{\"a\":[".repeat(100_000).as_bytes(), "EOF");
    let collateral = collateral();
    for length in (1..collateral.len() - 1).step_by(997) {
        no_collateral(&collateral[..length], "EOF");
    }
}
