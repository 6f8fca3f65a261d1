//! Nautilus as the machine: it attests, seals, counts and enrols with a whole TPM, and no tpm2-tools.

use std::path::PathBuf;

use nautilus_core::{
    AnchorRole, AttestError, Binding, BootId, BoundUserData, Challenge, Claims, Digest32, Endorsements,
    EventLogHead, Evidence, NodeId, Protection, PublicKey, Purpose, RawEvidence, ReportData, SealError,
    TeeKind, TrustAnchor, TrustAnchors, Verified,
};
use nautilus_tee::tpm::{
    EkKind, Enrolment, EnrolmentRequest, Evidence as TpmEvidence, HashAlgorithm, Public, Tpm, Verifier,
    answer_credential,
};
use nautilus_tee::{Platform, PlatformOptions};

use crate::by_library::{fresh_randomness, intermediates, now, production, root};
use crate::machine::Machine;
use crate::proxy::{self, Fault};

/// The PCRs that are quoted.
const QUOTED: [&str; 14] = [
    "pcr0", "pcr1", "pcr11", "pcr12", "pcr13", "pcr14", "pcr2", "pcr3", "pcr4", "pcr5", "pcr6", "pcr7",
    "pcr8", "pcr9",
];

pub fn report_data(challenge: u8) -> ReportData {
    Challenge::from_digest(Digest32([challenge; 32])).bind(&BoundUserData {
        purpose: Purpose::Boot,
        node: NodeId([1; 32]),
        tee: TeeKind::Tpm,
        boot: BootId([2; 16]),
        tee_key: PublicKey([3; 32]),
        channel_key: None,
        event_log: EventLogHead::EMPTY,
        session: None,
    })
}

fn open(quote_provider: &str) -> Platform {
    let options = PlatformOptions {
        quote_provider: Some(quote_provider.to_owned()),
        ..PlatformOptions::default()
    };
    Platform::open(TeeKind::Tpm, &options).unwrap_or_else(|error| panic!("{quote_provider}: {error}"))
}

fn platform(machine: &Machine) -> Platform {
    open(&machine.quote_provider())
}

/// Both sides of an enrolment; gives the trust anchor that it leaves behind.
pub fn enrol(machine: &Machine, kind: Option<EkKind>) -> (EnrolmentRequest, TrustAnchor) {
    enrol_at(machine, &machine.quote_provider(), kind)
}

fn enrol_at(
    machine: &Machine,
    quote_provider: &str,
    kind: Option<EkKind>,
) -> (EnrolmentRequest, TrustAnchor) {
    let tpm = Tpm::open(Some(quote_provider)).unwrap();
    let request = EnrolmentRequest::of(&tpm, kind).unwrap();
    let verifier = Verifier::new(&TrustAnchors(vec![root(machine)])).unwrap();
    let certificate = request.ek_certificate.as_deref().unwrap();
    let ek = verifier
        .endorsement_key(certificate, &request.ek_public, &intermediates(machine), now())
        .unwrap();
    let (enrolment, credential) = Enrolment::start(ek, &request.ak_public, &fresh_randomness()).unwrap();
    let secret = answer_credential(&tpm, &credential).unwrap();
    let anchor = TrustAnchor {
        role: AnchorRole::TpmAttestationKey,
        bytes: enrolment.confirm(&secret).unwrap().to_anchor().into_bytes(),
        origin: "the enrolment".to_owned(),
    };
    (request, anchor)
}

pub fn accept(anchor: &TrustAnchor, raw: &RawEvidence, report_data: &ReportData) {
    let claims = verified(anchor, raw, report_data);
    assert_eq!(claims.device.scheme, "tpm-ek");
    assert_eq!(claims.attributes["ak_algorithm"], "ecc-p256");
    assert_eq!(claims.attributes["quote_signature"], "ecdsa-sha256");
    assert_eq!(claims.measurements.keys().collect::<Vec<_>>(), QUOTED);
    let once = HashAlgorithm::Sha256.digest([[0; 32].as_slice(), &[4; 32]]);
    assert_eq!(claims.measurements["pcr4"].0, once, "what booted");
}

fn verified(anchor: &TrustAnchor, raw: &RawEvidence, report_data: &ReportData) -> Verified<Claims> {
    let evidence = Evidence {
        tee: TeeKind::Tpm,
        bytes: raw.bytes.clone(),
        user_data: None,
        event_log: None,
    };
    let set = production(std::slice::from_ref(anchor));
    let binding = Binding::ReportData(report_data.as_bytes());
    set.verify(&evidence, binding, &Endorsements::default(), now())
        .unwrap()
}

#[test]
fn evidence_is_accepted_over_either_socket_and_after_a_restart_by_the_same_key() {
    let mut machine = Machine::new();
    machine.extend(4, 4);
    let (request, anchor) = enrol(&machine, None);
    assert_eq!(
        request.ek_kind,
        EkKind::Rsa2048,
        "swtpm has no certificate of P-256"
    );
    let platform_over_unix = platform(&machine);
    for challenge in [1, 2, 2] {
        let report_data = report_data(challenge);
        let evidence = platform_over_unix.attester.attest(&report_data).unwrap();
        accept(&anchor, &evidence, &report_data);
        assert_eq!(
            evidence.event_log, None,
            "the log of this machine is not the TPM's"
        );
    }
    drop(platform_over_unix);

    machine.restart_over_tcp();
    assert!(machine.quote_provider().starts_with("tcp:127.0.0.1:"));
    let (again, _) = enrol(&machine, Some(EkKind::P384));
    assert_eq!(again.ak_public, request.ak_public, "the same key after a restart");
    assert_ne!(again.ek_public, request.ek_public);
    machine.extend_by(4, 4);
    let report_data = report_data(3);
    let evidence = platform(&machine).attester.attest(&report_data).unwrap();
    accept(&anchor, &evidence, &report_data);
}

#[test]
fn an_endorsement_key_without_certificate_is_named_and_may_be_asked_for() {
    let machine = Machine::new();
    let tpm = Tpm::open(Some(&machine.quote_provider())).unwrap();
    let request = EnrolmentRequest::of(&tpm, Some(EkKind::P256)).unwrap();
    assert_eq!(request.ek_certificate, None);
    assert!(!request.ek_public.is_empty());
}

#[test]
fn a_p256_endorsement_key_enrols_and_comes_first() {
    let machine = Machine::new();
    let tpm = Tpm::open(Some(&machine.quote_provider())).unwrap();
    let request = EnrolmentRequest::of(&tpm, Some(EkKind::P256)).unwrap();
    drop(tpm);
    machine.certify_p256(&Public::parse("ek", &request.ek_public).unwrap());
    let (request, anchor) = enrol(&machine, None);
    assert_eq!(request.ek_kind, EkKind::P256);
    let evidence = platform(&machine).attester.attest(&report_data(1)).unwrap();
    assert_eq!(
        verified(&anchor, &evidence, &report_data(1)).device.scheme,
        "tpm-ek"
    );
}

#[test]
fn a_tpm_without_elliptic_curves_attests_and_seals_with_rsa() {
    let machine = Machine::new();
    let path = machine.path().join("proxy");
    proxy::listen(&path, machine.path().join("tpm"), Fault::NoCurves);
    let provider = format!("unix:{}", path.display());
    let (_, anchor) = enrol_at(&machine, &provider, None);
    let platform = open(&provider);
    let evidence = platform.attester.attest(&report_data(1)).unwrap();
    let claims = verified(&anchor, &evidence, &report_data(1));
    assert_eq!(claims.attributes["ak_algorithm"], "rsa2048");
    assert_eq!(claims.attributes["quote_signature"], "rsassa-sha256");
    let sealer = platform.sealer.unwrap();
    assert_eq!(*sealer.unseal(&sealer.seal(b"state").unwrap()).unwrap(), b"state");
}

#[test]
fn the_platforms_own_key_is_used_with_its_certificate() {
    let machine = Machine::new();
    let ak = machine.create_ak("platform", "rsa", "rsassa");
    machine.run(&[
        "tpm2_evictcontrol",
        "-Q",
        "-C",
        "o",
        "-c",
        "platform.ctx",
        "0x81000003",
    ]);
    machine.flush();
    // A key alone is anybody's.
    let own = platform(&machine).attester.attest(&report_data(1)).unwrap();
    let own = TpmEvidence::parse(&own.bytes).unwrap();
    assert_ne!(own.ak_public, ak);
    assert_eq!(own.ak_certificate, None);

    // An index larger than what is in it, which takes several commands to read.
    machine.run(&["tpm2_nvread", "0x1c00002", "-o", "certificate"]);
    let certificate = machine.read("certificate");
    machine.write("padded", &[certificate.as_slice(), &[0xff; 700]].concat());
    machine.define("0x1c101d0", "padded");
    let evidence = platform(&machine).attester.attest(&report_data(2)).unwrap();
    let read = TpmEvidence::parse(&evidence.bytes).unwrap();
    assert_eq!(read.ak_public, ak);
    assert_eq!(read.ak_certificate, Some(certificate));
    let anchor = TrustAnchor {
        role: AnchorRole::TpmAttestationKey,
        bytes: ak,
        origin: "who runs the platform".to_owned(),
    };
    let claims = verified(&anchor, &evidence, &report_data(2));
    assert_eq!(claims.device.scheme, "tpm-ak-name");
    assert_eq!(claims.attributes["quote_signature"], "rsassa-sha256");

    machine.run(&["tpm2_nvundefine", "-Q", "0x1c101d0"]);
    machine.write("none", &[0; 100]);
    machine.define("0x1c101d0", "none");
    let error = platform(&machine).attester.attest(&report_data(3)).unwrap_err();
    assert!(
        matches!(&error, AttestError::Malformed { what, .. } if what.contains("no whole certificate")),
        "{error}"
    );
}

/// What the attester says of a TPM that misbehaves, when it is asked for a second quote.
fn second(machine: &Machine, fault: Fault, challenges: [u8; 2]) -> (PathBuf, AttestError) {
    let path = machine.path().join(format!("{fault:?}{}", challenges[1]));
    proxy::listen(&path, machine.path().join("tpm"), fault);
    let platform = open(&format!("unix:{}", path.display()));
    let first = platform.attester.attest(&report_data(challenges[0]));
    if fault == Fault::Replay {
        first.unwrap();
    }
    let error = platform.attester.attest(&report_data(challenges[1])).unwrap_err();
    (path, error)
}

#[test]
fn a_tpm_that_misbehaves_is_refused_and_named() {
    let machine = Machine::new();
    let path = machine.path().join("proxy");
    proxy::listen(&path, machine.path().join("tpm"), Fault::None);
    let platform = open(&format!("unix:{}", path.display()));
    platform.attester.attest(&report_data(1)).unwrap();
    drop(platform);

    for fault in [Fault::AnothersReportData, Fault::Replay] {
        let (path, error) = second(&machine, fault, [1, 2]);
        let AttestError::WrongReportData {
            interface,
            expected,
            found,
        } = &error
        else {
            panic!("{fault:?}: {error}")
        };
        assert_eq!(*interface, path.display().to_string());
        assert_eq!(*expected, hex::encode(report_data(2).sha256()), "{fault:?}");
        assert_ne!(found, expected);
        if fault == Fault::Replay {
            assert_eq!(*found, hex::encode(report_data(1).sha256()));
        }
    }
    let (_, error) = second(&machine, Fault::Replay, [1, 1]);
    assert!(
        matches!(&error, AttestError::Stale { what, .. } if what.contains("gave before")),
        "{error}"
    );
    let (_, error) = second(&machine, Fault::Cut, [1, 2]);
    assert!(
        matches!(&error, AttestError::Malformed { what, .. } if what.contains("cut")),
        "{error}"
    );
    let (_, error) = second(&machine, Fault::Failure, [1, 2]);
    assert!(
        matches!(&error, AttestError::Refused { what, .. }
            if what.contains("TPM2_Quote") && what.contains("failure mode")),
        "{error}"
    );
}

#[test]
fn a_tpm_that_never_answers_is_given_up() {
    let machine = Machine::new();
    let path = machine.path().join("proxy");
    proxy::listen(&path, machine.path().join("tpm"), Fault::Never);
    let platform = open(&format!("unix:{}", path.display()));
    let error = platform.attester.attest(&report_data(1)).unwrap_err();
    assert!(
        matches!(&error, AttestError::NoAnswer { interface, .. } if *interface == path.display().to_string()),
        "{error}"
    );
}

#[test]
fn sealed_state_opens_on_its_own_tpm_alone() {
    let (mut machine, other) = (Machine::new(), Machine::new());
    let secret = vec![0x5e; 5000];
    let sealed = {
        let sealer = platform(&machine).sealer.unwrap();
        assert!(
            matches!(sealer.protection(), Protection::Tee { bound_to } if bound_to.contains("not the code"))
        );
        let sealed = sealer.seal(&secret).unwrap();
        assert_eq!(*sealer.unseal(&sealed).unwrap(), secret);
        assert_ne!(sealer.seal(&secret).unwrap(), sealed, "each has a key of its own");
        for changed in (0..sealed.len()).step_by(13) {
            let mut bytes = sealed.clone();
            bytes[changed] ^= 0x10;
            let error = sealer.unseal(&bytes).unwrap_err();
            assert!(
                matches!(error, SealError::NotOurs { .. }),
                "byte {changed}: {error}"
            );
        }
        for length in (0..sealed.len()).step_by(97) {
            let error = sealer.unseal(&sealed[..length]).unwrap_err();
            assert!(
                matches!(error, SealError::NotOurs { .. }),
                "cut to {length}: {error}"
            );
        }
        sealed
    };
    let error = platform(&other).sealer.unwrap().unseal(&sealed).unwrap_err();
    assert!(
        matches!(&error, SealError::NotOurs { what } if what.contains("another TPM")),
        "{error}"
    );
    // What boots next does not matter, nor does a restart.
    machine.extend(7, 7);
    machine.restart_over_tcp();
    machine.extend_by(4, 9);
    assert_eq!(
        *platform(&machine).sealer.unwrap().unseal(&sealed).unwrap(),
        secret
    );
    // Clearing the TPM takes the state with it.
    machine.clear();
    let error = platform(&machine).sealer.unwrap().unseal(&sealed).unwrap_err();
    assert!(matches!(error, SealError::NotOurs { .. }), "{error}");
}

#[test]
fn the_counter_only_grows_even_when_it_is_taken_away() {
    let mut machine = Machine::new();
    let sealer = platform(&machine).sealer.unwrap();
    let counter = sealer.counter().unwrap();
    let first = counter.advance().unwrap();
    let old = sealer.seal(&first.to_be_bytes()).unwrap();
    assert_eq!(counter.read().unwrap(), first);
    let second = counter.advance().unwrap();
    assert_eq!(second, first + 1);
    // An old copy opens, for it is ours, and says that it is old.
    let opened = sealer.unseal(&old).unwrap();
    assert!(u64::from_be_bytes(opened.as_slice().try_into().unwrap()) < counter.read().unwrap());
    drop(sealer);

    machine.run(&["tpm2_nvundefine", "-Q", "0x1804e54"]);
    let sealer = platform(&machine).sealer.unwrap();
    let anew = sealer.counter().unwrap().read().unwrap();
    assert!(anew > second, "{anew} is not above {second}");
    drop(sealer);

    machine.restart_over_tcp();
    let sealer = platform(&machine).sealer.unwrap();
    assert_eq!(sealer.counter().unwrap().read().unwrap(), anew);
    assert_eq!(sealer.counter().unwrap().advance().unwrap(), anew + 1);
}

#[test]
fn an_index_that_is_no_counter_of_ours_is_refused() {
    let machine = Machine::new();
    machine.run(&[
        "tpm2_nvdefine",
        "-Q",
        "0x1804e54",
        "-s",
        "8",
        "-a",
        "authread|authwrite",
    ]);
    let sealer = platform(&machine).sealer.unwrap();
    for error in [
        sealer.counter().unwrap().read().unwrap_err(),
        sealer.counter().unwrap().advance().unwrap_err(),
    ] {
        assert!(
            matches!(&error, SealError::Tee { what, .. } if what.contains("tpm2_nvundefine 0x1804e54")),
            "{error}"
        );
    }
}

#[test]
fn an_owner_with_a_password_is_told_what_to_do() {
    let machine = Machine::new();
    machine.run(&["tpm2_changeauth", "-c", "o", "secret"]);
    machine.run(&["tpm2_changeauth", "-c", "e", "secret"]);
    let platform = platform(&machine);
    let error = platform.attester.attest(&report_data(1)).unwrap_err();
    assert!(
        matches!(&error, AttestError::Refused { what, .. } if what.contains("tpm2_changeauth")),
        "{error}"
    );
    let error = platform.sealer.unwrap().seal(b"state").unwrap_err();
    assert!(
        matches!(&error, SealError::Tee { what, .. } if what.contains("tpm2_changeauth")),
        "{error}"
    );
}
