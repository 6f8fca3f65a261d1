//! Whether a node may open a session.

use nautilus_channel::Appraise;
use nautilus_core::{Appraisal, AppraisalVerdict, Binding, NodeId, UnixMillis};
use nautilus_ledger::LedgerError;
use nautilus_proof::message::node_id;
use serde_json::Value;

use super::{Refusal, Verifier, bound};
use crate::api::{AttestationOutcome, Introduction};
use crate::registry::Platform;

/// Most bytes of the outcome that goes back with a handshake's verdict, which has 256 KiB for all of it.
const MAX_NOTE: usize = 192 * 1024;

impl Verifier {
    /// Judges evidence that was made to open a session, and gives the appraisal with the outcome in JSON. A node that is
    /// accepted is registered with the ledger, and its platform with the registry, if they are not; of one that is not
    /// accepted nothing is kept.
    ///
    /// # Errors
    /// If the evidence does not verify, is not of that session or that node, the wallet did not sign, the registry
    /// knows the node otherwise, or ledger or registry cannot be kept. A rejecting appraisal is a success.
    pub fn introduce(&self, appraise: Appraise, now: UnixMillis) -> Result<(Appraisal, Vec<u8>), Refusal> {
        let Appraise {
            presented,
            terms,
            session,
        } = appraise;
        let (evidence, endorsements, accompanying) = presented.parts();
        let introduction = Introduction::decode(&accompanying).map_err(|error| {
            Refusal::BadRequest(format!("no introduction comes with the evidence: {error}"))
        })?;
        self.check_registration(&introduction, session.node)?;
        let binding = Binding::Session {
            terms: &terms,
            session: &session,
        };
        let claims = self.set.verify(&evidence, binding, &endorsements, now)?;
        let (user_data, platform) = (bound(&claims)?.clone(), Platform::of(&claims));
        if !introduction
            .seal_signature
            .is_of(introduction.registration.wallet, &user_data)
        {
            return Err(Refusal::NotTheNodesWallet);
        }
        let (node, key) = (user_data.node, user_data.tee_key);
        self.registry.check(node, &platform, &key)?;
        let appraisal = self.policy.appraise(claims, now);
        let note = note(&appraisal)?;
        if appraisal.verdict() == AppraisalVerdict::Accepted {
            self.register(
                introduction.registration,
                introduction.registration_signature,
                now,
            )?;
            self.registry.admit(node, &platform, &key, now)?;
        }
        Ok((appraisal, note))
    }

    /// What the ledger will check too, and before anything costs more than a signature.
    fn check_registration(&self, introduction: &Introduction, session: NodeId) -> Result<(), Refusal> {
        let registration = &introduction.registration;
        let (found, wallet) = (registration.verifier, registration.wallet);
        let expected = self.public_key();
        if found != expected {
            return Err(LedgerError::OtherVerifier { expected, found }.into());
        }
        let node = registration.node;
        if node != session {
            return Err(Refusal::AnotherNode { session, found: node });
        }
        if node != node_id(wallet, registration.label) {
            return Err(LedgerError::NodeIdInvalid { node }.into());
        }
        if !introduction.registration_signature.is_of(wallet, registration) {
            return Err(LedgerError::WalletSignatureInvalid { wallet }.into());
        }
        Ok(())
    }
}

/// The outcome in JSON. A firmware's event log may be longer than a verdict: then its events stay away, and are counted.
fn note(appraisal: &Appraisal) -> Result<Vec<u8>, Refusal> {
    let internal = |error: String| Refusal::Internal(error);
    let json = serde_json::to_value(appraisal).map_err(|error| internal(error.to_string()))?;
    let mut outcome = AttestationOutcome::of(appraisal, json);
    let encode = |outcome: &AttestationOutcome| outcome.encode().map_err(|error| internal(error.to_string()));
    let whole = encode(&outcome)?;
    if whole.len() <= MAX_NOTE {
        return Ok(whole);
    }
    if let Some(claims) = outcome.appraisal.get_mut("claims").and_then(Value::as_object_mut) {
        let events = claims.remove("event_log");
        let count = events.as_ref().and_then(Value::as_array).map_or(0, Vec::len);
        claims.insert("event_log".to_owned(), Value::Array(Vec::new()));
        claims.insert("event_log_omitted".to_owned(), count.into());
    }
    let short = encode(&outcome)?;
    if short.len() > MAX_NOTE {
        return Err(internal(format!(
            "the appraisal has {} bytes, more than a verdict holds",
            short.len()
        )));
    }
    Ok(short)
}
