//! Both ends of a client's line, without evidence: who they are is not what is tested here.

use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use ed25519_dalek::{Signer as _, SigningKey};
use nautilus_channel::{
    Channel, ChannelError, ClientEvent, Config, Demand, Dial, Endpoint, Identified, Incoming, KernelPeer,
    Limits, Line, MessageType, Parties, Payload, PayloadError, Presentation, SessionKeyHolder, Stream,
    TaskClock, Unidentified, Working, decode_bcs, encode_bcs, open, pair,
};
use nautilus_core::{NodeId, PublicKey, Role, SessionBinding, Signature, SignedMessage as _};
use tokio::sync::mpsc;

/// What is asked, and what is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number(pub u64);

impl Payload for Number {
    fn message_type(&self) -> MessageType {
        MessageType::PerformanceData
    }

    fn encode(&self) -> Result<Vec<u8>, PayloadError> {
        encode_bcs(&self.0)
    }

    fn decode(message_type: MessageType, bytes: &[u8]) -> Result<Self, PayloadError> {
        match message_type {
            MessageType::PerformanceData => decode_bcs(bytes).map(Self),
            other => Err(PayloadError(format!("{other} holds no number"))),
        }
    }
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

const SEED: u8 = 0x77;

pub fn key() -> PublicKey {
    Key(SigningKey::from_bytes(&[SEED; 32])).public()
}

fn without_evidence(config: Config, limits: Limits) -> Config {
    let (one, _other) = UnixStream::pair().unwrap();
    let mut config = config.dangerous_without_evidence(KernelPeer::of(&one).unwrap());
    config.limits = limits;
    config
}

/// Who asks, and wants this key of its peer.
pub fn asker(key: PublicKey, limits: Limits) -> Config {
    let node = Some(NodeId([1; 32]));
    let demand = Demand::Key(key);
    let config = Config::new(Role::Agent, Role::Verifier, node, Presentation::Nothing, demand);
    without_evidence(config, limits)
}

/// Who answers.
pub fn responder(limits: Limits) -> Config {
    let holder = Key(SigningKey::from_bytes(&[SEED; 32]));
    let presents = Presentation::Key(Arc::new(holder));
    let config = Config::new(Role::Verifier, Role::Agent, None, presents, Demand::Nothing);
    without_evidence(config, limits)
}

/// Connections in memory, that the test answers.
struct Memory(mpsc::UnboundedSender<Box<dyn Stream>>);

impl Dial for Memory {
    fn dial(&self, _: std::time::Duration) -> Working<'_, Result<Box<dyn Stream>, ChannelError>> {
        Box::pin(async move {
            let (near, far) = pair();
            self.0
                .send(far)
                .map_err(|_| ChannelError::Io("nobody is there".to_owned()))?;
            Ok(near)
        })
    }
}

/// What a client told.
pub type Told = Arc<Mutex<Vec<ClientEvent>>>;

/// A line in memory, its other end, and what is told over it.
pub fn memory(key: PublicKey) -> (Line, Answering, Told) {
    let (dialled, streams) = mpsc::unbounded_channel();
    let told = Told::default();
    let sink = Arc::clone(&told);
    let line = Line {
        dial: Arc::new(Memory(dialled)),
        config: Arc::new(move || asker(key, Limits::DEFAULT)),
        parties: Parties::default(),
        told: Arc::new(move |event| sink.lock().unwrap().push(event)),
    };
    let clock = TaskClock::start();
    (line, Answering { streams, clock }, told)
}

/// The other end of a line.
pub struct Answering {
    streams: mpsc::UnboundedReceiver<Box<dyn Stream>>,
    clock: TaskClock,
}

/// A session as its responder has it.
pub type Session = (Channel<Unidentified>, Incoming);

impl Answering {
    pub async fn stream(&mut self) -> Box<dyn Stream> {
        self.streams.recv().await.unwrap()
    }

    pub async fn session(&mut self) -> Session {
        let stream = self.stream().await;
        let endpoint = Endpoint::responder(responder(Limits::DEFAULT), self.clock.now()).unwrap();
        open(stream, endpoint, self.clock, Parties::default())
            .await
            .unwrap()
    }
}

/// The standing of the peer of every client here.
pub type Client = nautilus_channel::Client<Identified>;
