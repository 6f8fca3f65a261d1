//! What is asked of the attestation service (specification §2.A `AttestationRequest`).

use nautilus_core::{BootId, Challenge, ChallengeTerms, Digest32, Purpose, UnixMillis};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{AttestationError, EnclaveNow, base64_bytes};

/// Length of a challenge in bytes: half of the 64 that TEEs sign.
const CHALLENGE_LENGTH: usize = 32;
/// Most user data, in bytes. It is hashed and not kept; more is hashed by whoever has it.
pub const MAX_USER_DATA: usize = 4096;
/// Longest name or id, in bytes.
const MAX_NAME: usize = 128;
/// Oldest request that is still taken up, in milliseconds: after that nobody waits for it any more.
const MAX_AGE_MILLIS: u64 = 30 * 1000;
/// What keeps a challenge with user data from being a challenge without.
const USER_DATA_DOMAIN: &[u8] = b"nautilus-attestation-user-data/1\n";

/// A request for evidence, as it arrives. Untrusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttestationRequest {
    /// The enclave: its id, or its name.
    pub enclave_id: String,
    /// What for: `boot`, `runtime`, `performance` or `workload`.
    pub request_type: Purpose,
    /// What the evidence must answer: 32 bytes, base64 in JSON.
    #[serde(with = "base64_bytes")]
    pub challenge: Vec<u8>,
    /// What the evidence binds besides, if anything; base64 in JSON.
    #[serde(default, with = "base64_bytes")]
    pub user_data: Vec<u8>,
    /// The policy to be judged by: id or name of the one in force, or empty for whichever is.
    #[serde(default)]
    pub policy_id: String,
    /// When it was asked.
    pub timestamp: UnixMillis,
}

/// A request whose form is right.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The enclave's id or name.
    pub enclave: String,
    /// What for.
    pub purpose: Purpose,
    /// Who asks what.
    pub question: Question,
}

/// Who asks what.
#[derive(Clone, Debug)]
pub enum Question {
    /// The node's verifier, whose terms these are: it verifies, appraises and records the answer.
    Verifier(ChallengeTerms),
    /// Anybody. The answer is judged here, and recorded nowhere.
    Anybody(Challenge),
}

impl Ask {
    /// What the evidence has to answer.
    #[must_use]
    pub fn challenge(&self) -> Challenge {
        match &self.question {
            Question::Verifier(terms) => terms.challenge(),
            Question::Anybody(challenge) => *challenge,
        }
    }
}

/// The challenge that evidence answers for this challenge and this user data: the challenge itself where there is none,
/// and otherwise SHA-256 over `nautilus-attestation-user-data/1\n`, the challenge, and the SHA-256 of the user data. The
/// second half of what the TEE signs is taken: it binds the enclave's keys.
#[must_use]
pub fn bound_challenge(challenge: Digest32, user_data: &[u8]) -> Challenge {
    if user_data.is_empty() {
        return Challenge::from_digest(challenge);
    }
    let mut hasher = Sha256::new();
    hasher.update(USER_DATA_DOMAIN);
    hasher.update(challenge.0);
    hasher.update(Sha256::digest(user_data));
    Challenge::from_digest(Digest32(hasher.finalize().into()))
}

impl AttestationRequest {
    /// The same as the service works with.
    ///
    /// # Errors
    /// [`AttestationError::BadRequest`] names what is not as it should be.
    pub(super) fn check(&self, now: UnixMillis) -> Result<Ask, AttestationError> {
        let bad = |what: String| AttestationError::BadRequest(what);
        let challenge: [u8; CHALLENGE_LENGTH] = self.challenge.as_slice().try_into().map_err(|_| {
            bad(format!(
                "a challenge has {CHALLENGE_LENGTH} bytes, this one {}: hash a longer one with SHA-256",
                self.challenge.len()
            ))
        })?;
        if self.user_data.len() > MAX_USER_DATA {
            let length = self.user_data.len();
            return Err(bad(format!(
                "user data has {length} bytes, more than the {MAX_USER_DATA} allowed: give its SHA-256 instead"
            )));
        }
        if self.enclave_id.len() > MAX_NAME || self.policy_id.len() > MAX_NAME {
            return Err(bad(format!(
                "enclave_id and policy_id have at most {MAX_NAME} bytes"
            )));
        }
        if now.since(self.timestamp) > MAX_AGE_MILLIS || self.timestamp.since(now) > MAX_AGE_MILLIS {
            return Err(bad(format!(
                "its timestamp {} is not within {} s of this node's clock, {now}",
                self.timestamp,
                MAX_AGE_MILLIS / 1000
            )));
        }
        Ok(Ask {
            enclave: self.enclave_id.clone(),
            purpose: self.request_type,
            question: Question::Anybody(bound_challenge(Digest32(challenge), &self.user_data)),
        })
    }
}

/// Names requests that one answer serves: same enclave in the same boot, same type, challenge, user data and policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(super) fn of(ask: &Ask, facts: &EnclaveNow) -> Self {
        let EnclaveNow { boot, policy } = facts;
        let BootId(boot) = boot;
        let mut hasher = Sha256::new();
        // A boot is of one enclave. All is of a fixed length but what comes last.
        hasher.update(boot);
        hasher.update(policy.0);
        hasher.update(ask.challenge().digest().0);
        hasher.update(ask.purpose.as_str());
        Self(hasher.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use nautilus_core::PolicyId;

    use super::*;

    fn request() -> AttestationRequest {
        AttestationRequest {
            enclave_id: "node".to_owned(),
            request_type: Purpose::Runtime,
            challenge: vec![7; 32],
            user_data: Vec::new(),
            policy_id: String::new(),
            timestamp: UnixMillis(1_000_000),
        }
    }

    #[test]
    fn requests_have_the_specifications_fields_and_no_others() {
        let json = serde_json::json!({
            "enclave_id": "node",
            "request_type": "runtime",
            "challenge": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
            "user_data": "",
            "policy_id": "",
            "timestamp": "1970-01-01T00:16:40Z",
        });
        let read: AttestationRequest = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(read, request());
        let mut more = json;
        more["color"] = "blue".into();
        let error = serde_json::from_value::<AttestationRequest>(more).unwrap_err();
        assert!(error.to_string().contains("color"), "{error}");
    }

    #[test]
    fn what_has_no_form_is_named() {
        let now = UnixMillis(1_000_000);
        let told = |change: fn(&mut AttestationRequest)| {
            let mut request = request();
            change(&mut request);
            match request.check(now) {
                Err(AttestationError::BadRequest(what)) => what,
                other => panic!("{other:?}"),
            }
        };
        request().check(now).unwrap();
        for (change, what) in [
            (
                (|request| request.challenge.truncate(31)) as fn(&mut AttestationRequest),
                "this one 31",
            ),
            (|request| request.challenge.push(0), "this one 33"),
            (
                |request| request.user_data = vec![0; MAX_USER_DATA + 1],
                "4097 bytes",
            ),
            (|request| request.enclave_id = "a".repeat(129), "at most 128"),
            (|request| request.policy_id = "a".repeat(129), "at most 128"),
            (
                |request| request.timestamp = UnixMillis(1_000_000 - 30_001),
                "within 30 s",
            ),
            (
                |request| request.timestamp = UnixMillis(1_000_000 + 30_001),
                "within 30 s",
            ),
        ] {
            assert!(told(change).contains(what), "{}", told(change));
        }
    }

    #[test]
    fn user_data_is_bound_and_nothing_else_looks_like_it() {
        let challenge = Digest32([7; 32]);
        assert_eq!(bound_challenge(challenge, b""), Challenge::from_digest(challenge));
        let bound = bound_challenge(challenge, b"data");
        assert_ne!(bound, Challenge::from_digest(challenge));
        assert_ne!(bound, bound_challenge(challenge, b"date"));
        assert_ne!(bound, bound_challenge(Digest32([8; 32]), b"data"));
    }

    #[test]
    fn a_fingerprint_differs_with_everything_that_an_answer_depends_on() {
        let now = |boot, policy| EnclaveNow {
            boot: BootId([boot; 16]),
            policy: PolicyId([policy; 32]),
        };
        let ask = |purpose, challenge| Ask {
            enclave: "node".to_owned(),
            purpose,
            question: Question::Anybody(Challenge::from_digest(Digest32([challenge; 32]))),
        };
        let first = Fingerprint::of(&ask(Purpose::Runtime, 1), &now(1, 1));
        assert_eq!(first, Fingerprint::of(&ask(Purpose::Runtime, 1), &now(1, 1)));
        for other in [
            Fingerprint::of(&ask(Purpose::Boot, 1), &now(1, 1)),
            Fingerprint::of(&ask(Purpose::Runtime, 2), &now(1, 1)),
            Fingerprint::of(&ask(Purpose::Runtime, 1), &now(2, 1)),
            Fingerprint::of(&ask(Purpose::Runtime, 1), &now(1, 2)),
        ] {
            assert_ne!(first, other);
        }
    }
}
