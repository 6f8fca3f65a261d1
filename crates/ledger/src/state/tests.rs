use nautilus_core::{Assurance, TeeKind};
use nautilus_proof::ProofSubmission;

use super::*;
use crate::Rules;
use crate::fixture::{START, TestNode, WINDOW, appraisal, genesis, sign, submit};

const DAY: u64 = 24 * 60 * 60 * 1000;
/// 10 s, all covered, at 1,000 units a second.
const REWARD: u64 = 10_000;

fn started() -> State {
    let mut state = State::new();
    state.apply(&Transaction::Genesis(genesis()), START).unwrap();
    state
}

/// A started ledger with one node that is registered and appraised.
fn ready() -> (State, TestNode) {
    let (mut state, node) = (started(), TestNode::new(1));
    state.apply(&node.register(), START).unwrap();
    state.apply(&node.appraise(START), START).unwrap();
    (state, node)
}

/// Asserts that the transaction is refused and changes nothing; gives the error.
#[track_caller]
fn refused(state: &mut State, transaction: &Transaction, at: UnixMillis) -> LedgerError {
    let (before, digest) = (state.clone(), state.digest());
    let error = state.apply(transaction, at).unwrap_err();
    assert_eq!(*state, before);
    assert_eq!(state.digest(), digest);
    error
}

fn after(windows: u64) -> UnixMillis {
    START.plus(windows * WINDOW)
}

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
fn a_node_registers_attests_settles_is_rewarded_and_claims() {
    let (mut state, mut node) = ready();
    let verifier = genesis().verifier;
    assert_eq!(state.genesis().unwrap().verifier, verifier);
    for index in 0..5_u64 {
        let submission = node.settle(after(index));
        let (proof, log_root) = (submission.statement.digest(), submission.statement.merkle_root);
        let at = after(index + 1);
        let settled = state.apply(&submit(submission), at).unwrap();
        assert_eq!(
            settled,
            Receipt::Settled {
                proof,
                node: node.id(),
                sequence: index,
                log_root
            }
        );
        assert_eq!(state.unrewarded().collect::<Vec<_>>(), [proof]);
        let rewarded = state.apply(&Transaction::AccrueReward { proof }, at).unwrap();
        let account = state.account(node.id()).unwrap();
        assert_eq!(account.accrued, (index + 1) * REWARD);
        assert_eq!(
            rewarded,
            Receipt::Rewarded {
                proof,
                amount: REWARD,
                account
            }
        );
        assert_eq!(state.unrewarded().count(), 0);
    }
    let claimed = state.apply(&node.claim(12_000, 7), after(5)).unwrap();
    assert_eq!(
        claimed,
        Receipt::Claimed {
            wallet: node.wallet(),
            amount: 12_000,
            due: 38_000
        }
    );
    let known = state.node(node.id()).unwrap();
    assert_eq!(
        (known.accrued, known.claimed, known.due()),
        (50_000, 12_000, 38_000)
    );
    assert_eq!((known.next_sequence, known.settled_until), (5, after(5)));
    assert_eq!(state.at(), after(5));
}

#[test]
fn the_state_does_not_grow_with_the_proofs() {
    let (mut state, mut node) = ready();
    let mut sizes = Vec::new();
    for index in 0..9 {
        let submission = node.settle(after(index));
        let proof = submission.statement.digest();
        state.apply(&submit(submission), after(index + 1)).unwrap();
        state
            .apply(&Transaction::AccrueReward { proof }, after(index + 1))
            .unwrap();
        sizes.push(state.to_bytes().len());
    }
    assert!(sizes.windows(2).all(|pair| pair[0] == pair[1]), "{sizes:?}");
}

#[test]
fn a_ledger_starts_once_and_with_its_genesis() {
    let mut state = State::new();
    let node = TestNode::new(1);
    let proof = Digest32([1; 32]);
    for transaction in [
        node.register(),
        node.appraise(START),
        submit(TestNode::new(1).settle(START)),
        Transaction::AccrueReward { proof },
        node.claim(1, 1),
    ] {
        assert_eq!(refused(&mut state, &transaction, START), LedgerError::NotStarted);
    }
    state.apply(&Transaction::Genesis(genesis()), START).unwrap();
    assert_eq!(
        refused(&mut state, &Transaction::Genesis(genesis()), START),
        LedgerError::AlreadyStarted
    );
}

#[test]
fn time_never_goes_back() {
    let mut state = started();
    let earlier = UnixMillis(START.0 - 1);
    let error = refused(&mut state, &TestNode::new(1).register(), earlier);
    assert_eq!(
        error,
        LedgerError::TimeBackwards {
            last: START,
            found: earlier
        }
    );
}

#[test]
fn registrations_are_checked() {
    let (mut state, node) = ready();
    assert_eq!(
        refused(&mut state, &node.register(), START),
        LedgerError::AlreadyRegistered { node: node.id() }
    );

    let other = TestNode::new(2);
    let signed = |registration: Registration| {
        let signature = other.wallet_sign(&registration);
        Transaction::RegisterNode {
            registration,
            signature,
        }
    };
    let elsewhere = Registration {
        verifier: PublicKey([1; 32]),
        ..other.registration()
    };
    assert_eq!(
        refused(&mut state, &signed(elsewhere), START),
        LedgerError::OtherVerifier {
            expected: genesis().verifier,
            found: PublicKey([1; 32])
        }
    );
    let taken = Registration {
        node: node.id(),
        ..other.registration()
    };
    assert_eq!(
        refused(&mut state, &signed(taken), START),
        LedgerError::NodeIdInvalid { node: node.id() }
    );

    let wallet = other.wallet();
    let by_another = Transaction::RegisterNode {
        registration: other.registration(),
        signature: node.wallet_sign(&other.registration()),
    };
    assert_eq!(
        refused(&mut state, &by_another, START),
        LedgerError::WalletSignatureInvalid { wallet }
    );
    let mut flipped = other.wallet_sign(&other.registration());
    flipped.signature.0[0] ^= 1;
    let flipped = Transaction::RegisterNode {
        registration: other.registration(),
        signature: flipped,
    };
    assert_eq!(
        refused(&mut state, &flipped, START),
        LedgerError::WalletSignatureInvalid { wallet }
    );
}

#[test]
fn appraisals_are_checked() {
    let (mut state, node) = ready();
    let unknown = TestNode::new(2);
    assert_eq!(
        refused(&mut state, &unknown.appraise(START), START),
        LedgerError::NodeUnknown { node: unknown.id() }
    );

    let next = || AppraisalRecord {
        evidence: EvidenceId([9; 32]),
        ..node.record(START.plus(1000))
    };
    let at = START.plus(1000);
    let forged = Transaction::RecordAppraisal {
        record: next(),
        signature: sign(&ed25519_dalek::SigningKey::from_bytes(&[5; 32]), &next()),
    };
    assert_eq!(
        refused(&mut state, &forged, at),
        LedgerError::VerifierSignatureInvalid
    );
    let Transaction::RecordAppraisal {
        record,
        mut signature,
    } = appraisal(next())
    else {
        unreachable!()
    };
    signature.0[40] ^= 4;
    let flipped = Transaction::RecordAppraisal { record, signature };
    assert_eq!(
        refused(&mut state, &flipped, at),
        LedgerError::VerifierSignatureInvalid
    );

    let mut refused = |record: AppraisalRecord| refused(&mut state, &appraisal(record), at);
    assert_eq!(
        refused(AppraisalRecord {
            assurance: Assurance::HardwareVm,
            ..next()
        }),
        LedgerError::AssuranceMismatch
    );
    assert_eq!(
        refused(AppraisalRecord {
            tee: TeeKind::Sgx,
            assurance: Assurance::HardwareEnclave,
            ..next()
        }),
        LedgerError::AssuranceMismatch
    );
    assert_eq!(
        refused(AppraisalRecord {
            expires_at: at,
            ..next()
        }),
        LedgerError::AppraisalExpired { expired_at: at }
    );
    let future = at.plus(60_001);
    assert_eq!(
        refused(AppraisalRecord {
            appraised_at: future,
            ..next()
        }),
        LedgerError::AppraisalInFuture { appraised_at: future }
    );
    assert_eq!(
        refused(AppraisalRecord {
            evidence: node.evidence,
            ..next()
        }),
        LedgerError::EvidenceReplayed {
            evidence: node.evidence
        }
    );
    assert_eq!(
        refused(node.record(START)),
        LedgerError::EvidenceReplayed {
            evidence: node.evidence
        }
    );
    assert_eq!(
        refused(AppraisalRecord {
            appraised_at: START,
            ..next()
        }),
        LedgerError::AppraisalOutOfOrder {
            last: START,
            found: START
        }
    );
    assert_eq!(
        refused(AppraisalRecord {
            tee_key: PublicKey([4; 32]),
            ..next()
        }),
        LedgerError::TeeKeyChanged { boot: node.boot }
    );
    state.apply(&appraisal(next()), at).unwrap();
}

#[test]
fn an_older_record_cannot_bring_an_older_boot_back() {
    let (mut state, node) = ready();
    let second = TestNode::rebooted(1);
    assert_eq!(second.id(), node.id());
    let at = START.plus(5000);
    state.apply(&second.appraise(at), at).unwrap();
    assert_eq!(
        refused(&mut state, &node.appraise(START), at),
        LedgerError::AppraisalOutOfOrder {
            last: at,
            found: START
        }
    );
}

#[test]
fn a_boot_keeps_its_log_through_new_evidence_and_a_new_boot_starts_one() {
    let (mut state, mut node) = ready();
    state.apply(&submit(node.settle(after(0))), after(1)).unwrap();
    node.evidence = EvidenceId([0x55; 32]);
    let receipt = state.apply(&node.appraise(after(1)), after(1)).unwrap();
    assert!(
        matches!(receipt, Receipt::Appraised { next_sequence: 1, .. }),
        "{receipt:?}"
    );
    state.apply(&submit(node.settle(after(1))), after(2)).unwrap();

    let mut second = TestNode::rebooted(1);
    let receipt = state.apply(&second.appraise(after(2)), after(2)).unwrap();
    assert!(
        matches!(receipt, Receipt::Appraised { next_sequence: 0, .. }),
        "{receipt:?}"
    );
    assert_eq!(
        refused(&mut state, &submit(node.settle(after(2))), after(3)),
        LedgerError::BootMismatch {
            expected: second.boot,
            found: node.boot
        }
    );
    // Windows of all boots share one time line.
    let overlapping = submit(TestNode::rebooted(1).settle(after(1)));
    assert_eq!(
        refused(&mut state, &overlapping, after(3)),
        LedgerError::TimeRangeOverlap {
            settled_until: after(2),
            start: after(1)
        }
    );
    state.apply(&submit(second.settle(after(2))), after(3)).unwrap();
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
    let expiry = START.plus(DAY);
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

#[test]
fn a_claim_draws_on_all_nodes_of_the_wallet_and_only_on_them() {
    let mut state = started();
    let mut nodes = [
        TestNode::of_wallet(1, 1),
        TestNode::of_wallet(1, 2),
        TestNode::new(3),
    ];
    for node in &nodes {
        state.apply(&node.register(), START).unwrap();
        state.apply(&node.appraise(START), START).unwrap();
    }
    for node in &mut nodes {
        let submission = node.settle(after(0));
        let proof = submission.statement.digest();
        state.apply(&submit(submission), after(1)).unwrap();
        state
            .apply(&Transaction::AccrueReward { proof }, after(1))
            .unwrap();
    }
    let [first, second, other] = &nodes;
    let at = after(1);
    assert_eq!(
        refused(&mut state, &first.claim(2 * REWARD + 1, 1), at),
        LedgerError::ClaimNotDue {
            amount: 2 * REWARD + 1,
            due: 2 * REWARD
        }
    );
    assert_eq!(
        refused(&mut state, &first.claim(0, 1), at),
        LedgerError::ClaimNotDue {
            amount: 0,
            due: 2 * REWARD
        }
    );
    assert_eq!(
        refused(&mut state, &TestNode::new(9).claim(1, 1), at),
        LedgerError::ClaimNotDue { amount: 1, due: 0 }
    );
    let receipt = state.apply(&first.claim(15_000, 1), at).unwrap();
    assert_eq!(
        receipt,
        Receipt::Claimed {
            wallet: first.wallet(),
            amount: 15_000,
            due: 5_000
        }
    );
    let mut claimed = [first, second].map(|node| state.node(node.id()).unwrap().claimed);
    claimed.sort_unstable();
    assert_eq!(claimed, [5_000, 10_000]);
    assert_eq!(state.node(other.id()).unwrap().claimed, 0);

    assert_eq!(
        refused(&mut state, &first.claim(15_000, 1), at),
        LedgerError::NonceUsed { last: 1, found: 1 }
    );
    assert_eq!(
        refused(&mut state, &first.claim(1, 0), at),
        LedgerError::NonceUsed { last: 1, found: 0 }
    );
    assert_eq!(
        refused(&mut state, &first.claim(5_001, 2), at),
        LedgerError::ClaimNotDue {
            amount: 5_001,
            due: 5_000
        }
    );
    state.apply(&first.claim(5_000, 2), at).unwrap();
}

#[test]
fn claims_are_signed_by_the_wallet_for_this_ledger() {
    let (mut state, node) = ready();
    let claim = node.claim_request(1, 1);
    let signature = TestNode::new(2).wallet_sign(&claim);
    let forged = Transaction::Claim {
        claim: claim.clone(),
        signature,
    };
    assert_eq!(
        refused(&mut state, &forged, START),
        LedgerError::WalletSignatureInvalid {
            wallet: node.wallet()
        }
    );
    let raised = Transaction::Claim {
        claim: ClaimRequest {
            amount: 2,
            ..claim.clone()
        },
        signature: node.wallet_sign(&claim),
    };
    assert_eq!(
        refused(&mut state, &raised, START),
        LedgerError::WalletSignatureInvalid {
            wallet: node.wallet()
        }
    );
    let elsewhere = ClaimRequest {
        verifier: PublicKey([1; 32]),
        ..claim
    };
    let elsewhere = Transaction::Claim {
        signature: node.wallet_sign(&elsewhere),
        claim: elsewhere,
    };
    assert_eq!(
        refused(&mut state, &elsewhere, START),
        LedgerError::OtherVerifier {
            expected: genesis().verifier,
            found: PublicKey([1; 32])
        }
    );
}

#[test]
fn trusted_signatures_change_nothing_but_the_check() {
    let (mut state, mut node) = ready();
    let mut trusting = state.clone();
    let good = node.settle(after(0));
    let mut forged = good.clone();
    forged.tee_signature.0[0] ^= 1;
    trusting
        .apply_with(&submit(forged), after(1), Signatures::Trust)
        .unwrap();
    state.apply(&submit(good), after(1)).unwrap();
    assert_eq!(trusting, state);
}

#[test]
fn accounts_have_the_documented_json() {
    let (state, node) = ready();
    let json = serde_json::to_value(state.accounts().collect::<Vec<_>>()).unwrap();
    let expected = serde_json::json!([{
        "node": node.id().to_string(), "wallet": node.wallet().to_string(), "accrued": 0, "claimed": 0,
    }]);
    assert_eq!(json, expected);
}
