//! The forms in which people have keys and roots.

use nautilus_core::AnchorRole::{TpmAttestationKey, TpmRoot};
use nautilus_core::TrustAnchorError;
use nautilus_tee::tpm::Verifier;

use super::files::{anchors, der_of, enrolled, read, swtpm, verifier, verify};

#[test]
fn an_attestation_key_is_enrolled_in_any_form() {
    let name = read("swtpm/ak.name");
    let tpm2b = read("swtpm/ak.pub");
    let pem = read("swtpm/ak.pem");
    for (form, bytes, scheme) in [
        ("TPM2B_PUBLIC", tpm2b.clone(), "tpm-ak-name"),
        ("TPMT_PUBLIC", tpm2b[2..].to_vec(), "tpm-ak-name"),
        ("name", name.clone(), "tpm-ak-name"),
        ("name in hex", hex::encode(&name).into_bytes(), "tpm-ak-name"),
        (
            "name in a line of hex",
            format!("{}\n", hex::encode_upper(&name)).into_bytes(),
            "tpm-ak-name",
        ),
        ("PEM", pem.clone(), "tpm-ak-key"),
        ("DER", der_of(&pem), "tpm-ak-key"),
        (
            "two in PEM",
            [read("swtpm-negative/ak.pem"), pem.clone()].concat(),
            "tpm-ak-key",
        ),
    ] {
        let claims = verify(&enrolled(&bytes), &swtpm()).unwrap_or_else(|error| panic!("{form}: {error}"));
        assert_eq!(claims.device.scheme, scheme, "{form}");
    }
    // The form that says most about the key counts, in whatever order they are given.
    let both = [(TpmAttestationKey, pem), (TpmAttestationKey, tpm2b)];
    assert_eq!(
        verify(&verifier(&both), &swtpm()).unwrap().device.scheme,
        "tpm-ak-name"
    );
}

#[test]
fn a_root_is_given_in_pem_or_der() {
    let pem = read("swtpm/swtpm-localca-rootca-cert.pem");
    verifier(&[(TpmRoot, pem.clone())]);
    verifier(&[(TpmRoot, der_of(&pem))]);
    verifier(&[(TpmRoot, [pem, read("swtpm/issuercert.pem")].concat())]);
}

#[test]
fn what_serves_as_nothing_is_refused_with_what_would() {
    let refusal =
        |role, bytes: Vec<u8>| -> TrustAnchorError { Verifier::new(&anchors(&[(role, bytes)])).unwrap_err() };
    let certificate = read("swtpm/issuercert.pem");
    for (bytes, says) in [
        (certificate.clone(), "`CERTIFICATE` is no PUBLIC KEY"),
        (read("swtpm/ek.pub"), "lacks sign"),
        (b"{}".to_vec(), "missing field"),
        (b"nonsense".to_vec(), "attestation key"),
        (Vec::new(), "attestation key"),
        (vec![0x30, 0], "tpm2_readpublic"),
        (b"000b00".to_vec(), "no key's name"),
        (b"-----BEGIN PUBLIC KEY-----\n".to_vec(), "tpm2_readpublic"),
    ] {
        let error = refusal(TpmAttestationKey, bytes);
        assert!(
            error.what.contains(says) && error.what.contains("serves"),
            "{says}: {error}"
        );
        assert_eq!(
            (error.origin.as_str(), error.role),
            ("the test", TpmAttestationKey)
        );
    }
    for bytes in [
        read("swtpm/ak.pem"),
        vec![0x30, 0],
        Vec::new(),
        certificate[..300].to_vec(),
    ] {
        let error = refusal(TpmRoot, bytes);
        assert!(
            error.what.contains("the certificate of a TPM maker's root"),
            "{error}"
        );
    }
}
