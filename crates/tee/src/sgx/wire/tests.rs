use super::*;

/// A quote whose report has the value of every byte's offset in that byte.
fn counting() -> Vec<u8> {
    let mut quote = vec![3, 0, 2, 0, 0, 0, 0, 0, 8, 0, 13, 0];
    quote.extend(0..36);
    quote.extend((0..384_u32).map(|offset| offset.to_le_bytes()[0]));
    let signature_data = 64 + 64 + 384 + 64 + 2 + 3 + 2 + 4 + 5;
    quote.extend(u32::to_le_bytes(signature_data));
    quote.extend([0x11; 64]);
    quote.extend([0x22; 64]);
    quote.extend([0x33; 384]);
    quote.extend([0x44; 64]);
    quote.extend([3, 0, 0x55, 0x55, 0x55]);
    quote.extend([5, 0, 5, 0, 0, 0]);
    quote.extend(b"chain");
    quote
}

#[test]
fn every_field_is_read_from_its_offset() {
    let bytes = counting();
    let quote = parse_quote(&bytes).unwrap();
    assert_eq!((quote.header.qe_svn, quote.header.pce_svn), (8, 13));
    assert_eq!(quote.header.qe_vendor_id, bytes[12..28]);
    assert_eq!(quote.header.user_data, bytes[28..48]);
    let (report, body) = (&quote.report, &bytes[48..432]);
    assert_eq!(report.cpu_svn, body[..16]);
    assert_eq!(report.miscselect.to_le_bytes(), body[16..20]);
    assert_eq!(report.isv_ext_prod_id, body[32..48]);
    assert_eq!(report.flags.to_le_bytes(), body[48..56]);
    assert_eq!(report.xfrm.to_le_bytes(), body[56..64]);
    assert_eq!(report.mrenclave, body[64..96]);
    assert_eq!(report.mrsigner, body[128..160]);
    assert_eq!(report.config_id, body[192..256]);
    assert_eq!(report.isv_prod_id.to_le_bytes(), body[256..258]);
    assert_eq!(report.isv_svn.to_le_bytes(), body[258..260]);
    assert_eq!(report.config_svn.to_le_bytes(), body[260..262]);
    assert_eq!(report.isv_family_id, body[304..320]);
    assert_eq!(report.report_data, body[320..384]);
    let signature = &quote.signature;
    assert_eq!(
        (signature.offset, signature.qe_report_signature_offset),
        (436, 436 + 512)
    );
    assert_eq!(
        (signature.signature, signature.attestation_key),
        ([0x11; 64], [0x22; 64])
    );
    assert_eq!(signature.qe_report.mrsigner, [0x33; 32]);
    assert_eq!(signature.qe_report_signature, [0x44; 64]);
    assert_eq!(signature.qe_auth_data, [0x55; 3]);
    assert_eq!(signature.certification.kind, 5);
    assert_eq!(signature.certification.data, b"chain");
    assert_eq!(signature.certification.offset, bytes.len() - 5);
    assert_eq!(
        quote.extent,
        Extent {
            length: bytes.len(),
            padding: 0
        }
    );
    assert_eq!(quote.extent.fact(), None);
}

#[test]
fn zeros_may_follow_and_nothing_else() {
    let mut bytes = counting();
    let length = bytes.len();
    bytes.extend([0; 70]);
    let quote = parse_quote(&bytes).unwrap();
    assert_eq!(quote.extent, Extent { length, padding: 70 });
    assert_eq!(
        quote.extent.fact().unwrap().detail,
        format!("70 bytes at offset {length}")
    );
    *bytes.last_mut().unwrap() = 1;
    assert_eq!(
        parse_quote(&bytes),
        Err(VerifyError::TrailingBytes {
            offset: length,
            length: 70
        })
    );
}

#[test]
fn bytes_within_the_signature_data_must_belong_to_something() {
    let mut bytes = counting();
    bytes[432] += 2;
    bytes.extend([0; 2]);
    let what = "2 bytes after the PCK certification data that belong to nothing".to_owned();
    assert_eq!(parse_quote(&bytes), Err(malformed(what, bytes.len() - 2)));
}

#[test]
fn lengths_beyond_the_end_are_malformed() {
    for at in [432, 436 + 576, 436 + 576 + 2 + 3 + 2] {
        let mut bytes = counting();
        bytes[at..at + 2].fill(0xff);
        let result = parse_quote(&bytes);
        assert!(
            matches!(result, Err(VerifyError::Malformed { .. })),
            "length at {at}: {result:?}"
        );
    }
}

/// The parts of [`counting`] in the container of version 4 or 5.
fn nested(version: u8) -> Vec<u8> {
    let flat = counting();
    let mut quote = flat[..48].to_vec();
    quote[0] = version;
    if version == 5 {
        quote.extend([1, 0, 0x80, 1, 0, 0]);
    }
    quote.extend(&flat[48..432]);
    let certification = &flat[436 + 128..];
    let length = |length: usize| u32::try_from(length).unwrap().to_le_bytes();
    quote.extend(length(128 + 6 + certification.len()));
    quote.extend(&flat[436..436 + 128]);
    quote.extend([6, 0]);
    quote.extend(length(certification.len()));
    quote.extend(certification);
    quote
}

#[test]
fn later_containers_hold_the_same() {
    let flat = parse_quote(&counting()).unwrap();
    for (version, body) in [(4, 48), (5, 54)] {
        let bytes = nested(version);
        let quote = parse_quote(&bytes).unwrap();
        assert_eq!(quote.header.version, u16::from(version));
        assert_eq!(quote.report, flat.report);
        assert_eq!(quote.signature.signed_length(), body + 384);
        assert_eq!(quote.signature.offset, body + 384 + 4);
        let (found, known) = (&quote.signature, &flat.signature);
        assert_eq!(found.qe_report, known.qe_report);
        assert_eq!(found.attestation_key, known.attestation_key);
        assert_eq!(found.qe_report_signature, known.qe_report_signature);
        assert_eq!(found.qe_auth_data, known.qe_auth_data);
        assert_eq!(found.certification.data, known.certification.data);
        assert_eq!(quote.extent.length, bytes.len());
    }
}

#[test]
fn only_an_enclave_report_stands_in_an_sgx_quote_of_version_5() {
    let with = |offset: usize, value: u8| {
        let mut bytes = nested(5);
        bytes[offset] = value;
        parse_quote(&bytes).unwrap_err()
    };
    let td_report = "TD report (body type 3) in a quote of SGX".to_owned();
    assert_eq!(with(48, 3), malformed(td_report, 48));
    assert_eq!(with(48, 7), unsupported("body type 7".to_owned()));
    let size = "body of type 1 has 384 bytes, not 385".to_owned();
    assert_eq!(with(50, 0x81), malformed(size, 50));
}
