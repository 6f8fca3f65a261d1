use super::*;

const TA: &str = "6f1d2a3e-93c4-4d58-8f0a-1b2c3d4e5f61";

fn output(signature_len: usize) -> String {
    STANDARD.encode([vec![0x11; 32], vec![0x22; signature_len]].concat())
}

fn text() -> String {
    format!(
        r#"{{"format":"nautilus-optee/1","command":"ta_memory","nonce":"0a0b","ta":"{TA}","output":"{}","key_id":"{}"}}"#,
        output(256),
        "07".repeat(32)
    )
}

fn fault(text: &str) -> (String, usize) {
    match parse(text.as_bytes()).unwrap_err() {
        VerifyError::Malformed { what, offset } => (what, offset),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_field_is_read() {
    let evidence = parse(text().as_bytes()).unwrap();
    assert!(recognises(text().as_bytes()));
    assert_eq!(evidence.command, Command::TaMemory);
    assert_eq!(evidence.nonce, [0x0a, 0x0b]);
    assert_eq!(evidence.ta.unwrap().to_string(), TA);
    assert_eq!(evidence.measurement, [0x11; 32]);
    assert_eq!(evidence.signature, [0x22; 256]);
    assert_eq!(evidence.key_id, Some([7; 32]));
}

#[test]
fn a_trusted_application_is_named_where_one_is_measured() {
    let tee = text().replace("ta_memory", "tee_memory");
    assert_eq!(
        fault(&tee).0,
        "evidence of `tee_memory` names a trusted application, which it does not measure"
    );
    let without = format!(r#""ta":"{TA}","#);
    assert_eq!(parse(tee.replace(&without, "").as_bytes()).unwrap().ta, None);
    for command in ["ta_memory", "ta_header"] {
        let text = text().replace("ta_memory", command).replace(&without, "");
        assert_eq!(
            fault(&text),
            (
                format!("evidence of `{command}` does not name its trusted application"),
                text.find("\"command\"").unwrap()
            )
        );
    }
}

#[test]
fn hostile_containers_are_refused_by_name() {
    let changed = |from: &str, to: &str| {
        let changed = text().replacen(from, to, 1);
        assert_ne!(changed, text(), "{from}");
        fault(&changed).0
    };
    assert_eq!(changed("0a0b", ""), "nonce has 0 bytes, not 1 to 64");
    assert_eq!(
        changed("0a0b", &"ab".repeat(65)),
        "nonce has 65 bytes, not 1 to 64"
    );
    assert_eq!(changed("0a0b", "0a0"), "nonce is not hex");
    assert!(changed("ta_memory", "memory").starts_with("unknown variant `memory`"));
    assert_eq!(changed(TA, &TA[1..]), "ta is no UUID");
    assert_eq!(changed(TA, &TA.replace('-', "")), "ta is no UUID");
    assert_eq!(changed(TA, &TA.replace("6f1d", "+f1d")), "ta is no UUID");
    assert_eq!(
        changed("\"output\":\"E", "\"output\":\"*"),
        "output is not base64"
    );
    for length in [0, 127, 1025] {
        assert_eq!(
            changed(&output(256), &output(length)),
            format!(
                "output has {} bytes, not 32 and a signature of 128 to 1024",
                32 + length
            )
        );
    }
    assert_eq!(
        changed(&output(256), &STANDARD.encode([1; 31])),
        "output has 31 bytes, not 32 and a signature of 128 to 1024"
    );
    assert_eq!(
        changed("\"0707", "\"07"),
        "expected 32 bytes in hex, found 62 characters"
    );
    assert!(changed("\"ta\":", "\"to\":").starts_with("unknown field `to`"));
    assert_eq!(
        changed("\"nonce\":", "\"nonce\":\"00\",\"nonce\":"),
        "duplicate field `nonce`"
    );
    assert_eq!(fault(&format!("{}\n.", text())).0, "trailing characters");
    for length in 0..text().len() {
        let refused = parse(&text().as_bytes()[..length]).unwrap_err();
        assert!(
            matches!(refused, VerifyError::Malformed { .. }),
            "{length}: {refused:?}"
        );
    }
    let long = format!("{}{}", text(), " ".repeat(MAX_CONTAINER));
    assert_eq!(
        parse(long.as_bytes()).unwrap_err(),
        VerifyError::TooLarge { limit: MAX_CONTAINER }
    );
}

#[test]
fn another_version_of_the_format_is_named() {
    let other = text().replace("nautilus-optee/1", "nautilus-optee/2");
    assert!(recognises(other.as_bytes()));
    assert_eq!(
        parse(other.as_bytes()).unwrap_err(),
        VerifyError::Unsupported {
            what: "OP-TEE evidence of format `nautilus-optee/2`: `nautilus-optee/1` is supported".to_owned()
        }
    );
    assert_eq!(
        fault(&text().replace("nautilus-optee", "nautilus\\u002doptee")),
        ("format is not written out".to_owned(), 1)
    );
    assert!(!recognises(br#"{"format":"nautilus-tpm/1"}"#));
    assert!(!recognises(b"\"nautilus-optee/1\""));
}
