//! Answers that are given again to the same request (the specification's `verificationCache`).
//!
//! An answer is kept by its evidence and the policy that judged it, and found by the request. It dies when it expires;
//! when the enclave that made it has another boot, for the request's name has the boot in it, and [`forget`] drops what
//! nobody can ask for any more; and when there is no room. What was not verified is not kept.
//!
//! [`forget`]: VerificationCache::forget

use std::collections::HashMap;
use std::sync::Arc;

use nautilus_core::{BootId, EvidenceId, PolicyId, UnixMillis};

use super::limits::{MAX_REMEMBERED, MAX_REMEMBERED_BYTES};
use super::request::Fingerprint;
use super::response::Answer;

/// What an answer is kept by.
type Key = (EvidenceId, PolicyId);

/// The newest answers.
#[derive(Default)]
pub(super) struct VerificationCache {
    requests: HashMap<Fingerprint, Key>,
    answers: HashMap<Key, Kept>,
    bytes: usize,
    uses: u64,
}

struct Kept {
    answer: Arc<Answer>,
    request: Fingerprint,
    size: usize,
    last_use: u64,
}

impl VerificationCache {
    /// The answer to the same request, if it is still valid.
    pub(super) fn find(&mut self, request: &Fingerprint, now: UnixMillis) -> Option<Arc<Answer>> {
        let key = *self.requests.get(request)?;
        if self.answers.get(&key)?.answer.response.expires_at <= now {
            self.remove(&key);
            return None;
        }
        self.uses += 1;
        let kept = self.answers.get_mut(&key)?;
        kept.last_use = self.uses;
        Some(Arc::clone(&kept.answer))
    }

    /// Keeps a verified answer, in the place of those that were not used for the longest time.
    pub(super) fn keep(&mut self, request: Fingerprint, policy: PolicyId, answer: &Arc<Answer>) {
        let size = answer.size();
        if !answer.response.verified || size > MAX_REMEMBERED_BYTES {
            return;
        }
        let key = (answer.evidence, policy);
        self.remove(&key);
        while self.answers.len() >= MAX_REMEMBERED || self.bytes + size > MAX_REMEMBERED_BYTES {
            let Some(oldest) = self.answers.iter().min_by_key(|(_, kept)| kept.last_use) else {
                break;
            };
            let oldest = *oldest.0;
            self.remove(&oldest);
        }
        self.uses += 1;
        let kept = Kept {
            answer: Arc::clone(answer),
            request,
            size,
            last_use: self.uses,
        };
        self.bytes += size;
        self.requests.insert(request, key);
        self.answers.insert(key, kept);
    }

    /// Drops every answer of a boot that is over.
    pub(super) fn forget(&mut self, boot: BootId) {
        let over: Vec<Key> = self
            .answers
            .iter()
            .filter(|(_, kept)| kept.answer.boot == boot)
            .map(|(key, _)| *key)
            .collect();
        for key in over {
            self.remove(&key);
        }
    }

    /// Answers and bytes that are kept.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.answers.len(), self.bytes)
    }

    fn remove(&mut self, key: &Key) {
        if let Some(kept) = self.answers.remove(key) {
            self.bytes -= kept.size;
            self.requests.remove(&kept.request);
        }
    }
}
