use nautilus_core::AnchorRole;

use super::*;

const SERVES: &str = "PEM and hex would serve";
const POINT: &str = "04aabb";

fn anchor(bytes: &[u8]) -> TrustAnchor {
    TrustAnchor {
        role: AnchorRole::OpteeKey,
        bytes: bytes.to_vec(),
        origin: "a test".to_owned(),
    }
}

fn refusal(bytes: &[u8]) -> String {
    read(&anchor(bytes), SERVES).unwrap_err().what
}

fn one(bytes: &[u8]) -> KeyForm {
    let mut forms = read(&anchor(bytes), SERVES).unwrap();
    assert_eq!(forms.len(), 1);
    forms.remove(0)
}

fn pem_of(tag: &str) -> String {
    pem::encode(&pem::Pem::new(tag, [1, 2]))
}

fn der(hex_digits: &str) -> Vec<u8> {
    hex::decode(hex_digits).unwrap()
}

#[test]
fn every_form_is_told_from_the_others() {
    assert!(matches!(one(b" 30ff \n"), KeyForm::Raw(raw) if raw == [0x30, 0xff]));
    assert!(matches!(one(pem_of("PUBLIC KEY").as_bytes()), KeyForm::Spki(der) if der == [1, 2]));
    assert!(matches!(one(pem_of("RSA PUBLIC KEY").as_bytes()), KeyForm::Pkcs1(der) if der == [1, 2]));
    assert!(matches!(one(pem_of("CERTIFICATE").as_bytes()), KeyForm::Certificate(der) if der == [1, 2]));
    for title in ["", "key:\n", "Schlüssel:\n"] {
        let both = format!("{title}{}{}", pem_of("PUBLIC KEY"), pem_of("CERTIFICATE"));
        assert_eq!(
            read(&anchor(both.as_bytes()), SERVES).unwrap().len(),
            2,
            "{title}"
        );
    }
    for json in [
        r#"{"kty":"RSA","use":"sig","note":null}"#,
        r#"[{"kty":"RSA","note":"für Gerät 7"}]"#,
        r#" {"keys":[{"kty":"RSA","d":null}],"of":[1,-2,0.5,true]} "#,
    ] {
        assert!(
            matches!(one(json.as_bytes()), KeyForm::Jwk(Jwk::Rsa(_))),
            "{json}"
        );
    }
    for (kty, name) in [
        ("EC", "JWK of type EC"),
        ("OKP", "JWK of type OKP"),
        ("oct", "JWK of type oct"),
    ] {
        assert_eq!(one(format!(r#"{{"kty":"{kty}"}}"#).as_bytes()).name(), name);
    }
    assert!(
        matches!(one(br#"{"public":"0fF0","source":"a board"}"#), KeyForm::Raw(raw) if raw == [0x0f, 0xf0])
    );
    let numbers = one(br#"{"n_hex":"00c5","e_hex":"010001","id":"board 7"}"#)
        .rsa()
        .unwrap();
    assert_eq!((numbers.modulus, numbers.exponent), (vec![0xc5], vec![1, 0, 1]));
}

#[test]
fn der_is_told_by_its_first_tags() {
    // As they start: algorithm; modulus; version and serial number of a certificate.
    assert!(matches!(one(&der("30820122300d06092a8648")), KeyForm::Spki(_)));
    assert!(matches!(one(&der("3082010a0282010100c5ff")), KeyForm::Pkcs1(_)));
    assert!(matches!(
        one(&der("3082010a30820100a003020102")),
        KeyForm::Certificate(_)
    ));
    assert!(matches!(
        one(&der("3082010a308201000203ff")),
        KeyForm::Certificate(_)
    ));
    // PKCS#8, SEC 1 and PKCS#1.
    for private in ["3081870201003013", "307702010104ff", "308204a40201000282010100"] {
        assert_eq!(refusal(&der(private)), PRIVATE, "{private}");
    }
    for other in [
        "3000",
        "30",
        "3082",
        "30030101ff",
        "3080",
        "300531030101ff",
        "30ff02",
    ] {
        assert_eq!(
            refusal(&der(other)),
            "it has an unknown format: PEM and hex would serve",
            "{other}"
        );
    }
}

#[test]
fn what_is_no_public_key_is_refused_by_name() {
    for (bytes, says) in [
        (&b""[..], "it has an unknown format: PEM and hex would serve"),
        (b"no hex", "it has an unknown format: PEM and hex would serve"),
        (&[0xff, 0x00], "it has an unknown format: PEM and hex would serve"),
        (b"[]", "it holds 0 keys: PEM and hex would serve"),
        (br#"{"keys":[]}"#, "it holds 0 keys: PEM and hex would serve"),
        (b"-----BEGIN", "it holds 0 keys: PEM and hex would serve"),
        (b"[1]", "an entry of the list is no JSON object"),
        (br#"{"keys":{}}"#, "`keys` of the JWK set is no list"),
        (
            br#"{"keys":[{"keys":[]}]}"#,
            "it holds a set of keys inside of another",
        ),
        (br#"[{"keys":[]}]"#, "it holds a set of keys inside of another"),
        (br#"{"kty":"RSA","d":"AQ"}"#, PRIVATE),
        (br#"{"kty":"RSA","d":1}"#, PRIVATE),
        (br#"{"kty":"RSA","p":"AQ"}"#, PRIVATE),
        (br#"[{"pkey":{"kty":"EC","d":"AQ"}}]"#, PRIVATE),
        (br#"{"kty":7}"#, "`kty` is no text"),
        (br#"{"kty":"EC","x":[]}"#, "`x` is no text"),
        (
            br#"{"kty":"AKP"}"#,
            "the JWK is of another type than EC, RSA, OKP or oct: `AKP`",
        ),
        (
            br#"{"kty":"OKP","public":"00"}"#,
            "a JSON entry gives its key twice: by `kty` and by `public`",
        ),
        (
            br#"{"public":"0g"}"#,
            "`public` is not hex: Invalid character 'g' at position 1",
        ),
        (br#"{"n_hex":"00"}"#, "there is no `e_hex`"),
    ] {
        assert_eq!(refusal(bytes), says, "{}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(
        refusal(pem_of("EC PRIVATE KEY").as_bytes()),
        format!("{PRIVATE} (PEM block `EC PRIVATE KEY`)")
    );
    let both = [pem_of("PUBLIC KEY"), pem_of("ENCRYPTED PRIVATE KEY")].concat();
    assert!(refusal(both.as_bytes()).starts_with(PRIVATE));
    assert_eq!(
        refusal(pem_of("X509 CRL").as_bytes()),
        "it holds a PEM block `X509 CRL`: PEM and hex would serve"
    );
    assert!(refusal(b"{}").starts_with("a JSON entry names no key: expected a JWK with `kty`"));
}

#[test]
fn json_is_read_strictly() {
    for (json, says) in [
        (
            r#"{"kty":"RSA","kty":"RSA"}"#,
            "it is no JSON key: duplicate field `kty`",
        ),
        (
            r#"{"kty":"RSA","a":{"b":1,"b":2}}"#,
            "it is no JSON key: duplicate field `b`",
        ),
        (
            r#"{"kty":null,"kty":"RSA"}"#,
            "it is no JSON key: duplicate field `kty`",
        ),
        ("{", "it is not JSON: EOF"),
        (r#"{"kty":"RSA"} {}"#, "it is not JSON: trailing characters"),
        (&"[".repeat(1000), "it is not JSON: recursion limit exceeded"),
    ] {
        let what = refusal(json.as_bytes());
        assert!(what.starts_with(says), "{json}: {what}");
    }
}

#[test]
fn a_file_is_bounded() {
    let many = format!("[{}{{}}]", "{},".repeat(MAX_KEYS));
    assert_eq!(
        refusal(many.as_bytes()),
        "it holds 4097 keys, more than the 4096 allowed"
    );
    assert_eq!(
        refusal(&vec![b'0'; TrustAnchors::MAX_SIZE + 1]),
        "it is larger than the 262144 bytes that are read"
    );
    let most = format!("[{}]", [r#"{"kty":"EC"}"#; MAX_KEYS].join(","));
    assert_eq!(read(&anchor(most.as_bytes()), SERVES).unwrap().len(), MAX_KEYS);
}

#[test]
fn a_key_may_name_its_device() {
    let (instance, implementation) = ("01".repeat(33), "02".repeat(32));
    let named = format!(
        r#"{{"pkey":{{"kty":"EC"}},"instance-id":"{instance}","implementation-id":"{implementation}"}}"#
    );
    let KeyForm::OfDevice(key) = one(named.as_bytes()) else {
        panic!("{named}")
    };
    assert!(matches!(key.key, Jwk::Ec(_)));
    assert_eq!(key.instance_id, Some(vec![1; 33]));
    assert_eq!(key.implementation_id, Some(vec![2; 32]));
    // Of either identifier it may be silent.
    let KeyForm::OfDevice(key) = one(br#"{"pkey":{"kty":"oct"},"instance-id":null}"#) else {
        panic!("no device")
    };
    assert_eq!((key.instance_id, key.implementation_id), (None, None));
    for (json, says) in [
        (r#"{"pkey":"AQ"}"#, "`pkey` is no JWK"),
        (r#"{"pkey":{}}"#, "the JWK has no `kty`"),
        (
            r#"{"pkey":{"kty":"EC"},"instance-id":"01"}"#,
            "`instance-id` is not 33 bytes in hex",
        ),
        (
            r#"{"pkey":{"kty":"EC"},"implementation-id":7}"#,
            "`implementation-id` is not 32 bytes in hex",
        ),
        (
            r#"{"pkey":{"kty":"EC"},"instance_id":"01"}"#,
            "unknown field `instance_id` beside `pkey`: expected `instance-id` and `implementation-id`",
        ),
    ] {
        assert_eq!(refusal(json.as_bytes()), says, "{json}");
    }
    // Who does not hold a key to its device does not get it without.
    assert_eq!(
        one(named.as_bytes()).rsa().unwrap_err(),
        "found `JWK of one device`"
    );
    assert_eq!(
        one(named.as_bytes()).ed25519().unwrap_err(),
        "found `JWK of one device`"
    );
}

#[test]
fn members_of_a_jwk_are_named_where_they_are_wrong() {
    let point = |json: &str| match one(json.as_bytes()) {
        KeyForm::Jwk(Jwk::Ec(jwk)) => jwk.point(),
        other => panic!("{other:?}"),
    };
    let x = "A".repeat(43);
    let good = point(&format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{x}"}}"#)).unwrap();
    assert_eq!(good.curve, EcCurve::P256);
    assert_eq!(good.bytes, [&[4][..], &[0; 64]].concat());
    for (json, says) in [
        (r#"{"kty":"EC"}"#, "the JWK has no `crv`"),
        (
            r#"{"kty":"EC","crv":"secp256k1"}"#,
            "the JWK's curve is not P-256, P-384 or P-521: `secp256k1`",
        ),
        (r#"{"kty":"EC","crv":"P-521","x":"AA"}"#, "the JWK has no `y`"),
        (
            r#"{"kty":"EC","crv":"P-384","x":"AA","y":"AA"}"#,
            "the JWK's coordinates are not of 48 bytes",
        ),
        (
            r#"{"kty":"EC","crv":"P-384","x":"A+","y":"AA"}"#,
            "`x` of the JWK is not base64url: Invalid symbol 43, offset 1.",
        ),
    ] {
        assert_eq!(point(json).unwrap_err(), says, "{json}");
    }
    let ed25519 = |json: &str| one(json.as_bytes()).ed25519().unwrap_err();
    assert_eq!(
        ed25519(r#"{"kty":"OKP","crv":"X25519","x":"AA"}"#),
        "the JWK's curve is not Ed25519: `X25519`"
    );
    assert_eq!(
        ed25519(r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#),
        "`x` of the JWK has 1 bytes, not 32"
    );
    assert_eq!(ed25519(r#"{"kty":"EC"}"#), "found `JWK of type EC`");
    assert_eq!(
        one(br#"{"kty":"RSA","n":"AQ"}"#).rsa().unwrap_err(),
        "the JWK has no `e`"
    );
}

#[test]
fn a_public_key_names_its_curve_and_algorithm() {
    let p384 = der(&format!("3018301006072a8648ce3d020106052b81040022030400{POINT}"));
    assert_eq!(
        spki_point(&p384).unwrap(),
        EcPoint {
            curve: EcCurve::P384,
            bytes: der(POINT)
        }
    );
    assert_eq!(
        spki_point(&der(&format!(
            "3018301006072a8648ce3d020106052b8104000a030400{POINT}"
        )))
        .unwrap_err(),
        "a key on curve 1.3.132.0.10, not on P-256, P-384 or P-521"
    );
    let key = "11".repeat(32);
    let ed25519 = der(&format!("302a300506032b6570032100{key}"));
    assert_eq!(KeyForm::Spki(ed25519.clone()).ed25519().unwrap(), [0x11; 32]);
    assert_eq!(
        spki_point(&ed25519).unwrap_err(),
        "a public key of algorithm 1.3.101.112, not of an elliptic curve"
    );
    assert_eq!(
        KeyForm::Spki(ed25519).rsa().unwrap_err(),
        "a public key of algorithm 1.3.101.112, not of RSA"
    );
    let x25519 = der(&format!("302a300506032b656e032100{key}"));
    assert_eq!(
        KeyForm::Spki(x25519).ed25519().unwrap_err(),
        "a public key of algorithm 1.3.101.110, not of Ed25519"
    );
    let with_parameters = der(&format!("302c300706032b65700500032100{key}"));
    assert_eq!(
        KeyForm::Spki(with_parameters).ed25519().unwrap_err(),
        "the algorithm has parameters, which Ed25519 has none of"
    );
}

#[test]
fn a_secret_is_not_shown() {
    let form = one(br#"{"kty":"oct","k":"c2VjcmV0"}"#);
    assert_eq!(format!("{form:?}"), "Jwk(JWK of type oct)");
}
