//! Two ends in one process, a simulated TEE that really signs, and a wire that anybody may tamper with.

use std::time::Duration;

use ed25519_dalek::{Signer as _, SigningKey};
use nautilus_channel::{
    Appraise, ChannelError, Config, Demand, Endpoint, Event, Fault, Judgement, MessageId, MessageType, Now,
    Present, Presentation, PresentedEvidence, SessionKeyHolder,
};
use nautilus_core::{
    Attester as _, Binding, BootId, BoundUserData, EventLogHead, Measurement, NodeId, Policy, PublicKey,
    Role, SessionBinding, Signature, SignedMessage as _, TeeKind, TrustAnchors, UnixMillis, VerifierSet,
};
use nautilus_tee::simulated::{Image, Platform, SimulatedAttester, Vendor, verifier_set};
use tempfile::TempDir;

/// When everything starts.
pub const START: Now = Now {
    monotonic: Duration::from_secs(1_000),
    wall: UnixMillis(1_800_000_000_000),
};
/// The program that the policy wants.
pub const WANTED: [u8; 32] = [0xe0; 32];
pub const NODE: NodeId = NodeId([0x17; 32]);

/// A vendor, its verifier, and a policy.
pub struct Tee {
    directory: TempDir,
    vendor: Vendor,
    set: VerifierSet,
    policy: Policy,
}

impl Tee {
    pub fn new() -> Self {
        Self::at(START.wall)
    }

    pub fn at(now: UnixMillis) -> Self {
        let directory = TempDir::new().unwrap();
        let vendor = Vendor::open_or_create(directory.path(), now).unwrap();
        let set = verifier_set(vendor.root_der().to_vec(), &TrustAnchors::default()).unwrap();
        Self {
            policy: Policy::development(Measurement(WANTED.to_vec()), Default::default()),
            directory,
            vendor,
            set,
        }
    }

    /// A TEE in which a program with this measurement runs.
    pub fn running(&self, program: [u8; 32]) -> SimulatedAttester {
        let image = Image::production(program);
        Platform::load(self.directory.path())
            .unwrap()
            .into_attester(image)
    }

    /// What an honest program presents.
    pub fn present(&self, present: &Present) -> PresentedEvidence {
        self.present_as(WANTED, present, |_| {})
    }

    /// What a program presents that binds something else.
    pub fn present_as(
        &self,
        program: [u8; 32],
        present: &Present,
        change: impl FnOnce(&mut BoundUserData),
    ) -> PresentedEvidence {
        let mut user_data = BoundUserData {
            purpose: present.terms.purpose,
            node: present.session.node,
            tee: TeeKind::Simulated,
            boot: BootId([2; 16]),
            tee_key: PublicKey([3; 32]),
            channel_key: None,
            event_log: EventLogHead::EMPTY,
            session: Some(present.session.clone()),
        };
        change(&mut user_data);
        let raw = self
            .running(program)
            .attest(&present.terms.challenge().bind(&user_data))
            .unwrap();
        let vendor = self.vendor.endorsement();
        PresentedEvidence {
            tee: TeeKind::Simulated,
            evidence: raw.bytes,
            user_data: user_data.to_bytes(),
            event_log: None,
            endorsements: vec![(vendor.kind, vendor.bytes)],
            accompanying: Vec::new(),
        }
    }

    /// How an honest verifier judges.
    pub fn judge(&self, appraise: Appraise, now: UnixMillis) -> Judgement {
        let (evidence, endorsements, _) = appraise.presented.parts();
        let binding = Binding::Session {
            terms: &appraise.terms,
            session: &appraise.session,
        };
        match self.set.verify(&evidence, binding, &endorsements, now) {
            Ok(claims) => Judgement::Appraised {
                appraisal: Box::new(self.policy.appraise(claims, now)),
                note: b"outcome".to_vec(),
            },
            Err(error) => Judgement::Invalid(error),
        }
    }
}

/// A long-term key.
pub struct Key(pub SigningKey);

impl Key {
    pub fn new(seed: u8) -> Self {
        Self(SigningKey::from_bytes(&[seed; 32]))
    }
}

impl SessionKeyHolder for Key {
    fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    fn sign(&self, session: &SessionBinding) -> Signature {
        Signature(self.0.sign(&session.to_bytes()).to_bytes())
    }
}

/// The seed of the verifier's long-term key.
pub const VERIFIER: u8 = 0x77;

/// An agent that presents evidence, and wants the verifier's key.
pub fn agent() -> Config {
    Config::new(
        Role::Agent,
        Role::Verifier,
        Some(NODE),
        Presentation::Evidence,
        Demand::Key(Key::new(VERIFIER).public()),
    )
}

/// A verifier that wants evidence, and presents its key.
pub fn verifier() -> Config {
    let key = Key::new(VERIFIER);
    let demand = Demand::Evidence {
        verifier: Some(key.public()),
        child: None,
    };
    Config::new(
        Role::Verifier,
        Role::Agent,
        None,
        Presentation::Key(std::sync::Arc::new(key)),
        demand,
    )
}

/// What an end has to send.
pub fn output(end: &mut Endpoint) -> Vec<u8> {
    let mut bytes = Vec::new();
    while end.wants_write() {
        end.write_to(&mut bytes).unwrap();
    }
    bytes
}

/// An end, what stands behind it, and what happened to it.
pub struct Side<'a> {
    pub end: Endpoint,
    pub now: Now,
    pub events: Vec<Event>,
    /// What its program presents.
    pub presents: Box<dyn Fn(&Present) -> PresentedEvidence + 'a>,
    /// How it judges.
    pub judges: Box<dyn Fn(Appraise, UnixMillis) -> Judgement + 'a>,
}

impl<'a> Side<'a> {
    pub fn initiator(config: Config, tee: &'a Tee) -> Self {
        Self::new(Endpoint::initiator(config, START).unwrap(), tee)
    }

    pub fn responder(config: Config, tee: &'a Tee) -> Self {
        Self::new(Endpoint::responder(config, START).unwrap(), tee)
    }

    fn new(end: Endpoint, tee: &'a Tee) -> Self {
        Self {
            end,
            now: START,
            events: Vec::new(),
            presents: Box::new(|present| tee.present(present)),
            judges: Box::new(|appraise, now| tee.judge(appraise, now)),
        }
    }

    /// Takes what arrived, and does honestly what the events ask for.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), ChannelError> {
        let received = self.end.receive(bytes, self.now);
        self.work()?;
        received
    }

    fn work(&mut self) -> Result<(), ChannelError> {
        while let Some(event) = self.end.next_event() {
            match event {
                Event::Present(present) => {
                    let evidence = (self.presents)(&present);
                    self.end.presented(Ok(evidence), self.now)?;
                }
                Event::Appraise(appraise) => {
                    let judgement = (self.judges)(*appraise, self.now.wall);
                    self.end.judged(judgement, self.now)?;
                }
                other => self.events.push(other),
            }
        }
        Ok(())
    }

    pub fn output(&mut self) -> Vec<u8> {
        output(&mut self.end)
    }

    /// What arrived as messages, in order.
    pub fn payloads(&self) -> Vec<&[u8]> {
        let messages = self.events.iter().filter_map(|event| match event {
            Event::Message(message) => Some(message.payload.as_slice()),
            _ => None,
        });
        messages.collect()
    }

    pub fn say(&mut self, payload: &[u8]) {
        let id = MessageId([9; 16]);
        self.end
            .send(MessageType::Attestation, id, false, payload, self.now)
            .unwrap();
    }
}

/// Carries bytes until nobody has any; the first error of each end, if it has one.
pub fn run(a: &mut Side<'_>, b: &mut Side<'_>) -> (Option<ChannelError>, Option<ChannelError>) {
    let (mut a_failed, mut b_failed) = (None, None);
    loop {
        let (from_a, from_b) = (a.output(), b.output());
        if from_a.is_empty() && from_b.is_empty() {
            return (a_failed, b_failed);
        }
        if b_failed.is_none() {
            b_failed = b.take(&from_a).err();
        }
        if a_failed.is_none() {
            a_failed = a.take(&from_b).err();
        }
    }
}

/// An open channel.
pub fn open(tee: &Tee) -> (Side<'_>, Side<'_>) {
    let (mut a, mut b) = (Side::initiator(agent(), tee), Side::responder(verifier(), tee));
    assert_eq!(run(&mut a, &mut b), (None, None));
    (a, b)
}

/// Why a peer refused; whether it had shown who it is, is not looked at.
pub fn refused(error: Option<ChannelError>) -> Fault {
    match error {
        Some(ChannelError::Refused(fault) | ChannelError::RefusedByStranger(fault)) => fault,
        other => panic!("{other:?}"),
    }
}
