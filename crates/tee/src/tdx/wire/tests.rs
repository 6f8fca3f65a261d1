use super::*;

/// A quote of version 5 whose body has the value of every byte's offset in that byte.
fn counting(kind: u8, size: u16) -> Vec<u8> {
    let mut quote = vec![5, 0, 2, 0, 0x81, 0, 0, 0];
    quote.extend([0; 40]);
    quote.extend([kind, 0]);
    quote.extend(u32::from(size).to_le_bytes());
    quote.extend((0..size).map(|offset| offset.to_le_bytes()[0]));
    let certification = 384 + 64 + 2 + 2 + 4 + 5_u32;
    quote.extend(u32::to_le_bytes(64 + 64 + 2 + 4 + certification));
    quote.extend([0; 128]);
    quote.extend([6, 0]);
    quote.extend(certification.to_le_bytes());
    quote.extend([0; 384 + 64 + 2]);
    quote.extend([5, 0, 5, 0, 0, 0]);
    quote.extend(b"chain");
    quote
}

#[test]
fn every_field_is_read_from_its_offset() {
    let bytes = counting(4, 885);
    let quote = parse_quote(&bytes).unwrap();
    assert_eq!(quote.signature.certification.data, b"chain");
    assert_eq!(quote.signature.offset, 54 + 885 + 4);
    let (report, body) = (&quote.report, &bytes[54..54 + 885]);
    assert_eq!(report.tee_tcb_svn, body[..16]);
    assert_eq!(report.mrseam, body[16..64]);
    assert_eq!(report.mrsignerseam, body[64..112]);
    assert_eq!(report.seam_attributes.to_le_bytes(), body[112..120]);
    assert_eq!(report.td_attributes.to_le_bytes(), body[120..128]);
    assert_eq!(report.xfam.to_le_bytes(), body[128..136]);
    assert_eq!(report.mrtd, body[136..184]);
    assert_eq!(report.mrconfigid, body[184..232]);
    assert_eq!(report.mrowner, body[232..280]);
    assert_eq!(report.mrownerconfig, body[280..328]);
    for (register, offset) in report.rtmr.iter().zip([328, 376, 424, 472]) {
        assert_eq!(*register, body[offset..offset + 48]);
    }
    assert_eq!(report.report_data, body[520..584]);
    let v15 = report.v15.as_ref().unwrap();
    assert_eq!(v15.tee_tcb_svn2, body[584..600]);
    assert_eq!(v15.mrservicetd, body[600..648]);
    let ex = v15.ex.as_ref().unwrap();
    assert_eq!([ex.vmid], body[648..649]);
    assert_eq!(ex.td_id, body[649..681]);
    assert_eq!(ex.dev_info, body[681..729]);
    assert_eq!(ex.init_service_td_hash, body[729..777]);
    assert_eq!(ex.init_service_td_attributes, body[777..785]);
    assert_eq!(ex.init_cpu_svn, body[785..801]);
    assert_eq!(ex.init_tee_tcb_svn, body[801..817]);
    assert_eq!(ex.init_tee_fmspc, body[817..829]);
    assert_eq!(ex.cur_service_td_hash, body[829..877]);
    assert_eq!(ex.cur_service_td_attributes, body[877..885]);
}

#[test]
fn each_body_has_its_size_and_name() {
    for (kind, size, name) in [
        (2, 584, "td-report-1.0"),
        (3, 648, "td-report-1.5"),
        (4, 885, "td-report-1.5-extended"),
    ] {
        assert_eq!(
            parse_quote(&counting(kind, size)).unwrap().report.body_name(),
            name
        );
        let what = format!("body of type {kind} has {size} bytes, not {}", size - 1);
        assert_eq!(parse_quote(&counting(kind, size - 1)), Err(malformed(what, 50)));
    }
}

#[test]
fn bytes_within_the_nested_certification_data_must_belong_to_something() {
    let mut bytes = counting(2, 584);
    let signature_length = 54 + 584;
    bytes[signature_length] += 1;
    bytes[signature_length + 4 + 128 + 2] += 1;
    bytes.push(0);
    let what = "1 bytes after the PCK certification data that belong to nothing".to_owned();
    assert_eq!(parse_quote(&bytes), Err(malformed(what, bytes.len() - 1)));
    bytes[signature_length + 4 + 128 + 2] -= 1;
    let what = "1 bytes after the certification data that belong to nothing".to_owned();
    assert_eq!(parse_quote(&bytes), Err(malformed(what, bytes.len() - 1)));
}
