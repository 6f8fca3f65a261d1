//! Chains that are not what AMD makes.

use nautilus_core::{UnixMillis, VerifyError};

use super::corpus::{Vector, says};
use super::fake::{
    Chip, FakeAmd, NOW, PSS_NO_TRAILER, Product, amd_extension, authority, ca, ca_without, certificate,
    endorsements, extension, integer, pkcs1_sha384, tlv, vcek_spec, vlek_spec,
};

#[test]
fn the_fake_amd_signs_what_verifies() {
    for (chip, scheme) in [
        (Chip::milan(), "amd-chip-id"),
        (Chip::turin(), "amd-chip-id"),
        (Chip::of_provider(), "amd-csp"),
    ] {
        let amd = FakeAmd::new(chip.product);
        let vek = if scheme == "amd-csp" {
            amd.vlek(&chip)
        } else {
            amd.vcek(&chip)
        };
        let claims = amd
            .verify(&chip.report, &endorsements(&[&vek], &[]), NOW)
            .unwrap();
        assert_eq!(claims.device.scheme, scheme);
        assert_eq!(claims.attributes["product"], chip.product.as_str());
    }
}

#[test]
fn what_the_fake_amd_signs_is_nothing_to_amds_root() {
    use nautilus_core::TeeVerifier as _;
    let (amd, chip) = (FakeAmd::new(Product::Milan), Chip::milan());
    let brought = endorsements(&[&amd.vcek(&chip), &amd.ask.der, &amd.ark.der], &[]);
    let error = nautilus_tee::sev_snp::Verifier::amd()
        .verify(&chip.report, &brought, NOW)
        .unwrap_err();
    assert!(matches!(error, VerifyError::Untrusted { .. }), "{error:?}");
    says(
        &error,
        &["VCEK of Milan from certificate 0 has a signature that does not verify with SEV-Milan"],
    );
}

#[test]
fn authorities_may_come_along() {
    let (amd, chip) = (FakeAmd::new(Product::Milan), Chip::milan());
    let vek = amd.vcek(&chip);
    let claims = amd.verify_by_root(
        &chip.report,
        &endorsements(&[&amd.ask.der, &vek, &amd.ark.der], &[]),
        NOW,
    );
    assert_eq!(claims.unwrap().device.family.as_deref(), Some("Milan"));
    let error = amd
        .verify_by_root(&chip.report, &endorsements(&[&vek], &[]), NOW)
        .unwrap_err();
    assert!(matches!(error, VerifyError::Untrusted { .. }), "{error:?}");
    says(
        &error,
        &["names SEV-Milan as its issuer, whose certificate did not come along"],
    );
}

/// The authority with its own key, certified by something else than the pinned root.
#[test]
fn an_authority_must_be_of_the_pinned_root() {
    let (amd, chip) = (FakeAmd::new(Product::Milan), Chip::milan());
    let vek = amd.vcek(&chip);
    let by = |spec, issuer| {
        let forged = authority("ask", &spec, issuer).der;
        let error = amd
            .verify_by_root(&chip.report, &endorsements(&[&vek, &forged], &[]), NOW)
            .unwrap_err();
        assert!(
            matches!(
                error,
                VerifyError::Untrusted { .. } | VerifyError::EndorsementNotCurrent { .. }
            ),
            "{error:?}"
        );
        error
    };
    let good = ca("ARK-Milan", "SEV-Milan", 2);
    let other = authority("other-ark", &ca("ARK-Milan", "ARK-Milan", 1), None);
    let unsigned = "SEV-Milan from certificate 1 has a signature that does not verify";
    says(&by(good.clone(), Some(&other.key)), &[unsigned]);
    says(&by(good.clone(), None), &[unsigned]);
    says(
        &by(ca("ARK-Genoa", "SEV-Milan", 2), Some(&amd.ark.key)),
        &["is not of the root of its product"],
    );
    says(
        &by(ca_without(0, "ARK-Milan", "SEV-Milan", 2), Some(&amd.ark.key)),
        &["is not that of an authority"],
    );
    says(
        &by(ca_without(1, "ARK-Milan", "SEV-Milan", 2), Some(&amd.ark.key)),
        &["is not for certifying"],
    );
    let mut critical = good.clone();
    critical
        .extensions
        .push(extension(&[0x55, 0x1d, 0x24], true, &[0x30, 0]));
    says(
        &by(critical, Some(&amd.ark.key)),
        &["critical extension 2.5.29.36"],
    );
    let mut twice = good.clone();
    twice.extensions.push(twice.extensions[0].clone());
    says(
        &by(twice, Some(&amd.ark.key)),
        &["has the extension 2.5.29.19 twice"],
    );
    let mut pkcs1 = good.clone();
    pkcs1.algorithm = pkcs1_sha384();
    says(
        &by(pkcs1, Some(&amd.ark.key)),
        &["is not signed with RSASSA-PSS, SHA-384 and a salt of 48 bytes"],
    );
    let mut expired = good;
    expired.until = NOW.as_secs() - 1;
    says(
        &by(expired, Some(&amd.ark.key)),
        &["SEV-Milan is valid from", "certificate 1"],
    );
}

#[test]
fn a_root_that_expired_or_has_another_name_vouches_for_nothing() {
    let chip = Chip::milan();
    let amd = FakeAmd::new(Product::Milan);
    let brought = endorsements(&[&amd.vcek(&chip)], &[]);
    let after = UnixMillis::from_secs(NOW.as_secs() + 1000 * 86_400);
    assert!(amd.verify(&chip.report, &brought, after).is_ok());
    let error = amd.verify(&chip.report, &brought, after.plus(1000)).unwrap_err();
    assert!(
        matches!(error, VerifyError::EndorsementNotCurrent { .. }),
        "{error:?}"
    );
    says(&error, &["the built-in roots", "ARK-Milan is valid"]);
}

#[test]
fn signature_parameters_are_those_of_amd_and_no_others() {
    let (amd, chip) = (FakeAmd::new(Product::Milan), Chip::milan());
    let verify = |algorithm: Vec<u8>| {
        let mut spec = vcek_spec(&chip);
        spec.algorithm = algorithm;
        amd.verify(&chip.report, &endorsements(&[&amd.vek(&chip, &spec)], &[]), NOW)
    };
    assert!(verify(hex::decode(PSS_NO_TRAILER).unwrap()).is_ok());
    let pss = |from: &str, to: &str| hex::decode(PSS_NO_TRAILER.replacen(from, to, 1)).unwrap();
    let refused = [
        pkcs1_sha384(),
        // Salt of 32 bytes; SHA-256 as hash; SHA-256 in the mask; no parameters at all.
        pss("a203020130", "a203020120"),
        pss("608648016503040202", "608648016503040201"),
        hex::decode("304106092a864886f70d01010a3034a00f300d06096086480165030402020500a11c301a06092a864886f70d010108300d06096086480165030402010500a203020130").unwrap(),
        hex::decode("300d06092a864886f70d01010a3000").unwrap(),
    ];
    for algorithm in refused {
        let error = verify(algorithm.clone()).unwrap_err();
        assert!(
            matches!(error, VerifyError::Untrusted { .. }),
            "{}: {error:?}",
            hex::encode(algorithm)
        );
        says(
            &error,
            &[
                "VCEK of Milan",
                "is not signed with RSASSA-PSS, SHA-384 and a salt of 48 bytes",
            ],
        );
    }
}

/// The algorithm outside of what is signed has to be the one inside.
#[test]
fn an_algorithm_changed_outside_of_the_signed_part_is_refused() {
    let (amd, chip) = (FakeAmd::new(Product::Milan), Chip::milan());
    let mut vek = amd.vcek(&chip);
    let salt = vek
        .windows(5)
        .rposition(|bytes| bytes == [0xa2, 3, 2, 1, 48])
        .unwrap();
    vek[salt + 4] = 32;
    let error = amd
        .verify(&chip.report, &endorsements(&[&vek], &[]), NOW)
        .unwrap_err();
    assert!(
        matches!(error, VerifyError::EndorsementInvalid { .. }),
        "{error:?}"
    );
    says(&error, &["is no X.509 certificate"]);
}

#[test]
fn every_part_of_the_tcb_has_to_match() {
    for (chip, names) in [
        (Chip::milan(), vec!["bootloader", "tee", "snp", "microcode"]),
        (
            Chip::turin(),
            vec!["fmc", "bootloader", "tee", "snp", "microcode"],
        ),
    ] {
        let amd = FakeAmd::new(chip.product);
        // The first two extensions are the structure's version and the product, the TCB follows in order.
        for (index, name) in names.iter().enumerate() {
            let mut spec = vcek_spec(&chip);
            let arc = if *name == "fmc" {
                9
            } else {
                [1, 2, 3, 8][index - (names.len() - 4)]
            };
            spec.extensions[2 + index] = amd_extension(&[3, arc], &integer(&[200]));
            let vek = amd.vek(&chip, &spec);
            let error = amd
                .verify(&chip.report, &endorsements(&[&vek], &[]), NOW)
                .unwrap_err();
            assert!(
                matches!(error, VerifyError::EndorsementInvalid { .. }),
                "{name}: {error:?}"
            );
            says(
                &error,
                &["is for another TCB", &format!("{name} 200, the report says")],
            );
            // Of the keys of one chip, the one of the reported TCB is used.
            let both = endorsements(&[&vek, &amd.vcek(&chip)], &[]);
            assert!(amd.verify(&chip.report, &both, NOW).is_ok(), "{name}");
        }
    }
}

#[test]
fn extensions_are_all_there_once_and_make_sense() {
    let (amd, chip) = (FakeAmd::new(Product::Milan), Chip::milan());
    let refused = |change: &dyn Fn(&mut Vec<Vec<u8>>), what: &str| {
        let mut spec = vcek_spec(&chip);
        change(&mut spec.extensions);
        let vek = amd.vek(&chip, &spec);
        let error = amd
            .verify(&chip.report, &endorsements(&[&vek], &[]), NOW)
            .unwrap_err();
        assert!(
            matches!(error, VerifyError::EndorsementInvalid { .. }),
            "{what}: {error:?}"
        );
        says(&error, &["certificate 0", what]);
    };
    let names = [
        "3704.1.1",
        "3704.1.2",
        "3704.1.3.1",
        "3704.1.3.2",
        "3704.1.3.3",
        "3704.1.3.8",
        "3704.1.4",
    ];
    for (index, name) in names.iter().enumerate() {
        refused(
            &|extensions| drop(extensions.remove(index)),
            &format!("lacks extension 1.3.6.1.4.1.{name}"),
        );
        refused(
            &|extensions| extensions.push(extensions[index].clone()),
            &format!("{name} twice"),
        );
        let path: Vec<u8> = name.split('.').skip(2).map(|arc| arc.parse().unwrap()).collect();
        let garbage = amd_extension(&path, &[0x0c, 1]);
        refused(&|extensions| extensions[index] = garbage.clone(), name);
    }
    let with = |added: Vec<u8>| move |extensions: &mut Vec<Vec<u8>>| extensions.push(added.clone());
    refused(
        &with(amd_extension(&[3, 4], &integer(&[1]))),
        "which Milan reserves",
    );
    refused(
        &with(amd_extension(&[3, 9], &integer(&[1]))),
        "which Milan reserves",
    );
    refused(
        &with(amd_extension(&[3, 10], &integer(&[0]))),
        "TCB extension 1.3.6.1.4.1.3704.1.3.10",
    );
    refused(
        &with(amd_extension(&[5], &tlv(0x16, b"CN=x"))),
        "names a provider",
    );
    refused(
        &with(extension(&[0x55, 0x1d, 0x24], true, &[0x30, 0])),
        "critical extension 2.5.29.36",
    );
    refused(
        &with(extension(&[0x55, 0x1d, 0x13], true, &[0x30, 3, 1, 1, 0xff])),
        "is one of an authority",
    );
    let product = amd_extension(&[2], &tlv(0x16, b"Genoa"));
    refused(
        &|extensions| extensions[1] = product.clone(),
        "of product \"Genoa\"",
    );
    let structure = amd_extension(&[1], &[2, 1, 2]);
    refused(
        &|extensions| extensions[0] = structure.clone(),
        "structure of version 2",
    );
    // AMD adds what it likes as long as it is not critical; a stepping belongs to the product's name.
    let mut spec = vcek_spec(&chip);
    spec.extensions[1] = amd_extension(&[2], &tlv(0x16, b"Milan-B1"));
    spec.extensions.push(amd_extension(&[3, 4], &integer(&[0])));
    spec.extensions
        .push(extension(&[0x55, 0x1d, 0x0e], false, &[4, 1, 7]));
    let claims = amd
        .verify(&chip.report, &endorsements(&[&amd.vek(&chip, &spec)], &[]), NOW)
        .unwrap();
    assert_eq!(claims.attributes["product_name"], "Milan-B1");
}

#[test]
fn a_chip_id_stands_bare_or_in_an_octet_string() {
    let (amd, chip) = (FakeAmd::new(Product::Milan), Chip::milan());
    let verify = |hwid: &[u8]| {
        let mut spec = vcek_spec(&chip);
        *spec.extensions.last_mut().unwrap() = amd_extension(&[4], hwid);
        amd.verify(&chip.report, &endorsements(&[&amd.vek(&chip, &spec)], &[]), NOW)
    };
    let hwid = &chip.report[0x1a0..0x1e0];
    let bare = verify(hwid).unwrap();
    assert_eq!(verify(&tlv(4, hwid)), Ok(bare));
    let mut other = hwid.to_vec();
    other[63] ^= 1;
    for wrong in [other.clone(), tlv(4, &other)] {
        says(&verify(&wrong).unwrap_err(), &["VCEK of Milan is of chip"]);
    }
    for broken in [&hwid[..63], &hwid[..8], &[]] {
        says(&verify(broken).unwrap_err(), &["no chip's name of 64 bytes"]);
    }
}

#[test]
fn a_vcek_is_no_vlek() {
    let amd = FakeAmd::new(Product::Milan);
    // A provider's report with a chip's key, and the other way round.
    let (provider, chip) = (Chip::of_provider(), Chip::milan());
    let vlek = amd.vlek(&provider);
    let of_chip = amd.vcek(&chip);
    let verify = |report: &[u8], vek: &[u8]| amd.verify(report, &endorsements(&[vek], &[]), NOW).unwrap_err();
    says(
        &verify(&provider.report, &of_chip),
        &["is that of a VCEK of Milan, the report is signed by a VLEK"],
    );
    says(
        &verify(&chip.report, &vlek),
        &["is that of a VLEK of Milan, the report is signed by a VCEK"],
    );
    // Each of the two is certified by its own authority only.
    let mut spec = vlek_spec(&provider);
    spec.issuer = "SEV-Milan".to_owned();
    says(
        &verify(&provider.report, &amd.vek(&provider, &spec)),
        &["is a VLEK by name, but of an issuer that makes none"],
    );
    let forged = amd.sign_with(&amd.ask.key, &vlek_spec(&provider), &provider);
    let error = verify(&provider.report, &forged);
    assert!(matches!(error, VerifyError::Untrusted { .. }), "{error:?}");
    says(&error, &["does not verify with SEV-VLEK-Milan"]);
    // A VLEK that names a chip.
    let mut spec = vlek_spec(&provider);
    spec.extensions.push(amd_extension(&[4], &[7; 64]));
    let named = amd.sign_with(&amd.asvk.key, &spec, &provider);
    says(
        &verify(&provider.report, &named),
        &["of a provider's key names a chip"],
    );
}

#[test]
fn the_key_has_to_be_on_p384() {
    let (amd, chip) = (FakeAmd::new(Product::Milan), Chip::milan());
    let verify = |spki: &[u8]| {
        let vek = certificate(&vcek_spec(&chip), spki, &amd.ask.key);
        let error = amd
            .verify(&chip.report, &endorsements(&[&vek], &[]), NOW)
            .unwrap_err();
        assert!(matches!(error, VerifyError::Untrusted { .. }), "{error:?}");
        error
    };
    let mut off = vec![4; 97];
    off[96] = 5;
    says(
        &verify(&super::fake::p384_spki(&off)),
        &["a point that is not on P-384"],
    );
    says(
        &verify(&super::fake::p384_spki(&[2; 49])),
        &["an uncompressed point"],
    );
    let p256 = hex::decode("301306072a8648ce3d020106082a8648ce3d030107").unwrap();
    let spki = tlv(0x30, &[p256, tlv(3, &[0, 4, 5])].concat());
    says(&verify(&spki), &["does not certify a key on P-384"]);
}

#[test]
fn another_key_of_the_same_chip_did_not_sign() {
    let (amd, chip, twin) = (FakeAmd::new(Product::Milan), Chip::milan(), Chip::milan());
    let error = amd
        .verify(&chip.report, &endorsements(&[&amd.vcek(&twin)], &[]), NOW)
        .unwrap_err();
    let expected = VerifyError::SignatureInvalid {
        what: "report, by the VCEK of Milan from certificate 0".to_owned(),
    };
    assert_eq!(error, expected);
    // A renewed certificate of the key that did is found beside it.
    let both = endorsements(&[&amd.vcek(&twin), &amd.vcek(&chip)], &[]);
    assert!(amd.verify(&chip.report, &both, NOW).is_ok());
}

#[test]
fn an_expired_key_gives_way_to_a_renewed_one() {
    let (amd, chip) = (FakeAmd::new(Product::Milan), Chip::milan());
    let mut spec = vcek_spec(&chip);
    spec.until = NOW.as_secs() - 1;
    let expired = amd.vek(&chip, &spec);
    let error = amd
        .verify(&chip.report, &endorsements(&[&expired], &[]), NOW)
        .unwrap_err();
    assert!(
        matches!(error, VerifyError::EndorsementNotCurrent { .. }),
        "{error:?}"
    );
    assert!(
        amd.verify(
            &chip.report,
            &endorsements(&[&expired, &amd.vcek(&chip)], &[]),
            NOW
        )
        .is_ok()
    );
}

#[test]
fn every_cut_of_a_certificate_is_refused() {
    let (amd, chip) = (FakeAmd::new(Product::Milan), Chip::milan());
    let vek = amd.vcek(&chip);
    for cut in 0..vek.len() {
        let error = amd
            .verify(&chip.report, &endorsements(&[&vek[..cut]], &[]), NOW)
            .unwrap_err();
        assert!(
            matches!(error, VerifyError::EndorsementInvalid { .. }),
            "cut to {cut}: {error:?}"
        );
    }
    let longer = [vek.as_slice(), &[0]].concat();
    let error = amd
        .verify(&chip.report, &endorsements(&[&longer], &[]), NOW)
        .unwrap_err();
    says(&error, &["is no X.509 certificate"]);
}

#[test]
fn every_flip_of_a_real_endorsement_key_is_refused() {
    use nautilus_core::TeeVerifier as _;
    let vector = Vector::load("genoa-v3-vcek");
    let verifier = nautilus_tee::sev_snp::Verifier::amd();
    let verify = |vek: &[u8]| {
        verifier.verify(
            &vector.report,
            &super::corpus::certificates(&[("vek", vek)]),
            vector.now(),
        )
    };
    assert!(verify(&vector.vek).is_ok());
    let mut vek = vector.vek.clone();
    for offset in 0..vek.len() {
        let bit = 1 << (offset % 8);
        vek[offset] ^= bit;
        assert!(verify(&vek).is_err(), "flip of {bit:#x} at {offset} accepted");
        vek[offset] ^= bit;
    }
}
