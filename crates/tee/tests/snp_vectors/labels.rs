//! What real reports say, against their labels.

use nautilus_core::{
    EndorsementKind, Endorsements, Revocation, TeeKind, TeeVerifier, UnixMillis, VerifyError,
};
use nautilus_tee::sev_snp::{Verifier, parse_report, recognises};

use super::corpus::{Vector, all, certificates, read, says};

#[test]
fn every_report_verifies_and_says_what_its_label_says() {
    let shared = Verifier::amd();
    for vector in all() {
        let (name, meta) = (&vector.name, &vector.meta);
        let claims = vector
            .verify(&vector.report)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let text = |field: &str| meta[field].as_str().unwrap().to_owned();
        let attribute = |attribute: &str| claims.attributes[attribute].clone();
        assert_eq!(hex::encode(&claims.report_data), text("report_data"), "{name}");
        assert_eq!(
            claims.measurements["measurement"].to_string(),
            text("measurement"),
            "{name}"
        );
        assert_eq!(attribute("report_version"), meta["version"].to_string(), "{name}");
        assert_eq!(attribute("vmpl"), meta["vmpl"].to_string(), "{name}");
        assert_eq!(
            attribute("signing_key"),
            text("signing_key").to_lowercase(),
            "{name}"
        );
        assert_eq!(attribute("reported_tcb"), text("reported_tcb"), "{name}");
        let policy = u64::from_str_radix(text("policy").trim_start_matches("0x"), 16).unwrap();
        assert_eq!(attribute("policy"), format!("{policy:#018x}"), "{name}");
        assert_eq!(claims.debug, policy & (1 << 19) != 0, "{name}");
        assert_eq!(
            attribute("policy_debug_allowed"),
            claims.debug.to_string(),
            "{name}"
        );
        assert_eq!(claims.debug, *name == "milan-v2-debug-policy", "{name}");
        let cpuid: Vec<String> = hex::decode(text("cpuid_fms"))
            .unwrap()
            .iter()
            .map(u8::to_string)
            .collect();
        let fields = ["cpuid_family", "cpuid_model", "cpuid_stepping"];
        let found: Vec<_> = fields
            .iter()
            .filter_map(|field| claims.attributes.get(*field))
            .collect();
        let expected: Vec<_> = if meta["version"] == 2 {
            Vec::new()
        } else {
            cpuid.iter().collect()
        };
        assert_eq!(found, expected, "{name}");
        let family = claims.device.family.clone().unwrap();
        assert_eq!(family.to_lowercase(), name.split('-').next().unwrap(), "{name}");
        assert!(
            matches!(claims.revocation, Revocation::Unchecked { .. }),
            "{name}"
        );
        assert!(claims.endorsed_until.unwrap() > vector.now(), "{name}");
        assert!(recognises(&vector.report), "{name}");
        // What is remembered gives the same answer as what is worked out.
        for _ in 0..2 {
            let warm = shared.verify(&vector.report, &vector.endorsements(), vector.now());
            assert_eq!(warm.as_ref(), Ok(&claims), "{name}");
        }
    }
}

#[test]
fn a_turin_report_says_what_its_bytes_say() {
    let claims = Vector::load("turin-v5-vcek")
        .verify(&Vector::load("turin-v5-vcek").report)
        .unwrap();
    let expected = [
        ("reported_tcb_fmc", "1"),
        ("reported_tcb_bootloader", "1"),
        ("reported_tcb_tee", "1"),
        ("reported_tcb_snp", "4"),
        ("reported_tcb_microcode", "81"),
        ("current_version", "1.55.65"),
        ("committed_abi_minor", "55"),
        ("committed_build", "65"),
        ("launch_mit_vector", "0x000000000000003f"),
        ("current_mit_vector", "0x000000000000003f"),
        ("platform_info", "0x0000000000000065"),
        ("platform_smt_enabled", "true"),
        ("platform_tsme_enabled", "false"),
        ("platform_alias_check_complete", "true"),
        ("platform_tio_enabled", "false"),
        ("policy_abi_minor", "31"),
        ("policy_smt_allowed", "true"),
        ("policy_migrate_ma_allowed", "false"),
        ("product_name", "Turin"),
        ("guest_svn", "2"),
    ];
    for (name, value) in expected {
        assert_eq!(claims.attributes[name], value, "{name}");
    }
    assert_eq!(claims.device.scheme, "amd-chip-id");
    assert_eq!(claims.device.id, "59790fb1c39f35c1");
    assert!(
        claims.measurements["host_data"]
            .to_string()
            .starts_with("b3452a0ed30f1010")
    );
    assert!(
        claims.measurements["id_key_digest"]
            .to_string()
            .starts_with("4068e9ae4b315aa4")
    );
}

#[test]
fn a_vlek_report_names_the_provider_and_no_chip() {
    let vector = Vector::load("milan-v3-vlek-vmpl1");
    let claims = vector.verify(&vector.report).unwrap();
    assert_eq!(claims.device.scheme, "amd-csp");
    assert_eq!(claims.device.id, hex::encode("CN=cc-us-east-2.amazonaws.com"));
    assert_eq!(claims.attributes["csp_id"], "CN=cc-us-east-2.amazonaws.com");
    assert_eq!(claims.attributes["vmpl"], "1");
    // The host reports less than runs, which it may.
    assert_eq!(claims.attributes["reported_tcb_microcode"], "217");
    assert_eq!(claims.attributes["committed_tcb_microcode"], "219");
    assert_eq!(claims.attributes["current_tcb_microcode"], "220");
}

#[test]
fn wants_name_the_very_document() {
    let wants = |name: &str| Verifier::amd().wants(&Vector::load(name).report).unwrap();
    let milan = wants("milan-v3-azure");
    let kds = "https://kdsintf.amd.com";
    let hwid = "66a5a7b4403a3006ca734aa36a76dd3061d56f398e1e73b0be683ecd2eede9e70811c677abf8d9c9251b52baafbdc97b8121ec0c75661ffba636073b09fa563a";
    assert_eq!(milan[0].kind, EndorsementKind::Certificate);
    assert!(
        milan[0].subject.contains("Milan chip 66a5a7b4403a3006…"),
        "{}",
        milan[0].subject
    );
    assert_eq!(
        milan[0].urls,
        [
            format!("{kds}/vcek/v1/Milan/{hwid}?blSPL=04&teeSPL=00&snpSPL=24&ucodeSPL=219"),
            format!("{kds}/vcek/v1/Milan/cert_chain"),
        ]
    );
    assert_eq!(milan[1].kind, EndorsementKind::Crl);
    assert_eq!(milan[1].subject, "ARK-Milan");
    assert_eq!(milan[1].urls, [format!("{kds}/vcek/v1/Milan/crl")]);
    let turin = wants("turin-v5-vcek");
    assert_eq!(
        turin[0].urls[0],
        format!("{kds}/vcek/v1/Turin/59790fb1c39f35c1?blSPL=01&teeSPL=01&snpSPL=04&ucodeSPL=81&fmcSPL=01")
    );
    let vlek = wants("milan-v3-vlek-vmpl1");
    assert!(
        vlek[0].subject.contains("the provider hands it out"),
        "{}",
        vlek[0].subject
    );
    assert_eq!(vlek[0].urls, [format!("{kds}/vlek/v1/Milan/cert_chain")]);
    assert_eq!(vlek[1].urls, [format!("{kds}/vlek/v1/Milan/crl")]);
    // Version 2 does not say of which product it is.
    let old = wants("milan-v2-vcek");
    assert!(old[0].subject.contains("Milan or Genoa"), "{}", old[0].subject);
    assert_eq!(
        old[1].urls,
        [
            format!("{kds}/vcek/v1/Milan/crl"),
            format!("{kds}/vcek/v1/Genoa/crl")
        ]
    );
}

#[test]
fn without_its_endorsement_key_a_report_says_what_is_missing() {
    for vector in all() {
        let verifier = Verifier::amd();
        let error = verifier
            .verify(&vector.report, &Endorsements::default(), vector.now())
            .unwrap_err();
        let wants = vec![verifier.wants(&vector.report).unwrap()[0].clone()];
        assert_eq!(
            error,
            VerifyError::EndorsementsMissing { wants },
            "{}",
            vector.name
        );
    }
}

#[test]
fn the_endorsement_key_of_another_chip_is_refused_by_name() {
    let vector = Vector::load("milan-v3-azure");
    let verify = |name: &str| {
        let other = Vector::load(name).vek;
        Verifier::amd()
            .verify(&vector.report, &certificates(&[("theirs", &other)]), vector.now())
            .unwrap_err()
    };
    let invalid = |error: &VerifyError| matches!(error, VerifyError::EndorsementInvalid { origin, .. } if origin == "theirs");
    let chip = verify("milan-v3-azure-b");
    assert!(invalid(&chip), "{chip:?}");
    says(
        &chip,
        &[
            "VCEK of Milan is of chip 065afa73e5",
            "the report is of chip 66a5a7b4403a",
        ],
    );
    let product = verify("genoa-v3-vcek");
    assert!(invalid(&product), "{product:?}");
    says(&product, &["VCEK of Genoa", "the report is of Milan"]);
    let kind = verify("milan-v3-vlek-vmpl1");
    assert!(invalid(&kind), "{kind:?}");
    says(&kind, &["VLEK of Milan", "the report is signed by a VCEK"]);
}

#[test]
fn among_many_the_key_that_fits_is_found() {
    let vectors = all();
    let veks: Vec<(&str, &[u8])> = vectors
        .iter()
        .map(|vector| (vector.name.as_str(), vector.vek.as_slice()))
        .collect();
    let verifier = Verifier::amd();
    for vector in &vectors {
        let claims = verifier.verify(&vector.report, &certificates(&veks), vector.now());
        assert_eq!(claims, vector.verify(&vector.report), "{}", vector.name);
        // A store of others' keys lacks this one.
        let others: Vec<_> = veks
            .iter()
            .filter(|(_, vek)| *vek != vector.vek)
            .copied()
            .collect();
        let error = verifier
            .verify(&vector.report, &certificates(&others), vector.now())
            .unwrap_err();
        assert!(
            matches!(error, VerifyError::EndorsementsMissing { .. }),
            "{}: {error:?}",
            vector.name
        );
    }
}

#[test]
fn a_key_for_a_chip_that_made_no_report_is_refused() {
    let vector = Vector::load("milan-v2-vcek");
    for name in ["test-vcek-invalid-legacy.der", "test-vcek-invalid-new.der"] {
        let vek = read(&format!("negative-vcek/{name}"));
        let error = Verifier::amd()
            .verify(&vector.report, &certificates(&[(name, &vek)]), vector.now())
            .unwrap_err();
        assert!(
            matches!(&error, VerifyError::EndorsementInvalid { origin, .. } if origin == name),
            "{error:?}"
        );
        says(
            &error,
            &["is of chip 000102030405", "the report is of chip d49554ec"],
        );
    }
}

#[test]
fn a_report_that_claims_such_a_chip_needs_its_key_to_be_amds() {
    // The negative certificates name chip 00…3f. A report of that chip, TCB and product finds them fitting.
    let vector = Vector::load("milan-v2-vcek");
    let now = UnixMillis::from_secs(1_700_000_000);
    for (name, tcb) in [
        ("test-vcek-invalid-legacy.der", "0300000000000aa9"),
        ("test-vcek-invalid-new.der", "000000000000001e"),
    ] {
        let mut report = vector.report.clone();
        for (to, value) in report[0x1a0..0x1e0].iter_mut().zip(0..) {
            *to = value;
        }
        report[0x180..0x188].copy_from_slice(&hex::decode(tcb).unwrap());
        let vek = read(&format!("negative-vcek/{name}"));
        let error = Verifier::amd()
            .verify(&report, &certificates(&[(name, &vek)]), now)
            .unwrap_err();
        assert!(
            matches!(error, VerifyError::Untrusted { .. }),
            "{name}: {error:?}"
        );
        says(
            &error,
            &[name, "has a signature that does not verify with SEV-Milan"],
        );
    }
}

#[test]
fn a_chain_counts_only_in_its_time() {
    let vector = Vector::load("milan-v2-vcek");
    let verify = |secs: u64| {
        Verifier::amd().verify(
            &vector.report,
            &vector.endorsements(),
            UnixMillis::from_secs(secs),
        )
    };
    // 2023-04-03T19:23:43Z to 2030-04-03T19:23:43Z.
    let (from, until) = (1_680_549_823, 1_901_474_623);
    assert_eq!(
        verify(from).unwrap().endorsed_until,
        Some(UnixMillis::from_secs(until))
    );
    assert!(verify(until).is_ok());
    for secs in [from - 1, until + 1] {
        let error = verify(secs).unwrap_err();
        assert!(
            matches!(&error, VerifyError::EndorsementNotCurrent { origin, .. } if origin == "vek.der"),
            "{error:?}"
        );
        says(
            &error,
            &["VCEK of Milan", "2023-04-03T19:23:43", "2030-04-03T19:23:43"],
        );
    }
}

#[test]
fn what_is_remembered_holds_only_in_its_time() {
    let vector = Vector::load("milan-v2-vcek");
    let verifier = Verifier::amd();
    let verify = |now: UnixMillis| {
        verifier
            .clone()
            .verify(&vector.report, &vector.endorsements(), now)
    };
    assert!(verify(vector.now()).is_ok());
    let error = verify(UnixMillis::from_secs(1_901_474_624)).unwrap_err();
    assert!(
        matches!(error, VerifyError::EndorsementNotCurrent { .. }),
        "{error:?}"
    );
    assert!(verify(vector.now()).is_ok());
}

#[test]
fn a_certificate_without_a_report_is_read_all_the_same() {
    // A second Turin VCEK, of which no report is at hand: it fits none.
    let vek = read("turin-vcek-only/vcek_turin.der");
    let vector = Vector::load("turin-v5-vcek");
    let error = Verifier::amd()
        .verify(&vector.report, &certificates(&[("other", &vek)]), vector.now())
        .unwrap_err();
    says(
        &error,
        &[
            "VCEK of Turin is of chip 1e550a8ee5cf9f4d",
            "of chip 59790fb1c39f35c1",
        ],
    );
}

#[test]
fn another_vendors_verifier_speaks_for_its_own_tee() {
    assert_eq!(Verifier::amd().descriptor().tee, TeeKind::Sev);
    let fake = Verifier::with_roots(Vec::new(), TeeKind::Simulated);
    assert_eq!(fake.descriptor().tee, TeeKind::Simulated);
    let vector = Vector::load("milan-v3-vcek");
    let error = fake
        .verify(&vector.report, &vector.endorsements(), vector.now())
        .unwrap_err();
    assert!(matches!(error, VerifyError::Untrusted { .. }), "{error:?}");
    says(&error, &["VCEK of Milan has no root here"]);
    assert!(parse_report(&vector.report).is_ok());
}
