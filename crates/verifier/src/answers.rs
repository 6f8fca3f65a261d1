//! Answers that were given: whoever asks again with the same message id, because its session broke before it had the
//! answer, is answered again and nothing is done twice.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nautilus_channel::{Fault, Message, MessageId, MessageType};
use nautilus_core::NodeId;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

/// Most answers that are remembered of one node,
const PER_NODE: usize = 16;
/// in all,
const IN_ALL: usize = 1_600;
/// and bytes of them. The newest is remembered whatever its length.
const BYTES: usize = 64 * 1024 * 1024;

/// What is said to a question.
pub(crate) type Said = Result<(MessageType, Vec<u8>), Fault>;

/// What came of the work for a question.
pub(crate) enum Outcome {
    /// It is done, one way or the other: asked again, the answer is the same.
    Final(Said),
    /// Nothing was done, and another try may do better.
    Passing(Fault),
}

/// The memory.
#[derive(Default)]
pub(crate) struct Answers {
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    entries: HashMap<(NodeId, MessageId), Entry>,
    /// Those that are done, oldest first.
    done: VecDeque<(NodeId, MessageId)>,
    bytes: usize,
}

struct Entry {
    /// Of the question: a message id names one, and no other.
    question: [u8; 32],
    said: watch::Receiver<Option<Arc<Said>>>,
    bytes: usize,
}

impl Answers {
    /// The answer to a node's question: what was said to it before, what comes of the work that is under way for it, or
    /// what comes of `work`, which blocks. The work goes on when nobody waits for it any more.
    pub(crate) async fn once(
        self: &Arc<Self>,
        node: NodeId,
        question: Message,
        work: impl FnOnce(&Message) -> Outcome + Send + 'static,
    ) -> Said {
        let name = (node, question.message_id);
        let mut said = match self.find(name, question, work) {
            Ok(said) => said,
            Err(fault) => return Err(fault),
        };
        let said = said.wait_for(Option::is_some).await;
        match said.as_deref() {
            Ok(Some(said)) => Said::clone(said),
            Ok(None) | Err(_) => Err(internal("its work ended without an answer")),
        }
    }

    fn find(
        self: &Arc<Self>,
        name: (NodeId, MessageId),
        question: Message,
        work: impl FnOnce(&Message) -> Outcome + Send + 'static,
    ) -> Result<watch::Receiver<Option<Arc<Said>>>, Fault> {
        let digest = digest(&question);
        let mut memory = self.lock();
        if let Some(entry) = memory.entries.get(&name) {
            return match entry.question == digest {
                true => Ok(entry.said.clone()),
                false => Err(Fault {
                    kind: "message_id_reused".to_owned(),
                    detail: "another question had this message id: each has its own".to_owned(),
                    note: Vec::new(),
                }),
            };
        }
        let (say, said) = watch::channel(None);
        let entry = Entry {
            question: digest,
            said: said.clone(),
            bytes: 0,
        };
        memory.entries.insert(name, entry);
        drop(memory);
        let answers = Arc::clone(self);
        tokio::spawn(async move {
            let outcome = tokio::task::spawn_blocking(move || work(&question)).await;
            let outcome = outcome
                .unwrap_or_else(|error| Outcome::Passing(internal(&format!("its work failed: {error}"))));
            let said = match outcome {
                Outcome::Final(said) => {
                    answers.lock().keep(name, &said);
                    said
                }
                Outcome::Passing(fault) => {
                    answers.lock().entries.remove(&name);
                    Err(fault)
                }
            };
            say.send_replace(Some(Arc::new(said)));
        });
        Ok(said)
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn keep(&mut self, name: (NodeId, MessageId), said: &Said) {
        let bytes = match said {
            Ok((_, content)) => content.len(),
            Err(fault) => fault.kind.len() + fault.detail.len() + fault.note.len(),
        };
        if let Some(entry) = self.entries.get_mut(&name) {
            entry.bytes = bytes;
        }
        self.bytes = self.bytes.saturating_add(bytes);
        self.done.push_back(name);
        let of_node = |(node, _): &&(NodeId, MessageId)| *node == name.0;
        if self.done.iter().filter(of_node).count() > PER_NODE {
            let oldest = self.done.iter().position(|(node, _)| *node == name.0);
            if let Some(oldest) = oldest.and_then(|at| self.done.remove(at)) {
                self.forget(oldest);
            }
        }
        while self.done.len() > 1 && (self.done.len() > IN_ALL || self.bytes > BYTES) {
            if let Some(oldest) = self.done.pop_front() {
                self.forget(oldest);
            }
        }
    }

    fn forget(&mut self, name: (NodeId, MessageId)) {
        if let Some(entry) = self.entries.remove(&name) {
            self.bytes = self.bytes.saturating_sub(entry.bytes);
        }
    }
}

fn digest(question: &Message) -> [u8; 32] {
    let hash = Sha256::new().chain_update([question.message_type as u8]);
    hash.chain_update(&question.payload).finalize().into()
}

fn internal(what: &str) -> Fault {
    Fault {
        kind: "internal".to_owned(),
        detail: format!("verifier failed: {what}"),
        note: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
