//! Which events are kept for a subscriber that comes later.

use std::collections::VecDeque;

use super::Message;
use crate::event::What;

/// Samples kept: fifteen minutes at one a second, which is as far back as the page's plots go.
const MAX_SAMPLES: usize = 900;
/// Changes of state of an enclave that are kept; a run has five, and a few more for each restart.
const MAX_ENCLAVE: usize = 64;
/// Batches, proofs, settlements, rewards and warnings kept, of each.
const MAX_OF_KIND: usize = 200;
/// Bytes of JSON kept of each kind. A proof carries up to 10,000 samples, so that a number alone is no bound.
const MAX_BYTES: usize = 8 << 20;

/// The newest events of each kind.
#[derive(Debug)]
pub struct History {
    listening: Newest,
    detect: Newest,
    enclave: Newest,
    rotated: Newest,
    provisioned: Newest,
    channels: Newest,
    boot: Newest,
    samples: Newest,
    batches: Newest,
    stored: Newest,
    proofs: Newest,
    settled: Newest,
    rewards: Newest,
    warnings: Newest,
    stopped: Newest,
}

impl Default for History {
    fn default() -> Self {
        Self {
            listening: Newest::new(1),
            detect: Newest::new(1),
            enclave: Newest::new(MAX_ENCLAVE),
            rotated: Newest::new(MAX_ENCLAVE),
            provisioned: Newest::new(1),
            channels: Newest::new(MAX_ENCLAVE),
            boot: Newest::new(1),
            samples: Newest::new(MAX_SAMPLES),
            batches: Newest::new(MAX_OF_KIND),
            stored: Newest::new(1),
            proofs: Newest::new(MAX_OF_KIND),
            settled: Newest::new(MAX_OF_KIND),
            rewards: Newest::new(MAX_OF_KIND),
            warnings: Newest::new(MAX_OF_KIND),
            stopped: Newest::new(1),
        }
    }
}

impl History {
    /// Keeps an event, and forgets the oldest of its kind that no longer fit.
    pub fn keep(&mut self, what: &What, message: Message) {
        let kind = match what {
            What::Listening { .. } => &mut self.listening,
            What::Detect { .. } => &mut self.detect,
            What::Enclave(_) => &mut self.enclave,
            What::Rotated(_) => &mut self.rotated,
            What::Provisioned { .. } => &mut self.provisioned,
            What::Channel(_) => &mut self.channels,
            What::Boot(_) => &mut self.boot,
            What::Sample(_) => &mut self.samples,
            What::Stored { .. } => &mut self.stored,
            What::Batch { .. } => &mut self.batches,
            What::Proof { .. } => &mut self.proofs,
            What::Settled { .. } => &mut self.settled,
            What::Reward { .. } => &mut self.rewards,
            What::Warning { .. } => &mut self.warnings,
            What::Stopped { .. } => &mut self.stopped,
        };
        kind.push(message);
    }

    /// All that is kept, in the order of publishing.
    pub fn in_order(&self) -> Vec<Message> {
        let kinds = [
            &self.listening,
            &self.detect,
            &self.enclave,
            &self.rotated,
            &self.provisioned,
            &self.channels,
            &self.boot,
            &self.samples,
            &self.batches,
            &self.stored,
            &self.proofs,
            &self.settled,
            &self.rewards,
            &self.warnings,
            &self.stopped,
        ];
        let mut all: Vec<Message> = kinds
            .into_iter()
            .flat_map(|kind| kind.messages.iter().cloned())
            .collect();
        all.sort_unstable_by_key(|message| message.id);
        all
    }
}

/// The newest messages, bounded in number and in bytes.
#[derive(Debug)]
struct Newest {
    messages: VecDeque<Message>,
    bytes: usize,
    max_messages: usize,
}

impl Newest {
    fn new(max_messages: usize) -> Self {
        Self {
            messages: VecDeque::new(),
            bytes: 0,
            max_messages,
        }
    }

    /// The newest message itself is kept whatever its size: it is what a page is opened for.
    fn push(&mut self, message: Message) {
        self.bytes = self.bytes.saturating_add(message.json.len());
        self.messages.push_back(message);
        while self.messages.len() > self.max_messages || (self.bytes > MAX_BYTES && self.messages.len() > 1) {
            let Some(oldest) = self.messages.pop_front() else {
                return;
            };
            self.bytes = self.bytes.saturating_sub(oldest.json.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: u64, bytes: usize) -> Message {
        Message {
            id,
            json: "x".repeat(bytes).into(),
        }
    }

    fn ids(kept: &Newest) -> Vec<u64> {
        kept.messages.iter().map(|message| message.id).collect()
    }

    #[test]
    fn the_newest_are_kept_by_number() {
        let mut kept = Newest::new(2);
        for id in 1..=5 {
            kept.push(message(id, 10));
        }
        assert_eq!(ids(&kept), [4, 5]);
        assert_eq!(kept.bytes, 20);
    }

    #[test]
    fn the_newest_are_kept_by_size() {
        let mut kept = Newest::new(100);
        kept.push(message(1, MAX_BYTES / 2));
        kept.push(message(2, MAX_BYTES / 2));
        assert_eq!(ids(&kept), [1, 2]);
        kept.push(message(3, 1));
        assert_eq!(ids(&kept), [2, 3]);
        kept.push(message(4, MAX_BYTES + 1));
        assert_eq!(
            ids(&kept),
            [4],
            "one that is too large alone is still what there is to show"
        );
        kept.push(message(5, 1));
        assert_eq!(ids(&kept), [5]);
        assert_eq!(kept.bytes, 1);
    }
}
