//! Tables as hosts hand them out, and every way to break one.

use super::*;

const OTHER: [u8; 16] = guid(0xfbb6_ed74_e73e_44ab_8893_4252_792d_737a);

/// A table of these documents, and the offset of each.
fn table(documents: &[([u8; 16], &[u8])]) -> Vec<u8> {
    let mut entries = Vec::new();
    let mut contents = Vec::new();
    let start = (documents.len() + 1) * 24;
    for (id, document) in documents {
        entries.extend(id);
        entries.extend(u32::try_from(start + contents.len()).unwrap().to_le_bytes());
        entries.extend(u32::try_from(document.len()).unwrap().to_le_bytes());
        contents.extend(*document);
    }
    entries.extend([0; 24]);
    [entries, contents].concat()
}

fn id(name: &str) -> [u8; 16] {
    KNOWN.iter().find(|(known, ..)| *known == name).unwrap().2
}

fn whole() -> Vec<u8> {
    table(&[
        (id("VCEK"), b"0\x06a leaf"),
        (OTHER, b"something else"),
        (id("ASK"), b"0\x0can authority"),
        (id("CRL"), b"0\x06a list"),
    ])
}

#[track_caller]
fn refused(table: &[u8], part: &str) {
    match parse_certificates(table) {
        Err(VerifyError::Malformed { what, .. }) => {
            assert!(what.contains(part), "{part:?} is not in {what:?}")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn documents_of_known_kinds_are_found_and_others_are_left_out() {
    let found = parse_certificates(&whole()).unwrap().0;
    let shown: Vec<_> = found
        .iter()
        .map(|one| (one.kind, one.bytes.as_slice(), one.origin.as_str()))
        .collect();
    assert_eq!(
        shown,
        [
            (
                EndorsementKind::Certificate,
                &b"0\x06a leaf"[..],
                "VCEK of the host's certificate table"
            ),
            (
                EndorsementKind::Certificate,
                b"0\x0can authority",
                "ASK of the host's certificate table"
            ),
            (
                EndorsementKind::Crl,
                b"0\x06a list",
                "CRL of the host's certificate table"
            ),
        ]
    );
}

#[test]
fn guids_stand_in_the_order_of_their_text() {
    assert_eq!(id("VCEK")[..4], [0x63, 0xda, 0x75, 0x8d]);
    assert_eq!(id("CRL")[12..], [0x88, 0xdc, 0x67, 0xea]);
}

#[test]
fn a_host_without_certificates_hands_out_nothing_or_zeros() {
    for none in [&[][..], &[0; 24], &[0; 4096]] {
        assert_eq!(parse_certificates(none).unwrap(), Endorsements::default());
    }
}

#[test]
fn the_page_after_the_last_document_may_hold_anything() {
    let mut page = whole();
    page.resize(4096, 0);
    page.extend([0xff; 100]);
    assert_eq!(parse_certificates(&page), parse_certificates(&whole()));
}

#[test]
fn every_truncation_is_noticed() {
    let whole = whole();
    for length in 1..whole.len() {
        let Err(VerifyError::Malformed { what, .. }) = parse_certificates(&whole[..length]) else {
            panic!("cut to {length}")
        };
        let expected = if length < 5 * 24 {
            "of an entry needs"
        } else {
            "lies outside"
        };
        assert!(what.contains(expected), "cut to {length}: {what}");
    }
}

#[test]
fn every_offset_and_length_stays_within_the_table() {
    let whole = whole();
    for (entry, name) in [(0, "VCEK"), (2, "ASK"), (3, "CRL")] {
        let field = |at: usize, value: u32| {
            let mut changed = whole.clone();
            let at = entry * 24 + at;
            changed[at..at + 4].copy_from_slice(&value.to_le_bytes());
            changed
        };
        let length = u32::try_from(whole.len()).unwrap();
        for offset in [0, 1, 24, 5 * 24 - 1, length, u32::MAX - 5, u32::MAX] {
            refused(&field(16, offset), &format!("{name} at {offset} with"));
        }
        for long in [length, u32::MAX] {
            refused(&field(20, long), &format!("{long} bytes lies outside"));
        }
        refused(&field(20, 0), &format!("{name} is no document in DER"));
    }
}

#[test]
fn no_byte_of_a_table_makes_it_panic() {
    let whole = whole();
    for at in 0..whole.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut changed = whole.clone();
            changed[at] = value;
            if let Ok(found) = parse_certificates(&changed) {
                assert!(found.0.len() <= KNOWN.len(), "byte {at} set to {value}");
            }
        }
    }
}

#[test]
fn a_document_may_be_there_once() {
    refused(
        &table(&[(id("ARK"), b"0\x00"), (id("ARK"), b"0\x00")]),
        "a second ARK",
    );
}

#[test]
fn a_table_of_entries_alone_ends() {
    let many: Vec<([u8; 16], &[u8])> = vec![(OTHER, b"x"); MAX_ENTRIES];
    assert_eq!(
        parse_certificates(&table(&many)).unwrap(),
        Endorsements::default()
    );
    let more: Vec<([u8; 16], &[u8])> = vec![(OTHER, b"x"); MAX_ENTRIES + 1];
    refused(&table(&more), "more than 32 entries");
}

#[test]
fn pem_becomes_der() {
    let pem = b"-----BEGIN CERTIFICATE-----\nMAMC\r\nAQE=\n-----END CERTIFICATE-----\n\0";
    let found = parse_certificates(&table(&[(id("VLEK"), pem)])).unwrap().0;
    assert_eq!(found[0].bytes, [0x30, 3, 2, 1, 1]);
    for broken in [
        &b"-----BEGIN CERTIFICATE-----\nMAMCAQE=\n"[..],
        b"-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END X509 CRL-----",
        b"-----BEGIN CERTIFICATE-----\nMAMC*QE=\n-----END CERTIFICATE-----",
        b"-----BEGIN CERTIFICATE",
        b"-----BEGIN \xff-----",
    ] {
        refused(&table(&[(id("VLEK"), broken)]), "VLEK in PEM cannot be read");
    }
}

#[test]
fn half_a_document_is_none() {
    let body = |length: usize| vec![7; length];
    let framed = |head: &[u8], length: usize| [head, &body(length)].concat();
    for whole in [
        framed(&[0x30, 0x7f], 0x7f),
        framed(&[0x30, 0x81, 0x80], 0x80),
        framed(&[0x30, 0x82, 1, 0], 0x100),
        framed(&[0x30, 0x83, 1, 0, 0], 0x1_0000),
    ] {
        let found = parse_certificates(&table(&[(id("CRL"), &whole)])).unwrap().0;
        assert_eq!(found[0].bytes, whole);
        let cut = &whole[..whole.len() - 1];
        refused(&table(&[(id("CRL"), cut)]), "CRL is no document in DER");
        let longer = [whole.as_slice(), &[0]].concat();
        refused(&table(&[(id("CRL"), &longer)]), "CRL is no document in DER");
    }
    let empty_pem = b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----";
    for none in [&[0; 40][..], &[0x30], &[0x31, 0], &[0x30, 0x80], empty_pem] {
        refused(&table(&[(id("CRL"), none)]), "CRL is no document in DER");
    }
}
