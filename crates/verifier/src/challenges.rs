//! Challenges that were issued and not yet answered. Each may be answered once.

use std::collections::HashMap;

use nautilus_core::{Challenge, ChallengeTerms, Digest32, NodeId, PublicKey, Purpose, UnixMillis};

/// How long a challenge may wait: the specification's attestation timeout is 30 s; a TPM may need most of it.
const LIFETIME_MILLIS: u64 = 60 * 1000;
/// Most challenges that wait at once. They cost 200 bytes each.
const MAX_WAITING: usize = 10_000;
/// Most challenges of one node that wait at once: as many nodes as have sessions leave each other theirs.
const MAX_OF_NODE: usize = 100;

/// No more challenges can be issued for now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

/// The challenges that wait for an answer.
#[derive(Default)]
pub(crate) struct Challenges {
    waiting: HashMap<Challenge, ChallengeTerms>,
}

impl Challenges {
    /// Issues a challenge.
    pub(crate) fn issue(
        &mut self,
        verifier: PublicKey,
        node: NodeId,
        purpose: Purpose,
        nonce: [u8; 32],
        now: UnixMillis,
    ) -> Result<ChallengeTerms, TooMany> {
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.retain(|_, terms| terms.expires_at > now);
        }
        let of_node = |terms: &&ChallengeTerms| terms.node == node && terms.expires_at > now;
        if self.waiting.len() >= MAX_WAITING || self.waiting.values().filter(of_node).count() >= MAX_OF_NODE {
            return Err(TooMany);
        }
        let terms = ChallengeTerms {
            verifier,
            node,
            purpose,
            nonce: Digest32(nonce),
            issued_at: now,
            expires_at: now.plus(LIFETIME_MILLIS),
        };
        self.waiting.insert(terms.challenge(), terms.clone());
        Ok(terms)
    }

    /// Takes a challenge out: whatever comes of this answer, there is no second.
    pub(crate) fn take(&mut self, challenge: Challenge) -> Option<ChallengeTerms> {
        self.waiting.remove(&challenge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issue(challenges: &mut Challenges, nonce: u64, now: u64) -> Result<ChallengeTerms, TooMany> {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&nonce.to_le_bytes());
        challenges.issue(
            PublicKey([1; 32]),
            // So many nodes that none of them has too many.
            NodeId([u8::try_from(nonce % 200).unwrap(); 32]),
            Purpose::Boot,
            bytes,
            UnixMillis(now),
        )
    }

    #[test]
    fn a_challenge_is_taken_once() {
        let mut challenges = Challenges::default();
        let terms = issue(&mut challenges, 1, 1000).unwrap();
        assert_eq!(challenges.take(terms.challenge()), Some(terms.clone()));
        assert_eq!(challenges.take(terms.challenge()), None);
        assert_eq!(challenges.take(Challenge::from_digest(Digest32([0; 32]))), None);
    }

    #[test]
    fn waiting_challenges_are_bounded_and_expired_ones_make_room() {
        let mut challenges = Challenges::default();
        for nonce in 0..MAX_WAITING as u64 {
            issue(&mut challenges, nonce, 1000).unwrap();
        }
        assert_eq!(
            issue(&mut challenges, u64::MAX, 1000 + LIFETIME_MILLIS - 1),
            Err(TooMany)
        );
        assert!(issue(&mut challenges, u64::MAX, 1000 + LIFETIME_MILLIS).is_ok());
        assert_eq!(challenges.waiting.len(), 1);
    }

    #[test]
    fn one_node_leaves_the_others_theirs() {
        let mut challenges = Challenges::default();
        let mut of_node = |number: u8, nonce: u8, now: u64| {
            let node = NodeId([number; 32]);
            challenges.issue(
                PublicKey([1; 32]),
                node,
                Purpose::Boot,
                [nonce; 32],
                UnixMillis(now),
            )
        };
        for nonce in 0..100 {
            of_node(1, nonce, 1000).unwrap();
        }
        assert_eq!(of_node(1, 100, 1000), Err(TooMany));
        assert!(of_node(2, 0, 1000).is_ok());
        assert!(of_node(1, 101, 1000 + LIFETIME_MILLIS).is_ok());
    }
}
