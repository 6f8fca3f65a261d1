//! Revocation lists of the root.

use nautilus_core::{Revocation, UnixMillis, VerifyError};

use super::corpus::says;
use super::fake::{
    Chip, FakeAmd, NOW, Product, authority, ca, endorsements, entries, extension, list, list_with, vcek_spec,
};

const DAY: u64 = 86_400;

fn at(days: i64) -> u64 {
    NOW.as_secs().checked_add_signed(days * 86_400).unwrap()
}

#[test]
fn a_current_list_is_held_against_the_chain() {
    let (amd, chip) = (FakeAmd::new(Product::Milan), Chip::milan());
    let vek = amd.vcek(&chip);
    let claims = amd
        .verify(&chip.report, &endorsements(&[&vek], &[&amd.list(&[])]), NOW)
        .unwrap();
    let until = Some(UnixMillis::from_secs(NOW.as_secs() + DAY));
    assert_eq!(claims.revocation, Revocation::Checked { until });
    assert_eq!(claims.endorsed_until, until);
    let none = amd
        .verify(&chip.report, &endorsements(&[&vek], &[]), NOW)
        .unwrap();
    let Revocation::Unchecked { because } = none.revocation else {
        panic!("{:?}", none.revocation);
    };
    assert_eq!(
        because,
        "no revocation list of ARK-Milan came along; AMD publishes it at https://kdsintf.amd.com/vcek/v1/Milan/crl"
    );
}

#[test]
fn what_a_list_names_is_not_trusted() {
    let (amd, chip) = (FakeAmd::new(Product::Milan), Chip::milan());
    let mut spec = vcek_spec(&chip);
    spec.serial = vec![0x5a, 0x01];
    let vek = amd.vek(&chip, &spec);
    for (serial, who) in [
        (
            &[1][..],
            "ARK-Milan, serial number 0x01, is revoked by the list from list 0",
        ),
        (&[2], "SEV-Milan, serial number 0x02, is revoked"),
        (&[0x5a, 0x01], "VCEK of Milan, serial number 0x5a01, is revoked"),
    ] {
        let error = amd
            .verify(
                &chip.report,
                &endorsements(&[&vek], &[&amd.list(&[&[9], serial])]),
                NOW,
            )
            .unwrap_err();
        assert!(matches!(error, VerifyError::Untrusted { .. }), "{error:?}");
        says(&error, &[who]);
        // Another list that does not name it does not help.
        let lists = [amd.list(&[]), amd.list(&[serial])];
        let error = amd
            .verify(&chip.report, &endorsements(&[&vek], &[&lists[0], &lists[1]]), NOW)
            .unwrap_err();
        says(&error, &["is revoked by the list from list 1"]);
    }
    // The authority of VLEKs is none of a VCEK's.
    assert!(
        amd.verify(&chip.report, &endorsements(&[&vek], &[&amd.list(&[&[3]])]), NOW)
            .is_ok()
    );
}

#[test]
fn a_revoked_authority_of_vleks_is_not_trusted() {
    let (amd, chip) = (FakeAmd::new(Product::Milan), Chip::of_provider());
    let vlek = amd.vlek(&chip);
    let error = amd
        .verify(&chip.report, &endorsements(&[&vlek], &[&amd.list(&[&[3]])]), NOW)
        .unwrap_err();
    says(&error, &["SEV-VLEK-Milan, serial number 0x03, is revoked"]);
}

#[test]
fn a_list_that_is_not_current_is_refused_by_name() {
    let (amd, chip) = (FakeAmd::new(Product::Milan), Chip::milan());
    let vek = amd.vcek(&chip);
    let of = |from: i64, until: i64| list(&amd.ark.key, "ARK-Milan", &[], at(from), at(until));
    for stale in [of(-20, -10), of(10, 20)] {
        let error = amd
            .verify(&chip.report, &endorsements(&[&vek], &[&stale]), NOW)
            .unwrap_err();
        assert!(
            matches!(&error, VerifyError::EndorsementNotCurrent { origin, .. } if origin == "list 0"),
            "{error:?}"
        );
        says(&error, &["revocation list of ARK-Milan is valid from"]);
        // A current one beside it serves.
        assert!(
            amd.verify(&chip.report, &endorsements(&[&vek], &[&stale, &of(-1, 1)]), NOW)
                .is_ok()
        );
        // What a stale one names is revoked all the same.
        let named = list(&amd.ark.key, "ARK-Milan", &[&[2]], at(-20), at(-10));
        let error = amd
            .verify(&chip.report, &endorsements(&[&vek], &[&named, &of(-1, 1)]), NOW)
            .unwrap_err();
        says(&error, &["SEV-Milan", "is revoked"]);
    }
    let last = UnixMillis::from_secs(at(1)).plus(999);
    let current = of(-1, 1);
    let verify = |now: UnixMillis| amd.verify(&chip.report, &endorsements(&[&vek], &[&current]), now);
    assert!(verify(last).is_ok());
    assert!(matches!(
        verify(last.plus(1)),
        Err(VerifyError::EndorsementNotCurrent { .. })
    ));
}

/// Of several current lists the one that is current for longest counts, also when it becomes current between
/// two verifications.
#[test]
fn the_newest_of_several_lists_counts() {
    let (amd, chip) = (FakeAmd::new(Product::Milan), Chip::milan());
    let vek = amd.vcek(&chip);
    let of = |from: i64, until: i64| list(&amd.ark.key, "ARK-Milan", &[], at(from), at(until));
    let (old, new) = (of(-5, 5), of(1, 10));
    let brought = endorsements(&[&vek], &[&new, &old]);
    let until = |day: i64| {
        amd.verify(&chip.report, &brought, UnixMillis::from_secs(at(day)))
            .unwrap()
            .revocation
    };
    let checked = |day: i64| Revocation::Checked {
        until: Some(UnixMillis::from_secs(at(day))),
    };
    for (day, expected) in [(0, 5), (2, 10), (0, 5), (7, 10), (1, 10), (-4, 5)] {
        assert_eq!(until(day), checked(expected), "day {day}");
    }
}

#[test]
fn a_list_that_the_root_did_not_sign_is_refused_if_it_claims_to_be_of_it() {
    let (amd, chip) = (FakeAmd::new(Product::Milan), Chip::milan());
    let vek = amd.vcek(&chip);
    let other = authority("other-ark", &ca("ARK-Milan", "ARK-Milan", 1), None);
    let refused = |list: &[u8], what: &str| {
        let error = amd
            .verify(&chip.report, &endorsements(&[&vek], &[&amd.list(&[]), list]), NOW)
            .unwrap_err();
        assert!(
            matches!(&error, VerifyError::EndorsementInvalid { origin, .. } if origin == "list 1"),
            "{error:?}"
        );
        says(&error, &[what]);
    };
    let unsigned = "revocation list of ARK-Milan has a signature that does not verify";
    refused(&list(&other.key, "ARK-Milan", &[], at(-1), at(1)), unsigned);
    refused(&list(&amd.ask.key, "ARK-Milan", &[], at(-1), at(1)), unsigned);
    let mut flipped = amd.list(&[&[9]]);
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    refused(&flipped, unsigned);
    let list = amd.list(&[]);
    for cut in [0, 1, 20, list.len() - 1] {
        refused(&list[..cut], "is no revocation list");
    }
}

/// Lists of others come along for other evidence.
#[test]
fn a_list_of_another_root_says_nothing_here() {
    let (amd, chip) = (FakeAmd::new(Product::Milan), Chip::milan());
    let vek = amd.vcek(&chip);
    let genoa = list(&amd.ark.key, "ARK-Genoa", &[&[2]], at(-1), at(1));
    let claims = amd
        .verify(&chip.report, &endorsements(&[&vek], &[&genoa]), NOW)
        .unwrap();
    assert!(
        matches!(claims.revocation, Revocation::Unchecked { .. }),
        "{:?}",
        claims.revocation
    );
}

#[test]
fn a_list_that_means_more_than_is_understood_is_refused() {
    let (amd, chip) = (FakeAmd::new(Product::Milan), Chip::milan());
    let vek = amd.vcek(&chip);
    let refused = |list: &[u8], what: &str| {
        let error = amd
            .verify(&chip.report, &endorsements(&[&vek], &[list]), NOW)
            .unwrap_err();
        assert!(
            matches!(error, VerifyError::EndorsementInvalid { .. }),
            "{error:?}"
        );
        says(&error, &["revocation list of ARK-Milan", what]);
    };
    let make = |entries: &[u8], until: Option<u64>, extensions: &[Vec<u8>]| {
        list_with(&amd.ark.key, "ARK-Milan", entries, until, at(-1), extensions)
    };
    let soon = Some(at(1));
    // issuingDistributionPoint, deltaCRLIndicator; certificateIssuer of an entry.
    let point = extension(&[0x55, 0x1d, 0x1c], true, &[0x30, 0]);
    refused(&make(&[], soon, &[point]), "critical extension 2.5.29.28");
    let delta = extension(&[0x55, 0x1d, 0x1b], true, &[2, 1, 1]);
    refused(&make(&[], soon, &[delta]), "critical extension 2.5.29.27");
    let issuer = super::fake::tlv(0x30, &extension(&[0x55, 0x1d, 0x1d], true, &[0x30, 0]));
    refused(
        &make(&entries(&[&[9]], &issuer), soon, &[]),
        "critical extension 2.5.29.29",
    );
    let number = extension(&[0x55, 0x1d, 0x14], false, &[2, 1, 5]);
    refused(&make(&[], soon, &[number]), "has the extension 2.5.29.20 twice");
    refused(&make(&[], None, &[]), "does not say when the next one comes");
    let reason = super::fake::tlv(0x30, &extension(&[0x55, 0x1d, 0x15], false, &[0x0a, 1, 1]));
    let list = make(&entries(&[&[9]], &reason), soon, &[]);
    assert!(
        amd.verify(&chip.report, &endorsements(&[&vek], &[&list]), NOW)
            .is_ok()
    );
}
