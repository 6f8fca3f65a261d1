use nautilus_core::{Assurance, BootId, EvidenceId, TeeKind, UnixMillis};

use super::*;
use crate::fixture::{START, TestNode, appraisal, genesis, submit};
use crate::state::tests::{after, ready, refused, started};
use crate::{AppraisalRecord, Genesis, Transaction};

/// The next window's submission after `change` was made to what is signed.
fn changed(
    node: &mut TestNode,
    start: UnixMillis,
    change: impl FnOnce(&mut nautilus_proof::Window),
) -> Transaction {
    let (mut window, _) = node.window(start);
    change(&mut window);
    submit(node.submission(node.statement(&window)))
}

#[test]
fn a_proof_needs_a_node_with_a_current_appraisal() {
    let mut state = started();
    let mut node = TestNode::new(1);
    let id = node.id();
    let proof = submit(node.settle(after(0)));
    assert_eq!(
        refused(&mut state, &proof, after(1)),
        LedgerError::NodeUnknown { node: id }
    );
    state.apply(&node.register(), START).unwrap();
    assert_eq!(
        refused(&mut state, &proof, after(1)),
        LedgerError::NotAppraised { node: id }
    );
    state.apply(&node.appraise(START), START).unwrap();
    let expiry = START.plus(24 * 60 * 60 * 1000);
    assert_eq!(
        refused(&mut state, &proof, expiry),
        LedgerError::AppraisalExpired { expired_at: expiry }
    );
    state.apply(&proof, after(1)).unwrap();
}

#[test]
fn a_proof_must_rest_on_the_current_evidence_and_its_boot() {
    let (mut state, mut node) = ready();
    let (evidence, boot) = (node.evidence, node.boot);
    let other = changed(&mut node, after(0), |window| {
        window.attestation_hash = EvidenceId([8; 32])
    });
    assert_eq!(
        refused(&mut state, &other, after(1)),
        LedgerError::AttestationMismatch {
            expected: evidence,
            found: EvidenceId([8; 32])
        }
    );
    let (_, mut node) = ready();
    let other = changed(&mut node, after(0), |window| window.boot = BootId([8; 16]));
    assert_eq!(
        refused(&mut state, &other, after(1)),
        LedgerError::BootMismatch {
            expected: boot,
            found: BootId([8; 16])
        }
    );
    let (_, mut node) = ready();
    let raised = changed(&mut node, after(0), |window| {
        window.assurance = Assurance::HardwareVm
    });
    assert_eq!(
        refused(&mut state, &raised, after(1)),
        LedgerError::AssuranceMismatch
    );
    let (_, mut node) = ready();
    let raised = changed(&mut node, after(0), |window| window.tee = TeeKind::Tdx);
    assert_eq!(
        refused(&mut state, &raised, after(1)),
        LedgerError::AssuranceMismatch
    );
}

#[test]
fn evidence_that_was_replaced_settles_nothing_more() {
    let (mut state, mut node) = ready();
    let replayed = node.evidence;
    let old = submit(node.settle(after(0)));
    let current = EvidenceId([0x55; 32]);
    state
        .apply(
            &appraisal(AppraisalRecord {
                evidence: current,
                ..node.record(after(1))
            }),
            after(1),
        )
        .unwrap();
    assert_eq!(
        refused(&mut state, &old, after(1)),
        LedgerError::AttestationMismatch {
            expected: current,
            found: replayed
        }
    );
}

#[test]
fn every_bit_of_either_signature_counts() {
    let (mut state, mut node) = ready();
    let good = node.settle(after(0));
    for byte in 0..64 {
        let mut tampered = good.clone();
        tampered.tee_signature.0[byte] ^= 1 << (byte % 8);
        assert_eq!(
            refused(&mut state, &submit(tampered), after(1)),
            LedgerError::TeeSignatureInvalid,
            "byte {byte}"
        );
        let mut tampered = good.clone();
        tampered.wallet_signature.signature.0[byte] ^= 1 << (byte % 8);
        assert_eq!(
            refused(&mut state, &submit(tampered), after(1)),
            LedgerError::WalletSignatureInvalid {
                wallet: node.wallet()
            },
            "byte {byte}"
        );
    }
    state.apply(&submit(good), after(1)).unwrap();
}

#[test]
fn a_statement_that_was_changed_after_signing_is_refused() {
    let (mut state, mut node) = ready();
    let good = node.settle(after(0));
    let changes: [fn(&mut nautilus_proof::ProofStatement); 8] = [
        |statement| statement.window.start = UnixMillis(statement.window.start.0 - 5000),
        |statement| statement.window.end = statement.window.end.plus(2000),
        |statement| statement.window.covered += 1,
        |statement| statement.window.interval_millis *= 2,
        |statement| statement.window.metrics_hash.0[0] ^= 1,
        |statement| statement.merkle_root.0[31] ^= 1,
        |statement| statement.expires_at = statement.expires_at.plus(1),
        |statement| statement.issued_at = statement.issued_at.plus(1),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut tampered = good.clone();
        change(&mut tampered.statement);
        let error = refused(&mut state, &submit(tampered), after(1));
        assert_eq!(error, LedgerError::TeeSignatureInvalid, "change {index}");
    }
}

#[test]
fn nobody_settles_with_the_proof_of_another_node() {
    let (mut state, mut node) = ready();
    let mut thief = TestNode::new(2);
    state.apply(&thief.register(), START).unwrap();
    state.apply(&thief.appraise(START), START).unwrap();
    let good = node.settle(after(0));

    // The thief's wallet under the other enclave's statement.
    let countersigned = ProofSubmission {
        wallet_signature: thief.wallet_sign(&good.statement),
        ..good.clone()
    };
    assert_eq!(
        refused(&mut state, &submit(countersigned), after(1)),
        LedgerError::ProofOfAnotherNode {
            node: node.id(),
            wallet: thief.wallet()
        }
    );
    // The other node's statement renamed.
    let mut renamed = good.clone();
    renamed.statement.window.node = thief.id();
    renamed.wallet_signature = thief.wallet_sign(&renamed.statement);
    assert!(matches!(
        refused(&mut state, &submit(renamed), after(1)),
        LedgerError::BootMismatch { .. }
    ));
    // The same, with everything that is not the enclave's adapted.
    let (own, _) = thief.window(after(0));
    let mut adapted = thief.submission(thief.statement(&own));
    adapted.tee_signature = good.tee_signature;
    assert_eq!(
        refused(&mut state, &submit(adapted), after(1)),
        LedgerError::TeeSignatureInvalid
    );
    // Another enclave's key under the right names.
    let mut other_key = good.clone();
    other_key.tee_signature = thief.submission((good.statement.clone(), vec![])).tee_signature;
    assert_eq!(
        refused(&mut state, &submit(other_key), after(1)),
        LedgerError::TeeSignatureInvalid
    );
    state.apply(&submit(good), after(1)).unwrap();
}

#[test]
fn windows_settle_once_and_in_order() {
    let (mut state, mut node) = ready();
    let first = submit(node.settle(after(0)));
    let second = submit(node.settle(after(1)));
    assert_eq!(
        refused(&mut state, &second, after(2)),
        LedgerError::OutOfOrder {
            expected: 0,
            found: 1
        }
    );
    state.apply(&first, after(2)).unwrap();
    assert_eq!(
        refused(&mut state, &first, after(2)),
        LedgerError::AlreadySettled { sequence: 0 }
    );
    state.apply(&second, after(2)).unwrap();
    assert_eq!(
        refused(&mut state, &first, after(2)),
        LedgerError::AlreadySettled { sequence: 0 }
    );
    assert_eq!(
        refused(&mut state, &second, after(2)),
        LedgerError::AlreadySettled { sequence: 1 }
    );
}

#[test]
fn a_tampered_path_is_told_from_a_forked_log() {
    let (mut state, mut node) = ready();
    for index in 0..3 {
        state
            .apply(&submit(node.settle(after(index))), after(index + 1))
            .unwrap();
    }
    let good = node.settle(after(3));
    assert_eq!(good.merkle_proof.len(), 2);
    for byte in 0..64 {
        let mut tampered = good.clone();
        tampered.merkle_proof[byte / 32].0[byte % 32] ^= 1 << (byte % 8);
        assert_eq!(
            refused(&mut state, &submit(tampered), after(4)),
            LedgerError::MerklePathInvalid,
            "byte {byte}"
        );
    }
    for path in [
        vec![],
        good.merkle_proof[..1].to_vec(),
        [good.merkle_proof.clone(), vec![Digest32([0; 32])]].concat(),
    ] {
        let tampered = ProofSubmission {
            merkle_proof: path,
            ..good.clone()
        };
        assert_eq!(
            refused(&mut state, &submit(tampered), after(4)),
            LedgerError::MerklePathInvalid
        );
    }

    // An enclave that signs over another past: same boot, same key, other windows before this one.
    let mut forked = TestNode::new(1);
    for index in 0..3 {
        let (mut window, _) = forked.window(after(index));
        window.covered = 0;
        forked.keep(&window);
    }
    let fork = submit(forked.settle(after(3)));
    assert_eq!(
        refused(&mut state, &fork, after(4)),
        LedgerError::LogForked { sequence: 3 }
    );
    state.apply(&submit(good), after(4)).unwrap();
}

#[test]
fn windows_have_their_place_in_time() {
    let (mut state, mut node) = ready();
    state.apply(&submit(node.settle(after(0))), after(1)).unwrap();
    let mut at = |start, at, change: fn(&mut nautilus_proof::Window)| {
        let mut node = TestNode::new(1);
        let (first, _) = node.window(after(0));
        node.keep(&first);
        refused(&mut state, &changed(&mut node, start, change), at)
    };
    let unchanged: fn(&mut nautilus_proof::Window) = |_| {};
    assert_eq!(
        at(after(1), after(2), |window| window.end = window.start),
        LedgerError::TimeRangeInvalid {
            start: after(1),
            end: after(1)
        }
    );
    let overlap = |window: &mut nautilus_proof::Window| window.start = UnixMillis(window.start.0 - 1);
    assert_eq!(
        at(after(1), after(2), overlap),
        LedgerError::TimeRangeOverlap {
            settled_until: after(1),
            start: UnixMillis(after(1).0 - 1)
        }
    );
    assert_eq!(
        at(after(8), after(2), unchanged),
        LedgerError::TimeRangeInFuture { end: after(9) }
    );
    let late = after(2).plus(10 * 60 * 1000 + 1);
    assert_eq!(
        at(after(1), late, unchanged),
        LedgerError::TooLate {
            end: after(2),
            settle_within_millis: 10 * 60 * 1000
        }
    );
    assert_eq!(
        at(after(1), after(2), |window| window.slots += 1),
        LedgerError::CoverageInvalid { covered: 5, slots: 6 }
    );
    assert_eq!(
        at(after(1), after(2), |window| window.covered = 6),
        LedgerError::CoverageInvalid { covered: 6, slots: 5 }
    );
    assert_eq!(
        at(after(1), after(2), |window| window.interval_millis = 0),
        LedgerError::CoverageInvalid { covered: 5, slots: 5 }
    );
    let hour = 60 * 60 * 1000;
    assert_eq!(
        at(after(1), after(2), |window| window.interval_millis = 3_600_001),
        LedgerError::IntervalTooLong {
            interval_millis: hour + 1,
            longest_millis: hour
        }
    );
    // The last moment at which it settles.
    let last = after(2).plus(10 * 60 * 1000);
    state.apply(&submit(node.settle(after(1))), last).unwrap();
}

#[test]
fn time_before_the_registration_is_not_settled() {
    let (mut state, mut node) = ready();
    let known_since = UnixMillis(START.0 - 60_000);
    let before = changed(&mut node, UnixMillis(known_since.0 - 1), |_| {});
    assert_eq!(
        refused(&mut state, &before, START),
        LedgerError::TimeRangeOverlap {
            settled_until: known_since,
            start: UnixMillis(known_since.0 - 1)
        }
    );
    let (_, mut node) = ready();
    state
        .apply(&changed(&mut node, known_since, |_| {}), START)
        .unwrap();
}

#[test]
fn a_proof_expires() {
    let (mut state, mut node) = ready();
    let (window, _) = node.window(after(0));
    let (mut statement, path) = node.statement(&window);
    statement.expires_at = after(2);
    let submission = submit(node.submission((statement, path)));
    assert_eq!(
        refused(&mut state, &submission, after(2)),
        LedgerError::Expired { expired_at: after(2) }
    );
    state.apply(&submission, UnixMillis(after(2).0 - 1)).unwrap();
}

#[test]
fn a_proof_is_rewarded_once_and_for_what_is_covered() {
    let (mut state, mut node) = ready();
    let unsettled = Digest32([6; 32]);
    assert_eq!(
        refused(&mut state, &Transaction::AccrueReward { proof: unsettled }, START),
        LedgerError::NothingToReward { proof: unsettled }
    );
    let (mut window, _) = node.window(after(0));
    window.covered = 3;
    let submission = node.submission(node.statement(&window));
    let reward = Transaction::AccrueReward {
        proof: submission.statement.digest(),
    };
    state.apply(&submit(submission.clone()), after(1)).unwrap();
    let receipt = state.apply(&reward, after(1)).unwrap();
    assert!(
        matches!(receipt, Receipt::Rewarded { amount: 6_000, .. }),
        "{receipt:?}"
    );
    assert_eq!(
        refused(&mut state, &reward, after(1)),
        LedgerError::NothingToReward {
            proof: submission.statement.digest()
        }
    );
}

#[test]
fn a_reward_never_exceeds_the_window_and_is_rounded_down() {
    for (length, interval, reward) in [
        (999, 2_000, 999),
        (1, 2_000, 1),
        (2_500, 1_000, 2_000),
        (10_000, 3_000, 9_000),
    ] {
        let (mut state, mut node) = ready();
        let (mut window, _) = node.window(after(0));
        window.end = window.start.plus(length);
        window.interval_millis = interval;
        window.slots = nautilus_proof::slots(length, interval).unwrap();
        window.covered = window.slots;
        let submission = node.submission(node.statement(&window));
        let proof = submission.statement.digest();
        state.apply(&submit(submission), after(1)).unwrap();
        let receipt = state
            .apply(&Transaction::AccrueReward { proof }, after(1))
            .unwrap();
        assert!(
            matches!(receipt, Receipt::Rewarded { amount, .. } if amount == reward),
            "{receipt:?}"
        );
    }
}

#[test]
fn a_reward_that_does_not_fit_is_refused() {
    let rules = |reward_per_second| Genesis {
        rules: Rules {
            reward_per_second,
            ..Rules::default()
        },
        ..genesis()
    };
    let settled = |reward_per_second, windows: u64| {
        let (mut state, mut node) = (State::new(), TestNode::new(1));
        state
            .apply(&Transaction::Genesis(rules(reward_per_second)), START)
            .unwrap();
        state.apply(&node.register(), START).unwrap();
        state.apply(&node.appraise(START), START).unwrap();
        let mut proofs = Vec::new();
        for index in 0..windows {
            let submission = node.settle(after(index));
            proofs.push(Transaction::AccrueReward {
                proof: submission.statement.digest(),
            });
            state.apply(&submit(submission), after(index + 1)).unwrap();
        }
        (state, proofs)
    };
    let (mut state, proofs) = settled(u64::MAX / 10, 2);
    state.apply(&proofs[0], after(2)).unwrap();
    assert_eq!(
        refused(&mut state, &proofs[1], after(2)),
        LedgerError::Overflow {
            what: "accrued reward"
        }
    );
    let (mut state, proofs) = settled(u64::MAX, 1);
    assert_eq!(
        refused(&mut state, &proofs[0], after(2)),
        LedgerError::Overflow { what: "reward" }
    );
}
