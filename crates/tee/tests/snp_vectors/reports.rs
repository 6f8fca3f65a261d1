//! Reports that real machines do not make, signed all the same.

use nautilus_core::{Endorsements, RawClaims, TeeVerifier as _, VerifyError};
use nautilus_tee::sev_snp::{Verifier, parse_report, recognises};

use super::corpus::{Vector, says};
use super::fake::{Chip, FakeAmd, NOW, Product, endorsements};

/// A Milan report with bytes changed, signed anew, with the VCEK that fits it.
fn changed(offset: usize, bytes: &[u8]) -> Result<RawClaims, VerifyError> {
    let amd = FakeAmd::new(Product::Milan);
    let chip = Chip::milan().with(offset, bytes);
    let vek = amd.vcek(&chip);
    amd.verify(&chip.report, &endorsements(&[&vek], &[]), NOW)
}

#[test]
fn versions_2_to_5_are_read_and_others_named() {
    for version in [3_u8, 4] {
        let claims = changed(0, &[version]).unwrap();
        assert_eq!(claims.attributes["report_version"], version.to_string());
        assert_eq!(claims.attributes["cpuid_family"], "25");
        assert!(!claims.attributes.contains_key("launch_mit_vector"));
    }
    assert_eq!(
        changed(0, &[5]).unwrap().attributes["launch_mit_vector"],
        "0x0000000000000000"
    );
    for version in [0_u8, 1, 6, 7, 15] {
        let error = changed(0, &[version]).unwrap_err();
        assert!(matches!(error, VerifyError::Unsupported { .. }), "{error:?}");
        says(
            &error,
            &[&format!(
                "SNP report of version {version}; versions 2 to 5 are known"
            )],
        );
    }
}

#[test]
fn version_2_has_no_cpu_and_takes_the_product_from_its_key() {
    // A report of version 2 with CPUID in it is no report of version 2.
    let error = changed(0, &[2]).unwrap_err();
    assert!(
        matches!(error, VerifyError::Malformed { offset: 0x188, .. }),
        "{error:?}"
    );
    let chip = Chip::like("milan-v2-vcek", Product::Genoa);
    let amd = FakeAmd::new(Product::Genoa);
    let claims = amd
        .verify(&chip.report, &endorsements(&[&amd.vcek(&chip)], &[]), NOW)
        .unwrap();
    assert_eq!(claims.attributes["product"], "Genoa");
    assert!(!claims.attributes.contains_key("cpuid_family"));
}

#[test]
fn the_cpu_and_the_key_have_to_be_of_one_product() {
    let (genoa, chip) = (
        FakeAmd::new(Product::Genoa),
        Chip::like("milan-v3-vcek", Product::Genoa),
    );
    let error = genoa
        .verify(&chip.report, &endorsements(&[&genoa.vcek(&chip)], &[]), NOW)
        .unwrap_err();
    assert!(
        matches!(error, VerifyError::EndorsementInvalid { .. }),
        "{error:?}"
    );
    says(&error, &["that of a VCEK of Genoa, the report is of Milan"]);
    for (cpu, what) in [
        ([0x19, 0x20, 0], "family 0x19 model 0x20"),
        ([0x1a, 0x50, 0], "family 0x1a model 0x50"),
    ] {
        let error = changed(0x188, &cpu).unwrap_err();
        assert!(matches!(error, VerifyError::Unsupported { .. }), "{error:?}");
        says(&error, &[what, "none of Milan, Genoa and Turin"]);
    }
}

#[test]
fn models_belong_to_their_products() {
    use nautilus_tee::sev_snp::{CpuId, Product};
    let product = |family, model| {
        Product::of_cpu(CpuId {
            family,
            model,
            stepping: 0,
        })
    };
    for (family, model, expected) in [
        (0x19, 0x00, Some(Product::Milan)),
        (0x19, 0x0f, Some(Product::Milan)),
        (0x19, 0x10, Some(Product::Genoa)),
        (0x19, 0x1f, Some(Product::Genoa)),
        (0x19, 0x20, None),
        (0x19, 0x9f, None),
        (0x19, 0xa0, Some(Product::Genoa)),
        (0x19, 0xaf, Some(Product::Genoa)),
        (0x19, 0xb0, None),
        (0x1a, 0x02, Some(Product::Turin)),
        (0x1a, 0x11, Some(Product::Turin)),
        (0x1a, 0x20, None),
        (0x17, 0x31, None),
    ] {
        assert_eq!(product(family, model), expected, "{family:#x} {model:#x}");
    }
}

#[test]
fn the_key_that_signed_is_a_known_one() {
    for (key, what) in [
        (2_u8, "signed by key 2"),
        (3, "signed by key 3"),
        (6, "signed by key 6"),
    ] {
        let error = changed(0x48, &[key << 2]).unwrap_err();
        assert!(matches!(error, VerifyError::Unsupported { .. }), "{error:?}");
        says(&error, &[what]);
    }
    let error = changed(0x48, &[7 << 2]).unwrap_err();
    assert!(matches!(error, VerifyError::AttributeInvalid { .. }), "{error:?}");
    says(&error, &["no key signed it"]);
    let error = changed(0x48, &[1 << 5]).unwrap_err();
    assert!(matches!(error, VerifyError::Unsupported { .. }), "{error:?}");
    says(&error, &["key info 0x20: bits above 4"]);
    assert_eq!(changed(0x48, &[1]).unwrap().attributes["author_key_en"], "true");
}

#[test]
fn a_masked_chip_needs_a_vlek() {
    let error = changed(0x1a0, &[0; 64]).unwrap_err();
    assert!(matches!(error, VerifyError::AttributeInvalid { .. }), "{error:?}");
    says(&error, &["masks the chip id (MASK_CHIP_ID)", "install a VLEK"]);
    let error = changed(0x48, &[2]).unwrap_err();
    assert!(matches!(error, VerifyError::AttributeInvalid { .. }), "{error:?}");
    says(&error, &["MASK_CHIP_KEY"]);
    let amd = FakeAmd::new(Product::Milan);
    let verify = |chip: &Chip| amd.verify(&chip.report, &endorsements(&[&amd.vlek(chip)], &[]), NOW);
    let masked = Chip::of_provider().with(0x48, &[4 | 2]);
    assert_eq!(verify(&masked).unwrap().attributes["mask_chip_key"], "true");
    // A chip id beside a masked key contradicts it; beside a VLEK alone it is a claim.
    let error = verify(&masked.with(0x1a0, &[9])).unwrap_err();
    says(
        &error,
        &["the chip's key is masked (MASK_CHIP_KEY), but its id is not"],
    );
    let named = verify(&Chip::of_provider().with(0x1a0, &[9])).unwrap();
    assert_eq!(named.device.scheme, "amd-csp");
    assert!(named.attributes["chip_id"].starts_with("0900"));
}

#[test]
fn only_the_one_algorithm_is_known() {
    let error = changed(0x34, &[2]).unwrap_err();
    assert!(matches!(error, VerifyError::Unsupported { .. }), "{error:?}");
    says(&error, &["signature algorithm 2"]);
}

#[test]
fn a_policy_says_nothing_unknown() {
    let policy = |policy: u64| changed(8, &policy.to_le_bytes());
    let error = policy(0x1_001f).unwrap_err();
    assert!(matches!(error, VerifyError::AttributeInvalid { .. }), "{error:?}");
    says(&error, &["guest policy 0x1001f has bit 17 clear"]);
    for bit in [26, 40, 63] {
        let error = policy(0x2_0000 | 1 << bit).unwrap_err();
        assert!(matches!(error, VerifyError::Unsupported { .. }), "{error:?}");
        says(&error, &["bits above 25 are unknown"]);
    }
    let claims = policy(0x3ff_0237).unwrap();
    assert!(claims.debug);
    for (name, value) in [
        ("policy_abi_major", "2"),
        ("policy_abi_minor", "55"),
        ("policy_smt_allowed", "true"),
        ("policy_migrate_ma_allowed", "true"),
        ("policy_debug_allowed", "true"),
        ("policy_single_socket_required", "true"),
        ("policy_cxl_allowed", "true"),
        ("policy_mem_aes_256_xts_required", "true"),
        ("policy_rapl_disabled", "true"),
        ("policy_ciphertext_hiding_required", "true"),
        ("policy_page_swap_disabled", "true"),
    ] {
        assert_eq!(claims.attributes[name], value, "{name}");
    }
    let claims = policy(0x2_0000).unwrap();
    assert!(!claims.debug);
    assert_eq!(claims.attributes["policy_page_swap_disabled"], "false");
}

#[test]
fn reserved_bytes_are_named_with_their_place() {
    for offset in [0x4c, 0x18b, 0x19f, 0x1eb, 0x1ef, 0x1f8, 0x207, 0x208, 0x29f] {
        let error = changed(offset, &[1]).unwrap_err();
        assert!(
            matches!(&error, VerifyError::Malformed { offset: at, what } if *at == offset && what == "reserved byte is not zero"),
            "{offset:#x}: {error:?}"
        );
    }
    for offset in [0x3a, 0x182, 0x1e5, 0x1f2] {
        let error = changed(offset, &[1]).unwrap_err();
        assert!(
            matches!(&error, VerifyError::Malformed { offset: at, what } if *at == offset && what.contains("_tcb of Milan")),
            "{offset:#x}: {error:?}"
        );
    }
}

#[test]
fn a_turin_chip_has_a_short_name() {
    let amd = FakeAmd::new(Product::Turin);
    let chip = Chip::turin().with(0x1a8, &[1]);
    let error = amd
        .verify(&chip.report, &endorsements(&[&amd.vcek(&chip)], &[]), NOW)
        .unwrap_err();
    assert!(
        matches!(error, VerifyError::Malformed { offset: 0x1a8, .. }),
        "{error:?}"
    );
    says(&error, &["chip id of Turin is longer than 8 bytes"]);
}

#[test]
fn a_refused_report_wants_nothing() {
    let report = Chip::milan().with(0x1a0, &[0; 64]).report;
    let error = Verifier::amd().wants(&report).unwrap_err();
    assert!(matches!(error, VerifyError::AttributeInvalid { .. }), "{error:?}");
    let verdict = Verifier::amd()
        .verify(&report, &Endorsements::default(), NOW)
        .unwrap_err();
    assert_eq!(verdict, error);
}

#[test]
fn only_what_has_the_form_is_recognised() {
    let report = Vector::load("genoa-v3-vcek").report;
    assert!(recognises(&report));
    assert!(recognises(&report[..0x38]));
    assert!(!recognises(&report[..0x37]));
    let with = |offset: usize, value: u8| {
        let mut report = report.clone();
        report[offset] = value;
        report
    };
    // A later version is recognised, to be refused by name. A TDX quote has its key type where this has
    // zeros.
    assert!(recognises(&with(0, 6)));
    assert!(!recognises(&with(2, 2)));
    assert!(!recognises(&with(0x34, 2)));
    assert!(recognises(b"HCLA"));
    assert!(!recognises(b""));
    assert!(parse_report(&report).is_ok());
}
