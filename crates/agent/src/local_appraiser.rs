//! Judges the evidence with which this node's own enclaves open their channels.

use std::path::PathBuf;

use nautilus_channel::{Appraise, Appraiser, Judgement};
use nautilus_core::{
    Binding, BoundUserData, Claims, Policy, SessionBinding, UnixMillis, Verified, VerifierSet, VerifyError,
    pinned_policy,
};

use crate::endorsements::with_simulated;

/// Judges by the verifiers of this process whether an enclave is genuine and closed to debuggers. Whether its code is the
/// right one and its platform good enough, the verifier's policy says: it decides over the node, and no agent decides in
/// its own favour.
pub struct LocalAppraiser {
    set: VerifierSet,
    simulated: Option<PathBuf>,
}

impl LocalAppraiser {
    /// Judges by `set`, with what the vendor of the simulated platform in the directory `simulated` publishes.
    pub const fn new(set: VerifierSet, simulated: Option<PathBuf>) -> Self {
        Self { set, simulated }
    }
}

impl Appraiser for LocalAppraiser {
    fn judge(&self, appraise: Appraise, now: UnixMillis) -> Judgement {
        let Appraise {
            mut presented,
            terms,
            session,
        } = appraise;
        let brought = std::mem::take(&mut presented.endorsements);
        let endorsements = match with_simulated(brought, presented.tee, self.simulated.as_deref()) {
            Ok(endorsements) => endorsements,
            Err(error) => {
                return Judgement::Invalid(VerifyError::EndorsementInvalid {
                    origin: error.path.display().to_string(),
                    what: error.source.to_string(),
                });
            }
        };
        let (evidence, _, _) = presented.parts();
        let stated = evidence.user_data.clone();
        let binding = Binding::Session {
            terms: &terms,
            session: &session,
        };
        match self.set.verify(&evidence, binding, &endorsements, now) {
            Ok(claims) => appraised(claims, now),
            Err(error) => judgement(error, stated.as_deref(), &session),
        }
    }
}

/// A policy that takes what this enclave measures, for the verifier's pins its code, and nothing that can be debugged.
fn appraised(claims: Verified<Claims>, now: UnixMillis) -> Judgement {
    // A node may be without its vendor's lists; whether that is enough the verifier's policy says too.
    let rules = pinned_policy("genuine enclave", &claims).replacen(
        "revocation: required",
        "revocation: { ignore: { because: \"the verifier has the lists\" } }",
        1,
    );
    match Policy::from_yaml(&rules) {
        Ok(policy) => Judgement::Appraised {
            appraisal: Box::new(policy.appraise(claims, now)),
            note: Vec::new(),
        },
        Err(error) => Judgement::NotRegistered {
            kind: "not_accepted".to_owned(),
            detail: format!("no policy takes what it measures: {error}"),
        },
    }
}

/// What this machine lacks to verify evidence says nothing against it; anything else does.
///
/// Evidence that nobody here can verify has to state this session all the same.
fn judgement(error: VerifyError, stated: Option<&[u8]>, session: &SessionBinding) -> Judgement {
    let stated = stated.and_then(BoundUserData::from_canonical);
    let differs = match stated.as_ref().and_then(|bound| bound.session.as_ref()) {
        Some(stated) => stated.difference(session),
        None => Some("session"),
    };
    let lacking = matches!(
        error,
        VerifyError::EndorsementsMissing { .. }
            | VerifyError::EndorsementNotCurrent { .. }
            | VerifyError::Untrusted { .. }
            | VerifyError::KeyNotEnrolled { .. }
            | VerifyError::NotAccepted { .. }
    );
    match differs {
        _ if !lacking => Judgement::Invalid(error),
        None => Judgement::Unverifiable(error),
        Some(field) => Judgement::Invalid(VerifyError::SessionMismatch {
            field: field.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use nautilus_core::{
        BootId, Digest32, End, EventLogHead, NodeId, PublicKey, Purpose, Role, SignedMessage as _, TeeKind,
    };

    use super::*;

    fn session(node: u8) -> SessionBinding {
        SessionBinding {
            label: SessionBinding::LABEL.to_owned(),
            role: Role::Enclave,
            peer_role: Role::Agent,
            end: End::Initiator,
            node: NodeId([node; 32]),
            exporter: Digest32([2; 32]),
            initiator_nonce: Digest32([3; 32]),
            responder_nonce: Digest32([4; 32]),
            own_key: Digest32([5; 32]),
            peer_key: Digest32([6; 32]),
            group: nautilus_channel::GROUP,
        }
    }

    fn stating(session: Option<SessionBinding>) -> Vec<u8> {
        BoundUserData {
            purpose: Purpose::Runtime,
            node: NodeId([1; 32]),
            tee: TeeKind::Tpm,
            boot: BootId([2; 16]),
            tee_key: PublicKey([3; 32]),
            channel_key: None,
            event_log: EventLogHead::EMPTY,
            session,
        }
        .to_bytes()
    }

    #[test]
    fn what_cannot_be_verified_has_to_state_this_session_all_the_same() {
        let unknown = || VerifyError::NotAccepted { tee: TeeKind::Tpm };
        let cases = [
            (Some(stating(Some(session(9)))), "node"),
            (Some(stating(None)), "session"),
            (Some(b"none".to_vec()), "session"),
            (None, "session"),
        ];
        for (stated, differs) in cases {
            let judged = judgement(unknown(), stated.as_deref(), &session(1));
            assert!(
                matches!(&judged, Judgement::Invalid(VerifyError::SessionMismatch { field }) if field == differs),
                "{differs}"
            );
        }
    }

    #[test]
    fn what_is_missing_here_is_told_from_what_is_wrong() {
        let what = || "why".to_owned();
        let missing = [
            VerifyError::EndorsementsMissing { wants: Vec::new() },
            VerifyError::EndorsementNotCurrent {
                origin: what(),
                what: what(),
            },
            VerifyError::Untrusted { what: what() },
            VerifyError::KeyNotEnrolled { what: what() },
            VerifyError::NotAccepted { tee: TeeKind::Tpm },
        ];
        for error in missing {
            let judged = judgement(error.clone(), Some(&stating(Some(session(1)))), &session(1));
            assert!(
                matches!(&judged, Judgement::Unverifiable(why) if *why == error),
                "{error}"
            );
        }
        let wrong = [
            VerifyError::SignatureInvalid { what: what() },
            VerifyError::SessionMismatch { field: what() },
            VerifyError::UserDataMismatch,
            VerifyError::ChallengeExpired {
                expired_at: UnixMillis(1),
            },
            VerifyError::TcbRevoked,
            VerifyError::WeakKey { what: what() },
            VerifyError::EndorsementInvalid {
                origin: what(),
                what: what(),
            },
        ];
        for error in wrong {
            let judged = judgement(error.clone(), Some(&stating(Some(session(1)))), &session(1));
            assert!(
                matches!(&judged, Judgement::Invalid(why) if *why == error),
                "{error}"
            );
        }
    }
}
