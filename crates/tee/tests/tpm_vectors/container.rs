//! The JSON around a quote.

use nautilus_core::VerifyError;
use nautilus_tee::tpm::{Evidence, MAX_LEN, recognises};

use super::files::swtpm;

/// The evidence with one text in its JSON replaced.
fn with(from: &str, to: &str) -> Result<Evidence, VerifyError> {
    let json = swtpm().to_json();
    assert_eq!(json.matches(from).count(), 1, "{from}");
    Evidence::parse(json.replace(from, to).as_bytes())
}

#[test]
fn what_is_written_is_read() {
    let mut evidence = swtpm();
    assert_eq!(Evidence::parse(evidence.to_json().as_bytes()).unwrap(), evidence);
    evidence.ak_certificate = Some(vec![1]);
    evidence.ek_certificate = Some(vec![2, 3]);
    let json = evidence.to_json();
    assert_eq!(Evidence::parse(json.as_bytes()).unwrap(), evidence);
    let spaced = json.replace(',', ",\n  ").replace(':', ": ").to_uppercase();
    assert!(
        Evidence::parse(spaced.as_bytes()).is_err(),
        "names have their case"
    );
    assert_eq!(
        Evidence::parse(json.replace(',', ",\n  ").as_bytes()).unwrap(),
        evidence
    );
}

#[test]
fn the_format_is_recognised_by_its_name() {
    let json = swtpm().to_json();
    assert!(recognises(json.as_bytes()));
    assert!(recognises(format!("  {json}").as_bytes()));
    assert!(recognises(br#"{"format":"nautilus-tpm/2"}"#));
    for other in [
        &b"{}"[..],
        b"",
        b"{",
        b"[]",
        br#"{"format":"nautilus-optee/1"}"#,
        br#"{"format":1}"#,
    ] {
        assert!(!recognises(other), "{}", String::from_utf8_lossy(other));
    }
    let error = with("nautilus-tpm/1", "nautilus-tpm/2").unwrap_err();
    assert!(
        matches!(&error, VerifyError::Unsupported { what } if what.contains("nautilus-tpm/2")),
        "{error}"
    );
    let error = with("nautilus-tpm/1", "other").unwrap_err();
    assert!(
        matches!(&error, VerifyError::Malformed { what, offset: 1 } if what.contains("other")),
        "{error:?}"
    );
}

#[test]
fn fields_that_are_unknown_twice_missing_or_null_are_named() {
    for (from, to, says) in [
        (r#""attest":"#, r#""extra":1,"attest":"#, "unknown field `extra`"),
        (
            r#""attest":"#,
            r#""attest":"AA==","attest":"#,
            "duplicate field `attest`",
        ),
        (r#""attest":"#, r#""ak_certificate":null,"attest":"#, "null"),
        (
            r#""pcrs":{"sha256":{"#,
            r#""pcrs":{"sha256":{"0":"00","0":"00","#,
            "duplicate field `0`",
        ),
        (
            r#""pcrs":{"#,
            r#""pcrs":{"sha256":{},"#,
            "duplicate field `sha256`",
        ),
        (r#""format":"nautilus-tpm/1","#, "", "missing field `format`"),
        (r#""attest":""#, r#""attest":"*"#, "not base64"),
        (
            r#""pcrs":{"sha256":{"#,
            r#""pcrs":{"sha256":{"9":"0g","#,
            "not hex",
        ),
    ] {
        let error = with(from, to).unwrap_err();
        assert!(
            matches!(&error, VerifyError::Malformed { what, .. } if what.contains(says)),
            "{says}: {error}"
        );
    }
}

#[test]
fn banks_and_pcrs_have_their_names_and_lengths() {
    let zeros = "00".repeat(32);
    for (to, says) in [
        (r#"{"sha256":{}}"#.to_owned(), "no PCR"),
        ("{}".to_owned(), "no PCR bank"),
        (r#"{"md5":{}}"#.to_owned(), "`md5` is no PCR bank"),
        (r#"{"sha256":{"0":"00"},"sha384":{}}"#.to_owned(), "2 PCR banks"),
        (r#"{"sha256":{"0":"00"}}"#.to_owned(), "PCR 0 has 1 bytes"),
        (
            format!(r#"{{"sha384":{{"0":"{zeros}"}}}}"#),
            "PCR 0 has 32 bytes, bank sha384 has 48",
        ),
        (format!(r#"{{"sha256":{{"24":"{zeros}"}}}}"#), "`24` is no PCR"),
        (format!(r#"{{"sha256":{{"00":"{zeros}"}}}}"#), "`00` is no PCR"),
        (format!(r#"{{"sha256":{{"+1":"{zeros}"}}}}"#), "`+1` is no PCR"),
        (
            format!(r#"{{"sha256":{{"0":"{}"}}}}"#, "00".repeat(65)),
            "more than 64 bytes",
        ),
    ] {
        let json = swtpm().to_json();
        let start = json.find(r#"{"sha256""#).unwrap();
        let changed = format!("{}{to}}}", &json[..start]);
        let error = Evidence::parse(changed.as_bytes()).unwrap_err();
        assert!(
            matches!(&error, VerifyError::Malformed { what, offset } if what.contains(says) && *offset > 0),
            "{says}: {error:?}"
        );
    }
    let json = swtpm().to_json().replace("sha256", "sha1");
    let error = Evidence::parse(json.as_bytes()).unwrap_err();
    assert!(
        matches!(&error, VerifyError::AttributeInvalid { what } if what.contains("PCR bank sha1")),
        "{error}"
    );
}

#[test]
fn everything_is_bounded() {
    let long = format!("{{\"format\":\"{}\"}}", "x".repeat(MAX_LEN));
    assert_eq!(
        Evidence::parse(long.as_bytes()).unwrap_err(),
        VerifyError::TooLarge { limit: MAX_LEN }
    );
    assert!(!recognises(long.as_bytes()));
    let mut evidence = swtpm();
    evidence.attest = vec![0; 1025];
    let error = Evidence::parse(evidence.to_json().as_bytes()).unwrap_err();
    assert!(
        matches!(&error, VerifyError::Malformed { what, .. } if what.contains("more than 1024 bytes")),
        "{error}"
    );
    evidence.attest = Vec::new();
    let error = Evidence::parse(evidence.to_json().as_bytes()).unwrap_err();
    assert!(
        matches!(&error, VerifyError::Malformed { what, .. } if what.contains("no bytes")),
        "{error}"
    );
}
