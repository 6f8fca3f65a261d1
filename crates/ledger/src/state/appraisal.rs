//! Which appraisal counts for a node.
//!
//! What this prevents: a record is taken once (a node's appraisals only move forward in time, and the evidence
//! that counts now is not taken again), and a record for another node, or by another verifier, never.
//! What it leaves to the verifier: that evidence is fresh. A verifier that accepts old evidence anew, or an old
//! boot after a newer one, starts an empty window log for it; no window counts twice even then, because a node's
//! windows only move forward in time across all of its boots, and no window starts before its boot's evidence.

use nautilus_core::{Signature, SignedMessage, UnixMillis};
use nautilus_proof::merkle;

use super::{LedgerError, MAX_SKEW_MILLIS, Receipt, Signatures, State};
use crate::transaction::AppraisalRecord;

impl State {
    pub(super) fn appraise(
        &mut self,
        record: &AppraisalRecord,
        signature: &Signature,
        at: UnixMillis,
        signatures: Signatures,
    ) -> Result<Receipt, LedgerError> {
        let verifier = self.started()?.verifier;
        let node = self.known(record.node)?;
        if !signatures.hold(|| record.is_signed_by(&verifier, signature)) {
            return Err(LedgerError::VerifierSignatureInvalid);
        }
        if record.assurance > record.tee.assurance() {
            return Err(LedgerError::AssuranceMismatch);
        }
        if at >= record.expires_at {
            return Err(LedgerError::AppraisalExpired {
                expired_at: record.expires_at,
            });
        }
        if record.appraised_at > at.plus(MAX_SKEW_MILLIS) {
            return Err(LedgerError::AppraisalInFuture {
                appraised_at: record.appraised_at,
            });
        }
        if let Some(last) = &node.appraisal {
            follows(last, record)?;
        }
        let same_boot = node
            .appraisal
            .as_ref()
            .is_some_and(|last| last.boot == record.boot);

        let node = self
            .nodes
            .get_mut(&record.node)
            .ok_or(LedgerError::NodeUnknown { node: record.node })?;
        if !same_boot {
            node.next_sequence = 0;
            node.log_root = merkle::empty_root();
            // A boot speaks for no time before its evidence, but for its clock's error.
            let earliest = UnixMillis(record.appraised_at.0.saturating_sub(MAX_SKEW_MILLIS));
            node.settled_until = node.settled_until.max(earliest);
        }
        node.appraisal = Some(record.clone());
        Ok(Receipt::Appraised {
            node: record.node,
            boot: record.boot,
            evidence: record.evidence,
            expires_at: record.expires_at,
            next_sequence: node.next_sequence,
        })
    }
}

/// A boot has one key and one TEE for as long as it lasts; evidence, policy and expiry may be renewed.
fn follows(last: &AppraisalRecord, record: &AppraisalRecord) -> Result<(), LedgerError> {
    if record.evidence == last.evidence {
        return Err(LedgerError::EvidenceReplayed {
            evidence: record.evidence,
        });
    }
    if record.appraised_at <= last.appraised_at {
        return Err(LedgerError::AppraisalOutOfOrder {
            last: last.appraised_at,
            found: record.appraised_at,
        });
    }
    if record.boot == last.boot {
        if record.tee_key != last.tee_key {
            return Err(LedgerError::TeeKeyChanged { boot: record.boot });
        }
        if (record.tee, record.assurance) != (last.tee, last.assurance) {
            return Err(LedgerError::AssuranceMismatch);
        }
    }
    Ok(())
}
