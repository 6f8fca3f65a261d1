//! Settling windows and rewarding them.

use nautilus_core::{Digest32, NodeId, SignedMessage, UnixMillis};
use nautilus_proof::{ProofSubmission, Window, merkle, slots};
use serde::Serialize;

use super::{LedgerError, MAX_SKEW_MILLIS, Node, Receipt, Signatures, State, account};
use crate::transaction::{AppraisalRecord, Rules};

/// A settled window that was not rewarded yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Unrewarded {
    node: NodeId,
    /// Time that samples covered, at most the window's length.
    covered_millis: u64,
}

impl State {
    pub(super) fn settle(
        &mut self,
        submission: &ProofSubmission,
        at: UnixMillis,
        signatures: Signatures,
    ) -> Result<Receipt, LedgerError> {
        let rules = self.started()?.rules;
        let statement = &submission.statement;
        let window = &statement.window;
        let node = self.known(window.node)?;
        let appraisal = current_appraisal(node, window, at)?;
        if !signatures.hold(|| statement.is_signed_by(&appraisal.tee_key, &submission.tee_signature)) {
            return Err(LedgerError::TeeSignatureInvalid);
        }
        let wallet = submission.wallet_signature.address();
        if wallet != node.wallet {
            return Err(LedgerError::ProofOfAnotherNode {
                node: window.node,
                wallet,
            });
        }
        if !signatures.hold(|| submission.wallet_signature.is_of(wallet, statement)) {
            return Err(LedgerError::WalletSignatureInvalid { wallet });
        }
        if (window.tee, window.assurance) != (appraisal.tee, appraisal.assurance) {
            return Err(LedgerError::AssuranceMismatch);
        }
        extends_log(node, submission)?;
        if at >= statement.expires_at {
            return Err(LedgerError::Expired {
                expired_at: statement.expires_at,
            });
        }
        in_its_time(node, window, at, &rules)?;
        let covered_millis = covered_millis(window, &rules)?;
        let next_sequence = window.sequence.checked_add(1).ok_or(LedgerError::Overflow {
            what: "window number",
        })?;

        let proof = statement.digest();
        let node = self
            .nodes
            .get_mut(&window.node)
            .ok_or(LedgerError::NodeUnknown { node: window.node })?;
        node.next_sequence = next_sequence;
        node.log_root = statement.merkle_root;
        node.settled_until = window.end;
        self.unrewarded.insert(
            proof,
            Unrewarded {
                node: window.node,
                covered_millis,
            },
        );
        Ok(Receipt::Settled {
            proof,
            node: window.node,
            sequence: window.sequence,
            log_root: statement.merkle_root,
        })
    }

    pub(super) fn reward(&mut self, proof: &Digest32) -> Result<Receipt, LedgerError> {
        let rules = self.started()?.rules;
        let Unrewarded {
            node: id,
            covered_millis,
        } = *self
            .unrewarded
            .get(proof)
            .ok_or(LedgerError::NothingToReward { proof: *proof })?;
        let overflow = LedgerError::Overflow { what: "reward" };
        let amount = u128::from(rules.reward_per_second)
            .checked_mul(covered_millis.into())
            .and_then(|thousandths| u64::try_from(thousandths / 1000).ok())
            .ok_or(overflow)?;
        let node = self
            .nodes
            .get_mut(&id)
            .ok_or(LedgerError::NodeUnknown { node: id })?;
        node.accrued = node.accrued.checked_add(amount).ok_or(LedgerError::Overflow {
            what: "accrued reward",
        })?;
        let account = account(id, node);
        self.unrewarded.remove(proof);
        Ok(Receipt::Rewarded {
            proof: *proof,
            amount,
            account,
        })
    }
}

fn current_appraisal<'a>(
    node: &'a Node,
    window: &Window,
    at: UnixMillis,
) -> Result<&'a AppraisalRecord, LedgerError> {
    let appraisal = node
        .appraisal
        .as_ref()
        .ok_or(LedgerError::NotAppraised { node: window.node })?;
    if at >= appraisal.expires_at {
        return Err(LedgerError::AppraisalExpired {
            expired_at: appraisal.expires_at,
        });
    }
    if window.boot != appraisal.boot {
        return Err(LedgerError::BootMismatch {
            expected: appraisal.boot,
            found: window.boot,
        });
    }
    if window.attestation_hash != appraisal.evidence {
        return Err(LedgerError::AttestationMismatch {
            expected: appraisal.evidence,
            found: window.attestation_hash,
        });
    }
    Ok(appraisal)
}

/// The path is checked against what was signed before it is held against the log that is known: so a path that
/// was tampered with is told from a log that was rewritten.
fn extends_log(node: &Node, submission: &ProofSubmission) -> Result<(), LedgerError> {
    let window = &submission.statement.window;
    let (expected, sequence) = (node.next_sequence, window.sequence);
    if sequence < expected {
        return Err(LedgerError::AlreadySettled { sequence });
    }
    if sequence > expected {
        return Err(LedgerError::OutOfOrder {
            expected,
            found: sequence,
        });
    }
    let leaf = merkle::leaf_hash(&window.to_bytes());
    let path = &submission.merkle_proof;
    if merkle::root_after(sequence, leaf, path) != Some(submission.statement.merkle_root) {
        return Err(LedgerError::MerklePathInvalid);
    }
    if merkle::root_before(sequence, path) != Some(node.log_root) {
        return Err(LedgerError::LogForked { sequence });
    }
    Ok(())
}

fn in_its_time(node: &Node, window: &Window, at: UnixMillis, rules: &Rules) -> Result<(), LedgerError> {
    let (start, end) = (window.start, window.end);
    if start >= end {
        return Err(LedgerError::TimeRangeInvalid { start, end });
    }
    if start < node.settled_until {
        return Err(LedgerError::TimeRangeOverlap {
            settled_until: node.settled_until,
            start,
        });
    }
    if end > at.plus(MAX_SKEW_MILLIS) {
        return Err(LedgerError::TimeRangeInFuture { end });
    }
    if at.since(end) > rules.settle_within_millis {
        return Err(LedgerError::TooLate {
            end,
            settle_within_millis: rules.settle_within_millis,
        });
    }
    Ok(())
}

fn covered_millis(window: &Window, rules: &Rules) -> Result<u64, LedgerError> {
    let (interval_millis, longest_millis) = (window.interval_millis, rules.max_interval_millis);
    if interval_millis > longest_millis {
        return Err(LedgerError::IntervalTooLong {
            interval_millis,
            longest_millis,
        });
    }
    let length = window.end.since(window.start);
    if slots(length, window.interval_millis) != Some(window.slots) || window.covered > window.slots {
        return Err(LedgerError::CoverageInvalid {
            covered: window.covered,
            slots: window.slots,
        });
    }
    Ok(u64::from(window.covered)
        .saturating_mul(window.interval_millis)
        .min(length))
}

#[cfg(test)]
mod tests;
