//! What the library makes of a whole TPM: keys of every kind, quotes by them, and what is refused.

use std::time::{SystemTime, UNIX_EPOCH};

use nautilus_core::{
    AnchorRole, Binding, Claims, Endorsements, Evidence as CoreEvidence, TeeKind, TrustAnchor, TrustAnchors,
    UnixMillis, Verified, VerifierSet, VerifyError,
};
use nautilus_tee::endorsement;
use nautilus_tee::tpm::{Enrolment, Evidence, HashAlgorithm, PcrValues, Randomness, Verifier};

use crate::machine::{ECC_EK, Ek, Machine, RSA_EK};

/// Report data, of which a TPM signs the SHA-256.
const REPORT_DATA: [u8; 64] = [0x5a; 64];
const SHA256: HashAlgorithm = HashAlgorithm::Sha256;

#[test]
fn keys_of_every_kind_are_enrolled_and_their_quotes_verify() {
    let machine = Machine::new();
    machine.extend(7, 7);
    let cases = [
        ("rsassa", "rsa", "rsassa", RSA_EK, "rsassa-sha256"),
        ("rsapss", "rsa", "rsapss", ECC_EK, "rsapss-sha256"),
        ("ecdsa", "ecc", "ecdsa", ECC_EK, "ecdsa-sha256"),
    ];
    for (name, algorithm, scheme, ek, signature) in cases {
        machine.create_ak(name, algorithm, scheme);
        let anchor = enrol(&machine, &ek, name);
        let evidence = quote(&machine, name, SHA256, &[0, 7, 9], &REPORT_DATA);
        let claims = verify(&production(&[anchor]), &evidence, &REPORT_DATA).unwrap();
        assert_eq!(claims.device.scheme, "tpm-ek", "{name}");
        assert_eq!(claims.attributes["quote_signature"], signature);
        assert_eq!(claims.attributes["tpm_model"], "swtpm");
        assert_eq!(claims.report_data.0, SHA256.digest([REPORT_DATA.as_slice()]));
        let once = SHA256.digest([[0; 32].as_slice(), &[7; 32]]);
        assert_eq!(claims.measurements["pcr7"].0, once, "{name}");
        assert_eq!(claims.measurements["pcr9"].0, [0; 32], "{name}");
        assert_eq!(claims.measurements.len(), 3);
    }
}

#[test]
fn a_quote_of_the_bank_of_sha384_verifies() {
    let machine = Machine::new();
    machine.create_ak("ak", "ecc", "ecdsa");
    let set = production(&[enrol(&machine, &RSA_EK, "ak")]);
    let evidence = quote(&machine, "ak", HashAlgorithm::Sha384, &[0, 1], &REPORT_DATA);
    let claims = verify(&set, &evidence, &REPORT_DATA).unwrap();
    assert_eq!(claims.attributes["pcr_bank"], "sha384");
    assert_eq!(claims.measurements["pcr1"].0, [0; 48]);
}

#[test]
fn quotes_that_prove_nothing_are_refused() {
    let machine = Machine::new();
    machine.create_ak("ak", "rsa", "rsassa");
    machine.create_ak("other", "rsa", "rsassa");
    let set = production(&[enrol(&machine, &RSA_EK, "ak")]);
    let genuine = quote(&machine, "ak", SHA256, &[0, 7], &REPORT_DATA);
    verify(&set, &genuine, &REPORT_DATA).unwrap();

    let error = verify(&set, &genuine, &[0x5b; 64]).unwrap_err();
    assert!(
        matches!(error, VerifyError::ReportDataMismatch { .. }),
        "another challenge: {error}"
    );

    let by_other = quote(&machine, "other", SHA256, &[0, 7], &REPORT_DATA);
    let error = verify(&set, &by_other, &REPORT_DATA).unwrap_err();
    assert!(
        matches!(error, VerifyError::KeyNotEnrolled { .. }),
        "another key: {error}"
    );
    let mut swapped = by_other;
    swapped.ak_public.clone_from(&genuine.ak_public);
    let error = verify(&set, &swapped, &REPORT_DATA).unwrap_err();
    assert!(
        matches!(error, VerifyError::SignatureInvalid { .. }),
        "another key's signature: {error}"
    );

    machine.extend(7, 1);
    let mut extended = genuine.clone();
    extended.pcrs = values(&machine, SHA256, &[0, 7]);
    assert_ne!(extended.pcrs, genuine.pcrs);
    let error = verify(&set, &extended, &REPORT_DATA).unwrap_err();
    assert!(
        matches!(&error, VerifyError::SignatureInvalid { what } if what.contains("PCR values")),
        "values from after the quote: {error}"
    );
    let again = quote(&machine, "ak", SHA256, &[0, 7], &REPORT_DATA);
    assert_eq!(
        verify(&set, &again, &REPORT_DATA).unwrap().measurements["pcr7"].0,
        again.pcrs.values[&7]
    );
}

#[test]
fn selections_that_prove_nothing_are_refused() {
    let machine = Machine::new();
    machine.create_ak("ak", "ecc", "ecdsa");
    let set = production(&[enrol(&machine, &ECC_EK, "ak")]);
    machine.extend(16, 1);
    let mut debug = quote(&machine, "ak", SHA256, &[16], &REPORT_DATA);
    let error = verify(&set, &debug, &REPORT_DATA).unwrap_err();
    assert!(
        matches!(&error, VerifyError::SelectionMismatch { expected, found }
            if found == "sha256:16" && expected.contains("any but 16 and 20 to 23")),
        "{error}"
    );
    let value = debug.pcrs.values.remove(&16).unwrap();
    debug.pcrs.values.insert(0, value);
    let error = verify(&set, &debug, &REPORT_DATA).unwrap_err();
    assert!(
        matches!(&error, VerifyError::SelectionMismatch { expected, found }
            if found == "sha256:16" && expected.starts_with("sha256:0,")),
        "PCR 16 as PCR 0: {error}"
    );
    let both = quote(&machine, "ak", SHA256, &[0, 16], &REPORT_DATA);
    let claims = verify(&set, &both, &REPORT_DATA).unwrap();
    assert_eq!(
        claims.measurements.keys().collect::<Vec<_>>(),
        ["pcr0", "resettable_pcr16"],
        "PCR 16 measures nothing"
    );

    let mut evidence = quote(&machine, "ak", SHA256, &[0, 7], &REPORT_DATA);
    for (selection, says) in [
        ("sha1:0,7", "PCR bank sha1"),
        ("sha1:0,7+sha256:0,7", "one PCR bank"),
    ] {
        machine.quote_of("ak", selection, &REPORT_DATA);
        evidence.attest = machine.read("quote.msg");
        evidence.signature = machine.read("quote.sig");
        let error = verify(&set, &evidence, &REPORT_DATA).unwrap_err();
        assert!(error.to_string().contains(says), "{selection}: {error}");
    }
}

#[test]
fn a_key_of_another_tpm_is_not_enrolled() {
    let (machine, other) = (Machine::new(), Machine::new());
    machine.create_ak("ak", "ecc", "ecdsa");
    let foreign = other.create_ak("ak", "ecc", "ecdsa");
    let verifier = Verifier::new(&TrustAnchors(vec![root(&machine)])).unwrap();
    for ek in [RSA_EK, ECC_EK] {
        let (certificate, public) = machine.endorsement_key(&ek);
        let own = intermediates(&machine);
        let key = verifier
            .endorsement_key(&certificate, &public, &own, now())
            .unwrap();
        let randomness = Randomness {
            secret: [1; 32],
            seed: [2; 64],
        };
        let (_, credential) = Enrolment::start(key, &foreign, &randomness).unwrap();
        let credential = credential.to_tpm2_tools();
        // The machine has the endorsement key and not the attestation key; the other machine the reverse.
        let refusal = machine.activate(&ek, "ak", &credential).unwrap_err();
        assert!(refusal.contains("ActivateCredential"), "{refusal}");
        let refusal = other.activate(&ek, "ak", &credential).unwrap_err();
        assert!(refusal.contains("ActivateCredential"), "{refusal}");
        // And nobody's root vouches for the other machine's endorsement key.
        let (certificate, public) = other.endorsement_key(&ek);
        let error = verifier
            .endorsement_key(&certificate, &public, &intermediates(&other), now())
            .unwrap_err();
        assert!(matches!(error, VerifyError::SignatureInvalid { .. }), "{error}");
    }
}

/// Enrols the key, and gives the trust anchor that this leaves behind.
fn enrol(machine: &Machine, ek: &Ek, ak: &str) -> TrustAnchor {
    let verifier = Verifier::new(&TrustAnchors(vec![root(machine)])).unwrap();
    let (certificate, public) = machine.endorsement_key(ek);
    let key = verifier
        .endorsement_key(&certificate, &public, &intermediates(machine), now())
        .unwrap();
    assert_eq!(
        key.describe()["tpm_manufacturer"],
        "id:00001014",
        "IBM, who wrote swtpm"
    );
    let randomness = fresh_randomness();
    let ak_public = machine.read(&format!("{ak}.pub"));
    let (enrolment, credential) = Enrolment::start(key, &ak_public, &randomness).unwrap();
    let secret = machine.activate(ek, ak, &credential.to_tpm2_tools()).unwrap();
    assert_eq!(secret, randomness.secret, "the TPM gives our secret back");
    TrustAnchor {
        role: AnchorRole::TpmAttestationKey,
        bytes: enrolment.confirm(&secret).unwrap().to_anchor().into_bytes(),
        origin: "the enrolment".to_owned(),
    }
}

pub fn fresh_randomness() -> Randomness {
    let mut randomness = Randomness {
        secret: [0; 32],
        seed: [0; 64],
    };
    getrandom::fill(&mut randomness.secret).unwrap();
    getrandom::fill(&mut randomness.seed).unwrap();
    randomness
}

/// What the maker's root is to a relying party.
pub fn root(machine: &Machine) -> TrustAnchor {
    TrustAnchor {
        role: AnchorRole::TpmRoot,
        bytes: machine.read("ca/swtpm-localca-rootca-cert.pem"),
        origin: "the maker".to_owned(),
    }
}

pub fn intermediates(machine: &Machine) -> Endorsements {
    Endorsements(endorsement::read(&machine.read("ca/issuercert.pem"), "the maker").unwrap())
}

/// The evidence that `docs/tee/tpm.md` tells how to make.
fn quote(machine: &Machine, ak: &str, bank: HashAlgorithm, pcrs: &[u8], report_data: &[u8]) -> Evidence {
    let list: Vec<String> = pcrs.iter().map(u8::to_string).collect();
    machine.quote_of(ak, &format!("{}:{}", bank.name(), list.join(",")), report_data);
    Evidence {
        attest: machine.read("quote.msg"),
        signature: machine.read("quote.sig"),
        ak_public: machine.read(&format!("{ak}.pub")),
        ak_certificate: None,
        ek_certificate: None,
        pcrs: values(machine, bank, pcrs),
    }
}

fn values(machine: &Machine, bank: HashAlgorithm, pcrs: &[u8]) -> PcrValues {
    let list: Vec<String> = pcrs.iter().map(u8::to_string).collect();
    machine.run(&[
        "tpm2_pcrread",
        &format!("{}:{}", bank.name(), list.join(",")),
        "-o",
        "values",
    ]);
    let values = machine.read("values");
    let values = values.chunks_exact(bank.digest_len()).map(<[u8]>::to_vec);
    PcrValues {
        bank,
        values: pcrs.iter().copied().zip(values).collect(),
    }
}

pub fn now() -> UnixMillis {
    UnixMillis::from_secs(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

pub fn production(anchors: &[TrustAnchor]) -> VerifierSet {
    nautilus_tee::production(&TrustAnchors(anchors.to_vec())).unwrap()
}

fn verify(
    set: &VerifierSet,
    evidence: &Evidence,
    report_data: &[u8],
) -> Result<Verified<Claims>, VerifyError> {
    let bytes = evidence.to_json().into_bytes();
    assert_eq!(set.recognise(&bytes), Some(TeeKind::Tpm));
    let evidence = CoreEvidence {
        tee: TeeKind::Tpm,
        bytes,
        user_data: None,
        event_log: None,
    };
    set.verify(
        &evidence,
        Binding::ReportData(report_data),
        &Endorsements::default(),
        now(),
    )
}
