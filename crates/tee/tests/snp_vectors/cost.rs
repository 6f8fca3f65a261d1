//! How many signatures a report costs: docs/tee/sev.md, "What it costs".

use nautilus_core::{Endorsements, RawClaims, TeeKind, TeeVerifier as _, VerifyError};
use nautilus_tee::sev_snp::Verifier;
use nautilus_tee::signatures_verified;

use super::corpus::Vector;
use super::fake::{Chip, FakeAmd, NOW, Product, authority, ca, endorsements, list, root, vcek_spec};

const DAY: u64 = 86_400;
/// The most that any report may cost.
const BOUND: u64 = 32;

fn cost(verifier: &Verifier, report: &[u8], brought: &Endorsements) -> (Result<RawClaims, VerifyError>, u64) {
    let before = signatures_verified();
    let verdict = verifier.verify(report, brought, NOW);
    (verdict, signatures_verified() - before)
}

fn verifier(amd: &FakeAmd) -> Verifier {
    Verifier::with_roots(vec![root(amd, vec![amd.ask.der.clone()])], TeeKind::Simulated)
}

#[test]
fn a_report_costs_what_is_documented() {
    let amd = FakeAmd::new(Product::Milan);
    let (first, second) = (Chip::milan(), Chip::milan().with(0x1a0, &[0x77; 8]));
    let (first_key, second_key) = (amd.vcek(&first), amd.vcek(&second));
    let verifier = verifier(&amd);
    let spent = |report: &[u8], brought: &Endorsements| {
        let (verdict, cost) = cost(&verifier, report, brought);
        assert!(verdict.is_ok(), "{verdict:?}");
        cost
    };
    let alone = endorsements(&[&first_key], &[]);
    assert_eq!(spent(&first.report, &alone), 3, "authority, key, report");
    assert_eq!(spent(&first.report, &alone), 1, "the report");
    let other = endorsements(&[&second_key], &[]);
    assert_eq!(spent(&second.report, &other), 2, "key, report");
    let list = amd.list(&[]);
    let listed = endorsements(&[&first_key], &[&list]);
    assert_eq!(spent(&first.report, &listed), 3, "key, list, report");
    assert_eq!(spent(&first.report, &listed), 1, "the report");
    let both = endorsements(&[&second_key], &[&list]);
    assert_eq!(spent(&second.report, &both), 2, "key, report; the list is known");
}

#[test]
fn real_reports_cost_the_same() {
    let vector = Vector::load("milan-v3-vcek");
    let verifier = Verifier::amd();
    let spent = || {
        let before = signatures_verified();
        assert!(
            verifier
                .verify(&vector.report, &vector.endorsements(), vector.now())
                .is_ok()
        );
        signatures_verified() - before
    };
    assert_eq!([spent(), spent()], [3, 1]);
}

/// Certificates that all pretend to fit, authorities that all pretend to have signed them, and lists.
#[test]
fn piles_of_certificates_cost_no_more_than_the_bound() {
    let (amd, chip) = (FakeAmd::new(Product::Milan), Chip::milan());
    let forger = authority("asvk", &ca("ARK-Milan", "SEV-Milan", 9), None);
    let forged = |number: u64| {
        let mut spec = vcek_spec(&chip);
        spec.until -= number;
        amd.sign_with(&forger.key, &spec, &chip)
    };
    let keys: Vec<Vec<u8>> = (0..200).map(forged).collect();
    let authorities: Vec<Vec<u8>> = (0..12)
        .map(|serial| authority("asvk", &ca("ARK-Milan", "SEV-Milan", serial), None).der)
        .collect();
    let lists: Vec<Vec<u8>> = (0..8)
        .map(|day| {
            list(
                &amd.ark.key,
                "ARK-Milan",
                &[],
                NOW.as_secs() - DAY,
                NOW.as_secs() + DAY + day,
            )
        })
        .collect();
    let slices = |documents: &[Vec<u8>], count: usize| -> Vec<Vec<u8>> {
        documents.iter().take(count).cloned().collect()
    };
    for (keys_brought, authorities_brought) in [(20, 12), (32, 0), (200, 12)] {
        let brought = [
            slices(&keys, keys_brought),
            slices(&authorities, authorities_brought),
        ]
        .concat();
        let brought: Vec<&[u8]> = brought.iter().map(Vec::as_slice).collect();
        let lists: Vec<&[u8]> = lists.iter().map(Vec::as_slice).collect();
        let (verdict, spent) = cost(&verifier(&amd), &chip.report, &endorsements(&brought, &lists));
        assert!(spent <= BOUND, "{spent}");
        let Err(VerifyError::Untrusted { what }) = verdict else {
            panic!("{verdict:?}");
        };
        if authorities_brought > 0 {
            // What is remembered costs the budget as much: the built-in authority, in five of six attempts.
            assert_eq!(spent, BOUND - 5);
            assert!(what.contains("more than 32 signatures"), "{what}");
        } else {
            assert_eq!(spent, 1 + 8, "the authority once, and eight keys");
            assert!(what.contains("does not verify"), "{what}");
        }
    }
    // Once the genuine one is remembered, the same pile comes to the same verdict.
    let (genuine, warm) = (amd.vcek(&chip), verifier(&amd));
    let mut pile: Vec<&[u8]> = authorities.iter().map(Vec::as_slice).collect();
    pile.push(&genuine);
    assert!(cost(&warm, &chip.report, &endorsements(&pile, &[])).0.is_ok());
    for cut in 0..8 {
        let forged = keys.iter().take(cut).map(Vec::as_slice);
        let brought: Vec<&[u8]> = forged.chain(pile.iter().copied()).collect();
        let brought = endorsements(&brought, &[]);
        let cold = cost(&verifier(&amd), &chip.report, &brought).0;
        assert_eq!(cold.is_ok(), cut < 5, "{cut}: {cold:?}");
        for _ in 0..2 {
            assert_eq!(cost(&warm, &chip.report, &brought).0, cold, "{cut}");
        }
    }
    // The genuine one among those that are tried still counts.
    let genuine = amd.vcek(&chip);
    let mut brought = slices(&keys, 3);
    brought.push(genuine);
    let brought: Vec<&[u8]> = brought.iter().map(Vec::as_slice).collect();
    let (verdict, spent) = cost(&verifier(&amd), &chip.report, &endorsements(&brought, &[]));
    assert!(verdict.is_ok(), "{verdict:?}");
    assert_eq!(spent, 1 + 4 + 1, "the authority, four keys, the report");
}
