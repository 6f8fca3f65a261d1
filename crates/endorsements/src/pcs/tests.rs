use super::*;
use crate::fixture::{COLLATERAL, encoded, vector};

const FMSPC: [u8; 6] = [0xb0, 0xc0, 0x6f, 0, 0, 0];

fn field(name: &str) -> String {
    let document: serde_json::Value = serde_json::from_slice(&vector(COLLATERAL)).unwrap();
    document[name].as_str().unwrap().to_owned()
}

fn chain() -> String {
    encoded(&field("tcb_info_issuer_chain"))
}

fn form(result: Result<SignedText, Wrong>) -> String {
    match result {
        Err(Wrong::Form(what)) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_signed_text_is_cut_out_as_it_is() {
    // Spaces, an escape and an order that no writer would choose.
    let text = field("tcb_info").replace("{\"id\":\"TDX\",", "{ \"id\" : \"\\u0054DX\",\n\t");
    let signature = field("tcb_info_signature");
    for body in [
        format!("{{\"tcbInfo\":{text},\"signature\":\"{signature}\"}}"),
        format!(" {{ \"signature\" : \"{signature}\" , \"tcbInfo\" : {text} }} \n"),
    ] {
        let read = read_tcb_info(body.as_bytes(), &chain(), IntelTee::Tdx, &FMSPC).unwrap();
        assert_eq!(read.text, text);
    }
}

#[test]
fn a_body_of_another_shape_is_refused() {
    let text = field("tcb_info");
    let signature = field("tcb_info_signature");
    let read = |body: String| form(read_tcb_info(body.as_bytes(), &chain(), IntelTee::Tdx, &FMSPC));
    let both = format!("\"tcbInfo\":{text},\"signature\":\"{signature}\"");
    assert!(read(format!("{{{both},\"tcbInfo\":{text}}}")).contains("duplicate field"));
    assert!(read(format!("{{{both},\"x\":1}}")).contains("unknown field"));
    assert!(read(format!("{{{both}}}{{}}")).contains("trailing characters"));
    assert!(read(format!("{{\"tcbInfo\":{text}}}")).contains("missing field"));
    assert!(read(format!("{{\"tcbInfo\":{text},\"signature\":\"00\"}}")).contains("64 bytes"));
    assert!(read(format!("{{\"tcbInfo\":[],\"signature\":\"{signature}\"}}")).contains("TCB Info"));
    let version = text.replace("\"version\":3", "\"version\":2");
    let told = read(format!("{{\"tcbInfo\":{version},\"signature\":\"{signature}\"}}"));
    assert!(told.contains("version 3 comes from version 4"), "{told}");
    for length in 0..both.len() {
        let result = read_tcb_info(
            format!("{{{}", &both[..length]).as_bytes(),
            &chain(),
            IntelTee::Tdx,
            &FMSPC,
        );
        assert!(matches!(result, Err(Wrong::Form(_))), "{length}");
    }
}

#[test]
fn a_chain_is_certificates_and_few() {
    let plain = field("tcb_info_issuer_chain");
    let body = format!(
        "{{\"tcbInfo\":{},\"signature\":\"{}\"}}",
        field("tcb_info"),
        field("tcb_info_signature")
    );
    let read = |chain: &str| read_tcb_info(body.as_bytes(), chain, IntelTee::Tdx, &FMSPC);
    assert_eq!(read(&encoded(&plain)).unwrap().chain, plain);
    assert!(form(read("")).contains("0 certificates"));
    assert!(form(read(&encoded(&plain.repeat(3)))).contains("6 certificates"));
    let broken = plain.replacen("MII", "MIJ", 1);
    assert!(form(read(&encoded(&broken))).contains("issuer chain"));
}

#[test]
fn lists_come_in_der_or_in_hex() {
    let hex = field("pck_crl");
    let der = hex::decode(&hex).unwrap();
    let chain = encoded(&field("pck_crl_issuer_chain"));
    let read = |body: &[u8]| read_pck_crl(body, &chain, PckCa::Platform);
    assert_eq!(read(&der).unwrap(), read(hex.as_bytes()).unwrap());
    assert_eq!(
        read(&der).unwrap(),
        read(format!("{}\n", hex.to_uppercase()).as_bytes()).unwrap()
    );
    assert!(matches!(read(&der[..der.len() - 1]), Err(Wrong::Form(_))));
    assert!(matches!(read(&[&der[..], b"x"].concat()), Err(Wrong::Form(_))));
    assert_eq!(
        read_pck_crl(&der, &chain, PckCa::Processor),
        Err(Wrong::Subject {
            asked: "revocations by the processor CA".to_owned(),
            got: "revocations by the platform CA".to_owned(),
        })
    );
}
