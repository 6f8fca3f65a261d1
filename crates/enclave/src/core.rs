//! The state of an enclave and what it signs.

mod attestation;
mod keeping;

use std::path::Path;

use nautilus_core::{
    Attester, BootId, Challenge, Digest32, EvidenceId, NodeId, Protection, SignedMessage as _, TeeKind,
    UnixMillis,
};
use nautilus_proof::merkle::{Frontier, leaf_hash};
use nautilus_proof::{
    MAX_BATCH, MAX_SAMPLES, MAX_VALIDITY_MILLIS, Measurement, ProofStatement, SampleChain, Window,
    covered_slots, slots,
};
use nautilus_tee::Platform;

use crate::keys::{KeyError, Keys};
use crate::protocol::{
    EnclaveFault, Identity, Reply, Request, Rollback, SignedHead, SignedWindow, StateFacts, Vitals,
};
use crate::state::{State, StateError, Store};
use crate::storage;

/// One run of the trusted core.
pub struct Enclave {
    attester: Box<dyn Attester>,
    /// Where the state is kept; none where it ends with the process.
    store: Option<Store>,
    state: Box<State>,
    keys: Box<Keys>,
    boot: BootId,
    mode: Mode,
    memory: Memory,
    node: Option<Node>,
}

/// Why an enclave does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootError {
    /// Its state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// It has no keys.
    #[error(transparent)]
    Key(#[from] KeyError),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Signing,
    Suspended,
}

/// Whether secrets are kept from being swapped out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Memory {
    /// That is not this enclave's to see to.
    AsItIs,
    Locked,
}

/// What exists once the enclave was told which node it serves. A boot has one: a rotation starts another.
struct Node {
    id: NodeId,
    chain: SampleChain,
    log: Frontier,
    last_end: UnixMillis,
    newest: Option<Newest>,
}

/// The newest evidence of this boot.
struct Newest {
    id: EvidenceId,
    /// SHA-256 of the raw evidence.
    digest: Digest32,
    /// SHA-256 of the last certificate that carries it.
    certificate: Option<Digest32>,
    evidence: Vec<u8>,
    challenge: Challenge,
    user_data: Vec<u8>,
}

impl Node {
    fn of_boot(id: NodeId, boot: BootId) -> Self {
        Self {
            id,
            chain: SampleChain::of_boot(id, boot),
            log: Frontier::default(),
            last_end: UnixMillis(0),
            newest: None,
        }
    }

    /// Samples in the open batch.
    fn unsigned(&self) -> u32 {
        self.chain.open_batch().map_or(0, |batch| batch.count)
    }

    /// No sample is left without a signature.
    fn batch_signed(&self) -> Result<(), EnclaveFault> {
        match self.unsigned() {
            0 => Ok(()),
            unsigned => Err(EnclaveFault::BatchOpen(unsigned)),
        }
    }
}

impl Enclave {
    /// A new boot with new keys that end with the process.
    ///
    /// # Errors
    /// If there is no randomness.
    pub fn boot(attester: Box<dyn Attester>) -> Result<Self, BootError> {
        Self::start(attester, None, Box::new(State::new()?))
    }

    /// A new boot on `platform`, with the state in the file `state`, which is made where there is none. Without a
    /// path, or on a platform that seals nothing, the state ends with the process.
    ///
    /// # Errors
    /// If there is a state that cannot be used: it is never replaced in silence. If it cannot be kept, or there is no
    /// randomness.
    pub fn open(platform: Platform, state: Option<&Path>) -> Result<Self, BootError> {
        let (path, sealer) = match (state, platform.sealer) {
            (Some(path), Some(sealer)) => (path, sealer),
            (Some(path), None) if path.exists() => {
                return Err(BootError::State(StateError::NoSealer {
                    path: path.to_owned(),
                }));
            }
            (_, _) => return Self::boot(platform.attester),
        };
        let store = Store::open(path, sealer)?;
        let mut state = Box::new(match store.read()? {
            Some(mut state) => {
                state.generation = state.generation.checked_add(1).ok_or(StateError::Exhausted {
                    what: "it was started too often",
                })?;
                state
            }
            None => {
                let mut state = State::new()?;
                store.begin(&mut state)?;
                state
            }
        });
        store.write(&mut state)?;
        Self::start(platform.attester, Some(store), state)
    }

    fn start(
        attester: Box<dyn Attester>,
        store: Option<Store>,
        state: Box<State>,
    ) -> Result<Self, BootError> {
        Ok(Self {
            attester,
            store,
            keys: Box::new(Keys::of(&state)?),
            state,
            boot: new_boot()?,
            mode: Mode::Signing,
            memory: Memory::AsItIs,
            node: None,
        })
    }

    /// Answers a request. A refusal changes nothing.
    pub fn handle(&mut self, request: Request) -> Reply {
        self.answer(request).unwrap_or_else(Reply::Refused)
    }

    fn answer(&mut self, request: Request) -> Result<Reply, EnclaveFault> {
        if self.mode == Mode::Suspended && signs(&request) {
            return Err(EnclaveFault::Suspended);
        }
        match request {
            Request::Initialize { node } => self.initialize(node),
            Request::Attest { purpose, challenge } => self.attest(purpose, challenge),
            Request::Sample { measurement } => self.sample(*measurement),
            Request::CloseWindow {
                start,
                end,
                interval_millis,
                now,
                validity_millis,
            } => self.close_window(start, end, interval_millis, now, validity_millis),
            Request::Heartbeat => Ok(Reply::Alive(self.vitals())),
            Request::Suspend => Ok(self.go_on_as(Mode::Suspended)),
            Request::Resume => Ok(self.go_on_as(Mode::Signing)),
            Request::Rotate { now } => self.rotate(now),
            Request::Certify {
                not_before,
                not_after,
            } => self.certify(not_before, not_after),
            Request::SignAttestation {
                evidence,
                certificate,
                measurements,
                at,
                expires_at,
            } => self.sign_attestation(evidence, certificate, measurements, at, expires_at),
            Request::Provision { name, sealed } => self.provision(name, &sealed),
            Request::Vouch { terms, session } => self.vouch(&terms, *session),
            Request::SignBatch => self.sign_batch(),
            Request::StorageKey { epoch } => self.storage_key(epoch),
        }
    }

    /// The TEE that it runs in.
    pub fn tee(&self) -> TeeKind {
        self.attester.descriptor().tee
    }

    /// What protects its state at rest; none where the state ends with the process.
    pub fn protection(&self) -> Option<Protection> {
        self.store.as_ref().map(Store::protection)
    }

    /// Keeps what is secret from being swapped out, from now on.
    ///
    /// # Errors
    /// What the kernel says: the memory that a process may lock is bounded.
    pub fn lock_secrets(&mut self) -> std::io::Result<()> {
        nautilus_sys::memory::lock(&*self.keys)?;
        self.state.lock()?;
        self.memory = Memory::Locked;
        Ok(())
    }

    fn initialize(&mut self, id: NodeId) -> Result<Reply, EnclaveFault> {
        if self.node.is_some() {
            return Err(EnclaveFault::AlreadyInitialized);
        }
        match self.state.node {
            Some(bound) if bound != id => return Err(EnclaveFault::AnotherNode(bound)),
            Some(_) => {}
            None => {
                let mut next = self.state.clone();
                next.node = Some(id);
                self.keep(next)?;
            }
        }
        self.node = Some(Node::of_boot(id, self.boot));
        Ok(Reply::Identity(self.identity(id)))
    }

    fn identity(&self, node: NodeId) -> Identity {
        let protection = self.protection();
        Identity {
            tee: self.tee(),
            boot: self.boot,
            tee_key: self.keys.tee_key(),
            p256: self.keys.p256(node, self.boot),
            channel_key: self.keys.channel_key(),
            state: StateFacts {
                generation: self.state.generation,
                sealed_by_tee: matches!(protection, Some(Protection::Tee { .. })),
                protection: protection.map(|protection| match protection {
                    Protection::Tee { bound_to } => bound_to,
                    Protection::FileMode { path } => format!("the file mode of {path}"),
                }),
                rollback: self
                    .store
                    .as_ref()
                    .map_or(Rollback::NotApplicable, Store::rollback),
                keys_made_at: self.state.keys_made_at,
                retired: self.state.retired.clone(),
                secrets: self
                    .state
                    .secrets
                    .iter()
                    .map(|secret| secret.name.clone())
                    .collect(),
            },
        }
    }

    fn vitals(&self) -> Vitals {
        let node = self.node.as_ref();
        let samples = node.map_or(0, |node| node.chain.window_len());
        Vitals {
            boot: self.boot,
            windows: node.map_or(0, |node| node.log.size()),
            samples: u32::try_from(samples).unwrap_or(u32::MAX),
            suspended: self.mode == Mode::Suspended,
            unsigned: node.map_or(0, Node::unsigned),
        }
    }

    fn go_on_as(&mut self, mode: Mode) -> Reply {
        self.mode = mode;
        Reply::Alive(self.vitals())
    }

    fn sample(&mut self, measurement: Measurement) -> Result<Reply, EnclaveFault> {
        let node = self.node.as_mut().ok_or(EnclaveFault::NotInitialized)?;
        if node.chain.window_len() >= MAX_SAMPLES.into() {
            return Err(EnclaveFault::WindowFull(MAX_SAMPLES));
        }
        if node.unsigned() >= MAX_BATCH {
            return Err(EnclaveFault::BatchFull(MAX_BATCH));
        }
        if measurement.at < node.last_end {
            return Err(EnclaveFault::Sample(
                "it lies in a window that is closed".to_owned(),
            ));
        }
        let sample = node.chain.draft(measurement);
        node.chain
            .push(&sample)
            .map_err(|error| EnclaveFault::Sample(error.to_string()))?;
        Ok(Reply::Sample(Box::new(sample)))
    }

    fn sign_batch(&mut self) -> Result<Reply, EnclaveFault> {
        let node = self.node.as_mut().ok_or(EnclaveFault::NotInitialized)?;
        let batch = node.chain.take_batch().ok_or(EnclaveFault::NoSamples)?;
        let signature = self.keys.sign(&batch);
        Ok(Reply::Batch(Box::new(SignedHead { batch, signature })))
    }

    fn storage_key(&self, epoch: u32) -> Result<Reply, EnclaveFault> {
        let node = self.node.as_ref().ok_or(EnclaveFault::NotInitialized)?;
        let (root, origin) = storage::root(&self.state, self.store.is_some())
            .map_err(|what| EnclaveFault::StorageKey(what.to_owned()))?;
        let key = storage::key(root, node.id, epoch)
            .ok_or_else(|| EnclaveFault::StorageKey("it cannot be derived".to_owned()))?;
        Ok(Reply::StorageKey { key, origin })
    }

    fn close_window(
        &mut self,
        start: UnixMillis,
        end: UnixMillis,
        interval_millis: u64,
        now: UnixMillis,
        validity_millis: u64,
    ) -> Result<Reply, EnclaveFault> {
        let tee = self.tee();
        let node = self.node.as_ref().ok_or(EnclaveFault::NotInitialized)?;
        let attestation_hash = node.newest.as_ref().ok_or(EnclaveFault::NotAttested)?.id;
        let refused = |what: &str| EnclaveFault::Window(what.to_owned());
        if start >= end || start < node.last_end {
            return Err(refused(
                "it does not start after the last one and end after its start",
            ));
        }
        if validity_millis > MAX_VALIDITY_MILLIS {
            return Err(refused("a proof is valid for at most 24 hours"));
        }
        let slots =
            slots(end.since(start), interval_millis).ok_or_else(|| refused("its interval is no time"))?;
        node.batch_signed()?;
        let outside = || refused("a sample lies outside of it");
        if let Some((first, last)) = node.chain.window_span()
            && (first < start || last >= end)
        {
            return Err(outside());
        }
        let times = node.chain.times();
        let covered = covered_slots(start, end, interval_millis, times).ok_or_else(outside)?;
        let samples =
            u32::try_from(node.chain.window_len()).map_err(|_| EnclaveFault::WindowFull(MAX_SAMPLES))?;
        self.date_keys(now)?;
        let node = self.node.as_mut().ok_or(EnclaveFault::NotInitialized)?;
        let window = Window {
            node: node.id,
            tee,
            assurance: tee.assurance(),
            boot: self.boot,
            sequence: node.log.size(),
            start,
            end,
            interval_millis,
            slots,
            covered,
            samples,
            metrics_hash: node.chain.metrics_hash(),
            attestation_hash,
            summary: node.chain.summary(),
        };
        let merkle_proof = node.log.next_path();
        node.log.append(leaf_hash(&window.to_bytes()));
        node.chain.start_window();
        node.last_end = end;
        let statement = ProofStatement {
            window,
            merkle_root: node.log.root(),
            issued_at: now,
            expires_at: now.plus(validity_millis),
        };
        let tee_signature = self.keys.sign(&statement);
        Ok(Reply::Window(Box::new(SignedWindow {
            statement,
            merkle_proof,
            tee_signature,
        })))
    }
}

/// Whether answering takes a signature of the enclave's or of its TEE's, or a place in the chain that is signed.
const fn signs(request: &Request) -> bool {
    match request {
        Request::Initialize { .. }
        | Request::Attest { .. }
        | Request::Sample { .. }
        | Request::CloseWindow { .. }
        | Request::Rotate { .. }
        | Request::Certify { .. }
        | Request::SignAttestation { .. }
        | Request::Vouch { .. }
        | Request::SignBatch => true,
        Request::Heartbeat
        | Request::Suspend
        | Request::Resume
        | Request::Provision { .. }
        | Request::StorageKey { .. } => false,
    }
}

fn new_boot() -> Result<BootId, KeyError> {
    let mut boot = [0; 16];
    getrandom::fill(&mut boot)?;
    Ok(BootId(boot))
}

#[cfg(test)]
mod tests;
