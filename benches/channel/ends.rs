//! Our own channel: two ends in one thread, and evidence of a simulated TEE that really signs.

use std::cell::Cell;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ed25519_dalek::{Signer as _, SigningKey};
use nautilus_channel::{
    Appraise, Config, Demand, Endpoint, Event, Judgement, KernelPeer, MessageId, MessageType, Now, Present,
    Presentation, PresentedEvidence, SessionKeyHolder,
};
use nautilus_core::{
    Attester as _, Binding, BootId, BoundUserData, EventLogHead, Measurement, NodeId, Policy, PublicKey,
    Role, SessionBinding, Signature, SignedMessage as _, TeeKind, TrustAnchors, UnixMillis, VerifierSet,
};
use nautilus_tee::simulated::{Image, Platform, SimulatedAttester, Vendor, verifier_set};
use tempfile::TempDir;

use crate::rounds::thread_seconds;

const NOW: Now = Now {
    monotonic: Duration::from_secs(1_000),
    wall: UnixMillis(1_800_000_000_000),
};
const NODE: NodeId = NodeId([0x17; 32]);
const PROGRAM: [u8; 32] = [0xe0; 32];

/// Makes evidence and judges it, and counts the time of both.
pub struct Tee {
    attester: SimulatedAttester,
    vendor: Vendor,
    set: VerifierSet,
    policy: Policy,
    making: Cell<f64>,
    judging: Cell<f64>,
    made: Cell<u32>,
    _directory: TempDir,
}

impl Tee {
    pub fn new() -> Result<Self> {
        let directory = TempDir::new()?;
        let vendor = Vendor::open_or_create(directory.path(), NOW.wall)?;
        Ok(Self {
            attester: Platform::load(directory.path())?.into_attester(Image::production(PROGRAM)),
            set: verifier_set(vendor.root_der().to_vec(), &TrustAnchors::default())?,
            vendor,
            policy: Policy::development(Measurement(PROGRAM.to_vec()), Default::default()),
            making: Cell::new(0.0),
            judging: Cell::new(0.0),
            made: Cell::new(0),
            _directory: directory,
        })
    }

    /// Seconds of CPU time that evidence has taken so far, both ways.
    pub fn seconds(&self) -> f64 {
        self.making.get() + self.judging.get()
    }

    /// Mean microseconds of CPU time to make evidence, and to verify and appraise it.
    pub fn micros(&self) -> (f64, f64) {
        let count = f64::from(self.made.get());
        (self.making.get() / count * 1e6, self.judging.get() / count * 1e6)
    }

    fn present(&self, present: &Present) -> Result<PresentedEvidence> {
        let before = thread_seconds();
        let user_data = BoundUserData {
            purpose: present.terms.purpose,
            node: present.session.node,
            tee: TeeKind::Simulated,
            boot: BootId([2; 16]),
            tee_key: PublicKey([3; 32]),
            channel_key: None,
            event_log: EventLogHead::EMPTY,
            session: Some(present.session.clone()),
        };
        let raw = self
            .attester
            .attest(&present.terms.challenge().bind(&user_data))?;
        let vendor = self.vendor.endorsement();
        let presented = PresentedEvidence {
            tee: TeeKind::Simulated,
            evidence: raw.bytes,
            user_data: user_data.to_bytes(),
            event_log: None,
            endorsements: vec![(vendor.kind, vendor.bytes)],
            accompanying: Vec::new(),
        };
        self.making.set(self.making.get() + thread_seconds() - before);
        self.made.set(self.made.get() + 1);
        Ok(presented)
    }

    fn judge(&self, appraise: Appraise) -> Result<Judgement> {
        let before = thread_seconds();
        let (evidence, endorsements, _) = appraise.presented.parts();
        let binding = Binding::Session {
            terms: &appraise.terms,
            session: &appraise.session,
        };
        let claims = self.set.verify(&evidence, binding, &endorsements, NOW.wall)?;
        let judgement = Judgement::Appraised {
            appraisal: Box::new(self.policy.appraise(claims, NOW.wall)),
            note: Vec::new(),
        };
        self.judging.set(self.judging.get() + thread_seconds() - before);
        Ok(judgement)
    }
}

/// Who speaks to whom, and what they present.
pub struct Profile {
    initiator: Config,
    responder: Config,
}

impl Profile {
    /// An enclave, whose evidence the agent demands; the agent presents nothing.
    pub fn enclave_to_agent() -> Self {
        let demand = Demand::Evidence {
            verifier: None,
            child: None,
        };
        let [enclave, agent] = [(Role::Enclave, Role::Agent), (Role::Agent, Role::Enclave)];
        Self {
            initiator: config(enclave, Some(NODE), Presentation::Evidence, Demand::Nothing),
            responder: config(agent, None, Presentation::Nothing, demand),
        }
    }

    /// An agent with evidence, and a verifier with its long-term key.
    pub fn agent_to_verifier() -> Self {
        let key = Key(SigningKey::from_bytes(&[0x77; 32]));
        let public = key.public();
        let demand = Demand::Evidence {
            verifier: Some(public),
            child: None,
        };
        let [agent, verifier] = [(Role::Agent, Role::Verifier), (Role::Verifier, Role::Agent)];
        Self {
            initiator: config(agent, Some(NODE), Presentation::Evidence, Demand::Key(public)),
            responder: config(verifier, None, Presentation::Key(Arc::new(key)), demand),
        }
    }

    /// Neither end presents anything: the policy of tests.
    pub fn without_evidence() -> Result<Self> {
        let (a, b) = UnixStream::pair()?;
        let bare = |roles, node, socket: &UnixStream| -> Result<Config> {
            let config = config(roles, node, Presentation::Nothing, Demand::Nothing);
            Ok(config.dangerous_without_evidence(KernelPeer::of(socket)?))
        };
        Ok(Self {
            initiator: bare((Role::Enclave, Role::Agent), Some(NODE), &a)?,
            responder: bare((Role::Agent, Role::Enclave), None, &b)?,
        })
    }
}

fn config(
    (role, peer): (Role, Role),
    node: Option<NodeId>,
    presents: Presentation,
    demands: Demand,
) -> Config {
    Config::new(role, peer, node, presents, demands)
}

struct Key(SigningKey);

impl SessionKeyHolder for Key {
    fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    fn sign(&self, session: &SessionBinding) -> Signature {
        Signature(self.0.sign(&session.to_bytes()).to_bytes())
    }
}

/// An open channel, both ends.
pub struct Ours {
    initiator: Endpoint,
    responder: Endpoint,
    message_type: MessageType,
    sent: u64,
    wire: Vec<u8>,
}

impl Ours {
    /// Opens it: TLS, hellos, credentials, verdicts.
    pub fn open(profile: &Profile, tee: &Tee, message_type: MessageType) -> Result<Self> {
        let mut initiator = Endpoint::initiator(profile.initiator.clone(), NOW)?;
        let mut responder = Endpoint::responder(profile.responder.clone(), NOW)?;
        let (mut open, mut wire) = (0, Vec::new());
        while open < 2 {
            open += flight(&mut initiator, &mut responder, tee, &mut wire)?;
            open += flight(&mut responder, &mut initiator, tee, &mut wire)?;
        }
        Ok(Self {
            initiator,
            responder,
            message_type,
            sent: 0,
            wire,
        })
    }

    /// Sends a message there, and gives what arrived.
    pub fn carry(&mut self, payload: &[u8]) -> Result<Vec<u8>> {
        let (from, to) = (&mut self.initiator, &mut self.responder);
        carry(
            from,
            to,
            self.message_type,
            &mut self.sent,
            payload,
            &mut self.wire,
        )
    }

    /// Sends a message back, and gives what arrived.
    pub fn carry_back(&mut self, payload: &[u8]) -> Result<Vec<u8>> {
        let (from, to) = (&mut self.responder, &mut self.initiator);
        carry(
            from,
            to,
            self.message_type,
            &mut self.sent,
            payload,
            &mut self.wire,
        )
    }

    /// Bytes on the wire of the last message.
    pub fn on_wire(&self) -> usize {
        self.wire.len()
    }

    /// Only the ends remain.
    pub fn into_ends(self) -> (Endpoint, Endpoint) {
        (self.initiator, self.responder)
    }
}

fn carry(
    from: &mut Endpoint,
    to: &mut Endpoint,
    message_type: MessageType,
    sent: &mut u64,
    payload: &[u8],
    wire: &mut Vec<u8>,
) -> Result<Vec<u8>> {
    *sent += 1;
    let mut id = [0x1d; 16];
    id[..8].copy_from_slice(&sent.to_le_bytes());
    from.send(message_type, MessageId(id), false, payload, NOW)?;
    drain(from, wire)?;
    to.receive(wire, NOW)?;
    match to.next_event() {
        Some(Event::Message(message)) => {
            ensure!(message.payload.len() == payload.len(), "another message arrived");
            Ok(message.payload)
        }
        other => bail!("no message arrived, but {other:?}"),
    }
}

/// All that `from` has to say, and what `to` makes of it. Gives how many ends opened by that.
fn flight(from: &mut Endpoint, to: &mut Endpoint, tee: &Tee, wire: &mut Vec<u8>) -> Result<u32> {
    drain(from, wire)?;
    to.receive(wire, NOW).context("the handshake failed")?;
    let mut open = 0;
    while let Some(event) = to.next_event() {
        match event {
            Event::Present(present) => to.presented(Ok(tee.present(&present)?), NOW)?,
            Event::Appraise(appraise) => to.judged(tee.judge(*appraise)?, NOW)?,
            Event::Established => open += 1,
            other => bail!("{other:?} in the handshake"),
        }
    }
    Ok(open)
}

fn drain(from: &mut Endpoint, wire: &mut Vec<u8>) -> Result<()> {
    wire.clear();
    while from.wants_write() {
        from.write_to(wire)?;
    }
    Ok(())
}
