use nautilus_core::{Assurance, TeeKind};

use super::*;
use crate::fixture::{START, TestNode, WINDOW, appraisal, genesis, sign, submit};

/// 10 s, all covered, at 1,000 units a second.
const REWARD: u64 = 10_000;

pub(super) fn started() -> State {
    let mut state = State::new();
    state.apply(&Transaction::Genesis(genesis()), START).unwrap();
    state
}

/// A started ledger with one node that is registered and appraised.
pub(super) fn ready() -> (State, TestNode) {
    let (mut state, node) = (started(), TestNode::new(1));
    state.apply(&node.register(), START).unwrap();
    state.apply(&node.appraise(START), START).unwrap();
    (state, node)
}

/// Asserts that the transaction is refused and changes nothing; gives the error.
#[track_caller]
pub(super) fn refused(state: &mut State, transaction: &Transaction, at: UnixMillis) -> LedgerError {
    let (before, digest) = (state.clone(), state.digest());
    let error = state.apply(transaction, at).unwrap_err();
    assert_eq!(*state, before);
    assert_eq!(state.digest(), digest);
    error
}

pub(super) fn after(windows: u64) -> UnixMillis {
    START.plus(windows * WINDOW)
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
fn no_window_starts_before_its_boot_was_attested() {
    let mut state = started();
    let mut node = TestNode::new(1);
    state.apply(&node.register(), START).unwrap();
    let attested = START.plus(7 * 24 * 60 * 60 * 1000);
    state.apply(&node.appraise(attested), attested).unwrap();
    let start = UnixMillis(attested.0 - MAX_SKEW_MILLIS - 1);
    assert_eq!(
        refused(&mut state, &submit(node.settle(start)), attested),
        LedgerError::TimeRangeOverlap {
            settled_until: start.plus(1),
            start
        }
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
